//! Messages that can't be charged yet (D42).

/// Why a message waits in suspense instead of being charged (D42), in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unrated {
    UnknownAccount,
    AccountParked,
    UnknownProduct,
    ContentTooLong,
    NotActivated,
    PromotionalByIndividual,
    NoPrice,
}

impl Unrated {
    const ALL: [Unrated; 7] = [
        Unrated::UnknownAccount,
        Unrated::AccountParked,
        Unrated::UnknownProduct,
        Unrated::ContentTooLong,
        Unrated::NotActivated,
        Unrated::PromotionalByIndividual,
        Unrated::NoPrice,
    ];

    pub fn parse(word: &str) -> Option<Unrated> {
        Unrated::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Unrated::UnknownAccount => "unknown_account",
            Unrated::AccountParked => "account_parked",
            Unrated::UnknownProduct => "unknown_product",
            Unrated::ContentTooLong => "content_too_long",
            Unrated::NotActivated => "not_activated",
            Unrated::PromotionalByIndividual => "promotional_by_individual",
            Unrated::NoPrice => "no_price",
        }
    }

    /// What an operator does about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Unrated::UnknownAccount => "add the account: quittance account add ID --name N",
            Unrated::AccountParked => "see the run's error; the next run tries again",
            Unrated::UnknownProduct => "put the product back into products.toml",
            Unrated::ContentTooLong => "over 500 characters: ask the gateway why it was accepted",
            Unrated::NotActivated => "activate the product: quittance account activate ID PRODUCT",
            Unrated::PromotionalByIndividual => "individuals may not send promotional messages (R70)",
            Unrated::NoPrice => {
                "add a price to prices.toml for this currency and country or template type (\"none\" where it has none)"
            }
        }
    }
}
