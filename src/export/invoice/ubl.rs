//! UBL 2.1 by EN 16931: an Invoice (380), or the CreditNote (381) that takes it back.
//!
//! Amounts have two decimals, VAT is that of the document by rate. What was paid is paid: all of it is
//! prepaid, nothing payable. A price is given as the line's net amount for its whole quantity, which is
//! exact at any quantity.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{Document, cents, percent};
use crate::domain::invoice::{Invoice, InvoiceKind, InvoiceLine, Party};
use crate::domain::money::Micros;
use crate::domain::period::Zone;

/// Why a document can't be said in UBL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error(
        "EN 16931 asks for the seller's tax id, and invoice {0} has none: set it in [invoices] for the next ones"
    )]
    NoSellerTaxId(String),
    #[error("it could not be written: {0}")]
    Xml(String),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Unfit {
        Unfit::Xml(error.to_string())
    }
}

/// The document as an XML file.
pub fn write(document: Document<'_>, zone: Zone) -> Result<Vec<u8>, Unfit> {
    let invoice = document.invoice();
    if invoice.seller.tax_id.is_none() {
        return Err(Unfit::NoSellerTaxId(invoice.number.clone()));
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let root = if document.is_credit_note() { "CreditNote" } else { "Invoice" };
    let namespace = format!("urn:oasis:names:specification:ubl:schema:xsd:{root}-2");
    let attributes = [
        ("xmlns", namespace.as_str()),
        ("xmlns:cac", "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"),
        ("xmlns:cbc", "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"),
    ];
    writer.create_element(root).with_attributes(attributes).write_inner_content(|writer| {
        let mut xml = Xml { writer, currency: &invoice.currency };
        xml.heading(document, zone)?;
        xml.party("AccountingSupplierParty", &invoice.seller)?;
        xml.party("AccountingCustomerParty", &invoice.buyer)?;
        xml.allowances(invoice)?;
        xml.taxes(invoice)?;
        xml.totals(invoice)?;
        (1..).zip(&invoice.lines).try_for_each(|(number, line)| xml.line(document, number, line))
    })?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

struct Xml<'a> {
    writer: &'a mut Writer<Vec<u8>>,
    currency: &'a str,
}

impl Xml<'_> {
    fn text(&mut self, name: &str, value: &str) -> io::Result<()> {
        let value = printable(value);
        self.writer.create_element(name).write_text_content(BytesText::new(&value)).map(|_| ())
    }

    fn amount(&mut self, name: &str, amount: Micros) -> io::Result<()> {
        let element = self.writer.create_element(name).with_attribute(("currencyID", self.currency));
        element.write_text_content(BytesText::new(&cents(amount))).map(|_| ())
    }

    fn within(&mut self, name: &str, write: impl FnOnce(&mut Xml<'_>) -> io::Result<()>) -> io::Result<()> {
        let currency = self.currency;
        let element = self.writer.create_element(name);
        element.write_inner_content(|writer| write(&mut Xml { writer, currency })).map(|_| ())
    }

    fn heading(&mut self, document: Document<'_>, zone: Zone) -> io::Result<()> {
        let invoice = document.invoice();
        self.text("cbc:CustomizationID", "urn:cen.eu:en16931:2017")?;
        self.text("cbc:ID", document.number())?;
        self.text("cbc:IssueDate", &zone.day_of(document.issued_at()).to_string())?;
        match document.is_credit_note() {
            true => self.text("cbc:CreditNoteTypeCode", "381")?,
            false => self.text("cbc:InvoiceTypeCode", "380")?,
        }
        self.text("cbc:Note", "Paid from the account's balance")?;
        self.text("cbc:DocumentCurrencyCode", self.currency)?;
        self.text("cbc:BuyerReference", &invoice.account_id)?;
        if let Some((first, last)) = document.period(zone) {
            self.within("cac:InvoicePeriod", |xml| {
                xml.text("cbc:StartDate", &first.to_string())?;
                xml.text("cbc:EndDate", &last.to_string())
            })?;
        }
        if invoice.kind == InvoiceKind::Order {
            self.within("cac:OrderReference", |xml| xml.text("cbc:ID", &invoice.reference))?;
        }
        match (document, &invoice.replaces) {
            (Document::CreditNote(..), _) => {
                let issued = zone.day_of(invoice.issued_at).to_string();
                self.earlier(&invoice.number, Some(&issued))
            }
            (Document::Invoice(_), Some(number)) => self.earlier(number, None),
            (Document::Invoice(_), None) => Ok(()),
        }
    }

    /// The document before this one, which it takes back or replaces.
    fn earlier(&mut self, number: &str, issued: Option<&str>) -> io::Result<()> {
        self.within("cac:BillingReference", |xml| {
            xml.within("cac:InvoiceDocumentReference", |xml| {
                xml.text("cbc:ID", number)?;
                issued.map_or(Ok(()), |issued| xml.text("cbc:IssueDate", issued))
            })
        })
    }

    fn party(&mut self, role: &str, party: &Party) -> io::Result<()> {
        self.within(&format!("cac:{role}"), |xml| {
            xml.within("cac:Party", |xml| {
                xml.within("cac:PostalAddress", |xml| {
                    if let Some(address) = &party.address {
                        xml.text("cbc:StreetName", address)?;
                    }
                    xml.within("cac:Country", |xml| xml.text("cbc:IdentificationCode", &party.country))
                })?;
                if let Some(tax_id) = &party.tax_id {
                    xml.within("cac:PartyTaxScheme", |xml| {
                        xml.text("cbc:CompanyID", &vat_id(tax_id, &party.country))?;
                        xml.scheme()
                    })?;
                }
                xml.within("cac:PartyLegalEntity", |xml| xml.text("cbc:RegistrationName", &party.name))
            })
        })
    }

    fn scheme(&mut self) -> io::Result<()> {
        self.within("cac:TaxScheme", |xml| xml.text("cbc:ID", "VAT"))
    }

    fn category(&mut self, name: &str, vat_ppm: i64) -> io::Result<()> {
        self.within(name, |xml| {
            xml.text("cbc:ID", if vat_ppm == 0 { "Z" } else { "S" })?;
            xml.text("cbc:Percent", &percent(vat_ppm))?;
            xml.scheme()
        })
    }

    fn allowances(&mut self, invoice: &Invoice) -> io::Result<()> {
        invoice.allowances.iter().try_for_each(|allowance| {
            self.within("cac:AllowanceCharge", |xml| {
                xml.text("cbc:ChargeIndicator", "false")?;
                xml.text("cbc:AllowanceChargeReasonCode", "95")?;
                xml.text("cbc:AllowanceChargeReason", "Refunds")?;
                xml.amount("cbc:Amount", allowance.net)?;
                xml.category("cac:TaxCategory", allowance.vat_ppm)
            })
        })
    }

    fn taxes(&mut self, invoice: &Invoice) -> io::Result<()> {
        self.within("cac:TaxTotal", |xml| {
            xml.amount("cbc:TaxAmount", invoice.vat)?;
            invoice.breakdown.iter().try_for_each(|share| {
                xml.within("cac:TaxSubtotal", |xml| {
                    xml.amount("cbc:TaxableAmount", share.net)?;
                    xml.amount("cbc:TaxAmount", share.vat)?;
                    xml.category("cac:TaxCategory", share.vat_ppm)
                })
            })
        })
    }

    fn totals(&mut self, invoice: &Invoice) -> io::Result<()> {
        let lines = Micros(invoice.lines.iter().map(|line| line.net.0).sum());
        let allowances = Micros(invoice.allowances.iter().map(|allowance| allowance.net.0).sum());
        self.within("cac:LegalMonetaryTotal", |xml| {
            xml.amount("cbc:LineExtensionAmount", lines)?;
            xml.amount("cbc:TaxExclusiveAmount", invoice.net)?;
            xml.amount("cbc:TaxInclusiveAmount", invoice.total)?;
            xml.amount("cbc:AllowanceTotalAmount", allowances)?;
            xml.amount("cbc:PrepaidAmount", invoice.total)?;
            xml.amount("cbc:PayableAmount", Micros::ZERO)
        })
    }

    fn line(&mut self, document: Document<'_>, number: usize, line: &InvoiceLine) -> io::Result<()> {
        let (name, quantity_name) = match document.is_credit_note() {
            true => ("cac:CreditNoteLine", "cbc:CreditedQuantity"),
            false => ("cac:InvoiceLine", "cbc:InvoicedQuantity"),
        };
        // A price is never negative: where the amount is, the quantity tells it.
        let base = line.units.unsigned_abs().max(1);
        let quantity = if line.net < Micros::ZERO { format!("-{base}") } else { base.to_string() };
        self.within(name, |xml| {
            xml.text("cbc:ID", &number.to_string())?;
            xml.quantity(quantity_name, &quantity)?;
            xml.amount("cbc:LineExtensionAmount", line.net)?;
            xml.within("cac:Item", |xml| {
                xml.text("cbc:Description", &line.product)?;
                xml.text("cbc:Name", &line.description)?;
                xml.category("cac:ClassifiedTaxCategory", line.vat_ppm)
            })?;
            xml.within("cac:Price", |xml| {
                xml.amount("cbc:PriceAmount", Micros(line.net.0.abs()))?;
                xml.quantity("cbc:BaseQuantity", &base.to_string())
            })
        })
    }

    /// C62: pieces.
    fn quantity(&mut self, name: &str, quantity: &str) -> io::Result<()> {
        let element = self.writer.create_element(name).with_attribute(("unitCode", "C62"));
        element.write_text_content(BytesText::new(quantity)).map(|_| ())
    }
}

/// A tax id begins with its country (BR-CO-09).
fn vat_id(tax_id: &str, country: &str) -> String {
    let begins = tax_id.starts_with(country) || (country == "GR" && tax_id.starts_with("EL"));
    if begins { tax_id.to_owned() } else { format!("{country}{tax_id}") }
}

/// Text without what XML can't hold at all.
fn printable(text: &str) -> String {
    let holds =
        |c: char| !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if holds(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::invoice::tests::{returned, sample, zone};

    fn written(document: Document<'_>) -> String {
        String::from_utf8(write(document, zone()).unwrap()).unwrap()
    }

    #[test]
    fn an_invoice_is_prepaid_and_its_words_are_escaped() {
        let text = written(Document::Invoice(&sample()));
        for part in [
            "<cbc:CompanyID>CN91110108769914581E</cbc:CompanyID>",
            "<cbc:RegistrationName>=Müller &amp; Söhne &lt;script&gt;有限公司</cbc:RegistrationName>",
            "<cbc:StartDate>2026-03-01</cbc:StartDate>",
            "<cbc:EndDate>2026-03-31</cbc:EndDate>",
            "<cbc:PrepaidAmount currencyID=\"CNY\">4776.44</cbc:PrepaidAmount>",
            "<cbc:PayableAmount currencyID=\"CNY\">0.00</cbc:PayableAmount>",
            "<cbc:InvoicedQuantity unitCode=\"C62\">111000</cbc:InvoicedQuantity>",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_credit_note_names_the_invoice() {
        let invoice = returned();
        let text = written(Document::CreditNote(&invoice, invoice.returned.as_ref().unwrap()));
        assert!(text.contains("<cbc:CreditNoteTypeCode>381</cbc:CreditNoteTypeCode>"), "{text}");
        assert!(
            text.contains("<cbc:ID>INV-2026-000042</cbc:ID>\n      <cbc:IssueDate>2026-04-01<"),
            "{text}"
        );
    }

    #[test]
    fn a_negative_line_has_a_negative_quantity_and_no_negative_price() {
        let mut invoice = sample();
        invoice.lines[0].net = Micros(-10_000);
        let text = written(Document::Invoice(&invoice));
        assert!(
            text.contains("<cbc:InvoicedQuantity unitCode=\"C62\">-12000</cbc:InvoicedQuantity>"),
            "{text}"
        );
        assert!(text.contains("<cbc:PriceAmount currencyID=\"CNY\">0.01</cbc:PriceAmount>"), "{text}");
    }

    #[test]
    fn without_a_tax_id_of_the_seller_there_is_none() {
        let mut invoice = sample();
        invoice.seller.tax_id = None;
        let fault = write(Document::Invoice(&invoice), zone()).unwrap_err();
        assert!(fault.to_string().contains("INV-2026-000042"), "{fault}");
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(printable("a\u{1}b\u{ffff}短\t"), "a\u{fffd}b\u{fffd}短\t");
        assert_eq!(vat_id("DE123456789", "DE"), "DE123456789");
        assert_eq!(vat_id("91110108769914581E", "CN"), "CN91110108769914581E");
    }
}
