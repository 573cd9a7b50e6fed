//! The audit as a job: what it finds is told at once, named by `status` until it is mended, and left to nobody's
//! memory (I34).

use serde_json::{Value, json};

use crate::support::books::{block_on, change, digest_of};
use crate::support::databases::{TestDatabase, on_both, sqlite};
use crate::support::lines::{file, line};
use crate::support::program::{Answer, Program};

/// Two accounts, each with a message that is charged.
fn open(database: &TestDatabase) -> Program {
    let program = Program::on(database);
    program.run(&["migrate"]).exits(0);
    for id in ["acme", "other"] {
        program.run(&["account", "add", id, "--name", id]).exits(0);
        program.run(&["account", "top-up", id, "100", "--reference", "cash-1"]).exits(0);
    }
    send(&program, "a");
    program
}

/// A message of each account, charged.
fn send(program: &Program, name: &str) {
    let time = "2026-03-01T09:00:00+08:00";
    let lines = ["acme", "other"].map(|id| line(&format!("{id}-{name}"), id, "verification", "1", time));
    program.file("m.csv", file(&lines));
    program.run(&["ingest", "messages", "m.csv"]).exits(0);
    program.run(&["--run-job", "aggregate-charges"]).exits(0);
}

fn audit_changes(program: &Program) -> Answer {
    program.run(&["--run-job", "audit-changes", "--json"])
}

/// The operator's letters about the audit.
fn told(program: &Program) -> Vec<Value> {
    let inbox = program.json(&["inbox", "--operator"]);
    let all = inbox.as_array().expect("a list").iter();
    all.filter(|notice| notice["kind"] == "books_wrong").cloned().collect()
}

/// Plants a fault behind the program's back, or mends it.
fn plant(database: &TestDatabase, id: &str, amount: &str) {
    let sql = format!("update accounts set balance = balance + {amount} where account_id = '{id}'");
    block_on(change(&database.url, &sql));
}

/// Up to which entry an account was found right, as `audited` says.
fn mark(database: &TestDatabase, id: &str) -> i64 {
    let sql = format!("select entry_no from audited where account_id = '{id}'");
    crate::support::books::read(&database.url, async |tx| tx.int(sql, Vec::new()).await)
}

#[test]
fn a_fault_is_found_by_night_told_once_a_day_and_named_until_it_is_mended() {
    on_both(|database| {
        let mut program = open(database);
        let right = program.run(&["--run-job", "audit-books", "--json"]).exits(0).json();
        assert_eq!((&right["outcome"], &right["findings"]), (&json!("done"), &json!([])));
        assert_eq!((&right["counts"]["accounts"], &right["counts"]["messages"]), (&json!(2), &json!(2)));
        program.run(&["status"]).exits(0);

        plant(database, "acme", "7");
        let dry = program.run(&["--run-job", "audit-books", "--dry-run", "--json"]).exits(1).json();
        assert_eq!((&dry["dry_run"], &dry["counts"]["wrong"]), (&json!(true), &json!(1)));
        program.run(&["status"]).exits(0);
        let wrong = program.run(&["--run-job", "audit-books", "--json"]).exits(1).json();
        assert_eq!((&wrong["outcome"], &wrong["counts"]["wrong"]), (&json!("partial"), &json!(1)));
        let first = wrong["findings"][0].as_str().expect("a finding");
        assert!(first.contains("I04") && first.contains("acme"), "{first}");
        let words =
            ["The books are NOT right", "I04", "balance is 100.000007 in the books and 100.00 by a recount"];
        program.run(&["--run-job", "audit-books"]).exits(1).tells(&words);

        let notices = told(&program);
        assert_eq!(notices.len(), 1, "{notices:#?}");
        assert_eq!(notices[0]["facts"]["finding"], first);
        let status = program.run(&["status", "--json"]).exits(3).json();
        assert_eq!(status["wrong_accounts"], 1);
        assert_eq!(status["wrong"], json!([{ "account_id": "acme", "fault": first }]));
        program.run(&["status"]).exits(3).tells(&["The books of acme are NOT right", "quittance audit acme"]);
        program.run(&["jobs"]).exits(0).tells(&["partial: I04"]);

        // The next day it is told again, as long as it lasts.
        program.at("2026-03-02T04:00:00+08:00");
        program.run(&["--run-job", "audit-books"]).exits(1);
        assert_eq!(told(&program).len(), 2);
        plant(database, "acme", "-7");
        program.run(&["status"]).exits(3);
        program.run(&["--run-job", "audit-books"]).exits(0);
        program.run(&["status"]).exits(0);
        assert_eq!(told(&program).len(), 2);
    });
}

