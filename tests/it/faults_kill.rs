//! `kill -9` at any moment, then the same command at once: the books are those of an undisturbed run.

use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::books::{assert_sound, digest_of, read};
use crate::support::databases::{TestDatabase, on_both, sqlite};
use crate::support::desk::Desk;
use crate::support::lines::{file, line};
use crate::support::program::{Answer, Program};

const RUN: &[&str] = &["--run-job", "aggregate-charges", "--json"];
/// Kills spread over the time that the command takes by itself, and a little more.
const KILLS: u32 = 12;

/// Messages of two accounts and one that is not known.
fn messages(round: u32) -> String {
    let message = |n: u32| {
        let account = ["acme", "beta", "stranger"][n as usize % 3];
        let time = format!("2026-03-01T09:{:02}:{:02}+08:00", n / 10 % 60, n % 60);
        line(&format!("m-{round}-{n}"), account, "promotional", &(1 + n % 3).to_string(), &time)
    };
    file(&(0..300).map(message).collect::<Vec<_>>())
}

fn opened(database: &TestDatabase) -> Desk {
    let desk = Desk::open(database);
    desk.program.run(&["account", "add", "beta", "--name", "Beta"]).exits(0);
    desk.program.run(&["order", "place", "acme", "sms-domestic-200", "--reference", "o"]).exits(0);
    for round in 0..KILLS {
        desk.program.file(&format!("{round}.csv"), messages(round));
    }
    desk
}

/// The digest of a desk where nothing was killed.
fn undisturbed() -> String {
    let database = sqlite();
    let desk = opened(&database);
    for round in 0..KILLS {
        desk.program.run(&["ingest", "messages", &format!("{round}.csv")]).exits(0);
        desk.charge();
    }
    digest_of(&database.url)
}

/// The digest of a desk where one file was charged.
fn charged_once() -> String {
    let database = sqlite();
    let desk = opened(&database);
    desk.program.run(&["ingest", "messages", "0.csv"]).exits(0);
    desk.charge();
    digest_of(&database.url)
}

/// How long a command takes that has nothing to do, which is most of what it takes.
fn time_of(program: &Program, args: &[&str]) -> Duration {
    let began = Instant::now();
    program.run(args);
    began.elapsed()
}

/// Starts a command, kills it after a while, and at once runs it again.
fn kill_and_repeat(program: &Program, args: &[&str], after: Duration, codes: &[i32]) {
    let running = program.start(args, b"");
    // The moment of the kill is what is tested; nothing is waited for.
    thread::sleep(after);
    running.kill();
    let again = program.run(args);
    assert!(codes.contains(&again.code), "killed after {after:?}\n{}", again.shown());
}

#[test]
fn f01_f02_ingests_and_runs_that_are_killed_at_any_time_and_repeated_at_once_are_done_once() {
    let expected = undisturbed();
    on_both(|database| {
        let desk = opened(database);
        let longest = time_of(&desk.program, RUN).max(Duration::from_millis(20)) * 2;
        for round in 0..KILLS {
            let after = longest * round / KILLS;
            let name = format!("{round}.csv");
            kill_and_repeat(&desk.program, &["ingest", "messages", &name, "--json"], after, &[0]);
            kill_and_repeat(&desk.program, RUN, after, &[0, 3]);
            assert_sound(&desk.url);
        }
        assert_eq!(digest_of(&desk.url), expected);
        desk.assert_nothing_is_lost();
        let open = "select count(*) from job_runs where outcome = 'running'";
        assert_eq!(read(&desk.url, async |tx| tx.int(open, Vec::new()).await), 0);
    });
}

/// Receipts of the messages of a round, a third of them failures, some of these of a part alone.
fn receipts(round: u32) -> String {
    let receipt = |n: u32| {
        let account = ["acme", "beta", "stranger"][n as usize % 3];
        let status = if n % 5 < 2 { "failed" } else { "delivered" };
        let part = if n % 10 == 1 { "1" } else { "" };
        format!("m-{round}-{n},{account},{status},{part},2026-03-01T11:{:02}:00+08:00\n", n % 60)
    };
    let head = "message_id,account_id,status,part,report_time\n".to_owned();
    head + &(0..300).map(receipt).collect::<String>()
}

