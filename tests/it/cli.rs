//! The command line is a contract: exit codes, JSON keys, refusals.

use clap::CommandFactory;
use quittance::cli::Args;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::books::{assert_sound, block_on, digest_of};
use crate::support::databases::{TestDatabase, on_both, postgres, sqlite};
use crate::support::lines::{file, line, plain};
use crate::support::program::{Answer, NOON, Program};
use crate::support::shape::{assert_each, assert_shape};

const PLAN: &str = "plan_id:text product:text package:text order_id:text size:count remaining:count used:count \
    forfeited:count effective_at:time expires_at:time state:text";
const BATCH: &str =
    "batch_id:text lines:count accepted:count duplicates:count conflicts:count rejected:count";
const RUN: &str = "job:text run_id:text as_of:time outcome:text counts:object parked:list parked_left_out:count \
                   duration_ms:count";

/// A migrated database with the account acme, which has 100 CNY.
fn with_acme(database: &TestDatabase) -> Program {
    let program = Program::on(database);
    program.run(&["migrate"]).exits(0);
    program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
    program.run(&["account", "top-up", "acme", "100", "--reference", "cash-1"]).exits(0);
    program
}

fn run_job(program: &Program, more: &[&str]) -> Answer {
    program.run(&[&["--run-job", "aggregate-charges", "--json"], more].concat())
}

#[test]
fn the_commands_are_well_formed() {
    Args::command().debug_assert();
}

#[test]
fn the_man_page_and_the_completions_know_every_command() {
    let database = sqlite();
    let program = Program::on(&database);
    let page = program.run(&["man"]).exits(0).stdout;
    let shells = ["bash", "zsh", "fish"].map(|shell| program.run(&["completions", shell]).exits(0).stdout);
    let plain = page.replace("\\-", "-");
    for section in ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
        assert!(
            page.contains(&format!(".SH \"{section}\"")) || page.contains(&format!(".SH {section}")),
            "{page}"
        );
    }
    let mut leaves = 0;
    let mut open = vec![("quittance".to_owned(), Args::command())];
    while let Some((name, command)) = open.pop() {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            open.push((format!("{name} {}", sub.get_name()), sub.clone()));
            for script in &shells {
                assert!(script.contains(sub.get_name()), "{name} {}", sub.get_name());
            }
        }
        if !command.has_subcommands() {
            assert!(plain.contains(&name), "the man page lacks `{name}`");
            leaves += 1;
        }
    }
    assert!(leaves > 20, "{leaves} commands");
    let help = program.run(&["--help"]).exits(0).stdout;
    assert!(!help.contains("completions") && !help.contains("man page"), "packagers know where to look");
    assert!(!program.path("quittance.db").exists(), "a manual needs no database");
}

#[test]
fn every_command_that_scripts_read_gives_the_keys_of_the_contract() {
    on_both(|database| {
        let mut program = Program::on(database);
        program.run(&["migrate"]).exits(0);
        let account = "account_id:text name:text kind:text status:text currency:text balance:money \
            unbilled:money available:money due:money overdue:bool";
        assert_shape(&program.json(&["account", "add", "acme", "--name", "Acme"]), account);
        let paid = program.json(&["account", "top-up", "acme", "100.5", "--reference", "cash-1"]);
        assert_shape(&paid, "account_id:text balance:money available:money");
        assert_eq!(paid["balance"], "100.5");
        let packages = program.json(&["package", "list", "--account", "acme"]);
        assert_each(
            &packages,
            "package:text product:text size:count price:money currency:text validity:text",
        );
        program.at("2026-03-01T09:00:00+08:00");
        let order = program.json(&["order", "place", "acme", "sms-domestic-200"]);
        assert_shape(&order, "order_id:text status:text total:money paid:money plans:list");
        assert_each(&order["plans"], PLAN);

        program.at(NOON);
        let early = line("m-1", "acme", "verification", "1", "2026-03-01T08:59:59+08:00");
        let large = line("m-2", "acme", "promotional", "201", "2026-03-01T09:00:00+08:00");
        let name = program.file("messages.csv", file(&[early, large]));
        let batch = program.json(&["ingest", "messages", &name]);
        assert_shape(&batch, &format!("{BATCH} already_ingested:bool"));
        let batches = program.json(&["batch", "list"]);
        assert_each(&batches, &format!("{BATCH} source:text file:text ingested_at:time run_id:text?"));
        let waiting = program.json(&["explain", "message", "acme", "m-1"]);
        assert_eq!((&waiting["state"], &waiting["charge"]), (&json!(null), &json!(null)));
        let run = run_job(&program, &[]).exits(0).json();
        assert_shape(&run, RUN);
        assert_eq!((&run["job"], &run["outcome"]), (&json!("aggregate-charges"), &json!("done")));
        assert_each(
            &program.json(&["jobs"]),
            "job:text about:text schedule:text next:time? due:time? slots_behind:count \
             running_by:text? failures_in_a_row:count last_completed_at:time? last_run:object?",
        );

        let shown = program.json(&["account", "show", "acme"]);
        assert_shape(&shown, &format!("{account} invoiceable:money plans:list"));
        assert_each(&shown["plans"], PLAN);
        assert_eq!(shown["plans"], program.json(&["plan", "list", "acme"]));
        assert_each(&program.json(&["account", "list"]), account);
        assert_eq!((&shown["balance"], &shown["unbilled"]), (&json!("98.5"), &json!("0.1")));
        explains(&program);
        assert_shape(&program.json(&["status"]), "uncharged:object suspense:object accounts:object");
        assert_shape(&program.json(&["digest"]), "digest:text");
        assert_each(&program.json(&["price", "show", "--account", "acme"]), "product:text currency:text");
        assert_shape(&program.json(&["check-config"]), "config:text zone:text fingerprint:text");
    });
}

