//! What each source's words for a delivery status mean (D17).
//!
//! Only a word that is known is taken: to guess a failure gives money away, to guess a delivery
//! keeps it (F73). The one exception are the carriers behind CMPP, who invent codes for failures
//! freely and have one word for success.

use super::{Source, unknown};
use crate::domain::receipt::Outcome;
use crate::domain::receipt::ReceiptStatus::{self, *};
use crate::ingest::LineFault;
use crate::ingest::fields::{Field, missing};

impl Source {
    /// The status that a line tells, and the source's own word for it. `said` gives the line's
    /// fields.
    pub fn receipt_status<'a>(
        self,
        said: impl Fn(Field) -> Option<&'a str>,
    ) -> Result<(ReceiptStatus, &'a str), LineFault> {
        let (status, event) = (said(Field::Status), said(Field::Event));
        if self == Source::DmEvent
            && let Some(event) = event
            && let Some(status) = mail_event(event, status.is_some())?
        {
            return Ok((status, event));
        }
        let event = event.filter(|_| self == Source::Aws).map(|event| event.trim_start_matches("TEXT_"));
        let word = status.or(event).ok_or_else(|| missing(Field::Status))?;
        let status = self.meaning(word).or_else(|| ReceiptStatus::parse(word));
        let status = match status {
            None if self == Source::Cmpp && is_carrier_code(word) => Failed,
            None => return Err(unknown("unknown_status", word, self.known_words())),
            Some(status) => status,
        };
        let asked_only = said(Field::ErrCode).is_some_and(|code| self.is_no_answer(code, status));
        let status = match self.is_last(said(Field::IsFinal))? {
            _ if asked_only => Unknown,
            Some(true) if word == "SUCCESSFUL" => Delivered,
            Some(false) if status.outcome().is_some() => Enroute,
            _ => status,
        };
        Ok((status, word))
    }

    /// Whether no other event of the message comes; None where the line does not say. Exports of tables write
    /// `FALSE`: not to read that would give money back for a failure that is none yet.
    fn is_last(self, said: Option<&str>) -> Result<Option<bool>, LineFault> {
        match said.filter(|_| self == Source::Aws) {
            None => Ok(None),
            Some(word) if word.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(word) if word.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(word) => Err(unknown("unknown_status", word, "`isFinal` as true or false")),
        }
    }

    /// Whether the message failed because its address does not exist: what weighs on a sender (R17).
    pub fn is_invalid_address<'a>(
        self,
        status: ReceiptStatus,
        said: impl Fn(Field) -> Option<&'a str>,
    ) -> bool {
        let code = |code: &str| {
            // The enhanced codes of RFC 3463 for an address that is wrong, whatever the reply was.
            code.eq_ignore_ascii_case("invalid_address")
                || ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"].contains(&code)
        };
        let of_mail = self == Source::DmEvent
            && (said(Field::Status) == Some("2") || said(Field::FailedType) == Some("SmtpNxBox"));
        status.outcome() == Some(Outcome::Failed) && (of_mail || said(Field::ErrCode).is_some_and(code))
    }

    fn meaning(self, word: &str) -> Option<ReceiptStatus> {
        match self {
            Source::Generic => None,
            Source::Aliyun => match word {
                "true" | "3" => Some(Delivered),
                "false" | "2" => Some(Failed),
                "1" => Some(Enroute),
                _ => None,
            },
            // 3 is what reports before 2021 call delivered.
            Source::AliyunIntl => match word {
                "1" | "3" => Some(Delivered),
                "2" => Some(Failed),
                "6" => Some(Expired),
                _ => None,
            },
            Source::Twilio => twilio(word),
            Source::Vonage => match word {
                "buffered" | "submitted" => Some(Enroute),
                "deleted" | "undeliverable" => Some(Failed),
                _ => None,
            },
            Source::Aws => aws(word),
            Source::Smpp => smpp(&word.to_ascii_uppercase()),
            Source::Cmpp => cmpp(&word.to_ascii_uppercase()),
            Source::DmEvent => match word {
                "0" => Some(Delivered),
                "2" | "4" => Some(Failed),
                "3" => Some(Complained),
                _ => None,
            },
        }
    }

    /// What to name where a word is not known.
    fn known_words(self) -> &'static str {
        match self {
            Source::Generic => {
                "delivered, failed, expired, rejected, unknown, enroute, accepted or complained"
            }
            Source::Aliyun => "`success` true or false, or `SendStatus` 1, 2 or 3",
            Source::AliyunIntl => "1, 2, 3 or 6",
            Source::Twilio => "delivered, read, undelivered, failed, canceled or a state before them",
            Source::Vonage => {
                "delivered, failed, expired, rejected, accepted, buffered, submitted, deleted or unknown"
            }
            Source::Aws => "DELIVERED, SUCCESSFUL, UNKNOWN, PENDING, QUEUED or the name of a failure",
            Source::Smpp => {
                "DELIVRD, EXPIRED, DELETED, UNDELIV, REJECTD, ACCEPTD, UNKNOWN or ENROUTE, or 1 to 8"
            }
            Source::Cmpp => "DELIVRD, UNKNOWN, ACCEPTD, ENROUTE or a carrier's code for a failure",
            Source::DmEvent => "0, 2, 3 or 4",
        }
    }

    /// Alibaba Cloud's code for a message that was handed over and never answered, which may stand beside any
    /// status; or a carrier's for one that has no answer yet, which is no failure (D17).
    fn is_no_answer(self, code: &str, status: ReceiptStatus) -> bool {
        let unanswered = status == Failed && ["UNKNOWN", "ACCEPTD", "ENROUTE"].contains(&code);
        matches!(self, Source::Aliyun | Source::AliyunIntl) && (unanswered || code == "REQUEST_SUCCESS")
    }
}

