//! Notices from the command line: the inbox, what accounts want, what becomes of copies, and who is told
//! what (R11, R12, R26, R143, F20, F32).

use quittance::domain::money::Micros;
use quittance::domain::notice::{Fact, Notice, NoticeKind};
use quittance::domain::period::Timestamp;
use serde_json::json;

use crate::support::databases::{on_both, sqlite};
use crate::support::lines::{file, line};
use crate::support::notices::{at, bills, deliver, noon, tell};
use crate::support::program::{NOON, Program};

const DIR: &str =
    "[notices]\noperator = [\"ops@example.com\"]\n[smtp]\ndir = \"mail\"\nfrom = \"b@example.com\"\n";

/// The names of the letters that were written.
fn letters(program: &Program) -> usize {
    std::fs::read_dir(program.path("mail")).map_or(0, Iterator::count)
}

#[test]
fn an_inbox_needs_no_configuration() {
    on_both(|database| {
        bills(database, 1);
        let program = Program::on(database);
        let inbox = program.json(&["inbox", "acme-0"]);
        let expected = json!([{
            "notice_id": inbox[0]["notice_id"],
            "kind": "bill_ready",
            "subject": "2026-02",
            "due": NOON,
            "at": NOON,
            "read": false,
            "title": "Your bill for 2026-02: 12.34 CNY",
            "text": "Dear Acme 短信 acme-0,\n\nYour bill for 2026-02 is ready. It comes to 12.34 CNY.\n\nIt was \
                     paid from your balance; an invoice can be asked for now.\n\nQuittance\nAccount acme-0, \
                     2026-03-01 12:00\n",
            "facts": { "month": "2026-02", "total": "12.34", "due": "0" },
        }]);
        assert_eq!(inbox, expected);
        let id = inbox[0]["notice_id"].as_str().unwrap();
        assert_eq!(program.json(&["inbox", "acme-0", "--unread"]).as_array().unwrap().len(), 1);
        assert_eq!(program.json(&["inbox", "read", "acme-0", id]), json!({"read": 1}));
        assert_eq!(program.json(&["inbox", "read", "acme-0", "all"]), json!({"read": 0}));
        assert_eq!(program.json(&["inbox", "acme-0", "--unread"]), json!([]));
        assert_eq!(program.json(&["inbox", "acme-0"])[0]["read"], true);
        assert_eq!(program.json(&["inbox", "--operator"]), json!([]));
        program.run(&["inbox", "nobody", "--json"]).refuses("unknown_account");
        program.run(&["inbox", "read", "acme-0", "99", "--json"]).refuses("unknown_notice");
        program.run(&["inbox"]).exits(2);
        // Not before its time.
        let mut early = Program::on(database);
        assert_eq!(early.at("2026-03-01T11:59:59+08:00").json(&["inbox", "acme-0"]), json!([]));
    });
}

#[test]
fn an_account_says_what_it_wants_and_how() {
    let database = sqlite();
    bills(&database, 2);
    let mut program = Program::on(&database);
    program.configure(DIR);
    program.run(&["notice", "set", "acme-0", "all", "email", "off"]).exits(0);
    let said = program.json(&["notice", "set", "acme-0", "bill_ready", "inbox", "off"]);
    let settings = json!([
        {"kind": "all", "channel": "email", "setting": "off"},
        {"kind": "bill_ready", "channel": "inbox", "setting": "off"},
    ]);
    assert_eq!(said, json!({"account_id": "acme-0", "settings": settings}));
    assert_eq!(deliver(&mut program, 0, 0)["counts"]["sent"], 1);
    assert_eq!(program.json(&["inbox", "acme-0"]), json!([]));
    assert_eq!(program.json(&["inbox", "acme-1"]).as_array().unwrap().len(), 1);
    let said = program.json(&["notice", "set", "acme-0", "all", "email", "default"]);
    assert_eq!(said["settings"].as_array().unwrap().len(), 1);
    program.run(&["notice", "set", "acme-0", "bills", "email", "off"]).exits(2).says(&["bill_ready"]);
    program.run(&["notice", "settings", "nobody", "--json"]).refuses("unknown_account");
}

