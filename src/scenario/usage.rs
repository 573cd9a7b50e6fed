//! What a scenario shows of usage.

use std::fmt::Write as _;

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, refusal};
use crate::desk::usage::{explained, usage};
use crate::store::usage::Counts;

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
