//! Several programs at once on one database: everything happens once, and nobody is told a lie.

use crate::support::books::{assert_sound, block_on, digest_of, read};
use crate::support::databases::{TestDatabase, on_both};
use crate::support::desk::{Desk, taken};
use crate::support::lines::{file, line, plain};
use crate::support::program::Running;
use quittance::store::{self, StoreError};

const RUN: &[&str] = &["--run-job", "aggregate-charges", "--json"];

/// Ten files of 200 messages of three accounts over an hour; the third is not known.
fn files() -> Vec<String> {
    let message = |n: usize| {
        let account = ["acme", "beta", "stranger"][n % 3];
        let template_type = ["verification", "promotional"][n % 2];
        let (minute, second) = (n / 40 % 60, n % 60);
        let time = format!("2026-03-01T09:{minute:02}:{second:02}+08:00");
        line(&format!("m-{n}"), account, template_type, &(1 + n % 4).to_string(), &time)
    };
    let of = |number: usize| file(&(number * 200..number * 200 + 200).map(message).collect::<Vec<_>>());
    (0..10).map(of).collect()
}

fn opened(database: &TestDatabase) -> Desk {
    let desk = Desk::open(database);
    desk.program.run(&["account", "add", "beta", "--name", "Beta"]).exits(0);
    desk.program.run(&["account", "top-up", "beta", "1000", "--reference", "cash-1"]).exits(0);
    for (number, content) in (0..).zip(files()) {
        desk.program.file(&format!("{number}.csv"), content);
    }
    desk
}

/// Each ends with one of the codes.
#[track_caller]
fn all_end_with(started: Vec<Running>, codes: &[i32]) -> usize {
    let answers: Vec<_> = started.into_iter().map(Running::answer).collect();
    for answer in &answers {
        assert!(codes.contains(&answer.code), "another exit code than {codes:?}\n{}", answer.shown());
    }
    answers.iter().filter(|answer| answer.code == 75).count()
}

/// Runs until nothing is left to do.
fn finish(desk: &Desk) {
    desk.charge();
    let waiting = desk.program.run(&["status", "--json"]).json();
    assert_eq!(waiting["uncharged"]["batches"], 0);
}

fn charged_units(url: &str) -> i64 {
    read(url, async |tx| tx.int("select cast(sum(units) as bigint) from charges", Vec::new()).await)
}

#[test]
fn f25_f26_many_programs_at_once_charge_everything_exactly_once() {
    on_both(|database| {
        let desk = opened(database);
        let start = |args: &[&str]| desk.program.start(args, b"");
        let mut runs = Vec::new();
        let mut others = Vec::new();
        let names: Vec<String> = (0..10).map(|n| format!("{n}.csv")).collect();
        let ingest: Vec<&str> =
            ["ingest", "messages"].into_iter().chain(names.iter().map(String::as_str)).collect();
        others.push(start(&ingest));
        for round in 0..4 {
            runs.extend((0..4).map(|_| start(RUN)));
            for account in ["acme", "beta"] {
                let reference = format!("round-{round}");
                others.push(start(&["account", "top-up", account, "10", "--reference", &reference]));
                others.push(start(&[
                    "order",
                    "place",
                    account,
                    "sms-domestic-200",
                    "--reference",
                    &reference,
                ]));
            }
            all_end_with(std::mem::take(&mut runs), &[0, 3, 75]);
        }
        all_end_with(others, &[0]);
        finish(&desk);
        // 2,000 messages of 1, 2, 3, 4 units in turn; a third of them of an account that is not known.
        let units: i64 = (0..2_000).filter(|n| n % 3 != 2).map(|n| 1 + n % 4).sum();
        assert_eq!(charged_units(&desk.url), units);
        assert_eq!(desk.account("balance"), "1032");
        desk.assert_nothing_is_lost();
        assert_sound(&desk.url);
    });
}

