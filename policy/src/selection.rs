//! Which doses of a record are to be certified.
//!
//! In: the issuer's rules, the record, and the numbers that the request asks for. Out: the numbers of
//! the record's doses that get a certificate if all is well. That the request asks for a dose that
//! the record does not have is a rule's matter, not seen here.

use crate::{
    issuer::{CertifiedDoses, IssuerRules},
    record::Record,
};

/// Numbers of doses that a record has and that are to be certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Bit n stands for number n; the wire knows 1 to 9.
    numbers: u16,
}

impl Selection {
    /// What is to be certified of a record: of the doses that are asked for (`requested` absent: all),
    /// each or the latest, as the issuer's rules say.
    pub fn new(rules: &IssuerRules, record: &Record, requested: Option<&[u8]>) -> Self {
        let numbers = record.doses.iter().map(|dose| dose.number);
        let wanted = numbers.filter(|number| requested.is_none_or(|r| r.contains(number)));
        let numbers = match rules.certified_doses() {
            CertifiedDoses::Each => wanted.map(bit).fold(0, |all, bit| all | bit),
            CertifiedDoses::Latest => wanted.max().map_or(0, bit),
        };
        Self { numbers }
    }

    /// Tells whether the dose of this number is to be certified.
    pub fn has(self, number: u8) -> bool {
        self.numbers & bit(number) != 0
    }

    /// How many doses are to be certified.
    pub fn len(self) -> u32 {
        self.numbers.count_ones()
    }

    /// Tells whether no dose is to be certified.
    pub fn is_empty(self) -> bool {
        self.numbers == 0
    }
}

/// The bit of a number; none for a number that the wire does not know.
fn bit(number: u8) -> u16 {
    1_u16.checked_shl(number.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::sample;

    fn selected(certificates: &str, requested: Option<&[u8]>) -> Vec<u8> {
        let policy = sample::policy(&[("certificates", certificates)]);
        let mut record = sample::record();
        record.doses.push(sample::dose(4, "2021-09-20"));
        let selection = Selection::new(sample::rules(&policy), &record, requested);
        let numbers: Vec<u8> = (0..=20).filter(|number| selection.has(*number)).collect();
        assert_eq!(usize::try_from(selection.len()).unwrap(), numbers.len());
        assert_eq!(selection.is_empty(), numbers.is_empty());
        numbers
    }

    #[test]
    fn each_dose_that_is_asked_for_is_selected() {
        // All doses of the record, or those asked for; a dose that the record lacks selects nothing.
        assert_eq!(selected("\"each_dose\"", None), [1, 2, 4]);
        assert_eq!(selected("\"each_dose\"", Some(&[4, 1])), [1, 4]);
        assert_eq!(selected("\"each_dose\"", Some(&[3])), [0; 0]);
        assert_eq!(selected("\"each_dose\"", Some(&[])), [0; 0]);
    }

    #[test]
    fn of_the_doses_asked_for_the_latest_is_selected() {
        // An issuer of one certificate per person certifies the latest of the doses asked for.
        assert_eq!(selected("\"latest_dose\"", None), [4]);
        assert_eq!(selected("\"latest_dose\"", Some(&[2, 1])), [2]);
        assert_eq!(selected("\"latest_dose\"", Some(&[3])), [0; 0]);
    }
}
