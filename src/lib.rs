//! Quittance keeps the money right for companies that sell SMS and e-mail sending.
//!
//! ```text
//!  files, stdin --ingest--> batches, messages --aggregate-charges--> charges, ledger
//!                                                    |   ^
//!                              plans, balances, tiers'   'prices, products (config)
//! ```
//! Messages come in as batches, each whole or not at all. Every five minutes a run streams the
//! batches that are not charged yet through the domain, which decides in memory, and writes all
//! effects in one transaction. Nothing is ever marked message by message: what became of a message
//! follows from its batch and its charge.
//!
//! Direction: `main -> cli -> {daemon, runner} -> jobs -> {store, ingest, notify, export} -> domain`.
//! `desk` is what people do by hand; it stands beside the jobs. `export` makes bytes of values, `files` puts bytes in
//! place. `tests/it/tidy.rs` checks this.

#![forbid(unsafe_code)]

pub mod domain;
pub mod schedule;
pub mod config;
pub mod ingest;
pub mod store;
pub mod progress;
pub mod listed;
pub mod files;
pub mod export;
pub mod intake;
pub mod notify;
pub mod spool;
pub mod clock;
pub mod instance;
pub mod basis;
pub mod settling;
pub mod audit;
pub mod billing;
pub mod telling;
pub mod printing;
pub mod jobs;
pub mod runner;
pub mod daemon;
pub mod desk;
pub mod scenario;
pub mod demo;
pub mod cli;
