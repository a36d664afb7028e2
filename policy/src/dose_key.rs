//! The key of one dose of one person, by which a second certificate for it is recognised.
//!
//! In: a record and which of its doses are selected. Out: one key per selected dose, across issuers
//! and batches the same for the same person and dose. A key holds an identity number in the clear:
//! `Debug` does not print it, and it must be hashed under a secret before it is stored. It does not
//! judge: a malformed number makes a key, too.

use std::fmt;

use crate::{
    record::{Holder, Record},
    selection::Selection,
};

/// (nationality, national id or else passport, dose number).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DoseKey(Vec<u8>);

impl DoseKey {
    /// The encoding: for each of nationality, kind of paper and its number, a length (4 bytes, big
    /// endian) and the bytes; then the dose number. Different keys never encode alike.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn new(nationality: &str, (paper, id): (&str, &str), dose: u8) -> Self {
        let mut bytes = Vec::with_capacity(13 + nationality.len() + paper.len() + id.len());
        for part in [nationality, paper, id] {
            // The wire bounds these texts to tens of bytes.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.push(dose);
        Self(bytes)
    }
}

impl fmt::Debug for DoseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DoseKey(..)")
    }
}

/// The keys of the selected doses, in the record's order; none if the record has no identity number.
pub fn dose_keys(record: &Record, selection: Selection) -> Vec<DoseKey> {
    let Some(paper) = paper(&record.holder) else { return Vec::new() };
    let numbers = record.doses.iter().map(|dose| dose.number);
    numbers
        .filter(|number| selection.has(*number))
        .map(|number| DoseKey::new(&record.holder.nationality, paper, number))
        .collect()
}

/// The paper that identifies the holder. Its kind is part of the key: a national number of one
/// person may be the passport number of another.
fn paper(holder: &Holder) -> Option<(&'static str, &str)> {
    let national_id = holder.national_id.as_deref().map(|id| ("national_id", id));
    national_id.or_else(|| holder.passport.as_deref().map(|id| ("passport", id)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::verdict::sample;

    fn keys(record: &Record, requested: Option<&[u8]>) -> Vec<DoseKey> {
        dose_keys(record, sample::selection(record, requested))
    }

    #[test]
    fn one_key_per_selected_dose_in_order() {
        // A record has a key for each selected dose that it has, in the record's order.
        let record = sample::record();
        let all = keys(&record, None);
        assert_eq!(all.len(), 2);
        assert_eq!(keys(&record, Some(&[2, 1, 1])), all);
        assert_eq!(keys(&record, Some(&[2, 7])), all[1..]);
    }

    #[test]
    fn the_key_is_who_and_which_dose() {
        // Name, dates and codes do not change a key; number, nationality, paper and dose do.
        let mut record = sample::record();
        let before = keys(&record, None);
        record.holder.full_name = "Trần B".to_owned();
        record.doses[0].product = "Abdala".to_owned();
        record.holder.passport = Some("B1234567".to_owned());
        assert_eq!(keys(&record, None), before);
        record.holder.nationality = "LA".to_owned();
        assert_ne!(keys(&record, None), before);
    }

    #[test]
    fn a_passport_stands_in_and_is_not_taken_for_a_national_number() {
        // Without a national number the passport counts, as a paper of its own kind.
        let mut record = sample::record();
        record.holder.national_id = Some("123456789".to_owned());
        let national = keys(&record, None);
        record.holder.national_id = None;
        assert_eq!(keys(&record, None), []);
        record.holder.passport = Some("123456789".to_owned());
        let passport = keys(&record, None);
        assert_eq!(passport.len(), 2);
        assert_ne!(passport, national);
    }

    #[test]
    fn debug_prints_no_number() {
        // A key does not get into logs by accident.
        assert_eq!(format!("{:?}", keys(&sample::record(), Some(&[1]))), "[DoseKey(..)]");
    }

    #[test]
    fn a_key_is_written_with_lengths() {
        // Each part has its length before it, so that no two keys are written alike; then the dose.
        let key = &keys(&sample::record(), Some(&[2]))[0];
        let parts: [&[u8]; 7] = [
            &[0, 0, 0, 2],
            b"VN",
            &[0, 0, 0, 11],
            b"national_id",
            &[0, 0, 0, 12],
            b"079083001234",
            &[2],
        ];
        assert_eq!(key.as_bytes(), parts.concat());
    }

    proptest! {
        #[test]
        fn different_keys_never_encode_alike(
            parts in prop::collection::btree_set(("[A-Z]{0,3}", "[A-Z0-9]{0,3}", 0u8..3), 2..20)
        ) {
            // The encoding is unambiguous: as many encodings as there are keys.
            let encoded: BTreeSet<_> =
                parts.iter().map(|(n, id, d)| DoseKey::new(n, ("passport", id), *d)).collect();
            prop_assert_eq!(encoded.len(), parts.len());
        }
    }
}
