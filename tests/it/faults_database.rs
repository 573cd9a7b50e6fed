//! What a database does to its users: it breaks transactions off, deadlocks, fills up, is corrupt, or
//! belongs to somebody else.

use std::path::Path;
use std::process::Command;

use crate::support::books::{assert_sound, block_on, change, digest_of, read};
use crate::support::databases::{on_both, postgres, sqlite};
use crate::support::desk::Desk;
use crate::support::lines::{file, line, plain};
use crate::support::program::{Answer, Program};
use crate::support::server::is_root;

const RUN: &[&str] = &["--run-job", "aggregate-charges", "--json"];

fn count(url: &str, sql: &str) -> i64 {
    read(url, async |tx| tx.int(sql, Vec::new()).await)
}

/// Breaks the first two transactions off that insert into a table, as PostgreSQL does with one of
/// several that get in each other's way.
fn break_off(url: &str, table: &str, code: &str) {
    for sql in [
        format!("create sequence tries_{table}"),
        format!(
            "create function break_{table}() returns trigger language plpgsql as $$ begin \
             if nextval('tries_{table}') <= 2 then raise exception 'in the way' using errcode = '{code}'; end if; \
             return new; end $$"
        ),
        format!(
            "create trigger break_{table} before insert on {table} for each row execute function break_{table}()"
        ),
    ] {
        block_on(change(url, &sql));
    }
}

#[test]
fn f09_transactions_that_the_server_breaks_off_are_tried_again_whole() {
    for code in ["40001", "40P01"] {
        let Some(database) = postgres() else { return };
        let desk = Desk::open(&database);
        desk.take("messages.csv", file(&[plain("m-1")]));
        break_off(&desk.url, "charges", code);
        let done = desk.program.run(RUN).exits(0).says(&["is tried again"]);
        assert_eq!(done.json()["counts"]["messages"], 1);
        assert_eq!(count(&desk.url, "select count(*) from job_runs where outcome = 'failed'"), 2);

        // What people do by hand is not done, and says so; never that there is no money.
        break_off(&desk.url, "top_ups", code);
        let pay = ["account", "top-up", "acme", "5", "--reference", "cash-2", "--json"];
        desk.program.run(&pay).exits(75).says(&["try again"]);
        desk.program.run(&pay).exits(75);
        desk.program.run(&pay).exits(0);
        assert_eq!(desk.account("balance"), "1005");
        assert_sound(&desk.url);
    }
}

#[test]
fn f10_writers_that_cross_each_other_never_deadlock() {
    let Some(database) = postgres() else { return };
    let desk = Desk::open(&database);
    desk.program.run(&["account", "add", "beta", "--name", "Beta"]).exits(0);
    desk.program.run(&["account", "top-up", "beta", "1000", "--reference", "cash-1"]).exits(0);
    for round in 0..3 {
        let of = |n: usize| {
            // The accounts in turn, so that each order of them comes up.
            let account = ["acme", "beta"][(n + round) % 2];
            line(&format!("m-{round}-{n}"), account, "promotional", "1", "2026-03-01T09:00:00+08:00")
        };
        let name = desk.program.file(&format!("{round}.csv"), file(&(0..200).map(of).collect::<Vec<_>>()));
        let reference = format!("round-{round}");
        let mut started = vec![desk.program.start(&["ingest", "messages", &name], b"")];
        for account in ["beta", "acme"] {
            for work in [
                &["account", "top-up", account, "1", "--reference", &reference][..],
                &["order", "place", account, "sms-domestic-200", "--reference", &reference],
            ] {
                started.push(desk.program.start(work, b""));
            }
            started.push(desk.program.start(RUN, b""));
        }
        for running in started {
            let answer = running.answer();
            assert!([0, 75].contains(&answer.code), "{}", answer.shown());
        }
    }
    desk.charge();
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(count(&desk.url, deadlocks), 0);
    assert_sound(&desk.url);
}

#[test]
fn f23_no_text_is_compared_by_the_rules_of_the_operating_system() {
    let Some(database) = postgres() else { return };
    Desk::open(&database);
    let sql = "select string_agg(c.relname || '.' || a.attname, ', ') from pg_attribute a \
               join pg_class c on c.oid = a.attrelid join pg_collation l on l.oid = a.attcollation \
               where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'i') \
               and c.relname not like '\\_sqlx%' and l.collname <> 'C'";
    let others = read(&database.url, async |tx| tx.row(sql, Vec::new()).await?.expect("a row").opt_text(0));
    assert_eq!(others, None);
}

/// The file of a database with a charged message, put away in order.
fn books() -> (tempfile::TempDir, std::path::PathBuf, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("books.db");
    let url = format!("sqlite://{}", path.display());
    let desk = Desk::open_url(&url);
    desk.take("messages.csv", file(&[plain("m-1")]));
    desk.charge();
    (dir, path, url)
}

