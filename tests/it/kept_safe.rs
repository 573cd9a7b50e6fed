//! Slips of the hand that must not cost anybody their books: a command that is told to write, or to look for
//! work, where something else lies.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::databases::sqlite;
use crate::support::program::Program;

/// A program in a directory of its own, where its books are, too.
fn at_home() -> Program {
    let program = Program::configured();
    program.run(&["account", "add", "mine", "--name", "Mine"]).exits(0);
    program
}

fn has_mine(program: &Program) {
    program.run(&["account", "show", "mine"]).exits(0);
}

#[test]
fn a_demo_does_not_take_the_place_of_books() {
    let program = at_home();
    program.run(&["demo", "--dir", "."]).exits(1).says(&["files that no demo left", "--dir"]);
    has_mine(&program);
}

#[test]
fn a_journal_takes_the_place_of_a_journal_only() {
    let program = at_home();
    program.run(&["account", "top-up", "mine", "5", "--reference", "cash"]).exits(0);
    let export = |to: &str| program.run(&["journal", "export", "--format", "hledger", "--out", to, "--json"]);
    program.file("notes.txt", "of somebody");
    for name in ["quittance.db", "notes.txt"] {
        export(name).refuses("file_exists").says(&[name]);
    }
    has_mine(&program);
    for _ in 0..2 {
        export("books.journal").exits(0);
    }
    // Days before the first entry are there, and empty.
    let days = ["--to", "2026-02-01", "--out", "before.journal"];
    let told = program.json(&[&["journal", "export", "--format", "hledger"][..], &days].concat());
    assert_eq!(told["transactions"], 0, "{told}");
}

#[test]
fn what_is_no_file_is_not_replaced_by_a_journal_and_a_link_is_followed() {
    let program = at_home();
    program.run(&["account", "top-up", "mine", "5", "--reference", "cash"]).exits(0);
    let export = |to: &str| program.run(&["journal", "export", "--format", "hledger", "--out", to, "--json"]);
    assert!(Command::new("mkfifo").arg(program.path("pipe")).status().unwrap().success());
    symlink("gone", program.path("loose")).unwrap();
    fs::create_dir(program.path("dir")).unwrap();
    for name in ["pipe", "loose", "dir", "/dev/null", "/dev/stdout"] {
        export(name).refuses("file_exists").says(&[name, "standard output"]);
    }
    for name in ["pipe", "loose", "dir"] {
        let found = program.path(name).symlink_metadata().unwrap();
        assert!(!found.is_file(), "{name} was replaced");
    }
    assert!(!program.path("gone").exists());
    fs::create_dir(program.path("away")).unwrap();
    program.file("away/first", "");
    symlink("away/first", program.path("link")).unwrap();
    export("link").exits(0);
    assert!(program.path("link").is_symlink());
    assert_eq!(fs::read_dir(program.path("away")).unwrap().count(), 1);
    export("books").exits(0);
    let read = |name: &str| fs::read(program.path(name)).unwrap();
    assert_eq!(read("away/first"), read("books"));
    for name in ["pipe", "loose", "dir", "/dev/null"] {
        program.run(&["backup", name, "--json"]).refuses("file_exists");
    }
}

#[test]
fn a_spool_is_not_where_books_or_their_configuration_are() {
    let mut program = at_home();
    fs::create_dir(program.path("conf")).expect("a directory");
    for (dir, what) in [(".", "configuration"), ("..", "books")] {
        program.configure("");
        for name in ["quittance.toml", "products.toml", "prices.toml"] {
            let text = fs::read_to_string(program.path(name)).expect("it is there");
            let spool =
                if name == "quittance.toml" { format!("[spool]\ndir = \"{dir}\"\n") } else { String::new() };
            program.file(&format!("conf/{name}"), format!("{text}{spool}"));
        }
        program.set("QUITTANCE_CONFIG", "conf/quittance.toml");
        for command in [&["check-config"][..], &["--run-job", "ingest-spool"]] {
            program.run(command).exits(78).says(&["spool.dir", what]);
        }
    }
    has_mine(program.set("QUITTANCE_CONFIG", "quittance.toml"));
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let database = sqlite();
    let program = Program::on(&database);
    let file = database.url.trim_start_matches("sqlite://").to_owned();
    let made = std::process::Command::new("sqlite3").args([&file, "create table theirs (x)"]).output();
    if made.is_err() {
        eprintln!("SKIPPED: sqlite3 is missing");
        return;
    }
    let before = fs::read(&file).expect("it is there");
    program.run(&["status"]).exits(1).says(&["another program", "theirs"]);
    let tables = std::process::Command::new("sqlite3").args([&file, ".tables"]).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&tables.stdout).trim(), "theirs");
    assert!(!before.is_empty());
}
