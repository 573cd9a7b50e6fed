//! What providers really send, from the message to the money: their own columns of messages where they have
//! any, their own receipts, and what these gave back (R86-R88, R123, R126, D16-D19).

use serde_json::Value;

use crate::support::books::assert_sound;
use crate::support::databases::{TestDatabase, on_both};
use crate::support::program::Program;

/// A provider with messages and receipts in its own form, and what becomes of them.
struct Provider {
    source: &'static str,
    /// The source of the messages, and their file.
    sent: (&'static str, &'static str),
    /// The file of the receipts.
    answered: &'static str,
    account: &'static str,
    /// returned, money_units, no_money, waiting
    settled: [i64; 4],
    /// attempts, delivered, failed, unknown and pending, billed
    usage: [i64; 5],
}

/// Domestic providers: what failed comes back. Abroad and in Direct Mail nothing does.
const PROVIDERS: &[Provider] = &[
    Provider {
        source: "aliyun",
        sent: ("aliyun", "aliyun-sent.csv"),
        answered: "aliyun-answered.ndjson",
        account: "acme",
        settled: [1, 1, 0, 0],
        usage: [3, 1, 1, 1, 2],
    },
    Provider {
        source: "cmpp",
        sent: ("generic", "cmpp-sent.csv"),
        answered: "cmpp-answered.csv",
        account: "acme",
        settled: [1, 3, 0, 0],
        usage: [2, 1, 3, 0, 1],
    },
    Provider {
        source: "smpp",
        sent: ("generic", "smpp-sent.csv"),
        answered: "smpp-answered.csv",
        account: "acme",
        settled: [1, 1, 0, 0],
        usage: [3, 1, 1, 1, 2],
    },
    Provider {
        source: "aliyun_intl",
        sent: ("aliyun_intl", "aliyun_intl-sent.ndjson"),
        answered: "aliyun_intl-answered.ndjson",
        account: "acme",
        settled: [0, 0, 1, 0],
        usage: [2, 2, 1, 0, 3],
    },
    Provider {
        source: "twilio",
        sent: ("twilio", "twilio-sent.csv"),
        answered: "twilio-answered.ndjson",
        account: "AC01",
        settled: [0, 0, 1, 0],
        usage: [1, 0, 1, 0, 1],
    },
    Provider {
        source: "vonage",
        sent: ("vonage", "vonage-sent.ndjson"),
        answered: "vonage-answered.ndjson",
        account: "abcd1234",
        settled: [0, 0, 1, 0],
        usage: [1, 0, 1, 0, 1],
    },
    Provider {
        source: "aws",
        sent: ("aws", "aws-sent.ndjson"),
        answered: "aws-answered.ndjson",
        account: "acme",
        settled: [0, 0, 1, 0],
        usage: [1, 0, 1, 0, 1],
    },
    Provider {
        source: "dm_event",
        sent: ("generic", "dm_event-sent.csv"),
        answered: "dm_event-answered.ndjson",
        account: "acme",
        settled: [0, 0, 1, 0],
        usage: [2, 0, 1, 1, 0],
    },
];

fn opened(database: &TestDatabase, account: &str) -> Program {
    let program = Program::on(database);
    program.run(&["migrate"]).exits(0);
    program.run(&["account", "add", account, "--name", "Acme", "--kind", "enterprise"]).exits(0);
    program.run(&["account", "verify", account]).exits(0);
    program.run(&["account", "top-up", account, "100", "--reference", "r"]).exits(0);
    program.run(&["account", "activate", account, "direct-mail"]).exits(0);
    program
}

fn numbers(of: &Value, names: &[&str]) -> Vec<i64> {
    names.iter().map(|name| of[*name].as_i64().unwrap_or_else(|| panic!("`{name}` in {of}"))).collect()
}

/// Hands in what a provider sent, charges, hands in what it answered, settles.
fn play(database: &TestDatabase, provider: &Provider) {
    let Provider { source, sent: (of, sent), answered, account, .. } = provider;
    let program = opened(database, account);
    let read = |name: &str| {
        let path = format!("{}/tests/fixtures/providers/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let settle = || program.run(&["--run-job", "settle-receipts", "--json"]).exits(0).json();
    let file = program.file(sent, read(sent));
    program.run(&["ingest", "messages", &file, "--source", of]).exits(0);
    program.run(&["--run-job", "aggregate-charges"]).exits(0);
    let file = program.file(answered, read(answered));
    program.run(&["ingest", "receipts", &file, "--source", source]).exits(0);
    let run = settle();
    let settled = numbers(&run["counts"], &["returned", "money_units", "no_money", "waiting"]);
    assert_eq!(settled, provider.settled, "{source}: {run}");
    let usage = program.json(&["usage", account, "--month", "2026-03"]);
    let total = &usage["total"];
    let open: i64 = numbers(total, &["unknown", "pending"]).iter().sum();
    let mut counted = numbers(total, &["attempts", "delivered", "failed", "billed"]);
    counted.insert(3, open);
    assert_eq!(counted, provider.usage, "{source}: {total}");
    // Once more, in another file: nothing more comes back.
    let again = program.file(&format!("again-{answered}"), format!("{}\n", read(answered)));
    program.run(&["ingest", "receipts", &again, "--source", source]).exits(0);
    let run = settle();
    assert_eq!(run["outcome"], "nothing_to_do", "{source}: {run}");
    assert_sound(&database.url);
}

#[test]
fn receipts_of_each_provider_find_its_messages_and_give_back_what_is_to_be() {
    for provider in PROVIDERS {
        on_both(|database| play(database, provider));
    }
}
