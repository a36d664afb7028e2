//! Identity statements and facility signatures: the whole way from bytes to verified evidence.
//!
//! A model says what must come out, and it is written against another decoder: from the form of the
//! message to the claims behind the signature. So that inputs get behind the signature, each is also
//! tried with its last 64 bytes replaced by a true one. Keys, certificates and serial numbers are made
//! from constants and Ed25519 signs without chance, so that seeds stay good on every machine.

mod fixture;
mod model;
#[cfg(test)]
pub(crate) mod seeds;

use policy::{Evidence, FacilitySigner, IdentityStatement, Outcome, ReasonCode};

use fixture::{FIXTURE, Fixture, RECORD};
use model::Message;

/// Takes any bytes.
pub fn check(data: &[u8]) {
    outcomes(data);
}

/// What the input came to, as it is and signed by everybody who could have signed it.
pub(crate) fn outcomes(data: &[u8]) -> Vec<Result<&'static str, ReasonCode>> {
    let fixture = &*FIXTURE;
    let mut outcomes = identity(fixture, data).to_vec();
    outcomes.extend(facility(fixture, data));
    let Some(message) = Message::read(data) else { return outcomes };
    if let Some(payload) = message.payload.as_deref()
        && let Some(signed) = with_signature(data, &message, |m| fixture.gateway.sign(m), payload)
    {
        outcomes.extend(identity(fixture, &signed));
    }
    for unit in &fixture.facilities {
        if let Some(signed) = with_signature(data, &message, |m| unit.sign(m), RECORD) {
            outcomes.extend(facility(fixture, &signed));
        }
    }
    outcomes
}

/// The same message with a true signature where its own stands, at the end.
fn with_signature(
    data: &[u8],
    message: &Message,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let start = data.strip_suffix(message.signature.as_slice())?;
    let signature = sign(&message.to_be_signed(payload));
    (signature.len() == message.signature.len()).then(|| [start, &signature].concat())
}

/// What an identity statement comes to, in a form that can be compared.
type Identity = Result<([u8; 32], Outcome, i64), ReasonCode>;

fn identity(fixture: &Fixture, data: &[u8]) -> [Result<&'static str, ReasonCode>; 2] {
    fixture.times.each_ref().map(|(_, now)| {
        let ours: Identity = match fixture.verifiers.check(Some(data), *now) {
            Evidence::Verified(statement) => {
                let IdentityStatement { holder_digest, outcome, checked_at, age_days_max } =
                    statement;
                assert_eq!(age_days_max, Some(60), "the verifier's own limit");
                Ok((holder_digest, outcome, checked_at))
            }
            Evidence::Refused(code) => Err(code),
            Evidence::Missing => unreachable!("there is a statement"),
        };
        assert_eq!(ours, model::identity(fixture, data, *now), "{data:02x?} at {now}");
        ours.map(|_| "identity statement")
    })
}

fn facility(fixture: &Fixture, data: &[u8]) -> [Result<&'static str, ReasonCode>; 2] {
    fixture.times.each_ref().map(|(units, now)| {
        let ours = match units.check(Some(data), RECORD, *now) {
            Evidence::Verified(FacilitySigner { unit }) => Ok(unit),
            Evidence::Refused(code) => Err(code),
            Evidence::Missing => unreachable!("there is a signature"),
        };
        assert_eq!(ours, model::facility(fixture, data, *now), "{data:02x?} at {now}");
        ours.map(|_| "facility signature")
    })
}
