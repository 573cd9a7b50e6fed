//! The list of delivery receipts: whoever adds it up finds `usage` (R131, R132, R150).

use std::collections::BTreeMap;

use quittance::scenario;
use serde_json::{Value, json};

use crate::support::books::assert_sound;
use crate::support::databases::{TestDatabase, on_both};
use crate::support::program::Program;

/// Delivered, failed before and after the charge, given back, too late, by part, by request, in suspense,
/// turned away, inbound, abroad, mails with free units, another account's; on three days of two months.
const STORY: &str = r#"
product direct-mail free=3/2
account acme balance=100
account other balance=100
verify acme
activate acme direct-mail
at "2026-03-01 09:01"
message last from=acme to=CN type=verification units=2 at="2026-02-28 23:59:59.999999"
message first from=acme to=CN type=verification units=1 at="2026-03-01 00:00"
message ok from=acme to=CN type=verification units=1
message "it's" from=acme to=CN type=promotional text="码" times=160
message E4D909C2-90D0-4F6E-8B1A-0123456789AB from=acme to=CN type=notification units=2
message e4d909c2-90d0-4f6e-8b1a-0123456789ac from=acme to=CN type=notification units=1
message known-bad from=acme to=CN type=notification units=2
message throttled from=acme to=CN type=verification units=1 status=rejected code=throttled
message blacklisted from=acme to=CN type=verification units=1 status=rejected code=blacklist
message reply from=acme to=CN direction=mo units=2
message abroad from=acme to=HK type=notification units=2
message no-price from=acme to=IS type=notification units=1
message parts from=acme to=CN type=notification units=3
message whole-parts from=acme to=CN type=notification units=2
message late-bad from=acme to=CN type=notification units=1
message asked from=acme to=CN type=verification units=2 biz_id=b1 recipient=13800000001
message mail from=acme channel=email recipient=a@example.com count=4
message theirs from=other to=CN type=verification units=5
ingest
receipt known-bad failed of=acme
run aggregate-charges
at "2026-03-01 10:00"
receipt last delivered of=acme
receipt ok delivered of=acme
receipt "it's" failed of=acme
receipt E4D909C2-90D0-4F6E-8B1A-0123456789AB expired of=acme
receipt abroad failed of=acme
receipt parts delivered of=acme part=1 parts=3
receipt parts failed of=acme part=2 parts=3
receipt whole-parts delivered of=acme part=1 parts=2
receipt whole-parts delivered of=acme part=2 parts=2 at="2026-03-01 10:05"
receipt mail-1 delivered of=acme
receipt mail-2 failed of=acme
receipt mail-4 failed of=acme
receipt theirs delivered of=other
run settle-receipts
ingest source=aliyun kind=receipts name=r.csv "BizId,phone_number,success,ErrCode,ReceiveDate" "b1,13800000001,true,DELIVERED,2026-03-01 09:59:00"
run settle-receipts
at "2026-03-04 10:00"
receipt late-bad failed of=acme
run settle-receipts
message young from=acme to=CN type=verification units=1
message young-bad from=acme to=CN type=verification units=1
run aggregate-charges
receipt young-bad failed of=acme
run settle-receipts
message uncharged from=acme to=CN type=verification units=3
ingest
---
"#;

/// The columns of `usage`, as they are called there and here.
const COLUMNS: [(&str, &str); 7] = [
    ("submitted", "sent"),
    ("delivered", "delivered"),
    ("failed", "failed"),
    ("unknown", "unknown"),
    ("pending", "pending"),
    ("free", "free"),
    ("billed", "billed"),
];

const KEYS: [&str; 16] = [
    "billed",
    "country",
    "delivered",
    "failed",
    "free",
    "included",
    "message_id",
    "pending",
    "product",
    "reject_code",
    "report_time",
    "sent",
    "status",
    "submit_time",
    "template_type",
    "unknown",
];

/// The program on the books of a story.
fn told(database: &TestDatabase, story: &str, now: &str) -> Program {
    scenario::run(story, &database.url).expect("the story is told");
    let mut program = Program::on(database);
    program.at(now);
    program
}

