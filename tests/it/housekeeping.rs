//! What is no longer needed goes, and nothing that is: the books say the same before and after (F50, F95,
//! I36, metamorphic relation (j)).

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use quittance::audit::audit;
use quittance::config;
use quittance::domain::message::{Country, Disposition, MessageKey, MessageRow};
use quittance::domain::period::Timestamp;
use quittance::progress::Silent;
use quittance::store;
use quittance::store::batches::{Origin, Staging};

use crate::support::books::{assert_sound, block_on, digest_of, read};
use crate::support::databases::{TestDatabase, on_both, postgres, sqlite};
use crate::support::desk::Desk;
use crate::support::history::{Books, Message, Receipt, Step};
use crate::support::lines::{file, line};
use crate::support::mail_server::{MailServer, Security};
use crate::support::notices::{bills, deliver, mailing};
use crate::support::program::Program;
use crate::support::receipts::{Answered, Handing, answered, steps};

const HISTORIES: u32 = 6;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

/// The same steps later, with messages and payments of their own.
fn later(steps: Vec<Step>, days: i64) -> Vec<Step> {
    let shift = |at: Timestamp| at.plus_micros(days * Timestamp::DAY);
    let message =
        |message: Message| Message { id: format!("l{}", message.id), at: shift(message.at), ..message };
    let receipt = |receipt: Receipt| Receipt {
        id: format!("l{}", receipt.id),
        reported: shift(receipt.reported),
        ..receipt
    };
    let step = |step| match step {
        Step::TopUp { account, amount, reference, at } => {
            Step::TopUp { account, amount, reference: format!("l{reference}"), at: shift(at) }
        }
        Step::Order { account, package, at } => Step::Order { account, package, at: shift(at) },
        Step::File { messages, at } => {
            Step::File { messages: messages.into_iter().map(message).collect(), at: shift(at) }
        }
        Step::Receipts { receipts, at } => {
            Step::Receipts { receipts: receipts.into_iter().map(receipt).collect(), at: shift(at) }
        }
        Step::Run { at } => Step::Run { at: shift(at) },
        Step::Settle { at } => Step::Settle { at: shift(at) },
        Step::Expire { at } => Step::Expire { at: shift(at) },
        Step::Bill { at } => Step::Bill { at: shift(at) },
        Step::Keep { at } => Step::Keep { at: shift(at) },
    };
    steps.into_iter().map(step).collect()
}

fn all_jobs(at: Timestamp) -> [Step; 4] {
    [Step::Run { at }, Step::Settle { at }, Step::Expire { at }, Step::Bill { at }]
}

/// Some days around the 1st of March, billed on the 2nd of April; again some days, from the 13th of April,
/// when those before are no longer kept; and the end of it in the middle of June.
fn history(first: &Answered, second: &Answered) -> Vec<Step> {
    let mut all = steps(first, Handing::Whole);
    all.extend(all_jobs(at("2026-04-02T00:00:00+08:00")));
    all.extend(later(steps(second, Handing::Whole), 45));
    all.extend(all_jobs(at("2026-06-15T00:00:00+08:00")));
    all
}

fn time_of(step: &Step) -> Timestamp {
    match step {
        Step::TopUp { at, .. }
        | Step::Order { at, .. }
        | Step::File { at, .. }
        | Step::Receipts { at, .. } => *at,
        Step::Run { at }
        | Step::Settle { at }
        | Step::Expire { at }
        | Step::Bill { at }
        | Step::Keep { at } => *at,
    }
}

/// The digest after all steps, with housekeeping after some of them; and how many messages are left.
async fn played(database: &TestDatabase, steps: &[Step], keep: Option<&[bool]>) -> (String, i64) {
    let mut books = Books::open(&database.url).await;
    for (step, keep) in steps.iter().zip(keep.unwrap_or(&[false]).iter().cycle()) {
        books.play(std::slice::from_ref(step)).await;
        if *keep {
            books.play(&[Step::Keep { at: time_of(step) }]).await;
            // It asserts that the audit finds nothing.
            books.digest().await;
        }
    }
    if keep.is_some() {
        books.play(&[Step::Keep { at: at("2026-06-15T00:00:00+08:00") }]).await;
    }
    let kept = (books.digest().await, books.messages().await);
    books.close().await;
    kept
}

