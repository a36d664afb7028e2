//! Verifying a certificate of any country against the signer certificates one trusts.
//!
//! In go what was read, the trusted signers and the time; out comes who signed what until when, or
//! the first reason why it does not hold. The order is: envelope, kid → certificate, algorithm and
//! key, signature, times, permitted use, structure. It does not look up revoked identifiers and does
//! not judge codes or national rules of entry.

use std::collections::HashMap;

use thiserror::Error;

use super::envelope::{NamedAlg, Tagging};
use super::read::{Decoded, ReadError, read};
use super::schema::{self, SchemaFault};
use super::signer::{Alg, EventKind, Kid, SignerCertificate};

/// The signer certificates that are trusted, found by their identifiers.
///
/// An identifier is 8 bytes of a digest, so two certificates may share one; all of them are tried.
#[derive(Debug, Clone, Default)]
pub struct Signers {
    by_kid: HashMap<Kid, Vec<SignerCertificate>>,
}

impl Signers {
    /// Gives the certificates with this identifier.
    #[must_use]
    pub fn with_kid(&self, kid: Kid) -> &[SignerCertificate] {
        self.by_kid.get(&kid).map(Vec::as_slice).unwrap_or_default()
    }

    /// Counts the certificates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_kid.values().map(Vec::len).sum()
    }

    /// Tells whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_kid.is_empty()
    }
}

impl FromIterator<SignerCertificate> for Signers {
    fn from_iter<T: IntoIterator<Item = SignerCertificate>>(signers: T) -> Self {
        let mut by_kid: HashMap<Kid, Vec<SignerCertificate>> = HashMap::new();
        for signer in signers {
            by_kid.entry(signer.kid()).or_default().push(signer);
        }
        Self { by_kid }
    }
}

/// A certificate that holds: what was proven about it.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The text's content; true as far as the signer is trusted.
    pub decoded: Decoded,
    /// Who signed.
    pub signer: SignerCertificate,
    /// What it is about.
    pub kind: EventKind,
    /// Time of issue, seconds since 1970.
    pub issued_at: i64,
    /// Time of expiry, seconds since 1970.
    pub expires_at: i64,
}

/// Why a certificate does not hold. None of these is cured by trying again, except where said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Header and key are of different kinds: whoever signed mixed up keys, or somebody forged.
    #[error("header says {header}, the signer's key is for {key}")]
    AlgKeyDisagree {
        /// The header's algorithm.
        header: Alg,
        /// The key's algorithm.
        key: Alg,
    },
    /// No header names an algorithm.
    #[error("no algorithm in the headers")]
    AlgMissing,
    /// The algorithm is none that health certificates use.
    #[error("algorithm {0} is neither ES256 (-7) nor PS256 (-37)")]
    AlgUnsupported(String),
    /// The payload is something else than an EU DCC, e.g. another sub-claim of the WHO.
    #[error("payload is not an EU DCC")]
    ContentUnsupported,
    /// A header demands to be understood, and is not.
    #[error("a critical header is not understood")]
    CriticalHeader,
    /// It was valid until this time.
    #[error("expired at {}", when(*.at))]
    Expired {
        /// Time of expiry, seconds since 1970.
        at: i64,
    },
    /// There is no time of expiry, or it is no time.
    #[error("no time of expiry (claim 4)")]
    ExpiryMissing,
    /// It will be issued at this time: a wrong clock, here or there. May hold later.
    #[error("issued in the future, at {}", when(*.at))]
    IssuedInFuture {
        /// Time of issue, seconds since 1970.
        at: i64,
    },
    /// There is no time of issue, or it is no time.
    #[error("no time of issue (claim 6)")]
    IssuedMissing,
    /// The identifier has another length than 8 bytes.
    #[error("kid has {bytes} bytes, not 8")]
    KidMalformed {
        /// Its length.
        bytes: usize,
    },
    /// No header has an identifier.
    #[error("no kid in the headers")]
    KidMissing,
    /// No trusted signer has this identifier. May hold with a newer trust list.
    #[error("kid {0} is not in the trust list")]
    KidUnknown(Kid),
    /// It ends after its signer's certificate ends, which the specification forbids.
    #[error("expires at {}, after its signer certificate does", when(*.at))]
    OutlivesSigner {
        /// Time of expiry, seconds since 1970.
        at: i64,
    },
    /// It was issued outside the validity of its signer's certificate.
    #[error("issued at {}, when its signer certificate was not valid", when(*.at))]
    IssuedOutsideSigner {
        /// Time of issue, seconds since 1970.
        at: i64,
    },
    /// Extended key usage of the signer does not contain this kind of event.
    #[error("signer certificate is not for {0} certificates (extended key usage)")]
    Purpose(EventKind),
    /// The payload is about several events.
    #[error("payload is about several events")]
    SeveralEvents,
    /// The signature does not belong to these bytes and this key.
    #[error("signature is wrong")]
    Signature,
    /// The payload breaks the schema.
    #[error("payload breaks the schema: {path} {what}")]
    Structure {
        /// Where, as a JSON Pointer into the payload.
        path: String,
        /// What is wrong; never the value itself.
        what: String,
    },
    /// The object is not tagged as `COSE_Sign1`.
    #[error("content is not tagged as COSE_Sign1 (tag 18)")]
    Untagged,
    /// The text could not be read down to its claims.
    #[error("unreadable: {}", chain(.0))]
    Unreadable(#[source] ReadError),
    /// The schema version is none that is known.
    #[error("schema version {0} is not 1.x")]
    Version(String),
}

