//! Receipts in every order, more than once, from many programs at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use quittance::domain::money::Micros;
use quittance::domain::period::{Timestamp, Zone};
use serde_json::Value;

use crate::support::books::{assert_sound, digest_of};
use crate::support::databases::on_both;
use crate::support::desk::Desk;
use crate::support::lines::{file, line, plain};
use crate::support::program::Running;

const WORDS: [&str; 4] = ["delivered", "failed", "expired", "unknown"];
const NINE: &str = "2026-03-01T09:00:00+08:00";
const SETTLE: &[&str] = &["--run-job", "settle-receipts", "--json"];

/// Every order of one to so many of these receipts for a message.
fn orders<T: Copy + PartialEq>(of: &[T], most: usize) -> Vec<Vec<T>> {
    let mut all: Vec<Vec<T>> = vec![vec![]];
    let mut from = 0;
    while from < all.len() {
        for word in of {
            if all[from].len() < most && !all[from].contains(word) {
                let longer = [all[from].as_slice(), &[*word]].concat();
                all.push(longer);
            }
        }
        from += 1;
    }
    all.split_off(1)
}

/// A file of receipts for messages of acme.
fn receipts<'a>(lines: impl IntoIterator<Item = (usize, &'a str)>) -> String {
    let line = |(n, status)| format!("acme,m-{n},{status},2026-03-01T10:00:00+08:00\n");
    let lines: String = lines.into_iter().map(line).collect();
    format!("account_id,message_id,status,report_time\n{lines}")
}

/// A desk with so many charged messages, m-0 and on.
fn charged(database: &crate::support::databases::TestDatabase, messages: usize) -> Desk {
    let desk = Desk::open(database);
    let lines: Vec<String> = (0..messages).map(|n| plain(&format!("m-{n}"))).collect();
    desk.take("messages.csv", file(&lines));
    desk.charge();
    desk
}

fn hand_in(desk: &Desk, name: &str, content: String) {
    desk.program.file(name, content);
    let answer = desk.program.run(&["ingest", "receipts", name]);
    assert!([0, 3].contains(&answer.code), "{}", answer.shown());
}

