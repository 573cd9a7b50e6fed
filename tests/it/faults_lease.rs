//! Leases: who may run a job, and what becomes of those who lost the right without knowing it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quittance::config::Config;
use quittance::jobs::{Job, JobError, Report, Work};
use quittance::progress::Silent;
use quittance::runner::{self, Finished, Options, Outcome};
use quittance::store::leases::{self, Claimant};
use quittance::store::{self, StoreError};
use rustix::process::Signal;

use crate::support::books::{assert_sound, block_on, change, digest_of, read};
use crate::support::databases::{TestDatabase, on_both, postgres, sqlite};
use crate::support::desk::Desk;
use crate::support::facts::wait_until;
use crate::support::lines::{file, line};
use crate::support::locks::Lock;

const RUN: &[&str] = &["--run-job", "aggregate-charges", "--json"];
const SHORT: &str = "[runs]\nlease = \"1 second\"\n";

/// A desk with leases of a second and a file of messages that waits to be charged.
fn desk_with_work(database: &TestDatabase, messages: usize) -> Desk {
    let mut desk = Desk::open(database);
    desk.program.configure(SHORT);
    let of = |n: usize| line(&format!("m-{n}"), "acme", "verification", "2", "2026-03-01T09:00:00+08:00");
    desk.take("messages.csv", file(&(0..messages).map(of).collect::<Vec<_>>()));
    desk
}

/// The digest of a desk whose work was done in peace.
fn undisturbed(messages: usize) -> String {
    let database = sqlite();
    desk_with_work(&database, messages).charge();
    digest_of(&database.url)
}

/// How many runs of a job did their work, and how many did not.
fn runs(url: &str, job: &str) -> (i64, i64) {
    let count = |outcomes: &str| {
        let sql = format!("select count(*) from job_runs where job = '{job}' and outcome {outcomes}");
        read(url, async |tx| tx.int(sql, Vec::new()).await)
    };
    (count("in ('done', 'partial')"), count("in ('interrupted', 'failed', 'running')"))
}

fn lease_has_run_out(url: &str, job: &str) -> bool {
    let sql =
        format!("select count(*) from jobs where job = '{job}' and owner is not null and lease_until < $1");
    read(url, async |tx| {
        let now = leases::database_now(tx).await?;
        Ok(tx.int(sql, vec![now.0.into()]).await? == 1)
    })
}

#[test]
fn f27_a_run_that_was_stopped_past_its_lease_can_write_nothing_afterwards() {
    let Some(database) = postgres() else { return };
    let desk = desk_with_work(&database, 50);
    let lock = Lock::take(&desk.url);
    let stopped = desk.program.start(RUN, b"");
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and \
                 wait_event_type = 'Lock' and application_name like 'quittance aggregate-charges #%'";
    wait_until("the run waits for the account", || {
        read(&desk.url, async |tx| tx.int(waits, Vec::new()).await) == 1
    });
    stopped.signal(Signal::STOP);
    wait_until("its lease runs out", || lease_has_run_out(&desk.url, "aggregate-charges"));
    lock.release();

    let other = desk.program.run(RUN).exits(0);
    assert_eq!(other.json()["counts"]["messages"], 50, "{}", other.shown());
    let after = digest_of(&desk.url);
    stopped.signal(Signal::CONT);
    let woken = stopped.answer();
    // It tries again after its connection was ended, and finds nothing left.
    assert!([0, 75].contains(&woken.code), "{}", woken.shown());
    assert_eq!(digest_of(&desk.url), after);
    assert_eq!(after, undisturbed(50));
    assert_eq!(runs(&desk.url, "aggregate-charges").0, 1);
    assert_sound(&desk.url);
}

