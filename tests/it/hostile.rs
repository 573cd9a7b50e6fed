//! Bad lines and bad text: each fault is answered by line, with its reason, and
//! everything else in the file proceeds.

use serde_json::json;

use crate::support::books::digest_of;
use crate::support::databases::{execute, on_both, postgres, sqlite};
use crate::support::desk::{Counts, Desk, at_both_desks, taken};
use crate::support::lines::{HEADER, file, line, plain};

const NINE: &str = "2026-03-01T09:00:00+08:00";

/// Hands in one line each and compares the reasons; an empty reason stands for "accepted".
#[track_caller]
fn assert_reasons(desk: &Desk, name: &str, head: &str, cases: &[(String, &str)]) {
    let content: String = cases.iter().map(|(line, _)| line.as_str()).collect();
    let (batch, counts) = desk.take(name, format!("{head}{content}"));
    let expected: Vec<(i64, String)> = (1..)
        .zip(cases)
        .filter(|(_, (_, reason))| !reason.is_empty())
        .map(|(number, (_, reason))| (number, (*reason).to_owned()))
        .collect();
    assert_eq!(desk.reasons(&batch), expected, "{name}:\n{content}");
    let rejected = expected.len() as i64;
    assert_eq!(counts, Counts { accepted: cases.len() as i64 - rejected, rejected, ..Counts::default() });
}

