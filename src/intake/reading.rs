//! The reading thread: cuts an input into lines and judges them.

use tokio::sync::mpsc;

use super::input::Opened;
use crate::config::Config;
use crate::domain::message::MessageRow;
use crate::domain::period::Timestamp;
use crate::ingest::judge::Terms;
use crate::ingest::messages::{MessageJudge, Messages};
use crate::ingest::records::Format;
use crate::ingest::source::Source;
use crate::ingest::{IngestError, LineFault};

/// How an input is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub source: Source,
    /// None: told by the file's name, else by its first byte.
    pub format: Option<Format>,
    /// "Now" for lines ahead of it or too old (D58, D71), and the batch's time.
    pub as_of: Timestamp,
}

/// Raw text of a rejected line that is kept.
const RAW_KEPT: usize = 64 * 1024;
/// Lines that travel together from the reading thread, unless their raw text is long before: a file
/// of nothing but long bad lines must not fill the memory either.
const PORTION: usize = 1_000;
const PORTION_RAW: usize = 1 << 20;

/// Lines on their way from the reading thread.
#[derive(Default)]
pub(super) struct Portion {
    pub lines: Vec<(i64, Verdict)>,
    /// Bytes of input that they took.
    pub bytes: u64,
}

/// A row, or what is wrong with the line and its raw text.
type Verdict = Result<MessageRow, (LineFault, String)>;

/// What is known of an input at its end.
pub(super) struct End {
    pub format: Format,
    pub header: Option<String>,
    pub hash: String,
    pub ignored: String,
}

pub(super) fn read(
    config: &Config,
    input: &Opened,
    reading: Reading,
    key: &[u8; 32],
    sender: &mpsc::Sender<Portion>,
) -> Result<End, IngestError> {
    let judge = MessageJudge::new(terms(config, reading.source, reading.as_of, key))?;
    let format = reading.format.or_else(|| Format::of_file_name(&input.name));
    let mut messages = Messages::open(input.reader(), format, &judge)?;
    let mut portion = Portion::default();
    let (mut told, mut raw_kept) = (0, 0);
    while let Some(judged) = messages.next_line()? {
        let line = i64::try_from(judged.line).unwrap_or(i64::MAX);
        let verdict = judged.verdict.map_err(|fault| (fault, raw_text(judged.raw)));
        raw_kept += verdict.as_ref().err().map_or(0, |(_, raw)| raw.len());
        portion.lines.push((line, verdict));
        if portion.lines.len() == PORTION || raw_kept >= PORTION_RAW {
            raw_kept = 0;
            portion.bytes = messages.bytes_read() - told;
            told = messages.bytes_read();
            if sender.blocking_send(std::mem::take(&mut portion)).is_err() {
                // The loading side failed and says why itself.
                break;
            }
        }
    }
    portion.bytes = messages.bytes_read() - told;
    let _ = sender.blocking_send(portion);
    Ok(End {
        format: messages.format(),
        header: messages.header().map(str::to_owned),
        hash: messages.sha256().iter().map(|byte| format!("{byte:02x}")).collect(),
        ignored: messages.ignored_names().iter().cloned().collect::<Vec<_>>().join(", "),
    })
}

pub fn terms<'a>(config: &'a Config, source: Source, as_of: Timestamp, key: &'a [u8; 32]) -> Terms<'a> {
    Terms {
        catalog: &config.catalog,
        source,
        as_of,
        zone: config.zone,
        source_zone: config.source_zones.get(&source).copied(),
        dedupe_months: config.dedupe_months,
        max_ahead_minutes: config.max_ahead_minutes,
        recipient_key: key,
    }
}

/// A rejected line as text that both databases take: no NUL, nothing endless.
fn raw_text(raw: &[u8]) -> String {
    let kept = &raw[..raw.len().min(RAW_KEPT)];
    String::from_utf8_lossy(kept).replace('\0', "\u{fffd}")
}
