//! Invoices, their returns and their buyers.

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::db::{Row, Tx, values};
use super::error::StoreError;
use crate::domain::invoice::{
    Allowance, CreditNote, Invoice, InvoiceKind, InvoiceLine, InvoiceType, Party, VatShare,
};
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp};

/// The invoices of an account that were not returned.
pub(super) const STANDING: &str = "from invoices i where i.account_id = $1 and not exists (select 1 \
    from invoice_returns r where r.account_id = i.account_id and r.invoice_no = i.invoice_no)";

/// What the invoices of an account that stand were lowered by.
pub async fn offsets(tx: &mut Tx, account_id: &str) -> Result<Vec<Allowance>, StoreError> {
    let mut offsets = Vec::new();
    for row in
        tx.rows(format!("select i.content {STANDING} order by i.invoice_no"), values![account_id]).await?
    {
        let content = serde_json::from_str(&row.text(0)?).ok().as_ref().and_then(Content::read);
        let content =
            content.ok_or_else(|| StoreError::Corrupt("an invoice's content can't be read".into()))?;
        offsets.extend(content.allowances);
    }
    Ok(offsets)
}

/// The number of the invoice that stands for a bill or order.
pub async fn standing(
    tx: &mut Tx,
    account_id: &str,
    kind: InvoiceKind,
    reference: &str,
) -> Result<Option<String>, StoreError> {
    let sql = "select i.number from invoices i where i.account_id = $1 and i.kind = $2 and i.ref = $3 \
               and not exists (select 1 from invoice_returns r where r.account_id = i.account_id \
                 and r.invoice_no = i.invoice_no)";
    let row = tx.row(sql, values![account_id, kind.as_str(), reference]).await?;
    row.map(|row| row.text(0)).transpose()
}

/// The accounts with a bill of a month, also one that waits to be issued, and whether it was ever invoiced.
pub async fn billed_accounts(tx: &mut Tx, month: Month) -> Result<Vec<(String, bool)>, StoreError> {
    let sql = "select b.account_id, cast(case when exists (select 1 from invoices i where i.account_id = b.account_id \
                 and i.kind = 'bill' and i.ref = $2) then 1 else 0 end as bigint) \
               from (select account_id from bills where month = $1 \
                 union select account_id from bills_parked where month = $1 and run_no is null) b \
               order by b.account_id";
    let billed = |row: &Row| Ok((row.text(0)?, row.int(1)? == 1));
    tx.rows(sql, values![month.number(), month.to_string()]).await?.iter().map(billed).collect()
}

/// The number of the last invoice for a bill or order that was returned.
pub async fn returned(
    tx: &mut Tx,
    account_id: &str,
    kind: InvoiceKind,
    reference: &str,
) -> Result<Option<String>, StoreError> {
    let sql = "select i.number from invoices i join invoice_returns r on r.account_id = i.account_id \
               and r.invoice_no = i.invoice_no where i.account_id = $1 and i.kind = $2 and i.ref = $3 \
               order by i.invoice_no desc limit 1";
    let row = tx.row(sql, values![account_id, kind.as_str(), reference]).await?;
    row.map(|row| row.text(0)).transpose()
}

/// An order as an invoice sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderDocument {
    pub order_no: i64,
    pub status: String,
    pub placed_at: Timestamp,
    /// Product, units and what was paid in cash of its plans, but for those that were given back.
    pub plans: Vec<(String, i64, Micros)>,
}

impl OrderDocument {
    /// Paid in cash and not given back.
    pub fn cash(&self) -> Micros {
        Micros(self.plans.iter().map(|(_, _, cash)| cash.0).sum())
    }
}

pub async fn order(
    tx: &mut Tx,
    account_id: &str,
    order_id: &str,
) -> Result<Option<OrderDocument>, StoreError> {
    let sql = "select order_no, status, placed_at from orders where account_id = $1 and order_id = $2";
    let Some(row) = tx.row(sql, values![account_id, order_id]).await? else { return Ok(None) };
    let order_no = row.int(0)?;
    let sql = "select product, cast(sum(size) as bigint), cast(sum(price - coupon) as bigint) from plans \
               where account_id = $1 and order_no = $2 and refund_no is null group by product order by product";
    let plans = tx.rows(sql, values![account_id, order_no]).await?;
    let plan = |row: &Row| Ok::<_, StoreError>((row.text(0)?, row.int(1)?, Micros(row.int(2)?)));
    Ok(Some(OrderDocument {
        order_no,
        status: row.text(1)?,
        placed_at: Timestamp(row.int(2)?),
        plans: plans.iter().map(plan).collect::<Result<_, _>>()?,
    }))
}

