//! Reads `[bills]` and `[invoices]` of quittance.toml (R78, R83, D13, D29, D80).

use std::path::{Path, PathBuf};

use super::reader::Table;
use super::values::{country_of_the_standard, flag, one_of, text};
use crate::domain::bill::Rounding;
use crate::domain::invoice::{CreditCode, Party};

/// How bills are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bills {
    pub rounding: Rounding,
    /// Whether accounts that used and bought nothing get a bill, too.
    pub zero_bills: bool,
}

/// How invoices are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoices {
    /// The invoicing entity, which need not be the payee (R83).
    pub seller: Party,
    /// What an invoice is about.
    pub content: String,
    /// What its numbers begin with; those of credit notes have an `R` behind it.
    pub series: String,
    /// What PDFs are printed with; None: what the program carries, and no logo.
    pub font: Option<PathBuf>,
    pub logo: Option<PathBuf>,
    /// What the Chinese tax platform files the service under: a short name and a code of 19 digits.
    pub tax_category: Option<String>,
    pub tax_code: Option<String>,
}

/// The sample entity of the shipped file.
impl Default for Invoices {
    fn default() -> Invoices {
        let seller = Party {
            name: "Example Communications (Beijing) Co., Ltd.".to_owned(),
            tax_id: Some("91110105MA0000000Y".to_owned()),
            address: Some("1 Example Road, Chaoyang, Beijing".to_owned()),
            bank: Some("Example Bank, 0000 0000 0000".to_owned()),
            country: "CN".to_owned(),
        };
        Invoices {
            seller,
            content: "Technical service fee".to_owned(),
            series: "QT".to_owned(),
            font: None,
            logo: None,
            tax_category: None,
            tax_code: None,
        }
    }
}

impl Invoices {
    /// The same with its files beside the one that names them.
    pub fn beside(self, file: &Path) -> Invoices {
        let beside = |named: Option<PathBuf>| named.map(|name| file.with_file_name(name));
        Invoices { font: beside(self.font.clone()), logo: beside(self.logo.clone()), ..self }
    }

    /// Whether nobody has put in the real invoicing entity yet.
    pub fn is_sample(&self) -> bool {
        self.seller == Invoices::default().seller
    }
}

pub fn read_bills(root: &mut Table<'_>) -> Bills {
    let Some(mut section) = root.table("bills") else { return Bills::default() };
    let roundings = [("down", Rounding::Down), ("half_up", Rounding::HalfUp)];
    let bills = Bills {
        rounding: section.optional("rounding", one_of(&roundings)).unwrap_or_default(),
        zero_bills: section.optional("zero_bills", flag).unwrap_or_default(),
    };
    section.finish();
    bills
}

pub fn read_invoices(root: &mut Table<'_>) -> Invoices {
    let defaults = Invoices::default();
    let Some(mut section) = root.table("invoices") else { return defaults };
    let name = section.optional("name", text);
    let tax_id = section.optional("tax_id", text);
    let address = section.optional("address", text);
    let bank = section.optional("bank", text);
    let country = section.optional("country", country_of_the_standard).unwrap_or_else(|| "CN".to_owned());
    let content = section.optional("content", text).unwrap_or(defaults.content);
    let series = section.optional("series", |value| {
        let series = text(value)?;
        let plain = series.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match plain && series.len() <= 20 {
            true => Ok(series),
            false => Err(format!("`{series}` can't begin a number: use up to 20 letters, digits and -")),
        }
    });
    // Another's name would stand beside them.
    if name.is_none() && (tax_id.is_some() || address.is_some() || bank.is_some()) {
        section.fault_here("the invoicing entity has no name: add `name`");
    }
    if let Some(tax_id) = tax_id.as_ref().filter(|id| country == "CN" && CreditCode::parse(id).is_none()) {
        let what = format!(
            "`tax_id`: `{tax_id}` is no unified social credit code: 18 characters, the 3rd to 8th of which are \
             digits and the last follows from the others; copy it again"
        );
        section.fault_at(section.place_of("tax_id"), what);
    }
    let font = section.optional("font", text).map(PathBuf::from);
    let logo = section.optional("logo", text).map(PathBuf::from);
    let tax_category = section.optional("tax_category", text);
    let tax_code = section.optional("tax_code", |value| {
        let code = text(value)?;
        match code.len() == 19 && code.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(code),
            false => Err(format!("`{code}` is no classification code: it has 19 digits")),
        }
    });
    section.finish();
    Invoices {
        font,
        logo,
        tax_category,
        tax_code,
        seller: match name {
            Some(name) => Party { name, tax_id, address, bank, country },
            None => defaults.seller,
        },
        content,
        series: series.unwrap_or(defaults.series),
    }
}
