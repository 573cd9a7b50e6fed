//! The audit finds what is wrong: one fault is planted for each invariant, and each is found.

use quittance::audit::{Audit, Depth, audit, audit_accounts};
use quittance::config::Config;
use quittance::progress::Silent;
use quittance::store::{self, Db, Dialect, Tx};

use crate::support::books::block_on;
use crate::support::databases::on_both;
use crate::support::desk::Desk;
use crate::support::lines::{file, line};

/// Books with some of everything: a plan that is used up, tiers, failures given back to the plan and as
/// money, a late message, suspense, a penalty, a withdrawal.
fn open(url: &str) -> Desk {
    let mut desk = Desk::open_url(url);
    let run = |desk: &Desk, args: &[&str]| {
        let answer = desk.program.run(args);
        assert!([0, 3].contains(&answer.code), "{}", answer.shown());
    };
    desk.program.at("2026-03-01T08:00:00+08:00");
    run(&desk, &["account", "add", "other", "--name", "Another"]);
    run(&desk, &["account", "top-up", "other", "50", "--reference", "cash-1"]);
    run(&desk, &["order", "place", "acme", "sms-domestic-200"]);
    let message = |n: usize| {
        let account = match n {
            299 => "stranger",
            300.. => "other",
            _ => "acme",
        };
        let kind = ["verification", "promotional"][n % 2];
        let units = (1 + n % 3).to_string();
        line(&format!("m-{n}"), account, kind, &units, &format!("2026-03-01T09:{:02}:00+08:00", n / 6))
    };
    desk.program.at("2026-03-01T10:00:00+08:00");
    desk.take("m.csv", file(&(0..310).map(message).collect::<Vec<_>>()));
    run(&desk, &["--run-job", "aggregate-charges"]);
    let failures: String = (0..40)
        .map(|n| format!("m-{},acme,failed,2026-03-01T10:00:00+08:00\n", n * 7))
        .fold("message_id,account_id,status,report_time\n".to_owned(), |all, line| all + &line);
    desk.program.file("r.csv", failures);
    run(&desk, &["ingest", "receipts", "r.csv"]);
    run(&desk, &["--run-job", "settle-receipts"]);
    run(&desk, &["account", "penalize", "acme", "3", "--reason", "a test"]);
    run(&desk, &["account", "withdraw", "acme", "10", "--reference", "out"]);
    desk.program.at("2026-03-06T10:00:00+08:00");
    run(&desk, &["--run-job", "settle-receipts"]);
    desk
}

/// Faults as SQL, each with words of what the audit must say of it.
const FAULTS: &[(&str, &str)] = &[
    ("update accounts set balance = balance + 1", "I04"),
    ("update accounts set unbilled = unbilled - 1", "I04"),
    ("update accounts set due = due + 1, balance = 0", "due"),
    ("update plans set remaining = remaining - 1 where remaining > 0", "plan"),
    ("update plans set released = released - 1", "I06"),
    ("update charges set units = units + 1", "I09"),
    ("update charges set unit_price = unit_price + 1 where plan_no = 0", "a recount"),
    ("update charges set amount = amount + 1 where plan_no = 0", "unbilled"),
    ("update charges set plan_no = 0 where plan_no = 1", "a recount"),
    ("update messages set units = units + 1 where line = 5", "I09"),
    ("update messages set submit_time = submit_time + 300000000 where line = 5", "a recount"),
    ("update messages set template_type = 'notification' where line = 6", "a recount"),
    ("delete from returns where seq = 1", "I13"),
    ("update returns set units = units + 5", "I12"),
    ("update returns set to_plan = 0, money_to = 'balance' where to_plan = 1", "plan"),
    ("update failures set answer = null, run_no = null where answer = 'returned'", "I13"),
    ("update failures set report_time = report_time + 400000000000", "I13"),
    (OPENED_AGAIN, "I13"),
    ("update postings set amount = amount + 1 where ledger = 'Assets:Unbilled'", "I02"),
    ("delete from postings where ledger = 'Liabilities:VAT:Pending'", "I02"),
    ("update top_ups set amount = amount + 1", "I04"),
    ("update withdrawals set amount = amount + 1", "I04"),
    ("update batches set rejected = rejected + 1, accepted = accepted - 1", "I28"),
    ("update orders set paid = paid - 1", "balance"),
    ("update plans set expires_at = effective_at + 1", "a recount"),
    ("update account_months set tiers = replace(tiers, '\"verification\",', '\"verification\",1')", "tier"),
];

