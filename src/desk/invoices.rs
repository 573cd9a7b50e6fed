//! Invoices: issued for a bill or an order once it is paid, returned whole, and for whom
//! (R59-R61, R78-R83, R122, D28, D29, D84).

use super::{DeskError, accounts};
use crate::config::Config;
use crate::domain::account::Kind;
use crate::domain::bill::{Bill, LineKind};
use crate::domain::countries::is_of_the_standard;
use crate::domain::invoice::{
    CreditCode, CreditNote, Deficit, Figures, Invoice, InvoiceKind, InvoiceType, Party, Supply, figures,
    invoice_id, is_printable,
};
use crate::domain::ledger::{Cause, Entry, Ledger, LedgerFault};
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp};
use crate::store::accounts::{AccountRow, save};
use crate::store::invoice_quota;
use crate::store::invoices::{self, Kept, OrderDocument};
use crate::store::{Db, StoreError, Tx, bills};

/// What an invoice is to be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Bill(Month),
    Order(String),
}

impl About {
    /// As the books name it: `2026-03`, `acme-o1`.
    fn reference(&self) -> String {
        match self {
            About::Bill(month) => month.to_string(),
            About::Order(order_id) => order_id.clone(),
        }
    }

    fn kind(&self) -> InvoiceKind {
        match self {
            About::Bill(_) => InvoiceKind::Bill,
            About::Order(_) => InvoiceKind::Order,
        }
    }
}

/// What was paid for a bill or order, by what was supplied.
struct Document {
    amount: Micros,
    supplies: Vec<Supply>,
    period: Option<(Timestamp, Timestamp)>,
}

/// Issues an invoice for a bill or an order, whole, less what refunds took back of earlier ones.
pub async fn issue(
    db: &Db,
    config: &Config,
    account_id: &str,
    (about, invoice_type): (&About, InvoiceType),
    now: Timestamp,
) -> Result<Invoice, DeskError> {
    let mut tx = db.write().await?;
    let invoice = issue_in(&mut tx, config, account_id, (about, invoice_type), now).await?;
    tx.commit().await?;
    Ok(invoice)
}

/// The same as part of a larger transaction.
pub async fn issue_in(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    (about, invoice_type): (&About, InvoiceType),
    now: Timestamp,
) -> Result<Invoice, DeskError> {
    let account = accounts::lock(tx, account_id).await?;
    let document = match about {
        About::Bill(month) => bill(tx, config, account_id, *month).await?,
        About::Order(order_id) => order(tx, config, account_id, order_id).await?,
    };
    let (kind, reference) = (about.kind(), about.reference());
    if let Some(number) = invoices::standing(tx, account_id, kind, &reference).await? {
        let text = format!("invoice {number} stands for {} {reference}; return it first", kind.as_str());
        return Err(DeskError::refused("already_invoiced", text));
    }
    let buyer = buyer(tx, &account, invoice_type).await?;
    let (amount, refunds) = invoice_quota::to_offset(tx, account_id, (kind, &reference)).await?;
    let lowered = invoices::offsets(tx, account_id).await?;
    let deficit = Deficit::of(amount, (kind, &reference), &refunds, &lowered, &config.catalog);
    let reckoned = figures(&document.supplies, document.amount, &deficit, &config.invoices.content);
    let Figures { lines, allowances, breakdown, net, vat, total } = reckoned.map_err(|refusal| {
        let text = format!("{} {reference} of account `{account_id}`: {refusal}", kind.as_str());
        DeskError::refused(refusal.code(), text)
    })?;
    let series = &config.invoices.series;
    let series_no = bills::lock_series(tx, series).await? + 1;
    bills::save_series(tx, series, series_no).await?;
    let invoice_no = invoices::next_number(tx, account_id).await?;
    let invoice = Invoice {
        invoice_id: invoice_id(account_id, invoice_no),
        number: number(series, series_no),
        account_id: account_id.to_owned(),
        kind,
        replaces: invoices::returned(tx, account_id, kind, &reference).await?,
        reference,
        invoice_type,
        seller: config.invoices.seller.clone(),
        buyer,
        currency: account.currency.clone(),
        issued_at: now,
        period: document.period,
        lines,
        allowances,
        breakdown,
        net,
        vat,
        total,
        returned: None,
    };
    let kept = Kept { invoice_no, series, series_no, amount: document.amount };
    invoices::add(tx, &invoice, kept).await?;
    if let About::Order(order_id) = about {
        invoices::mark_order(tx, account_id, order_id, Some(invoice_no)).await?;
    }
    post(tx, &account, Cause::Invoice { invoice_no }, vat, now).await?;
    Ok(invoice)
}

