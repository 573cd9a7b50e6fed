//! Usage against a count by hand: random messages and receipts over two weeks, handed in early and
//! late, charged and settled now and then, and each day counted from the rules alone (R127-R132). The list
//! of messages must sum up to it whenever it is asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use quittance::scenario;
use serde_json::{Value, json};

use crate::support::books::assert_sound;
use crate::support::databases::{on_both, postgres, sqlite};
use crate::support::lines::{file, line};
use crate::support::program::Program;
use crate::support::shape::{assert_each, assert_shape};

const HISTORIES: u32 = 6;
const HOUR: i64 = 3600;
/// Half a day: how often something is handed in.
const STEP: i64 = 12 * HOUR;
const STEPS: i64 = 28;

/// Country, template type, whether failures cost nothing, whether there is a price.
const CLASSES: [(&str, &str, bool, bool); 4] = [
    ("CN", "verification", true, true),
    ("CN", "notification", true, true),
    ("HK", "notification", false, true),
    ("IS", "notification", false, false),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sent,
    Throttled,
    Blacklisted,
    Inbound,
}

#[derive(Clone, Debug)]
struct Receipt {
    /// None: the whole message.
    part: Option<i64>,
    delivered: bool,
    /// Seconds from submission to the carrier's report, and from there until it came.
    reported: i64,
    travelled: i64,
}

#[derive(Clone, Debug)]
struct Message {
    id: String,
    class: usize,
    kind: Kind,
    units: i64,
    /// Seconds since the story began.
    submit: i64,
    /// The step that hands it in.
    came: i64,
    receipts: Vec<Receipt>,
}

fn message() -> impl Strategy<Value = Message> {
    let second = prop_oneof![
        // The ends of days, of the month above all.
        2 => (select(vec![2, 3, 4]), -2..2_i64).prop_map(|(day, edge)| day * 24 * HOUR + edge),
        3 => 0..6 * 24 * HOUR,
    ];
    let kind = prop_oneof![
        8 => Just(Kind::Sent),
        1 => Just(Kind::Throttled),
        1 => Just(Kind::Blacklisted),
        1 => Just(Kind::Inbound),
    ];
    let receipt = (
        prop::option::weighted(0.3, 1..=3_i64),
        any::<bool>(),
        prop_oneof![4 => 0..60 * HOUR, 1 => 71 * HOUR..74 * HOUR],
        prop_oneof![4 => 0..6 * HOUR, 1 => 0..60 * HOUR],
    );
    let receipt = receipt.prop_map(|(part, delivered, reported, travelled)| Receipt {
        part,
        delivered,
        reported,
        travelled,
    });
    let late = prop_oneof![5 => Just(0), 1 => 1..20_i64];
    (0..CLASSES.len(), kind, 1..=3_i64, second, late, prop::collection::vec(receipt, 0..3)).prop_map(
        |(class, kind, units, submit, late, mut receipts)| {
            if kind != Kind::Sent {
                receipts.clear();
            }
            // A source tells of whole messages or of parts, each of which is there.
            let by_part = receipts.first().is_some_and(|receipt| receipt.part.is_some());
            for receipt in &mut receipts {
                receipt.part = by_part.then(|| receipt.part.unwrap_or(1).min(units));
            }
            let came = submit.div_euclid(STEP) + 1 + late;
            Message { id: String::new(), class, kind, units, submit, came, receipts }
        },
    )
}

impl Message {
    /// The step that hands a receipt in: the first one at or after its arrival.
    fn receipt_came(&self, receipt: &Receipt) -> i64 {
        (self.submit + receipt.reported + receipt.travelled).div_euclid(STEP) + 1
    }

    fn day(&self) -> i64 {
        self.submit.div_euclid(24 * HOUR)
    }

    /// Units delivered, failed, and failed for nothing, as is known after a step: the first receipt of
    /// each part counts, if it came within 96 hours of submission. One that was reported after 72 hours gives
    /// way to one in time that tells otherwise.
    fn fate(&self, step: i64) -> (i64, i64, i64) {
        let mut first: BTreeMap<Option<i64>, (i64, usize)> = BTreeMap::new();
        let mut by_arrival: Vec<(i64, usize)> =
            (0..self.receipts.len()).map(|place| (self.receipt_came(&self.receipts[place]), place)).collect();
        by_arrival.sort_unstable();
        for (came, place) in by_arrival.into_iter().filter(|(came, _)| *came <= step) {
            let rival = &self.receipts[place];
            let holder = first.entry(rival.part).or_insert((came, place));
            let held = &self.receipts[holder.1];
            let otherwise = held.delivered != rival.delivered;
            let before = !rival.delivered && rival.reported < held.reported;
            let in_time = rival.reported <= 72 * HOUR && came * STEP - self.submit <= 96 * HOUR;
            if held.reported > 72 * HOUR && in_time && self.came <= came && (otherwise || before) {
                *holder = (came, place);
            }
        }
        let (mut delivered, mut failed, mut free) = (0, 0, 0);
        for (part, (came, place)) in first {
            let units = if part.is_some() { 1 } else { self.units };
            let in_time = came * STEP - self.submit <= 96 * HOUR;
            if came > step || !in_time {
                continue;
            }
            match &self.receipts[place] {
                receipt if receipt.delivered => delivered += units,
                receipt => {
                    failed += units;
                    let counts = receipt.reported <= 72 * HOUR && CLASSES[self.class].2;
                    free += if counts { units } else { 0 };
                }
            }
        }
        (delivered, failed, free)
    }
}

