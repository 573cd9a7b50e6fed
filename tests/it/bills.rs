//! Bills and invoices through the program: what scripts read, several at once, months in many zones, and
//! books that somebody changed.

use serde_json::{Value, json};

use crate::support::books::{assert_sound, block_on, change, digest_of, read};
use crate::support::databases::{TestDatabase, on_both, sqlite};
use crate::support::lines::{file, line};
use crate::support::program::{Program, Running};
use crate::support::shape::{assert_each, assert_shape};
use quittance::scenario;
use quittance::store::invariants;

const BILL: &str = "bill_id:text account_id:text month:text currency:text lines:list total:money paid:money due:money \
    issued_at:time";
const LINE: &str = "kind:text product:text? template_type:text? country:text? units:count? \
    unit_price:money? amount:money vat_rate:money? settled:bool";
const INVOICE: &str = "invoice_id:text number:text account_id:text kind:text ref:text type:text status:text net:money \
    vat:money total:money currency:text issued_at:time";
const RUN: &[&str] = &["--run-job", "monthly-bills", "--catch-up", "--json"];

/// The account acme with a month that nobody has billed; it is the 1st, 00:30.
fn march(database: &TestDatabase) -> Program {
    let mut program = Program::on(database);
    program.run(&["migrate"]).exits(0);
    program.at("2026-03-01T00:00:00+08:00");
    program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
    program.run(&["account", "top-up", "acme", "100", "--reference", "cash-1"]).exits(0);
    program.run(&["order", "place", "acme", "sms-domestic-200"]).exits(0);
    send(&mut program, "march", "2026-03-31T23:59:59+08:00", "203");
    charge(&mut program, "2026-04-01T00:30:00+08:00");
    program
}

fn send(program: &mut Program, id: &str, time: &str, units: &str) {
    program.at(time);
    let name = program.file(&format!("{id}.csv"), file(&[line(id, "acme", "promotional", units, time)]));
    program.run(&["ingest", "messages", &name]).exits(0);
}

fn charge(program: &mut Program, time: &str) {
    program.at(time);
    program.run(&["--run-job", "aggregate-charges", "--catch-up"]).exits(0);
}

fn show(program: &Program, month: &str) -> Value {
    program.json(&["bill", "show", "acme", month])
}

/// A preview says what came, but for what only a bill has.
fn assert_foretold(mut preview: Value, bill: &Value) {
    for key in ["bill_id", "issued_at", "hash", "status"] {
        preview[key] = bill[key].clone();
    }
    assert_eq!(&preview, bill);
}

