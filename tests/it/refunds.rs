//! Coupons, orders and their refunds through the program: the keys that scripts read, what clerks read,
//! and money that is given back once whoever asks how often (R52, R55-R62, R146-R149, F84, F92).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::books::{assert_sound, block_on, change, digest_of, read};
use crate::support::databases::on_both;
use crate::support::desk::Desk;
use crate::support::lines::{file, line};
use crate::support::program::{Answer, Running};
use quittance::config::Config;
use quittance::desk::{DeskError, refunds};
use quittance::domain::period::Timestamp;
use quittance::store;
use quittance::store::invoice_quota::invoiceable;

const SMALL: &str = "sms-domestic-200";
const LATER: &str = "2026-03-01T13:00:00+08:00";

impl Desk {
    fn order(&self, args: &[&str]) -> Answer {
        self.program.run(&[&["order"], args, &["--json"]].concat())
    }

    /// Uses so many units of the account's plans.
    fn use_units(&self, id: &str, units: i64) {
        let message = line(id, "acme", "verification", &units.to_string(), "2026-03-01T12:00:00+08:00");
        self.take(&format!("{id}.csv"), file(&[message]));
        self.charge();
    }
}

fn values(json: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), json[*key].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn orders_and_coupons_answer_scripts_in_the_agreed_keys() {
    on_both(|database| {
        let desk = Desk::open(database);
        let run = |args: &[&str]| desk.program.json(args);
        let added = run(&[
            "coupon",
            "add",
            "acme",
            "1",
            "--product",
            "sms-domestic",
            "--min-order",
            "4",
            "--expires",
            LATER,
        ]);
        let coupon = json!({
            "coupon_id": "acme-c1", "account_id": "acme", "amount": "1", "balance": "1",
            "product": "sms-domestic", "min_order": "4", "issued_at": "2026-03-01T12:00:00+08:00",
            "expires_at": LATER, "gift_of": null, "state": "usable",
        });
        assert_eq!(added, coupon);
        assert_eq!(run(&["coupon", "list", "acme"]), json!([coupon]));
        let two = format!("{SMALL}:2");
        let placed = run(&["order", "place", "acme", &two, "--coupon", "acme-c1", "--reference", "web-1"]);
        let sums = ["order_id", "account_id", "status", "total", "coupon", "coupon_id", "paid", "refunded"];
        let expected = json!({
            "order_id": "acme-o1", "account_id": "acme", "status": "paid", "total": "4", "coupon": "1",
            "coupon_id": "acme-c1", "paid": "3", "refunded": "0",
        });
        assert_eq!(values(&placed, &sums), expected);
        assert_eq!(desk.account("invoiceable"), "3");
        let mut shown = run(&["order", "show", "acme-o1"]);
        assert_eq!(shown["refundable"], "3");
        shown.as_object_mut().expect("an object").remove("refundable");
        assert_eq!(shown, placed);
        let refunded = run(&["order", "refund", "acme-o1", "--plan", "acme-p2"]);
        assert_eq!(
            values(&refunded, &["status", "paid", "refunded"]),
            json!({
                "status": "partly_refunded", "paid": "3", "refunded": "1.5",
            })
        );
        assert_eq!(desk.account("invoiceable"), "1.5");
        let plan = &refunded["plans"][1];
        let keys = [
            "plan_id",
            "size",
            "bonus",
            "remaining",
            "used",
            "forfeited",
            "price",
            "coupon",
            "paid",
            "refunded",
            "refunded_at",
            "state",
        ];
        assert_eq!(
            values(plan, &keys),
            json!({
                "plan_id": "acme-p2", "size": 200, "bonus": 0, "remaining": 0, "used": 0, "forfeited": 0,
                "price": "2", "coupon": "0.5", "paid": "1.5", "refunded": "1.5",
                "refunded_at": "2026-03-01T12:00:00+08:00", "state": "refunded",
            })
        );
        assert_eq!(run(&["plan", "list", "acme"])[1], *plan);
        let listed = run(&["order", "list", "acme"]);
        assert_eq!(listed.as_array().map(Vec::len), Some(1));
        assert_eq!(listed[0]["status"], "partly_refunded");
        // The same reference with another coupon is a slip.
        let again = ["place", "acme", &two, "--reference", "web-1"];
        desk.order(&again).refuses("reference_conflict").says(&["with coupon acme-c1"]);
        desk.order(&["refund", "acme-o1", "--plan", "acme-p2"]).refuses("already_refunded");
        desk.order(&["refund", "nothing"]).refuses("unknown_order").says(&["order list"]);
        desk.order(&["list", "nobody"]).refuses("unknown_account");
        desk.program.run(&["coupon", "list", "nobody", "--json"]).refuses("unknown_account");
        desk.program.run(&["coupon", "add", "acme", "1", "--expires", "tomorrow"]).exits(2);
        assert_eq!(desk.account("balance"), "998.5");
        assert_sound(&desk.url);
    });
}

