//! One record under judgement: the entry with what every rule needs read from it once, and the
//! reasons found so far.

use jiff::civil::Date;

use super::Entry;
use crate::{
    calendar::{self, BirthDate},
    issuer::IssuerRules,
    names::{NameFault, Names},
    policy_file::Policy,
    reason::{Reason, ReasonCode},
    record::{Dose, Holder, Record},
    selection::Selection,
};

/// What the rules look at.
pub(super) struct Case<'a> {
    pub(super) entry: &'a Entry<'a>,
    pub(super) rules: &'a IssuerRules,
    pub(super) policy: &'a Policy,
    /// The time, in seconds since 1970.
    pub(super) now: i64,
    /// The day it is in Viet Nam.
    pub(super) today: Date,
    pub(super) names: Result<Names, Vec<NameFault>>,
    /// The birth date, if it is one.
    pub(super) birth: Option<BirthDate>,
    /// Which of them are to be certified.
    pub(super) selection: Selection,
    /// All doses of the record, in its order.
    pub(super) doses: Vec<DoseCase<'a>>,
}

/// One dose under judgement.
pub(super) struct DoseCase<'a> {
    /// Where it stands in the record.
    pub(super) index: usize,
    pub(super) dose: &'a Dose,
    /// Its date, if it is one.
    pub(super) date: Option<Date>,
    /// Whether it is to be certified.
    pub(super) is_selected: bool,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        entry: &'a Entry<'a>,
        rules: &'a IssuerRules,
        policy: &'a Policy,
        now: i64,
    ) -> Self {
        let holder = &entry.record.holder;
        let selection = Selection::new(rules, entry.record, entry.selected);
        let doses = entry.record.doses.iter().enumerate().map(|(index, dose)| DoseCase {
            index,
            dose,
            date: calendar::full_date(&dose.date),
            is_selected: selection.has(dose.number),
        });
        Self {
            entry,
            rules,
            policy,
            now,
            today: calendar::today(now),
            names: Names::new(&holder.full_name, holder.surname.as_deref()),
            birth: BirthDate::parse(&holder.date_of_birth),
            selection,
            doses: doses.collect(),
        }
    }

    pub(super) fn record(&self) -> &'a Record {
        self.entry.record
    }

    pub(super) fn holder(&self) -> &'a Holder {
        &self.entry.record.holder
    }

    /// The doses to be certified.
    pub(super) fn selected(&self) -> impl Iterator<Item = &DoseCase<'a>> {
        self.doses.iter().filter(|dose| dose.is_selected)
    }
}

impl DoseCase<'_> {
    /// The JSON Pointer of a member of this dose.
    pub(super) fn path(&self, member: &str) -> String {
        format!("/record/doses/{}/{member}", self.index)
    }
}

/// The reasons found so far.
#[derive(Default)]
pub(super) struct Report(Vec<Reason>);

impl Report {
    pub(super) fn add(&mut self, code: ReasonCode, path: impl Into<String>) {
        self.0.push(Reason::new(code, path));
    }

    /// The reasons in the contract's order, none if there is none.
    pub(super) fn into_reasons(mut self) -> Option<Vec<Reason>> {
        self.0.sort();
        self.0.dedup();
        (!self.0.is_empty()).then_some(self.0)
    }
}
