//! What must come out of a statement, said a second time and in other words than the product's.

use ciborium::Value;
use policy::{Outcome, ReasonCode};
use sha2::{Digest as _, Sha256};
use signerd::wire::cbor::{Limits, gate};

use super::Identity;
use super::fixture::{Fixture, NOT_AFTER, RECORD, Signer, VERIFIER_FROM};
use crate::cbor;

const ES256: i128 = -7;
const PS256: i128 = -37;
const RS256: i128 = -257;
const SHA_256: i128 = -16;

/// Anything with the members of a COSE_Sign1, however encoded.
pub(super) struct Message {
    /// The bytes of the protected header.
    pub(super) protected: Vec<u8>,
    unprotected: Value,
    /// The payload, if it is attached.
    pub(super) payload: Option<Vec<u8>>,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

impl Message {
    /// Reads a tagged COSE_Sign1 leniently.
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        let Value::Tag(18, inner) = cbor::lenient(data)? else { return None };
        let [protected, unprotected, payload, signature] =
            <[Value; 4]>::try_from(inner.into_array().ok()?).ok()?;
        let payload = match payload {
            Value::Null => None,
            other => Some(other.into_bytes().ok()?),
        };
        let (protected, signature) = (protected.into_bytes().ok()?, signature.into_bytes().ok()?);
        Some(Self { protected, unprotected, payload, signature })
    }

    /// The `Sig_structure` of RFC 9052 §4.4.
    pub(super) fn to_be_signed(&self, payload: &[u8]) -> Vec<u8> {
        let members = ["Signature1".into(), self.protected.as_slice().into()];
        let rest = [Value::Bytes(Vec::new()), payload.into()];
        cbor::encode(&Value::Array(members.into_iter().chain(rest).collect()))
    }
}

/// The protected header, when it has no label but the four that are known.
struct Header {
    algorithm: i128,
    kid: Option<Vec<u8>>,
    chain: Option<Value>,
    thumbprint: Option<Value>,
}

/// The strict form of the message: `None` where the product must call it invalid.
fn strict(data: &[u8]) -> Option<(Message, Header)> {
    gate::check(data, &Limits::COSE).ok()?;
    let message = Message::read(data)?;
    (message.unprotected == Value::Map(Vec::new())).then_some(())?;
    gate::check(&message.protected, &Limits::SMALL_MAP).ok()?;
    let mut header = Header { algorithm: 0, kid: None, chain: None, thumbprint: None };
    for (label, value) in cbor::lenient(&message.protected)?.into_map().ok()? {
        match i128::from(label.as_integer()?) {
            1 => header.algorithm = value.as_integer()?.into(),
            4 => header.kid = Some(value.into_bytes().ok().filter(|kid| !kid.is_empty())?),
            33 => header.chain = Some(value),
            34 => header.thumbprint = Some(value),
            _ => return None,
        }
    }
    [ES256, PS256, RS256].contains(&header.algorithm).then_some((message, header))
}

/// What an identity statement must come to.
pub(super) fn identity(fixture: &Fixture, data: &[u8], now: i64) -> Identity {
    let invalid = ReasonCode::IdentityStatementInvalid;
    let (message, header) = strict(data).ok_or(invalid)?;
    let signed_by_certificate = header.chain.is_some() || header.thumbprint.is_some();
    let kid = header.kid.filter(|kid| kid.len() == 8).ok_or(invalid)?;
    if signed_by_certificate || header.algorithm == RS256 {
        return Err(invalid);
    }
    if kid != fixture.gateway.kid() {
        return Err(ReasonCode::IdentityVerifierUnknown);
    }
    let payload = message.payload.as_deref().ok_or(invalid)?;
    let signed = message.to_be_signed(payload);
    // The gateway's key is of P-256.
    let verified =
        header.algorithm == ES256 && fixture.gateway.verifies(&signed, &message.signature);
    let claims = verified.then(|| claims(payload)).flatten().ok_or(invalid)?;
    let counted = claims.2.min(now);
    let is_verifier = (VERIFIER_FROM..=NOT_AFTER).contains(&counted);
    is_verifier.then_some(claims).ok_or(ReasonCode::IdentityVerifierUnknown)
}

fn claims(payload: &[u8]) -> Option<([u8; 32], Outcome, i64)> {
    gate::check(payload, &Limits::SMALL_MAP).ok()?;
    let claims = cbor::lenient(payload)?;
    let outcome = match cbor::member(&claims, "outcome")?.as_text()? {
        // The second is the policy's own word.
        "matched" | "khop" => Outcome::Matched,
        "mismatched" => Outcome::Mismatched,
        "not_found" => Outcome::NotFound,
        _ => return None,
    };
    let checked_at = u64::try_from(cbor::member(&claims, "checked_at")?.as_integer()?).ok()?;
    let digest = cbor::member(&claims, "holder_digest")?.as_bytes()?.as_slice().try_into().ok()?;
    let alone = claims.as_map()?.len() == 3;
    alone.then_some((digest, outcome, i64::try_from(checked_at).ok()?))
}

/// What a facility's signature must come to.
pub(super) fn facility(fixture: &Fixture, data: &[u8], now: i64) -> Result<String, ReasonCode> {
    let invalid = ReasonCode::FacilitySignatureInvalid;
    let (message, header) = strict(data).ok_or(invalid)?;
    let sha256 = match (&header.kid, header.chain.as_ref(), header.thumbprint.as_ref()) {
        (None, Some(chain), None) => Sha256::digest(leaf(chain).ok_or(invalid)?).to_vec(),
        (None, None, Some(thumbprint)) => digest(thumbprint).ok_or(invalid)?.to_vec(),
        _ => return Err(invalid),
    };
    let known = |signer: &&Signer| signer.sha256.as_slice() == sha256;
    let signer = fixture.facilities.iter().find(known);
    let signer = signer.ok_or(ReasonCode::FacilityCertificateUnregistered)?;
    if let Some(fault) = signer.fault_at(now) {
        return Err(fault);
    }
    let signed = message.to_be_signed(RECORD);
    let verified = message.payload.is_none()
        && header.algorithm == ES256
        && signer.verifies(&signed, &message.signature);
    verified.then(|| signer.unit.to_owned()).ok_or(invalid)
}

/// One certificate bare, or the first of two or more in an array (RFC 9360 §2).
fn leaf(chain: &Value) -> Option<&[u8]> {
    match chain {
        Value::Bytes(leaf) => Some(leaf),
        Value::Array(chain) => {
            let all = chain.iter().map(|der| der.as_bytes().map(Vec::as_slice));
            let all: Vec<&[u8]> = all.collect::<Option<_>>()?;
            all.first().copied().filter(|_| all.len() > 1)
        }
        _ => None,
    }
}

/// The digest of `[-16, digest]`.
fn digest(thumbprint: &Value) -> Option<[u8; 32]> {
    match thumbprint.as_array()?.as_slice() {
        [algorithm, digest] if i128::from(algorithm.as_integer()?) == SHA_256 => {
            digest.as_bytes()?.as_slice().try_into().ok()
        }
        _ => None,
    }
}
