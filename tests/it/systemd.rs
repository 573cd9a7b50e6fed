//! The units as systemd itself judges them, offline. Skipped, with a word, where it is not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

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
    let Ok(output) = Command::new("systemd-analyze").args(args).args(units).output() else {
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

#[test]
fn timers_keep_to_utc_and_make_up_for_what_was_missed() {
    let mut timers = 0;
    for unit in units().into_iter().filter(|unit| has_extension(unit, "timer")) {
        let text = std::fs::read_to_string(&unit).expect("a timer");
        let times: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("OnCalendar=")).collect();
        assert!(times.iter().all(|time| time.ends_with(" UTC")) && !times.is_empty(), "{unit:?}: {times:?}");
        assert!(text.contains("Persistent=true"), "{unit:?}");
        timers += 1;
    }
    assert!(timers > 0, "there are no timers");
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
