//! Parse, wire, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    quittance::cli::main()
}
