//! The facts about a batch that the ledger keeps: who asked, what will be signed, what was answered.
//!
//! All of them are digests, identifiers, times and codes. There is no field that a name, a number
//! or a payload fits in, and the texts that there are (client, issuer, codes) are checked against
//! alphabets before they are stored. This module decides nothing about states; `rules` does.

use super::error::LedgerError;

/// Most certificates of one intent: 1,000 records of 9 doses, the limits of the wire format.
pub const CERTIFICATES_MAX: usize = 9_000;

/// Most rejections of one intent: 1,000 records, the limit of the wire format.
pub const REJECTIONS_MAX: usize = 1_000;

/// Most codes of one rejection; the contract knows about 50.
const CODES_MAX: usize = 256;

/// Longest code, client or issuer in bytes; the contract's issuers have 63.
const NAME_BYTES_MAX: usize = 128;

/// Names a batch: its identifier within the client that sent it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BatchRef {
    /// The client's name in the configuration.
    pub client: String,
    /// The 16 bytes that the client chose.
    pub id: [u8; 16],
}

/// Why an intent is freed unanswered, for the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReleaseCode {
    /// Its client never repeated it.
    Abandoned,
    /// What was signed did not verify, or could not be read back.
    Certificate,
    /// The HSM did not sign.
    Hsm,
    /// The answer could not be made: a bug.
    Internal,
    /// Its key, or the rules of now, no longer cover what was intended.
    Rules,
}

impl ReleaseCode {
    /// As the log has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Certificate => "certificate",
            Self::Hsm => "hsm",
            Self::Internal => "internal",
            Self::Rules => "rules",
        }
    }
}

/// Everything that will be signed for a batch, fixed before the HSM is touched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Intent {
    /// Whose key signs.
    pub issuer: String,
    /// Identifies the signer certificate.
    pub kid: [u8; 8],
    /// The `iat` of every certificate, seconds since 1970.
    pub issued_at: i64,
    /// The certificates in the order of the answer.
    pub certificates: Vec<IntendedCertificate>,
    /// The records that were refused, for the auditor.
    pub rejections: Vec<Rejection>,
    /// What had to be verified, for the log: "statement" or "asserted".
    pub assurance: &'static str,
    /// Whether doses that have a certificate may get another one.
    pub reissue: Reissue,
    /// The most certificates of the issuer on one day of Viet Nam, by the time of their intents;
    /// none: as many as come.
    pub quota: Option<u32>,
}

/// One certificate that will be signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IntendedCertificate {
    /// Index of the record in the request.
    pub record: u32,
    /// Number of the dose, 1 to 9.
    pub dose: u8,
    /// The random part of the certificate's identifier.
    pub uvci: [u8; 16],
    /// The `exp` of the certificate, seconds since 1970.
    pub expires_at: i64,
    /// The keyed pseudonym of the dose; the ledger keeps its first 16 bytes.
    pub pseudonym: [u8; 32],
}

/// One record that was refused, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejection {
    /// Index of the record in the request.
    pub record: u32,
    /// The stable codes of the contract, such as `dose.date_future`.
    pub codes: Vec<String>,
}

/// Whether a dose that has a certificate may get another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reissue {
    /// A dose is certified once.
    Never,
    /// Once its youngest certificate is so many days old, each of 86,400 seconds.
    AfterDays(u16),
}

impl Reissue {
    /// The latest time of issue that does not stand in the way of a certificate issued at `now`.
    pub(super) fn forgets_until(self, now: i64) -> i64 {
        match self {
            Self::Never => i64::MIN,
            Self::AfterDays(days) => now.saturating_sub(i64::from(days).saturating_mul(86_400)),
        }
    }
}

/// An intent that would exceed its issuer's quota of the day.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{wanted} certificates are more than the {} left of the quota of {quota} a day", self.left())]
pub struct OverQuota {
    /// The most certificates of the day.
    pub quota: u32,
    /// Certificates of the day so far, open intents included.
    pub issued: u32,
    /// Certificates of the intent.
    pub wanted: u32,
}

