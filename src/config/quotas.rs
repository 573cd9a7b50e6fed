//! Reads the `quota` of a product: daily sending quotas and how they are reviewed (R16-R21, D31).

use toml::de::DeValue;

use super::reader::{Reading, Table};
use super::values::{integer, rate_ppm};
use crate::domain::quota::{Lower, QuotaRules, Raise};

/// Reads the table. What is left out is as in the file that is shipped.
pub fn read(mut table: Table<'_>) -> Option<QuotaRules> {
    let before = table.fault_count();
    let positive = |value: &DeValue<'_>| match integer(value)? {
        count @ 1..=1_000_000_000_000 => Ok(count),
        other => Err(format!("{other} is not possible: write 1 to 1000000000000")),
    };
    let levels = table.list("levels", positive);
    if levels.is_empty() && table.fault_count() == before {
        table.fault(
            "levels",
            "there is no level: list the daily quotas from the lowest, such as [2_000, 5_000]",
        );
    }
    for (lower, higher) in levels.iter().zip(levels.iter().skip(1)) {
        if higher.0 <= lower.0 {
            table.fault_at(
                higher.1,
                format!("the level {} is not above {}: list them in order", higher.0, lower.0),
            );
        }
    }
    let least = table.optional("least", positive).unwrap_or(100);
    let (raise, lower) = (raise(&mut table), lower(&mut table));
    if raise.delivered < lower.delivered
        || raise.invalid > lower.invalid
        || raise.complained > lower.complained
    {
        table.fault(
            "raise",
            "a week could be good enough for the next level and bad enough for the one below",
        );
    }
    let faults = table.fault_count() - before;
    table.finish();
    let levels = levels.into_iter().map(|(level, _)| level).collect();
    (faults == 0).then_some(QuotaRules { levels, raise, lower, least })
}

fn raise(table: &mut Table<'_>) -> Raise {
    let mut given = table.table("raise");
    let mut share = |key, default| share(given.as_mut(), key, default);
    let raise = Raise {
        used: share("used", 800_000),
        delivered: share("delivered", 950_000),
        invalid: share("invalid", 20_000),
        complained: share("complained", 1_000),
    };
    if let Some(given) = given {
        given.finish();
    }
    raise
}

fn lower(table: &mut Table<'_>) -> Lower {
    let mut given = table.table("lower");
    let mut share = |key, default| share(given.as_mut(), key, default);
    let lower = Lower {
        delivered: share("delivered", 800_000),
        invalid: share("invalid", 100_000),
        complained: share("complained", 5_000),
    };
    if let Some(given) = given {
        given.finish();
    }
    lower
}

/// A share from "0" to "1", in millionths.
fn share(table: Option<&mut Table<'_>>, key: &'static str, default: i64) -> i64 {
    let read = |value: &DeValue<'_>| -> Reading<i64> {
        if value.as_str() == Some("1") { Ok(1_000_000) } else { rate_ppm(value) }
    };
    table.and_then(|table| table.optional(key, read)).unwrap_or(default)
}
