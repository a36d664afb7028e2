//! The authorities that facilities' certificates come from, and what they say about one.
//!
//! In: certificates and revocation lists of the authorities, and a facility's certificate. Out: the
//! first thing wrong with it. Several authorities stand side by side: the Government Cipher Committee's
//! and public ones; an intermediate authority may stand here itself.

use std::time::Duration;

use policy::ReasonCode;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::UnitError;
use super::key::validity;

/// The CAs whose organisation certificates are trusted, and their revocation lists.
#[derive(Debug, Default)]
pub struct TrustAnchors {
    anchors: Vec<Authority>,
    crls: Vec<CertRevocationList<'static>>,
}

/// One authority. An anchor has no validity of its own, so that it is kept beside it.
#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    /// Seconds since 1970, both included.
    not_before: i64,
    not_after: i64,
}

/// What a verdict looks at of a facility's certificate.
pub(super) struct Leaf<'a> {
    pub(super) der: &'a [u8],
    /// Seconds since 1970, both included.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// Its key usage allows signatures, or says nothing.
    pub(super) may_sign: bool,
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
        let crls = crls.into_iter().map(|der| {
            OwnedCertRevocationList::from_der(der).map(Into::into).map_err(UnitError::Crl)
        });
        Ok(Self {
            anchors: cas.into_iter().map(Authority::read).collect::<Result<_, _>>()?,
            crls: crls.collect::<Result<_, _>>()?,
        })
    }

    /// The first thing wrong with a certificate at `now`: untrusted, expired, revoked.
    pub(super) fn verdict(&self, leaf: &Leaf<'_>, now: i64) -> Result<(), ReasonCode> {
        // Trust is asked at an instant within the validity, so that an expired certificate of a trusted
        // CA is told "expired" and one of a stranger "untrusted".
        let valid = self.anchors.iter().filter(|own| own.not_before <= now && now <= own.not_after);
        let anchors: Vec<_> = valid.map(|own| own.anchor.clone()).collect();
        let inside = now.max(leaf.not_before).min(leaf.not_after);
        if !leaf.may_sign || path(&anchors, leaf.der, inside, None).is_err() {
            return Err(ReasonCode::FacilityCertificateUntrusted);
        }
        if now < leaf.not_before || now > leaf.not_after {
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
        match path(&anchors, leaf.der, now, Some(revocation)) {
            Ok(()) => Ok(()),
            Err(webpki::Error::CertRevoked) => Err(ReasonCode::FacilityCertificateRevoked),
            Err(_) => Err(ReasonCode::FacilityCertificateUntrusted),
        }
    }
}

/// Whether a path leads from one of the anchors to the certificate at a time.
fn path(
    anchors: &[TrustAnchor<'static>],
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
            anchors,
            &[],
            at,
            KeyUsage::client_auth(),
            revocation,
            None,
        )
        .map(|_| ())
}

impl Authority {
    fn read(der: &[u8]) -> Result<Self, UnitError> {
        let anchor = webpki::anchor_from_trusted_cert(&CertificateDer::from(der))
            .map(|anchor| anchor.to_owned())
            .map_err(UnitError::Anchor)?;
        let certificate = Certificate::from_der(der).map_err(UnitError::AnchorForm)?;
        let (not_before, not_after) = validity(&certificate);
        Ok(Self { anchor, not_before, not_after })
    }
}
