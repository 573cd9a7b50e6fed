//! Direct Mail at the command line: free units, daily quotas, what gateways read.

use serde_json::{Value, json};

use crate::support::books::{assert_sound, digest_of, read};
use crate::support::databases::{TestDatabase, on_both};
use crate::support::desk::Desk;
use crate::support::shape::assert_shape;

const MESSAGES: &str = "message_id,account_id,channel,submit_time,submit_status\n";
const RECEIPTS: &str = "account_id,message_id,status,report_time,err_code\n";

/// A desk whose acme has activated Direct Mail.
fn desk(database: &TestDatabase) -> Desk {
    let desk = Desk::open(database);
    desk.program.run(&["account", "verify", "acme"]).exits(0);
    desk.program.run(&["account", "activate", "acme", "direct-mail"]).exits(0);
    desk
}

/// A file of so many e-mails at a moment.
fn mails(id: &str, count: usize, at: &str) -> String {
    let lines: String = (1..=count).map(|n| format!("{id}-{n},acme,email,{at},accepted\n")).collect();
    format!("{MESSAGES}{lines}")
}

fn answers(id: &str, from: usize, upto: usize, status: &str, at: &str) -> String {
    (from..=upto).map(|n| format!("acme,{id}-{n},{status},{at},\n")).collect()
}

/// A week in which the first 2000 were used up, and all but a few arrived.
fn good_week(desk: &mut Desk) {
    desk.program.at("2026-03-03T12:00:00+08:00");
    desk.take("mails.csv", mails("m", 1_900, "2026-03-03T10:00:00+08:00"));
    let delivered = answers("m", 1, 1_880, "delivered", "2026-03-03T10:01:00+08:00");
    let failed = answers("m", 1_881, 1_900, "failed", "2026-03-03T10:01:00+08:00");
    desk.program.file("receipts.csv", format!("{RECEIPTS}{delivered}{failed}"));
    desk.program.run(&["ingest", "receipts", "receipts.csv"]).exits(0);
}

/// What `v_mail_quotas` says of acme: day, daily, used, left.
fn gateway(url: &str) -> Vec<(i64, i64, i64, i64)> {
    read(url, async |tx| {
        let sql = "select day, daily, cast(used as bigint), cast(left_today as bigint) from v_mail_quotas \
                   where account_id = 'acme' and product = 'direct-mail'";
        let rows = tx.rows(sql, Vec::new()).await?;
        rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?))).collect()
    })
}

#[test]
fn r30_free_units_are_told_by_run_explanation_and_usage() {
    on_both(|database| {
        let mut desk = desk(database);
        desk.program.at("2026-03-03T12:00:00+08:00");
        desk.take("mails.csv", mails("m", 203, "2026-03-03T10:00:00+08:00"));
        let dry = desk.program.run(&["--run-job", "aggregate-charges", "--dry-run"]).exits(0);
        dry.tells(&["acme  direct-mail  200 units free"]);
        let run = desk.charge();
        assert_eq!((&run["free_units"], &run["payg_units"]), (&json!(200), &json!(3)));
        let free = desk.program.json(&["explain", "message", "acme", "m-200"]);
        assert_eq!((&free["state"], &free["reason"]), (&json!("free"), &json!("free_allowance")));
        assert_eq!(free["charge"], json!({ "plan": [], "payg": [], "free": 1 }));
        assert_eq!(free["final"], true);
        let paid = desk.program.json(&["explain", "message", "acme", "m-201"]);
        assert_eq!(paid["charge"]["payg"][0]["amount"], "0.002");
        assert_eq!((&paid["state"], paid["charge"].get("free")), (&json!("charged"), None));
        let usage = desk.program.json(&["usage", "acme", "--month", "2026-03"]);
        let total = |key: &str| usage["total"][key].clone();
        assert_eq!(
            ["submitted", "free", "billed", "allowance", "given_back"].map(total),
            [203, 200, 3, 200, 0].map(|n| json!(n))
        );
        assert_eq!(desk.account("unbilled"), "0.006");
    });
}

