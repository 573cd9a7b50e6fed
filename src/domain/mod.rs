//! The core: pure, synchronous, deterministic. No store, no clock, no configuration, no floats.

pub mod money;
pub mod period;

pub mod book;
pub mod length;
pub mod message;
pub mod package;
pub mod price;
pub mod product;

pub mod account;
pub mod charge;
pub mod ledger;
pub mod order;
pub mod plan;
