//! The daemon from outside: what it runs and when, what it tells systemd and monitoring, how it ends.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::books::{assert_sound, block_on, change, digest_of, read};
use crate::support::daemon::{Daemon, EVERY_SECOND};
use crate::support::databases::{TestDatabase, on_both, postgres, sqlite};
use crate::support::desk::Desk;
use crate::support::facts::{wait_for, wait_until};
use crate::support::lines::{file, line, plain};
use crate::support::program::Program;
use crate::support::shape::assert_shape;

const RUN: &[&str] = &["--run-job", "aggregate-charges", "--json"];

/// The program as a service: by the machine's clock, each job due each second.
fn service(url: &str) -> Program {
    let mut program = Program::on_url(url);
    program.at_present().configure(EVERY_SECOND);
    program
}

fn count(url: &str, sql: &str) -> i64 {
    read(url, async |tx| tx.int(sql, Vec::new()).await)
}

const UNCHARGED: &str = "select count(*) from batches where run_no is null";
const COMPLETED: &str = "select count(*) from job_runs where outcome in ('done', 'partial', 'nothing_to_do')";

fn job(program: &Program) -> Value {
    let jobs = program.json(&["jobs"]);
    let mut jobs = jobs.as_array().expect("a list").iter();
    jobs.find(|job| job["job"] == "aggregate-charges").expect("the job").clone()
}

#[test]
fn a_daemon_charges_what_comes_in_and_tells_what_it_did() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = service(&desk.url);
        let daemon = Daemon::start(&program, "daemon");
        desk.take("messages.csv", file(&[plain("m-1"), plain("m-2")]));
        wait_until("the messages are charged", || count(&desk.url, UNCHARGED) == 0);
        wait_until("it goes on each second", || count(&desk.url, COMPLETED) >= 3);

        let job = job(&program);
        assert_shape(&job, "job:text schedule:text next:time slots_behind:count last_run:object");
        assert_shape(&job["last_run"], "run_id:text slot:time slots:count attempt:count owner:text");
        assert_eq!(job["failures_in_a_row"], 0);
        let (status, health) = daemon.get("/healthz");
        assert_eq!(status, 200, "{health}");
        assert!(health.contains("\"status\":\"ok\""), "{health}");
        assert_eq!(daemon.get("/nothing").0, 404);
        let log = daemon.stop();
        assert!(log.contains("Ran `aggregate-charges`: 1 batches, 1 accounts, 2 messages"), "{log}");
        // Each line is JSON where nobody watches.
        log.lines().for_each(|line| assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}"));
        let held = "select count(*) from jobs where owner is not null";
        assert_eq!(count(&desk.url, held), 0, "it kept a lease");
        assert_sound(&desk.url);
    });
}

/// Two that contradict each other.
const RECEIPTS: &str = "account_id,message_id,status\nacme,m-1,delivered\nacme,m-1,failed\n";

#[test]
fn metrics_are_what_prometheus_reads() {
    let database = sqlite();
    let desk = Desk::open(&database);
    let stranger = line("m-2", "stranger", "verification", "1", "2026-03-01T09:00:00+08:00");
    desk.take("messages.csv", file(&[plain("m-1"), stranger]));
    let found_wrong = "insert into audited (account_id, entry_no, at, fault) values ('acme', 0, 0, 'a test')";
    block_on(change(&desk.url, found_wrong));
    let program = service(&desk.url);
    let daemon = Daemon::start(&program, "daemon");
    wait_until("the messages are charged", || count(&desk.url, UNCHARGED) == 0);
    let receipts = desk.program.file("r.csv", RECEIPTS);
    desk.program.run(&["ingest", "receipts", &receipts]).exits(3);
    let metrics = wait_for("the run is counted", || {
        let (status, text) = daemon.get("/metrics");
        assert_eq!(status, 200, "{text}");
        text.contains("outcome=\"partial\"} 1").then_some(text)
    });
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("quittance_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    for wanted in [
        "quittance_runs_total{job=\"aggregate-charges\",outcome=\"partial\"} 1",
        "quittance_run_duration_seconds_bucket{le=\"+Inf\",job=\"aggregate-charges\"}",
        "quittance_job_age_seconds{job=\"aggregate-charges\"}",
        "quittance_job_last_success_timestamp_seconds{job=\"aggregate-charges\"}",
        "quittance_job_slots_behind{job=\"aggregate-charges\"}",
        "quittance_suspense_messages{reason=\"unknown_account\"} 1",
        "quittance_exceptions{kind=\"conflict\"} 1",
        "quittance_accounts{status=\"active\"} 1",
        "quittance_backlog_messages 0",
        "quittance_backlog_batches 0",
        "quittance_parked_accounts 0",
        "quittance_wrong_accounts 1",
    ] {
        assert!(metrics.contains(wanted), "no `{wanted}` in\n{metrics}");
    }
    daemon.stop();
}

