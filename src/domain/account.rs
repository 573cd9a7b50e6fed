//! A customer's account as charging sees it: money, status, plans and the month's counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::allowance::FreeUse;
use super::money::{Micros, MoneyFault};
use super::plan::Plan;

/// What [`is_id`] asks for, in words.
pub const ID_RULE: &str =
    "an account id has 1 to 64 letters, digits or . _ - @ : + and begins with a letter or digit";

/// Whether an account can have this id. Ids stand in file names, ledgers and URLs, so that they are
/// kept plain.
///
/// # Example
/// ```
/// use quittance::domain::account::is_id;
/// assert!(is_id("acme") && is_id("a.b@example.com"));
/// assert!(!is_id("") && !is_id("a b") && !is_id("../acme"));
/// ```
pub fn is_id(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@:+".contains(c);
    id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.len() <= 64 && id.chars().all(plain)
}

/// Individual or enterprise (R70).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Individual,
    Enterprise,
}

/// Whether an account may send and buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    /// Overdue: plans neither pay nor can be bought (R71, R73, R145).
    Suspended,
    /// Suspended by the provider for a violation of its terms, until it is released (R56). No payment
    /// ends it. Whether it is overdue besides goes on as if it were not held, and shows when it is released:
    /// at exactly 0 the money alone does not tell (D2).
    Held {
        overdue: bool,
    },
    /// Closed for good; its books are kept.
    Closed,
}

/// An account that was left as it was because of a fault of its own, so that the others go on (I34).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    pub account_id: String,
    pub fault: String,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Individual => "individual",
            Kind::Enterprise => "enterprise",
        }
    }

    pub fn parse(word: &str) -> Option<Kind> {
        match word {
            "individual" => Some(Kind::Individual),
            "enterprise" => Some(Kind::Enterprise),
            _ => None,
        }
    }
}

impl Status {
    /// The word that is kept and shown. An account that is held is suspended, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Suspended | Status::Held { .. } => "suspended",
            Status::Closed => "closed",
        }
    }

    /// The status of a word that is kept, and of whether the account is held and overdue besides.
    pub fn parse(word: &str, held: bool, overdue: bool) -> Option<Status> {
        match word {
            "suspended" if held => Some(Status::Held { overdue }),
            "suspended" => Some(Status::Suspended),
            "active" => Some(Status::Active),
            "closed" => Some(Status::Closed),
            _ => None,
        }
    }

    /// Whether it may neither send nor buy.
    pub fn is_suspended(self) -> bool {
        matches!(self, Status::Suspended | Status::Held { .. })
    }

    /// Whether it was found to owe more than it may and has not cleared that since; a closed account is not
    /// asked.
    pub fn is_overdue(self) -> bool {
        matches!(self, Status::Suspended | Status::Held { overdue: true })
    }

    /// What is kept of a held account beside the word and the reason.
    pub fn is_held_overdue(self) -> bool {
        self == Status::Held { overdue: true }
    }

    /// The same to whom it concerns: what a held account owes changes nothing of what it may.
    pub fn is_same_standing(self, other: Status) -> bool {
        self == other || matches!((self, other), (Status::Held { .. }, Status::Held { .. }))
    }
}

/// The money of an account, in micro-units of its currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// Cash paid in and not spent.
    pub balance: Micros,
    /// Pay-as-you-go accrued and not billed yet.
    pub unbilled: Micros,
    /// Billed or claimed and not paid.
    pub due: Micros,
    /// How far `available` may fall below zero before the account is overdue.
    pub credit_limit: Micros,
}

impl Funds {
    /// balance - unbilled - due (D1, D61).
    pub fn available(&self) -> Result<Micros, MoneyFault> {
        self.balance.minus(self.unbilled)?.minus(self.due)
    }

    /// Money for the customer: what is due is paid first, the rest is theirs (D60).
    pub fn pay_in(&mut self, amount: Micros) -> Result<Split, MoneyFault> {
        let due = self.due.min(amount).max(Micros::ZERO);
        let balance = amount.minus(due)?;
        self.due = self.due.minus(due)?;
        self.balance = self.balance.plus(balance)?;
        Ok(Split { balance, due })
    }

    /// A claim on the customer: the balance pays as far as it goes, the rest is due (D30, D61).
    pub fn claim(&mut self, amount: Micros) -> Result<Split, MoneyFault> {
        let balance = self.balance.min(amount).max(Micros::ZERO);
        let due = amount.minus(balance)?;
        self.balance = self.balance.minus(balance)?;
        self.due = self.due.plus(due)?;
        Ok(Split { balance, due })
    }

