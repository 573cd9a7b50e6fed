//! Every scenario file on both databases: the same script says the same thing.
//!
//! `UPDATE_GOLDENFILES=1 cargo test scenarios` rewrites what the program says, for review. A file
//! whose first line is `# from:` holds a worked example of the specification: it is law, and never
//! rewritten. `cargo test -- scenarios` runs all; a failing one names itself.

use std::path::{Path, PathBuf};

use quittance::scenario;

use crate::support::databases::{TestDatabase, postgres, sqlite};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// All scenario files: those without an ending.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the scenarios can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_none() {
            found.push(path);
        }
    }
    found.sort();
}

fn check_all(dir: &str, database: impl Fn() -> Option<TestDatabase>, update: bool) {
    let mut scenarios = Vec::new();
    files(&root().join(dir), &mut scenarios);
    assert!(!scenarios.is_empty(), "there are no scenarios under {}", root().display());
    let mut failed = Vec::new();
    for file in &scenarios {
        let Some(database) = database() else { return };
        let script = std::fs::read_to_string(file).expect("the scenario can be read");
        let name = file.strip_prefix(root()).unwrap_or(file).display();
        match scenario::run(&script, &database.url) {
            Err(fault) => failed.push(format!("{name}: {fault}")),
            Ok(said) => match scenario::compare(&script, &said) {
                Ok(()) => {}
                Err(_) if update && !script.starts_with("# from:") => {
                    std::fs::write(file, said).expect("the scenario can be rewritten");
                }
                Err(difference) => failed.push(format!("{name}: {difference}")),
            },
        }
    }
    assert!(failed.is_empty(), "{} of {} differ\n{}", failed.len(), scenarios.len(), failed.join("\n"));
}

#[test]
fn every_scenario_says_on_sqlite_what_is_written() {
    check_all("", || Some(sqlite()), std::env::var_os("UPDATE_GOLDENFILES").is_some());
}

#[test]
fn every_scenario_says_on_postgres_what_is_written() {
    check_all("", postgres, false);
}

#[test]
fn f13_every_scenario_of_charging_says_the_same_with_a_pool_of_one_connection() {
    let one = || {
        let mut database = postgres()?;
        let and = if database.url.contains('?') { '&' } else { '?' };
        database.url.push_str(&format!("{and}connections=1"));
        Some(database)
    };
    check_all("charging", one, false);
}