#[test]
fn f45_impossible_and_ambiguous_times_are_rejected_and_never_guessed() {
    at_both_desks(|desk| {
        let times = [
            ("2026-02-28T23:59:60+08:00", ""),
            ("2026-03-01T01:00:00Z", ""),
            ("2026-02-28T20:00:00.000001-05:00", ""),
            ("2026-03-01T12:05:00+08:00", ""),
            ("2026-03-01T12:05:00.000001+08:00", "future"),
            ("2026-03-04T09:00:00+08:00", "future"),
            ("2025-02-01T12:00:00+08:00", ""),
            ("2025-02-01T11:59:59.999999+08:00", "too_old"),
            ("0001-01-01T00:00:00Z", "bad_time"),
            ("9999-12-31T23:59:59Z", "bad_time"),
            ("2026-02-29T09:00:00+08:00", "bad_time"),
            ("2026-03-01T24:00:00+08:00", "bad_time"),
            ("2026-03-01T09:00:00", "bad_time"),
            ("2026-03-01 09:00:00", "bad_time"),
            ("2026-03-01", "bad_time"),
            ("1772326800", "bad_time"),
            ("1772326800000", "bad_time"),
            ("01/03/2026 09:00", "bad_time"),
            ("now", "bad_time"),
            ("", "missing_field"),
        ];
        let case = |(n, (time, reason)): (i32, &(&str, &'static str))| {
            (line(&format!("m-{n}"), "acme", "verification", "1", time), *reason)
        };
        let cases: Vec<_> = (1..).zip(&times).map(case).collect();
        assert_reasons(desk, "times.csv", HEADER, &cases);
        // A leap second stays in its minute, window and month.
        let leap = desk.program.json(&["explain", "message", "acme", "m-1"]);
        assert_eq!(leap["submit_time"], "2026-02-28T23:59:59.999999+08:00");
        assert_eq!(leap["window"], "2026-02-28T23:55:00+08:00");
    });
}

#[test]
fn f45_a_future_line_is_taken_by_a_retry_when_its_time_has_come() {
    at_both_desks(|desk| {
        let tomorrow = line("m-1", "acme", "verification", "1", "2026-03-02T09:00:00+08:00");
        let (batch, _) = desk.take("ahead.csv", file(&[tomorrow, line("m-2", "acme", "", "x", NINE)]));
        let again = desk.program.run(&["batch", "retry", &batch, "--json"]).exits(3).json();
        assert_eq!((&again["batch_id"], &again["still_rejected"]), (&json!(null), &json!(2)));
        desk.program.at("2026-03-02T12:00:00+08:00");
        let again = desk.program.run(&["batch", "retry", &batch, "--json"]).exits(3).json();
        assert_eq!((&again["accepted"], &again["still_rejected"]), (&json!(1), &json!(1)));
        assert_eq!(desk.charge()["messages"], 1);
        let again = desk.program.run(&["batch", "retry", &batch, "--json"]).exits(3).json();
        assert_eq!((&again["batch_id"], &again["still_rejected"]), (&json!(null), &json!(1)));
    });
}

#[test]
fn a_line_that_is_too_long_to_be_kept_whole_is_not_judged_again_by_its_beginning() {
    at_both_desks(|desk| {
        let header =
            "message_id,account_id,channel,country,template_type,submit_time,submit_status,note,sms_size\n";
        let long = |id: &str, bytes: usize| {
            let start = format!("{id},acme,sms,CN,verification,2026-03-02T09:00:00+08:00,accepted,");
            let note = "x".repeat(bytes - start.len() - ",12".len());
            format!("{start}{note},12\n")
        };
        // Of the second one 64 KiB end between the digits of its size.
        let content = format!("{header}{}{}", long("m-1", 65_535), long("m-2", 65_537));
        let (batch, _) = desk.take("long.csv", content);
        let rejects = desk.program.json(&["batch", "rejects", &batch]);
        let says_so = |line: usize| rejects[line]["detail"].as_str().unwrap().contains("in another file");
        assert_eq!([says_so(0), says_so(1)], [false, true], "{rejects}");
        desk.program.at("2026-03-02T12:00:00+08:00");
        let again = desk.program.run(&["batch", "retry", &batch, "--json"]).exits(3).json();
        assert_eq!((&again["accepted"], &again["still_rejected"]), (&json!(1), &json!(1)));
        assert_eq!(desk.take("mended.csv", format!("{header}{}", long("m-2", 65_537))).1.accepted, 1);
        assert_eq!(desk.charge()["payg_units"], 24);
    });
}

#[test]
fn f47_the_time_zone_of_session_and_machine_changes_nothing() {
    let content = file(&[
        line("m-1", "acme", "verification", "1", "2026-02-28T23:59:59+08:00"),
        line("m-2", "acme", "promotional", "2", "2026-03-01T00:00:00+08:00"),
    ]);
    let books = |desk: &mut Desk| {
        desk.take("messages.csv", &content);
        desk.charge();
        digest_of(&desk.url)
    };
    let (first, second) = (sqlite(), sqlite());
    let usual = books(&mut Desk::open(&first));
    let mut here = Desk::open(&second);
    here.program.set("TZ", "Asia/Kathmandu");
    assert_eq!(books(&mut here), usual);
    if let Some(database) = postgres() {
        let elsewhere = "do $$ begin execute format( \
            'alter database %I set timezone to ''Asia/Kathmandu''', current_database()); end $$";
        execute(&database.url, elsewhere.to_owned());
        let mut there = Desk::open(&database);
        there.program.set("TZ", "America/Santiago").set("PGTZ", "Asia/Kathmandu");
        assert_eq!(books(&mut there), usual);
    }
}

#[test]
fn f48_a_message_that_comes_again_is_counted_once() {
    at_both_desks(|desk| {
        let lines: Vec<String> = (0..100).map(|n| plain(&format!("m-{n}"))).collect();
        let repeated = [&lines[..], &lines[20..50]].concat();
        let (_, counts) = desk.take("first.csv", file(&repeated));
        assert_eq!(counts, Counts { accepted: 100, duplicates: 30, ..Counts::default() });
        let (_, counts) = desk.take("second.csv", file(&lines[90..]));
        assert_eq!(counts, Counts { duplicates: 10, ..Counts::default() });
        assert_eq!(desk.charge()["payg_units"], 100);
        let (_, counts) = desk.take("third.csv", file(&[&lines[..5], &[plain("m-new")]].concat()));
        assert_eq!(counts, Counts { accepted: 1, duplicates: 5, ..Counts::default() });
        assert_eq!(desk.charge()["payg_units"], 1);
        assert_eq!(desk.account("unbilled"), "4.545");
    });
}

#[test]
fn f48_an_id_is_known_again_in_either_case_of_a_uuid_only() {
    at_both_desks(|desk| {
        let ids =
            ["e4d909c2-90d0-4f6e-8b1a-0123456789ab", "E4D909C2-90D0-4F6E-8B1A-0123456789AB", "sm1", "SM1"];
        let (_, counts) = desk.take("ids.csv", file(&ids.map(plain)));
        assert_eq!(counts, Counts { accepted: 3, duplicates: 1, ..Counts::default() });
    });
}

#[test]
fn f49_of_two_contents_under_one_id_the_first_wins_and_the_other_is_listed() {
    at_both_desks(|desk| {
        desk.take("first.csv", file(&[plain("m-1")]));
        let others = [
            (line("m-1", "acme", "verification", "3", NINE), "units 3, was 1"),
            (line("m-1", "acme", "promotional", "1", NINE), "template_type promotional, was verification"),
            (
                plain("m-1").replace("09:00:00", "09:00:01"),
                "submit_time 2026-03-01T09:00:01+08:00, was 2026-03-01T09:00:00+08:00",
            ),
            (plain("m-1").replace(",CN,", ",HK,"), "country HK, was CN"),
            (plain("m-1").replace("accepted", "rejected"), "state rejected, was accepted"),
        ];
        for round in ["waiting", "charged"] {
            let lines: Vec<String> = others.iter().map(|(line, _)| line.clone()).collect();
            let head = [plain(&format!("m-{round}"))];
            let (batch, counts) = desk.take(&format!("{round}.csv"), file(&[&head[..], &lines].concat()));
            assert_eq!(counts, Counts { accepted: 1, conflicts: 5, ..Counts::default() });
            for (listed, (_, what)) in desk.rejects(&batch).iter().zip(&others) {
                assert_eq!(listed.verdict, "conflict");
                assert!(
                    listed.detail.contains(what) && listed.detail.contains("batch 1 line 1"),
                    "{listed:?}"
                );
            }
            desk.charge();
        }
        assert_eq!(desk.account("unbilled"), "0.135");
        // Also inside one file the first line wins.
        let inside = [line("m-2", "acme", "verification", "2", NINE), plain("m-2")];
        let (_, counts) = desk.take("inside.csv", file(&inside));
        assert_eq!(counts, Counts { accepted: 1, conflicts: 1, ..Counts::default() });
        desk.charge();
        assert_eq!(desk.account("unbilled"), "0.225");
    });
}

#[test]
fn f50_a_file_replayed_months_later_doubles_nothing() {
    at_both_desks(|desk| {
        let lines = ["m-1", "m-2"].map(plain);
        desk.take("march.csv", file(&lines));
        desk.charge();
        let before = digest_of(&desk.url);
        desk.program.at("2026-04-30T12:00:00+08:00");
        let (_, counts) = desk.take("again.csv", file(&[&lines[..], &[plain("m-2")]].concat()));
        assert_eq!(counts, Counts { duplicates: 3, ..Counts::default() });
        desk.charge();
        assert_eq!(digest_of(&desk.url), before);
        // Beyond the horizon a line is refused, so that it can't be charged twice unnoticed.
        desk.program.at("2027-04-01T09:00:01+08:00");
        let (batch, counts) = desk.take("too-late.csv", file(&[&lines[..], &[plain("m-3")]].concat()));
        assert_eq!(counts, Counts { rejected: 3, ..Counts::default() });
        assert_eq!(desk.reasons(&batch)[2], (3, "too_old".to_owned()));
        desk.charge();
        assert_eq!(digest_of(&desk.url), before);
    });
}

#[test]
fn f56_a_message_that_comes_late_is_charged_once_in_its_own_window() {
    at_both_desks(|desk| {
        desk.take("on-time.csv", file(&[plain("m-1")]));
        desk.charge();
        desk.program.at("2026-03-31T12:00:00+08:00");
        desk.take("late.csv", file(&[plain("m-1"), plain("m-2")]));
        assert_eq!(desk.charge()["payg_units"], 1);
        assert_eq!(desk.charge()["payg_units"], 0);
        let late = desk.program.json(&["explain", "message", "acme", "m-2"]);
        assert_eq!((&late["state"], &late["window"]), (&json!("charged"), &json!(NINE)));
        assert_eq!(desk.account("unbilled"), "0.09");
    });
}

#[test]
fn f57_the_same_id_of_another_account_is_another_message() {
    at_both_desks(|desk| {
        desk.program.run(&["account", "add", "beta", "--name", "Beta"]).exits(0);
        let lines = ["acme", "beta"].map(|account| line("m-1", account, "verification", "1", NINE));
        let (_, counts) = desk.take("both.csv", file(&lines));
        assert_eq!(counts, Counts { accepted: 2, ..Counts::default() });
        assert_eq!(desk.charge()["accounts"], 2);
    });
}

#[test]
fn f60_text_that_is_no_text_rejects_its_line_only() {
    at_both_desks(|desk| {
        let mut content = file(&[plain("m-1")]).into_bytes();
        for bad in [&b"m-\xff"[..], b"m-\xc3\x28", b"m-\xed\xa0\x80", b"m-\0", b"m-\x1b[2J", b"m-\r1"] {
            let bad = [bad, plain("").as_bytes()].concat();
            content.extend_from_slice(&bad);
        }
        content.extend_from_slice(plain("m-2").as_bytes());
        let (batch, counts) = desk.take("bytes.csv", &content);
        assert_eq!(counts, Counts { accepted: 2, rejected: 6, ..Counts::default() });
        let reasons = ["bad_utf8", "bad_utf8", "bad_utf8", "nul_byte", "bad_text", "bad_text"];
        let expected: Vec<_> = (2..).zip(reasons.map(str::to_owned)).collect();
        assert_eq!(desk.reasons(&batch), expected);
        assert!(desk.rejects(&batch)[0].detail.contains("byte 2"), "the place is not named");

        let json = |id: &str, tail: &str| {
            format!(
                "{{\"message_id\":\"{id}\",\"account_id\":\"acme\",\"channel\":\"sms\",\"country\":\"CN\",\
                 \"sms_size\":1,\"template_type\":\"verification\",\"submit_time\":\"{NINE}\",\
                 \"submit_status\":\"accepted\"{tail}\n"
            )
        };
        let cases = [
            (json("j-1", "}"), ""),
            (json("j-\\ud800", "}"), "bad_json"),
            (json("j-\\udc00\\ud800", "}"), "bad_json"),
            (json("j-\\u0000", "}"), "bad_text"),
            (json("j-\0", "}"), "nul_byte"),
            (json("j-2", ",\"message_id\":\"j-3\"}"), "duplicate_key"),
            (json("j-4", ""), "bad_json"),
            (json("j-5", "}}"), "bad_json"),
            ("[]\n".to_owned(), "bad_json"),
            ("null\n".to_owned(), "bad_json"),
            (json("j-\\ud83d\\ude00", "}"), ""),
        ];
        assert_reasons(desk, "text.ndjson", "", &cases);
        desk.program.run(&["explain", "message", "acme", "j-😀"]).exits(0);
    });
}

#[test]
fn f60_byte_order_marks_and_line_ends_of_other_systems_are_read() {
    at_both_desks(|desk| {
        let content = file(&["m-1", "m-2"].map(plain));
        let (_, counts) = desk.take("bom.csv", format!("\u{feff}{content}"));
        assert_eq!(counts, Counts { accepted: 2, ..Counts::default() });
        let (_, counts) = desk.take("crlf.csv", content.replace('\n', "\r\n"));
        assert_eq!(counts, Counts { duplicates: 2, ..Counts::default() });
        let (_, counts) = desk.take("blank.csv", content.replace('\n', "\n\n  \n"));
        assert_eq!(counts, Counts { duplicates: 2, ..Counts::default() });
        let cr = content.replace('\n', "\r");
        desk.refuse("cr.csv", &cr, &["header", "CR alone", "tr '\\r' '\\n'"]);
        // As an export that ends its last line otherwise, or all but the header's.
        desk.refuse("cr-lf.csv", format!("{cr}\n"), &["header", "CR alone"]);
        desk.refuse("late-cr.csv", format!("{}\n", cr.trim_end()), &["header", "CR alone"]);
        for (mark, unit) in
            [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes)]
        {
            let utf16: Vec<u8> = content.encode_utf16().flat_map(unit).collect();
            desk.refuse("utf16.csv", [&mark[..], &utf16].concat(), &["UTF-16", "iconv"]);
        }
    });
}

