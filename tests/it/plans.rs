//! The end of plans and their renewal: each once, whatever runs at the same time; what people are told.

use std::sync::Arc;

use quittance::config::Config;
use quittance::domain::period::Timestamp;
use quittance::jobs::{self, JobError};
use quittance::progress::Silent;
use quittance::runner::{self, Options};
use quittance::store::caught_up::{Behind, CaughtUp, charging_behind};
use quittance::store::{self, StoreError};
use serde_json::json;

use crate::support::books::{assert_sound, block_on, change, read};
use crate::support::databases::{TestDatabase, on_both, sqlite};
use crate::support::desk::Desk;
use crate::support::lines::{file, line};
use crate::support::program::{NOON, Program, Running};
use crate::support::shape::assert_shape;

const RENEW: &[&str] = &["--run-job", "auto-renew", "--json"];
const EXPIRE: &[&str] = &["--run-job", "expire-plans", "--json"];
const SETTLE: &[&str] = &["--run-job", "settle-receipts", "--json"];
const PACKAGE: &str = "sms-domestic-200";

/// A column of text, sorted.
fn texts(url: &str, sql: &str) -> Vec<String> {
    let rows = read(url, async |tx| tx.rows(sql, Vec::new()).await);
    rows.iter().map(|row| row.text(0).expect("text")).collect()
}

fn count(url: &str, sql: &str) -> i64 {
    read(url, async |tx| tx.int(sql, Vec::new()).await)
}

/// An account with so much money, whose plans are renewed from the next run on.
fn renewing(desk: &Desk, id: &str, amount: &str) {
    if id != "acme" {
        desk.program.run(&["account", "add", id, "--name", id]).exits(0);
        desk.program.run(&["account", "top-up", id, amount, "--reference", "cash-1"]).exits(0);
    }
    desk.program.run(&["renewal", "set", id, PACKAGE, "--threshold", "10"]).exits(0);
}

/// Each run ends well, or finds another at work.
#[track_caller]
fn all_end(started: Vec<Running>, codes: &[i32]) {
    for running in started {
        let answer = running.answer();
        assert!(codes.contains(&answer.code), "another exit code than {codes:?}\n{}", answer.shown());
    }
}

const RENEWAL: &str = "account_id:text product:text package:text threshold:count enabled:bool set_at:time \
    off_at:time? price:money? list_price:money? discount:money? validity:text? last_purchase:object? \
    last_refusal:object?";

#[test]
fn renewals_are_set_shown_and_switched_off_with_the_keys_that_scripts_read() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = &desk.program;
        let set = program.json(&["renewal", "set", "acme", "sms-domestic-3000", "--threshold", "200"]);
        assert_shape(&set, RENEWAL);
        assert_eq!((&set["enabled"], &set["threshold"]), (&json!(true), &json!(200)));
        // Five in a hundred less than it costs otherwise.
        assert_eq!(
            [&set["price"], &set["list_price"], &set["discount"], &set["validity"]],
            ["136.8", "144", "0.05", "24 months"]
        );
        let listed = program.json(&["package", "list", "--account", "acme"]);
        let package =
            |id: &str| listed.as_array().expect("a list").iter().find(|p| p["package"] == id).cloned();
        let renewed = package("sms-domestic-3000").expect("it is on sale");
        assert_eq!(
            (&renewed["renewal_price"], &renewed["renewal_validity"]),
            (&json!("136.8"), &json!("24 months"))
        );
        let abroad = package("sms-international-1000").expect("it is on sale");
        assert_eq!((&abroad["renewal_price"], &abroad["renewal_validity"]), (&json!(null), &json!(null)));

        let run = program.run(RENEW).exits(0).json();
        assert_eq!((&run["outcome"], &run["counts"]["bought"]), (&json!("done"), &json!(1)));
        let shown = program.json(&["renewal", "list", "acme"]);
        assert_shape(&shown[0], RENEWAL);
        let bought = &shown[0]["last_purchase"];
        assert_shape(
            bought,
            "order_id:text at:time due_by:text renewed_plan:text? remaining:count price:money",
        );
        assert_eq!(
            [&bought["order_id"], &bought["price"], &bought["due_by"]],
            ["acme-o1", "136.8", "threshold"]
        );
        let off = program.json(&["renewal", "off", "acme", "sms-domestic"]);
        assert_shape(&off, RENEWAL);
        assert_eq!((&off["enabled"], &off["off_at"]), (&json!(false), &json!(NOON)));
        assert_eq!(program.json(&["renewal", "list", "acme"]), json!([off]));

        let refuses =
            |args: &[&str], code: &str| drop(program.run(&[args, &["--json"]].concat()).refuses(code));
        refuses(&["renewal", "set", "acme", "sms-international-1000"], "renewal_not_allowed");
        refuses(&["renewal", "set", "acme", PACKAGE, "--threshold", "200"], "renewal_too_small");
        refuses(&["renewal", "off", "acme", "direct-mail"], "renewal_not_set");
        program.run(&["renewal", "set", "acme", PACKAGE, "--threshold", "-1"]).exits(2);
        assert_sound(&desk.url);
    });
}

