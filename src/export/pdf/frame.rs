//! What all documents have in common: a letterhead, facts, tables that go over as many pages as they take,
//! totals, and a foot on each page.

use super::press::Logo;
use super::sheet::{BODY, BOTTOM, Face, HEIGHT, Ink, LEFT, MARGIN, Mark, RIGHT, SMALL, Sheets, WIDTH};
use crate::domain::invoice::Party;

/// Between the margins.
pub const ACROSS: f32 = WIDTH - 2.0 * MARGIN;

/// A column of a table.
pub struct Column<'a> {
    pub heading: &'a str,
    pub width: f32,
    pub set: Set,
}

/// How the cells of a column are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// To the left, on one line.
    Left,
    /// To the left, over as many lines as it takes.
    Wrapped,
    /// To the right, as numbers are; smaller where there is no room.
    Right,
}

impl Sheets<'_> {
    /// Whose document it is on the left, what it is on the right.
    pub fn letterhead(&mut self, logo: Option<&Logo>, whose: &str, title: &str, number: &str) {
        let (top, half) = (MARGIN, ACROSS * 0.58);
        let mut below = top;
        if let Some(logo) = logo {
            let (width, height) = logo.within(150.0, 44.0);
            self.mark(Mark::Logo { x: LEFT, y: top, width, height });
            below = top + height + 14.0;
        }
        let name = Face::new(12.0, Ink::Text).bold();
        let below = self.lines(LEFT, below + 11.0, half, whose, name);
        self.text_to(RIGHT, top + 18.0, title, Face::new(22.0, Ink::Accent).bold(), ACROSS * 0.4);
        self.text_to(RIGHT, top + 36.0, number, Face::new(10.0, Ink::Text), ACROSS * 0.4);
        let y = below.max(top + 48.0) - 4.0;
        self.rule(LEFT, y, ACROSS, Ink::Accent, 1.4);
        self.y = y + 22.0;
    }

    /// Begins a page that goes on with a document where something of this height has no room on this one;
    /// tells whether it did.
    pub fn make_room(&mut self, height: f32, title: &str) -> bool {
        let turns = !self.has_room(height);
        if turns {
            self.turn();
            self.text(LEFT, MARGIN + 8.0, title, Face::new(9.0, Ink::Accent).bold());
            self.y = MARGIN + 22.0;
        }
        turns
    }

    /// Labels with their values, three in a row.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        const IN_A_ROW: usize = 3;
        let width = ACROSS / IN_A_ROW as f32;
        for row in facts.chunks(IN_A_ROW) {
            let top = self.y;
            let mut ends = top;
            for (column, (label, value)) in row.iter().enumerate() {
                let x = LEFT + width * column as f32;
                self.text(x, top, label, SMALL);
                ends = self.lines(x, top + 13.0, width - 10.0, value, BODY).max(ends);
            }
            self.y = ends + 6.0;
        }
        self.y += 4.0;
    }

    pub fn head(&mut self, left: f32, columns: &[Column<'_>]) {
        let height = 20.0;
        let width = columns.iter().map(|column| column.width).sum();
        let y = self.y;
        self.mark(Mark::Block { x: left, y, width, height, ink: Ink::Shade });
        let face = Face::new(8.0, Ink::Accent).bold();
        let mut x = left;
        for column in columns {
            self.cell(x, y + 13.0, column, column.heading, face);
            x += column.width;
        }
        self.y += height;
    }

    /// How high a row is, where `more` stands below its text.
    pub fn height_of(&self, columns: &[Column<'_>], cells: &[String], more: f32) -> f32 {
        let lines = |(column, cell): (&Column<'_>, &String)| match column.set {
            Set::Wrapped => self.fonts.wrap(cell, BODY.size, column.width - 8.0).len(),
            Set::Left | Set::Right => 1,
        };
        let lines = columns.iter().zip(cells).map(lines).max().unwrap_or(1);
        lines as f32 * BODY.size * 1.4 + more + 9.0
    }

    /// A row of a height; `by_the_way` stands below what is wrapped.
    pub fn row(
        &mut self,
        left: f32,
        columns: &[Column<'_>],
        cells: &[String],
        height: f32,
        by_the_way: &str,
    ) {
        let top = self.y;
        let mut x = left;
        for (column, cell) in columns.iter().zip(cells) {
            let y = top + 14.0;
            match column.set {
                Set::Left | Set::Right => self.cell(x, y, column, cell, BODY),
                Set::Wrapped => {
                    let below = self.lines(x + 4.0, y, column.width - 8.0, cell, BODY);
                    self.text(x + 4.0, below - 1.5, by_the_way, Face::new(7.5, Ink::Grey));
                }
            }
            x += column.width;
        }
        self.y += height;
        let width = x - left;
        self.rule(left, self.y, width, Ink::Hair, 0.6);
    }

    fn cell(&mut self, x: f32, y: f32, column: &Column<'_>, text: &str, face: Face) {
        match column.set {
            Set::Right => self.text_to(x + column.width - 4.0, y, text, face, column.width - 6.0),
            Set::Left | Set::Wrapped => self.text(x + 4.0, y, text, face),
        }
    }

    /// Sums below each other at the right edge, the strong ones under a rule; gives where they end.
    pub fn totals(&mut self, top: f32, totals: &[(&str, String, bool)]) -> f32 {
        let (x, width) = (RIGHT - 200.0, 200.0);
        let mut y = top + 8.0;
        for (index, (label, value, strong)) in totals.iter().enumerate() {
            if *strong && index > 0 {
                self.rule(x, y - 12.5, width, Ink::Accent, 0.8);
                y += 3.0;
            }
            let face = if *strong { Face::new(11.0, Ink::Text).bold() } else { BODY };
            self.text(x, y, label, face);
            self.text_to(RIGHT - 4.0, y, value, face, 110.0);
            y += 19.0;
        }
        y
    }

    /// The foot of each page: whose document it is, and which page of how many.
    pub fn feet(&mut self, seller: &Party, numbered: fn(usize, usize) -> String) {
        let tax_id = seller.tax_id.iter().map(|id| format!(" · {id}")).collect::<String>();
        let whose = format!("{}{tax_id}", seller.name);
        let whose = self.fonts.wrap(&whose, SMALL.size, ACROSS * 0.75).remove(0);
        let of = self.pages.len();
        let pages = std::mem::take(&mut self.pages);
        for (index, page) in pages.into_iter().enumerate() {
            self.pages.push(page);
            self.rule(LEFT, BOTTOM + 12.0, ACROSS, Ink::Hair, 0.6);
            let y = HEIGHT - 38.0;
            self.text(LEFT, y, &whose, SMALL);
            self.text_to(RIGHT, y, &numbered(index + 1, of), SMALL, ACROSS * 0.25);
        }
    }
}
