//! Marks become a PDF.

use chrono::{Datelike, Timelike};
use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::error::KrillaError;
use krilla::geom::{PathBuilder, Point, Rect, Size, Transform};
use krilla::image::Image;
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, Stroke};
use krilla::surface::Surface;
use krilla::{Document as Pdf, SerializeSettings};

use super::sheet::{Face, HEIGHT, Ink, Mark, WIDTH};
use super::{Language, PdfFault, Printer};
use crate::domain::period::{Timestamp, Zone};

/// The seller's own sign.
pub struct Logo {
    image: Image,
}

impl Logo {
    /// Reads a PNG or JPEG file.
    pub fn new(file: Vec<u8>) -> Result<Logo, PdfFault> {
        let is_png = file.starts_with(b"\x89PNG");
        let data = file.into();
        // PDF/A lets no viewer make up pixels in between.
        let image = if is_png { Image::from_png(data, false) } else { Image::from_jpeg(data, false) };
        Ok(Logo { image: image.map_err(|error| PdfFault::NoLogo(format!("{error:?}")))? })
    }

    /// Its size where it fills a box as far as its own shape lets it.
    pub fn within(&self, width: f32, height: f32) -> (f32, f32) {
        let (wide, high) = self.image.size();
        let (wide, high) = (wide.max(1) as f32, high.max(1) as f32);
        let scale = (width / wide).min(height / high);
        (wide * scale, high * scale)
    }
}

/// What a file says of itself to programs.
pub struct About<'a> {
    pub title: &'a str,
    pub author: &'a str,
    /// Unlike that of any other document.
    pub id: String,
    pub at: Timestamp,
}

pub fn press(
    pages: &[Vec<Mark>],
    about: &About<'_>,
    language: Language,
    printer: &Printer,
) -> Result<Vec<u8>, PdfFault> {
    let fault = |error: String| PdfFault::Press(error);
    let configuration = ConfigurationBuilder::new().with_archival_validator(Archival::A2_B);
    let configuration = configuration.finish().map_err(|error| fault(format!("{error:?}")))?;
    let settings = SerializeSettings { configuration, enable_tagging: false, ..SerializeSettings::default() };
    let mut pdf = Pdf::new_with(settings);
    for marks in pages {
        let size = PageSettings::from_wh(WIDTH, HEIGHT).ok_or_else(|| fault("no page size".into()))?;
        let mut page = pdf.start_page_with(size);
        let mut surface = page.surface();
        for mark in marks {
            draw(&mut surface, mark, printer);
        }
        surface.finish();
        page.finish();
    }
    let metadata = Metadata::new()
        .title(about.title.to_owned())
        .authors(vec![about.author.to_owned()])
        .creator("Quittance".to_owned())
        .language(language.tag().to_owned())
        .document_id(about.id.clone())
        .creation_date(date_time(about.at, printer.zone));
    pdf.set_metadata(metadata);
    pdf.finish().map_err(|error| match error {
        KrillaError::Validation(faults) => {
            let what: Vec<_> = faults.iter().map(|(what, _)| format!("{what:?}")).collect();
            fault(format!("it would be no PDF/A: {}", what.join(", ")))
        }
        other => fault(other.to_string()),
    })
}

/// Not the time of printing: the document is the same whenever it is printed.
fn date_time(at: Timestamp, zone: Zone) -> DateTime {
    let utc = zone.local(at).naive_utc();
    let small = |number: u32| u8::try_from(number).unwrap_or_default();
    DateTime::new(u16::try_from(utc.year()).unwrap_or_default())
        .month(small(utc.month()))
        .day(small(utc.day()))
        .hour(small(utc.hour()))
        .minute(small(utc.minute()))
        .second(small(utc.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

fn draw(surface: &mut Surface<'_>, mark: &Mark, printer: &Printer) {
    match mark {
        Mark::Text { x, y, text, face } => text_at(surface, *x, *y, text, *face, printer),
        Mark::Block { x, y, width, height, ink } => {
            let mut path = PathBuilder::new();
            if let Some(rect) = Rect::from_xywh(*x, *y, *width, *height) {
                path.push_rect(rect);
            }
            surface.set_stroke(None);
            surface.set_fill(Some(fill(*ink)));
            if let Some(path) = path.finish() {
                surface.draw_path(&path);
            }
        }
        Mark::Logo { x, y, width, height } => {
            if let (Some(logo), Some(size)) = (&printer.logo, Size::from_wh(*width, *height)) {
                surface.push_transform(&Transform::from_translate(*x, *y));
                surface.draw_image(logo.image.clone(), size);
                surface.pop();
            }
        }
    }
}

fn text_at(surface: &mut Surface<'_>, x: f32, y: f32, text: &str, face: Face, printer: &Printer) {
    surface.set_fill(Some(fill(face.ink)));
    // One weight is carried: an outline of the same colour makes it bold.
    let outline = || Stroke { paint: color(face.ink).into(), width: face.size * 0.03, ..Stroke::default() };
    surface.set_stroke(face.bold.then(outline));
    for run in printer.fonts.runs(text, face.size) {
        let start = Point::from_xy(x + run.offset, y);
        surface.draw_glyphs(start, &run.glyphs, run.font, &run.text, face.size, false);
    }
}

fn color(ink: Ink) -> rgb::Color {
    let (red, green, blue) = ink.rgb();
    rgb::Color::new(red, green, blue)
}

fn fill(ink: Ink) -> Fill {
    Fill { paint: color(ink).into(), opacity: NormalizedF32::ONE, ..Fill::default() }
}
