//! What tests stand on: databases of their own, the program itself, its books, lines to hand in.

pub mod books;
pub mod daemon;
pub mod databases;
pub mod desk;
pub mod facts;
pub mod faketime;
pub mod history;
pub mod lines;
pub mod locks;
pub mod mail_server;
pub mod notices;
pub mod naive;
pub mod program;
pub mod proxy;
pub mod receipts;
pub mod server;
pub mod shape;
pub mod tls_server;
pub mod tools;
pub mod spool;
