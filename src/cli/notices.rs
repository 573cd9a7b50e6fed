//! `inbox`, and `notice list | retry | dismiss | preview | set | settings | adopt`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{count, table};
use super::{Failure, Session};
use crate::config::Config;
use crate::config::notices::{LOCALES, Mail, MailRoute};
use crate::desk::accounts;
use crate::desk::notices::{self, Message};
use crate::domain::notice::{Channel, NoticeKind};
use crate::domain::period::Zone;
use crate::notify::address::{Mailbox, masked};
use crate::notify::templates::Part;
use crate::notify::{Attached, Parcel, Told, letter, sms, webhook, words};
use crate::store::deliveries::{self, DeliveryRow};
use crate::store::notices::Settings;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InboxArgs {
    #[command(flatten)]
    whose: Whose,
    /// Only what nobody has read
    #[arg(long)]
    unread: bool,
    #[command(subcommand)]
    command: Option<InboxCommand>,
}

#[derive(Debug, clap::Args)]
struct Whose {
    #[arg(value_name = "ACCOUNT", required_unless_present = "operator")]
    account_id: Option<String>,
    /// The inbox of whoever runs the books
    #[arg(long, conflicts_with = "account_id")]
    operator: bool,
}

#[derive(Debug, Subcommand)]
enum InboxCommand {
    /// Mark a notice as read, or all of them
    Read {
        /// An account, or - for the operator
        #[arg(value_name = "ACCOUNT")]
        account_id: String,
        /// A notice's number, or all
        #[arg(value_name = "ID", value_parser = parse_which)]
        which: Which,
    },
}

/// A notice of this number; None: all of them.
#[derive(Clone, Copy, Debug)]
pub struct Which(Option<i64>);

impl Which {
    fn id(self) -> Option<String> {
        self.0.map(|number| number.to_string())
    }

    fn words(self) -> String {
        self.0.map_or_else(|| "all notices".to_owned(), |number| format!("notice {number}"))
    }
}

fn parse_which(text: &str) -> Result<Which, String> {
    if text == "all" {
        return Ok(Which(None));
    }
    text.parse().map(|number| Which(Some(number))).map_err(|_| "write a notice's number, or all".into())
}

