//! F19: a backup that is taken while others work opens, is whole, and goes on where it was taken.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::books::{assert_sound, digest_of};
use crate::support::databases::{postgres, sqlite};
use crate::support::desk::Desk;
use crate::support::lines::{file, line};
use crate::support::program::{Answer, Program, Running};

const FILES: usize = 8;
const RUN: &[&str] = &["--run-job", "aggregate-charges"];

fn content(number: usize) -> String {
    let message = |n: usize| {
        let time = format!("2026-03-01T09:{:02}:{:02}+08:00", n / 40 % 60, n % 60);
        line(&format!("m-{n}"), "acme", ["verification", "promotional"][n % 2], "2", &time)
    };
    file(&(number * 300..number * 300 + 300).map(message).collect::<Vec<_>>())
}

fn names() -> Vec<String> {
    (0..FILES).map(|number| format!("{number}.csv")).collect()
}

fn ingest_all(program: &Program) {
    let names = names();
    let args: Vec<&str> =
        ["ingest", "messages"].into_iter().chain(names.iter().map(String::as_str)).collect();
    program.run(&args).exits(0);
}

#[test]
fn f19_a_backup_of_books_in_use_is_whole_and_catches_up() {
    let database = sqlite();
    let desk = Desk::open(&database);
    (0..FILES).for_each(|number| drop(desk.program.file(&format!("{number}.csv"), content(number))));
    let program = &desk.program;
    // Others hand in and charge all the while.
    let mut backups = Vec::new();
    for number in 0..FILES {
        let ingesting = program.start(&["ingest", "messages", &format!("{number}.csv")], b"");
        let charging = program.start(RUN, b"");
        let backup = format!("backup-{number}.db");
        program.run(&["backup", &backup]).exits(0);
        backups.push(backup);
        for other in [ingesting, charging].map(Running::answer) {
            assert!([0, 75].contains(&other.code), "{}", other.shown());
        }
    }
    desk.charge();
    let expected = digest_of(&database.url);
    assert_sound(&database.url);

    let mut digests = Vec::new();
    for backup in backups {
        let url = format!("sqlite://{}", program.path(&backup).display());
        assert_sound(&url);
        digests.push(digest_of(&url));
        // Restored, it takes the files that came after it, and knows the others.
        let restored = Program::on_url(&url);
        (0..FILES).for_each(|number| drop(restored.file(&format!("{number}.csv"), content(number))));
        ingest_all(&restored);
        restored.run(RUN).exits(0);
        assert_eq!(digest_of(&url), expected, "{backup}");
    }
    assert!(
        digests.windows(2).any(|pair| pair[0] != pair[1]),
        "the books did not change between the backups"
    );
}

#[test]
fn a_backup_of_books_at_rest_is_equal_private_and_never_replaced() {
    let database = sqlite();
    let desk = Desk::open(&database);
    desk.take("a.csv", content(0));
    desk.charge();
    let told = desk.program.json(&["backup", "copy.db"]);
    let copy = desk.program.path("copy.db");
    let bytes = std::fs::metadata(&copy).unwrap();
    assert_eq!((told["file"].as_str(), told["bytes"].as_u64()), (Some("copy.db"), Some(bytes.len())));
    assert_eq!(bytes.permissions().mode() & 0o777, 0o600);
    assert_eq!(digest_of(&format!("sqlite://{}", copy.display())), digest_of(&database.url));

    let before = std::fs::read(&copy).unwrap();
    desk.program.run(&["backup", "copy.db", "--json"]).refuses("file_exists").says(&["copy.db"]);
    assert_eq!(std::fs::read(&copy).unwrap(), before);
    // What is told of an odd name opens the copy.
    let told = desk.program.run(&["backup", "c?opy #%41.db"]).exits(0).stdout;
    let url = told.trim().rsplit_once(' ').expect("words").1;
    let mut opened = Command::new(env!("CARGO_BIN_EXE_quittance"));
    opened.args(["digest", "--database", url]).current_dir(desk.program.dir());
    let answer = Answer::of(url.into(), opened.output().expect("it ends")).exits(0);
    assert_eq!(answer.stdout.trim(), digest_of(&database.url));
    desk.program.run(&["backup", "none/copy.db"]).exits(1).says(&["none/copy.db"]);
    let left = std::fs::read_dir(desk.program.dir()).unwrap().filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(".quittance"))
    });
    assert_eq!(left.count(), 0, "a temporary file is left");
}

#[test]
fn postgresql_is_backed_up_by_its_own_program() {
    let Some(database) = postgres() else { return };
    let desk = Desk::open(&database);
    let refused = desk.program.run(&["backup", "copy.db", "--json"]).refuses("use_pg_dump");
    let refused = refused.says(&["pg_dump", "--file='copy.db'", "pg_restore"]);
    assert!(!refused.stderr.contains("password="), "{}", refused.shown());
}