fn list(program: &Program, more: &[&str]) -> Vec<Value> {
    let all = program.json(&[&["message", "list", "acme"], more].concat());
    all.as_array().expect("a list").clone()
}

fn ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["message_id"].as_str().expect("an id")).collect()
}

fn units(message: &Value, key: &str) -> i64 {
    message[key].as_i64().unwrap_or_else(|| panic!("`{key}` is no integer in {message}"))
}

/// Attempts, then the other columns, of some messages.
fn sums<'a>(messages: impl IntoIterator<Item = &'a Value>) -> [i64; 8] {
    let mut sums = [0; 8];
    for message in messages {
        sums[0] += i64::from(message["included"] == true && message["status"] != "inbound");
        for (sum, (_, here)) in sums[1..].iter_mut().zip(COLUMNS) {
            *sum += units(message, here);
        }
    }
    sums
}

fn counted(usage: &Value) -> [i64; 8] {
    let mut counts = [units(usage, "attempts"); 8];
    for (count, (there, _)) in counts[1..].iter_mut().zip(COLUMNS) {
        *count = units(usage, there);
    }
    counts
}

/// Both say the same of each day and each class of a month, and the list of a day is its part of the month's.
#[track_caller]
fn assert_agrees(program: &Program, month: &str) {
    let usage = program.json(&["usage", "acme", "--month", month]);
    let messages = list(program, &["--month", month, "--limit", "all"]);
    let mut days: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut classes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for message in &messages {
        let day = &message["submit_time"].as_str().expect("a time")[..10];
        days.entry(day).or_default().push(message.clone());
        let class = format!("{}{}{}", message["product"], message["template_type"], message["country"]);
        classes.entry(class).or_default().push(message.clone());
    }
    assert_eq!(sums(&messages), counted(&usage["total"]), "{month}");
    let said = usage["days"].as_array().expect("days");
    assert_eq!(days.len(), said.len(), "{month}");
    for day in said {
        let date = day["date"].as_str().expect("a date");
        assert_eq!(sums(&days[date]), counted(day), "{date}");
        assert_eq!(list(program, &["--day", date]), days[date], "{date}");
    }
    for class in usage["classes"].as_array().expect("classes") {
        let name = format!("{}{}{}", class["product"], class["template_type"], class["country"]);
        assert_eq!(sums(&classes[&name]), counted(class), "{name}");
    }
}

#[test]
fn r131_the_list_adds_up_to_usage_before_and_after_days_are_counted_for_good() {
    on_both(|database| {
        // The ninety-six hours of the first days are over, and nothing was counted yet.
        let mut program = told(database, STORY, "2026-03-05T12:00:00+08:00");
        for now in ["2026-03-01T12:00:00+08:00", "2026-03-05T12:00:00+08:00"] {
            program.at(now);
            assert_agrees(&program, "2026-02");
            assert_agrees(&program, "2026-03");
        }
        for job in ["aggregate-charges", "settle-receipts"] {
            program.at("2026-03-06T12:00:00+08:00");
            program.run(&["--run-job", job, "--catch-up"]);
        }
        let total = program.json(&["usage", "acme", "--month", "2026-03"])["total"].clone();
        assert!(COLUMNS.iter().all(|(column, _)| units(&total, column) > 0), "a story without some: {total}");
        assert_agrees(&program, "2026-02");
        assert_agrees(&program, "2026-03");

        // What an operator gives back of a final day is billed no more, in both.
        let receipt =
            "message_id,account_id,status,report_time\nfirst,acme,failed,2026-03-01T10:00:00+08:00\n";
        let receipts = program.file("receipts.csv", receipt);
        program.run(&["ingest", "receipts", &receipts]).exits(0);
        program.run(&["--run-job", "settle-receipts", "--catch-up"]).exits(3);
        program.run(&["exception", "approve", "1", "--reason", "the gateway was down"]).exits(0);
        assert_agrees(&program, "2026-03");
        let after = program.json(&["usage", "acme", "--month", "2026-03"])["total"].clone();
        let changed = |key| units(&after, key) - units(&total, key);
        let keys = ["billed", "approved", "given_back", "unknown", "failed", "failed_billed"];
        assert_eq!(keys.map(changed), [-1, 1, 1, 0, 0, 0], "{after}");
        assert_sound(&database.url);
    });
}