impl Invalid {
    /// Gives a stable name for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AlgKeyDisagree { .. } => "alg_key_disagree",
            Self::AlgMissing => "alg_missing",
            Self::AlgUnsupported(_) => "alg_unsupported",
            Self::ContentUnsupported => "content_unsupported",
            Self::CriticalHeader => "critical_header",
            Self::Expired { .. } => "expired",
            Self::ExpiryMissing => "expiry_missing",
            Self::IssuedInFuture { .. } => "issued_in_future",
            Self::IssuedMissing => "issued_missing",
            Self::KidMalformed { .. } => "kid_malformed",
            Self::KidMissing => "kid_missing",
            Self::KidUnknown(_) => "kid_unknown",
            Self::OutlivesSigner { .. } => "outlives_signer",
            Self::IssuedOutsideSigner { .. } => "issued_outside_signer",
            Self::Purpose(_) => "purpose",
            Self::SeveralEvents => "several_events",
            Self::Signature => "signature",
            Self::Structure { .. } => "structure",
            Self::Untagged => "untagged",
            Self::Unreadable(_) => "unreadable",
            Self::Version(_) => "version",
        }
    }
}

/// Reads and verifies one HC1 text at the time `now`, seconds since 1970.
///
/// # Errors
/// The first reason why the certificate does not hold.
pub fn verify(text: &str, signers: &Signers, now: i64) -> Result<Verified, Invalid> {
    let decoded = read(text).map_err(Invalid::Unreadable)?;
    let signer = signer_of(&decoded, signers)?.clone();
    let issued_at = decoded.issued_at().ok_or(Invalid::IssuedMissing)?;
    let expires_at = decoded.expires_at().ok_or(Invalid::ExpiryMissing)?;
    times(issued_at, expires_at, now)?;
    within_signer(issued_at, expires_at, &signer)?;
    let dcc = decoded.dcc().ok_or(Invalid::ContentUnsupported)?;
    // The one event is found first: what it may be about is the signer's limit, not the schema's.
    if let Some(kind) = schema::kind_of(dcc)
        && !signer.allows(kind)
    {
        return Err(Invalid::Purpose(kind));
    }
    let kind = schema::check(dcc).map_err(Invalid::from)?;
    Ok(Verified { signer, kind, issued_at, expires_at, decoded })
}

fn signer_of<'a>(
    decoded: &Decoded,
    signers: &'a Signers,
) -> Result<&'a SignerCertificate, Invalid> {
    let envelope = decoded.envelope();
    if envelope.tagging() == Tagging::Untagged {
        return Err(Invalid::Untagged);
    }
    if envelope.has_critical() {
        return Err(Invalid::CriticalHeader);
    }
    let alg = match envelope.alg() {
        Some((NamedAlg::Known(alg), _)) => alg,
        Some((NamedAlg::Other(number), _)) => {
            return Err(Invalid::AlgUnsupported(number.to_string()));
        }
        Some((NamedAlg::Unnumbered, _)) => return Err(Invalid::AlgUnsupported("text".to_owned())),
        None => return Err(Invalid::AlgMissing),
    };
    let (kid, _) = envelope.kid().ok_or(Invalid::KidMissing)?;
    let kid = <[u8; 8]>::try_from(kid).map_err(|_| Invalid::KidMalformed { bytes: kid.len() })?;
    let kid = Kid::from_bytes(kid);
    let candidates = signers.with_kid(kid);
    let first = candidates.first().ok_or(Invalid::KidUnknown(kid))?;
    if !candidates.iter().any(|signer| signer.alg() == alg) {
        return Err(Invalid::AlgKeyDisagree { header: alg, key: first.alg() });
    }
    let tbs = envelope.tbs();
    candidates
        .iter()
        .filter(|signer| signer.alg() == alg)
        .find(|signer| signer.verify(&tbs, envelope.signature()).is_ok())
        .ok_or(Invalid::Signature)
}

fn times(issued_at: i64, expires_at: i64, now: i64) -> Result<(), Invalid> {
    if issued_at > now {
        return Err(Invalid::IssuedInFuture { at: issued_at });
    }
    if expires_at <= now {
        return Err(Invalid::Expired { at: expires_at });
    }
    Ok(())
}

/// The shell model of the EU's governance: a certificate lives within its signer's certificate.
fn within_signer(
    issued_at: i64,
    expires_at: i64,
    signer: &SignerCertificate,
) -> Result<(), Invalid> {
    if issued_at < signer.not_before() || issued_at > signer.not_after() {
        return Err(Invalid::IssuedOutsideSigner { at: issued_at });
    }
    if expires_at > signer.not_after() {
        return Err(Invalid::OutlivesSigner { at: expires_at });
    }
    Ok(())
}

impl From<SchemaFault> for Invalid {
    fn from(fault: SchemaFault) -> Self {
        match fault {
            SchemaFault::Field { path, what } => Self::Structure { path, what },
            SchemaFault::SeveralEvents => Self::SeveralEvents,
            SchemaFault::Version(version) => Self::Version(version),
        }
    }
}

/// Writes a time as people read it, in UTC.
fn when(epoch: i64) -> String {
    jiff::Timestamp::from_second(epoch)
        .map_or_else(|_| format!("second {epoch}"), |t| t.to_string())
}

/// Writes an error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
