//! The EU DCC schema, versions 1.0.0 to 1.3.3, for payloads of any issuer.
//!
//! In goes a payload as it was read, out comes the kind of its one event, or the first fault with
//! its path. The versions differ little; what one of them allows is allowed (80 characters, partial
//! dates of birth), except where a version says otherwise itself (`fnt` until 1.3.1). Codes are not
//! looked up: value sets change, and an unknown code is for people to judge.

use super::judge::is_date;
use super::signer::EventKind;
use super::tree::Tree;

/// How long may a text field be? The schema says 80 characters.
const FIELD_CHARS_MAX: usize = 80;

/// Why a payload is not an EU DCC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaFault {
    /// A field is missing, of another kind, or has a value the schema does not allow.
    Field {
        /// Where, as a JSON Pointer into the payload.
        path: String,
        /// What is wrong; never the value itself.
        what: String,
    },
    /// The payload is about several events, or names several kinds.
    SeveralEvents,
    /// The schema version is none of 1.x.
    Version(String),
}

/// What a field may contain.
#[derive(Clone, Copy)]
enum Rule {
    /// Text of at most 80 characters.
    Text,
    /// Text without a limit.
    Code,
    /// Text of at most 80 characters out of `A-Z<`.
    Standard,
    /// A whole number from 1.
    Count,
    /// A calendar date.
    Date,
    /// A date and time with zone (RFC 3339).
    DateTime,
    /// Text with a capital letter in it.
    Country,
}

/// Is the field always there?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

use Presence::{Optional, Required};

const NAME: [(&str, Rule, Presence); 4] = [
    ("fn", Rule::Text, Optional),
    ("gn", Rule::Text, Optional),
    ("fnt", Rule::Standard, Optional),
    ("gnt", Rule::Standard, Optional),
];

const VACCINATION: [(&str, Rule, Presence); 10] = [
    ("tg", Rule::Code, Required),
    ("vp", Rule::Code, Required),
    ("mp", Rule::Code, Required),
    ("ma", Rule::Code, Required),
    ("dn", Rule::Count, Required),
    ("sd", Rule::Count, Required),
    ("dt", Rule::Date, Required),
    ("co", Rule::Country, Required),
    ("is", Rule::Text, Required),
    ("ci", Rule::Text, Required),
];

const TEST: [(&str, Rule, Presence); 10] = [
    ("tg", Rule::Code, Required),
    ("tt", Rule::Code, Required),
    ("nm", Rule::Text, Optional),
    ("ma", Rule::Code, Optional),
    ("sc", Rule::DateTime, Required),
    ("tr", Rule::Code, Required),
    ("tc", Rule::Text, Optional),
    ("co", Rule::Country, Required),
    ("is", Rule::Text, Required),
    ("ci", Rule::Text, Required),
];

const RECOVERY: [(&str, Rule, Presence); 7] = [
    ("tg", Rule::Code, Required),
    ("fr", Rule::Date, Required),
    ("co", Rule::Country, Required),
    ("is", Rule::Text, Required),
    ("df", Rule::Date, Required),
    ("du", Rule::Date, Required),
    ("ci", Rule::Text, Required),
];

/// Gives the kind of the one event of a payload that obeys the schema.
///
/// # Errors
/// The first [`SchemaFault`], in the order version, name, date of birth, event.
pub fn check(dcc: &Tree) -> Result<EventKind, SchemaFault> {
    if !matches!(dcc, Tree::Map(_)) {
        return Err(fault("", format!("is {}, not a map", dcc.kind())));
    }
    let version = version(dcc)?;
    let nam = dcc.get("nam").ok_or_else(|| fault("/nam", "is missing"))?;
    fields(nam, "/nam", &NAME)?;
    // Version 1.3.2 made one of the two enough (Commission Implementing Decision 2022/483).
    let named = nam.get("fnt").is_some() || (version >= (1, 3, 2) && nam.get("gnt").is_some());
    if !named {
        return Err(fault("/nam/fnt", "is missing"));
    }
    let dob = dcc.get("dob").ok_or_else(|| fault("/dob", "is missing"))?;
    if !dob.as_text().is_some_and(is_birth_date) {
        return Err(fault("/dob", "is not a date of birth"));
    }
    event(dcc)
}

/// Finds which of `v`, `t`, `r` the payload is about, without judging its fields.
#[must_use]
pub fn kind_of(dcc: &Tree) -> Option<EventKind> {
    [EventKind::Vaccination, EventKind::Test, EventKind::Recovery]
        .into_iter()
        .find(|kind| dcc.get(kind.key()).is_some_and(|events| events.item(0).is_some()))
}

