//! One TOML table being read: settings are taken out of it one by one, what is left is unknown.
//!
//! In goes a parsed table with the place of each value in the text; out come typed values. Every
//! wrong, missing or unknown setting becomes a [`Fault`] in a shared list, and reading goes on, so
//! that one run names them all. It knows nothing about what the settings mean.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::Fault;

/// The faults found so far, and the text that turns places into line numbers.
pub(crate) struct Faults<'t> {
    text: &'t str,
    found: RefCell<Vec<Fault>>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::new(Vec::new()) }
    }

    pub(crate) fn add(&self, key: &str, at: Option<&Range<usize>>, problem: &str, remedy: &str) {
        let line = at.map(|range| self.line(range.start));
        self.found.borrow_mut().push(Fault {
            key: key.to_owned(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
            line,
        });
    }

    pub(crate) fn into_vec(self) -> Vec<Fault> {
        self.found.into_inner()
    }

    fn line(&self, offset: usize) -> usize {
        let newlines = self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        newlines.saturating_add(1)
    }
}

/// A value and where it stands.
pub(crate) type Placed<T> = (T, Range<usize>);

/// A table whose settings have not all been read yet.
pub(crate) struct Table<'f, 't> {
    name: String,
    place: Range<usize>,
    rest: BTreeMap<String, (Range<usize>, Spanned<DeValue<'t>>)>,
    faults: &'f Faults<'t>,
}

impl<'f, 't> Table<'f, 't> {
    pub(crate) fn new(
        name: &str,
        place: Range<usize>,
        table: DeTable<'t>,
        faults: &'f Faults<'t>,
    ) -> Self {
        let rest = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), (key.span(), value)))
            .collect();
        Self { name: name.to_owned(), place, rest, faults }
    }

    /// The dotted name of a setting of this table; of the table itself where `key` is empty.
    pub(crate) fn key(&self, key: &str) -> String {
        match (self.name.as_str(), key) {
            ("", key) => key.to_owned(),
            (name, "") => name.to_owned(),
            (name, key) => format!("{name}.{key}"),
        }
    }

    pub(crate) fn fault(&self, key: &str, at: Option<&Range<usize>>, problem: &str, remedy: &str) {
        self.faults.add(&self.key(key), at.or(Some(&self.place)), problem, remedy);
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.rest.contains_key(key)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.rest.keys().cloned().collect()
    }

    /// A table inside this one; `None` and a fault where it is missing.
    pub(crate) fn table(&mut self, key: &str, remedy: &str) -> Option<Self> {
        let Some((place, value)) = self.rest.remove(key) else {
            self.fault(key, None, "the section is missing", remedy);
            return None;
        };
        match value.into_inner() {
            DeValue::Table(table) => Some(Self::new(&self.key(key), place, table, self.faults)),
            other => {
                self.wrong_type(key, &place, "a section", other.type_str());
                None
            }
        }
    }

    /// The tables of a list (`[[key]]`); empty where it is missing.
    pub(crate) fn tables(&mut self, key: &str) -> Vec<Self> {
        let Some((place, value)) = self.rest.remove(key) else { return Vec::new() };
        let DeValue::Array(items) = value.into_inner() else {
            self.wrong_type(key, &place, "a list of sections, [[…]]", "something else");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (item, number) in items.into_iter().zip(1..) {
            let place = item.span();
            let name = format!("{key}[{number}]");
            match item.into_inner() {
                DeValue::Table(table) => {
                    tables.push(Self::new(&self.key(&name), place, table, self.faults));
                }
                other => self.wrong_type(&name, &place, "a section", other.type_str()),
            }
        }
        tables
    }

    /// A string; `None` without a fault where it is missing.
    pub(crate) fn string(&mut self, key: &str) -> Option<Placed<String>> {
        let (_, value) = self.rest.remove(key)?;
        let place = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some((text.into_owned(), place)),
            other => {
                self.wrong_type(key, &place, "a string", other.type_str());
                None
            }
        }
    }

    /// A string that must be there and must not be empty.
    pub(crate) fn required(&mut self, key: &str, remedy: &str) -> Option<Placed<String>> {
        if !self.has(key) {
            self.fault(key, None, "the setting is missing", remedy);
            return None;
        }
        let (text, place) = self.string(key)?;
        if text.is_empty() {
            self.fault(key, Some(&place), "the string is empty", remedy);
            return None;
        }
        Some((text, place))
    }

    /// A whole number, in any notation of TOML; `None` without a fault where it is missing.
    pub(crate) fn integer(&mut self, key: &str) -> Option<Placed<u64>> {
        let (_, value) = self.rest.remove(key)?;
        let place = value.span();
        match value.get_ref() {
            DeValue::Integer(number) => {
                match u64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Some((number, place)),
                    Err(_) => {
                        let problem = format!("{number} is not a number from 0 up");
                        self.fault(key, Some(&place), &problem, "write a whole number");
                        None
                    }
                }
            }
            other => {
                self.wrong_type(key, &place, "a whole number", other.type_str());
                None
            }
        }
    }

    /// A whole number between two bounds, or the default.
    pub(crate) fn bounded(&mut self, key: &str, default: u64, bounds: (u64, u64)) -> u64 {
        let (low, high) = bounds;
        match self.integer(key) {
            Some((number, place)) if !(low..=high).contains(&number) => {
                let problem = format!("{number} is not between {low} and {high}");
                self.fault(key, Some(&place), &problem, &format!("the default is {default}"));
                default
            }
            Some((number, _)) => number,
            None => default,
        }
    }

    /// A Boolean, or the default.
    pub(crate) fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some((_, value)) = self.rest.remove(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(flag) => *flag,
            other => {
                self.wrong_type(key, &value.span(), "true or false", other.type_str());
                default
            }
        }
    }

    /// A list of strings; empty where it is missing.
    pub(crate) fn strings(&mut self, key: &str) -> Vec<Placed<String>> {
        let Some((_, value)) = self.rest.remove(key) else { return Vec::new() };
        let place = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            self.wrong_type(key, &place, "a list of strings", "something else");
            return Vec::new();
        };
        let mut strings = Vec::new();
        for item in items {
            let place = item.span();
            match item.into_inner() {
                DeValue::String(text) => strings.push((text.into_owned(), place)),
                other => self.wrong_type(key, &place, "a list of strings", other.type_str()),
            }
        }
        strings
    }

    /// Whether the value is a whole number, for settings that may be one.
    pub(crate) fn is_integer(&self, key: &str) -> bool {
        self.rest.get(key).is_some_and(|(_, value)| value.get_ref().is_integer())
    }

    /// Says of everything that nobody asked for that it is unknown.
    pub(crate) fn finish(self, known: &str) {
        for (key, (place, _)) in &self.rest {
            let remedy = format!("remove it; known here: {known}");
            self.fault(key, Some(place), "the setting is unknown", &remedy);
        }
    }

    fn wrong_type(&self, key: &str, place: &Range<usize>, wanted: &str, got: &str) {
        let problem = format!("{wanted} is wanted here, not {got}");
        self.fault(key, Some(place), &problem, "change its type");
    }
}