#[test]
fn f95_housekeeping_at_any_moment_leaves_the_digest_equal_and_the_audit_sound() {
    let config =
        Config { cases: HISTORIES, max_shrink_iters: 30, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let keep = prop::collection::vec(prop::bool::weighted(0.15), 40);
    let checked = runner.run(&(answered(), answered(), keep), |(first, second, keep)| {
        let steps = history(&first, &second);
        let (without, here, there) = (sqlite(), sqlite(), postgres());
        block_on(async {
            let (expected, all) = played(&without, &steps, None).await;
            for database in [Some(here), there].into_iter().flatten() {
                let (digest, left) = played(&database, &steps, Some(&keep)).await;
                if digest != expected || left == all {
                    let what =
                        format!("{}: {left} of {all} are left; equal: {}", database.url, digest == expected);
                    return Err(TestCaseError::fail(what));
                }
            }
            Ok(())
        })
    });
    checked.unwrap_or_else(|fault| panic!("{fault}"));
}

const KEEP: &[&str] = &["--run-job", "housekeeping", "--catch-up", "--json"];
const HEADER: &str = "message_id,account_id,channel,country,template_type,sms_size,submit_time,submit_status,\
                      biz_id,recipient\n";

fn run(desk: &Desk, args: &[&str]) {
    let answer = desk.program.run(args);
    assert!([0, 3].contains(&answer.code), "{}", answer.shown());
}

fn count(desk: &Desk, sql: &str) -> i64 {
    read(&desk.url, async |tx| tx.int(sql, Vec::new()).await)
}

fn all_jobs_at(desk: &mut Desk, time: &str) {
    desk.program.at(time);
    for job in ["aggregate-charges", "settle-receipts", "expire-plans", "monthly-bills"] {
        run(desk, &["--run-job", job, "--catch-up"]);
    }
}

/// A year and more of some of everything: a plan, tiers, failures given back that name their messages by id
/// and by request, one that was known before its charge, suspense, a contradiction that waits for somebody,
/// a message that is answered very late, lines that were rejected. Old ones are 210, 5 of them needed.
fn old_books(database: &TestDatabase) -> Desk {
    let mut desk = Desk::open(database);
    desk.program.at("2026-03-01T08:00:00+08:00");
    run(&desk, &["order", "place", "acme", "sms-domestic-200"]);
    let message = |n: usize| {
        let account = if n == 199 { "stranger" } else { "acme" };
        let kind = ["verification", "promotional"][n % 2];
        line(
            &format!("m-{n}"),
            account,
            kind,
            &(1 + n % 3).to_string(),
            &format!("2026-03-01T09:{:02}:00+08:00", n / 6),
        )
    };
    desk.program.at("2026-03-01T10:00:00+08:00");
    let failed = |id: &str| format!("{id},acme,failed,2026-03-01T10:00:00+08:00\n");
    let receipts = |lines: String| format!("message_id,account_id,status,report_time\n{lines}");
    desk.program.file("known.csv", receipts(failed("m-0")));
    run(&desk, &["ingest", "receipts", "known.csv"]);
    desk.take("m.csv", file(&(0..200).map(message).collect::<Vec<_>>()));
    let request = |n: usize| {
        format!("q-{n},acme,sms,CN,promotional,2,2026-03-01T09:50:00+08:00,accepted,biz-{n},1380013800{n}\n")
    };
    desk.take("q.csv", HEADER.to_owned() + &(0..10).map(request).collect::<String>());
    run(&desk, &["--run-job", "aggregate-charges"]);
    let delivered = |n: usize| format!("m-{n},acme,delivered,2026-03-01T10:00:00+08:00\n");
    let some = (1..30).map(|n| failed(&format!("m-{}", n * 3))).chain((31..60).map(|n| delivered(n * 3)));
    desk.program.file("r.csv", receipts(some.collect()));
    let of_request = |n: usize| {
        let status = ["failed", "delivered"][n % 2];
        format!("biz-{n},1380013800{n},acme,{status},2026-03-01T10:00:00+08:00\n")
    };
    let of_requests: String = (0..6).map(of_request).collect();
    desk.program.file("b.csv", format!("biz_id,recipient,account_id,status,report_time\n{of_requests}"));
    desk.program.file("x.csv", receipts(failed("m-93")));
    for name in ["r.csv", "b.csv", "x.csv"] {
        run(&desk, &["ingest", "receipts", name]);
    }
    run(&desk, &["--run-job", "settle-receipts"]);
    all_jobs_at(&mut desk, "2026-04-10T10:00:00+08:00");
    desk.take("n.csv", file(&[line("n-1", "acme", "verification", "3", "2026-04-10T09:00:00+08:00")]));
    all_jobs_at(&mut desk, "2026-05-10T10:00:00+08:00");
    desk.program.at("2027-04-30T10:00:00+08:00");
    let lately = |line: &str| format!("{line},2027-04-30T09:00:00+08:00\n");
    desk.program.file("c.csv", receipts(lately("m-93,acme,failed") + &lately("m-94,acme,delivered")));
    run(&desk, &["ingest", "receipts", "c.csv"]);
    all_jobs_at(&mut desk, "2027-04-30T10:00:00+08:00");
    desk
}

/// What people read of books.
fn told(desk: &Desk) -> Vec<String> {
    let commands: &[&[&str]] = &[
        &["bill", "show", "acme", "2026-03"],
        &["usage", "acme", "--month", "2026-03"],
        &["usage", "acme", "--month", "2026-04"],
        &["account", "show", "acme"],
        &["exception", "list", "--all"],
        &["batch", "list"],
        &["explain", "message", "acme", "n-1"],
    ];
    commands.iter().map(|command| desk.program.json(command).to_string()).collect()
}

#[test]
fn f50_f95_what_is_over_goes_and_everything_says_the_same() {
    on_both(|database| {
        let mut desk = old_books(database);
        let (digest, before) = (digest_of(&desk.url), told(&desk));
        let dry = desk.program.run(&[KEEP, &["--dry-run"]].concat()).exits(0).json();
        assert_eq!(dry["counts"]["messages"], 207, "{dry}");
        assert_eq!(count(&desk, "select count(*) from messages"), 211);
        // Two at once are one.
        let two: Vec<_> = (0..2).map(|_| desk.program.start(KEEP, b"")).collect();
        let codes: Vec<i32> = two.into_iter().map(|running| running.answer().code).collect();
        assert!(codes.contains(&0) && codes.iter().all(|code| [0, 75].contains(code)), "{codes:?}");
        // Needed: one in suspense, a contradiction nobody has decided on, and what was answered lately; and
        // one is younger.
        assert_eq!(count(&desk, "select count(*) from messages"), 4);
        assert_eq!((digest_of(&desk.url), told(&desk)), (digest.clone(), before));
        desk.program.run(&["audit"]).exits(0);
        let again = desk.program.run(KEEP).exits(0).json();
        assert_eq!(
            (&again["outcome"], &again["counts"]["needed"]),
            (&"nothing_to_do".into(), &2.into()),
            "{again}"
        );
        let refused = desk.program.run(&["explain", "message", "acme", "m-5"]).exits(1);
        refused.says(&["those submitted before 2026-03-30", "no longer kept"]);
        // What was handed in is known for good, and its lines are too old in any other file.
        assert_eq!(
            desk.ingest("m.csv", std::fs::read(desk.program.path("m.csv")).expect("it is there"))
                .exits(0)
                .json()["already_ingested"],
            true
        );
        let lines = std::fs::read_to_string(desk.program.path("m.csv")).expect("it is there");
        let old = desk.ingest("other.csv", lines + "\n").exits(3).json();
        assert_eq!((&old["accepted"], &old["rejected"]), (&0.into(), &200.into()), "{old}");
        assert_eq!(digest_of(&desk.url), digest);
        // Once somebody has decided and what was said lately is old, too, it goes.
        let open = desk.program.json(&["exception", "list"]);
        let id =
            open.as_array().expect("a list").iter().find(|one| one["kind"] == "conflict").expect("it waits");
        run(&desk, &["exception", "dismiss", id["exception_id"].as_str().expect("an id"), "--reason", "old"]);
        assert_eq!(desk.program.run(KEEP).exits(0).json()["counts"]["messages"], 0);
        all_jobs_at(&mut desk, "2028-06-10T10:00:00+08:00");
        let kept = desk.program.run(KEEP).exits(0).json()["counts"].clone();
        assert_eq!((&kept["messages"], &kept["needed"]), (&3.into(), &0.into()), "{kept}");
        assert_sound(&desk.url);
        desk.program.run(&["audit"]).exits(0);
    });
}

/// Faults in books of which a part is retired, each with words of what the audit must say of it.
const FAULTS: &[(&str, &str)] = &[
    ("update retired_messages set units = units + 1", "I36 what is no longer kept"),
    ("update retired_messages set messages = messages - 1", "I36 messages that are no longer kept"),
    ("delete from retired_messages", "I36"),
    ("update batches set retired = retired - 1 where retired > 0", "I28"),
    ("update instance set value = '999999 0' where name = 'retired_up_to'", "I36 runs are retired"),
    ("update instance set value = '0 0' where name = 'retired_up_to'", "I36"),
    ("update charges set units = units + 1 where run_no <= {retired}", "I36"),
    ("update charges set plan_no = 0 where plan_no = 1 and run_no <= {retired}", "plan"),
    ("update charges set unit_price = unit_price + 1 where plan_no = 0 and run_no <= {retired}", "a recount"),
    ("update returns set to_plan = 0, money_to = 'balance' where to_plan = 1", "plan"),
    ("update charges set template_type = 'notification' where run_no > {retired}", "a recount"),
    (
        "update messages set template_type = 'notification' where line = 1 and account_id = 'acme'",
        "a recount",
    ),
    ("delete from messages where account_id = 'acme'", "I09"),
];

#[test]
fn i36_a_fault_in_retired_books_is_found() {
    on_both(|database| {
        let desk = old_books(database);
        desk.program.run(KEEP).exits(0);
        desk.program.run(&["audit"]).exits(0);
        let retired = count(&desk, "select max(run_no) from batches where retired > 0");
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            for (fault, words) in FAULTS {
                let fault = fault.replace("{retired}", &retired.to_string());
                let mut tx = db.write().await.expect("it can be written");
                let touched = tx.execute(fault.as_str(), Vec::new()).await.expect("the fault can be planted");
                assert!(touched > 0, "{fault} changes nothing");
                let config = config::Config::built_in().expect("the shipped configuration");
                let found = audit(&mut tx, &config, true, &Silent).await.expect("it can be audited").doubts();
                assert!(found.iter().any(|found| found.contains(words)), "{fault}\nwas told as {found:#?}");
                tx.rollback().await.expect("it is taken back");
            }
            db.close().await;
        });
    });
}