/// `QT-000001`.
fn number(series: &str, series_no: i64) -> String {
    format!("{series}-{series_no:06}")
}

/// Moves VAT from what waits for an invoice to what is payable; back where it is negative.
async fn post(
    tx: &mut Tx,
    account: &AccountRow,
    cause: Cause,
    vat: Micros,
    now: Timestamp,
) -> Result<(), DeskError> {
    let currency = account.currency.as_str().into();
    let entry = || -> Result<Entry, LedgerFault> {
        let mut entry = Entry::new(cause, now);
        entry.debit(Ledger::VatPending, &currency, vat.0)?;
        entry.credit(Ledger::VatOutput, &currency, vat.0)?;
        entry.balanced()
    };
    let entry = entry().map_err(|fault| DeskError::refused("amount_out_of_range", fault.to_string()))?;
    // Nothing is payable for what is free of VAT.
    let entries = Some(entry).filter(|entry| !entry.postings.is_empty());
    Ok(save(tx, account, account, entries.as_slice(), now).await?)
}

/// A bill of which nothing is due (D84).
async fn bill(tx: &mut Tx, config: &Config, account_id: &str, month: Month) -> Result<Document, DeskError> {
    let Some(row) = bills::find(tx, account_id, month.number()).await? else {
        if let Some(fault) = bills::parked_for(tx, account_id, month.number()).await? {
            let text = format!(
                "the bill of account `{account_id}` for {month} waits: {fault}; mend that, then run \
                 `quittance --run-job monthly-bills`"
            );
            return Err(DeskError::refused("bill_unknown", text));
        }
        let text = format!(
            "account `{account_id}` has no bill of {month} that was issued; months are billed on the 1st of the next"
        );
        return Err(DeskError::refused("bill_unknown", text));
    };
    if row.due > Micros::ZERO {
        let (due, currency) = (row.due, &row.bill.currency);
        let text = format!("{due} {currency} of the bill of {month} are due; top up first");
        return Err(DeskError::refused("bill_not_paid", text));
    }
    let zone = config.zone;
    let period = Some((zone.month_start(month), zone.month_start(month.next())));
    Ok(Document { amount: row.bill.total, supplies: billed_supplies(&row.bill), period })
}

/// What a bill asked for, by product and VAT rate.
fn billed_supplies(bill: &Bill) -> Vec<Supply> {
    let unsettled = bill.lines.iter().filter(|line| !line.settled && line.kind != LineKind::RoundDown);
    unsettled
        .map(|line| Supply {
            product: line.product.clone().unwrap_or_default(),
            units: line.units.unwrap_or_default(),
            vat_ppm: line.vat_ppm.unwrap_or_default(),
            amount: line.amount,
        })
        .collect()
}

/// An order at what was paid for it in cash and not given back, at once (R60, R82).
async fn order(
    tx: &mut Tx,
    config: &Config,
    account_id: &str,
    order_id: &str,
) -> Result<Document, DeskError> {
    let Some(order) = invoices::order(tx, account_id, order_id).await? else {
        let text = format!("account `{account_id}` has no order `{order_id}`");
        return Err(DeskError::refused("unknown_order", text));
    };
    match order.status.as_str() {
        "refunded" => {
            let text = format!("order `{order_id}` was refunded: there is no invoice for it");
            Err(DeskError::refused("order_refunded", text))
        }
        "pending_review" => {
            let text = format!("a refund of order `{order_id}` is being reviewed; decide on it first");
            Err(DeskError::refused("order_pending_review", text))
        }
        _ => {
            let supplies = bought_supplies(config, &order)?;
            Ok(Document { amount: order.cash(), supplies, period: None })
        }
    }
}

