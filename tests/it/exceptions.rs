//! What waits for somebody, as scripts see it: `exception`, `status` and `explain message`.

use serde_json::{Value, json};

use crate::support::books::{assert_sound, block_on, digest_of};
use crate::support::databases::{TestDatabase, on_both};
use crate::support::lines::{file, line};
use crate::support::program::Program;
use crate::support::shape::{assert_each, assert_shape};

const ITEM: &str = "exception_id:text? kind:text account_id:text? message_id:text? part:count? batch:text? \
    line:count? opened_at:time? age_hours:count? detail:text resolution:text? reason:text? closed_at:time? \
    remedy:text?";
const STORY: &str = "message_id:text account_id:text batch:text line:count product:text template_type:text \
    country:text segments:count submit_time:time window:time late:bool charge:object? not_charged:list \
    receipt:object? parts:list? receipts:list return:object? exceptions:list state:text? reason:text? final:bool \
    if_failed_now:object bill:text? invoice:text?";
const RECEIPT: &str = "part:count? parts:count? status:text raw_status:text? err_code:text? report_time:time \
    received_at:time batch:text line:count kind:text";

const SENT: &str = "2026-03-01T09:00:00+08:00";

/// Books with the account acme and 100 CNY.
fn open(database: &TestDatabase) -> Program {
    let mut program = Program::on(database);
    program.at(SENT);
    program.run(&["migrate"]).exits(0);
    program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
    program.run(&["account", "top-up", "acme", "100", "--reference", "cash-1"]).exits(0);
    program
}

/// Hands in messages of so many units each and charges them.
fn charged(program: &mut Program, messages: &[(&str, &str)]) {
    let lines: Vec<String> =
        messages.iter().map(|(id, n)| line(id, "acme", "verification", n, SENT)).collect();
    let name = program.file(&format!("{}.csv", messages[0].0), file(&lines));
    program.run(&["ingest", "messages", &name]).exits(0);
    program.run(&["--run-job", "aggregate-charges"]).exits(0);
}

/// Hands in receipts `id,status,part,parts`, reported now, and settles them.
fn answered(program: &mut Program, at: &str, receipts: &[&str]) {
    program.at(at);
    let header = "account_id,message_id,status,part,parts";
    let lines: Vec<String> = receipts.iter().map(|receipt| format!("acme,{receipt}")).collect();
    let name = program
        .file(&format!("{}.csv", at.replace([':', '+'], "")), format!("{header}\n{}\n", lines.join("\n")));
    let taken = program.run(&["ingest", "receipts", &name, "--json"]);
    assert!([0, 3].contains(&taken.code), "{}", taken.shown());
    let run = program.run(&["--run-job", "settle-receipts", "--catch-up", "--json"]);
    assert!([0, 3].contains(&run.code), "{}", run.shown());
}

#[test]
fn a_list_says_that_there_is_more_than_it_shows() {
    on_both(|database| {
        let mut program = open(database);
        charged(&mut program, &[("m-1", "1"), ("m-2", "1")]);
        let strangers = ["s-1", "s-2"].map(|id| line(id, "nobody", "verification", "1", SENT));
        let name = program.file("s.csv", file(&strangers));
        program.run(&["ingest", "messages", &name]).exits(0);
        program.run(&["--run-job", "aggregate-charges"]).exits(3);
        let list: &[&str] = &["exception", "list"];
        let limited = [list, &["--limit", "1"]].concat();
        program.run(&limited).exits(0).tells(&["s-1", "There are more; `--limit` shows them"]);
        let answer = program.run(&[&*limited, &["--json"]].concat()).exits(0).says(&["There are more"]);
        assert_eq!(answer.json().as_array().map(Vec::len), Some(1));
        let all = program.run(list).exits(0);
        assert!(!all.stdout.contains("There are more"), "{}", all.shown());
        let day = &["message", "list", "acme", "--day", "2026-03-01", "--limit", "1"];
        program.run(day).exits(0).tells(&["There are more"]);
        program.run(&[&day[..], &["--json"]].concat()).exits(0).says(&["There are more"]);
    });
}