impl OverQuota {
    /// What is left of the day's quota.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.quota.saturating_sub(self.issued)
    }

    /// Whether the intent alone is larger than the quota, so that no day holds it.
    #[must_use]
    pub fn never_fits(&self) -> bool {
        self.wanted > self.quota
    }
}

/// An open intent as it was found again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredIntent {
    /// Whose key signs.
    pub issuer: String,
    /// Identifies the signer certificate.
    pub kid: [u8; 8],
    /// The `iat` of every certificate, seconds since 1970.
    pub issued_at: i64,
    /// The certificates in the order of the answer.
    pub certificates: Vec<StoredCertificate>,
    /// The records that were refused.
    pub rejections: Vec<Rejection>,
}

/// One certificate of an open intent as it was found again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredCertificate {
    /// Index of the record in the request.
    pub record: u32,
    /// Number of the dose, 1 to 9.
    pub dose: u8,
    /// The random part of the certificate's identifier.
    pub uvci: [u8; 16],
    /// The `exp` of the certificate, seconds since 1970.
    pub expires_at: i64,
}

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finished {
    /// The answer as `LedgerKeys::seal` made it.
    pub sealed_answer: Vec<u8>,
    /// The SHA-256 of each certificate's COSE bytes, in the order of the intent.
    pub cose_sha256: Vec<[u8; 32]>,
    /// The time of the answer, seconds since 1970.
    pub now: i64,
}

/// Why a dose cannot be certified now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DoseConflict {
    /// Another batch has been answered with a certificate of this dose, and it is too young for
    /// another one.
    AlreadyCertified,
    /// Another batch has an open intent with this dose.
    InProgress,
}

impl BatchRef {
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        let plain = |byte: u8| byte.is_ascii_graphic();
        check_name(&self.client, plain, "client name is not 1 to 128 visible ASCII characters")
    }
}

impl Intent {
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        check_name(&self.issuer, plain, "issuer is not 1 to 128 of a-z, 0-9 and hyphen")?;
        if self.certificates.len() > CERTIFICATES_MAX {
            return Err(LedgerError::Malformed("intent has more than 9,000 certificates"));
        }
        if self.rejections.len() > REJECTIONS_MAX {
            return Err(LedgerError::Malformed("intent has more than 1,000 rejections"));
        }
        if self.certificates.iter().any(|certificate| !matches!(certificate.dose, 1..=9)) {
            return Err(LedgerError::Malformed("dose number is not 1 to 9"));
        }
        self.rejections.iter().try_for_each(Rejection::check)
    }

    /// Tells whether this is the intent that is stored; the doses' pseudonyms follow from the
    /// request, whose digest was compared before.
    pub(super) fn continues(&self, stored: &StoredIntent) -> bool {
        self.issuer == stored.issuer
            && self.kid == stored.kid
            && self.issued_at == stored.issued_at
            && self.certificates.iter().map(stored_form).eq(stored.certificates.iter().cloned())
    }
}

impl Rejection {
    /// Codes have neither digits nor capitals nor spaces, so that no personal text passes as one.
    fn check(&self) -> Result<(), LedgerError> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'_' | b'.');
        if self.codes.is_empty() || self.codes.len() > CODES_MAX {
            return Err(LedgerError::Malformed("rejection has no code or more than 256"));
        }
        self.codes.iter().try_for_each(|code| {
            check_name(code, plain, "code is not 1 to 128 of a-z, underscore and dot")?;
            if code.contains('.') { Ok(()) } else { Err(LedgerError::Malformed("code has no dot")) }
        })
    }
}

fn stored_form(certificate: &IntendedCertificate) -> StoredCertificate {
    StoredCertificate {
        record: certificate.record,
        dose: certificate.dose,
        uvci: certificate.uvci,
        expires_at: certificate.expires_at,
    }
}

fn check_name(
    name: &str,
    plain: impl Fn(u8) -> bool,
    fault: &'static str,
) -> Result<(), LedgerError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain);
    if fits { Ok(()) } else { Err(LedgerError::Malformed(fault)) }
}
