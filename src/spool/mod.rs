//! The spool: a directory into which gateways drop files, each taken once by whoever comes first.
//!
//! ```text
//! dir/            messages/  messages/SOURCE/     files dropped by rename
//!      '---------------------------'
//!                   claim: rename
//! dir/work/messages/SOURCE/                       being taken
//!                   settle: report, then rename
//! dir/done/  dir/bad/                             NAME beside NAME.report.json
//! ```
//! Everything is a rename, so that a file is in one place at any moment. What a run that was killed
//! left in `work/` is taken again by the next; that its content is in the books already, the batch
//! tells (F65). Whoever may write into the directory may put anything there: names are looked up in
//! directories that are open, links are never followed, and only regular files are read (F63).
//!
//! It knows files, not what is in them, and no database.

mod dir;
mod names;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use serde_json::{Value, json};

use self::dir::{Dir, Moved};
pub use self::dir::{Look, SpoolError};
pub use self::names::shown;
use self::names::{is_unfinished, with_report};
use crate::domain::period::Timestamp;
pub use crate::ingest::Kind;
use crate::ingest::records::Format;
use crate::ingest::source::Source;

/// Entries of one directory that a run looks at; what is beyond them is looked at by the next.
const LISTED: usize = 100_000;
/// Whoever writes to a file in place is not done with it while it was written to a moment ago.
const YOUNG: i64 = Timestamp::MINUTE;

/// The directory, open and complete.
#[derive(Debug)]
pub struct Spool {
    root: Arc<Dir>,
    work: Dir,
    done: Dir,
    bad: Dir,
    /// The name of this run's unfinished reports; no other run has the same.
    draft: OsString,
}

/// A directory whose files are of one kind and source.
#[derive(Debug)]
pub struct Inlet {
    dir: Arc<Dir>,
    pub kind: Kind,
    pub source: Source,
    /// Files that lie in `work/`: somebody took them and was killed.
    left_behind: bool,
}

/// A file that may be taken.
#[derive(Clone, Debug)]
pub struct Entry {
    pub inlet: Arc<Inlet>,
    pub name: OsString,
    pub look: Look,
}

/// What came of reaching for a file.
#[derive(Debug)]
pub enum Claim {
    /// It lies in `work/` and is open.
    Ours(Held, Arc<File>),
    /// It is no file that can be taken; what it is instead.
    Odd(Held, String),
    /// It may still be being written.
    Unfinished,
    /// It may not be moved, and why.
    Stuck(std::io::Error),
    /// It is not there any more.
    Gone,
}

/// Something that this run holds, and where it lies now.
#[derive(Debug)]
pub struct Held {
    pub entry: Entry,
    dir: Arc<Dir>,
    name: OsString,
}

/// Where a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    Done,
    Bad,
}

impl Spool {
    /// Opens the directory and makes what is missing of it. The token is that of the run's lease.
    pub fn open(place: &Path, token: i64) -> Result<Spool, SpoolError> {
        let root = Dir::open_or_make(place)?;
        let spool = Spool {
            work: root.make("work")?,
            done: root.make("done")?,
            bad: root.make("bad")?,
            root: Arc::new(root),
            draft: format!("{DRAFT}{token}").into(),
        };
        spool.clear_drafts()?;
        Ok(spool)
    }

    /// What runs that were killed had taken and not settled.
    pub fn left_behind(&self) -> Result<Vec<Entry>, SpoolError> {
        left_behind(&self.work)
    }

    /// What was dropped, oldest first.
    pub fn dropped(&self) -> Result<Vec<Entry>, SpoolError> {
        dropped(&self.root)
    }

    /// Takes a file, unless somebody else was faster or it can't be taken.
    pub fn claim(&self, entry: &Entry, now: Timestamp) -> Result<Claim, SpoolError> {
        let inlet = &entry.inlet;
        let Some(look) = inlet.dir.look(&entry.name)? else { return Ok(Claim::Gone) };
        if look.is_dir() {
            return Ok(Claim::Gone);
        }
        let entry = Entry { look, ..entry.clone() };
        let here = |entry: Entry| Held { dir: Arc::clone(&inlet.dir), name: entry.name.clone(), entry };
        if let Some(what) = entry.look.oddity() {
            return Ok(Claim::Odd(here(entry), what));
        }
        if !inlet.left_behind && entry.is_young(now) && !ends_whole(inlet, &entry.name) {
            return Ok(Claim::Unfinished);
        }
        let held = if inlet.left_behind {
            here(entry)
        } else {
            let lane = Arc::new(self.work.make(inlet.kind.name())?.make(inlet.source.name())?);
            match inlet.dir.move_into(&entry.name, &lane, &entry.name) {
                Ok(Some(name)) => Held { dir: lane, name, entry },
                Ok(None) => return Ok(Claim::Gone),
                Err(error) if error.is_refusal() => return Ok(Claim::Stuck(error.source)),
                Err(error) => return Err(error),
            }
        };
        held.open()
    }

