//! The whole life of one message, from stored facts: what it was, who paid, what the carriers said,
//! what went back, what waits for somebody, and what a failure would change now.

mod words;

use super::{DeskError, invoices};
use crate::config::Config;
use crate::domain::charge::{Payer, is_late};
use crate::domain::money::Micros;
use crate::domain::period::{Timestamp, window_start};
use crate::domain::product::{ChargeOn, Product, RECEIPT_GRACE, REFUND_WINDOW};
use crate::domain::settle::{GivenBack, SettledParts, To};
use crate::settling::{Answered, Claim, GivingBack};
use crate::store::exceptions::{self, ExceptionRow};
use crate::store::failures::{self, FailedMessage};
use crate::store::invoices::orders_of_plans;
use crate::store::messages::{self, PaidPart, StoredMessage};
use crate::store::receipts::{self, StoredReceipt};
use crate::store::retention::{self, Retired};
use crate::store::returns::{self, ReturnRow};
use crate::store::{StoreError, Tx, bills, runs, settling};

/// All that is known of a message.
#[derive(Clone, Debug)]
pub struct Story {
    pub message_id: String,
    pub stored: StoredMessage,
    pub paid: Vec<PaidPart>,
    /// Its window had been charged before it came (D41).
    pub late: bool,
    /// In order of arrival, those that contradict others too.
    pub receipts: Vec<StoredReceipt>,
    /// Parts that were left out of the charge, and those that were given back.
    pub settled: SettledParts,
    pub returns: Vec<ReturnRow>,
    pub exceptions: Vec<ExceptionRow>,
    /// None while it waits for its charge.
    pub state: Option<&'static str>,
    pub reason: Option<String>,
    /// Its charge can't change any more (D88).
    pub is_final: bool,
    /// Until when a failure receipt may arrive that counts; None where none ever does.
    pub final_after: Option<Timestamp>,
    pub if_failed_now: IfFailed,
    /// The bill that it is on, by month and number; None where it is on none yet.
    pub bill: Option<(i64, String)>,
    /// The invoice that stands for that bill, or for the order whose plan paid.
    pub invoice: Option<String>,
}

/// What a failure receipt that arrives now would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfFailed {
    /// `returned`, `not_charged`, `no_money`, `late`, `conflict`, `duplicate`, `no_price`, `parked`.
    pub answer: &'static str,
    pub returns: Vec<ReturnRow>,
    /// In words; empty where the returns say it.
    pub why: String,
}

/// Tells a message's story.
pub async fn tell(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    message_id: &str,
    now: Timestamp,
) -> Result<Story, DeskError> {
    let Some(stored) = messages::find(tx, account_id, message_id).await? else {
        return Err(unknown(tx, config, account_id, message_id).await?);
    };
    let key = stored.message.key;
    let settled = settling::settled_parts(tx, [(account_id, key)]).await?;
    let settled = settled.into_values().next().unwrap_or_default();
    let paid = messages::paid_parts(tx, &stored.message, &settled).await?;
    let late = match stored.batch_run_no {
        Some(run_no) => is_late(stored.message.submit_time, runs::charged_up_to(tx, run_no).await?),
        None => false,
    };
    let receipts = receipts::of_message(tx, account_id, key).await?;
    let places = receipts.iter().map(|receipt| receipt.place).collect();
    let exceptions = exceptions::of_receipts(tx, places).await?;
    let returns = returns::of_message(tx, account_id, key).await?;
    let (state, reason) = state(&stored, &settled, &paid);
    let product = config.catalog.get(&stored.message.product);
    let on_receipt = product.filter(|product| product.charge_on == ChargeOn::Receipt);
    let final_after = on_receipt.filter(|_| !matches!(state, Some("rejected" | "inbound" | "free")));
    let submit_time = stored.message.submit_time;
    let (bill, invoice) = papers(tx, &stored.message, &paid).await?;
    let mut story = Story {
        message_id: message_id.to_owned(),
        stored,
        paid,
        late,
        receipts,
        settled,
        returns,
        exceptions,
        state,
        reason,
        is_final: false,
        final_after: final_after.map(|_| submit_time.plus_micros(REFUND_WINDOW + RECEIPT_GRACE)),
        if_failed_now: IfFailed { answer: "no_money", returns: Vec::new(), why: String::new() },
        bill,
        invoice,
    };
    story.is_final = story.is_final(product, now);
    story.if_failed_now = story.if_failed(tx, config, product, now).await?;
    Ok(story)
}

