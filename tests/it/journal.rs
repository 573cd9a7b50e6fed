//! The books as hledger, ledger and beancount see them: each is content, and finds our balances.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use quittance::desk::journal::{By, Wanted};
use quittance::export::journal::{Format, component};

use crate::support::books::{block_on, read};
use crate::support::databases::{TestDatabase, on_both, sqlite};
use crate::support::history::Books;
use crate::support::program::{Answer, Program};
use crate::support::receipts::{self, answered};
use crate::support::tools::{content, have};

const HISTORIES: usize = 4;

/// Amounts in millionths by account and commodity.
type Balances = BTreeMap<(String, String), i128>;

/// Checks both journals of one state with all programs that there are.
fn check(dir: &Path, hledger: &[u8], beancount: &[u8]) {
    std::fs::write(dir.join("books.journal"), hledger).unwrap();
    std::fs::write(dir.join("books.beancount"), beancount).unwrap();
    if have("hledger") {
        content("hledger", &["-f", "books.journal", "check", "--strict"], dir);
        content("hledger", &["-f", "books.journal", "check", "ordereddates"], dir);
    }
    if have("ledger") {
        content("ledger", &["-f", "books.journal", "--pedantic", "--strict", "bal"], dir);
    }
    if have("bean-check") {
        content("bean-check", &["books.beancount"], dir);
    }
}

/// What hledger finds in the accounts, zeros left out.
fn found_by_hledger(dir: &Path) -> Balances {
    let args = ["-f", "books.journal", "bal", "--flat", "-N", "--layout=bare", "-O", "csv"];
    let csv = content("hledger", &args, dir);
    let cell = |text: &str| text.trim_matches('"').to_owned();
    csv.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<String> = line.split(',').map(cell).collect();
            let [account, commodity, amount] = cells.try_into().expect("three cells");
            ((account, commodity), micros(&amount))
        })
        .filter(|(_, amount)| *amount != 0)
        .collect()
}

fn micros(amount: &str) -> i128 {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    format!("{whole}{decimals:0<6}").parse().expect("digits")
}

/// What the store says stands in the accounts of customers and of all, by the names of the journal.
fn kept(url: &str) -> Balances {
    let sql = "select s.account_id, s.ledger, coalesce(p.plan_id, ''), s.commodity, \
               cast(sum(s.amount) as bigint) from postings s \
               left join plans p on p.account_id = s.account_id and p.plan_no = s.plan_no \
               group by s.account_id, s.ledger, coalesce(p.plan_id, ''), s.commodity";
    let rows = read(url, async |tx| tx.rows(sql, Vec::new()).await);
    let mut kept = Balances::new();
    for row in rows {
        let text = |column| row.text(column).unwrap();
        let (id, ledger, plan, commodity) = (text(0), text(1), text(2), text(3));
        let own = ["Balance", "Unbilled", "Receivable", "Contract:Plan", "Quota:Plan", "Quota:Pending"];
        let mut name = ledger.clone();
        if own.iter().any(|end| ledger.ends_with(end)) {
            name = format!("{name}:{}", component('C', &id));
        }
        if !plan.is_empty() {
            name = format!("{name}:{}", component('P', &plan));
        }
        let scale = if commodity.len() == 3 { 1 } else { 1_000_000 };
        *kept.entry((name, commodity)).or_default() += i128::from(row.int(4).unwrap()) * scale;
    }
    kept.retain(|_, amount| *amount != 0);
    kept
}

fn wanted(format: Format, by: By, from: Option<&str>, to: Option<&str>) -> Wanted {
    let day = |text: &str| text.parse().expect("a day");
    Wanted { format, by, from: from.map(day), to: to.map(day) }
}

#[test]
fn every_history_is_a_journal_that_others_check() {
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    for _ in 0..HISTORIES {
        let history = answered().new_tree(&mut runner).expect("a history").current();
        let database = sqlite();
        let dir = tempfile::tempdir().unwrap();
        block_on(async {
            let mut books = Books::open(&database.url).await;
            books.play(&receipts::steps(&history, receipts::Handing::Whole)).await;
            for by in [By::Entry, By::Day] {
                for (from, to) in
                    [(Some("2026-03-01"), Some("2026-03-02")), (Some("2026-03-01"), None), (None, None)]
                {
                    let hledger = books.journal(wanted(Format::Hledger, by, from, to)).await;
                    let beancount = books.journal(wanted(Format::Beancount, by, from, to)).await;
                    check(dir.path(), &hledger, &beancount);
                }
            }
            books.close().await;
        });
        if have("hledger") {
            assert_eq!(found_by_hledger(dir.path()), kept(&database.url));
        }
    }
}