/// What a day comes to: attempts, submitted, delivered, failed, unknown, pending, free, billed.
type Line = [i64; 8];

/// The count by hand: what is billed is decided when a message is charged, and again when receipts are
/// settled.
#[derive(Default)]
struct ByHand {
    billed: BTreeMap<String, i64>,
}

impl ByHand {
    fn charge(&mut self, messages: &[Message], step: i64) {
        for message in messages.iter().filter(|message| message.came <= step) {
            let (.., rated) = CLASSES[message.class];
            if message.kind == Kind::Sent && rated && !self.billed.contains_key(&message.id) {
                self.billed.insert(message.id.clone(), message.units - message.fate(step).2);
            }
        }
    }

    fn settle(&mut self, messages: &[Message], step: i64) {
        for message in messages {
            if let Some(billed) = self.billed.get_mut(&message.id) {
                *billed = message.units - message.fate(step).2;
            }
        }
    }

    fn days(&self, messages: &[Message], step: i64) -> BTreeMap<i64, Line> {
        let mut days: BTreeMap<i64, Line> = BTreeMap::new();
        for message in messages.iter().filter(|message| message.came <= step) {
            let day = days.entry(message.day()).or_default();
            day[0] += i64::from(matches!(message.kind, Kind::Sent | Kind::Throttled));
            day[6] += if message.kind == Kind::Inbound { message.units } else { 0 };
            if message.kind != Kind::Sent {
                continue;
            }
            // Asked after a charging run, so what has no price is in suspense.
            let waits = !CLASSES[message.class].3;
            let (delivered, failed, _) = if waits { (0, 0, 0) } else { message.fate(step) };
            let rest = message.units - delivered - failed;
            let over = !waits && step * STEP - message.submit > 96 * HOUR;
            let billed = self.billed.get(&message.id).copied().unwrap_or(0);
            let units = [message.units, delivered, failed, if over { rest } else { 0 }];
            units.iter().zip(1..).for_each(|(units, place): (&i64, usize)| day[place] += units);
            day[5] += if over { 0 } else { rest };
            day[7] += billed;
        }
        days
    }
}

/// A time of the story as it is written: it begins on 27 February.
fn written(second: i64) -> String {
    let begin = chrono::NaiveDate::from_ymd_opt(2026, 2, 27).expect("a day").and_time(chrono::NaiveTime::MIN);
    format!("\"{}\"", (begin + chrono::TimeDelta::seconds(second)).format("%Y-%m-%d %H:%M:%S"))
}

fn told(day: i64, line: &Line) -> String {
    let words = ["attempts", "submitted", "delivered", "failed", "unknown", "pending", "free", "billed"];
    let some = line.iter().zip(words).filter(|(count, _)| **count != 0);
    let counts: Vec<_> = some.map(|(count, word)| format!("{count} {word}")).collect();
    format!("{}  {}", &written(day * 24 * HOUR)[1..11], counts.join("  "))
}

