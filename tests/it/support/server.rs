//! A PostgreSQL server of a test's own, to be stopped and started.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::databases::execute;

/// A server on a unix socket in a directory of its own; gone when dropped.
pub struct Server {
    dir: tempfile::TempDir,
    bin: PathBuf,
    /// An empty database on it.
    pub url: String,
}

impl Server {
    /// None where PostgreSQL is not installed here, unless it is required.
    pub fn start() -> Option<Server> {
        let Some(bin) = programs() else {
            assert!(std::env::var_os("REQUIRE_POSTGRES").is_none(), "there is no initdb of PostgreSQL");
            eprintln!("SKIPPED: there is no initdb of PostgreSQL for a server to be restarted");
            return None;
        };
        // Directly under /tmp: a socket's path may have no more than 107 bytes.
        let dir =
            tempfile::Builder::new().prefix("quittance-server.").tempdir_in("/tmp").expect("a directory");
        let url = format!("postgres:///books?host={}&user=postgres", dir.path().display());
        let server = Server { dir, bin, url };
        if is_root() {
            run(Command::new("chown").arg(format!("{}:", user())).arg(server.dir.path()));
        }
        let data = server.data();
        let options =
            ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
        run(server.program("initdb").arg("--pgdata").arg(&data).args(options));
        server.begin();
        execute(&server.url.replace("/books?", "/postgres?"), "create database books".into());
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it and waits until it answers.
    pub fn begin(&self) {
        let socket = self.dir.path().display();
        // What is lost when the machine fails is no matter here: only the server is stopped.
        let options = format!("-c listen_addresses='' -c unix_socket_directories='{socket}' -c fsync=off");
        self.control(&["start", "--wait", "--silent", "-o", &options]);
    }

    /// Stops it as a crash would, and starts it again.
    pub fn crash(&self) {
        self.control(&["restart", "--mode=immediate", "--wait", "--silent"]);
    }

    pub fn stop(&self) {
        self.control(&["stop", "--mode=immediate", "--wait", "--silent"]);
    }

    fn control(&self, args: &[&str]) {
        let log = self.dir.path().join("log");
        run(self.program("pg_ctl").arg("--pgdata").arg(self.data()).arg("--log").arg(log).args(args));
    }

    /// A program of the server, which refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", user(), "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stop = ["stop", "--mode=immediate", "--wait", "--silent"];
        // It may be stopped already.
        let _ = self.program("pg_ctl").arg("--pgdata").arg(self.data()).args(stop).output();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user of the server where the tests run as root.
fn user() -> &'static str {
    let known = Command::new("id").arg("postgres").output().is_ok_and(|output| output.status.success());
    if known { "postgres" } else { "nobody" }
}

/// The directory of the newest server. Debian keeps them outside of PATH.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> =
        std::env::split_paths(&path).filter(|dir| dir.join("initdb").is_file()).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |dir: &Path| dir.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    versions.sort_by_key(|dir| number(dir));
    found.extend(versions.pop().map(|dir| dir.join("bin")).filter(|dir| dir.join("initdb").is_file()));
    // Where PATH holds a link, the programs beside it may have none.
    found.first().map(|dir| dir.join("initdb").canonicalize().expect("a file"))?.parent().map(Path::to_owned)
}
