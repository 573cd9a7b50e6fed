//! The core: pure, synchronous, deterministic. No store, no clock, no configuration, no floats.

pub mod money;
pub mod period;

pub mod length;
pub mod message;
pub mod notice;
pub mod reminder;
pub mod receipt;
pub mod product;
pub mod price;
pub mod package;
pub mod book;

pub mod ledger;
pub mod plan;
pub mod account;
pub mod charge;
pub mod settle;
pub mod order;