#[test]
fn f15_a_file_that_is_no_database_or_a_damaged_one_is_refused_and_left_alone() {
    let (_dir, path, url) = books();
    let whole = std::fs::read(&path).expect("it can be read");
    let program = Program::on_url(&url);
    let name = program.file("more.csv", file(&[plain("m-2")]));
    let mut no_database = whole.clone();
    no_database[..100].fill(b'?');
    let mut damaged = whole.clone();
    damaged[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    let cut_off = whole[..whole.len() / 2].to_vec();
    for (kind, content) in [("no database", no_database), ("damaged", damaged), ("cut off", cut_off)] {
        for args in [&["ingest", "messages", &name][..], RUN, &["status"], &["digest"]] {
            std::fs::write(&path, &content).expect("it can be written");
            let answer = program.run(args);
            if kind == "cut off" && args == ["status"] {
                // What it asks for may all be in the half that is there.
                continue;
            }
            assert_eq!(answer.code, 1, "{kind}: {}", answer.shown());
            let answer = answer.says(&["backup"]);
            let after = std::fs::read(&path).expect("it can be read");
            assert!(after == content, "{kind}: it was changed by {}", answer.shown());
        }
    }
    std::fs::write(&path, &whole).expect("it can be written");
    program.run(&["ingest", "messages", &name]).exits(0);
    assert_sound(&url);
}

#[test]
fn f15_without_its_log_a_database_is_older_but_sound() {
    let (dir, path, url) = books();
    // A connection that is open keeps the log from being folded into the file.
    block_on(async {
        let db = quittance::store::open(&url).await.expect("it opens");
        let mut tx = db.write().await.expect("it can be written");
        tx.execute("update accounts set name = 'Acme & Sons'", Vec::new()).await.expect("it works");
        tx.commit().await.expect("it is kept");
        std::fs::copy(&path, dir.path().join("copy.db")).expect("it can be copied");
        db.close().await;
    });
    let copy = format!("sqlite://{}", dir.path().join("copy.db").display());
    assert_sound(&copy);
    assert_eq!(digest_of(&copy), digest_of(&url));
    Program::on_url(&copy).run(RUN).exits(0);
}

#[test]
fn f15_a_file_of_another_user_is_not_touched_and_the_rights_are_named() {
    let (dir, path, url) = books();
    let program = env!("CARGO_BIN_EXE_quittance");
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("runuser");
        command.args(["-u", "nobody", "--"]).args(args).current_dir("/").env_remove("QUITTANCE_CONFIG");
        command.output()
    };
    if !is_root() || !as_nobody(&["test", "-x", program]).is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: to run as another user takes root, and a program that others may run");
        return;
    }
    let whole = std::fs::read(&path).expect("it can be read");
    let mode = |path: &Path, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    // May read but not write the file; may not even read it; may not enter the directory.
    for (of_dir, of_file) in [(0o755, 0o644), (0o777, 0o644), (0o755, 0o600), (0o700, 0o644)] {
        mode(dir.path(), of_dir);
        mode(&path, of_file);
        let args = [program, "--database", &url, "account", "top-up", "acme", "1", "--reference", "mine"];
        let output = as_nobody(&args).expect("it ends");
        let answer = Answer::of(format!("as nobody, {of_dir:o} {of_file:o}"), output).exits(1);
        assert!(answer.stderr.contains("rights"), "{}", answer.shown());
        assert!(std::fs::read(&path).expect("it can be read") == whole);
    }
    mode(dir.path(), 0o755);
    assert_sound(&url);
}

