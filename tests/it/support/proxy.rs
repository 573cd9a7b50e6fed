//! A way to the PostgreSQL server that can be cut at a COMMIT, before the server hears it or before
//! its answer comes back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use super::databases::TestDatabase;

/// When the next COMMIT is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    BeforeTheServerHearsIt,
    BeforeTheAnswer,
}

/// Listens as long as the test runs.
pub struct Proxy {
    /// The database's URL by way of it.
    pub url: String,
    armed: Arc<AtomicU8>,
}

const NOT: u8 = 0;

impl Proxy {
    pub fn to(database: &TestDatabase) -> Proxy {
        let server = Server::of(&database.url);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let armed = Arc::new(AtomicU8::new(NOT));
        let url = server.by_way_of(port);
        let its = Arc::clone(&armed);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, armed) = (server.clone(), Arc::clone(&its));
                thread::spawn(move || server.connect().and_then(|server| carry(client, server, &armed)));
            }
        });
        Proxy { url, armed }
    }

    pub fn cut_next_commit(&self, cut: Cut) {
        self.armed.store(cut as u8 + 1, Ordering::SeqCst);
    }

    /// Whether the COMMIT came and was cut.
    pub fn has_cut(&self) -> bool {
        self.armed.load(Ordering::SeqCst) == NOT
    }
}

/// The server that a URL names: `host=` in its parameters is a directory with a socket.
#[derive(Clone)]
struct Server {
    url: String,
    socket: Option<String>,
    host: String,
}

trait Wire: Read + Write + Send {
    fn twin(&self) -> io::Result<Box<dyn Wire>>;
    fn close(&self);
}

impl Wire for TcpStream {
    fn twin(&self) -> io::Result<Box<dyn Wire>> {
        Ok(Box::new(self.try_clone()?))
    }
    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Wire for UnixStream {
    fn twin(&self) -> io::Result<Box<dyn Wire>> {
        Ok(Box::new(self.try_clone()?))
    }
    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Server {
    fn of(url: &str) -> Server {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let dir = query.split('&').find_map(|pair| pair.strip_prefix("host="));
        let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:5432") };
        Server { url: url.to_owned(), socket: dir.map(|dir| format!("{dir}/.s.PGSQL.5432")), host }
    }

    fn by_way_of(&self, port: u16) -> String {
        let (before, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let pairs = query.split('&').filter(|pair| !pair.starts_with("host=") && !pair.is_empty());
        let mut pairs: Vec<String> = pairs.map(str::to_owned).collect();
        pairs.extend(["host=127.0.0.1".into(), format!("port={port}"), "sslmode=disable".into()]);
        format!("{before}?{}", pairs.join("&"))
    }

    fn connect(&self) -> io::Result<Box<dyn Wire>> {
        Ok(match &self.socket {
            Some(socket) => Box::new(UnixStream::connect(socket)?),
            None => Box::new(TcpStream::connect(&self.host)?),
        })
    }
}

/// Carries bytes both ways until one side closes or the connection is cut.
fn carry(mut client: TcpStream, mut server: Box<dyn Wire>, armed: &AtomicU8) -> io::Result<()> {
    let (mut answers, mut to_client) = (server.twin()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut to_client);
        to_client.close();
    });
    let mut buffer = [0; 64 << 10];
    loop {
        let count = client.read(&mut buffer)?;
        let asked = &buffer[..count];
        if asked.windows(6).any(|bytes| bytes == b"COMMIT") {
            match armed.swap(NOT, Ordering::SeqCst) {
                NOT => {}
                cut => {
                    client.close();
                    if cut == Cut::BeforeTheAnswer as u8 + 1 {
                        server.write_all(asked)?;
                        // The server closes when it reads that nobody is there any more.
                        server.write_all(b"X\0\0\0\x04")?;
                        let _ = back.join();
                        return Ok(());
                    }
                    break;
                }
            }
        }
        if count == 0 {
            break;
        }
        server.write_all(asked)?;
    }
    server.close();
    Ok(())
}