/// What the event alone tells; None where it says no more than the status beside it.
fn mail_event(event: &str, has_status: bool) -> Result<Option<ReceiptStatus>, LineFault> {
    match event {
        "dm:Feedback:FblReport" => Ok(Some(Complained)),
        "dm:Deliver:Succeed" => Ok((!has_status).then_some(Delivered)),
        "dm:Deliver:Fail" => Ok((!has_status).then_some(Failed)),
        _ if event.starts_with("dm:") => {
            let known = "dm:Deliver:Succeed, dm:Deliver:Fail and dm:Feedback:FblReport only";
            Err(unknown("not_a_receipt", event, known))
        }
        _ => Err(unknown("unknown_status", event, "an event of Direct Mail, such as dm:Deliver:Fail")),
    }
}

fn twilio(word: &str) -> Option<ReceiptStatus> {
    match word {
        "delivered" | "read" => Some(Delivered),
        "undelivered" | "failed" | "canceled" => Some(Failed),
        "accepted"
        | "scheduled"
        | "queued"
        | "sending"
        | "sent"
        | "partially_delivered"
        | "receiving"
        | "received" => Some(Enroute),
        _ => None,
    }
}

/// `SUCCESSFUL` is the carrier's acceptance. Where it is a message's last event, no other will come
/// and it stands for the delivery; that is seen by `isFinal`.
fn aws(word: &str) -> Option<ReceiptStatus> {
    match word {
        "DELIVERED" => Some(Delivered),
        "SUCCESSFUL" => Some(Accepted),
        "QUEUED" | "PENDING" | "SENT" => Some(Enroute),
        "UNKNOWN" => Some(Unknown),
        "TTL_EXPIRED" => Some(Expired),
        "BLOCKED" | "CARRIER_BLOCKED" | "PROTECT_BLOCKED" | "SPAM" => Some(Rejected),
        "INVALID" | "INVALID_MESSAGE" | "UNREACHABLE" | "CARRIER_UNREACHABLE" | "FAILED" => Some(Failed),
        _ => None,
    }
}

/// The states of SMPP 3.4 by their words, as receipts abbreviate them and as some centres write
/// them out, or by their numbers.
fn smpp(word: &str) -> Option<ReceiptStatus> {
    match word {
        "DELIVRD" | "DELIVERED" | "2" => Some(Delivered),
        "EXPIRED" | "3" => Some(Expired),
        "DELETED" | "UNDELIV" | "UNDELIVERABLE" | "4" | "5" => Some(Failed),
        "ACCEPTD" | "ACCEPTED" | "6" => Some(Accepted),
        "UNKNOWN" | "7" => Some(Unknown),
        "REJECTD" | "REJECTED" | "8" => Some(Rejected),
        "ENROUTE" | "1" => Some(Enroute),
        _ => None,
    }
}

/// CMPP takes its words from SMPP, without the numbers.
fn cmpp(word: &str) -> Option<ReceiptStatus> {
    match word {
        "SUCCESS" => Some(Delivered),
        "REQUEST_SUCCESS" => Some(Unknown),
        _ => smpp(word).filter(|_| is_carrier_code(word)),
    }
}

