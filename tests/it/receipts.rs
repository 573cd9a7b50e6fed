//! Receipts in every order, more than once, from many programs at once.

use quittance::domain::money::Micros;

use crate::support::books::{assert_sound, digest_of};
use crate::support::databases::on_both;
use crate::support::desk::Desk;
use crate::support::lines::{file, plain};
use crate::support::program::Running;

const WORDS: [&str; 4] = ["delivered", "failed", "expired", "unknown"];
const SETTLE: &[&str] = &["--run-job", "settle-receipts", "--json"];

/// Every order of one to four different receipts for a message.
fn orders() -> Vec<Vec<&'static str>> {
    let mut all: Vec<Vec<&str>> = vec![vec![]];
    let mut from = 0;
    while from < all.len() {
        for word in WORDS {
            if !all[from].contains(&word) {
                let longer = [all[from].as_slice(), &[word]].concat();
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
    let orders = orders();
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
    // Of these the first tells of a part; what told of the whole stands.
    content.extend([line(2, "failed", "1,2"), line(3, "failed", "1,1"), line(MANY + 20, "failed", "1,2")]);
    content.extend([line(MANY + 20, "delivered", ","), line(MANY + 21, "failed", ",")]);
    let mut digests = Vec::new();
    on_both(|database| {
        let desk = charged(database, 4);
        desk.program.file("many.csv", &content);
        let answer = desk.program.run(&["ingest", "receipts", "many.csv", "--json"]).exits(3).json();
        let counts = ["lines", "accepted", "duplicates", "conflicts", "rejected"].map(|key| &answer[key]);
        assert_eq!(counts, [MANY + 18, MANY + 12, 1, 5, 0].map(serde_json::Value::from).each_ref());
        let settled = desk.program.run(SETTLE).json();
        assert_eq!(settled["counts"]["returned"], 1);
        assert_eq!(settled["counts"]["waiting"], MANY / 1_000 - 1 + 10 + 2);
        assert_sound(&desk.url);
        digests.push(digest_of(&desk.url));
    });
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}
