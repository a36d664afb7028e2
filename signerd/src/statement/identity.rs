//! Identity statements: the national population database's gateway says what it found (R11).

use std::collections::HashMap;

use policy::{Evidence, IdentityStatement, Outcome, Period, ReasonCode};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::cose::{CertificateHint, Signed};
use super::key::{Algorithm, KeyError, VerificationKey, validity};
use crate::wire::cbor::{Limits, Reader, Shape, gate};

/// The gateways whose statements count, by kid.
#[derive(Debug, Default)]
pub struct Verifiers {
    by_kid: HashMap<[u8; 8], Gateway>,
}

/// A verifier that cannot be used. To blame: the operator. Do not retry.
#[derive(Debug, Error)]
pub enum VerifierError {
    /// Its certificate cannot be read, or its key cannot verify statements.
    #[error("certificate {certificate:?}: {source}")]
    Key {
        /// The file, as the policy names it.
        certificate: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// Two certificates have one kid, so that a statement would not name its verifier.
    #[error("certificate {certificate:?} has the kid of another verifier, or is named twice")]
    Kid {
        /// The file, as the policy names it.
        certificate: String,
    },
}

/// One gateway.
#[derive(Debug)]
struct Gateway {
    key: VerificationKey,
    /// The last second of its certificate, since 1970.
    not_after: i64,
    /// The days on which its look-ups count.
    valid: Period,
    age_days_max: Option<u16>,
    outcomes: HashMap<String, Outcome>,
}

impl Verifiers {
    /// Registers the gateways, each with its certificate in DER.
    ///
    /// # Errors
    /// The first certificate that cannot verify statements, or stands twice.
    pub fn new<'a>(
        verifiers: impl IntoIterator<Item = (&'a policy::Verifier, &'a [u8])>,
    ) -> Result<Self, VerifierError> {
        let mut by_kid = HashMap::new();
        for (verifier, der) in verifiers {
            let certificate = || verifier.certificate().to_owned();
            let gateway = Gateway::new(verifier, der)
                .map_err(|source| VerifierError::Key { certificate: certificate(), source })?;
            let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = Sha256::digest(der).into();
            if by_kid.insert([a, b, c, d, e, f, g, h], gateway).is_some() {
                return Err(VerifierError::Kid { certificate: certificate() });
            }
        }
        Ok(Self { by_kid })
    }

    /// Verifies the statement of an entry.
    pub fn check(&self, statement: Option<&[u8]>, now: i64) -> Evidence<IdentityStatement> {
        let Some(statement) = statement else { return Evidence::Missing };
        match self.verified(statement, now) {
            Ok(statement) => Evidence::Verified(statement),
            Err(code) => Evidence::Refused(code),
        }
    }

    fn verified(&self, statement: &[u8], now: i64) -> Result<IdentityStatement, ReasonCode> {
        let invalid = ReasonCode::IdentityStatementInvalid;
        let unknown = ReasonCode::IdentityVerifierUnknown;
        let signed = Signed::read(statement).ok_or(invalid)?;
        if signed.certificate != CertificateHint::Absent || signed.algorithm == Algorithm::Rs256 {
            return Err(invalid);
        }
        let kid: [u8; 8] = signed.kid.try_into().map_err(|_| invalid)?;
        let gateway = self.by_kid.get(&kid).ok_or(unknown)?;
        let payload = signed.payload().ok_or(invalid)?;
        let message = signed.to_be_signed().ok_or(invalid)?;
        if !gateway.key.verifies(signed.algorithm, &message, signed.signature()) {
            return Err(invalid);
        }
        let canonical = gate::check(payload, &Limits::SMALL_MAP).map_err(|_| invalid)?;
        let statement = gateway.claims(&mut Reader::new(canonical)).map_err(|_| invalid)?;
        // A look-up dated in the future is the judge's matter; here it counts as one of now.
        if gateway.counted_at(statement.checked_at.min(now)) { Ok(statement) } else { Err(unknown) }
    }
}

impl Gateway {
    fn new(verifier: &policy::Verifier, der: &[u8]) -> Result<Self, KeyError> {
        let certificate = Certificate::from_der(der)?;
        let (_, not_after) = validity(&certificate);
        Ok(Self {
            key: VerificationKey::of(&certificate)?,
            not_after,
            valid: verifier.valid(),
            age_days_max: verifier.age_days_max(),
            outcomes: verifier.outcomes().clone(),
        })
    }

    /// Whether it was a verifier when it looked. The time of the look-up counts, not that of signing: a
    /// gateway whose certificate ended yesterday did not lose what it found last week. The begin of the
    /// certificate does not count: who dates a look-up back only makes it staler.
    fn counted_at(&self, checked_at: i64) -> bool {
        checked_at <= self.not_after && self.valid.contains(checked_at)
    }

    /// Reads `identity-claims` of the contract.
    fn claims(&self, reader: &mut Reader<'_>) -> Result<IdentityStatement, Shape> {
        let (mut outcome, mut checked_at, mut holder_digest) = (None, None, None);
        for _ in 0..reader.map()? {
            match reader.text()? {
                "outcome" => outcome = Some(self.outcome(reader.text()?)?),
                "checked_at" => checked_at = i64::try_from(reader.unsigned()?).ok(),
                "holder_digest" => holder_digest = reader.bytes()?.try_into().ok(),
                _ => return Err(Shape::unknown()),
            }
        }
        Ok(IdentityStatement {
            holder_digest: holder_digest.ok_or_else(|| Shape::missing("holder_digest"))?,
            outcome: outcome.ok_or_else(|| Shape::missing("outcome"))?,
            checked_at: checked_at.ok_or_else(|| Shape::missing("checked_at"))?,
            age_days_max: self.age_days_max,
        })
    }

    fn outcome(&self, word: &str) -> Result<Outcome, Shape> {
        self.outcomes.get(word).copied().ok_or_else(|| Shape::new("not an outcome"))
    }
}
