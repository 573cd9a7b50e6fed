//! A message's story in words that a support agent can read out.

use super::{Story, amount};
use crate::config::Config;
use crate::desk::exceptions::Item;
use crate::domain::bill::month_text;
use crate::domain::period::{Timestamp, Zone};
use crate::store::messages::PaidPart;
use crate::store::receipts::StoredReceipt;
use crate::store::returns::ReturnRow;

impl Story {
    pub fn words(&self, config: &Config) -> String {
        let (message, zone) = (&self.stored.message, config.zone);
        let class = [&*message.product, &*message.template_type, &*message.country];
        let class: Vec<&str> = class.into_iter().filter(|word| !word.is_empty()).collect();
        let place = message.place;
        let mut lines = vec![
            format!("Message {} of account {}", self.message_id, message.account_id),
            format!("  taken     batch {} line {}", place.batch_no, place.line),
            format!("  sent      {}", zone.format(message.submit_time)),
            format!("  product   {}", class.join(" ")),
            format!("  size      {} x {}", message.units, config.unit_word(&message.product)),
        ];
        let mut tell = |what: &str, words: String| lines.push(format!("  {what:<9} {words}"));
        if self.late {
            tell("late", "its window had been charged before it came".into());
        }
        self.paid.iter().for_each(|part| tell("charged", charged(part)));
        for part in self.settled.not_charged.iter().filter(|part| **part > 0) {
            tell("free", format!("part {part}: it was known to have failed when the message was charged"));
        }
        self.receipts.iter().for_each(|receipt| tell("receipt", told(receipt, zone)));
        for back in &self.returns {
            tell("returned", format!("{}, {}", given_back(back), zone.format_short(back.received_at)));
        }
        for exception in &self.exceptions {
            let item = Item::from(exception.clone());
            let fate = match &item.closed {
                None => item.remedy,
                Some(closed) => {
                    format!("{} {}: {}", closed.resolution, zone.format_short(closed.at), closed.reason)
                }
            };
            tell("exception", format!("{}: {} ({fate})", item.kind, item.detail));
        }
        if let Some((month, number)) = &self.bill {
            tell("bill", format!("{number} of {}", month_text(*month)));
        }
        self.invoice.iter().for_each(|number| tell("invoice", number.clone()));
        tell("state", self.state_words());
        tell("final", self.final_words(zone));
        tell("if failed", format!("now: {}", self.if_failed_words()));
        lines.join("\n")
    }

    fn state_words(&self) -> String {
        let reason = self.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        format!("{}{reason}", self.state.unwrap_or("waits for the next aggregate-charges run"))
    }

    fn final_words(&self, zone: Zone) -> String {
        match (self.is_final, self.final_after) {
            (true, _) => "yes, nothing changes its charge any more".into(),
            (false, Some(after)) => {
                let reported = Timestamp(after.0 - crate::domain::product::RECEIPT_GRACE);
                format!(
                    "no, a failure counts that the carrier reports by {} and that comes by {}",
                    zone.format(reported),
                    zone.format(after)
                )
            }
            (false, None) => "no".into(),
        }
    }

    /// What a failure receipt that arrives now would change.
    pub fn if_failed_words(&self) -> String {
        let given: Vec<String> = self.if_failed_now.returns.iter().map(given_back).collect();
        let why = &self.if_failed_now.why;
        match (given.is_empty(), why.is_empty()) {
            (true, _) => why.clone(),
            (false, true) => format!("{} would be given back", given.join(", ")),
            (false, false) => format!("{} would be given back, {why}", given.join(", ")),
        }
    }
}

fn charged(part: &PaidPart) -> String {
    match (&part.plan_id, part.unit_price) {
        (Some(plan), _) => format!("{} units from plan {plan}", part.units),
        _ if part.free => format!("{} units free: of those that each account has free", part.units),
        (None, price) => {
            let price = price.unwrap_or_default();
            format!("{} units at {price} = {}", part.units, amount(part))
        }
    }
}

fn given_back(back: &ReturnRow) -> String {
    let part = if back.part == 0 { String::new() } else { format!("part {}: ", back.part) };
    format!("{part}{}", back.words())
}

fn told(receipt: &StoredReceipt, zone: Zone) -> String {
    let part = match (receipt.part, receipt.parts) {
        (0, _) => String::new(),
        (part, None) => format!("part {part}: "),
        (part, Some(parts)) => format!("part {part} of {parts}: "),
    };
    let source: Vec<&str> =
        [&receipt.raw_status, &receipt.err_code].into_iter().filter_map(|word| word.as_deref()).collect();
    let source = if source.is_empty() { String::new() } else { format!(" ({})", source.join(" ")) };
    let (reported, received) = (zone.format(receipt.report_time), zone.format(receipt.received_at));
    let counts = match (receipt.is_final, receipt.is_conflict) {
        (true, _) => "",
        (false, false) if receipt.is_late => "; it was reported too late to count",
        (false, true) => "; it contradicts the first and does not count by itself",
        (false, false) => "; it changes nothing",
    };
    format!("{part}{}{source}, reported {reported}, received {received}{counts}", receipt.status)
}
