//! What was found out about the statements that others signed about a record.
//!
//! In: the result of verifying a COSE signature, done elsewhere. Out: evidence for the judge, who
//! decides what it is worth. "Verified" here means that the signature and its signer were right, not
//! that the content speaks for the record.

use crate::reason::ReasonCode;

/// One statement: absent, refused for its signature or signer, or verified.
#[derive(Debug)]
pub enum Evidence<T> {
    /// The entry carries no such statement.
    Missing,
    /// Its form, signature or signer failed, for this reason; its content was not read.
    Refused(ReasonCode),
    /// The signature and the signer are right; this is what it says.
    Verified(T),
}

/// What the national population database says about a holder.
#[derive(Debug)]
pub struct IdentityStatement {
    /// SHA-256 of the bytes of the holder that was looked up.
    pub holder_digest: [u8; 32],
    /// What the look-up found.
    pub outcome: Outcome,
    /// When it was looked up, in seconds since 1970.
    pub checked_at: i64,
    /// For how many days it counts by the rules of who made it; none: as the issuer's rules say.
    pub age_days_max: Option<u16>,
}

/// What the population database found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The person exists and the data agree.
    Matched,
    /// The person exists and the data do not agree.
    Mismatched,
    /// There is no such person.
    NotFound,
}

/// Who signed the record.
#[derive(Debug)]
pub struct FacilitySigner {
    /// The registered unit whose certificate made the signature.
    pub unit: String,
}