#[test]
fn a_request_waits_for_the_operator_who_finds_it_listed() {
    on_both(|database| {
        let desk = Desk::open(database);
        desk.order(&["place", "acme", &format!("{SMALL}:2")]).exits(0);
        desk.use_units("m-1", 50);
        assert_eq!(desk.order(&["list", "--pending"]).exits(0).json(), json!([]));
        desk.order(&["refund", "acme-o1", "--plan", "acme-p2"]).refuses("order_has_used_plan");
        assert_eq!(desk.order(&["refund", "acme-o1"]).exits(0).json()["status"], "pending_review");
        let waiting = desk.order(&["list", "--pending"]).exits(0).json();
        assert_eq!(waiting[0]["order_id"], "acme-o1");
        let status = desk.program.run(&["status", "--json"]).exits(3).json();
        assert_eq!(status["refund_requests"], 1);
        let words = desk.program.run(&["status"]).exits(3).stdout;
        assert!(words.contains("Refunds that wait for a decision: 1"), "{words}");
        let words = desk.program.run(&["order", "show", "acme-o1"]).exits(0).stdout;
        for said in ["pending review", "order approve acme-o1", "refundable", "2.00", "acme-p1", "150"] {
            assert!(words.contains(said), "`{said}` is not said\n{words}");
        }
        let rejected = desk.order(&["reject", "acme-o1"]).exits(0).json();
        assert_eq!(
            values(&rejected, &["status", "refunded"]),
            json!({"status": "rejected", "refunded": "0"})
        );
        desk.order(&["approve", "acme-o1"]).refuses("not_pending");
        desk.order(&["refund", "acme-o1"]).exits(0);
        let approved = desk.order(&["approve", "acme-o1"]).exits(0).json();
        assert_eq!(
            values(&approved, &["status", "refunded"]),
            json!({"status": "refunded", "refunded": "2"})
        );
        let plan = values(&approved["plans"][0], &["used", "forfeited", "refunded", "state"]);
        assert_eq!(plan, json!({"used": 50, "forfeited": 150, "refunded": "0", "state": "refunded"}));
        assert_eq!(desk.account("balance"), "998");
        assert_sound(&desk.url);
        let told = read(&desk.url, async |tx| {
            let sql = "select count(*) from notices where kind = 'refund_done' and subject = 'acme-o1-r1'";
            tx.int(sql, Vec::new()).await
        });
        assert_eq!(told, 1);
    });
}

