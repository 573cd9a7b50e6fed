//! A PostgreSQL server of a test's own, reached over TCP with or without TLS.
//!
//! It is called by the address 0.0.0.0, which reaches this machine on Linux and which nobody takes
//! for a loopback address: to the program it is a server somewhere on the network.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct TlsServer {
    /// Where the server's programs are.
    programs: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
}

impl TlsServer {
    /// A server without TLS yet; None where PostgreSQL or openssl is not installed here.
    pub fn start() -> Option<TlsServer> {
        let Some(programs) = server_programs() else {
            eprintln!("SKIPPED TLS: no PostgreSQL server is installed here");
            return None;
        };
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("SKIPPED TLS: openssl is not installed here");
            return None;
        }
        // Directly under /tmp, where the server's user may come by and a socket's path is short.
        let dir = tempfile::Builder::new().prefix("quittance-tls.").tempdir_in("/tmp").expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let server = TlsServer { programs, dir, port: free.expect("a free port").port() };
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(server.dir.path()));
        }
        let data = server.path("data");
        server.program("initdb", &["--no-sync", "--auth=trust", "--username=postgres", "-D", &data]);
        server.pg_ctl("start", "off");
        Some(server)
    }

    /// Restarts the server with a certificate for a name (`IP:..` or `DNS:..`) that the authority of
    /// [`TlsServer::authority`] signed.
    pub fn certify(&self, name: &str) {
        let path = |name: &str| self.path(name);
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let openssl = |args: &[&str]| run(Command::new("openssl").args(args));
        let authority = ["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", &path("ca.key")];
        openssl(&[&authority[..], &curve, &["-out", &path("ca.crt")]].concat());
        let request = ["req", "-subj", "/CN=server", "-keyout", &path("server.key")];
        openssl(&[&request[..], &curve, &["-out", &path("server.csr")]].concat());
        std::fs::write(path("names"), format!("subjectAltName={name}\n")).expect("the names");
        let sign = ["x509", "-req", "-days", "2", "-CAcreateserial", "-CA", &path("ca.crt"), "-CAkey"];
        let files = [&path("ca.key"), "-in", &path("server.csr"), "-extfile", &path("names"), "-out"];
        openssl(&[&sign[..], &files, &[&path("server.crt")]].concat());
        if is_root() {
            run(Command::new("chown").args(["postgres:", &path("server.key"), &path("server.crt")]));
        }
        run(Command::new("chmod").args(["600", &path("server.key")]));
        self.pg_ctl("restart", "on");
    }

    /// The server as somebody far away calls it, with parameters such as `sslmode=require`.
    pub fn url(&self, parameters: &str) -> String {
        format!("postgres://postgres@0.0.0.0:{}/postgres?{parameters}", self.port)
    }

    /// The file of the authority that signs the server's certificates.
    pub fn authority(&self) -> String {
        self.path("ca.crt")
    }

    fn pg_ctl(&self, action: &str, tls: &str) {
        let dir = self.dir.path().display();
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={dir} -c fsync=off \
             -c ssl={tls} -c ssl_cert_file={dir}/server.crt -c ssl_key_file={dir}/server.key",
            self.port
        );
        let (data, log) = (self.path("data"), self.path("log"));
        self.program("pg_ctl", &[action, "-w", "-s", "-m", "fast", "-D", &data, "-l", &log, "-o", &options]);
    }

    fn program(&self, name: &str, args: &[&str]) {
        let program = self.programs.join(name);
        let mut command = Command::new(&program);
        if is_root() {
            command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        run(command.args(args).current_dir("/tmp"));
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.program("pg_ctl", &["stop", "-s", "-m", "immediate", "-D", &self.path("data")]);
    }
}

/// The directory of the newest server; Debian keeps servers outside PATH.
fn server_programs() -> Option<PathBuf> {
    let installed = |root: &Path| {
        let versions = std::fs::read_dir(root).into_iter().flatten().flatten();
        versions.map(|version| version.path().join("bin")).collect::<Vec<_>>()
    };
    let mut places = installed(Path::new("/usr/lib/postgresql"));
    places.sort();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.into_iter().rev().find(|place| place.join("initdb").exists() && place.join("postgres").exists())
}

/// PostgreSQL refuses to run as root.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id is there");
    id.stdout == b"0\n"
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?} failed: {said}{}", String::from_utf8_lossy(&output.stdout));
}
