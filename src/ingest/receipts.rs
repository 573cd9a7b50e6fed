//! One record becomes one receipt row, or the reason why it cannot.

use std::borrow::Cow;

use super::fields::{Field, Fields, Lines, Name, missing};
use super::judge::{Basis, Judge, LONGEST_CODE, MessageId, Terms, check_columns, count, needed, stored};
use super::judgements::Judgements;
use super::message_ids::{IdForm, may_be_same};
use super::receipt_text::ReceiptText;
use super::source::Source;
use super::{IngestError, LineFault, excerpt};
use crate::domain::receipt::{Part, ReceiptRow, Request};

/// The receipts of one input.
pub type Receipts<'a, R> = Judgements<'a, R, ReceiptJudge>;

/// Judges receipts. Every source brings them.
pub struct ReceiptJudge {
    basis: Basis,
    names: Vec<Name>,
    /// How receipts write ids, where messages have them otherwise.
    ids: Option<IdForm>,
}

const LONGEST_RECEIPT_ID: usize = 256;

impl ReceiptJudge {
    pub fn new(terms: &Terms<'_>) -> ReceiptJudge {
        let names = terms.source.receipt_names();
        ReceiptJudge { basis: Basis::new(terms), names, ids: terms.message_ids }
    }

    /// The message that the receipt is about: its id, else the request it was sent by and whom to.
    fn message<'a>(
        &self,
        fields: &Fields<'a>,
        said: impl Fn(Field) -> Option<&'a str>,
    ) -> Result<(MessageId, Option<Request>), LineFault> {
        if let Some(id) = said(Field::MessageId) {
            let id = self.ids.map_or(Cow::Borrowed(id), |form| form.of_message(id));
            return Ok((self.basis.message_id(&id)?, None));
        }
        let recipient = fields.get(Field::Recipient);
        let Some((biz_id, recipient)) = self.basis.biz_id(fields)?.zip(recipient) else {
            let detail = "give `message_id`, or `biz_id` and `recipient`: whose receipt is it?";
            return Err(LineFault::new("missing_field", detail));
        };
        let id = self.basis.id_of_request(&biz_id, recipient)?;
        let recipient_hash = self.basis.recipient_hash(recipient)?;
        Ok((id, Some(Request { biz_id, recipient_hash })))
    }
}

impl Judge for ReceiptJudge {
    type Row = ReceiptRow;

    fn names(&self) -> Vec<Name> {
        self.names.clone()
    }

    fn check_header(&self, lines: &Lines) -> Result<(), IngestError> {
        let source = self.basis.source;
        let whole = source == Source::Smpp && lines.may_have(Field::ReceiptText);
        let mut needed = Vec::new();
        if !whole {
            let in_two = [Field::BizId, Field::Recipient];
            match lines.may_have(Field::MessageId) {
                true => {}
                false if in_two.iter().any(|&field| lines.may_have(field)) => needed.extend(in_two),
                false => needed.push(Field::MessageId),
            }
            if !lines.may_have(Field::Event) {
                needed.push(Field::Status);
            }
        }
        if source == Source::Generic {
            needed.push(Field::AccountId);
        }
        check_columns(source, lines, &self.names, &needed)
    }

    fn judge(&self, fields: &Fields<'_>) -> Result<ReceiptRow, LineFault> {
        let source = self.basis.source;
        let text = fields.get(Field::ReceiptText).map(ReceiptText::parse).transpose()?.unwrap_or_default();
        check_ids(fields.get(Field::MessageId), text.get(Field::MessageId))?;
        let said = |field| fields.get(field).or_else(|| text.get(field));
        let (id, request) = self.message(fields, said)?;
        let account_id = self.basis.account(fields)?;
        if source == Source::Generic {
            needed(Field::AccountId, account_id.as_ref())?;
        }
        let (status, word) = source.receipt_status(said)?;
        let invalid_address = source.is_invalid_address(status, said);
        let word = fields.get(Field::RawStatus).or((word != status.as_str()).then_some(word));
        let report_time = said(Field::ReportTime).map(|text| self.basis.time(Field::ReportTime, text));
        Ok(ReceiptRow {
            account_id,
            key: id.key,
            raw_id: id.raw,
            request,
            part: part(fields)?,
            status,
            raw_status: stored(Field::RawStatus, word, LONGEST_CODE)?,
            err_code: stored(Field::ErrCode, said(Field::ErrCode), LONGEST_CODE)?,
            invalid_address,
            report_time: report_time.transpose()?,
            source_units: self.basis.source_units(fields)?,
            receipt_id: stored(Field::ReceiptId, fields.get(Field::ReceiptId), LONGEST_RECEIPT_ID)?,
        })
    }
}

/// The id that a column has wins over the one in the receipt's text, which may be the same in other digits. Where
/// they can't be the same, a guess might give the wrong message back.
fn check_ids(column: Option<&str>, text: Option<&str>) -> Result<(), LineFault> {
    match column.zip(text) {
        Some((column, text)) if !may_be_same(column, text) => {
            let (column, text) = (excerpt(column), excerpt(text));
            let detail =
                format!("`message_id` is `{column}`, and the receipt text says `id:{text}`: which is it?");
            Err(LineFault::new("bad_receipt_text", detail))
        }
        _ => Ok(()),
    }
}

/// The segment that the receipt is for; None for the whole message (D19, D66). A number of parts
/// alone says nothing of one of them.
fn part(fields: &Fields<'_>) -> Result<Option<Part>, LineFault> {
    let Some(number) = fields.get(Field::Part) else { return Ok(None) };
    let of = count(Field::Parts, fields.get(Field::Parts).ok_or_else(|| missing(Field::Parts))?)?;
    let number = count(Field::Part, number)?;
    if number > of {
        let detail = format!("`part` {number} of `parts` {of}: a message has no such part");
        return Err(LineFault::new("part_out_of_range", detail));
    }
    Ok(Some(Part { number, of }))
}

#[cfg(test)]
mod tests;