#[test]
fn bills_and_invoices_have_the_keys_that_scripts_read() {
    on_both(|database| {
        let program = march(database);
        let preview = show(&program, "2026-03");
        assert_eq!((&preview["status"], &preview["bill_id"]), (&json!("preview"), &Value::Null));
        let run = program.run(RUN).exits(0).json();
        assert_eq!((&run["outcome"], &run["counts"]["bills"]), (&json!("done"), &json!(1)));
        let bill = show(&program, "2026-03");
        assert_shape(&bill, BILL);
        assert_each(&bill["lines"], LINE);
        assert_foretold(preview, &bill);
        let told: Vec<_> = bill["lines"].as_array().expect("lines").iter().map(told).collect();
        let lines = [
            r#"["payg","sms-domestic","promotional","CN",3,"0.055","0.165",false]"#,
            r#"["plan","sms-domestic","promotional","CN",200,null,"0",true]"#,
            r#"["order","sms-domestic",null,null,200,null,"2",true]"#,
            r#"["round_down",null,null,null,null,null,"-0.005",false]"#,
        ];
        assert_eq!(told, lines);
        assert_eq!(
            (&bill["total"], &bill["paid"], &bill["due"]),
            (&json!("0.16"), &json!("0.16"), &json!("0"))
        );
        assert_eq!(bill["issued_at"], "2026-04-01T00:30:00+08:00");
        let listed = program.json(&["bill", "list", "--month", "2026-03"]);
        assert_eq!((listed.as_array().map(Vec::len), &listed[0]["bill_id"]), (Some(1), &bill["bill_id"]));
        assert_eq!(program.json(&["bill", "list", "--month", "2026-04"]), json!([]));

        let issued = program.json(&["invoice", "issue", "acme", "--bill", "2026-03"]);
        assert_shape(&issued, INVOICE);
        assert_eq!(
            (&issued["net"], &issued["vat"], &issued["total"]),
            (&json!("0.15"), &json!("0.01"), &json!("0.16"))
        );
        assert_eq!((&issued["kind"], &issued["ref"]), (&json!("bill"), &json!("2026-03")));
        program.run(&["invoice", "issue", "acme", "--bill", "2026-03", "--json"]).refuses("already_invoiced");
        program.run(&["invoice", "issue", "acme", "--bill", "2026-04", "--json"]).refuses("bill_unknown");
        program.run(&["invoice", "issue", "acme", "--json"]).exits(2);
        program.run(&["invoice", "issue", "acme", "--bill", "2026-03", "--order", "x"]).exits(2);
        let order = program.json(&["invoice", "issue", "acme", "--order", "acme-o1"]);
        assert_eq!((&order["number"], &order["total"]), (&json!("QT-000002"), &json!("2")));
        let account = program.json(&["account", "show", "acme"]);
        assert_eq!(account["invoiceable"], "0");
        let explained = program.json(&["explain", "message", "acme", "march"]);
        assert_eq!((&explained["bill"], &explained["invoice"]), (&bill["bill_id"], &issued["number"]));
        let returned = program.json(&["invoice", "return", "acme-i1"]);
        assert_eq!(
            (&returned["status"], &returned["credit_note"]),
            (&json!("returned"), &json!("QTR-000001"))
        );
        assert_eq!(program.json(&["invoice", "show", "QT-000001"]), returned);
        program.run(&["invoice", "return", "acme-i1", "--json"]).refuses("already_returned");
        program.run(&["invoice", "show", "acme-i9", "--json"]).refuses("unknown_invoice");
        assert_eq!(program.json(&["invoice", "list", "acme"]).as_array().map(Vec::len), Some(2));
        for words in [["bill", "show", "acme", "2026-03"], ["bill", "show", "acme", "2026-04"]] {
            program.run(&words).exits(0);
        }
        let sheet = program.run(&["invoice", "show", "acme-i2"]).exits(0).stdout;
        assert!(sheet.contains("QT-000002") && sheet.contains("Technical service fee"), "{sheet}");
        assert_sound(&database.url);
    });
}

/// Lines of units that were sent before and after their VAT rate changed, at one price.
#[test]
fn lines_tell_their_vat_rates() {
    let story = r#"
price sms-domestic verification 1
product sms-domestic vat=0.09 from="2026-03-16 00:00"
account acme balance=100
account beta balance=100
at "2026-03-15 09:00"
message m from=acme to=CN type=verification units=2
run aggregate-charges
at "2026-03-16 09:00"
message n from=acme to=CN type=verification units=2
message n from=beta to=CN type=verification units=2
run aggregate-charges
at "2026-04-01 00:30"
run aggregate-charges
run monthly-bills
---
"#;
    on_both(|database| {
        scenario::run(story, &database.url).expect("the story is told");
        let mut program = Program::on(database);
        program.at("2026-04-02T09:00:00+08:00");
        let bill = show(&program, "2026-03");
        let rates: Vec<_> = bill["lines"].as_array().expect("lines").iter().map(|l| &l["vat_rate"]).collect();
        assert_eq!(rates, [&json!("0.06"), &json!("0.09")]);
        let sheet = program.run(&["bill", "show", "acme", "2026-03"]).exits(0).stdout;
        assert!(["VAT RATE", "0.06", "0.09"].iter().all(|said| sheet.contains(said)), "{sheet}");
        let alike = program.run(&["bill", "show", "beta", "2026-03"]).exits(0).stdout;
        assert!(!alike.contains("VAT RATE") && !alike.contains("0.09"), "{alike}");
    });
}