/// Why nothing can be told. Of messages that are no longer kept not even the ids are.
async fn unknown(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    message_id: &str,
) -> Result<DeskError, StoreError> {
    let none = format!("account `{account_id}` has no message `{message_id}`");
    if retention::of_account(tx, account_id).await? == 0 {
        return Ok(DeskError::refused("unknown_message", format!("{none}; was it rejected at ingest?")));
    }
    let before = config.zone.format(Retired::load(tx).await?.before);
    let text = format!(
        "{none}: those submitted before {before} are no longer kept (retention.messages); if it is younger, was \
         it rejected at ingest?"
    );
    Ok(DeskError::refused("not_kept", text))
}

/// The bill and the invoice of a message.
async fn papers(
    tx: &mut Tx,
    message: &FailedMessage,
    paid: &[PaidPart],
) -> Result<(Option<(i64, String)>, Option<String>), StoreError> {
    let Some(charge_run) = message.charged_by.filter(|_| !paid.is_empty()) else { return Ok((None, None)) };
    // What an allowance gave is on no bill (R30).
    if paid.iter().all(|part| part.free) {
        return Ok((None, None));
    }
    let account = &message.account_id;
    let window = window_start(message.submit_time).0;
    let bill = bills::of_charge(tx, account, window, charge_run).await?;
    let by_money = paid.iter().any(|part| part.plan_id.is_none() && !part.free);
    let month = bill.as_ref().map(|(month, _)| *month).filter(|_| by_money);
    let plans: Vec<&str> = paid.iter().filter_map(|part| part.plan_id.as_deref()).collect();
    let orders = orders_of_plans(tx, account, &plans).await?;
    let invoice = invoices::of_message(tx, account, month, &orders).await?;
    Ok((bill, invoice))
}

/// The state that scripts read and the reason for it.
fn state(
    stored: &StoredMessage,
    settled: &SettledParts,
    paid: &[PaidPart],
) -> (Option<&'static str>, Option<String>) {
    let message = &stored.message;
    let left_out = &settled.not_charged;
    match (message.disposition.as_deref(), &stored.suspense, message.charged_by) {
        (Some("rejected"), ..) => (Some("rejected"), stored.reject_code.clone()),
        (Some("inbound"), ..) => (Some("inbound"), None),
        (_, Some(reason), _) => (Some("suspense"), Some(reason.clone())),
        _ if left_out.contains(&0) || left_out.len() as i64 == message.units => {
            (Some("free"), Some("failed".into()))
        }
        (_, None, Some(_)) if !paid.is_empty() && paid.iter().all(|part| part.free) => {
            (Some("free"), Some("free_allowance".into()))
        }
        (_, None, Some(_)) => (Some("charged"), None),
        (_, None, None) => (None, None),
    }
}

impl Story {
    fn is_final(&self, product: Option<&Product>, now: Timestamp) -> bool {
        match self.state {
            Some("rejected" | "inbound" | "free") => true,
            Some("charged") => {
                product.is_some_and(|product| product.is_final(self.stored.message.submit_time, now))
                    || self.is_over(0)
                    || (1..=self.stored.message.units).all(|part| self.is_over(part))
            }
            _ => false,
        }
    }

    /// Whether a part, or with 0 the whole, was left out, given back, or delivered in time.
    fn is_over(&self, part: i64) -> bool {
        let submitted = self.stored.message.submit_time.0;
        let delivered = |receipt: &StoredReceipt| {
            receipt.part == part
                && receipt.is_final
                && !receipt.is_ambiguous
                && receipt.status == "delivered"
                && receipt.report_time.0 - submitted <= REFUND_WINDOW
        };
        let SettledParts { not_charged, returned } = &self.settled;
        not_charged.contains(&part) || returned.contains(&part) || self.receipts.iter().any(delivered)
    }

    /// Parts, or with 0 the whole, that no final receipt of this message alone has told of.
    fn untold(&self) -> Vec<i64> {
        let counts = |receipt: &&StoredReceipt| receipt.is_final && !receipt.is_ambiguous;
        let told: Vec<i64> = self.receipts.iter().filter(counts).map(|r| r.part).collect();
        match told.as_slice() {
            [] => vec![0],
            told if told.contains(&0) => Vec::new(),
            told => (1..=self.stored.message.units).filter(|part| !told.contains(part)).collect(),
        }
    }

