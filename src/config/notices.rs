//! Reads how people are told: `[notices]`, `[smtp]`, `[sms]` and `[webhook]` of quittance.toml
//! (R11, R26, R43, R143, D39).
//!
//! Secrets stand in files of their own, which are read when something is sent, and refused where others
//! can read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Entry, Reading, Table, closest};
use super::values::{days, flag, hours, integer, one_of, rate_ppm, seconds, text};
use crate::domain::notice::{Channel, NoticeKind};
use crate::notify::address::{Host, Mailbox, is_loopback};
use crate::notify::templates::Templates;

/// Languages that notices are written in.
pub const LOCALES: &[&str] = &["en", "zh-CN"];

/// How people are told.
#[derive(Clone, Debug)]
pub struct Notices {
    /// Who writes: the end of each letter.
    pub sender: String,
    /// E-mail addresses of whoever runs the books.
    pub operator: Vec<String>,
    pub operator_locale: String,
    /// Channels of each kind for which they are said; the others have their usual ones.
    pub kinds: BTreeMap<NoticeKind, Vec<Channel>>,
    /// What could not be delivered for so long is given up.
    pub give_up_hours: i64,
    /// A plan is low when this share of it is left, in millionths.
    pub quota_low_ppm: i64,
    /// A balance is low when it would last so many days at the rate of the last seven (D39).
    pub balance_low_days: u32,
    /// Days before its end on which a plan's expiry is told.
    pub expiring_days: Vec<u32>,
    pub mail: Option<Mail>,
    pub sms: Option<Sms>,
    pub webhook: Option<Webhook>,
    pub templates: Arc<Templates>,
    /// Directory of templates that stand in for those built in.
    pub templates_dir: Option<PathBuf>,
}

