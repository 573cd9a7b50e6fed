//! Letters over SMTP, one connection a line, each letter within its own deadline.
//!
//! Not by `lettre`'s transport: its timeout ends with the connection's beginning, and its pool keeps
//! connections that were given up in the middle, on which the next letter reads the answers to the one
//! before (F99). A connection that did not end a letter well is never used again.

use std::fmt;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

use super::Answer;
use super::letter::Letter;
use crate::config::database::read_secret;
use crate::config::notices::{SmtpServer, Tls};
use crate::runner::describe;

/// A server, with what opens it.
#[derive(Clone)]
pub struct Server {
    settings: SmtpServer,
    tls: Option<TlsParameters>,
    login: Option<Credentials>,
}

/// A connection to it, where there is one.
pub struct Line {
    server: Server,
    open: Option<AsyncSmtpConnection>,
}

/// Where a letter stood when it failed.
enum Fault {
    /// Nobody was there, or nobody was let in.
    Outside(Error),
    /// Before anything of this letter was taken, on a connection that was there already.
    Stale(Error),
    Inside(Error),
    /// Refused for what we are, it seems, and not for whom the letter is for: somebody may mend that.
    Ours(Error),
}

/// A letter as it goes over the line: dots at the beginning of lines doubled, one alone at the end.
///
/// In one piece: sent in two, as `lettre` does, the second waits for the receiver's acknowledgement of the
/// first, which it may put off for 40 ms.
struct Content<'a>(&'a str);

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.split_terminator("\r\n") {
            let dot = if line.starts_with('.') { "." } else { "" };
            write!(f, "{dot}{line}\r\n")?;
        }
        f.write_str(".\r\n")
    }
}

impl Server {
    /// Reads the password, and what this machine trusts.
    pub fn open(settings: &SmtpServer) -> Result<Server, String> {
        let login = match &settings.login {
            Some((user, file)) => Some(Credentials::new(user.clone(), read_secret(file)?)),
            None => None,
        };
        let tls = match settings.tls {
            Tls::None => None,
            Tls::Starttls | Tls::Tls => {
                let tls = TlsParameters::new(settings.host.clone());
                Some(tls.map_err(|error| format!("TLS can't be set up: {}", describe(&error)))?)
            }
        };
        Ok(Server { settings: settings.clone(), tls, login })
    }

    pub fn line(&self) -> Line {
        Line { server: self.clone(), open: None }
    }

    /// What the refusal of a receiver is about. Without a login a server that passes nothing on for
    /// strangers refuses each of them as a matter of policy (5.7), as it may refuse a single one.
    fn refused(&self, error: Error) -> Fault {
        match error.status().map(u16::from) {
            Some(530) => Fault::Outside(error),
            Some(550 | 554) if self.login.is_none() && describe(&error).contains(" 5.7.") => {
                Fault::Ours(error)
            }
            _ => Fault::Inside(error),
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let SmtpServer { host, port, tls, deadline, .. } = &self.settings;
        let hello = ClientId::default();
        let wrapped = self.tls.clone().filter(|_| *tls == Tls::Tls);
        let server = (host.trim_start_matches('[').trim_end_matches(']'), *port);
        let mut line =
            AsyncSmtpConnection::connect_tokio1(server, Some(*deadline), &hello, wrapped, None).await?;
        if let (Tls::Starttls, Some(tls)) = (tls, &self.tls) {
            line.starttls(tls.clone(), &hello).await?;
        }
        if let Some(login) = &self.login {
            line.auth(&[Mechanism::Plain, Mechanism::Login], login).await?;
        }
        Ok(line)
    }
}

impl Line {
    /// Hands a letter over, or says why not, within the deadline.
    pub async fn send(&mut self, letter: &Letter) -> Answer {
        let deadline = self.server.settings.deadline;
        // Whatever cuts this off, the connection is gone with it.
        match tokio::time::timeout(deadline, self.offer(letter)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.open = None;
                Answer::Unreachable(format!("it did not answer within {} s", deadline.as_secs()))
            }
        }
    }

    async fn offer(&mut self, letter: &Letter) -> Answer {
        let mut fault = self.hand_over(letter).await;
        if let Err(Fault::Stale(_)) = fault {
            fault = self.hand_over(letter).await;
        }
        match fault {
            Ok(()) => Answer::Sent { units: None },
            Err(Fault::Outside(error)) => Answer::Unreachable(describe(&error)),
            Err(Fault::Inside(error)) if error.is_permanent() || error.is_client() => {
                Answer::Never(describe(&error))
            }
            Err(Fault::Inside(error) | Fault::Stale(error) | Fault::Ours(error)) => {
                Answer::Later(describe(&error))
            }
        }
    }

    async fn hand_over(&mut self, letter: &Letter) -> Result<(), Fault> {
        // Taken out, and put back only where all went well.
        let (mut line, was_open) = match self.open.take() {
            Some(line) => (line, true),
            None => (self.server.connect().await.map_err(Fault::Outside)?, false),
        };
        let mut parameters = Vec::new();
        let plain = letter.envelope.to().iter().all(|address| AsRef::<str>::as_ref(address).is_ascii());
        if !plain && line.server_info().supports_feature(Extension::SmtpUtfEight) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let from = Mail::new(letter.envelope.from().cloned(), parameters);
        line.command(from).await.map_err(|error| {
            // A server may close a line that was idle, with a word or without one.
            let closed = error.status().is_none_or(|code| u16::from(code) == 421);
            if error.is_permanent() {
                // It does not take our sender, whoever the letter is for.
                Fault::Outside(error)
            } else if was_open && closed {
                Fault::Stale(error)
            } else {
                Fault::Inside(error)
            }
        })?;
        for to in letter.envelope.to() {
            let asked = line.command(Rcpt::new(to.clone(), Vec::new())).await;
            asked.map_err(|error| self.server.refused(error))?;
        }
        line.command(Data).await.map_err(Fault::Inside)?;
        line.command(Content(&letter.text)).await.map_err(Fault::Inside)?;
        self.open = Some(line);
        Ok(())
    }

    /// Says good-bye, where that takes no time.
    pub async fn close(mut self) {
        if let Some(mut line) = self.open.take() {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), line.quit()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f103_no_line_of_a_letter_ends_it() {
        let content = Content("a\r\n.\r\n..b\r\n\r\n.c\r\n").to_string();
        assert_eq!(content, "a\r\n..\r\n...b\r\n\r\n..c\r\n.\r\n");
        assert_eq!(Content(".").to_string(), "..\r\n.\r\n");
    }
}
