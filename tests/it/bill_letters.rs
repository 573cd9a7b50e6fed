//! The bill that comes with its letter: a PDF with the figures of `bill show`, in the account's language, the
//! same on a second try; and letters whose bill can't be had.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use quittance::domain::money::Micros;
use quittance::domain::notice::{Fact, Notice, NoticeKind};
use quittance::domain::period::Timestamp;

use crate::support::databases::{TestDatabase, on_both, sqlite};
use crate::support::lines::{file, line};
use crate::support::mail_server::{Does, MailServer, Security, Step};
use crate::support::notices::{smtp, tell};
use crate::support::program::Program;
use crate::support::tools::{content, have};

const DIR: &str = r#"
[notices]
channels = ["inbox"]
[notices.kinds]
bill_ready = ["inbox", "email"]
[smtp]
dir = "mail"
from = "billing@example.com"
[bills]
zero_bills = true
[invoices]
name = "示例通信(北京)有限公司"
"#;
const DELIVER: &[&str] = &["--run-job", "deliver-notifications", "--json"];

/// Accounts that used, bought and owe, and one that did nothing, all billed for March.
fn billed(database: &TestDatabase, settings: &str) -> Program {
    let mut program = Program::on(database);
    program.configure(settings);
    program.run(&["migrate"]).exits(0);
    program.at("2026-03-01T00:00:00+08:00");
    for (id, name, locale) in [
        ("acme+1@x:y", "Acme & Söhne", "en"),
        ("beta", "贝塔科技有限公司", "zh-CN"),
        ("idle", "Idle", "en"),
        ("gone", "Gone", "en"),
    ] {
        let email = format!("{}@customer.example", &id[..4]);
        program.run(&["account", "add", id, "--name", name, "--locale", locale, "--email", &email]).exits(0);
    }
    let sent = "2026-03-31T23:59:59+08:00";
    let mut lines = Vec::new();
    for id in ["acme+1@x:y", "beta"] {
        program.run(&["account", "top-up", id, "100", "--reference", id]).exits(0);
        program.run(&["order", "place", id, "sms-domestic-200"]).exits(0);
        lines.push(line(id, id, "promotional", "203", sent));
    }
    // More than the balance pays: some of it is due.
    lines.push(line("beta-2", "beta", "verification", "5000", sent));
    program.at(sent);
    let name = program.file("march.csv", file(&lines));
    program.run(&["ingest", "messages", &name]).exits(0);
    program.at("2026-04-01T00:30:00+08:00");
    program.run(&["--run-job", "aggregate-charges", "--catch-up"]).exits(0);
    program.run(&["--run-job", "monthly-bills", "--catch-up"]).exits(0);
    program.run(&["account", "close", "gone"]).exits(0);
    program
}

/// The letters that were written, by their receivers' first letters.
fn letter(program: &Program, to: &str) -> Option<String> {
    let dir = std::fs::read_dir(program.path("mail")).expect("it is there");
    let letters = dir.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("ASCII"));
    letters.into_iter().find(|text| text.contains(&format!("{to}@customer.example")))
}

/// Name and content of the PDF that a letter brings.
fn attached(letter: &str) -> Option<(String, Vec<u8>)> {
    let (_, part) = letter.split_once("Content-Disposition: attachment; filename=\"")?;
    let (name, rest) = part.split_once('"').expect("a name");
    let (head, body) = rest.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains("Content-Type: application/pdf\r\n"), "{head}");
    assert!(head.contains("Content-Transfer-Encoding: base64"), "{head}");
    let (body, end) = body.split_once("--whole-").expect("an end");
    assert!(end.trim_end().ends_with("--"), "nothing comes after it: {end}");
    let pdf = STANDARD.decode(body.replace("\r\n", "")).expect("base64");
    assert!(pdf.starts_with(b"%PDF-") && pdf.trim_ascii_end().ends_with(b"%%EOF"));
    Some((name.to_owned(), pdf))
}

/// What people read in a PDF; None where there is nothing to read it with.
fn said(program: &Program, pdf: &[u8]) -> Option<String> {
    let path = program.file("bill.pdf", pdf);
    have("pdftotext").then(|| content("pdftotext", &["-layout", &path, "-"], program.dir()))
}

fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
}

/// What `bill show` tells of a bill in figures.
fn figures(bill: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let money =
        |value: &Value| Micros::parse(value.as_str().expect("an amount")).expect("an amount").for_people();
    let mut figures = vec![text(&bill["bill_id"]).expect("a number")];
    for key in ["total", "paid", "due"] {
        figures.push(format!("{} CNY", money(&bill[key])));
    }
    for line in bill["lines"].as_array().expect("lines") {
        figures.push(money(&line["amount"]));
        figures.extend(
            ["product", "template_type", "country", "unit_price"]
                .map(|key| text(&line[key]))
                .into_iter()
                .flatten(),
        );
    }
    figures
}