#[test]
fn penalties_against_an_order_are_kept_of_its_refund() {
    on_both(|database| {
        let desk = Desk::open(database);
        desk.order(&["place", "acme", &format!("{SMALL}:3")]).exits(0);
        desk.order(&["place", "acme", SMALL]).exits(0);
        block_on(async {
            for (number, order, amount) in [(1, 1, 2_500_000), (2, 2, 9_000_000)] {
                change(
                    &desk.url,
                    &format!(
                        "insert into penalties (account_id, penalty_no, order_no, amount, reason, at) \
                     values ('acme', {number}, {order}, {amount}, 'spam', 0)"
                    ),
                )
                .await;
            }
            change(&desk.url, "update accounts set penalties = 2").await;
        });
        assert_eq!(desk.order(&["show", "acme-o1"]).json()["refundable"], "3.5");
        let sums = ["refunded", "penalties", "kept", "refundable"];
        let one = desk.order(&["refund", "acme-o1", "--plan", "acme-p2"]).exits(0).json();
        let expected = json!({"refunded": "0", "penalties": "2.5", "kept": "2", "refundable": "3.5"});
        assert_eq!(values(&one, &sums), expected);
        let rest = desk.order(&["refund", "acme-o1"]).exits(0).json();
        let expected = json!({"refunded": "3.5", "penalties": "2.5", "kept": "2.5", "refundable": "0"});
        assert_eq!(values(&rest, &sums), expected);
        // A penalty that is larger keeps all there is.
        let other = desk.order(&["refund", "acme-o2"]).exits(0).json();
        let expected = json!({"refunded": "0", "penalties": "9", "kept": "2", "refundable": "0"});
        assert_eq!(values(&other, &sums), expected);
        assert_eq!((desk.account("balance"), desk.account("invoiceable")), ("995.5".into(), "0".into()));
        let income = "select cast(-sum(amount) as bigint) from postings where ledger = 'Income:Penalty'";
        assert_eq!(read(&desk.url, async |tx| tx.int(income, Vec::new()).await), 4_500_000);
        assert_sound(&desk.url);
    });
}

#[test]
fn an_invoiced_order_is_refunded_after_its_return_and_a_closed_account_never() {
    on_both(|database| {
        let desk = Desk::open(database);
        desk.order(&["place", "acme", &format!("{SMALL}:2")]).exits(0);
        block_on(change(&desk.url, "update orders set invoice_no = 7"));
        desk.order(&["refund", "acme-o1"])
            .refuses("invoice_issued")
            .says(&["invoice acme-i7", "`quittance invoice return acme-i7`"]);
        desk.use_units("m-1", 1);
        // Neither is a request taken while the invoice stands.
        desk.order(&["refund", "acme-o1"]).refuses("invoice_issued");
        block_on(change(&desk.url, "update orders set invoice_no = null"));
        desk.order(&["refund", "acme-o1"]).exits(0);
        block_on(change(&desk.url, "update orders set invoice_no = 8"));
        desk.order(&["approve", "acme-o1"]).refuses("invoice_issued");
        block_on(change(&desk.url, "update orders set invoice_no = null"));
        block_on(change(&desk.url, "update accounts set status = 'closed'"));
        desk.order(&["approve", "acme-o1"]).refuses("account_closed");
        desk.order(&["refund", "acme-o1"]).refuses("account_closed");
        desk.program.run(&["coupon", "add", "acme", "1", "--json"]).refuses("account_closed");
        assert_eq!(desk.order(&["reject", "acme-o1"]).exits(0).json()["status"], "rejected");
        assert_eq!(desk.account("balance"), "996");
        assert_eq!(read(&desk.url, async |tx| invoiceable(tx, "acme").await).to_string(), "4");
    });
}