#[test]
fn f25_the_books_are_those_of_one_program_alone() {
    let mut digests = Vec::new();
    on_both(|database| {
        let desk = opened(database);
        let ingesting: Vec<Running> =
            (0..10).map(|n| desk.program.start(&["ingest", "messages", &format!("{n}.csv")], b"")).collect();
        let runs = (0..4).map(|_| desk.program.start(RUN, b"")).collect();
        let paying = (0..4).map(|n| {
            desk.program
                .start(&["account", "top-up", "acme", "2.5", "--reference", &format!("cash-{}", n + 2)], b"")
        });
        let paying = paying.collect();
        all_end_with(ingesting, &[0]);
        all_end_with(runs, &[0, 3, 75]);
        all_end_with(paying, &[0]);
        finish(&desk);
        assert_sound(&desk.url);
        digests.push(digest_of(&desk.url));
    });
    on_both(|database| {
        let desk = opened(database);
        for n in 0..4 {
            let reference = format!("cash-{}", n + 2);
            desk.program.run(&["account", "top-up", "acme", "2.5", "--reference", &reference]).exits(0);
        }
        for n in 0..10 {
            desk.program.run(&["ingest", "messages", &format!("{n}.csv")]).exits(0);
        }
        finish(&desk);
        digests.push(digest_of(&desk.url));
    });
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

#[test]
fn f33_a_job_started_five_times_works_once() {
    on_both(|database| {
        let desk = opened(database);
        desk.program.run(&["ingest", "messages", "0.csv"]).exits(0);
        let started: Vec<_> = (0..5).map(|_| desk.program.start(RUN, b"")).collect();
        let answers: Vec<_> = started.into_iter().map(Running::answer).collect();
        let outcomes = answers.iter().filter(|answer| answer.code != 75).map(|answer| {
            assert!([0, 3].contains(&answer.code), "{}", answer.shown());
            answer.json()["outcome"].as_str().expect("an outcome").to_owned()
        });
        let (idle, worked): (Vec<_>, Vec<_>) = outcomes.partition(|outcome| outcome == "nothing_to_do");
        assert_eq!(worked, ["partial"], "beside {} idle runs", idle.len());
        assert_sound(&desk.url);
    });
}

#[test]
fn f64_a_file_handed_in_by_four_programs_at_once_is_taken_by_one() {
    on_both(|database| {
        let desk = opened(database);
        let ingest = ["ingest", "messages", "0.csv", "--json"];
        let started: Vec<_> = (0..4).map(|_| desk.program.start(&ingest, b"")).collect();
        let answers: Vec<_> = started.into_iter().map(|running| running.answer().exits(0).json()).collect();
        let took = answers.iter().filter(|answer| answer["already_ingested"] == false).count();
        assert_eq!(took, 1, "{answers:?}");
        let one = &answers[0]["batch_id"];
        assert!(
            answers.iter().all(|answer| answer["batch_id"] == *one && answer["accepted"] == 200),
            "{answers:?}"
        );
        assert_sound(&desk.url);
    });
}

#[test]
fn f48_the_same_messages_in_four_files_at_once_are_taken_once() {
    on_both(|database| {
        let desk = opened(database);
        let ids: Vec<String> = (0..500).map(|n| plain(&format!("m-{n}"))).collect();
        let started: Vec<_> = (0..4)
            .map(|n| {
                // Another order in each file, so that they would lock each other out.
                let mut lines = ids.clone();
                lines.rotate_left(n * 125);
                desk.program.file(&format!("same-{n}.csv"), file(&lines));
                desk.program.start(&["ingest", "messages", &format!("same-{n}.csv"), "--json"], b"")
            })
            .collect();
        let all: Vec<_> = started.into_iter().map(|running| taken(running.answer()).1).collect();
        assert_eq!(all.iter().map(|counts| counts.accepted).sum::<i64>(), 500, "{all:?}");
        assert_eq!(all.iter().map(|counts| counts.duplicates).sum::<i64>(), 1_500, "{all:?}");
        desk.charge();
        assert_eq!(charged_units(&desk.url), 500);
        assert_sound(&desk.url);
    });
}

#[test]
fn f92_a_balance_is_not_spent_twice() {
    on_both(|database| {
        let desk = opened(database);
        desk.program.run(&["account", "add", "poor", "--name", "Poor"]).exits(0);
        desk.program.run(&["account", "top-up", "poor", "5", "--reference", "cash-1"]).exits(0);
        let order = ["order", "place", "poor", "sms-domestic-200", "--json"];
        let started: Vec<_> = (0..6).map(|_| desk.program.start(&order, b"")).collect();
        let answers: Vec<_> = started.into_iter().map(Running::answer).collect();
        assert_eq!(answers.iter().filter(|answer| answer.code == 0).count(), 2);
        for refused in answers.into_iter().filter(|answer| answer.code != 0) {
            refused.refuses("insufficient_balance");
        }
        assert_eq!(desk.program.json(&["account", "show", "poor"])["balance"], "1");
        assert_sound(&desk.url);
    });
}

#[test]
fn f12_a_transaction_with_a_swallowed_error_is_not_taken_for_committed() {
    on_both(|database| {
        let desk = Desk::open(database);
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            let mut tx = db.write().await.expect("it can be written");
            let top_up =
                "insert into top_ups (account_id, reference, amount, at) values ('acme', 'r', $1, 0)";
            tx.execute("update accounts set name = 'changed'", Vec::new()).await.expect("it works");
            let swallowed = tx.execute(top_up, vec![(-1_i64).into()]).await;
            assert!(swallowed.is_err(), "the check did not fail");
            assert!(matches!(tx.commit().await, Err(StoreError::Aborted)));
            db.close().await;
        });
        assert_eq!(desk.program.json(&["account", "show", "acme"])["name"], "Acme");
    });
}
