//! What a scenario shows of bills and invoices.

use std::fmt::Write as _;

use super::stage::{Said, Stage};
use super::verbs::{Arguments, need, refusal};
use crate::config::bills::Bills;
use crate::desk::bills::{self, Shown};
use crate::desk::invoices::{self, About};
use crate::domain::bill::{self, Rounding, month_text};
use crate::domain::invoice::{Invoice, InvoiceType, Party};
use crate::domain::money::Micros;
use crate::runner::{Finished, describe};
use crate::store::invoice_quota::invoiceable;

impl Stage {
    /// `bill ACCOUNT MONTH`: the bill, or what it would be.
    pub(super) fn bill(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (account, month) = (need(given, "an account")?, need(given, "a month")?);
        let month = month.parse()?;
        let shown = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            bills::show(&mut tx, &self.config, account, month, self.now).await
        });
        let shown = shown.map_err(refusal)?;
        let mut said = head(&shown);
        for line in bill::words(&shown.bill.lines) {
            let _ = writeln!(said, "  {line}");
        }
        if let Some(note) = &shown.bill.note {
            let _ = writeln!(said, "  {note}");
        }
        Ok(said)
    }

    /// `bills rounding=half_up zero=true`: how bills are made from now on. Without words: all bills.
    pub(super) fn bills(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (rounding, zero) = (given.take_key("rounding"), given.take_key("zero"));
        if rounding.is_some() || zero.is_some() {
            let rounding = match rounding {
                Some("half_up") => Rounding::HalfUp,
                Some("down") | None => Rounding::Down,
                Some(other) => return Err(format!("there is no rounding {other}")),
            };
            return self.configure(|config| {
                config.bills = Bills { rounding, zero_bills: zero == Some("true") };
                Ok(())
            });
        }
        let all = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            bills::list(&mut tx, None).await
        });
        let all = all.map_err(|error: crate::store::StoreError| describe(&error))?;
        Ok(all.iter().map(head).collect())
    }

    /// The bills that a run made, and what it had to leave.
    pub(super) fn billed(&self, finished: &Finished, dry_run: bool) -> Said<String> {
        let all = self.runtime.block_on(async {
            let mut tx = self.db.read().await?;
            bills::list(&mut tx, None).await
        });
        let all = all.map_err(|error: crate::store::StoreError| describe(&error))?;
        let made = all.iter().filter(|shown| !dry_run && shown.bill.issued_at == finished.as_of);
        let mut said: String = made.map(head).collect();
        let waiting = finished.counts.iter().find(|(name, count)| *name == "months_waiting" && *count > 0);
        if waiting.is_some() {
            said.push_str("the next month waits until all its messages are charged\n");
        }
        for parked in &finished.parked.first {
            let _ = writeln!(said, "{}  parked: {}", parked.account_id, parked.fault);
        }
        Ok(said)
    }
}

impl Stage {
    /// `invoice issue ACCOUNT bill=2026-03`, `order=acme-o1`, `type=special`; `invoice return|show ID`;
    /// `invoice list ACCOUNT`; `invoice quota ACCOUNT`.
    pub(super) fn invoice(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (deed, whom) =
            (need(given, "issue, return, show, list or quota")?, need(given, "an account or invoice")?);
        let about = match (given.take_key("bill"), given.take_key("order")) {
            (Some(month), _) => About::Bill(month.parse()?),
            (None, order) => About::Order(order.unwrap_or_default().to_owned()),
        };
        let kind = given.take_key("type").unwrap_or("general");
        let kind = InvoiceType::parse(kind).ok_or_else(|| format!("there is no invoice type {kind}"))?;
        let (db, config, now) = (&self.db, &self.config, self.now);
        self.runtime.block_on(async {
            match deed {
                "issue" => {
                    let issued = invoices::issue(db, config, whom, (&about, kind), now).await;
                    issued.map(|invoice| words(&invoice)).map_err(refusal)
                }
                "return" => {
                    let returned = invoices::take_back(db, config, whom, now).await;
                    returned.map(|invoice| words(&invoice)).map_err(refusal)
                }
                other => {
                    let mut tx = db.read().await.map_err(|error| describe(&error))?;
                    match other {
                        "show" => {
                            let invoice = invoices::show(&mut tx, whom).await.map_err(refusal)?;
                            Ok(words(&invoice) + &details(&invoice))
                        }
                        "list" => {
                            let all = invoices::list(&mut tx, whom).await.map_err(refusal)?;
                            Ok(all.iter().map(words).collect())
                        }
                        "quota" => {
                            let left = invoiceable(&mut tx, whom).await.map_err(|error| describe(&error))?;
                            Ok(format!("{} can be invoiced\n", left.for_people()))
                        }
                        _ => Err(format!("an invoice is issued, returned or shown, not {other}")),
                    }
                }
            }
        })
    }

    /// `buyer ACCOUNT title= tax-id= address= bank= country=`.
    pub(super) fn buyer(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let account = need(given, "an account")?;
        let mut word = |key: &str| given.take_key(key).map(str::to_owned);
        let buyer = Party {
            name: word("title").ok_or("title= is missing")?,
            tax_id: word("tax-id"),
            address: word("address"),
            bank: word("bank"),
            country: word("country").unwrap_or_else(|| "CN".to_owned()),
        };
        let set = invoices::set_buyer(&self.db, account, &buyer, self.now);
        self.runtime.block_on(set).map(|_| String::new()).map_err(refusal)
    }
}

/// `QT-000001  acme-i1  general for bill 2026-03  net 4.25 + VAT 0.25 = 4.50`.
fn words(invoice: &Invoice) -> String {
    let [net, vat, total] = [invoice.net, invoice.vat, invoice.total].map(|amount| amount.for_people());
    let (kind, about) = (invoice.invoice_type.as_str(), invoice.kind.as_str());
    let mut said = format!(
        "{}  {}  {kind} for {about} {}  net {net} + VAT {vat} = {total}",
        invoice.number, invoice.invoice_id, invoice.reference
    );
    if let Some(number) = &invoice.replaces {
        let _ = write!(said, "  in place of {number}");
    }
    if let Some(note) = &invoice.returned {
        let _ = write!(said, "  returned by {}", note.number);
    }
    said + "\n"
}

/// Parties, lines and rates.
fn details(invoice: &Invoice) -> String {
    let mut said = format!("  {} to {}\n", invoice.seller.name, invoice.buyer.name);
    for line in &invoice.lines {
        let (net, gross) = (line.net.for_people(), line.gross.for_people());
        let _ = writeln!(
            said,
            "  {} {}  {} units  {net} net  {gross}",
            line.description, line.product, line.units
        );
    }
    for less in &invoice.allowances {
        let _ = writeln!(said, "  refunded  -{}", less.gross.for_people());
    }
    for share in &invoice.breakdown {
        let [net, vat] = [share.net, share.vat].map(|amount| amount.for_people());
        let _ = writeln!(said, "  VAT {}  {net} net  {vat}", Micros(share.vat_ppm));
    }
    said
}

/// `acme  2026-03  CNY-202603-000001  total 0.13  paid 0.13  due 0.00`.
fn head(shown: &Shown) -> String {
    let bill = &shown.bill;
    let number = if shown.hash.is_some() { bill.bill_id.as_str() } else { "preview" };
    let [total, paid, due] = [bill.total, shown.paid, shown.due].map(|amount| amount.for_people());
    let month = month_text(bill.month);
    format!("{}  {month}  {number}  total {total}  paid {paid}  due {due}\n", bill.account_id)
}
