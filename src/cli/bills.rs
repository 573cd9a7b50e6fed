//! `bill list | show`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::invoices::rate;
use super::output::{count, table};
use super::{Failure, Session};
use crate::desk::bills::{Shown, list, show};
use crate::domain::bill::{Bill, Line, has_several_rates, month_text};
use crate::domain::money::Micros;
use crate::domain::period::{Month, Zone};

#[derive(Debug, Subcommand)]
pub enum BillCommand {
    /// The bills of a month, or all
    List {
        #[arg(long, value_name = "YYYY-MM")]
        month: Option<Month>,
    },
    /// The bill of an account and month; of a month that is not billed yet what it would be now
    Show {
        account: String,
        #[arg(value_name = "YYYY-MM")]
        month: Month,
    },
}

pub async fn run(session: &Session, command: BillCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let zone = config.zone;
    let mut tx = db.read().await?;
    match command {
        BillCommand::List { month } => {
            let bills = list(&mut tx, month).await?;
            let json: Vec<Value> = bills.iter().map(|bill| bill_json(bill, zone, false)).collect();
            session.output.show(&json!(json), || match bills.is_empty() {
                true => "There are no bills.".to_owned(),
                false => bill_table(&bills, zone),
            });
        }
        BillCommand::Show { account, month } => {
            let bill = show(&mut tx, &config, &account, month, session.now()).await?;
            session.output.show(&bill_json(&bill, zone, true), || sheet(&bill, zone));
        }
    }
    drop(tx);
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The keys that scripts read; a list leaves out the lines.
fn bill_json(shown: &Shown, zone: Zone, with_lines: bool) -> Value {
    let bill = &shown.bill;
    let issued = shown.hash.is_some();
    let mut json = json!({
        "bill_id": issued.then_some(&bill.bill_id),
        "account_id": bill.account_id,
        "month": month_text(bill.month),
        "status": shown.status(),
        "currency": bill.currency,
        "total": bill.total.to_string(),
        "paid": shown.paid.to_string(),
        "due": shown.due.to_string(),
        "issued_at": issued.then(|| zone.format(bill.issued_at)),
        "note": bill.note,
        "hash": shown.hash,
    });
    if with_lines {
        json["lines"] = bill.lines.iter().map(line_json).collect();
    }
    json
}

fn line_json(line: &Line) -> Value {
    json!({
        "kind": line.kind.as_str(),
        "product": line.product,
        "template_type": line.template_type,
        "country": line.country,
        "units": line.units,
        "unit_price": line.unit_price.map(|price| price.to_string()),
        "amount": line.amount.to_string(),
        "vat_rate": line.vat_ppm.map(rate),
        "settled": line.settled,
        "ref": line.reference,
    })
}

fn bill_table(bills: &[Shown], zone: Zone) -> String {
    let row = |shown: &Shown| {
        let bill = &shown.bill;
        vec![
            bill.bill_id.clone(),
            bill.account_id.clone(),
            month_text(bill.month),
            bill.currency.clone(),
            bill.total.for_people(),
            shown.paid.for_people(),
            shown.due.for_people(),
            zone.format_short(bill.issued_at),
        ]
    };
    let columns = ["bill", "account", "month", "currency", ">total", ">paid", ">due", "issued"];
    table(&columns, bills.iter().map(row).collect())
}

/// A bill as it is read.
fn sheet(shown: &Shown, zone: Zone) -> String {
    let bill = &shown.bill;
    let month = month_text(bill.month);
    let mut text = match shown.hash {
        Some(_) => {
            let issued = zone.format_short(bill.issued_at);
            format!("Bill {} of account {} for {month}, issued {issued}\n", bill.bill_id, bill.account_id)
        }
        None => format!(
            "Preview: the bill of account {} for {month} as it would be now; it is not issued yet\n",
            bill.account_id
        ),
    };
    match (&*bill.lines, shown.hash.is_some()) {
        ([], true) => text.push_str("\nNothing was used or bought in this month.\n"),
        ([], false) => {
            text.push_str("\nNothing was used or bought so far: there is nothing to bill.");
            return text + &note(bill);
        }
        (lines, _) => text.push_str(&format!("\n{}\n", line_table(lines))),
    }
    let money = |amount: Micros| format!("{} {}", amount.for_people(), bill.currency);
    for (name, amount) in [("Total", bill.total), ("Paid", shown.paid), ("Due", shown.due)] {
        text.push_str(&format!("\n{name:<6} {}", money(amount)));
    }
    text + &note(bill)
}

fn note(bill: &Bill) -> String {
    bill.note.as_ref().map_or(String::new(), |note| format!("\n\n{note}."))
}

/// VAT rates are told where they may be all that tells two lines apart.
fn line_table(lines: &[Line]) -> String {
    let mut columns =
        vec!["kind", "product", "type", "country", ">units", ">unit price", ">amount", "settled", "of"];
    let mut rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    if has_several_rates(lines) {
        columns.insert(6, ">vat rate");
        for (row, line) in rows.iter_mut().zip(lines) {
            row.insert(6, line.vat_ppm.map(rate).unwrap_or_default());
        }
    }
    table(&columns, rows)
}

fn row(line: &Line) -> Vec<String> {
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    vec![
        line.kind.as_str().replace('_', "-"),
        word(&line.product),
        word(&line.template_type),
        word(&line.country),
        line.units.map(count).unwrap_or_default(),
        line.unit_price.map(|price| price.to_string()).unwrap_or_default(),
        line.amount.for_people(),
        if line.settled { "yes".into() } else { String::new() },
        word(&line.reference),
    ]
}
