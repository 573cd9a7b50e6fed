//! The reading thread: cuts an input into lines and judges them.

use std::io::Read;

use tokio::sync::mpsc;

use super::input::Opened;
use crate::config::Config;
use crate::domain::message::MessageRow;
use crate::domain::period::Timestamp;
use crate::domain::receipt::ReceiptRow;
use crate::ingest::judge::{Judge, Terms};
use crate::ingest::judgements::{Judgements, is_final};
use crate::ingest::messages::MessageJudge;
use crate::ingest::receipts::ReceiptJudge;
use crate::ingest::records::Format;
use crate::ingest::source::Source;
use crate::ingest::{IngestError, Kind, LineFault};
use crate::store::retention::Retired;
use crate::store::{StoreError, Tx, recipient_key};

/// How an input is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub kind: Kind,
    pub source: Source,
    /// None: told by the file's name, else by its first byte.
    pub format: Option<Format>,
    /// "Now" for lines ahead of it or too old (D58, D71), and the batch's time: receipts are received
    /// at it.
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
type Verdict = Result<Row, (LineFault, String)>;

/// A line that was judged good.
#[derive(Debug)]
pub enum Row {
    Message(MessageRow),
    Receipt(ReceiptRow),
}

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
    known: &Known,
    sender: &mpsc::Sender<Portion>,
) -> Result<End, IngestError> {
    let terms = terms(config, reading.source, reading.as_of, known);
    let format = reading.format.or_else(|| Format::of_file_name(&input.name));
    match reading.kind {
        Kind::Messages => {
            let judge = MessageJudge::new(terms)?;
            judge_all(Judgements::open(input.reader(), format, &judge)?, Row::Message, sender)
        }
        Kind::Receipts => {
            let judge = ReceiptJudge::new(&terms);
            judge_all(Judgements::open(input.reader(), format, &judge)?, Row::Receipt, sender)
        }
    }
}

fn judge_all<R: Read, J: Judge>(
    mut lines: Judgements<'_, R, J>,
    row: fn(J::Row) -> Row,
    sender: &mpsc::Sender<Portion>,
) -> Result<End, IngestError> {
    let mut portion = Portion::default();
    let (mut told, mut raw_kept) = (0, 0);
    while let Some(judged) = lines.next_line()? {
        let line = i64::try_from(judged.line).unwrap_or(i64::MAX);
        let verdict = judged.verdict.map(row).map_err(|fault| kept(fault, judged.raw));
        raw_kept += verdict.as_ref().err().map_or(0, |(_, raw)| raw.len());
        portion.lines.push((line, verdict));
        if portion.lines.len() == PORTION || raw_kept >= PORTION_RAW {
            raw_kept = 0;
            portion.bytes = lines.bytes_read() - told;
            told = lines.bytes_read();
            if sender.blocking_send(std::mem::take(&mut portion)).is_err() {
                // The loading side failed and says why itself.
                break;
            }
        }
    }
    portion.bytes = lines.bytes_read() - told;
    let _ = sender.blocking_send(portion);
    Ok(End {
        format: lines.format(),
        header: lines.header().map(str::to_owned),
        hash: lines.sha256().iter().map(|byte| format!("{byte:02x}")).collect(),
        ignored: lines.ignored_names().iter().cloned().collect::<Vec<_>>().join(", "),
    })
}

/// What the books tell whoever reads lines for them.
#[derive(Clone, Debug)]
pub struct Known {
    recipient_key: [u8; 32],
    retired_before: Timestamp,
}

impl Known {
    pub async fn load(tx: &mut Tx) -> Result<Known, StoreError> {
        let retired_before = Retired::load(tx).await?.before;
        Ok(Known { recipient_key: recipient_key(tx).await?, retired_before })
    }
}

pub fn terms<'a>(config: &'a Config, source: Source, as_of: Timestamp, known: &'a Known) -> Terms<'a> {
    Terms {
        catalog: &config.catalog,
        source,
        as_of,
        zone: config.zone,
        source_zone: config.source_zones.get(&source).copied(),
        message_ids: config.message_ids.get(&source).copied(),
        dedupe_months: config.retention.messages_months,
        max_ahead_minutes: config.max_ahead_minutes,
        retired_before: known.retired_before,
        recipient_key: &known.recipient_key,
    }
}

/// A rejected line as text that both databases take: no NUL, nothing endless.
fn kept(mut fault: LineFault, raw: &[u8]) -> (LineFault, String) {
    let text = String::from_utf8_lossy(&raw[..raw.len().min(RAW_KEPT)]).replace('\0', "\u{fffd}");
    if may_be_cut(&text) && !is_final(fault.reason) {
        fault.detail.push_str(
            "; the line is too long to be kept for `batch retry`: hand it in again, in another file",
        );
    }
    (fault, text)
}

/// Whether the text of a rejected line may be a part of it only. Half a line may look like a whole: it is not
/// to be judged again.
pub fn may_be_cut(text: &str) -> bool {
    text.len() >= RAW_KEPT
}
