//! What a change of value sets would mean for the doses of a records file.
//!
//! In goes a records file and two catalogues; out come counts: how many doses have a code that becomes
//! known or unknown, how many combinations become right or wrong, and how many records that concerns.
//! Only a code that one of the catalogues lists can change, so that nothing else of a record can be
//! named. Records are read one by one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use jiff::civil::Date;
use policy::Catalogue;
use policy::value_set::Kind;
use serde_json::{Value, json};

use crate::ctl::Context;
use crate::ctl::error::CtlError;
use crate::ctl::output::{FileError, harmless};
use crate::ctl::records::{Dose, RecordReader, VaccinationRecord};

/// The counts.
#[derive(Default)]
pub(super) struct Effect {
    records: u64,
    records_changed: u64,
    records_unreadable: u64,
    doses: u64,
    codes: BTreeMap<(&'static str, String), Change>,
    combinations: BTreeMap<[String; 3], Change>,
}

/// Doses for which something changes.
#[derive(Default)]
struct Change {
    /// A code becomes known; a combination becomes right.
    better: u64,
    /// A code becomes unknown; a combination of known codes becomes wrong.
    worse: u64,
}

/// How a catalogue judges the three codes of a dose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Unknown,
    Inconsistent,
    Consistent,
}

impl Effect {
    /// Judges every dose by the old and by the new catalogue.
    pub(super) fn count(
        path: &Path,
        catalogues: [&Catalogue; 2],
        on: Option<Date>,
        context: &Context,
    ) -> Result<Self, CtlError> {
        let file = File::open(path).map_err(FileError::of("open", path))?;
        let bytes = file.metadata().map_err(FileError::of("read", path))?.len();
        let bar = context.progress.bar(bytes, "bytes");
        let reader = RecordReader::new(BufReader::with_capacity(1 << 16, bar.wrap_read(file)));
        let mut effect = Self::default();
        for located in reader {
            let located =
                located.map_err(|source| CtlError::Records { path: path.to_owned(), source })?;
            effect.records = effect.records.saturating_add(1);
            let record: Result<VaccinationRecord, _> =
                ciborium::from_reader(located.entry.record.0.as_slice());
            match record {
                Ok(record) => effect.record(&record, catalogues, on),
                Err(_) => increase(&mut effect.records_unreadable),
            }
        }
        bar.finish_and_clear();
        Ok(effect)
    }

    fn record(
        &mut self,
        record: &VaccinationRecord,
        catalogues: [&Catalogue; 2],
        on: Option<Date>,
    ) {
        let mut changed = false;
        for dose in &record.doses {
            increase(&mut self.doses);
            changed |= self.dose(dose, catalogues, on);
        }
        self.records_changed = self.records_changed.saturating_add(u64::from(changed));
    }

    /// Tells whether anything about the dose changes.
    fn dose(&mut self, dose: &Dose, catalogues: [&Catalogue; 2], on: Option<Date>) -> bool {
        let given = dose.date.parse().ok();
        let mut changed = false;
        for (kind, code) in codes(dose) {
            let [before, after] =
                catalogues.map(|catalogue| catalogue.knows(kind, code, given, on));
            if before != after {
                let change = self.codes.entry((kind.name(), code.to_owned())).or_default();
                increase(if after { &mut change.better } else { &mut change.worse });
                changed = true;
            }
        }
        let [before, after] = catalogues.map(|catalogue| judge(catalogue, dose, given, on));
        // What involves an unknown code is counted above.
        let known = before != Judgement::Unknown && after != Judgement::Unknown;
        if known && before != after {
            let triple = [&dose.product, &dose.manufacturer, &dose.vaccine].map(Clone::clone);
            let change = self.combinations.entry(triple).or_default();
            let better = after == Judgement::Consistent;
            increase(if better { &mut change.better } else { &mut change.worse });
            changed = true;
        }
        changed
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let codes = self.codes.iter().map(|((list, code), change)| {
            let Change { better, worse } = change;
            json!({ "list": list, "code": code, "becomes_known": better, "becomes_unknown": worse })
        });
        let combinations = self.combinations.iter().map(|(triple, change)| {
            let [product, manufacturer, vaccine] = triple;
            json!({
                "product": product, "manufacturer": manufacturer, "vaccine": vaccine,
                "becomes_consistent": change.better, "becomes_inconsistent": change.worse,
            })
        });
        json!({
            "records": self.records, "records_changed": self.records_changed,
            "records_unreadable": self.records_unreadable, "doses": self.doses,
            "codes": codes.collect::<Value>(), "combinations": combinations.collect::<Value>(),
        })
    }

    /// For people.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { records, records_changed, records_unreadable, doses, .. } = self;
        writeln!(
            out,
            "\n{records_changed} of {records} records ({doses} doses) would be judged otherwise; \
             {records_unreadable} cannot be read"
        )?;
        for ((list, code), Change { better, worse }) in &self.codes {
            let code = harmless(code);
            for (count, word) in [(worse, "unknown"), (better, "known")] {
                if *count > 0 {
                    writeln!(out, "{count:>9} doses: {list} {code} becomes {word}")?;
                }
            }
        }
        for (triple, Change { better, worse }) in &self.combinations {
            let triple = harmless(&triple.join(", "));
            for (count, word) in [(worse, "inconsistent"), (better, "consistent")] {
                if *count > 0 {
                    writeln!(out, "{count:>9} doses: {triple} becomes {word}")?;
                }
            }
        }
        Ok(())
    }
}

fn codes(dose: &Dose) -> [(Kind, &str); 3] {
    [
        (Kind::Vaccine, &dose.vaccine),
        (Kind::Product, &dose.product),
        (Kind::Manufacturer, &dose.manufacturer),
    ]
}

fn judge(catalogue: &Catalogue, dose: &Dose, given: Option<Date>, on: Option<Date>) -> Judgement {
    if !codes(dose).iter().all(|(kind, code)| catalogue.knows(*kind, code, given, on)) {
        return Judgement::Unknown;
    }
    match catalogue.belong_together(&dose.product, &dose.manufacturer, &dose.vaccine, on) {
        true => Judgement::Consistent,
        false => Judgement::Inconsistent,
    }
}

fn increase(count: &mut u64) {
    *count = count.saturating_add(1);
}