#[test]
fn f01_f02_receipts_and_settling_that_are_killed_at_any_time_and_repeated_give_back_once() {
    const SETTLE: &[&str] = &["--run-job", "settle-receipts", "--json"];
    let charged = |database: &TestDatabase| {
        let desk = opened(database);
        for round in 0..KILLS {
            desk.program.run(&["ingest", "messages", &format!("{round}.csv")]).exits(0);
            desk.program.file(&format!("r{round}.csv"), receipts(round));
        }
        desk.charge();
        desk
    };
    let database = sqlite();
    let calm = charged(&database);
    for round in 0..KILLS {
        let taken = calm.program.run(&["ingest", "receipts", &format!("r{round}.csv")]);
        assert!([0, 3].contains(&taken.code), "{}", taken.shown());
        calm.program.run(SETTLE);
    }
    let returned = "select count(*) from returns";
    let returns = read(&calm.url, async |tx| tx.int(returned, Vec::new()).await);
    assert!(returns > 600, "{returns} came back");
    let expected = digest_of(&calm.url);
    on_both(|database| {
        let desk = charged(database);
        let longest = time_of(&desk.program, SETTLE).max(Duration::from_millis(20)) * 2;
        for round in 0..KILLS {
            let after = longest * round / KILLS;
            let name = format!("r{round}.csv");
            kill_and_repeat(&desk.program, &["ingest", "receipts", &name, "--json"], after, &[0, 3]);
            kill_and_repeat(&desk.program, SETTLE, after, &[0, 3]);
            assert_sound(&desk.url);
        }
        assert_eq!(digest_of(&desk.url), expected);
        let open = "select count(*) from job_runs where outcome = 'running'";
        assert_eq!(read(&desk.url, async |tx| tx.int(open, Vec::new()).await), 0);
    });
}

#[test]
fn f87_renewals_that_are_killed_at_any_time_and_repeated_at_once_are_bought_once() {
    const RENEW: &[&str] = &["--run-job", "auto-renew", "--json"];
    on_both(|database| {
        let desk = opened(database);
        let longest = time_of(&desk.program, RENEW).max(Duration::from_millis(20)) * 2;
        for round in 0..KILLS {
            let id = format!("acc-{round}");
            desk.program.run(&["account", "add", &id, "--name", "A"]).exits(0);
            desk.program.run(&["account", "top-up", &id, "10", "--reference", "r"]).exits(0);
            desk.program.run(&["renewal", "set", &id, "sms-domestic-200", "--threshold", "199"]).exits(0);
            kill_and_repeat(&desk.program, RENEW, longest * round / KILLS, &[0]);
            let bought = "select count(*) from renewals";
            assert_eq!(read(&desk.url, async |tx| tx.int(bought, Vec::new()).await), i64::from(round) + 1);
        }
        assert_sound(&desk.url);
    });
}

#[test]
fn f21_migrations_that_are_killed_at_any_time_complete_when_repeated() {
    on_both(|template| {
        let postgres = !template.url.starts_with("sqlite");
        for round in 0..8 {
            let database = if postgres { crate::support::databases::postgres() } else { Some(sqlite()) };
            let database = database.expect("there was one before");
            let program = Program::on(&database);
            kill_and_repeat(&program, &["migrate"], Duration::from_millis(8 * round), &[0]);
            program.run(&["status"]).exits(0);
            assert_sound(&database.url);
        }
    });
}

/// What a command does to the files of a SQLite database, as the kernel sees it.
const WRITES: &[&str] = &["pwrite64", "fsync", "ftruncate", "unlink"];

