//! What is printed: tables, JSON, errors; and the exit codes.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::OnceLock;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::config::ConfigError;
use crate::desk::DeskError;
use crate::domain::period::{Timestamp, Zone};
use crate::intake::IntakeError;
use crate::runner::describe;
use crate::store::StoreError;

/// Exit codes.
pub mod exit {
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    /// Done, but something is parked, quarantined or in suspense, and listed.
    pub const PARTIAL: u8 = 3;
    pub const BAD_DATA: u8 = 65;
    /// Somebody else holds it: try again.
    pub const BUSY: u8 = 75;
    pub const BAD_CONFIG: u8 = 78;
}

/// Why a command failed. The message says what, where and how to mend it.
#[derive(Debug)]
pub struct Failure {
    pub exit: u8,
    pub message: String,
    /// The name of a refusal, which scripts read from stdout.
    pub code: Option<&'static str>,
}

impl Failure {
    pub fn other(message: impl Into<String>) -> Failure {
        Failure { exit: exit::FAILED, message: message.into(), code: None }
    }

    pub fn config(message: impl Into<String>) -> Failure {
        Failure { exit: exit::BAD_CONFIG, message: message.into(), code: None }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { exit: exit::USAGE, message: message.into(), code: None }
    }
}

/// What is said of a line, with the times of messages as people write them: the books keep microseconds.
pub fn with_times(detail: &str, zone: Zone) -> String {
    const NAME: &str = "submit_time ";
    const WAS: &str = ", was ";
    let told = || -> Option<String> {
        let (before, rest) = detail.split_once(NAME)?;
        let (is, rest) = rest.split_once(WAS)?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (was, after) = rest.split_at(end);
        let time = |micros: &str| micros.parse().ok().map(|micros| zone.format(Timestamp(micros)));
        Some(format!("{before}{NAME}{}{WAS}{}{after}", time(is)?, time(was)?))
    };
    told().unwrap_or_else(|| detail.to_owned())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let exit = if error.is_busy() { exit::BUSY } else { exit::FAILED };
        Failure { exit, message: describe(&error), code: None }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure { exit: exit::BAD_CONFIG, message: error.to_string(), code: None }
    }
}

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Failure {
        match error {
            IntakeError::Store(error) => error.into(),
            other => Failure { exit: exit::BAD_DATA, message: printable(&describe(&other)), code: None },
        }
    }
}

impl From<DeskError> for Failure {
    fn from(error: DeskError) -> Failure {
        match error {
            DeskError::Refused { code, message } => Failure { exit: exit::FAILED, message, code: Some(code) },
            error @ DeskError::Write(..) => Failure::other(describe(&error)),
            DeskError::Intake(error) => error.into(),
            DeskError::Store(error) => error.into(),
        }
    }
}

/// How a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Says of a list that not all of it is shown.
    pub fn tell_of_more(&self, has_more: bool) {
        match (has_more, self.json) {
            (false, _) => {}
            (true, false) => line(&"There are more; `--limit` shows them."),
            // What scripts read is the list alone.
            (true, true) => tracing::warn!("There are more than are listed; `--limit` shows them"),
        }
    }

    /// Prints a failure and gives its exit code.
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        // Not `eprintln!`, which panics where nobody reads stderr: the exit code still tells.
        let _ = writeln!(std::io::stderr().lock(), "quittance: {}", failure.message);
        if let Some(code) = failure.code.filter(|_| self.json) {
            line(&json!({ "error": { "code": code, "message": failure.message } }));
        }
        ExitCode::from(failure.exit)
    }

    /// Prints one thing: as JSON, or in the words for people.
    pub fn show(&self, value: &Value, words: impl FnOnce() -> String) {
        if self.json { line(value) } else { line(&words().trim_end()) }
    }
}

/// Why standard output could not be written, where it could not.
static LOST: OnceLock<String> = OnceLock::new();

/// A line on stdout. A reader that went away (`| head`) is no fault of ours; a full disk ends the program with
/// another exit code, see [`lost`].
pub fn line(text: &impl Display) {
    whole(&format!("{text}\n"));
}

/// Text on stdout as it is.
pub fn whole(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error.to_string());
    }
}

/// What became of the output, if it is not whole.
pub fn lost() -> Option<Failure> {
    let error = LOST.get()?;
    Some(Failure::other(format!(
        "standard output can't be written, so that what was told is not whole: {error}"
    )))
}

/// What others wrote, such as the name of a file, for people: nothing in it moves the cursor or begins another line.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A table without lines, the way terminals and pipes like it. Columns named with a leading `>`
/// are set to the right.
pub fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|name| name.trim_start_matches('>').to_uppercase()));
    table.add_rows(rows);
    for (index, name) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if name.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// A count as people read it: `1,234,567`.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if number < 0 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, -1_234_567].map(count), ["0", "999", "1,000", "-1,234,567"]);
    }
}
