//! Which of the things that `policy.toml` can say are acceptable: the file as a whole.
//!
//! In: the file as it was read, and the files it names. Out: checked rules; what is wrong goes to the
//! list of faults, and the rules are then absent. Every check runs, so that all faults are reported at
//! once.

use std::{collections::BTreeMap, sync::Arc};

use toml::Spanned;

use super::{Faults, Files, Policy, issuers, sheet, spec, spec::Spec, trust, units::Units};
use crate::{
    issuer::{Assurance, IssuerRules, Requirement},
    registry::Registry,
    value_set::{COVID_19, Catalogue, Kind, ValueSetFault},
};

/// Checks the whole file.
pub(super) fn policy(spec: Spec, files: Files<'_>, faults: &mut Faults) -> Option<Policy> {
    let catalogue = catalogue(spec.value_sets, files, faults);
    if spec.issuer.is_empty() {
        faults.add_absence("issuer", "no issuer is defined", "add a table [issuer.ID]");
    }
    let defined = spec.issuer.len();
    let mut issuers = BTreeMap::new();
    for (id, issuer) in spec.issuer {
        if let Some(rules) = issuers::issuer_rules(&id, issuer, faults) {
            issuers.insert(id.into_inner(), rules);
        }
    }
    // An issuer whose rules have a fault may ask for anything.
    let are_all_known = defined > 0 && issuers.len() == defined;
    let any = |asks: fn(&IssuerRules) -> bool| !are_all_known || issuers.values().any(asks);
    let statements = any(|rules| rules.assurance() == Assurance::Statement);
    let signatures = any(|rules| rules.facility_signature() == Requirement::Required);
    let verifiers = trust::verifiers(spec.verifier, statements, faults);
    let facility_trust = trust::facility_trust(spec.facility_trust, signatures, faults);
    let mut units = Units::default();
    units.enter(spec.facility, faults);
    let registry = registry_files(spec.registry, files, units, faults);
    Some(Policy {
        issuers,
        registry: Arc::new(registry),
        verifiers,
        facility_trust,
        catalogue: catalogue?,
    })
}

/// Joins the selected value sets; without the key, all built-in ones.
fn catalogue(
    value_sets: Option<Vec<Spanned<String>>>,
    files: Files<'_>,
    faults: &mut Faults,
) -> Option<Catalogue> {
    let Some(value_sets) = value_sets else { return Catalogue::select(Catalogue::set_ids()).ok() };
    if value_sets.is_empty() {
        faults.add_absence("value_sets", "no value set is selected", &available_sets());
    }
    let mut joined = Some(Catalogue::empty().ok()?);
    for name in value_sets {
        let added = joined.as_mut().map_or(Ok(()), |sets| sets.add_named(name.get_ref(), files));
        let Err(fault) = added else { continue };
        let remedy = match fault {
            ValueSetFault::Unknown { .. } => available_sets(),
            ValueSetFault::BuiltIn { .. } => "install the program again".to_owned(),
            ValueSetFault::File { .. } => "correct the file, see policy.toml(5)".to_owned(),
            ValueSetFault::Repeated { .. } => "remove one".to_owned(),
        };
        faults.add(name.span(), "value_sets".to_owned(), [fault.to_string(), remedy]);
    }
    // Every certificate names the disease.
    if joined.as_ref().is_some_and(|sets| !sets.knows(Kind::Disease, COVID_19, None, None)) {
        let problem = "no selected value set has the disease COVID-19 (840539006)";
        faults.add_absence("value_sets", problem, "select qd-5772 or eu-2.12.0 as well");
    }
    joined
}

fn available_sets() -> String {
    let built_in = Catalogue::set_ids().collect::<Vec<_>>().join(", ");
    format!("select from {built_in}, or name a file that ends in .toml")
}

/// Adds the units of the files that the policy names.
fn registry_files(
    names: Vec<Spanned<String>>,
    files: Files<'_>,
    mut units: Units,
    faults: &mut Faults,
) -> Registry {
    for name in names {
        let text = match files(name.get_ref()) {
            Ok(text) => text,
            Err(problem) => {
                let problem = format!("{} cannot be read: {problem}", name.get_ref());
                let remedy = "check the path and the permissions".to_owned();
                faults.add(name.span(), "registry".to_owned(), [problem, remedy]);
                continue;
            }
        };
        let mut own = Faults::of_file(&text, name.get_ref());
        let read = match name.get_ref().rsplit_once('.') {
            Some((_, "csv")) => sheet::read(&text, &mut own),
            _ => spec::read_registry(&text).map_err(|fault| own.push(fault)).ok(),
        };
        if let Some(specs) = read {
            units.enter(specs, &mut own);
        }
        faults.join(own);
    }
    units.into_registry()
}
