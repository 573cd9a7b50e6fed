//! What the operator meets: first start, migration, configuration, secrets, broken pipes.

use std::process::Stdio;

use crate::support::books::{assert_sound, block_on, change};
use crate::support::databases::{on_both, postgres, sqlite};
use crate::support::lines::{file, plain};
use crate::support::program::{Answer, Program};
use crate::support::shape::assert_shape;

#[test]
fn whatever_command_comes_first_creates_a_sqlite_database() {
    for first in [
        &["status"][..],
        &["jobs"],
        &["digest"],
        &["migrate"],
        &["account", "list"],
        &["batch", "list"],
        &["account", "add", "acme", "--name", "Acme"],
        &["--run-job", "aggregate-charges"],
    ] {
        let database = sqlite();
        let program = Program::on(&database);
        program.run(first).exits(0);
        program.run(&["status"]).exits(0);
        assert_sound(&database.url);
    }
}

#[test]
fn f21_several_first_commands_at_once_create_one_sqlite_database() {
    for _ in 0..5 {
        let database = sqlite();
        let program = Program::on(&database);
        let first: [&[&str]; 6] =
            [&["status"], &["jobs"], &["digest"], &["migrate"], &["account", "list"], &["batch", "list"]];
        let started = first.map(|args| program.start(args, b""));
        for running in started {
            running.answer().exits(0);
        }
        assert_sound(&database.url);
    }
}

#[test]
fn on_postgres_every_command_asks_for_the_migration_and_then_works() {
    let Some(database) = postgres() else { return };
    let program = Program::on(&database);
    let name = program.file("messages.csv", file(&[plain("m-1")]));
    for args in [
        &["status"][..],
        &["jobs"],
        &["digest"],
        &["account", "add", "acme", "--name", "Acme"],
        &["ingest", "messages", &name],
        &["--run-job", "aggregate-charges"],
        &["--run-job", "aggregate-charges", "--dry-run"],
    ] {
        program.run(args).exits(1).says(&["quittance migrate"]);
    }
    let migrated = program.json(&["migrate"]);
    assert_shape(&migrated, "schema_version:count");
    assert_eq!(program.json(&["migrate"]), migrated, "a second migration changes nothing");
    program.run(&["status"]).exits(0);
}

#[test]
fn f21_several_migrations_at_once_are_one() {
    on_both(|database| {
        let program = Program::on(database);
        let started: Vec<_> = (0..6).map(|_| program.start(&["migrate"], b"")).collect();
        for running in started {
            running.answer().exits(0);
        }
        program.run(&["status"]).exits(0);
        assert_sound(&database.url);
    });
}

#[test]
fn a_schema_of_another_version_is_refused() {
    on_both(|database| {
        let program = Program::on(database);
        program.run(&["migrate"]).exits(0);
        let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                     values (9999, 'from the future', true, 'x', 1)";
        block_on(change(&database.url, newer));
        for args in [&["status"][..], &["--run-job", "aggregate-charges"], &["migrate"]] {
            let answer = program.run(args).exits(1);
            assert!(answer.stderr.contains("9999"), "{}", answer.shown());
        }
    });
}

#[test]
fn every_fault_of_a_configuration_is_named_with_its_place() {
    let database = sqlite();
    let program = Program::on(&database);
    program.file("products.toml", "[[product]]\nid = \"sms\"\nchanel = \"sms\"\n");
    program.file("prices.toml", "[[payg]]\nproduct = \"sms\"\nprice = 0.1\n");
    let config = program.file(
        "quittance.toml",
        "zone = \"Mars/Olympus\"\nproducts = \"products.toml\"\nprices = \"prices.toml\"\nspeed = 9\n",
    );
    for command in [&["check-config"][..], &["status"], &["--run-job", "aggregate-charges"]] {
        let answer = program.run(&[command, &["--config", &config]].concat()).exits(78);
        let words =
            ["Mars/Olympus", "speed", "chanel", "products.toml:3", "prices.toml:3", "quittance.toml:1"];
        let answer = answer.says(&words);
        assert_eq!(answer.stdout, "");
    }
    program.run(&["check-config", "--config", "none.toml"]).exits(78).says(&["none.toml"]);
    assert_eq!(program.json(&["check-config"])["config"], "built in");
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let database = sqlite();
    let program = Program::on(&database);
    for args in [&["package", "list"][..], &["--help"], &["jobs", "--json"], &["man"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = program.command(args).stdout(writer).output().expect("it ends");
        Answer::of(format!("{args:?} to nobody"), output).exits(0);
    }
    // Where there is no room, what was told is not whole.
    for args in [&["jobs"][..], &["man"], &["completions", "bash"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
        let output = program.command(args).stdout(full).output().expect("it ends");
        Answer::of(format!("{args:?} to a full disk"), output).exits(1).says(&["standard output"]);
    }
    // Nor is one of stderr; the exit code still tells.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut refused = program.command(&["account", "show", "nobody", "--json"]);
    let output = refused.stderr(writer).stdout(Stdio::piped()).output().expect("it ends");
    Answer::of("a refusal to nobody".into(), output).exits(1);
}