#[test]
fn what_waits_is_listed_counted_and_resolved() {
    on_both(|database| {
        let mut program = open(database);
        charged(&mut program, &[("m-1", "2"), ("m-2", "1")]);
        assert_eq!(program.json(&["exception", "list"]), json!([]));
        assert_eq!(program.json(&["status"])["exceptions"], json!({}));
        answered(&mut program, "2026-03-01T10:00:00+08:00", &["m-1,delivered,,", "m-2,failed,1,2"]);
        answered(&mut program, "2026-03-01T11:00:00+08:00", &["m-1,failed,,"]);
        program.at("2026-03-02T12:30:00+08:00");
        let listed = program.json(&["exception", "list"]);
        assert_each(&listed, ITEM);
        let told =
            |item: &Value| (item["exception_id"].clone(), item["kind"].clone(), item["age_hours"].clone());
        assert_eq!(told(&listed[0]), (json!("1"), json!("segment_disagreement"), json!(26)));
        assert_eq!(told(&listed[1]), (json!("2"), json!("conflict"), json!(25)));
        assert_eq!((&listed[0]["part"], &listed[0]["message_id"]), (&json!(1), &json!("m-2")));
        assert!(listed[1]["remedy"].as_str().expect("words").contains("exception approve 2 --reason"));
        let status = program.run(&["status", "--json"]).exits(3).json();
        assert_eq!(status["exceptions"], json!({ "conflict": 1, "segment_disagreement": 1 }));
        // The contradiction is listed once, not a second time as a line.
        assert_eq!(status["quarantined"], json!({}));

        let before = digest_of(&database.url);
        let refused = |args: &[&str], code: &str| {
            program.run(&[&["exception"], args, &["--json"]].concat()).refuses(code);
        };
        refused(&["approve", "3", "--reason", "why not"], "unknown_exception");
        refused(&["approve", "two", "--reason", "why not"], "unknown_exception");
        refused(&["dismiss", "9:9", "--reason", "why not"], "unknown_exception");
        refused(&["approve", "2", "--reason", " "], "bad_reason");
        refused(&["approve", "2", "--reason", "why not", "--account", "beta"], "no_message");
        program.run(&["exception", "approve", "2"]).exits(2);
        program.run(&["exception", "list", "--limit", "0"]).exits(2);
        assert_eq!(digest_of(&database.url), before);

        let approved = program.json(&["exception", "approve", "2", "--reason", "the carrier erred"]);
        assert_shape(&approved, ITEM);
        assert_eq!(
            (&approved["resolution"], &approved["reason"]),
            (&json!("approved"), &json!("the carrier erred"))
        );
        assert_eq!(approved["return"], json!({ "plan": [], "money": "0.09" }));
        let dismissed = program.json(&["exception", "dismiss", "1", "--reason", "a test message"]);
        assert_shape(&dismissed, ITEM);
        assert_eq!(dismissed["resolution"], "dismissed");
        let after = digest_of(&database.url);
        refused(&["approve", "2", "--reason", "again"], "already_closed");
        refused(&["approve", "1", "--reason", "after all"], "already_closed");
        assert_eq!(digest_of(&database.url), after);
        assert_eq!(program.json(&["exception", "list"]), json!([]));
        assert_each(&program.json(&["exception", "list", "--all"]), ITEM);
        assert_eq!(program.json(&["status"])["exceptions"], json!({}));
        assert_eq!(program.json(&["account", "show", "acme"])["unbilled"], "0.045");
        assert_sound(&database.url);
    });
}

#[test]
fn suspense_and_lines_that_were_not_taken_wait_in_the_same_list() {
    on_both(|database| {
        let mut program = open(database);
        let lines = [
            line("m-1", "stranger", "verification", "1", SENT),
            line("m-2", "acme", "verification", "many", SENT),
            line("m-3", "acme", "verification", "1", SENT),
            line("m-3", "acme", "verification", "2", SENT),
        ];
        let name = program.file("messages.csv", file(&lines));
        program.run(&["ingest", "messages", &name]).exits(3);
        program.run(&["--run-job", "aggregate-charges"]).exits(3);
        let listed = program.json(&["exception", "list"]);
        assert_each(&listed, ITEM);
        let told: Vec<_> = listed
            .as_array()
            .expect("a list")
            .iter()
            .map(|item| (&item["kind"], &item["exception_id"]))
            .collect();
        assert_eq!(
            told,
            [
                (&json!("suspense"), &json!(null)),
                (&json!("rejected_line"), &json!("1:2")),
                (&json!("conflict_line"), &json!("1:4"))
            ]
        );
        assert!(listed[0]["remedy"].as_str().expect("words").contains("account add"));
        assert!(listed[1]["remedy"].as_str().expect("words").contains("batch retry 1"));
        let approve = ["exception", "approve", "1:2", "--reason", "seen", "--json"];
        program.run(&approve).refuses("no_failure").says(&["batch retry 1"]);
        for id in ["1:2", "1:4"] {
            program.run(&["exception", "dismiss", id, "--reason", "seen"]).exits(0);
            program
                .run(&["exception", "dismiss", id, "--reason", "seen", "--json"])
                .refuses("unknown_exception");
        }
        assert_eq!(program.run(&["status", "--json"]).exits(3).json()["quarantined"], json!({}));
        program.at("2026-03-01T09:10:00+08:00");
        program.run(&["account", "add", "stranger", "--name", "S"]).exits(0);
        program.run(&["--run-job", "aggregate-charges"]).exits(0);
        assert_eq!(program.json(&["exception", "list"]), json!([]));
        assert_eq!(program.run(&["status", "--json"]).exits(0).json()["suspense"], json!({}));
    });
}

