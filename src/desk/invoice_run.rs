//! Invoices for all bills of a month at once (R80, R81).

use std::collections::BTreeMap;

use super::DeskError;
use super::invoices::{About, issue};
use crate::config::Config;
use crate::domain::invoice::InvoiceType;
use crate::domain::money::Micros;
use crate::domain::period::{Month, Timestamp};
use crate::progress::Progress;
use crate::store::{Db, invoices};

/// What became of the bills of a month.
#[derive(Debug, Default)]
pub struct Issued {
    pub invoices: i64,
    /// What they come to, by currency.
    pub totals: BTreeMap<String, Micros>,
    /// Bills that were invoiced before, also where that invoice was returned.
    pub invoiced_before: i64,
    /// Bills that come to nothing.
    pub nothing: i64,
    pub refused: Vec<Refusal>,
}

/// Why there is no invoice for an account's bill.
#[derive(Debug)]
pub struct Refusal {
    pub account_id: String,
    pub code: &'static str,
    pub message: String,
}

/// Issues an invoice for each bill of a month that never had one, each in a transaction of its own: what a run
/// that ends early has done stays, and the next goes on from there. A bill whose invoice was returned is left
/// to the clerk who returned it.
pub async fn issue_all(
    db: &Db,
    config: &Config,
    (month, invoice_type): (Month, InvoiceType),
    now: Timestamp,
    progress: &dyn Progress,
) -> Result<Issued, DeskError> {
    let billed = invoices::billed_accounts(&mut db.read().await?, month).await?;
    if billed.is_empty() {
        let text = format!(
            "no account has a bill of {month} that was issued; months are billed on the 1st of the next"
        );
        return Err(DeskError::refused("bill_unknown", text));
    }
    progress.begin("invoicing", u64::try_from(billed.len()).ok());
    let mut issued = Issued::default();
    let about = About::Bill(month);
    for (account_id, invoiced_before) in billed {
        progress.advance(1);
        if invoiced_before {
            issued.invoiced_before += 1;
            continue;
        }
        match issue(db, config, &account_id, (&about, invoice_type), now).await {
            Ok(invoice) => {
                issued.invoices += 1;
                let total = issued.totals.entry(invoice.currency).or_default();
                *total = Micros(total.0.saturating_add(invoice.total.0));
            }
            // Somebody else issued it meanwhile.
            Err(DeskError::Refused { code: "already_invoiced", .. }) => issued.invoiced_before += 1,
            Err(DeskError::Refused { code: "nothing_to_invoice", .. }) => issued.nothing += 1,
            Err(DeskError::Refused { code, message }) => {
                issued.refused.push(Refusal { account_id, code, message });
            }
            Err(error) => return Err(error),
        }
    }
    progress.end();
    Ok(issued)
}
