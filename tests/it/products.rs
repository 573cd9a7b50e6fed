//! A product that the program has never heard of, by configuration alone: calls by the minute.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::books::{assert_sound, block_on, change};
use crate::support::databases::{TestDatabase, on_both};
use crate::support::lines::{file, line};
use crate::support::program::Program;

const VOICE: &str = r#"
[[product]]
id = "voice"
name = "Calls"
channel = "voice"
unit = "minute"
length = "given"
charge_on = "receipt"
priced_by = "nothing"
commodity = "VOICE"
income = "Voice"
validity = "12 months"
vat = [{ rate = "0.06" }]
"#;

const PRICES: &str = r#"
[[payg]]
product = "voice"
currency = "CNY"
tiers = [{ over = 0, up_to = 5, price = "0.12" }, { over = 5, price = "0.10" }]

[[package]]
id = "voice-10"
product = "voice"
size = 10
currency = "CNY"
price = "1.00"
"#;

const HEADER: &str = "message_id,account_id,channel,sms_size,submit_time,submit_status\n";

/// The shipped configuration with calls.
fn opened(database: &TestDatabase) -> Program {
    let mut program = Program::on(database);
    let shipped = |name| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name));
    for (name, more) in [("quittance.toml", ""), ("products.toml", VOICE), ("prices.toml", PRICES)] {
        program.file(name, format!("{}{more}", shipped(name).expect("it is shipped")));
    }
    program.set("QUITTANCE_CONFIG", "quittance.toml").at("2026-03-01T12:00:00+08:00");
    program.run(&["migrate"]).exits(0);
    program.run(&["check-config"]).exits(0);
    program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
    program.run(&["account", "top-up", "acme", "5", "--reference", "cash"]).exits(0);
    program
}

fn call(id: &str, minutes: &str) -> String {
    format!("{id},acme,voice,{minutes},2026-03-01T11:00:00+08:00,accepted\n")
}

#[test]
fn calls_by_the_minute_are_sold_charged_given_back_and_counted_without_a_change_of_the_program() {
    on_both(|database| {
        let mut program = opened(database);
        let offers = program.json(&["package", "list"]);
        let offer = offers.as_array().and_then(|all| all.iter().find(|offer| offer["package"] == "voice-10"));
        assert_eq!(offer.map(|offer| &offer["validity"]), Some(&json!("12 months")));
        program.at("2026-03-01T10:00:00+08:00");
        program.run(&["order", "place", "acme", "voice-10"]).exits(0);
        program.at("2026-03-01T12:00:00+08:00");
        // Ten minutes from the plan, five at 0.12, two at 0.10; without a size nobody knows how long.
        // A text says nothing of that, not even an empty one.
        let mute = "{\"message_id\":\"c-0\",\"account_id\":\"acme\",\"channel\":\"voice\",\"content\":\"\",\
                    \"submit_time\":\"2026-03-01T11:00:00+08:00\",\"submit_status\":\"accepted\"}\n";
        program.file("mute.ndjson", mute);
        let taken = program.run(&["ingest", "messages", "mute.ndjson", "--json"]).exits(3).json();
        assert_eq!(taken["rejected"], 1);
        let calls = [call("c-1", "7"), call("c-2", "8"), call("c-3", "2"), call("c-4", "")].concat();
        program.file("calls.csv", format!("{HEADER}{calls}"));
        let taken = program.run(&["ingest", "messages", "calls.csv", "--json"]).exits(3).json();
        assert_eq!((&taken["accepted"], &taken["rejected"]), (&json!(3), &json!(1)));
        program.run(&["batch", "rejects", "2"]).exits(0).tells(&["the source counts voice: give `sms_size`"]);
        let run = program.json(&["--run-job", "aggregate-charges"]);
        assert_eq!((&run["counts"]["plan_units"], &run["counts"]["payg_units"]), (&json!(10), &json!(7)));
        let split = program.json(&["explain", "message", "acme", "c-2"]);
        assert_eq!(split["charge"]["plan"], json!([{ "plan_id": "acme-p1", "units": 3 }]));
        assert_eq!(split["charge"]["payg"][0]["amount"], "0.6");
        assert_eq!(program.json(&["account", "show", "acme"])["unbilled"], "0.8");
        // The last call failed: it gives its minutes back to the plan in use, as every product does.
        let receipts =
            "account_id,message_id,status,report_time\nacme,c-3,failed,2026-03-01T12:00:00+08:00\n";
        program.file("receipts.csv", receipts);
        program.run(&["ingest", "receipts", "receipts.csv"]).exits(0);
        let run = program.json(&["--run-job", "settle-receipts"]);
        assert_eq!(run["counts"]["plan_units"], 2);
        assert_eq!(program.json(&["plan", "list", "acme"])[0]["remaining"], 2);
        let usage = program.json(&["usage", "acme", "--month", "2026-03"]);
        let total = |key: &str| usage["total"][key].clone();
        assert_eq!(["submitted", "failed", "billed"].map(total), [17, 2, 15].map(|n| json!(n)));
        program.run(&["explain", "message", "acme", "c-1"]).exits(0).tells(&["7 x minute"]);
        assert_sound(&database.url);
    });
}