#[test]
fn f27_on_sqlite_nobody_can_take_the_place_of_a_stopped_run_that_writes() {
    let messages = 20_000;
    let database = sqlite();
    let desk = desk_with_work(&database, messages);
    let stopped = desk.program.start(RUN, b"");
    let held = || !block_on(can_write(&desk.url));
    wait_until("the run holds the database", || {
        let begun = read(&desk.url, async |tx| tx.int("select count(*) from job_runs", Vec::new()).await);
        begun == 1 && held()
    });
    stopped.signal(Signal::STOP);
    assert!(held(), "it was stopped too late to show anything");
    wait_until("its lease runs out", || lease_has_run_out(&desk.url, "aggregate-charges"));
    let others = [RUN, &["account", "top-up", "acme", "1", "--reference", "cash-2"]];
    for other in others.map(|args| desk.program.start(args, b"")) {
        other.answer().exits(75);
    }
    stopped.signal(Signal::CONT);
    stopped.answer().exits(0);
    assert_eq!(digest_of(&desk.url), undisturbed(messages));
    assert_eq!(runs(&desk.url, "aggregate-charges"), (1, 0));
    assert_sound(&desk.url);
}

/// Whether SQLite lets anybody write just now.
async fn can_write(url: &str) -> bool {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection};
    let options: SqliteConnectOptions = url.parse().expect("a URL");
    let mut connection = options.busy_timeout(Duration::ZERO).connect().await.expect("it opens");
    let begun = sqlx::raw_sql("begin immediate; rollback").execute(&mut connection).await.is_ok();
    connection.close().await.expect("it closes");
    begun
}

/// A job that stops in the middle of its work, its whole process with it, until it is told to go on.
static STALLS: Job = Job {
    name: "test-job",
    about: "stalls",
    verb: "do",
    schedule: "* * * * *",
    irreversible: false,
    work: Work::Steps(|steps| {
        Box::pin(async move {
            let (reached, go_on) = STALLED.lock().expect("no panic").take().expect("it is told when");
            reached.send(()).expect("somebody waits");
            go_on.recv().expect("it is told to go on");
            let mut tx = steps.db.write().await?;
            tx.execute("update instance set value = 'zombie' where name = 'mark'", Vec::new()).await?;
            leases::renew(&mut tx, steps.lease.expect("it has one")).await?;
            tx.commit().await?;
            Ok(Report { worked: true, ..Report::default() })
        })
    }),
};
static STALLED: Mutex<Option<(Sender<()>, Receiver<()>)>> = Mutex::new(None);

/// The same job, at work.
static WORKS: Job = Job {
    work: Work::Steps(|_| Box::pin(async { Ok(Report { worked: true, ..Report::default() }) })),
    ..STALLS
};

fn short_leases() -> Arc<Config> {
    let config = Config::built_in().expect("the shipped configuration");
    Arc::new(Config { lease: Duration::from_secs(1), ..config })
}

async fn run(url: &str, job: &'static Job, options: Options) -> Result<Finished, JobError> {
    let db = store::open(url).await.expect("the database opens");
    let done = runner::run(&db, &short_leases(), job, options, &Silent).await;
    db.close().await;
    done
}

#[test]
fn f27_the_token_of_a_lost_lease_voids_every_write() {
    on_both(|database| {
        let url = Desk::open(database).url;
        block_on(change(&url, "insert into instance (name, value) values ('mark', 'clean')"));
        let (reached, has_reached) = channel();
        let (tell, go_on) = channel();
        *STALLED.lock().expect("no panic") = Some((reached, go_on));
        let zombie = std::thread::spawn({
            let url = url.clone();
            // One thread only: while the job stalls nobody renews its lease.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            move || runtime.expect("a runtime").block_on(run(&url, &STALLS, Options::default()))
        });
        has_reached.recv().expect("the job begins");
        let held = block_on(run(&url, &WORKS, Options::default()));
        assert!(matches!(held, Err(JobError::Store(StoreError::Held { .. }))), "{held:?}");
        wait_until("its lease runs out", || lease_has_run_out(&url, "test-job"));
        let other = block_on(run(&url, &WORKS, Options::default())).expect("it takes the lease over");
        assert_eq!(other.outcome, Outcome::Done);
        tell.send(()).expect("the zombie waits");
        let zombie = zombie.join().expect("no panic");
        assert!(matches!(zombie, Err(JobError::Store(StoreError::Fenced { .. }))), "{zombie:?}");
        let mark = "select count(*) from instance where name = 'mark' and value = 'clean'";
        assert_eq!(read(&url, async |tx| tx.int(mark, Vec::new()).await), 1, "the zombie wrote");
        assert_eq!(runs(&url, "test-job"), (1, 1));
    });
}

