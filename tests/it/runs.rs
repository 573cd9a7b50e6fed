//! Runs of jobs: their time.

use std::sync::Arc;

use quittance::config::Config;
use quittance::domain::period::Timestamp;
use quittance::jobs;
use quittance::progress::Silent;
use quittance::runner::{self, Options};
use quittance::store::{self, Db};

use crate::support::databases::on_both;
use crate::support::program::Program;

/// Asks for runs as of the given times, one after the other, each with the time it then worked at.
fn check(asked: &[(&str, Options, &str)]) {
    let config = Arc::new(Config::built_in().expect("the shipped configuration"));
    let job = jobs::find("aggregate-charges").expect("the job");
    let time = |text: &str| Timestamp::parse_rfc3339(&format!("{text}:00+08:00")).expect("a time");
    on_both(|database| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let db = Db::open(&database.url).await.expect("a database");
            store::prepare(&db).await.expect("a schema");
            for (as_of, options, expected) in asked {
                let options = Options { as_of: Some(time(as_of)), ..options.clone() };
                let run = runner::run(&db, &config, job, options, &Silent).await.expect("a run");
                assert_eq!(run.as_of, time(expected), "asked for {as_of}");
            }
            db.close().await;
        });
    });
}

const PLAIN: Options =
    Options { as_of: None, dry_run: false, catch_up: false, slot: None, attempt: 1, cut: None, stop: None };

#[test]
fn a_run_works_as_of_the_time_it_is_told_and_never_before_a_time_that_was_reached() {
    let dry = Options { dry_run: true, ..PLAIN };
    check(&[
        ("2026-03-01T09:00", PLAIN, "2026-03-01T09:00"),
        // A dry run is told its time, too, and leaves business time where it was.
        ("2026-03-02T09:00", dry, "2026-03-02T09:00"),
        ("2026-03-01T09:05", PLAIN, "2026-03-01T09:05"),
        ("2026-03-02T09:00", PLAIN, "2026-03-02T09:00"),
        ("2026-03-01T09:10", PLAIN, "2026-03-02T09:00"),
    ]);
}

#[test]
fn a_jump_of_more_than_two_days_moves_business_time_only_when_told_to_catch_up() {
    let catch_up = Options { catch_up: true, ..PLAIN };
    check(&[
        ("2026-03-01T09:00", PLAIN, "2026-03-01T09:00"),
        ("2026-03-03T09:01", PLAIN, "2026-03-03T09:01"),
        ("2026-03-01T09:05", PLAIN, "2026-03-01T09:05"),
        ("2026-03-03T09:05", PLAIN, "2026-03-03T09:05"),
        ("2026-03-01T09:10", PLAIN, "2026-03-03T09:05"),
        ("2026-04-01T00:30", catch_up, "2026-04-01T00:30"),
        ("2026-03-03T09:10", PLAIN, "2026-04-01T00:30"),
    ]);
}

#[test]
fn f39_status_says_that_nothing_becomes_final_while_the_time_is_in_doubt() {
    on_both(|database| {
        let mut program = Program::on(database);
        program.run(&["migrate"]).exits(0);
        program.run(&["--run-job", "settle-receipts"]).exits(0);
        assert!(program.json(&["status"])["stuck_at"].is_null());
        program.at("2026-03-11T12:00:00+08:00");
        assert_eq!(program.json(&["status"])["stuck_at"], "2026-03-01T12:00:00+08:00");
        program.run(&["--run-job", "settle-receipts"]).exits(0);
        let said = program.run(&["status"]).exits(0).stdout;
        assert!(said.contains("--catch-up"), "{said}");
        program.run(&["--run-job", "settle-receipts", "--catch-up"]).exits(0);
        assert!(program.json(&["status"])["stuck_at"].is_null());
    });
}