#[test]
fn the_operators_policy_and_gifts_come_from_the_configuration() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        desk.program.configure("[refund]\nmulti_plan = \"faq\"\nauto_reject = true\n");
        let prices = format!(
            "{}\n[[package]]\nid = \"gifted\"\nproduct = \"sms-domestic\"\nsize = 1000\ncurrency = \"CNY\"\n\
             price = \"40\"\ngift_units = 100\ngift_months = 6\ngift_coupon = \"2.5\"\n",
            include_str!("../../config/prices.toml")
        );
        desk.program.file("prices.toml", prices);
        let packages = desk.program.json(&["package", "list"]);
        let gifted = packages.as_array().expect("a list").iter().find(|one| one["package"] == "gifted");
        let keys = ["size", "validity", "gift_units", "gift_months", "gift_coupon"];
        assert_eq!(
            values(gifted.expect("it is on sale"), &keys),
            json!({
                "size": 1000, "validity": "24 months", "gift_units": 100, "gift_months": 6, "gift_coupon": "2.5",
            })
        );
        let words = desk.program.run(&["package", "list"]).exits(0).stdout;
        assert!(words.contains("100 units, 6 months, a coupon of 2.50"), "{words}");
        let placed = desk.order(&["place", "acme", "gifted:2"]).exits(0).json();
        let plan = values(&placed["plans"][0], &["size", "bonus", "remaining", "expires_at"]);
        assert_eq!(
            plan,
            json!({
                "size": 1100, "bonus": 100, "remaining": 1100, "expires_at": "2028-09-01T12:00:00+08:00",
            })
        );
        let coupons = desk.program.json(&["coupon", "list", "acme"]);
        let gift = values(&coupons[1], &["coupon_id", "balance", "gift_of", "expires_at", "state"]);
        assert_eq!(
            gift,
            json!({
                "coupon_id": "acme-c2", "balance": "2.5", "gift_of": "acme-p2",
                "expires_at": "2028-09-01T12:00:00+08:00", "state": "usable",
            })
        );
        let words = desk.program.run(&["coupon", "list", "acme"]).exits(0).stdout;
        assert!(words.contains("acme-p2") && words.contains("2.50"), "{words}");
        let words = desk.program.run(&["order", "show", "acme-o1"]).exits(0).stdout;
        assert!(words.contains("1,000 + 100"), "{words}");
        desk.order(&["refund", "acme-o1", "--plan", "acme-p2"]).refuses("whole_order_only");
        desk.use_units("m-1", 1_099);
        assert_eq!(desk.order(&["refund", "acme-o1"]).exits(0).json()["status"], "rejected");
        assert_sound(&desk.url);
    });
}

#[test]
fn f84_sixteen_at_once_give_an_order_back_once() {
    on_both(|database| {
        let desk = Desk::open(database);
        desk.order(&["place", "acme", &format!("{SMALL}:4")]).exits(0);
        let now = Timestamp::parse_rfc3339(LATER).expect("a time");
        let given: usize = block_on(async {
            let config = Arc::new(Config::built_in().expect("the built-in configuration"));
            let db = store::open(&desk.url).await.expect("the database opens");
            let tasks = (0..16).map(|n| {
                let (db, config) = (db.clone(), config.clone());
                // Every fourth asks for one plan, the others for the whole order.
                let plan = (n % 4 == 0).then(|| format!("acme-p{}", n / 4 + 1));
                tokio::spawn(async move { refunds::ask(&db, &config, "acme-o1", plan.as_deref(), now).await })
            });
            let mut given = 0;
            for task in tasks.collect::<Vec<_>>() {
                match task.await.expect("the task ends") {
                    Ok(_) => given += 1,
                    Err(DeskError::Refused { code, .. }) => assert_eq!(code, "already_refunded"),
                    Err(other) => panic!("{other}"),
                }
            }
            db.close().await;
            given
        });
        // Single plans before the whole order are refunds of their own, never of the same money.
        assert!((1..=4).contains(&given), "{given}");
        assert_eq!(desk.account("balance"), "1000");
        let order = desk.order(&["show", "acme-o1"]).json();
        assert_eq!(values(&order, &["status", "refunded"]), json!({"status": "refunded", "refunded": "8"}));
        assert_sound(&desk.url);
    });
}

