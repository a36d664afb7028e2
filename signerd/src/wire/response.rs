//! The answers of the signing listener, with their members in deterministic order.
//!
//! The order of the fields is the order on the wire: shorter names first, then alphabetical
//! (the bytewise order of the encoded keys, RFC 8949 §4.2.1).

use serde::Serialize;

use super::cbor::Bytes;

/// 200 to `POST /v1/batches`.
#[derive(Debug, Serialize)]
pub struct BatchResponse<'a> {
    /// First 8 bytes of SHA-256 of the signer certificate.
    pub kid: Bytes<'a>,
    /// Whose key signed.
    pub issuer: &'a str,
    /// One result per record, in the order of the request.
    pub results: Vec<RecordResult>,
    /// Idempotency key of the client.
    pub batch_id: Bytes<'a>,
    /// "iat" of every certificate of the batch, in seconds since 1970.
    pub issued_at: i64,
}

/// What became of one record.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RecordResult {
    /// Every selected dose has a certificate.
    Issued {
        /// "issued".
        status: &'static str,
        /// The certificates, in the order of the doses.
        certificates: Vec<IssuedCertificate>,
    },
    /// Nothing was signed, for these reasons.
    Rejected {
        /// "rejected".
        status: &'static str,
        /// All reasons that apply.
        reasons: Vec<ReasonOut>,
    },
    /// Good, but another record of the atomic batch was rejected.
    Withheld {
        /// "withheld".
        status: &'static str,
    },
}

impl RecordResult {
    /// The result of a certified record.
    pub fn issued(certificates: Vec<IssuedCertificate>) -> Self {
        Self::Issued { status: "issued", certificates }
    }

    /// The result of a rejected record.
    pub fn rejected(reasons: &[policy::Reason]) -> Self {
        Self::Rejected {
            status: "rejected",
            reasons: reasons.iter().map(ReasonOut::from).collect(),
        }
    }

    /// The result of a good record in an atomic batch that was not signed.
    pub fn withheld() -> Self {
        Self::Withheld { status: "withheld" }
    }
}

/// One certificate.
#[derive(Debug, Serialize)]
pub struct IssuedCertificate {
    /// The dose it certifies.
    pub dose: u8,
    /// Its unique identifier.
    pub uvci: String,
    /// "HC1:" and what follows.
    pub hcert: String,
    /// "exp", in seconds since 1970.
    pub expires_at: i64,
}

/// One reason of a rejection.
#[derive(Debug, Serialize)]
pub struct ReasonOut {
    /// Stable code.
    pub code: &'static str,
    /// JSON Pointer from the record entry.
    pub path: String,
    /// What to do about it.
    pub detail: String,
}

impl From<&policy::Reason> for ReasonOut {
    fn from(reason: &policy::Reason) -> Self {
        Self {
            code: reason.code.as_str(),
            path: reason.path.clone(),
            detail: reason.detail().to_owned(),
        }
    }
}

impl From<&policy::Warning> for ReasonOut {
    fn from(warning: &policy::Warning) -> Self {
        Self {
            code: warning.code.as_str(),
            path: warning.path.clone(),
            detail: warning.code.detail().to_owned(),
        }
    }
}

/// 200 to `GET /v1/log/proof/{uvci}`.
#[derive(Debug, Serialize)]
pub struct LogProof<'a> {
    /// The certificate's entry, whose leaf hash is proved.
    pub entry: Bytes<'a>,
    /// Its number in the log, from 0.
    pub index: u64,
    /// The inclusion proof of RFC 6962 §2.1.1, from the leaf up.
    pub proof: Vec<Bytes<'a>>,
    /// The checkpoint whose tree it is about.
    pub checkpoint: &'a str,
}

/// 200 to `GET /v1/log/consistency/{from}/{to}`.
#[derive(Debug, Serialize)]
pub struct LogGrowth<'a> {
    /// Entries of the later log.
    pub to: u64,
    /// Entries of the earlier one.
    pub from: u64,
    /// The consistency proof of RFC 6962 §2.1.2.
    pub proof: Vec<Bytes<'a>>,
}

/// One element of 200 to `GET /v1/log/checkpoints`.
#[derive(Debug, Serialize)]
pub struct KeptCheckpoint<'a> {
    /// When it was signed, seconds since 1970.
    pub at: i64,
    /// The signed note.
    pub note: &'a str,
    /// Entries of its tree.
    pub size: u64,
}

