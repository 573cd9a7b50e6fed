//! What tests stand on: databases of their own, and the program itself.

pub mod databases;
