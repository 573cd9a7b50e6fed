//! Files that are written whole or not at all: under a temporary name, to the disk, then renamed. Only
//! their owner can read them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that is being written beside the one that it is to become. Dropped, it is gone.
#[derive(Debug)]
pub struct WholeFile {
    temporary: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl WholeFile {
    pub fn create(path: &Path) -> io::Result<WholeFile> {
        if path.file_name().is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
        }
        let temporary = tempfile::Builder::new().prefix(".quittance-").tempfile_in(directory(path))?;
        Ok(WholeFile { temporary: BufWriter::with_capacity(1 << 16, temporary), path: path.to_owned() })
    }

    /// Where it is as long as it is not whole, for what writes into it by name.
    pub fn temporary(&self) -> &Path {
        self.temporary.get_ref().path()
    }

    /// Gives the file its name, in place of another of that name.
    pub fn replace(self) -> io::Result<()> {
        let path = self.path.clone();
        self.synced()?.persist(&path)?;
        sync_directory(&path)
    }

    /// Gives the file its name, unless there is one of that name already.
    pub fn keep_new(self) -> io::Result<()> {
        let path = self.path.clone();
        self.synced()?.persist_noclobber(&path)?;
        sync_directory(&path)
    }

    fn synced(self) -> io::Result<NamedTempFile> {
        let temporary = self.temporary.into_inner().map_err(|error| error.into_error())?;
        temporary.as_file().sync_all()?;
        Ok(temporary)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}

/// The file that a path leads to, where links lead it; None where there is nothing. A device must not be replaced,
/// and whoever opens a pipe waits for its other end.
///
/// # Errors
/// `AlreadyExists` where there is something else, which stays as it is.
pub fn regular(path: &Path) -> io::Result<Option<PathBuf>> {
    let taken = |what: &str| Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    let nothing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match (std::fs::symlink_metadata(path), std::fs::metadata(path)) {
        (Err(error), _) if nothing(&error) => Ok(None),
        (Ok(_), Err(error)) if nothing(&error) => taken("it is a link to nothing"),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (_, Ok(found)) if !found.is_file() => taken("it is no regular file"),
        (Ok(link), _) if link.is_symlink() => path.canonicalize().map(Some),
        _ => Ok(Some(path.to_owned())),
    }
}

/// The directory that holds a file.
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a new name durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_whole_private_and_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());

        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        file.replace().unwrap();
        let again = WholeFile::create(&path).unwrap();
        assert_eq!(again.keep_new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_leads_to_its_file_and_nothing_but_a_file_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), "a").unwrap();
        std::os::unix::fs::symlink("a", at("link")).unwrap();
        std::os::unix::fs::symlink("gone", at("loose")).unwrap();
        assert_eq!(regular(&at("link")).unwrap(), Some(at("a").canonicalize().unwrap()));
        assert_eq!(regular(&at("gone")).unwrap(), None);
        for other in [at("loose"), dir.path().to_owned(), "/dev/null".into()] {
            assert_eq!(regular(&other).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{other:?}");
        }
        assert_eq!(regular(&at("a/b")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
