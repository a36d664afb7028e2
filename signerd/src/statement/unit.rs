//! Facility signatures: a unit signs its own data with a registered organisation certificate (R12).
//!
//! The registry holds the certificates; a message only points at one, by its bytes or its digest. A
//! registered certificate must also chain to a trusted authority, be within its validity and not be
//! revoked. Each certificate is parsed once, and its chain is checked once a minute, not once per
//! record: a batch of one facility's doses names the same certificate a thousand times.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use policy::{
    Evidence, Facility, FacilitySigner, Place, ReasonCode, RegisteredCertificate, Registry,
};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::KeyUsage as KeyUsageExtension;

use super::cose::{CertificateHint, Signed};
use super::key::{KeyError, VerificationKey, validity};
use super::trust::{Leaf, TrustAnchors};

/// For how long may a verdict on a certificate be used? A revocation takes a reload anyway.
const VERDICT_SECONDS: i64 = 60;

/// A registry that cannot be used. To blame: the operator. Do not retry.
#[derive(Debug, Error)]
pub enum UnitError {
    /// A CA certificate that is none.
    #[error("CA certificate cannot be used: {0}")]
    Anchor(webpki::Error),
    /// A CA certificate that cannot be read.
    #[error("CA certificate cannot be read: {0}")]
    AnchorForm(x509_cert::der::Error),
    /// A revocation list that is none.
    #[error("revocation list cannot be used: {0}")]
    Crl(webpki::Error),
    /// The key of a registered certificate cannot verify signatures.
    #[error("certificate of unit {unit:?}: {source}")]
    Key {
        /// Id of the unit.
        unit: String,
        /// What is wrong with the key.
        source: KeyError,
    },
    /// The registration and the certificate in it disagree.
    #[error("certificate of unit {unit:?} does not agree with its registered {field}")]
    Registration {
        /// Id of the unit.
        unit: String,
        /// `issuer`, `serial` or `sha256`.
        field: &'static str,
    },
    /// The certificate ends before it begins.
    #[error("certificate of unit {unit:?} ends before it begins")]
    Validity {
        /// Id of the unit.
        unit: String,
    },
}

/// All registered units that may sign, by the SHA-256 of their certificates.
#[derive(Debug, Default)]
pub struct Units {
    registry: Arc<Registry>,
    certificates: HashMap<[u8; 32], Parsed>,
    trust: TrustAnchors,
}

/// One registered certificate, parsed once.
#[derive(Debug)]
struct Parsed {
    key: VerificationKey,
    not_before: i64,
    not_after: i64,
    /// Its key usage allows signatures, or says nothing.
    may_sign: bool,
    verdict: RwLock<Option<(i64, Result<(), ReasonCode>)>>,
}