#[test]
fn f61_endless_lines_columns_and_brackets_reject_their_line_only() {
    at_both_desks(|desk| {
        let endless = format!("{}\n", "x".repeat(3 << 20));
        let wide = format!("m-3{}\n", ",".repeat(200_000));
        let lines = [plain("m-1"), endless, wide, format!("\"m-4{}", plain("")), plain("m-5")];
        let (batch, counts) = desk.take("large.csv", file(&lines));
        assert_eq!(counts, Counts { accepted: 2, rejected: 3, ..Counts::default() });
        let expected = [(2, "line_too_long"), (3, "column_count"), (4, "unbalanced_quote")];
        assert_eq!(desk.reasons(&batch), expected.map(|(line, reason)| (line, reason.to_owned())));
        let longest = desk.rejects(&batch).iter().filter_map(|l| l.raw.as_ref().map(String::len)).max();
        assert!(longest <= Some(64 << 10), "{longest:?} bytes were kept of one line");

        let deep = format!("{{\"x\":{}\n", "[".repeat(100_000));
        let closed = format!("{{\"x\":{}{}}}\n", "[".repeat(100_000), "]".repeat(100_000));
        let keys: String = (0..50_000).map(|n| format!("\"k{n}\":1,")).collect();
        let content = format!("{deep}{closed}{{{keys}\"message_id\":\"m\"}}\n");
        let (batch, _) = desk.take("deep.ndjson", content);
        let expected = [(1, "bad_json"), (2, "missing_field"), (3, "missing_field")];
        assert_eq!(desk.reasons(&batch), expected.map(|(line, reason)| (line, reason.to_owned())));
    });
}

