//! A spool on a desk: files dropped into it, runs that take them in, and where they end.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::databases::{TestDatabase, on_both};
use super::desk::Desk;
use super::program::Answer;

pub const RUN: &[&str] = &["--run-job", "ingest-spool", "--json"];

pub struct Spooled {
    pub desk: Desk,
}

/// Runs a check on a spool on each database. Afterwards nothing is lost and the books are sound.
pub fn at_both_spools(check: impl Fn(&Spooled)) {
    on_both(|database| {
        let spool = Spooled::open(database);
        check(&spool);
        spool.desk.assert_nothing_is_lost();
        super::books::assert_sound(&spool.desk.url);
    });
}

impl Spooled {
    pub fn open(database: &TestDatabase) -> Spooled {
        let spool = Spooled { desk: Desk::open(database) };
        spool.configure("[spool]\ndir = \"../spool\"\n");
        fs::create_dir(spool.path("")).expect("a directory");
        spool
    }

    /// Writes the configuration that the program finds in its directory.
    pub fn configure(&self, quittance: &str) {
        let to = self.desk.program.path("config");
        fs::create_dir_all(&to).expect("a directory");
        for name in ["products.toml", "prices.toml"] {
            let shipped = format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"));
            fs::copy(shipped, to.join(name)).expect("the shipped file");
        }
        fs::write(to.join("quittance.toml"), quittance).expect("it is written");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.desk.program.path("spool").join(name)
    }

    /// Drops a file as gateways should: written elsewhere, then renamed into place.
    pub fn drop_file(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> PathBuf {
        let written = self.desk.program.path("written");
        fs::write(&written, content).expect("it is written");
        let place = self.desk.program.path("spool").join(name.as_ref());
        fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
        fs::rename(written, &place).expect("it is renamed");
        place
    }

    /// Drops a file that nobody has written to for long.
    pub fn drop_old(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
        set_age(&self.drop_file(name, content), 3_600);
    }

    pub fn run(&self) -> Answer {
        self.desk.program.run(RUN)
    }

    /// Runs once and gives what was counted, without the zeros. Something bad or rejected makes it
    /// partial.
    #[track_caller]
    pub fn counts(&self) -> Value {
        counted(self.run())
    }

    /// All files, links and whatever else lies in the spool, by their places; no directories.
    pub fn files(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        list(&self.path(""), "", &mut found);
        found
    }

    pub fn report(&self, name: &str) -> Value {
        let text = fs::read(self.path(&format!("{name}.report.json")));
        serde_json::from_slice(&text.expect("a report")).expect("the report is JSON")
    }

    /// The program started by a shell that first runs other commands.
    pub fn run_after(&self, commands: &str) -> Answer {
        let program = self.desk.program.command(RUN);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{commands}; exec \"$0\" \"$@\"")).arg(program.get_program());
        shell.args(program.get_args()).current_dir(self.desk.program.dir()).env_remove("QUITTANCE_CONFIG");
        Answer::of(commands.to_owned(), shell.output().expect("a shell"))
    }

    pub fn batches(&self) -> usize {
        self.desk.program.json(&["batch", "list"]).as_array().expect("a list").len()
    }
}

/// The counts of a run that are not zero.
#[track_caller]
pub fn counted(answer: Answer) -> Value {
    let json = answer.json();
    let counts = json["counts"].as_object().expect("counts").clone();
    let listed = ["bad", "conflicts", "rejected"].iter().any(|key| counts[*key] != 0);
    let outcome = match (listed, counts["files"] != 0) {
        (true, _) => "partial",
        (false, true) => "done",
        (false, false) => "nothing_to_do",
    };
    assert_eq!(json["outcome"], outcome, "{}", answer.shown());
    answer.exits(if listed { 3 } else { 0 });
    counts.into_iter().filter(|(_, count)| *count != json!(0)).collect()
}

pub fn set_age(path: &std::path::Path, seconds: u64) {
    #[expect(clippy::disallowed_methods, reason = "the program compares it with the same clock")]
    let time = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::open(path).and_then(|file| file.set_modified(time)).expect("a time can be set");
}

fn list(dir: &std::path::Path, before: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("it is listed") {
        let entry = entry.expect("an entry");
        let bytes = entry.file_name();
        let name = format!("{before}{}", bytes.as_bytes().escape_ascii());
        match entry.file_type().expect("a type").is_dir() {
            true => list(&entry.path(), &format!("{name}/"), found),
            false => drop(found.insert(name)),
        }
    }
}
