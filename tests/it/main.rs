//! One test binary. Every test that needs a database runs on SQLite and on PostgreSQL.

mod cli;
mod concurrent;
mod daemon;
mod daemon_signals;
mod faults_clock;
mod faults_cut;
mod faults_database;
mod faults_kill;
mod faults_lease;
mod faults_network;
mod faults_restart;
mod formats;
mod hostile;
mod hostile_files;
mod operation;
mod properties;
mod roles;
mod runs;
mod scenarios;
mod secrets;
mod spool;
mod spool_faults;
mod support;
mod systemd;
mod tables;
mod tidy;
