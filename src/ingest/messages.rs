//! One record becomes one message row, or the reason why it cannot.

use std::sync::Arc;

use super::country::country_of;
use super::fields::{Field, Fields, Lines, Name, missing};
use super::judge::{
    Basis, Judge, LONGEST_CODE, LONGEST_REFERENCE, MessageId, Terms, check_columns, count, needed, stored,
};
use super::judgements::Judgements;
use super::recipient::{BareNumber, PhoneNumber};
use super::source::{Source, Submission, unknown};
use super::{IngestError, LineFault};
use crate::domain::length::{Encoding, MAX_CHARACTERS, measure, segments};
use crate::domain::message::{Country, Disposition, MessageRow};
use crate::domain::product::{Catalog, LengthRule, PricedBy, Product, Region};

/// The messages of one input.
pub type Messages<'a, R> = Judgements<'a, R, MessageJudge<'a>>;

/// Judges messages.
pub struct MessageJudge<'a> {
    basis: Basis,
    names: Vec<Name>,
    channels: Vec<Channel<'a>>,
}

/// The products of one channel by where a message goes.
struct Channel<'a> {
    name: &'a str,
    domestic: Option<&'a Product>,
    international: Option<&'a Product>,
    /// Whether product or price depend on the destination.
    by_country: bool,
}

/// What a message is charged for.
struct Size {
    units: i64,
    too_long: bool,
    differs: Option<i64>,
}

const COUNTRY_MISSING: &str = "country_missing";

impl Judge for MessageJudge<'_> {
    type Row = MessageRow;

    fn names(&self) -> Vec<Name> {
        self.names.clone()
    }

    fn check_header(&self, lines: &Lines) -> Result<(), IngestError> {
        let source = self.basis.source;
        let id_in_two = source.id_of_request_and_recipient()
            && lines.may_have(Field::BizId)
            && lines.may_have(Field::Recipient);
        let mut needed = if id_in_two { vec![] } else { vec![Field::MessageId] };
        needed.extend([Field::AccountId, Field::SubmitTime]);
        if source == Source::Generic {
            needed.extend([Field::Channel, Field::SubmitStatus]);
        }
        check_columns(source, lines, &self.names, &needed)
    }

    fn judge(&self, fields: &Fields<'_>) -> Result<MessageRow, LineFault> {
        let id = self.message_id(fields)?;
        let account_id = needed(Field::AccountId, self.basis.account(fields)?)?;
        let submit_time = self.basis.time(Field::SubmitTime, fields.require(Field::SubmitTime)?)?;
        let (disposition, reject_code) = self.disposition(fields)?;
        let (product, country) = match (disposition, self.product(fields)) {
            // What is never charged needs no destination: an answer to a short code has none.
            (Disposition::Rejected | Disposition::Inbound, Err(fault)) if fault.reason == COUNTRY_MISSING => {
                (self.product_to_anywhere(fields)?, Country::NONE)
            }
            (_, found) => found?,
        };
        let template_type = self.basis.source.template_type(fields)?;
        let size = match (disposition, self.size(fields, product)) {
            (Disposition::Billable, size) => size?,
            // Never charged: the size is for statistics only, and what the gateway refused may
            // well have none.
            (_, size) => {
                Size { too_long: false, ..size.unwrap_or(Size { units: 0, too_long: false, differs: None }) }
            }
        };
        let recipient = fields.get(Field::Recipient);
        Ok(MessageRow {
            account_id,
            key: id.key,
            raw_id: id.raw,
            product: Arc::clone(&product.id),
            template_type,
            country,
            disposition,
            reject_code,
            units: size.units,
            too_long: size.too_long,
            size_differs: size.differs,
            submit_time,
            biz_id: self.basis.biz_id(fields)?,
            out_id: stored(Field::OutId, fields.get(Field::OutId), LONGEST_REFERENCE)?,
            recipient_hash: recipient.map(|recipient| self.basis.recipient_hash(recipient)).transpose()?,
        })
    }
}

