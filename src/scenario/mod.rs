//! Scenario files: a clerk's story in commands, and what the program says to them.
//!
//! The verbs stand in `tests/scenarios/README.md`. After every block the invariants of the books
//! are checked, so that each scenario is a test of them, too; at its end those of each account alone.

mod bills;
mod cash;
mod notices;
mod orders;
mod plans;
mod products;
mod show;
mod stage;
mod usage;
mod verbs;

use std::error::Error;
use std::path::Path;

use goldenscript::{Block, Command, Context, Runner};

use self::stage::Stage;

/// Runs a scenario file on a throw-away SQLite database. The error shows the first difference.
pub fn check(file: &Path) -> Result<(), String> {
    let script = std::fs::read_to_string(file).map_err(|error| format!("can't be read: {error}"))?;
    let dir = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let url = format!("sqlite://{}", dir.path().join("scenario.db").display());
    compare(&script, &run(&script, &url)?)
}

/// Runs a script against a fresh database and gives the script with what the program said.
pub fn run(script: &str, url: &str) -> Result<String, String> {
    // A runtime of its own, in a thread of its own: the caller may be inside another one.
    let run = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let mut stage = Stage::open(runtime, url)?;
        let output = goldenscript::generate(&mut stage, script).map_err(|error| error.to_string());
        stage.close();
        output
    };
    std::thread::scope(|scope| scope.spawn(run).join().map_err(|_| "the scenario panicked".to_owned())?)
}

/// The first line that differs, with what was expected and what was said.
pub fn compare(expected: &str, actual: &str) -> Result<(), String> {
    let (mut left, mut right) = (expected.lines(), actual.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => return Ok(()),
            (wanted, said) if wanted == said => {}
            (wanted, said) => {
                let shown = |line: Option<&str>| line.unwrap_or("(nothing)").to_owned();
                return Err(format!(
                    "line {number}\n  written  {}\n  said     {}",
                    shown(wanted),
                    shown(said)
                ));
            }
        }
    }
    Ok(())
}

impl Runner for Stage {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        Ok(self.perform(command)?)
    }

    fn end_block(&mut self, _: &Block) -> Result<String, Box<dyn Error>> {
        let broken = self.broken_invariants()?;
        if broken.is_empty() { Ok(String::new()) } else { Err(broken.join("\n").into()) }
    }

    fn end_script(&mut self) -> Result<(), Box<dyn Error>> {
        let broken = self.broken_accounts()?;
        if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
    }
}
