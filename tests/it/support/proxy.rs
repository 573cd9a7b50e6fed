//! A network between the program and PostgreSQL that can be cut, or swallow everything, at a COMMIT.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sqlx::postgres::PgConnectOptions;

/// What happens to a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server never sees it, and the connection breaks.
    CutBefore,
    /// The server does it, and the connection breaks before it can say so.
    CutAfter,
    /// The server never sees it, and from now on no byte comes through on any connection.
    HoleBefore,
    /// The server does it, and from now on no byte comes through on any connection.
    HoleAfter,
}

/// A way to a PostgreSQL database over TCP.
pub struct Proxy {
    /// The database by this way.
    pub url: String,
    state: Arc<State>,
}

struct State {
    server: PgConnectOptions,
    commits: AtomicU32,
    /// At which COMMIT, counted over all connections from now on.
    trouble: Mutex<Option<(u32, Trouble)>>,
    hole: AtomicBool,
}

impl Proxy {
    pub fn to(url: &str) -> Proxy {
        let server: PgConnectOptions = url.parse().expect("a URL");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (user, database) = (server.get_username(), server.get_database().expect("a database"));
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable");
        let state = Arc::new(State {
            server,
            commits: AtomicU32::new(0),
            trouble: Mutex::new(None),
            hole: AtomicBool::new(false),
        });
        let shared = state.clone();
        // The listener lives as long as the test binary: a port costs nothing.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || Connection::carry(state, client));
            }
        });
        Proxy { url, state }
    }

    /// Makes trouble at the n-th COMMIT from now on, counted from 1.
    pub fn trouble_at(&self, commit: u32, trouble: Trouble) {
        let seen = self.state.commits.load(Ordering::SeqCst);
        *self.state.trouble.lock().expect("no panic") = Some((seen + commit, trouble));
    }

    /// Whether the trouble was made.
    pub fn made_trouble(&self) -> bool {
        self.state.trouble.lock().expect("no panic").is_none()
    }

    /// New connections come through again; those that fell silent stay so.
    pub fn heal(&self) {
        *self.state.trouble.lock().expect("no panic") = None;
        self.state.hole.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn connect(&self) -> io::Result<Server> {
        let port = self.server.get_port();
        match self.server.get_socket() {
            Some(dir) => UnixStream::connect(dir.join(format!(".s.PGSQL.{port}"))).map(Server::Unix),
            None => TcpStream::connect((self.server.get_host(), port)).map(Server::Tcp),
        }
    }

    /// Counts a COMMIT and says what happens to it.
    fn commit(&self) -> Option<Trouble> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        let mut trouble = self.trouble.lock().expect("no panic");
        trouble.take_if(|(at, _)| *at == number).map(|(_, trouble)| trouble)
    }
}

/// The server's end of a connection.
enum Server {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Server {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Server::Unix(stream) => (&*stream).write_all(bytes),
            Server::Tcp(stream) => (&*stream).write_all(bytes),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Server::Unix(stream) => (&*stream).read(buffer),
            Server::Tcp(stream) => (&*stream).read(buffer),
        }
    }

    fn shutdown(&self) {
        let shut = match self {
            Server::Unix(stream) => stream.shutdown(Shutdown::Both),
            Server::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
        shut.unwrap_or_default();
    }
}

/// One connection on its way.
struct Connection {
    state: Arc<State>,
    client: TcpStream,
    server: Server,
    /// The server's next answer breaks the connection instead of coming through.
    cut_answer: AtomicBool,
    /// Nothing comes through any more, not even that one end is gone.
    silent: AtomicBool,
}

impl Connection {
    fn carry(state: Arc<State>, client: TcpStream) {
        let Ok(server) = state.connect() else { return };
        let (cut_answer, silent) = (AtomicBool::new(false), AtomicBool::new(false));
        let connection = Arc::new(Connection { state, client, server, cut_answer, silent });
        let other = connection.clone();
        thread::spawn(move || {
            other.answers();
            other.end();
        });
        // Where reading or writing fails, one of the two ends is gone.
        let _ = connection.questions();
        connection.end();
    }

    fn end(&self) {
        if !self.is_silent() {
            self.client.shutdown(Shutdown::Both).unwrap_or_default();
            self.server.shutdown();
        }
    }

    fn is_silent(&self) -> bool {
        self.silent.fetch_or(self.state.hole.load(Ordering::SeqCst), Ordering::SeqCst)
            || self.state.hole.load(Ordering::SeqCst)
    }

    /// What the client says, message by message, until the connection is cut.
    fn questions(&self) -> io::Result<()> {
        let mut client = &self.client;
        // The first message has no kind, only a length and its content.
        let mut kind = 0;
        loop {
            let mut message = vec![0; kind + 4];
            client.read_exact(&mut message)?;
            let length = u32::from_be_bytes(message[kind..].try_into().expect("four bytes")) as usize;
            message.resize(kind + length, 0);
            client.read_exact(&mut message[kind + 4..])?;
            let is_commit = kind == 1 && message[0] == b'Q' && message[5..].eq_ignore_ascii_case(b"commit\0");
            kind = 1;
            let trouble = if is_commit { self.state.commit() } else { None };
            match trouble {
                Some(Trouble::CutBefore) => return Ok(()),
                Some(Trouble::CutAfter) => self.cut_answer.store(true, Ordering::SeqCst),
                Some(Trouble::HoleBefore | Trouble::HoleAfter) => {
                    self.state.hole.store(true, Ordering::SeqCst)
                }
                None => {}
            }
            if trouble == Some(Trouble::HoleAfter) || !self.is_silent() {
                self.server.write(&message)?;
            }
        }
    }

    fn answers(&self) {
        let mut buffer = [0; 16 * 1024];
        let mut client = &self.client;
        while let Ok(count @ 1..) = self.server.read(&mut buffer) {
            if self.cut_answer.load(Ordering::SeqCst) {
                return;
            }
            if !self.is_silent() && client.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    }
}
