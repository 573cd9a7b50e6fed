//! What the month's end makes of `volume` prices (D3, D51, D78).

use std::collections::BTreeMap;

use super::{BillFault, Draft, Line, LineKind, Part, Terms, What, month_text};
use crate::domain::money::{Micros, MoneyFault};
use crate::domain::period::Timestamp;
use crate::domain::price::Method;

/// What a unit of a billed month came to under a `volume` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BilledPrice {
    /// 202603.
    pub month: i64,
    pub product: String,
    pub class: String,
    /// Windows from then on.
    pub since: Timestamp,
    pub units: i64,
    pub unit_price: Micros,
}

/// Units of one price class and list, as they were charged and not given back.
#[derive(Clone, Default)]
struct Charged {
    /// Units and what they were charged at, by VAT rate.
    by_rate: BTreeMap<i64, (i64, Micros)>,
    /// Units of plans, where they advance the tiers.
    counted: i64,
}

impl Charged {
    fn units(&self) -> Result<i64, MoneyFault> {
        let mut units = self.by_rate.values().map(|(units, _)| *units);
        units.try_fold(0_i64, i64::checked_add).ok_or(MoneyFault::Overflow)
    }
}

/// Month, product, price class; and within them the start of the list.
type ClassKey<'a> = (i64, &'a str, &'a str);

/// Adds what the month's end makes of `volume` prices: all units of the month at the price of the tier that
/// they reach together, less what they were charged at (D3, D51), each under the VAT rate of its own time.
/// What came late for a billed month takes the price that it was billed at (D78).
pub(super) fn true_up(parts: &[Part], terms: &Terms<'_>, draft: &mut Draft) -> Result<(), BillFault> {
    let mut classes: BTreeMap<ClassKey<'_>, BTreeMap<Timestamp, Charged>> = BTreeMap::new();
    for part in parts {
        let sign = match part.what {
            What::Payg | What::Plan => 1,
            What::Return => -1,
            _ => continue,
        };
        let product = terms.product(&part.product)?;
        let class = product.price_class(&part.template_type, &part.country);
        let month = terms.zone.month_of(part.since);
        let list = terms.book.stretch(&product.id, class, terms.buyer, part.since);
        let since = list.from.max(terms.zone.month_start(month));
        let class = classes.entry((month.number(), &part.product, class)).or_default();
        let charged = class.entry(since).or_default();
        if part.what == What::Plan {
            charged.counted += if product.tier_counts_plan { part.units } else { 0 };
        } else {
            let (units, amount) = charged.by_rate.entry(product.vat_at(part.since)).or_default();
            *units = units.checked_add(sign * part.units).ok_or(MoneyFault::Overflow)?;
            *amount = amount.plus(part.amount.times(sign)?)?;
        }
    }
    for (key @ (_, product, class), lists) in classes {
        let known = terms.product(product)?;
        let mut reached = 0;
        for charged in lists.values() {
            reached += charged.units()? + charged.counted;
        }
        let mut by_rate: BTreeMap<i64, Micros> = BTreeMap::new();
        for (since, charged) in lists {
            let units = charged.units()?;
            let Some(price) = volume_price(terms, key, since, (units, reached), draft) else { continue };
            for (vat_ppm, (units, amount)) in charged.by_rate {
                let sum = by_rate.entry(vat_ppm).or_default();
                *sum = sum.plus(price.times(units)?.minus(amount)?)?;
            }
        }
        let (template_type, country) = (known.price_class(class, ""), known.price_class("", class));
        let said = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
        for (vat_ppm, amount) in by_rate.into_iter().filter(|(_, amount)| *amount != Micros::ZERO) {
            draft.lines.push(Line {
                product: said(product),
                template_type: said(template_type),
                country: said(country),
                amount,
                net: amount.net_of_vat(vat_ppm),
                vat_ppm: Some(vat_ppm),
                reference: Some(key.0).filter(|month| *month != terms.month.number()).map(month_text),
                ..Line::bare(LineKind::Adjustment, false)
            });
        }
    }
    Ok(())
}

/// What a unit costs in the end, where a `volume` list prices it: what it was billed at, or what the
/// month's units reach, which is then noted.
fn volume_price(
    terms: &Terms<'_>,
    (month, product, class): ClassKey<'_>,
    since: Timestamp,
    (units, reached): (i64, i64),
    draft: &mut Draft,
) -> Option<Micros> {
    let rate = terms.book.rate(product, class, terms.buyer, since);
    let rate = rate.filter(|rate| rate.method == Method::Volume)?;
    if let Some(billed) = billed_price(terms.billed_prices, month, product, class, (since, since)) {
        return Some(billed);
    }
    let unit_price = rate.next_unit(reached.max(1) - 1).0;
    if units > 0 {
        draft.prices.push(BilledPrice {
            month,
            product: product.to_owned(),
            class: class.to_owned(),
            since,
            units,
            unit_price,
        });
    }
    Some(unit_price)
}

/// What a unit of a billed month, product and price class was billed at, where a `volume` list priced it: one
/// that holds since a moment, and in the window.
pub fn billed_price(
    prices: &[BilledPrice],
    month: i64,
    product: &str,
    class: &str,
    (list_from, window): (Timestamp, Timestamp),
) -> Option<Micros> {
    let of_class = prices
        .iter()
        .filter(|price| price.month == month && *price.product == *product && *price.class == *class);
    of_class
        .filter(|price| (list_from..=window).contains(&price.since))
        .max_by_key(|price| price.since)
        .map(|price| price.unit_price)
}