#[test]
fn a_month_of_nothing_has_nothing_to_bill() {
    on_both(|database| {
        let mut program = Program::on(database);
        program.run(&["migrate"]).exits(0);
        program.at("2026-03-10T09:00:00+08:00");
        program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
        let said = "Preview: the bill of account acme for 2026-03 as it would be now; it is not issued yet\n\n\
                    Nothing was used or bought so far: there is nothing to bill.\n";
        assert_eq!(program.run(&["bill", "show", "acme", "2026-03"]).exits(0).stdout, said);
        let preview = show(&program, "2026-03");
        assert_eq!((&preview["status"], &preview["lines"]), (&json!("preview"), &json!([])));
        program.run(&["bill", "show", "acme", "2026-04", "--json"]).refuses("bill_unknown");
        // Where others have bills of it, it has none.
        program.run(&["account", "add", "beta", "--name", "Beta"]).exits(0);
        let sent = line("m", "beta", "verification", "1", "2026-03-10T09:00:00+08:00");
        let name = program.file("beta.csv", file(&[sent]));
        program.run(&["ingest", "messages", &name]).exits(0);
        charge(&mut program, "2026-04-01T00:30:00+08:00");
        program.run(RUN).exits(0);
        let refused = program.run(&["bill", "show", "acme", "2026-03", "--json"]);
        refused.refuses("bill_unknown").says(&["there was nothing to bill"]);
    });
}

fn told(line: &Value) -> String {
    let keys = ["kind", "product", "template_type", "country", "units", "unit_price", "amount", "settled"];
    Value::from(keys.map(|key| line[key].clone()).to_vec()).to_string()
}

#[test]
fn the_buyer_of_special_invoices_is_named_and_checked() {
    let database = sqlite();
    let program = march(&database);
    let special = ["invoice", "issue", "acme", "--order", "acme-o1", "--type", "special", "--json"];
    program.run(&special).refuses("buyer_missing");
    let set =
        |tax_id| ["invoice", "buyer", "set", "acme", "--title", "Acme Co.", "--tax-id", tax_id, "--json"];
    program.run(&set("91330106673959645P")).refuses("bad_tax_id");
    let buyer = program.run(&set("91330106673959654P")).exits(0).json();
    assert_eq!(program.json(&["invoice", "buyer", "show", "acme"]), buyer);
    let issued = program.run(&special).exits(0).json();
    assert_eq!(
        (&issued["type"], &issued["buyer"]["tax_id"]),
        (&json!("special"), &json!("91330106673959654P"))
    );
}

#[test]
fn r80_r81_all_bills_of_a_month_are_invoiced_at_once_each_one_once() {
    const ALL: &[&str] = &["invoice", "issue", "--all", "--bill", "2026-03", "--json"];
    on_both(|database| {
        let mut program = march(database);
        // One that paid nothing, one whose invoice was returned, one that used nothing, twenty others.
        let others: Vec<String> = (0..20).map(|number| format!("other-{number:02}")).collect();
        let mut lines = Vec::new();
        for account in ["poor", "back", "idle"].into_iter().chain(others.iter().map(String::as_str)) {
            program.run(&["account", "add", account, "--name", account, "--credit-limit", "10"]).exits(0);
            if account != "poor" {
                program.run(&["account", "top-up", account, "10", "--reference", "cash"]).exits(0);
            }
            if account != "idle" {
                let sent = "2026-03-31T23:00:00+08:00";
                lines.push(line(&format!("m-{account}"), account, "promotional", "20", sent));
            }
        }
        let name = program.file("others.csv", file(&lines));
        program.run(&["ingest", "messages", &name]).exits(0);
        program.run(&[ALL, &["--type", "special"]].concat()).refuses("bill_unknown");
        charge(&mut program, "2026-04-01T00:40:00+08:00");
        program.run(RUN).exits(0);
        let back = program.json(&["invoice", "issue", "back", "--bill", "2026-03"]);
        program.run(&["invoice", "return", back["number"].as_str().expect("a number")]).exits(0);

        let runs: Vec<Running> = (0..3).map(|_| program.start(ALL, b"")).collect();
        let told: Vec<Value> = runs.into_iter().map(|run| run.answer().exits(3).json()).collect();
        let sum = |key: &str| told.iter().map(|told| told[key].as_i64().expect("a count")).sum::<i64>();
        assert_eq!(sum("invoices"), 21, "{told:?}");
        assert_eq!(sum("invoiced_before"), 3 * 22 - 21, "{told:?}");
        for told in &told {
            let refused = told["refused"].as_array().expect("a list");
            assert_eq!((refused.len(), &refused[0]["account_id"]), (1, &json!("poor")), "{told}");
            assert_eq!(refused[0]["code"], "bill_not_paid");
        }
        let again = program.run(ALL).exits(3).json();
        assert_eq!((&again["invoices"], &again["totals"]), (&json!(0), &json!([])));
        program.run(&["account", "top-up", "poor", "10", "--reference", "cash"]).exits(0);
        let rest = program.run(ALL).exits(0).json();
        assert_eq!(rest["totals"], json!([{ "currency": "CNY", "total": "1.1" }]), "{rest}");
        assert_eq!((&rest["invoices"], &rest["invoiced_before"]), (&json!(1), &json!(22)));
        let words = program.run(&["invoice", "issue", "--all", "--bill", "2026-03"]).exits(0).stdout;
        assert!(words.contains("23 were invoiced before"), "{words}");
        program.run(&["invoice", "issue", "--all", "acme", "--bill", "2026-03"]).exits(2);
        program.run(&["invoice", "issue", "--all", "--order", "acme-o1"]).exits(2);
        assert_sound(&database.url);
    });
}

