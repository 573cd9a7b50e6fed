//! Names of files: whatever bytes a gateway chose, in an outlet where that name may be taken.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Bytes of a name on all file systems that matter.
const LONGEST: usize = 255;
const REPORT: &str = ".report.json";

/// Whether the name says that the file is not yet whole.
pub fn is_unfinished(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    const ENDS: [&[u8]; 5] = [b".tmp", b".part", b".partial", b".filepart", b"~"];
    bytes.starts_with(b".") || ENDS.iter().any(|end| bytes.to_ascii_lowercase().ends_with(end))
}

/// A name for people: nothing in it moves the cursor or begins another line.
pub fn shown(name: &OsStr) -> String {
    let text = name.to_string_lossy();
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The name of a file's report.
pub fn with_report(name: &OsStr) -> OsString {
    let mut name = name.to_owned();
    name.push(REPORT);
    name
}

/// The name with a number before its extension, short enough to have a report beside it; 0 is the
/// name itself.
pub fn numbered(name: &OsStr, number: u64) -> OsString {
    let extension = extension(name);
    let mut stem = &name.as_bytes()[..name.len() - extension.len()];
    let number = if number == 0 { String::new() } else { format!(".{number}") };
    let room = LONGEST - REPORT.len() - number.len() - extension.len();
    if stem.len() > room {
        stem = &stem[..room];
        // Not within a character, where it is text.
        while str::from_utf8(stem).is_err_and(|e| e.error_len().is_none()) {
            stem = &stem[..stem.len() - 1];
        }
    }
    OsString::from_vec([stem, number.as_bytes(), extension].concat())
}

/// `.csv` or `.csv.gz`: by it the format is told.
fn extension(name: &OsStr) -> &[u8] {
    const LONGEST_EXTENSION: usize = 16;
    let of = |name: &OsStr| Path::new(name).extension().map_or(0, |extension| extension.len() + 1);
    let bytes = name.as_bytes();
    let mut length = of(name);
    if bytes.ends_with(b".gz") {
        length += of(OsStr::from_bytes(&bytes[..bytes.len() - length]));
    }
    if length > LONGEST_EXTENSION { &[] } else { &bytes[bytes.len() - length..] }
}

/// The first numbered name that is free, or one near it: a gateway that calls every file `latest.csv`
/// has thousands of them.
pub fn free<E>(name: &OsStr, mut is_free: impl FnMut(&OsStr) -> Result<bool, E>) -> Result<OsString, E> {
    let mut is_free = |number: u64| is_free(&numbered(name, number));
    if is_free(0)? {
        return Ok(numbered(name, 0));
    }
    let (mut taken, mut free) = (0, 1);
    while !is_free(free)? {
        (taken, free) = (free, free * 2);
    }
    while free - taken > 1 {
        let between = taken + (free - taken) / 2;
        if is_free(between)? {
            free = between;
        } else {
            taken = between;
        }
    }
    Ok(numbered(name, free))
}
