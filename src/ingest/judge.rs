//! What lines are judged by, whatever they bring: accounts, ids, times, recipients and counts.

use super::fields::{Field, Fields, Lines, Name, missing};
use super::message_ids::IdForm;
use super::recipient::{BareNumber, PhoneNumber, RecipientKey};
use super::source::Source;
use super::times::{TimeForms, ZonelessIn, read_time};
use super::{IngestError, LineFault, excerpt};
use crate::domain::message::MessageKey;
use crate::domain::period::{Timestamp, Zone};
use crate::domain::product::Catalog;

/// What the lines of one batch are judged by.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub catalog: &'a Catalog,
    pub source: Source,
    /// The moment of the judgement: the batch's received time.
    pub as_of: Timestamp,
    /// The billing zone, whose calendar counts `dedupe_months`.
    pub zone: Zone,
    /// The zone of times that name none; None for the source's usual one.
    pub source_zone: Option<Zone>,
    /// How receipts write the ids of messages, where messages have them otherwise.
    pub message_ids: Option<IdForm>,
    /// How long messages are kept, and so how far back a repeated one is noticed (D71).
    pub dedupe_months: u32,
    /// Messages of before this moment are gone, whatever is configured since: one of them that came again
    /// would be charged again.
    pub retired_before: Timestamp,
    /// How far a sender's clock may be ahead (D58).
    pub max_ahead_minutes: i64,
    pub recipient_key: &'a [u8; 32],
}

/// Makes a row of one record's fields, or says why it cannot.
pub trait Judge {
    type Row;

    /// The names by which an input may call the fields.
    fn names(&self) -> Vec<Name>;

    /// Refuses an input that cannot bring a field without which no line can be judged.
    fn check_header(&self, lines: &Lines) -> Result<(), IngestError>;

    fn judge(&self, fields: &Fields<'_>) -> Result<Self::Row, LineFault>;
}

/// The terms that messages and receipts have in common, made ready once a batch.
pub(super) struct Basis {
    pub source: Source,
    pub bare_number: BareNumber,
    time_forms: TimeForms,
    earliest: Timestamp,
    latest: Timestamp,
    recipient_key: RecipientKey,
}

/// A message id, ready for the store.
pub(super) struct MessageId {
    pub key: MessageKey,
    /// What is kept of the id beside its key.
    pub raw: Option<String>,
}

const LONGEST_ID: usize = 128;
const LONGEST_ACCOUNT_ID: usize = 64;
pub(super) const LONGEST_REFERENCE: usize = 256;
pub(super) const LONGEST_CODE: usize = 64;
/// An e-mail address has at most 320 characters.
const LONGEST_RECIPIENT: usize = 320;
/// Beyond it no message is a message: a bound for sums, and a net for slips (F74).
const MOST_UNITS: i64 = 1_000_000;

impl Basis {
    pub fn new(terms: &Terms<'_>) -> Basis {
        let mut time_forms = terms.source.time_forms();
        if let (Some(zone), Some(_)) = (terms.source_zone, time_forms.zoneless) {
            time_forms.zoneless = Some(ZonelessIn::Zone(zone));
        }
        Basis {
            source: terms.source,
            bare_number: terms.source.bare_number(),
            time_forms,
            earliest: terms.zone.months_before(terms.as_of, terms.dedupe_months).max(terms.retired_before),
            latest: terms.as_of.plus_micros(terms.max_ahead_minutes.saturating_mul(Timestamp::MINUTE)),
            recipient_key: RecipientKey::new(terms.recipient_key),
        }
    }

    /// The account that a line names.
    pub fn account(&self, fields: &Fields<'_>) -> Result<Option<String>, LineFault> {
        stored(Field::AccountId, fields.get(Field::AccountId), LONGEST_ACCOUNT_ID)
    }

    /// The id of a message as its source gave it.
    pub fn message_id(&self, id: &str) -> Result<MessageId, LineFault> {
        let id = text_of(Field::MessageId, id, LONGEST_ID)?;
        Ok(MessageId { key: MessageKey::of(id), raw: MessageKey::raw_id(id) })
    }

