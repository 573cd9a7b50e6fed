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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_before_the_extension() {
        for (name, expected) in [
            ("a.csv", "a.7.csv"),
            ("a.csv.gz", "a.7.csv.gz"),
            ("a.b.ndjson", "a.b.7.ndjson"),
            ("plain", "plain.7"),
            ("a.an extension of many words", "a.an extension of many words.7"),
        ] {
            assert_eq!(numbered(name.as_ref(), 7), expected);
            assert_eq!(numbered(name.as_ref(), 0), name);
        }
    }

    #[test]
    fn long_names_are_cut_so_that_their_report_has_room() {
        let long = format!("{}.csv.gz", "码".repeat(82));
        for number in [0, 1, 999_999] {
            let name = numbered(long.as_ref(), number);
            assert!(with_report(&name).len() <= LONGEST && name.len() > 230, "{name:?}");
            assert!(name.to_str().is_some_and(|name| name.ends_with(".csv.gz")), "{name:?}");
        }
        let bytes = OsString::from_vec(vec![0xFF; 255]);
        assert_eq!(numbered(&bytes, 0).len(), 243);
    }

    #[test]
    fn a_free_number_is_found_soon_and_is_free() {
        for taken in [0, 1, 2, 3, 1_000, 123_457] {
            let names: Vec<OsString> = (0..taken).map(|number| numbered("a.csv".as_ref(), number)).collect();
            let names: std::collections::HashSet<_> = names.into_iter().collect();
            let mut looked = 0;
            let found = free("a.csv".as_ref(), |name| {
                looked += 1;
                Ok::<_, ()>(!names.contains(name))
            });
            assert_eq!(found, Ok(numbered("a.csv".as_ref(), taken)));
            assert!(looked < 40, "{looked}");
        }
    }

    #[test]
    fn unfinished_names_are_known_in_any_case() {
        for name in [".a.csv", "a.tmp", "a.PART", "a.csv.partial", "a.filepart", "a.csv~"] {
            assert!(is_unfinished(name.as_ref()), "{name}");
        }
        for name in ["a.csv", "tmp", "a.tmp.csv", "part"] {
            assert!(!is_unfinished(name.as_ref()), "{name}");
        }
    }
}
