//! Random histories of a few days: accounts, top-ups, orders, messages, receipts, runs; and the books
//! that the library makes of them.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use quittance::audit::audit;
use quittance::config::{Config, Names};
use quittance::desk::cash::{self, TopUp};
use quittance::desk::journal::{Wanted, export};
use quittance::desk::{DeskError, accounts, orders};
use quittance::domain::account::Kind;
use quittance::domain::money::Micros;
use quittance::domain::period::Timestamp;
use quittance::domain::product::{ChargeOn, Product, ReturnOrder};
use quittance::ingest;
use quittance::ingest::source::Source;
use quittance::intake::{Input, Reading, take};
use quittance::progress::Silent;
use quittance::runner::{self, Options};
use quittance::store::accounts::NewAccount;
use quittance::store::{self, Db, digest};
use quittance::{jobs, store::batches::Ingested};

/// Small steps, so that short histories climb them; one price that changes with the month.
const PRICES: &str = r#"
[[payg]]
product = "sms-domestic"
currency = "CNY"
template_types = ["verification", "notification"]
tiers = [
    { over = 0, up_to = 50, price = "0.045" },
    { over = 50, up_to = 200, price = "0.040" },
    { over = 200, price = "0.036" },
]
[[payg]]
product = "sms-domestic"
currency = "CNY"
template_types = ["promotional"]
tiers = [{ over = 0, up_to = 40, price = "0.055" }, { over = 40, price = "0.050" }]
[[payg]]
product = "sms-international"
currency = "CNY"
effective_until = 2026-03-01T00:00:00+08:00
[payg.countries]
HK = "0.40"
[[payg]]
product = "sms-international"
currency = "CNY"
effective_from = 2026-03-01T00:00:00+08:00
[payg.countries]
HK = "0.50"
[[payg]]
product = "direct-mail"
currency = "CNY"
per = 1000
price = "2.00"
[[package]]
id = "short"
product = "sms-domestic"
size = 25
currency = "CNY"
price = "1.00"
validity = "1 days"
[[package]]
id = "long"
product = "sms-domestic"
size = 60
currency = "CNY"
price = "2.50"
validity = "3 days"
[[package]]
id = "abroad"
product = "sms-international"
size = 10
currency = "CNY"
price = "3.00"
validity = "180 days"
"#;

pub const PACKAGES: [&str; 3] = ["short", "long", "abroad"];

/// The last account is not known to the books.
pub const ACCOUNTS: [&str; 4] = ["ann", "bob", "corp", "stranger"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As the source counts it.
    Units(i64),
    /// So many Chinese characters, to be measured.
    Characters(usize),
}

/// What a message is by channel, country and template type.
pub const CLASSES: [(&str, &str, &str); 7] = [
    ("sms", "CN", "verification"),
    ("sms", "CN", "notification"),
    ("sms", "CN", "promotional"),
    ("sms", "CN", ""),
    ("sms", "HK", "notification"),
    ("sms", "KP", "notification"),
    ("email", "", ""),
];

#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub account: usize,
    pub class: usize,
    pub at: Timestamp,
    pub size: Size,
}

/// What a carrier says of a message, or of a part of it.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub account: usize,
    pub id: String,
    pub status: &'static str,
    pub reported: Timestamp,
    /// Which part, of how many.
    pub part: Option<(i64, i64)>,
}

/// Something that happens to the books.
#[derive(Clone, Debug)]
pub enum Step {
    TopUp { account: usize, amount: i64, reference: String, at: Timestamp },
    Order { account: usize, package: usize, at: Timestamp },
    File { messages: Vec<Message>, at: Timestamp },
    Run { at: Timestamp },
    Receipts { receipts: Vec<Receipt>, at: Timestamp },
    Settle { at: Timestamp },
    Expire { at: Timestamp },
    Bill { at: Timestamp },
    Keep { at: Timestamp },
}

/// One day of a history.
#[derive(Clone, Debug)]
pub struct Day {
    /// Account, package, minute of the day.
    orders: Vec<(usize, usize, i64)>,
    /// Account, whole units of money.
    top_ups: Vec<(usize, i64)>,
    /// Account, class, second of the day, size, whether it stands in the file twice.
    messages: Vec<(usize, usize, i64, Size, bool)>,
}

pub type History = Vec<Day>;

