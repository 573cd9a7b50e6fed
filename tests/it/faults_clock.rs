//! Clocks that are wrong, that jump, and time that passed while nobody worked.

use std::sync::Arc;

use quittance::config::Config;
use quittance::domain::period::Timestamp;
use quittance::jobs::{Job, Report, Work};
use quittance::progress::Silent;
use quittance::runner::{self, Finished, Options, Outcome};
use quittance::store;
use rustix::process::Signal;

use crate::support::books::{assert_sound, block_on, change, digest_of, read};
use crate::support::daemon::{Daemon, EVERY_SECOND};
use crate::support::databases::{TestDatabase, on_both, postgres, sqlite};
use crate::support::desk::Desk;
use crate::support::facts::wait_until;
use crate::support::faketime::Clock;
use crate::support::lines::{file, line, plain};
use crate::support::locks::Lock;
use crate::support::program::Program;

const RUN: &[&str] = &["--run-job", "aggregate-charges", "--json"];
const COMPLETED: &str = "select count(*) from job_runs where outcome in ('done', 'partial', 'nothing_to_do')";
const TWICE: &str = "select count(slot) - count(distinct slot) from job_runs \
                     where job = 'aggregate-charges' and outcome in ('done', 'partial', 'nothing_to_do')";
/// How many scheduled seconds lie between the first and the last run, beyond those that runs stand for.
const LEFT_OUT: &str = "select (max(slot) - min(slot)) / 1000000 - cast(sum(slots) as bigint) + \
                        (select slots from job_runs where job = 'aggregate-charges' and slot is not null \
                         order by slot limit 1) \
                        from job_runs where job = 'aggregate-charges' and outcome in ('done', 'partial', 'nothing_to_do')";

fn count(url: &str, sql: &str) -> i64 {
    read(url, async |tx| tx.int(sql, Vec::new()).await)
}

fn service(url: &str) -> Program {
    let mut program = Program::on_url(url);
    program.at_present().configure(EVERY_SECOND);
    program
}

#[test]
fn f28_a_host_whose_clock_is_ten_minutes_off_takes_no_lease_that_is_held() {
    let Some(database) = postgres() else { return };
    let desk = Desk::open(&database);
    desk.take("messages.csv", file(&[plain("m-1")]));
    let Some(clock) = Clock::of(&desk.program, "clock") else { return };
    let lock = Lock::take(&desk.url);
    let running = desk.program.start(RUN, b"");
    wait_until("the run begins", || count(&desk.url, "select count(*) from job_runs") == 1);
    for offset in ["+600", "-600"] {
        clock.set(offset);
        let output = desk.program.command(RUN).envs(clock.environment()).output().expect("it ends");
        assert_eq!(output.status.code(), Some(75), "{output:?}");
    }
    lock.release();
    running.answer().exits(0);
    assert_eq!(count(&desk.url, COMPLETED), 1);
}

#[test]
fn f38_f39_a_clock_that_runs_a_year_ahead_and_is_set_right_stops_nothing() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = service(&desk.url);
        let Some(clock) = Clock::of(&program, "clock") else { return };
        // First seen while the clock runs ahead: its own slots lie in the future afterwards.
        clock.set("+365d");
        let daemon = Daemon::begin_with(&program, "daemon", &clock.environment());
        wait_until("it works a year ahead", || count(&desk.url, COMPLETED) >= 2);
        clock.set("+0");
        daemon.wait_for_log("The clock was set back");
        desk.take("messages.csv", file(&[plain("m-1")]));
        wait_until("it charges at the right time", || desk.account("unbilled") == "0.045");
        let before = count(&desk.url, COMPLETED);
        wait_until("it goes on", || count(&desk.url, COMPLETED) >= before + 2);
        assert_eq!(count(&desk.url, TWICE), 0, "a slot was run twice");
        daemon.stop();
        assert_sound(&desk.url);
    });
}

#[test]
fn f38_f39_jumps_back_and_forth_run_no_slot_twice() {
    let database = sqlite();
    let desk = Desk::open(&database);
    let program = service(&desk.url);
    let Some(clock) = Clock::of(&program, "clock") else { return };
    let daemon = Daemon::begin_with(&program, "daemon", &clock.environment());
    wait_until("it works", || count(&desk.url, COMPLETED) >= 2);
    for (offset, ahead) in [("+1d", true), ("+0", false), ("+365d", true), ("-3600", false), ("+2h", true)] {
        clock.set(offset);
        let before = count(&desk.url, COMPLETED);
        if ahead {
            wait_until(&format!("it works at {offset}"), || count(&desk.url, COMPLETED) > before);
        } else {
            let seen = daemon.log().matches("The clock was set back").count();
            wait_until(&format!("it notices {offset}"), || {
                daemon.log().matches("The clock was set back").count() > seen
            });
        }
        assert_eq!(count(&desk.url, TWICE), 0, "a slot was run twice at {offset}");
    }
    let negative = "select count(*) from job_runs where duration_ms < 0";
    assert_eq!(count(&desk.url, negative), 0);
    daemon.stop();
    assert_sound(&desk.url);
}