    async fn if_failed(
        &self,
        tx: &mut Tx,
        config: &Config,
        product: Option<&Product>,
        now: Timestamp,
    ) -> Result<IfFailed, StoreError> {
        let message = &self.stored.message;
        let no = |answer, why: &str| IfFailed { answer, returns: Vec::new(), why: why.to_owned() };
        let untold = self.untold();
        let failed = |receipt: &StoredReceipt| {
            receipt.is_final && !receipt.is_ambiguous && receipt.status != "delivered"
        };
        Ok(match message.charged_by {
            _ if matches!(self.state, Some("rejected" | "inbound")) => {
                no("no_money", "nothing: it is never charged")
            }
            _ if product.is_some_and(|product| product.charge_on == ChargeOn::Submission) => {
                no("no_money", "nothing: it is charged on submission, delivered or not")
            }
            _ if untold.is_empty() && self.receipts.iter().any(failed) => {
                no("duplicate", "nothing more: that it failed is known")
            }
            // Late, it contradicts nothing, either.
            _ if now.0 - message.submit_time.0 > REFUND_WINDOW => {
                let over = config.zone.format(message.submit_time.plus_micros(REFUND_WINDOW));
                no("late", &format!("nothing: its 72 hours were over at {over}"))
            }
            _ if untold.is_empty() => no(
                "conflict",
                "nothing by itself: it was reported delivered, and the contradiction would be listed for somebody \
                 to decide",
            ),
            None => no("not_charged", "it would not be charged at all"),
            Some(charge_run) => {
                let claims = untold.iter().map(|part| Claim::new(message, charge_run, *part, now));
                self.rehearse(tx, config, claims.collect()).await?
            }
        })
    }

    /// Gives the claims back without keeping anything of it.
    async fn rehearse(
        &self,
        tx: &mut Tx,
        config: &Config,
        claims: Vec<Claim<'_>>,
    ) -> Result<IfFailed, StoreError> {
        let account = &self.stored.message.account_id;
        let as_of = claims.first().map(|claim| claim.received_at).unwrap_or_default();
        let mut giving_back = GivingBack::begin(tx, config, 0, as_of).await?;
        let (received_at, parts): (Vec<_>, Vec<_>) = claims.iter().map(|c| (c.received_at, c.part)).unzip();
        let answers = giving_back.settle(tx, &[(account, claims)]).await?;
        let answers = match answers.into_iter().next() {
            Some(Ok(answers)) => answers,
            Some(Err(fault)) => {
                let why = format!("it would wait: {fault}");
                return Ok(IfFailed { answer: "parked", returns: Vec::new(), why });
            }
            None => Vec::new(),
        };
        if answers.contains(&Answered::NoPrice) {
            let why =
                "it would be listed for somebody: money is called for, and no price is known".to_owned();
            return Ok(IfFailed { answer: "no_price", returns: Vec::new(), why });
        }
        if answers.iter().all(|answered| *answered == Answered::Before) {
            let why = "nothing more: what failed was given back, or left out of the charge".to_owned();
            return Ok(IfFailed { answer: "duplicate", returns: Vec::new(), why });
        }
        let plans = messages::plan_ids(tx, account).await?;
        let name = |plan_no: &i64| plans.get(plan_no).cloned();
        let mut returns = Vec::new();
        for ((answered, received_at), part) in answers.iter().zip(received_at).zip(parts) {
            let Answered::GivenBack(given) = answered else { continue };
            returns.extend(given.iter().map(|back| self.return_row(back, part, received_at, name)));
        }
        let why = match failures::any_open(tx, account).await? {
            true => "but that failures which came before wait for settle-receipts, and go first",
            false => "",
        };
        Ok(IfFailed { answer: "returned", returns, why: why.to_owned() })
    }

    fn return_row(
        &self,
        back: &GivenBack,
        part: i64,
        received_at: Timestamp,
        name: impl Fn(&i64) -> Option<String>,
    ) -> ReturnRow {
        let message = &self.stored.message;
        ReturnRow {
            account_id: message.account_id.to_string(),
            key: message.key,
            part,
            received_at,
            product: message.product.to_string(),
            units: back.units,
            from_plan: match back.from {
                Payer::Plan(plan_no) => name(&plan_no),
                Payer::Payg | Payer::Free => None,
            },
            to_plan: match back.to {
                To::Plan(plan_no) => name(&plan_no),
                To::Unbilled | To::Balance => None,
            },
            money_to: match back.to {
                To::Plan(_) => None,
                To::Unbilled => Some("unbilled".into()),
                To::Balance => Some("balance".into()),
            },
            unit_price: back.unit_price,
            amount: back.amount,
        }
    }
}

/// What a part of a charge costs beyond plan units.
pub fn amount(part: &PaidPart) -> Micros {
    part.unit_price.and_then(|price| price.times(part.units).ok()).unwrap_or_default()
}