/// R31, R150.
#[test]
fn tables_of_plans_packages_and_renewals_fit_a_terminal_of_a_hundred_columns() {
    let database = sqlite();
    let mut desk = Desk::open(&database);
    desk.program.run(&["account", "top-up", "acme", "90000", "--reference", "cash-2"]).exits(0);
    desk.program.run(&["order", "place", "acme", "sms-domestic-50000", "sms-international-10000:9"]).exits(0);
    desk.program.run(&["renewal", "set", "acme", "sms-domestic-50000", "--threshold", "49999"]).exits(0);
    desk.program.at("2028-02-25T12:00:00+08:00");
    desk.program.run(&["--run-job", "aggregate-charges", "--catch-up"]).exits(0);
    desk.program.run(&["--run-job", "settle-receipts"]).exits(0);
    desk.program.run(EXPIRE).exits(0);
    desk.program.run(RENEW).exits(0);
    let narrow = |args: &[&str]| {
        let said = desk.program.run(args).exits(0).stdout;
        for line in said.lines() {
            assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
        }
        said
    };
    narrow(&["package", "list"]);
    let plans = narrow(&["plan", "list", "acme"]);
    assert!(plans.contains("DAYS") && plans.contains("active") && plans.contains("expired"), "{plans}");
    assert!(plans.ends_with("90,000 units of 9 plans are forfeited.\n"), "{plans}");
    assert!(narrow(&["account", "show", "acme"]).ends_with(&plans));
    let renewals = narrow(&["renewal", "list", "acme"]);
    let bought = "2028-02-25 12:00  acme-o2 after acme-p1 for 1677.00: 10 days before the end";
    assert!(renewals.contains(bought), "{renewals}");
}

#[test]
fn a_renewal_is_told_when_it_is_done_and_once_a_day_when_it_is_refused() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        renewing(&desk, "acme", "");
        renewing(&desk, "poor", "1");
        desk.program.run(RENEW).exits(0);
        desk.program.at("2026-03-01T23:59:59+08:00");
        desk.program.run(RENEW).exits(0);
        desk.program.at("2026-03-02T00:00:00+08:00");
        desk.program.run(RENEW).exits(0);
        let told =
            "select account_id || ' ' || kind || ' ' || subject || ' ' || facts from notices order by 1";
        let told = texts(&desk.url, told);
        let [done, failed, again] = &told[..] else { panic!("{told:?}") };
        for word in
            ["acme renewal_done acme-o1", r#""price":["money",2000000]"#, r#""plan":["text","acme-p1"]"#]
        {
            assert!(done.contains(word), "{done}");
        }
        for word in ["poor renewal_failed sms-domestic", r#""reason":["text","insufficient_balance"]"#] {
            assert!(failed.contains(word) && again.contains(word), "{told:?}");
        }
        let days =
            texts(&desk.url, "select cast(due as text) from notices where account_id = 'poor' order by due");
        let midnight = |day: &str| {
            let text = format!("{day}T00:00:00+08:00");
            Timestamp::parse_rfc3339(&text).expect("a time").0.to_string()
        };
        assert_eq!(days, [midnight("2026-03-01"), midnight("2026-03-02")]);
    });
}

#[test]
fn the_end_of_a_plan_is_told_with_what_was_forfeited_unless_nothing_was() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        desk.program.run(&["order", "place", "acme", "sms-domestic-200:2"]).exits(0);
        desk.take("m.csv", file(&[line("m", "acme", "verification", "203", NOON)]));
        desk.charge();
        desk.program.at("2028-03-01T12:00:00+08:00");
        // It can't be undone, and the time went forward by two years.
        let refused = desk.program.run(EXPIRE).exits(1).json();
        assert_eq!(refused["outcome"], "refused");
        let run = |args: &[&str]| desk.program.run(&[args, &["--catch-up"]].concat()).exits(0).json();
        let waits = run(EXPIRE);
        assert_eq!(
            (&waits["outcome"], &waits["counts"]["waiting_for_charging"]),
            (&json!("nothing_to_do"), &json!(1))
        );
        run(&["--run-job", "aggregate-charges", "--json"]);
        assert_eq!(run(EXPIRE)["counts"]["waiting_for_settling"], 1);
        run(SETTLE);
        let ended = run(EXPIRE);
        assert_eq!(
            ended["counts"],
            json!({ "plans": 1, "units": 197, "used_up": 1, "waiting_for_charging": 0, "waiting_for_settling": 0,
                "parked": 0 })
        );
        assert_eq!(run(EXPIRE)["outcome"], "nothing_to_do");
        let told = texts(
            &desk.url,
            "select kind || ' ' || subject || ' ' || facts from notices where kind = 'plan_expired'",
        );
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("plan_expired acme-p2 ") && told[0].contains(r#""forfeited":["count",197]"#)
        );
        let plans = desk.program.json(&["plan", "list", "acme"]);
        let state =
            |n: usize| ["remaining", "used", "forfeited"].map(|key| plans[n][key].as_i64().expect("a count"));
        assert_eq!((state(0), state(1)), ([0, 200, 0], [0, 3, 197]));
        assert_eq!((&plans[0]["state"], &plans[1]["state"]), (&json!("expired"), &json!("expired")));
        assert_sound(&desk.url);
    });
}

