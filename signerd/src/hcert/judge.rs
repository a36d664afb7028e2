//! The strict judge of our own certificates: values before signing, bytes after.
//!
//! What verifiers accept is necessary and far from sufficient; other countries' faults (floats,
//! timestamps where dates belong, names outside `A-Z<`, wrong layouts) passed several of them. So the
//! values are held against the schema 1.3.0, the HCERT specification and the issuer's value sets before
//! anything is signed, the payload against the gate for deterministic CBOR and the values, and the
//! finished bytes against a layout that is spelled out byte by byte (`bytes`): all without the crates
//! that wrote them. Foreign certificates are judged by `verify`, more kindly.
//!
//! It repeats on purpose what `policy` has decided: a fault there must not reach a certificate.

mod bytes;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use policy::Catalogue;
use policy::value_set::Kind;
use unicode_normalization::is_nfc;

pub(super) use self::bytes::{Expected, digest, envelope, payload, protected};
use super::claims::{Claims, Name, Vaccination};

/// How long may a text field be? The schema says 80 characters.
const FIELD_CHARS_MAX: usize = 80;

/// What may the first year of birth be? The schema's pattern begins with 19.
const BIRTH_YEAR_MIN: i16 = 1900;

/// Before which year is no birth date? The schema's pattern ends with 20.
const BIRTH_YEAR_END: i16 = 2100;

/// How long is a certificate valid at most? Twelve months (QD 5772 §1.5), the longest of which have 366
/// days. Viet Nam's one published sample was valid for 1,021.
const VALIDITY_SECONDS_MAX: i64 = 366 * 86_400;

/// How long at least? The rules know whole months, the shortest of which has 28 days; a certificate of
/// four days was another country's mistake.
const VALIDITY_SECONDS_MIN: i64 = 28 * 86_400;

/// How does every identifier begin? With the scheme's version (EU UVCI specification, Annex 2).
const UVCI_PREFIX: &str = "URN:UVCI:01:";

/// How long is the part of an identifier behind the country? 16 bytes in hexadecimal, as in the sample.
const UVCI_DIGITS: usize = 32;

/// The civil time of Viet Nam, without summer time since 1975.
const VIET_NAM: Offset = Offset::constant(7);

/// A value that no certificate of ours may carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimFault {
    /// Where the value stands, as a JSON Pointer into the payload or a claim key.
    pub path: &'static str,
    /// What is wrong with it; never the value itself.
    pub what: &'static str,
}

/// Judges values before they are encoded.
pub(super) fn claims(claims: &Claims, codes: &Catalogue) -> Result<(), ClaimFault> {
    ensure(is_issuer(&claims.iss), "1", "is not a country of two or three letters")?;
    let is_listed = claims.iss.len() != 2 || codes.is_country(&claims.iss);
    ensure(is_listed, "1", "is not a country of iso 3166-1")?;
    ensure(claims.issued_at > 0, "6", "is not a time after 1970")?;
    ensure(claims.expires_at > claims.issued_at, "4", "is not after the time of issue")?;
    let today = day_in_viet_nam(claims.issued_at);
    let today = today.ok_or(ClaimFault { path: "6", what: "is beyond the calendar" })?;
    name(&claims.dcc.name)?;
    let born = earliest_birth(&claims.dcc.date_of_birth);
    let born = born.ok_or(ClaimFault { path: "/dob", what: "is not a date of birth" })?;
    ensure(born <= today, "/dob", "is after the day of issue")?;
    vaccination(&claims.dcc.vaccination, &Frame { born, today, codes })
}

/// Judges how long a certificate is to be valid. This is a rule of the appliance, not of the format, so
/// it is applied where a certificate comes into being.
pub(super) fn validity(issued_at: i64, expires_at: i64) -> Result<(), ClaimFault> {
    let seconds = expires_at.saturating_sub(issued_at);
    ensure(seconds <= VALIDITY_SECONDS_MAX, "4", "is more than 12 months after the time of issue")?;
    ensure(seconds >= VALIDITY_SECONDS_MIN, "4", "is less than 28 days after the time of issue")
}

/// What a vaccination has to fit.
struct Frame<'a> {
    born: Date,
    today: Date,
    codes: &'a Catalogue,
}

fn name(name: &Name) -> Result<(), ClaimFault> {
    field(&name.family, "/nam/fn")?;
    standard(&name.family_standard, "/nam/fnt")?;
    if let Some(given) = &name.given {
        field(given, "/nam/gn")?;
    }
    if let Some(given) = &name.given_standard {
        standard(given, "/nam/gnt")?;
    }
    // A name that vanished in transliteration was a fault of several issuers.
    let both = name.given.is_some() == name.given_standard.is_some();
    ensure(both, "/nam/gnt", "does not go with /nam/gn")
}

fn vaccination(v: &Vaccination, frame: &Frame<'_>) -> Result<(), ClaimFault> {
    ensure(is_country(&v.co), "/v/0/co", "is not a country of two letters")?;
    ensure(frame.codes.is_country(&v.co), "/v/0/co", "is not a country of iso 3166-1")?;
    uvci(&v.ci, &v.co)?;
    ensure(v.dn >= 1, "/v/0/dn", "is below 1")?;
    ensure(v.sd >= 1, "/v/0/sd", "is below 1")?;
    // Above the series only the booster form n/1 exists.
    ensure(v.dn <= v.sd || v.sd == 1, "/v/0/dn", "is above the series")?;
    let day = date(&v.dt).ok_or(ClaimFault { path: "/v/0/dt", what: "is not a calendar date" })?;
    ensure(day <= frame.today, "/v/0/dt", "is after the day of issue")?;
    ensure(day >= frame.born, "/v/0/dt", "is before the birth")?;
    field(&v.is, "/v/0/is")?;
    for (kind, value, path) in [
        (Kind::Manufacturer, &v.ma, "/v/0/ma"),
        (Kind::Product, &v.mp, "/v/0/mp"),
        (Kind::Disease, &v.tg, "/v/0/tg"),
        (Kind::Vaccine, &v.vp, "/v/0/vp"),
    ] {
        field(value, path)?;
        // The disease has no day: it is the issuer's word, not the facility's.
        let days = (kind != Kind::Disease).then_some((day, frame.today)).unzip();
        let known = frame.codes.knows(kind, value, days.0, days.1);
        ensure(known, path, "is not in the value sets")?;
    }
    Ok(())
}