#[test]
fn f70_names_are_data_and_never_sql() {
    at_both_desks(|desk| {
        let evil = "'; drop table messages; --";
        let quoted = evil.replace('"', "\"\"");
        let cases = [
            (plain(evil), ""),
            (line("m-1", evil, "verification", "1", NINE), ""),
            (line("m-2", "../../etc/passwd", "verification", "1", NINE), ""),
            (line("$1", "{text}", "verification", "1", NINE), ""),
            (plain(&"x".repeat(5_000)), "bad_text"),
            (line("m-3", &"x".repeat(65), "verification", "1", NINE), "bad_text"),
            (plain("\"m-4\nm-4\""), "bad_text"),
            (line("m-5", "acme", &quoted, "1", NINE), "bad_template_type"),
            (plain("m-6").replace(",CN,", &format!(",{evil},")), "bad_country"),
            (plain("m-7").replace("sms,", "\"sms';--\","), "unknown_channel"),
        ];
        assert_reasons(desk, "evil.csv", HEADER, &cases);
        let found = desk.program.json(&["explain", "message", "acme", evil]);
        assert_eq!(found["message_id"], evil);
        let odd = desk.take("it's; drop table batches; --.csv", file(&[plain("m-8")]));
        assert_eq!(odd.1.accepted, 1);
        let refused = |args: &[&str], code: &str| {
            desk.program.run(&[args, &["--json"]].concat()).refuses(code);
        };
        refused(&["account", "add", evil, "--name", "Evil"], "bad_account_id");
        refused(&["account", "add", "beta", "--name", &"x".repeat(5_000)], "bad_name");
        refused(&["account", "add", "beta", "--name", "two\nlines"], "bad_name");
        refused(&["account", "show", evil], "unknown_account");
        refused(&["account", "top-up", "acme", "1", "--reference", "two\nlines"], "bad_reference");
        refused(&["order", "place", "acme", evil], "unknown_package");
        desk.program.run(&["account", "add", "gamma", "--name", evil]).exits(0);
        desk.program.run(&["account", "top-up", "gamma", "1", "--reference", evil]).exits(0);
        assert_eq!(desk.program.json(&["account", "show", "gamma"])["name"], evil);
    });
}

