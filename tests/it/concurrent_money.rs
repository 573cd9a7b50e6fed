//! Thirty-two hands on three accounts: they pay in and out, buy, claim, charge and settle at once. No
//! deadlock comes through, no update is lost, nothing falls below what is allowed, and the books agree.

use std::sync::Arc;

use quittance::audit::audit;
use quittance::config::Config;
use quittance::desk::cash::{self, NewPenalty, TopUp};
use quittance::desk::{DeskError, accounts, orders, refunds, renewals};
use quittance::domain::account::Kind;
use quittance::domain::money::Micros;
use quittance::domain::period::Timestamp;
use quittance::ingest::{Kind as FileKind, source::Source};
use quittance::intake::{Input, Reading, take};
use quittance::jobs::{self, JobError};
use quittance::progress::Silent;
use quittance::runner::{self, Options};
use quittance::store::accounts::NewAccount;
use quittance::store::{self, Db, StoreError};

use crate::support::books::{block_on, read};
use crate::support::databases::on_both;
use crate::support::lines::{file, line};

const HANDS: usize = 32;
const TURNS: usize = 10;
const ACCOUNTS: [&str; 3] = ["acme", "beta", "corp"];

fn time(minute: usize) -> Timestamp {
    let noon = Timestamp::parse_rfc3339("2026-03-01T12:00:00+08:00").expect("a time");
    noon.plus_micros(minute as i64 * Timestamp::MINUTE)
}

fn cents(cents: usize) -> Micros {
    Micros(cents as i64 * Micros::PER_UNIT / 100)
}

/// What a hand got for its turn.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Done,
    /// A rule said no.
    Refused,
    /// Somebody else was at it.
    Busy,
}

struct Hand {
    db: Db,
    config: Arc<Config>,
    number: usize,
    dir: Arc<tempfile::TempDir>,
}

impl Hand {
    /// The turns are drawn from the hand's number, so that each run of the test has the same ones.
    async fn turn(&self, turn: usize) -> Got {
        let draw = (self.number * 31 + turn * 17) % 64;
        let (account, reference) = (ACCOUNTS[draw % 3], format!("h{}-{turn}", self.number));
        let now = time(turn);
        match draw % 8 {
            _ if draw.is_multiple_of(7) => self.run("auto-renew", now).await,
            _ if draw % 7 == 1 => {
                let order = format!("{account}-o{}", 1 + turn % 3);
                told(refunds::ask(&self.db, &self.config, &order, None, now).await)
            }
            0 | 1 => {
                let amount = cents(150 + draw);
                let top_up = TopUp { amount, reference: &reference, payer: None };
                told(cash::top_up(&self.db, account, top_up, now).await)
            }
            2 => told(cash::withdraw(&self.db, account, cents(40 + draw), &reference, now).await),
            3 => {
                let wanted = [orders::Wanted { package: "sms-domestic-200".into(), quantity: 1 }];
                let placed = orders::place(&self.db, &self.config, account, &wanted, Some(&reference), now);
                told(placed.await)
            }
            4 => {
                let penalty = NewPenalty {
                    amount: cents(1 + draw),
                    reason: "a test",
                    order: None,
                    reference: Some(&reference),
                };
                told(cash::penalize(&self.db, &self.config, account, penalty, now).await)
            }
            5 => self.hand_in(turn).await,
            6 => self.run("settle-receipts", now).await,
            _ => self.run("aggregate-charges", now).await,
        }
    }

    /// Messages of all accounts, and failures of half of them.
    async fn hand_in(&self, turn: usize) -> Got {
        let id = |n: usize| format!("m-{}-{turn}-{n}", self.number);
        let at = "2026-03-01T12:00:00+08:00";
        let messages: Vec<_> =
            (0..12).map(|n| line(&id(n), ACCOUNTS[n % 3], "verification", "2", at)).collect();
        let failures = (0..6).map(|n| format!("{},{},failed,{at}\n", id(n), ACCOUNTS[n % 3]));
        let receipts: String =
            ["message_id,account_id,status,report_time\n".to_owned()].into_iter().chain(failures).collect();
        for (kind, content) in [(FileKind::Messages, file(&messages)), (FileKind::Receipts, receipts)] {
            let path = self.dir.path().join(format!("{}-{turn}-{kind:?}", self.number));
            std::fs::write(&path, content).expect("it can be written");
            let reading = Reading { kind, source: Source::Generic, format: None, as_of: time(0) };
            match take(&self.db, &self.config, Input::File(path), reading, None, &Silent).await {
                Ok(_) => {}
                Err(quittance::intake::IntakeError::Store(error)) if error.is_busy() => return Got::Busy,
                Err(error) => panic!("a file was not taken: {error}"),
            }
        }
        Got::Done
    }

