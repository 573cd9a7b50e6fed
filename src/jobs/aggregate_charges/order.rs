//! The order in which messages meet plans and tiers (D40), in flat memory.
//!
//! Messages arrive in the order of their batches and are wanted by account, window and arrival.
//! A usual run is sorted in memory. A large backlog is laid out on disk first, by account group
//! and span of time, and sorted portion by portion: all of an account's portions come one after
//! the other, earliest first.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use tempfile::TempDir;

use crate::domain::period::{Timestamp, WINDOW, window_start};

/// A message on its way to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub submit_time: Timestamp,
    pub batch_no: i64,
    pub line: i64,
    pub key: (i64, i64),
    /// Index of the account, of the class.
    pub account: u32,
    pub class: u32,
    pub units: i64,
    pub too_long: bool,
    pub suspended: bool,
}

impl Waiting {
    fn rank(&self) -> (u32, Timestamp, i64, i64) {
        (self.account, window_start(self.submit_time), self.batch_no, self.line)
    }
}

/// Collects messages in any order.
pub struct UsageOrder {
    memory: Vec<Waiting>,
    limit: usize,
    /// Span of submit times that is cut into slices.
    first: Timestamp,
    slice: i64,
    spill: Option<Spill>,
}

/// Messages kept in memory before they go to disk: about 160 MB.
pub const IN_MEMORY: usize = 2_000_000;
const GROUPS: usize = 16;
const SLICES: usize = 32;

struct Spill {
    dir: TempDir,
    parts: Vec<Option<BufWriter<File>>>,
}

impl UsageOrder {
    /// `first` and `last` bound the submit times that are expected; others are sorted all the same.
    pub fn new(first: Timestamp, last: Timestamp, limit: usize) -> UsageOrder {
        let span = last.0.saturating_sub(first.0).max(0);
        let windows = span / WINDOW / SLICES as i64 + 1;
        UsageOrder {
            memory: Vec::new(),
            limit,
            first: window_start(first),
            slice: windows * WINDOW,
            spill: None,
        }
    }

    pub fn push(&mut self, message: Waiting) -> io::Result<()> {
        self.memory.push(message);
        if self.memory.len() >= self.limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill { dir: tempfile::tempdir()?, parts: Vec::new() }),
        };
        spill.parts.resize_with(GROUPS * SLICES, || None);
        for message in self.memory.drain(..) {
            let slice =
                (message.submit_time.0.saturating_sub(self.first.0) / self.slice).clamp(0, SLICES as i64 - 1);
            let part = message.account as usize % GROUPS * SLICES + slice as usize;
            let writer = match &mut spill.parts[part] {
                Some(writer) => writer,
                none => none.insert(BufWriter::new(File::create(spill.dir.path().join(part.to_string()))?)),
            };
            writer.write_all(&encode(&message))?;
        }
        Ok(())
    }

    /// Hands over the portions, each sorted by account, window and arrival.
    pub fn portions(mut self) -> io::Result<Portions> {
        if self.spill.is_some() {
            self.spill()?;
        }
        let mut parts = Vec::new();
        if let Some(spill) = &mut self.spill {
            for (part, writer) in spill.parts.iter_mut().enumerate().rev() {
                if let Some(writer) = writer.take() {
                    writer.into_inner().map_err(|e| e.into_error())?;
                    parts.push(part);
                }
            }
        }
        Ok(Portions {
            memory: Some(self.memory).filter(|memory| !memory.is_empty()),
            parts,
            spill: self.spill,
        })
    }
}

/// Sorted portions, one at a time.
pub struct Portions {
    memory: Option<Vec<Waiting>>,
    /// Parts on disk that are still to come, last first.
    parts: Vec<usize>,
    spill: Option<Spill>,
}

impl Portions {
    pub fn next(&mut self) -> io::Result<Option<Vec<Waiting>>> {
        let portion = match (self.memory.take(), &self.spill, self.parts.pop()) {
            (Some(memory), ..) => Some(memory),
            (None, Some(spill), Some(part)) => Some(read(spill, part)?),
            _ => None,
        };
        Ok(portion.map(|mut portion| {
            portion.sort_unstable_by_key(Waiting::rank);
            portion
        }))
    }
}

fn read(spill: &Spill, part: usize) -> io::Result<Vec<Waiting>> {
    let path = spill.dir.path().join(part.to_string());
    let file = File::open(&path)?;
    let count = file.metadata()?.len() as usize / BYTES;
    let mut reader = BufReader::new(file);
    let mut messages = Vec::with_capacity(count);
    let mut bytes = [0; BYTES];
    for _ in 0..count {
        reader.read_exact(&mut bytes)?;
        messages.push(decode(&bytes));
    }
    std::fs::remove_file(path)?;
    Ok(messages)
}

const BYTES: usize = 8 * 8;

fn encode(message: &Waiting) -> [u8; BYTES] {
    let flags = i64::from(message.too_long) | i64::from(message.suspended) << 1;
    let indices = i64::from(message.account) << 32 | i64::from(message.class);
    let words = [
        message.submit_time.0,
        message.batch_no,
        message.line,
        message.key.0,
        message.key.1,
        indices,
        message.units,
        flags,
    ];
    let mut bytes = [0; BYTES];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; BYTES]) -> Waiting {
    let mut words = [0i64; 8];
    for (word, slot) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut raw = [0; 8];
        raw.copy_from_slice(slot);
        *word = i64::from_le_bytes(raw);
    }
    let [submit_time, batch_no, line, hi, lo, indices, units, flags] = words;
    Waiting {
        submit_time: Timestamp(submit_time),
        batch_no,
        line,
        key: (hi, lo),
        account: (indices >> 32) as u32,
        class: indices as u32,
        units,
        too_long: flags & 1 != 0,
        suspended: flags & 2 != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(count: i64) -> Vec<Waiting> {
        let message = |n: i64| Waiting {
            submit_time: Timestamp(n.wrapping_mul(7_919_000_003).rem_euclid(90 * Timestamp::DAY)),
            batch_no: n % 3,
            line: n,
            key: (n, -n),
            account: (n % 37) as u32,
            class: (n % 5) as u32,
            units: n,
            too_long: n % 2 == 0,
            suspended: n % 7 == 0,
        };
        (0..count).map(message).collect()
    }

    fn ordered(limit: usize, last: Timestamp) -> Vec<Vec<Waiting>> {
        let mut order = UsageOrder::new(Timestamp(0), last, limit);
        messages(5_000).into_iter().for_each(|message| order.push(message).unwrap());
        let mut portions = order.portions().unwrap();
        std::iter::from_fn(|| portions.next().unwrap()).collect()
    }

    #[test]
    fn a_backlog_on_disk_gives_each_account_the_order_it_has_in_memory() {
        let in_memory = ordered(usize::MAX, Timestamp(90 * Timestamp::DAY)).concat();
        // Also where the expected span was wrong.
        for last in [90 * Timestamp::DAY, Timestamp::DAY, 0] {
            let portions = ordered(100, Timestamp(last));
            assert!(portions.len() > 1);
            for account in 0..37 {
                let of = |all: &[Waiting]| {
                    all.iter().filter(|m| m.account == account).copied().collect::<Vec<_>>()
                };
                assert_eq!(of(&portions.concat()), of(&in_memory), "account {account}");
            }
        }
    }
}
