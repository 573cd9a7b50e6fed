//! Faults of the machinery below the spool: leases that were lost, runs that are cut off, connections
//! that break at their COMMIT, a database that refuses one file.

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;

use quittance::config::Config;
use quittance::domain::period::Timestamp;
use quittance::jobs::{self, JobError, Steps, Work};
use quittance::progress::Silent;
use quittance::runner::{self, Options};
use quittance::store::leases::{self, Claimant, Lease};
use quittance::store::{self, Db, StoreError};
use serde_json::json;
use tokio::sync::watch;

use crate::support::books::{assert_sound, block_on};
use crate::support::databases::{on_both, postgres};
use crate::support::desk::{Desk, taken};
use crate::support::lines::{file, plain};
use crate::support::program::{NOON, Program};
use crate::support::proxy::{Proxy, Trouble};
use crate::support::spool::{RUN, Spooled, at_both_spools, counted};

const JOB: &str = "ingest-spool";

fn noon() -> Timestamp {
    Timestamp::parse_rfc3339(NOON).expect("a time")
}

fn config_of(spool: &Spooled) -> Arc<Config> {
    let path: PathBuf = spool.desk.program.path("config/quittance.toml");
    Arc::new(Config::load(Some(&path)).expect("the configuration"))
}

async fn execute(db: &Db, sql: &str) {
    let mut tx = db.write().await.expect("it can be written");
    tx.execute(sql, Vec::new()).await.expect("it works");
    tx.commit().await.expect("it is committed");
}

async fn claim(db: &Db, owner: &str) -> Lease {
    let mut tx = db.write().await.expect("it can be written");
    let lasts = std::time::Duration::from_secs(30);
    let lease = leases::claim(&mut tx, JOB, Claimant { owner, again: false }, lasts)
        .await
        .expect("the lease is free");
    tx.commit().await.expect("it is committed");
    lease
}

/// Runs the job itself, without the runner around it.
async fn work(db: &Db, config: &Arc<Config>, lease: &Lease) -> Result<jobs::Report, JobError> {
    let Work::Steps(work) = jobs::find(JOB).expect("the job").work else { panic!("not in steps") };
    work(Steps { db, config, lease: Some(lease), as_of: noon(), progress: &Silent, stop: None }).await
}

/// Runs once more, as soon as it can be.
async fn finish(db: &Db, config: &Arc<Config>) {
    let job = jobs::find(JOB).expect("the job");
    loop {
        let options = Options { as_of: Some(noon()), ..Options::default() };
        match runner::run(db, config, job, options, &Silent).await {
            Ok(_) => return,
            // What was cut is still being rolled back.
            Err(JobError::Store(StoreError::Busy)) => {}
            // It was cut when it had just taken its lease, which runs out.
            Err(JobError::Store(StoreError::Held { .. })) => {
                execute(db, "update jobs set lease_until = 0").await;
            }
            Err(error) => panic!("the next run failed: {error}"),
        }
    }
}

#[test]
fn f27_a_run_whose_lease_was_taken_over_writes_nothing_and_leaves_its_file() {
    at_both_spools(|spool| {
        let config = config_of(spool);
        spool.drop_file("a.csv", file(&[plain("m-1")]));
        spool.drop_file("b.csv", file(&[plain("m-2")]));
        block_on(async {
            let db = store::open(&spool.desk.url).await.expect("the database opens");
            let old = claim(&db, "stopped pid 1 (? ? 1)").await;
            execute(&db, "update jobs set lease_until = 0").await;
            let new = claim(&db, "other pid 2 (? ? 2)").await;
            let fenced = work(&db, &config, &old).await;
            assert!(matches!(fenced, Err(JobError::Store(StoreError::Fenced { .. }))), "{fenced:?}");
            // It stopped at once: one file was claimed, the other not.
            let lies = |name: &str| spool.files().iter().filter(|file| file.ends_with(name)).count();
            assert_eq!((lies("work/messages/generic/a.csv"), spool.path("b.csv").exists()), (1, true));
            let report = work(&db, &config, &new).await.expect("it works");
            assert_eq!(report.counts[0], ("files", 2));
            // Woken up once more, it finds nothing and does no harm.
            assert!(!work(&db, &config, &old).await.expect("nothing to do").worked);
            db.close().await;
        });
        assert_eq!(spool.batches(), 2);
        assert_eq!(spool.files().len(), 4);
    });
}

