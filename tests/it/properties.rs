//! What holds for every history (D45): neither money nor units are made or lost, and the books do
//! not depend on the database, on how the files were cut or repeated, or on when the runs came. Where
//! failures are told they do depend on when the runs came, and are those of the naive reckoning.
//!
//! The histories are random and always the same; a failing one is shrunk and printed.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use quittance::domain::product::ReturnOrder;

use crate::support::books::block_on;
use crate::support::databases::{TestDatabase, postgres, sqlite};
use crate::support::history::{Books, Handing, History, Step, history, steps};
use crate::support::naive::{reckon, reckon_with};
use crate::support::receipts::{self, Answered, answered};

const HISTORIES: u32 = 12;
/// Histories with receipts, which are longer.
const ANSWERED: u32 = 12;

type Checked = Result<(), TestCaseError>;

fn for_each<S: Strategy>(histories: u32, strategy: S, check: impl Fn(S::Value) -> Checked) {
    let config =
        Config { cases: histories, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    if let Err(fault) = runner.run(&strategy, check) {
        panic!("{fault}");
    }
}

fn for_each_history(rich: bool, check: impl Fn(History, Vec<bool>) -> Checked) {
    let runs = prop::collection::vec(any::<bool>(), 3);
    for_each(HISTORIES, (history(rich), runs), |(history, runs)| check(history, runs));
}

/// The books after some steps: their digest, and the state of each account in words.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    digest: String,
    told: Vec<String>,
}

/// Plays the steps on a database of their own.
async fn kept(database: &TestDatabase, steps: &[Step]) -> Kept {
    kept_with(database, steps, ReturnOrder::Literal).await
}

async fn kept_with(database: &TestDatabase, steps: &[Step], order: ReturnOrder) -> Kept {
    let mut books = Books::open_with(&database.url, order).await;
    books.play(steps).await;
    let kept = Kept { digest: books.digest().await, told: books.told().await };
    books.close().await;
    kept
}

/// The same state and, where both are books, the same digest; else what differs.
fn same(what: &str, books: &Kept, expected: &Kept) -> Checked {
    same_state(what, &books.told, &expected.told)?;
    if books.digest == expected.digest {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("{what}: the digest differs, balances and plans are equal")))
}

fn same_state(what: &str, told: &[String], expected: &[String]) -> Checked {
    let only_in = |these: &[String], those: &[String]| -> String {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("\n  {line}")).collect()
    };
    if told == expected {
        return Ok(());
    }
    let (more, less) = (only_in(told, expected), only_in(expected, told));
    Err(TestCaseError::fail(format!("{what}: the books say{more}\nexpected{less}")))
}

#[test]
fn the_books_are_those_of_a_naive_reckoning_and_equal_on_both_databases() {
    for_each_history(false, |history, runs| {
        let steps = steps(&history, &runs, Handing::Daily);
        let (here, there) = (sqlite(), postgres());
        block_on(async {
            let books = kept(&here, &steps).await;
            same_state("the naive reckoning", &books.told, &reckon(&steps))?;
            match &there {
                Some(database) => same("PostgreSQL", &kept(database, &steps).await, &books),
                None => Ok(()),
            }
        })
    });
}

#[test]
fn files_may_be_merged_split_reordered_and_repeated() {
    for_each_history(false, |history, runs| {
        let databases: Vec<TestDatabase> = (0..5).map(|_| sqlite()).collect();
        block_on(async {
            let daily = kept(&databases[0], &steps(&history, &runs, Handing::Daily)).await;
            let others = [Handing::Merged, Handing::Split, Handing::Backwards, Handing::Repeated];
            for (handing, database) in others.into_iter().zip(&databases[1..]) {
                let books = kept(database, &steps(&history, &runs, handing)).await;
                same(&format!("{handing:?}"), &books, &daily)?;
            }
            Ok(())
        })
    });
}

