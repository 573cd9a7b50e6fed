//! What the month's end makes of `volume` prices, worked out anew (D3, D51, D78).

use std::collections::{BTreeMap, BTreeSet};

use super::lists::{Holding, unit_price};
use super::{BilledMonth, Class, Priced, Recount};
use crate::domain::period::Timestamp;
use crate::domain::price::{Method, Rate};

/// A month, and what is priced of it.
type OfMonth = (i64, Priced);
/// Whom a list is for and since when it holds: the list, and its windows.
type Lists<'a> = BTreeMap<(&'a str, i64), (Holding<'a>, Vec<(i64, Open)>)>;

/// Units that stand on no bill yet, of one window and run.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    units: i128,
    amount: i128,
    /// Units of plans that count in the tiers.
    counted: i128,
}

/// What is not billed yet of products with `volume` lists, and what was billed of them.
pub(super) struct Volume<'a> {
    products: BTreeSet<&'a str>,
    open: BTreeMap<(i64, i64, Priced), Open>,
    /// Prices by month and class; within them by whom the list is for and since when.
    billed: BTreeMap<OfMonth, BTreeMap<(String, i64), i128>>,
    /// The end of the last month whose bill was worked out.
    done: i64,
}

impl<'a> Volume<'a> {
    pub(super) fn new(rates: &'a [Rate]) -> Volume<'a> {
        let volume = rates.iter().filter(|rate| rate.method == Method::Volume);
        Volume {
            products: volume.map(|rate| &*rate.product).collect(),
            open: BTreeMap::new(),
            billed: BTreeMap::new(),
            done: i64::MIN,
        }
    }

    /// What a unit was billed at under a list, from when it holds up to a window.
    pub(super) fn billed(&self, of: OfMonth, whom: &str, (from, window): (i64, i64)) -> Option<i128> {
        let of_list = self.billed.get(&of)?.iter().filter(|((list, since), _)| {
            (list.is_empty() || list == whom) && (from..=window).contains(since)
        });
        of_list.max_by_key(|((_, since), _)| *since).map(|(_, price)| *price)
    }
}

impl<'a> Recount<'a> {
    /// Pay-as-you-go units that a run charged in a window wait for their bill; less, where they went back before.
    pub(super) fn awaits_bill(&mut self, class: &Class, charged: (i64, i64), units: i128, amount: i128) {
        if let Some(open) = self.open(class, charged) {
            open.units += units;
            open.amount += amount;
        }
    }

    /// Units of plans reach a tier where the product counts them.
    pub(super) fn counted_in_tiers(&mut self, class: &Class, charged: (i64, i64), units: i128) {
        if !self.rules.catalog.get(&class[0]).is_some_and(|product| product.tier_counts_plan) {
            return;
        }
        if let Some(open) = self.open(class, charged) {
            open.counted += units;
        }
    }

    fn open(&mut self, class: &Class, (window, run_no): (i64, i64)) -> Option<&mut Open> {
        let priced = (class[0].clone(), self.priced_by(class));
        let of_volume = self.volume.products.contains(&*priced.0);
        of_volume.then(|| self.volume.open.entry((window, run_no, priced)).or_default())
    }

    /// Works out what the bills up to that of a month, which are made by now, asked for anew.
    pub(super) fn true_up(&mut self, upto: i64) {
        let history = self.history;
        for BilledMonth { ends_at, charge_run, .. } in &history.billed {
            let month = self.rules.zone.month_of(Timestamp(ends_at - 1)).number();
            // A month that has no bill may be parked; one that moved no money has no entry, and goes with the next.
            let is_billed = history.amounts.contains_key(&format!("bill:{month}"));
            if *ends_at <= self.volume.done || month > upto || !is_billed {
                continue;
            }
            self.volume.done = *ends_at;
            let on_it = |(window, run_no, _): &(i64, i64, Priced)| window < ends_at && run_no <= charge_run;
            let (open, later): (BTreeMap<_, _>, _) =
                std::mem::take(&mut self.volume.open).into_iter().partition(|(key, _)| on_it(key));
            self.volume.open = later;
            if open.keys().any(|(_, run_no, _)| *run_no <= history.given.run_no) {
                self.take_true_up(month);
            } else {
                self.bill_anew(month, open);
            }
        }
    }

