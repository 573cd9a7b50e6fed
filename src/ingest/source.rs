//! Sources of messages: what each provider calls its columns and what its words mean.
//! Canonical names are accepted in every source, and win.

use std::borrow::Cow;

use super::fields::{Field, Fields, Lines, Name};
use super::recipient::BareNumber;
use super::times::{TimeForms, ZonelessIn};
use super::{IngestError, LineFault, excerpt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Generic,
    /// Alibaba Cloud SMS in China: rows of `QuerySendDetails`.
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

/// What the gateway did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission<'a> {
    Accepted,
    /// With the reason, where the source tells one.
    Rejected(Option<Cow<'a, str>>),
}

const ALL: [Source; 9] = [
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

const CANONICAL: &[Field] = &[
    Field::MessageId,
    Field::AccountId,
    Field::Channel,
    Field::Direction,
    Field::BizId,
    Field::OutId,
    Field::Recipient,
    Field::Country,
    Field::Region,
    Field::SignName,
    Field::TemplateCode,
    Field::TemplateType,
    Field::Content,
    Field::ContentUnits,
    Field::Encoding,
    Field::SubmitTime,
    Field::SubmitStatus,
    Field::RejectCode,
    Field::SmsSize,
];

/// Provider columns, the preferred of one field first.
const ALIYUN: &[(&str, Field)] = &[
    ("PhoneNum", Field::Recipient),
    ("SendStatus", Field::Status),
    ("ErrCode", Field::ErrCode),
    ("TemplateCode", Field::TemplateCode),
    ("TemplateType", Field::TemplateType),
    ("SignName", Field::SignName),
    ("Content", Field::Content),
    ("SendDate", Field::SubmitTime),
    ("OutId", Field::OutId),
    ("BizId", Field::BizId),
];

const ALIYUN_INTL: &[(&str, Field)] = &[
    ("MessageId", Field::MessageId),
    ("To", Field::Recipient),
    ("Status", Field::Status),
    ("ErrorCode", Field::ErrCode),
    ("SmsSize", Field::SmsSize),
    ("SendDate", Field::SubmitTime),
    ("TaskId", Field::BizId),
];

const TWILIO: &[(&str, Field)] = &[
    ("MessageSid", Field::MessageId),
    ("sid", Field::MessageId),
    ("AccountSid", Field::AccountId),
    ("account_sid", Field::AccountId),
    ("To", Field::Recipient),
    ("to", Field::Recipient),
    ("NumSegments", Field::SmsSize),
    ("num_segments", Field::SmsSize),
    ("Body", Field::Content),
    ("body", Field::Content),
    ("Direction", Field::Direction),
    ("DateSent", Field::SubmitTime),
    ("date_sent", Field::SubmitTime),
    ("DateCreated", Field::SubmitTime),
    ("date_created", Field::SubmitTime),
    ("Status", Field::Status),
    ("MessageStatus", Field::Status),
    ("status", Field::Status),
];

const VONAGE: &[(&str, Field)] = &[
    ("messageId", Field::MessageId),
    ("message-id", Field::MessageId),
    ("api-key", Field::AccountId),
    ("to", Field::Recipient),
    ("msisdn", Field::Recipient),
    ("message-count", Field::SmsSize),
    ("text", Field::Content),
    ("message_body", Field::Content),
    ("message-timestamp", Field::SubmitTime),
    ("date_received", Field::SubmitTime),
    ("status", Field::Status),
    ("client-ref", Field::OutId),
];

const AWS: &[(&str, Field)] = &[
    ("messageId", Field::MessageId),
    ("destinationPhoneNumber", Field::Recipient),
    ("isoCountryCode", Field::Country),
    ("totalMessageParts", Field::SmsSize),
    ("eventTimestamp", Field::SubmitTime),
    ("messageStatus", Field::Status),
];

impl Source {
    pub fn parse(name: &str) -> Result<Source, IngestError> {
        ALL.into_iter().find(|source| source.name() == name).ok_or_else(|| IngestError::UnknownSource {
            name: excerpt(name),
            known: ALL.map(Source::name).join(", "),
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

    /// The names that messages of this source go by; an error where it only carries receipts.
    pub fn message_names(self) -> Result<Vec<Name>, IngestError> {
        let own = match self {
            Source::Generic => &[][..],
            Source::Aliyun => ALIYUN,
            Source::AliyunIntl => ALIYUN_INTL,
            Source::Twilio => TWILIO,
            Source::Vonage => VONAGE,
            Source::Aws => AWS,
            Source::Smpp | Source::Cmpp | Source::DmEvent => {
                return Err(IngestError::ReceiptsOnly { source_name: self.name() });
            }
        };
        let canonical = CANONICAL.iter().map(|&field| Name { column: field.name(), field });
        Ok(canonical.chain(own.iter().map(|&(column, field)| Name { column, field })).collect())
    }

    /// Refuses a header that lacks a column without which no line can be judged.
    pub fn check_message_header(self, lines: &Lines) -> Result<(), IngestError> {
        let generic: &[Field] =
            if self == Source::Generic { &[Field::Channel, Field::SubmitStatus] } else { &[] };
        let both = [Field::AccountId, Field::SubmitTime];
        let id_in_two = self.id_of_request_and_recipient()
            && lines.may_have(Field::BizId)
            && lines.may_have(Field::Recipient);
        let id: &[Field] = if id_in_two { &[] } else { &[Field::MessageId] };
        match id.iter().chain(&both).chain(generic).find(|&&field| !lines.may_have(field)) {
            None => Ok(()),
            Some(&field) => Err(IngestError::MissingColumn { field: field.name(), mend: self.mend(field) }),
        }
    }

    fn mend(self, field: Field) -> String {
        let own: Vec<&str> = self
            .message_names()
            .unwrap_or_default()
            .iter()
            .map(|n| (n.column, n.field))
            .filter(|&(column, of)| of == field && column != field.name())
            .map(|(column, _)| column)
            .collect();
        match (self, own.as_slice()) {
            (Source::Generic, _) => "add it, or name the source of the file with --source".to_owned(),
            (_, []) => format!("source {} has none of its own, add a column `{}`", self.name(), field.name()),
            (_, own) => format!(
                "source {} brings it as {}; or add a column `{}`",
                self.name(),
                own.join(", "),
                field.name()
            ),
        }
    }

    pub fn time_forms(self) -> TimeForms {
        let zoneless = match self {
            Source::Generic => None,
            Source::Vonage | Source::Aws => Some(ZonelessIn::Offset(0)),
            _ => Some(ZonelessIn::Offset(8)),
        };
        let rfc2822 = matches!(self, Source::AliyunIntl | Source::Twilio);
        TimeForms { zoneless, rfc2822, epoch_ms: self == Source::Aws }
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

    /// True for a message from outside; absent is `mt`.
    pub fn is_inbound(self, fields: &Fields<'_>) -> Result<bool, LineFault> {
        match (self, fields.get(Field::Direction)) {
            (_, None | Some("mt")) => Ok(false),
            (_, Some("mo")) => Ok(true),
            (Source::Twilio | Source::Vonage, Some("inbound")) => Ok(true),
            (Source::Twilio, Some("outbound-api" | "outbound-call" | "outbound-reply")) => Ok(false),
            (Source::Vonage, Some("outbound")) => Ok(false),
            (_, Some(word)) => Err(unknown("bad_direction", word, "mt or mo")),
        }
    }

    /// The template type, empty where the line names none.
    pub fn template_type(self, fields: &Fields<'_>) -> Result<&'static str, LineFault> {
        let aliyun = matches!(self, Source::Aliyun | Source::AliyunIntl);
        match fields.get(Field::TemplateType) {
            None => Ok(""),
            Some("verification") => Ok("verification"),
            Some("notification") => Ok("notification"),
            Some("promotional") => Ok("promotional"),
            Some("0") if aliyun => Ok("verification"),
            Some("1") if aliyun => Ok("notification"),
            Some("2") if aliyun => Ok("promotional"),
            // Templates for abroad are of no type, and prices there don't ask for one.
            Some("3") if aliyun => Ok(""),
            Some(word) => {
                Err(unknown("bad_template_type", word, "verification, notification or promotional"))
            }
        }
    }

    /// Whether the gateway took the message; None where the line does not say.
    pub fn submission<'a>(self, fields: &Fields<'a>) -> Result<Option<Submission<'a>>, LineFault> {
        let code = || fields.get(Field::RejectCode).map(Cow::Borrowed);
        match fields.get(Field::SubmitStatus) {
            Some("accepted") => return Ok(Some(Submission::Accepted)),
            Some("rejected") => return Ok(Some(Submission::Rejected(code()))),
            Some(word) => return Err(unknown("bad_submit_status", word, "accepted or rejected")),
            None => {}
        }
        let status = fields.get(Field::Status);
        match self {
            Source::Aliyun | Source::AliyunIntl => {
                let refusal = fields.get(Field::ErrCode).and_then(aliyun_refusal);
                if let Some(code) = refusal {
                    return Ok(Some(Submission::Rejected(Some(Cow::Borrowed(code)))));
                }
                known_status(status, &["1", "2", "3", "6"])
            }
            Source::Twilio => twilio_submission(status),
            Source::Vonage => vonage_submission(status),
            Source::Aws => Ok(Some(Submission::Accepted)),
            Source::Generic | Source::Smpp | Source::Cmpp | Source::DmEvent => Ok(None),
        }
    }

    /// The size as the source counted it. Twilio writes 0 until it has counted.
    pub fn own_size<'a>(self, fields: &Fields<'a>) -> Option<&'a str> {
        fields.get(Field::SmsSize).filter(|size| !(self == Source::Twilio && *size == "0"))
    }
}

/// Errors of the submission (`isv.*`, and the balance abroad): the gateway refused the message.
/// Any other code is the carrier's answer to a message that it took.
fn aliyun_refusal(code: &str) -> Option<&str> {
    match code.strip_prefix("isv.").unwrap_or(code) {
        "BLACK_KEY_CONTROL_LIMIT" => Some("blacklist"),
        "BUSINESS_LIMIT_CONTROL" => Some("throttled"),
        "AMOUNT_NOT_ENOUGH" | "OUT_OF_SERVICE" => Some("insufficient_balance"),
        _ => code.starts_with("isv.").then_some(code),
    }
}

/// `failed` and `canceled` are not charged; `undelivered` was sent, and is.
fn twilio_submission<'a>(status: Option<&'a str>) -> Result<Option<Submission<'a>>, LineFault> {
    if let Some(refused @ ("failed" | "canceled")) = status {
        return Ok(Some(Submission::Rejected(Some(Cow::Borrowed(refused)))));
    }
    let taken = [
        "accepted",
        "scheduled",
        "queued",
        "sending",
        "sent",
        "delivered",
        "undelivered",
        "read",
        "partially_delivered",
        "receiving",
        "received",
    ];
    known_status(status, &taken)
}

/// A number is the answer to the request, a word the state of a message that was taken.
fn vonage_submission<'a>(status: Option<&'a str>) -> Result<Option<Submission<'a>>, LineFault> {
    let refused = match status {
        Some("1") => "throttled",
        Some("7") => "blacklist",
        Some("9") => "insufficient_balance",
        Some(code) if code != "0" && code.parse::<u16>().is_ok() => code,
        _ => {
            let taken = [
                "0",
                "delivered",
                "expired",
                "failed",
                "rejected",
                "accepted",
                "buffered",
                "unknown",
                "submitted",
                "deleted",
            ];
            return known_status(status, &taken);
        }
    };
    Ok(Some(Submission::Rejected(Some(Cow::Borrowed(refused)))))
}

fn known_status<'a>(status: Option<&str>, taken: &[&str]) -> Result<Option<Submission<'a>>, LineFault> {
    match status {
        Some(word) if !taken.contains(&word) => Err(unknown("bad_submit_status", word, &taken.join(", "))),
        _ => Ok(Some(Submission::Accepted)),
    }
}

/// A word that means nothing here. Never a default: a guess would be charged (F73).
pub(super) fn unknown(reason: &'static str, word: &str, known: &str) -> LineFault {
    LineFault::new(reason, format!("`{}` is not known: write {known}", excerpt(word)))
}

#[cfg(test)]
mod tests;
