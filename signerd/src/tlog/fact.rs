//! What an entry of the log says: one fact, its time, nothing about a holder.
//!
//! An entry is a CBOR map in deterministic form (RFC 8949 §4.2.1) with the members `at` (seconds since
//! 1970), `event`, and those of its event; `docs/log.cddl` describes them. Entries are hashed as they are
//! and never change, so a member may be added to an event, and none taken away or given another meaning.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use thiserror::Error;

/// How many records were refused for a reason, by its stable code.
pub type Counts = Vec<(String, u32)>;

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fact {
    /// The log begins, in a ledger that has these many certificates from before there was one.
    LogBegun {
        /// How many.
        certificates: u64,
    },
    /// The daemon is about to serve.
    DaemonStarted {
        /// The program's version.
        version: String,
        /// SHA-256 of what it was configured with.
        config: [u8; 32],
        /// Batches that were being signed when it last ended: they wait for their repeat.
        open: u32,
        /// Which one of a fleet it is; none: the entry is from before that was told.
        appliance: Option<String>,
    },
    /// The daemon ends as it was told to.
    DaemonStopped {
        /// Which one of a fleet it is; none: the entry is from before that was told.
        appliance: Option<String>,
    },
    /// The rules were read again and are in force.
    RulesLoaded {
        /// SHA-256 of what it is configured with now.
        config: [u8; 32],
    },
    /// A batch was judged, and this is what will be signed of it.
    BatchIntended(Box<BatchIntended>),
    /// A further attempt at a batch that an earlier one did not finish.
    BatchResumed {
        /// The number of the batch's `batch.intended`.
        batch: u64,
        /// Counts the attempts, from 1.
        attempt: u32,
    },
    /// A batch will not be signed as it was intended: its id and its doses are free.
    BatchReleased {
        /// The number of the batch's `batch.intended`.
        batch: u64,
        /// Why; none: the entry is from before that was told.
        code: Option<String>,
    },
    /// A batch was judged and refused as a whole.
    BatchRefused {
        /// Who asked.
        client: String,
        /// The client's id of the batch.
        batch_id: [u8; 16],
        /// For whom.
        issuer: String,
        /// The code of the refusal.
        code: String,
    },
    /// Requests that were refused for a reason, of one peer, in about a minute.
    RequestsRefused {
        /// Whose they were.
        peer: Peer,
        /// The code of the refusal.
        code: String,
        /// How many.
        count: u32,
    },
    /// The clock was declared right although it may be behind the log.
    ClockTrusted {
        /// By how many seconds it was behind; 0: it was not.
        seconds: u64,
    },
    /// A certificate was signed and stands in an answer.
    CertificateSigned(Certificate),
    /// All certificates of a batch were signed; the answer is stored with this entry.
    BatchAnswered {
        /// The number of the batch's `batch.intended`.
        batch: u64,
        /// The attempt that came to the end.
        attempt: u32,
    },
    /// A worker process was lost.
    WorkerLost {
        /// What it was.
        code: String,
    },
    /// An officer lets an issuer sign outside its window.
    WindowOpened {
        /// The officer.
        by: String,
        /// Whose window.
        issuer: String,
        /// The first second in which it no longer counts, seconds since 1970.
        until: i64,
        /// Why, in the officer's words.
        reason: String,
    },
    /// An officer ends that before its time.
    WindowClosed {
        /// The officer.
        by: String,
        /// Whose window.
        issuer: String,
        /// Why, in the officer's words.
        reason: String,
    },
}

/// Whose requests were refused.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Peer {
    /// A client of the configuration.
    Client(String),
    /// An officer.
    Officer(String),
    /// Somebody with a certificate of a trusted authority, by its SHA-256, whom the configuration does not
    /// know.
    Stranger([u8; 32]),
    /// Whoever failed to show a certificate that is trusted.
    Nobody,
}

/// A batch before the HSM is touched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BatchIntended {
    /// Who asked.
    pub client: String,
    /// The client's id of the batch.
    pub batch_id: [u8; 16],
    /// Keyed digest of the request's bytes.
    pub request: [u8; 32],
    /// Whose key signs.
    pub issuer: String,
    /// Identifies the signer certificate.
    pub kid: [u8; 8],
    /// What had to be verified: "statement" or "asserted".
    pub assurance: String,
    /// How many certificates will be signed.
    pub certificates: u32,
    /// The records that were refused, by reason; a record may have several.
    pub rejected: Counts,
}

/// One certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// The number of its batch's `batch.intended`.
    pub batch: u64,
    /// The random part of its identifier.
    pub uvci: [u8; 16],
    /// Identifies the signer certificate.
    pub kid: [u8; 8],
    /// When it was issued, seconds since 1970.
    pub iat: i64,
    /// When it ends, seconds since 1970.
    pub exp: i64,
    /// SHA-256 of its COSE bytes.
    pub sha256: [u8; 32],
}

/// A fact and its time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Seconds since 1970.
    pub at: i64,
    /// What happened.
    pub fact: Fact,
}

