//! Every transaction cut at every point where it waits, and the same thing again: nothing is lost,
//! nothing doubled, and no connection is left inside of a transaction (F01, F07).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use quittance::audit::audit;
use quittance::config::Config;
use quittance::desk::batches::retry_batch;
use quittance::desk::cash::{self, TopUp};
use quittance::desk::exceptions::approve;
use quittance::desk::invoices::{About, issue};
use quittance::desk::{DeskError, accounts, orders, refunds, renewals};
use quittance::domain::account::Kind;
use quittance::domain::invoice::InvoiceType;
use quittance::domain::money::Micros;
use quittance::domain::period::Timestamp;
use quittance::ingest;
use quittance::ingest::source::Source;
use quittance::intake::{Input, Reading, take};
use quittance::jobs;
use quittance::progress::Silent;
use quittance::runner::{self, Options};
use quittance::store::accounts::NewAccount;
use quittance::store::batches::Ingested;
use quittance::store::failures::Which;
use quittance::store::orders::OrderRow;
use quittance::store::{self, Db, Dialect, digest, exceptions};

use crate::support::books::block_on;
use crate::support::databases::{TestDatabase, on_both, sqlite};
use crate::support::lines::{file, line};

/// Where a future is cut: after so many times that it went on, at once or when it could go on again.
#[derive(Clone, Copy, Debug)]
struct Cut {
    polls: usize,
    woken: bool,
}