#[test]
fn a_letter_brings_the_bill_in_the_language_of_the_account() {
    on_both(|database| {
        let program = billed(database, DIR);
        let run = program.run(DELIVER).exits(0);
        assert_eq!((&run.json()["counts"]["sent"], &run.json()["counts"]["failed"]), (&3.into(), &0.into()));
        assert!(!run.stderr.contains("WARN"), "{}", run.shown());
        // Nothing goes to a closed account, whose address is erased.
        assert_eq!(letter(&program, "gone"), None);

        for (account, to, file, words) in [
            (
                "acme+1@x:y",
                "acme",
                "bill-acme-1-x-y-2026-03.pdf",
                ["Bill", "Acme & Söhne", "2026-03", "payg", "round-down", "200", "Settled", "yes"],
            ),
            (
                "beta",
                "beta",
                "bill-beta-2026-03.pdf",
                ["账单", "贝塔科技有限公司", "2026-03", "按量计费", "抹零", "5,000", "已结清", "尚欠"],
            ),
        ] {
            let (name, pdf) = attached(&letter(&program, to).expect("a letter")).expect("a bill");
            assert_eq!(name, file);
            let Some(said) = said(&program, &pdf) else { continue };
            let bill = program.json(&["bill", "show", account, "2026-03"]);
            let figures = figures(&bill);
            assert_says(&said, &figures.iter().map(String::as_str).collect::<Vec<_>>());
            assert_says(&said, &words);
            assert_says(&said, &["示例通信(北京)有限公司", account, "CNY", "2026-04-01 00:30"]);
        }
        assert_ne!(program.json(&["bill", "show", "beta", "2026-03"])["due"], "0");
        let (_, pdf) = attached(&letter(&program, "idle").expect("a letter")).expect("a bill of nothing");
        if let Some(said) = said(&program, &pdf) {
            assert_says(&said, &["Nothing was used or bought in this month.", "0.00 CNY"]);
        }
    });
}

#[test]
fn a_second_try_brings_the_same_file_whatever_was_paid_meanwhile() {
    on_both(|database| {
        let server = MailServer::scripted(Security::Plain, |step, count| match (step, count) {
            (Step::Taken, 0) => Does::Drop,
            _ => Does::AsUsual,
        });
        let settings = smtp(server.port, "none", "[notices.kinds]\nbill_ready = [\"email\"]");
        let settings = settings.replacen("[notices]\n", "[notices]\nchannels = [\"inbox\"]\n", 1);
        let mut program = billed(database, &settings);
        program.run(&["account", "set", "acme+1@x:y", "--email", ""]).exits(0);
        program.run(DELIVER);
        program.at("2026-04-01T01:00:00+08:00");
        program.run(&["account", "top-up", "beta", "1000", "--reference", "more"]).exits(0);
        assert_eq!(program.json(&["bill", "show", "beta", "2026-03"])["due"], "0");
        program.run(DELIVER);
        let letters = server.letters();
        let bills: Vec<_> = letters.iter().filter_map(|letter| attached(&letter.text)).collect();
        assert_eq!((bills.len(), &bills[0]), (2, &bills[1]));
    });
}

#[test]
fn a_bill_that_can_not_be_drawn_keeps_no_letter_back() {
    let database = sqlite();
    let mut program = billed(&database, DIR);
    let at = Timestamp::parse_rfc3339("2026-04-01T00:30:00+08:00").expect("a time");
    let notice = Notice {
        kind: NoticeKind::BillReady,
        subject: "2026-01".to_owned(),
        due: at,
        facts: vec![
            ("month", Fact::Text("2026-01".to_owned())),
            ("total", Fact::Money(Micros(12_340_000))),
            ("due", Fact::Money(Micros::ZERO)),
        ],
    };
    program.run(&["account", "add", "none", "--name", "None", "--email", "none@customer.example"]).exits(0);
    tell(&database, "none", &notice, at);
    let run = program.run(DELIVER).exits(0);
    assert_eq!(run.json()["counts"]["sent"], 4);
    assert!(run.stderr.contains("The letter to none goes without its bill of 2026-01"), "{}", run.shown());
    let letter_to = |program: &Program, to| letter(program, to).expect("a letter");
    assert_eq!(attached(&letter_to(&program, "none")), None);
    assert!(letter_to(&program, "none").contains("Content-Type: multipart/alternative;"));
    assert!(attached(&letter_to(&program, "beta")).is_some());

    // A logo that is none.
    let database = sqlite();
    program = billed(&database, &format!("{DIR}logo = \"logo.png\"\n"));
    let run = program.run(DELIVER).exits(0);
    assert_eq!(run.json()["counts"]["sent"], 3);
    assert!(run.stderr.contains("logo.png"), "{}", run.shown());
    assert_eq!(attached(&letter_to(&program, "beta")), None);
}
