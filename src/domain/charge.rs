//! Charging: usage in order, free units first, then plans, then pay-as-you-go by price tiers
//! (R27-R30, R53, R76, R120, R135, R136, D1, D3, D8, D22, D23, D40, D53, D67, D68).
//!
//! One account's messages go in, sorted by 5-minute window and inside a window by arrival. Out
//! come charges (who paid for which units of a window and at what price), one ledger entry a
//! window, and the messages that can't be rated, each with its reason.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::account::{Account, Kind, Status, TierKey};
use super::allowance::FreeUse;
use super::ledger::{Cause, Entry, LedgerFault};
use super::money::{Micros, MoneyFault};
use super::period::{Month, Timestamp, WINDOW, Zone, window_start};
use super::price::{Buyer, PriceBook, Rate};
use super::product::Product;

mod span;
mod unrated;

pub use span::Span;
pub use unrated::Unrated;

/// What messages of one price have in common. Usage names its class by index.
#[derive(Clone, Debug)]
pub struct Class<'a> {
    /// None: the configuration no longer knows the product.
    pub product: Option<&'a Product>,
    pub template_type: Arc<str>,
    pub country: Arc<str>,
}

/// One message to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Index into the run's classes.
    pub class: u32,
    pub submit_time: Timestamp,
    /// Billable units: segments of an SMS, 1 of an e-mail.
    pub units: i64,
    /// Over 500 characters, though the gateway accepted it (D69).
    pub too_long: bool,
    pub place: Place,
}

/// Where a message came in: its batch and line. Of an account's messages the earlier is the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub batch_no: i64,
    pub line: i64,
}

/// Who pays for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The plan of this number.
    Plan(i64),
    /// The customer's balance.
    Payg,
    /// Nobody: the product's free units (R30).
    Free,
}

impl Payer {
    /// The number that charges are kept under: the plan's, 0 for pay-as-you-go, -1 for nobody.
    pub fn number(self) -> i64 {
        match self {
            Payer::Plan(plan_no) => plan_no,
            Payer::Payg => 0,
            Payer::Free => -1,
        }
    }

    pub fn of_number(number: i64) -> Payer {
        match number {
            0 => Payer::Payg,
            -1 => Payer::Free,
            plan_no => Payer::Plan(plan_no),
        }
    }
}

/// Units of one class and window with one payer and price: a row of the charges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub window: Timestamp,
    pub class: u32,
    /// Units of this class, window and run that were charged before these.
    pub first_unit: i64,
    pub units: i64,
    /// Messages that begin in these units.
    pub messages: i64,
    pub payer: Payer,
    /// The pay-as-you-go price of a unit at that moment, for plans too: what a unit is worth when
    /// it can't go back to a plan (D4). None where a plan paid and no price is known (D67), and of
    /// free units.
    pub unit_price: Option<Micros>,
    /// What pay-as-you-go charged; zero where a plan paid, or nobody.
    pub amount: Micros,
    /// What it is worth without VAT: the plan's value released, or the net part of `amount`.
    pub net: Micros,
    /// Which messages these units are of; None where the class has one charge in the window and run,
    /// so that they are of all its messages.
    pub span: Option<Span>,
}

impl Charge {
    /// How many units of a charged message this charge pays, of so many that the message has.
    pub fn units_of(&self, place: Place, units: i64) -> i64 {
        match self.span {
            None => units,
            Some(span) if place == span.first => span.first_units,
            Some(span) if place == span.last => span.last_units,
            Some(span) if span.first < place && place < span.last => units,
            Some(_) => 0,
        }
    }
}

/// Everything that charging one account's messages comes to.
#[derive(Clone, Debug, Default)]
pub struct Charged {
    pub charges: Vec<Charge>,
    pub entries: Vec<Entry>,
    /// Index into the given usage, and why it waits.
    pub unrated: Vec<(usize, Unrated)>,
}

/// The prices and rules of a run.
#[derive(Clone, Copy, Debug)]
pub struct Tariff<'a> {
    pub classes: &'a [Class<'a>],
    pub book: &'a PriceBook,
    pub zone: Zone,
    pub run_no: i64,
}

/// A fault of one account; it parks the account and leaves it as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChargeFault {
    #[error(transparent)]
    Money(#[from] MoneyFault),
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    #[error("plan {plan_no} holds {remaining} of {size} units, which can't be")]
    PlanOutOfBounds { plan_no: i64, remaining: i64, size: i64 },
}