#[test]
fn f02_housekeeping_that_is_killed_at_any_time_leaves_whole_portions_and_is_done_when_repeated() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        desk.program.at("2026-03-01T10:00:00+08:00");
        let message =
            |n: usize| line(&format!("m-{n}"), "acme", "promotional", "2", "2026-03-01T09:00:00+08:00");
        for part in 0..2 {
            let lines: Vec<_> = (part * 25_000..part * 25_000 + 25_000).map(message).collect();
            desk.take(&format!("{part}.csv"), file(&lines));
        }
        all_jobs_at(&mut desk, "2027-05-01T10:00:00+08:00");
        let (digest, all) = (digest_of(&desk.url), 50_000);
        let mut left = Vec::new();
        for round in 1..=10 {
            let running = desk.program.start(KEEP, b"");
            // The moment of the kill is what is tested; nothing is waited for.
            std::thread::sleep(std::time::Duration::from_millis(60 * round));
            running.kill();
            left.push(count(&desk, "select count(*) from messages"));
            assert_sound(&desk.url);
            assert_eq!(digest_of(&desk.url), digest);
        }
        desk.program.run(KEEP).exits(0);
        assert_eq!(count(&desk, "select count(*) from messages"), 0, "after {left:?}");
        assert_eq!(count(&desk, "select messages from retired_messages"), all);
        assert_eq!(digest_of(&desk.url), digest);
        desk.program.run(&["audit"]).exits(0);
    });
}

