//! The PostgreSQL server crashes and comes back, under one-shot commands and under a daemon.

use rustix::process::Signal;

use crate::support::books::{assert_sound, digest_of, read};
use crate::support::daemon::{Daemon, EVERY_SECOND};
use crate::support::databases::{execute, sqlite};
use crate::support::desk::Desk;
use crate::support::facts::wait_until;
use crate::support::lines::{file, line};
use crate::support::locks::Lock;
use crate::support::program::Program;
use crate::support::server::Server;

const RUN: &[&str] = &["--run-job", "aggregate-charges", "--json"];
const FILES: usize = 6;

fn messages(number: usize) -> String {
    let account = |n: usize| ["acme", "stranger"][n % 2];
    let of = |n: usize| {
        line(&format!("m-{number}-{n}"), account(n), "promotional", "2", "2026-03-01T09:00:00+08:00")
    };
    file(&(0..50).map(of).collect::<Vec<_>>())
}

fn opened(url: &str) -> Desk {
    let desk = Desk::open_url(url);
    for number in 0..FILES {
        desk.program.file(&format!("{number}.csv"), messages(number));
    }
    desk
}

fn undisturbed() -> String {
    let database = sqlite();
    let desk = opened(&database.url);
    for number in 0..FILES {
        desk.program.run(&["ingest", "messages", &format!("{number}.csv")]).exits(0);
    }
    desk.charge();
    digest_of(&database.url)
}

/// Crashes the server while a command waits for a lock that it will not get.
fn crash_under(server: &Server, program: &Program, lock: &str, args: &[&str], codes: &[i32]) {
    let lock = Lock::run(&server.url, lock);
    let running = program.start(args, b"");
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
                   and datname = current_database()";
    wait_until("the command is in the middle of its work", || {
        read(&server.url, async |tx| tx.int(waiting, Vec::new()).await) > 0
    });
    server.crash();
    drop(lock);
    let answer = running.answer();
    assert!(codes.contains(&answer.code), "{}", answer.shown());
}

/// Also where the database, for the sake of its other users, answers before it has written anything down.
#[test]
fn f03_what_was_answered_for_outlives_a_crash_of_the_server() {
    let Some(server) = Server::start() else { return };
    execute(&server.url, "alter system set wal_writer_delay = '10s'".into());
    execute(&server.url, "alter database books set synchronous_commit = off".into());
    server.crash();
    let desk = opened(&server.url);
    desk.program.run(&["ingest", "messages", "0.csv"]).exits(0);
    server.crash();
    assert_eq!(desk.program.json(&["batch", "list"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn f05_a_server_that_crashes_in_mid_run_costs_nothing_but_time() {
    let Some(server) = Server::start() else { return };
    let desk = opened(&server.url);
    let ingest = |number: usize| format!("{number}.csv");
    desk.program.run(&["ingest", "messages", &ingest(0)]).exits(0);

    // Both try again by themselves.
    let row = "select 1 from accounts where account_id = 'acme' for update";
    crash_under(&server, &desk.program, row, RUN, &[0, 3]);
    let turn = "select 1 from jobs where job = 'ingest' for update";
    crash_under(&server, &desk.program, turn, &["ingest", "messages", &ingest(1)], &[0]);
    desk.program.run(&["ingest", "messages", &ingest(1)]).exits(0);
    assert_sound(&server.url);

    let mut served = Program::on_url(&server.url);
    served.at_present().configure(EVERY_SECOND);
    let daemon = Daemon::start(&served, "daemon");
    for number in 2..FILES {
        server.crash();
        desk.program.run(&["ingest", "messages", &ingest(number)]).exits(0);
    }
    let uncharged = "select count(*) from batches where run_no is null";
    let all_charged = || read(&server.url, async |tx| tx.int(uncharged, Vec::new()).await) == 0;
    wait_until("the daemon charges everything", all_charged);

    // A database that is gone is told, waited for, and found again (F113).
    wait_until("the daemon is well", || daemon.get("/healthz").0 == 200);
    server.stop();
    wait_until("the daemon is not well", || daemon.get("/healthz").0 == 503);
    assert_eq!(daemon.get("/metrics").0, 503);
    server.begin();
    wait_until("the daemon is well again", || daemon.get("/healthz").0 == 200);
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.wait();
    assert_eq!(status.code(), Some(0), "{log}");

    assert_eq!(digest_of(&server.url), undisturbed());
    assert_sound(&server.url);
    desk.assert_nothing_is_lost();
}