#[test]
fn f33_programs_that_bill_at_once_bill_each_account_once() {
    on_both(|database| {
        let program = march(database);
        let runs: Vec<Running> = (0..5).map(|_| program.start(RUN, b"")).collect();
        let codes: Vec<i32> = runs.into_iter().map(|run| run.answer().code).collect();
        assert!(codes.iter().all(|code| [0, 75].contains(code)), "{codes:?}");
        program.run(RUN).exits(0);
        assert_eq!(program.json(&["bill", "list"]).as_array().map(Vec::len), Some(1));
        assert_eq!(program.json(&["account", "show", "acme"])["balance"], "97.84");

        let issue = ["invoice", "issue", "acme", "--bill", "2026-03", "--json"];
        let orders = ["invoice", "issue", "acme", "--order", "acme-o1", "--json"];
        let issuing: Vec<Running> =
            [issue, orders, issue, orders].map(|args| program.start(&args, b"")).into();
        let mut codes: Vec<i32> = issuing.into_iter().map(|issue| issue.answer().code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 0, 1, 1]);
        assert_sound(&database.url);
    });
}

#[test]
fn f32_a_billing_run_and_a_settling_run_at_once_lose_nothing() {
    on_both(|database| {
        let mut program = march(database);
        let receipts = "message_id,account_id,status\nmarch,acme,failed\n";
        program.at("2026-04-01T00:30:00+08:00");
        program.file("receipts.csv", receipts);
        program.run(&["ingest", "receipts", "receipts.csv"]).exits(0);
        let settle = ["--run-job", "settle-receipts", "--catch-up"];
        let runs = [program.start(RUN, b""), program.start(&settle, b""), program.start(RUN, b"")];
        for run in runs {
            let answer = run.answer();
            assert!([0, 75].contains(&answer.code), "{}", answer.shown());
        }
        program.run(&settle).exits(0);
        program.run(RUN).exits(0);
        assert_sound(&database.url);
        // 200 go back to the plan. Of the rest's 0.165 nothing is paid, or 0.16 and all of it comes back.
        let balance = program.json(&["account", "show", "acme"])["balance"].as_str().map(str::to_owned);
        assert!(["98", "98.005"].contains(&balance.as_deref().unwrap_or_default()), "{balance:?}");
    });
}

