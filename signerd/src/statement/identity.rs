//! Identity statements: the national population database's gateway says what it found (R11).

use std::collections::HashMap;

use policy::{Evidence, IdentityStatement, Outcome, ReasonCode};
use sha2::{Digest as _, Sha256};

use super::cose::{CertificateHint, Signed};
use super::key::{Algorithm, KeyError, VerificationKey};
use crate::wire::cbor::{Limits, Reader, Shape, gate};

/// The gateways whose statements count, by kid.
#[derive(Debug, Default)]
pub struct Verifiers {
    by_kid: HashMap<[u8; 8], VerificationKey>,
}

impl Verifiers {
    /// Registers the certificates of the gateways, in DER.
    ///
    /// # Errors
    /// A certificate whose key cannot verify statements.
    pub fn new<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, KeyError> {
        let by_kid = certificates
            .into_iter()
            .map(|der| {
                let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = Sha256::digest(der).into();
                Ok(([a, b, c, d, e, f, g, h], VerificationKey::of_certificate(der)?))
            })
            .collect::<Result<_, KeyError>>()?;
        Ok(Self { by_kid })
    }

    /// Verifies the statement of an entry.
    pub fn check(&self, statement: Option<&[u8]>) -> Evidence<IdentityStatement> {
        let Some(statement) = statement else { return Evidence::Missing };
        match self.verified(statement) {
            Ok(statement) => Evidence::Verified(statement),
            Err(code) => Evidence::Refused(code),
        }
    }

    fn verified(&self, statement: &[u8]) -> Result<IdentityStatement, ReasonCode> {
        let invalid = ReasonCode::IdentityStatementInvalid;
        let signed = Signed::read(statement).ok_or(invalid)?;
        if signed.certificate != CertificateHint::Absent || signed.algorithm == Algorithm::Rs256 {
            return Err(invalid);
        }
        let kid: [u8; 8] = signed.kid.as_slice().try_into().map_err(|_| invalid)?;
        let key = self.by_kid.get(&kid).ok_or(ReasonCode::IdentityVerifierUnknown)?;
        let payload = signed.payload().ok_or(invalid)?;
        if !key.verifies(signed.algorithm, &signed.to_be_signed(), signed.signature()) {
            return Err(invalid);
        }
        let canonical = gate::check(payload, &Limits::SMALL_MAP).map_err(|_| invalid)?;
        claims(&mut Reader::new(canonical)).map_err(|_| invalid)
    }
}

/// Reads `identity-claims` of `api.cddl`.
fn claims(reader: &mut Reader<'_>) -> Result<IdentityStatement, Shape> {
    let (mut outcome, mut checked_at, mut holder_digest) = (None, None, None);
    for _ in 0..reader.map()? {
        match reader.text()? {
            "outcome" => outcome = Some(read_outcome(reader.text()?)?),
            "checked_at" => checked_at = i64::try_from(reader.unsigned()?).ok(),
            "holder_digest" => holder_digest = reader.bytes()?.try_into().ok(),
            _ => return Err(Shape::unknown()),
        }
    }
    Ok(IdentityStatement {
        holder_digest: holder_digest.ok_or_else(|| Shape::missing("holder_digest"))?,
        outcome: outcome.ok_or_else(|| Shape::missing("outcome"))?,
        checked_at: checked_at.ok_or_else(|| Shape::missing("checked_at"))?,
    })
}

fn read_outcome(text: &str) -> Result<Outcome, Shape> {
    match text {
        "matched" => Ok(Outcome::Matched),
        "mismatched" => Ok(Outcome::Mismatched),
        "not_found" => Ok(Outcome::NotFound),
        _ => Err(Shape::new("not an outcome")),
    }
}