fn version(dcc: &Tree) -> Result<(u32, u32, u32), SchemaFault> {
    let ver = dcc.get("ver").and_then(Tree::as_text).ok_or_else(|| fault("/ver", "is missing"))?;
    let mut parts = ver.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok()).flatten()
    });
    match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
        (Some(1), Some(minor), Some(patch), None) => Ok((1, minor, patch)),
        (Some(_), Some(_), Some(_), None) => Err(SchemaFault::Version(ver.to_owned())),
        _ => Err(fault("/ver", "is not a version number")),
    }
}

fn event(dcc: &Tree) -> Result<EventKind, SchemaFault> {
    let mut found = [EventKind::Vaccination, EventKind::Test, EventKind::Recovery]
        .into_iter()
        .filter_map(|kind| dcc.get(kind.key()).map(|events| (kind, events)));
    let (kind, events) = found.next().ok_or_else(|| fault("/v", "is missing, so are /t and /r"))?;
    if found.next().is_some() {
        return Err(SchemaFault::SeveralEvents);
    }
    let key = kind.key();
    let Tree::List(items) = events else {
        return Err(fault(&format!("/{key}"), format!("is {}, not an array", events.kind())));
    };
    let item = match items.as_slice() {
        [] => return Err(fault(&format!("/{key}"), "is empty")),
        [item] => item,
        [..] => return Err(SchemaFault::SeveralEvents),
    };
    let rules: &[_] = match kind {
        EventKind::Vaccination => &VACCINATION,
        EventKind::Test => &TEST,
        EventKind::Recovery => &RECOVERY,
    };
    fields(item, &format!("/{key}/0"), rules)?;
    Ok(kind)
}

fn fields(map: &Tree, path: &str, rules: &[(&str, Rule, Presence)]) -> Result<(), SchemaFault> {
    if !matches!(map, Tree::Map(_)) {
        return Err(fault(path, format!("is {}, not a map", map.kind())));
    }
    for (key, rule, presence) in rules {
        match map.get(key) {
            None if *presence == Required => {
                return Err(fault(&format!("{path}/{key}"), "is missing"));
            }
            None => {}
            Some(value) => {
                rule.check(value).map_err(|what| fault(&format!("{path}/{key}"), what))?;
            }
        }
    }
    Ok(())
}

impl Rule {
    fn check(self, value: &Tree) -> Result<(), String> {
        if let Self::Count = self {
            // JSON Schema counts 2.0 among the integers, and one issuer wrote it so.
            let whole = match value {
                Tree::Int(number) => *number >= 1,
                Tree::Float(number) => *number >= 1.0 && number.fract() == 0.0,
                _ => false,
            };
            return if whole { Ok(()) } else { Err("is not a whole number from 1".to_owned()) };
        }
        let text = value.as_text().ok_or_else(|| format!("is {}, not text", value.kind()))?;
        let (holds, what) = match self {
            Self::Text => (text.chars().count() <= FIELD_CHARS_MAX, "has more than 80 characters"),
            Self::Standard => (
                text.len() <= FIELD_CHARS_MAX
                    && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'<'),
                "is not 80 characters out of A-Z and <",
            ),
            Self::Date => (is_date(text), "is not a calendar date"),
            Self::DateTime => (is_date_time(text), "is not a date and time"),
            Self::Country => (text.bytes().any(|b| b.is_ascii_uppercase()), "is not a country"),
            Self::Code | Self::Count => (true, ""),
        };
        if holds { Ok(()) } else { Err(what.to_owned()) }
    }
}

fn fault(path: &str, what: impl Into<String>) -> SchemaFault {
    SchemaFault::Field { path: path.to_owned(), what: what.into() }
}

/// Holds a text against `^((19|20)\d\d(-\d\d){0,2}){0,1}$`: empty, a year, a month or a day.
fn is_birth_date(text: &str) -> bool {
    let century = text.is_empty() || text.starts_with("19") || text.starts_with("20");
    let shape = text.bytes().enumerate().all(|(i, b)| match i {
        4 | 7 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    century && shape && matches!(text.len(), 0 | 4 | 7 | 10)
}

fn is_date_time(text: &str) -> bool {
    text.get(..10).is_some_and(is_date) && text.parse::<jiff::Timestamp>().is_ok()
}