/// Another zone would bill a month twice, and call books wrong that are right (D55).
#[test]
fn books_are_kept_in_one_zone() {
    on_both(|database| {
        let mut program = Program::on(database);
        program.at("2026-03-15T00:00:00+08:00");
        program.run(&["migrate"]).exits(0);
        program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
        program.run(&["account", "top-up", "acme", "100", "--reference", "cash-1"]).exits(0);
        send(&mut program, "last", "2026-03-31T23:59:00+08:00", "1");
        charge(&mut program, "2026-04-01T00:05:00+08:00");
        program.configure("zone = \"Europe/Berlin\"\n");
        for command in [&["--run-job", "monthly-bills"][..], &["--run-job", "audit-books"], &["audit"]] {
            program.run(command).exits(78).says(&[
                "billing zone Asia/Shanghai",
                "says Europe/Berlin",
                "--config",
            ]);
        }
        program.run(&["audit", "--quick"]).exits(0);
        program.configure("zone = \"Asia/Shanghai\"\n");
        program.run(RUN).exits(0);
        assert_sound(&database.url);
    });
}

#[test]
fn f42_a_month_is_billed_once_in_every_zone() {
    let zones = [
        ("Asia/Shanghai", "+08:00"),
        ("UTC", "+00:00"),
        ("America/New_York", "-04:00"),
        ("Asia/Kathmandu", "+05:45"),
        ("Pacific/Kiritimati", "+14:00"),
        ("America/Los_Angeles", "-07:00"),
    ];
    for (zone, offset) in zones {
        let database = sqlite();
        let mut program = Program::on(&database);
        program.configure(&format!("zone = \"{zone}\"\n"));
        program.at(&format!("2026-03-15T00:00:00{offset}"));
        program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
        program.run(&["account", "top-up", "acme", "100", "--reference", "cash-1"]).exits(0);
        send(&mut program, "last", &format!("2026-03-31T23:59:59.999999{offset}"), "1");
        send(&mut program, "first", &format!("2026-04-01T00:00:00{offset}"), "2");
        for time in
            ["2026-03-31T12:00:00", "2026-03-31T23:30:00", "2026-04-01T00:00:00", "2026-04-01T12:00:00"]
        {
            charge(&mut program, &format!("{time}{offset}"));
            program.run(RUN).exits(0);
            let bills = program.json(&["bill", "list"]);
            let due = usize::from(time.starts_with("2026-04"));
            assert_eq!(bills.as_array().map(Vec::len), Some(due), "{zone} at {time}: {bills}");
        }
        assert_eq!(show(&program, "2026-03")["lines"][0]["units"], 1, "{zone}");
        assert_eq!(show(&program, "2026-04")["lines"][0]["units"], 2, "{zone}");
        assert_sound(&database.url);
    }
}

#[test]
fn f98_a_bill_that_was_issued_cannot_be_changed() {
    on_both(|database| {
        let program = march(database);
        program.run(RUN).exits(0);
        program.run(&["invoice", "issue", "acme", "--bill", "2026-03"]).exits(0);
        for table in ["bills", "bill_lines", "invoices"] {
            for sql in [format!("update {table} set account_id = account_id"), format!("delete from {table}")]
            {
                let refused = std::panic::catch_unwind(|| block_on(change(&database.url, &sql)));
                assert!(refused.is_err(), "done: {sql}");
            }
        }
        // Whoever may drop the lock is found out by the hash.
        let drop = match database.postgres {
            Some(_) => "alter table bill_lines disable trigger all",
            None => "drop trigger bill_lines_no_update",
        };
        block_on(change(&database.url, drop));
        block_on(change(&database.url, "update bill_lines set country = 'HK' where kind = 'payg'"));
        let broken = read(&database.url, async |tx| invariants::broken(tx).await);
        assert_eq!(broken, ["I24 a bill is as it was issued: CNY-202603-000001"]);
    });
}