#[test]
fn f53_f86_of_receipts_in_any_order_the_first_final_one_counts_and_nothing_goes_to_and_fro() {
    let orders = orders(&WORDS, WORDS.len());
    assert_eq!(orders.len(), 4 + 12 + 24 + 24);
    let fails = |order: &Vec<&str>| {
        let first = order.iter().find(|word| **word != "unknown");
        first.is_some_and(|word| *word != "delivered")
    };
    let returned = orders.iter().filter(|order| fails(order)).count();
    let mut digests = Vec::new();
    on_both(|database| {
        // One file a round, settled each time.
        let desk = charged(database, orders.len());
        for round in 0..WORDS.len() {
            let lines = orders.iter().enumerate().filter_map(|(n, order)| Some((n, *order.get(round)?)));
            hand_in(&desk, &format!("round-{round}.csv"), receipts(lines));
            desk.program.run(SETTLE);
            assert_sound(&desk.url);
        }
        let account = desk.program.json(&["account", "show", "acme"]);
        let unbilled = Micros(45_000 * (orders.len() - returned) as i64);
        assert_eq!(account["unbilled"], unbilled.to_string());
        desk.program.run(SETTLE).exits(0);
        digests.push(digest_of(&desk.url));
    });
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

/// Status and part of a receipt, and how many hours after submission it was reported: in time up to 72.
type Told = (&'static str, &'static str, i64);
const TOLD: [Told; 4] =
    [("delivered", ",", 10), ("failed", ",", 20), ("delivered", ",", 80), ("failed", ",", 90)];
const TOLD_OF_PARTS: [Told; 5] = [
    ("failed", ",", 85),
    ("delivered", ",", 15),
    ("failed", "1,2", 20),
    ("delivered", "1,2", 80),
    ("delivered", "2,2", 30),
];

#[test]
fn d14_d18_it_does_not_matter_before_or_after_which_receipts_their_message_comes() {
    let mut orders = [orders(&TOLD, 4), orders(&TOLD_OF_PARTS, 3)].concat();
    // Several that were late, each reported earlier than the one before.
    orders.push([95, 90, 80, 72].map(|hours| ("failed", ",", hours)).to_vec());
    orders.push([95, 90, 60].map(|hours| ("delivered", ",", hours)).to_vec());
    let places: Vec<(usize, usize)> =
        orders.iter().enumerate().flat_map(|(n, order)| (0..=order.len()).map(move |at| (n, at))).collect();
    let submitted = Timestamp::parse_rfc3339(NINE).unwrap();
    let receipt = |(n, at): &(usize, usize), round: usize| {
        let (status, part, hours) = orders[*n].get(round)?;
        let reported = Zone::parse("Asia/Shanghai")?.format(submitted.plus_micros(hours * Timestamp::HOUR));
        Some(format!("acme,m-{n}-{at},{status},{reported},{part}\n"))
    };
    on_both(|database| {
        let mut desk = Desk::open(database);
        // The last hour of the grace.
        desk.program.at("2026-03-05T08:30:00+08:00");
        for round in 0..=4 {
            let came = places.iter().filter(|(_, at)| *at == round);
            let came = came.map(|(n, at)| line(&format!("m-{n}-{at}"), "acme", "verification", "2", NINE));
            desk.take(&format!("messages-{round}.csv"), file(&came.collect::<Vec<_>>()));
            desk.charge();
            let receipts: String = places.iter().filter_map(|place| receipt(place, round)).collect();
            if !receipts.is_empty() {
                let header = "account_id,message_id,status,report_time,part,parts\n";
                hand_in(&desk, &format!("receipts-{round}.csv"), format!("{header}{receipts}"));
            }
            desk.program.run(SETTLE);
            desk.assert_nothing_is_lost();
            assert_sound(&desk.url);
        }
        let mut ends: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut end = |listed: &Value, keys: &[&str]| {
            let told = keys.iter().map(|key| format!(" {key} {}", listed[*key])).collect();
            ends.entry(listed["message_id"].as_str().unwrap().to_owned()).or_default().push(told);
        };
        let listed = ["message", "list", "acme", "--month", "2026-03", "--limit", "all"];
        let listed = desk.program.json(&listed);
        let keys = ["status", "billed", "delivered", "failed", "unknown", "report_time"];
        listed.as_array().unwrap().iter().for_each(|message| end(message, &keys));
        let open = desk.program.json(&["exception", "list", "--limit", "100000"]);
        open.as_array().unwrap().iter().for_each(|exception| end(exception, &["kind", "part"]));
        for (n, at) in &places {
            let (known, here) = (&ends[&format!("m-{n}-0")], &ends[&format!("m-{n}-{at}")]);
            assert_eq!(here, known, "the message comes after {at} of {:?}", orders[*n]);
        }
    });
}

#[test]
fn f84_many_programs_at_once_give_back_once() {
    const MESSAGES: usize = 40;
    on_both(|database| {
        let desk = charged(database, MESSAGES);
        hand_in(&desk, "failed.csv", receipts((0..MESSAGES).map(|n| (n, "failed"))));
        let started: Vec<_> = (0..16).map(|_| desk.program.start(SETTLE, b"")).collect();
        let answers: Vec<_> = started.into_iter().map(Running::answer).collect();
        let returned = answers.iter().filter(|answer| answer.code == 0);
        let returned: i64 =
            returned.map(|answer| answer.json()["counts"]["returned"].as_i64().unwrap_or(0)).sum();
        assert!(answers.iter().all(|answer| [0, 75].contains(&answer.code)));
        assert_eq!(returned, MESSAGES as i64);
        assert_eq!(desk.program.json(&["account", "show", "acme"])["unbilled"], "0");
        assert_sound(&desk.url);
    });
}

/// More than is kept in memory goes straight into its table, until a receipt comes that is known, or that
/// tells of a part: nothing of it may depend on how much went before.
#[test]
fn a_file_of_many_receipts_is_judged_as_one_of_few() {
    const MANY: usize = 60_000;
    let wide = "r".repeat(200);
    let line = |n: usize, status: &str, part: &str| {
        format!("acme,m-{n},{status},2026-03-01T10:00:00+08:00,{wide},{part}\n")
    };
    let status = |n: usize| if n.is_multiple_of(1_000) { "failed" } else { "delivered" };
    let mut content = "account_id,message_id,status,report_time,receipt_id,part,parts\n".to_owned();
    content.extend((0..MANY).map(|n| line(n, status(n), ",")));
    // The same again, the contrary, and others as new as the first.
    content.extend([line(0, "failed", ","), line(1, "failed", ","), line(1_000, "delivered", ",")]);
    content.extend((MANY..MANY + 10).map(|n| line(n, "failed", ",")));
    // Of these the first tells of a part; what told of the whole stands, or waits for its message.
    content.extend([line(2, "failed", "1,2"), line(3, "failed", "1,1"), line(MANY + 20, "failed", "1,2")]);
    content.extend([line(MANY + 20, "delivered", ","), line(MANY + 21, "failed", ",")]);
    let mut digests = Vec::new();
    on_both(|database| {
        let desk = charged(database, 4);
        desk.program.file("many.csv", &content);
        let answer = desk.program.run(&["ingest", "receipts", "many.csv", "--json"]).exits(3).json();
        let counts = ["lines", "accepted", "duplicates", "conflicts", "rejected"].map(|key| &answer[key]);
        assert_eq!(counts, [MANY + 18, MANY + 14, 1, 3, 0].map(serde_json::Value::from).each_ref());
        let settled = desk.program.run(SETTLE).json();
        assert_eq!(settled["counts"]["returned"], 1);
        assert_eq!(settled["counts"]["waiting"], MANY / 1_000 - 1 + 10 + 2);
        assert_sound(&desk.url);
        digests.push(digest_of(&desk.url));
    });
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

/// Where the receipts of each message contradict each other, before it or after it, that costs as much as there
/// are of them, not as their square.
#[test]
fn a_file_of_contradictions_takes_no_longer_than_other_files() {
    const MANY: usize = 30_000;
    const LONG: Duration = Duration::from_secs(25);
    let contradicting =
        |numbers: Range<usize>| receipts(numbers.flat_map(|n| [(n, "failed"), (n, "delivered")]));
    let timely = |what: &str, work: &dyn Fn()| {
        let begun = Instant::now();
        work();
        assert!(begun.elapsed() < LONG, "{what} took {:?}", begun.elapsed());
    };
    on_both(|database| {
        let desk = charged(database, MANY);
        timely("receipts of known messages", &|| hand_in(&desk, "known.csv", contradicting(0..MANY)));
        hand_in(&desk, "parked.csv", contradicting(MANY..2 * MANY));
        let messages: Vec<String> = (MANY..2 * MANY).map(|n| plain(&format!("m-{n}"))).collect();
        timely("messages of parked receipts", &|| {
            desk.take("later.csv", file(&messages));
        });
        desk.charge();
        assert_eq!(desk.program.run(SETTLE).json()["counts"]["returned"], MANY);
        let status = desk.program.run(&["status", "--json"]).json();
        assert_eq!(status["exceptions"]["conflict"], 2 * MANY);
        assert_sound(&desk.url);
    });
}