impl<'a> MessageJudge<'a> {
    /// An error where the source carries no messages.
    pub fn new(terms: Terms<'a>) -> Result<MessageJudge<'a>, IngestError> {
        let names = terms.source.message_names()?;
        Ok(MessageJudge { basis: Basis::new(&terms), names, channels: channels(terms.catalog) })
    }

    fn message_id(&self, fields: &Fields<'_>) -> Result<MessageId, LineFault> {
        if let Some(id) = fields.get(Field::MessageId) {
            return self.basis.message_id(id);
        }
        let request = fields.get(Field::BizId).zip(fields.get(Field::Recipient));
        match request.filter(|_| self.basis.source.id_of_request_and_recipient()) {
            Some((request, recipient)) => self.basis.id_of_request(request, recipient),
            None => Err(missing(Field::MessageId)),
        }
    }

    fn disposition(&self, fields: &Fields<'_>) -> Result<(Disposition, Option<String>), LineFault> {
        let inbound = self.basis.source.is_inbound(fields)?;
        match self.basis.source.submission(fields)? {
            _ if inbound => Ok((Disposition::Inbound, None)),
            None => Err(missing(Field::SubmitStatus)),
            Some(Submission::Accepted) => Ok((Disposition::Billable, None)),
            Some(Submission::Rejected(code)) => {
                let code = stored(Field::RejectCode, code.as_deref(), LONGEST_CODE)?;
                Ok((Disposition::Rejected, code))
            }
        }
    }

    fn channel(&self, fields: &Fields<'_>) -> Result<&Channel<'a>, LineFault> {
        let name = fields.get(Field::Channel).or(self.basis.source.usual_channel());
        let name = name.ok_or_else(|| missing(Field::Channel))?;
        self.channels.iter().find(|channel| channel.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.channels.iter().map(|channel| channel.name).collect();
            unknown("unknown_channel", name, &known.join(" or "))
        })
    }

    fn product_to_anywhere(&self, fields: &Fields<'_>) -> Result<&'a Product, LineFault> {
        let channel = self.channel(fields)?;
        let product = channel.domestic.or(channel.international);
        product
            .ok_or_else(|| LineFault::new("no_product", format!("channel `{}` has no product", channel.name)))
    }

    fn product(&self, fields: &Fields<'_>) -> Result<(&'a Product, Country), LineFault> {
        let channel = self.channel(fields)?;
        let (region, country) =
            if channel.by_country { self.destination(fields)? } else { (Region::Domestic, Country::NONE) };
        let product = match region {
            Region::Domestic => channel.domestic,
            Region::International => channel.international,
        };
        let product = product.ok_or_else(|| {
            let detail = format!("no product of channel `{}` goes to {}", channel.name, country.as_str());
            LineFault::new("no_product", detail)
        })?;
        Ok((product, country))
    }

    /// Where a message goes: mainland China is home, everything else is abroad, also Hong Kong,
    /// Macao and Taiwan (R138, D74).
    fn destination(&self, fields: &Fields<'_>) -> Result<(Region, Country), LineFault> {
        let named = match fields.get(Field::Region) {
            None => None,
            Some("domestic") => Some(Region::Domestic),
            Some("international") => Some(Region::International),
            Some(word) => return Err(unknown("bad_region", word, "domestic or international")),
        };
        let country = match fields.get(Field::Country) {
            Some(code) => Country::parse(code)
                .ok_or_else(|| unknown("bad_country", code, "two letters of ISO 3166, such as CN"))?,
            // A number without a calling code is one of the region that was named.
            None if named == Some(Region::Domestic) => {
                country_of_recipient(fields, BareNumber::Chinese).unwrap_or(Country::CHINA)
            }
            None => country_of_recipient(fields, self.basis.bare_number).ok_or_else(|| {
                let detail =
                    "neither `country` nor `region` nor a phone number in `recipient`: give one of them";
                LineFault::new(COUNTRY_MISSING, detail)
            })?,
        };
        let region = if country == Country::CHINA { Region::Domestic } else { Region::International };
        if named.is_some_and(|named| named != region) {
            let detail =
                format!("the region is not that of country {}: mend the one or the other", country.as_str());
            return Err(LineFault::new("region_mismatch", detail));
        }
        Ok((region, country))
    }

    /// The billable size: ours where we can measure, else the source's (D25, D69).
    fn size(&self, fields: &Fields<'_>, product: &Product) -> Result<Size, LineFault> {
        let theirs = self.basis.source_units(fields)?;
        let ours = if product.length == LengthRule::Given {
            None
        } else if let Some(content) = fields.get(Field::Content) {
            let length = measure(product.length, product.astral, fields.get(Field::SignName), content);
            Some((length.segments, length.characters > MAX_CHARACTERS))
        } else if let Some(units) = fields.get(Field::ContentUnits) {
            Some(size_of_units(count(Field::ContentUnits, units)?, fields.get(Field::Encoding), product)?)
        } else {
            (product.length == LengthRule::One).then_some((1, false))
        };
        match (ours, theirs) {
            (Some((units, too_long)), theirs) => {
                let too_long = too_long && product.length != LengthRule::One;
                Ok(Size { units, too_long, differs: theirs.filter(|&theirs| theirs != units) })
            }
            (None, Some(units)) => Ok(Size { units, too_long: false, differs: None }),
            (None, None) if product.length == LengthRule::Given => {
                let detail = format!("the source counts {}: give `sms_size`", product.id);
                Err(LineFault::new("no_size", detail))
            }
            // Nothing is one message, too.
            (None, None) if fields.is_empty(Field::Content) => {
                let length = measure(product.length, product.astral, fields.get(Field::SignName), "");
                Ok(Size { units: length.segments, too_long: false, differs: None })
            }
            (None, None) => Err(LineFault::new(
                "no_size",
                "give `content`, or `content_units` and `encoding`, or `sms_size`",
            )),
        }
    }
}

fn country_of_recipient(fields: &Fields<'_>, bare: BareNumber) -> Option<Country> {
    let number = PhoneNumber::parse(fields.get(Field::Recipient)?, bare)?;
    number.has_calling_code().then(|| country_of(&number))
}

/// Segments of a length that the source measured in `encoding`, and whether it is over the limit.
fn size_of_units(units: i64, encoding: Option<&str>, product: &Product) -> Result<(i64, bool), LineFault> {
    let encoding = match encoding {
        Some("GSM-7") => Some(Encoding::Gsm7),
        Some("UCS-2") => Some(Encoding::Ucs2),
        Some("DOM") => Some(Encoding::Domestic),
        Some(word) => return Err(unknown("bad_encoding", word, "GSM-7, UCS-2 or DOM")),
        None => None,
    };
    let encoding = match (product.length, encoding) {
        (LengthRule::One | LengthRule::Given, _) => return Ok((1, false)),
        (LengthRule::Domestic, None | Some(Encoding::Domestic | Encoding::Ucs2)) => Encoding::Domestic,
        (LengthRule::International, Some(encoding @ (Encoding::Gsm7 | Encoding::Ucs2))) => encoding,
        (LengthRule::International, None) => {
            let detail = "`content_units` of an international message need `encoding`: GSM-7 or UCS-2";
            return Err(LineFault::new("encoding_missing", detail));
        }
        (LengthRule::Domestic, Some(_)) => return Err(wrong_encoding("DOM or UCS-2", product)),
        (LengthRule::International, Some(_)) => return Err(wrong_encoding("GSM-7 or UCS-2", product)),
    };
    // A GSM-7 unit may be half a character, so only twice the limit is surely over it.
    let limit = if encoding == Encoding::Gsm7 { 2 * MAX_CHARACTERS } else { MAX_CHARACTERS };
    Ok((segments(encoding, units), units > limit))
}

fn wrong_encoding(right: &str, product: &Product) -> LineFault {
    LineFault::new("encoding_mismatch", format!("messages of {} are measured in {right}", product.id))
}

fn channels(catalog: &Catalog) -> Vec<Channel<'_>> {
    let mut channels: Vec<Channel<'_>> = Vec::new();
    for product in &catalog.products {
        let name = product.channel.as_str();
        let by_country = product.region.is_some() || product.priced_by == PricedBy::Country;
        match channels.iter_mut().find(|channel| channel.name == name) {
            Some(channel) => channel.by_country |= by_country,
            None => channels.push(Channel {
                name,
                domestic: catalog.of_message(name, Region::Domestic),
                international: catalog.of_message(name, Region::International),
                by_country,
            }),
        }
    }
    channels
}

#[cfg(test)]
pub(super) mod tests;
