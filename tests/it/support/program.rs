//! The real program, run as its users run it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::databases::TestDatabase;

/// When the tests take place: their messages are of the hours before.
pub const NOON: &str = "2026-03-01T12:00:00+08:00";

/// The program on one database, in a directory of its own that holds the files handed in.
pub struct Program {
    database: Option<String>,
    /// None: the machine's clock.
    as_of: Option<String>,
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// What the program answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

/// A program that was started and not waited for.
pub struct Running {
    child: Child,
    command: String,
}

impl Program {
    /// The program as of [`NOON`].
    pub fn on(database: &TestDatabase) -> Program {
        Program::on_url(&database.url)
    }

    pub fn on_url(url: &str) -> Program {
        Program { database: Some(url.to_owned()), ..Program::configured() }
    }

    /// The program without `--database`: it finds out by itself where the books are.
    pub fn configured() -> Program {
        Program {
            database: None,
            as_of: Some(NOON.to_owned()),
            dir: tempfile::tempdir().expect("a temporary directory"),
            environment: Vec::new(),
        }
    }

    /// Moves the clock.
    pub fn at(&mut self, as_of: &str) -> &mut Program {
        self.as_of = Some(as_of.to_owned());
        self
    }

    /// Leaves the clock to the machine, as a daemon does.
    pub fn at_present(&mut self) -> &mut Program {
        self.as_of = None;
        self
    }

    /// Gives the program a configuration file of its own, with the products and prices that are shipped.
    pub fn configure(&mut self, quittance_toml: &str) -> &mut Program {
        self.file("products.toml", include_str!("../../../config/products.toml"));
        self.file("prices.toml", include_str!("../../../config/prices.toml"));
        self.file("quittance.toml", quittance_toml);
        self.set("QUITTANCE_CONFIG", "quittance.toml")
    }

    pub fn set(&mut self, variable: &str, value: &str) -> &mut Program {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file into the program's directory and gives its name there.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).expect("the file can be written");
        name.to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn run(&self, args: &[&str]) -> Answer {
        self.run_with_input(args, b"")
    }

    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Answer {
        self.start(args, input).answer()
    }

    /// Runs a command that must succeed and gives its JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).exits(0).json()
    }

    /// Starts the program, gives it its input, and does not wait for it.
    pub fn start(&self, args: &[&str], input: &[u8]) -> Running {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        let shown = format!("quittance {}", args.join(" "));
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("it has an input");
        let input = input.to_vec();
        // In a thread, so that neither side waits for the other with full pipes. The program may
        // well end without having read it all.
        thread::spawn(move || stdin.write_all(&input).ok());
        Running { child, command: shown }
    }

    /// The command by itself, for tests that connect it in their own way.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quittance"));
        command
            .args(self.database.iter().flat_map(|url| ["--database", url]))
            .args(self.as_of.iter().flat_map(|as_of| ["--as-of", as_of]))
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("QUITTANCE_CONFIG")
            .env_remove("QUITTANCE_DATABASE_URL")
            .env_remove("QUITTANCE_LOG")
            .env_remove("CREDENTIALS_DIRECTORY")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it can be sent a signal");
    }

    /// Kills it and does not wait for it: it may stay a zombie for a while, as a killed cron job does.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        thread::spawn(move || self.child.wait_with_output());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_some()
    }

    #[track_caller]
    pub fn answer(self) -> Answer {
        let output = self.child.wait_with_output().expect("the program ends");
        Answer::of(self.command, output)
    }
}

impl Answer {
    /// Whatever is handed in, the program does not panic.
    #[track_caller]
    pub fn of(command: String, output: Output) -> Answer {
        let answer = Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
            command,
        };
        assert!(!answer.stderr.contains("panicked"), "it panicked\n{}", answer.shown());
        answer
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Answer {
        assert_eq!(self.code, code, "another exit code than expected\n{}", self.shown());
        self
    }

    /// The one JSON value on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON value: {error}\n{}", self.shown()))
    }

    /// The JSON values on stdout, one a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let read = |line| serde_json::from_str(line);
        self.stdout
            .lines()
            .map(|line| read(line).unwrap_or_else(|error| panic!("not JSON: {error}\n{}", self.shown())))
            .collect()
    }

    /// A refusal: exit code 1, `error{code message}` on stdout, the message on stderr.
    #[track_caller]
    pub fn refuses(self, code: &str) -> Answer {
        let answer = self.exits(1);
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "another refusal than expected\n{}", answer.shown());
        let message = error["message"].as_str().expect("a message");
        assert!(
            !message.is_empty() && answer.stderr.contains(message),
            "stderr says something else\n{}",
            answer.shown()
        );
        answer
    }

    /// Its message on stderr holds all these words.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Answer {
        for word in words {
            assert!(self.stderr.contains(word), "stderr does not say `{word}`\n{}", self.shown());
        }
        self
    }

    /// What it prints for people holds all these words.
    #[track_caller]
    pub fn tells(self, words: &[&str]) -> Answer {
        for word in words {
            assert!(self.stdout.contains(word), "stdout does not tell `{word}`\n{}", self.shown());
        }
        self
    }

    /// Command, code and both outputs: what one wants to know of a failure.
    pub fn shown(&self) -> String {
        let Answer { code, stdout, stderr, command } = self;
        format!("$ {command}\nexit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