/// The orders that bought some plans.
pub async fn orders_of_plans(
    tx: &mut Tx,
    account_id: &str,
    plan_ids: &[&str],
) -> Result<Vec<String>, StoreError> {
    let sql = "select o.order_id from plans p join orders o on o.account_id = p.account_id \
               and o.order_no = p.order_no where p.account_id = $1 and p.plan_id = $2";
    let mut orders = Vec::new();
    for plan_id in plan_ids {
        for row in tx.rows(sql, values![account_id, *plan_id]).await? {
            orders.push(row.text(0)?);
        }
    }
    Ok(orders)
}

/// Notes which invoice stands for an order; None: none does.
pub async fn mark_order(
    tx: &mut Tx,
    account_id: &str,
    order_id: &str,
    invoice_no: Option<i64>,
) -> Result<(), StoreError> {
    let sql = "update orders set invoice_no = $3 where account_id = $1 and order_id = $2";
    tx.execute(sql, values![account_id, order_id, invoice_no]).await.map(|_| ())
}

/// The next number among a locked account's invoices.
pub async fn next_number(tx: &mut Tx, account_id: &str) -> Result<i64, StoreError> {
    let sql = "update accounts set invoices = invoices + 1 where account_id = $1 returning invoices";
    tx.int(sql, values![account_id]).await
}

/// What of an invoice is kept beside what it says.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    pub invoice_no: i64,
    pub series: &'a str,
    pub series_no: i64,
    /// What was paid for the bill or order.
    pub amount: Micros,
}

pub async fn add(tx: &mut Tx, invoice: &Invoice, kept: Kept<'_>) -> Result<(), StoreError> {
    let sql = "insert into invoices (account_id, invoice_no, invoice_id, number, series, series_no, kind, ref, type, \
               currency, amount, net, vat, total, issued_at, content, hash) \
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    let content = content(invoice).to_string();
    let hash = hash(invoice, &content);
    let values = values![
        &invoice.account_id,
        kept.invoice_no,
        &invoice.invoice_id,
        &invoice.number,
        kept.series,
        kept.series_no,
        invoice.kind.as_str(),
        &invoice.reference,
        invoice.invoice_type.as_str(),
        &invoice.currency,
        kept.amount.0,
        invoice.net.0,
        invoice.vat.0,
        invoice.total.0,
        invoice.issued_at.0,
        content,
        hash
    ];
    tx.execute(sql, values).await.map(|_| ())
}

/// Takes an invoice back by a red-letter document.
pub async fn add_return(
    tx: &mut Tx,
    account_id: &str,
    kept: Kept<'_>,
    note: &CreditNote,
) -> Result<(), StoreError> {
    let sql = "insert into invoice_returns (account_id, invoice_no, number, series, series_no, at) \
               values ($1, $2, $3, $4, $5, $6)";
    let Kept { invoice_no, series, series_no, .. } = kept;
    tx.execute(sql, values![account_id, invoice_no, &note.number, series, series_no, note.at.0])
        .await
        .map(|_| ())
}

pub(super) const INVOICES: &str = "select i.account_id, i.invoice_id, i.number, i.kind, i.ref, i.type, i.currency, \
    i.net, i.vat, i.total, i.issued_at, i.content, i.hash, r.number, r.at, i.invoice_no from invoices i \
    left join invoice_returns r on r.account_id = i.account_id and r.invoice_no = i.invoice_no";

/// An invoice by its id (`acme-i1`) or its number, with its number among the account's invoices.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<(i64, Invoice)>, StoreError> {
    let sql = format!("{INVOICES} where i.invoice_id = $1 or i.number = $1");
    let row = tx.row(sql, values![id]).await?;
    row.map(|row| Ok((row.int(15)?, invoice(&row)?.0))).transpose()
}

