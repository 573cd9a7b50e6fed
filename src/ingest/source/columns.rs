//! What each source calls the columns and keys of messages and of receipts.

use super::Source;
use crate::ingest::IngestError;
use crate::ingest::fields::{Field, Name};

const MESSAGES: &[Field] = &[
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
    ("Sid", Field::MessageId),
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
    ("DateCreated", Field::SubmitTime),
    ("date_created", Field::SubmitTime),
    ("DateSent", Field::SubmitTime),
    ("date_sent", Field::SubmitTime),
    ("SentDate", Field::SubmitTime),
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
    ("detail.messageId", Field::MessageId),
    ("destinationPhoneNumber", Field::Recipient),
    ("detail.destinationPhoneNumber", Field::Recipient),
    ("isoCountryCode", Field::Country),
    ("detail.isoCountryCode", Field::Country),
    ("totalMessageParts", Field::SmsSize),
    ("detail.totalMessageParts", Field::SmsSize),
    // An event may come three days after the message was handed in.
    ("messageRequestTimestamp", Field::SubmitTime),
    ("detail.messageRequestTimestamp", Field::SubmitTime),
    ("eventTimestamp", Field::SubmitTime),
    ("detail.eventTimestamp", Field::SubmitTime),
    ("messageStatus", Field::Status),
    ("detail.messageStatus", Field::Status),
];

/// `received_at` is not among them: when a receipt arrived is not for its sender to say.
const RECEIPTS: &[Field] = &[
    Field::MessageId,
    Field::AccountId,
    Field::BizId,
    Field::OutId,
    Field::Recipient,
    Field::ReceiptId,
    Field::Status,
    Field::RawStatus,
    Field::ErrCode,
    Field::ErrMsg,
    Field::SendTime,
    Field::ReportTime,
    Field::SmsSize,
    Field::Part,
    Field::Parts,
];

/// `SmsReport`, its form for senders outside China, and rows of `QuerySendDetails`.
const ALIYUN_RECEIPTS: &[(&str, Field)] = &[
    ("phone_number", Field::Recipient),
    ("PhoneNumber", Field::Recipient),
    ("PhoneNum", Field::Recipient),
    ("success", Field::Status),
    ("SendStatus", Field::Status),
    ("ErrCode", Field::ErrCode),
    ("ErrorCode", Field::ErrCode),
    ("ErrorMessage", Field::ErrMsg),
    ("SmsQuantity", Field::SmsSize),
    ("SendDate", Field::SendTime),
    ("ReceiveDate", Field::ReportTime),
    ("BizId", Field::BizId),
    ("OutId", Field::OutId),
    ("ExternalId", Field::OutId),
];

/// `SmsReport` and the older `GlobeSmsReport`.
const ALIYUN_INTL_RECEIPTS: &[(&str, Field)] = &[
    ("MessageId", Field::MessageId),
    ("To", Field::Recipient),
    ("to", Field::Recipient),
    ("Status", Field::Status),
    ("ErrorCode", Field::ErrCode),
    ("error_code", Field::ErrCode),
    ("ErrorDescription", Field::ErrMsg),
    ("error_description", Field::ErrMsg),
    ("SmsSize", Field::SmsSize),
    ("SendDate", Field::SendTime),
    ("send_date", Field::SendTime),
    ("ReceiveDate", Field::ReportTime),
    ("receive_date", Field::ReportTime),
    ("TaskId", Field::BizId),
];

/// Status callbacks and the message log. `RawDlrDoneDate` is left out: it is in the carrier's own
/// zone, which nobody tells, so the time of arrival is nearer to the truth.
const TWILIO_RECEIPTS: &[(&str, Field)] = &[
    ("MessageSid", Field::MessageId),
    ("SmsSid", Field::MessageId),
    ("Sid", Field::MessageId),
    ("sid", Field::MessageId),
    ("AccountSid", Field::AccountId),
    ("account_sid", Field::AccountId),
    ("MessageStatus", Field::Status),
    ("SmsStatus", Field::Status),
    ("Status", Field::Status),
    ("ErrorCode", Field::ErrCode),
    ("error_code", Field::ErrCode),
    ("ErrorMessage", Field::ErrMsg),
    ("error_message", Field::ErrMsg),
    ("NumSegments", Field::SmsSize),
    ("num_segments", Field::SmsSize),
    ("DateSent", Field::SendTime),
    ("date_sent", Field::SendTime),
    ("SentDate", Field::SendTime),
    ("DateUpdated", Field::ReportTime),
    ("date_updated", Field::ReportTime),
];

