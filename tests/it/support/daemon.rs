//! The daemon, started and watched from outside.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};

use super::facts::{wait_for, wait_until};
use super::program::Program;

/// Charging alone is due each second, so that no other job's slot falls into a test; leases are short, and any
/// port will do.
pub const EVERY_SECOND: &str = "[schedule]\naggregate-charges = \"* * * * * *\"\n\
     settle-receipts = \"off\"\nexpire-plans = \"off\"\nauto-renew = \"off\"\nmonthly-bills = \"off\"\n\
     review-mail-quotas = \"off\"\nsend-reminders = \"off\"\ndeliver-notifications = \"off\"\n\
     audit-changes = \"off\"\naudit-books = \"off\"\nhousekeeping = \"off\"\n\
     [http]\nlisten = \"127.0.0.1:0\"\n[runs]\nlease = \"5 seconds\"\n";

/// A daemon that runs until it is told to stop, at the latest when dropped.
pub struct Daemon {
    child: std::process::Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(program: &Program, name: &str) -> Daemon {
        let mut daemon = Daemon::begin(program, name);
        wait_until("the daemon is ready", || {
            assert!(!daemon.has_ended(), "the daemon ended by itself:\n{}", daemon.log());
            daemon.log().contains(" jobs")
        });
        daemon
    }

    /// Starts it.
    pub fn begin(program: &Program, name: &str) -> Daemon {
        Daemon::begin_with(program, name, &[])
    }

    pub fn begin_with(program: &Program, name: &str, environment: &[(&str, &str)]) -> Daemon {
        let log = program.path(&format!("{name}.log"));
        let mut command = program.command(&["daemon"]);
        command.envs(environment.iter().copied()).stderr(File::create(&log).expect("a log"));
        Daemon { child: command.spawn().expect("the daemon starts"), log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }

    /// Waits until its log says something.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str) {
        wait_until(&format!("the log says `{words}`"), || self.log().contains(words));
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it can be sent a signal");
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_some()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, String) {
        let child = &mut self.child;
        let status = wait_for("the daemon ends", || child.try_wait().expect("it can be asked"));
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        (status, log)
    }

    /// Tells it to stop, which it does in order.
    #[track_caller]
    pub fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Kills it and leaves no trace of the process.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// What its HTTP port answers: the status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let log = self.log();
        let (_, after) = log.split_once("on http://").expect("the address stands in the log");
        let address: String = after.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it can be asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Signals of a test may have stopped it; a killed one is gone all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