/// An account's invoices, oldest first.
pub async fn of_account(tx: &mut Tx, account_id: &str) -> Result<Vec<Invoice>, StoreError> {
    let sql = format!("{INVOICES} where i.account_id = $1 order by i.invoice_no");
    let rows = tx.rows(sql, values![account_id]).await?;
    rows.iter().map(|row| Ok(invoice(row)?.0)).collect()
}

/// An invoice as an export takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    pub invoice: Invoice,
    /// The language of its account.
    pub locale: String,
    /// Its series and its number in it: where the next portion goes on.
    pub place: (String, i64),
}

/// What an export of invoices that were issued or returned from one time up to another is about.
const BETWEEN: &str = "(i.issued_at >= $1 and i.issued_at < $2 or r.at >= $1 and r.at < $2)";

/// Invoices that were issued or returned from one time up to another, by number: those after `after`, so
/// many at most.
pub async fn between(
    tx: &mut Tx,
    from: Timestamp,
    upto: Timestamp,
    after: Option<&(String, i64)>,
    most: usize,
) -> Result<Vec<Exported>, StoreError> {
    let sql = INVOICES.replacen(" from invoices i", ", a.locale, i.series, i.series_no from invoices i", 1);
    let sql = format!(
        "{sql} join accounts a on a.account_id = i.account_id where {BETWEEN} \
         and (i.series, i.series_no) > ($3, $4) order by i.series, i.series_no limit {most}"
    );
    let (series, series_no) = after.map_or(("", i64::MIN), |(series, number)| (series, *number));
    let rows = tx.rows(sql, values![from.0, upto.0, series, series_no]).await?;
    let exported = |row: &Row| {
        let place = (row.text(17)?, row.int(18)?);
        Ok(Exported { invoice: invoice(row)?.0, locale: row.text(16)?, place })
    };
    rows.iter().map(exported).collect()
}

/// How many there are.
pub async fn count_between(tx: &mut Tx, from: Timestamp, upto: Timestamp) -> Result<i64, StoreError> {
    let sql = format!(
        "select count(*) from invoices i left join invoice_returns r on r.account_id = i.account_id \
         and r.invoice_no = i.invoice_no where {BETWEEN}"
    );
    tx.int(sql, values![from.0, upto.0]).await
}

/// An invoice, its content as it is kept, and its hash.
pub(super) fn invoice(row: &Row) -> Result<(Invoice, String, String), StoreError> {
    let number = row.text(2)?;
    let corrupt = || StoreError::Corrupt(format!("the content of invoice {number}"));
    let text = row.text(11)?;
    let json: Json = serde_json::from_str(&text).map_err(|_| corrupt())?;
    let content = Content::read(&json).ok_or_else(corrupt)?;
    let returned = match (row.opt_text(13)?, row.opt_int(14)?) {
        (Some(number), Some(at)) => Some(CreditNote { number, at: Timestamp(at) }),
        _ => None,
    };
    let invoice = Invoice {
        account_id: row.text(0)?,
        invoice_id: row.text(1)?,
        kind: InvoiceKind::parse(&row.text(3)?).ok_or_else(corrupt)?,
        reference: row.text(4)?,
        invoice_type: InvoiceType::parse(&row.text(5)?).ok_or_else(corrupt)?,
        currency: row.text(6)?,
        net: Micros(row.int(7)?),
        vat: Micros(row.int(8)?),
        total: Micros(row.int(9)?),
        issued_at: Timestamp(row.int(10)?),
        seller: content.seller,
        buyer: content.buyer,
        period: content.period,
        lines: content.lines,
        allowances: content.allowances,
        breakdown: content.breakdown,
        replaces: content.replaces,
        returned,
        number,
    };
    Ok((invoice, text, row.text(12)?))
}

/// What of an invoice is kept as JSON.
struct Content {
    seller: Party,
    buyer: Party,
    period: Option<(Timestamp, Timestamp)>,
    lines: Vec<InvoiceLine>,
    allowances: Vec<Allowance>,
    breakdown: Vec<VatShare>,
    replaces: Option<String>,
}

