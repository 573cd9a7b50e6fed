//! What the configuration no longer says of what was charged: the books may be right, and can't be worked out anew
//! until it does (I34).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::domain::money::Micros;
use crate::domain::period::Month;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// A product that was charged is not configured.
    Product(Arc<str>),
    /// Of a product and what it is priced by (a template type, a country, nothing) no price is configured for a
    /// month in which it was charged.
    Price { product: Arc<str>, class: Arc<str>, month: Month },
    /// A month was charged at VAT rates (in millionths) that are not those configured for then.
    Vat { product: Arc<str>, month: i64, ppm: Vec<i64> },
    /// Revenue stands in accounts of the ledger that are of no configured product.
    Income(String),
}

impl Gap {
    /// The product whose charges are to be taken as the books say them, since no price or no rule is known.
    pub fn unpriced(&self) -> Option<&Arc<str>> {
        match self {
            Gap::Product(product) | Gap::Price { product, .. } => Some(product),
            Gap::Vat { .. } | Gap::Income(_) => None,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::Product(product) => {
                write!(
                    f,
                    "product {product} was charged and is not configured: put it back into products.toml"
                )
            }
            Gap::Price { product, class, month } => {
                let of = if class.is_empty() { String::new() } else { format!(" for {class}") };
                write!(
                    f,
                    "{product} was charged in {month}{of}, and no price of it is configured for then: put its price \
                     list back into prices.toml"
                )
            }
            Gap::Vat { product, month, ppm } => {
                let rates: Vec<_> =
                    ppm.iter().map(|ppm| format!("{} %", Micros(ppm.saturating_mul(100)))).collect();
                let (month, rates) = (format!("{}-{:02}", month / 100, month % 100), rates.join(" and "));
                write!(
                    f,
                    "{product} was charged in {month} with VAT of {rates}, and another rate is configured for then: put \
                     the rate back into products.toml"
                )
            }
            Gap::Income(ledger) => write!(
                f,
                "its revenue stands in {ledger}, which is of no configured product: put that `income` back into \
                 products.toml"
            ),
        }
    }
}

/// Gaps in one line, the first before the others.
pub fn in_words(gaps: &BTreeSet<Gap>) -> String {
    gaps.iter().map(Gap::to_string).collect::<Vec<_>>().join("; ")
}
