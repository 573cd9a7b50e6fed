//! What leaves the house as files. Every writer here is pure: a value goes in, bytes come out; where the
//! value comes from and where the bytes go is none of its business.
//!
//! ```text
//!  journal --hledger----> one file for hledger and ledger
//!          '-beancount--> one for beancount
//!  invoice --pdf--------> for people            \
//!          |-ubl--------> for their programs     |  one file a document:
//!          |-json-------> for scripts            |  an invoice, or the credit note
//!          |-fapiao-----> for the tax platform  /   that takes it back
//!          '-csv--------> for spreadsheets: lines of all documents, and a summary
//! ```
//! All of them are deterministic: the same value gives the same bytes.

pub mod journal;
mod beancount;
mod hledger;

pub mod invoice;
pub mod pdf;
