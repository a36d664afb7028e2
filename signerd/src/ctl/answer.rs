//! What the daemon answers, as `api.cddl` says it: batches, previews, the trust list and problems.
//!
//! In go the bytes of a body, out come typed values or a sentence about what does not fit. An answer
//! is compared with the request it answers before anything of it is used. Certificates are not
//! verified here: that is `signerctl verify`'s.

use serde::{Deserialize, Serialize};

use super::cbor::Bytes;

/// The answer to `POST /v1/batches`.
#[derive(Debug, Deserialize)]
pub struct BatchResponse {
    /// As requested.
    pub batch_id: Bytes,
    /// As requested.
    pub issuer: String,
    /// Which signer certificate.
    pub kid: Bytes,
    /// "iat" of every certificate of the batch.
    pub issued_at: u64,
    /// One per record, in order.
    pub results: Vec<RecordResult>,
}

/// What became of one record.
#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum RecordResult {
    /// Certified.
    Issued {
        /// One per selected dose.
        certificates: Vec<Certificate>,
    },
    /// Not certified.
    Rejected {
        /// Every reason that applies.
        reasons: Vec<Reason>,
    },
    /// Good, but another record of the atomic batch was not.
    Withheld,
}

/// One certificate.
#[derive(Debug, Deserialize)]
pub struct Certificate {
    /// The dose number.
    pub dose: u64,
    /// Its identifier.
    pub uvci: String,
    /// "exp", seconds since 1970.
    pub expires_at: u64,
    /// The text of the QR symbol.
    pub hcert: String,
}

/// Why a record was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code.
    pub code: String,
    /// JSON Pointer from the record-entry.
    pub path: String,
    /// What to do.
    pub detail: String,
}

/// The answer to `POST /v1/batches/preview`.
#[derive(Debug, Deserialize)]
pub struct PreviewResponse {
    /// As requested.
    pub batch_id: Bytes,
    /// As requested.
    pub issuer: String,
    /// One per record, in order.
    pub results: Vec<PreviewResult>,
}

/// What would become of one record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum PreviewResult {
    /// Would be certified.
    Acceptable {
        /// These doses.
        doses: Vec<u64>,
    },
    /// Would not.
    Rejected {
        /// Every reason that applies.
        reasons: Vec<Reason>,
    },
}

/// One row of the trust list.
#[derive(Debug, Deserialize)]
pub struct TrustedSigner {
    /// First 8 bytes of SHA-256 of the certificate.
    pub kid: Bytes,
    /// DER.
    pub certificate: Bytes,
    /// The issuer whose certificate it is.
    pub issuer: String,
    /// COSE algorithm number.
    pub alg: i64,
    /// "active", "retiring", "retired" or "frozen".
    pub state: String,
    /// Seconds since 1970.
    pub not_before: u64,
    /// Seconds since 1970.
    pub not_after: u64,
}

/// A refusal of a whole request (RFC 9290).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// Stable code, empty where the answer had none.
    pub code: String,
    /// One line.
    pub title: String,
    /// More.
    pub detail: Option<String>,
    /// JSON Pointer into the request.
    pub path: Option<String>,
    /// Byte offset into the request.
    pub offset: Option<u64>,
    /// Seconds to wait.
    pub retry_after: Option<u64>,
}

/// An answer that does not fit its request or its grammar. The request may have been carried out:
/// repeat it with the same id; if the answer stays so, report it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("answer not understood: {0}")]
pub struct AnswerError(String);

/// Decodes a body.
///
/// # Errors
/// When the body is not CBOR of that shape.
pub fn decode<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, AnswerError> {
    ciborium::from_reader(body).map_err(|error| AnswerError(error.to_string()))
}

/// Checks that an answer belongs to its request: same id, same issuer, one result per record.
///
/// # Errors
/// Names what differs.
pub fn belongs(
    (batch_id, issuer, results): (&Bytes, &str, usize),
    (asked_id, asked_issuer, records): (&uuid::Uuid, &str, usize),
) -> Result<(), AnswerError> {
    if batch_id.0 != asked_id.as_bytes() {
        return Err(AnswerError("it names another batch id".into()));
    }
    if issuer != asked_issuer {
        return Err(AnswerError("it names another issuer".into()));
    }
    if results != records {
        return Err(AnswerError(format!("{results} results for {records} records")));
    }
    Ok(())
}