#[test]
fn f73_unknown_words_are_quarantined_and_never_priced_at_zero() {
    at_both_desks(|desk| {
        let cases = [
            (plain("m-1").replace("sms,", "fax,"), "unknown_channel"),
            (plain("m-2").replace("accepted", "sent"), "bad_submit_status"),
            (plain("m-3").replace("accepted", ""), "missing_field"),
            (line("m-4", "acme", "marketing", "1", NINE), "bad_template_type"),
            (plain("m-5").replace(",CN,", ",CHN,"), "bad_country"),
            (plain("m-6").replace(",CN,", ",,"), "country_missing"),
            (plain("m-7").replace("acme", ""), "missing_field"),
            (plain(""), "missing_field"),
            (line("m-9", "nobody", "verification", "1", NINE), ""),
            (plain("m-10").replace(",CN,", ",KP,"), ""),
            (line("m-11", "acme", "", "1", NINE), ""),
            (plain("m-12").replace("sms,CN,verification", "email,,"), ""),
        ];
        assert_reasons(desk, "words.csv", HEADER, &cases);
        desk.program.run(&["account", "add", "solo", "--name", "S", "--kind", "individual"]).exits(0);
        desk.take("solo.csv", file(&[line("m-13", "solo", "promotional", "1", NINE)]));
        assert_eq!(desk.charge()["suspended"], 5);
        let status = desk.program.run(&["status", "--json"]).exits(3).json();
        let reasons = json!({
            "unknown_account": 1, "no_price": 2, "not_activated": 1, "promotional_by_individual": 1,
        });
        assert_eq!(status["suspense"], reasons);
        assert_eq!(desk.account("unbilled"), "0");
    });
}

