//! One test binary. Every test that needs a database runs on SQLite and on PostgreSQL.

mod scenarios;
mod support;
mod tidy;
