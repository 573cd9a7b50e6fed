//! Sources: what each provider calls its columns and what its words mean.
//! Canonical names are accepted in every source, and win.

mod columns;
mod status;
mod submission;

pub use self::submission::Submission;

use super::fields::{Field, Fields};
use super::recipient::BareNumber;
use super::times::{Digits, TimeForms, ZonelessIn};
use super::{IngestError, LineFault, excerpt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Generic,
    /// Alibaba Cloud SMS in China: rows of `QuerySendDetails`, receipts also by `SmsReport`.
    Aliyun,
    /// Alibaba Cloud SMS abroad.
    AliyunIntl,
    Twilio,
    Vonage,
    Aws,
    /// Receipts only, as the next two.
    Smpp,
    Cmpp,
    DmEvent,
}

impl Source {
    pub const ALL: [Source; 9] = [
        Source::Generic,
        Source::Aliyun,
        Source::AliyunIntl,
        Source::Twilio,
        Source::Vonage,
        Source::Aws,
        Source::Smpp,
        Source::Cmpp,
        Source::DmEvent,
    ];

    /// Whether it carries messages, not only receipts.
    pub fn has_messages(self) -> bool {
        self.message_names().is_ok()
    }

    pub fn parse(name: &str) -> Result<Source, IngestError> {
        Source::ALL.into_iter().find(|source| source.name() == name).ok_or_else(|| {
            IngestError::UnknownSource {
                name: excerpt(name),
                known: Source::ALL.map(Source::name).join(", "),
            }
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Source::Generic => "generic",
            Source::Aliyun => "aliyun",
            Source::AliyunIntl => "aliyun_intl",
            Source::Twilio => "twilio",
            Source::Vonage => "vonage",
            Source::Aws => "aws",
            Source::Smpp => "smpp",
            Source::Cmpp => "cmpp",
            Source::DmEvent => "dm_event",
        }
    }

    pub fn time_forms(self) -> TimeForms {
        let zoneless = match self {
            Source::Generic => None,
            Source::Vonage | Source::Aws => Some(ZonelessIn::Offset(0)),
            _ => Some(ZonelessIn::Offset(8)),
        };
        let rfc2822 = matches!(self, Source::AliyunIntl | Source::Twilio);
        let digits = match self {
            Source::Aws => Some(Digits::EpochMillis),
            Source::Smpp | Source::Cmpp => Some(Digits::Calendar),
            _ => None,
        };
        TimeForms { zoneless, rfc2822, digits }
    }

    /// How this source writes numbers without a plus.
    pub fn bare_number(self) -> BareNumber {
        match self {
            Source::Generic | Source::Aliyun | Source::Cmpp => BareNumber::Chinese,
            _ => BareNumber::International,
        }
    }

    /// The channel of lines that name none.
    pub fn usual_channel(self) -> Option<&'static str> {
        (self != Source::Generic).then_some("sms")
    }

    /// Whether a message without an id is known by its request and its recipient together.
    pub fn id_of_request_and_recipient(self) -> bool {
        self == Source::Aliyun
    }

    /// The size as the source counted it. Twilio writes 0 until it has counted.
    pub fn own_size<'a>(self, fields: &Fields<'a>) -> Option<&'a str> {
        fields.get(Field::SmsSize).filter(|size| !(self == Source::Twilio && *size == "0"))
    }
}

/// A word that means nothing here. Never a default: a guess would be charged (F73).
pub(super) fn unknown(reason: &'static str, word: &str, known: &str) -> LineFault {
    LineFault::new(reason, format!("`{}` is not known: write {known}", excerpt(word)))
}

#[cfg(test)]
mod tests;