/// The story as a script, and what its `usage` must say, in order.
fn story(messages: &[Message], runs: &[(bool, bool)]) -> (String, Vec<String>) {
    let mut script = "account acme balance=1000\n---\n".to_owned();
    let (mut by_hand, mut expected) = (ByHand::default(), Vec::new());
    for step in 1..=STEPS {
        let _ = writeln!(script, "\nat {}", written(step * STEP));
        for message in messages.iter().filter(|message| message.came == step) {
            let (country, template_type, ..) = CLASSES[message.class];
            let kind = match message.kind {
                Kind::Sent => "",
                Kind::Throttled => "status=rejected code=throttled",
                Kind::Blacklisted => "status=rejected code=blacklist",
                Kind::Inbound => "direction=mo",
            };
            let (id, units, at) = (&message.id, message.units, written(message.submit));
            let _ = writeln!(
                script,
                "message {id} from=acme to={country} type={template_type} units={units} at={at} {kind}"
            );
        }
        for message in messages {
            for receipt in message.receipts.iter().filter(|receipt| message.receipt_came(receipt) == step) {
                let status = if receipt.delivered { "delivered" } else { "failed" };
                let part = receipt.part.map(|part| format!("part={part} parts={}", message.units));
                let at = written(message.submit + receipt.reported);
                let (id, part) = (&message.id, part.unwrap_or_default());
                let _ = writeln!(script, "receipt {id} {status} of=acme at={at} {part}");
            }
        }
        let (charge, settle) = runs.get(step as usize - 1).copied().unwrap_or((true, true));
        script += "ingest\n";
        if charge {
            script += "run aggregate-charges\n";
            by_hand.charge(messages, step);
        }
        if settle {
            script += "run settle-receipts\n";
            by_hand.settle(messages, step);
        }
        script += "---\n";
        if charge {
            script += "\nusage acme 2026-02\nusage acme 2026-03\nmessages acme 2026-02\nmessages acme 2026-03\n---\n";
            let days = by_hand.days(messages, step);
            expected
                .extend(days.iter().filter(|(_, line)| **line != Line::default()).map(|(d, l)| told(*d, l)));
        }
    }
    (script, expected)
}

/// The lines about days that a script's `usage` said.
fn days_said(said: &str) -> Vec<String> {
    said.lines()
        .filter(|line| line.starts_with("2026-") && line.get(10..12) == Some("  "))
        .map(str::to_owned)
        .collect()
}

/// The same from the lists of messages that the script said: each list summed by day.
fn days_listed(said: &str) -> Vec<String> {
    let (mut days, mut list): (_, BTreeMap<i64, Line>) = (Vec::new(), BTreeMap::new());
    for line in said.lines().chain([""]) {
        if line.starts_with("2026-") && line.get(10..12) != Some("  ") {
            let date = chrono::NaiveDate::parse_from_str(&line[..10], "%Y-%m-%d").expect("a day");
            let begin = chrono::NaiveDate::from_ymd_opt(2026, 2, 27).expect("a day");
            add_listed(line, list.entry((date - begin).num_days()).or_default());
        } else {
            let list = std::mem::take(&mut list);
            days.extend(list.iter().filter(|(_, line)| **line != Line::default()).map(|(d, l)| told(*d, l)));
        }
    }
    days
}

/// Adds `time  id  class  status  2 sent  1 billed  1 delivered ...`, where units that all fared alike are
/// told by the status alone.
fn add_listed(line: &str, day: &mut Line) {
    let words: Vec<&str> = line.split("  ").collect();
    let units = |what: &str| -> i64 {
        let word = words.iter().find_map(|word| word.strip_suffix(what)?.strip_suffix(' '));
        word.map_or(0, |units| units.parse().expect("a count"))
    };
    let (status, sent) = (words[3], units("sent"));
    day[0] += i64::from(status != "inbound" && !words.contains(&"not in usage"));
    day[1] += sent;
    for (place, what) in (2..).zip(["delivered", "failed", "unknown", "pending"]) {
        day[place] += if status == what { sent } else { units(what) };
    }
    day[6] += units("free");
    day[7] += units("billed");
}

fn check(mut messages: Vec<Message>, runs: Vec<(bool, bool)>) -> Result<(), TestCaseError> {
    for (number, message) in messages.iter_mut().enumerate() {
        message.id = format!("m{number}");
    }
    let (script, expected) = story(&messages, &runs);
    let databases = [Some(sqlite()), postgres()];
    for database in databases.iter().flatten() {
        let said = scenario::run(&script, &database.url)
            .map_err(|fault| TestCaseError::fail(format!("{fault}\n{script}")))?;
        let days = days_said(&said);
        if days != expected {
            let first = days.iter().zip(&expected).find(|(said, counted)| said != counted);
            return Err(TestCaseError::fail(format!("said and counted: {first:#?}\n{said}")));
        }
        let listed = days_listed(&said);
        if listed != days {
            let first = listed.iter().zip(&days).find(|(listed, said)| listed != said);
            return Err(TestCaseError::fail(format!("listed and said: {first:#?}\n{said}")));
        }
    }
    Ok(())
}