#[test]
fn a_message_is_explained_from_its_batch_to_what_a_failure_would_give_back() {
    on_both(|database| {
        let mut program = open(database);
        program.run(&["order", "place", "acme", "sms-domestic-200"]).exits(0);
        charged(&mut program, &[("whole", "201"), ("parts", "3")]);
        let explain = |program: &Program, id: &str| program.json(&["explain", "message", "acme", id]);
        let story = explain(&program, "whole");
        assert_shape(&story, STORY);
        assert_eq!(
            (&story["receipt"], &story["return"], &story["parts"]),
            (&json!(null), &json!(null), &json!(null))
        );
        let if_failed = &story["if_failed_now"];
        assert_shape(if_failed, "answer:text plan:list money:money words:text");
        assert_eq!(if_failed["answer"], "returned");
        assert_eq!(if_failed["plan"], json!([{ "plan_id": "acme-p1", "units": 200 }]));
        assert_eq!((&if_failed["money"], &story["final"]), (&json!("0.045"), &json!(false)));
        let before = digest_of(&database.url);
        explain(&program, "whole");
        assert_eq!(digest_of(&database.url), before, "to ask changes nothing");

        let (noon, one) = ("2026-03-01T12:00:00+08:00", "2026-03-01T13:00:00+08:00");
        answered(&mut program, noon, &["whole,failed,,", "parts,delivered,1,3", "parts,failed,3,3"]);
        answered(&mut program, one, &["whole,delivered,,"]);
        let story = explain(&program, "whole");
        assert_shape(&story, STORY);
        assert_shape(&story["receipt"], RECEIPT);
        assert_each(&story["receipts"], RECEIPT);
        assert_each(&story["exceptions"], ITEM);
        let kinds: Vec<&Value> =
            story["receipts"].as_array().expect("a list").iter().map(|r| &r["kind"]).collect();
        assert_eq!(kinds, ["final", "conflict"]);
        assert_eq!(story["receipt"]["report_time"], noon);
        assert_eq!(story["return"]["plan"], if_failed["plan"]);
        assert_eq!(story["return"]["money"], if_failed["money"], "it gave back what was foretold");
        assert_eq!((&story["state"], &story["final"]), (&json!("charged"), &json!(true)));
        assert_eq!(story["if_failed_now"]["answer"], "duplicate");

        let story = explain(&program, "parts");
        assert_shape(&story, STORY);
        assert_each(&story["parts"], RECEIPT);
        assert_eq!((&story["receipt"], &story["final"]), (&json!(null), &json!(false)));
        assert_eq!(story["if_failed_now"]["money"], "0.045");
        let words = program.run(&["explain", "message", "acme", "parts"]).exits(0).stdout;
        for said in ["part 1 of 3: delivered", "part 3: 1 unit", "if failed now: part 2: 1 unit"] {
            assert!(words.contains(said), "`{said}` is not said:\n{words}");
        }
        assert_sound(&database.url);
    });
}

#[test]
fn a_message_of_many_parts_is_explained_and_given_back() {
    on_both(|database| {
        let mut program = open(database);
        charged(&mut program, &[("long", "500")]);
        answered(&mut program, "2026-03-01T10:00:00+08:00", &["long,failed,2,500"]);
        let before = digest_of(&database.url);
        let if_failed = &program.json(&["explain", "message", "acme", "long"])["if_failed_now"];
        // 499 * 0.045
        assert_eq!((&if_failed["answer"], &if_failed["money"]), (&json!("returned"), &json!("22.455")));
        assert_eq!(digest_of(&database.url), before, "to ask changes nothing");

        let parts: Vec<String> =
            (1..=500).filter(|n| *n != 2).map(|n| format!("long,failed,{n},500")).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        answered(&mut program, "2026-03-01T11:00:00+08:00", &parts);
        assert_eq!(program.json(&["account", "show", "acme"])["unbilled"], "0");
        assert_sound(&database.url);
    });
}

#[test]
fn two_who_approve_at_once_give_back_once() {
    on_both(|database| {
        let mut program = open(database);
        charged(&mut program, &[("m-1", "1"), ("m-2", "1")]);
        answered(&mut program, "2026-03-01T10:00:00+08:00", &["m-1,delivered,,", "m-1,failed,,"]);
        let args = ["exception", "approve", "1", "--reason", "twice", "--json"];
        let both = [program.start(&args, b""), program.start(&args, b"")];
        let mut codes: Vec<i32> = both.into_iter().map(|running| running.answer().code).collect();
        codes.sort_unstable();
        // The other is told that it is closed, or to try again.
        assert!(codes == [0, 1] || codes == [0, 75], "{codes:?}");
        program.run(&args).refuses("already_closed");
        assert_eq!(program.json(&["account", "show", "acme"])["unbilled"], "0.045");
        assert_sound(&database.url);
    });
}

#[test]
fn nothing_is_approved_while_receipts_are_settled() {
    on_both(|database| {
        let mut program = open(database);
        charged(&mut program, &[("m-1", "1")]);
        answered(&mut program, "2026-03-01T10:00:00+08:00", &["m-1,delivered,,", "m-1,failed,,"]);
        let held = "update jobs set owner = 'somebody else', lease_until = 9000000000000000 \
                    where job = 'settle-receipts'";
        block_on(crate::support::books::change(&database.url, held));
        program.run(&["exception", "approve", "1", "--reason", "now"]).exits(75).says(&["settle-receipts"]);
        block_on(crate::support::books::change(&database.url, "update jobs set owner = null"));
        program.run(&["exception", "approve", "1", "--reason", "now"]).exits(0);
    });
}
