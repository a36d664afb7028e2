//! The limits of a batch as a whole.
//!
//! In: the issuer's rules, how many records the batch has, and the dose keys of those that can be
//! read. Out: the one fault for which the whole batch is refused, if any. It does not look into the
//! records.

use std::collections::HashMap;

use crate::{dose_key::DoseKey, issuer::IssuerRules};

/// The most records of one signing run (Công văn 1908, Annex 02-3); an issuer's rules may say less.
pub const RECORDS_MAX: u16 = 1_000;

/// Checks the number of records, and that no dose of a holder stands in the batch twice. `entries`
/// are the readable records: index in the batch, and keys of the selected doses.
///
/// # Errors
/// [`BatchFault`], for which the whole batch is refused.
pub fn check_batch(
    rules: &IssuerRules,
    entries: &[(usize, Vec<DoseKey>)],
    records: usize,
) -> Result<(), BatchFault> {
    let limit = usize::from(rules.records_max());
    if records > limit {
        return Err(BatchFault::OverLimit { limit, records });
    }
    let mut seen: HashMap<&DoseKey, usize> = HashMap::new();
    for &(second, ref keys) in entries {
        for key in keys {
            if let Some(first) = seen.insert(key, second) {
                return Err(BatchFault::DuplicateRecord { first, second });
            }
        }
    }
    Ok(())
}

/// Why a whole batch is refused; repeating it unchanged does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// One dose of one holder stands in two records; send each dose once.
    #[error("records {first} and {second} certify the same dose of the same holder")]
    DuplicateRecord {
        /// Index of the record in which the dose stands first.
        first: usize,
        /// Index of the record that repeats it.
        second: usize,
    },
    /// The batch has more records than the issuer's rules allow; send smaller batches.
    #[error("batch has {records} records, the issuer's rules allow {limit}")]
    OverLimit {
        /// The most records allowed.
        limit: usize,
        /// How many there are.
        records: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dose_key::dose_keys, verdict::sample};

    #[test]
    fn a_batch_has_at_most_the_issuers_records() {
        // A batch of more records than the rules allow is refused; the limit itself is not.
        let policy = sample::policy(&[("records_max", "3")]);
        let rules = sample::rules(&policy);
        assert_eq!(check_batch(rules, &[], 3), Ok(()));
        assert_eq!(check_batch(rules, &[], 4), Err(BatchFault::OverLimit { limit: 3, records: 4 }));
    }

    #[test]
    fn a_dose_stands_in_a_batch_once() {
        // The same dose of the same holder in two records refuses the batch and names both.
        let policy = sample::policy(&[]);
        let keys = |selected: &[u8]| {
            let record = sample::record();
            dose_keys(&record, sample::selection(&record, Some(selected)))
        };
        let rules = sample::rules(&policy);
        assert_eq!(check_batch(rules, &[(0, keys(&[1])), (4, keys(&[2]))], 5), Ok(()));
        assert_eq!(
            check_batch(rules, &[(0, keys(&[1])), (2, Vec::new()), (4, keys(&[1, 2]))], 5),
            Err(BatchFault::DuplicateRecord { first: 0, second: 4 })
        );
    }

    #[test]
    fn records_without_keys_are_no_duplicates() {
        // Records without an identity number are not taken for one another.
        let policy = sample::policy(&[]);
        assert_eq!(check_batch(sample::rules(&policy), &[(0, vec![]), (1, vec![])], 2), Ok(()));
    }
}