/// What was paid in cash for an order's plans and not given back, by product.
fn bought_supplies(config: &Config, order: &OrderDocument) -> Result<Vec<Supply>, DeskError> {
    let supply = |(product, units, amount): &(String, i64, Micros)| {
        let Some(known) = config.catalog.get(product) else {
            let text = format!(
                "the order is of product `{product}`, which is not configured: put it back into products.toml"
            );
            return Err(DeskError::refused("unknown_product", text));
        };
        let vat_ppm = known.vat_at(order.placed_at);
        Ok(Supply { product: product.clone(), units: *units, vat_ppm, amount: *amount })
    };
    order.plans.iter().map(supply).collect()
}

/// Who stands on an invoice: who was named, and else the account itself, which does for a general one.
async fn buyer(tx: &mut Tx, account: &AccountRow, invoice_type: InvoiceType) -> Result<Party, DeskError> {
    let named = invoices::buyer(tx, &account.account_id).await?;
    let id = &account.account_id;
    if invoice_type == InvoiceType::General {
        if named.is_none() && account.is_erased() {
            let text = format!(
                "account `{id}` is closed and its name is erased: run `quittance invoice buyer set {id} --title T`"
            );
            return Err(DeskError::refused("buyer_missing", text));
        }
        return Ok(named.unwrap_or_else(|| Party {
            name: account.name.clone(),
            country: "CN".to_owned(),
            ..Party::default()
        }));
    }
    if account.kind != Kind::Enterprise {
        let text = format!("account `{id}` is an individual: special invoices are for enterprises");
        return Err(DeskError::refused("special_for_enterprises", text));
    }
    match named.filter(|buyer| buyer.tax_id.is_some()) {
        Some(buyer) => Ok(buyer),
        None => {
            let text = format!(
                "a special invoice names its buyer with a tax id: run `quittance invoice buyer set {id} --title T \
                 --tax-id X`"
            );
            Err(DeskError::refused("buyer_missing", text))
        }
    }
}

/// Notes who stands on an account's invoices from now on.
pub async fn set_buyer(db: &Db, account_id: &str, buyer: &Party, now: Timestamp) -> Result<Party, DeskError> {
    let trimmed = |text: &Option<String>| text.as_ref().map(|text| text.trim().to_owned());
    let buyer = &Party {
        name: buyer.name.trim().to_owned(),
        tax_id: trimmed(&buyer.tax_id),
        address: trimmed(&buyer.address),
        bank: trimmed(&buyer.bank),
        country: buyer.country.clone(),
    };
    let texts = [Some(&buyer.name), buyer.address.as_ref(), buyer.bank.as_ref(), buyer.tax_id.as_ref()];
    if !texts.into_iter().flatten().all(|text| is_printable(text)) {
        let text = "title, tax id, address and bank have 1 to 200 characters that can be seen, no line breaks among \
                    them, and none that turn the direction of the text";
        return Err(DeskError::refused("bad_buyer", text));
    }
    if !is_of_the_standard(&buyer.country) {
        let text = format!(
            "`{}` is not a country of ISO 3166-1, and electronic invoices can name no other: write its two capital \
             letters, such as CN",
            buyer.country
        );
        return Err(DeskError::refused("bad_buyer", text));
    }
    if let Some(tax_id) = buyer.tax_id.as_ref().filter(|_| buyer.country == "CN")
        && CreditCode::parse(tax_id).is_none()
    {
        let text = format!(
            "`{tax_id}` is no unified social credit code: it has 18 characters, capital letters and digits, the 3rd \
             to 8th of which are a division's digits and the last follows from the others; compare it with the business licence"
        );
        return Err(DeskError::refused("bad_tax_id", text));
    }
    let mut tx = db.write().await?;
    accounts::lock(&mut tx, account_id).await?;
    invoices::set_buyer(&mut tx, account_id, buyer, now).await?;
    tx.commit().await?;
    Ok(buyer.clone())
}

