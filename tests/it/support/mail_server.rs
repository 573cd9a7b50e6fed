//! An SMTP server that a test tells what to do: a real one in its words (RFC 5321, STARTTLS, AUTH PLAIN and
//! LOGIN), which keeps every letter that it took and can fail at any step.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The user and password that are let in.
pub const USER: &str = "billing";
pub const PASSWORD: &str = "hunter2-smtp";

/// A letter that the server took.
#[derive(Clone, Debug)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    /// As it came, with CR LF and without the dots that were stuffed.
    pub text: String,
    pub encrypted: bool,
    pub user: Option<String>,
}

impl Letter {
    /// The value of a header, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let head = head.replace("\r\n\t", " ");
        let name = format!("{name}: ");
        head.split("\r\n").find_map(|line| Some(line.strip_prefix(&name)?.to_owned()))
    }

    pub fn id(&self) -> String {
        self.header("Message-ID").expect("a message id")
    }
}

/// Where a conversation stands. `Taken`: the letter is there, the answer to it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Connect,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Taken,
    Quit,
}

/// What the server does then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    AsUsual,
    Say(&'static str),
    /// Says nothing any more, for ever.
    Hang,
    /// Cuts the line; what was taken stays so.
    Drop,
}

type Script = Arc<dyn Fn(Step, usize) -> Does + Send + Sync>;

/// How it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Plain,
    Starttls,
    Tls,
}

pub struct MailServer {
    pub port: u16,
    /// The authority that signed its certificate, as a PEM text.
    pub authority: String,
    letters: Arc<Mutex<Vec<Letter>>>,
    steps: Arc<Mutex<Vec<Step>>>,
    _runtime: Runtime,
}

/// What each conversation needs.
#[derive(Clone)]
struct Desk {
    letters: Arc<Mutex<Vec<Letter>>>,
    steps: Arc<Mutex<Vec<Step>>>,
    script: Script,
    acceptor: TlsAcceptor,
    security: Security,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl MailServer {
    /// A server that takes everything.
    pub fn kind(security: Security) -> MailServer {
        MailServer::scripted(security, |_, _| Does::AsUsual)
    }

    /// A server that asks what to do: the step, and how many times it came to it before.
    pub fn scripted(
        security: Security,
        script: impl Fn(Step, usize) -> Does + Send + Sync + 'static,
    ) -> MailServer {
        let runtime = Runtime::new().expect("a runtime");
        let (acceptor, authority) = certificate();
        let desk = Desk {
            letters: Arc::default(),
            steps: Arc::default(),
            script: Arc::new(script),
            acceptor,
            security,
        };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (letters, steps) = (desk.letters.clone(), desk.steps.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let desk = desk.clone();
                tokio::spawn(async move {
                    let _ = desk.serve(stream).await;
                });
            }
        });
        MailServer { port, authority, letters, steps, _runtime: runtime }
    }

    pub fn letters(&self) -> Vec<Letter> {
        self.letters.lock().expect("letters").clone()
    }

    /// How many times it came to a step.
    pub fn count(&self, step: Step) -> usize {
        self.steps.lock().expect("steps").iter().filter(|seen| **seen == step).count()
    }

    /// Waits until it has come to a step.
    pub fn wait_for(&self, step: Step) {
        let began = std::time::Instant::now();
        while self.count(step) == 0 {
            assert!(began.elapsed().as_secs() < 30, "nobody came to {step:?}");
            std::thread::yield_now();
        }
    }
}

/// A certificate for localhost, and the authority that signed it.
pub fn certificate() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("an authority").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let own = params.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(own.der().to_vec())], key)
        .expect("a configuration");
    (TlsAcceptor::from(Arc::new(config)), authority)
}

/// The end of a conversation.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Over {
        Over
    }
}

struct Talk {
    desk: Desk,
    stream: BufReader<Box<dyn Stream>>,
    encrypted: bool,
    user: Option<String>,
    from: String,
    to: Vec<String>,
}

impl Desk {
    async fn serve(&self, stream: tokio::net::TcpStream) -> Result<(), Over> {
        let mut boxed: Box<dyn Stream> = Box::new(stream);
        if self.security == Security::Tls {
            boxed = Box::new(self.acceptor.accept(boxed).await?);
        }
        let mut talk = Talk {
            desk: self.clone(),
            stream: BufReader::new(boxed),
            encrypted: self.security == Security::Tls,
            user: None,
            from: String::new(),
            to: Vec::new(),
        };
        talk.answer(Step::Connect, "220 localhost ready").await?;
        while talk.command().await? {}
        Ok(())
    }