/// What was charged of a product stays pending until the product is known again, and how its charges are
/// booked does not change any more (R87, R100).
#[test]
fn r100_nothing_is_final_of_a_product_that_is_taken_out_of_the_configuration() {
    on_both(|database| {
        let mut program = opened(database);
        let products = |voice: &str| {
            let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/products.toml");
            format!("{}{voice}", fs::read_to_string(shipped).expect("it is shipped"))
        };
        program.file("calls.csv", format!("{HEADER}{}{}", call("c-1", "7"), call("c-2", "8")));
        program.run(&["ingest", "messages", "calls.csv"]).exits(0);
        program.run(&["--run-job", "aggregate-charges"]).exits(0);
        program.file("products.toml", products(""));
        let prices = fs::read_to_string(program.path("prices.toml")).expect("the prices");
        let without = prices.split_once("\n[[payg]]\nproduct = \"voice\"").expect("the price of calls").0;
        program.file("prices.toml", without);
        program.at("2026-03-06T12:00:00+08:00");
        let run = program.run(&["--run-job", "settle-receipts", "--catch-up", "--json"]).exits(3).json();
        assert_eq!((&run["outcome"], &run["counts"]["finalised"]), (&json!("partial"), &json!(0)));
        // It comes back otherwise, and then as it was.
        program.file("prices.toml", &prices);
        program.file("products.toml", products(&VOICE.replace("\"receipt\"", "\"submission\"")));
        for job in ["aggregate-charges", "settle-receipts"] {
            let refused = program.run(&["--run-job", job, "--catch-up"]).exits(78);
            assert!(refused.shown().contains("`charge_on` of product voice"), "{}", refused.shown());
        }
        program.run(&["audit"]).exits(78).says(&["`charge_on` of product voice"]);
        program.file("products.toml", products(&VOICE.replace("\"VOICE\"", "\"CALLS\"")));
        let settle: &[&str] = &["--run-job", "settle-receipts", "--catch-up"];
        program.run(settle).exits(78).says(&["`commodity` of product voice", "VOICE", "put"]);
        let to_source = VOICE.replace("\"receipt\"", "\"receipt\"\nreturn_order = \"same_source\"");
        program.file("products.toml", products(&to_source));
        program.run(settle).exits(78).says(&["`return_order` of product voice", "literal", "put"]);
        program.file("products.toml", products(VOICE));
        let run = program.json(settle);
        assert_eq!(run["counts"]["finalised"], 1);
        program.run(&["audit"]).exits(0);
        assert_sound(&database.url);
    });
}

