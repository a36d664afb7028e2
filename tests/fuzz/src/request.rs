//! The typed request: what was decoded holds everything that came in, and a fault leads to its place.

use ciborium::Value;
use signerd::wire::cbor::{Limits, gate};
use signerd::wire::request::{self, BatchRequest, RECORDS_MAX, RecordEntry, RequestError};

use crate::{cbor, record};

/// Takes any bytes.
pub fn check(data: &[u8]) {
    let gated = gate::check(data, &Limits::REQUEST);
    match (request::decode(data), gated) {
        (Ok(batch), Ok(canonical)) => {
            decoded(&batch, &cbor::tree(canonical));
            batch.records.iter().for_each(|entry| record::check(entry.record));
        }
        (Err(RequestError::Shape(shape)), Ok(canonical)) => {
            let tree = cbor::tree(canonical);
            assert!(cbor::leads_somewhere(&shape.path, &tree), "{shape} in {tree:?}");
            assert!(!shape.problem.is_empty() && !shape.problem.contains(char::is_control));
        }
        (Err(RequestError::Cbor(told)), Err(found)) => assert_eq!(told, found),
        (decoded, gated) => unreachable!("{decoded:?} where the gate says {gated:?}"),
    }
}

fn decoded(batch: &BatchRequest<'_>, tree: &Value) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    assert!((1..=63).contains(&batch.issuer.len()) && batch.issuer.starts_with(plain));
    assert!(batch.issuer.chars().all(|c| plain(c) || c == '-'));

    let records = cbor::member(tree, "records").and_then(Value::as_array);
    let count = records.and_then(|records| u64::try_from(records.len()).ok());
    assert_eq!(count, Some(batch.record_count));
    if batch.record_count > RECORDS_MAX {
        assert!(batch.records.is_empty(), "too many records are not decoded");
        return;
    }
    assert!(!batch.records.is_empty());
    batch.records.iter().for_each(sizes);

    let mut members = vec![
        ("issuer".into(), batch.issuer.into()),
        ("records".into(), batch.records.iter().map(entry).collect::<Vec<_>>().into()),
        ("batch_id".into(), Value::from(batch.batch_id.as_slice())),
    ];
    if cbor::member(tree, "atomic").is_some() {
        members.insert(0, ("atomic".into(), batch.atomic.into()));
    } else {
        assert!(!batch.atomic, "a batch is atomic only where it says so");
    }
    assert_eq!(&Value::Map(members), tree, "nothing of the request is lost or changed");
}

/// The sizes of `api.cddl`.
fn sizes(entry: &RecordEntry<'_>) {
    assert!((1..=8_192).contains(&entry.record.len()));
    assert!(entry.identity_statement.is_none_or(|bytes| (1..=2_048).contains(&bytes.len())));
    assert!(entry.facility_signature.is_none_or(|bytes| (1..=8_192).contains(&bytes.len())));
    assert!(entry.doses.as_ref().is_none_or(|doses| {
        (1..=9).contains(&doses.len()) && doses.iter().all(|dose| (1..=9).contains(dose))
    }));
}

/// The entry as its request had it: members in the bytewise order of their encoded keys.
fn entry(entry: &RecordEntry<'_>) -> Value {
    let doses = entry
        .doses
        .as_ref()
        .map(|doses| Value::Array(doses.iter().map(|dose| Value::from(*dose)).collect()));
    let members = [
        ("doses", doses),
        ("record", Some(entry.record.into())),
        ("facility_signature", entry.facility_signature.map(Value::from)),
        ("identity_statement", entry.identity_statement.map(Value::from)),
    ];
    Value::Map(members.into_iter().filter_map(|(key, value)| Some((key.into(), value?))).collect())
}