/// Why bytes are no entry. To blame: whoever wrote them, or a newer release. Do not retry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotAnEntry {
    /// Not CBOR, or members of other types.
    #[error("not an entry of the log: {0}")]
    Form(String),
    /// An event of a newer release, or of none.
    #[error("event {0:?} is not known to this release")]
    Event(String),
    /// A member that the event has is missing.
    #[error("event {event:?} has no {member:?}")]
    Member {
        /// The event.
        event: String,
        /// The member.
        member: &'static str,
    },
}

impl Entry {
    /// The bytes that are hashed and kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES_USUAL);
        // Writing into memory cannot fail, and the form has neither floats nor maps of its own.
        let _ = ciborium::into_writer(&Form::from(self), &mut bytes);
        bytes
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`NotAnEntry`] where the bytes are not one of ours.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAnEntry> {
        let form: Form =
            ciborium::from_reader(bytes).map_err(|error| NotAnEntry::Form(error.to_string()))?;
        form.entry()
    }
}

/// Bytes of a certificate's entry, the most frequent one.
const ENTRY_BYTES_USUAL: usize = 160;

/// An entry as it is encoded: the members of all events, in deterministic order (shorter names first,
/// then alphabetical).
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Form {
    at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<ByteArray<8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uvci: Option<ByteArray<16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<ByteArray<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<ByteArray<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<ByteArray<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<ByteArray<16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appliance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assurance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<ByteArray<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificates: Option<u64>,
}

impl Fact {
    /// The name of the event, as entries have it.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::LogBegun { .. } => "log.begun",
            Self::DaemonStarted { .. } => "daemon.started",
            Self::DaemonStopped { .. } => "daemon.stopped",
            Self::RulesLoaded { .. } => "rules.loaded",
            Self::BatchIntended(_) => "batch.intended",
            Self::BatchResumed { .. } => "batch.resumed",
            Self::BatchReleased { .. } => "batch.released",
            Self::BatchRefused { .. } => "batch.refused",
            Self::RequestsRefused { .. } => "requests.refused",
            Self::ClockTrusted { .. } => "clock.trusted",
            Self::CertificateSigned(_) => "certificate.signed",
            Self::BatchAnswered { .. } => "batch.answered",
            Self::WorkerLost { .. } => "worker.lost",
            Self::WindowOpened { .. } => "window.opened",
            Self::WindowClosed { .. } => "window.closed",
        }
    }
}

impl From<&Entry> for Form {
    fn from(entry: &Entry) -> Self {
        let head = Self { at: entry.at, event: entry.fact.event().to_owned(), ..Self::default() };
        match entry.fact.clone() {
            Fact::DaemonStopped { appliance } => Self { appliance, ..head },
            Fact::LogBegun { certificates } => Self { certificates: Some(certificates), ..head },
            Fact::DaemonStarted { version, config, open, appliance } => {
                let (version, config) = (Some(version), Some(ByteArray::new(config)));
                Self { version, config, open: Some(open), appliance, ..head }
            }
            Fact::RulesLoaded { config } => Self { config: Some(ByteArray::new(config)), ..head },
            Fact::BatchIntended(intended) => head.with_intended(*intended),
            Fact::BatchResumed { batch, attempt } | Fact::BatchAnswered { batch, attempt } => {
                Self { batch: Some(batch), attempt: Some(attempt), ..head }
            }
            Fact::BatchReleased { batch, code } => Self { batch: Some(batch), code, ..head },
            Fact::BatchRefused { client, batch_id, issuer, code } => Self {
                client: Some(client),
                batch_id: Some(ByteArray::new(batch_id)),
                issuer: Some(issuer),
                code: Some(code),
                ..head
            },
            Fact::RequestsRefused { peer, code, count } => {
                Self { code: Some(code), count: Some(count), ..head.with_peer(peer) }
            }
            Fact::ClockTrusted { seconds } => Self { seconds: Some(seconds), ..head },
            Fact::CertificateSigned(certificate) => head.with_certificate(certificate),
            Fact::WorkerLost { code } => Self { code: Some(code), ..head },
            Fact::WindowOpened { by, issuer, until, reason } => {
                let (by, issuer, reason) = (Some(by), Some(issuer), Some(reason));
                Self { by, issuer, reason, until: Some(until), ..head }
            }
            Fact::WindowClosed { by, issuer, reason } => {
                Self { by: Some(by), issuer: Some(issuer), reason: Some(reason), ..head }
            }
        }
    }
}

impl Form {
    fn with_intended(self, intended: BatchIntended) -> Self {
        Self {
            client: Some(intended.client),
            batch_id: Some(ByteArray::new(intended.batch_id)),
            request: Some(ByteArray::new(intended.request)),
            issuer: Some(intended.issuer),
            kid: Some(ByteArray::new(intended.kid)),
            assurance: Some(intended.assurance),
            certificates: Some(intended.certificates.into()),
            rejected: Some(intended.rejected),
            ..self
        }
    }

    fn with_peer(self, peer: Peer) -> Self {
        match peer {
            Peer::Client(client) => Self { client: Some(client), ..self },
            Peer::Officer(officer) => Self { by: Some(officer), ..self },
            Peer::Stranger(sha256) => Self { certificate: Some(ByteArray::new(sha256)), ..self },
            Peer::Nobody => self,
        }
    }

