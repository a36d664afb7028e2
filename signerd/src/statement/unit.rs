//! Facility signatures: a unit signs its own data with a registered organisation certificate (R12).
//!
//! The registry holds the certificates; a message only points at one, by its bytes or its digest. A
//! registered certificate must also chain to a trusted CA, be within its validity and not be revoked.
//! That is checked once a minute per certificate, not once per record: a batch of one facility's doses
//! names the same certificate a thousand times.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::Duration;

use policy::{Evidence, FacilitySigner, ReasonCode};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::KeyUsage as KeyUsageExtension;

use super::cose::{CertificateHint, Signed};
use super::key::{KeyError, VerificationKey};

/// For how long may a verdict on a certificate be used? A revocation takes a reload anyway.
const VERDICT_SECONDS: i64 = 60;

/// A registered certificate, as the policy's registry holds it.
#[derive(Clone, Debug)]
pub struct RegisteredCertificate {
    /// Id of the unit.
    pub unit: String,
    /// Serial number of the registration, as big-endian bytes without leading zeros.
    pub serial: Vec<u8>,
    /// Issuer of the registration, as an RFC 4514 string.
    pub issuer: String,
    /// SHA-256 of the certificate in the registration.
    pub sha256: [u8; 32],
    /// The certificate in DER.
    pub der: Vec<u8>,
}

/// The CAs whose organisation certificates are trusted, and their revocation lists.
#[derive(Debug, Default)]
pub struct TrustAnchors {
    anchors: Vec<TrustAnchor<'static>>,
    crls: Vec<CertRevocationList<'static>>,
}

/// A registry that cannot be used. To blame: the operator. Do not retry.
#[derive(Debug, Error)]
pub enum UnitError {
    /// A CA certificate that is none.
    #[error("CA certificate cannot be used: {0}")]
    Anchor(webpki::Error),
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
}

impl TrustAnchors {
    /// Takes CA certificates and revocation lists in DER.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn new<'a>(
        cas: impl IntoIterator<Item = &'a [u8]>,
        crls: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, UnitError> {
        let anchors = cas.into_iter().map(|der| {
            let anchor = webpki::anchor_from_trusted_cert(&CertificateDer::from(der))
                .map(|anchor| anchor.to_owned());
            anchor.map_err(UnitError::Anchor)
        });
        let crls = crls.into_iter().map(|der| {
            OwnedCertRevocationList::from_der(der).map(Into::into).map_err(UnitError::Crl)
        });
        Ok(Self {
            anchors: anchors.collect::<Result<_, _>>()?,
            crls: crls.collect::<Result<_, _>>()?,
        })
    }

    /// The first thing wrong with a certificate at `now`: untrusted, expired, revoked.
    fn verdict(&self, unit: &Unit, now: i64) -> Result<(), ReasonCode> {
        // Trust is asked at an instant within the validity, so that an expired certificate of a trusted
        // CA is told "expired" and one of a stranger "untrusted".
        let inside = now.clamp(unit.not_before, unit.not_after);
        if !unit.may_sign || self.path(&unit.der, inside, None).is_err() {
            return Err(ReasonCode::FacilityCertificateUntrusted);
        }
        if now < unit.not_before || now > unit.not_after {
            return Err(ReasonCode::FacilityCertificateExpired);
        }
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().collect();
        let Ok(revocation) = RevocationOptionsBuilder::new(&crls) else {
            return Err(ReasonCode::FacilityCertificateUntrusted);
        };
        let revocation = revocation
            .with_depth(RevocationCheckDepth::EndEntity)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        match self.path(&unit.der, now, Some(revocation)) {
            Ok(()) => Ok(()),
            Err(webpki::Error::CertRevoked) => Err(ReasonCode::FacilityCertificateRevoked),
            Err(_) => Err(ReasonCode::FacilityCertificateUntrusted),
        }
    }

    fn path(
        &self,
        der: &[u8],
        at: i64,
        revocation: Option<RevocationOptions<'_>>,
    ) -> Result<(), webpki::Error> {
        let certificate = CertificateDer::from(der);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap_or(0)));
        EndEntityCert::try_from(&certificate)?
            // An extended key usage, where there is one, must allow client authentication, as those of
            // the Government Cipher Committee do; most organisation certificates have none.
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &self.anchors,
                &[],
                at,
                KeyUsage::client_auth(),
                revocation,
                None,
            )
            .map(|_| ())
    }
}

