//! The network between the program and PostgreSQL: cut at a COMMIT whose outcome is then unknown,
//! or silent without an end.

use std::time::{Duration, Instant};

use crate::support::books::{assert_sound, digest_of, read};
use crate::support::databases::{postgres, sqlite};
use crate::support::desk::Desk;
use crate::support::lines::{file, line};
use crate::support::program::{Answer, Program};
use crate::support::proxy::{Proxy, Trouble};

const RUN: &[&str] = &["--run-job", "aggregate-charges", "--json"];
const INGEST: &[&str] = &["ingest", "messages", "messages.csv", "--json"];

fn messages() -> String {
    let of = |n: usize| {
        line(&format!("m-{n}"), ["acme", "stranger"][n % 2], "promotional", "2", "2026-03-01T09:00:00+08:00")
    };
    file(&(0..40).map(of).collect::<Vec<_>>())
}

fn undisturbed() -> String {
    let database = sqlite();
    let desk = Desk::open(&database);
    desk.take("messages.csv", messages());
    desk.charge();
    digest_of(&database.url)
}

/// Makes one kind of trouble at each COMMIT of a command, from the first to the last, and repeats it
/// in peace. `check` sees what it answered in trouble.
fn at_each_commit(trouble: Trouble, before: &[&[&str]], args: &[&str], check: impl Fn(&Answer)) {
    let expected = undisturbed();
    for commit in 1.. {
        let Some(database) = postgres() else { return };
        let desk = Desk::open(&database);
        let proxy = Proxy::to(&database.url);
        let mut program = Program::on_url(&proxy.url);
        program.configure("[runs]\nlease = \"2 seconds\"\n");
        program.file("messages.csv", messages());
        before.iter().for_each(|args| assert_eq!(program.run(args).code, 0));
        proxy.trouble_at(commit, trouble);
        let answer = program.run(args);
        let made = proxy.made_trouble();
        proxy.heal();
        if made {
            check(&answer);
        }
        let again = program.run(args);
        assert!([0, 3].contains(&again.code), "after {trouble:?} at {commit}\n{}", again.shown());
        if args == INGEST {
            assert_eq!(again.json()["accepted"], 40, "{}", again.shown());
        }
        desk.charge();
        assert_eq!(digest_of(&desk.url), expected, "{trouble:?} at {commit}\n{}", answer.shown());
        assert_sound(&desk.url);
        let open = "select count(*) from job_runs where outcome = 'running'";
        assert_eq!(read(&desk.url, async |tx| tx.int(open, Vec::new()).await), 0);
        if !made {
            assert!(commit > 1, "no COMMIT was seen");
            return;
        }
    }
}

#[test]
fn f06_a_run_whose_commit_got_lost_finds_out_and_charges_once() {
    for trouble in [Trouble::CutBefore, Trouble::CutAfter] {
        // It tries again by itself, so that it ends as if nothing had been.
        at_each_commit(trouble, &[INGEST], RUN, |answer| {
            assert!([0, 3].contains(&answer.code), "{}", answer.shown());
        });
    }
}

#[test]
fn f06_an_ingest_whose_commit_got_lost_takes_the_file_once() {
    for trouble in [Trouble::CutBefore, Trouble::CutAfter] {
        // It looks whether the batch is there and tries again where it is not.
        at_each_commit(trouble, &[], INGEST, |answer| {
            assert_eq!(answer.code, 0, "{}", answer.shown());
        });
    }
}

#[test]
fn f08_a_run_whose_connection_falls_silent_ends_within_a_minute_and_the_next_one_works() {
    std::thread::scope(|scope| {
        for trouble in [Trouble::HoleBefore, Trouble::HoleAfter] {
            for commit in [1, 2] {
                scope.spawn(move || silent_at(trouble, commit));
            }
        }
    });
}

fn silent_at(trouble: Trouble, commit: u32) {
    let Some(database) = postgres() else { return };
    let desk = Desk::open(&database);
    desk.take("messages.csv", messages());
    let proxy = Proxy::to(&database.url);
    let mut program = Program::on_url(&proxy.url);
    program.configure("[runs]\nlease = \"2 seconds\"\n");
    proxy.trouble_at(commit, trouble);
    let began = Instant::now();
    let answer = program.run(RUN);
    assert!([1, 75].contains(&answer.code), "{}", answer.shown());
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}\n{}", began.elapsed(), answer.shown());
    // Without waiting until the server has noticed anything.
    let again = desk.program.run(RUN);
    assert!([0, 3].contains(&again.code), "after {trouble:?} at {commit}\n{}", again.shown());
    assert_eq!(digest_of(&desk.url), undisturbed(), "{trouble:?} at {commit}\n{}", answer.shown());
    assert_sound(&desk.url);
}