    /// Notes a step and asks what to do.
    fn at(&self, step: Step) -> Does {
        let count = {
            let mut steps = self.steps.lock().expect("steps");
            steps.push(step);
            steps.iter().filter(|seen| **seen == step).count() - 1
        };
        (self.script)(step, count)
    }
}

impl Talk {
    async fn say(&mut self, line: &str) -> Result<(), Over> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
        Ok(self.stream.get_mut().flush().await?)
    }

    /// Answers at a step as usual or as it is told; true where it was as usual.
    async fn answer(&mut self, step: Step, usual: &str) -> Result<bool, Over> {
        match self.desk.at(step) {
            Does::AsUsual => {
                self.say(usual).await?;
                Ok(true)
            }
            Does::Say(line) => {
                self.say(line).await?;
                Ok(false)
            }
            Does::Hang => std::future::pending().await,
            Does::Drop => Err(Over),
        }
    }

    async fn line(&mut self) -> Result<String, Over> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(Over);
        }
        assert!(line.ends_with("\r\n"), "a bare line feed: {line:?}");
        Ok(line.trim_end().to_owned())
    }

    async fn command(&mut self) -> Result<bool, Over> {
        let line = self.line().await?;
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        match word.as_str() {
            "EHLO" => {
                let starttls = self.desk.security == Security::Starttls && !self.encrypted;
                let starttls = if starttls { "250-STARTTLS\r\n" } else { "" };
                let usual = format!("250-localhost\r\n{starttls}250-AUTH PLAIN LOGIN\r\n250 8BITMIME");
                self.answer(Step::Ehlo, &usual).await?;
            }
            "STARTTLS" => {
                if self.answer(Step::StartTls, "220 go on").await? {
                    self.encrypt().await?;
                }
            }
            "AUTH" => self.authenticate(&line).await?,
            "MAIL" => {
                self.from = address(&line);
                self.to.clear();
                self.answer(Step::Mail, "250 ok").await?;
            }
            "RCPT" => {
                if self.answer(Step::Rcpt, "250 ok").await? {
                    self.to.push(address(&line));
                }
            }
            "DATA" => {
                if self.answer(Step::Data, "354 go on").await? {
                    self.take().await?;
                }
            }
            "QUIT" => {
                self.answer(Step::Quit, "221 bye").await?;
                return Ok(false);
            }
            _ => self.say("500 what?").await?,
        }
        Ok(true)
    }

    async fn encrypt(&mut self) -> Result<(), Over> {
        let (none, _) = tokio::io::duplex(1);
        let bare = std::mem::replace(&mut self.stream, BufReader::new(Box::new(none)));
        let encrypted = self.desk.acceptor.accept(bare.into_inner()).await?;
        self.stream = BufReader::new(Box::new(encrypted));
        self.encrypted = true;
        Ok(())
    }

    async fn authenticate(&mut self, line: &str) -> Result<(), Over> {
        let decode = |text: &str| STANDARD.decode(text).map(|b| String::from_utf8_lossy(&b).into_owned());
        let mut words = line.split(' ').skip(1);
        let (mechanism, first) = (words.next().unwrap_or_default(), words.next());
        let (user, password) = if mechanism == "PLAIN" {
            let plain = decode(first.unwrap_or_default()).unwrap_or_default();
            let mut parts = plain.split('\0').skip(1).map(str::to_owned);
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        } else {
            self.say("334 VXNlcm5hbWU6").await?;
            let user = self.line().await?;
            self.say("334 UGFzc3dvcmQ6").await?;
            let password = self.line().await?;
            (decode(&user).unwrap_or_default(), decode(&password).unwrap_or_default())
        };
        if (user.as_str(), password.as_str()) != (USER, PASSWORD) {
            self.desk.at(Step::Auth);
            return self.say("535 5.7.8 who are you?").await;
        }
        if self.answer(Step::Auth, "235 welcome").await? {
            self.user = Some(user);
        }
        Ok(())
    }

    async fn take(&mut self) -> Result<(), Over> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Err(Over);
            }
            let line = String::from_utf8(line).map_err(|_| Over)?;
            assert!(line.ends_with("\r\n") && line.len() <= 1_000, "no line of a letter: {line:?}");
            if line == ".\r\n" {
                break;
            }
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
        }
        let letter = Letter {
            from: self.from.clone(),
            to: self.to.clone(),
            text,
            encrypted: self.encrypted,
            user: self.user.clone(),
        };
        self.desk.letters.lock().expect("letters").push(letter);
        if !self.answer(Step::Taken, "250 taken").await? {
            // It said no.
            self.desk.letters.lock().expect("letters").pop();
        }
        Ok(())
    }
}

fn address(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}