#[derive(Debug, Subcommand)]
pub enum NoticeCommand {
    /// Deliveries, newest first: what was sent, what waits, what failed
    List {
        /// Only what was given up
        #[arg(long)]
        failed: bool,
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Have the failed deliveries of a notice tried again, or of all
    Retry {
        /// A notice's number, or all
        #[arg(value_name = "ID", value_parser = parse_which)]
        which: Which,
    },
    /// Put the failed deliveries of a notice away, or of all
    Dismiss {
        /// A notice's number, or all
        #[arg(value_name = "ID", value_parser = parse_which)]
        which: Which,
    },
    /// Show a notice as it would be, with sample data, and send nothing
    Preview {
        #[arg(value_parser = parse_kind)]
        kind: NoticeKind,
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(LOCALES))]
        locale: Option<String>,
        #[arg(long, default_value = "email", value_parser = parse_channel)]
        channel: Channel,
    },
    /// Say whether an account wants a kind of notice by a channel
    Set {
        #[arg(value_name = "ACCOUNT")]
        account_id: String,
        /// A kind of notice, or all
        #[arg(value_parser = parse_kinds)]
        kind: Kinds,
        #[arg(value_parser = parse_channel)]
        channel: Channel,
        /// on, off, or default: what is configured for everybody
        #[arg(value_parser = ["on", "off", "default"])]
        setting: String,
    },
    /// What an account wants otherwise than is configured for everybody
    Settings {
        #[arg(value_name = "ACCOUNT")]
        account_id: String,
    },
    /// Let these books write to people from here: they were moved, not copied
    Adopt {
        /// Put away what waits, instead of sending it
        #[arg(long)]
        discard: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Kinds(Option<NoticeKind>);

fn parse_kind(word: &str) -> Result<NoticeKind, String> {
    let names: Vec<_> = NoticeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    NoticeKind::parse(word).ok_or_else(|| format!("write one of {}", names.join(", ")))
}

fn parse_kinds(word: &str) -> Result<Kinds, String> {
    if word == "all" { Ok(Kinds(None)) } else { parse_kind(word).map(|kind| Kinds(Some(kind))) }
}

fn parse_channel(word: &str) -> Result<Channel, String> {
    let names: Vec<_> = Channel::ALL.iter().map(|channel| channel.as_str()).collect();
    Channel::parse(word).ok_or_else(|| format!("write one of {}", names.join(", ")))
}

pub async fn inbox(session: &Session, args: InboxArgs) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let (now, output) = (session.now(), session.output);
    match args.command {
        Some(InboxCommand::Read { account_id, which }) => {
            let account = Some(account_id.as_str()).filter(|id| *id != "-");
            let read = notices::read(&db, account, which.0, now).await?;
            output.show(&json!({ "read": read }), || format!("{read} marked as read."));
        }
        None => {
            let account = args.whose.account_id.as_deref().filter(|_| !args.whose.operator);
            let messages = notices::inbox(&db, &config, account, args.unread, now).await?;
            let all: Vec<_> = messages.iter().map(|message| message_json(message, config.zone)).collect();
            output.show(&json!(all), || inbox_words(&messages, config.zone));
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The keys that scripts read.
fn message_json(message: &Message, zone: Zone) -> Value {
    let notice = &message.notice;
    json!({
        "notice_id": notice.notice_no.to_string(),
        "kind": notice.kind.as_str(),
        "subject": notice.subject,
        "due": zone.format(notice.due),
        "at": zone.format(notice.at),
        "read": notice.read_at.is_some(),
        "title": message.title,
        "text": message.text,
        "facts": words::json(&message.told),
    })
}

fn inbox_words(messages: &[Message], zone: Zone) -> String {
    if messages.is_empty() {
        return "Nothing.".to_owned();
    }
    let row = |message: &Message| {
        let read = if message.notice.read_at.is_some() { "" } else { "new" };
        let number = message.notice.notice_no.to_string();
        vec![number, read.into(), zone.format_short(message.notice.at), message.title.clone()]
    };
    table(&["id", "", "at", "what"], messages.iter().map(row).collect())
}

pub async fn run(session: &Session, command: NoticeCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let (now, output) = (session.now(), session.output);
    match command {
        NoticeCommand::List { failed, account, limit } => {
            let mut tx = db.read().await?;
            if let Some(id) = &account {
                accounts::find(&mut tx, id).await?;
            }
            // One more tells whether there are more.
            let mut rows = deliveries::list(&mut tx, account.as_deref(), failed, limit + 1).await?;
            let has_more = rows.len() as i64 > limit;
            rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            tx.rollback().await?;
            let all: Vec<_> = rows.iter().map(|row| delivery_json(row, config.zone)).collect();
            output.show(&json!(all), || list_words(&rows, config.zone));
            output.tell_of_more(has_more);
        }
        NoticeCommand::Retry { which } => {
            let retried = notices::retry(&db, which.0, now).await?;
            output.show(&json!({ "notice_id": which.id(), "retried": retried }), || {
                format!("{retried} deliveries of {} are tried again by the next run.", which.words())
            });
        }
        NoticeCommand::Dismiss { which } => {
            let dismissed = notices::dismiss(&db, which.0).await?;
            output.show(&json!({ "notice_id": which.id(), "dismissed": dismissed }), || {
                format!("{dismissed} deliveries of {} were put away.", which.words())
            });
        }
        NoticeCommand::Preview { kind, account, locale, channel } => {
            let mut tx = db.read().await?;
            let told = notices::sample(&mut tx, &config, kind, account.as_deref(), locale.as_deref()).await?;
            let shown = preview(&config, &told, channel, now)?;
            output.show(&shown.0, || shown.1);
        }
        NoticeCommand::Set { account_id, kind, channel, setting } => {
            let on = (setting != "default").then_some(setting == "on");
            let settings = notices::set(&db, &account_id, kind.0, channel, on).await?;
            output.show(&settings_json(&account_id, &settings), || settings_words(&settings));
        }
        NoticeCommand::Settings { account_id } => {
            let settings = notices::settings(&db, &account_id).await?;
            output.show(&settings_json(&account_id, &settings), || settings_words(&settings));
        }
        NoticeCommand::Adopt { discard } => {
            let adopted = notices::adopt(&db, discard, now).await?;
            let json = json!({
                "place": adopted.here.words,
                "before": adopted.before,
                "discarded": adopted.discarded,
            });
            output.show(&json, || {
                let put_away =
                    if discard { format!(" {} were put away.", adopted.discarded) } else { String::new() };
                format!("Notices are sent from {}.{put_away}", adopted.here.words)
            });
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

fn delivery_json(row: &DeliveryRow, zone: Zone) -> Value {
    json!({
        "notice_id": row.key.notice_no.to_string(),
        "account_id": Some(&row.key.account_id).filter(|id| !id.is_empty()),
        "kind": row.notice.kind.as_str(),
        "subject": row.notice.subject,
        "channel": row.key.channel.as_str(),
        "to": to(row),
        "state": row.state,
        "attempts": row.attempts,
        "next_at": (row.state == "waiting").then(|| zone.format(row.next_at)),
        "sent_at": row.sent_at.map(|at| zone.format(at)),
        "units": row.units,
        "error": row.error,
    })
}

/// The receiver as lists may show it.
fn to(row: &DeliveryRow) -> Option<String> {
    let account = row.account.as_ref();
    let address = match row.key.channel {
        Channel::Email => account.map_or(Some(row.key.target.clone()), |account| account.email.clone()),
        Channel::Sms => account.and_then(|account| account.phone.clone()),
        Channel::Webhook | Channel::Inbox => None,
    };
    address.map(|address| masked(&address))
}

fn list_words(rows: &[DeliveryRow], zone: Zone) -> String {
    if rows.is_empty() {
        return "Nothing.".to_owned();
    }
    let line = |row: &DeliveryRow| {
        let whom = if row.key.account_id.is_empty() { "(operator)" } else { &row.key.account_id };
        let when = row.sent_at.or((row.state == "waiting").then_some(row.next_at));
        vec![
            row.key.notice_no.to_string(),
            whom.to_owned(),
            row.notice.kind.as_str().into(),
            row.key.channel.as_str().into(),
            to(row).unwrap_or_default(),
            row.state.clone(),
            count(row.attempts),
            when.map(|at| zone.format_short(at)).unwrap_or_default(),
            row.error.clone().unwrap_or_default(),
        ]
    };
    let columns = ["id", "account", "kind", "channel", "to", "state", ">tries", "when", "error"];
    table(&columns, rows.iter().map(line).collect())
}

/// A notice by a channel, for scripts and for people.
fn preview(
    config: &Config,
    told: &Told,
    channel: Channel,
    now: crate::domain::period::Timestamp,
) -> Result<(Value, String), Failure> {
    let templates = &config.notices.templates;
    let part = |part| templates.part(told, part).map_err(Failure::config);
    let kind = told.kind.as_str();
    Ok(match channel {
        Channel::Inbox => {
            let (title, text) = (part(Part::Subject)?, part(Part::Text)?);
            (json!({ "kind": kind, "title": title, "text": text }), format!("{title}\n\n{text}"))
        }
        Channel::Sms => {
            if told.kind.is_for_operator() {
                return Err(Failure::usage(format!("{kind} is for the operator, who gets no text messages")));
            }
            let text = part(Part::Sms)?;
            let signature = config.notices.sms.as_ref().and_then(|sms| sms.signature.as_deref());
            let length = sms::measured(&text, signature, "+8613800000000");
            let json =
                json!({ "kind": kind, "text": text, "length": length.units, "segments": length.segments });
            (json, format!("{text}\n\n{} characters, {} messages", length.units, length.segments))
        }
        Channel::Webhook => {
            let payload = webhook::payload(told);
            let words = serde_json::to_string_pretty(&payload).unwrap_or_default();
            (payload, words)
        }
        Channel::Email => {
            let sample = "Quittance <billing@quittance.example>";
            let usual = || {
                Mailbox::parse(sample).map(|from| Mail {
                    from,
                    unsubscribe: None,
                    route: MailRoute::Dir("mail".into()),
                })
            };
            let mail = config.notices.mail.clone().map_or_else(usual, Ok).map_err(Failure::config)?;
            let address = "somebody@quittance.example".to_owned();
            let parcel = Parcel { told: told.clone(), address, target: String::new(), attached: None };
            let letter = letter::write(&mail, templates, &parcel, now).map_err(Failure::config)?;
            let attached = notices::sample_attachment(config, told).unwrap_or_else(|why| {
                tracing::warn!("The letter would go without its bill: {why}");
                None
            });
            let json = json!({
                "kind": kind,
                "subject": part(Part::Subject)?,
                "text": part(Part::Text)?,
                "html": part(Part::Html)?,
                "eml": letter.text,
                "attachments": attached.iter().map(attachment_json).collect::<Vec<_>>(),
            });
            let mut words = format!("{}\n\n{}", part(Part::Subject)?, part(Part::Text)?);
            if let Some(attached) = &attached {
                let (name, kind, size) = (&attached.name, Attached::TYPE, count(bytes_of(attached)));
                words = format!("{}\n\nAttached: {name}, {kind}, {size} bytes (a sample)", words.trim_end());
            }
            (json, words)
        }
    })
}

fn attachment_json(attached: &Attached) -> Value {
    json!({ "name": attached.name, "type": Attached::TYPE, "bytes": bytes_of(attached) })
}

fn bytes_of(attached: &Attached) -> i64 {
    i64::try_from(attached.pdf.len()).unwrap_or(i64::MAX)
}

fn settings_json(account_id: &str, settings: &Settings) -> Value {
    let one = |(kind, channel, on): &(Option<NoticeKind>, Channel, bool)| {
        json!({
            "kind": kind.map_or("all", NoticeKind::as_str),
            "channel": channel.as_str(),
            "setting": if *on { "on" } else { "off" },
        })
    };
    json!({ "account_id": account_id, "settings": settings.0.iter().map(one).collect::<Vec<_>>() })
}

fn settings_words(settings: &Settings) -> String {
    if settings.0.is_empty() {
        return "As is configured for everybody.".to_owned();
    }
    let row = |(kind, channel, on): &(Option<NoticeKind>, Channel, bool)| {
        let setting = if *on { "on" } else { "off" };
        vec![kind.map_or("all", NoticeKind::as_str).into(), channel.as_str().into(), setting.into()]
    };
    table(&["kind", "channel", "setting"], settings.0.iter().map(row).collect())
}
