//! One record becomes one message row, or the reason why it cannot.

use std::sync::Arc;

use chrono::{DateTime, Months};

use super::country::country_of;
use super::fields::{Field, Fields, missing};
use super::recipient::{BareNumber, PhoneNumber, RecipientKey};
use super::source::{Source, Submission, unknown};
use super::times::{TimeForms, ZonelessIn, read_time};
use super::{IngestError, LineFault, excerpt};
use crate::domain::length::{Encoding, MAX_CHARACTERS, measure, segments};
use crate::domain::message::{Country, Disposition, MessageKey, MessageRow};
use crate::domain::period::{Timestamp, Zone};
use crate::domain::product::{Catalog, LengthRule, PricedBy, Product, Region};

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
    /// How long messages are kept, and so how far back a repeated one is noticed (D71).
    pub dedupe_months: u32,
    /// How far a sender's clock may be ahead (D58).
    pub max_ahead_minutes: i64,
    pub recipient_key: &'a [u8; 32],
}

/// The terms made ready, once a batch.
pub struct Judge<'a> {
    source: Source,
    channels: Vec<Channel<'a>>,
    time_forms: TimeForms,
    bare_number: BareNumber,
    earliest: Timestamp,
    latest: Timestamp,
    recipient_key: RecipientKey,
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
const LONGEST_ID: usize = 128;
const LONGEST_ACCOUNT_ID: usize = 64;
const LONGEST_REFERENCE: usize = 256;
const LONGEST_REJECT_CODE: usize = 64;
/// An e-mail address has at most 320 characters.
const LONGEST_RECIPIENT: usize = 320;
/// Beyond it no message is a message: a bound for sums, and a net for slips (F74).
const MOST_UNITS: i64 = 1_000_000;

