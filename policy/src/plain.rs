//! Text that verifiers abroad can show as it is.
//!
//! In: a text that will stand in a certificate. Out: whether it may. Names have rules of their own, which
//! are stricter.

use crate::icao::is_invisible;

/// Tells whether a text has nothing but printable characters and single spaces, begins and ends with
/// neither, and has no sign that comes from the quoting of some file.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains("  ") && text.chars().all(is_shown)
}

fn is_shown(c: char) -> bool {
    let space = c.is_whitespace() && c != ' ';
    let stand_in =
        matches!(c, '\u{2065}'..='\u{2069}' | '\u{E000}'..='\u{F8FF}' | '\u{FFF9}'..='\u{FFFD}');
    !(c.is_control() || space || stand_in || matches!(c, '"' | '\\') || is_invisible(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_text_with_single_spaces_is_plain() {
        // Controls, odd or double spaces, invisible characters, stand-ins and quoting are not plain.
        for good in ["Bộ Y tế Việt Nam", "EU/1/20/1528", "Covid-19 (recombinant)", "a"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a  b",
            "a\nb",
            "a\tb",
            "a\u{a0}b",
            "a\u{2028}b",
            "a\u{200b}b",
            "a\u{ad}b",
            "a\u{2066}b",
            "a\u{e000}b",
            "a\u{fffd}b",
            "a\"b",
            "a\\b",
            "a\u{7f}",
        ] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }
}