#[test]
fn f20_a_copy_of_the_books_writes_to_nobody() {
    let database = sqlite();
    bills(&database, 1);
    let mut program = Program::on(&database);
    program.configure(DIR);
    deliver(&mut program, 0, 0);
    assert_eq!(letters(&program), 1);
    let original = database.url.strip_prefix("sqlite://").unwrap();
    let copy = program.path("copy.db");
    std::fs::copy(original, &copy).unwrap();
    let mut copied = Program::on_url(&format!("sqlite://{}", copy.display()));
    copied.configure(DIR);
    let again = Notice { kind: NoticeKind::Suspended, subject: "9".into(), due: noon(), facts: available() };
    let beside = crate::support::databases::TestDatabase::at(&format!("sqlite://{}", copy.display()));
    tell(&beside, "acme-0", &again, noon());
    let answer = copied.run(&["--run-job", "deliver-notifications"]).exits(1);
    let answer = answer.says(&["these books are a copy", original, "quittance notice adopt"]);
    assert_eq!(letters(&copied), 0, "{}", answer.shown());
    let adopted = copied.json(&["notice", "adopt"]);
    assert!(adopted["before"][0].as_str().unwrap().starts_with(original), "{adopted}");
    deliver(&mut copied, 1, 0);
    assert_eq!(letters(&copied), 1);
    // Those that stayed where they were go on.
    tell(&database, "acme-0", &again, noon());
    assert_eq!(deliver(&mut program, 1, 0)["counts"]["sent"], 1);
}

fn available() -> Vec<(&'static str, Fact)> {
    vec![("available", Fact::Money(Micros(-1)))]
}

#[test]
fn f20_what_waits_in_a_copy_can_be_put_away() {
    let database = sqlite();
    bills(&database, 3);
    let mut program = Program::on(&database);
    program.configure(DIR);
    assert_eq!(program.json(&["notice", "adopt", "--discard"])["discarded"], 0);
    assert_eq!(deliver(&mut program, 0, 0)["outcome"], "nothing_to_do");
}

#[test]
fn what_is_too_late_is_not_sent() {
    let database = sqlite();
    bills(&database, 1);
    let ends = noon().plus_micros(Timestamp::HOUR);
    let mut facts =
        vec![("plan", Fact::Text("acme-0-p1".into())), ("product", Fact::Text("sms-domestic".into()))];
    facts.extend([
        ("remaining", Fact::Count(5)),
        ("expires_at", Fact::Time(ends)),
        ("days_left", Fact::Count(0)),
    ]);
    let notice = Notice { kind: NoticeKind::PlanExpiring, subject: "acme-0-p1".into(), due: noon(), facts };
    tell(&database, "acme-0", &notice, noon());
    let mut program = Program::on(&database);
    program.configure(DIR);
    // The plan has ended meanwhile; the bill still matters.
    let run = deliver(&mut program, 61, 0);
    assert_eq!((&run["counts"]["sent"], &run["counts"]["outdated"]), (&json!(1), &json!(1)));
    // What nobody could send for days is for the inbox alone.
    tell(
        &database,
        "acme-0",
        &Notice { kind: NoticeKind::Suspended, subject: "1".into(), due: noon(), facts: available() },
        noon(),
    );
    let run = deliver(&mut program, 72 * 60, 0);
    assert_eq!((&run["counts"]["sent"], &run["counts"]["outdated"]), (&json!(0), &json!(1)));
    assert_eq!(program.json(&["inbox", "acme-0"]).as_array().unwrap().len(), 3);
}

#[test]
fn the_operator_is_told_of_a_job_that_fails_three_times_and_of_what_waits() {
    let database = sqlite();
    let mut program = Program::on(&database);
    // No such mail directory can be made: a file is in its place.
    program.configure(&DIR.replace("\"mail\"", "\"mail/box\""));
    program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
    // A conflict waits for somebody.
    let first =
        program.file("1.csv", file(&[line("m1", "acme", "verification", "1", "2026-03-01T09:00:00+08:00")]));
    let second =
        program.file("2.csv", file(&[line("m1", "acme", "verification", "2", "2026-03-01T09:00:00+08:00")]));
    program.run(&["ingest", "messages", &first]).exits(0);
    program.run(&["ingest", "messages", &second]).exits(3);
    let run = program.run(&["--run-job", "send-reminders", "--json"]).exits(0).json();
    assert_eq!(run["counts"], json!({"plans": 0, "balances": 0, "waiting": 1}));
    let again = program.run(&["--run-job", "send-reminders", "--json"]).exits(0).json();
    assert_eq!(again["outcome"], "nothing_to_do");
    let inbox = program.json(&["inbox", "--operator"]);
    assert_eq!(inbox[0]["title"], "A case waits for a decision");
    assert_eq!(deliver(&mut program, 1, 0)["counts"]["sent"], 1);
    assert_eq!(std::fs::read_dir(program.path("mail/box")).unwrap().count(), 1);
}