    /// Ends with a file: its report is durable first, then it is moved. None where somebody else
    /// moved it in the meantime; else its place in the spool.
    pub fn settle(
        &self,
        held: &Held,
        outlet: Outlet,
        mut report: Value,
    ) -> Result<Option<String>, SpoolError> {
        let (to, place) = match outlet {
            Outlet::Done => (&self.done, "done"),
            Outlet::Bad => (&self.bad, "bad"),
        };
        loop {
            let name = names::free(&held.entry.name, |name| free_in(to, name, &report))?;
            let moved_to = format!("{place}/{}", shown(&name));
            report["moved_to"] = json!(moved_to);
            self.work.write(&self.draft, format!("{report:#}\n").as_bytes())?;
            let report_name = with_report(&name);
            self.work.replace(&self.draft, to, &report_name)?;
            to.sync()?;
            match held.dir.move_to(&held.name, to, &name)? {
                Moved::Here => {
                    to.sync()?;
                    held.dir.sync()?;
                    return Ok(Some(moved_to));
                }
                Moved::Gone => {
                    to.remove(&report_name)?;
                    return Ok(None);
                }
                Moved::Taken => {}
            }
        }
    }

    /// Puts a file back to where it was dropped, for the next run.
    pub fn put_back(&self, held: &Held) -> Result<(), SpoolError> {
        let inlet = &held.entry.inlet;
        if inlet.left_behind {
            return Ok(());
        }
        held.dir.move_into(&held.name, &inlet.dir, &held.entry.name).map(|_| ())
    }

    /// Reports that runs before this one did not come to finish.
    fn clear_drafts(&self) -> Result<(), SpoolError> {
        for name in self.work.names(LISTED)? {
            if name.as_encoded_bytes().starts_with(DRAFT.as_bytes()) {
                self.work.remove(&name)?;
            }
        }
        Ok(())
    }
}

const DRAFT: &str = ".report-";

/// What a run would find, without touching anything.
pub fn peek(place: &Path) -> Result<Vec<Entry>, SpoolError> {
    let Some(root) = Dir::open(place)? else { return Ok(Vec::new()) };
    let mut entries = match root.enter("work")? {
        Some(work) => left_behind(&work)?,
        None => Vec::new(),
    };
    entries.extend(dropped(&Arc::new(root))?);
    Ok(entries)
}

fn left_behind(work: &Dir) -> Result<Vec<Entry>, SpoolError> {
    let mut entries = Vec::new();
    for kind in Kind::ALL {
        let Some(of_kind) = work.enter(kind.name())? else { continue };
        for source in Source::ALL {
            let Some(lane) = of_kind.enter(source.name())? else { continue };
            list(Inlet { dir: Arc::new(lane), kind, source, left_behind: true }, &mut entries)?;
        }
    }
    Ok(oldest_first(entries))
}

fn dropped(root: &Arc<Dir>) -> Result<Vec<Entry>, SpoolError> {
    let mut entries = Vec::new();
    let inlet = |dir, kind, source| Inlet { dir, kind, source, left_behind: false };
    list(inlet(Arc::clone(root), Kind::Messages, Source::Generic), &mut entries)?;
    for kind in Kind::ALL {
        let Some(of_kind) = root.enter(kind.name())? else { continue };
        for source in sources(kind) {
            if let Some(dir) = of_kind.enter(source.name())? {
                list(inlet(Arc::new(dir), kind, source), &mut entries)?;
            }
        }
        let of_kind = Arc::new(of_kind);
        for name in list(inlet(Arc::clone(&of_kind), kind, Source::Generic), &mut entries)? {
            if !sources(kind).any(|source| name == source.name()) {
                tracing::warn!("{} is no source of {}: it is left alone", of_kind.shown(&name), kind.name());
            }
        }
    }
    Ok(oldest_first(entries))
}