/// An identifier has the one form of ours, and no checksum: a third of those in circulation are wrong.
fn uvci(ci: &str, country: &str) -> Result<(), ClaimFault> {
    const PATH: &str = "/v/0/ci";
    let rest = ci.strip_prefix(UVCI_PREFIX);
    let rest = rest.ok_or(ClaimFault { path: PATH, what: "does not begin with URN:UVCI:01:" })?;
    let digits = rest.strip_prefix(country).and_then(|rest| rest.strip_prefix(':'));
    let digits = digits.ok_or(ClaimFault { path: PATH, what: "is not of the country" })?;
    let hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    ensure(digits.len() == UVCI_DIGITS && digits.bytes().all(hex), PATH, "has not 32 hex digits")
}

fn ensure(holds: bool, path: &'static str, what: &'static str) -> Result<(), ClaimFault> {
    if holds { Ok(()) } else { Err(ClaimFault { path, what }) }
}

fn field(value: &str, path: &'static str) -> Result<(), ClaimFault> {
    ensure(!value.trim().is_empty(), path, "is empty")?;
    ensure(value.trim() == value, path, "begins or ends with a space")?;
    ensure(!value.contains("  "), path, "has two spaces in a row")?;
    ensure(!value.contains(['"', '\\']), path, "has a quotation mark or a backslash")?;
    if value.is_ascii() {
        ensure(value.len() <= FIELD_CHARS_MAX, path, "has more than 80 characters")?;
        let printable = value.bytes().all(|b| matches!(b, b' '..=b'~'));
        return ensure(printable, path, "has a control character");
    }
    ensure(value.chars().count() <= FIELD_CHARS_MAX, path, "has more than 80 characters")?;
    ensure(!value.chars().any(char::is_control), path, "has a control character")?;
    ensure(!value.chars().any(is_unseen), path, "has a character that nobody sees")?;
    // HCERT specification §3.3.7: text is NFC, or a reader may compare it wrongly.
    ensure(is_nfc(value), path, "is not in nfc")
}

/// Spaces but the one of ASCII, characters without width or of direction, and stand-ins for lost ones.
fn is_unseen(c: char) -> bool {
    (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFD}'
            | '\u{E000}'..='\u{F8FF}')
}

fn standard(value: &str, path: &'static str) -> Result<(), ClaimFault> {
    ensure(value.bytes().any(|b| b.is_ascii_uppercase()), path, "has no letter")?;
    ensure(value.len() <= FIELD_CHARS_MAX, path, "has more than 80 characters")?;
    let set = value.bytes().all(|b| b.is_ascii_uppercase() || b == b'<');
    ensure(set, path, "has a character outside A-Z and <")?;
    let between = !value.starts_with('<') && !value.ends_with('<') && !value.contains("<<");
    ensure(between, path, "has a < that is not between two parts")
}

/// The specification has two letters; the WHO's network, which carries it on, also has three.
fn is_issuer(value: &str) -> bool {
    matches!(value.len(), 2 | 3) && value.bytes().all(|b| b.is_ascii_uppercase())
}

fn is_country(value: &str) -> bool {
    value.len() == 2 && value.bytes().all(|b| b.is_ascii_uppercase())
}

/// Tells whether a text is a real calendar date in the one form `YYYY-MM-DD`.
pub(super) fn is_date(value: &str) -> bool {
    date(value).is_some()
}

fn date(value: &str) -> Option<Date> {
    let [a, b, c, d, b'-', e, f, b'-', g, h] = *value.as_bytes() else { return None };
    let year = i16::from(digit(a)?) * 1_000
        + i16::from(digit(b)?) * 100
        + i16::from(digit(c)?) * 10
        + i16::from(digit(d)?);
    let two = |tens: u8, ones: u8| Some(digit(tens)? * 10 + digit(ones)?);
    Date::new(year, two(e, f)?, two(g, h)?).ok()
}

fn digit(byte: u8) -> Option<i8> {
    i8::try_from(byte.checked_sub(b'0')?).ok().filter(|digit| *digit <= 9)
}

/// The first day on which somebody with this date of birth, year or month may be born.
fn earliest_birth(value: &str) -> Option<Date> {
    let born = match value.len() {
        4 => date(&format!("{value}-01-01")),
        7 => date(&format!("{value}-01")),
        _ => date(value),
    }?;
    (BIRTH_YEAR_MIN..BIRTH_YEAR_END).contains(&born.year()).then_some(born)
}

/// The day it is in Viet Nam: from 17:00 UTC on, the next one.
fn day_in_viet_nam(seconds: i64) -> Option<Date> {
    let time = Timestamp::from_second(seconds).ok()?;
    // Beyond the calendar the offset would leave it.
    Timestamp::MAX.as_second().checked_sub(seconds).filter(|left| *left > 86_400)?;
    Some(VIET_NAM.to_datetime(time).date())
}

#[cfg(test)]
mod tests;
