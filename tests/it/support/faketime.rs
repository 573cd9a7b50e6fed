//! A clock for the finished program that can be set while it runs, where libfaketime is installed.

use std::path::PathBuf;

use super::program::Program;

/// The clock of one program.
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// None where libfaketime is missing.
    pub fn of(program: &Program, name: &str) -> Option<Clock> {
        let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|dir| dir.path());
        let places = libraries.chain([PathBuf::from("/usr/local/lib")]);
        let library = places.map(|dir| dir.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
        let Some(library) = library else {
            eprintln!("SKIPPED: libfaketime is missing (apt-get install libfaketime)");
            return None;
        };
        let clock = Clock { file: program.path(&format!("{name}.time")), library };
        clock.set("+0");
        Some(clock)
    }

    /// How far it is off: `+365d`, `-600`, `+0`.
    pub fn set(&self, offset: &str) {
        // In one step, so that no half a line is read.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).expect("it can be written");
        std::fs::rename(new, &self.file).expect("it can be put there");
    }

    /// What the program must be started with.
    pub fn environment(&self) -> Vec<(&'static str, &str)> {
        fn text(path: &std::path::Path) -> &str {
            path.to_str().expect("UTF-8")
        }
        vec![
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file)),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}
