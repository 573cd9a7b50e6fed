//! What people do at the desk: add accounts, top them up, buy plans, judge lines again. Each is
//! load, decide (in the domain), save, in one transaction; a refusal is an answer with a name.

pub mod accounts;
pub mod batches;
pub mod exceptions;
pub mod notices;
pub mod orders;
pub mod story;
pub mod usage;

use crate::domain::order::OrderRefusal;
use crate::intake::IntakeError;
use crate::store::StoreError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// A rule says no; nothing was changed.
    #[error("{message}")]
    Refused { code: &'static str, message: String },
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
}

impl From<OrderRefusal> for DeskError {
    fn from(refusal: OrderRefusal) -> DeskError {
        DeskError::refused(refusal.code(), refusal.to_string())
    }
}
