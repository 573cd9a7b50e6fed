//! What the month's end makes of `volume` prices (D3, D51, D78).

use std::collections::BTreeMap;

use super::{BillFault, Draft, Line, LineKind, Part, Terms, What, month_text};
use crate::domain::money::{Micros, MoneyFault};
use crate::domain::period::Timestamp;
use crate::domain::price::{Buyer, Method, Rate, Stretch};

/// What a unit of a billed month came to under a `volume` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BilledPrice {
    /// 202603.
    pub month: i64,
    pub product: String,
    pub class: String,
    /// Whom the list is for: `account`, `individual`, `enterprise`, `everyone`. Of an account that became
    /// another kind, two lists may have priced one month. Empty on bills of before this was told.
    pub list: String,
    /// Windows from then on.
    pub since: Timestamp,
    pub units: i64,
    pub unit_price: Micros,
}

/// Units of one price class and list, as they were charged and not given back.
#[derive(Clone, Default)]
struct Charged<'a> {
    /// None: no list prices them.
    rate: Option<&'a Rate>,
    /// Units and what they were charged at, by VAT rate.
    by_rate: BTreeMap<i64, (i64, Micros)>,
    /// Units of plans, where they advance the tiers.
    counted: i64,
}

impl Charged<'_> {
    fn units(&self) -> Result<i64, MoneyFault> {
        let mut units = self.by_rate.values().map(|(units, _)| *units);
        units.try_fold(0_i64, i64::checked_add).ok_or(MoneyFault::Overflow)
    }
}

/// Month, product, price class; and within them the start of the list, and whom it is for.
type ClassKey<'a> = (i64, &'a str, &'a str);
type ListKey<'a> = (Timestamp, &'a str);

/// Adds what the month's end makes of `volume` prices: all units of the month at the price of the tier that
/// they reach together, less what they were charged at (D3, D51), each under the VAT rate of its own time.
/// Units are priced anew where such a list charged them: that of the account's kind then (D34). What came
/// late for a billed month takes the price that it was billed at (D78).
pub(super) fn true_up(parts: &[Part], terms: &Terms<'_>, draft: &mut Draft) -> Result<(), BillFault> {
    let mut classes: BTreeMap<ClassKey<'_>, BTreeMap<ListKey<'_>, Charged<'_>>> = BTreeMap::new();
    for part in parts {
        let sign = match part.what {
            What::Payg | What::Plan => 1,
            What::Return => -1,
            _ => continue,
        };
        let product = terms.product(&part.product)?;
        let class = product.price_class(&part.template_type, &part.country);
        let month = terms.zone.month_of(part.since);
        let list = terms.book.stretch(&product.id, class, terms.charged_as(part), part.since);
        let since = list.from.max(terms.zone.month_start(month));
        let class = classes.entry((month.number(), &part.product, class)).or_default();
        let charged = class.entry((since, whom(&list))).or_default();
        charged.rate = list.rate;
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
        for (list, charged) in lists {
            let Some(price) = volume_price(terms, key, list, &charged, reached, draft)? else { continue };
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

impl<'a> Terms<'a> {
    /// The buyer as whom units were charged.
    fn charged_as(&self, part: &Part) -> Buyer<'a> {
        let kind = part.kind.map_or(self.buyer.kind, |kind| kind.as_str());
        Buyer { kind, ..self.buyer }
    }
}

/// Whom a list is for, in a word.
fn whom<'a>(list: &Stretch<'a>) -> &'a str {
    list.rate.map_or("", |rate| rate.scope.whom())
}

/// What a unit costs in the end, where a `volume` list prices it: what it was billed at, or what the
/// month's units reach, which is then noted.
fn volume_price(
    terms: &Terms<'_>,
    (month, product, class): ClassKey<'_>,
    (since, list): ListKey<'_>,
    charged: &Charged<'_>,
    reached: i64,
    draft: &mut Draft,
) -> Result<Option<Micros>, MoneyFault> {
    let Some(rate) = charged.rate.filter(|rate| rate.method == Method::Volume) else { return Ok(None) };
    let of_month = (month, product, class);
    if let Some(billed) = find(terms.billed_prices, of_month, list, (since, since)) {
        return Ok(Some(billed));
    }
    let unit_price = rate.next_unit(reached.max(1) - 1).0;
    let units = charged.units()?;
    if units > 0 {
        draft.prices.push(BilledPrice {
            month,
            product: product.to_owned(),
            class: class.to_owned(),
            list: list.to_owned(),
            since,
            units,
            unit_price,
        });
    }
    Ok(Some(unit_price))
}

/// What a unit of a billed month, product and price class was billed at that was charged by a list in a window;
/// None where that is no `volume` list, or nothing was billed under it.
pub fn billed_price(
    prices: &[BilledPrice],
    of_month: (i64, &str, &str),
    list: &Stretch<'_>,
    window: Timestamp,
) -> Option<Micros> {
    list.rate.filter(|rate| rate.method == Method::Volume)?;
    find(prices, of_month, whom(list), (list.from, window))
}

fn find(
    prices: &[BilledPrice],
    (month, product, class): ClassKey<'_>,
    list: &str,
    (list_from, window): (Timestamp, Timestamp),
) -> Option<Micros> {
    let of_list = prices.iter().filter(|price| {
        (price.month, &*price.product, &*price.class) == (month, product, class)
            && (price.list == list || price.list.is_empty())
    });
    of_list
        .filter(|price| (list_from..=window).contains(&price.since))
        .max_by_key(|price| price.since)
        .map(|price| price.unit_price)
}
