//! An e-mail as it goes out: built by `lettre` alone, so that nothing handed in can become a header.

use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Message, MultiPart, SinglePart};

use super::address::Mailbox;
use super::templates::{Part, Templates};
use super::{Attached, Parcel};
use crate::config::notices::Mail;
use crate::domain::notice::Channel;
use crate::domain::period::Timestamp;

/// An e-mail with the addresses of its envelope.
pub struct Letter {
    pub key: String,
    pub envelope: Envelope,
    /// All of it, in ASCII, lines ended by CR LF.
    pub text: String,
}

/// Writes the letter of a notice, with what is attached to it.
///
/// # Errors
/// Why it can't be written: a template, or the receiver's address.
pub fn write(mail: &Mail, templates: &Templates, parcel: &Parcel, now: Timestamp) -> Result<Letter, String> {
    let Parcel { told, address, target, attached } = parcel;
    let to = Mailbox::parse(address)?;
    let to = if told.account_id.is_empty() { to } else { to.named(&told.name) };
    let [subject, text, html] =
        [Part::Subject, Part::Text, Part::Html].map(|part| templates.part(told, part));
    let key = told.key(Channel::Email, target);
    let written = Duration::from_micros(u64::try_from(now.0).unwrap_or(0));
    let mut builder = Message::builder()
        .from(mail.from.lettre().clone())
        .to(to.lettre().clone())
        .subject(subject?)
        .date(SystemTime::UNIX_EPOCH + written)
        .message_id(Some(format!("<{key}@{}>", mail.from.domain())))
        .raw_header(raw("Auto-Submitted", "auto-generated"));
    if let Some(url) = mail.unsubscribe.as_deref().filter(|_| told.kind.is_reminder()) {
        builder = builder.raw_header(raw("List-Unsubscribe", &format!("<{url}>")));
    }
    let part = |kind: ContentType, text: String| SinglePart::builder().header(kind).body(text);
    let parts = MultiPart::alternative()
        .boundary(format!("part-{key}"))
        .singlepart(part(ContentType::TEXT_PLAIN, text?))
        .singlepart(part(ContentType::TEXT_HTML, html?));
    let parts = match attached {
        // The text comes first: it is what readers open.
        Some(attached) => {
            let whole = MultiPart::mixed().boundary(format!("whole-{key}"));
            whole.multipart(parts).singlepart(pdf(attached)?)
        }
        None => parts,
    };
    let message = builder.multipart(parts).map_err(|error| error.to_string())?;
    let text = String::from_utf8(message.formatted()).map_err(|_| "the letter is no text".to_owned())?;
    Ok(Letter { key, envelope: message.envelope().clone(), text })
}

/// A PDF as a part of a letter.
fn pdf(attached: &Attached) -> Result<SinglePart, String> {
    let kind = ContentType::parse(Attached::TYPE).map_err(|error| error.to_string())?;
    // Said rather than guessed, so that no byte of it is ever taken for a line end.
    let body = Body::new_with_encoding(attached.pdf.clone(), ContentTransferEncoding::Base64);
    let body = body.map_err(|_| format!("{} can't be encoded", attached.name))?;
    Ok(Attachment::new(attached.name.clone()).body(body, kind))
}

/// A header of our own words.
fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}