/// Only where nobody becomes overdue: the status at the start of a run decides (D53).
#[test]
fn a_late_catch_up_equals_a_run_each_day() {
    for_each_history(true, |history, runs| {
        let databases: Vec<TestDatabase> = (0..3).map(|_| sqlite()).collect();
        block_on(async {
            let each_day = steps(&history, &[true; 3], Handing::Daily);
            let on_time = kept(&databases[0], &each_day).await;
            same_state("the naive reckoning", &on_time.told, &reckon(&each_day))?;
            let once = steps(&history, &[false; 3], Handing::Daily);
            same("one run for all days", &kept(&databases[1], &once).await, &on_time)?;
            let some = steps(&history, &runs, Handing::Split);
            same(&format!("runs after the days {runs:?}"), &kept(&databases[2], &some).await, &on_time)
        })
    });
}

#[test]
fn the_histories_reach_what_they_are_to_show() {
    let reached = std::cell::RefCell::new([false; 5]);
    for_each_history(false, |history, runs| {
        let told = reckon(&steps(&history, &runs, Handing::Daily)).join("\n");
        let words =
            ["suspended", "short 0", "long 0", "tier bob 202603 sms-domestic verification", "waits stranger"];
        for (reached, word) in reached.borrow_mut().iter_mut().zip(words) {
            *reached |= told.contains(word);
        }
        Ok(())
    });
    assert_eq!(reached.into_inner(), [true; 5]);
}

#[test]
fn what_failed_goes_back_as_a_naive_reckoning_says_and_equally_on_both_databases() {
    for_each(ANSWERED, answered(), |answered| goes_back(&answered, ReturnOrder::Literal));
}

#[test]
fn what_failed_goes_back_to_its_source_as_a_naive_reckoning_says_and_equally_on_both_databases() {
    for_each(ANSWERED, answered(), |answered| goes_back(&answered, ReturnOrder::SameSource));
}

fn goes_back(answered: &Answered, order: ReturnOrder) -> Checked {
    let steps = receipts::steps(answered, receipts::Handing::Whole);
    let (here, there) = (sqlite(), postgres());
    block_on(async {
        let books = kept_with(&here, &steps, order).await;
        same_state("the naive reckoning", &books.told, &reckon_with(&steps, order))?;
        match &there {
            Some(database) => same("PostgreSQL", &kept_with(database, &steps, order).await, &books),
            None => Ok(()),
        }
    })
}

#[test]
fn receipts_may_come_in_one_file_or_many_and_any_number_of_times() {
    for_each(ANSWERED / 2, answered(), |answered| {
        let databases: Vec<TestDatabase> = (0..3).map(|_| sqlite()).collect();
        block_on(async {
            let whole = kept(&databases[0], &receipts::steps(&answered, receipts::Handing::Whole)).await;
            let others = [receipts::Handing::Split, receipts::Handing::Repeated];
            for (handing, database) in others.into_iter().zip(&databases[1..]) {
                let books = kept(database, &receipts::steps(&answered, handing)).await;
                same(&format!("{handing:?}"), &books, &whole)?;
            }
            Ok(())
        })
    });
}

#[test]
fn the_answered_histories_reach_what_they_are_to_show() {
    let words = [
        "returned",
        "not_charged",
        "no_money",
        "late",
        "exception",
        "open",
        "as unbilled",
        "as balance",
        "-p1 1 0",
        "-p2 1 0",
        "pending",
        "consumed",
        "suspended",
        "forfeited",
    ];
    let reached = std::cell::RefCell::new(vec![false; words.len()]);
    for_each(ANSWERED, answered(), |answered| {
        let told = reckon(&receipts::steps(&answered, receipts::Handing::Whole)).join("\n");
        for (reached, word) in reached.borrow_mut().iter_mut().zip(words) {
            *reached |= told.contains(word);
        }
        Ok(())
    });
    let missing: Vec<_> = words.iter().zip(reached.into_inner()).filter(|(_, reached)| !reached).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