#[test]
fn f29_a_run_that_takes_longer_than_its_lease_keeps_it() {
    at_both_spools(|spool| {
        spool.configure("[spool]\ndir = \"../spool\"\n[runs]\nlease = \"1 second\"\n");
        // A fast machine is given more to do, until a run is long enough to tell.
        let (mut lines, mut took) = (40_000, 0);
        while took < 1_500 {
            lines *= 2;
            took = length_of_a_guarded_run(spool, lines);
        }
    });
}

/// How many milliseconds a run took for that many messages, while others tried in vain to run.
fn length_of_a_guarded_run(spool: &Spooled, lines: usize) -> i64 {
    let name = format!("long-{lines}.csv");
    let messages: Vec<String> = (0..lines).map(|n| plain(&format!("m-{lines}-{n}"))).collect();
    spool.drop_file(&name, file(&messages));
    let mut first = spool.desk.program.start(RUN, b"");
    while !spool.path(&format!("work/messages/generic/{name}")).exists() {
        assert!(!first.has_ended(), "{}", first.answer().shown());
    }
    let mut refused = 0;
    while !first.has_ended() {
        let second = spool.run();
        match second.code {
            75 => refused += 1,
            _ => assert_eq!(counted(second), json!({}), "the first run lost its lease"),
        }
    }
    let first = first.answer();
    let took = first.json()["duration_ms"].as_i64().expect("a length");
    assert_eq!(counted(first), json!({ "files": 1, "accepted": lines }));
    assert!(refused > 0, "nobody was refused in {took} ms");
    took
}

#[test]
fn f36_cut_at_any_point_a_run_leaves_each_file_whole_and_the_next_takes_it() {
    at_both_spools(|spool| {
        let config = config_of(spool);
        let job = jobs::find(JOB).expect("the job");
        block_on(async {
            let db = store::open(&spool.desk.url).await.expect("the database opens");
            let mut cuts = 0;
            // How often a run is polled differs from one to the next: so many rounds reach its end.
            for polls in 1..=24 {
                let lines: Vec<String> = (0..20).map(|n| plain(&format!("m-{polls}-{n}"))).collect();
                spool.drop_file(format!("{polls}.csv"), file(&lines));
                let (cut, told) = watch::channel(false);
                let options = Options { as_of: Some(noon()), cut: Some(told), ..Options::default() };
                let mut run = Box::pin(runner::run(&db, &config, job, options, &Silent));
                let mut polled = 0;
                let ended = poll_fn(|context| {
                    polled += 1;
                    if polled == polls {
                        cut.send_replace(true);
                    }
                    match run.as_mut().poll(context) {
                        Poll::Ready(ended) => Poll::Ready(ended),
                        Poll::Pending => Poll::Pending,
                    }
                });
                match ended.await {
                    Ok(_) => {}
                    Err(JobError::Cut) => cuts += 1,
                    Err(error) => panic!("cut at poll {polls}: {error}"),
                }
                drop(run);
                finish(&db, &config).await;
                let done = (spool.path(&format!("done/{polls}.csv")), spool.files().len());
                assert!(done.0.is_file() && done.1 == 2 * polls, "cut at poll {polls}: {:?}", spool.files());
            }
            assert!(cuts >= 3, "only {cuts} runs were cut");
            db.close().await;
        });
        let all = spool.desk.program.json(&["batch", "list"]);
        let all = all.as_array().expect("a list");
        assert!(all.iter().all(|batch| batch["accepted"] == 20), "{all:?}");
        assert_eq!(all.len() * 2, spool.files().len());
    });
}