#[test]
fn f73_an_accepted_message_over_500_characters_waits_in_suspense() {
    at_both_desks(|desk| {
        let head = "message_id,account_id,channel,country,template_type,content,submit_time,submit_status\n";
        let content = |id: &str, length: usize| {
            format!("{id},acme,sms,CN,verification,{},{NINE},accepted\n", "码".repeat(length))
        };
        let (_, counts) =
            desk.take("long.csv", format!("{head}{}{}", content("m-1", 500), content("m-2", 501)));
        assert_eq!(counts.accepted, 2);
        let run = desk.charge();
        assert_eq!((&run["payg_units"], &run["suspended"]), (&json!(8), &json!(1)));
        assert_eq!(desk.program.json(&["explain", "message", "acme", "m-2"])["reason"], "content_too_long");
    });
}

#[test]
fn f74_units_are_whole_numbers_from_one_to_a_million() {
    at_both_desks(|desk| {
        let units = [
            "0",
            "-1",
            "-0",
            "+1",
            "1.5",
            "1.0",
            "1e3",
            "0x10",
            " 1",
            "١",
            "1000001",
            "4294967296",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551617",
            "NaN",
            "one",
        ];
        let mut cases: Vec<(String, &str)> = (0..)
            .zip(units)
            .map(|(n, units)| (line(&format!("m-{n}"), "acme", "verification", units, NINE), "bad_units"))
            .collect();
        cases.push((line("m-none", "acme", "verification", "", NINE), "no_size"));
        cases.push((line("m-one", "acme", "verification", "1", NINE), ""));
        cases.push((line("m-zeros", "acme", "verification", "007", NINE), ""));
        assert_reasons(desk, "units.csv", HEADER, &cases);
        let json = |id: &str, units: &str| {
            format!(
                "{{\"message_id\":\"{id}\",\"account_id\":\"acme\",\"channel\":\"sms\",\"country\":\"CN\",\
                 \"template_type\":\"verification\",\"sms_size\":{units},\"submit_time\":\"{NINE}\",\
                 \"submit_status\":\"accepted\"}}\n"
            )
        };
        let units = ["0", "-1", "1.0", "1e3", "9223372036854775808", "\"-1\"", "true"];
        let cases: Vec<_> =
            (0..).zip(units).map(|(n, units)| (json(&format!("j-{n}"), units), "bad_units")).collect();
        let all = [&cases[..], &[(json("j-one", "1"), "")]].concat();
        assert_reasons(desk, "units.ndjson", "", &all);
        assert_eq!(desk.charge()["payg_units"], 9);
    });
}

#[test]
fn f74_the_largest_sizes_are_charged_exactly() {
    at_both_desks(|desk| {
        desk.program.run(&["account", "add", "beta", "--name", "Beta"]).exits(0);
        let most: Vec<String> =
            (0..20).map(|n| line(&format!("m-{n}"), "beta", "promotional", "1000000", NINE)).collect();
        desk.take("most.csv", file(&[&most[..], &[plain("m-1")]].concat()));
        assert_eq!(desk.charge()["payg_units"], 20_000_001);
        assert_eq!(desk.program.json(&["account", "show", "beta"])["status"], "suspended");
        assert_eq!(desk.account("unbilled"), "0.045");
    });
}

#[test]
fn f68_standard_input_that_ends_in_the_middle_of_a_line_takes_the_whole_lines_only() {
    on_both(|database| {
        let desk = Desk::open(database);
        let content = file(&["m-1", "m-2"].map(plain));
        let cut = &content.as_bytes()[..content.len() - 3];
        let answer = desk.program.run_with_input(&["ingest", "messages", "-", "--json"], cut);
        let (batch, counts) = taken(answer.exits(3));
        assert_eq!(counts, Counts { accepted: 1, rejected: 1, ..Counts::default() });
        assert_eq!(desk.reasons(&batch), [(2, "incomplete_line".to_owned())]);
        // The rest comes with the whole: half a line is never judged again.
        desk.program.run(&["batch", "retry", &batch]).exits(3);
        let answer = desk.program.run_with_input(&["ingest", "messages", "-", "--json"], content.as_bytes());
        assert_eq!(taken(answer).1, Counts { accepted: 1, duplicates: 1, ..Counts::default() });
        desk.program.run_with_input(&["ingest", "messages", "-"], b"").exits(65).says(&["empty"]);
    });
}
