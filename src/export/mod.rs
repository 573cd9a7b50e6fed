//! What leaves the house as files. Every writer here is pure: a value goes in, bytes come out; where the
//! value comes from and where the bytes go is none of its business.
//!
//! ```text
//!  journal --hledger----> one file for hledger and ledger      (RULES: books that a third program checks)
//!          '-beancount--> one for beancount
//! ```

pub mod journal;
mod beancount;
mod hledger;