    async fn run(&self, job: &str, now: Timestamp) -> Got {
        let job = jobs::find(job).expect("the job");
        let options = Options { as_of: Some(now), ..Options::default() };
        match runner::run_patiently(&self.db, &self.config, job, options, &Silent).await {
            Ok(_) => Got::Done,
            Err(JobError::Store(StoreError::Held { .. } | StoreError::Busy)) => Got::Busy,
            Err(error) => panic!("a run failed: {}", runner::describe(&error)),
        }
    }
}

/// A deadlock that comes through is none of the answers.
fn told<T>(answer: Result<T, DeskError>) -> Got {
    match answer {
        Ok(_) => Got::Done,
        Err(DeskError::Refused { .. }) => Got::Refused,
        Err(DeskError::Store(StoreError::Busy)) => Got::Busy,
        Err(error) => panic!("the desk failed: {}", runner::describe(&error)),
    }
}

async fn open_accounts(db: &Db) {
    for id in ACCOUNTS {
        let new = NewAccount {
            account_id: id.into(),
            name: id.into(),
            kind: Kind::Enterprise,
            currency: "CNY".into(),
            email: None,
            phone: None,
            locale: "en".into(),
            credit_limit: Micros::ZERO,
        };
        accounts::add(db, &new, time(0)).await.expect("the account is new");
        let first = TopUp { amount: cents(300), reference: "first", payer: None };
        cash::top_up(db, id, first, time(0)).await.expect("it is paid");
    }
}

#[test]
fn f10_f84_f92_many_hands_on_a_few_accounts_leave_the_books_in_order() {
    on_both(|database| {
        let got = block_on(async {
            let db = Db::open(&database.url).await.expect("the database opens");
            store::prepare(&db).await.expect("it can be migrated");
            open_accounts(&db).await;
            let config = Arc::new(Config::built_in().expect("the shipped configuration"));
            for id in ACCOUNTS {
                renewals::set(&db, &config, id, "sms-domestic-200", 5, time(0))
                    .await
                    .expect("it can be renewed");
            }
            let dir = Arc::new(tempfile::tempdir().expect("a directory"));
            let hands = (0..HANDS).map(|number| {
                let hand = Hand { db: db.clone(), config: config.clone(), number, dir: dir.clone() };
                tokio::spawn(async move {
                    let mut got = Vec::new();
                    for turn in 0..TURNS {
                        got.push(hand.turn(turn).await);
                    }
                    got
                })
            });
            let hands: Vec<_> = hands.collect();
            let mut got = Vec::new();
            for hand in hands {
                got.extend(hand.await.expect("a hand fell off"));
            }
            // What is left is charged and settled.
            let last = Hand { db: db.clone(), config, number: 0, dir };
            assert_eq!(last.run("aggregate-charges", time(TURNS)).await, Got::Done);
            assert_eq!(last.run("settle-receipts", time(TURNS)).await, Got::Done);
            let mut tx = db.read().await.expect("it can be read");
            let audited = audit(&mut tx, &last.config, true, &Silent).await.expect("they can be audited");
            let broken = audited.doubts();
            assert!(broken.is_empty(), "the books are broken:\n{}", broken.join("\n"));
            drop(tx);
            db.close().await;
            got
        });
        let count = |what: Got| got.iter().filter(|got| **got == what).count();
        assert!(count(Got::Done) > 150, "only {} turns came to something", count(Got::Done));
        assert!(count(Got::Refused) > 0, "no rule was met");
        let waiting = read(&database.url, async |tx| {
            tx.int("select count(*) from failures where run_no is null", Vec::new()).await
        });
        assert_eq!(waiting, 0);
    });
}
