//! `invoice export`: what lies in the directory afterwards, and how others read it.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::databases::{TestDatabase, on_both, sqlite};
use crate::support::program::Program;
use crate::support::tools::{content, have};
use crate::ubl;

const ALL: &str = "pdf,csv,json,ubl,fapiao";

const SETTINGS: &str = r#"
[invoices]
content = "技术服务费"
name = "示例通信(北京)有限公司"
tax_id = "91110105MA0000000Y"
address = "北京市朝阳区示例路 1 号"
tax_category = "信息技术服务"
tax_code = "3040203000000000000"
"#;

/// Three accounts with an order each, invoiced on the first of March; one invoice is returned in March, one
/// in April.
fn world(database: &TestDatabase, settings: &str) -> Program {
    let mut program = Program::on(database);
    program.configure(settings);
    program.run(&["migrate"]).exits(0);
    for (account, name, locale) in
        [("acme", "Acme & Söhne", "en"), ("beta", "=贝塔科技有限公司", "zh-CN"), ("gamma", "Gamma", "en")]
    {
        program.run(&["account", "add", account, "--name", name, "--locale", locale]).exits(0);
        program.run(&["account", "verify", account]).exits(0);
        program.run(&["account", "top-up", account, "1000", "--reference", "cash"]).exits(0);
        let order = program.json(&["order", "place", account, "sms-domestic-200:3"]);
        let order = order["order_id"].as_str().expect("an order");
        program.run(&["invoice", "issue", account, "--order", order]).exits(0);
    }
    program.at("2026-03-20T12:00:00+08:00");
    program.run(&["invoice", "return", "acme-i1"]).exits(0);
    program.at("2026-04-02T12:00:00+08:00");
    program.run(&["invoice", "return", "gamma-i1"]).exits(0);
    program
}

fn export(program: &Program, month: &str, format: &str, more: &[&str]) -> Value {
    let args = ["invoice", "export", "--month", month, "--format", format, "--out", "out"];
    program.json(&[&args[..], more].concat())
}

/// Names and contents of the files of a directory.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("an entry"));
    let file = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().expect("UTF-8"), std::fs::read(entry.path()).expect("it is read"))
    };
    entries.map(file).collect()
}

#[test]
fn a_month_is_written_alike_on_both_databases_and_whenever_it_is_done() {
    let mut seen: Option<BTreeMap<String, Vec<u8>>> = None;
    on_both(|database| {
        let program = world(database, SETTINGS);
        let told = export(&program, "2026-03", ALL, &[]);
        let count = |key: &str| told[key].as_u64().expect("a count");
        assert_eq!(["invoices", "credit_notes", "written", "unchanged"].map(count), [3, 1, 18, 0], "{told}");
        let written = files(&program.path("out"));
        let names: Vec<&str> = written.keys().map(String::as_str).collect();
        assert_eq!(names.len(), 18, "{names:?}");
        assert!(names.contains(&"credit-note-QTR-000001.pdf"), "{names:?}");
        let again = export(&program, "2026-03", ALL, &[]);
        assert_eq!((&again["written"], &again["unchanged"]), (&0.into(), &18.into()));
        assert_eq!(files(&program.path("out")), written);
        let before = seen.replace(written.clone());
        assert!(before.is_none_or(|before| before == written), "the databases give different files");
        let april = export(&program, "2026-04", "json", &[]);
        assert_eq!((&april["invoices"], &april["credit_notes"]), (&0.into(), &1.into()));
    });
}