#[test]
fn usage_is_what_one_counts_by_hand_whenever_it_is_asked() {
    let config =
        Config { cases: HISTORIES, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let runs =
        prop::collection::vec((prop::bool::weighted(0.4), prop::bool::weighted(0.4)), STEPS as usize - 1);
    let history = (prop::collection::vec(message(), 1..25), runs);
    if let Err(fault) = runner.run(&history, |(messages, runs)| check(messages, runs)) {
        panic!("{fault}");
    }
}

const COUNTS: &str = "attempts:count submitted:count delivered:count failed:count unknown:count pending:count \
    free:count billed:count given_back:count approved:count failed_billed:count suspense:count uncharged:count";

#[test]
fn usage_gives_the_keys_of_the_contract() {
    on_both(|database| {
        let mut program = Program::on(database);
        program.run(&["migrate"]).exits(0);
        program.json(&["account", "add", "acme", "--name", "Acme"]);
        program.at("2026-03-01T10:00:00+08:00");
        let sent = line("m-1", "acme", "verification", "2", "2026-03-01T09:00:00+08:00");
        let name = program.file("messages.csv", file(&[sent]));
        program.json(&["ingest", "messages", &name]);
        let usage = program.json(&["usage", "acme", "--month", "2026-03"]);
        assert_shape(&usage, "account_id:text month:text days:list classes:list total:object");
        assert_shape(&usage["total"], COUNTS);
        assert_each(&usage["days"], &format!("date:text {COUNTS}"));
        assert_each(&usage["classes"], &format!("product:text template_type:text country:text {COUNTS}"));
        assert_eq!(
            (&usage["days"][0]["date"], &usage["total"]["pending"]),
            (&json!("2026-03-01"), &json!(2))
        );
        let words = program.run(&["usage", "acme", "--month", "2026-03"]).exits(0).stdout;
        assert!(words.contains("2 submitted = 0 billed + 2 not charged yet"), "{words}");
        let before = program.json(&["usage", "acme", "--month", "2026-02"]);
        assert_eq!((&before["days"], &before["total"]["attempts"]), (&json!([]), &json!(0)));
        program.run(&["usage", "nobody", "--month", "2026-03", "--json"]).refuses("unknown_account");
        program.run(&["usage", "acme", "--month", "2026-3"]).exits(2).says(&["YYYY-MM"]);
    });
}

/// Where clocks are changed a day has 23 or 25 hours; its messages are its own all the same, when they
/// are counted live and when they are kept.
#[test]
fn f40_days_of_23_and_25_hours_hold_their_own_messages() {
    on_both(|database| {
        let mut program = Program::on(database);
        program.configure("zone = \"Europe/Berlin\"\n");
        let run = |program: &Program, args: &[&str]| program.run(args).exits(0);
        run(&program, &["migrate"]);
        run(&program, &["account", "add", "acme", "--name", "Acme"]);
        // Midnight in Berlin: 23:00 UTC in winter, 22:00 in summer.
        let times = [
            ("2026-03-28T22:59:59Z", "2026-03-28"),
            ("2026-03-28T23:00:00Z", "2026-03-29"),
            ("2026-03-29T21:59:59Z", "2026-03-29"),
            ("2026-03-29T22:00:00Z", "2026-03-30"),
            ("2026-10-24T21:59:59Z", "2026-10-24"),
            ("2026-10-24T22:00:00Z", "2026-10-25"),
            ("2026-10-25T22:59:59Z", "2026-10-25"),
            ("2026-10-25T23:00:00Z", "2026-10-26"),
        ];
        program.at("2026-10-26T12:00:00Z");
        let sent: Vec<String> = times
            .iter()
            .map(|(time, _)| line(&format!("m-{time}"), "acme", "verification", "1", time))
            .collect();
        let name = program.file("messages.csv", file(&sent));
        run(&program, &["ingest", "messages", &name]);
        let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
        times.iter().for_each(|(_, day)| *expected.entry(day).or_default() += 1);
        let days = |program: &Program| -> Vec<(String, i64)> {
            let of = |month: &str| -> Vec<Value> {
                let usage = run(program, &["usage", "acme", "--month", month, "--json"]).json();
                usage["days"].as_array().expect("a list").clone()
            };
            let days = [of("2026-03"), of("2026-10")].concat();
            let day = |day: &Value| {
                (day["date"].as_str().expect("a date").into(), day["submitted"].as_i64().expect("a count"))
            };
            days.iter().map(day).collect()
        };
        let wanted: Vec<_> = expected.iter().map(|(day, count)| ((*day).to_owned(), *count)).collect();
        assert_eq!(days(&program), wanted, "counted live");
        run(&program, &["--run-job", "aggregate-charges", "--catch-up"]);
        run(&program, &["--run-job", "settle-receipts", "--catch-up"]);
        assert_eq!(days(&program), wanted, "counted live, and in part kept");
        program.at("2026-11-20T12:00:00Z");
        run(&program, &["--run-job", "settle-receipts", "--catch-up"]);
        assert_eq!(days(&program), wanted, "kept");
        assert_sound(&database.url);
    });
}