#[test]
fn f110_an_account_whose_plan_can_not_be_ended_is_parked_and_the_others_end() {
    on_both(|database| {
        let mut desk = Desk::open(database);
        desk.program.run(&["account", "add", "beta", "--name", "Beta"]).exits(0);
        desk.program.run(&["account", "top-up", "beta", "10", "--reference", "cash-1"]).exits(0);
        for id in ["acme", "beta"] {
            desk.program.run(&["order", "place", id, PACKAGE]).exits(0);
        }
        block_on(change(&desk.url, "update plans set product = 'gone' where account_id = 'acme'"));
        desk.program.at("2028-03-01T12:00:00+08:00");
        desk.program.run(&["--run-job", "aggregate-charges", "--catch-up"]).exits(0);
        desk.program.run(SETTLE).exits(0);
        let run = desk.program.run(EXPIRE).exits(3).json();
        assert_eq!((&run["counts"]["plans"], &run["counts"]["parked"]), (&json!(1), &json!(1)));
        assert_eq!(run["parked"][0]["account_id"], "acme");
        block_on(change(&desk.url, "update plans set product = 'sms-domestic' where account_id = 'acme'"));
        assert_eq!(desk.program.run(EXPIRE).exits(0).json()["counts"]["plans"], 1);
        assert_sound(&desk.url);
    });
}

#[test]
fn what_is_behind_a_moment_is_told_for_bills_too() {
    on_both(|database| {
        let desk = Desk::open(database);
        let moment = Timestamp::parse_rfc3339(NOON).expect("a time");
        let behind = || {
            read(&desk.url, async |tx| {
                let of_acme = CaughtUp::load(tx, moment).await?.account_behind("acme", moment);
                // Bills wait for charging alone.
                assert_eq!(charging_behind(tx, moment).await?, of_acme == Some(Behind::Charging));
                Ok(of_acme)
            })
        };
        assert_eq!(behind(), Some(Behind::Charging));
        desk.charge();
        assert_eq!(behind(), Some(Behind::Settling));
        desk.program.run(SETTLE).exits(0);
        assert_eq!(behind(), None);
        desk.take("m.csv", file(&[line("m", "acme", "verification", "1", "2026-03-01T11:59:59+08:00")]));
        assert_eq!(behind(), Some(Behind::Charging));
        desk.charge();
        assert_eq!(behind(), None);
    });
}

#[test]
fn f87_a_renewal_is_bought_once_however_many_programs_run_beside_each_other() {
    on_both(|database| {
        let desk = Desk::open(database);
        renewing(&desk, "acme", "");
        renewing(&desk, "beta", "1000");
        for round in 0..3 {
            let mut started: Vec<Running> = (0..5).map(|_| desk.program.start(RENEW, b"")).collect();
            let reference = format!("round-{round}");
            let top_up = ["account", "top-up", "acme", "1", "--reference", &reference];
            started.push(desk.program.start(&top_up, b""));
            started.push(desk.program.start(&["--run-job", "aggregate-charges"], b""));
            all_end(started, &[0, 75]);
            desk.program.run(RENEW).exits(0);
            let bought = count(&desk.url, "select count(*) from renewals");
            assert_eq!(bought, 2 * (round + 1), "after round {round}");
            // All of it is used up, so that the next one is due.
            let lines =
                ["acme", "beta"].map(|id| line(&format!("{id}-{round}"), id, "verification", "200", NOON));
            desk.take(&format!("{round}.csv"), file(&lines));
            desk.charge();
        }
        // 1,000 and three top-ups, less three plans.
        assert_eq!((desk.account("balance"), desk.account("unbilled")), ("997".into(), "0".into()));
        // The day's limit.
        assert_eq!(desk.program.run(RENEW).exits(0).json()["counts"]["refused"], 2);
        assert_sound(&desk.url);
    });
}