/// One message that pay-as-you-go paid, one that plan and pay-as-you-go shared.
fn explains(program: &Program) {
    let shape = "message_id:text account_id:text batch:text line:count product:text template_type:text \
        country:text segments:count submit_time:time window:time charge:object receipt:object? return:object? \
        state:text reason:text? final:bool bill:text? invoice:text?";
    let early = program.json(&["explain", "message", "acme", "m-1"]);
    assert_shape(&early, shape);
    assert_eq!(
        early["charge"],
        json!({ "plan": [], "payg": [{ "units": 1, "unit_price": "0.045", "amount": "0.045" }] })
    );
    let large = program.json(&["explain", "message", "acme", "m-2"]);
    assert_shape(&large, shape);
    let payg = json!([{ "units": 1, "unit_price": "0.055", "amount": "0.055" }]);
    assert_eq!(large["charge"], json!({ "plan": [{ "plan_id": "acme-p1", "units": 200 }], "payg": payg }));
    assert_eq!(
        (&large["state"], &large["line"], &large["batch"]),
        (&json!("charged"), &json!(2), &json!("1"))
    );
    assert_eq!(large["window"], "2026-03-01T09:00:00+08:00");
}

#[test]
fn length_tells_encoding_length_and_segments() {
    let database = sqlite();
    let program = Program::on(&database);
    let domestic = ["length", "Your code is 123456", "--product", "sms-domestic", "--signature", "Acme"];
    let said = program.json(&domestic);
    assert_shape(&said, "encoding:text length:count segments:count");
    assert_eq!((&said["encoding"], &said["length"]), (&json!("domestic"), &json!(25)));
    let abroad = |text: &str| program.json(&["length", text, "--product", "sms-international"]);
    assert_eq!(abroad("a{b")["encoding"], "gsm-7");
    assert_eq!(abroad("a{b")["length"], 4);
    assert_eq!(abroad("中文")["encoding"], "ucs-2");
    let long = "a".repeat(501);
    program.run(&["length", &long, "--product", "sms-domestic", "--json"]).refuses("content_too_long");
    let unknown = ["length", "x", "--product", "fax"];
    program.run(&unknown).exits(1).says(&["fax", "sms-domestic"]);
    program.run(&[&unknown[..], &["--json"]].concat()).refuses("unknown_product");
    assert!(!program.path("quittance.db").exists(), "a length needs no database");
}

#[test]
fn a_refusal_has_a_code_and_changes_nothing() {
    on_both(|database| {
        let program = with_acme(database);
        let before = digest_of(&database.url);
        let refused = |args: &[&str], code: &str| {
            program.run(&[args, &["--json"]].concat()).refuses(code);
        };
        refused(&["account", "show", "nobody"], "unknown_account");
        refused(&["account", "add", "acme", "--name", "Again"], "account_exists");
        refused(&["account", "add", "../acme", "--name", "A path"], "bad_account_id");
        refused(&["account", "add", "beta", "--name", "B", "--currency", "cny"], "bad_currency");
        refused(&["account", "top-up", "acme", "0", "--reference", "cash-2"], "amount_out_of_range");
        refused(&["account", "top-up", "acme", "-5", "--reference", "cash-2"], "amount_out_of_range");
        refused(&["account", "top-up", "acme", "99", "--reference", "cash-1"], "reference_conflict");
        refused(&["account", "top-up", "nobody", "1", "--reference", "cash-2"], "unknown_account");
        refused(&["account", "activate", "acme", "fax"], "unknown_product");
        refused(&["price", "show", "--product", "fax"], "unknown_product");
        refused(&["account", "activate", "acme", "direct-mail"], "not_verified");
        refused(&["order", "place", "acme", "no-such-package"], "unknown_package");
        refused(&["order", "place", "acme", "sms-domestic-200:0"], "quantity_out_of_range");
        refused(&["order", "place", "acme", "sms-domestic-50000"], "insufficient_balance");
        refused(&["order", "place", "acme", "sms-international-1000-usd"], "other_currency");
        refused(&["order", "place", "acme", "direct-mail-50k"], "not_verified");
        refused(&["plan", "list", "nobody"], "unknown_account");
        refused(&["batch", "rejects", "7"], "unknown_batch");
        refused(&["batch", "retry", "7"], "unknown_batch");
        refused(&["explain", "message", "acme", "m-1"], "unknown_message");
        assert_eq!(digest_of(&database.url), before);
    });
}

