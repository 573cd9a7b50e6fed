//! The formats of the providers, as their files come: what is taken of them and what it costs, the
//! same on both databases, plain and packed.

use std::fs;
use std::path::Path;

use crate::support::books::{assert_sound, digest_of};
use crate::support::databases::{TestDatabase, postgres, sqlite};
use crate::support::desk::{Counts, taken};
use crate::support::lines::gzip;
use crate::support::program::Program;

/// A fixture and what is expected of it. All its lines are accepted: what the gateway refused and
/// what came in is stored, too.
struct Fixture {
    file: &'static str,
    source: &'static str,
    accepted: i64,
    /// Messages and units charged, and what they cost.
    charged: (i64, i64, &'static str),
    account: &'static str,
    /// Messages with what became of them.
    states: &'static [(&'static str, &'static str)],
}

const FIXTURES: &[Fixture] = &[
    Fixture {
        file: "generic.csv",
        source: "generic",
        accepted: 6,
        // 0.045 verification, 0.055 promotional, 2 x 0.25 to Singapore; an e-mail is free
        charged: (4, 4, "0.6"),
        account: "acme",
        states: &[("m-3", "charged"), ("m-4", "rejected"), ("m-5", "free"), ("m-6", "inbound")],
    },
    Fixture {
        file: "generic.ndjson",
        source: "generic",
        accepted: 2,
        charged: (2, 2, "0.445"),
        account: "acme",
        states: &[("018F4E2A-0000-7000-8000-000000000001", "charged"), ("m-7", "charged")],
    },
    Fixture {
        file: "aliyun.csv",
        source: "aliyun",
        accepted: 4,
        // What the carrier refused was sent; what Aliyun refused (blacklist, throttle) was not.
        charged: (2, 2, "0.1"),
        account: "acme",
        states: &[("123^0/13800138000", "charged"), ("124^0/13800138001", "rejected")],
    },
    Fixture {
        file: "aliyun_intl.ndjson",
        source: "aliyun_intl",
        accepted: 2,
        charged: (2, 3, "0.9"),
        account: "acme",
        states: &[("1008030300051811", "charged"), ("1008030300051812", "charged")],
    },
    Fixture {
        file: "twilio.csv",
        source: "twilio",
        accepted: 3,
        charged: (1, 1, "0.05"),
        account: "AC01",
        states: &[
            ("SM00000000000000000000000000000001", "charged"),
            ("SM00000000000000000000000000000002", "rejected"),
            ("SM00000000000000000000000000000003", "inbound"),
        ],
    },
    Fixture {
        file: "vonage.ndjson",
        source: "vonage",
        accepted: 2,
        charged: (1, 1, "0.3"),
        account: "abcd1234",
        states: &[("0A0000000123ABCD1", "charged"), ("0A0000000123ABCD2", "rejected")],
    },
    Fixture {
        file: "aws.ndjson",
        source: "aws",
        accepted: 1,
        charged: (1, 1, "0.05"),
        account: "acme",
        states: &[("862a8790-60c0-4430-9b2b-658bdexample", "charged")],
    },
];

/// Countries of the fixtures that the shipped price lists do not have.
const MORE_PRICES: &str = "
[[payg]]
product = \"sms-international\"
currency = \"CNY\"

[payg.countries]
US = \"0.05\"
CA = \"0.06\"
GB = \"0.30\"
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The shipped configuration with more prices, and an account that may use everything.
fn opened(database: &TestDatabase, account: &str) -> Program {
    let mut program = Program::on(database);
    for name in ["quittance.toml", "products.toml", "prices.toml"] {
        let mut text = fs::read_to_string(root().join("config").join(name)).expect("it is shipped");
        if name == "prices.toml" {
            text.push_str(MORE_PRICES);
        }
        program.file(name, text);
    }
    program.set("QUITTANCE_CONFIG", "quittance.toml").at("2026-03-01T18:00:00+08:00");
    program.run(&["migrate"]).exits(0);
    program.run(&["account", "add", account, "--name", "Sender"]).exits(0);
    program.run(&["account", "verify", account]).exits(0);
    program.run(&["account", "activate", account, "direct-mail"]).exits(0);
    program
}

/// Ingests and charges a fixture under the given name and gives the digest of the books.
fn books_of(fixture: &Fixture, database: &TestDatabase, name: &str, content: &[u8]) -> String {
    let program = opened(database, fixture.account);
    program.file(name, content);
    let ingest = ["ingest", "messages", name, "--source", fixture.source, "--json"];
    let (_, counts) = taken(program.run(&ingest));
    assert_eq!(counts, Counts { accepted: fixture.accepted, ..Counts::default() }, "{name}");
    let run = program.json(&["--run-job", "aggregate-charges"]);
    let (messages, units, cost) = fixture.charged;
    assert_eq!(run["counts"]["messages"], messages, "{name}: {run}");
    assert_eq!(run["counts"]["payg_units"], units, "{name}: {run}");
    assert_eq!(run["counts"]["suspended"], 0, "{name}: {run}");
    assert_eq!(program.json(&["account", "show", fixture.account])["unbilled"], cost, "{name}");
    for (id, state) in fixture.states {
        let message = program.json(&["explain", "message", fixture.account, id]);
        assert_eq!(message["state"], *state, "{name}: {message}");
    }
    assert_sound(&database.url);
    digest_of(&database.url)
}

#[test]
fn each_format_gives_the_same_books_on_both_databases_plain_and_packed() {
    for fixture in FIXTURES {
        let path = root().join("tests/fixtures/messages").join(fixture.file);
        let plain = fs::read(path).expect("the fixture is there");
        let expected = books_of(fixture, &sqlite(), fixture.file, &plain);
        if let Some(database) = postgres() {
            let packed = books_of(fixture, &database, &format!("{}.gz", fixture.file), &gzip(&plain));
            assert_eq!(packed, expected, "{} differs on PostgreSQL", fixture.file);
        }
    }
}

#[test]
fn every_fixture_has_its_expectations() {
    let dir = fs::read_dir(root().join("tests/fixtures/messages")).expect("the fixtures");
    for entry in dir {
        let name = entry.expect("an entry").file_name();
        assert!(FIXTURES.iter().any(|fixture| *fixture.file == *name), "{name:?} is not tested");
    }
}
