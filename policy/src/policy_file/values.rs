//! Checks of single values: a text, a word, a number, a day.
//!
//! In: a value with its place. Out: what it means, or a fault in the list and nothing or the value as
//! it stands, so that the checks after it still run.

use std::{
    fmt::Display,
    ops::{Range, RangeInclusive},
};

use jiff::civil::Date;
use toml::Spanned;

use super::Faults;
use crate::calendar::{self, Period};

/// The longest path, key name or name that the file may hold: room for all real ones.
const TEXT_CHARS_MAX: usize = 500;

/// Checks each of several texts.
pub(super) fn texts(
    key: &str,
    values: impl IntoIterator<Item = Spanned<String>>,
    faults: &mut Faults,
) -> Vec<String> {
    values.into_iter().map(|value| text(key.to_owned(), value, faults)).collect()
}

/// Checks that a text is there, printable and of a sane length.
pub(super) fn text(key: String, value: Spanned<String>, faults: &mut Faults) -> String {
    let (text, span): (_, Range<usize>) = (value.get_ref(), value.span());
    if text.trim().is_empty()
        || text.chars().count() > TEXT_CHARS_MAX
        || text.chars().any(char::is_control)
    {
        let problem = "is blank, too long or not printable".to_owned();
        faults.add(span, key, [problem, format!("use 1 to {TEXT_CHARS_MAX} printable characters")]);
    }
    value.into_inner()
}

/// Reads one of several words; the first is the default.
pub(super) fn choice<T: Copy>(
    key: String,
    value: Option<Spanned<String>>,
    allowed: &[(&str, T)],
    faults: &mut Faults,
) -> Option<T> {
    let Some(value) = value else { return allowed.first().map(|(_, meaning)| *meaning) };
    let chosen = allowed.iter().find(|(word, _)| word == value.get_ref());
    if chosen.is_none() {
        let words: Vec<String> = allowed.iter().map(|(word, _)| format!("{word:?}")).collect();
        let problem = format!("is {:?}, which this program does not know", value.get_ref());
        faults.add(value.span(), key, [problem, format!("use {}", words.join(" or "))]);
    }
    chosen.map(|(_, meaning)| *meaning)
}

/// Reads a number of a range, or takes the default.
pub(super) fn number<T: TryFrom<i64> + PartialOrd + Display + Copy>(
    key: String,
    value: Option<Spanned<i64>>,
    (range, default): (RangeInclusive<T>, T),
    faults: &mut Faults,
) -> Option<T> {
    value.map_or(Some(default), |value| ranged(key, &value, &range, faults))
}

/// Reads a number of a range that may be absent.
pub(super) fn optional_number<T: TryFrom<i64> + PartialOrd + Display + Copy>(
    key: String,
    value: Option<&Spanned<i64>>,
    range: &RangeInclusive<T>,
    faults: &mut Faults,
) -> Option<T> {
    value.and_then(|value| ranged(key, value, range, faults))
}

fn ranged<T: TryFrom<i64> + PartialOrd + Display + Copy>(
    key: String,
    value: &Spanned<i64>,
    range: &RangeInclusive<T>,
    faults: &mut Faults,
) -> Option<T> {
    let number = T::try_from(*value.get_ref()).ok().filter(|number| range.contains(number));
    if number.is_none() {
        let problem = format!("is {}, which is out of range", value.get_ref());
        let remedy = format!("use {} to {}", range.start(), range.end());
        faults.add(value.span(), key, [problem, remedy]);
    }
    number
}

/// Reads `valid_from` and `valid_to`, days of which either may be absent.
pub(super) fn period(
    key: &str,
    from: Option<&Spanned<String>>,
    to: Option<&Spanned<String>>,
    faults: &mut Faults,
) -> Period {
    let period = Period {
        from: from.and_then(|day| date(format!("{key}valid_from"), day, faults)),
        to: to.and_then(|day| date(format!("{key}valid_to"), day, faults)),
    };
    if let (Some(first), Some(last), Some(to)) = (period.from, period.to, to)
        && first > last
    {
        let problem = "is before valid_from".to_owned();
        let remedy = "give the last day, which is not before the first".to_owned();
        faults.add(to.span(), format!("{key}valid_to"), [problem, remedy]);
    }
    period
}

fn date(key: String, value: &Spanned<String>, faults: &mut Faults) -> Option<Date> {
    let day = calendar::full_date(value.get_ref());
    if day.is_none() {
        let problem = format!("is {:?}, which is not a day", value.get_ref());
        let remedy = "write YYYY-MM-DD, in quotation marks".to_owned();
        faults.add(value.span(), key, [problem, remedy]);
    }
    day
}