/// One registered certificate, parsed once.
#[derive(Debug)]
struct Unit {
    id: String,
    der: Vec<u8>,
    key: VerificationKey,
    not_before: i64,
    not_after: i64,
    /// Its key usage allows signatures, or says nothing.
    may_sign: bool,
    verdict: RwLock<Option<(i64, Result<(), ReasonCode>)>>,
}

/// All registered units that may sign, by the SHA-256 of their certificates.
#[derive(Debug, Default)]
pub struct Units {
    by_sha256: HashMap<[u8; 32], Unit>,
    trust: TrustAnchors,
}

impl Units {
    /// Parses the registered certificates and holds them against their registration.
    ///
    /// # Errors
    /// A certificate that cannot be read or does not agree with its registration.
    pub fn new(
        certificates: impl IntoIterator<Item = RegisteredCertificate>,
        trust: TrustAnchors,
    ) -> Result<Self, UnitError> {
        let by_sha256 = certificates
            .into_iter()
            .map(|registered| Ok((registered.sha256, Unit::parse(registered)?)))
            .collect::<Result<_, UnitError>>()?;
        Ok(Self { by_sha256, trust })
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
        let signed = Signed::read(signature).ok_or(invalid)?;
        let sha256 = match &signed.certificate {
            CertificateHint::Leaf(der) => Sha256::digest(der).into(),
            CertificateHint::Sha256(sha256) => *sha256,
            CertificateHint::Absent => return Err(invalid),
        };
        if !signed.kid.is_empty() {
            return Err(invalid);
        }
        let unit =
            self.by_sha256.get(&sha256).ok_or(ReasonCode::FacilityCertificateUnregistered)?;
        self.verdict(unit, now)?;
        let message = signed.to_be_signed_detached(record).ok_or(invalid)?;
        if !unit.key.verifies(signed.algorithm, &message, signed.signature()) {
            return Err(invalid);
        }
        Ok(FacilitySigner { unit: unit.id.clone() })
    }

    fn verdict(&self, unit: &Unit, now: i64) -> Result<(), ReasonCode> {
        let fresh = |at: i64| (0..VERDICT_SECONDS).contains(&now.saturating_sub(at));
        if let Ok(cached) = unit.verdict.read()
            && let Some((at, verdict)) = *cached
            && fresh(at)
        {
            return verdict;
        }
        let verdict = self.trust.verdict(unit, now);
        // A poisoned lock only costs the cache.
        if let Ok(mut cached) = unit.verdict.write() {
            *cached = Some((now, verdict));
        }
        verdict
    }
}

impl Unit {
    fn parse(registered: RegisteredCertificate) -> Result<Self, UnitError> {
        let RegisteredCertificate { unit: id, serial, issuer, sha256, der } = registered;
        let key_error = |source| UnitError::Key { unit: id.clone(), source };
        let mismatch = |field| UnitError::Registration { unit: id.clone(), field };
        let certificate = Certificate::from_der(&der).map_err(|e| key_error(e.into()))?;
        let tbs = certificate.tbs_certificate();
        if <[u8; 32]>::from(Sha256::digest(&der)) != sha256 {
            return Err(mismatch("sha256"));
        }
        let leading_zeros = |bytes: &[u8]| bytes.iter().take_while(|b| **b == 0).count();
        let own = tbs.serial_number().as_bytes();
        if own.get(leading_zeros(own)..) != serial.get(leading_zeros(&serial)..) {
            return Err(mismatch("serial"));
        }
        if !same_name(&tbs.issuer().to_string(), &issuer) {
            return Err(mismatch("issuer"));
        }
        let validity = tbs.validity();
        let seconds = |time: &x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
        };
        let usage = tbs.get_extension::<KeyUsageExtension>().map_err(|e| key_error(e.into()))?;
        Ok(Self {
            key: VerificationKey::of_certificate(&der).map_err(key_error)?,
            not_before: seconds(&validity.not_before),
            not_after: seconds(&validity.not_after),
            may_sign: usage.is_none_or(|(_, u)| u.digital_signature() || u.non_repudiation()),
            verdict: RwLock::new(None),
            id,
            der,
        })
    }
}

/// Whether two RFC 4514 strings name the same issuer; tools differ in spaces after the commas.
fn same_name(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace(", ", ",");
    plain(one) == plain(other)
}
