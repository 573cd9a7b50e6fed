//! What people do at the desk: add accounts, top them up, buy plans, judge lines again. Each is
//! load, decide (in the domain), save, in one transaction; a refusal is an answer with a name.

pub mod accounts;
pub mod batches;
pub mod bills;
pub mod cash;
pub mod coupons;
pub mod exceptions;
pub mod invoice_files;
pub mod invoice_run;
pub mod invoices;
pub mod journal;
pub mod messages;
pub mod notices;
pub mod orders;
pub mod quotas;
pub mod refunds;
pub mod renewals;
pub mod story;
pub mod usage;

use crate::domain::order::OrderRefusal;
use crate::domain::product::Catalog;
use crate::domain::refund::RefundRefusal;
use crate::domain::renewal::RenewalRefusal;
use crate::intake::IntakeError;
use crate::store::StoreError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// A rule says no; nothing was changed.
    #[error("{message}")]
    Refused { code: &'static str, message: String },
    /// A file of ours can't be written.
    #[error("{0} can't be written")]
    Write(String, #[source] std::io::Error),
    #[error(transparent)]
    Intake(#[from] IntakeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeskError {
    pub fn refused(code: &'static str, message: impl Into<String>) -> DeskError {
        DeskError::Refused { code, message: message.into() }
    }

    /// There is no account of this id.
    pub fn unknown_account(account_id: &str) -> DeskError {
        let message = format!("there is no account `{account_id}`; see `quittance account list`");
        DeskError::refused("unknown_account", message)
    }

    /// No product of this id is sold.
    pub fn unknown_product(catalog: &Catalog, product: &str) -> DeskError {
        let known: Vec<_> = catalog.products.iter().map(|p| &*p.id).collect();
        let message = format!("there is no product `{product}`; there are {}", known.join(", "));
        DeskError::refused("unknown_product", message)
    }

    /// There is no order of this id.
    pub fn unknown_order(order_id: &str) -> DeskError {
        let message = format!("there is no order `{order_id}`; see `quittance order list`");
        DeskError::refused("unknown_order", message)
    }
}

impl From<RefundRefusal> for DeskError {
    fn from(refusal: RefundRefusal) -> DeskError {
        DeskError::refused(refusal.code(), refusal.to_string())
    }
}

impl From<OrderRefusal> for DeskError {
    fn from(refusal: OrderRefusal) -> DeskError {
        DeskError::refused(refusal.code(), refusal.to_string())
    }
}

impl From<RenewalRefusal> for DeskError {
    fn from(refusal: RenewalRefusal) -> DeskError {
        DeskError::refused(refusal.code(), refusal.to_string())
    }
}