impl Units {
    /// Parses the registered certificates and holds them against their registration.
    ///
    /// # Errors
    /// Every certificate that cannot be read or does not agree with its registration, and where it is
    /// registered; never an empty list.
    pub fn new(
        registry: Arc<Registry>,
        trust: TrustAnchors,
    ) -> Result<Self, Vec<(Place, UnitError)>> {
        let parsed: Vec<Result<_, (Place, UnitError)>> = registry
            .facilities()
            .par_iter()
            .flat_map_iter(|unit| unit.certificates().iter().map(move |own| (unit, own)))
            .map(|(unit, own)| match parse(unit, own) {
                Ok(parsed) => Ok((*own.sha256(), parsed)),
                Err(error) => Err((own.place().clone(), error)),
            })
            .collect();
        let mut certificates = HashMap::with_capacity(parsed.len());
        let mut errors = Vec::new();
        for outcome in parsed {
            match outcome {
                Ok((sha256, parsed)) => drop(certificates.insert(sha256, parsed)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { registry, certificates, trust }) } else { Err(errors) }
    }

    /// Verifies the facility signature of an entry over the bytes of its record.
    pub fn check(
        &self,
        signature: Option<&[u8]>,
        record: &[u8],
        now: i64,
    ) -> Evidence<FacilitySigner> {
        let Some(signature) = signature else { return Evidence::Missing };
        match self.verified(signature, record, now) {
            Ok(signer) => Evidence::Verified(signer),
            Err(code) => Evidence::Refused(code),
        }
    }

    fn verified(
        &self,
        signature: &[u8],
        record: &[u8],
        now: i64,
    ) -> Result<FacilitySigner, ReasonCode> {
        let invalid = ReasonCode::FacilitySignatureInvalid;
        let unregistered = ReasonCode::FacilityCertificateUnregistered;
        let signed = Signed::read(signature).ok_or(invalid)?;
        let sha256 = match &signed.certificate {
            CertificateHint::Leaf(der) => Sha256::digest(der).into(),
            CertificateHint::Sha256(sha256) => *sha256,
            CertificateHint::Absent => return Err(invalid),
        };
        if !signed.kid.is_empty() {
            return Err(invalid);
        }
        let (unit, own) = self.registry.certificate(&sha256).ok_or(unregistered)?;
        let parsed = self.certificates.get(&sha256).ok_or(unregistered)?;
        // A registration that is suspended, or not of this day, is none.
        if !unit.may_sign_with(own, now) {
            return Err(unregistered);
        }
        self.verdict(parsed, own.der(), now)?;
        let message = signed.to_be_signed_detached(record).ok_or(invalid)?;
        if !parsed.key.verifies(signed.algorithm, &message, signed.signature()) {
            return Err(invalid);
        }
        Ok(FacilitySigner { unit: unit.id().to_owned() })
    }

    fn verdict(&self, parsed: &Parsed, der: &[u8], now: i64) -> Result<(), ReasonCode> {
        let fresh = |at: i64| (0..VERDICT_SECONDS).contains(&now.saturating_sub(at));
        // What was found within the validity says nothing of the second after its end.
        let is_valid = (parsed.not_before..=parsed.not_after).contains(&now);
        if is_valid
            && let Ok(cached) = parsed.verdict.read()
            && let Some((at, verdict)) = *cached
            && fresh(at)
        {
            return verdict;
        }
        let Parsed { not_before, not_after, may_sign, .. } = *parsed;
        let verdict = self.trust.verdict(&Leaf { der, not_before, not_after, may_sign }, now);
        // A poisoned lock only costs the cache.
        if is_valid && let Ok(mut cached) = parsed.verdict.write() {
            *cached = Some((now, verdict));
        }
        verdict
    }
}

/// Parses a certificate and holds it against its registration.
fn parse(unit: &Facility, registered: &RegisteredCertificate) -> Result<Parsed, UnitError> {
    let der: &[u8] = registered.der();
    let key_error = |source| UnitError::Key { unit: unit.id().to_owned(), source };
    let mismatch = |field| UnitError::Registration { unit: unit.id().to_owned(), field };
    let certificate = Certificate::from_der(der).map_err(|e| key_error(e.into()))?;
    let tbs = certificate.tbs_certificate();
    if <[u8; 32]>::from(Sha256::digest(der)) != *registered.sha256() {
        return Err(mismatch("sha256"));
    }
    let own = tbs.serial_number().as_bytes();
    let leading_zeros = own.iter().take_while(|byte| **byte == 0).count();
    if own.get(leading_zeros..) != Some(registered.serial()) {
        return Err(mismatch("serial"));
    }
    if !same_name(&tbs.issuer().to_string(), registered.issuer()) {
        return Err(mismatch("issuer"));
    }
    let (not_before, not_after) = validity(&certificate);
    if not_after < not_before {
        return Err(UnitError::Validity { unit: unit.id().to_owned() });
    }
    let usage = tbs.get_extension::<KeyUsageExtension>().map_err(|e| key_error(e.into()))?;
    Ok(Parsed {
        key: VerificationKey::of(&certificate).map_err(key_error)?,
        not_before,
        not_after,
        may_sign: usage.is_none_or(|(_, u)| u.digital_signature() || u.non_repudiation()),
        verdict: RwLock::new(None),
    })
}

/// Whether two RFC 4514 strings name the same issuer; tools differ in spaces after the commas.
fn same_name(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace(", ", ",");
    plain(one) == plain(other)
}
