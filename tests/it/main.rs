//! One test binary. Every test that needs a database runs on SQLite and on PostgreSQL.

mod cli;
mod concurrent;
mod formats;
mod hostile;
mod hostile_files;
mod operation;
mod properties;
mod runs;
mod scenarios;
mod spool;
mod spool_faults;
mod support;
mod tables;
mod tidy;
