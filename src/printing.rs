//! What PDFs are printed with: fonts and a logo, from the configuration and the system.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::domain::period::Month;
use crate::export::pdf::{Fonts, Logo, Printer, is_right_to_left};

/// Where systems keep fonts that have what ours lacks.
const SYSTEM_FONTS: &[&str] = &[
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
];

/// A font or logo of the operator's that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {fault}; see `font` and `logo` in [invoices] of quittance.toml")]
pub struct BadBranding {
    path: String,
    fault: String,
}

impl BadBranding {
    fn new(path: &Path, fault: &dyn Display) -> BadBranding {
        BadBranding { path: path.display().to_string(), fault: fault.to_string() }
    }
}

/// A printer with the operator's own font and logo where there are any.
///
/// # Errors
/// Where one of them can't be read, or is none.
pub fn printer(config: &Config) -> Result<Printer, BadBranding> {
    let system = || SYSTEM_FONTS.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    let fonts = match branding(&config.invoices.font)? {
        Some((path, font)) => Fonts::new(Some(font), system).map_err(|fault| BadBranding::new(&path, &fault)),
        None => Fonts::new(None, system).map_err(|fault| BadBranding::new(Path::new("the font"), &fault)),
    }?;
    let logo = match branding(&config.invoices.logo)? {
        Some((path, image)) => Some(Logo::new(image).map_err(|fault| BadBranding::new(&path, &fault))?),
        None => None,
    };
    let products = config.catalog.products.iter();
    let names = products.map(|product| (product.id.to_string(), product.name.clone())).collect();
    Ok(Printer { fonts, logo, zone: config.zone, names })
}

/// A file that the configuration names, with its path.
fn branding(path: &Option<PathBuf>) -> Result<Option<(PathBuf, Vec<u8>)>, BadBranding> {
    let Some(path) = path else { return Ok(None) };
    let bytes = std::fs::read(path).map_err(|error| BadBranding::new(path, &error))?;
    Ok(Some((path.clone(), bytes)))
}

/// What to say of characters that question marks are printed for, each with the first document that needed it.
pub fn unprinted(missing: &BTreeMap<char, String>) -> Vec<String> {
    let (turned, lacking): (Vec<_>, Vec<_>) = missing.iter().partition(|(c, _)| is_right_to_left(**c));
    // The letters themselves would turn the line that names them.
    let code = |c: &char| format!("U+{:04X}", u32::from(*c));
    let turned = listed(turned.into_iter().map(|(c, number)| format!("{} (first in {number})", code(c))));
    let lacking =
        listed(lacking.into_iter().map(|(c, number)| format!("{c} ({}, first in {number})", code(c))));
    let turned = turned.map(|which| {
        format!("A question mark is printed for letters that are written from right to left: {which}")
    });
    let lacking = lacking.map(|which| {
        format!(
            "No font has {which}: a question mark is printed instead; install fonts-noto-cjk, or name a font in \
             [invoices]"
        )
    });
    lacking.into_iter().chain(turned).collect()
}

/// The first of many; None where there are none.
fn listed(words: impl ExactSizeIterator<Item = String>) -> Option<String> {
    const MOST: usize = 50;
    let more = words.len().saturating_sub(MOST);
    let mut words: Vec<String> = words.take(MOST).collect();
    words.extend((more > 0).then(|| format!("and {more} more")));
    (!words.is_empty()).then(|| words.join(", "))
}

/// The name of a bill's file, plain on every system: what else an account's id may have becomes a dash.
pub fn bill_file_name(account_id: &str, month: Month) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let account: String = account_id.chars().map(plain).take(64).collect();
    format!("bill-{account}-{month}.pdf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain() {
        let month: Month = "2026-03".parse().unwrap();
        assert_eq!(bill_file_name("acme", month), "bill-acme-2026-03.pdf");
        assert_eq!(bill_file_name("a@b:c+d/..\\\"\r\n短", month), "bill-a-b-c-d-..------2026-03.pdf");
    }

    #[test]
    fn characters_that_are_not_printed_are_told_by_their_reasons_and_no_more_than_a_screenful() {
        let told = |text: &str| unprinted(&text.chars().map(|c| (c, "QT-1".to_owned())).collect());
        assert_eq!(told(""), Vec::<String>::new());
        let [lacking, turned] = &told("한שם")[..] else { panic!("{:?}", told("한שם")) };
        assert!(lacking.starts_with("No font has 한 (U+D55C, first in QT-1): a question mark"), "{lacking}");
        assert!(
            turned.ends_with("right to left: U+05DD (first in QT-1), U+05E9 (first in QT-1)"),
            "{turned}"
        );
        let many: String = ('가'..='깃').collect();
        let said = told(&many).concat();
        assert!(said.contains(&format!("and {} more", many.chars().count() - 50)), "{said}");
    }
}
