//! What PDFs are printed with: fonts and a logo, from the configuration and the system.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::export::pdf::{Fonts, Logo, Printer};

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