#[test]
fn f27_a_lease_is_renewed_as_long_as_its_run_goes_on() {
    let Some(database) = postgres() else { return };
    let desk = desk_with_work(&database, 5);
    let lock = Lock::take(&desk.url);
    let running = desk.program.start(RUN, b"");
    let until = || {
        let sql = "select coalesce(max(lease_until), 0) from jobs where job = 'aggregate-charges'";
        read(&desk.url, async |tx| tx.int(sql, Vec::new()).await)
    };
    wait_until("the run begins", || until() > 0);
    let first = until();
    wait_until("the lease outlives itself", || until() > first + 1_500_000);
    desk.program.run(RUN).exits(75).says(&["aggregate-charges", "pid"]);
    desk.program.run(&[RUN, &["--dry-run"]].concat()).exits(75);
    lock.release();
    running.answer().exits(0);
    desk.program.run(RUN).exits(0);
}

#[test]
fn f06_a_second_try_takes_over_the_lease_that_the_first_could_not_give_back() {
    on_both(|database| {
        let url = Desk::open(database).url;
        block_on(async {
            let db = store::open(&url).await.expect("the database opens");
            let owner = quittance::instance::name();
            let claim = async |again: bool| {
                let mut tx = db.write().await?;
                let claimant = Claimant { owner: &owner, again };
                match leases::claim(&mut tx, "test-job", claimant, Duration::from_secs(600)).await {
                    Ok(lease) => tx.commit().await.map(|()| lease),
                    // At once, so that the next claim does not find the row still locked.
                    Err(error) => tx.rollback().await.and(Err(error)),
                }
            };
            let first = claim(false).await.expect("it is free");
            assert!(matches!(claim(false).await, Err(StoreError::Held { .. })));
            let second = claim(true).await.expect("it is its own");
            assert!(second.token > first.token);
            let mut tx = db.write().await.expect("it can be written");
            assert!(matches!(leases::renew(&mut tx, &first).await, Err(StoreError::Fenced { .. })));
            tx.rollback().await.expect("it is taken back");
            db.close().await;
        });
        let held = block_on(run(&url, &WORKS, Options::default()));
        assert!(matches!(held, Err(JobError::Store(StoreError::Held { .. }))), "{held:?}");
        let again = Options { attempt: 2, ..Options::default() };
        assert_eq!(block_on(run(&url, &WORKS, again)).expect("it runs").outcome, Outcome::Done);
    });
}

/// The same job, with a fault in its code.
static PANICS: Job = Job {
    work: Work::Books(|run| {
        Box::pin(async move {
            run.tx.execute("update instance set value = 'half' where name = 'mark'", Vec::new()).await?;
            if run.run_no > 0 {
                panic!("a fault in the code");
            }
            Ok(Report::default())
        })
    }),
    ..STALLS
};

#[test]
fn f111_a_run_that_panics_is_noticed_rolled_back_and_followed_by_one_that_works() {
    on_both(|database| {
        let url = Desk::open(database).url;
        block_on(change(&url, "insert into instance (name, value) values ('mark', 'clean')"));
        let panics = std::thread::spawn({
            let url = url.clone();
            move || block_on(run(&url, &PANICS, Options::default()))
        });
        assert!(panics.join().is_err(), "it did not panic");
        let again = Options { attempt: 2, ..Options::default() };
        assert_eq!(block_on(run(&url, &WORKS, again)).expect("it runs").outcome, Outcome::Done);
        let mark = "select count(*) from instance where name = 'mark' and value = 'clean'";
        assert_eq!(read(&url, async |tx| tx.int(mark, Vec::new()).await), 1, "half of it was kept");
        assert_eq!(runs(&url, "test-job"), (1, 1));
    });
}