/// Charges one account's usage, which is sorted by window and arrival.
///
/// # Example: three segments, one unit left in the plan
/// The plan pays one, pay-as-you-go the other two at 0.045 (D23). See
/// `tests/scenarios/charging/split-message`.
pub fn charge_account(
    account: &mut Account,
    usage: &[Usage],
    tariff: &Tariff<'_>,
) -> Result<Charged, ChargeFault> {
    for plan in &account.plans {
        if !(0..=plan.size).contains(&plan.remaining) || plan.size <= 0 {
            let (plan_no, remaining, size) = (plan.plan_no, plan.remaining, plan.size);
            return Err(ChargeFault::PlanOutOfBounds { plan_no, remaining, size });
        }
    }
    account.plans.sort_by_key(|plan| plan.burn_order());
    let mut charger = Charger::new(account, tariff);
    let mut done = 0;
    for window in usage.chunk_by(|a, b| window_start(a.submit_time) == window_start(b.submit_time)) {
        charger.charge_window(window, done)?;
        done += window.len();
    }
    charger.finish()
}

/// An account in the middle of being charged.
struct Charger<'a> {
    account: &'a mut Account,
    tariff: &'a Tariff<'a>,
    /// The status at the start of the run decides whether plans pay (D53).
    plans_pay: bool,
    prices: FxHashMap<u32, PriceNow<'a>>,
    positions: Vec<(TierKey, i64)>,
    open: Vec<OpenClass>,
    pieces: Vec<Piece>,
    /// The day of the last message that asked for free units.
    today: Today,
    charged: Charged,
}

/// A day of the billing zone, `from <= submit_time < until`.
#[derive(Clone, Copy, Default)]
struct Today {
    day: i64,
    from: Timestamp,
    until: Timestamp,
}

/// The price list of a class, good for `from <= submit_time < until`.
#[derive(Clone, Copy)]
struct PriceNow<'a> {
    rate: Option<&'a Rate>,
    from: Timestamp,
    until: Timestamp,
    /// Index into `positions`.
    position: usize,
}

/// The charges of one class in the open window.
struct OpenClass {
    class: u32,
    units: i64,
    charges: Vec<Charge>,
}

/// A part of one message.
struct Piece {
    source: Source,
    units: i64,
    unit_price: Option<Micros>,
}

/// Where a part of a message finds its payer.
#[derive(Clone, Copy)]
enum Source {
    /// The free units of this day.
    Free(i64),
    /// Index into the account's plans.
    Plan(usize),
    Payg,
}

