//! Bad files: a file is taken whole or not at all, and once.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::process::Command;

use serde_json::json;

use crate::support::databases::on_both;
use crate::support::desk::{Counts, Desk, at_both_desks, counts, taken};
use crate::support::lines::{HEADER, file, gzip, plain};
use crate::support::program::Answer;

#[test]
fn f58_a_file_is_known_by_its_content_and_source_not_by_its_name() {
    at_both_desks(|desk| {
        let (first, second) = (file(&[plain("m-1")]), file(&[plain("m-2")]));
        let (batch, counts) = desk.take("a.csv", &first);
        assert_eq!(counts, Counts { accepted: 1, ..Counts::default() });
        // The same file; another name, the same content; the same content, packed.
        for (name, content) in
            [("a.csv", first.as_bytes()), ("b.csv", first.as_bytes()), ("a.csv.gz", &gzip(first.as_bytes()))]
        {
            let again = desk.ingest(name, content).exits(0).json();
            assert_eq!((&again["already_ingested"], &again["batch_id"]), (&json!(true), &json!(batch)));
        }
        // The same name, another content.
        assert_eq!(desk.take("a.csv", &second).1, Counts { accepted: 1, ..Counts::default() });
        // The same content of another source is another file; its messages are known.
        desk.program.file("c.csv", &first);
        let twilio = desk.program.run(&["ingest", "messages", "c.csv", "--source", "twilio", "--json"]);
        assert_eq!(taken(twilio).1, Counts { duplicates: 1, ..Counts::default() });
        let words = desk.program.run(&["ingest", "messages", "a.csv"]).exits(0).stdout;
        assert!(words.contains("already ingested"), "{words}");
    });
}

/// Hands in each beginning of a content as a file of its own, shortest first, with one command.
fn hand_in_every_cut(desk: &Desk, content: &[u8], extension: &str) -> Answer {
    let names: Vec<String> = (1..content.len())
        .map(|cut| desk.program.file(&format!("cut-{cut:03}.{extension}"), &content[..cut]))
        .collect();
    let args: Vec<&str> =
        ["ingest", "messages", "--json"].into_iter().chain(names.iter().map(String::as_str)).collect();
    desk.program.run(&args)
}

#[test]
fn f59_a_file_cut_at_any_byte_takes_no_wrong_line() {
    at_both_desks(|desk| {
        // Ids that stay ids when they are cut, and units that stay units.
        let lines = ["m-111", "m-112", "m-113"].map(|id| plain(id).replace(",1,", ",12,"));
        let content = file(&lines);
        let answer = hand_in_every_cut(desk, content.as_bytes(), "csv").exits(65);
        let (mut accepted, mut rejected) = (0, 0);
        for batch in answer.json_lines() {
            let counts = counts(&batch);
            assert_eq!(counts.conflicts, 0, "half a line was taken for a whole one: {batch}");
            accepted += counts.accepted;
            rejected += counts.rejected;
        }
        // The last line never ended.
        assert_eq!(accepted, 2);
        assert!(rejected > 100, "only {rejected} cut lines were noticed");
        assert_eq!(desk.take("whole.csv", &content).1.accepted, 1);
        assert_eq!(desk.charge()["payg_units"], 36);
    });
}

#[test]
fn f59_ndjson_cut_at_any_byte_takes_no_wrong_line() {
    at_both_desks(|desk| {
        let object = |id: &str| {
            json!({
                "message_id": id, "account_id": "acme", "channel": "sms", "country": "CN", "sms_size": 12,
                "template_type": "verification", "submit_time": "2026-03-01T09:00:00+08:00",
                "submit_status": "accepted",
            })
        };
        let content = format!("{}\n{}\n", object("m-111"), object("m-112"));
        let answer = hand_in_every_cut(desk, content.as_bytes(), "ndjson").exits(3);
        let all: Vec<_> = answer.json_lines().iter().map(counts).collect();
        assert!(all.iter().all(|counts| counts.conflicts == 0), "half a line was taken for a whole one");
        // An object is complete by its brace, with or without a line end after it.
        assert_eq!(all.iter().map(|counts| counts.accepted).sum::<i64>(), 2);
        assert_eq!(desk.charge()["payg_units"], 24);
    });
}

#[test]
fn f59_a_gzip_file_cut_at_any_byte_is_refused_whole() {
    on_both(|database| {
        let desk = Desk::open(database);
        let packed = gzip(file(&["m-1", "m-2"].map(plain)).as_bytes());
        let answer = hand_in_every_cut(&desk, &packed, "csv.gz").exits(65);
        assert_eq!(answer.stdout, "", "{}", answer.shown());
        assert_eq!(answer.stderr.lines().count(), packed.len() - 1);
        assert_eq!(desk.program.json(&["batch", "list"]), json!([]));
        desk.refuse("trailing.gz", [&packed[..], b"more"].concat(), &["trailing.gz", "gzip"]);
        assert_eq!(desk.take("whole.csv.gz", &packed).1.accepted, 2);
    });
}