/// Four days across the end of a month. Rich accounts always have money.
pub fn history(rich: bool) -> impl Strategy<Value = History> {
    let size = prop_oneof![
        6 => (1..=5_i64).prop_map(Size::Units),
        2 => (20..=90_i64).prop_map(Size::Units),
        2 => (60..=520_usize).prop_map(Size::Characters),
    ];
    // A few windows of the day, so that messages meet in them.
    let second =
        (select(vec![0_i64, 8 * 3600, 12 * 3600, 86_100]), 0..600_i64).prop_map(|(a, b)| (a + b).min(86_399));
    let class = prop_oneof![2 => 0..4_usize, 1 => 4..CLASSES.len()];
    let message = (0..ACCOUNTS.len(), class, second, size, prop::bool::weighted(0.1));
    let cash = if rich { vec![100_000] } else { vec![2, 9, 30] };
    let day = (
        prop::collection::vec((0..3_usize, 0..PACKAGES.len(), 0..1_440_i64), 0..6),
        prop::collection::vec((0..3_usize, select(cash)), 0..4),
        prop::collection::vec(message, 1..25),
    );
    let day = day.prop_map(|(orders, top_ups, messages)| Day { orders, top_ups, messages });
    prop::collection::vec(day, 4).prop_map(move |mut days| {
        if rich {
            days[0].top_ups.extend((0..3).map(|account| (account, 100_000)));
        }
        days
    })
}

/// Midnight at the beginning of a day; the third is the first of March.
pub fn midnight(day: usize) -> Timestamp {
    let first = Timestamp::parse_rfc3339("2026-02-27T00:00:00+08:00").expect("a time");
    first.plus_micros(day as i64 * Timestamp::DAY)
}

/// How the messages of the days are handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handing {
    /// A file a day, in order.
    Daily,
    /// The days between two runs in one file.
    Merged,
    /// Each day in three files.
    Split,
    /// The days between two runs in the other order.
    Backwards,
    /// Each file twice, and once more with another end.
    Repeated,
}

/// The steps of a history. A run follows each day that `runs` names, and the last.
pub fn steps(history: &History, runs: &[bool], handing: Handing) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut waiting: Vec<Vec<Message>> = Vec::new();
    for (day, events) in history.iter().enumerate() {
        steps.extend(payments(day, events));
        waiting.push(messages_of(day, events));
        let night = midnight(day + 1);
        let run = day + 1 == history.len() || runs.get(day).copied().unwrap_or(false);
        if run || !matches!(handing, Handing::Merged | Handing::Backwards) {
            let files = hand_in(std::mem::take(&mut waiting), handing);
            steps.extend(files.into_iter().map(|messages| Step::File { messages, at: night }));
        }
        if run {
            steps.push(Step::Run { at: night });
        }
    }
    steps
}

/// The top-ups of a day, then its orders.
pub fn payments(day: usize, events: &Day) -> Vec<Step> {
    let top_up = |(n, (account, amount)): (usize, &(usize, i64))| Step::TopUp {
        account: *account,
        amount: *amount,
        reference: format!("{day}-{n}"),
        at: midnight(day),
    };
    let mut steps: Vec<Step> = events.top_ups.iter().enumerate().map(top_up).collect();
    let mut orders = events.orders.clone();
    orders.sort_by_key(|order| order.2);
    steps.extend(orders.into_iter().map(|(account, package, minute)| Step::Order {
        account,
        package,
        at: midnight(day).plus_micros(minute * Timestamp::MINUTE),
    }));
    steps
}

fn hand_in(days: Vec<Vec<Message>>, handing: Handing) -> Vec<Vec<Message>> {
    match handing {
        Handing::Daily => days,
        Handing::Merged => vec![days.concat()],
        Handing::Backwards => days.into_iter().rev().collect(),
        Handing::Repeated => days.into_iter().flat_map(|day| [day.clone(), day]).collect(),
        Handing::Split => days
            .into_iter()
            .flat_map(|day| day.chunks(day.len().div_ceil(3)).map(<[_]>::to_vec).collect::<Vec<_>>())
            .collect(),
    }
}

/// The messages of a day, those that stand twice once more at its end.
pub fn messages_of(day: usize, events: &Day) -> Vec<Message> {
    let message = |(n, of): (usize, &(usize, usize, i64, Size, bool))| Message {
        id: format!("m-{day}-{n}"),
        account: of.0,
        class: of.1,
        at: midnight(day).plus_micros(of.2 * 1_000_000),
        size: of.3,
    };
    let all: Vec<Message> = events.messages.iter().enumerate().map(message).collect();
    let twice = all.iter().zip(&events.messages).filter(|(_, of)| of.4).map(|(message, _)| message.clone());
    let twice: Vec<Message> = twice.collect();
    [all, twice].concat()
}

/// The books of a database, kept by the library.
pub struct Books {
    db: Db,
    config: Arc<Config>,
    dir: tempfile::TempDir,
    files: u32,
}

/// Messages are kept as briefly as can be, so that short histories outlive them.
const SETTINGS: &str = "[retention]\nmessages = \"1 month\"\n";

