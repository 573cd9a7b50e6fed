//! Reads `[retention]` of quittance.toml: how long what is kept for a time is kept (D71, F50, F94, F95).

use super::reader::Table;
use super::values::{days, months};

/// How long what is kept for a time is kept at least: nothing goes that something still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Messages and what carriers answered, and so how long a message is recognised when it comes again, in
    /// calendar months of the billing zone (D71).
    pub messages_months: u32,
    /// How and whereto notices were sent, in calendar months.
    pub deliveries_months: u32,
    /// Records of runs that changed no books, in days.
    pub runs_days: u32,
    /// The text of rejected lines that somebody has resolved, in days: it may hold phone numbers.
    pub rejected_lines_days: u32,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { messages_months: 13, deliveries_months: 13, runs_days: 90, rejected_lines_days: 90 }
    }
}

/// Reads the section; what is wrong is noted in the file.
pub(super) fn read_retention(root: &mut Table<'_>) -> Retention {
    let usual = Retention::default();
    let Some(mut table) = root.table("retention") else { return usual };
    let retention = Retention {
        messages_months: table.optional("messages", months).unwrap_or(usual.messages_months),
        deliveries_months: table.optional("deliveries", months).unwrap_or(usual.deliveries_months),
        runs_days: table.optional("runs", days).unwrap_or(usual.runs_days),
        rejected_lines_days: table.optional("rejected_lines", days).unwrap_or(usual.rejected_lines_days),
    };
    table.finish();
    retention
}
