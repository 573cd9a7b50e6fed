//! A desk where files are handed in: the program on a database with one account, and what became
//! of each line.

use quittance::store::batches;
use serde_json::Value;

use super::books::{assert_sound, read};
use super::databases::{TestDatabase, on_both};
use super::program::{Answer, Program};

pub struct Desk {
    pub program: Program,
    pub url: String,
}

/// A line that was not simply accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub line: i64,
    pub verdict: String,
    pub reason: String,
    pub detail: String,
    pub raw: Option<String>,
}

/// How a batch's lines came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub accepted: i64,
    pub duplicates: i64,
    pub conflicts: i64,
    pub rejected: i64,
}

/// Runs a check at a desk on each database. Afterwards nothing is lost and the books are sound,
/// before the messages are charged and after.
pub fn at_both_desks(check: impl Fn(&mut Desk)) {
    on_both(|database| {
        let mut desk = Desk::open(database);
        check(&mut desk);
        desk.assert_nothing_is_lost();
        assert_sound(&desk.url);
        desk.charge();
        assert_sound(&desk.url);
    });
}

impl Desk {
    /// The account acme has 1,000 CNY.
    pub fn open(database: &TestDatabase) -> Desk {
        Desk::open_url(&database.url)
    }

    pub fn open_url(url: &str) -> Desk {
        let program = Program::on_url(url);
        program.run(&["migrate"]).exits(0);
        program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
        program.run(&["account", "top-up", "acme", "1000", "--reference", "cash-1"]).exits(0);
        Desk { program, url: url.to_owned() }
    }

    pub fn ingest(&self, name: &str, content: impl AsRef<[u8]>) -> Answer {
        self.program.file(name, content);
        self.program.run(&["ingest", "messages", name, "--json"])
    }

    /// Hands in a file that is taken, wholly or in part, and gives its batch and counts.
    #[track_caller]
    pub fn take(&self, name: &str, content: impl AsRef<[u8]>) -> (String, Counts) {
        taken(self.ingest(name, content))
    }

    /// Hands in a file that is refused whole; nothing of it is kept.
    #[track_caller]
    pub fn refuse(&self, name: &str, content: impl AsRef<[u8]>, words: &[&str]) {
        let before = self.program.json(&["batch", "list"]);
        self.ingest(name, content).exits(65).says(words);
        assert_eq!(self.program.json(&["batch", "list"]), before);
    }

    /// The lines of a batch that were not simply accepted.
    pub fn rejects(&self, batch: &str) -> Vec<Listed> {
        let listed = self.program.json(&["batch", "rejects", batch]);
        let text = |line: &Value, key: &str| line[key].as_str().map(str::to_owned);
        let read = |line: &Value| Listed {
            line: line["line"].as_i64().expect("a line number"),
            verdict: text(line, "verdict").expect("a verdict"),
            reason: text(line, "reason").expect("a reason"),
            detail: text(line, "detail").expect("a detail"),
            raw: text(line, "raw"),
        };
        listed.as_array().expect("a list").iter().map(read).collect()
    }

    /// Number and reason of each rejected line.
    pub fn reasons(&self, batch: &str) -> Vec<(i64, String)> {
        let rejected = |listed: &Listed| listed.verdict == "rejected";
        self.rejects(batch).into_iter().filter(rejected).map(|l| (l.line, l.reason)).collect()
    }

    /// Charges all that waits and gives what the run counted.
    #[track_caller]
    pub fn charge(&self) -> Value {
        let answer = self.program.run(&["--run-job", "aggregate-charges", "--json"]);
        let code = if answer.json()["outcome"] == "partial" { 3 } else { 0 };
        answer.exits(code).json()["counts"].clone()
    }

    pub fn account(&self, key: &str) -> String {
        let account = self.program.json(&["account", "show", "acme"]);
        account[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {account}")).to_owned()
    }

    /// Lines = accepted + duplicates + conflicts + rejected, and each line that was not accepted is
    /// kept, a rejected one with its reason and its raw text.
    #[track_caller]
    pub fn assert_nothing_is_lost(&self) {
        let batches = read(&self.url, async |tx| {
            let mut all = Vec::new();
            for batch in batches::list(tx).await? {
                let lines = batches::lines(tx, batch.batch_no).await?;
                all.push((batch, lines));
            }
            Ok(all)
        });
        for (batch, lines) in batches {
            let count = |verdict: &str| lines.iter().filter(|line| line.verdict == verdict).count() as i64;
            assert_eq!(batch.lines, batch.accepted + batch.duplicates + batch.conflicts + batch.rejected);
            assert_eq!(count("rejected"), batch.rejected, "{batch:?}: {lines:?}");
            assert_eq!(count("conflict"), batch.conflicts, "{batch:?}: {lines:?}");
            assert_eq!(count("duplicate"), batch.duplicates, "{batch:?}: {lines:?}");
            for line in lines.iter().filter(|line| line.verdict == "rejected") {
                assert!(!line.reason.is_empty() && !line.detail.is_empty(), "{line:?}");
                assert!(line.raw.as_ref().is_some_and(|raw| !raw.is_empty()), "no raw text: {line:?}");
            }
        }
    }
}

/// Batch and counts of a file that was taken: exit code 0, or 3 where lines were not.
#[track_caller]
pub fn taken(answer: Answer) -> (String, Counts) {
    let json = answer.json();
    let counts = counts(&json);
    let code = if counts.rejected + counts.conflicts > 0 { 3 } else { 0 };
    answer.exits(code);
    (json["batch_id"].as_str().expect("a batch").to_owned(), counts)
}

pub fn counts(batch: &Value) -> Counts {
    let count = |key: &str| batch[key].as_i64().unwrap_or_else(|| panic!("no count `{key}` in {batch}"));
    Counts {
        accepted: count("accepted"),
        duplicates: count("duplicates"),
        conflicts: count("conflicts"),
        rejected: count("rejected"),
    }
}
