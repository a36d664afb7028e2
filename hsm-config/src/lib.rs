//! What `hsm.toml` says: the module, the token, where the PIN is, the keys and the limits of the
//! worker pool.
//!
//! In goes the text of the file and the folder that its relative paths start from; out comes a
//! checked [`HsmConfig`], or every [`Fault`] with its line and its remedy. What comes out is
//! complete and within its limits, so nobody downstream checks again. This crate opens nothing:
//! whether a path exists is found out by the process that needs it. It never holds a PIN.

mod fault;
mod read;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

pub use fault::Fault;

/// The one version of the file that this program reads.
pub const VERSION: u64 = 1;
/// Most workers: more processes than the cores of the largest appliance bring nothing.
pub const WORKERS_MAX: u64 = 16;
/// Most signing sessions of one worker: small HSMs refuse more than 16, none gains beyond 32.
pub const SESSIONS_MAX: u64 = 32;
/// Bounds of one PKCS#11 call: below 100 ms a busy HSM looks hung, above a minute a hung one works.
pub const CALL_DEADLINE_MS: (u64, u64) = (100, 60_000);
/// Bounds of a start: network HSMs have been seen to need 40 s.
pub const START_DEADLINE_MS: (u64, u64) = (500, 300_000);
/// Bounds of one request: callers keep their own time-outs of a few minutes at most.
pub const REQUEST_DEADLINE_MS: (u64, u64) = (500, 120_000);
/// Most batches that may wait: each holds up to 3,000 digests and a client's connection.
pub const QUEUE_MAX: u64 = 1_024;
/// Most tokens that hold the same keys: no appliance is known to have more HSMs.
pub const TOKENS_MAX: usize = 8;
/// Most keys: each is proved by a signature at every start of a worker.
pub const KEYS_MAX: usize = 64;
/// Longest `CKA_ID`: no known token exceeds it.
pub const KEY_ID_BYTES_MAX: usize = 64;
/// Most environment variables handed to the module: every known module needs one or two.
pub const ENVIRONMENT_MAX: usize = 32;
/// Longest path of a Unix socket on Linux (`sun_path` is 108 bytes with its terminator).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The commented examples of `hsm-config/profiles`, each with its file's name.
pub const PROFILES: [(&str, &str); 12] = [
    ("aws-cloudhsm.toml", include_str!("../profiles/aws-cloudhsm.toml")),
    ("kryoptic.toml", include_str!("../profiles/kryoptic.toml")),
    ("luna-network.toml", include_str!("../profiles/luna-network.toml")),
    ("luna-pcie.toml", include_str!("../profiles/luna-pcie.toml")),
    ("nethsm.toml", include_str!("../profiles/nethsm.toml")),
    ("network-hsm.toml", include_str!("../profiles/network-hsm.toml")),
    ("nshield.toml", include_str!("../profiles/nshield.toml")),
    ("nss.toml", include_str!("../profiles/nss.toml")),
    ("p11-kit.toml", include_str!("../profiles/p11-kit.toml")),
    ("softhsm.toml", include_str!("../profiles/softhsm.toml")),
    ("utimaco.toml", include_str!("../profiles/utimaco.toml")),
    ("yubihsm2.toml", include_str!("../profiles/yubihsm2.toml")),
];

/// The checked content of `hsm.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HsmConfig {
    /// The one that is looked at.
    token: Token,
    /// Its number, counted from 0.
    number: usize,
    /// All of them, the first one included; they hold the same keys.
    tokens: Vec<Token>,
    pool: PoolLimits,
    sockets: Vec<PathBuf>,
    front_user: Option<FrontUser>,
    keys: BTreeMap<String, Key>,
    secret: Secret,
}