    fn with_certificate(self, certificate: Certificate) -> Self {
        Self {
            batch: Some(certificate.batch),
            uvci: Some(ByteArray::new(certificate.uvci)),
            kid: Some(ByteArray::new(certificate.kid)),
            iat: Some(certificate.iat),
            exp: Some(certificate.exp),
            sha256: Some(ByteArray::new(certificate.sha256)),
            ..self
        }
    }

    fn entry(self) -> Result<Entry, NotAnEntry> {
        let at = self.at;
        let fact = match self.event.as_str() {
            "log.begun" => Fact::LogBegun { certificates: self.certificates()? },
            "daemon.started" => Fact::DaemonStarted {
                version: self.need(&self.version, "version")?,
                config: *self.need(&self.config, "config")?,
                open: self.need(&self.open, "open")?,
                appliance: self.appliance,
            },
            "daemon.stopped" => Fact::DaemonStopped { appliance: self.appliance },
            "rules.loaded" => Fact::RulesLoaded { config: *self.need(&self.config, "config")? },
            "batch.intended" => Fact::BatchIntended(Box::new(self.intended()?)),
            "batch.resumed" => {
                Fact::BatchResumed { batch: self.batch()?, attempt: self.attempt()? }
            }
            "batch.released" => Fact::BatchReleased { batch: self.batch()?, code: self.code },
            "batch.refused" => Fact::BatchRefused {
                client: self.need(&self.client, "client")?,
                batch_id: *self.need(&self.batch_id, "batch_id")?,
                issuer: self.need(&self.issuer, "issuer")?,
                code: self.need(&self.code, "code")?,
            },
            "requests.refused" => Fact::RequestsRefused {
                peer: self.peer(),
                code: self.need(&self.code, "code")?,
                count: self.need(&self.count, "count")?,
            },
            "clock.trusted" => Fact::ClockTrusted { seconds: self.need(&self.seconds, "seconds")? },
            "certificate.signed" => Fact::CertificateSigned(self.certificate()?),
            "batch.answered" => {
                Fact::BatchAnswered { batch: self.batch()?, attempt: self.attempt()? }
            }
            "worker.lost" => Fact::WorkerLost { code: self.need(&self.code, "code")? },
            "window.opened" => Fact::WindowOpened {
                by: self.need(&self.by, "by")?,
                issuer: self.need(&self.issuer, "issuer")?,
                until: self.need(&self.until, "until")?,
                reason: self.need(&self.reason, "reason")?,
            },
            "window.closed" => Fact::WindowClosed {
                by: self.need(&self.by, "by")?,
                issuer: self.need(&self.issuer, "issuer")?,
                reason: self.need(&self.reason, "reason")?,
            },
            _ => return Err(NotAnEntry::Event(self.event)),
        };
        Ok(Entry { at, fact })
    }

    fn intended(&self) -> Result<BatchIntended, NotAnEntry> {
        let member = "certificates";
        let certificates = u32::try_from(self.certificates()?)
            .map_err(|_| NotAnEntry::Member { event: self.event.clone(), member })?;
        Ok(BatchIntended {
            client: self.need(&self.client, "client")?,
            batch_id: *self.need(&self.batch_id, "batch_id")?,
            request: *self.need(&self.request, "request")?,
            issuer: self.need(&self.issuer, "issuer")?,
            kid: *self.need(&self.kid, "kid")?,
            assurance: self.need(&self.assurance, "assurance")?,
            certificates,
            rejected: self.need(&self.rejected, "rejected")?,
        })
    }

    fn peer(&self) -> Peer {
        match (&self.client, &self.by, &self.certificate) {
            (Some(client), ..) => Peer::Client(client.clone()),
            (None, Some(officer), _) => Peer::Officer(officer.clone()),
            (None, None, Some(sha256)) => Peer::Stranger(**sha256),
            (None, None, None) => Peer::Nobody,
        }
    }

    fn certificate(&self) -> Result<Certificate, NotAnEntry> {
        Ok(Certificate {
            batch: self.batch()?,
            uvci: *self.need(&self.uvci, "uvci")?,
            kid: *self.need(&self.kid, "kid")?,
            iat: self.need(&self.iat, "iat")?,
            exp: self.need(&self.exp, "exp")?,
            sha256: *self.need(&self.sha256, "sha256")?,
        })
    }

    fn batch(&self) -> Result<u64, NotAnEntry> {
        self.need(&self.batch, "batch")
    }

    fn attempt(&self) -> Result<u32, NotAnEntry> {
        self.need(&self.attempt, "attempt")
    }

    fn certificates(&self) -> Result<u64, NotAnEntry> {
        self.need(&self.certificates, "certificates")
    }

    fn need<T: Clone>(&self, value: &Option<T>, member: &'static str) -> Result<T, NotAnEntry> {
        value.clone().ok_or_else(|| NotAnEntry::Member { event: self.event.clone(), member })
    }
}

#[cfg(test)]
mod tests;
