//! Notices by e-mail, against a server that does what real ones do (F96, F99-F103, F106, F107).

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quittance::domain::notice::{Fact, Notice, NoticeKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::databases::{on_both, sqlite};
use crate::support::lines::{file, line};
use crate::support::mail_server::{Does, MailServer, PASSWORD, Security, Step, USER};
use crate::support::notices::{at, bills, deliver, mailing, noon, secret, smtp, tell};
use crate::support::program::Program;

#[test]
fn a_notice_is_sent_once_over_tls_to_who_it_is_for() {
    on_both(|database| {
        let server = MailServer::kind(Security::Starttls);
        let mut program = mailing(database, &server, "starttls");
        bills(database, 2);
        let run = deliver(&mut program, 0, 0);
        let counts = json!({"notices": 2, "outdated": 0, "sent": 2, "later": 0, "failed": 0, "shut": 0});
        assert_eq!((&run["outcome"], &run["counts"]), (&json!("done"), &counts));
        assert_eq!(deliver(&mut program, 5, 0)["outcome"], "nothing_to_do");
        let letters = server.letters();
        let to: BTreeSet<_> = letters.iter().flat_map(|letter| letter.to.clone()).collect();
        assert_eq!(to, ["acme-0@customer.example", "acme-1@customer.example"].map(String::from).into());
        for letter in &letters {
            assert!(letter.encrypted);
            assert_eq!((letter.user.as_deref(), letter.from.as_str()), (Some(USER), "billing@example.com"));
            assert_eq!(letter.header("Date").as_deref(), Some("Sun, 01 Mar 2026 04:00:00 +0000"));
            assert_eq!(letter.header("Auto-Submitted").as_deref(), Some("auto-generated"));
            assert_eq!(letter.header("Subject").as_deref(), Some("Your bill for 2026-02: 12.34 CNY"));
            assert!(letter.id().starts_with("<bill_ready.") && letter.id().ends_with("@example.com>"));
            assert_eq!(letter.header("List-Unsubscribe"), None, "a bill is no reminder");
        }
    });
}

#[test]
fn implicit_tls_works_as_well() {
    let database = sqlite();
    let server = MailServer::kind(Security::Tls);
    bills(&database, 1);
    deliver(&mut mailing(&database, &server, "tls"), 0, 0);
    assert!(server.letters()[0].encrypted);
}

#[test]
fn a_server_that_knows_no_other_way_is_logged_in_to_by_name_and_password() {
    let database = sqlite();
    let server = MailServer::scripted(Security::Tls, |step, _| match step {
        Step::Ehlo => Does::Say("250-localhost\r\n250-AUTH LOGIN\r\n250 8BITMIME"),
        _ => Does::AsUsual,
    });
    bills(&database, 1);
    assert_eq!(deliver(&mut mailing(&database, &server, "tls"), 0, 0)["counts"]["sent"], 1);
    assert_eq!(server.letters()[0].user.as_deref(), Some(USER));
}

#[test]
fn f100_a_server_that_asks_to_come_back_is_asked_again_later() {
    let server = MailServer::scripted(Security::Plain, |step, count| match (step, count) {
        (Step::Rcpt, 0) => Does::Say("451 4.7.1 greylisted, come back"),
        (Step::Taken, 0) => Does::Say("452 4.2.2 no room"),
        (Step::Mail, 2) => Does::Say("421 4.3.2 closing"),
        _ => Does::AsUsual,
    });
    let database = sqlite();
    bills(&database, 1);
    let mut program = mailing(&database, &server, "none");
    let waits = |program: &mut Program, minute| {
        let run = deliver(program, minute, 0);
        assert_eq!((&run["counts"]["later"], &run["counts"]["sent"]), (&json!(1), &json!(0)), "{run}");
    };
    waits(&mut program, 0);
    assert_eq!(deliver(&mut program, 0, 0)["outcome"], "nothing_to_do", "not before its time");
    let listed = &program.json(&["notice", "list"])[0];
    assert_eq!((&listed["state"], &listed["attempts"]), (&json!("waiting"), &json!(1)));
    assert_eq!(listed["next_at"], at(1));
    assert!(listed["error"].as_str().unwrap().contains("greylisted"), "{listed}");
    assert_eq!(listed["to"], "a***@customer.example");
    waits(&mut program, 1);
    waits(&mut program, 3);
    assert_eq!(deliver(&mut program, 7, 0)["counts"]["sent"], 1);
    assert_eq!(server.letters().len(), 1);
    assert_eq!(program.json(&["notice", "list"])[0]["error"], json!(null));
}

#[test]
fn f100_a_server_that_refuses_for_good_is_not_asked_again() {
    let server = MailServer::scripted(Security::Plain, |step, count| match (step, count) {
        (Step::Rcpt, 0) => Does::Say("550 5.1.1 <acme-0@customer.example>: no such user"),
        _ => Does::AsUsual,
    });
    let database = sqlite();
    bills(&database, 1);
    let mut program = mailing(&database, &server, "none");
    let answer = program.run(&["--run-job", "deliver-notifications"]).exits(3);
    assert!(answer.stderr.contains("550") && !answer.stderr.contains("acme-0@"), "{}", answer.shown());
    assert_eq!(deliver(&mut program, 5_000, 0)["outcome"], "nothing_to_do");
    let status = program.run(&["status", "--json"]).exits(3).json();
    assert_eq!(status["notices"], json!({"waiting": 0, "failed": 1}));
    let listed = &program.json(&["notice", "list", "--failed"])[0];
    assert_eq!((&listed["state"], &listed["channel"]), (&json!("failed"), &json!("email")));
    let id = listed["notice_id"].as_str().unwrap();
    assert_eq!(program.json(&["notice", "retry", id])["retried"], 1);
    assert_eq!(deliver(&mut program, 5_001, 0)["counts"]["sent"], 1);
    program.run(&["notice", "retry", id, "--json"]).refuses("no_failed_delivery");
    program.run(&["notice", "dismiss", id, "--json"]).refuses("no_failed_delivery");
    program.run(&["status"]).exits(0);
}

#[test]
fn f100_all_that_failed_is_tried_again_or_put_away_at_once() {
    on_both(|database| {
        let server = MailServer::scripted(Security::Plain, |step, count| match (step, count) {
            (Step::Rcpt, 0..5) => Does::Say("550 5.1.1 no such user"),
            _ => Does::AsUsual,
        });
        bills(database, 3);
        let mut program = mailing(database, &server, "none");
        deliver(&mut program, 0, 3);
        assert_eq!(program.json(&["notice", "retry", "all"]), json!({"notice_id": null, "retried": 3}));
        // Two fail once more.
        deliver(&mut program, 1, 3);
        assert_eq!(program.json(&["notice", "dismiss", "all"])["dismissed"], 2);
        assert_eq!(program.json(&["notice", "retry", "all"])["retried"], 0);
        program.run(&["status"]).exits(0);
    });
}

/// The same account, kind and time in two installations are two notices, also to a receiver of both (F101).
#[test]
fn f101_letters_of_two_installations_are_told_apart() {
    let server = MailServer::kind(Security::Plain);
    for _ in 0..2 {
        let database = sqlite();
        bills(&database, 1);
        deliver(&mut mailing(&database, &server, "none"), 0, 0);
    }
    let ids: BTreeSet<String> = server.letters().iter().map(|letter| letter.id()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
}

#[test]
fn f100_what_a_server_has_against_us_gives_no_letter_up() {
    let refusals = [
        (Step::Mail, "553 5.7.1 sender not owned by user"),
        (Step::Rcpt, "530 5.7.0 authentication required"),
        (Step::Rcpt, "554 5.7.1 relay access denied"),
    ];
    for (refused, word) in refusals {
        let server = MailServer::scripted(Security::Plain, move |step, count| match step {
            step if step == refused && count < 2 => Does::Say(word),
            _ => Does::AsUsual,
        });
        let database = sqlite();
        bills(&database, 2);
        let mut program = mailing(&database, &server, "none");
        let run = deliver(&mut program, 0, 0);
        let counts = ["failed", "sent", "later"].map(|name| run["counts"][name].clone());
        assert_eq!(counts, [0, 0, 2].map(|count| json!(count)), "{word}: {run}");
        for minute in [30, 90] {
            deliver(&mut program, minute, 0);
        }
        assert_eq!(server.letters().len(), 2, "{word}");
    }
}

#[test]
fn f100_what_can_not_be_delivered_for_days_is_given_up() {
    let server = MailServer::scripted(Security::Plain, |step, _| match step {
        Step::Rcpt => Does::Say("451 4.7.1 come back"),
        _ => Does::AsUsual,
    });
    let database = sqlite();
    bills(&database, 1);
    let mut program = mailing(&database, &server, "none");
    deliver(&mut program, 0, 0);
    deliver(&mut program, 71 * 60, 0);
    let run = deliver(&mut program, 72 * 60 + 61, 3);
    assert_eq!(run["counts"]["failed"], 1);
    let error = program.json(&["notice", "list"])[0]["error"].clone();
    assert!(error.as_str().unwrap().starts_with("given up after 72 hours: "), "{error}");
    let id = program.json(&["notice", "list"])[0]["notice_id"].clone();
    assert_eq!(program.json(&["notice", "dismiss", id.as_str().unwrap()])["dismissed"], 1);
    program.run(&["status"]).exits(0);
}

#[test]
fn f99_a_server_that_hangs_holds_nothing_up() {
    for hangs in [Step::Connect, Step::Ehlo, Step::Rcpt, Step::Data, Step::Taken] {
        let server =
            MailServer::scripted(
                Security::Plain,
                move |step, _| {
                    if step == hangs { Does::Hang } else { Does::AsUsual }
                },
            );
        let database = sqlite();
        bills(&database, 100);
        let mut program = mailing(&database, &server, "none");
        program.configure(&smtp(server.port, "none", "deadline = \"2 seconds\"\nconnections = 2"));
        let messages = file(&[line("m1", "acme-0", "verification", "1", "2026-03-01T11:00:00+08:00")]);
        let name = program.file("m.csv", messages);
        let began = Instant::now();
        let delivering = program.start(&["--run-job", "deliver-notifications", "--json"], b"");
        server.wait_for(hangs);
        // Billing does not wait for it.
        program.run(&["ingest", "messages", &name]).exits(0);
        program.run(&["--run-job", "aggregate-charges"]).exits(0);
        let run = delivering.answer().exits(3).json();
        assert!(began.elapsed() < Duration::from_secs(20), "{hangs:?}: {:?}", began.elapsed());
        // A hundred letters did not wait for it one by one.
        assert_eq!(run["counts"]["shut"], 1, "{run}");
        assert!((3..=4).contains(&run["counts"]["later"].as_i64().unwrap()), "{run}");
        let listed = program.json(&["notice", "list", "--limit", "200"]);
        let listed = listed.as_array().unwrap();
        let untouched = listed.iter().filter(|row| row["attempts"] == 0 && row["state"] == "waiting");
        assert!(untouched.count() >= 96, "{hangs:?}");
    }
}

#[test]
fn f101_a_line_that_breaks_after_the_letter_brings_it_again_under_the_same_name() {
    let server = MailServer::scripted(Security::Plain, |step, count| match (step, count) {
        (Step::Taken, 0) => Does::Drop,
        _ => Does::AsUsual,
    });
    let database = sqlite();
    bills(&database, 1);
    let mut program = mailing(&database, &server, "none");
    assert_eq!(deliver(&mut program, 0, 0)["counts"]["later"], 1);
    assert_eq!(deliver(&mut program, 1, 0)["counts"]["sent"], 1);
    let ids: Vec<_> = server.letters().iter().map(|letter| letter.id()).collect();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
}

#[test]
fn f101_killed_at_any_step_nothing_is_lost_and_at_most_one_comes_twice() {
    for step in [Step::Connect, Step::Mail, Step::Rcpt, Step::Data, Step::Taken] {
        on_both(|database| {
            let victim: Arc<Mutex<Option<Pid>>> = Arc::default();
            let found = victim.clone();
            let server = MailServer::scripted(Security::Plain, move |at, count| {
                // In the middle of the portion; after `Taken` the letter is there and nobody knows it.
                if at == step && count == usize::from(step != Step::Connect) * 2 {
                    let pid = (0..10_000_000).find_map(|_| *found.lock().unwrap()).expect("its id");
                    kill_process(pid, Signal::KILL).expect("it can be killed");
                    return Does::Drop;
                }
                Does::AsUsual
            });
            bills(database, 5);
            let mut program = mailing(database, &server, "none");
            program.configure(&smtp(server.port, "none", "connections = 1"));
            let run = program.start(&["--run-job", "deliver-notifications"], b"");
            *victim.lock().unwrap() = Some(run.pid());
            assert_eq!(run.answer().code, -1, "{step:?}");
            // The dead sender's claims are taken over at once.
            deliver(&mut program, 1, 0);
            let letters = server.letters();
            let ids: BTreeSet<_> = letters.iter().map(|letter| letter.id()).collect();
            assert_eq!(ids.len(), 5, "{step:?}");
            // Twice at most those that were answered and not noted: the one in doubt, and the two before it,
            // which may have been on their way into the books.
            let of = |id: &String| letters.iter().filter(|letter| letter.id() == *id).count();
            assert!(ids.iter().all(|id| of(id) <= 2), "{step:?}");
            let least = usize::from(step == Step::Taken);
            assert!((5 + least..=8).contains(&letters.len()), "{step:?}: {}", letters.len());
            assert_eq!(deliver(&mut program, 2, 0)["outcome"], "nothing_to_do");
        });
    }
}

#[test]
fn f36_told_to_end_it_ends_the_letters_under_way_and_leaves_the_others_to_the_next_run() {
    on_both(|database| {
        let server = MailServer::kind(Security::Plain);
        bills(database, 2_000);
        let mut program = mailing(database, &server, "none");
        let run = program.start(&["--run-job", "deliver-notifications", "--json"], b"");
        server.wait_for(Step::Taken);
        run.signal(Signal::TERM);
        let began = Instant::now();
        let answer = run.answer();
        assert!(began.elapsed() < Duration::from_secs(30), "{}", answer.shown());
        let before = server.letters().len();
        assert!((1..2_000).contains(&before), "{before} letters had been sent\n{}", answer.shown());
        let sent = deliver(&mut program, 1, 0)["counts"]["sent"].as_u64();
        assert_eq!(sent, Some(2_000 - before as u64), "what was sent had been noted\n{}", answer.shown());
        let ids: BTreeSet<_> = server.letters().iter().map(|letter| letter.id()).collect();
        assert_eq!((ids.len(), server.letters().len()), (2_000, 2_000));
    });
}

#[test]
fn f102_two_programs_at_once_send_each_letter_once() {
    on_both(|database| {
        let server = MailServer::kind(Security::Plain);
        bills(database, 300);
        let program = mailing(database, &server, "none");
        let runs: Vec<_> =
            (0..3).map(|_| program.start(&["--run-job", "deliver-notifications"], b"")).collect();
        let codes: Vec<i32> = runs.into_iter().map(|run| run.answer().code).collect();
        assert!(codes.iter().all(|code| [0, 75].contains(code)) && codes.contains(&0), "{codes:?}");
        let ids: BTreeSet<_> = server.letters().iter().map(|letter| letter.id()).collect();
        assert_eq!((ids.len(), server.letters().len()), (300, 300));
    });
}

#[test]
fn nothing_is_said_to_a_server_that_can_not_prove_itself_and_no_password_in_the_clear() {
    let database = sqlite();
    bills(&database, 1);
    // Its authority is not trusted.
    let server = MailServer::kind(Security::Starttls);
    let mut program = mailing(&database, &server, "starttls");
    program.set("SSL_CERT_FILE", "/dev/null");
    let run = program.run(&["--run-job", "deliver-notifications", "--json"]).exits(0);
    assert_eq!((server.count(Step::Auth), server.count(Step::Mail)), (0, 0), "{}", run.shown());
    // It has no TLS at all.
    let server = MailServer::kind(Security::Plain);
    let mut program = mailing(&database, &server, "starttls");
    program.at(&at(10)).run(&["--run-job", "deliver-notifications", "--json"]).exits(0);
    assert_eq!((server.count(Step::Auth), server.count(Step::Mail)), (0, 0));
    // In the clear only on this machine.
    program.configure(&smtp(25, "none", "").replace("localhost", "mail.example.com"));
    program.run(&["check-config"]).exits(78).says(&["quittance.toml:7:7", "in the clear"]);
}

#[test]
fn f106_a_wrong_password_loses_nothing_and_is_never_shown() {
    let server = MailServer::kind(Security::Starttls);
    let database = sqlite();
    bills(&database, 3);
    let mut program = mailing(&database, &server, "starttls");
    secret(&program, "smtp-password", "wrong-password\n");
    program.set("QUITTANCE_LOG", "debug");
    let run = program.run(&["--run-job", "deliver-notifications", "--json"]).exits(3);
    assert_eq!(run.json()["counts"]["failed"], 0, "{}", run.shown());
    assert!(run.stderr.contains("535"), "{}", run.shown());
    secret(&program, "smtp-password", PASSWORD);
    program.at(&at(5));
    let again = program.run(&["--run-job", "deliver-notifications", "--json"]).exits(0);
    assert_eq!(again.json()["counts"]["sent"], 3);
    for said in [&run, &again] {
        for word in ["wrong-password", PASSWORD, "@customer.example"] {
            assert!(!said.stdout.contains(word) && !said.stderr.contains(word), "{word}: {}", said.shown());
        }
    }
}

#[test]
fn f107_a_password_that_others_can_read_is_not_used() {
    let server = MailServer::kind(Security::Starttls);
    let database = sqlite();
    bills(&database, 1);
    let program = mailing(&database, &server, "starttls");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(program.path("smtp-password"), open).unwrap();
    program.run(&["check-config"]).exits(78).says(&["smtp.password_file", "chmod 640"]);
    program.run(&["--run-job", "deliver-notifications"]).exits(3).says(&["chmod 640"]);
    assert_eq!(server.count(Step::Connect), 0);
    let run = |mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(program.path("smtp-password"), mode).unwrap();
        program.run(&["--run-job", "deliver-notifications"])
    };
    run(0o640).exits(0);
    assert_eq!(server.letters().len(), 1);
}

#[test]
fn f103_no_name_or_fact_becomes_a_header_or_ends_the_letter() {
    let server = MailServer::kind(Security::Plain);
    let database = sqlite();
    bills(&database, 1);
    let reason = "x\r\n.\r\nMAIL FROM:<a@b.c>\r\nBcc: evil@example.com\r\n\r\n.leading dot";
    let facts = vec![
        ("product", Fact::Text("sms-domestic".into())),
        ("package", Fact::Text("p\r\nBcc: evil@example.com".into())),
        ("available", Fact::Money(quittance::domain::money::Micros(1))),
        ("reason", Fact::Text(reason.into())),
    ];
    let notice = Notice { kind: NoticeKind::RenewalFailed, subject: "a\r\nb".into(), due: noon(), facts };
    tell(&database, "acme-0", &notice, noon());
    deliver(&mut mailing(&database, &server, "none"), 0, 0);
    let letters = server.letters();
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        let head = letter.text.split("\r\n\r\n").next().unwrap();
        assert!(!head.contains("\r\nBcc"), "{head}");
        assert_eq!(letter.to, ["acme-0@customer.example"]);
        assert_eq!(letter.from, "billing@example.com");
    }
}

#[test]
fn ten_thousand_notices_arrive_once_each() {
    let server = MailServer::kind(Security::Plain);
    let database = sqlite();
    bills(&database, 10_000);
    let mut program = mailing(&database, &server, "none");
    let began = Instant::now();
    let run = deliver(&mut program, 0, 0);
    eprintln!("10,000 letters over SMTP on four connections: {:?}", began.elapsed());
    assert_eq!(run["counts"]["sent"], 10_000);
    let letters = server.letters();
    let ids: BTreeSet<_> = letters.iter().map(|letter| letter.id()).collect();
    let to: BTreeSet<_> = letters.iter().map(|letter| letter.to[0].clone()).collect();
    assert_eq!((letters.len(), ids.len(), to.len()), (10_000, 10_000, 10_000));
    assert_eq!(server.count(Step::Connect), 4);
    assert_eq!(deliver(&mut program, 1, 0)["outcome"], "nothing_to_do");
}