/// Who stands on an account's invoices: who was named, or the account itself.
pub async fn find_buyer(tx: &mut Tx, account_id: &str) -> Result<Party, DeskError> {
    let account = accounts::find(tx, account_id).await?;
    buyer(tx, &account, InvoiceType::General).await
}

/// Takes an invoice back whole, by a red-letter document of its own number; its bill or order can be
/// invoiced anew, and the order refunded (R61, D28).
pub async fn take_back(
    db: &Db,
    config: &Config,
    invoice_id: &str,
    now: Timestamp,
) -> Result<Invoice, DeskError> {
    let mut tx = db.write().await?;
    let invoice = take_back_in(&mut tx, config, invoice_id, now).await?;
    tx.commit().await?;
    Ok(invoice)
}

/// The same as part of a larger transaction.
pub async fn take_back_in(
    tx: &mut Tx,
    config: &Config,
    invoice_id: &str,
    now: Timestamp,
) -> Result<Invoice, DeskError> {
    // The account is locked before it is looked whether the invoice still stands.
    let (_, found) = one(tx, invoice_id).await?;
    let account = accounts::lock(tx, &found.account_id).await?;
    let (invoice_no, mut invoice) = one(tx, invoice_id).await?;
    if let Some(note) = &invoice.returned {
        let text = format!("invoice {} was returned by credit note {}", invoice.number, note.number);
        return Err(DeskError::refused("already_returned", text));
    }
    let series = format!("{}R", config.invoices.series);
    let series_no = bills::lock_series(tx, &series).await? + 1;
    bills::save_series(tx, &series, series_no).await?;
    let note = CreditNote { number: number(&series, series_no), at: now };
    let kept = Kept { invoice_no, series: &series, series_no, amount: Micros::ZERO };
    invoices::add_return(tx, &invoice.account_id, kept, &note).await?;
    if invoice.kind == InvoiceKind::Order {
        invoices::mark_order(tx, &invoice.account_id, &invoice.reference, None).await?;
    }
    post(tx, &account, Cause::InvoiceReturn { invoice_no }, Micros(-invoice.vat.0), now).await?;
    invoice.returned = Some(note);
    Ok(invoice)
}

async fn one(tx: &mut Tx, invoice_id: &str) -> Result<(i64, Invoice), DeskError> {
    invoices::find(tx, invoice_id).await?.ok_or_else(|| {
        let text = format!("there is no invoice `{invoice_id}`; see `quittance invoice list ACCOUNT`");
        DeskError::refused("unknown_invoice", text)
    })
}

/// An invoice by its id or number.
pub async fn show(tx: &mut Tx, invoice_id: &str) -> Result<Invoice, DeskError> {
    Ok(one(tx, invoice_id).await?.1)
}

/// An account's invoices, oldest first.
pub async fn list(tx: &mut Tx, account_id: &str) -> Result<Vec<Invoice>, DeskError> {
    accounts::find(tx, account_id).await?;
    Ok(invoices::of_account(tx, account_id).await?)
}

/// The number of the invoice that stands for a message: of the bill that it is on, or of the order whose
/// plan paid for it.
pub async fn of_message(
    tx: &mut Tx,
    account_id: &str,
    bill: Option<i64>,
    orders: &[String],
) -> Result<Option<String>, StoreError> {
    if let Some(month) = bill {
        let month = crate::domain::bill::month_text(month);
        if let Some(number) = invoices::standing(tx, account_id, InvoiceKind::Bill, &month).await? {
            return Ok(Some(number));
        }
    }
    for order in orders {
        if let Some(number) = invoices::standing(tx, account_id, InvoiceKind::Order, order).await? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}
