//! The price lists of the recount: those of what the account was when it was charged (D34); and what they don't
//! say any more.

use std::sync::Arc;

use super::{BilledMonth, Charged, Class, Priced, Recount, Sent};
use crate::audit::gaps::Gap;
use crate::domain::period::Timestamp;
use crate::domain::price::{Method, Rate, Scope};
use crate::domain::product::PricedBy;

/// A list, and since when it has held.
pub(super) type Holding<'a> = (&'a Rate, i64);

impl<'a> Recount<'a> {
    /// What the account was when an entry was made.
    pub(super) fn kind_at(&self, entry_no: i64) -> &'a str {
        let was = self.history.kinds.iter().find(|(upto, _)| *upto >= entry_no);
        was.map_or(&self.history.kind, |(_, kind)| kind)
    }

    /// What a class is priced by: its template type, its country, or nothing.
    pub(super) fn priced_by(&self, [product, template_type, country]: &Class) -> Arc<str> {
        match self.rules.catalog.get(product).map(|product| product.priced_by) {
            Some(PricedBy::TemplateType) => template_type.clone(),
            Some(PricedBy::Country) => country.clone(),
            _ => "".into(),
        }
    }

    /// The price of a message's unit after so many of the month.
    pub(super) fn price(&mut self, sent: &Sent, priced_by: &str, position: i64) -> Option<i128> {
        let product = sent.class[0].clone();
        let (rate, _) = self.list((product, priced_by.into()), sent.submit_time, sent.run_no)?;
        unit_price(rate, position)
    }

    /// The list that held at a moment for what a run charged: the account's own one, that of its kind then, the
    /// general one, whichever does first. It has held since it began and those before it did not.
    pub(super) fn list(&mut self, class: Priced, at: i64, run_no: i64) -> Option<Holding<'a>> {
        let (history, rules) = (self.history, self.rules);
        let account_kind = self.kinds.get(&run_no).copied().unwrap_or(&*history.kind);
        let (product, priced_by) = class.clone();
        let lists = self.prices.entry((account_kind, class)).or_insert_with(|| {
            let rank = |rate: &Rate| match &rate.scope {
                Scope::Account(id) if **id == *history.account_id => Some(0),
                Scope::Kind(kind) if **kind == *account_kind => Some(1),
                Scope::Everyone => Some(2),
                _ => None,
            };
            let of_class = rules.rates.iter().filter(|rate| {
                (&*rate.product, &*rate.currency, &*rate.class)
                    == (&*product, &*history.currency, &*priced_by)
            });
            let mut lists: Vec<_> = of_class.filter_map(|rate| Some((rank(rate)?, rate))).collect();
            lists.sort_by_key(|(rank, _)| *rank);
            lists.into_iter().map(|(_, rate)| rate).collect()
        });
        let holds = |rate: &&Rate| rate.from.0 <= at && rate.until.is_none_or(|until| at < until.0);
        let first = lists.iter().position(holds)?;
        let ended = lists[..first].iter().filter_map(|rate| rate.until).map(|until| until.0);
        let since = ended.filter(|until| *until <= at).chain([lists[first].from.0]).max();
        Some((lists[first], since?))
    }

    /// Notes that a product was charged, where it is not configured.
    pub(super) fn needs_product(&mut self, product: &Arc<str>) {
        if self.rules.catalog.get(product).is_none() {
            self.gaps.insert(Gap::Product(product.clone()));
        }
    }

    /// Notes that a price was asked for or given back, and none is configured.
    pub(super) fn lacks_price(&mut self, class: &Class, window: i64) {
        let month = self.rules.zone.month_of(Timestamp(window));
        let (product, priced_by) = (class[0].clone(), self.priced_by(class));
        if self.rules.catalog.get(&product).is_some() {
            self.gaps.insert(Gap::Price { product, class: priced_by, month });
        }
    }

    /// Whether a message stood on a bill when a run gave it back, and what the bill asked for a unit of it
    /// where that was another price than it was charged at.
    pub(super) fn billed(&mut self, charged: &Charged, run_no: i64) -> Option<Option<i128>> {
        let on_it = |of: &&BilledMonth| charged.window < of.ends_at && charged.run_no <= of.charge_run;
        let month = self.history.billed.iter().find(on_it);
        month.is_some_and(|month| month.is_billed_before(run_no)).then(|| {
            let month = self.rules.zone.month_of(Timestamp(charged.window)).number();
            let class = (charged.class[0].clone(), self.priced_by(&charged.class));
            let (rate, from) = self.list(class.clone(), charged.window, charged.run_no)?;
            (rate.method == Method::Volume).then_some(())?;
            self.volume.billed((month, class), rate.scope.whom(), (from, charged.window))
        })
    }
}

/// The price of the unit after so many of the month.
pub(super) fn unit_price(rate: &Rate, position: i64) -> Option<i128> {
    let tier = rate.tiers.iter().find(|tier| tier.up_to.is_none_or(|bound| position < bound))?;
    Some(tier.price.0.into())
}
