//! Which files of value sets are acceptable.
//!
//! In: a file as it was read. Out: the first thing wrong with it. What passes here cannot make a
//! certificate fail that the judge approved.

use std::collections::HashSet;

use super::{CodeRow, SetFile};
use crate::plain::is_plain;

/// The longest code or label that a certificate or a list of them can show, in characters.
const CODE_CHARS_MAX: usize = 80;
/// The longest id of a set, which people write into a list.
const ID_CHARS_MAX: usize = 40;

/// Tells what is wrong with a file, if anything.
pub(super) fn fault(file: &SetFile) -> Option<String> {
    let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    if !(1..=ID_CHARS_MAX).contains(&file.id.len()) || !file.id.chars().all(is_id) {
        return Some(format!("id {:?} is not 1 to {ID_CHARS_MAX} of a-z, 0-9, . and -", file.id));
    }
    if let (Some(from), Some(to)) = (&file.valid_from, &file.valid_to)
        && to.0 < from.0
    {
        return Some("valid_to is before valid_from".to_owned());
    }
    let products = file.product.iter().map(|row| row.code.as_str()).collect();
    let lists = [
        ("disease", codes(&file.disease)),
        ("vaccine", codes(&file.vaccine)),
        ("manufacturer", codes(&file.manufacturer)),
        ("product", products),
    ];
    lists.into_iter().find_map(|(list, codes)| fault_of_list(list, &codes))
}

fn codes(rows: &[CodeRow]) -> Vec<&str> {
    rows.iter().map(|row| row.code.as_str()).collect()
}

fn fault_of_list(list: &str, codes: &[&str]) -> Option<String> {
    let mut seen = HashSet::new();
    codes.iter().find_map(|code| {
        if !is_plain(code) || code.chars().count() > CODE_CHARS_MAX {
            return Some(format!(
                "{list} {code:?} is not 1 to {CODE_CHARS_MAX} printable characters with single spaces"
            ));
        }
        // Of two rows one would hide the day from which the other is inactive.
        (!seen.insert(*code)).then(|| format!("{list} {code:?} stands there twice"))
    })
}