/// Checks that a row's kid is the beginning of this SHA-256 of its certificate.
///
/// # Errors
/// When it is not: a verifier would never find the certificate.
pub fn check_kid(signer: &TrustedSigner, digest: &[u8]) -> Result<(), AnswerError> {
    if signer.kid.0.len() == 8 && digest.starts_with(&signer.kid.0) {
        return Ok(());
    }
    Err(AnswerError(format!("the kid of a certificate of {} is not its own", signer.issuer)))
}

/// The keys of `problem`: two integers and the tool's own extension.
const TITLE: i128 = -1;
const DETAIL: i128 = -2;
const EXTENSION: &str = "tag:signerd,2026:problem";

#[derive(Deserialize)]
struct Extension {
    code: String,
    path: Option<String>,
    offset: Option<u64>,
    retry_after: Option<u64>,
}

/// Reads as much of a problem as there is: a refusal by something other than signerd has none.
#[must_use]
pub fn problem(body: &[u8]) -> Problem {
    let mut problem = Problem::default();
    let Ok(ciborium::Value::Map(members)) = ciborium::from_reader(body) else { return problem };
    for (key, value) in members {
        let number = key.as_integer().map(i128::from);
        if number == Some(TITLE) {
            problem.title = value.into_text().unwrap_or_default();
        } else if number == Some(DETAIL) {
            problem.detail = value.into_text().ok();
        } else if key.as_text() == Some(EXTENSION) {
            let Ok(extension) = value.deserialized::<Extension>() else { continue };
            problem.code = extension.code;
            problem.path = extension.path;
            problem.offset = extension.offset;
            problem.retry_after = extension.retry_after;
        }
    }
    problem
}

#[cfg(test)]
mod tests {
    use ciborium::cbor;
    use uuid::Uuid;

    use super::*;

    fn bytes(value: &ciborium::Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn problems_are_read() {
        // Title, detail and every member of the extension of an RFC 9290 problem are read.
        let body = cbor!({ -1 => "slow down", -2 => "too many doses", EXTENSION => {
            "code" => "rate.exceeded", "path" => "/records/3", "offset" => 7, "retry_after" => 5 } });
        let expected = Problem {
            code: "rate.exceeded".into(),
            title: "slow down".into(),
            detail: Some("too many doses".into()),
            path: Some("/records/3".into()),
            offset: Some(7),
            retry_after: Some(5),
        };
        assert_eq!(problem(&bytes(&body.unwrap())), expected);
    }

    #[test]
    fn foreign_bodies_are_no_problem() {
        // HTML of some proxy, or nothing at all, gives an empty problem and no fault.
        assert_eq!(problem(b"<html>"), Problem::default());
        assert_eq!(problem(b""), Problem::default());
    }

    #[test]
    fn batch_answers_are_read() {
        // Issued, rejected and withheld results are told apart by their status.
        let body = cbor!({ "kid" => Bytes(vec![1; 8]), "issuer" => "vn-moh", "results" => [
            { "status" => "issued", "certificates" => [
                { "dose" => 1, "uvci" => "URN", "hcert" => "HC1:", "expires_at" => 9 } ] },
            { "status" => "rejected", "reasons" => [
                { "code" => "holder.id_missing", "path" => "/record/holder", "detail" => "d" } ] },
            { "status" => "withheld" } ],
            "batch_id" => Bytes(vec![0; 16]), "issued_at" => 8 });
        let answer: BatchResponse = decode(&bytes(&body.unwrap())).unwrap();
        assert!(
            matches!(&answer.results[0], RecordResult::Issued { certificates: c } if c[0].dose == 1)
        );
        assert!(
            matches!(&answer.results[1], RecordResult::Rejected { reasons: r } if r.len() == 1)
        );
        assert!(matches!(answer.results[2], RecordResult::Withheld));
        let of = (&answer.batch_id, answer.issuer.as_str(), answer.results.len());
        assert_eq!(belongs(of, (&Uuid::nil(), "vn-moh", 3)), Ok(()));
        assert!(belongs(of, (&Uuid::nil(), "vn-moh", 4)).is_err());
        assert!(belongs(of, (&Uuid::max(), "vn-moh", 3)).is_err());
        assert!(belongs(of, (&Uuid::nil(), "other", 3)).is_err());
    }
}
