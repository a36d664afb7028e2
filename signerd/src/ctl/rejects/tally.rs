//! How many records of which place were rejected for what: the summary of a list.
//!
//! In go records as they are found, out come counts per place, list and reason. A record counts once
//! per list and once per reason, however many of its doses a reason names. Memory grows with the
//! registry: units that it does not know are one place.

use std::collections::BTreeMap;

use policy::ReasonCode;

use super::row::{List, Place, Row};

/// Stands for reasons that this program does not know.
const UNKNOWN: &str = "(khác / other)";

/// Counts by place.
#[derive(Default)]
pub(super) struct Tally {
    places: BTreeMap<Place, Counts>,
    total: Counts,
}

/// Counts of one place, or of all.
#[derive(Clone, Default)]
pub(super) struct Counts {
    /// Records.
    pub(super) records: u64,
    lists: BTreeMap<List, u64>,
    codes: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Counts one record that goes into these lists.
    pub(super) fn add(&mut self, row: &Row, lists: &[List]) {
        let place = self.places.entry(row.place.clone()).or_default();
        for counts in [place, &mut self.total] {
            counts.add(row, lists);
        }
    }

    /// The places, in the order of the lists.
    pub(super) fn places(&self) -> impl Iterator<Item = (&Place, &Counts)> {
        self.places.iter()
    }

    /// All places together.
    pub(super) fn total(&self) -> &Counts {
        &self.total
    }

    /// The reasons that occur, in the order of the contract, unknown ones last.
    pub(super) fn codes(&self) -> impl Iterator<Item = &'static str> {
        let known = ReasonCode::ALL.iter().map(|code| code.as_str());
        known.chain([UNKNOWN]).filter(|code| self.total.code(code) > 0)
    }

    /// One place alone, for a file of its own.
    pub(super) fn only(&self, place: &Place) -> Self {
        let counts = self.places.get(place).cloned().unwrap_or_default();
        Self { places: BTreeMap::from([(place.clone(), counts.clone())]), total: counts }
    }
}

impl Counts {
    /// Records in a list.
    pub(super) fn list(&self, list: List) -> u64 {
        self.lists.get(&list).copied().unwrap_or(0)
    }

    /// Records with a reason.
    pub(super) fn code(&self, code: &str) -> u64 {
        self.codes.get(code).copied().unwrap_or(0)
    }

    fn add(&mut self, row: &Row, lists: &[List]) {
        self.records = self.records.saturating_add(1);
        for list in lists {
            increase(self.lists.entry(*list).or_default());
        }
        // Codes of a row stand once each; several unknown ones are one.
        let mut unknown = false;
        for code in &row.codes {
            match ReasonCode::parse(code) {
                Some(code) => increase(self.codes.entry(code.as_str()).or_default()),
                None => unknown = true,
            }
        }
        if unknown {
            increase(self.codes.entry(UNKNOWN).or_default());
        }
    }
}

fn increase(count: &mut u64) {
    *count = count.saturating_add(1);
}