#[test]
fn a_fault_is_found_after_the_next_change_of_its_account() {
    on_both(|database| {
        let program = open(database);
        let before = digest_of(&database.url);
        let first = audit_changes(&program).exits(0).json();
        assert_eq!((&first["counts"]["accounts"], &first["counts"]["due"]), (&json!(2), &json!(0)));
        assert_eq!(audit_changes(&program).exits(0).json()["outcome"], "nothing_to_do");
        assert_eq!(digest_of(&database.url), before);
        let (acme, other) = (mark(database, "acme"), mark(database, "other"));
        assert!(acme > 0 && other > 0);

        // Nobody looks before something changes.
        plant(database, "acme", "7");
        assert_eq!(audit_changes(&program).exits(0).json()["counts"]["accounts"], 0);
        send(&program, "b");
        let wrong = audit_changes(&program).exits(1).json();
        let counts = &wrong["counts"];
        assert_eq!(
            (&counts["accounts"], &counts["wrong"], &counts["due"]),
            (&2.into(), &1.into(), &1.into())
        );
        // The mark of the account that is wrong has not moved, and it is looked at each time.
        assert_eq!(mark(database, "acme"), acme);
        assert!(mark(database, "other") > other);
        assert_eq!(audit_changes(&program).exits(1).json()["counts"]["accounts"], 1);
        assert_eq!(told(&program).len(), 1);
        program.run(&["status"]).exits(3).tells(&["The books of acme are NOT right"]);

        plant(database, "acme", "-7");
        assert_eq!(audit_changes(&program).exits(0).json()["counts"]["accounts"], 1);
        program.run(&["status"]).exits(0);
        assert!(mark(database, "acme") > acme);
    });
}

#[test]
fn what_is_wrong_with_no_account_is_told_of_the_books_as_a_whole() {
    on_both(|database| {
        let program = open(database);
        let spoil = |by| {
            let sql = format!("update batches set accepted = accepted + {by}, rejected = rejected - {by}");
            block_on(change(&database.url, &sql));
        };
        spoil(1);
        program.run(&["--run-job", "audit-books"]).exits(1);
        let status = program.run(&["status", "--json"]).exits(3).json();
        assert_eq!(status["wrong"][0]["account_id"], Value::Null);
        // All accounts are right.
        assert_eq!(audit_changes(&program).exits(0).json()["outcome"], "nothing_to_do");
        program.run(&["audit", "acme", "other"]).exits(0);
        spoil(-1);
        program.run(&["--run-job", "audit-books"]).exits(0);
        program.run(&["status"]).exits(0);
    });
}

#[test]
fn i34_right_books_of_which_not_all_could_be_booked_exit_with_3() {
    on_both(|database| {
        let program = open(database);
        program.run(&["audit"]).exits(0);
        // What a run leaves that parks an account.
        let sql = "insert into suspense (account_id, id_hi, id_lo, batch_no, line, reason, since_run) \
                   select account_id, id_hi, id_lo, batch_no, line, 'account_parked', 1 from messages \
                   where account_id = 'acme'";
        let uncharged = file(&[line("late", "acme", "verification", "1", "2026-03-01T09:01:00+08:00")]);
        program.file("late.csv", uncharged);
        program.run(&["ingest", "messages", "late.csv"]).exits(0);
        block_on(change(&database.url, &format!("{sql} and batch_no = 2")));
        let parked = program.run(&["audit", "--json"]).exits(3).json();
        assert_eq!((&parked["sound"], &parked["parked"][0]["account_id"]), (&json!(true), &json!("acme")));
        program.run(&["audit", "acme", "--quick"]).exits(3).tells(&[
            "are right",
            "Parked",
            "acme: 1 message waits",
        ]);
        program.run(&["audit", "other"]).exits(0);
        // Wrong comes before parked.
        plant(database, "acme", "7");
        program.run(&["audit"]).exits(1).tells(&["NOT right", "Parked"]);
    });
}

#[test]
fn accounts_that_were_not_looked_at_for_the_longest_time_come_first() {
    let database = sqlite();
    let mut program = open(&database);
    audit_changes(&program).exits(0);
    program.at("2026-03-01T13:00:00+08:00");
    send(&program, "b");
    program.run(&["account", "top-up", "other", "1", "--reference", "cash-2"]).exits(0);
    let due = |limit| {
        crate::support::books::read(&database.url, async |tx| quittance::store::audited::due(tx, limit).await)
    };
    program.run(&["account", "add", "newest", "--name", "Newest"]).exits(0);
    assert_eq!(due(5), [("acme".to_owned(), false), ("other".to_owned(), false)]);
    program.run(&["account", "top-up", "newest", "1", "--reference", "cash-1"]).exits(0);
    assert_eq!(due(1), [("newest".to_owned(), false)]);
}
