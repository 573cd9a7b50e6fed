//! Accounts at the command line: money in and out, standing, and what they look like.

use crate::support::databases::on_both;
use crate::support::desk::Desk;
use crate::support::lines::{file, line};
use crate::support::shape::assert_shape;

#[test]
fn payments_tell_their_payer_and_point_out_another_entity() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = &desk.program;
        let top_up = ["account", "top-up", "acme", "5", "--reference", "b-1", "--payer", "ACME"];
        let own = program.json(&top_up);
        assert_shape(
            &own,
            "account_id:text balance:money available:money due:money status:text payer:text payer_matches:bool",
        );
        assert_eq!((&own["balance"], &own["payer_matches"]), (&"1005".into(), &true.into()));
        let other =
            program.run(&["account", "top-up", "acme", "5", "--reference", "b-2", "--payer", "Holding"]);
        other.exits(0).tells(&["Balance 1010.00 CNY", "Paid by Holding, not by Acme"]);
        program.json(&["account", "withdraw", "acme", "10", "--reference", "out-1"]);
        let payments = program.json(&["account", "payments", "acme"]);
        let told =
            |key: &str| payments.as_array().unwrap().iter().map(|p| p[key].clone()).collect::<Vec<_>>();
        assert_eq!(payments.as_array().unwrap().len(), 4);
        assert_shape(
            &payments[0],
            "at:time kind:text reference:text amount:money payer:text? payer_matches:bool?",
        );
        assert!(told("kind").contains(&"withdrawal".into()), "{payments}");
        let table = program.run(&["account", "payments", "acme"]).exits(0);
        table.tells(&["withdrawal", "Holding (another entity)"]);
    });
}

#[test]
fn what_is_due_is_told_by_what_it_is_for() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = &desk.program;
        for (amount, reason) in [("900", "spam"), ("150", "more of it"), ("20.5", "and more")] {
            let done = program.json(&["account", "penalize", "acme", amount, "--reason", reason]);
            assert_shape(&done, "account_id:text balance:money available:money due:money status:text");
        }
        let shown = program.json(&["account", "show", "acme"]);
        assert_eq!((&shown["due"], &shown["available"]), (&"70.5".into(), &"-70.5".into()));
        assert_eq!((&shown["status"], &shown["overdue"]), (&"suspended".into(), &true.into()));
        let open = |n: usize| (shown["claims"][n]["ref"].clone(), shown["claims"][n]["open"].clone());
        assert_eq!([open(0), open(1)], [("3".into(), "20.5".into()), ("2".into(), "50".into())]);
        // Payments pay the oldest first.
        program.json(&["account", "top-up", "acme", "60", "--reference", "b-1"]);
        let shown = program.json(&["account", "show", "acme"]);
        assert_eq!(shown["claims"].as_array().map(Vec::len), Some(1));
        assert_eq!((&shown["claims"][0]["ref"], &shown["claims"][0]["open"]), (&"3".into(), &"10.5".into()));
        program.run(&["account", "show", "acme"]).exits(0).tells(&["10.50 of penalty 3, since"]);
    });
}

#[test]
fn r56_standing_is_told_to_people_scripts_and_gateways() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = &desk.program;
        let held = program.json(&["account", "hold", "acme", "--reason", "phishing"]);
        assert_eq!((&held["status"], &held["held"]), (&"suspended".into(), &"phishing".into()));
        assert_eq!(held["overdue"], false);
        program.run(&["account", "show", "acme"]).exits(0).tells(&["suspended (held: phishing)"]);
        program.run(&["order", "place", "acme", "sms-domestic-200", "--json"]).refuses("account_held");
        program.run(&["account", "release", "acme"]).exits(0).tells(&["is released: active."]);
        program.run(&["account", "release", "acme", "--json"]).refuses("not_held");
        let events = program.json(&["account", "events", "acme"]);
        assert_shape(&events[0], "at:time status:text reason:text available:money cause:text?");
        assert_eq!((&events[0]["reason"], &events[1]["status"]), (&"phishing".into(), &"active".into()));
        program.run(&["account", "events", "acme"]).exits(0).tells(&["phishing", "released"]);
    });
}

#[test]
fn a_closed_account_keeps_its_books_and_loses_its_personal_data() {
    on_both(|database| {
        let desk = Desk::open(database);
        let program = &desk.program;
        let personal = ["--kind", "individual", "--email", "ann@example.com", "--phone", "+8613800000000"];
        let add = [&["account", "add", "ann", "--name", "Ann Li"][..], &personal].concat();
        program.run(&add).exits(0);
        program.run(&["account", "top-up", "ann", "3", "--reference", "b-1"]).exits(0);
        desk.take("m.csv", file(&[line("m-1", "ann", "verification", "1", "2026-03-01T09:00:00+08:00")]));
        program.run(&["account", "close", "ann", "--json"]).refuses("charging_behind");
        desk.charge();
        let words = program.run(&["account", "close", "ann"]).exits(0);
        words.tells(&[
            "Account ann is closed.",
            "3.00 CNY can be paid out",
            "0.045 CNY are still to be billed",
        ]);
        let shown = program.json(&["account", "show", "ann"]);
        assert_eq!((&shown["status"], &shown["name"]), (&"closed".into(), &"(closed)".into()));
        assert_eq!((&shown["balance"], &shown["unbilled"]), (&"3".into(), &"0.045".into()));
        let dump = program.run(&["account", "list", "--json"]).shown();
        assert!(!dump.contains("ann@example.com") && !dump.contains("13800000000"), "{dump}");
        program.run(&["account", "close", "ann"]).exits(0);
        program
            .run(&["account", "set", "ann", "--email", "x@example.com", "--json"])
            .refuses("account_closed");
        program.run(&["account", "withdraw", "ann", "2.95", "--reference", "out", "--json"]).exits(0);
    });
}