#[test]
fn f87_tasks_of_one_program_buy_once_too() {
    on_both(|database| {
        let desk = Desk::open(database);
        renewing(&desk, "acme", "");
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            let config = Arc::new(Config::built_in().expect("the shipped configuration"));
            let job = jobs::find("auto-renew").expect("the job");
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let (db, config) = (db.clone(), config.clone());
                    let options = Options { as_of: Timestamp::parse_rfc3339(NOON), ..Options::default() };
                    tokio::spawn(async move { runner::run(&db, &config, job, options, &Silent).await })
                })
                .collect();
            for task in tasks {
                match task.await.expect("no panic") {
                    Ok(_) => {}
                    Err(JobError::Store(error)) if error.is_busy() => {}
                    Err(error) => panic!("{error}"),
                }
            }
            db.close().await;
        });
        desk.program.run(RENEW).exits(0);
        assert_eq!(count(&desk.url, "select count(*) from orders"), 1);
        assert_sound(&desk.url);
    });
}

#[test]
fn r42_once_it_is_switched_off_nothing_is_bought_whatever_was_under_way() {
    on_both(|database| {
        let desk = Desk::open(database);
        let ids: Vec<String> = (0..6).map(|n| format!("acc-{n}")).collect();
        ids.iter().for_each(|id| renewing(&desk, id, "100"));
        let mut started: Vec<Running> = (0..3).map(|_| desk.program.start(RENEW, b"")).collect();
        started.extend(ids.iter().map(|id| desk.program.start(&["renewal", "off", id, "sms-domestic"], b"")));
        all_end(started, &[0, 75]);
        let bought = count(&desk.url, "select count(*) from renewals");
        assert!(bought <= 6, "{bought}");
        let lines: Vec<_> = ids.iter().map(|id| line(id, id, "verification", "250", NOON)).collect();
        desk.take("m.csv", file(&lines));
        desk.charge();
        assert_eq!(desk.program.run(RENEW).exits(0).json()["outcome"], "nothing_to_do");
        assert_eq!(count(&desk.url, "select count(*) from renewals"), bought);
        assert_sound(&desk.url);
    });
}

/// The database itself refuses what the job never does.
#[test]
fn f87_a_second_purchase_for_the_same_time_of_a_plan_breaks_a_key() {
    on_both(|database| {
        let desk = Desk::open(database);
        desk.program.run(&["order", "place", "acme", "sms-domestic-200:2"]).exits(0);
        desk.program.run(&["order", "place", "acme", PACKAGE]).exits(0);
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            let note = async |order_no: i64,
                              due_by: &str,
                              plan: i64,
                              run_no: i64|
                   -> Result<(), StoreError> {
                let mut tx = db.write().await?;
                let sql = format!(
                    "insert into renewals (account_id, order_no, product, due_by, renewed_plan, remaining, threshold, \
                     list_price, discount_ppm, validity, at, run_no) values ('acme', {order_no}, 'sms-domestic', \
                     '{due_by}', {plan}, 0, 0, 0, 0, '24 months', 0, {run_no})"
                );
                tx.execute(sql, Vec::new()).await?;
                tx.commit().await
            };
            note(1, "time", 1, 1).await.expect("the first");
            assert!(note(2, "both", 1, 2).await.is_err(), "the same plan's time again");
            assert!(note(2, "threshold", 1, 1).await.is_err(), "the same product and run again");
            assert!(note(1, "threshold", 1, 2).await.is_err(), "the same order again");
            assert!(note(3, "threshold", 1, 2).await.is_err(), "no such order");
            note(2, "threshold", 1, 2).await.expect("few units are left again");
            db.close().await;
        });
    });
}

#[test]
fn how_often_a_day_is_configured() {
    let database: TestDatabase = sqlite();
    let mut program = Program::on(&database);
    program.configure("[renewal]\nmax_per_day = 0\n");
    program.run(&["check-config"]).exits(78).says(&["max_per_day", "1 to 1000"]);
    let mut program = Program::on(&database);
    program.configure("[renewal]\nmax_per_day = 1\n");
    program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
    program.run(&["account", "top-up", "acme", "100", "--reference", "cash-1"]).exits(0);
    program.run(&["renewal", "set", "acme", PACKAGE]).exits(0);
    program.run(RENEW).exits(0);
    program.file("m.csv", file(&[line("m", "acme", "verification", "200", NOON)]));
    program.run(&["ingest", "messages", "m.csv"]).exits(0);
    program.run(&["--run-job", "aggregate-charges"]).exits(0);
    assert_eq!(program.run(RENEW).exits(0).json()["counts"]["refused"], 1);
    assert_eq!(program.json(&["renewal", "list", "acme"])[0]["last_refusal"]["code"], "daily_limit");
}
