//! The order in which messages meet plans and tiers (D40), in flat memory.
//!
//! Messages arrive in the order of their batches and are wanted by account, window and arrival.
//! A usual run is sorted in memory. A large backlog is laid out on disk first, by groups of
//! accounts small enough to be sorted one at a time. A group that is too large all the same, as one
//! huge account makes it, is laid out once more by spans of time: its portions come one after the
//! other, earliest first.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::Path;

use tempfile::TempDir;

use crate::domain::charge::Place;
use crate::domain::period::{Timestamp, WINDOW, window_start};

/// A message on its way to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub submit_time: Timestamp,
    pub batch_no: i64,
    pub line: i64,
    /// Index of the account, of the class.
    pub account: u32,
    pub class: u32,
    pub units: i64,
    pub too_long: bool,
    pub suspended: bool,
}

impl Waiting {
    /// Where it came in.
    pub fn place(&self) -> Place {
        Place { batch_no: self.batch_no, line: self.line }
    }

    /// By window and arrival.
    fn rank(&self) -> (Timestamp, i64, i64) {
        (window_start(self.submit_time), self.batch_no, self.line)
    }
}

/// Collects messages in any order.
pub struct UsageOrder {
    memory: Vec<Waiting>,
    limit: usize,
    groups: usize,
    spill: Option<Spill>,
}

/// Messages kept in memory before they go to disk: about 72 MB.
pub const IN_MEMORY: usize = 1_500_000;
/// Files that are open at once, at most; spans of time that a large group is cut into.
const FILES: usize = 256;

impl UsageOrder {
    /// `expected` messages are to come, about; up to `limit` stay in memory.
    pub fn new(expected: usize, limit: usize) -> UsageOrder {
        let groups = (2 * expected / limit.max(1) + 1).clamp(2, FILES);
        UsageOrder { memory: Vec::new(), limit, groups, spill: None }
    }

    pub fn push(&mut self, message: Waiting) -> io::Result<()> {
        self.memory.push(message);
        if self.memory.len() >= self.limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        let groups = self.groups;
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::new(groups)?),
        };
        for message in self.memory.drain(..) {
            spill.write(message.account as usize % groups, &message)?;
        }
        Ok(())
    }

    /// Hands over the portions.
    pub fn portions(mut self) -> io::Result<Portions> {
        let Some(_) = &self.spill else {
            let memory = Some(self.memory).filter(|memory| !memory.is_empty());
            return Ok(Portions { memory, levels: Vec::new(), limit: self.limit });
        };
        self.spill()?;
        // What is read from disk needs the memory now.
        self.memory = Vec::new();
        let levels = self.spill.into_iter().map(Spill::close).collect::<io::Result<_>>()?;
        Ok(Portions { memory: None, levels, limit: self.limit })
    }
}

/// Messages on disk in numbered parts.
struct Spill {
    dir: TempDir,
    parts: Vec<Option<BufWriter<File>>>,
}

impl Spill {
    fn new(parts: usize) -> io::Result<Spill> {
        Ok(Spill { dir: tempfile::tempdir()?, parts: (0..parts).map(|_| None).collect() })
    }

    fn write(&mut self, part: usize, message: &Waiting) -> io::Result<()> {
        let writer = match &mut self.parts[part] {
            Some(writer) => writer,
            none => none.insert(BufWriter::new(File::create(self.dir.path().join(part.to_string()))?)),
        };
        writer.write_all(&encode(message))
    }

    /// Ends the writing.
    fn close(self) -> io::Result<Level> {
        let mut parts = Vec::new();
        for (part, writer) in self.parts.into_iter().enumerate().rev() {
            if let Some(writer) = writer {
                writer.into_inner().map_err(io::IntoInnerError::into_error)?;
                parts.push(part);
            }
        }
        Ok(Level { dir: self.dir, parts })
    }
}

/// Parts on disk that are still to come, last first.
struct Level {
    dir: TempDir,
    parts: Vec<usize>,
}

/// Portions, one at a time.
pub struct Portions {
    memory: Option<Vec<Waiting>>,
    /// Groups of accounts, and above them the spans of time of a group that was too large.
    levels: Vec<Level>,
    limit: usize,
}

impl Portions {
    pub fn next(&mut self) -> io::Result<Option<Portion>> {
        if let Some(memory) = self.memory.take() {
            return Ok(Some(Portion::new(memory)));
        }
        loop {
            let depth = self.levels.len();
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(part) = level.parts.pop() else {
                self.levels.pop();
                continue;
            };
            let path = level.dir.path().join(part.to_string());
            if depth == 1 && count(&path)? > self.limit {
                let spans = by_time(&path)?;
                self.levels.push(spans);
                continue;
            }
            let mut messages = Vec::with_capacity(count(&path)?);
            for_each(&path, |message| {
                messages.push(message);
                Ok(())
            })?;
            std::fs::remove_file(path)?;
            return Ok(Some(Portion::new(messages)));
        }
    }
}

/// Messages by account. Those of an account are brought into their order only when they are asked for, so that
/// the database can work meanwhile; they came nearly so.
pub struct Portion {
    messages: Vec<Waiting>,
    /// Indices of messages, those of an account beside each other.
    order: Vec<u32>,
    /// Accounts, and where theirs stand in `order`.
    accounts: Vec<(u32, Range<usize>)>,
}

/// Messages of an account in the order in which they are charged.
#[derive(Clone, Copy)]
pub struct Messages<'p> {
    pub account: u32,
    of: &'p [Waiting],
    order: &'p [u32],
}