fn content(invoice: &Invoice) -> Json {
    let party = |party: &Party| {
        json!({ "name": party.name, "tax_id": party.tax_id, "address": party.address, "bank": party.bank,
                "country": party.country })
    };
    let line = |line: &InvoiceLine| {
        json!([line.description, line.product, line.units, line.vat_ppm, line.gross.0, line.net.0])
    };
    let allowance = |less: &Allowance| json!([less.vat_ppm, less.gross.0, less.net.0]);
    let share = |share: &VatShare| json!([share.vat_ppm, share.net.0, share.vat.0, share.gross.0]);
    json!({
        "seller": party(&invoice.seller),
        "buyer": party(&invoice.buyer),
        "period": invoice.period.map(|(from, upto)| [from.0, upto.0]),
        "lines": invoice.lines.iter().map(line).collect::<Vec<_>>(),
        "allowances": invoice.allowances.iter().map(allowance).collect::<Vec<_>>(),
        "breakdown": invoice.breakdown.iter().map(share).collect::<Vec<_>>(),
        "replaces": invoice.replaces,
    })
}

impl Content {
    fn read(json: &Json) -> Option<Content> {
        let text = |json: &Json| json.as_str().map(str::to_owned);
        let party = |json: &Json| {
            Some(Party {
                name: text(&json["name"])?,
                tax_id: text(&json["tax_id"]),
                address: text(&json["address"]),
                bank: text(&json["bank"]),
                country: text(&json["country"])?,
            })
        };
        let money = |json: &Json| json.as_i64().map(Micros);
        let line = |json: &Json| {
            Some(InvoiceLine {
                description: text(&json[0])?,
                product: text(&json[1])?,
                units: json[2].as_i64()?,
                vat_ppm: json[3].as_i64()?,
                gross: money(&json[4])?,
                net: money(&json[5])?,
            })
        };
        let allowance = |json: &Json| {
            Some(Allowance { vat_ppm: json[0].as_i64()?, gross: money(&json[1])?, net: money(&json[2])? })
        };
        let share = |json: &Json| {
            Some(VatShare {
                vat_ppm: json[0].as_i64()?,
                net: money(&json[1])?,
                vat: money(&json[2])?,
                gross: money(&json[3])?,
            })
        };
        let time = |json: &Json| json.as_i64().map(Timestamp);
        let period = &json["period"];
        Some(Content {
            seller: party(&json["seller"])?,
            buyer: party(&json["buyer"])?,
            period: time(&period[0]).zip(time(&period[1])),
            lines: json["lines"].as_array()?.iter().map(line).collect::<Option<_>>()?,
            allowances: json["allowances"].as_array()?.iter().map(allowance).collect::<Option<_>>()?,
            breakdown: json["breakdown"].as_array()?.iter().map(share).collect::<Option<_>>()?,
            replaces: text(&json["replaces"]),
        })
    }
}

pub(super) fn hash(invoice: &Invoice, content: &str) -> String {
    let words = [
        &invoice.account_id,
        &invoice.invoice_id,
        &invoice.number,
        invoice.kind.as_str(),
        &invoice.reference,
        invoice.invoice_type.as_str(),
        &invoice.currency,
    ];
    let numbers = [invoice.net.0, invoice.vat.0, invoice.total.0, invoice.issued_at.0];
    let said = format!("{}\n{}\n{content}", words.join("\t"), numbers.map(|n| n.to_string()).join("\t"));
    Sha256::digest(said).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who stands on an account's invoices; None where nobody was named.
pub async fn buyer(tx: &mut Tx, account_id: &str) -> Result<Option<Party>, StoreError> {
    let sql = "select title, tax_id, address, bank, country from invoice_buyers where account_id = $1 and title <> ''";
    let row = tx.row(sql, values![account_id]).await?;
    let party = |row: Row| {
        Ok(Party {
            name: row.text(0)?,
            tax_id: row.opt_text(1)?,
            address: row.opt_text(2)?,
            bank: row.opt_text(3)?,
            country: row.text(4)?,
        })
    };
    row.map(party).transpose()
}

pub async fn set_buyer(
    tx: &mut Tx,
    account_id: &str,
    buyer: &Party,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "insert into invoice_buyers (account_id, title, tax_id, address, bank, country, at) \
               values ($1, $2, $3, $4, $5, $6, $7) on conflict (account_id) do update set title = excluded.title, \
               tax_id = excluded.tax_id, address = excluded.address, bank = excluded.bank, \
               country = excluded.country, at = excluded.at";
    let Party { name, tax_id, address, bank, country } = buyer.clone();
    tx.execute(sql, values![account_id, name, tax_id, address, bank, country, now.0]).await.map(|_| ())
}