fn config() -> Config {
    let names = Names { quittance: "quittance.toml", products: "products.toml", prices: "prices.toml" };
    // Few free units, so that short histories use them up.
    let shipped = include_str!("../../../config/products.toml");
    let products =
        shipped.replace("free = { total = 2_000, per_day = 200 }", "free = { total = 5, per_day = 2 }");
    assert_ne!(shipped, products);
    Config::from_texts(SETTINGS, &products, PRICES, names).expect("the configuration is right")
}

impl Books {
    /// The accounts ann (an individual), bob and corp (who has activated Direct Mail).
    pub async fn open(url: &str) -> Books {
        Books::open_with(url, ReturnOrder::Literal).await
    }

    /// With another order in which what failed goes back.
    pub async fn open_with(url: &str, order: ReturnOrder) -> Books {
        let db = Db::open(url).await.expect("the database opens");
        store::prepare(&db).await.expect("it can be migrated");
        let mut config = config();
        let on_receipt = |product: &&mut Product| product.charge_on == ChargeOn::Receipt;
        let products = config.catalog.products.iter_mut();
        products.filter(on_receipt).for_each(|product| product.return_order = order);
        let config = Arc::new(config);
        for (id, kind) in [("ann", Kind::Individual), ("bob", Kind::Enterprise), ("corp", Kind::Enterprise)] {
            let new = NewAccount {
                account_id: id.into(),
                name: id.into(),
                kind,
                currency: "CNY".into(),
                email: None,
                phone: None,
                locale: "en".into(),
                credit_limit: Micros::ZERO,
            };
            accounts::add(&db, &new, midnight(0)).await.expect("the account is new");
        }
        accounts::verify(&db, "corp", None, midnight(0)).await.expect("it is there");
        accounts::activate(&db, &config, "corp", "direct-mail", midnight(0)).await.expect("it is verified");
        Books { db, config, dir: tempfile::tempdir().expect("a directory"), files: 0 }
    }

    pub async fn play(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::TopUp { account, amount, reference, at } => {
                    let amount = Micros(amount * Micros::PER_UNIT);
                    let top_up = TopUp { amount, reference, payer: None };
                    let paid = cash::top_up(&self.db, ACCOUNTS[*account], top_up, *at).await;
                    paid.expect("a top-up is taken");
                }
                Step::Order { account, package, at } => self.order(*account, *package, *at).await,
                Step::File { messages, at } => self.ingest(messages, *at).await,
                Step::Run { at } => self.run("aggregate-charges", *at).await,
                Step::Receipts { receipts, at } => self.ingest_receipts(receipts, *at).await,
                Step::Settle { at } => self.run("settle-receipts", *at).await,
                Step::Expire { at } => self.run("expire-plans", *at).await,
                Step::Bill { at } => self.run("monthly-bills", *at).await,
                Step::Keep { at } => self.run("housekeeping", *at).await,
            }
        }
    }

    async fn run(&self, job: &str, at: Timestamp) {
        let job = jobs::find(job).expect("the job");
        let options = Options { as_of: Some(at), catch_up: true, ..Options::default() };
        runner::run(&self.db, &self.config, job, options, &Silent).await.expect("the run is done");
    }

    /// Whether it is refused depends on the money.
    async fn order(&self, account: usize, package: usize, at: Timestamp) {
        let wanted = [orders::Wanted { package: PACKAGES[package].into(), quantity: 1 }];
        match orders::place(&self.db, &self.config, ACCOUNTS[account], &wanted, None, at).await {
            Ok(_) | Err(DeskError::Refused { .. }) => {}
            Err(error) => panic!("an order failed: {error}"),
        }
    }

    async fn ingest(&mut self, messages: &[Message], at: Timestamp) {
        let lines = messages.iter().map(|message| self.line(message)).collect();
        self.hand_in(ingest::Kind::Messages, lines, at).await;
    }

    async fn ingest_receipts(&mut self, receipts: &[Receipt], at: Timestamp) {
        let lines = receipts.iter().map(|receipt| self.receipt_line(receipt)).collect();
        self.hand_in(ingest::Kind::Receipts, lines, at).await;
    }

    async fn hand_in(&mut self, kind: ingest::Kind, lines: String, as_of: Timestamp) {
        self.files += 1;
        let path = self.dir.path().join(format!("{}.ndjson", self.files));
        // No two files are the same to the last byte, so that lines are recognised by themselves.
        std::fs::write(&path, format!("{lines}{}", "\n".repeat(self.files as usize))).expect("it is written");
        let reading = Reading { kind, source: Source::Generic, format: None, as_of };
        for again in [false, true] {
            let input = Input::File(path.clone());
            let done = take(&self.db, &self.config, input, reading, None, &Silent).await;
            match done.expect("the file is read") {
                Ingested::Taken(batch) => {
                    assert!(!again, "a file was taken twice");
                    assert_eq!(batch.rejected, 0, "{batch:?}");
                    assert!(batch.conflicts == 0 || kind == ingest::Kind::Receipts, "{batch:?}");
                }
                Ingested::Already(_) => assert!(again, "a new file was taken for a known one"),
            }
        }
    }

    fn line(&self, message: &Message) -> String {
        let (channel, country, template_type) = CLASSES[message.class];
        let mut line = serde_json::json!({
            "message_id": message.id,
            "account_id": ACCOUNTS[message.account],
            "channel": channel,
            "country": country,
            "template_type": template_type,
            "submit_time": self.config.zone.format(message.at),
            "submit_status": "accepted",
        });
        match message.size {
            Size::Units(units) => line["sms_size"] = units.into(),
            Size::Characters(count) => line["content"] = "码".repeat(count).into(),
        }
        format!("{line}\n")
    }

    fn receipt_line(&self, receipt: &Receipt) -> String {
        let mut line = serde_json::json!({
            "message_id": receipt.id,
            "account_id": ACCOUNTS[receipt.account],
            "status": receipt.status,
            "report_time": self.config.zone.format(receipt.reported),
        });
        if let Some((part, parts)) = receipt.part {
            (line["part"], line["parts"]) = (part.into(), parts.into());
        }
        format!("{line}\n")
    }

    /// The digest; the invariants hold.
    pub async fn digest(&self) -> String {
        let mut tx = self.db.read().await.expect("it can be read");
        let audited = audit(&mut tx, &self.config, true, &Silent).await.expect("they can be audited");
        let broken = audited.doubts();
        assert!(broken.is_empty(), "the books are broken:\n{}", broken.join("\n"));
        digest::digest(&mut tx, self.config.zone).await.expect("a digest")
    }

    /// How many messages are kept.
    pub async fn messages(&self) -> i64 {
        let mut tx = self.db.read().await.expect("it can be read");
        tx.int("select count(*) from messages", Vec::new()).await.expect("the query works")
    }

    /// The state of each account in words, as [`super::naive`] tells it.
    pub async fn told(&self) -> Vec<String> {
        let mut tx = self.db.read().await.expect("it can be read");
        let rows = tx.rows(TOLD.join(" union all "), Vec::new()).await.expect("the query works");
        let mut told: Vec<String> = rows.iter().map(|row| row.text(0).expect("text")).collect();
        told.sort();
        told
    }

    /// The journal of the books, as a file.
    pub async fn journal(&self, wanted: Wanted) -> Vec<u8> {
        let mut out = Vec::new();
        let written = export(&self.db, self.config.zone, wanted, &mut out, &Silent).await;
        written.expect("the journal is written");
        out
    }

    pub async fn close(self) {
        self.db.close().await;
    }
}

