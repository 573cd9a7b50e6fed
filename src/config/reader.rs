//! Reads a TOML text by typed keys and keeps every fault with its place.
//!
//! Each `[table]` is asked for the keys it may have; [`Table::finish`] then reports the keys that
//! nobody asked for, so that a misspelt key is never silently a default.

use std::cell::RefCell;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One fault: where, what is wrong, and how to mend it. Sorts by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub file: String,
    /// Line and column from 1, the column in characters; None where a whole file is at fault.
    pub at: Option<(usize, usize)>,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// A byte offset into a file.
pub type Place = usize;

/// What reading a value gives: the value, or what is wrong with it and how to mend it.
pub type Reading<T> = Result<T, String>;

/// One file of the configuration and the faults found in it so far.
#[derive(Debug)]
pub struct File<'t> {
    name: &'t str,
    text: &'t str,
    faults: RefCell<Vec<Fault>>,
}

impl<'t> File<'t> {
    pub fn new(name: &'t str, text: &'t str) -> File<'t> {
        File { name, text, faults: RefCell::default() }
    }

    /// The file's tree; None, with a fault noted, where the text isn't TOML. Only the first such
    /// fault is told: one missing bracket makes nonsense of all the lines after it.
    pub fn parse(&self) -> Option<DeTable<'t>> {
        let (tree, errors) = DeTable::parse_recoverable(self.text);
        let place = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        let Some(first) = errors.iter().min_by_key(|error| place(error)) else {
            return Some(tree.into_inner());
        };
        self.fault(place(first), format!("this is not TOML: {}", first.message()));
        None
    }

    /// Notes a fault. Each is told on a line of its own, so that a line break in what was written shows as
    /// it is spelled.
    pub fn fault(&self, place: Place, what: impl Into<String>) {
        let at = Some(self.line_and_column(place));
        let mut line = String::new();
        for letter in what.into().chars() {
            if letter.is_control() {
                line.extend(letter.escape_default());
            } else {
                line.push(letter);
            }
        }
        self.faults.borrow_mut().push(Fault { file: self.name.to_owned(), at, what: line });
    }

    /// `prices.toml:12`, to point from one fault to another place.
    pub fn line_of(&self, place: Place) -> String {
        format!("{}:{}", self.name, self.line_and_column(place).0)
    }

    pub fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }

    fn line_and_column(&self, place: Place) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(place)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// A table of a file, being asked for its keys.
#[derive(Debug)]
pub struct Table<'f> {
    file: &'f File<'f>,
    entries: &'f DeTable<'f>,
    place: Place,
    asked: Vec<&'static str>,
}

/// One entry of a table whose keys are data: countries, accounts.
#[derive(Debug)]
pub struct Entry<'f> {
    pub key: &'f str,
    pub key_place: Place,
    pub value: &'f Spanned<DeValue<'f>>,
}

