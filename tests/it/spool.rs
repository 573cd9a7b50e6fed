//! The spool: files dropped by gateways are taken once, whatever is dropped and whenever it stops.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::books::digest_of;
use crate::support::databases::{on_both, sqlite};
use crate::support::lines::{HEADER, file, gzip, plain};
use crate::support::spool::{RUN, Spooled, at_both_spools, counted, set_age};

fn set(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A message as a line of NDJSON without its end.
fn object(id: &str) -> String {
    let object = json!({
        "message_id": id, "account_id": "acme", "channel": "sms", "country": "CN", "sms_size": 1,
        "template_type": "verification", "submit_time": "2026-03-01T09:00:00+08:00", "submit_status": "accepted",
    });
    object.to_string()
}

#[test]
fn files_are_taken_by_their_source_and_end_beside_a_report() {
    at_both_spools(|spool| {
        spool.drop_file("a.csv", file(&[plain("m-1"), plain("m-2")]));
        spool.drop_file("messages/b.csv.gz", gzip(file(&[plain("m-3")]).as_bytes()));
        let twilio = "MessageSid,AccountSid,To,NumSegments,Direction,DateSent,Status,channel\n\
                      SM1,acme,+8613800138000,2,outbound-api,2026-03-01T09:00:00+08:00,delivered,sms\n";
        spool.drop_file("messages/twilio/c.csv", twilio);
        let counts = spool.counts();
        assert_eq!((&counts["files"], &counts["accepted"]), (&json!(3), &json!(4)), "{counts}");
        let names = ["a.csv", "b.csv.gz", "c.csv"];
        let ends: Vec<String> =
            names.iter().flat_map(|n| [format!("done/{n}"), format!("done/{n}.report.json")]).collect();
        assert_eq!(spool.files(), ends.into_iter().collect());
        for (name, source, accepted) in
            [("a.csv", "generic", 2), ("b.csv.gz", "generic", 1), ("c.csv", "twilio", 1)]
        {
            let report = spool.report(&format!("done/{name}"));
            assert_eq!(report["file"], name);
            assert_eq!(
                (&report["source"], &report["accepted"]),
                (&json!(source), &json!(accepted)),
                "{report}"
            );
            assert_eq!((&report["outcome"], &report["not_taken"]), (&json!("taken"), &json!([])), "{report}");
        }
        assert_eq!(spool.counts(), json!({}), "there was something left to do");
    });
}

#[test]
fn without_a_spool_the_job_is_off_and_says_what_to_do() {
    on_both(|database| {
        let spool = Spooled::open(database);
        spool.configure("");
        let answer = spool.run().exits(0).says(&["[spool]", "dir"]);
        assert_eq!(answer.json()["outcome"], "nothing_to_do");
        let scheduled = |spool: &Spooled| {
            let jobs = spool.desk.program.json(&["jobs"]);
            let found = jobs.as_array().expect("a list").iter().find(|job| job["job"] == "ingest-spool");
            found.expect("the job is listed")["schedule"].clone()
        };
        assert_eq!(scheduled(&spool), "off");
        spool.configure("[spool]\ndir = \"new\"\n");
        assert_eq!(scheduled(&spool), "* * * * *");
        // A directory that is missing is made.
        assert_eq!(counted(spool.run()), json!({}));
        assert!(spool.desk.program.path("config/new/done").is_dir());
    });
}

#[test]
fn a_dry_run_lists_the_files_and_touches_nothing() {
    at_both_spools(|spool| {
        spool.drop_file("a.csv", file(&[plain("m-1")]));
        spool.drop_file("messages/aws/b.csv", file(&[plain("m-2")]));
        symlink("a.csv", spool.path("link.csv")).expect("a link");
        let before = spool.files();
        let dry = spool.desk.program.run(&[RUN, &["--dry-run"]].concat()).exits(0).json();
        let effects: Vec<&str> =
            dry["effects"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        assert_eq!(effects.len(), 3, "{effects:?}");
        assert!(
            effects.iter().any(|effect| effect.contains("aws/b.csv") && effect.ends_with("of aws messages"))
        );
        assert!(effects.iter().any(|effect| effect.contains("link.csv") && effect.contains("symbolic link")));
        assert_eq!(spool.files(), before);
        assert!(!spool.path("done").exists() && !spool.path("work").exists());
        assert_eq!(spool.batches(), 0);
    });
}

#[test]
fn a_dry_run_says_how_much_it_leaves_out() {
    let database = sqlite();
    let spool = Spooled::open(&database);
    for n in 0..1_002 {
        spool.drop_file(format!("{n}.csv"), file(&[plain("m")]));
    }
    let json = spool.desk.program.run(&[RUN, &["--dry-run"]].concat()).exits(0).json();
    assert_eq!(
        (json["effects"].as_array().map(Vec::len), &json["effects_left_out"]),
        (Some(1_000), &json!(2))
    );
    spool.desk.program.run(&["--run-job", "ingest-spool", "--dry-run"]).exits(0).tells(&["\n  and 2 more"]);
}

#[test]
fn receipts_are_taken_by_their_source() {
    at_both_spools(|spool| {
        let time = "2026-03-01T11:00:00+08:00";
        let generic = format!("account_id,message_id,status,report_time\nacme,m-1,failed,{time}\n");
        spool.drop_file("receipts/r.csv", generic);
        let receipt = "id:m-2 submit date:2603011000 done date:2603011100 stat:DELIVRD err:000 text:";
        spool.drop_file("receipts/smpp/r.ndjson", format!("{{\"short_message\":\"{receipt}\"}}\n"));
        assert_eq!(spool.counts(), json!({ "files": 2, "accepted": 2 }));
    });
}

#[test]
fn f58_the_same_content_is_taken_once_and_the_same_name_is_numbered() {
    at_both_spools(|spool| {
        let (first, second) = (file(&[plain("m-1")]), file(&[plain("m-2")]));
        spool.drop_file("a.csv", &first);
        assert_eq!(spool.counts(), json!({ "files": 1, "accepted": 1 }));
        spool.drop_file("a.csv", &second);
        assert_eq!(spool.counts(), json!({ "files": 1, "accepted": 1 }));
        for _ in 0..3 {
            spool.drop_file("a.csv", &first);
            assert_eq!(spool.counts(), json!({ "files": 1, "already": 1 }));
        }
        spool.drop_file("messages/twilio/a.csv", &first);
        assert_eq!(spool.counts(), json!({ "files": 1, "duplicates": 1 }));
        let (taken, again) = (spool.report("done/a.csv"), spool.report("done/a.2.csv"));
        assert_eq!((&again["outcome"], &again["batch_id"]), (&json!("already_ingested"), &taken["batch_id"]));
        assert_eq!(again["already_ingested"], true);
        assert_eq!(again["moved_to"], "done/a.2.csv");
        for (name, content) in
            [("a.csv", &first), ("a.1.csv", &second), ("a.4.csv", &first), ("a.5.csv", &first)]
        {
            assert_eq!(
                &fs::read_to_string(spool.path(&format!("done/{name}"))).expect("it is there"),
                content
            );
        }
        assert_eq!(spool.batches(), 3);
    });
}

#[test]
fn f60_lines_that_are_rejected_are_in_the_report_and_the_rest_is_taken() {
    at_both_spools(|spool| {
        let mut lines: Vec<String> =
            (0..1_100).map(|n| plain(&format!("m-{n}")).replace(",CN,", ",\u{0},")).collect();
        lines.push(plain("m-good"));
        lines.push(plain("m-good").replace(",1,", ",2,"));
        spool.drop_file("a.csv", file(&lines));
        let expected = json!({ "files": 1, "accepted": 1, "rejected": 1_100, "conflicts": 1 });
        assert_eq!(spool.counts(), expected);
        let report = spool.report("done/a.csv");
        let named = report["not_taken"].as_array().expect("a list");
        assert_eq!(named.len(), 1_000);
        assert_eq!((&named[0]["line"], &named[0]["reason"]), (&json!(1), &json!("nul_byte")));
        assert_eq!(report["rejected"], 1_100);
    });
}

#[test]
fn f62_what_is_no_text_or_a_bomb_goes_to_bad_and_keeps_nothing_waiting() {
    at_both_spools(|spool| {
        let utf16: Vec<u8> = format!("\u{feff}{HEADER}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let packed = gzip(file(&[plain("m-2")]).as_bytes());
        // 10 GB of zeros in 10 MB, as far as it is made: the program must not read on to its end.
        let zeros = gzip(&vec![0; 10 << 20]);
        spool.drop_file("bomb.csv.gz", [gzip(HEADER.as_bytes()), zeros.repeat(100)].concat());
        spool.drop_old("cr.csv", file(&[plain("m-3")]).replace('\n', "\r"));
        spool.drop_old("cut.csv.gz", &packed[..packed.len() - 5]);
        spool.drop_old("cut-header.csv", HEADER.trim_end());
        spool.drop_old("empty.csv", "");
        spool.drop_file("header.csv", "a,b,c\n1,2,3\n");
        spool.drop_file("random.bin", [0xFE, 0x00, 0xFF, b'\n'].repeat(1_000));
        spool.drop_old("utf16.csv", &utf16);
        spool.drop_file("good.csv", file(&[plain("m-1")]));
        assert_eq!(spool.counts(), json!({ "files": 9, "accepted": 1, "bad": 8 }));
        for (name, word) in [
            ("bomb.csv.gz", "200 times"),
            ("cr.csv", "CR alone"),
            ("cut.csv.gz", "gzip"),
            ("cut-header.csv", "cut off"),
            ("empty.csv", "empty"),
            ("header.csv", "message_id"),
            ("random.bin", "header"),
            ("utf16.csv", "UTF-16"),
        ] {
            let report = spool.report(&format!("bad/{name}"));
            assert_eq!((&report["outcome"], &report["file"]), (&json!("bad"), &json!(name)));
            assert!(report["fault"].as_str().expect("a fault").contains(word), "{report}");
            assert!(spool.path(&format!("bad/{name}")).is_file());
        }
        assert_eq!(spool.batches(), 1);
    });
}

#[test]
fn f63_only_regular_files_are_read_and_the_rest_is_moved_itself() {
    at_both_spools(|spool| {
        let secret = spool.desk.program.path("secret.csv");
        fs::write(&secret, file(&[plain("m-secret")])).expect("it is written");
        symlink(&secret, spool.path("link.csv")).expect("a link");
        symlink("nowhere", spool.path("dangling.csv")).expect("a link");
        fs::hard_link(&secret, spool.path("hard.csv")).expect("a hard link");
        let made = Command::new("mkfifo").arg(spool.path("fifo.csv")).status().expect("mkfifo runs");
        assert!(made.success());
        let _socket = std::os::unix::net::UnixListener::bind(spool.path("socket.csv")).expect("a socket");
        fs::create_dir_all(spool.path("directory.csv")).expect("a directory");
        fs::create_dir_all(spool.path("messages/nobody")).expect("a directory");
        fs::write(spool.path("directory.csv/a.csv"), file(&[plain("m-1")])).expect("it is written");
        fs::write(spool.path("messages/nobody/a.csv"), file(&[plain("m-1")])).expect("it is written");
        // A directory of ours that is a link leads nowhere.
        symlink(spool.path("directory.csv"), spool.path("messages/twilio")).expect("a link");
        let answer = spool.run().says(&["messages/nobody"]);
        assert_eq!(counted(answer), json!({ "files": 6, "bad": 6 }));
        for (name, word) in [
            ("link.csv", "a symbolic link"),
            ("dangling.csv", "a symbolic link"),
            ("hard.csv", "a hard link: the file has other names, too"),
            ("fifo.csv", "a FIFO"),
            ("socket.csv", "a socket"),
            ("twilio", "a symbolic link"),
        ] {
            let report = spool.report(&format!("bad/{name}"));
            assert_eq!(report["fault"], word, "{report}");
            assert!(fs::symlink_metadata(spool.path(&format!("bad/{name}"))).is_ok(), "{name} is gone");
        }
        assert!(spool.path("directory.csv/a.csv").is_file() && spool.path("messages/nobody/a.csv").is_file());
        assert!(secret.is_file());
        assert_eq!(spool.batches(), 0);
    });
}

#[test]
fn f63_an_outlet_that_leads_elsewhere_is_refused() {
    at_both_spools(|spool| {
        for ours in ["work", "done", "bad"] {
            symlink(spool.desk.program.dir(), spool.path(ours)).expect("a link");
            spool.drop_file("a.csv", file(&[plain("m-1")]));
            spool.run().exits(1).says(&[ours, "no directory"]);
            assert!(spool.path("a.csv").is_file());
            fs::remove_file(spool.path(ours)).expect("it is removed");
        }
        assert_eq!(spool.counts(), json!({ "files": 1, "accepted": 1 }));
    });
}

#[test]
fn f63_names_of_any_bytes_are_taken_and_unfinished_ones_are_not() {
    at_both_spools(|spool| {
        let long = format!("{}码.csv", "x".repeat(248));
        let longer = "y".repeat(255);
        let odd: [&[u8]; 8] = [
            b"line\nfeed.csv",
            b"bad \xff\xfe utf-8.csv",
            b"-rf",
            b"a b'\"`$(id);|&.csv",
            b"\x1b[2J.csv",
            b"a.csv",
            long.as_bytes(),
            longer.as_bytes(),
        ];
        for (n, name) in odd.iter().enumerate() {
            spool.drop_file(std::ffi::OsStr::from_bytes(name), file(&[plain(&format!("m-{n}"))]));
        }
        // As if it were a report of ours.
        spool.drop_old("a.csv.report.json", object("m-8"));
        let unfinished = [".hidden", "..csv", "a.tmp", "a.csv.part", "a.PARTIAL", "a.filepart", "a.csv~"];
        for name in unfinished {
            spool.drop_file(name, file(&[plain("m-unfinished")]));
        }
        assert_eq!(spool.counts(), json!({ "files": 9, "accepted": 9 }));
        let files = spool.files();
        let done: Vec<&String> = files.iter().filter(|name| name.starts_with("done/")).collect();
        assert_eq!(done.len(), 18, "{done:?}");
        for entry in fs::read_dir(spool.path("done")).expect("it is listed") {
            let path = entry.expect("an entry").path();
            if !path.as_os_str().as_bytes().ends_with(b".report.json") {
                let mut report = path.into_os_string();
                report.push(".report.json");
                let text = fs::read(&report).expect("a report beside it");
                let json: Value = serde_json::from_slice(&text).expect("JSON");
                assert!(json["outcome"] == "taken" && !json["file"].to_string().contains("\\u00"), "{json}");
            }
        }
        assert_eq!(files.iter().filter(|name| !name.starts_with("done/")).count(), unfinished.len());
        assert!(spool.path(&format!("done/{}.csv", "x".repeat(239))).is_file(), "{done:?}");
        let list = spool.desk.program.run(&["batch", "list"]).exits(0).stdout;
        assert!(!list.contains('\x1b'), "a name clears the screen: {list:?}");
    });
}

#[test]
fn f59_a_file_whose_last_line_never_ended_waits_a_minute() {
    at_both_spools(|spool| {
        let whole = file(&[plain("m-1"), plain("m-2")]);
        let packed = gzip(whole.as_bytes());
        let object = object("m-3");
        spool.drop_file("a.csv", &whole[..whole.len() - 1]);
        spool.drop_file("b.csv.gz", &packed[..packed.len() - 1]);
        spool.drop_file("c.ndjson", &object[..object.len() - 1]);
        spool.drop_file("empty.csv", "");
        let before = spool.files();
        assert_eq!(spool.counts(), json!({ "left": 4 }));
        assert_eq!(spool.files(), before);
        // An object is complete by its brace.
        spool.drop_file("c.ndjson", &object);
        spool.drop_file("b.csv.gz", &packed);
        assert_eq!(spool.counts(), json!({ "files": 2, "accepted": 3, "left": 2 }));
        set_age(&spool.path("a.csv"), 61);
        set_age(&spool.path("empty.csv"), 61);
        let expected = json!({ "files": 2, "duplicates": 1, "rejected": 1, "bad": 1 });
        assert_eq!(spool.counts(), expected);
        assert_eq!(spool.report("done/a.csv")["not_taken"][0]["reason"], "incomplete_line");
    });
}

#[test]
fn f59_of_a_file_that_is_cut_anywhere_no_wrong_line_is_taken() {
    at_both_spools(|spool| {
        let lines = ["m-111", "m-112", "m-113"].map(|id| plain(id).replace(",1,", ",12,"));
        let content = file(&lines);
        let ends = content.match_indices('\n').count();
        for cut in 1..=content.len() {
            spool.drop_file(format!("cut-{cut:03}.csv"), &content[..cut]);
        }
        let counts = spool.counts();
        // Cut at a line's end they are whole files, the first a header alone.
        let expected = json!({ "files": ends, "accepted": 3, "duplicates": 3, "left": content.len() - ends });
        assert_eq!(counts, expected);
        assert_eq!(spool.desk.charge()["payg_units"], 36);
    });
}

#[test]
fn f64_a_file_that_changes_while_it_is_read_is_put_back_until_it_rests() {
    at_both_spools(|spool| {
        let lines: Vec<String> = (0..10_000).map(|n| plain(&format!("m-{n}"))).collect();
        let content = file(&lines);
        let place = spool.drop_file("growing.csv", &content);
        let growing = fs::OpenOptions::new().write(true).open(&place).expect("it opens");
        let mut running = spool.desk.program.start(RUN, b"");
        while !running.has_ended() {
            growing.write_at(b"\n", content.len() as u64 - 1).expect("it can be written");
        }
        assert_eq!(counted(running.answer()), json!({ "left": 1 }));
        assert_eq!(spool.files(), set(&["growing.csv"]));
        assert_eq!(spool.batches(), 0);
        assert_eq!(spool.counts(), json!({ "files": 1, "accepted": 10_000 }));
    });
}

#[test]
fn f25_f64_programs_at_once_take_each_file_once() {
    at_both_spools(|spool| {
        for n in 0..20 {
            let lines: Vec<String> = (0..50).map(|m| plain(&format!("m-{n}-{m}"))).collect();
            spool.drop_file(format!("{n}.csv"), file(&lines));
        }
        let started: Vec<_> = (0..4).map(|_| spool.desk.program.start(RUN, b"")).collect();
        let answers: Vec<_> = started.into_iter().map(|running| running.answer()).collect();
        assert!(answers.iter().all(|answer| [0, 75].contains(&answer.code)), "{answers:?}");
        let files: i64 = answers
            .iter()
            .filter(|answer| answer.code == 0)
            .filter_map(|answer| answer.json()["counts"]["files"].as_i64())
            .sum();
        assert_eq!(files, 20);
        assert_eq!(spool.batches(), 20);
        assert_eq!(spool.files().len(), 40);
    });
}

#[test]
fn f65_a_file_that_was_committed_and_not_moved_is_moved_by_the_next_run() {
    at_both_spools(|spool| {
        let taken = json!({ "files": 1, "accepted": 1 });
        spool.drop_file("a.csv", file(&[plain("m-1")]));
        assert_eq!(spool.counts(), taken);
        let before = digest_of(&spool.desk.url);
        let report = spool.report("done/a.csv");
        // Killed before its report was written, and between the report and the move.
        for report_was_written in [false, true] {
            fs::rename(spool.path("done/a.csv"), spool.path("work/messages/generic/a.csv")).expect("moved");
            fs::write(spool.path("work/.report-1"), "{\"fi").expect("a draft");
            if !report_was_written {
                fs::remove_file(spool.path("done/a.csv.report.json")).expect("removed");
            }
            assert_eq!(spool.counts(), json!({ "files": 1, "already": 1 }));
            assert_eq!(spool.files(), set(&["done/a.csv", "done/a.csv.report.json"]));
            let again = spool.report("done/a.csv");
            assert_eq!((&again["batch_id"], &again["accepted"]), (&report["batch_id"], &report["accepted"]));
        }
        assert_eq!(digest_of(&spool.desk.url), before);
    });
}

#[test]
fn f01_killed_at_any_moment_the_next_run_takes_everything_once() {
    let contents: Vec<String> =
        (0..8).map(|n| file(&(0..400).map(|m| plain(&format!("m-{n}-{m}"))).collect::<Vec<_>>())).collect();
    let mut digests = Vec::new();
    for kills in [0, 6] {
        on_both(|database| {
            let spool = Spooled::open(database);
            for (n, content) in contents.iter().enumerate() {
                spool.drop_file(format!("{n}.csv"), content);
            }
            for kill in 0..kills {
                let mut child = spool.desk.program.command(RUN).spawn().expect("it starts");
                // Each time when another number of files is done, and one is in work/.
                let far = |files: &std::collections::BTreeSet<String>| {
                    files.iter().filter(|name| name.starts_with("done/")).count() > kill
                        && (kill % 2 == 0 || files.iter().any(|name| name.starts_with("work/")))
                };
                while child.try_wait().expect("it can be asked").is_none() && !far(&spool.files()) {}
                child.kill().expect("it is killed");
                child.wait().expect("it has ended");
            }
            spool.run().exits(0);
            assert_eq!(spool.files().len(), 16, "{:?}", spool.files());
            assert_eq!(spool.batches(), 8);
            spool.desk.charge();
            spool.desk.assert_nothing_is_lost();
            digests.push(digest_of(&spool.desk.url));
        });
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

#[test]
fn f14_a_full_disk_fails_the_run_and_leaves_the_file_for_the_next() {
    at_both_spools(|spool| {
        let lines: Vec<String> = (0..3_000).map(|n| plain(&format!("m-{n}"))).collect();
        spool.drop_file("a.csv", file(&lines));
        let full = |blocks: u32| spool.run_after(&format!("trap '' XFSZ; ulimit -f {blocks}")).exits(1);
        if spool.desk.url.starts_with("sqlite") {
            // Room for nothing, for the lease, and for a part of the books, in blocks of 512 bytes.
            for (blocks, place) in [(0, ""), (100, "work/messages/generic/"), (600, "work/messages/generic/")]
            {
                full(blocks);
                assert_eq!(spool.files(), set(&[&format!("{place}a.csv")]));
            }
            assert_eq!(spool.counts(), json!({ "files": 1, "accepted": 3_000 }));
        } else {
            // The books are elsewhere: only the report finds no room.
            full(0).says(&["report", "check the disk"]);
            let files = spool.files();
            assert!(
                files.contains("work/messages/generic/a.csv") && !files.contains("done/a.csv"),
                "{files:?}"
            );
            assert_eq!(spool.counts(), json!({ "files": 1, "already": 1 }));
        }
        assert_eq!(spool.files(), set(&["done/a.csv", "done/a.csv.report.json"]));
        assert_eq!(spool.batches(), 1);
    });
}

#[test]
fn f107_what_the_job_makes_is_for_nobody_else_whatever_the_umask() {
    at_both_spools(|spool| {
        spool.drop_file("a.csv", file(&[plain("m-1")]));
        spool.drop_file("b.csv", "none\n");
        spool.run_after("umask 000").exits(3);
        for dir in ["done", "bad", "work", "work/messages", "work/messages/generic"] {
            let mode = fs::metadata(spool.path(dir)).expect("it was made").permissions().mode();
            assert_eq!(mode & 0o7777, 0o700, "{dir}");
        }
        for report in ["done/a.csv.report.json", "bad/b.csv.report.json"] {
            let mode = fs::metadata(spool.path(report)).expect("a report").mode();
            assert_eq!(mode & 0o7777, 0o600, "{report}");
        }
    });
}