#[test]
fn systemd_is_told_of_each_step() {
    let database = sqlite();
    let desk = Desk::open(&database);
    let mut program = service(&desk.url);
    program.configure(&EVERY_SECOND.replace("* * * * * *", "*/3 * * * * *"));
    let socket = UnixDatagram::bind(program.path("notify")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let address = program.path("notify").display().to_string();
    let environment = [("NOTIFY_SOCKET", address.as_str()), ("WATCHDOG_USEC", "10000000")];
    let daemon = Daemon::begin_with(&program, "daemon", &environment);
    let told = |word: &str| {
        let mut buffer = [0; 1024];
        for _ in 0..30 {
            let count = socket.recv(&mut buffer).unwrap_or_else(|_| panic!("systemd was not told {word}"));
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if text.lines().any(|line| line.starts_with(word)) {
                return text;
            }
        }
        panic!("systemd was told other things, but not {word}");
    };
    told("READY=1");
    told("WATCHDOG=1");
    assert!(told("STATUS=").contains("; next "));
    daemon.signal(Signal::HUP);
    assert!(told("RELOADING=1").contains("MONOTONIC_USEC="));
    told("READY=1");
    daemon.signal(Signal::TERM);
    told("STOPPING=1");
    assert_eq!(daemon.wait().0.code(), Some(0));
}

#[test]
fn a_daemon_that_can_not_work_says_why_and_does_not_start() {
    let database = sqlite();
    let mut program = service(&database.url);
    program.run(&["--as-of", "2026-03-01T12:00:00+08:00", "daemon"]).exits(2).says(&["--run-job"]);
    program.configure("zone = \"Mars/Olympus\"\n");
    program.run(&["daemon"]).exits(78).says(&["Mars/Olympus"]);
    let Some(empty) = postgres() else { return };
    service(&empty.url).run(&["daemon"]).exits(1).says(&["quittance migrate"]);
}

#[test]
fn f22_a_daemon_whose_database_gets_another_schema_stops_and_writes_nothing_more() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = service(&desk.url);
        let daemon = Daemon::start(&program, "daemon");
        wait_until("it works", || count(&desk.url, COMPLETED) > 0);
        let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                     values (9999, 'from the future', true, 'x', 1)";
        block_on(change(&desk.url, newer));
        let (status, log) = daemon.wait();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("9999") && log.contains("install the newer quittance"), "{log}");
    });
}

/// Files of messages of two accounts, and a desk that has them.
fn desk_with_files(database: &TestDatabase, files: usize) -> Desk {
    let desk = Desk::open(database);
    for number in 0..files {
        let of = |n: usize| {
            let time = format!("2026-03-01T09:{:02}:00+08:00", n % 60);
            line(&format!("m-{number}-{n}"), ["acme", "stranger"][n % 2], "promotional", "2", &time)
        };
        desk.program.file(&format!("{number}.csv"), file(&(0..60).map(of).collect::<Vec<_>>()));
    }
    desk
}

