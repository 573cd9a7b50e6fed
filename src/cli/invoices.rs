//! `invoice issue | return | show | list | buyer`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::invoice_files::{self, ExportArgs};
use super::output::{count, table};
use super::{Failure, Session, exit};
use crate::config::Config;
use crate::desk::invoice_run::{Issued, Refusal, issue_all};
use crate::desk::invoices::{self, About};
use crate::domain::invoice::{Invoice, InvoiceType, Party};
use crate::domain::money::Micros;
use crate::domain::period::{Month, Zone};

/// Refusals that a table names.
const NAMED: usize = 50;

#[derive(Debug, Subcommand)]
pub enum InvoiceCommand {
    /// Issue an invoice for a paid bill or an order, or for all bills of a month
    Issue {
        #[arg(required_unless_present = "all")]
        account: Option<String>,
        /// For every account with a bill of the month that never had an invoice
        #[arg(long, conflicts_with_all = ["account", "order"])]
        all: bool,
        #[command(flatten)]
        about: AboutArgs,
        /// general, or special: its buyer can deduct the VAT, and has to be named with a tax id
        #[arg(long = "type", default_value = "general", value_parser = parse_type)]
        invoice_type: InvoiceType,
    },
    /// Take an invoice back whole; its bill or order can be invoiced anew
    Return {
        /// Its id or number
        invoice: String,
    },
    /// Show an invoice
    Show {
        /// Its id or number
        invoice: String,
    },
    /// Write the invoices and credit notes of a month as files
    Export(ExportArgs),
    /// The invoices of an account
    List { account: String },
    /// Who stands on an account's invoices
    #[command(subcommand)]
    Buyer(BuyerCommand),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct AboutArgs {
    /// The month of the bill
    #[arg(long, value_name = "YYYY-MM")]
    bill: Option<Month>,
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum BuyerCommand {
    /// Name the buyer; invoices that were issued before stay as they are
    Set {
        account: String,
        /// The name on the invoice
        #[arg(long)]
        title: String,
        /// In China the unified social credit code, which is checked
        #[arg(long)]
        tax_id: Option<String>,
        #[arg(long)]
        address: Option<String>,
        /// Bank and account number
        #[arg(long)]
        bank: Option<String>,
        #[arg(long, default_value = "CN", value_name = "ISO CODE")]
        country: String,
    },
    Show {
        account: String,
    },
}

fn parse_type(word: &str) -> Result<InvoiceType, String> {
    InvoiceType::parse(word).ok_or_else(|| "write general or special".into())
}

pub async fn run(session: &Session, command: InvoiceCommand) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let db = session.open(&config).await?;
    let (now, zone, output) = (session.now(), config.zone, session.output);
    match command {
        InvoiceCommand::Issue {
            about: AboutArgs { bill: Some(month), .. }, all: true, invoice_type, ..
        } => {
            warn_of_sample(&config);
            let wanted = (month, invoice_type);
            let issued = issue_all(&db, &config, wanted, now, &*session.progress()).await?;
            output.show(&issued_json(month, &issued), || issued_words(month, &issued));
            db.close().await;
            return Ok(ExitCode::from(if issued.refused.is_empty() { 0 } else { exit::PARTIAL }));
        }
        InvoiceCommand::Issue { account, about, invoice_type, .. } => {
            warn_of_sample(&config);
            let about = match (about.bill, about.order) {
                (Some(month), _) => About::Bill(month),
                (None, order) => About::Order(order.unwrap_or_default()),
            };
            let account = account.unwrap_or_default();
            let issued = invoices::issue(&db, &config, &account, (&about, invoice_type), now).await?;
            output.show(&invoice_json(&issued, zone), || sheet(&issued, zone));
        }
        InvoiceCommand::Return { invoice } => {
            let returned = invoices::take_back(&db, &config, &invoice, now).await?;
            output.show(&invoice_json(&returned, zone), || {
                let note = returned.returned.as_ref().map_or("", |note| &note.number);
                format!("Invoice {} is returned by credit note {note}.", returned.number)
            });
        }
        InvoiceCommand::Show { invoice } => {
            let invoice = invoices::show(&mut db.read().await?, &invoice).await?;
            output.show(&invoice_json(&invoice, zone), || sheet(&invoice, zone));
        }
        InvoiceCommand::Export(args) => {
            let exported = invoice_files::run(session, &config, &db, args).await;
            db.close().await;
            return exported;
        }
        InvoiceCommand::List { account } => {
            let all = invoices::list(&mut db.read().await?, &account).await?;
            let json: Vec<Value> = all.iter().map(|invoice| invoice_json(invoice, zone)).collect();
            output.show(&json!(json), || match all.is_empty() {
                true => format!("Account {account} has no invoices."),
                false => invoice_table(&all, zone),
            });
        }
        InvoiceCommand::Buyer(BuyerCommand::Set { account, title, tax_id, address, bank, country }) => {
            let buyer = Party { name: title, tax_id, address, bank, country };
            let buyer = invoices::set_buyer(&db, &account, &buyer, now).await?;
            output.show(&buyer_json(&account, &buyer), || buyer_words(&buyer));
        }
        InvoiceCommand::Buyer(BuyerCommand::Show { account }) => {
            let buyer = invoices::find_buyer(&mut db.read().await?, &account).await?;
            output.show(&buyer_json(&account, &buyer), || buyer_words(&buyer));
        }
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

fn warn_of_sample(config: &Config) {
    if config.invoices.is_sample() {
        tracing::warn!(
            "Invoices name the sample seller: put your own into the section [invoices] of quittance.toml"
        );
    }
}

fn issued_json(month: Month, issued: &Issued) -> Value {
    let totals = issued.totals.iter();
    let totals = totals.map(|(currency, total)| json!({ "currency": currency, "total": total.to_string() }));
    let refused = issued.refused.iter().map(|refusal| {
        json!({ "account_id": refusal.account_id, "code": refusal.code, "message": refusal.message })
    });
    json!({
        "month": month.to_string(),
        "invoices": issued.invoices,
        "totals": totals.collect::<Vec<_>>(),
        "invoiced_before": issued.invoiced_before,
        "nothing_to_invoice": issued.nothing,
        "refused": refused.collect::<Vec<_>>(),
    })
}

fn issued_words(month: Month, issued: &Issued) -> String {
    let totals = issued.totals.iter().map(|(currency, total)| format!(", {} {currency}", total.for_people()));
    let mut lines = vec![format!(
        "Bills of {month}: {} invoices issued{}; {} were invoiced before, {} come to nothing, {} refused.",
        count(issued.invoices),
        totals.collect::<String>(),
        count(issued.invoiced_before),
        count(issued.nothing),
        issued.refused.len(),
    )];
    let named = issued.refused.iter().take(NAMED);
    lines.extend(named.map(|Refusal { account_id, message, .. }| format!("  {account_id}: {message}")));
    if let more @ 1.. = issued.refused.len().saturating_sub(NAMED) {
        lines.push(format!("  and {more} more, which --json lists"));
    }
    lines.join("\n")
}

/// The keys that scripts read.
fn invoice_json(invoice: &Invoice, zone: Zone) -> Value {
    let line = |line: &crate::domain::invoice::InvoiceLine| {
        json!({
            "description": line.description,
            "product": line.product,
            "units": line.units,
            "vat_rate": rate(line.vat_ppm),
            "net": line.net.to_string(),
            "gross": line.gross.to_string(),
        })
    };
    let allowance = |less: &crate::domain::invoice::Allowance| {
        json!({
            "vat_rate": rate(less.vat_ppm),
            "net": less.net.to_string(),
            "gross": less.gross.to_string(),
        })
    };
    let share = |share: &crate::domain::invoice::VatShare| {
        json!({
            "vat_rate": rate(share.vat_ppm),
            "net": share.net.to_string(),
            "vat": share.vat.to_string(),
            "gross": share.gross.to_string(),
        })
    };
    json!({
        "invoice_id": invoice.invoice_id,
        "number": invoice.number,
        "account_id": invoice.account_id,
        "kind": invoice.kind.as_str(),
        "ref": invoice.reference,
        "type": invoice.invoice_type.as_str(),
        "status": invoice.status(),
        "net": invoice.net.to_string(),
        "vat": invoice.vat.to_string(),
        "total": invoice.total.to_string(),
        "currency": invoice.currency,
        "issued_at": zone.format(invoice.issued_at),
        "seller": party_json(&invoice.seller),
        "buyer": party_json(&invoice.buyer),
        "lines": invoice.lines.iter().map(line).collect::<Vec<_>>(),
        "allowances": invoice.allowances.iter().map(allowance).collect::<Vec<_>>(),
        "breakdown": invoice.breakdown.iter().map(share).collect::<Vec<_>>(),
        "replaces": invoice.replaces,
        "credit_note": invoice.returned.as_ref().map(|note| &note.number),
        "returned_at": invoice.returned.as_ref().map(|note| zone.format(note.at)),
    })
}

/// A rate as it is written: 60,000 millionths are `0.06`.
pub(super) fn rate(ppm: i64) -> String {
    Micros(ppm).to_string()
}

fn party_json(party: &Party) -> Value {
    json!({
        "name": party.name,
        "tax_id": party.tax_id,
        "address": party.address,
        "bank": party.bank,
        "country": party.country,
    })
}

fn buyer_json(account: &str, buyer: &Party) -> Value {
    let mut json = party_json(buyer);
    json["account_id"] = json!(account);
    json
}

fn buyer_words(buyer: &Party) -> String {
    let rows = [
        ("Title", Some(&buyer.name)),
        ("Tax id", buyer.tax_id.as_ref()),
        ("Address", buyer.address.as_ref()),
        ("Bank", buyer.bank.as_ref()),
        ("Country", Some(&buyer.country)),
    ];
    let said = rows.iter().filter_map(|(name, value)| Some(format!("{name:<8} {}", value.as_ref()?)));
    said.collect::<Vec<_>>().join("\n")
}

fn invoice_table(invoices: &[Invoice], zone: Zone) -> String {
    let row = |invoice: &Invoice| {
        vec![
            invoice.invoice_id.clone(),
            invoice.number.clone(),
            format!("{} {}", invoice.kind.as_str(), invoice.reference),
            invoice.invoice_type.as_str().into(),
            invoice.net.for_people(),
            invoice.vat.for_people(),
            invoice.total.for_people(),
            zone.format_short(invoice.issued_at),
            invoice.status().into(),
        ]
    };
    let columns = ["invoice", "number", "for", "type", ">net", ">vat", ">total", "issued", "status"];
    table(&columns, invoices.iter().map(row).collect())
}

/// An invoice as it is read.
fn sheet(invoice: &Invoice, zone: Zone) -> String {
    let issued = zone.format_short(invoice.issued_at);
    let mut text = format!(
        "Invoice {} ({}), {}, issued {issued} for {} {}\n\nSeller  {}\nBuyer   {}\n\n",
        invoice.number,
        invoice.invoice_id,
        invoice.invoice_type.as_str(),
        invoice.kind.as_str(),
        invoice.reference,
        named(&invoice.seller),
        named(&invoice.buyer),
    );
    let line = |line: &crate::domain::invoice::InvoiceLine| {
        vec![
            line.description.clone(),
            line.product.clone(),
            count(line.units),
            rate(line.vat_ppm),
            line.net.for_people(),
            line.gross.for_people(),
        ]
    };
    let mut rows: Vec<Vec<String>> = invoice.lines.iter().map(line).collect();
    rows.extend(invoice.allowances.iter().map(|less| {
        let minus = |amount: Micros| format!("-{}", amount.for_people());
        let words = "refunded".to_owned();
        vec![words, String::new(), String::new(), rate(less.vat_ppm), minus(less.net), minus(less.gross)]
    }));
    text.push_str(&table(&["for", "product", ">units", ">vat rate", ">net", ">gross"], rows));
    for (name, amount) in [("Net", invoice.net), ("VAT", invoice.vat), ("Total", invoice.total)] {
        let end = if name == "Net" { "\n\n" } else { "\n" };
        text.push_str(&format!("{end}{name:<6} {} {}", amount.for_people(), invoice.currency));
    }
    if let Some(number) = &invoice.replaces {
        text.push_str(&format!("\n\nIt replaces the returned invoice {number}."));
    }
    if let Some(note) = &invoice.returned {
        text.push_str(&format!(
            "\n\nReturned {} by credit note {}.",
            zone.format_short(note.at),
            note.number
        ));
    }
    text
}

fn named(party: &Party) -> String {
    let tax_id = party.tax_id.as_ref().map_or(String::new(), |id| format!(", {id}"));
    format!("{}{tax_id}", party.name)
}