impl<'a> Judge<'a> {
    /// An error where the source carries no messages.
    pub fn new(terms: Terms<'a>) -> Result<Judge<'a>, IngestError> {
        terms.source.message_names()?;
        let mut time_forms = terms.source.time_forms();
        if let (Some(zone), Some(_)) = (terms.source_zone, time_forms.zoneless) {
            time_forms.zoneless = Some(ZonelessIn::Zone(zone));
        }
        Ok(Judge {
            source: terms.source,
            channels: channels(terms.catalog),
            time_forms,
            bare_number: terms.source.bare_number(),
            earliest: months_before(terms.as_of, terms.dedupe_months, terms.zone),
            latest: terms.as_of.plus_micros(terms.max_ahead_minutes.saturating_mul(Timestamp::MINUTE)),
            recipient_key: RecipientKey::new(terms.recipient_key),
        })
    }

    pub fn source(&self) -> Source {
        self.source
    }

    pub fn judge(&self, fields: &Fields<'_>) -> Result<MessageRow, LineFault> {
        let (key, raw_id) = self.message_id(fields)?;
        let account_id = text_of(Field::AccountId, fields.require(Field::AccountId)?, LONGEST_ACCOUNT_ID)?;
        let submit_time = self.submit_time(fields)?;
        let (disposition, reject_code) = self.disposition(fields)?;
        let (product, country) = match (disposition, self.product(fields)) {
            // What is never charged needs no destination: an answer to a short code has none.
            (Disposition::Rejected | Disposition::Inbound, Err(fault)) if fault.reason == COUNTRY_MISSING => {
                (self.product_to_anywhere(fields)?, Country::NONE)
            }
            (_, found) => found?,
        };
        let template_type = self.source.template_type(fields)?;
        let size = match (disposition, self.size(fields, product)) {
            (Disposition::Billable, size) => size?,
            // Never charged: the size is for statistics only, and what the gateway refused may
            // well have none.
            (_, size) => {
                Size { too_long: false, ..size.unwrap_or(Size { units: 0, too_long: false, differs: None }) }
            }
        };
        let reference =
            |field| fields.get(field).map(|text| text_of(field, text, LONGEST_REFERENCE)).transpose();
        Ok(MessageRow {
            account_id: account_id.to_owned(),
            key,
            raw_id,
            product: Arc::clone(&product.id),
            template_type,
            country,
            disposition,
            reject_code,
            units: size.units,
            too_long: size.too_long,
            size_differs: size.differs,
            submit_time,
            biz_id: reference(Field::BizId)?.map(str::to_owned),
            out_id: reference(Field::OutId)?.map(str::to_owned),
            recipient_hash: self.recipient_hash(fields)?,
        })
    }

    fn message_id(&self, fields: &Fields<'_>) -> Result<(MessageKey, Option<String>), LineFault> {
        if let Some(id) = fields.get(Field::MessageId) {
            let id = text_of(Field::MessageId, id, LONGEST_ID)?;
            return Ok((MessageKey::of(id), MessageKey::raw_id(id)));
        }
        let request = fields.get(Field::BizId).zip(fields.get(Field::Recipient));
        let Some((request, recipient)) = request.filter(|_| self.source.id_of_request_and_recipient()) else {
            return Err(missing(Field::MessageId));
        };
        let id = format!("{request}/{recipient}");
        text_of(Field::MessageId, &id, LONGEST_ID)?;
        // The key is of the whole number, so that the id finds the message; what is kept to be
        // shown has only its last digits.
        let last = recipient.char_indices().rev().nth(2).map_or("", |(at, _)| &recipient[at..]);
        Ok((MessageKey::of(&id), Some(format!("{request}/…{last}"))))
    }

    fn submit_time(&self, fields: &Fields<'_>) -> Result<Timestamp, LineFault> {
        let text = fields.require(Field::SubmitTime)?;
        let time = read_time(text, self.time_forms)?;
        if time > self.latest {
            let detail =
                format!("submit_time `{text}` lies ahead of the clock: retry when it has come, or mend it");
            return Err(LineFault::new("future", detail));
        }
        if time < self.earliest {
            let detail = format!("submit_time `{text}` is older than messages are kept (retention.messages)");
            return Err(LineFault::new("too_old", detail));
        }
        Ok(time)
    }

    fn disposition(&self, fields: &Fields<'_>) -> Result<(Disposition, Option<String>), LineFault> {
        let inbound = self.source.is_inbound(fields)?;
        match self.source.submission(fields)? {
            _ if inbound => Ok((Disposition::Inbound, None)),
            None => Err(missing(Field::SubmitStatus)),
            Some(Submission::Accepted) => Ok((Disposition::Billable, None)),
            Some(Submission::Rejected(code)) => {
                let code = code
                    .map(|code| text_of(Field::RejectCode, &code, LONGEST_REJECT_CODE).map(str::to_owned));
                Ok((Disposition::Rejected, code.transpose()?))
            }
        }
    }

    fn channel(&self, fields: &Fields<'_>) -> Result<&Channel<'a>, LineFault> {
        let name = fields.get(Field::Channel).or(self.source.usual_channel());
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
            None if named == Some(Region::Domestic) => Country::CHINA,
            None => self.country_of_recipient(fields)?,
        };
        let region = if country == Country::CHINA { Region::Domestic } else { Region::International };
        if named.is_some_and(|named| named != region) {
            let detail =
                format!("the region is not that of country {}: mend the one or the other", country.as_str());
            return Err(LineFault::new("region_mismatch", detail));
        }
        Ok((region, country))
    }

    fn country_of_recipient(&self, fields: &Fields<'_>) -> Result<Country, LineFault> {
        let number = fields.get(Field::Recipient).and_then(|text| PhoneNumber::parse(text, self.bare_number));
        number.as_ref().filter(|number| number.has_calling_code()).map(country_of).ok_or_else(|| {
            let detail = "neither `country` nor `region` nor a phone number in `recipient`: give one of them";
            LineFault::new(COUNTRY_MISSING, detail)
        })
    }

    /// The billable size: ours where we can measure, else the source's (D25, D69).
    fn size(&self, fields: &Fields<'_>, product: &Product) -> Result<Size, LineFault> {
        let theirs = self.source.own_size(fields).map(|size| count(Field::SmsSize, size)).transpose()?;
        let ours = if let Some(content) = fields.get(Field::Content) {
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
            (None, None) => Err(LineFault::new(
                "no_size",
                "give `content`, or `content_units` and `encoding`, or `sms_size`",
            )),
        }
    }

    fn recipient_hash(&self, fields: &Fields<'_>) -> Result<Option<i64>, LineFault> {
        let Some(recipient) = fields.get(Field::Recipient) else { return Ok(None) };
        if recipient.len() > LONGEST_RECIPIENT {
            return Err(LineFault::new("bad_recipient", "`recipient` has more than 320 bytes"));
        }
        Ok(Some(self.recipient_key.hash(recipient, self.bare_number)))
    }
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
        (LengthRule::One, _) => return Ok((1, false)),
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

/// The same local time a number of calendar months earlier.
fn months_before(at: Timestamp, months: u32, zone: Zone) -> Timestamp {
    let local = DateTime::parse_from_rfc3339(&zone.format(at)).ok();
    let earlier = local.and_then(|local| local.naive_local().checked_sub_months(Months::new(months)));
    earlier.map_or(Timestamp(i64::MIN), |earlier| zone.resolve(earlier))
}

/// A whole number of 1 to a million in plain digits: no sign, point or exponent (F74).
fn count(field: Field, text: &str) -> Result<i64, LineFault> {
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

#[cfg(test)]
pub(super) mod tests;
