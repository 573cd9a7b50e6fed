//! What each source says of a message that was handed in: its direction, its template type, and
//! whether the gateway took it.

use std::borrow::Cow;

use super::{Source, unknown};
use crate::ingest::LineFault;
use crate::ingest::fields::{Field, Fields};

/// What the gateway did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission<'a> {
    Accepted,
    /// With the reason, where the source tells one.
    Rejected(Option<Cow<'a, str>>),
}

impl Source {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliyun_submission_errors_are_told_from_carrier_answers() {
        for (code, refusal) in [
            ("isv.BLACK_KEY_CONTROL_LIMIT", Some("blacklist")),
            ("isv.BUSINESS_LIMIT_CONTROL", Some("throttled")),
            ("isv.AMOUNT_NOT_ENOUGH", Some("insufficient_balance")),
            ("isv.OUT_OF_SERVICE", Some("insufficient_balance")),
            ("isv.UNSUPPORTED_CONTENT", Some("isv.UNSUPPORTED_CONTENT")),
            ("AMOUNT_NOT_ENOUGH", Some("insufficient_balance")),
            ("DELIVERED", None),
            ("MOBILE_NOT_ON_SERVICE", None),
            ("REQUEST_SUCCESS", None),
        ] {
            assert_eq!(aliyun_refusal(code), refusal, "{code}");
        }
    }

    #[test]
    fn a_status_that_nobody_knows_is_not_taken_for_accepted() {
        assert!(twilio_submission(Some("vanished")).is_err());
        assert!(vonage_submission(Some("vanished")).is_err());
        assert!(known_status(Some("9"), &["1", "2", "3"]).is_err());
        assert_eq!(twilio_submission(Some("undelivered")), Ok(Some(Submission::Accepted)));
        assert_eq!(
            vonage_submission(Some("9")),
            Ok(Some(Submission::Rejected(Some("insufficient_balance".into()))))
        );
    }
}