#[test]
fn f84_many_programs_at_once_give_an_order_back_once() {
    on_both(|database| {
        let desk = Desk::open(database);
        desk.order(&["place", "acme", &format!("{SMALL}:2")]).exits(0);
        let refund = ["order", "refund", "acme-o1", "--json"];
        let started: Vec<_> = (0..8).map(|_| desk.program.start(&refund, b"")).collect();
        let answers: Vec<_> = started.into_iter().map(Running::answer).collect();
        assert_eq!(answers.iter().filter(|answer| answer.code == 0).count(), 1);
        for refused in answers.into_iter().filter(|answer| answer.code != 0) {
            refused.refuses("already_refunded");
        }
        assert_eq!(desk.account("balance"), "1000");
        assert_sound(&desk.url);
    });
}

#[test]
fn f92_a_coupon_is_not_spent_twice() {
    on_both(|database| {
        let desk = Desk::open(database);
        desk.program.run(&["coupon", "add", "acme", "5"]).exits(0);
        let order = ["order", "place", "acme", SMALL, "--coupon", "acme-c1", "--json"];
        let started: Vec<_> = (0..6).map(|_| desk.program.start(&order, b"")).collect();
        let answers: Vec<_> = started.into_iter().map(Running::answer).collect();
        // 2 + 2 + 1 of the coupon; cash pays the rest of the third.
        assert_eq!(answers.iter().filter(|answer| answer.code == 0).count(), 3);
        for refused in answers.into_iter().filter(|answer| answer.code != 0) {
            refused.refuses("coupon_used_up");
        }
        assert_eq!(desk.account("balance"), "999");
        assert_eq!(desk.program.json(&["coupon", "list", "acme"])[0]["state"], "used_up");
        assert_sound(&desk.url);
    });
}

#[test]
fn a_refund_beside_a_charging_run_leaves_sound_books() {
    on_both(|database| {
        let desk = Desk::open(database);
        for round in 0..4 {
            let order = desk.order(&["place", "acme", &format!("{SMALL}:2")]).exits(0).json();
            let order = order["order_id"].as_str().expect("an id").to_owned();
            let message =
                line(&format!("m-{round}"), "acme", "verification", "3", "2026-03-01T12:00:00+08:00");
            desk.take(&format!("{round}.csv"), file(&[message]));
            let charging = desk.program.start(&["--run-job", "aggregate-charges", "--json"], b"");
            let refunding = desk.program.start(&["order", "refund", &order, "--json"], b"");
            charging.answer().exits(0);
            let answer = refunding.answer();
            // Before the run it is behind; after it the plan is used, and an operator decides.
            match answer.code {
                0 => assert_eq!(answer.json()["status"], "pending_review", "{}", answer.shown()),
                _ => drop(answer.refuses("charging_behind")),
            }
            assert_sound(&desk.url);
            desk.order(&["refund", &order]).exits(0);
            desk.order(&["approve", &order]).exits(0);
            assert_sound(&desk.url);
        }
    });
}

#[test]
fn the_books_of_coupons_and_refunds_are_equal_on_both_databases() {
    let mut digests = Vec::new();
    on_both(|database| {
        let desk = Desk::open(database);
        let before = digest_of(&desk.url);
        desk.program.run(&["coupon", "add", "acme", "7", "--expires", LATER]).exits(0);
        let issued = digest_of(&desk.url);
        assert_ne!(issued, before, "a coupon is part of the books");
        desk.order(&["place", "acme", &format!("{SMALL}:3"), "--coupon", "best"]).exits(0);
        desk.order(&["refund", "acme-o1", "--plan", "acme-p3"]).exits(0);
        let partly = digest_of(&desk.url);
        desk.use_units("m-1", 201);
        desk.order(&["place", "acme", &format!("{SMALL}:2"), "--coupon", "best"]).exits(0);
        desk.use_units("m-2", 200);
        desk.order(&["refund", "acme-o2"]).exits(0);
        let asked = digest_of(&desk.url);
        desk.order(&["approve", "acme-o2"]).exits(0);
        digests.push([issued, partly, asked, digest_of(&desk.url)]);
        assert_sound(&desk.url);
    });
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}
