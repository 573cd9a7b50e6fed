//! What a scenario shows of usage.

use std::fmt::Write as _;

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, refusal};
use crate::desk::messages::{Wanted, list};
use crate::desk::usage::{explained, usage};
use crate::domain::period::Zone;
use crate::store::usage::{Counts, ListedMessage};

impl Stage {
    /// Each day of a month, the classes where there are several, and what explains the difference
    /// between submitted and billed.
    pub(super) fn usage(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (account, month) = (need(given, "an account")?, need(given, "a month")?);
        let shown = usage(&self.db, account, self.zone(), month.parse()?, self.now);
        let shown = self.runtime.block_on(shown).map_err(refusal)?;
        let mut said = String::new();
        for (day, counts) in &shown.days {
            let _ = writeln!(said, "{day}  {}", words(counts));
        }
        for ([product, template_type, country], counts) in
            shown.classes.iter().filter(|_| shown.classes.len() > 1)
        {
            let class = [&**product, template_type, country];
            let class = class.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            let _ = writeln!(said, "{class}  {}", words(counts));
        }
        explained(&shown.total).iter().for_each(|line| said.push_str(&format!("{line}\n")));
        Ok(said)
    }

    /// The messages of a day or a month, each with what it adds to the usage.
    pub(super) fn messages(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let account_id = need(given, "an account")?;
        let wanted = Wanted {
            account_id,
            period: need(given, "a day or a month")?.parse()?,
            product: given.take_key("product"),
            status: given.take_key("status").map(str::parse).transpose()?,
            limit: given.take_key("limit").map(str::parse).transpose().map_err(|_| "limit= is a number")?,
        };
        let (mut said, zone) = (String::new(), self.zone());
        let listed = list(&self.db, &self.config, wanted, self.now, |message| {
            said.push_str(&message_words(message, zone));
            Ok(())
        });
        let listed = self.runtime.block_on(listed).map_err(refusal)?;
        if listed.has_more {
            said.push_str("and more\n");
        }
        Ok(said)
    }
}

/// `2026-03-01 09:01  m1  sms-domestic notification CN  failed  2 sent  0 billed`, and what is to be noted.
fn message_words(message: &ListedMessage, zone: Zone) -> String {
    let counts = &message.counts;
    let class = [&*message.product, &message.template_type, &message.country];
    let class = class.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let status = match &message.reject_code {
        Some(code) => format!("{}: {code}", message.status.as_str()),
        None => message.status.as_str().to_owned(),
    };
    let (time, id) = (zone.format_short(message.submit_time), &message.message_id);
    let mut words =
        format!("{time}  {id}  {class}  {status}  {} sent  {} billed", counts.submitted, counts.billed);
    let units = [(counts.delivered, "delivered"), (counts.failed, "failed"), (counts.unknown, "unknown")];
    let units = units.into_iter().chain([(counts.pending(), "pending")]);
    // Where all fared alike the status says it.
    for (units, what) in units.filter(|(units, _)| *units != 0 && *units != counts.submitted) {
        words += &format!("  {units} {what}");
    }
    if counts.free + counts.allowance > 0 {
        words += &format!("  {} free", counts.free + counts.allowance);
    }
    if let Some(time) = message.report_time {
        words += &format!("  reported {}", zone.format_short(time));
    }
    if !message.is_included {
        words += "  not in usage";
    }
    words + "\n"
}

/// `2 attempts  3 submitted  1 delivered`: what is none is not named.
fn words(counts: &Counts) -> String {
    let all = [
        (counts.attempts, "attempts"),
        (counts.submitted, "submitted"),
        (counts.delivered, "delivered"),
        (counts.failed, "failed"),
        (counts.unknown, "unknown"),
        (counts.pending(), "pending"),
        (counts.free + counts.allowance, "free"),
        (counts.billed, "billed"),
    ];
    let some = all.into_iter().filter(|(count, _)| *count != 0);
    some.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join("  ")
}
