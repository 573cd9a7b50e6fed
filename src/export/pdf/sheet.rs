//! Pages as lists of marks, and the pen that makes them: positions are in points from the top left.

use super::fonts::Fonts;

/// A4.
pub const WIDTH: f32 = 595.28;
pub const HEIGHT: f32 = 841.89;
pub const MARGIN: f32 = 50.0;
/// Where the content ends; below it stands the foot.
pub const BOTTOM: f32 = HEIGHT - 64.0;
/// Where the content of a page begins that goes on with a document, below its title.
pub const TOP: f32 = MARGIN + 22.0;
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
    /// Stands on top of each page but the first.
    pub title: String,
}

/// Lines of text below each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stack {
    x: f32,
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    text: String,
    face: Face,
    /// From its baseline to that of the next one.
    step: f32,
}

impl Line {
    fn new(text: String, face: Face) -> Line {
        Line { text, face, step: face.size * 1.4 }
    }
}

impl Stack {
    pub fn height(&self) -> f32 {
        self.lines.iter().map(|line| line.step).sum()
    }

    /// The same with more lines below, `apart` from its own, at their left end.
    pub fn above(mut self, apart: f32, more: Stack) -> Stack {
        if let Some(last) = self.lines.last_mut() {
            last.step += apart;
        }
        self.lines.extend(more.lines);
        self
    }

    /// Takes away what is below this height, but for the first line, and gives it.
    fn cut(&mut self, height: f32) -> Stack {
        let mut used = 0.0;
        let fits = self.lines.iter().take_while(|line| {
            used += line.step;
            used <= height
        });
        let kept = fits.count().max(1).min(self.lines.len());
        Stack { x: self.x, lines: self.lines.split_off(kept) }
    }
}

/// Where the highest of stacks side by side ends below their top.
pub fn height_of(stacks: &[Stack]) -> f32 {
    stacks.iter().map(Stack::height).fold(0.0, f32::max)
}

/// Stacks side by side, in parts that are no higher than this: one, unless they are higher than a page.
pub fn parts(mut stacks: Vec<Stack>, height: f32) -> Vec<Vec<Stack>> {
    let mut parts = Vec::new();
    loop {
        let rest: Vec<Stack> = stacks.iter_mut().map(|stack| stack.cut(height)).collect();
        parts.push(stacks);
        if rest.iter().all(|stack| stack.lines.is_empty()) {
            return parts;
        }
        stacks = rest;
    }
}

impl<'a> Sheets<'a> {
    pub fn new(fonts: &'a Fonts) -> Sheets<'a> {
        Sheets { fonts, pages: vec![Vec::new()], y: MARGIN, title: String::new() }
    }

    /// Begins a page where something of this height has no room on this one; tells whether it did.
    pub fn make_room(&mut self, height: f32) -> bool {
        let turns = self.y + height > BOTTOM;
        if turns {
            self.pages.push(Vec::new());
            let title = std::mem::take(&mut self.title);
            self.text(LEFT, MARGIN + 8.0, &title, Face::new(9.0, Ink::Accent).bold());
            self.title = title;
            self.y = TOP;
        }
        turns
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
        let stack = self.stack_to(right, text, face, width);
        self.put(y, &stack);
    }

    /// A text over as many lines as it takes.
    pub fn stack(&self, x: f32, width: f32, text: &str, face: Face) -> Stack {
        let lines = self.fonts.wrap(text, face.size, width).into_iter();
        Stack { x, lines: lines.map(|text| Line::new(text, face)).collect() }
    }

    /// A text on one line that ends at `right`, made smaller where it is wider than `width`.
    pub fn stack_to(&self, right: f32, text: &str, face: Face, width: f32) -> Stack {
        let wide = self.fonts.width(text, face.size);
        let size = if wide > width { face.size * width / wide } else { face.size };
        let x = right - self.fonts.width(text, size);
        Stack { x, lines: vec![Line::new(text.to_owned(), Face { size, ..face })] }
    }

    /// Prints a stack, its first baseline at `y`; gives where the next line would be.
    pub fn put(&mut self, y: f32, stack: &Stack) -> f32 {
        let mut y = y;
        for line in &stack.lines {
            self.text(stack.x, y, &line.text, line.face);
            y += line.step;
        }
        y
    }

    pub fn rule(&mut self, x: f32, y: f32, width: f32, ink: Ink, height: f32) {
        self.mark(Mark::Block { x, y, width, height, ink });
    }
}