#[test]
fn f95_traces_go_once_nobody_needs_them() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        desk.program.at("2026-03-01T10:00:00+08:00");
        let future = line("m-1", "acme", "promotional", "2", "2026-03-01T11:00:00+08:00");
        let bad = |n: &str| line(n, "acme", "promotional", "none", "2026-03-01T09:00:00+08:00");
        desk.take("m.csv", file(&[future, bad("m-2"), bad("m-3")]));
        desk.program.at("2026-03-01T12:00:00+08:00");
        run(&desk, &["batch", "retry", "1"]);
        run(&desk, &["exception", "dismiss", "1:2", "--reason", "never sent"]);
        for _ in 0..3 {
            run(&desk, &["--run-job", "aggregate-charges"]);
        }
        run(&desk, &["--run-job", "housekeeping"]);
        assert_eq!(count(&desk, "select count(*) from batch_lines where raw is not null"), 3);
        // Records of runs are as old as the machine's clock says.
        all_jobs_at(&mut desk, "2037-01-01T12:00:00+08:00");
        let (runs, digest) = (count(&desk, "select count(*) from job_runs"), digest_of(&desk.url));
        let kept = desk.program.run(KEEP).exits(0).json()["counts"].clone();
        assert_eq!((&kept["rejected_lines"], &kept["messages"]), (&2.into(), &1.into()), "{kept}");
        // The line that nobody has decided on keeps its text.
        assert_eq!(count(&desk, "select line from batch_lines where raw is not null"), 3);
        desk.program.run(&["batch", "retry", "1"]).exits(3);
        // What charged stays, and of each job the last that was done.
        let gone = kept["runs"].as_i64().expect("a count");
        assert!(gone > 0);
        assert_eq!(count(&desk, "select count(*) from job_runs"), runs + 1 - gone);
        let lost = "select count(*) from charges where run_no not in (select run_no from job_runs)";
        assert_eq!(count(&desk, lost), 0);
        let jobs =
            "select count(distinct job) from job_runs where outcome in ('done', 'nothing_to_do', 'partial')";
        assert_eq!(count(&desk, jobs), 5);
        // Its own first run has a later one only now.
        assert_eq!(desk.program.run(KEEP).exits(0).json()["counts"]["runs"], 1);
        assert_eq!(desk.program.run(KEEP).exits(0).json()["outcome"], "nothing_to_do");
        assert_eq!(digest_of(&desk.url), digest);
        assert_sound(&desk.url);
    });
}

