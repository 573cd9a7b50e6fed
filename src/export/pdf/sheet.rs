//! Pages as lists of marks, and the pen that makes them: positions are in points from the top left.

use super::fonts::Fonts;

/// A4.
pub const WIDTH: f32 = 595.28;
pub const HEIGHT: f32 = 841.89;
pub const MARGIN: f32 = 50.0;
/// Where the content ends; below it stands the foot.
pub const BOTTOM: f32 = HEIGHT - 64.0;
pub const LEFT: f32 = MARGIN;
pub const RIGHT: f32 = WIDTH - MARGIN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Text,
    /// For what is said by the way.
    Grey,
    /// For titles and lines that lead the eye.
    Accent,
    /// Thin lines between rows.
    Hair,
    /// Behind the head of a table.
    Shade,
}

impl Ink {
    pub fn rgb(self) -> (u8, u8, u8) {
        match self {
            Ink::Text => (0x1c, 0x1f, 0x24),
            Ink::Grey => (0x62, 0x6a, 0x76),
            Ink::Accent => (0x1d, 0x3f, 0x72),
            Ink::Hair => (0xd5, 0xda, 0xe1),
            Ink::Shade => (0xee, 0xf2, 0xf7),
        }
    }
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    pub size: f32,
    pub ink: Ink,
    pub bold: bool,
}

impl Face {
    pub const fn new(size: f32, ink: Ink) -> Face {
        Face { size, ink, bold: false }
    }

    pub const fn bold(self) -> Face {
        Face { bold: true, ..self }
    }
}

/// What most is printed in, and what is said by the way.
pub const BODY: Face = Face::new(9.0, Ink::Text);
pub const SMALL: Face = Face::new(8.0, Ink::Grey);

/// Something on a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A text from its left end on its baseline.
    Text {
        x: f32,
        y: f32,
        text: String,
        face: Face,
    },
    Block {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        ink: Ink,
    },
    /// The seller's logo.
    Logo {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
    },
}

/// Pages in the making.
pub struct Sheets<'a> {
    pub fonts: &'a Fonts,
    pub pages: Vec<Vec<Mark>>,
    /// How far down the page the next thing begins.
    pub y: f32,
}

impl<'a> Sheets<'a> {
    pub fn new(fonts: &'a Fonts) -> Sheets<'a> {
        Sheets { fonts, pages: vec![Vec::new()], y: MARGIN }
    }

    pub fn turn(&mut self) {
        self.pages.push(Vec::new());
        self.y = MARGIN;
    }

    /// Whether something of this height has room on the page.
    pub fn has_room(&self, height: f32) -> bool {
        self.y + height <= BOTTOM
    }

    pub fn mark(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.push(mark);
        }
    }

    pub fn text(&mut self, x: f32, y: f32, text: &str, face: Face) {
        self.mark(Mark::Text { x, y, text: text.to_owned(), face });
    }

    /// A text that ends at `right`, made smaller where it is wider than `width`.
    pub fn text_to(&mut self, right: f32, y: f32, text: &str, face: Face, width: f32) {
        let wide = self.fonts.width(text, face.size);
        let size = if wide > width { face.size * width / wide } else { face.size };
        let x = right - self.fonts.width(text, size);
        self.text(x, y, text, Face { size, ..face });
    }

    /// Lines of a text below each other from `y` on; gives where the next one would be.
    pub fn lines(&mut self, x: f32, y: f32, width: f32, text: &str, face: Face) -> f32 {
        let step = face.size * 1.4;
        let mut y = y;
        for line in self.fonts.wrap(text, face.size, width) {
            self.text(x, y, &line, face);
            y += step;
        }
        y
    }

    pub fn rule(&mut self, x: f32, y: f32, width: f32, ink: Ink, height: f32) {
        self.mark(Mark::Block { x, y, width, height, ink });
    }
}
