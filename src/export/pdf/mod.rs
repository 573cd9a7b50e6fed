//! Invoices, credit notes and bills as PDF/A: the same value gives the same bytes.
//!
//! ```text
//!  document --layout--> pages of marks --press--> PDF
//!  bill     --bill----'
//!         frame: what both have in common   fonts: glyphs and widths   words: labels in the account's language
//! ```

mod bill;
mod fonts;
mod frame;
mod layout;
mod press;
mod sheet;
mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use bill::Issued;
pub use fonts::{Fonts, is_right_to_left};
pub use press::Logo;
pub use words::Language;

use self::press::About;
use self::sheet::Mark;
use super::invoice::Document;
use crate::domain::period::Zone;

/// What all documents of a run are printed with.
pub struct Printer {
    pub fonts: Fonts,
    pub logo: Option<Logo>,
    pub zone: Zone,
    /// What people call each product.
    pub names: BTreeMap<String, String>,
}

/// A printed document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    pub pdf: Vec<u8>,
    /// Characters that no font has, or that are written from right to left; question marks stand for them.
    pub missing: BTreeSet<char>,
}

/// Why nothing can be printed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PdfFault {
    #[error("the font can't be used: give a TrueType or OpenType file")]
    NoFont,
    #[error("the logo can't be used ({0}): give a PNG or JPEG file")]
    NoLogo(String),
    #[error("the PDF can't be made: {0}")]
    Press(String),
}

impl Printer {
    pub fn print(&self, document: Document<'_>, language: Language) -> Result<Printed, PdfFault> {
        let pages = layout::pages(document, self, language.words());
        let invoice = document.invoice();
        let about = About {
            title: document.number(),
            author: &invoice.seller.name,
            id: format!("{} {}", invoice.invoice_id, document.number()),
            at: document.issued_at(),
        };
        self.press(&pages, &about, language)
    }

    pub fn print_bill(&self, issued: Issued<'_>, language: Language) -> Result<Printed, PdfFault> {
        let pages = bill::pages(issued, self, language.bill_words());
        let Issued { bill, seller, .. } = issued;
        let about = About {
            title: &bill.bill_id,
            author: &seller.name,
            id: format!("{} {}", bill.account_id, bill.bill_id),
            at: bill.issued_at,
        };
        self.press(&pages, &about, language)
    }

    fn press(&self, pages: &[Vec<Mark>], about: &About<'_>, language: Language) -> Result<Printed, PdfFault> {
        let pdf = press::press(pages, about, language, self)?;
        Ok(Printed { pdf, missing: self.fonts.take_missing() })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::export::invoice::tests::{sample, zone};

    pub fn printer() -> Printer {
        Printer {
            fonts: Fonts::new(None, Vec::new).unwrap(),
            logo: None,
            zone: zone(),
            names: BTreeMap::new(),
        }
    }

    #[test]
    fn the_same_document_gives_the_same_bytes() {
        let invoice = sample();
        let document = Document::Invoice(&invoice);
        let first = printer().print(document, Language::Chinese).unwrap();
        assert!(first.pdf.starts_with(b"%PDF-1.7") && first.missing.is_empty());
        assert_eq!(printer().print(document, Language::Chinese).unwrap(), first);
        // One printer prints many documents, each as if it were the only one.
        let printer = printer();
        printer.print(document, Language::English).unwrap();
        assert_eq!(printer.print(document, Language::Chinese).unwrap(), first);
    }

    #[test]
    fn characters_without_a_font_are_told() {
        let mut invoice = sample();
        invoice.buyer.name = "\u{20bb7}野家 \u{202e}".into();
        let printed = printer().print(Document::Invoice(&invoice), Language::English).unwrap();
        assert!(printed.missing.contains(&'\u{20bb7}'), "{:?}", printed.missing);
        assert!(!printed.missing.contains(&'\u{202e}'), "{:?}", printed.missing);
    }

    #[test]
    fn a_logo_that_is_none_is_refused() {
        assert!(matches!(Logo::new(b"no image".to_vec()), Err(PdfFault::NoLogo(_))));
    }
}
