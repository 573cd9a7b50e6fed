//! The daemon is told to stop, to reload, or that its configuration is broken, in the middle of a run.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::books::{assert_sound, digest_of, read};
use crate::support::daemon::{Daemon, EVERY_SECOND};
use crate::support::databases::{TestDatabase, on_both, postgres, sqlite};
use crate::support::desk::Desk;
use crate::support::facts::wait_until;
use crate::support::lines::{file, plain};
use crate::support::locks::Lock;
use crate::support::program::Program;

/// The daemon at a desk with one message, its run begun and in want of the account.
struct Stuck {
    desk: Desk,
    program: Program,
    daemon: Daemon,
    lock: Lock,
}

impl Stuck {
    fn on(database: &TestDatabase) -> Stuck {
        let desk = Desk::open(database);
        let mut program = Program::on_url(&desk.url);
        program.at_present().configure(EVERY_SECOND);
        desk.take("messages.csv", file(&[plain("m-1")]));
        let lock = Lock::take(&desk.url);
        let daemon = Daemon::begin(&program, "daemon");
        let stuck = Stuck { desk, program, daemon, lock };
        wait_for_run(&stuck.desk.url);
        stuck
    }
}

fn wait_for_run(url: &str) {
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
                   and datname = current_database()";
    wait_until("the run waits for the account", || count(url, waiting) > 0);
}

fn count(url: &str, sql: &str) -> i64 {
    read(url, async |tx| tx.int(sql, Vec::new()).await)
}

fn assert_untouched(desk: &Desk) {
    assert_eq!(count(&desk.url, "select count(*) from batches where run_no is null"), 1);
    assert_eq!(count(&desk.url, "select count(*) from jobs where owner is not null"), 0, "it kept its lease");
    assert_eq!(count(&desk.url, "select count(*) from job_runs where outcome = 'interrupted'"), 1);
    assert_sound(&desk.url);
    desk.charge();
    let database = sqlite();
    let other = Desk::open(&database);
    other.take("messages.csv", file(&[plain("m-1")]));
    other.charge();
    assert_eq!(digest_of(&desk.url), digest_of(&other.url));
}

#[test]
fn f36_a_run_that_is_under_way_is_finished_after_sigterm() {
    let Some(database) = postgres() else { return };
    let Stuck { desk, daemon, lock, program: _program } = Stuck::on(&database);
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("Waiting for 1 runs to end");
    lock.release();
    let (status, log) = daemon.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(count(&desk.url, "select count(*) from job_runs where outcome = 'done'"), 1, "{log}");
    assert_eq!(count(&desk.url, "select count(*) from batches where run_no is null"), 0);
    assert_sound(&desk.url);
}

#[test]
fn f36_a_run_by_hand_that_is_told_to_end_is_rolled_back_and_keeps_no_lease() {
    let Some(database) = postgres() else { return };
    let desk = Desk::open(&database);
    desk.take("messages.csv", file(&[plain("m-1")]));
    let lock = Lock::take(&desk.url);
    let run = desk.program.start(&["--run-job", "aggregate-charges", "--json"], b"");
    wait_for_run(&desk.url);
    run.signal(Signal::TERM);
    run.answer().exits(1).says(&["told to end, and what it had under way was rolled back; run it again"]);
    lock.release();
    assert_untouched(&desk);
}

#[test]
fn f36_a_run_that_takes_too_long_after_sigterm_is_rolled_back_within_30_seconds() {
    let Some(database) = postgres() else { return };
    let Stuck { desk, daemon, lock, program: _program } = Stuck::on(&database);
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.wait();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}\n{log}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{log}");
    lock.release();
    assert_untouched(&desk);
}

#[test]
fn f36_a_second_signal_rolls_the_run_back_at_once() {
    let Some(database) = postgres() else { return };
    let Stuck { desk, daemon, lock, program: _program } = Stuck::on(&database);
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("Waiting for 1 runs to end");
    daemon.signal(Signal::INT);
    let (status, log) = daemon.wait();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}\n{log}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{log}");
    lock.release();
    assert_untouched(&desk);
}

#[test]
fn f36_prices_that_change_in_the_middle_of_a_run_hold_from_the_next_one_on() {
    let Some(database) = postgres() else { return };
    let Stuck { desk, program, daemon, lock } = Stuck::on(&database);
    let dearer = include_str!("../../config/prices.toml").replace("\"0.045\"", "\"0.045001\"");
    program.file("prices.toml", dearer);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("Took the configuration anew");
    lock.release();
    let charged = |amount: &str| {
        wait_until(&format!("it comes to {amount}"), || desk.account("unbilled") == amount);
    };
    charged("0.045");
    desk.take("more.csv", file(&[plain("m-2")]));
    charged("0.090001");
    daemon.stop();
    assert_sound(&desk.url);
}

#[test]
fn f36_f114_a_broken_configuration_is_refused_and_the_old_one_goes_on() {
    on_both(|database| {
        let desk = Desk::open(database);
        let mut program = Program::on_url(&desk.url);
        program.at_present().configure(EVERY_SECOND);
        let daemon = Daemon::start(&program, "daemon");
        for (broken, words) in [
            ("[schedule]\naggregate-charges = \"every now and then\"\n", "is not a schedule"),
            ("zone = \"Europe/Berlin\"\n", "the zone can't change"),
            ("what", "quittance.toml:1"),
        ] {
            program.file("quittance.toml", broken);
            daemon.signal(Signal::HUP);
            daemon.wait_for_log(words);
        }
        desk.take("messages.csv", file(&[plain("m-1")]));
        wait_until("it still charges each second", || desk.account("unbilled") == "0.045");
        program.file("quittance.toml", EVERY_SECOND.replace("\"* * * * * *\"", "\"off\""));
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("Took the configuration anew");
        daemon.stop();
    });
}