const OPENED_AGAIN: &str =
    "insert into open_failures (batch_no, line) select batch_no, line from failures where run_no is not null";

/// Those of these that are no account's own.
const OF_ALL: &[&str] =
    &["update batches set rejected = rejected + 1, accepted = accepted - 1", OPENED_AGAIN];

#[test]
fn a_planted_fault_is_found_and_sound_books_are_said_to_be_so() {
    on_both(|database| {
        let desk = open(&database.url);
        let sound = desk.program.run(&["audit", "--json"]).exits(0).json();
        assert_eq!((&sound["sound"], &sound["accounts"]), (&true.into(), &2.into()));
        assert_eq!((&sound["messages"], &sound["parked"]), (&309.into(), &serde_json::json!([])));
        desk.program.run(&["audit"]).exits(0).tells(&["The books are right"]);
        desk.program.run(&["audit", "--quick"]).exits(0).tells(&["The books are right"]);
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            for (fault, words) in FAULTS {
                let mut tx = db.write().await.expect("it can be written");
                let found = planted(&db, &mut tx, fault).await;
                assert!(found.iter().any(|found| found.contains(words)), "{fault}\nwas told as {found:#?}");
                let of_acme = of_account(&mut tx, "acme").await;
                assert_eq!(of_acme.is_right(), OF_ALL.contains(fault), "{fault}\n{:#?}", of_acme.findings);
                let of_other = of_account(&mut tx, "other").await;
                assert!(of_other.is_right(), "{fault}\n{:#?}", of_other.findings);
                tx.rollback().await.expect("it is taken back");
            }
            db.close().await;
        });
        desk.program.run(&["audit"]).exits(0);
    });
}

/// Plants a fault and gives what the audit says.
async fn planted(db: &Db, tx: &mut Tx, fault: &str) -> Vec<String> {
    let ledger_open: &[&str] = match db.dialect() {
        Dialect::Postgres => &["alter table postings disable trigger all"],
        Dialect::Sqlite => &["drop trigger postings_no_update", "drop trigger postings_no_delete"],
    };
    for sql in ledger_open {
        tx.execute(*sql, Vec::new()).await.expect("the ledger can be opened");
    }
    let of_acme = if OF_ALL.contains(&fault) { "true" } else { "account_id = 'acme'" };
    let and = if fault.contains(" where ") { "and" } else { "where" };
    let fault = format!("{fault} {and} {of_acme}");
    let touched = tx.execute(&*fault, Vec::new()).await.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
    assert!(touched > 0, "{fault} changes nothing");
    let config = Config::built_in().expect("the shipped configuration");
    audit(tx, &config, true, &Silent).await.expect("it can be audited").findings
}

/// What the audit of one account says.
async fn of_account(tx: &mut Tx, id: &str) -> Audit {
    let config = Config::built_in().expect("the shipped configuration");
    let ids = [id.to_owned()];
    audit_accounts(tx, &config, &ids, Depth::Full, &Silent).await.expect("it can be audited")
}

#[test]
fn a_wrong_book_is_told_with_exit_code_1_and_where_to_begin() {
    on_both(|database| {
        let desk = open(&database.url);
        let fault = "update accounts set balance = balance + 1000000 where account_id = 'acme'";
        block_on(crate::support::books::change(&desk.url, fault));
        let answer = desk.program.run(&["audit", "--json"]).exits(1).json();
        assert_eq!(answer["sound"], false);
        let first = answer["findings"][0].as_str().expect("a finding");
        assert!(first.contains("I04 an account's balance is the sum of its postings: acme"), "{first}");
        desk.program.run(&["audit"]).exits(1).tells(&["The books are NOT right", "acme"]);
        let run = |args: &[&str], code| desk.program.run(args).exits(code);
        run(&["audit", "acme"], 1).tells(&["The books of acme are NOT right", "I04"]);
        run(&["audit", "acme", "--quick"], 1).tells(&["I04"]);
        run(&["audit", "other", "acme"], 1).tells(&["The books of acme, other are NOT right"]);
        run(&["audit", "other"], 0).tells(&["The books of other are right", "anew: 1, with 10 messages"]);
        run(&["audit", "other", "--quick"], 0).tells(&["The books of other are right"]);
        desk.program.run(&["audit", "other", "nobody", "--json"]).refuses("unknown_account");
    });
}
