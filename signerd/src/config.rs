//! `signerd.toml`: listeners, trust, ledger, clock, limits and the table of clients.
//!
//! The file is read into a spec that refuses unknown members and then checked into [`Config`], with
//! every fault named at once. Paths are relative to the folder of the file. Nothing here opens another
//! file: the daemon does that at start, and `signerd check` with it.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

mod ledger;

use ledger::LedgerSpec;

use crate::access::{Identity, Rate};
use crate::ledger::Engine;
use crate::tlog::note;

/// The checked configuration of the front process.
#[derive(Debug)]
pub struct Config {
    /// The signing listener.
    pub signing: MutualTls,
    /// The officers' listener; absent: there is none.
    pub officer: Option<MutualTls>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served, on loopback or a private network.
    pub observability: SocketAddr,
    /// `policy.toml`.
    pub policy: PathBuf,
    /// `hsm.toml`.
    pub hsm: PathBuf,
    /// The ledger's file, or the server that has it.
    pub ledger: Engine,
    /// For how long sealed answers are kept.
    pub retention: Duration,
    /// The transparency log.
    pub log: Log,
    /// The file whose existence says that the clock is synchronised; absent: not required.
    pub synchronised_marker: Option<PathBuf>,
    /// The rate limit of each client.
    pub rate: Rate,
    /// The clients, each with the trait of its certificate.
    pub clients: Vec<(String, Identity)>,
    /// Bounds on what clients can make us hold.
    pub limits: Limits,
}

/// Who the log is, and who signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its name, in every checkpoint.
    pub origin: String,
    /// The name of the audit key in `hsm.toml`.
    pub key: String,
    /// The name of this appliance in entries; absent: the machine's.
    pub appliance: Option<String>,
    /// The file that always holds the latest checkpoint; absent: none does.
    pub checkpoint: Option<PathBuf>,
}

/// A listener with client certificates.
#[derive(Debug, PartialEq, Eq)]
pub struct MutualTls {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM file with the server's certificate and the chain above it.
    pub certificate: PathBuf,
    /// PEM file with the private key (PKCS#8).
    pub key: PathBuf,
    /// PEM file with the CAs of the clients.
    pub client_ca: PathBuf,
    /// PEM file with their revocation lists.
    pub client_crl: PathBuf,
}

/// Bounds of the signing listener. The defaults suit one central issuing system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest request body in bytes; 1,000 records with certificates are about 2 MB.
    pub body_bytes_max: usize,
    /// Most connections at once; each costs about 40 kB.
    pub connections_max: usize,
    /// Most batches in work at once; each may hold a body and an answer. More get 503 `overloaded`.
    pub batches_max: usize,
    /// Longest TLS handshake, in seconds.
    pub handshake_seconds: u64,
    /// Longest wait for a request head, idle time between requests included, in seconds.
    pub header_seconds: u64,
    /// Longest wait for a whole request body, in seconds.
    pub body_seconds: u64,
    /// Longest time in which a client takes nothing of its answer, in seconds.
    pub write_seconds: u64,
    /// After SIGTERM, longest wait for requests in work, in seconds.
    pub drain_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 20 * 1024 * 1024,
            connections_max: 256,
            batches_max: 32,
            handshake_seconds: 5,
            header_seconds: 60,
            body_seconds: 30,
            write_seconds: 30,
            drain_seconds: 30,
        }
    }
}

/// One thing that is wrong with a file, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// Line in the file, from 1, where known.
    pub line: Option<usize>,
    /// The member, e.g. `signing.listen`; empty where the file as a whole is meant.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// The version of the file format that this program reads.