#[test]
fn r132_each_message_says_what_became_of_it() {
    on_both(|database| {
        let program = told(database, STORY, "2026-03-05T12:00:00+08:00");
        let messages = list(&program, &["--day", "2026-03-01"]);
        assert!(
            messages
                .iter()
                .all(|message| { message.as_object().is_some_and(|message| message.keys().eq(KEYS)) })
        );
        let of = |id: &str| {
            let found = messages.iter().find(|message| message["message_id"] == id);
            found.unwrap_or_else(|| panic!("there is no {id} in {messages:?}")).clone()
        };
        let parts = json!({
            "submit_time": "2026-03-01T09:01:00+08:00", "message_id": "parts", "product": "sms-domestic",
            "country": "CN", "template_type": "notification", "status": "partial", "reject_code": null,
            "sent": 3, "delivered": 1, "failed": 1, "unknown": 1, "pending": 0, "free": 0, "billed": 2,
            "report_time": "2026-03-01T10:00:00+08:00", "included": true,
        });
        assert_eq!(of("parts"), parts);
        let mail = json!({
            "submit_time": "2026-03-01T09:01:00+08:00", "message_id": "mail-1", "product": "direct-mail",
            "country": null, "template_type": null, "status": "delivered", "reject_code": null,
            "sent": 1, "delivered": 1, "failed": 0, "unknown": 0, "pending": 0, "free": 1, "billed": 0,
            "report_time": "2026-03-01T10:00:00+08:00", "included": true,
        });
        assert_eq!(of("mail-1"), mail);
        let told = |id: &str| {
            let message = of(id);
            let included = message["included"].as_bool().expect("a truth");
            let status = message["status"].as_str().expect("a word").to_owned();
            (status, units(&message, "sent"), units(&message, "billed"), included)
        };
        for (id, status, sent, billed, included) in [
            ("it's", "failed", 3, 0, true),
            ("E4D909C2-90D0-4F6E-8B1A-0123456789AB", "failed", 2, 0, true),
            ("e4d909c2-90d0-4f6e-8b1a-0123456789ac", "unknown", 1, 1, true),
            ("known-bad", "failed", 2, 0, true),
            ("throttled", "rejected", 0, 0, true),
            ("blacklisted", "rejected", 0, 0, false),
            ("reply", "inbound", 0, 0, true),
            ("abroad", "failed", 2, 2, true),
            ("no-price", "pending", 1, 0, true),
            ("late-bad", "failed", 1, 1, true),
            ("asked", "delivered", 2, 2, true),
            ("mail-4", "failed", 1, 1, true),
        ] {
            assert_eq!(told(id), (status.to_owned(), sent, billed, included), "{id}");
        }
        assert_eq!(of("blacklisted")["reject_code"], "blacklist");
        assert_eq!(of("whole-parts")["report_time"], "2026-03-01T10:05:00+08:00");
        assert_eq!(of("asked")["report_time"], "2026-03-01T09:59:00+08:00");
    });
}

