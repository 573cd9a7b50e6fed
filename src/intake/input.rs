//! What is read: a file by its name, a file that is open already, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where messages are read from.
#[derive(Clone, Debug)]
pub enum Input {
    File(PathBuf),
    /// A file that somebody opened, and what it is called.
    Open(Arc<File>, String),
    /// Standard input, `-`.
    Stdin,
}

impl Input {
    pub fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Open(_, name) => name.clone(),
            Input::Stdin => "-".into(),
        }
    }

    /// Whether it can be read again from its beginning.
    pub fn can_be_read_again(&self) -> bool {
        match self {
            Input::File(path) => path.is_file(),
            Input::Open(..) | Input::Stdin => false,
        }
    }
}

/// An input that is open; its name tells its format.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub name: String,
    /// None: standard input.
    file: Option<Arc<File>>,
}

impl Opened {
    pub async fn open(input: Input) -> io::Result<Opened> {
        let name = input.name();
        let file = match input {
            // In a thread: a FIFO keeps whoever opens it waiting for its writer.
            Input::File(path) => {
                let opened = tokio::task::spawn_blocking(move || File::open(path)).await;
                Some(Arc::new(opened.map_err(io::Error::other)??))
            }
            Input::Open(file, _) => Some(file),
            Input::Stdin => None,
        };
        Ok(Opened { name, file })
    }

    pub fn reader(&self) -> Box<dyn Read> {
        match &self.file {
            Some(file) => Box::new(Arc::clone(file)),
            None => Box::new(io::stdin().lock()),
        }
    }

    /// None for what has no end and no time of its own, such as a pipe.
    pub fn footprint(&self) -> io::Result<Option<Footprint>> {
        let Some(file) = &self.file else { return Ok(None) };
        Footprint::of(file)
    }
}

/// What changes when somebody writes to a file: if it is another one at the end than at the
/// beginning, the file changed while it was read (F64).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    pub bytes: u64,
    /// Device and number of the file itself.
    identity: (u64, u64),
    /// Seconds and nanoseconds, of the content and of the file's own data.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Footprint {
    fn of(file: &File) -> io::Result<Option<Footprint>> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            let what = "it is a directory; name the files in it";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
        }
        let footprint = Footprint {
            bytes: metadata.len(),
            identity: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        Ok(metadata.is_file().then_some(footprint))
    }
}
