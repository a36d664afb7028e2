//! Statements for the corpus: every form that is accepted, and every one that is refused.
//!
//! Their signatures are zeros: the target signs them itself.

use ciborium::Value;

use super::fixture::{FIXTURE, Signer};
use crate::cbor::encode;

/// The named seeds.
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    let seeds = identity().into_iter().chain(facility()).chain(malformed());
    seeds.map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

fn identity() -> Vec<(&'static str, Vec<u8>)> {
    let kid = Value::from(FIXTURE.gateway.kid());
    let by_kid =
        |alg: i64, payload: Vec<u8>| message(&[(1, alg.into()), (4, kid.clone())], Some(payload));
    vec![
        ("identity-matched", by_kid(-7, claims("matched", 1_799_999_000.into()))),
        ("identity-mismatched", by_kid(-7, claims("mismatched", 0.into()))),
        ("identity-not-found", by_kid(-7, claims("not_found", i64::MAX.into()))),
        ("identity-beyond-time", by_kid(-7, claims("matched", u64::MAX.into()))),
        ("identity-own-word", by_kid(-7, claims("khop", 1_799_999_000.into()))),
        ("identity-negative-time", by_kid(-7, claims("matched", (-1).into()))),
        ("identity-outcome", by_kid(-7, claims("perhaps", 1.into()))),
        ("identity-no-claims", by_kid(-7, encode(&Value::Map(Vec::new())))),
        ("identity-no-cbor", by_kid(-7, vec![0xff])),
        ("identity-ps256", by_kid(-37, claims("matched", 1.into()))),
        ("identity-rs256", by_kid(-257, claims("matched", 1.into()))),
        ("identity-es384", by_kid(-35, claims("matched", 1.into()))),
        ("identity-detached", message(&[(1, (-7).into()), (4, kid.clone())], None)),
        (
            "identity-unknown-kid",
            message(&[(1, (-7).into()), (4, vec![0_u8; 8].into())], Some(vec![0xa0])),
        ),
        (
            "identity-short-kid",
            message(&[(1, (-7).into()), (4, vec![0_u8; 7].into())], Some(vec![0xa0])),
        ),
        ("identity-no-kid", message(&[(1, (-7).into())], Some(vec![0xa0]))),
        (
            "identity-critical",
            message(
                &[(1, (-7).into()), (2, Value::Array(vec![1.into()])), (4, kid.clone())],
                Some(vec![0xa0]),
            ),
        ),
    ]
}

fn facility() -> Vec<(&'static str, Vec<u8>)> {
    let [good, revoked, foreign] = &FIXTURE.facilities;
    let by = |label: i64, hint: Value| message(&[(1, (-7).into()), (label, hint)], None);
    let der = |signer: &Signer| Value::from(signer.der.as_slice());
    vec![
        ("facility-thumbprint", by(34, thumbprint(good, -16))),
        ("facility-thumbprint-sha512", by(34, thumbprint(good, -44))),
        ("facility-revoked", by(34, thumbprint(revoked, -16))),
        ("facility-foreign", by(34, thumbprint(foreign, -16))),
        ("facility-unregistered", by(34, Value::Array(vec![(-16).into(), vec![0_u8; 32].into()]))),
        ("facility-short-digest", by(34, Value::Array(vec![(-16).into(), vec![0_u8; 31].into()]))),
        ("facility-leaf", by(33, der(good))),
        ("facility-chain", by(33, Value::Array(vec![der(good), vec![0x30_u8].into()]))),
        ("facility-chain-of-one", by(33, Value::Array(vec![der(good)]))),
        ("facility-chain-of-text", by(33, Value::Array(vec![der(good), "x".into()]))),
        (
            "facility-attached",
            message(&[(1, (-7).into()), (34, thumbprint(good, -16))], Some(vec![1])),
        ),
        (
            "facility-both-hints",
            message(&[(1, (-7).into()), (33, der(good)), (34, thumbprint(good, -16))], None),
        ),
        (
            "facility-and-kid",
            message(
                &[(1, (-7).into()), (4, FIXTURE.gateway.kid().into()), (34, thumbprint(good, -16))],
                None,
            ),
        ),
    ]
}

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("untagged", encode(&Value::Array(vec![Value::Bytes(vec![0xa0])]))),
        (
            "counter-signature",
            message(
                &[
                    (1, (-7).into()),
                    (
                        7,
                        Value::Array(vec![
                            Value::Bytes(vec![0xa0]),
                            Value::Map(Vec::new()),
                            Value::Bytes(vec![0]),
                        ]),
                    ),
                ],
                None,
            ),
        ),
        (
            "unprotected",
            tagged(
                encode(&Value::Map(Vec::new())),
                Value::Map(vec![(1.into(), (-7).into())]),
                Value::Null,
            ),
        ),
        ("empty-header", tagged(Vec::new(), Value::Map(Vec::new()), Value::Null)),
    ]
}

fn message(header: &[(i64, Value)], payload: Option<Vec<u8>>) -> Vec<u8> {
    let header = header.iter().map(|(label, value)| ((*label).into(), value.clone())).collect();
    let payload = payload.map_or(Value::Null, Value::Bytes);
    tagged(encode(&Value::Map(header)), Value::Map(Vec::new()), payload)
}

fn tagged(protected: Vec<u8>, unprotected: Value, payload: Value) -> Vec<u8> {
    let members = vec![protected.into(), unprotected, payload, vec![0_u8; 64].into()];
    encode(&Value::Tag(18, Box::new(Value::Array(members))))
}

fn claims(outcome: &str, checked_at: Value) -> Vec<u8> {
    encode(&Value::Map(vec![
        ("outcome".into(), outcome.into()),
        ("checked_at".into(), checked_at),
        ("holder_digest".into(), vec![7_u8; 32].into()),
    ]))
}

fn thumbprint(signer: &Signer, algorithm: i64) -> Value {
    Value::Array(vec![algorithm.into(), signer.sha256.as_slice().into()])
}