#[test]
fn others_read_what_is_written() {
    let database = sqlite();
    let program = world(&database, SETTINGS);
    export(&program, "2026-03", ALL, &["--bom"]);
    let dir = program.path("out");
    let written = files(&dir);
    for name in written.keys() {
        let mode = std::fs::metadata(dir.join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::metadata(&dir).expect("it is there").permissions().mode() & 0o777, 0o700);

    let of = |ending: &str| written.keys().filter(|name| name.ends_with(ending)).collect::<Vec<_>>();
    ubl::check(&of(".xml").iter().map(|name| dir.join(name)).collect::<Vec<_>>());
    let summary = String::from_utf8(written["invoices-2026-03-summary.csv"].clone()).expect("UTF-8");
    assert!(summary.starts_with("\u{feff}number,document,"), "{summary}");
    assert_eq!(summary.matches("\r\n").count(), 5, "{summary}");
    assert!(summary.contains(",'=贝塔科技有限公司,"), "{summary}");
    if have("pdftotext") {
        let mut said = String::new();
        for name in of(".pdf") {
            said.push_str(&content("pdftotext", &["-layout", name, "-"], &dir));
        }
        for words in
            ["示例通信(北京)有限公司", "Credit note", "Page 1 of 1", "第 1 页，共 1 页", "=贝塔科技有限公司"]
        {
            assert!(said.contains(words), "{words} is not in\n{said}");
        }
    }
    let request: Value = serde_json::from_slice(&written[of(".fapiao.json")[0]]).expect("JSON");
    assert_eq!(request["items"][0]["tax_code"], "3040203000000000000");
}

#[test]
fn what_is_there_is_only_replaced_when_told_to() {
    let database = sqlite();
    let program = world(&database, SETTINGS);
    export(&program, "2026-03", "json,csv", &[]);
    let written = files(&program.path("out"));
    let args = ["invoice", "export", "--month", "2026-03", "--format", "json,csv", "--out", "out"];
    for name in ["invoices-2026-03.csv", written.keys().next().expect("a file")] {
        let path = program.path("out").join(name);
        // What is missing is written all the same.
        std::fs::remove_file(program.path("out").join("invoice-QT-000003.json")).expect("it was there");
        std::fs::write(&path, "mine").expect("it is written");
        let told = program.run(&[&args[..], &["--json"]].concat()).exits(3).json();
        assert_eq!(told["left_alone"], serde_json::json!([format!("out/{name}")]));
        assert_eq!((&told["written"], &told["unchanged"]), (&1.into(), &4.into()), "{told}");
        program.run(&args).exits(3).tells(&[name, "left alone", "--force"]);
        assert_eq!(std::fs::read(&path).expect("it is there"), b"mine");
        export(&program, "2026-03", "json,csv", &["--force"]);
        assert_eq!(files(&program.path("out")), written);
    }
    // A month that goes on: the sums differ, what is new is written.
    let order = program.json(&["order", "place", "acme", "sms-domestic-200"]);
    let order = order["order_id"].as_str().expect("an order");
    program.run(&["invoice", "issue", "acme", "--order", order]).exits(0);
    let args = args.map(|word| if word == "2026-03" { "2026-04" } else { word });
    program.run(&args).exits(0);
    let order = program.json(&["order", "place", "acme", "sms-domestic-200"]);
    let order = order["order_id"].as_str().expect("an order");
    program.run(&["invoice", "issue", "acme", "--order", order]).exits(0);
    let told = program.run(&[&args[..], &["--json"]].concat()).exits(3).json();
    let sums = ["out/invoices-2026-04.csv", "out/invoices-2026-04-summary.csv"];
    assert_eq!((&told["left_alone"], &told["written"]), (&serde_json::json!(sums), &1.into()), "{told}");
}

#[test]
fn what_is_no_file_is_never_replaced_and_a_link_is_followed() {
    let database = sqlite();
    let program = world(&database, SETTINGS);
    export(&program, "2026-03", "json,csv", &[]);
    let written = files(&program.path("out"));
    for name in ["invoices-2026-03.csv", written.keys().next().expect("a file")] {
        let path = program.path("out").join(name);
        std::fs::remove_file(&path).expect("it is there");
        assert!(Command::new("mkfifo").arg(&path).status().expect("it runs").success());
        let args = ["invoice", "export", "--month", "2026-03", "--format", "json,csv", "--out", "out"];
        for force in [&[][..], &["--force"]] {
            program.run(&[&args[..], force, &["--json"]].concat()).refuses("file_exists").says(&[name]);
        }
        assert!(!path.is_file());
        std::fs::remove_file(&path).expect("it is there");
        program.file(name, "another");
        symlink(format!("../{name}"), &path).expect("it is free");
        export(&program, "2026-03", "json,csv", &["--force"]);
        assert!(path.is_symlink());
        assert_eq!(files(&program.path("out")), written);
    }
}

#[test]
fn what_can_not_be_done_is_said() {
    let database = sqlite();
    let mut program = world(&database, "[invoices]\nname = \"No tax id\"\n");
    let args =
        |format| ["invoice", "export", "--month", "2026-03", "--format", format, "--out", "out", "--json"];
    program.run(&args("fapiao")).refuses("no_tax_category").says(&["tax_code"]);
    let told = program.run(&args("ubl,json")).exits(3).json();
    assert_eq!((told["unfit"].as_array().map(Vec::len), &told["written"]), (Some(4), &4.into()), "{told}");
    program.run(&args("docx")).exits(2);
    program.configure("[invoices]\ntax_code = \"304\"\n");
    program.run(&args("csv")).exits(78).says(&["tax_code", "19 digits"]);
    program.configure("");
    program.file("out2", "a file");
    program
        .run(&["invoice", "export", "--month", "2026-03", "--format", "csv", "--out", "out2"])
        .exits(1)
        .says(&["out2"]);
}

#[test]
fn own_fonts_and_logos_are_used_or_refused_with_their_name() {
    let database = sqlite();
    let mut program = world(&database, SETTINGS);
    let print = ["invoice", "export", "--month", "2026-03", "--format", "pdf", "--out", "out", "--json"];
    program.configure(&format!("{SETTINGS}\nlogo = \"logo.png\"\n"));
    program.run(&print).refuses("bad_branding").says(&["logo.png"]);
    program.run(&["check-config"]).exits(78).says(&["logo.png", "[invoices]"]);
    program.file("logo.png", "no image");
    program.run(&print).refuses("bad_branding").says(&["logo.png", "PNG or JPEG"]);
    // A red pixel.
    let pixel = "89504e470d0a1a0a0000000d49484452000000010000000108020000009077\
                 53de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082";
    let pixel: String = pixel.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&pixel[at..at + 2], 16).expect("hexadecimal");
    program.file("logo.png", (0..pixel.len()).step_by(2).map(byte).collect::<Vec<u8>>());
    assert_eq!(program.run(&print).exits(0).json()["written"], 4);
    program.run(&["check-config"]).exits(0);
    program.configure(&format!("{SETTINGS}\nfont = \"font.otf\"\n"));
    program.file("font.otf", "no font");
    program.run(&print).refuses("bad_branding").says(&["font.otf"]);
}