#[test]
fn without_json_a_refusal_says_so_on_stderr_only() {
    let database = sqlite();
    let program = with_acme(&database);
    let answer = program.run(&["account", "show", "nobody"]).exits(1).says(&["nobody", "account list"]);
    assert_eq!(answer.stdout, "");
}

#[test]
fn an_account_without_money_may_not_buy() {
    on_both(|database| {
        let program = Program::on(database);
        program.run(&["migrate"]).exits(0);
        program.run(&["account", "add", "poor", "--name", "Poor"]).exits(0);
        let answer = program.run(&["order", "place", "poor", "sms-domestic-200", "--json"]);
        answer.refuses("purchase_not_allowed");
    });
}

#[test]
fn the_same_payment_or_order_again_changes_nothing() {
    on_both(|database| {
        let program = with_acme(database);
        let order = ["order", "place", "acme", "sms-domestic-200:2", "--reference", "po-1"];
        let first = program.json(&order);
        let before = digest_of(&database.url);
        assert_eq!(program.json(&order), first);
        let paid = program.json(&["account", "top-up", "acme", "100", "--reference", "cash-1"]);
        assert_eq!(paid["balance"], "96");
        assert_eq!(digest_of(&database.url), before);
        let other = ["order", "place", "acme", "sms-domestic-200:3", "--reference", "po-1", "--json"];
        program.run(&other).refuses("reference_conflict");
        assert_sound(&database.url);
    });
}