/// What was charged can't be worked out anew by a configuration that does not say how. That is no fault of the
/// books, and what else they hold is still checked.
#[test]
fn i34_what_the_configuration_no_longer_says_is_told_by_an_audit_and_no_fault() {
    on_both(|database| {
        let mut program = opened(database);
        let read = |name: &str| fs::read_to_string(program.path(name)).expect("it can be read");
        let (products, prices) = (read("products.toml"), read("prices.toml"));
        program.at("2026-03-01T10:00:00+08:00").run(&["order", "place", "acme", "voice-10"]).exits(0);
        program.at("2026-03-01T12:00:00+08:00");
        let calls = [call("c-1", "7"), call("c-2", "8"), call("c-3", "2")].concat();
        let text = line("s-1", "acme", "verification", "1", "2026-03-01T11:00:00+08:00");
        for (name, messages) in [("calls.csv", format!("{HEADER}{calls}")), ("texts.csv", file(&[text]))] {
            program.file(name, messages);
            program.run(&["ingest", "messages", name]).exits(0);
        }
        program.run(&["--run-job", "aggregate-charges"]).exits(0);
        let receipts = "account_id,message_id,status,report_time\n\
                        acme,c-2,failed,2026-03-01T12:00:00+08:00\nacme,c-3,failed,2026-03-01T12:00:00+08:00\n";
        program.file("receipts.csv", receipts);
        program.run(&["ingest", "receipts", "receipts.csv"]).exits(0);
        program.run(&["--run-job", "settle-receipts"]).exits(0);
        program.at("2026-04-08T12:00:00+08:00");
        for job in ["settle-receipts", "monthly-bills"] {
            program.run(&["--run-job", job, "--catch-up"]).exits(0);
        }
        program.run(&["audit"]).exits(0);
        let configure = |products: &str, prices: &str| {
            program.file("products.toml", products);
            program.file("prices.toml", prices);
        };
        let (shipped, sold) =
            prices.split_once("\n[[payg]]\nproduct = \"voice\"").expect("the price of calls");
        let (list, package) = sold.split_once("\n[[package]]").expect("the package");
        let without_list = format!("{shipped}\n[[package]]{package}");
        let without_package = format!("{shipped}\n[[payg]]\nproduct = \"voice\"{list}");
        let otherwise = |is: &str, now: &str| products.replace(VOICE, &VOICE.replace(is, now));
        let gone = products.replace(VOICE, "");
        for (products, prices, why) in [
            (
                &*gone,
                shipped,
                "product voice was charged and is not configured: put it back into products.toml",
            ),
            (
                &products,
                &without_list,
                "voice was charged in 2026-03, and no price of it is configured for then",
            ),
            (&otherwise("0.06", "0.09"), &prices, "voice was charged in 2026-03 with VAT of 6 %"),
            (&otherwise("\"Voice\"", "\"Calls\""), &prices, "its revenue stands in Income:Voice:Plan"),
        ] {
            configure(products, prices);
            let told = program.run(&["audit", "--json"]).exits(3).json();
            assert_eq!((&told["sound"], &told["findings"]), (&json!(true), &json!([])), "{told}");
            assert_eq!(
                (&told["parked"][0]["account_id"], &told["parked_left_out"]),
                (&json!("acme"), &json!(0))
            );
            let fault = told["parked"][0]["fault"].as_str().expect("a fault");
            assert!(fault.contains(why), "{fault}\n{why}");
            program.run(&["audit", "acme"]).exits(3).tells(&["Not all could be worked out anew", why]);
            let run = program.run(&["--run-job", "audit-books", "--json"]).exits(3).json();
            assert_eq!((&run["counts"]["unchecked"], &run["counts"]["wrong"]), (&json!(1), &json!(0)));
            // What is wrong besides is found all the same.
            for (set, of, words) in [
                ("charges set unit_price = unit_price", "product = 'sms-domestic'", "sms-domestic"),
                ("plans set remaining = remaining", "plan_no = 1", "plan 1 is"),
            ] {
                block_on(change(&database.url, &format!("update {set} - 1 where {of}")));
                program.run(&["audit"]).exits(1).tells(&[words]);
                block_on(change(&database.url, &format!("update {set} + 1 where {of}")));
            }
        }
        configure(&products, &without_package);
        program.run(&["audit"]).exits(0);
        configure(&products, &prices);
        assert_sound(&database.url);
    });
}