#[test]
fn characters_that_no_font_has_are_told() {
    let database = sqlite();
    let program = world(&database, SETTINGS);
    let name = "Nobody \u{10fffd}";
    program.run(&["account", "add", "delta", "--name", name]).exits(0);
    program.run(&["account", "verify", "delta"]).exits(0);
    program.run(&["account", "top-up", "delta", "100", "--reference", "cash"]).exits(0);
    let order = program.json(&["order", "place", "delta", "sms-domestic-200"]);
    program
        .run(&["invoice", "issue", "delta", "--order", order["order_id"].as_str().expect("an order")])
        .exits(0);
    let args = ["invoice", "export", "--month", "2026-04", "--format", "pdf", "--out", "out", "--json"];
    let answer = program.run(&args).exits(0).says(&["U+10FFFD", "fonts-noto-cjk"]);
    assert_eq!(answer.json()["unprinted"], serde_json::json!(["\u{10fffd}"]));
}

#[test]
fn names_from_right_to_left_are_told_once_and_keep_no_document_back() {
    let database = sqlite();
    let program = world(&database, SETTINGS);
    for (account, name) in [("delta", "שלום"), ("eps", "שלום شركة")] {
        program.run(&["account", "add", account, "--name", name]).exits(0);
        program.run(&["account", "verify", account]).exits(0);
        program.run(&["account", "top-up", account, "100", "--reference", "cash"]).exits(0);
        let order = program.json(&["order", "place", account, "sms-domestic-200"]);
        let order = order["order_id"].as_str().expect("an order");
        program.run(&["invoice", "issue", account, "--order", order]).exits(0);
    }
    let args = ["invoice", "export", "--month", "2026-04", "--format", "pdf", "--out", "out", "--json"];
    let answer =
        program.run(&args).exits(0).says(&["written from right to left: U+05D5 (first in QT-000004)"]);
    assert_eq!(answer.stderr.matches("U+05D5").count(), 1, "{}", answer.shown());
    assert!(!answer.stderr.contains("No font"), "{}", answer.shown());
    assert_eq!(
        (&answer.json()["written"], answer.json()["unprinted"].as_array().map(Vec::len)),
        (&3.into(), Some(8))
    );
}

#[test]
fn a_document_in_another_currency_is_no_fapiao() {
    on_both(|database| {
        let program = world(database, SETTINGS);
        program.run(&["account", "add", "delta", "--name", "Delta", "--currency", "USD"]).exits(0);
        program.run(&["account", "verify", "delta"]).exits(0);
        program.run(&["account", "top-up", "delta", "1000", "--reference", "cash"]).exits(0);
        let package = program.json(&["package", "list", "--account", "delta"]);
        let package = package[0]["package"].as_str().expect("a package").to_owned();
        let order = program.json(&["order", "place", "delta", &package]);
        let order = order["order_id"].as_str().expect("an order");
        program.run(&["invoice", "issue", "delta", "--order", order]).exits(0);
        let args =
            ["invoice", "export", "--month", "2026-04", "--format", "fapiao,json", "--out", "out", "--json"];
        let told = program.run(&args).exits(3).json();
        assert_eq!(told["unfit"][0]["number"], "QT-000004");
        let reason = told["unfit"][0]["reason"].as_str().expect("a reason");
        assert!(reason.contains("CNY") && reason.contains("USD"), "{reason}");
        // Its other formats, and other documents, are written.
        assert_eq!(
            (told["unfit"].as_array().map(Vec::len), &told["written"]),
            (Some(1), &3.into()),
            "{told}"
        );
    });
}