/// What is told of the books: accounts, plans, tiers, what waits; what became of failures, what went
/// back where, and the domestic plan units that are pending and used up.
const TOLD: &[&str] = &[
    "select 'account ' || account_id || ' ' || status || ' balance ' || cast(balance as text) || ' unbilled ' \
     || cast(unbilled as text) from accounts",
    "select 'plan ' || plan_id || ' ' || package || ' ' || cast(remaining as text) \
     || case when forfeited > 0 then ' forfeited ' || cast(forfeited as text) else '' end from plans",
    "select 'tier ' || account_id || ' ' || cast(month as text) || ' ' || product || ' ' || class || ' ' \
     || cast(units as text) from tier_counters where units > 0",
    "select 'waits ' || m.account_id || ' ' || m.raw_id from suspense s join messages m \
     on m.account_id = s.account_id and m.id_hi = s.id_hi and m.id_lo = s.id_lo where s.run_no is null",
    "select 'failure ' || f.account_id || ' ' || r.raw_id || ' ' || cast(f.part as text) || ' ' \
     || coalesce(f.answer, 'open') from failures f join receipts r on r.id_hi = f.id_hi and r.id_lo = f.id_lo \
     and r.account_id = f.account_id and r.part = f.part and r.slot = 'final'",
    "select 'back ' || r.account_id || ' ' || m.raw_id || ' ' || cast(r.part as text) || ' ' \
     || coalesce(p.plan_id, 'as ' || r.money_to) || ' ' || cast(sum(r.units) as text) || ' ' \
     || cast(sum(r.amount) as text) \
     from returns r join messages m on m.account_id = r.account_id and m.id_hi = r.id_hi and m.id_lo = r.id_lo \
     left join plans p on p.account_id = r.account_id and p.plan_no = r.to_plan \
     group by r.account_id, m.raw_id, r.part, coalesce(p.plan_id, 'as ' || r.money_to)",
    "select case when ledger = 'Quota:Pending' then 'pending ' else 'consumed ' end || account_id || ' ' \
     || cast(sum(amount) as text) from postings where ledger in ('Quota:Pending', 'Equity:Quota:Consumed') \
     and commodity = 'SMSD' group by account_id, ledger having sum(amount) <> 0",
];