/// What the future gave where it came to its end before the cut.
async fn cut<T>(future: impl Future<Output = T>, at: Cut) -> Option<T> {
    let mut future = pin!(future);
    let mut left = at.polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 && !at.woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// All cuts one after the other; the longer it takes, the larger the steps.
fn cuts(dense_up_to: usize) -> impl Iterator<Item = Cut> {
    let mut polls = 0;
    std::iter::from_fn(move || {
        polls += 1 + if polls > dense_up_to { polls / 8 } else { 0 };
        Some(polls)
    })
    .flat_map(|polls| [Cut { polls, woken: false }, Cut { polls, woken: true }])
}

/// Books with one pooled connection, which everything has to share.
struct World {
    db: Db,
    /// Sees only what was committed.
    outside: Db,
    config: Arc<Config>,
    dir: tempfile::TempDir,
}

/// Of so many rounds one is audited.
const AUDITED: usize = 8;

const ACCOUNTS: [&str; 2] = ["acme", "beta"];

fn time(minute: usize) -> Timestamp {
    let noon = Timestamp::parse_rfc3339("2026-03-01T12:00:00+08:00").expect("a time");
    noon.plus_micros(minute as i64 * Timestamp::MINUTE)
}

impl World {
    async fn open(database: &TestDatabase) -> World {
        let url = &database.url;
        let one = if url.contains('?') { format!("{url}&connections=1") } else { url.clone() };
        let db = Db::open(&one).await.expect("the database opens");
        store::prepare(&db).await.expect("it can be migrated");
        let shipped = Config::built_in().expect("the shipped configuration");
        // All rounds are on one day.
        let config = Arc::new(Config { renewals_per_day: 1_000, ..shipped });
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
            accounts::add(&db, &new, time(0)).await.expect("the account is new");
            let amount = Micros(5_000 * Micros::PER_UNIT);
            let first = TopUp { amount, reference: "first", payer: None };
            let paid = cash::top_up(&db, id, first, time(0)).await;
            paid.expect("it is paid");
        }
        let outside = Db::open(url).await.expect("it opens twice");
        World { db, outside, config, dir: tempfile::tempdir().expect("a directory") }
    }

    /// Two plans bought at once.
    async fn order(&self, reference: Option<&str>) -> OrderRow {
        let wanted = [orders::Wanted { package: "sms-domestic-200".into(), quantity: 2 }];
        let placed = orders::place(&self.db, &self.config, "acme", &wanted, reference, time(0)).await;
        placed.expect("it is placed")
    }

    async fn assert_sound(&self) {
        let mut tx = self.outside.read().await.expect("it can be read");
        let audited = audit(&mut tx, &self.config, true, &Silent).await.expect("they can be audited");
        let broken = audited.doubts();
        assert!(broken.is_empty(), "the books are broken:\n{}", broken.join("\n"));
        tx.rollback().await.expect("it ends");
    }

    /// All that can be told of the books from outside.
    async fn told(&self) -> String {
        let mut tx = self.outside.read().await.expect("it can be read");
        let mut told = digest::digest(&mut tx, self.config.zone).await.expect("a digest");
        let tables = [
            "messages",
            "batches",
            "batch_lines",
            "entries",
            "orders",
            "refunds",
            "returns",
            "renewals",
            "notices",
            "quota_reviews",
        ];
        for table in tables {
            let sql = format!("select count(*) from {table}");
            let count = tx.int(sql, Vec::new()).await.expect("it can be counted");
            told.push_str(&format!(" {table}={count}"));
        }
        tx.rollback().await.expect("it ends");
        told
    }

    /// Once the connection is back, and before anybody borrows it, no session is in a transaction.
    async fn assert_no_open_transaction(&self, at: Cut) {
        if self.db.dialect() == Dialect::Sqlite {
            return;
        }
        let sql = "select count(*) from pg_stat_activity where datname = current_database() \
                   and pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'idle'";
        let mut open = 1;
        for _ in 0..2_000 {
            let mut tx = self.outside.write().await.expect("it can be asked");
            open = tx.int(sql, Vec::new()).await.expect("it answers");
            tx.rollback().await.expect("it ends");
            if open == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(open, 0, "an open transaction after {at:?}");
    }

    async fn ingest(&self, name: &str, content: &str, as_of: Timestamp) -> Ingested {
        self.hand_in(ingest::Kind::Messages, name, content, as_of).await
    }

    async fn hand_in(&self, kind: ingest::Kind, name: &str, content: &str, as_of: Timestamp) -> Ingested {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("it can be written");
        let reading = Reading { kind, source: Source::Generic, format: None, as_of };
        let taken = take(&self.db, &self.config, Input::File(path), reading, None, &Silent).await;
        taken.expect("the file is taken")
    }

    async fn charge(&self, as_of: Timestamp, attempt: i64) {
        self.run("aggregate-charges", as_of, attempt).await;
    }

    async fn run(&self, job: &str, as_of: Timestamp, attempt: i64) {
        let options = Options { as_of: Some(as_of), attempt, catch_up: true, ..Options::default() };
        let job = jobs::find(job).expect("the job");
        runner::run(&self.db, &self.config, job, options, &Silent).await.expect("the run is done");
    }

    /// Charged messages of which one failed, and a receipt that came before its message.
    async fn failures(&self, round: usize) -> i64 {
        self.ingest(&format!("{round}.csv"), &lines(round), time(0)).await;
        self.charge(time(round), 1).await;
        let receipts = format!(
            "message_id,account_id,status\na-{round},acme,failed\nb-{round},beta,delivered\nnone-{round},acme,failed\n"
        );
        self.hand_in(ingest::Kind::Receipts, &format!("r-{round}.csv"), &receipts, time(0)).await;
        0
    }

    /// A plan with units, and one without, that end at this minute; charging and settling are through.
    async fn ending_plans(&self, round: usize) -> i64 {
        for id in ACCOUNTS {
            // The shipped package is valid for two years.
            let bought_at = Timestamp::parse_rfc3339("2024-03-01T12:00:00+08:00").expect("a time");
            let bought_at = bought_at.plus_micros(round as i64 * Timestamp::MINUTE);
            let wanted = [orders::Wanted { package: "sms-domestic-200".into(), quantity: 2 }];
            let placed = orders::place(&self.db, &self.config, id, &wanted, None, bought_at).await;
            placed.expect("it is placed");
        }
        let at = self.config.zone.format(time(round).plus_micros(-1));
        let message = line(&format!("m-{round}"), "acme", "verification", "250", &at);
        self.ingest(&format!("{round}.csv"), &file(&[message]), time(round)).await;
        self.charge(time(round), 1).await;
        self.run("settle-receipts", time(round), 1).await;
        0
    }

    /// What is left is used up, so that a renewal is due.
    async fn due_renewal(&self, round: usize) -> i64 {
        let (db, config) = (&self.db, &self.config);
        let set = renewals::set(db, config, "acme", "sms-domestic-200", 100, time(0)).await;
        set.expect("it can be renewed");
        let at = self.config.zone.format(time(round));
        let message = line(&format!("m-{round}"), "acme", "verification", "200", &at);
        self.ingest(&format!("{round}.csv"), &file(&[message]), time(round)).await;
        self.charge(time(round), 1).await;
        0
    }

    /// E-mails of an account of the round's own: a week is reviewed once.
    async fn mails(&self, round: usize) -> i64 {
        let id = format!("mail-{round}");
        let new = NewAccount {
            account_id: id.clone(),
            name: id.clone(),
            kind: Kind::Enterprise,
            currency: "CNY".into(),
            email: None,
            phone: None,
            locale: "en".into(),
            credit_limit: Micros::ZERO,
        };
        accounts::add(&self.db, &new, time(0)).await.expect("the account is new");
        let sms = line(&format!("e-{round}"), &id, "verification", "1", "2026-03-01T09:00:00+08:00");
        let mail = sms.replace("sms,CN,verification", "email,,");
        self.ingest(&format!("{round}.csv"), &file(&[mail]), time(0)).await;
        0
    }

    /// A charged message that was delivered and failed: the exception that waits for an operator.
    async fn contradiction(&self, round: usize) -> i64 {
        let message = line(&format!("m-{round}"), "acme", "promotional", "3", "2026-03-01T09:00:00+08:00");
        self.ingest(&format!("{round}.csv"), &file(&[message]), time(0)).await;
        self.charge(time(round), 1).await;
        let receipts =
            format!("message_id,account_id,status\nm-{round},acme,delivered\nm-{round},acme,failed\n");
        self.hand_in(ingest::Kind::Receipts, &format!("r-{round}.csv"), &receipts, time(0)).await;
        let mut tx = self.outside.read().await.expect("it can be read");
        let open = exceptions::list(&mut tx, false, 10).await.expect("they can be listed");
        tx.rollback().await.expect("it ends");
        assert_eq!(open.len(), 1, "one contradiction a round: {open:?}");
        open[0].exception_no
    }

    /// A month of charges of both accounts, of which one can't pay all; charging has caught up with its end.
    async fn month(&self, round: usize) -> i64 {
        let sent = month(round).plus_micros(9 * Timestamp::HOUR);
        let zone = self.config.zone;
        let message = |account: &str, units: &str| {
            line(&format!("{account}-{round}"), account, "promotional", units, &zone.format(sent))
        };
        let file = file(&[message("acme", "3"), message("beta", "40000")]);
        self.ingest(&format!("{round}.csv"), &file, sent).await;
        self.charge(month(round + 1), 1).await;
        0
    }

    async fn close(self) {
        self.db.close().await;
        self.outside.close().await;
    }
}

/// The first moment of the month of a round.
fn month(round: usize) -> Timestamp {
    let months = 2 + round;
    let text = format!("{}-{:02}-01T00:00:00+08:00", 2026 + months / 12, months % 12 + 1);
    Timestamp::parse_rfc3339(&text).expect("a time")
}

/// Messages of the round: two accounts and one that is not known, one message twice, one line that
/// is rejected, and one that will be right only later.
fn lines(round: usize) -> String {
    let at = "2026-03-01T09:00:00+08:00";
    let message =
        |name: &str, account: &str| line(&format!("{name}-{round}"), account, "promotional", "3", at);
    file(&[
        message("a", "acme"),
        message("b", "beta"),
        message("a", "acme"),
        message("c", "stranger"),
        line("x", "acme", "verification", "none", at),
        line(&format!("later-{round}"), "acme", "verification", "1", "2026-03-02T12:00:00+08:00"),
    ])
}

/// What is cut: with the number of its round, and whether it is done again after a cut.
enum Deed {
    TopUp,
    Order,
    Refund,
    Ingest,
    Retry,
    Charge,
    Settle,
    Approve,
    Expire,
    Renew,
    Bill,
    Invoice,
    Review,
}

impl Deed {
    /// What must be there before. Not cut.
    async fn prepare(&self, world: &World, round: usize) -> i64 {
        match self {
            Deed::TopUp | Deed::Order | Deed::Ingest => 0,
            Deed::Refund => world.order(None).await.order_no,
            Deed::Retry | Deed::Charge => {
                let name = format!("{round}.csv");
                match world.ingest(&name, &lines(round), time(0)).await {
                    Ingested::Taken(batch) | Ingested::Already(batch) => batch.batch_no,
                }
            }
            Deed::Settle => world.failures(round).await,
            Deed::Approve => world.contradiction(round).await,
            Deed::Expire => world.ending_plans(round).await,
            Deed::Renew => world.due_renewal(round).await,
            Deed::Bill => world.month(round).await,
            Deed::Invoice => {
                world.month(round).await;
                world.run("monthly-bills", month(round + 1).plus_micros(Timestamp::HOUR), 1).await;
                0
            }
            Deed::Review => world.mails(round).await,
        }
    }

    async fn act(&self, world: &World, round: usize, prepared: i64, attempt: i64) {
        let reference = format!("round-{round}");
        match self {
            Deed::TopUp => {
                let amount = Micros(7 * Micros::PER_UNIT);
                cash::top_up(
                    &world.db,
                    "acme",
                    TopUp { amount, reference: &reference, payer: None },
                    time(0),
                )
                .await
                .expect("it is paid");
            }
            Deed::Order => {
                world.order(Some(&reference)).await;
            }
            Deed::Refund => {
                let (db, config, id) = (&world.db, &world.config, format!("acme-o{prepared}"));
                match refunds::ask(db, config, &id, None, time(0)).await {
                    Ok(_) => {}
                    Err(DeskError::Refused { code: "already_refunded", .. }) if attempt > 1 => {}
                    Err(error) => panic!("it is not refunded: {error}"),
                }
            }
            Deed::Ingest => {
                world.ingest(&format!("{round}.csv"), &lines(round), time(0)).await;
            }
            Deed::Retry => {
                let later = time(24 * 60);
                retry_batch(&world.db, &world.config, prepared, later).await.expect("it is retried");
            }
            Deed::Charge => world.charge(time(round), attempt).await,
            Deed::Settle => world.run("settle-receipts", time(round), attempt).await,
            Deed::Expire => world.run("expire-plans", time(round), attempt).await,
            Deed::Renew => world.run("auto-renew", time(round), attempt).await,
            Deed::Bill => {
                world.run("monthly-bills", month(round + 1).plus_micros(Timestamp::HOUR), attempt).await;
            }
            Deed::Invoice => {
                let of = world.config.zone.month_of(month(round));
                let (db, config, now) = (&world.db, &world.config, month(round + 1));
                let about = (&About::Bill(of), InvoiceType::General);
                match issue(db, config, "acme", about, now).await {
                    Ok(invoice) => assert_eq!(invoice.total, Micros(160_000)),
                    Err(DeskError::Refused { code: "already_invoiced", .. }) if attempt > 1 => {}
                    Err(error) => panic!("it is not issued: {error}"),
                }
            }
            // Monday noon and on.
            Deed::Review => world.run("review-mail-quotas", time(24 * 60 + round), attempt).await,
            Deed::Approve => {
                let (db, config, id) = (&world.db, &world.config, prepared.to_string());
                match approve(db, config, &id, "a test", Which::default(), time(round)).await {
                    Ok(approved) => assert_eq!(approved.returns.len(), 1, "{approved:?}"),
                    Err(DeskError::Refused { code: "already_closed", .. }) if attempt > 1 => {}
                    Err(error) => panic!("it is not approved: {error}"),
                }
            }
        }
    }

    /// Cuts it in each round at another point and does it again, until it is through before the cut,
    /// a few times over: how often a future waits depends on the threads beside it, too. Gives the
    /// rounds' books.
    async fn disturbed(&self, database: &TestDatabase, dense_up_to: usize) -> Vec<String> {
        let world = World::open(database).await;
        let (mut books, mut through) = (Vec::new(), 0);
        for (round, at) in cuts(dense_up_to).enumerate() {
            let prepared = self.prepare(&world, round).await;
            through += i32::from(cut(self.act(&world, round, prepared, 1), at).await.is_some());
            world.assert_no_open_transaction(at).await;
            self.act(&world, round, prepared, 2).await;
            books.push(world.told().await);
            // Each round's books are those of undisturbed ones, which are sound in the end.
            if round % AUDITED == 0 {
                world.assert_sound().await;
            }
            if through == 4 {
                break;
            }
        }
        world.charge(time(48 * 60), 2).await;
        books.push(world.told().await);
        world.assert_sound().await;
        world.close().await;
        books
    }

    /// The books of so many rounds that nothing disturbs.
    async fn undisturbed(&self, database: &TestDatabase, rounds: usize) -> Vec<String> {
        let world = World::open(database).await;
        let mut books = Vec::new();
        for round in 0..rounds {
            let prepared = self.prepare(&world, round).await;
            self.act(&world, round, prepared, 1).await;
            books.push(world.told().await);
        }
        world.charge(time(48 * 60), 1).await;
        books.push(world.told().await);
        world.assert_sound().await;
        world.close().await;
        books
    }
}

fn check(deed: Deed, dense_up_to: usize) {
    on_both(|database| {
        let disturbed = block_on(deed.disturbed(database, dense_up_to));
        let rounds = disturbed.len() - 1;
        assert!(rounds > 4, "only {rounds} cuts: was anything cut?");
        let undisturbed = block_on(deed.undisturbed(&sqlite(), rounds));
        for (round, (disturbed, undisturbed)) in disturbed.iter().zip(&undisturbed).enumerate() {
            let at = cuts(dense_up_to).nth(round);
            assert_eq!(disturbed, undisturbed, "round {round} of {rounds}, {at:?}");
        }
    });
}

#[test]
fn f01_f07_a_top_up_cut_anywhere_and_done_again_is_done_once() {
    check(Deed::TopUp, usize::MAX);
}

#[test]
fn f01_f07_an_order_cut_anywhere_and_placed_again_is_placed_once() {
    check(Deed::Order, usize::MAX);
}

#[test]
fn f01_f07_a_refund_cut_anywhere_and_asked_again_gives_back_once() {
    check(Deed::Refund, usize::MAX);
}

#[test]
fn f01_f07_an_ingest_cut_anywhere_and_begun_again_takes_each_message_once() {
    check(Deed::Ingest, 30);
}

#[test]
fn f01_f07_a_retry_cut_anywhere_and_begun_again_takes_each_line_once() {
    check(Deed::Retry, 30);
}

#[test]
fn f01_f07_a_charging_run_cut_anywhere_and_begun_again_charges_once() {
    check(Deed::Charge, 40);
}

#[test]
fn f01_f07_a_settling_run_cut_anywhere_and_begun_again_gives_back_once() {
    check(Deed::Settle, 30);
}

#[test]
fn f01_f07_an_approval_cut_anywhere_and_given_again_gives_back_once() {
    check(Deed::Approve, 30);
}

#[test]
fn f01_f07_a_run_that_ends_plans_cut_anywhere_and_begun_again_forfeits_once() {
    check(Deed::Expire, 25);
}

#[test]
fn f01_f07_f87_a_renewing_run_cut_anywhere_and_begun_again_buys_once() {
    check(Deed::Renew, 25);
}

#[test]
fn f01_f07_a_billing_run_cut_anywhere_and_begun_again_bills_each_month_once() {
    check(Deed::Bill, 20);
}

#[test]
fn f01_f97_an_invoice_cut_anywhere_and_issued_again_is_issued_once_without_a_gap() {
    check(Deed::Invoice, usize::MAX);
}

#[test]
fn f01_f07_a_review_cut_anywhere_and_begun_again_reviews_once() {
    check(Deed::Review, 40);
}

#[test]
fn f07_a_begin_that_is_cut_leaves_no_transaction_behind() {
    on_both(|database| {
        block_on(async {
            let world = World::open(database).await;
            for (round, at) in cuts(usize::MAX).enumerate() {
                let through = cut(world.db.write(), at).await.is_some();
                world.assert_no_open_transaction(at).await;
                // The next borrower's row is seen outside: it is in no forgotten transaction.
                let mut tx = world.db.write().await.expect("a connection");
                let sql = format!("insert into instance (name, value) values ('round-{round}', '')");
                tx.execute(sql, Vec::new()).await.expect("it is written");
                tx.commit().await.expect("it is kept");
                let mut tx = world.outside.read().await.expect("it can be read");
                let sql = format!("select count(*) from instance where name = 'round-{round}'");
                assert_eq!(tx.int(sql, Vec::new()).await.expect("it answers"), 1, "lost after {at:?}");
                tx.rollback().await.expect("it ends");
                if through {
                    break;
                }
            }
            world.close().await;
        });
    });
}

#[test]
fn f21_a_migration_cut_anywhere_and_begun_again_completes() {
    on_both(|template| {
        let postgres = !template.url.starts_with("sqlite");
        for at in cuts(if postgres { 6 } else { 12 }) {
            let database = if postgres { crate::support::databases::postgres() } else { Some(sqlite()) };
            let database = database.expect("there was one before");
            let through = block_on(async {
                let db = Db::open(&database.url).await.expect("the database opens");
                let through = cut(store::prepare(&db), at).await.is_some();
                // As the next program finds it.
                let again = Db::open(&database.url).await.expect("it opens again");
                store::prepare(&again).await.expect("the migration completes");
                again.close().await;
                db.close().await;
                through
            });
            crate::support::books::assert_sound(&database.url);
            if through {
                return;
            }
        }
    });
}