#[test]
fn f110_a_file_that_the_database_refuses_keeps_no_other_waiting() {
    on_both(|database| {
        let spool = Spooled::open(database);
        let url = &spool.desk.url;
        let run = async |sql: &[&str]| {
            let db = store::open(url).await.expect("the database opens");
            for sql in sql {
                execute(&db, sql).await;
            }
            db.close().await;
        };
        let sqlite = url.starts_with("sqlite");
        let refuse: &[&str] = match sqlite {
            true => &["create trigger refuse before insert on batches when new.name = 'poison.csv' \
                       begin select raise(abort, 'poison'); end"],
            false => &[
                "create function refuse() returns trigger language plpgsql as $$ begin \
                 if new.name = 'poison.csv' then raise 'poison'; end if; return new; end $$",
                "create trigger refuse before insert on batches for each row execute function refuse()",
            ],
        };
        block_on(run(refuse));
        spool.drop_file("poison.csv", file(&[plain("m-1")]));
        spool.drop_file("a.csv", file(&[plain("m-2")]));
        for _ in 0..2 {
            spool.run().exits(1).says(&["poison"]);
            assert!(spool.path("done/a.csv").is_file());
            assert!(spool.path("work/messages/generic/poison.csv").is_file());
        }
        block_on(run(&[if sqlite { "drop trigger refuse" } else { "drop trigger refuse on batches" }]));
        assert_eq!(spool.counts(), json!({ "files": 1, "accepted": 1 }));
        assert_eq!(spool.files().len(), 4);
        assert_sound(url);
    });
}

#[test]
fn f06_a_connection_lost_at_the_commit_takes_a_file_once() {
    for cut in [Trouble::CutBefore, Trouble::CutAfter] {
        let Some(database) = postgres() else { return };
        let desk = Desk::open(&database);
        let proxy = Proxy::to(&database.url);
        let program = Program::on_url(&proxy.url);
        program.file("a.csv", file(&[plain("m-1"), plain("m-2").replace("accepted", "lost")]));
        proxy.trouble_at(1, cut);
        let answer = program.run(&["ingest", "messages", "a.csv", "--json"]);
        assert!(proxy.made_trouble(), "there was no commit\n{}", answer.shown());
        assert_eq!(answer.json()["already_ingested"], false, "{cut:?}\n{}", answer.shown());
        let (batch, counts) = taken(answer);
        assert_eq!((counts.accepted, counts.rejected), (1, 1), "{cut:?}");
        let batches = desk.program.json(&["batch", "list"]);
        assert_eq!(batches.as_array().map(Vec::len), Some(1), "{cut:?}: {batches}");
        assert_eq!(batches[0]["batch_id"], batch);
        assert_sound(&desk.url);
    }
}

#[test]
fn f06_a_pipe_can_not_be_read_again_and_says_so() {
    for (cut, code) in [(Trouble::CutBefore, 1), (Trouble::CutAfter, 0)] {
        let Some(database) = postgres() else { return };
        let desk = Desk::open(&database);
        let proxy = Proxy::to(&database.url);
        let program = Program::on_url(&proxy.url);
        proxy.trouble_at(1, cut);
        let input = file(&[plain("m-1")]);
        let answer = program.run_with_input(&["ingest", "messages", "-"], input.as_bytes());
        assert!(proxy.made_trouble(), "there was no commit\n{}", answer.shown());
        answer.exits(code);
        let batches = desk.program.json(&["batch", "list"]);
        assert_eq!(batches.as_array().map(Vec::len), Some(1 - code as usize), "{cut:?}: {batches}");
    }
}

#[test]
fn f06_a_connection_lost_at_any_commit_of_a_run_takes_each_file_once() {
    for cut in [Trouble::CutBefore, Trouble::CutAfter] {
        let Some(database) = postgres() else { return };
        let spool = Spooled::open(&database);
        let proxy = Proxy::to(&database.url);
        // Three commits: the lease, the file, the end of the run.
        for n in 0..3 {
            spool.drop_file(format!("{n}.csv"), file(&[plain(&format!("m-{n}"))]));
            let run = [&["--database", &proxy.url, "--as-of", NOON], RUN].concat();
            let command = std::process::Command::new(env!("CARGO_BIN_EXE_quittance"))
                .args(&run)
                .current_dir(spool.desk.program.dir())
                .env("QUITTANCE_LOG", "warn")
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("it starts");
            // At whatever commit the run is by then.
            while n > 0 && spool.path(&format!("{n}.csv")).exists() {}
            proxy.trouble_at(1, cut);
            let output = command.wait_with_output().expect("it ends");
            assert!([Some(0), Some(1), Some(75)].contains(&output.status.code()), "{output:?}");
            counted(spool.run());
            assert_eq!(spool.batches(), n + 1, "{cut:?}");
            assert_eq!(spool.files().len(), 2 * (n + 1), "{cut:?}: {:?}", spool.files());
        }
        assert_sound(&spool.desk.url);
    }
}