/// A few days of two customers, with ids and references that mean something to the other programs.
fn odd_world(database: &TestDatabase) -> Program {
    let mut program = Program::on(database);
    program.at("2026-03-01T08:00:00+08:00");
    program.run(&["migrate"]).exits(0);
    for (account, kind) in [("acme.eu", "enterprise"), ("acme-x2Eeu", "enterprise"), ("C-acme", "individual")]
    {
        program.run(&["account", "add", account, "--name", "Acme; 短信", "--kind", kind]).exits(0);
        let reference = "a;b [2026-13-99], date:x  \"转账\\ | *";
        program.run(&["account", "top-up", account, "100.123456", "--reference", reference]).exits(0);
        program.run(&["order", "place", account, "sms-domestic-200", "--reference", "o"]).exits(0);
    }
    let message = |n: usize| {
        let account = ["acme.eu", "acme-x2Eeu", "C-acme"][n % 3];
        format!("m-{n},{account},sms,CN,verification,2026-03-01T08:{:02}:00+08:00,accepted,3\n", n % 60)
    };
    let header = "message_id,account_id,channel,country,template_type,submit_time,submit_status,sms_size\n";
    let lines: String = (0..300).map(message).collect();
    program.file("messages.csv", format!("{header}{lines}"));
    let failed = |n: usize| {
        let account = ["acme.eu", "acme-x2Eeu", "C-acme"][n % 3];
        format!("m-{n},{account},failed,2026-03-01T10:00:00+08:00\n")
    };
    let lines: String = (0..300).step_by(7).map(failed).collect();
    program.file("receipts.csv", format!("message_id,account_id,status,report_time\n{lines}"));
    program.at("2026-03-01T12:00:00+08:00");
    program.run(&["ingest", "messages", "messages.csv"]).exits(0);
    program.run(&["--run-job", "aggregate-charges"]).exits(0);
    program.run(&["ingest", "receipts", "receipts.csv"]).exits(0);
    program.run(&["--run-job", "settle-receipts"]).exits(0);
    program.at("2026-03-05T13:00:00+08:00");
    program.run(&["--run-job", "settle-receipts", "--catch-up"]).exits(0);
    program.at("2026-04-01T01:00:00+08:00");
    program.run(&["--run-job", "aggregate-charges", "--catch-up"]).exits(0);
    program.run(&["--run-job", "settle-receipts"]).exits(0);
    program.run(&["--run-job", "monthly-bills"]).exits(0);
    program
}

#[test]
fn odd_ids_and_references_do_no_harm_and_both_databases_give_the_same_files() {
    let mut seen: Option<Vec<Vec<u8>>> = None;
    on_both(|database| {
        let program = odd_world(database);
        let mut files = Vec::new();
        for by in ["entry", "day"] {
            for from in [&[][..], &["--from", "2026-03-02", "--to", "2026-04-30"]] {
                let export = |format: &str| {
                    let args = ["journal", "export", "--format", format, "--by", by];
                    program.run(&[&args[..], from].concat()).exits(0).stdout.into_bytes()
                };
                let (hledger, beancount) = (export("hledger"), export("beancount"));
                check(program.dir(), &hledger, &beancount);
                if have("hledger") {
                    assert_eq!(found_by_hledger(program.dir()), kept(&database.url));
                }
                files.extend([hledger, beancount]);
            }
        }
        let before = seen.replace(files.clone());
        assert!(before.is_none_or(|before| before == files), "the databases give different files");
    });
}

#[test]
fn a_file_is_written_whole_and_told_of() {
    let database = sqlite();
    let program = odd_world(&database);
    let told = program.json(&["journal", "export", "--format", "hledger", "--out", "books.journal"]);
    assert_eq!((told["file"].as_str(), told["from"].as_str()), (Some("books.journal"), Some("2026-03-01")));
    assert!(told["transactions"].as_i64() > Some(9), "{told}");
    let whole = std::fs::read(program.path("books.journal")).unwrap();
    let printed = program.run(&["journal", "export", "--format", "hledger"]).exits(0).stdout;
    assert_eq!(whole, printed.as_bytes());
    let args = ["journal", "export", "--format", "hledger", "--from", "2026-03-02", "--to", "2026-03-01"];
    program.run(&[&args[..], &["--json", "--out", "none"]].concat()).refuses("bad_period");
    assert!(!program.path("none").exists());
    program.run(&["journal", "export", "--format", "hledger", "--json"]).exits(2).says(&["--out"]);
    program.run(&["journal", "export", "--format", "hledger", "--out", "no/dir"]).exits(1).says(&["no/dir"]);
    program
        .run(&["journal", "export", "--format", "hledger", "--from", "2026-3-2"])
        .exits(2)
        .says(&["YYYY-MM-DD"]);
}

#[test]
fn f14_where_there_is_no_room_there_is_no_half_a_file() {
    let database = sqlite();
    let program = odd_world(&database);
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(program.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    let before = names();
    block_on(async {
        // Open here, too: what the databases of SQLite need beside them is there already.
        let db = quittance::store::open(&database.url).await.unwrap();
        db.read().await.unwrap().int("select count(*) from entries", Vec::new()).await.unwrap();
        for args in
            [&["journal", "export", "--format", "hledger", "--out", "books"][..], &["backup", "books"]]
        {
            let whole = program.command(args);
            let mut limited = Command::new("sh");
            // Files of at most 8 blocks of 512 bytes.
            limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"]).arg(whole.get_program());
            limited.args(whole.get_args()).current_dir(program.dir());
            let answer = Answer::of(args.join(" "), limited.output().unwrap()).exits(1);
            assert!(!answer.stderr.is_empty(), "{}", answer.shown());
            assert_eq!(names(), before, "{}", answer.shown());
        }
        db.close().await;
    });
    program.run(&["journal", "export", "--format", "hledger", "--out", "books"]).exits(0);
}

#[test]
fn empty_books_are_an_empty_journal() {
    let database = sqlite();
    let program = Program::on(&database);
    assert_eq!(program.run(&["journal", "export", "--format", "beancount"]).exits(0).stdout, "");
}