#[test]
fn three_failures_of_a_job_in_a_row_are_told_once_a_day() {
    let database = sqlite();
    bills(&database, 1);
    let mut program = Program::on(&database);
    program.configure(DIR);
    deliver(&mut program, 0, 0);
    let copy = program.path("copy.db");
    std::fs::copy(database.url.strip_prefix("sqlite://").unwrap(), &copy).unwrap();
    let mut copied = Program::on_url(&format!("sqlite://{}", copy.display()));
    copied.configure(DIR);
    let beside = crate::support::databases::TestDatabase::at(&format!("sqlite://{}", copy.display()));
    let again = Notice { kind: NoticeKind::Suspended, subject: "9".into(), due: noon(), facts: available() };
    tell(&beside, "acme-0", &again, noon());
    for tries in 1..=4 {
        copied.at(&at(tries)).run(&["--run-job", "deliver-notifications"]).exits(1);
        let told = copied.json(&["inbox", "--operator"]);
        assert_eq!(told.as_array().unwrap().len(), usize::from(tries >= 3), "{tries}");
    }
    let told = &copied.json(&["inbox", "--operator"])[0];
    assert_eq!(told["title"], "Job deliver-notifications failed 3 times in a row");
    assert!(told["facts"]["error"].as_str().unwrap().starts_with("these books are a copy"), "{told}");
}

const PDF: &str = "application/pdf";

#[test]
fn templates_of_the_operators_own_are_checked_and_used() {
    let database = sqlite();
    bills(&database, 1);
    let mut program = Program::on(&database);
    program.configure(DIR);
    let place = |name: &str| format!("templates/bill_ready/en/{name}");
    std::fs::create_dir_all(program.path("templates/bill_ready/en")).unwrap();
    program.file(&place("subject.txt"), "Pay {{ totl }}\n");
    program.run(&["check-config"]).exits(78).says(&["templates/bill_ready/en/subject.txt:1:1", "totl"]);
    program.file(&place("subject.txt"), "Pay {{ total }}, {{ name }}\n");
    program.run(&["check-config"]).exits(0);
    let preview = program.json(&["notice", "preview", "bill_ready", "--account", "acme-0"]);
    assert_eq!(preview["subject"], "Pay 4,940.04 CNY, Acme 短信 acme-0");
    let attachment = &preview["attachments"][0];
    assert_eq!((&attachment["name"], &attachment["type"]), (&json!("bill-acme-0-2026-02.pdf"), &json!(PDF)));
    assert!(attachment["bytes"].as_u64().expect("a size") > 5_000, "{attachment}");
    let shown = program.run(&["notice", "preview", "bill_ready", "--account", "acme-0"]).exits(0);
    let last = shown.stdout.trim_end().lines().last().expect("a line").to_owned();
    assert!(last.starts_with("Attached: bill-acme-0-2026-02.pdf, application/pdf, "), "{last}");
    assert_eq!(program.json(&["notice", "preview", "overdue"])["attachments"], json!([]));
    let preview = program.json(&["notice", "preview", "bill_ready", "--locale", "zh-CN", "--channel", "sms"]);
    assert_eq!(preview["text"], "您的2026-02账单4,940.04 CNY，欠费12.34 CNY。");
    assert_eq!((&preview["segments"], letters(&program)), (&json!(1), 0));
    program.run(&["notice", "preview", "job_failed", "--channel", "sms"]).exits(2);
    deliver(&mut program, 0, 0);
    assert_eq!(program.json(&["inbox", "acme-0"])[0]["title"], "Pay 12.34 CNY, Acme 短信 acme-0");
}

#[test]
fn faults_of_how_people_are_told_are_named_with_their_place() {
    let mut program = Program::configured();
    let config = "[notices]\noperator = [\"nobody\"]\nchannels = [\"fax\"]\nquota_low = \"20\"\n\
                  plan_expiring = [400]\n[notices.kinds]\nbill_redy = [\"email\"]\n[smtp]\nhost = \"mail.example.com\"\n\
                  from = \"a@b.c\\r\\nBcc: x@y.z\"\nuser = \"u\"\n[sms]\nurl = \"https://10.0.0.1/x\"\n\
                  body = \"{{ phon }}\"\n[webhook]\nurl = \"https://example.com/\"\n";
    program.configure(config);
    program.run(&["check-config"]).exits(78).says(&[
        "quittance.toml:2:13: `operator`: `***` is not an e-mail address",
        "quittance.toml:3:13: `channels`: `fax` is unknown",
        "quittance.toml:4:13: `quota_low`",
        "quittance.toml:5:18: `plan_expiring`: 400",
        "quittance.toml:7:1: `bill_redy` is no kind of notice: did you mean `bill_ready`?",
        "quittance.toml:10:8: `from`: an e-mail address has no line breaks",
        "`user` and `password_file` belong together",
        "quittance.toml:13:7: `url`: 10.0.0.1 is in a private network",
        "quittance.toml:14:8: `body`",
        "the key `secret_file` is missing",
    ]);
}
