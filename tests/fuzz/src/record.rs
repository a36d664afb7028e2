//! The vaccination record, and the judge behind it.
//!
//! What was decoded holds everything that came in but the two members that are dropped on purpose. The
//! judge then says yes, or gives reasons that are sorted, differ, and lead to places in the record.

use std::sync::LazyLock;

use ciborium::Value;
use policy::record::{Dose, Holder, Record};
use policy::{
    Entry, Evidence, FacilitySigner, IdentityStatement, Outcome, Policy, Reason, ReasonCode, judge,
};
use sha2::{Digest as _, Sha256};
use signerd::wire::cbor::{Limits, gate};
use signerd::wire::record::{self, DecodedRecord};

use crate::cbor;

/// 2022-04-15, when the country began.
const NOW: i64 = 1_649_991_600;

/// One issuer that is strict and one that is not.
static POLICY: LazyLock<Option<Policy>> =
    LazyLock::new(|| Policy::parse(include_str!("../policy.toml")).ok());

/// Takes any bytes.
pub fn check(data: &[u8]) {
    outcomes(data);
}

/// What was found: nothing where both issuers may certify.
pub(crate) fn outcomes(data: &[u8]) -> Vec<ReasonCode> {
    let gated = gate::check(data, &Limits::RECORD);
    match (record::decode(data), gated) {
        (Ok(record), Ok(canonical)) => {
            let tree = cbor::tree(canonical);
            decoded(&record, &tree);
            judged(&record, &tree)
        }
        (Err(reason), Ok(canonical)) => {
            assert_eq!(reason.code, ReasonCode::RecordInvalid);
            leads(&reason, &cbor::tree(canonical));
            vec![reason.code]
        }
        (Err(reason), Err(error)) => {
            let profile = error.fault.is_profile_fault();
            let code = if profile {
                ReasonCode::RecordNotDeterministic
            } else {
                ReasonCode::RecordMalformed
            };
            assert_eq!(reason, Reason::new(code, "/record"), "{error}");
            vec![code]
        }
        (Ok(_), Err(error)) => unreachable!("decoded although {error}"),
    }
}

/// Reasons name places of the record-entry; here there is only its record.
fn leads(reason: &Reason, tree: &Value) {
    let inside = reason.path.strip_prefix("/record");
    let elsewhere = ["/identity_statement", "/facility_signature", "/doses"];
    let known = elsewhere.iter().any(|place| reason.path.starts_with(place));
    assert!(
        inside.map_or(known, |pointer| cbor::leads_somewhere(pointer, tree)),
        "{reason} in {tree:?}"
    );
}

fn decoded(decoded: &DecodedRecord, tree: &Value) {
    let holder = cbor::member(tree, "holder").map(cbor::encode).unwrap_or_default();
    assert_eq!(decoded.holder_digest, <[u8; 32]>::from(Sha256::digest(holder)));

    let mut kept = tree.clone();
    if let Some(holder) = member_mut(&mut kept, "holder") {
        remove(holder, "phone");
    }
    if let Some(Value::Array(doses)) = member_mut(&mut kept, "doses") {
        doses.iter_mut().for_each(|dose| remove(dose, "facility_name"));
    }
    assert_eq!(encoded(&decoded.record), kept, "nothing of the record is lost or changed");
}

fn judged(decoded: &DecodedRecord, tree: &Value) -> Vec<ReasonCode> {
    let Some(policy) = POLICY.as_ref() else {
        unreachable!("the policy of the fuzz targets is good")
    };
    let first = decoded.record.doses.first().map(|dose| dose.facility.clone()).unwrap_or_default();
    let mut codes = Vec::new();
    for rules in policy.issuers() {
        let entry = Entry {
            record: &decoded.record,
            selected: None,
            holder_digest: decoded.holder_digest,
            identity: Evidence::Verified(IdentityStatement {
                holder_digest: decoded.holder_digest,
                outcome: Outcome::Matched,
                checked_at: NOW - 60,
                age_days_max: None,
            }),
            facility: Evidence::Verified(FacilitySigner { unit: first.clone() }),
        };
        match judge(&entry, rules, policy, NOW) {
            Ok(approved) => assert!(
                (1..=decoded.record.doses.len()).contains(&approved.doses().len()),
                "a certificate is about a dose of the record"
            ),
            Err(reasons) => {
                assert!(!reasons.is_empty(), "a refusal has a reason");
                assert!(reasons.is_sorted_by(|one, next| one < next), "{reasons:?}");
                reasons.iter().for_each(|reason| leads(reason, tree));
                codes.extend(reasons.iter().map(|reason| reason.code));
            }
        }
    }
    codes
}

/// The record as its bytes had it, without what is dropped.
fn encoded(record: &Record) -> Value {
    map([
        ("doses", Some(Value::Array(record.doses.iter().map(dose).collect()))),
        ("holder", Some(holder(&record.holder))),
        ("total_doses", Some(record.total_doses.into())),
    ])
}

fn holder(holder: &Holder) -> Value {
    let text = |text: &String| Value::from(text.as_str());
    map([
        ("surname", holder.surname.as_ref().map(text)),
        ("passport", holder.passport.as_ref().map(text)),
        ("full_name", Some(text(&holder.full_name))),
        ("national_id", holder.national_id.as_ref().map(text)),
        ("nationality", Some(text(&holder.nationality))),
        ("date_of_birth", Some(text(&holder.date_of_birth))),
    ])
}

fn dose(dose: &Dose) -> Value {
    let text = |text: &String| Value::from(text.as_str());
    map([
        ("date", Some(text(&dose.date))),
        ("number", Some(dose.number.into())),
        ("product", Some(text(&dose.product))),
        ("vaccine", Some(text(&dose.vaccine))),
        ("facility", Some(text(&dose.facility))),
        ("manufacturer", Some(text(&dose.manufacturer))),
        ("managing_facility", dose.managing_facility.as_ref().map(text)),
    ])
}

fn map<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let present = members.into_iter().filter_map(|(key, value)| Some((key.into(), value?)));
    Value::Map(present.collect())
}

fn member_mut<'v>(map: &'v mut Value, name: &str) -> Option<&'v mut Value> {
    let pairs = map.as_map_mut()?;
    pairs.iter_mut().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

fn remove(map: &mut Value, name: &str) {
    if let Some(pairs) = map.as_map_mut() {
        pairs.retain(|(key, _)| key.as_text() != Some(name));
    }
}