#[test]
fn f62_a_gzip_bomb_is_refused_and_members_are_one_file() {
    let long_lines = format!("{}\n", "x".repeat(1 << 20)).repeat(17);
    let bomb = gzip(format!("{HEADER}{long_lines}").as_bytes());
    at_both_desks(|desk| {
        desk.refuse("bomb.csv.gz", &bomb, &["bomb.csv.gz", "200 times"]);
        let whole = file(&[plain("m-1")]);
        desk.refuse("nested.csv.gz", gzip(&gzip(whole.as_bytes())), &["nested.csv.gz"]);
        let (head, tail) = whole.split_at(100);
        let members = [gzip(head.as_bytes()), gzip(tail.as_bytes())].concat();
        assert_eq!(desk.take("members.csv.gz", members).1.accepted, 1);
        // Gzip is known by its content, whatever the file is called.
        let (_, counts) = desk.take("plain.csv", gzip(file(&[plain("m-2")]).as_bytes()));
        assert_eq!(counts.accepted, 1);
    });
}

#[test]
fn f63_what_is_no_file_is_refused_and_odd_names_are_read() {
    at_both_desks(|desk| {
        let program = &desk.program;
        fs::create_dir(program.path("directory")).expect("a directory");
        symlink("loop", program.path("loop")).expect("a link");
        symlink("nowhere", program.path("dangling")).expect("a link");
        let huge = "x".repeat(300);
        for name in ["directory", "loop", "dangling", huge.as_str(), "/dev/null", "/dev/zero"] {
            program.run(&["ingest", "messages", name]).exits(65);
        }
        assert_eq!(program.json(&["batch", "list"]), json!([]));

        program.file("target.csv", file(&[plain("m-1")]));
        symlink("target.csv", program.path("link.csv")).expect("a link");
        assert_eq!(taken(program.run(&["ingest", "messages", "link.csv", "--json"])).1.accepted, 1);
        let fifo = program.path("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
        assert!(made.success());
        let reading = program.start(&["ingest", "messages", "fifo", "--json"], b"");
        fs::write(&fifo, file(&[plain("m-2")])).expect("the reader takes it");
        assert_eq!(taken(reading.answer()).1.accepted, 1);

        // A name moves no cursor of whoever reads it.
        program.file("red\u{1b}[31m\nline.csv", file(&[plain("m-4")]));
        for args in [&["ingest", "messages", "red\u{1b}[31m\nline.csv"][..], &["batch", "list"]] {
            let told = program.run(args).exits(0).stdout;
            assert!(told.contains("red\u{fffd}[31m\u{fffd}line.csv"), "{told}");
        }
        let told = program.run(&["ingest", "messages", "red\u{1b}[31m"]).exits(65).stderr;
        assert!(told.contains("red\u{fffd}[31m"), "{told}");

        let bytes = b"line\nfeed \xff.csv";
        let odd = std::ffi::OsStr::from_bytes(bytes);
        fs::write(program.dir().join(odd), file(&[plain("m-3")])).expect("Linux takes any name");
        let output = program.command(&["ingest", "messages", "--json"]).arg(odd).output().expect("it ends");
        assert_eq!(taken(Answer::of("ingest an odd name".into(), output)).1.accepted, 1);
    });
}

#[test]
fn f64_a_file_that_changes_while_it_is_read_is_not_taken() {
    at_both_desks(|desk| {
        let lines: Vec<String> = (0..10_000).map(|n| plain(&format!("m-{n}"))).collect();
        let content = file(&lines);
        desk.program.file("growing.csv", &content);
        let growing =
            fs::OpenOptions::new().write(true).open(desk.program.path("growing.csv")).expect("it opens");
        let mut reading = desk.program.start(&["ingest", "messages", "growing.csv"], b"");
        while !reading.has_ended() {
            growing.write_at(b"\n", content.len() as u64 - 1).expect("it can be written");
        }
        reading.answer().exits(65).says(&["growing.csv", "changed while it was read"]);
        assert_eq!(desk.program.json(&["batch", "list"]), json!([]));
        assert_eq!(desk.take("growing.csv", &content).1.accepted, 10_000);
    });
}

/// The database takes what is beyond some 16 MB while the rest is still being read.
#[test]
fn f49_known_messages_late_in_a_large_file_are_found_and_the_others_taken() {
    const LINES: usize = 28_000;
    at_both_desks(|desk| {
        let header = HEADER.replace("sms_size", "biz_id,out_id,sms_size");
        let long = "x".repeat(250);
        let message = |n: usize, units: u32| {
            format!(
                "m-{n},acme,sms,CN,verification,{long},{long},{units},2026-03-01T09:00:00+08:00,accepted\n"
            )
        };
        let known = [message(LINES - 9, 1), message(LINES - 8, 2)].concat();
        assert_eq!(desk.take("known.csv", format!("{header}{known}")).1.accepted, 2);
        let lines: String = (0..LINES).map(|n| message(n, 1)).chain([message(3, 1)]).collect();
        let large = format!("{header}{lines}");
        let (batch, counts) = desk.take("large.csv", &large);
        let accepted = LINES as i64 - 2;
        assert_eq!(counts, Counts { accepted, duplicates: 2, conflicts: 1, rejected: 0 });
        let listed: Vec<_> = desk.rejects(&batch).into_iter().map(|line| (line.line, line.verdict)).collect();
        let [same, other, twice] = [LINES - 8, LINES - 7, LINES + 1].map(|line| line as i64);
        let expected = [(same, "duplicate"), (other, "conflict"), (twice, "duplicate")];
        assert_eq!(listed, expected.map(|(line, verdict)| (line, verdict.to_owned())));
        let again = desk.ingest("again.csv", &large).exits(0).json();
        assert_eq!((&again["already_ingested"], &again["batch_id"]), (&json!(true), &json!(batch)));
    });
}
