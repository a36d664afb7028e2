//! Everything that is read at start, and every fault that can be found without the HSM.
//!
//! `signerd serve` and `signerd check` share this: what passes here starts. Faults of several files are
//! told together, each with its file, member and remedy.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use hsm_config::HsmConfig;
use policy::Assurance;

use super::files::Files;
use super::rules;
use crate::clock;
use crate::config::{Config, Fault, MutualTls};
use crate::ends::End;
use crate::issue::{CHUNKS_AT_THE_HSM, Rules};
use crate::ledger::Engine;
use crate::logging;
use crate::server::{self, Mutual, TlsError, TlsFiles};
use crate::systemd::Sockets;
use crate::tlog::note::AuditKey;

/// All that a start needs.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) hsm: HsmConfig,
    pub(super) rules: Rules,
    /// The public part of the key that signs the log.
    pub(super) audit: AuditKey,
    /// The digest of the configuration, for the log.
    pub(super) digest: [u8; 32],
    /// How many files that is.
    pub(super) files: usize,
    pub(super) tls: Mutual,
    pub(super) officer_tls: Option<Mutual>,
    /// The earlier end of the listeners' certificates.
    pub(super) tls_not_after: i64,
}

impl Loaded {
    /// What a person wants to read after a successful check.
    pub(super) fn summary(&self) -> String {
        let now = clock::seconds_since_1970();
        let days = |end: i64| end.saturating_sub(now).div_euclid(86_400);
        let units = self.rules.policy.registry().facilities().len();
        let mut lines = vec![format!(
            "configuration is good: {units} units, listening on {}",
            self.config.signing.listen
        )];
        let digest = HEXLOWER.encode(&self.digest);
        lines.push(format!("configuration {digest}, {} files", self.files));
        if let Some(officer) = &self.config.officer {
            lines.push(format!("officers on {}", officer.listen));
        }
        for issuer in self.rules.policy.issuers() {
            let Some(signer) = self.rules.signers.get(issuer.id()) else { continue };
            let (alg, kid, days) = (signer.alg().name(), signer.kid(), days(signer.not_after()));
            let level = issuer.assurance().as_str();
            lines.push(format!(
                "issuer {}: {alg}, kid {kid}, {days} days left, level {level}",
                issuer.id()
            ));
            if issuer.assurance() == Assurance::Asserted {
                let id = issuer.id();
                lines.push(format!(
                    "warning: issuer {id} certifies people whom nobody but the client verified"
                ));
            }
        }
        for End { file, what, at, .. } in
            self.rules.ends.iter().filter(|end| days(end.at) < ENDS_SOON_DAYS)
        {
            let left = days(*at);
            lines.push(format!("warning: {file}: {what} has {left} days left; renew it"));
        }
        lines.join("\n")
    }

    /// A socket that was passed and that nobody would serve: its callers would wait for ever.
    pub(super) fn unserved(&self, sockets: &Sockets, file: &Path) -> Option<Fault> {
        (sockets.officer.is_some() && self.config.officer.is_none()).then(|| {
            let remedy = "add the table, or systemctl disable --now signerd-officer.socket";
            fault(file, "officer", "is absent, but systemd passed the officers' socket", remedy)
        })
    }
}

/// From when on is a check told about files that end? Two months are enough to renew anything.
const ENDS_SOON_DAYS: i64 = 60;

/// Reads and checks everything.
pub(super) fn load(file: &Path) -> Result<Loaded, Vec<Fault>> {
    let files = Files::default();
    let config = front(file, &files)?;
    let mut faults = Vec::new();
    let hsm = collect(hsm(&config, &files), &mut faults);
    let tls = collect(tls(&config), &mut faults);
    faults.extend(ledger(file, &config.ledger));
    let Some(hsm) = hsm else {
        // Without the keys the rules cannot be joined; what is wrong with them alone is told all the same.
        faults.extend(rules::policy(&config, &files).err().into_iter().flatten());
        return Err(faults);
    };
    faults.extend(queue(&config, &hsm));
    let audit = collect(rules::audit_key(&config, &hsm, &files), &mut faults);
    let rules = collect(rules::read(&config, &hsm, &files), &mut faults);
    match (rules, audit, tls) {
        (Some(mut rules), Some(audit), Some(read)) if faults.is_empty() => {
            let Tls { signing: tls, officer: officer_tls, not_after: tls_not_after, ends } = read;
            rules.ends.extend(ends);
            let (digest, files) = (files.digest(), files.count());
            Ok(Loaded { config, hsm, rules, audit, digest, files, tls, officer_tls, tls_not_after })
        }
        _ => Err(faults),
    }
}

/// Reads `hsm.toml` by way of `signerd.toml`, for commands that a person gives; says where it is, too.
///
/// Only the service has its credentials, so that whatever stands for them here is not opened.
pub(super) fn hsm_alone(file: &Path) -> Result<(PathBuf, HsmConfig), Vec<Fault>> {
    let files = Files::default();
    let credentials = Path::new("/run/credentials/signerd.service");
    let config = Config::parse(&files.text(file)?, file, Some(credentials))?;
    let hsm = hsm(&config, &files)?;
    Ok((config.hsm, hsm))
}