#[test]
fn f29_f113_a_run_that_takes_longer_than_its_period_is_followed_by_one_that_makes_up() {
    let Some(database) = postgres() else { return };
    let desk = Desk::open(&database);
    desk.take("messages.csv", file(&[plain("m-1")]));
    let program = service(&desk.url);
    let lock = Lock::take(&desk.url);
    let daemon = Daemon::start(&program, "daemon");
    wait_until("monitoring says that it is behind", || {
        let (status, text) = daemon.get("/healthz");
        let health: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let behind = health["jobs"]["aggregate-charges"]["slots_behind"].as_i64();
        assert!(behind < Some(3) || (status == 503 && text.contains("slots behind")), "{text}");
        behind > Some(4)
    });
    let running = "select count(*) from job_runs where outcome = 'running'";
    assert_eq!(count(&desk.url, running), 1, "runs overlap");
    lock.release();
    wait_until("it has caught up", || daemon.get("/healthz").0 == 200);
    wait_until("it made up", || count(&desk.url, "select max(slots) from job_runs") >= 3);
    assert_eq!((count(&desk.url, LEFT_OUT), count(&desk.url, TWICE)), (0, 0));
    daemon.stop();
}

#[test]
fn f37_a_daemon_that_was_suspended_makes_up_for_what_it_missed() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = service(&desk.url);
        let daemon = Daemon::start(&program, "daemon");
        wait_until("it works", || count(&desk.url, COMPLETED) >= 2);
        daemon.signal(Signal::STOP);
        let began = std::time::Instant::now();
        wait_until("some time goes by", || began.elapsed().as_millis() > 3_500);
        daemon.signal(Signal::CONT);
        wait_until("it made up", || count(&desk.url, "select max(slots) from job_runs") >= 3);
        let before = count(&desk.url, COMPLETED);
        wait_until("it goes on", || count(&desk.url, COMPLETED) >= before + 2);
        daemon.stop();
        assert_eq!((count(&desk.url, LEFT_OUT), count(&desk.url, TWICE)), (0, 0));
    });
}

/// A job that can't be undone.
static MAILS: Job = Job {
    name: "test-mails",
    about: "sends what can't be called back",
    verb: "send",
    schedule: "* * * * *",
    irreversible: true,
    work: Work::Books(|run| {
        Box::pin(async move {
            let sent = "insert into instance (name, value) values ('mail-' || $1, '')";
            run.tx.execute(sent, vec![run.run_no.to_string().into()]).await?;
            Ok(Report { worked: true, ..Report::default() })
        })
    }),
};

async fn run_mails(url: &str, options: Options) -> Finished {
    let config = Arc::new(Config::built_in().expect("the shipped configuration"));
    let db = store::open(url).await.expect("the database opens");
    let run = runner::run(&db, &config, &MAILS, options, &Silent).await.expect("a run or a refusal");
    db.close().await;
    run
}

fn at(text: &str) -> Options {
    Options { as_of: Timestamp::parse_rfc3339(text), ..Options::default() }
}

#[test]
fn f39_what_can_not_be_undone_is_refused_while_the_time_is_in_doubt() {
    on_both(|database| {
        let url = Desk::open(database).url;
        let sent = || count(&url, "select count(*) from instance where name like 'mail-%'");
        let run = |options: Options| block_on(run_mails(&url, options));
        assert_eq!(run(at("2026-03-01T09:00:00+08:00")).outcome, Outcome::Done);
        let refused = run(at("2098-01-01T00:00:00+08:00"));
        assert_eq!(refused.outcome, Outcome::Refused);
        assert!(refused.refusal.expect("a reason").contains("--catch-up"));
        assert_eq!(sent(), 1);
        assert_eq!(count(&url, "select count(*) from job_runs where outcome = 'refused'"), 1);
        // The refusal moved nothing: the next one works at its own time.
        assert_eq!(
            run(at("2026-03-01T10:00:00+08:00")).as_of,
            at("2026-03-01T10:00:00+08:00").as_of.unwrap()
        );
        // Nor does a clock that was set back take it back.
        assert_eq!(
            run(at("2026-02-01T00:00:00+08:00")).as_of,
            at("2026-03-01T10:00:00+08:00").as_of.unwrap()
        );
        let dry = Options { dry_run: true, ..at("2098-01-01T00:00:00+08:00") };
        assert_eq!(run(dry).outcome, Outcome::Refused);
        let told = Options { catch_up: true, ..at("2026-06-01T00:00:00+08:00") };
        assert_eq!(run(told).outcome, Outcome::Done);
        assert_eq!(sent(), 4);
    });
}