    /// Takes a bill with charges of retired runs as the books say it: its lists may be gone.
    fn take_true_up(&mut self, month: i64) {
        let history = self.history;
        let start = format!("adjustment {month} ");
        for (name, amount) in history.amounts.iter().filter(|(name, _)| name.starts_with(&start)) {
            self.add(name, i128::from(*amount));
        }
        for (of, product, class, list, since, price) in &history.billed_prices {
            if *of <= month {
                let of_month = (*of, (product.as_str().into(), class.as_str().into()));
                self.take_price(&of_month, list, *since, i128::from(*price));
            }
        }
    }

    /// Keeps the first price that a list was billed at. Of those that the books know without whom the list was
    /// for, none can be compared.
    fn take_price(&mut self, of_month: &OfMonth, whom: &str, since: i64, price: i128) {
        let lists = self.volume.billed.entry(of_month.clone()).or_default();
        if lists.contains_key(&(whom.to_owned(), since)) {
            return;
        }
        lists.insert((whom.to_owned(), since), price);
        let (month, (product, class)) = of_month;
        let nameless =
            self.history.billed_prices.iter().any(|(of, of_product, of_class, list, of_since, _)| {
                list.is_empty()
                    && (of, of_since) == (month, &since)
                    && (of_product.as_str(), of_class.as_str()) == (&**product, &**class)
            });
        if !nameless {
            self.add(&format!("billed {month} {product} {class} {whom} {since}"), price);
        }
    }

    fn bill_anew(&mut self, bill: i64, open: BTreeMap<(i64, i64, Priced), Open>) {
        let zone = self.rules.zone;
        let mut months: BTreeMap<OfMonth, Vec<(i64, i64, Open)>> = BTreeMap::new();
        for ((window, run_no, priced), open) in open {
            let month = zone.month_of(Timestamp(window)).number();
            months.entry((month, priced)).or_default().push((window, run_no, open));
        }
        for (of_month, charges) in months {
            let reached: i128 = charges.iter().map(|(.., open)| open.units + open.counted).sum();
            let mut lists: Lists<'a> = BTreeMap::new();
            for (window, run_no, open) in charges {
                let Some((rate, from)) = self.list(of_month.1.clone(), window, run_no) else { continue };
                let since = from.max(zone.month_start(zone.month_of(Timestamp(window))).0);
                let list = lists.entry((rate.scope.whom(), since));
                list.or_insert(((rate, since), Vec::new())).1.push((window, open));
            }
            let lists = lists.into_values().filter(|((rate, _), _)| rate.method == Method::Volume);
            for (holding, charges) in lists {
                self.price_anew(bill, &of_month, holding, reached, &charges);
            }
        }
    }

    /// All units of a list at what it was billed at before, else at the tier that the month reached.
    fn price_anew(
        &mut self,
        bill: i64,
        of_month: &OfMonth,
        (rate, since): Holding<'a>,
        reached: i128,
        charges: &[(i64, Open)],
    ) {
        let whom = rate.scope.whom();
        let (month, (product_id, class)) = of_month;
        let before = self.volume.billed(of_month.clone(), whom, (since, since));
        let last = i64::try_from(reached.max(1) - 1).unwrap_or(i64::MAX);
        let Some(price) = before.or_else(|| unit_price(rate, last)) else { return };
        if charges.iter().map(|(_, open)| open.units).sum::<i128>() > 0 {
            self.take_price(of_month, whom, since, price);
        }
        let Some(product) = self.rules.catalog.get(product_id) else { return };
        for (window, open) in charges {
            let vat_ppm = product.vat_at(Timestamp(*window));
            let name = format!("adjustment {bill} {product_id} {month} {class} {vat_ppm}");
            self.add(&name, price * open.units - open.amount);
        }
    }
}
