//! What is odd about a record that is certified all the same.
//!
//! In: places that the judge found. Out: stable codes that are counted and shown with a preview. A
//! warning never keeps a record from being certified, and holds no personal data.

use std::fmt;

/// What is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WarningCode {
    /// Product, vaccine type and manufacturer do not belong together, and the issuer's rules are
    /// lenient about it.
    CodesInconsistent,
    /// The dose follows the one before it sooner than its product's schedule allows.
    IntervalShort,
}

impl WarningCode {
    /// Every code.
    pub const ALL: [Self; 2] = [Self::CodesInconsistent, Self::IntervalShort];

    /// The stable text of the code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CodesInconsistent => "dose.codes_inconsistent",
            Self::IntervalShort => "dose.interval_short",
        }
    }

    /// What to do about it, in English.
    pub fn detail(self) -> &'static str {
        match self {
            Self::CodesInconsistent => {
                "product, vaccine type and manufacturer do not belong together; the certificate shows \
                 them as the facility signed them"
            }
            Self::IntervalShort => {
                "the dose follows the one before it sooner than the product's schedule allows; check \
                 the dates"
            }
        }
    }
}

impl fmt::Display for WarningCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One odd thing at one place of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// What is odd.
    pub code: WarningCode,
    /// Where: a JSON Pointer from the record-entry, for example `/record/doses/1/date`.
    pub path: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_has_a_code_and_says_what_to_do() {
        // Every warning has a stable code of its own, which it prints as, and a sentence of its own.
        let codes = WarningCode::ALL.map(WarningCode::as_str);
        assert_eq!(codes, ["dose.codes_inconsistent", "dose.interval_short"]);
        assert_eq!(WarningCode::ALL.map(|code| code.to_string()), codes);
        let [slip, interval] = WarningCode::ALL.map(WarningCode::detail);
        assert!(slip.contains("do not belong together") && interval.contains("check the dates"));
    }
}