    /// The id of a message that is known by its request and its recipient: `request/13800138000`,
    /// a Chinese number without its calling code, any other with it, an address in lower case.
    /// Message and receipt find each other however either spells the recipient.
    pub fn id_of_request(&self, request: &str, recipient: &str) -> Result<MessageId, LineFault> {
        let number = PhoneNumber::parse(recipient, self.bare_number);
        let spelled = match &number {
            Some(number) => number.domestic_digits().unwrap_or(number.digits()).to_owned(),
            None => recipient.trim().to_lowercase(),
        };
        let id = format!("{request}/{spelled}");
        text_of(Field::MessageId, &id, LONGEST_ID + LONGEST_RECIPIENT)?;
        // The key is of the whole number, so that the id finds the message; what is kept to be
        // shown has only its last digits.
        let last = spelled.char_indices().rev().nth(2).map_or("", |(at, _)| &spelled[at..]);
        Ok(MessageId { key: MessageKey::of(&id), raw: Some(format!("{request}/…{last}")) })
    }

    /// A time that is neither ahead of the clock nor older than messages are kept.
    pub fn time(&self, field: Field, text: &str) -> Result<Timestamp, LineFault> {
        let time = read_time(text, self.time_forms)?;
        let name = field.name();
        if time > self.latest {
            let detail =
                format!("{name} `{text}` lies ahead of the clock: retry when it has come, or mend it");
            return Err(LineFault::new("future", detail));
        }
        if time < self.earliest {
            let detail = format!("{name} `{text}` is older than messages are kept (retention.messages)");
            return Err(LineFault::new("too_old", detail));
        }
        Ok(time)
    }

    pub fn recipient_hash(&self, recipient: &str) -> Result<i64, LineFault> {
        if recipient.len() > LONGEST_RECIPIENT {
            return Err(LineFault::new("bad_recipient", "`recipient` has more than 320 bytes"));
        }
        Ok(self.recipient_key.hash(recipient, self.bare_number))
    }

    /// The size as the source counted it.
    pub fn source_units(&self, fields: &Fields<'_>) -> Result<Option<i64>, LineFault> {
        self.source.own_size(fields).map(|size| count(Field::SmsSize, size)).transpose()
    }

    /// The request that a line belongs to.
    pub fn biz_id(&self, fields: &Fields<'_>) -> Result<Option<String>, LineFault> {
        stored(Field::BizId, fields.get(Field::BizId), LONGEST_REFERENCE)
    }
}

/// The first of the needed fields that an input cannot bring, as the error that says how to mend
/// it.
pub(super) fn check_columns(
    source: Source,
    lines: &Lines,
    names: &[Name],
    needed: &[Field],
) -> Result<(), IngestError> {
    let Some(&field) = needed.iter().find(|&&field| !lines.may_have(field)) else { return Ok(()) };
    let own: Vec<&str> = names
        .iter()
        .filter(|name| name.field == field && name.column != field.name())
        .map(|name| name.column)
        .collect();
    let mend = match (source, own.as_slice()) {
        (Source::Generic, _) => "add it, or name the source of the file with --source".to_owned(),
        (_, []) => format!("source {} has none of its own, add a column `{}`", source.name(), field.name()),
        (_, own) => {
            let own = own.join(", ");
            format!("source {} brings it as {own}; or add a column `{}`", source.name(), field.name())
        }
    };
    Err(IngestError::MissingColumn { field: field.name(), mend })
}

/// A whole number of 1 to a million in plain digits: no sign, point or exponent (F74).
pub(super) fn count(field: Field, text: &str) -> Result<i64, LineFault> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| plain && (1..=MOST_UNITS).contains(number));
    number.ok_or_else(|| {
        let detail =
            format!("`{}` is `{}`: write a whole number from 1 to {MOST_UNITS}", field.name(), excerpt(text));
        LineFault::new("bad_units", detail)
    })
}

/// A text that is stored: bounded, and without control characters, which neither databases nor
/// terminals nor spreadsheets take well (F70).
fn text_of(field: Field, text: &str, longest: usize) -> Result<&str, LineFault> {
    let too_long = text.len() > longest && text.chars().count() > longest;
    if too_long || text.chars().any(char::is_control) {
        let shown = excerpt(text);
        let detail =
            format!("`{}` is `{shown}`: at most {longest} characters, no control characters", field.name());
        return Err(LineFault::new("bad_text", detail));
    }
    Ok(text)
}

/// A text that is stored, where the line has it.
pub(super) fn stored(field: Field, text: Option<&str>, longest: usize) -> Result<Option<String>, LineFault> {
    text.map(|text| text_of(field, text, longest).map(str::to_owned)).transpose()
}

/// The value of a field that every line needs.
pub(super) fn needed<T>(field: Field, value: Option<T>) -> Result<T, LineFault> {
    value.ok_or_else(|| missing(field))
}