#[test]
fn wrong_usage_exits_with_2() {
    let database = sqlite();
    let program = Program::on(&database);
    for args in [
        &["no-such-command"][..],
        &["account"],
        &["account", "add"],
        &["account", "top-up", "acme", "ten", "--reference", "r"],
        &["account", "top-up", "acme", "0.0000001", "--reference", "r"],
        &["account", "add", "acme", "--name", "A", "--kind", "robot"],
        &["ingest", "messages"],
        &["ingest", "messages", "x.csv", "--source", "carrier-pigeon"],
        &["ingest", "messages", "x.csv", "--source", "smpp"],
        &["ingest", "messages", "x.csv", "--format", "xml"],
        &["order", "place", "acme", "sms-domestic-200:many"],
        &["--run-job", "no-such-job"],
        &["--run-job", "aggregate-charges", "status"],
        &["--dry-run", "status"],
        &["digest", "--no-such-flag"],
        &["batch", "rejects", "one"],
    ] {
        let answer = program.run(args).exits(2);
        assert_eq!(answer.stdout, "", "{}", answer.shown());
        assert!(!answer.stderr.is_empty(), "{}", answer.shown());
    }
    let mut nowhen = Program::on(&database);
    nowhen.at("2026-03-01 12:00").run(&["status"]).exits(2).says(&["offset"]);
    program.run(&["--run-job", "no-such-job"]).exits(2).says(&["aggregate-charges"]);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_changes_nothing() {
    on_both(|database| {
        let program = with_acme(database);
        program.run(&["order", "place", "acme", "sms-domestic-200"]).exits(0);
        let large = line("m-1", "acme", "verification", "203", "2026-03-01T12:00:00+08:00");
        let name = program.file("messages.csv", file(&[large]));
        program.run(&["ingest", "messages", &name]).exits(0);
        let before = digest_of(&database.url);
        let dry = run_job(&program, &["--dry-run"]).exits(0).json();
        assert_shape(&dry, &format!("{RUN} dry_run:bool effects:list effects_left_out:count"));
        assert_eq!(
            dry["effects"],
            json!([
                "acme  sms-domestic verification CN  3 units at 0.045 = 0.135",
                "acme  sms-domestic verification CN  200 units from plan acme-p1"
            ])
        );
        assert_eq!(digest_of(&database.url), before);
        assert_eq!(program.json(&["status"])["uncharged"]["batches"], 1);
        assert_eq!(program.json(&["jobs"])[0]["last_run"], json!(null));
        let real = run_job(&program, &[]).exits(0).json();
        assert_eq!(real["counts"], dry["counts"]);
        assert_ne!(digest_of(&database.url), before);
    });
}

#[test]
fn a_second_run_has_nothing_to_do() {
    on_both(|database| {
        let program = with_acme(database);
        let name = program.file("messages.csv", file(&[plain("m-1")]));
        program.run(&["ingest", "messages", &name]).exits(0);
        assert_eq!(run_job(&program, &[]).exits(0).json()["outcome"], "done");
        let after = digest_of(&database.url);
        for _ in 0..2 {
            assert_eq!(run_job(&program, &[]).exits(0).json()["outcome"], "nothing_to_do");
        }
        assert_eq!(digest_of(&database.url), after);
    });
}

#[test]
fn a_run_that_leaves_something_waiting_exits_with_3_and_status_lists_it() {
    on_both(|database| {
        let program = with_acme(database);
        let stranger = line("m-1", "stranger", "verification", "2", "2026-03-01T09:00:00+08:00");
        let name = program.file("messages.csv", file(&[stranger]));
        program.run(&["ingest", "messages", &name]).exits(0);
        let run = run_job(&program, &[]).exits(3).json();
        assert_eq!((&run["outcome"], &run["counts"]["suspended"]), (&json!("partial"), &json!(1)));
        let status = program.run(&["status", "--json"]).exits(3).json();
        assert_eq!(status["suspense"], json!({ "unknown_account": 1 }));
        let named = "account_id:text message_id:text batch:text line:count reason:text submit_time:time";
        assert_each(&status["suspense_messages"], named);

        program.run(&["account", "add", "stranger", "--name", "Now known"]).exits(0);
        let run = run_job(&program, &[]).exits(0).json();
        assert_eq!(run["counts"]["released"], 1);
        assert_eq!(program.json(&["account", "show", "stranger"])["unbilled"], "0.09");
        program.run(&["status"]).exits(0);
        assert_sound(&database.url);
    });
}

#[test]
fn f38_business_time_never_goes_back() {
    on_both(|database| {
        let mut program = with_acme(database);
        assert_eq!(run_job(&program, &[]).exits(0).json()["as_of"], NOON);
        program.at("2026-02-28T12:00:00+08:00");
        let name = program.file(
            "messages.csv",
            file(&[line("m-1", "acme", "verification", "1", "2026-02-28T11:00:00+08:00")]),
        );
        program.run(&["ingest", "messages", &name]).exits(0);
        let run = run_job(&program, &[]).exits(0).json();
        assert_eq!((&run["as_of"], &run["outcome"]), (&json!(NOON), &json!("done")));
        assert!(run["duration_ms"].as_i64() >= Some(0), "{run}");
        assert_sound(&database.url);
    });
}

#[test]
fn f33_a_run_that_finds_its_turn_taken_is_busy() {
    let Some(database) = postgres() else { return };
    let program = with_acme(&database);
    run_job(&program, &[]).exits(0);
    block_on(async {
        let mut other = PgConnection::connect(&database.url).await.expect("the server answers");
        let hold = "begin; select runs from jobs where job = 'aggregate-charges' for update";
        sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut other).await.expect("the row can be locked");
        run_job(&program, &[]).exits(75).says(&["try again"]);
        run_job(&program, &["--dry-run"]).exits(75);
        program.run(&["status"]).exits(0);
        sqlx::raw_sql(AssertSqlSafe("rollback")).execute(&mut other).await.expect("it can be released");
    });
    run_job(&program, &[]).exits(0);
}

#[test]
fn bad_input_exits_with_65_and_takes_nothing() {
    on_both(|database| {
        let program = with_acme(database);
        let utf16: Vec<u8> = "message_id".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let files = [
            program.file("empty.csv", ""),
            program.file("cut-header.csv", file(&[]).trim_end()),
            program.file("cr.csv", file(&[plain("m-1")]).replace('\n', "\r")),
            program.file("utf16.csv", [&[0xff, 0xfe][..], &utf16].concat()),
            program.file("array.json", "[{}]"),
            program.file("no-time.csv", "message_id,account_id,channel,submit_status\n"),
            program.file("twice.csv", "message_id,message_id,account_id,channel,submit_time,submit_status\n"),
            "missing.csv".to_owned(),
            ".".to_owned(),
        ];
        for name in &files {
            let answer = program.run(&["ingest", "messages", name, "--json"]).exits(65);
            assert!(answer.stderr.contains(name), "the file is not named\n{}", answer.shown());
        }
        assert_eq!(program.json(&["batch", "list"]), json!([]));
        // A header alone is a batch, too, once it has ended.
        let empty = program.file("header.csv", file(&[]));
        assert_eq!(program.run(&["ingest", "messages", &empty, "--json"]).exits(0).json()["lines"], 0);
        let good = program.file("good.csv", file(&[plain("m-1")]));
        let answer = program.run(&["ingest", "messages", &files[0], &good, "--json"]).exits(65);
        assert_eq!(answer.json_lines().last().expect("the good file")["accepted"], 1);
    });
}