const VERSION: u32 = 1;
/// The marker that systemd-timesyncd makes.
const TIMESYNC_MARKER: &str = "/run/systemd/timesync/synchronized";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    version: u32,
    policy: PathBuf,
    hsm: PathBuf,
    signing: SigningSpec,
    officer: Option<OfficerSpec>,
    observability: ObservabilitySpec,
    ledger: LedgerSpec,
    log: LogSpec,
    clock: ClockSpec,
    rate: RateSpec,
    #[serde(default)]
    client: Vec<ClientSpec>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SigningSpec {
    listen: SocketAddr,
    certificate: PathBuf,
    key: Option<PathBuf>,
    /// Name of a systemd credential that holds the key.
    key_credential: Option<String>,
    client_ca: PathBuf,
    client_crl: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfficerSpec {
    listen: SocketAddr,
    /// Absent: those of the signing listener.
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    key_credential: Option<String>,
    client_ca: PathBuf,
    client_crl: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObservabilitySpec {
    listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSpec {
    origin: String,
    #[serde(default = "audit")]
    key: String,
    appliance: Option<String>,
    checkpoint: Option<PathBuf>,
}

fn audit() -> String {
    "audit".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockSpec {
    require_synchronised: bool,
    synchronised_marker: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateSpec {
    doses_per_second: NonZeroU32,
    burst: NonZeroU32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientSpec {
    id: String,
    san_uri: Option<String>,
    san_dns: Option<String>,
    spki_sha256: Option<String>,
}

impl Config {
    /// Names the members that count from a start on, and that another reading has otherwise.
    pub fn fixed_members_that_differ(&self, other: &Self) -> Vec<&'static str> {
        let listen = |config: &Self| config.officer.as_ref().map(|officer| officer.listen);
        let same = [
            ("signing.listen", self.signing.listen == other.signing.listen),
            ("officer.listen", listen(self) == listen(other)),
            ("observability.listen", self.observability == other.observability),
            ("ledger", self.ledger == other.ledger),
            ("ledger.retention_days", self.retention == other.retention),
            ("log", self.log == other.log),
            ("clock", self.synchronised_marker == other.synchronised_marker),
            ("limits", self.limits == other.limits),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(member, _)| member).collect()
    }

    /// Reads the text of `file`; `credentials` is systemd's `$CREDENTIALS_DIRECTORY`, if any.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn parse(text: &str, file: &Path, credentials: Option<&Path>) -> Result<Self, Vec<Fault>> {
        let spec: Spec = toml::from_str(text).map_err(|error| vec![syntax(text, file, &error)])?;
        let mut faults = Faults { file, list: Vec::new() };
        let config = spec.check(&mut faults, credentials);
        match config {
            Some(config) if faults.list.is_empty() => Ok(config),
            _ => Err(faults.list),
        }
    }
}

/// A fault of the TOML itself or of a member's type, with its line.
fn syntax(text: &str, file: &Path, error: &toml::de::Error) -> Fault {
    let line = error.span().and_then(|span| text.get(..span.start));
    Fault {
        file: file.to_owned(),
        line: line.map(|before| before.matches('\n').count().saturating_add(1)),
        key: String::new(),
        problem: error.message().to_owned(),
        remedy: "see signerd.toml(5) for the members and their types".to_owned(),
    }
}

struct Faults<'a> {
    file: &'a Path,
    list: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, key: &str, problem: impl Into<String>, remedy: &str) {
        let (file, line) = (self.file.to_owned(), None);
        let (key, problem, remedy) = (key.to_owned(), problem.into(), remedy.to_owned());
        self.list.push(Fault { file, line, key, problem, remedy });
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new(".")).join(path)
    }
}

impl Spec {
    fn check(self, faults: &mut Faults<'_>, credentials: Option<&Path>) -> Option<Config> {
        if self.version != VERSION {
            faults.add("version", format!("{} is not known", self.version), "write version = 1");
        }
        let marker = self.clock.synchronised_marker.unwrap_or(TIMESYNC_MARKER.into());
        let (rate, burst) = (self.rate.doses_per_second, self.rate.burst);
        let clients = clients(self.client, faults);
        if !(1..=366).contains(&self.ledger.retention_days) {
            faults.add("ledger.retention_days", "must be 1 to 366", "7 is usual");
        }
        if !note::is_origin(&self.log.origin) {
            let remedy = "give the log a name of its own, such as signerd.moh.gov.vn/log";
            faults.add("log.origin", "is not 1 to 200 bytes without spaces and plus", remedy);
        }
        if self.log.appliance.as_ref().is_some_and(|name| !is_host_name(name)) {
            let remedy =
                "give this machine a name such as signerd-1, or leave it out for the host's";
            faults.add("log.appliance", "is not 1 to 64 of letters, digits, dot, - and _", remedy);
        }
        limits(&self.limits, faults);
        let retention = Duration::from_secs(u64::from(self.ledger.retention_days) * 86_400);
        let ledger = self.ledger.engine(faults, credentials);
        let signing = self.signing.check(faults, credentials)?;
        let officer = self.officer.map(|spec| spec.check(faults, credentials, &signing));
        Some(Config {
            officer: match officer {
                Some(officer) => Some(officer?),
                None => None,
            },
            signing,
            observability: self.observability.listen,
            policy: faults.path(&self.policy),
            hsm: faults.path(&self.hsm),
            ledger: ledger?,
            retention,
            log: Log {
                checkpoint: self.log.checkpoint.map(|file| faults.path(&file)),
                origin: self.log.origin,
                key: self.log.key,
                appliance: self.log.appliance,
            },
            synchronised_marker: self.clock.require_synchronised.then(|| faults.path(&marker)),
            rate: Rate { doses_per_second: rate, burst },
            clients,
            limits: self.limits,
        })
    }
}

impl SigningSpec {
    fn check(self, faults: &mut Faults<'_>, credentials: Option<&Path>) -> Option<MutualTls> {
        let key = key("signing", (self.key, self.key_credential), faults, credentials);
        Some(MutualTls {
            listen: self.listen,
            certificate: faults.path(&self.certificate),
            key: key?,
            client_ca: faults.path(&self.client_ca),
            client_crl: faults.path(&self.client_crl),
        })
    }
}

impl OfficerSpec {
    /// The certificate and its key come together: both its own, or both the signing listener's.
    fn check(
        self,
        faults: &mut Faults<'_>,
        credentials: Option<&Path>,
        signing: &MutualTls,
    ) -> Option<MutualTls> {
        let (listen, keys) = (self.listen, (self.key, self.key_credential));
        if listen == signing.listen && listen.port() != 0 {
            let remedy = "give the officers a port of their own";
            faults.add("officer.listen", "is the address of the signing listener", remedy);
        }
        let (certificate, key) = match (self.certificate, &keys) {
            (Some(certificate), _) => {
                (faults.path(&certificate), key("officer", keys, faults, credentials)?)
            }
            (None, (None, None)) => (signing.certificate.clone(), signing.key.clone()),
            (None, _) => {
                let remedy = "give both, or neither to share those of the signing listener";
                faults.add("officer.key", "is there without officer.certificate", remedy);
                return None;
            }
        };
        let (client_ca, client_crl) = (faults.path(&self.client_ca), faults.path(&self.client_crl));
        Some(MutualTls { listen, certificate, key, client_ca, client_crl })
    }
}

/// The file of a listener's private key: named, or a credential of systemd.
fn key(
    section: &str,
    named: (Option<PathBuf>, Option<String>),
    faults: &mut Faults<'_>,
    credentials: Option<&Path>,
) -> Option<PathBuf> {
    let (member, credential) = (format!("{section}.key"), format!("{section}.key_credential"));
    named_file([&member, &credential], named, faults, credentials)
}

/// A file that has a path, or a name among systemd's credentials.
fn named_file(
    [member, credential]: [&str; 2],
    named: (Option<PathBuf>, Option<String>),
    faults: &mut Faults<'_>,
    credentials: Option<&Path>,
) -> Option<PathBuf> {
    match (named, credentials) {
        ((Some(key), None), _) => return Some(faults.path(&key)),
        ((None, Some(name)), Some(folder)) if !name.contains('/') => {
            return Some(folder.join(name));
        }
        ((None, Some(_)), Some(_)) => {
            faults.add(credential, "is not a name", "give the name alone");
        }
        ((None, Some(_)), None) => {
            let remedy =
                format!("start the service by systemd with LoadCredential=, or use {member}");
            faults.add(credential, "no credentials were passed", &remedy);
        }
        ((Some(_), Some(_)) | (None, None), _) => {
            let remedy = "give one: a path, or the name of a systemd credential";
            let (_, one) = member.rsplit_once('.').unwrap_or(("", member));
            let (_, other) = credential.rsplit_once('.').unwrap_or(("", credential));
            faults.add(member, format!("exactly one of {one} and {other} is needed"), remedy);
        }
    }
    None
}

fn is_host_name(name: &str) -> bool {
    let form = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(form)
}

fn limits(limits: &Limits, faults: &mut Faults<'_>) {
    let bounds = [
        ("body_bytes_max", limits.body_bytes_max, 1024, 64 * 1024 * 1024),
        ("connections_max", limits.connections_max, 1, 10_000),
        ("batches_max", limits.batches_max, 1, 1_000),
    ];
    for (name, value, min, max) in bounds {
        if !(min..=max).contains(&value) {
            faults.add(&format!("limits.{name}"), format!("must be {min} to {max}"), "");
        }
    }
    let waits = [
        ("handshake_seconds", limits.handshake_seconds),
        ("header_seconds", limits.header_seconds),
        ("body_seconds", limits.body_seconds),
        ("write_seconds", limits.write_seconds),
        ("drain_seconds", limits.drain_seconds),
    ];
    for (name, seconds) in waits {
        if !(1..=3_600).contains(&seconds) {
            faults.add(&format!("limits.{name}"), "must be 1 to 3600", "");
        }
    }
}

fn clients(specs: Vec<ClientSpec>, faults: &mut Faults<'_>) -> Vec<(String, Identity)> {
    let mut clients: Vec<(String, Identity)> = Vec::new();
    for spec in specs {
        let key = format!("client {:?}", spec.id);
        let form = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if spec.id.is_empty() || spec.id.len() > 63 || !spec.id.chars().all(form) {
            faults.add(&key, "id is not 1 to 63 of a-z, 0-9 and -", "choose another id");
        }
        match spec.identity() {
            Some(identity) if clients.iter().any(|(_, other)| *other == identity) => {
                faults.add(&key, "another client has the same trait", "traits must be unique");
            }
            Some(identity) => clients.push((spec.id, identity)),
            None => {
                let remedy = "give exactly one of san_uri, san_dns and spki_sha256 (64 hex digits)";
                faults.add(&key, "has no usable trait", remedy);
            }
        }
    }
    clients
}

impl ClientSpec {
    fn identity(&self) -> Option<Identity> {
        match (&self.san_uri, &self.san_dns, &self.spki_sha256) {
            (Some(uri), None, None) => Some(Identity::SanUri(uri.clone())),
            (None, Some(dns), None) => Some(Identity::SanDns(dns.clone())),
            (None, None, Some(hex)) => {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
                Some(Identity::SpkiSha256(bytes.try_into().ok()?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
