//! What all documents have in common: a letterhead, facts, tables that go over as many pages as they take,
//! totals, and a foot on each page.

use super::press::Logo;
use super::sheet::{
    BODY, BOTTOM, Face, HEIGHT, Ink, LEFT, MARGIN, Mark, RIGHT, SMALL, Sheets, Stack, TOP, WIDTH, height_of,
    parts,
};
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
    /// To the left, over as many lines as it takes.
    Wrapped,
    /// To the right, as numbers are; smaller where there is no room.
    Right,
}

/// A row of a table: a cell a column, and what stands smaller below the one of `about`.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub cells: Vec<String>,
    pub by_the_way: String,
    pub about: usize,
}

/// What is said below a cell.
const BY_THE_WAY: Face = Face::new(7.5, Ink::Grey);
/// From the top of a row to its first baseline, and what is empty above and below its lines.
const ROW_BASELINE: f32 = 14.0;
const ROW_EMPTY: f32 = 9.0;
const HEAD_HEIGHT: f32 = 20.0;
/// The most that lines of a row can take on a page: below title and head.
const ROW_MOST: f32 = BOTTOM - TOP - HEAD_HEIGHT - ROW_EMPTY;

impl Sheets<'_> {
    /// Whose document it is on the left, what it is and its number on the right.
    pub fn letterhead(
        &mut self,
        logo: Option<&Logo>,
        whose: &str,
        title: &str,
        (label, number): (&str, &str),
    ) {
        let (top, half) = (MARGIN, ACROSS * 0.58);
        let mut below = top;
        if let Some(logo) = logo {
            let (width, height) = logo.within(150.0, 44.0);
            self.mark(Mark::Logo { x: LEFT, y: top, width, height });
            below = top + height + 14.0;
        }
        let name = self.stack(LEFT, half, whose, Face::new(12.0, Ink::Text).bold());
        let below = self.put(below + 11.0, &name);
        self.text_to(RIGHT, top + 18.0, title, Face::new(22.0, Ink::Accent).bold(), ACROSS * 0.4);
        let labelled = format!("{label} {number}");
        self.text_to(RIGHT, top + 36.0, &labelled, Face::new(10.0, Ink::Text), ACROSS * 0.4);
        let y = below.max(top + 48.0) - 4.0;
        self.rule(LEFT, y, ACROSS, Ink::Accent, 1.4);
        self.y = y + 22.0;
        self.title = format!("{title} {number}");
    }

    /// Texts side by side, over pages where they are higher than one.
    pub fn side_by_side(&mut self, stacks: Vec<Stack>) {
        for part in parts(stacks, BOTTOM - TOP) {
            let height = height_of(&part);
            self.make_room(height);
            part.iter().for_each(|stack| _ = self.put(self.y, stack));
            self.y += height;
        }
    }

    /// Labels with their values, three in a row.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        const IN_A_ROW: usize = 3;
        let width = ACROSS / IN_A_ROW as f32;
        for row in facts.chunks(IN_A_ROW) {
            let stack = |(column, (label, value)): (usize, &(&str, String))| {
                let (x, width) = (LEFT + width * column as f32, width - 10.0);
                self.stack(x, width, label, SMALL).above(2.0, self.stack(x, width, value, BODY))
            };
            let stacks = row.iter().enumerate().map(stack).collect();
            self.side_by_side(stacks);
            self.y += 6.0;
        }
        self.y += 4.0;
    }

    /// A table, its head on each page.
    pub fn table(&mut self, left: f32, columns: &[Column<'_>], rows: &[Row]) {
        self.head(left, columns);
        for row in rows {
            for part in parts(self.cells(left, columns, row), ROW_MOST) {
                let height = height_of(&part) + ROW_EMPTY;
                if self.make_room(height) {
                    self.head(left, columns);
                }
                part.iter().for_each(|stack| _ = self.put(self.y + ROW_BASELINE, stack));
                self.y += height;
                let width = columns.iter().map(|column| column.width).sum();
                self.rule(left, self.y, width, Ink::Hair, 0.6);
            }
        }
    }

    /// How high a table is whose rows take a line each.
    pub fn plain_height(rows: usize) -> f32 {
        HEAD_HEIGHT + rows as f32 * (BODY.size * 1.4 + ROW_EMPTY)
    }

    fn head(&mut self, left: f32, columns: &[Column<'_>]) {
        let width = columns.iter().map(|column| column.width).sum();
        let y = self.y;
        self.mark(Mark::Block { x: left, y, width, height: HEAD_HEIGHT, ink: Ink::Shade });
        let face = Face::new(8.0, Ink::Accent).bold();
        let mut x = left;
        for column in columns {
            let heading = self.cell(x, column, column.heading, face);
            self.put(y + 13.0, &heading);
            x += column.width;
        }
        self.y += HEAD_HEIGHT;
    }

    fn cells(&self, left: f32, columns: &[Column<'_>], row: &Row) -> Vec<Stack> {
        let mut x = left;
        let mut stacks = Vec::new();
        for (index, (column, cell)) in columns.iter().zip(&row.cells).enumerate() {
            let mut stack = self.cell(x, column, cell, BODY);
            if index == row.about && !row.by_the_way.is_empty() {
                stack = stack.above(-1.5, self.cell(x, column, &row.by_the_way, BY_THE_WAY));
            }
            stacks.push(stack);
            x += column.width;
        }
        stacks
    }

    fn cell(&self, x: f32, column: &Column<'_>, text: &str, face: Face) -> Stack {
        match column.set {
            Set::Right => self.stack_to(x + column.width - 4.0, text, face, column.width - 6.0),
            Set::Wrapped => self.stack(x + 4.0, column.width - 8.0, text, face),
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

    /// Something said by the way, below all else.
    pub fn note(&mut self, note: &str) {
        let note = self.stack(LEFT, ACROSS, note, SMALL);
        self.make_room(note.height() + 6.0);
        self.y = self.put(self.y + 6.0, &note) - 4.0;
    }

    /// The foot of each page: whose document it is, and which page of how many.
    pub fn feet(&mut self, seller: &Party, numbered: fn(usize, usize) -> String) {
        let tax_id = seller.tax_id.iter().map(|id| format!(" · {id}")).collect::<String>();
        let whose = format!("{}{tax_id}", seller.name);
        let whose = self.fonts.cut(&whose, SMALL.size, ACROSS * 0.75);
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