/// Delivery receipts and rows of the Reports API. `scts` is left out: it is in the carrier's zone,
/// `message-timestamp` in UTC. The number is `msisdn`; `to` is the sender here.
const VONAGE_RECEIPTS: &[(&str, Field)] = &[
    ("messageId", Field::MessageId),
    ("message-id", Field::MessageId),
    ("api-key", Field::AccountId),
    ("msisdn", Field::Recipient),
    ("err-code", Field::ErrCode),
    ("error_code", Field::ErrCode),
    ("message-timestamp", Field::ReportTime),
    ("date_finalized", Field::ReportTime),
    ("client-ref", Field::OutId),
];

/// Events of End User Messaging, as they are or inside an EventBridge envelope.
const AWS_RECEIPTS: &[(&str, Field)] = &[
    ("messageId", Field::MessageId),
    ("detail.messageId", Field::MessageId),
    ("messageStatus", Field::Status),
    ("detail.messageStatus", Field::Status),
    ("eventType", Field::Event),
    ("detail.eventType", Field::Event),
    ("isFinal", Field::IsFinal),
    ("detail.isFinal", Field::IsFinal),
    ("messageStatusDescription", Field::ErrMsg),
    ("detail.messageStatusDescription", Field::ErrMsg),
    ("totalMessageParts", Field::SmsSize),
    ("detail.totalMessageParts", Field::SmsSize),
    ("messageRequestTimestamp", Field::SendTime),
    ("detail.messageRequestTimestamp", Field::SendTime),
    ("eventTimestamp", Field::ReportTime),
    ("detail.eventTimestamp", Field::ReportTime),
];

/// The text of a `deliver_sm`, or its fields in columns of their own.
const SMPP_RECEIPTS: &[(&str, Field)] = &[
    ("short_message", Field::ReceiptText),
    ("receipt_text", Field::ReceiptText),
    ("receipt", Field::ReceiptText),
    ("message", Field::ReceiptText),
    ("receipted_message_id", Field::MessageId),
    ("id", Field::MessageId),
    ("message_state", Field::Status),
    ("stat", Field::Status),
    ("err", Field::ErrCode),
    ("submit_date", Field::SendTime),
    ("submit date", Field::SendTime),
    ("done_date", Field::ReportTime),
    ("done date", Field::ReportTime),
];

/// The status report inside a `CMPP_DELIVER`.
const CMPP_RECEIPTS: &[(&str, Field)] = &[
    ("Msg_Id", Field::MessageId),
    ("msg_id", Field::MessageId),
    ("Stat", Field::Status),
    ("stat", Field::Status),
    ("Submit_time", Field::SendTime),
    ("submit_time", Field::SendTime),
    ("Done_time", Field::ReportTime),
    ("done_time", Field::ReportTime),
];

/// Direct Mail events in their CloudEvents envelope, or the data alone. A mail is billed once a
/// recipient, so it is known by `env_id`, which its sending gave, and its recipient.
const DM_EVENTS: &[(&str, Field)] = &[
    ("aliyunaccountid", Field::AccountId),
    ("id", Field::ReceiptId),
    ("type", Field::Event),
    ("data.event", Field::Event),
    ("event", Field::Event),
    ("data.env_id", Field::BizId),
    ("env_id", Field::BizId),
    // As events of complaints call them.
    ("data.envid", Field::BizId),
    ("data.rcpt", Field::Recipient),
    ("data.block_email", Field::Recipient),
    ("rcpt", Field::Recipient),
    ("data.status", Field::Status),
    ("data.err_code", Field::ErrCode),
    ("data.failed_type", Field::FailedType),
    ("failed_type", Field::FailedType),
    ("data.err_msg", Field::ErrMsg),
    ("data.send_time", Field::SendTime),
    ("data.deliver_time", Field::ReportTime),
    ("deliver_time", Field::ReportTime),
    ("time", Field::ReportTime),
];

impl Source {
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
        Ok(names(MESSAGES, own))
    }

    /// The names that receipts of this source go by.
    pub fn receipt_names(self) -> Vec<Name> {
        let own = match self {
            Source::Generic => &[][..],
            Source::Aliyun => ALIYUN_RECEIPTS,
            Source::AliyunIntl => ALIYUN_INTL_RECEIPTS,
            Source::Twilio => TWILIO_RECEIPTS,
            Source::Vonage => VONAGE_RECEIPTS,
            Source::Aws => AWS_RECEIPTS,
            Source::Smpp => SMPP_RECEIPTS,
            Source::Cmpp => CMPP_RECEIPTS,
            Source::DmEvent => DM_EVENTS,
        };
        names(RECEIPTS, own)
    }
}

fn names(canonical: &[Field], own: &[(&'static str, Field)]) -> Vec<Name> {
    let canonical = canonical.iter().map(|&field| Name { column: field.name(), field });
    canonical.chain(own.iter().map(|&(column, field)| Name { column, field })).collect()
}
