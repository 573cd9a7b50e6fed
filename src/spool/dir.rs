//! A directory that is open: a name in it means its own entry, whatever becomes of the path to it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::names::{free, shown};
use crate::domain::period::Timestamp;

/// The disk or the rights stand in the way of the spool as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{place} in the spool can't be {done}: check the disk and the rights of quittance")]
pub struct SpoolError {
    done: &'static str,
    place: String,
    pub source: io::Error,
}

impl SpoolError {
    /// Whether it is the right to this one entry that is missing, as in a directory of others.
    pub fn is_refusal(&self) -> bool {
        let refusals = [Errno::ACCESS, Errno::PERM, Errno::BUSY].map(Errno::raw_os_error);
        self.source.raw_os_error().is_some_and(|code| refusals.contains(&code))
    }
}

#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    /// For messages only.
    place: PathBuf,
}

/// What is known of an entry without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    kind: FileType,
    pub bytes: u64,
    pub modified: Timestamp,
    has_other_names: bool,
}

/// What came of moving an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    Here,
    /// It is not there any more.
    Gone,
    /// The name was not free.
    Taken,
}

const OPEN_DIR: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens the directory of a path; None where there is none.
    pub fn open(place: &Path) -> Result<Option<Dir>, SpoolError> {
        match fs::open(place, OPEN_DIR, Mode::empty()) {
            Ok(fd) => Ok(Some(Dir { fd, place: place.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(fault("opened", place, error)),
        }
    }

    pub fn open_or_make(place: &Path) -> Result<Dir, SpoolError> {
        if let Some(dir) = Dir::open(place)? {
            return Ok(dir);
        }
        match fs::mkdir(place, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(fault("made", place, error)),
        }
        Dir::open(place)?.ok_or_else(|| fault("opened", place, Errno::NOENT))
    }

    /// A directory in this one, no link to one; None where there is none.
    pub fn enter(&self, name: &str) -> Result<Option<Dir>, SpoolError> {
        let place = self.place.join(name);
        match fs::openat(&self.fd, name, OPEN_DIR.union(OFlags::NOFOLLOW), Mode::empty()) {
            Ok(fd) => Ok(Some(Dir { fd, place })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(fault("opened", &place, error)),
        }
    }

    /// A directory in this one for nobody else's eyes.
    pub fn make(&self, name: &str) -> Result<Dir, SpoolError> {
        match fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(self.fault("made", name, error)),
        }
        self.enter(name)?.ok_or_else(|| self.fault("used: it is no directory", name, Errno::NOTDIR))
    }

    /// Names of entries, in no order.
    pub fn names(&self, most: usize) -> Result<Vec<OsString>, SpoolError> {
        let unreadable = |error| self.fault("listed", "", error);
        let entries = fs::Dir::read_from(&self.fd).map_err(unreadable)?;
        let names = entries.map(|entry| {
            let entry = entry.map_err(unreadable)?;
            Ok(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
        });
        let real =
            |name: &Result<OsString, _>| name.as_ref().map_or(true, |name| name != "." && name != "..");
        names.filter(real).take(most).collect()
    }

    /// The entry itself, where it is a link, too; None where there is none.
    pub fn look(&self, name: &OsStr) -> Result<Option<Look>, SpoolError> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Look::from(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.fault("looked at", name, error)),
        }
    }

    /// Opens a file for reading; a FIFO keeps nobody waiting.
    pub fn open_file(&self, name: &OsStr) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        fs::openat(&self.fd, name, flags, Mode::empty()).map(File::from)
    }

    /// Moves an entry into another directory under its name, or that name with the first number that
    /// is free there, and gives the name. None where it is not here any more.
    pub fn move_into(&self, name: &OsStr, to: &Dir, wanted: &OsStr) -> Result<Option<OsString>, SpoolError> {
        loop {
            let wanted = free(wanted, |wanted| Ok::<_, SpoolError>(to.look(wanted)?.is_none()))?;
            match self.move_to(name, to, &wanted)? {
                Moved::Here => return Ok(Some(wanted)),
                Moved::Gone => return Ok(None),
                Moved::Taken => {}
            }
        }
    }

    /// Moves an entry to a name that must be free.
    pub fn move_to(&self, name: &OsStr, to: &Dir, wanted: &OsStr) -> Result<Moved, SpoolError> {
        let moved = match fs::renameat_with(&self.fd, name, &to.fd, wanted, RenameFlags::NOREPLACE) {
            // This file system can't promise it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match to.look(wanted)? {
                Some(_) => Err(Errno::EXIST),
                None => fs::renameat(&self.fd, name, &to.fd, wanted),
            },
            moved => moved,
        };
        match moved {
            Ok(()) => Ok(Moved::Here),
            Err(Errno::NOENT) => Ok(Moved::Gone),
            Err(Errno::EXIST) => Ok(Moved::Taken),
            Err(error) => Err(self.fault("moved", name, error)),
        }
    }

    /// Moves an entry over whatever has that name there.
    pub fn replace(&self, name: &OsStr, to: &Dir, wanted: &OsStr) -> Result<(), SpoolError> {
        fs::renameat(&self.fd, name, &to.fd, wanted).map_err(|error| self.fault("moved", name, error))
    }

    /// Writes a new file that is on disk when this is done.
    pub fn write(&self, name: &OsStr, content: &[u8]) -> Result<(), SpoolError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.remove(name)?;
        let opened = fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(opened.map_err(|error| self.fault("written", name, error))?);
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.map_err(|error| self.fault("written", name, error))
    }

    /// Removes an entry, if it is there.
    pub fn remove(&self, name: &OsStr) -> Result<(), SpoolError> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.fault("removed", name, error)),
        }
    }

    /// Makes the names in it durable.
    pub fn sync(&self) -> Result<(), SpoolError> {
        fs::fsync(&self.fd).map_err(|error| self.fault("written", "", error))
    }

    /// An entry's place, for people.
    pub fn shown(&self, name: &OsStr) -> String {
        shown(self.place.join(name).as_os_str())
    }

    pub fn fault(
        &self,
        done: &'static str,
        name: impl AsRef<OsStr>,
        source: impl Into<io::Error>,
    ) -> SpoolError {
        fault(done, &self.place.join(name.as_ref()), source)
    }
}

fn fault(done: &'static str, place: &Path, source: impl Into<io::Error>) -> SpoolError {
    SpoolError { done, place: shown(place.as_os_str()), source: source.into() }
}

impl Look {
    /// Of a file that is open.
    pub fn of(file: &File) -> io::Result<Look> {
        Ok(Look::from(&fs::fstat(file.as_fd())?))
    }

    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// What it is if it is not a plain file of its own.
    pub fn oddity(&self) -> Option<String> {
        let what = match self.kind {
            FileType::RegularFile if self.has_other_names => "a hard link: the file has other names, too",
            FileType::RegularFile => return None,
            FileType::Symlink => "a symbolic link",
            FileType::Fifo => "a FIFO",
            FileType::Socket => "a socket",
            FileType::Directory => "a directory",
            FileType::BlockDevice | FileType::CharacterDevice => "a device",
            FileType::Unknown => "no file",
        };
        Some(what.into())
    }
}

impl From<&Stat> for Look {
    fn from(stat: &Stat) -> Look {
        let seconds = stat.st_mtime.saturating_mul(1_000_000);
        Look {
            kind: FileType::from_raw_mode(stat.st_mode),
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: Timestamp(
                seconds.saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1_000),
            ),
            has_other_names: stat.st_nlink > 1,
        }
    }
}