#[test]
fn f28_f39_what_can_not_be_undone_is_refused_where_two_clocks_disagree() {
    let Some(database) = postgres() else { return };
    let url = Desk::open(&database).url;
    // What a session that looks here first takes for the clock of the database.
    let ten_minutes_fast = "create function clock_timestamp() returns timestamptz language sql as \
                            $$ select pg_catalog.clock_timestamp() + interval '10 minutes' $$";
    block_on(change(&url, ten_minutes_fast));
    let fast = format!("{url}&options[search_path]=public,pg_catalog");
    let refused = block_on(run_mails(&fast, Options::default()));
    assert_eq!(refused.outcome, Outcome::Refused);
    assert!(refused.refusal.expect("a reason").contains("clocks") || count(&url, COMPLETED) == 0);
    assert_eq!(block_on(run_mails(&url, Options::default())).outcome, Outcome::Done);
}

const DAYS: usize = 10;

/// A day's messages: more than the plan that was bought on the fifth day can pay.
fn messages_of(day: usize) -> String {
    let of = |n: usize| {
        let template_type = ["verification", "promotional"][n % 2];
        let time = format!("2026-03-{:02}T{:02}:15:00+08:00", day + 1, n % 24);
        line(&format!("m-{day}-{n}"), "acme", template_type, &(1 + n % 5).to_string(), &time)
    };
    file(&(0..40).map(of).collect::<Vec<_>>())
}

/// Hands in a day's file at its end, and buys a plan on the fifth day.
fn live_through(desk: &mut Desk, day: usize) {
    desk.program.at(&format!("2026-03-{:02}T23:59:00+08:00", day + 1));
    let name = desk.program.file(&format!("{day}.csv"), messages_of(day));
    desk.program.run(&["ingest", "messages", &name]).exits(0);
    if day == 4 {
        desk.program.run(&["order", "place", "acme", "sms-domestic-200", "--reference", "o"]).exits(0);
    }
}

fn on_time(database: &TestDatabase) -> String {
    let mut desk = Desk::open(database);
    for day in 0..DAYS {
        live_through(&mut desk, day);
        desk.charge();
    }
    digest_of(&desk.url)
}

#[test]
fn f30_f31_ten_days_without_runs_are_made_up_for_as_if_each_had_been_on_time() {
    let expected = on_time(&sqlite());
    on_both(|database| {
        let mut desk = Desk::open(database);
        for day in 0..DAYS {
            live_through(&mut desk, day);
        }
        // Killed over and over on the way.
        for tried in 0..6 {
            let running = desk.program.start(&[RUN, &["--catch-up"]].concat(), b"");
            std::thread::sleep(std::time::Duration::from_millis(8 * tried));
            running.kill();
        }
        let caught_up = desk.program.run(&[RUN, &["--catch-up"]].concat());
        caught_up.exits(0);
        assert_eq!(desk.program.json(&["status"])["uncharged"]["batches"], 0);
        assert_eq!(digest_of(&desk.url), expected);
        assert_sound(&desk.url);
    });
}

#[test]
fn f30_jobs_tell_how_far_behind_they_are_after_ten_days() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        desk.program.at("2026-03-11T12:00:00+08:00");
        let noon = Timestamp::parse_rfc3339("2026-03-01T12:00:00+08:00").expect("a time");
        let known = format!(
            "insert into jobs (job, runs, since) values ('aggregate-charges', 0, {}) \
             on conflict (job) do update set since = excluded.since",
            noon.0
        );
        block_on(change(&desk.url, &known));
        let behind = |desk: &Desk| {
            let jobs = desk.program.json(&["jobs"]);
            let jobs = jobs.as_array().expect("a list").clone();
            let job = jobs.into_iter().find(|job| job["job"] == "aggregate-charges").expect("the job");
            job["slots_behind"].as_i64().expect("a number")
        };
        assert_eq!(behind(&desk), 10 * 24 * 12);
        let words = desk.program.run(&["status"]).exits(0).stdout;
        assert!(words.contains("2,880 slots behind"), "{words}");
    });
}

#[test]
fn f46_f47_neither_the_zone_of_the_server_nor_of_the_machine_matters() {
    let expected = on_time(&sqlite());
    on_both(|database| {
        if database.url.starts_with("postgres") {
            let name = database.url.split(['/', '?']).find(|part| part.starts_with("quittance_"));
            let far = format!("alter database {} set timezone = 'Asia/Kathmandu'", name.expect("a name"));
            crate::support::databases::execute(&database.url, far);
        }
        let mut desk = Desk::open(database);
        desk.program.set("TZ", "America/St_Johns").set("PGTZ", "Asia/Kathmandu");
        for day in 0..DAYS {
            live_through(&mut desk, day);
            desk.charge();
        }
        assert_eq!(digest_of(&desk.url), expected);
        let times = "select count(*) from v_charges";
        assert!(count(&desk.url, times) > 0);
        assert_sound(&desk.url);
    });
}
