//! The ways out of the house, opened for a run: each with its secrets, or the reason why it is shut.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ureq::Agent;

use super::address::{Mailbox, without};
use super::letter::{self, Letter};
use super::webhook::Endpoint;
use super::{Answer, Parcel, http, sms, smtp};
use crate::clock;
use crate::config::Config;
use crate::config::notices::{Mail, MailRoute, Sms};
use crate::domain::notice::Channel;
use crate::domain::period::Timestamp;
use crate::files::WholeFile;

/// A way out that is open.
#[derive(Clone)]
pub enum Outlet {
    Mail(Mail, Option<smtp::Server>),
    Sms { sms: Sms, agent: Agent, headers: Arc<Vec<(String, String)>> },
    Webhook { endpoint: Arc<Endpoint>, agent: Agent },
}

/// One worker's end of it.
pub struct Worker {
    config: Arc<Config>,
    outlet: Outlet,
    line: Option<smtp::Line>,
    /// When letters say that they were written.
    now: Timestamp,
}

impl Outlet {
    /// Opens a channel. None where there is nothing to open.
    ///
    /// # Errors
    /// Why it can't be: a secret that can't be read, or that others can.
    pub fn open(config: &Config, channel: Channel) -> Result<Option<Outlet>, String> {
        let notices = &config.notices;
        Ok(match channel {
            Channel::Inbox => None,
            Channel::Email => match &notices.mail {
                None => None,
                Some(mail) => Some(Outlet::Mail(
                    mail.clone(),
                    match &mail.route {
                        MailRoute::Server(server) => Some(smtp::Server::open(server)?),
                        MailRoute::Dir(_) => None,
                    },
                )),
            },
            Channel::Sms => match &notices.sms {
                None => None,
                Some(sms) => {
                    let headers = Arc::new(sms::read_headers(sms.headers_file.as_deref())?);
                    Some(Outlet::Sms { sms: sms.clone(), agent: http::agent(sms.allow_private), headers })
                }
            },
            Channel::Webhook => match &notices.webhook {
                None => None,
                Some(webhook) => {
                    let endpoint = Arc::new(Endpoint::open(webhook)?);
                    Some(Outlet::Webhook { endpoint, agent: http::agent(webhook.allow_private) })
                }
            },
        })
    }

    /// How many go out at a time.
    pub fn width(&self) -> usize {
        match self {
            Outlet::Mail(Mail { route: MailRoute::Server(server), .. }, _) => server.connections,
            Outlet::Mail(..) => 1,
            Outlet::Sms { .. } | Outlet::Webhook { .. } => 4,
        }
    }

    pub fn worker(&self, config: &Arc<Config>, now: Timestamp) -> Worker {
        let line = match self {
            Outlet::Mail(_, Some(server)) => Some(server.line()),
            _ => None,
        };
        Worker { config: config.clone(), outlet: self.clone(), line, now }
    }
}

impl Worker {
    /// The business time of its run.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Sends one, and says what became of it.
    pub async fn send(&mut self, parcel: Parcel) -> Answer {
        let address = parcel.address.clone();
        let config = self.config.clone();
        match &self.outlet {
            Outlet::Mail(mail, _) => {
                let letter = letter::write(mail, &config.notices.templates, &parcel, self.now);
                let answer = match (letter, &mut self.line, &mail.route) {
                    (Err(fault), ..) => Answer::Never(fault),
                    (Ok(letter), Some(line), _) => line.send(&letter).await,
                    (Ok(letter), None, MailRoute::Dir(dir)) => drop_into(dir, &letter),
                    (Ok(_), None, MailRoute::Server(_)) => Answer::Unreachable("there is no line".to_owned()),
                };
                // `Name <address>` is echoed as the bare address.
                let bare = Mailbox::parse(&address).map_or(address, |to| to.address().to_owned());
                masked(answer, &bare)
            }
            Outlet::Sms { sms, agent, headers } => {
                let (sms, agent, headers) = (sms.clone(), agent.clone(), headers.clone());
                blocking(move || {
                    sms::send(&agent, &sms, &headers, &config.notices.templates, &parcel.told, &address)
                })
                .await
            }
            Outlet::Webhook { endpoint, agent } => {
                let (endpoint, agent) = (endpoint.clone(), agent.clone());
                // Receivers refuse old signatures: it is signed by the wall clock.
                blocking(move || endpoint.send(&agent, &config.notices.templates, &parcel.told, clock::now()))
                    .await
            }
        }
    }

    pub async fn close(self) {
        if let Some(line) = self.line {
            line.close().await;
        }
    }
}

/// What a server said, without the receiver's address.
fn masked(answer: Answer, address: &str) -> Answer {
    match answer {
        Answer::Later(said) => Answer::Later(without(&said, address)),
        Answer::Never(said) => Answer::Never(without(&said, address)),
        Answer::Unreachable(said) => Answer::Unreachable(without(&said, address)),
        sent => sent,
    }
}

async fn blocking(call: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    let done = tokio::task::spawn_blocking(call).await;
    done.unwrap_or_else(|error| Answer::Later(format!("the call broke off: {error}")))
}

/// Writes a letter as a file. The same letter again is the same file.
fn drop_into(dir: &Path, letter: &Letter) -> Answer {
    let written = || {
        fs::create_dir_all(dir)?;
        let mut file = WholeFile::create(&dir.join(format!("{}.eml", letter.key)))?;
        file.write_all(letter.text.as_bytes())?;
        file.replace()
    };
    match written() {
        Ok(()) => Answer::Sent { units: None },
        Err(error) => Answer::Unreachable(format!("{} can't be written to: {error}", dir.display())),
    }
}