#[test]
fn f50_what_went_is_not_taken_again_whatever_is_configured_since_or_read_meanwhile() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        let old = line("m-1", "acme", "promotional", "2", "2026-03-01T09:00:00+08:00");
        desk.program.at("2026-03-01T10:00:00+08:00");
        desk.take("m.csv", file(std::slice::from_ref(&old)));
        all_jobs_at(&mut desk, "2027-05-01T10:00:00+08:00");
        // A file that was judged before housekeeping, and is written after it.
        let known = count(&desk, "select count(*) from messages");
        assert_eq!(desk.program.run(KEEP).exits(0).json()["counts"]["messages"], known);
        let message = MessageRow {
            account_id: "acme".into(),
            key: MessageKey::of("m-1"),
            raw_id: None,
            product: "sms-domestic".into(),
            template_type: "promotional",
            country: Country::CHINA,
            disposition: Disposition::Billable,
            reject_code: None,
            too_long: false,
            units: 2,
            submit_time: at("2026-03-01T09:00:00+08:00"),
            biz_id: None,
            out_id: None,
            recipient_hash: None,
            size_differs: None,
        };
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            let mut tx = db.stage().await.expect("a transaction begins");
            let mut staging = Staging::begin(&mut tx).await.expect("it begins");
            staging.push(&mut tx, 1, &message).await.expect("it is staged");
            let origin = Origin {
                source: "generic".into(),
                name: "late.csv".into(),
                format: "csv".into(),
                header: None,
            };
            let now = at("2027-05-01T10:00:00+08:00");
            let refused =
                staging.finish(&mut tx, &origin, "hash", "", now).await.expect_err("it is too late");
            assert!(refused.is_busy() && refused.to_string().contains("hand them in again"), "{refused}");
            drop(tx);
            db.close().await;
        });
        desk.program.configure("[retention]\nmessages = \"60 months\"\n");
        let again = desk.ingest("again.csv", file(&[old]) + "\n").exits(3).json();
        assert_eq!((&again["accepted"], &again["rejected"]), (&0.into(), &1.into()), "{again}");
        desk.program.run(&["audit"]).exits(0);
    });
}

#[test]
fn f94_f102_how_notices_were_sent_goes_and_none_is_sent_again() {
    on_both(|database| {
        let server = MailServer::kind(Security::Plain);
        bills(database, 2);
        let mut program = mailing(database, &server, "none");
        deliver(&mut program, 0, 0);
        let deliver =
            |program: &Program| program.run(&["--catch-up", "--run-job", "deliver-notifications", "--json"]);
        for (time, gone) in [("2027-03-31T12:00:00+08:00", 0), ("2027-04-02T12:00:00+08:00", 2)] {
            program.at(time);
            let kept = program.run(KEEP).exits(0).json();
            assert_eq!(kept["counts"]["deliveries"], gone, "{time}: {kept}");
            assert_eq!(deliver(&program).exits(0).json()["outcome"], "nothing_to_do");
        }
        assert_eq!(server.letters().len(), 2);
        assert_eq!(program.json(&["inbox", "acme-0"]).as_array().map(Vec::len), Some(1));
    });
}