impl<'a> Charger<'a> {
    fn new(account: &'a mut Account, tariff: &'a Tariff<'a>) -> Charger<'a> {
        let plans_pay = account.status == Status::Active;
        Charger {
            account,
            tariff,
            plans_pay,
            prices: FxHashMap::default(),
            positions: Vec::new(),
            open: Vec::new(),
            pieces: Vec::new(),
            today: Today::default(),
            charged: Charged::default(),
        }
    }

    fn charge_window(&mut self, usage: &[Usage], offset: usize) -> Result<(), ChargeFault> {
        for (index, message) in usage.iter().enumerate() {
            match self.cut(message)? {
                Ok(position) => self.take(message, position)?,
                Err(reason) => self.charged.unrated.push((offset + index, reason)),
            }
        }
        match usage.first() {
            Some(first) if !self.open.is_empty() => self.close_window(window_start(first.submit_time)),
            _ => Ok(()),
        }
    }

    /// Cuts a message into pieces by payer and price, changing nothing yet: a message that can't
    /// be rated whole takes nothing. Gives the tier counter and its position after the message.
    fn cut(&mut self, message: &Usage) -> Result<Result<(usize, i64), Unrated>, ChargeFault> {
        let class = &self.tariff.classes[message.class as usize];
        let product = match self.rateable(class, message) {
            Ok(product) => product,
            Err(reason) => return Ok(Err(reason)),
        };
        let price = self.price_now(message.class, class, product, message.submit_time);
        let mut position = self.positions[price.position].1;
        let mut rest = message.units;
        self.pieces.clear();
        if self.plans_pay {
            let (units, day) = self.free_left(product, message.submit_time);
            let units = rest.min(units);
            if units > 0 {
                self.pieces.push(Piece { source: Source::Free(day), units, unit_price: None });
                rest -= units;
            }
            for (index, plan) in self.account.plans.iter().enumerate() {
                let pays = plan.remaining > 0
                    && plan.covers(message.submit_time, &class.country)
                    && plan.product == product.id;
                let mut left = if pays { plan.remaining } else { 0 };
                while rest > 0 && left > 0 {
                    let priced = price.rate.map(|rate| rate.next_unit(position));
                    let mut units = rest.min(left);
                    if product.tier_counts_plan {
                        // Each unit keeps the price of its own tier (D4).
                        units = units.min(priced.map_or(units, |(_, room)| room));
                        position = position.checked_add(units).ok_or(MoneyFault::Overflow)?;
                    }
                    let unit_price = priced.map(|(price, _)| price);
                    self.pieces.push(Piece { source: Source::Plan(index), units, unit_price });
                    rest -= units;
                    left -= units;
                }
            }
        }
        while rest > 0 {
            let Some(rate) = price.rate else { return Ok(Err(Unrated::NoPrice)) };
            let (unit_price, room) = rate.next_unit(position);
            let units = rest.min(room);
            self.pieces.push(Piece { source: Source::Payg, units, unit_price: Some(unit_price) });
            rest -= units;
            position = position.checked_add(units).ok_or(MoneyFault::Overflow)?;
        }
        Ok(Ok((price.position, position)))
    }

    /// How many units are free on the day of a moment, and the day's number.
    fn free_left(&mut self, product: &Product, at: Timestamp) -> (i64, i64) {
        let used = self.account.free.get(&product.id);
        if product.free.is_none() && used.is_none() {
            return (0, 0);
        }
        if !(self.today.from <= at && at < self.today.until) {
            let (zone, day) = (self.tariff.zone, self.tariff.zone.day_of(at));
            let (from, until) = (zone.day_start(day), zone.day_start(day.next()));
            self.today = Today { day: day.number(), from, until };
        }
        let day = self.today.day;
        let none = FreeUse::default();
        (used.unwrap_or(&none).left(product.free, day), day)
    }

    fn rateable(&self, class: &Class<'a>, message: &Usage) -> Result<&'a Product, Unrated> {
        let product = class.product.ok_or(Unrated::UnknownProduct)?;
        let promotional = &*class.template_type == "promotional";
        if message.too_long {
            Err(Unrated::ContentTooLong)
        } else if product.needs_activation && !self.account.activated.contains(&product.id) {
            Err(Unrated::NotActivated)
        } else if promotional && !product.individual_promotional && self.account.kind == Kind::Individual {
            Err(Unrated::PromotionalByIndividual)
        } else {
            Ok(product)
        }
    }

    /// The price list and tier counter of a class at a moment, remembered while they hold.
    fn price_now(&mut self, index: u32, class: &Class<'a>, product: &Product, at: Timestamp) -> PriceNow<'a> {
        if let Some(now) = self.prices.get(&index).filter(|p| p.from <= at && at < p.until) {
            return *now;
        }
        let price_class: Arc<str> = product.price_class(&class.template_type, &class.country).into();
        let buyer = Buyer {
            account_id: &self.account.account_id,
            kind: self.account.kind.as_str(),
            currency: &self.account.currency,
        };
        let book: &'a PriceBook = self.tariff.book;
        let stretch = book.stretch(&product.id, &price_class, buyer, at);
        let month = self.tariff.zone.month_of(at);
        let position = self.position(month, product, price_class);
        let now = PriceNow {
            rate: stretch.rate,
            from: stretch.from.max(self.tariff.zone.month_start(month)),
            until: stretch.until.min(self.tariff.zone.month_start(month.next())),
            position,
        };
        self.prices.insert(index, now);
        now
    }

    /// Index of the tier counter of a month, product and price class.
    fn position(&mut self, month: Month, product: &Product, price_class: Arc<str>) -> usize {
        let key: TierKey = (month.number(), product.id.clone(), price_class);
        if let Some(index) = self.positions.iter().position(|(known, _)| *known == key) {
            return index;
        }
        let units = self.account.tiers.get(&key).copied().unwrap_or(0);
        self.positions.push((key, units));
        self.positions.len() - 1
    }

    /// Takes the pieces of a message: draws the plans, advances the tier, adds to the window.
    fn take(&mut self, message: &Usage, (position, reached): (usize, i64)) -> Result<(), ChargeFault> {
        self.positions[position].1 = reached;
        let open = match self.open.iter().position(|open| open.class == message.class) {
            Some(index) => &mut self.open[index],
            None => {
                self.open.push(OpenClass { class: message.class, units: 0, charges: Vec::new() });
                let last = self.open.len() - 1;
                &mut self.open[last]
            }
        };
        let mut messages = 1;
        for piece in self.pieces.drain(..) {
            // The net part of pay-as-you-go is split off when the window is posted.
            let (payer, net) = match piece.source {
                Source::Payg => (Payer::Payg, Micros::ZERO),
                Source::Free(day) => {
                    let product = self.tariff.classes[message.class as usize].product;
                    if let Some(product) = product {
                        let used = self.account.free.entry(product.id.clone()).or_default();
                        used.take(product.free, day, piece.units);
                    }
                    (Payer::Free, Micros::ZERO)
                }
                Source::Plan(index) => {
                    let plan = &mut self.account.plans[index];
                    plan.last_draw = Some(self.tariff.run_no);
                    (Payer::Plan(plan.plan_no), plan.draw(piece.units))
                }
            };
            let amount = match (payer, piece.unit_price) {
                (Payer::Payg, Some(price)) => price.times(piece.units)?,
                _ => Micros::ZERO,
            };
            match open.charges.last_mut() {
                Some(last) if last.payer == payer && last.unit_price == piece.unit_price => {
                    last.units += piece.units;
                    last.messages += messages;
                    last.amount = last.amount.plus(amount)?;
                    last.net = last.net.plus(net)?;
                    if let Some(span) = &mut last.span {
                        span.extend(message.place, piece.units);
                    }
                }
                _ => open.charges.push(Charge {
                    window: window_start(message.submit_time),
                    class: message.class,
                    first_unit: open.units,
                    units: piece.units,
                    messages,
                    payer,
                    unit_price: piece.unit_price,
                    amount,
                    net,
                    span: Some(Span {
                        first: message.place,
                        first_units: piece.units,
                        last: message.place,
                        last_units: piece.units,
                    }),
                }),
            }
            open.units = open.units.checked_add(piece.units).ok_or(MoneyFault::Overflow)?;
            messages = 0;
        }
        Ok(())
    }

    /// Posts the window: plan value released, pay-as-you-go accrued and held.
    fn close_window(&mut self, window: Timestamp) -> Result<(), ChargeFault> {
        let mut entry = Entry::new(Cause::Charge { window, run_no: self.tariff.run_no }, window);
        let currency = self.account.currency.clone();
        let month = self.tariff.zone.month_of(window).number();
        for mut open in std::mem::take(&mut self.open) {
            let Some(product) = self.tariff.classes[open.class as usize].product else { continue };
            if let [only] = open.charges.as_mut_slice() {
                only.span = None;
            }
            for charge in &mut open.charges {
                match charge.payer {
                    Payer::Plan(plan_no) => {
                        entry.post_plan_use(product, &currency, plan_no, charge.units, charge.net)?;
                    }
                    Payer::Free => entry.post_free_use(product, charge.units)?,
                    Payer::Payg => {
                        let vat = product.vat_at(window);
                        let key = (month, product.id.clone(), vat);
                        let accrual = self.account.accruals.entry(key).or_default();
                        charge.net = accrual.add(charge.amount, vat)?;
                        entry.post_accrual(product, &currency, charge.amount, charge.net)?;
                        let funds = &mut self.account.funds;
                        funds.unbilled = funds.unbilled.plus(charge.amount)?;
                    }
                }
            }
            self.charged.charges.extend(open.charges);
        }
        self.charged.entries.push(entry.balanced()?);
        Ok(())
    }

    fn finish(self) -> Result<Charged, ChargeFault> {
        self.account.tiers.extend(self.positions);
        self.account.status = self.account.funds.status_after(self.account.status)?;
        Ok(self.charged)
    }
}

/// Whether a message comes after its window was charged: by then charging had passed its end (D41).
pub fn is_late(submit_time: Timestamp, charged_up_to: Option<Timestamp>) -> bool {
    charged_up_to.is_some_and(|reached| window_start(submit_time).plus_micros(WINDOW) <= reached)
}

#[cfg(test)]
mod tests;