/// 200 to `POST /v1/batches/preview`.
#[derive(Debug, Serialize)]
pub struct PreviewResponse<'a> {
    /// Whose key would sign.
    pub issuer: &'a str,
    /// One result per record, in the order of the request.
    pub results: Vec<PreviewResult>,
    /// Idempotency key of the client.
    pub batch_id: Bytes<'a>,
}

/// What would become of one record.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum PreviewResult {
    /// These doses would be certified.
    Acceptable {
        /// Dose numbers, ascending.
        doses: Vec<u8>,
        /// "acceptable".
        status: &'static str,
        /// What is odd about it, for a client that asked.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<ReasonOut>,
    },
    /// Nothing would be signed, for these reasons.
    Rejected {
        /// "rejected".
        status: &'static str,
        /// All reasons that apply.
        reasons: Vec<ReasonOut>,
    },
}

impl PreviewResult {
    /// The result of a record that would be certified.
    pub fn acceptable<'a>(
        doses: Vec<u8>,
        warnings: impl Iterator<Item = &'a policy::Warning>,
    ) -> Self {
        let warnings = warnings.map(ReasonOut::from).collect();
        Self::Acceptable { doses, status: "acceptable", warnings }
    }

    /// The result of a record that would be rejected.
    pub fn rejected(reasons: &[policy::Reason]) -> Self {
        Self::Rejected {
            status: "rejected",
            reasons: reasons.iter().map(ReasonOut::from).collect(),
        }
    }
}

/// One signer certificate of `GET /v1/trust-list`.
#[derive(Debug, Serialize)]
pub struct TrustListEntry<'a> {
    /// COSE algorithm, -7 or -37.
    pub alg: i64,
    /// First 8 bytes of SHA-256 of the certificate.
    pub kid: Bytes<'a>,
    /// "active", "retiring", "retired" or "frozen".
    pub state: &'static str,
    /// Whose key it is.
    pub issuer: &'a str,
    /// End of validity, in seconds since 1970.
    pub not_after: i64,
    /// Begin of validity, in seconds since 1970.
    pub not_before: i64,
    /// The certificate in DER.
    pub certificate: Bytes<'a>,
}

#[cfg(test)]
mod tests {
    use policy::{Reason, ReasonCode};

    use super::*;
    use crate::wire::cbor::{Limits, gate, write};

    fn gated(value: &impl Serialize) {
        let limits = Limits { depth: 8, items: 1_000, outer_tag: None, null: gate::Null::Refused };
        gate::check(&write::to_vec(value).unwrap(), &limits).unwrap();
    }

    #[test]
    fn answers_are_deterministic() {
        // Every answer is deterministically encoded: it passes our own gate.
        let reasons = [Reason::new(ReasonCode::DoseDateInvalid, "/record/doses/0/date")];
        let certificate =
            IssuedCertificate { dose: 1, uvci: "U".into(), hcert: "HC1:".into(), expires_at: 5 };
        gated(&BatchResponse {
            kid: Bytes(&[1; 8]),
            issuer: "vn-moh",
            results: vec![
                RecordResult::issued(vec![certificate]),
                RecordResult::rejected(&reasons),
                RecordResult::withheld(),
            ],
            batch_id: Bytes(&[2; 16]),
            issued_at: 1_650_000_000,
        });
        let warning = policy::Warning {
            code: policy::WarningCode::IntervalShort,
            path: "/record/doses/1/date".to_owned(),
        };
        let results = vec![
            PreviewResult::acceptable(vec![1, 2], [&warning].into_iter()),
            PreviewResult::rejected(&reasons),
        ];
        gated(&PreviewResponse { issuer: "vn-moh", results, batch_id: Bytes(&[2; 16]) });
        gated(&[TrustListEntry {
            alg: -37,
            kid: Bytes(&[1; 8]),
            state: "active",
            issuer: "vn-moh",
            not_after: 2,
            not_before: 1,
            certificate: Bytes(&[3; 300]),
        }]);
    }

    #[test]
    fn json_has_the_same_members() {
        // The JSON form of an answer has the same member names, and bytes as base64url.
        let answer =
            PreviewResponse { issuer: "vn-moh", results: vec![], batch_id: Bytes(&[0xff; 16]) };
        let json = write::to_json(&write::to_vec(&answer).unwrap()).unwrap();
        let expected = r#"{"batch_id":"_____________________w","issuer":"vn-moh","results":[]}"#;
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }
}
