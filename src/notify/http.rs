//! Calls over HTTP that can't be led astray: no redirects, no proxy from the environment, and no address
//! of this machine or of a private network unless the configuration allows it (F105).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::Answer;
use super::address::{ALLOW, is_private};

/// How long a call may take, from the name to the last byte.
const DEADLINE: Duration = Duration::from_secs(20);
/// What is read of an answer.
const ANSWER_BYTES: u64 = 64 * 1024;
/// What is told of one.
const ANSWER_SHOWN: usize = 200;

/// Looks names up, and gives only addresses that may be called: judged after the look-up, so that no name
/// can lead elsewhere meanwhile.
#[derive(Debug)]
struct Guarded {
    allow_private: bool,
    names: DefaultResolver,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let is_barred = |address: &&SocketAddr| !self.allow_private && is_private(address.ip());
        if let Some(barred) = found.iter().find(is_barred) {
            let host = uri.host().unwrap_or_default();
            let what = format!("{host} leads to {}, in a private network: {ALLOW}", barred.ip());
            return Err(Error::Other(what.into()));
        }
        Ok(found)
    }
}

/// Something that calls.
pub fn agent(allow_private: bool) -> Agent {
    let found = rustls_native_certs::load_native_certs();
    let trusted: Vec<_> = found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()).collect();
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(trusted))).build();
    let config = Config::builder()
        .tls_config(tls)
        .timeout_global(Some(DEADLINE))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("quittance/", env!("CARGO_PKG_VERSION")))
        .build();
    let names = DefaultResolver::default();
    Agent::with_parts(config, DefaultConnector::default(), Guarded { allow_private, names })
}

/// A call: what is sent where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(u16, String),
    /// Nothing did.
    Silence(String),
}

/// Calls. It blocks, for at most the deadline.
pub fn post(agent: &Agent, request: &Request<'_>) -> Reply {
    let mut call = agent.post(request.url);
    for (name, value) in request.headers {
        call = call.header(*name, *value);
    }
    match call.send(request.body) {
        Err(error) => Reply::Silence(error.to_string()),
        Ok(mut response) => {
            let status = response.status().as_u16();
            let text =
                response.body_mut().with_config().limit(ANSWER_BYTES).lossy_utf8(true).read_to_string();
            Reply::Status(status, text.unwrap_or_default())
        }
    }
}

impl Reply {
    /// What it means for a delivery. A key that is wrong or a place that has moved is the configuration's
    /// fault, which somebody may mend; only what can't be understood is refused for good.
    pub fn answer(&self) -> Answer {
        match self {
            Reply::Silence(why) => Answer::Unreachable(why.clone()),
            Reply::Status(200..300, _) => Answer::Sent { units: None },
            Reply::Status(status @ (400 | 410 | 413 | 415 | 422), text) => Answer::Never(told(*status, text)),
            Reply::Status(status, text) => Answer::Later(told(*status, text)),
        }
    }
}

fn told(status: u16, text: &str) -> String {
    let line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ANSWER_SHOWN).collect();
    format!("it answered {status} {}", line.trim()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_tell_what_time_can_mend() {
        let answer = |status| Reply::Status(status, "no\r\nway".to_owned()).answer();
        assert_eq!(answer(204), Answer::Sent { units: None });
        assert_eq!(answer(400), Answer::Never("it answered 400 no  way".into()));
        for status in [301, 401, 404, 429, 500, 503] {
            assert!(matches!(answer(status), Answer::Later(_)), "{status}");
        }
    }

    #[test]
    fn f105_no_name_leads_into_the_house() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0.0.0.0"] {
            let url = format!("http://{host}:{port}/");
            let reply = post(&agent(false), &Request { url: &url, headers: &[], body: "" });
            let Reply::Silence(why) = reply else { panic!("{host}: {reply:?}") };
            assert!(why.contains("private network"), "{host}: {why}");
        }
        assert!(listener.accept().is_err(), "somebody called");
    }
}