impl Portion {
    fn new(messages: Vec<Waiting>) -> Portion {
        let mut ends: Vec<usize> = Vec::new();
        for message in &messages {
            let account = message.account as usize;
            if account >= ends.len() {
                ends.resize(account + 1, 0);
            }
            ends[account] += 1;
        }
        let mut accounts = Vec::new();
        let mut begin = 0;
        for (account, end) in (0..).zip(&mut ends) {
            let count = std::mem::replace(end, begin);
            if count > 0 {
                accounts.push((account, begin..begin + count));
            }
            begin += count;
        }
        let mut order = vec![0; messages.len()];
        for (index, message) in (0..).zip(&messages) {
            let place = &mut ends[message.account as usize];
            order[*place] = index;
            *place += 1;
        }
        Portion { messages, order, accounts }
    }

    /// The accounts, by number.
    pub fn accounts(&self) -> impl Iterator<Item = u32> {
        self.accounts.iter().map(|(account, _)| *account)
    }

    /// How many messages of an account there are.
    pub fn count(&self, account: u32) -> usize {
        self.range(account).len()
    }

    fn range(&self, account: u32) -> Range<usize> {
        let found = self.accounts.binary_search_by_key(&account, |(account, _)| *account);
        found.map_or(0..0, |found| self.accounts[found].1.clone())
    }

    pub fn earliest(&self) -> Option<Timestamp> {
        self.messages.iter().map(|message| message.submit_time).min()
    }

    /// The messages of an account, sorted by window and arrival; none of one that has none here.
    pub fn of(&mut self, account: u32) -> Messages<'_> {
        let range = self.range(account);
        let (of, order) = (&*self.messages, &mut self.order[range]);
        order.sort_by_key(|index| of[*index as usize].rank());
        Messages { account, of, order }
    }
}

impl<'p> Messages<'p> {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'p Waiting> + use<'p> {
        let of = self.of;
        self.order.iter().map(move |index| &of[*index as usize])
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }
}

/// Lays a group out by spans of whole windows.
fn by_time(path: &Path) -> io::Result<Level> {
    let (mut first, mut last) = (Timestamp(i64::MAX), Timestamp(i64::MIN));
    for_each(path, |message| {
        first = first.min(window_start(message.submit_time));
        last = last.max(message.submit_time);
        Ok(())
    })?;
    let span = (last.0.saturating_sub(first.0) / WINDOW / FILES as i64 + 1) * WINDOW;
    let mut spill = Spill::new(FILES)?;
    for_each(path, |message| spill.write(((message.submit_time.0 - first.0) / span) as usize, &message))?;
    std::fs::remove_file(path)?;
    spill.close()
}

fn count(path: &Path) -> io::Result<usize> {
    Ok(std::fs::metadata(path)?.len() as usize / BYTES)
}

fn for_each(path: &Path, mut each: impl FnMut(Waiting) -> io::Result<()>) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut bytes = [0; BYTES];
    for _ in 0..count(path)? {
        reader.read_exact(&mut bytes)?;
        each(decode(&bytes))?;
    }
    Ok(())
}

const BYTES: usize = 6 * 8;

fn encode(message: &Waiting) -> [u8; BYTES] {
    let flags = i64::from(message.too_long) | i64::from(message.suspended) << 1;
    let indices = i64::from(message.account) << 32 | i64::from(message.class);
    let words = [message.submit_time.0, message.batch_no, message.line, indices, message.units, flags];
    let mut bytes = [0; BYTES];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; BYTES]) -> Waiting {
    let mut words = [0i64; 6];
    for (word, slot) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut raw = [0; 8];
        raw.copy_from_slice(slot);
        *word = i64::from_le_bytes(raw);
    }
    let [submit_time, batch_no, line, indices, units, flags] = words;
    Waiting {
        submit_time: Timestamp(submit_time),
        batch_no,
        line,
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
            account: (n % 37) as u32,
            class: (n % 5) as u32,
            units: n,
            too_long: n % 2 == 0,
            suspended: n % 7 == 0,
        };
        (0..count).map(message).collect()
    }

    fn ordered(expected: usize, limit: usize) -> Vec<Vec<Waiting>> {
        let mut order = UsageOrder::new(expected, limit);
        messages(5_000).into_iter().for_each(|message| order.push(message).unwrap());
        let mut portions = order.portions().unwrap();
        let sorted = |mut portion: Portion| {
            let accounts: Vec<u32> = portion.accounts().collect();
            accounts
                .into_iter()
                .flat_map(|account| portion.of(account).iter().copied().collect::<Vec<_>>())
                .collect()
        };
        std::iter::from_fn(|| portions.next().unwrap()).map(sorted).collect()
    }

    #[test]
    fn messages_of_an_account_are_sorted_by_window_and_arrival() {
        let sorted = ordered(5_000, usize::MAX).concat();
        let mut expected = messages(5_000);
        expected.sort_by_key(|message| (message.account, message.rank()));
        assert_eq!(sorted, expected);
        assert_eq!(Portion::new(messages(1)).of(7).len(), 0);
    }

    #[test]
    fn a_backlog_on_disk_gives_each_account_the_order_it_has_in_memory() {
        let in_memory = ordered(5_000, usize::MAX).concat();
        // In groups that fit, and where more came than was expected, so that groups are cut again.
        for (expected, limit) in [(5_000, 1_000), (0, 1_000), (0, 100)] {
            let portions = ordered(expected, limit);
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