/// A code such as `MK:0001`, `MBBLACK` or `CMPPERR:9`. A bare number is none: 0 is a success of the
/// sister protocols, and would be taken for a failure.
fn is_carrier_code(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_-./".contains(&byte);
    word.len() <= 32 && word.bytes().all(allowed) && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of a line with these fields, by its word, or the reason of its rejection.
    fn status(source: Source, fields: &[(Field, &'static str)]) -> Result<&'static str, &'static str> {
        let said = |field| fields.iter().find(|(of, _)| *of == field).map(|(_, text)| *text);
        match source.receipt_status(said) {
            Ok((status, _)) => Ok(status.as_str()),
            Err(fault) => Err(fault.reason),
        }
    }

    /// Checks words, each with its meaning: `DELIVRD=delivered`.
    fn check(source: Source, words: &'static str) {
        for pair in words.split_whitespace() {
            let (word, meaning) = pair.split_once('=').unwrap();
            assert_eq!(status(source, &[(Field::Status, word)]), Ok(meaning), "{source:?} {word}");
        }
    }

    #[test]
    fn the_words_of_each_source_are_known() {
        check(
            Source::Generic,
            "delivered=delivered failed=failed expired=expired rejected=rejected unknown=unknown
            enroute=enroute accepted=accepted complained=complained",
        );
        check(Source::Aliyun, "true=delivered false=failed 1=enroute 2=failed 3=delivered rejected=rejected");
        check(Source::AliyunIntl, "1=delivered 2=failed 3=delivered 6=expired");
        check(
            Source::Twilio,
            "delivered=delivered read=delivered undelivered=failed failed=failed canceled=failed
            accepted=enroute scheduled=enroute queued=enroute sending=enroute sent=enroute
            partially_delivered=enroute",
        );
        check(
            Source::Vonage,
            "delivered=delivered failed=failed expired=expired rejected=rejected accepted=accepted
            buffered=enroute submitted=enroute deleted=failed unknown=unknown",
        );
        check(
            Source::Aws,
            "DELIVERED=delivered SUCCESSFUL=accepted PENDING=enroute QUEUED=enroute UNKNOWN=unknown
            TTL_EXPIRED=expired CARRIER_BLOCKED=rejected INVALID=failed UNREACHABLE=failed",
        );
        check(Source::DmEvent, "0=delivered 2=failed 3=complained 4=failed");
    }

    #[test]
    fn the_words_of_the_protocols_are_known() {
        let both = "DELIVRD=delivered DELIVERED=delivered Delivered=delivered EXPIRED=expired
            DELETED=failed UNDELIV=failed ACCEPTD=accepted UNKNOWN=unknown REJECTD=rejected
            ENROUTE=enroute";
        check(Source::Smpp, both);
        check(Source::Cmpp, both);
        let states = "1=enroute 2=delivered 3=expired 4=failed 5=failed 6=accepted 7=unknown 8=rejected";
        check(Source::Smpp, states);
        check(
            Source::Cmpp,
            "success=delivered REQUEST_SUCCESS=unknown MK:0001=failed MBBLACK=failed ID:0076=failed
            CMPPERR:9=failed",
        );
    }

    #[test]
    fn f73_a_word_that_nobody_knows_is_rejected_by_its_name() {
        for source in Source::ALL {
            for word in ["9", "vanished!", "DELIVRD ", "Delivered?", "true?"] {
                let fault = source.receipt_status(|field| (field == Field::Status).then_some(word));
                let fault = fault.unwrap_err();
                assert_eq!(fault.reason, "unknown_status", "{source:?} {word}");
                assert!(fault.detail.contains(&format!("`{word}`")), "{fault}");
            }
            assert_eq!(status(source, &[]), Err("missing_field"), "{source:?}");
        }
        assert_eq!(status(Source::Generic, &[(Field::Status, "DELIVRD")]), Err("unknown_status"));
        assert_eq!(status(Source::Cmpp, &[(Field::Status, "0")]), Err("unknown_status"));
        assert_eq!(status(Source::Smpp, &[(Field::Status, "MK:0001")]), Err("unknown_status"));
    }

    #[test]
    fn a_message_that_was_never_answered_has_not_failed() {
        let answered = |code| status(Source::Aliyun, &[(Field::Status, "false"), (Field::ErrCode, code)]);
        assert_eq!(answered("REQUEST_SUCCESS"), Ok("unknown"));
        assert_eq!(answered("MOBILE_NOT_ON_SERVICE"), Ok("failed"));
        for code in ["UNKNOWN", "ACCEPTD", "ENROUTE"] {
            assert_eq!(answered(code), Ok("unknown"), "{code}");
        }
        let delivered = [(Field::Status, "true"), (Field::ErrCode, "UNKNOWN")];
        assert_eq!(status(Source::Aliyun, &delivered), Ok("delivered"));
        let elsewhere = [(Field::Status, "UNDELIV"), (Field::ErrCode, "REQUEST_SUCCESS")];
        assert_eq!(status(Source::Smpp, &elsewhere), Ok("failed"));
    }

    #[test]
    fn an_aws_event_is_final_only_where_it_says_so() {
        let event = |word, last| status(Source::Aws, &[(Field::Status, word), (Field::IsFinal, last)]);
        assert_eq!(event("SUCCESSFUL", "true"), Ok("delivered"));
        assert_eq!(event("SUCCESSFUL", "false"), Ok("accepted"));
        assert_eq!(event("CARRIER_UNREACHABLE", "false"), Ok("enroute"));
        assert_eq!(event("CARRIER_UNREACHABLE", "true"), Ok("failed"));
        assert_eq!(event("UNKNOWN", "true"), Ok("unknown"));
        assert_eq!(event("SENT", "false"), Ok("enroute"));
        for (last, failed, taken) in [("TRUE", "failed", "delivered"), ("False", "enroute", "accepted")] {
            assert_eq!(event("CARRIER_UNREACHABLE", last), Ok(failed), "{last}");
            assert_eq!(event("SUCCESSFUL", last), Ok(taken), "{last}");
        }
        for word in ["0", "no", "false ", "falsch"] {
            assert_eq!(event("CARRIER_UNREACHABLE", word), Err("unknown_status"), "{word}");
            assert_eq!(event("DELIVERED", word), Err("unknown_status"), "{word}");
        }
        let elsewhere = [(Field::Status, "UNDELIV"), (Field::IsFinal, "no")];
        assert_eq!(status(Source::Smpp, &elsewhere), Ok("failed"));
        assert_eq!(status(Source::Aws, &[(Field::Event, "TEXT_BLOCKED")]), Ok("rejected"));
    }

    #[test]
    fn an_address_that_does_not_exist_is_told_by_its_status_its_kind_or_its_code() {
        let invalid = |source: Source, fields: &[(Field, &'static str)]| {
            let said = |field| fields.iter().find(|(of, _)| *of == field).map(|(_, text)| *text);
            source.is_invalid_address(source.receipt_status(said).unwrap().0, said)
        };
        let (mail, plain) = (Source::DmEvent, Source::Generic);
        let fail = (Field::Event, "dm:Deliver:Fail");
        assert!(invalid(mail, &[(Field::Status, "2")]));
        assert!(invalid(mail, &[fail, (Field::FailedType, "SmtpNxBox"), (Field::ErrCode, "554")]));
        assert!(!invalid(mail, &[fail, (Field::FailedType, "SmtpMfdFreq"), (Field::ErrCode, "554")]));
        assert!(!invalid(mail, &[(Field::Status, "4")]) && !invalid(mail, &[(Field::Status, "0")]));
        let failed = (Field::Status, "failed");
        assert!(invalid(plain, &[failed, (Field::ErrCode, "INVALID_ADDRESS")]));
        assert!(invalid(plain, &[failed, (Field::ErrCode, "5.1.1")]));
        assert!(!invalid(plain, &[failed, (Field::ErrCode, "5.7.1")]) && !invalid(plain, &[failed]));
        assert!(!invalid(plain, &[(Field::Status, "delivered"), (Field::ErrCode, "5.1.1")]));
    }

    #[test]
    fn a_mail_event_counts_only_where_it_is_about_delivery() {
        let event = |event| status(Source::DmEvent, &[(Field::Event, event)]);
        assert_eq!(event("dm:Deliver:Succeed"), Ok("delivered"));
        assert_eq!(event("dm:Deliver:Fail"), Ok("failed"));
        assert_eq!(event("dm:Feedback:FblReport"), Ok("complained"));
        for other in ["dm:Trace:Open", "dm:Trace:Click", "dm:Feedback:UnSubscribe", "dm:New:Thing"] {
            assert_eq!(event(other), Err("not_a_receipt"), "{other}");
        }
        assert_eq!(event("ses:Deliver"), Err("unknown_status"));
        let spam = [(Field::Event, "dm:Deliver:Fail"), (Field::Status, "3")];
        assert_eq!(status(Source::DmEvent, &spam), Ok("complained"));
    }
}
