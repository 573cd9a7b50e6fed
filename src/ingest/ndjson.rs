//! The fields of NDJSON records: one object a line, scalars only, in one pass without a tree.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use rustc_hash::FxHashMap;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::fields::{Fields, Name, Places, Span};
use super::{LineFault, excerpt};

/// Names that are reported as ignored, at most: keys may be data.
const MAX_IGNORED: usize = 100;

/// Reads objects with one set of names.
pub struct JsonLines {
    names: Names,
    places: Places,
    line: Line,
    ignored: BTreeSet<String>,
}

struct Names {
    known: FxHashMap<&'static str, usize>,
    columns: Vec<Name>,
    /// The objects that hold a wanted field: `data` for `data.rcpt`.
    parents: Vec<&'static str>,
}

/// What one line has brought so far.
struct Line {
    text: String,
    spans: Vec<Span>,
    seen: Vec<bool>,
    /// The place of the value being read, and whether its key came a second time.
    reading: Option<usize>,
    twice: bool,
}

impl JsonLines {
    pub fn new(names: &[Name]) -> JsonLines {
        let mut places = Places::default();
        for (place, name) in names.iter().enumerate() {
            places.add(name.field, place as u16);
        }
        let line = Line {
            text: String::new(),
            spans: vec![Span::ABSENT; names.len()],
            seen: vec![false; names.len()],
            reading: None,
            twice: false,
        };
        let names = Names {
            known: names.iter().enumerate().map(|(place, name)| (name.column, place)).collect(),
            columns: names.to_vec(),
            parents: names.iter().filter_map(|name| Some(name.column.rsplit_once('.')?.0)).collect(),
        };
        JsonLines { names, places, line, ignored: BTreeSet::new() }
    }

    pub fn ignored(&self) -> &BTreeSet<String> {
        &self.ignored
    }

    pub fn read<'a>(&'a mut self, record: &str, complete: bool) -> Result<Fields<'a>, LineFault> {
        self.line.begin();
        let mut json = serde_json::Deserializer::from_str(record);
        let object =
            Object { names: &self.names, line: &mut self.line, ignored: &mut self.ignored, path: "" };
        if let Err(error) = object.deserialize(&mut json).and_then(|()| json.end()) {
            return Err(self.fault(&error, complete));
        }
        Ok(Fields { text: &self.line.text, spans: &self.line.spans, places: &self.places, is_object: true })
    }

    fn fault(&self, error: &serde_json::Error, complete: bool) -> LineFault {
        let name = self.line.reading.and_then(|place| self.names.columns.get(place));
        let reason = match name {
            _ if error.is_eof() && !complete => "incomplete_line",
            Some(_) if self.line.twice => "duplicate_key",
            Some(name) if name.field.is_count() && error.is_data() => "bad_units",
            _ => "bad_json",
        };
        let at = name.map_or(String::new(), |name| format!("`{}`: ", name.column));
        let said: String = error.to_string().chars().take(160).collect();
        LineFault::new(reason, format!("{at}{said}"))
    }
}

impl Line {
    fn begin(&mut self) {
        self.text.clear();
        self.spans.fill(Span::ABSENT);
        self.seen.fill(false);
        self.reading = None;
        self.twice = false;
    }
}

/// The object of a line, or one inside it at `path`.
struct Object<'a> {
    names: &'a Names,
    line: &'a mut Line,
    ignored: &'a mut BTreeSet<String>,
    path: &'a str,
}

/// What a key stands for.
enum Key {
    Wanted(usize),
    Parent(&'static str),
    Ignored,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Object { names, line, ignored, path } = self;
        while let Some(key) = map.next_key_seed(KeyIn { names, ignored, path })? {
            match key {
                Key::Wanted(place) => {
                    line.reading = Some(place);
                    if line.seen.get_mut(place).is_some_and(|seen| std::mem::replace(seen, true)) {
                        line.twice = true;
                        return Err(A::Error::custom("the key stands twice in the object"));
                    }
                    map.next_value_seed(Scalar { line, place })?;
                    line.reading = None;
                }
                Key::Parent(path) => map.next_value_seed(Object { names, line, ignored, path })?,
                Key::Ignored => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct KeyIn<'a> {
    names: &'a Names,
    ignored: &'a mut BTreeSet<String>,
    path: &'a str,
}

impl<'de> DeserializeSeed<'de> for KeyIn<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Key, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIn<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        let joined;
        let key = if self.path.is_empty() {
            key
        } else {
            joined = format!("{}.{key}", self.path);
            joined.as_str()
        };
        if let Some(&place) = self.names.known.get(key) {
            return Ok(Key::Wanted(place));
        }
        if let Some(&parent) = self.names.parents.iter().find(|parent| **parent == key) {
            return Ok(Key::Parent(parent));
        }
        if self.ignored.len() < MAX_IGNORED && !self.ignored.contains(key) {
            self.ignored.insert(excerpt(key));
        }
        Ok(Key::Ignored)
    }
}

/// A value that is kept as text: a string, a whole number, true or false; null is absent.
struct Scalar<'a> {
    line: &'a mut Line,
    place: usize,
}

impl Scalar<'_> {
    fn keep<E>(self, value: impl fmt::Display) -> Result<(), E> {
        let start = self.line.text.len() as u32;
        // Writing to a String cannot fail.
        let _ = write!(self.line.text, "{value}");
        let span = Span { start, end: self.line.text.len() as u32 };
        self.line.spans[self.place] = span;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Scalar<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a whole number")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.keep(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.keep(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.keep(value)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.keep(value)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