/// Runs a command under strace, which does something to its n-th call of a kind on the given files.
fn strace(program: &Program, args: &[&str], files: &[String], call: &str, injected: &str) -> Output {
    let command = program.command(args);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null"]);
    for file in files {
        traced.args(["-P", file]);
    }
    traced.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{injected}")]);
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.current_dir(program.dir()).output().expect("strace starts")
}

fn strace_works() -> bool {
    let tried = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        eprintln!("SKIPPED: strace is missing or may not trace here");
    }
    works
}

/// Copies the files of a SQLite database.
fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let (from, to) = (format!("{}{end}", from.display()), format!("{}{end}", to.display()));
        match std::fs::exists(&from).expect("it can be looked at") {
            true => std::fs::copy(&from, &to).map(|_| ()).expect("it can be copied"),
            false => std::fs::remove_file(&to).unwrap_or_default(),
        }
    }
}

/// Has something happen at each write of a command to a copy of a database, and repeats it.
fn at_every_write(desk: &Desk, args: &[&str], (calls, fault): (&[&str], &str), check: impl Fn(&str)) {
    let original = desk.url.strip_prefix("sqlite://").expect("SQLite").to_owned();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("copy.db");
    let url = format!("sqlite://{}", path.display());
    let mut program = Program::on_url(&url);
    program.file("0.csv", messages(0));
    program.set("QUITTANCE_LOG", "error");
    let files = ["", "-wal", "-shm", "-journal"].map(|end| format!("{}{end}", path.display()));
    for call in calls {
        let (mut n, mut through) = (1, false);
        while !through {
            copy(Path::new(&original), &path);
            let output = strace(&program, args, &files, call, &fault.replace("{n}", &n.to_string()));
            through = output.status.code().is_some_and(|code| [0, 3].contains(&code));
            if output.status.code().is_some() {
                let answer = Answer::of(format!("{args:?} with {fault} at {call} {n}"), output);
                assert!([0, 1, 3].contains(&answer.code), "{}", answer.shown());
            }
            let again = program.run(args);
            assert!([0, 3].contains(&again.code), "after {fault} at {call} {n}\n{}", again.shown());
            let whole = "select count(*) from pragma_integrity_check where integrity_check = 'ok'";
            let is_whole = read(&url, async |tx| tx.int(whole, Vec::new()).await) == 1;
            assert!(is_whole, "after {fault} at {call} {n}");
            assert_sound(&url);
            check(&url);
            n += 1 + n / 8;
        }
        assert!(n > 2 || !["pwrite64", "fsync"].contains(call), "no {call} was seen");
    }
}

const KILLED: (&[&str], &str) = (WRITES, "signal=SIGKILL:when={n}");

#[test]
fn f02_a_run_killed_at_any_write_of_sqlite_is_done_whole_when_repeated() {
    if !strace_works() {
        return;
    }
    let database = sqlite();
    let desk = opened(&database);
    desk.program.run(&["ingest", "messages", "0.csv"]).exits(0);
    let expected = charged_once();
    at_every_write(&desk, RUN, KILLED, |url| assert_eq!(digest_of(url), expected));
}

#[test]
fn f02_an_ingest_killed_at_any_write_of_sqlite_takes_all_when_repeated() {
    if !strace_works() {
        return;
    }
    let database = sqlite();
    let desk = opened(&database);
    at_every_write(&desk, &["ingest", "messages", "0.csv", "--json"], KILLED, |url| {
        let sql = "select count(*) from messages";
        assert_eq!(read(url, async |tx| tx.int(sql, Vec::new()).await), 300);
    });
}

#[test]
fn f04_f14_a_disk_that_fails_or_is_full_at_any_write_fails_the_run_and_nothing_else() {
    if !strace_works() {
        return;
    }
    let database = sqlite();
    let desk = opened(&database);
    desk.program.run(&["ingest", "messages", "0.csv"]).exits(0);
    let expected = charged_once();
    for fault in [(&["fsync"][..], "error=EIO:when={n}"), (&["pwrite64"], "error=ENOSPC:when={n}+")] {
        at_every_write(&desk, RUN, fault, |url| assert_eq!(digest_of(url), expected));
    }
}