#[test]
fn r18_a_review_is_told_to_people_scripts_and_gateways() {
    on_both(|database| {
        let mut desk = desk(database);
        let new = desk.program.json(&["account", "show", "acme"]);
        let first = json!({
            "product": "direct-mail", "daily": 2_000, "level": 1, "left_today": 2_000, "review": null,
        });
        assert_eq!(new["mail_quota"], first);
        assert_eq!(gateway(&desk.url), []);
        good_week(&mut desk);
        desk.charge();
        assert_eq!(gateway(&desk.url), [(20_260_303, 2_000, 1_900, 100)]);
        desk.program.at("2026-03-09T00:00:00+08:00");
        let review = ["--run-job", "review-mail-quotas", "--catch-up"];
        let dry = desk.program.run(&[&review[..], &["--dry-run"]].concat()).exits(0);
        dry.tells(&["would review acme  direct-mail  2000 a day -> 5000", "the quota was used"]);
        let run = desk.program.json(&review);
        assert_eq!(run["counts"], json!({ "reviewed": 1, "raised": 1, "kept": 0, "lowered": 0 }));
        assert_eq!(desk.program.json(&review)["outcome"], "nothing_to_do");
        let quota = desk.program.json(&["account", "show", "acme"])["mail_quota"].clone();
        let keys = "product:text daily:count level:count left_today:count review:object";
        assert_shape(&quota, keys);
        assert_eq!((&quota["daily"], &quota["level"]), (&json!(5_000), &json!(2)));
        let review = json!({
            "week": "2026-03-02", "sent": 1_900, "busiest_day": 1_900, "delivered": 1_880, "failed": 20,
            "invalid": 0, "complaints": 0, "use": "0.95", "from": 2_000, "to": 5_000, "decision": "raised",
            "reason": "used_well",
        });
        assert_eq!(quota["review"], review);
        let words = desk.program.run(&["account", "show", "acme"]).exits(0);
        words.tells(&[
            "Daily quota  5,000 emails a day (level 2), 5,000 left today",
            "week of 2026-03-02: 1,900 sent, 95.0 % of the quota on its busiest day; 98.9 % delivered",
            "raised at 5,000: the quota was used, and the messages arrived",
        ]);
        assert_eq!(gateway(&desk.url), [(20_260_309, 5_000, 0, 5_000)]);
        let notice = read(&desk.url, async |tx| {
            let sql = "select facts from notices where account_id = 'acme' and kind = 'mail_quota_changed'";
            tx.rows(sql, Vec::new()).await?.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()
        });
        let facts: Value = serde_json::from_str(&notice[0]).expect("facts are JSON");
        assert_eq!(
            (notice.len(), &facts["before"], &facts["quota"]),
            (1, &json!(["count", 2_000]), &json!(["count", 5_000]))
        );
        assert_sound(&desk.url);
    });
}

#[test]
fn r17_events_of_direct_mail_lower_the_quota_the_same_on_both_databases() {
    let mut digests = Vec::new();
    on_both(|database| {
        let mut desk = desk(database);
        desk.program.at("2026-03-03T12:00:00+08:00");
        let request = "message_id,account_id,channel,biz_id,recipient,submit_time,submit_status\n";
        let line =
            |n| format!("m-{n},acme,email,600000001,r{n}@example.com,2026-03-03T10:00:00+08:00,accepted\n");
        let lines: String = (1..=200).map(line).collect();
        desk.take("mails.csv", format!("{request}{lines}"));
        let event = |n: i32| {
            let (kind, status, failed) = match n {
                1..=30 => ("dm:Deliver:Fail", "4", "SmtpNxBox"),
                31..=35 => ("dm:Deliver:Fail", "2", "SmtpMfdFreq"),
                36..=40 => ("dm:Deliver:Fail", "4", "SmtpMfdFreq"),
                _ => ("dm:Deliver:Succeed", "0", ""),
            };
            let data = json!({
                "env_id": "600000001", "rcpt": format!("r{n}@example.com"), "status": status,
                "failed_type": failed, "deliver_time": "2026-03-03T10:00:05",
            });
            let time = "2026-03-03T10:00:05+08:00";
            let event = json!({
                "id": n.to_string(), "type": kind, "time": time, "aliyunaccountid": "acme", "data": data,
            });
            format!("{event}\n")
        };
        let complaint = |n: i32| {
            let names = if n % 2 == 0 { ["env_id", "rcpt"] } else { ["envid", "block_email"] };
            let data = json!({ names[0]: "600000001", names[1]: format!("r{n}@example.com") });
            let event = json!({
                "id": format!("c{n}"), "type": "dm:Feedback:FblReport", "time": "2026-03-04T10:00:05+08:00",
                "aliyunaccountid": "acme", "data": data,
            });
            format!("{event}\n")
        };
        let events: String = (1..=200).map(event).chain((51..=52).map(complaint)).collect();
        desk.program.at("2026-03-04T12:00:00+08:00").file("events.ndjson", events);
        let taken = desk.program.json(&["ingest", "receipts", "events.ndjson", "--source", "dm_event"]);
        assert_eq!(taken["accepted"], 202, "{taken}");
        // Another source says otherwise of some, later and by their ids: the first answer stands (D15, D46).
        let later = answers("m", 61, 80, "failed", "2026-03-04T11:00:00+08:00");
        desk.program.file("later.csv", format!("{RECEIPTS}{later}"));
        desk.program.run(&["ingest", "receipts", "later.csv"]).exits(0);
        desk.charge();
        desk.program.at("2026-03-10T00:00:00+08:00");
        desk.program.run(&["--run-job", "review-mail-quotas", "--catch-up"]).exits(0);
        let review = desk.program.json(&["account", "show", "acme"])["mail_quota"]["review"].clone();
        let figures = ["sent", "delivered", "failed", "invalid", "complaints"].map(|key| review[key].clone());
        assert_eq!(figures, [200, 160, 40, 35, 2].map(|n| json!(n)));
        assert_eq!((&review["decision"], &review["reason"]), (&json!("kept"), &json!("complaints")));
        assert_sound(&desk.url);
        digests.push(digest_of(&desk.url));
    });
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
}
