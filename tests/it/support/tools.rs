//! Programs of others that check what leaves the house. Where one is missing its checks are skipped with a
//! word; with `REQUIRE_EXPORT_TOOLS=1`, as `scripts/test` sets it where it could install them, its absence
//! is a failure.

use std::path::Path;
use std::process::Command;

/// Whether a program is there.
#[track_caller]
pub fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !there {
        assert!(std::env::var_os("REQUIRE_EXPORT_TOOLS").is_none(), "{program} is missing");
        eprintln!("SKIPPED: {program} is missing (apt-get install hledger ledger beancount poppler-utils)");
    }
    there
}

/// Runs a program that must be content, and gives what it says.
#[track_caller]
pub fn content(program: &str, args: &[&str], dir: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", dir)
        .output()
        .expect("it starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "$ {program} {}\n{stdout}\n{stderr}", args.join(" "));
    stdout.into_owned()
}
