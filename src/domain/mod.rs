//! The core: pure, synchronous, deterministic. No store, no clock, no configuration, no floats.

pub mod money;
pub mod period;

pub mod length;
pub mod message;
pub mod notice;
pub mod reminder;
pub mod receipt;
pub mod product;
pub mod countries;
pub mod price;
pub mod package;
pub mod book;

pub mod ledger;
pub mod plan;
pub mod allowance;
pub mod account;
pub mod charge;
pub mod settle;
pub mod cash;
pub mod bill;
pub mod coupon;
pub mod expiry;
pub mod invoice;
pub mod order;
pub mod quota;
pub mod refund;
pub mod renewal;