impl<'f> Table<'f> {
    /// The table that is the whole file.
    pub fn root(file: &'f File<'f>, entries: &'f DeTable<'f>) -> Table<'f> {
        Table { file, entries, place: 0, asked: Vec::new() }
    }

    /// Where the table begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Where the value of a key stands; the table's own place where it has no such key.
    pub fn place_of(&self, key: &str) -> Place {
        self.entries.get(key).map_or(self.place, |value| value.span().start)
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Notes a fault of the table as a whole.
    pub fn fault_here(&self, what: impl Into<String>) {
        self.file.fault(self.place, what);
    }

    /// Notes a fault of something inside the table.
    pub fn fault_at(&self, place: Place, what: impl Into<String>) {
        self.file.fault(place, what);
    }

    /// Notes a fault of a key's value.
    pub fn fault(&self, key: &str, what: impl fmt::Display) {
        self.file.fault(self.place_of(key), format!("`{key}`: {what}"));
    }

    /// The value of a key, where it is there and in order.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Reading<T>,
    ) -> Option<T> {
        let value = self.ask(key)?;
        read(value.get_ref()).map_err(|what| self.fault(key, what)).ok()
    }

    /// The value of a key that must be there.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Reading<T>,
    ) -> Option<T> {
        if !self.has(key) {
            self.fault_here(format!("the key `{key}` is missing: add it here"));
        }
        self.optional(key, read)
    }

    /// The table under a key: `[key]` or `key = { .. }`.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'f>> {
        let value = self.ask(key)?;
        self.as_table(key, value)
    }

    /// The tables under a key: `[[key]]` or `key = [{ .. }, ..]`. Items of another type are faults.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'f>> {
        self.items(key).iter().filter_map(|item| self.as_table(key, item)).collect()
    }

    /// The items of a list of plain values, each with its place.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Reading<T>,
    ) -> Vec<(T, Place)> {
        let mut items = Vec::new();
        for item in self.items(key) {
            match read(item.get_ref()) {
                Ok(value) => items.push((value, item.span().start)),
                Err(what) => self.file.fault(item.span().start, format!("`{key}`: {what}")),
            }
        }
        items
    }

    /// The entries of the table under a key, in the order of the file.
    pub fn entries(&mut self, key: &'static str) -> Vec<Entry<'f>> {
        let Some(table) = self.table(key) else { return Vec::new() };
        let entry = |(key, value): (&'f Spanned<_>, _)| Entry {
            key: AsRef::<str>::as_ref(key.get_ref()),
            key_place: key.span().start,
            value,
        };
        let mut entries: Vec<Entry<'f>> = table.entries.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.key_place);
        entries
    }

    /// Makes keys known that are read elsewhere, or only beside others.
    pub fn allow(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.ask(key);
        }
    }

    /// Notes a fault where a key stands that has no sense beside the others.
    pub fn refuse(&mut self, key: &'static str, why: &str) {
        if self.ask(key).is_some() {
            self.fault(key, why);
        }
    }

    /// Faults noted so far in the whole file: whether a part was read without one shows in whether
    /// this number grew.
    pub fn fault_count(&self) -> usize {
        self.file.faults.borrow().len()
    }

    /// Reports every key that was not asked for.
    pub fn finish(self) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let what = match closest(name, &self.asked) {
                    Some(known) => format!("the key `{name}` is unknown: did you mean `{known}`?"),
                    None => format!("the key `{name}` is unknown here: use one of {}", self.asked.join(", ")),
                };
                self.file.fault(key.span().start, what);
            }
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<&'f Spanned<DeValue<'f>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries.get(key)
    }

    fn items(&mut self, key: &'static str) -> &'f [Spanned<DeValue<'f>>] {
        match self.ask(key).map(|value| value.get_ref()) {
            None => &[],
            Some(DeValue::Array(items)) => items,
            Some(other) => {
                self.fault(key, format!("this is {}: write a list, [ .. ]", type_of(other)));
                &[]
            }
        }
    }

    fn as_table(&self, key: &str, value: &'f Spanned<DeValue<'f>>) -> Option<Table<'f>> {
        let place = value.span().start;
        if let DeValue::Table(entries) = value.get_ref() {
            return Some(Table { file: self.file, entries, place, asked: Vec::new() });
        }
        let found = type_of(value.get_ref());
        self.file.fault(place, format!("`{key}`: this is {found}: write a table, {{ .. }}"));
        None
    }
}

/// What a value is, for people.
pub fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word nearest to a misspelt one, if it is near enough to be meant.
pub fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|candidate| (edits(word, candidate), *candidate));
    near.filter(|(edits, candidate)| *edits <= 2.min(candidate.chars().count() / 2))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or replaced to make one word of the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let file = File::new("f.toml", "a = 1\n名 = \"中文\" b\n");
        assert_eq!(file.line_and_column(0), (1, 1));
        assert_eq!(file.line_and_column(4), (1, 5));
        let b = file.text.find('b').unwrap();
        assert_eq!(file.line_and_column(b), (2, 10));
        assert_eq!(file.line_and_column(b - 4), (2, 7), "inside a character: its start");
        assert_eq!(file.line_and_column(10_000), (3, 1));
    }

    #[test]
    fn a_slip_of_two_letters_is_recognised() {
        let known = ["price", "product", "per"];
        assert_eq!(closest("prise", &known), Some("price"));
        assert_eq!(closest("prodcut", &known), Some("product"));
        assert_eq!(closest("Price", &known), Some("price"));
        assert_eq!(closest("size", &known), None);
        assert_eq!((edits("", "abc"), edits("abc", ""), edits("kitten", "sitting")), (3, 3, 3));
    }

    #[test]
    fn text_that_is_not_toml_is_one_fault_with_its_place() {
        let file = File::new("f.toml", "a = 1\nb = [1,\nc = 2\nd = 3\n");
        assert!(file.parse().is_none());
        let faults: Vec<String> = file.into_faults().iter().map(Fault::to_string).collect();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("f.toml:3:"), "{faults:?}");
        assert!(faults[0].contains("this is not TOML: "), "{faults:?}");
    }
}