fn digest_of_one(files: usize) -> String {
    let database = sqlite();
    let desk = desk_with_files(&database, files);
    for number in 0..files {
        desk.program.run(&["ingest", "messages", &format!("{number}.csv")]).exits(0);
    }
    desk.charge();
    digest_of(&database.url)
}

#[test]
fn f25_f26_f35_several_daemons_and_one_shots_on_one_database_charge_as_one() {
    const FILES: usize = 8;
    let expected = digest_of_one(FILES);
    on_both(|database| {
        let desk = desk_with_files(database, FILES);
        let programs = [service(&desk.url), service(&desk.url), service(&desk.url)];
        let daemons: Vec<_> = programs.iter().map(|program| Daemon::start(program, "daemon")).collect();
        for number in 0..FILES {
            desk.program.run(&["ingest", "messages", &format!("{number}.csv")]).exits(0);
            let answer = desk.program.run(RUN);
            assert!([0, 3, 75].contains(&answer.code), "{}", answer.shown());
        }
        wait_until("everything is charged", || count(&desk.url, UNCHARGED) == 0);
        for daemon in daemons {
            let log = daemon.stop();
            assert!(!log.contains("\"ERROR\""), "{log}");
        }
        // No slot was run twice, and none was left out.
        let slots = "select count(*) - count(distinct slot) from job_runs \
                     where slot is not null and outcome in ('done', 'partial', 'nothing_to_do')";
        assert_eq!(count(&desk.url, slots), 0);
        assert_eq!(digest_of(&desk.url), expected);
        assert_sound(&desk.url);
    });
}

#[test]
fn f34_a_daemon_that_is_restarted_more_often_than_its_period_runs_every_slot() {
    let database = sqlite();
    let desk = Desk::open(&database);
    let mut program = service(&desk.url);
    program.configure(&EVERY_SECOND.replace("* * * * * *", "*/4 * * * * *"));
    let began = Instant::now();
    let mut starts = 0;
    while starts < 5 || began.elapsed() < Duration::from_secs(13) {
        starts += 1;
        let daemon = Daemon::start(&program, "daemon");
        // Long enough to look once, too short for a period.
        let life = Instant::now();
        wait_until("its life ends", || life.elapsed() > Duration::from_millis(1_800));
        daemon.kill();
    }
    let (first, last) = (
        count(&desk.url, "select min(since) from jobs where since is not null"),
        count(&desk.url, "select max(slot) from job_runs"),
    );
    let passed = last.div_euclid(4_000_000) - first.div_euclid(4_000_000);
    let done = "select coalesce(sum(slots), 0) from job_runs where outcome = 'nothing_to_do'";
    assert!(passed >= 2, "{starts} starts, {passed} slots");
    assert_eq!(count(&desk.url, done), passed);
}

#[test]
fn f106_the_log_of_a_daemon_holds_no_secret() {
    const SECRET: &str = "hunter2";
    let Some(database) = postgres() else { return };
    Desk::open(&database);
    let and = if database.url.contains('?') { '&' } else { '?' };
    let mut program = service(&format!("{}{and}password={SECRET}", database.url));
    program.set("QUITTANCE_LOG", "trace");
    let daemon = Daemon::start(&program, "daemon");
    wait_until("it works", || count(&database.url, COMPLETED) >= 2);
    let broken = format!("database = \"postgres://clerk:{SECRET}@host/books\"\nspeed = 9\n");
    program.file("quittance.toml", broken);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("was not taken");
    let seen = [daemon.get("/metrics").1, daemon.get("/healthz").1, daemon.stop()];
    assert!(seen.iter().all(|text| !text.contains(SECRET)), "{seen:?}");
    let kept = "select count(*) from job_runs where coalesce(error, '') || owner like '%hunter2%'";
    assert_eq!(count(&database.url, kept), 0);
}
