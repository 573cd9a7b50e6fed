//! The units as systemd itself judges them, offline. Skipped, with a word, where it is not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use quittance::domain::period::{Timestamp, Zone};
use quittance::jobs;
use quittance::schedule::Schedule;

/// Exposure of 0 to 100 that a service may have: "OK" ends at 40, a bare service has 92.
const EXPOSURE: &str = "--threshold=20";

fn units() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd");
    let mut units: Vec<_> = dir.read_dir().expect("units").map(|unit| unit.expect("a unit").path()).collect();
    units.sort();
    units
}

fn has_extension(unit: &Path, extension: &str) -> bool {
    unit.extension().is_some_and(|found| found == extension)
}

/// What `systemd-analyze` says; None where it is not installed.
fn analyze(args: &[&str], units: &[PathBuf]) -> Option<String> {
    let Ok(output) = Command::new("systemd-analyze").args(args).args(units).env("TZ", "UTC").output() else {
        eprintln!("SKIPPED the units: systemd-analyze is not installed here");
        return None;
    };
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "systemd-analyze {args:?} {units:?}:\n{said}");
    Some(said)
}

#[test]
fn every_service_is_hardened() {
    for unit in units().into_iter().filter(|unit| has_extension(unit, "service")) {
        let args = ["security", "--no-pager", "--offline=yes", EXPOSURE];
        let Some(said) = analyze(&args, &[unit]) else { return };
        assert!(said.contains("OK"), "{said}");
    }
}

#[test]
fn systemd_takes_every_unit_without_a_word() {
    // Where the program is not installed yet, the units would be told so: they get the one built here.
    let dir = tempfile::tempdir().expect("a directory");
    let here = |unit: PathBuf| {
        let text = std::fs::read_to_string(&unit).expect("a unit");
        let copy = dir.path().join(unit.file_name().expect("a name"));
        let text = text.replace("/usr/bin/quittance", env!("CARGO_BIN_EXE_quittance"));
        std::fs::write(&copy, text).expect("a copy");
        copy
    };
    let copies: Vec<_> = units().into_iter().map(here).collect();
    let Some(said) = analyze(&["verify", "--man=no"], &copies) else { return };
    assert_eq!(said, "");
}

/// When a timer first starts after a moment, by systemd's own reckoning, in microseconds.
fn starts(calendar: &str, count: usize) -> Option<Vec<i64>> {
    let iterations = format!("--iterations={count}");
    let since = ["calendar", "--base-time=2026-03-01 00:00:00 UTC", &iterations, calendar];
    let said = analyze(&since, &[])?;
    let times =
        said.lines().filter_map(|line| line.rsplit_once(": ")).filter(|(_, time)| time.ends_with(" UTC"));
    let times = times.filter(|(what, _)| what.contains("elapse") || what.contains("Iter."));
    let time = |(_, time): (&str, &str)| {
        let time = &time[4..time.len() - 4];
        chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp_micros()
    };
    Some(times.map(time).collect())
}

#[test]
fn a_timer_starts_each_job_when_the_daemon_would() {
    let zone = Zone::parse("Asia/Shanghai").unwrap();
    for job in jobs::ALL {
        let unit = format!("{}/config/systemd/quittance-job@{}.timer", env!("CARGO_MANIFEST_DIR"), job.name);
        let text = std::fs::read_to_string(&unit).unwrap_or_else(|error| panic!("{unit}: {error}"));
        assert!(text.contains("Persistent=true"), "{unit} makes up for nothing");
        assert!(text.contains(&format!("enable --now quittance-job@{}.timer", job.name)), "{unit}");
        let calendar = text.lines().find_map(|line| line.strip_prefix("OnCalendar=")).expect(&unit);
        assert!(calendar.ends_with(" UTC"), "{unit}: {calendar} depends on the machine's zone");
        let Some(starts) = starts(calendar, 30) else { return };
        let schedule = Schedule::parse(job.schedule).unwrap();
        let mut at = Timestamp(1_772_323_200_000_000);
        let slots = (0..30).map(|_| {
            at = schedule.next_after(at, zone).unwrap();
            at.0
        });
        assert_eq!(starts, slots.collect::<Vec<_>>(), "{unit}: {calendar}");
    }
    let timers = units().into_iter().filter(|unit| has_extension(unit, "timer")).count();
    assert_eq!(timers, jobs::ALL.len(), "a timer of no job");
}

#[test]
fn both_services_live_in_one_sandbox() {
    let sandboxes: Vec<String> = units()
        .into_iter()
        .filter(|unit| has_extension(unit, "service"))
        .map(|unit| {
            let text = std::fs::read_to_string(&unit).expect("a service");
            let begin = text.find("User=").expect("a user");
            let end = text.find("\n[Install]").unwrap_or(text.len());
            text[begin..end].to_owned()
        })
        .collect();
    assert!(sandboxes.len() == 2 && sandboxes[0] == sandboxes[1], "{sandboxes:#?}");
}