/// Who may have a directory of its own.
fn sources(kind: Kind) -> impl Iterator<Item = Source> {
    Source::ALL.into_iter().filter(move |source| kind == Kind::Receipts || source.has_messages())
}

/// Adds what lies in an inlet, and gives the directories in it.
fn list(inlet: Inlet, entries: &mut Vec<Entry>) -> Result<Vec<OsString>, SpoolError> {
    let mut directories = Vec::new();
    let inlet = Arc::new(inlet);
    for name in inlet.dir.names(LISTED)? {
        // What lies in `work/` was claimed under this name, so it is whole.
        if !inlet.left_behind && is_unfinished(&name) {
            continue;
        }
        let Some(look) = inlet.dir.look(&name)? else { continue };
        match look.is_dir() {
            true => directories.push(name),
            false => entries.push(Entry { inlet: Arc::clone(&inlet), name, look }),
        }
    }
    Ok(directories)
}

fn oldest_first(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| (a.look.modified, &a.name).cmp(&(b.look.modified, &b.name)));
    entries
}

impl Entry {
    /// What it is called in reports, batches and logs.
    pub fn shown(&self) -> String {
        shown(&self.name)
    }

    /// Where it lies, from the spool's directory on.
    pub fn place(&self) -> String {
        self.inlet.dir.shown(&self.name)
    }

    /// Whether it was written to a moment ago, by whatever clock: one that is hours off can't tell.
    pub fn is_young(&self, now: Timestamp) -> bool {
        (now.0 - self.look.modified.0).abs() < YOUNG
    }
}

impl Held {
    /// Opens what was claimed; it may have become another since it was looked at.
    fn open(self) -> Result<Claim, SpoolError> {
        let file = match self.dir.open_file(&self.name) {
            Ok(file) => file,
            Err(error) => return self.closed(error),
        };
        let look = Look::of(&file).map_err(|source| self.dir.fault("read", &self.name, source))?;
        Ok(match look.oddity() {
            Some(what) => Claim::Odd(self, what),
            None => Claim::Ours(self, Arc::new(file)),
        })
    }

    fn closed(self, error: Errno) -> Result<Claim, SpoolError> {
        match error {
            Errno::NOENT => Ok(Claim::Gone),
            Errno::LOOP => Ok(Claim::Odd(self, "a symbolic link".into())),
            // Of these not the file is the cause.
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Err(self.dir.fault("open", &self.name, error)),
            error => Ok(Claim::Odd(self, format!("it can't be opened: {}", std::io::Error::from(error)))),
        }
    }
}

/// Whether a name and its report's name are free. A report without its file is that of a run that
/// was killed between the two: where it tells the same, it is replaced.
fn free_in(outlet: &Dir, name: &OsStr, report: &Value) -> Result<bool, SpoolError> {
    if outlet.look(name)?.is_some() {
        return Ok(false);
    }
    let report_name = with_report(name);
    let Some(look) = outlet.look(&report_name)? else { return Ok(true) };
    const LARGEST: u64 = 16 << 20;
    if look.oddity().is_some() || look.bytes > LARGEST {
        return Ok(false);
    }
    let Ok(file) = outlet.open_file(&report_name) else { return Ok(false) };
    let left: Value = serde_json::from_reader(std::io::BufReader::new(file)).unwrap_or_default();
    Ok(["file", "kind", "source", "batch_id", "fault"].iter().all(|key| left[key] == report[key]))
}

/// Whether a file's last line has its end. That of JSON is its brace; whether a gzip file is whole,
/// only unpacking it tells.
fn ends_whole(inlet: &Inlet, name: &OsStr) -> bool {
    let Ok(file) = inlet.dir.open_file(name) else { return true };
    let Ok(look) = Look::of(&file) else { return true };
    if look.oddity().is_some() || look.bytes == 0 {
        return look.bytes > 0;
    }
    let (mut first, mut last) = ([0; 2], [0]);
    let read = file.read_at(&mut first, 0).and(file.read_at(&mut last, look.bytes - 1));
    let is_ndjson =
        Format::of_file_name(&shown(name)).map_or(first[0] == b'{', |format| format == Format::Ndjson);
    read.is_err() || first == [0x1F, 0x8B] || last == *b"\n" || (is_ndjson && last == *b"}")
}