#[test]
fn a_list_is_narrowed_by_status_product_and_limit() {
    on_both(|database| {
        let program = told(database, STORY, "2026-03-05T12:00:00+08:00");
        let march = ["--month", "2026-03"];
        let with = |more: &[&str]| list(&program, &[&march, more].concat());
        let all = with(&["--limit", "0"]);
        assert_eq!(all.len(), 22);
        assert_eq!(&ids(&all)[..2], ["first", "ok"]);
        let of = |wanted: &dyn Fn(&Value) -> bool| -> Vec<Value> {
            all.iter().filter(|message| wanted(message)).cloned().collect()
        };
        // The sum of a status is the column of `usage`: a message of whose parts one failed is among them.
        for status in ["delivered", "failed", "unknown", "pending"] {
            let some = of(&|message| units(message, status) > 0);
            assert!(!some.is_empty());
            assert_eq!(with(&["--status", status]), some, "{status}");
            assert_eq!(with(&["--status", status, "--limit", "1"]), some[..1], "{status}");
        }
        for status in ["partial", "rejected", "inbound"] {
            let some = of(&|message| message["status"] == status);
            assert!(!some.is_empty());
            assert_eq!(with(&["--status", status]), some, "{status}");
        }
        assert_eq!(with(&["--status", "rejected", "--limit", "1"]).len(), 1);
        assert_eq!(with(&["--product", "direct-mail"]), of(&|message| message["product"] == "direct-mail"));
        let both = with(&["--product", "direct-mail", "--status", "failed"]);
        assert_eq!(ids(&both), ["mail-2", "mail-4"]);
        assert_eq!(with(&["--limit", "3"]), all[..3]);
        assert_eq!(with(&["--limit", "22"]), all);
        let none = program.run(&["message", "list", "acme", "--month", "2026-01", "--json"]).exits(0);
        assert_eq!(none.stdout, "[]\n");
    });
}

#[test]
fn people_read_a_table_a_day_and_what_was_left_out() {
    on_both(|database| {
        let program = told(database, STORY, "2026-03-05T12:00:00+08:00");
        let run = |more: &[&str]| program.run(&[&["message", "list", "acme"], more].concat());
        let words = run(&["--month", "2026-02"]).exits(0).stdout;
        let february = "2026-02-28\n\
            TIME      MESSAGE  PRODUCT       TO  STATUS     SENT  BILLED  INCLUDED\n\
            23:59:59  last     sms-domestic  CN  delivered     2       2  yes\n\n\
            1 message: 2 sent, 2 billed.\n";
        assert_eq!(words, february);
        let words = run(&["--month", "2026-03"]).exits(0).stdout;
        let narrow =
            run(&["--month", "2026-03", "--product", "sms-domestic", "--status", "failed"]).exits(0).stdout;
        assert!(narrow.contains("E4D909C2-90D0") && narrow.lines().all(|line| line.len() <= 100), "{narrow}");
        assert!(words.contains("rejected blacklist") && !words.contains("more"), "{words}");
        assert!(words.ends_with("1 not included in usage statistics.\n"), "{words}");
        assert_eq!(words.matches("TIME").count(), 2, "a table for each day: {words}");
        let words = run(&["--month", "2026-03", "--limit", "2"]).exits(0).stdout;
        let end = "2 messages: 2 sent, 2 billed.\nThere are more; `--limit all` shows every one.\n";
        assert!(words.ends_with(end), "{words}");
        run(&["--day", "2026-03-02"]).exits(0).tells(&["Account acme has no messages of 2026-03-02."]);
        let none = run(&["--day", "2026-02-28", "--status", "failed"]).exits(0);
        none.tells(&["Account acme has no such messages of 2026-02-28."]);
    });
}

#[test]
fn what_cannot_be_listed_is_refused_by_name() {
    on_both(|database| {
        let program = told(database, "account acme\n---\n", "2026-03-01T12:00:00+08:00");
        let run = |account: &str, more: &[&str]| {
            program.run(&[&["message", "list", account, "--json"], more].concat())
        };
        run("nobody", &["--month", "2026-03"]).refuses("unknown_account");
        run("acme", &["--month", "2026-03", "--product", "fax"]).refuses("unknown_product");
        run("acme", &["--month", "2026-3"]).exits(2).says(&["YYYY-MM"]);
        run("acme", &["--day", "2026-02-30"]).exits(2).says(&["YYYY-MM-DD"]);
        run("acme", &[]).exits(2).says(&["--day", "--month"]);
        run("acme", &["--month", "2026-03", "--day", "2026-03-01"]).exits(2);
        run("acme", &["--month", "2026-03", "--status", "lost"]).exits(2).says(&["partial, rejected"]);
        run("acme", &["--month", "2026-03", "--limit", "-1"]).exits(2);
        run("acme", &["--month", "2026-03", "--limit", "few"]).exits(2).says(&["a whole number, or `all`"]);
    });
}