impl HsmConfig {
    /// Reads the text of `hsm.toml`; relative paths start from `base_dir`, the file's own folder.
    ///
    /// # Errors
    /// Every fault that the text has, in the order of the sections, never only the first one.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Self, Vec<Fault>> {
        read::config(text, base_dir)
    }

    /// How many tokens hold the keys.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The same configuration as seen from one of its tokens, counted from 0; none: there is no such token.
    ///
    /// [`Self::parse`] gives the first one's.
    #[must_use]
    pub fn of_token(&self, index: usize) -> Option<Self> {
        let token = self.tokens.get(index)?.clone();
        Some(Self { token, number: index, ..self.clone() })
    }

    /// Which of the tokens this is, counted from 0.
    #[must_use]
    pub fn token_number(&self) -> usize {
        self.number
    }

    /// The token that a worker uses, counted from 0: workers are dealt out in turn, so that the first ones to
    /// start reach every token.
    #[must_use]
    pub fn token_of_worker(&self, worker: usize) -> usize {
        worker.checked_rem(self.tokens.len()).unwrap_or(0)
    }

    /// Path of the vendor's PKCS#11 library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.token.module
    }

    /// Variables that the module wants in its environment, taken literally.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.token.environment
    }

    /// Label of the token, without the padding of PKCS#11.
    #[must_use]
    pub fn token_label(&self) -> &str {
        &self.token.label
    }

    /// Serial number of the token as it reports it, without padding.
    #[must_use]
    pub fn token_serial(&self) -> &str {
        &self.token.serial
    }

    /// Where the worker finds the user PIN.
    #[must_use]
    pub fn pin(&self) -> &PinSource {
        &self.token.pin
    }

    /// Number of worker processes of all tokens; with [`Self::sockets`] it is their number.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.pool.workers
    }

    /// Signing threads, and so PKCS#11 sessions, of one worker.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.pool.sessions
    }

    /// Whether a worker signs with copies of the keys that live as long as its sessions.
    #[must_use]
    pub fn copy_keys(&self) -> bool {
        self.pool.copy_keys
    }

    /// Longest time that one PKCS#11 call may take before its worker ends itself.
    #[must_use]
    pub fn call_deadline(&self) -> Duration {
        self.pool.call_deadline
    }

    /// Longest time that a signing request may take in all, waiting for a live worker included.
    #[must_use]
    pub fn request_deadline(&self) -> Duration {
        self.pool.request_deadline
    }

    /// Longest time that a start may take: module, log-in, and the proof of one key.
    #[must_use]
    pub fn start_deadline(&self) -> Duration {
        self.pool.start_deadline
    }

    /// Most requests that may be in the front at once.
    #[must_use]
    pub fn queue_max(&self) -> usize {
        self.pool.queue_max
    }

    /// File whose existence says that the PIN was refused and must not be tried again.
    #[must_use]
    pub fn pin_latch(&self) -> &Path {
        &self.token.pin_latch
    }

    /// Sockets of workers that systemd runs; empty where the front spawns its workers itself.
    #[must_use]
    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// The user that may speak to a worker beside the worker's own.
    #[must_use]
    pub fn front_user(&self) -> Option<&FrontUser> {
        self.front_user.as_ref()
    }

    /// All signing keys with their names, in the order of the names.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&str, &Key)> {
        self.keys.iter().map(|(name, key)| (name.as_str(), key))
    }

    /// The signing key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.get(name)
    }

    /// The secret key of the token that the ledger's secret is derived from.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// One token, and the module that leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    module: PathBuf,
    environment: BTreeMap<String, String>,
    label: String,
    serial: String,
    pin: PinSource,
    pin_latch: PathBuf,
}

/// Where the user PIN is read from; never the PIN itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// A systemd credential of that name, found in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// A user of the machine, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrontUser {
    /// The numeric user id.
    Id(u32),
    /// The name, as in `/etc/passwd`.
    Name(String),
}

/// The two signature algorithms of an HCERT (`hcert_spec` §3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes (RFC 8230 §2).
    Ps256,
    /// ECDSA on P-256 with SHA-256, as raw r‖s (RFC 9053 §2.1).
    Es256,
}

impl Algorithm {
    /// The name that `hsm.toml` and the trust list use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
        }
    }
}

/// How the ledger's secret is derived from a secret key that never leaves the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretMechanism {
    /// `CKM_SHA256_HMAC` with a generic secret: the usual way.
    Sha256Hmac,
    /// `CKM_AES_CBC` with an AES-256 key, for modules that have no HMAC.
    AesCbc,
}

/// The secret key that the ledger's secret is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    selector: Selector,
    mechanism: SecretMechanism,
}

impl Secret {
    /// Where it is in the token.
    #[must_use]
    pub const fn selector(&self) -> &Selector {
        &self.selector
    }

    /// What the token does with it.
    #[must_use]
    pub const fn mechanism(&self) -> SecretMechanism {
        self.mechanism
    }
}

/// One signing key: where it is in the token, and the certificate that it must belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    selector: Selector,
    algorithm: Algorithm,
    certificate: PathBuf,
}

impl Key {
    /// How the key is found in the token.
    #[must_use]
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// The algorithm that the key signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Path of the signer certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }
}

/// What an object of the token must carry; at least one of the two is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    label: Option<String>,
    id: Option<Vec<u8>>,
}

impl Selector {
    /// The `CKA_LABEL`.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The `CKA_ID`.
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(label) = &self.label {
            write!(f, "label \"{label}\"")?;
        }
        if let Some(id) = &self.id {
            let gap = if self.label.is_some() { " and " } else { "" };
            write!(f, "{gap}id ")?;
            id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PoolLimits {
    workers: usize,
    sessions: usize,
    copy_keys: bool,
    call_deadline: Duration,
    start_deadline: Duration,
    request_deadline: Duration,
    queue_max: usize,
}

#[cfg(test)]
mod tests;