/// The same, as seen from one of its tokens.
pub(super) fn hsm_of_token(file: &Path, token: usize) -> Result<(PathBuf, HsmConfig), Vec<Fault>> {
    let (path, config) = hsm_alone(file)?;
    let Some(config) = config.of_token(token) else {
        let problem = format!("there are {} tokens in it", config.tokens());
        return Err(vec![fault(
            &path,
            "replica",
            problem,
            "give another --token, or add a [[replica]]",
        )]);
    };
    Ok((path, config))
}

/// Reads `signerd.toml`.
fn front(file: &Path, files: &Files) -> Result<Config, Vec<Fault>> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Config::parse(&files.text(file)?, file, credentials.as_deref())
}

/// Reads `hsm.toml`.
fn hsm(config: &Config, files: &Files) -> Result<HsmConfig, Vec<Fault>> {
    let folder = config.hsm.parent().unwrap_or(Path::new("."));
    HsmConfig::parse(&files.text(&config.hsm)?, folder).map_err(|faults| {
        let in_file = |fault: hsm_config::Fault| Fault {
            file: config.hsm.clone(),
            line: fault.line,
            key: fault.key,
            problem: fault.problem,
            remedy: fault.remedy,
        };
        faults.into_iter().map(in_file).collect()
    })
}

/// The TLS side of the listeners, and when their files end.
struct Tls {
    signing: Mutual,
    officer: Option<Mutual>,
    /// The earlier end of the servers' certificates.
    not_after: i64,
    ends: Vec<End>,
}

fn tls(config: &Config) -> Result<Tls, Vec<Fault>> {
    let files = tls_files(&config.signing);
    let (signing, not_after, mut ends) = mutual("signing", &files)?;
    let Some(officer) = &config.officer else {
        return Ok(Tls { signing, officer: None, not_after, ends });
    };
    let officer = tls_files(officer);
    let (tls, officer_not_after, officer_ends) = mutual("officer", &officer)?;
    let unreadable = |error: TlsError| vec![fault(error.file(), "officer", &error, PEM_REMEDY)];
    if server::share_authority(&files, &officer).map_err(unreadable)? {
        let problem = "is also an authority of the signing listener: its clients would be officers";
        let remedy = "give the officers an authority of their own";
        return Err(vec![fault(&officer.client_ca, "officer.client_ca", problem, remedy)]);
    }
    // Certificates may be signed without any officer: what ends there is no obstacle, but it is told.
    for end in officer_ends {
        if !ends.iter().any(|known| known.file == end.file) {
            ends.push(End { needed: false, ..end });
        }
    }
    Ok(Tls { signing, officer: Some(tls), not_after: not_after.min(officer_not_after), ends })
}

const PEM_REMEDY: &str = "put a PEM file of its kind there";

fn mutual(section: &str, files: &TlsFiles) -> Result<(Mutual, i64, Vec<End>), Vec<Fault>> {
    let fault = |error: TlsError| vec![fault(error.file(), section, &error, PEM_REMEDY)];
    let tls = server::mutual(files).map_err(fault)?;
    let not_after = server::not_after(files).map_err(fault)?;
    Ok((tls, not_after, server::ends(files).map_err(fault)?))
}

fn tls_files(listener: &MutualTls) -> TlsFiles {
    let MutualTls { certificate, key, client_ca, client_crl, .. } = listener;
    TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        client_ca: client_ca.clone(),
        client_crl: client_crl.clone(),
    }
}

/// The ledger is opened by `serve` alone; that its folder is there, or the files that its server wants,
/// can be told beforehand.
fn ledger(file: &Path, engine: &Engine) -> Option<Fault> {
    match engine {
        Engine::Sqlite(ledger) => {
            let folder = ledger.parent().filter(|folder| !folder.is_dir())?;
            let problem = format!("{} is not a folder", folder.display());
            Some(fault(ledger, "", problem, "make the folder"))
        }
        Engine::Postgres(server) => {
            let unusable = server.check().err()?;
            let remedy = match unusable.member {
                "password_file" => "put the password there, readable for the daemon alone",
                _ => PEM_REMEDY,
            };
            let key = format!("ledger.postgres.{}", unusable.member);
            Some(fault(file, &key, logging::chain(&unusable), remedy))
        }
    }
}

/// A batch that was admitted must not fail halfway because the queue of the pool is full.
fn queue(config: &Config, hsm: &HsmConfig) -> Option<Fault> {
    // And one place for the checkpoints.
    let needed = config.limits.batches_max.saturating_mul(CHUNKS_AT_THE_HSM).saturating_add(1);
    (hsm.queue_max() < needed).then(|| {
        let problem = format!("limits.batches_max of signerd.toml needs {needed} places");
        fault(&config.hsm, "pool.queue_max", problem, "raise this one, or lower that one")
    })
}

pub(super) fn fault(file: &Path, key: &str, problem: impl Display, remedy: &str) -> Fault {
    let (key, problem, remedy) = (key.to_owned(), problem.to_string(), remedy.to_owned());
    Fault { file: file.to_owned(), line: None, key, problem, remedy }
}

pub(super) fn collect<T>(result: Result<T, Vec<Fault>>, faults: &mut Vec<Fault>) -> Option<T> {
    result.map_err(|found| faults.extend(found)).ok()
}