/// E-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub from: Mailbox,
    /// Where reminders can be turned off: a `mailto:` or `https:` address.
    pub unsubscribe: Option<String>,
    pub route: MailRoute,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailRoute {
    Server(SmtpServer),
    /// Letters become files.
    Dir(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub login: Option<(String, PathBuf)>,
    /// Connections at a time.
    pub connections: usize,
    /// How long one letter may take, connecting included.
    pub deadline: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Begun in the clear and encrypted before anything is said; never without.
    Starttls,
    Tls,
    /// On this machine alone.
    None,
}

/// A gateway for text messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sms {
    pub url: String,
    /// Lines of `Name: value`, where the gateway's key is.
    pub headers_file: Option<PathBuf>,
    pub content_type: String,
    /// A template of the request's body: `{{ phone }}`, `{{ text }}`, `{{ signature }}`, `{{ id }}`.
    pub body: String,
    /// The name that the gateway puts before the text; it counts into the length.
    pub signature: Option<String>,
    pub allow_private: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: WebhookUrl,
    /// One secret a line: the one in use, and while it is being changed the one before.
    pub secret_file: Option<PathBuf>,
    pub format: WebhookFormat,
    pub allow_private: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookUrl {
    Plain(String),
    /// A URL that holds a key itself.
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookFormat {
    /// JSON, signed after Standard Webhooks.
    Standard,
    /// The words for people, for a robot of a group (R43, R44).
    Dingtalk,
}

impl Default for Notices {
    fn default() -> Notices {
        Notices {
            sender: "Quittance".to_owned(),
            operator: Vec::new(),
            operator_locale: "en".to_owned(),
            kinds: BTreeMap::new(),
            give_up_hours: 72,
            quota_low_ppm: 200_000,
            balance_low_days: 3,
            expiring_days: vec![30, 10, 3, 1],
            mail: None,
            sms: None,
            webhook: None,
            templates: Arc::new(Templates::built_in()),
            templates_dir: None,
        }
    }
}

impl Notices {
    /// Whether anything can leave by a channel.
    pub fn has(&self, channel: Channel) -> bool {
        match channel {
            Channel::Inbox => true,
            Channel::Email => self.mail.is_some(),
            Channel::Sms => self.sms.is_some(),
            Channel::Webhook => self.webhook.is_some(),
        }
    }

    /// The channels that a kind goes by, unless its account says otherwise: all that are set up, text
    /// messages for what is urgent.
    pub fn channels_of(&self, kind: NoticeKind) -> Vec<Channel> {
        let said = self.kinds.get(&kind).map(Vec::as_slice);
        let usual = |channel: &Channel| *channel != Channel::Sms || kind.is_urgent();
        let all = Channel::ALL.iter().copied();
        all.filter(|channel| said.map_or_else(|| usual(channel), |said| said.contains(channel))).collect()
    }

    /// The files of secrets, each with the key that names it.
    pub fn secrets(&self) -> Vec<(&'static str, &Path)> {
        let mut files = Vec::new();
        if let Some(Mail { route: MailRoute::Server(server), .. }) = &self.mail {
            files.extend(server.login.iter().map(|(_, file)| ("smtp.password_file", file.as_path())));
        }
        if let Some(sms) = &self.sms {
            files.extend(sms.headers_file.iter().map(|file| ("sms.headers_file", file.as_path())));
        }
        if let Some(webhook) = &self.webhook {
            files.extend(webhook.secret_file.iter().map(|file| ("webhook.secret_file", file.as_path())));
            if let WebhookUrl::File(file) = &webhook.url {
                files.push(("webhook.url_file", file));
            }
        }
        files
    }

    /// Makes names of files relative to the file that says them.
    pub fn beside(mut self, quittance_toml: &Path) -> Notices {
        let here = |file: &mut PathBuf| *file = quittance_toml.with_file_name(&*file);
        match &mut self.mail {
            Some(Mail { route: MailRoute::Dir(dir), .. }) => here(dir),
            Some(Mail { route: MailRoute::Server(server), .. }) => {
                server.login.iter_mut().for_each(|(_, file)| here(file));
            }
            None => {}
        }
        self.sms.iter_mut().flat_map(|sms| &mut sms.headers_file).for_each(here);
        if let Some(webhook) = &mut self.webhook {
            webhook.secret_file.iter_mut().for_each(here);
            if let WebhookUrl::File(file) = &mut webhook.url {
                here(file);
            }
        }
        self.templates_dir.iter_mut().for_each(here);
        self
    }
}

/// Reads the four tables; what is wrong is noted in the file.
pub fn read(root: &mut Table<'_>) -> Notices {
    let mut notices = Notices::default();
    if let Some(mut table) = root.table("notices") {
        read_notices(&mut table, &mut notices);
        table.finish();
    }
    if let Some(mut table) = root.table("smtp") {
        notices.mail = read_mail(&mut table);
        table.finish();
    }
    if let Some(mut table) = root.table("sms") {
        notices.sms = read_sms(&mut table, &notices.templates);
        table.finish();
    }
    if let Some(mut table) = root.table("webhook") {
        notices.webhook = read_webhook(&mut table);
        table.finish();
    }
    notices
}

fn read_notices(table: &mut Table<'_>, notices: &mut Notices) {
    let take = |slot: &mut i64, said: Option<i64>| *slot = said.unwrap_or(*slot);
    if let Some(sender) = table.optional("sender", line) {
        notices.sender = sender;
    }
    notices.operator = table.list("operator", mail_address).into_iter().map(|(address, _)| address).collect();
    if let Some(locale) = table.optional("operator_locale", one_of(&[("en", "en"), ("zh-CN", "zh-CN")])) {
        notices.operator_locale = locale.to_owned();
    }
    take(&mut notices.give_up_hours, table.optional("give_up", hours));
    take(&mut notices.quota_low_ppm, table.optional("quota_low", rate_ppm));
    if let Some(lasts) = table.optional("balance_low", days) {
        notices.balance_low_days = lasts;
    }
    if table.has("plan_expiring") {
        let bounds = table.list("plan_expiring", |value| match integer(value)? {
            days @ 0..=366 => u32::try_from(days).map_err(|error| error.to_string()),
            other => Err(format!("{other} is no number of days before the end: write 0 to 366")),
        });
        notices.expiring_days = bounds.into_iter().map(|(days, _)| days).collect();
    }
    notices.templates_dir = table.optional("templates", text).map(PathBuf::from);
    let everywhere = table.has("channels").then(|| channels(table, "channels"));
    if let Some(everywhere) = everywhere {
        notices.kinds.extend(NoticeKind::ALL.iter().map(|kind| (*kind, everywhere.clone())));
    }
    read_kinds(table, notices);
}

fn read_kinds(table: &mut Table<'_>, notices: &mut Notices) {
    for Entry { key, key_place, value } in table.entries("kinds") {
        let Some(kind) = NoticeKind::parse(key) else {
            let names: Vec<&str> = NoticeKind::ALL.iter().map(|kind| kind.as_str()).collect();
            let what = match closest(key, &names) {
                Some(near) => format!("`{key}` is no kind of notice: did you mean `{near}`?"),
                None => format!("`{key}` is no kind of notice: use one of {}", names.join(", ")),
            };
            table.fault_at(key_place, what);
            continue;
        };
        let DeValue::Array(items) = value.get_ref() else {
            table.fault_at(
                value.span().start,
                format!("`{key}`: write a list of channels, such as [\"email\"]"),
            );
            continue;
        };
        let mut said = Vec::new();
        for item in items {
            match channel(item.get_ref()) {
                Ok(channel) => said.push(channel),
                Err(what) => table.fault_at(item.span().start, format!("`{key}`: {what}")),
            }
        }
        notices.kinds.insert(kind, said);
    }
}

fn channels(table: &mut Table<'_>, key: &'static str) -> Vec<Channel> {
    table.list(key, channel).into_iter().map(|(channel, _)| channel).collect()
}

fn channel(value: &DeValue<'_>) -> Reading<Channel> {
    let words: Vec<_> = Channel::ALL.iter().map(|channel| (channel.as_str(), *channel)).collect();
    one_of(&words)(value)
}

fn read_mail(table: &mut Table<'_>) -> Option<Mail> {
    let from = table.required("from", |value| Mailbox::parse(&text(value)?));
    let unsubscribe = table.optional("unsubscribe", |value| {
        let url = line(value)?;
        let known = ["mailto:", "https://"].iter().any(|scheme| url.starts_with(scheme));
        let plain = url.bytes().all(|b| b.is_ascii_graphic() && !b"<>,".contains(&b));
        if known && plain { Ok(url) } else { Err("write a `mailto:` or `https://` address".to_owned()) }
    });
    if let Some(dir) = table.optional("dir", text) {
        for key in ["host", "port", "tls", "user", "password_file", "connections", "deadline"] {
            table.refuse(
                key,
                "with `dir` letters become files, and nothing is sent: leave out one of the two",
            );
        }
        return Some(Mail { from: from?, unsubscribe, route: MailRoute::Dir(dir.into()) });
    }
    let host = table.required("host", host);
    let words = [("starttls", Tls::Starttls), ("tls", Tls::Tls), ("none", Tls::None)];
    let tls = table.optional("tls", one_of(&words)).unwrap_or(Tls::Starttls);
    let port = table.optional("port", port).unwrap_or(match tls {
        Tls::Starttls => 587,
        Tls::Tls => 465,
        Tls::None => 25,
    });
    if tls == Tls::None && host.as_deref().is_some_and(|host| !is_loopback(host)) {
        table.fault("tls", "letters would cross the network in the clear: write \"starttls\" or \"tls\"");
    }
    let user = table.optional("user", line);
    let password_file = table.optional("password_file", text).map(PathBuf::from);
    let login = match (user, password_file) {
        (Some(user), Some(file)) => Some((user, file)),
        (None, None) => None,
        _ => {
            table.fault_here("`user` and `password_file` belong together: write both, or none");
            None
        }
    };
    let connections = table.optional("connections", |value| match integer(value)? {
        count @ 1..=64 => usize::try_from(count).map_err(|error| error.to_string()),
        other => Err(format!("{other} is no number of connections: write 1 to 64")),
    });
    let deadline = table.optional("deadline", seconds).unwrap_or(Duration::from_secs(30));
    let server =
        SmtpServer { host: host?, port, tls, login, connections: connections.unwrap_or(4), deadline };
    Some(Mail { from: from?, unsubscribe, route: MailRoute::Server(server) })
}

fn read_sms(table: &mut Table<'_>, templates: &Templates) -> Option<Sms> {
    let allow_private = table.optional("allow_private", flag).unwrap_or(false);
    let url = table.required("url", url(allow_private));
    let body = table.optional("body", |value| {
        let body = text(value)?;
        templates.check_request(&body).map(|()| body)
    });
    let usual = r#"{"to": {{ phone|tojson }}, "text": {{ text|tojson }}, "id": {{ id|tojson }}}"#;
    Some(Sms {
        url: url?,
        headers_file: table.optional("headers_file", text).map(PathBuf::from),
        content_type: table.optional("content_type", line).unwrap_or_else(|| "application/json".to_owned()),
        body: body.unwrap_or_else(|| usual.to_owned()),
        signature: table.optional("signature", line),
        allow_private,
    })
}

fn read_webhook(table: &mut Table<'_>) -> Option<Webhook> {
    let allow_private = table.optional("allow_private", flag).unwrap_or(false);
    let plain = table.optional("url", url(allow_private)).map(WebhookUrl::Plain);
    let file = table.optional("url_file", text).map(|file| WebhookUrl::File(file.into()));
    if table.has("url") == table.has("url_file") {
        table.fault_here("say where it goes once: by `url`, or by `url_file` where the URL holds a key");
    }
    let words = [("standard", WebhookFormat::Standard), ("dingtalk", WebhookFormat::Dingtalk)];
    let format = table.optional("format", one_of(&words)).unwrap_or(WebhookFormat::Standard);
    let secret_file = table.optional("secret_file", text).map(PathBuf::from);
    if format == WebhookFormat::Standard && secret_file.is_none() {
        table.fault_here(
            "the key `secret_file` is missing: without a signature anybody could write such calls",
        );
    }
    Some(Webhook { url: plain.or(file)?, secret_file, format, allow_private })
}

/// A text of one line.
fn line(value: &DeValue<'_>) -> Reading<String> {
    let line = text(value)?;
    if line.chars().any(char::is_control) {
        return Err("this has a line break or another control character: write one line".to_owned());
    }
    Ok(line)
}

fn host(value: &DeValue<'_>) -> Reading<String> {
    let host = line(value)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if host.chars().all(plain) {
        Ok(host)
    } else {
        Err(format!("`{host}` is not a host: write its name alone"))
    }
}

fn port(value: &DeValue<'_>) -> Reading<u16> {
    let number = integer(value)?;
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("{number} is not a port: write 1 to 65535"))
}

fn mail_address(value: &DeValue<'_>) -> Reading<String> {
    Mailbox::parse(&line(value)?).map(|mailbox| mailbox.address().to_owned())
}

/// A URL over TLS; without it where it may stay in the house.
fn url(allow_private: bool) -> impl Fn(&DeValue<'_>) -> Reading<String> {
    move |value| {
        let url = line(value)?;
        Host::of_url(&url, allow_private).map(|_| url)
    }
}

/// Loads the templates of a directory over those built in, and checks all of them with sample data.
pub fn load_templates(notices: &mut Notices, quittance_toml: Option<&Path>) -> Vec<super::reader::Fault> {
    let usual = quittance_toml.map(|file| file.with_file_name("templates")).filter(|dir| dir.is_dir());
    let dir = notices.templates_dir.clone().or(usual);
    notices.templates_dir = dir.clone();
    let signature = notices.sms.as_ref().and_then(|sms| sms.signature.as_deref());
    match Templates::load(dir.as_deref(), &notices.sender, signature) {
        Ok(templates) => {
            notices.templates = Arc::new(templates);
            Vec::new()
        }
        Err(faults) => {
            let fault = |(file, line, what): (String, Option<usize>, String)| super::reader::Fault {
                file,
                at: line.map(|line| (line, 1)),
                what,
            };
            faults.into_iter().map(fault).collect()
        }
    }
}