/// A small disk of its own; gone when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// None where it can't be had.
    fn of(kilobytes: u32) -> Option<Disk> {
        let disk = Disk(tempfile::tempdir().expect("a directory"));
        let size = format!("size={kilobytes}k");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk.0.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(disk);
        }
        eprintln!("SKIPPED: a small disk can only be mounted by root");
        None
    }

    fn grow(&self, kilobytes: u32) {
        let size = format!("remount,size={kilobytes}k");
        let grown = Command::new("mount").args(["-o", &size]).arg(self.0.path()).status();
        assert!(grown.expect("it ends").success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn many(lines: usize) -> String {
    let of = |n: usize| {
        line(&format!("m-{n}"), "acme", "promotional", &(1 + n % 3).to_string(), "2026-03-01T09:00:00+08:00")
    };
    file(&(0..lines).map(of).collect::<Vec<_>>())
}

fn digest_of_many(lines: usize) -> String {
    let database = sqlite();
    let desk = Desk::open(&database);
    desk.take("many.csv", many(lines));
    desk.charge();
    digest_of(&database.url)
}

#[test]
fn f14_a_full_disk_is_told_changes_nothing_and_is_no_matter_once_there_is_room() {
    let Some(disk) = Disk::of(1_500) else { return };
    let url = format!("sqlite://{}", disk.0.path().join("books.db").display());
    let desk = Desk::open_url(&url);
    let name = desk.program.file("many.csv", many(20_000));
    let before = digest_of(&url);
    let ingest = ["ingest", "messages", &name, "--json"];
    desk.program.run(&ingest).exits(1).says(&["full"]);
    assert_eq!(digest_of(&url), before);
    assert_eq!(count(&url, "select count(*) from batches"), 0);
    assert_sound(&url);
    disk.grow(64_000);
    desk.program.run(&ingest).exits(0);
    desk.charge();
    assert_eq!(digest_of(&url), digest_of_many(20_000));
    assert_sound(&url);
}

#[test]
fn f14_a_full_disk_for_temporary_files_is_told_and_changes_nothing() {
    let Some(disk) = Disk::of(200) else { return };
    let database = sqlite();
    let desk = Desk::open(&database);
    let mut program = Program::on(&database);
    let name = program.file("many.csv", many(30_000));
    let place = disk.0.path().display().to_string();
    program.set("TMPDIR", &place).set("SQLITE_TMPDIR", &place);
    let ingest = ["ingest", "messages", &name, "--json"];
    program.run(&ingest).exits(1).says(&["full"]);
    assert_eq!(count(&desk.url, "select count(*) from batches"), 0);
    disk.grow(64_000);
    program.run(&ingest).exits(0);
    desk.charge();
    assert_eq!(digest_of(&desk.url), digest_of_many(30_000));
}

/// Prices that the books can't hold, for one account.
const POISON: &str = "\n[[payg]]\nproduct = \"sms-domestic\"\ncurrency = \"CNY\"\naccount = \"a-0500\"\n\
                      template_types = [\"verification\"]\nprice = \"1000000\"\n";

/// Batches are numbered without an end, and one message in suspense is streamed with its batch's number.
#[test]
fn f116_a_message_in_suspense_of_the_ten_millionth_batch_stops_nobody() {
    on_both(|database| {
        let desk = Desk::open(database);
        desk.take("first.csv", file(&[plain("m-1")]));
        let number = match database.url.starts_with("sqlite:") {
            true => "update sqlite_sequence set seq = 10000000 where name = 'batches'",
            false => "select setval(pg_get_serial_sequence('batches', 'batch_no'), 10000000)",
        };
        block_on(change(&database.url, number));
        let unpriced = plain("m-2").replace(",CN,", ",AQ,");
        desk.take("second.csv", file(&[unpriced, plain("m-3")]));
        assert_eq!(desk.program.run(RUN).exits(3).json()["counts"]["messages"], 2);
        desk.take("third.csv", file(&[plain("m-4")]));
        assert_eq!(desk.program.run(RUN).exits(0).json()["counts"]["messages"], 1);
        assert_sound(&database.url);
    });
}

#[test]
fn f110_one_poison_account_among_a_thousand_is_parked_and_all_others_are_charged() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        let accounts =
            (0..1_000).map(|n| format!("('a-{n:04}', 'A', 'enterprise', 'CNY', 'en', 'active', 0)"));
        let accounts: Vec<String> = accounts.collect();
        let columns = "account_id, name, kind, currency, locale, status, created_at";
        block_on(change(
            &desk.url,
            &format!("insert into accounts ({columns}) values {}", accounts.join(",")),
        ));
        block_on(change(&desk.url, "update accounts set credit_limit = 1000000 where account_id like 'a-%'"));
        desk.program.configure("");
        let prices = include_str!("../../config/prices.toml");
        desk.program.file("prices.toml", format!("{prices}{POISON}"));
        let of = |n: usize| {
            let account = format!("a-{n:04}");
            line(&format!("m-{n}"), &account, "verification", "5", "2026-03-01T09:00:00+08:00")
        };
        // More than can be counted.
        let poison = |n: usize| {
            let id = format!("long-{n}");
            line(&id, "a-0500", "verification", "1000000", "2026-03-01T09:00:00+08:00")
        };
        desk.take("messages.csv", file(&(0..1_000).map(of).chain((1..=10).map(poison)).collect::<Vec<_>>()));
        let run = desk.program.run(RUN).exits(3);
        let report = run.json();
        assert_eq!(report["counts"]["messages"], 999, "{}", run.shown());
        assert_eq!(report["parked"][0]["account_id"], "a-0500", "{}", run.shown());
        assert_eq!(report["parked"].as_array().map(Vec::len), Some(1));
        let status = desk.program.run(&["status"]).exits(3).stdout;
        assert!(status.contains("Parked account a-0500: 11 messages wait"), "{status}");
        assert_sound(&desk.url);

        // Mended, it is charged like the others.
        desk.program.file("prices.toml", prices);
        desk.program.run(RUN).exits(0);
        desk.program.run(&["status"]).exits(0);
        assert_eq!(count(&desk.url, "select count(distinct account_id) from charges"), 1_000);
        assert_sound(&desk.url);
    });
}