    /// The status that these funds ask for: overdue below the credit limit; cleared only by
    /// something above zero, or, with a credit limit, above the limit (D2, D61).
    pub fn status_after(&self, status: Status) -> Result<Status, MoneyFault> {
        let headroom = self.available()?.plus(self.credit_limit)?;
        Ok(match status {
            Status::Active if headroom < Micros::ZERO => Status::Suspended,
            Status::Suspended if headroom > Micros::ZERO => Status::Active,
            Status::Held { .. } if headroom != Micros::ZERO => {
                Status::Held { overdue: headroom < Micros::ZERO }
            }
            unchanged => unchanged,
        })
    }
}

/// An amount by where it went: to or from the balance, and on or off what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub balance: Micros,
    pub due: Micros,
}

/// What a month has accrued of one product under one VAT rate: VAT is split off the running total,
/// so that the sum of the parts is the split of the sum, however the month was cut into runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accrual {
    pub gross: Micros,
    pub net: Micros,
}

impl Accrual {
    /// Adds a gross amount and gives the net amount that it adds.
    pub fn add(&mut self, gross: Micros, vat_ppm: i64) -> Result<Micros, MoneyFault> {
        self.gross = self.gross.plus(gross)?;
        let net = self.gross.net_of_vat(vat_ppm);
        let added = net.minus(self.net)?;
        self.net = net;
        Ok(added)
    }
}

/// Month (202603), product, and price class (template type) of a tier counter.
pub type TierKey = (i64, Arc<str>, Arc<str>);
/// Month, product and VAT rate in millionths of an accrual.
pub type AccrualKey = (i64, Arc<str>, i64);

/// An account with all that a charging run may change.
#[derive(Clone, Debug)]
pub struct Account {
    pub account_id: Arc<str>,
    pub kind: Kind,
    pub currency: Arc<str>,
    pub status: Status,
    pub funds: Funds,
    /// Plans that the run may touch, in burn order.
    pub plans: Vec<Plan>,
    /// Products activated for use (R14, D85).
    pub activated: Vec<Arc<str>>,
    /// Pay-as-you-go units of the month: where the next unit stands in the price tiers (D3).
    pub tiers: BTreeMap<TierKey, i64>,
    pub accruals: BTreeMap<AccrualKey, Accrual>,
    /// Free units had, by product (R30).
    pub free: BTreeMap<Arc<str>, FreeUse>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn funds(balance: i64, unbilled: i64, credit_limit: i64) -> Funds {
        Funds {
            balance: Micros(balance),
            unbilled: Micros(unbilled),
            due: Micros::ZERO,
            credit_limit: Micros(credit_limit),
        }
    }

    #[test]
    fn an_account_is_overdue_below_zero_and_cleared_above_zero() {
        let after = |balance, status| funds(balance, 10, 0).status_after(status).unwrap();
        assert_eq!(after(9, Status::Active), Status::Suspended);
        assert_eq!(after(10, Status::Active), Status::Active);
        assert_eq!(after(10, Status::Suspended), Status::Suspended);
        assert_eq!(after(11, Status::Suspended), Status::Active);
    }

    #[test]
    fn no_payment_releases_an_account_that_is_held_or_closed() {
        let after = |balance, status| funds(balance, 10, 0).status_after(status).unwrap();
        for balance in [0, 10, 100] {
            assert_eq!(after(balance, Status::Closed), Status::Closed);
        }
        let held = |overdue| Status::Held { overdue };
        for (balance, before, overdue) in [
            (9, false, true),
            (9, true, true),
            (10, false, false),
            (10, true, true),
            (11, true, false),
            (11, false, false),
        ] {
            assert_eq!(after(balance, held(before)), held(overdue), "{balance} {before}");
        }
    }

    #[test]
    fn a_credit_limit_moves_both_edges() {
        let after = |unbilled, status| funds(0, unbilled, 5).status_after(status).unwrap();
        assert_eq!(after(5, Status::Active), Status::Active);
        assert_eq!(after(6, Status::Active), Status::Suspended);
        assert_eq!(after(5, Status::Suspended), Status::Suspended);
        assert_eq!(after(4, Status::Suspended), Status::Active);
    }

    #[test]
    fn money_pays_what_is_due_first_and_claims_take_the_balance_first() {
        let split = |balance, due| Split { balance: Micros(balance), due: Micros(due) };
        let mut funds = funds(20, 0, 0);
        assert_eq!(funds.claim(Micros(50)), Ok(split(20, 30)));
        assert_eq!((funds.balance, funds.due), (Micros(0), Micros(30)));
        assert_eq!(funds.pay_in(Micros(10)), Ok(split(0, 10)));
        assert_eq!(funds.pay_in(Micros(25)), Ok(split(5, 20)));
        assert_eq!((funds.balance, funds.due), (Micros(5), Micros(0)));
    }

    #[test]
    fn vat_is_split_off_the_running_total() {
        let mut once = Accrual::default();
        let whole = once.add(Micros(45_000 * 7), 60_000).unwrap();
        let mut often = Accrual::default();
        let parts: i64 = (0..7).map(|_| often.add(Micros(45_000), 60_000).unwrap().0).sum();
        assert_eq!((whole.0, once), (parts, often));
    }
}