/// A bill that waits for a fault is not made: what fails meanwhile is on it, as if it was made in time.
#[test]
fn d59_what_fails_while_its_bill_is_parked_stands_on_that_bill() {
    on_both(|database| {
        let mut program = march(database);
        send(&mut program, "extra", "2026-03-31T23:59:59+08:00", "2");
        charge(&mut program, "2026-04-01T00:35:00+08:00");
        // As if a fault had lost what acme has unbilled.
        let fault = "update accounts set unbilled = unbilled - 150000 where account_id = 'acme'";
        block_on(change(&database.url, fault));
        program.run(RUN).exits(3);
        program.at("2026-04-02T09:00:00+08:00");
        program.file("receipts.csv", "message_id,account_id,status\nmarch,acme,failed\n");
        program.run(&["ingest", "receipts", "receipts.csv"]).exits(0);
        program.run(&["--run-job", "settle-receipts", "--catch-up"]).exits(0);
        let mend = "update accounts set unbilled = unbilled + 150000 where account_id = 'acme'";
        block_on(change(&database.url, mend));
        assert_sound(&database.url);
        let preview = show(&program, "2026-03");
        assert_eq!(show(&program, "2026-04")["lines"], json!([]), "orders of March are on the bill of March");
        program.run(RUN).exits(0);
        let bill = show(&program, "2026-03");
        assert_foretold(preview, &bill);
        let told: Vec<_> = bill["lines"].as_array().expect("lines").iter().map(told).collect();
        let lines = [
            r#"["payg","sms-domestic","promotional","CN",5,"0.055","0.275",false]"#,
            r#"["plan","sms-domestic","promotional","CN",200,null,"0",true]"#,
            r#"["return","sms-domestic","promotional","CN",-3,"0.055","-0.165",false]"#,
            r#"["order","sms-domestic",null,null,200,null,"2",true]"#,
        ];
        assert_eq!(
            (told.iter().map(String::as_str).collect::<Vec<_>>(), &bill["total"]),
            (lines.to_vec(), &json!("0.11"))
        );
        let account = program.json(&["account", "show", "acme"]);
        assert_eq!((&account["balance"], &account["unbilled"]), (&json!("97.89"), &json!("0")));
        assert_sound(&database.url);
        program.run(&["audit"]).exits(0);
    });
}

#[test]
fn f110_a_bill_that_cannot_be_made_waits_and_stops_nobody_else() {
    on_both(|database| {
        let mut program = march(database);
        program.run(&["account", "add", "beta", "--name", "Beta"]).exits(0);
        program.run(&["account", "top-up", "beta", "10", "--reference", "b"]).exits(0);
        program.run(&["order", "place", "beta", "sms-domestic-200"]).exits(0);
        // As if a fault had lost what acme has unbilled.
        block_on(change(
            &database.url,
            "update accounts set unbilled = unbilled - 1 where account_id = 'acme'",
        ));
        let run = program.run(RUN).exits(3).json();
        assert_eq!((&run["counts"]["parked"], &run["parked"][0]["account_id"]), (&json!(1), &json!("acme")));
        assert_eq!(program.json(&["bill", "list"]), json!([]));
        program.run(&["bill", "show", "acme", "2026-03", "--json"]).refuses("bill_parked");
        let status = program.run(&["status", "--json"]).exits(3).json();
        let waits = json!({ "account_id": "acme", "month": "2026-03", "fault": run["parked"][0]["fault"] });
        assert_eq!(status["parked_bills"], json!([waits]));
        charge(&mut program, "2026-05-01T00:30:00+08:00");
        let run = program.run(RUN).exits(3).json();
        assert_eq!((&run["counts"]["bills"], &run["counts"]["parked"]), (&json!(1), &json!(1)));
        block_on(change(
            &database.url,
            "update accounts set unbilled = unbilled + 1 where account_id = 'acme'",
        ));
        let run = program.run(RUN).exits(0).json();
        assert_eq!(run["counts"]["bills"], 1, "{run}");
        assert_eq!(show(&program, "2026-03")["total"], "0.16");
        assert_sound(&database.url);
    });
}

#[test]
fn both_databases_bill_the_same() {
    let mut digests = Vec::new();
    on_both(|database| {
        let program = march(database);
        program.run(RUN).exits(0);
        program.run(&["invoice", "issue", "acme", "--bill", "2026-03"]).exits(0);
        digests.push(digest_of(&database.url));
    });
    digests.dedup();
    assert_eq!(digests.len(), 1);
}
