//! Everything that is read at start, and every fault that can be found without the HSM.
//!
//! `signerd serve` and `signerd check` share this: what passes here starts. Faults of several files are
//! told together, each with its file, member and remedy.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hsm_config::{Algorithm, HsmConfig};
use policy::Policy;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::access::{Access, Client, Identity};
use crate::clock;
use crate::config::{Config, Fault};
use crate::hcert::{Alg, EventKind, SignerCertificate};
use crate::issue::CHUNKS_AT_THE_HSM;
use crate::server::{self, ServerConfig, TlsError, TlsFiles};
use crate::statement::{RegisteredCertificate, TrustAnchors, Units, Verifiers};

/// All that a start needs.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) hsm: HsmConfig,
    pub(super) policy: Policy,
    pub(super) access: Access,
    pub(super) signers: HashMap<String, Arc<SignerCertificate>>,
    pub(super) verifiers: Verifiers,
    pub(super) units: Units,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) tls_not_after: i64,
}

impl Loaded {
    /// What a person wants to read after a successful check.
    pub(super) fn summary(&self) -> String {
        let units = self.policy.registry().facilities().len();
        let mut lines = vec![format!(
            "configuration is good: {units} units, listening on {}",
            self.config.signing.listen
        )];
        let mut signers: Vec<_> = self.signers.iter().collect();
        signers.sort_by_key(|(issuer, _)| *issuer);
        for (issuer, signer) in signers {
            let days = signer.not_after().saturating_sub(clock::seconds_since_1970()) / 86_400;
            let alg = signer.alg().name();
            lines.push(format!("issuer {issuer}: {alg}, kid {}, {days} days left", signer.kid()));
        }
        lines.join("\n")
    }
}

/// Reads and checks everything.
pub(super) fn load(file: &Path) -> Result<Loaded, Vec<Fault>> {
    let config = front(file)?;
    let mut faults = Vec::new();
    let hsm = collect(hsm(&config), &mut faults);
    let policy = collect(policy(&config), &mut faults);
    let tls = collect(tls(&config), &mut faults);
    let (Some(hsm), Some(policy), Some((tls, tls_not_after))) = (hsm, policy, tls) else {
        return Err(faults);
    };
    faults.extend(ledger_folder(&config.ledger));
    faults.extend(queue(&config, &hsm));
    let access = collect(access(&config, &policy), &mut faults);
    let signers = collect(signers(&config, &hsm, &policy), &mut faults);
    let verifiers = collect(verifiers(&config, &policy), &mut faults);
    let units = collect(units(&config, &policy), &mut faults);
    match (access, signers, verifiers, units) {
        (Some(access), Some(signers), Some(verifiers), Some(units)) if faults.is_empty() => {
            Ok(Loaded {
                config,
                hsm,
                policy,
                access,
                signers,
                verifiers,
                units,
                tls,
                tls_not_after,
            })
        }
        _ => Err(faults),
    }
}

/// Reads `hsm.toml` by way of `signerd.toml`, for commands that a person gives.
///
/// Only the service has its credentials, so that whatever stands for them here is not opened.
pub(super) fn hsm_alone(file: &Path) -> Result<HsmConfig, Vec<Fault>> {
    hsm(&Config::parse(&text(file)?, file, Some(Path::new("/run/credentials/signerd.service")))?)
}

/// Reads `signerd.toml`.
fn front(file: &Path) -> Result<Config, Vec<Fault>> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Config::parse(&text(file)?, file, credentials.as_deref())
}

/// Reads `hsm.toml`.
fn hsm(config: &Config) -> Result<HsmConfig, Vec<Fault>> {
    let folder = config.hsm.parent().unwrap_or(Path::new("."));
    HsmConfig::parse(&text(&config.hsm)?, folder).map_err(|faults| {
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

fn policy(config: &Config) -> Result<Policy, Vec<Fault>> {
    Policy::parse(&text(&config.policy)?).map_err(|faults| {
        let in_file = |fault: policy::Fault| Fault {
            file: config.policy.clone(),
            line: fault.line,
            key: fault.key,
            problem: fault.problem,
            remedy: fault.remedy,
        };
        faults.into_iter().map(in_file).collect()
    })
}

fn tls(config: &Config) -> Result<(Arc<ServerConfig>, i64), Vec<Fault>> {
    let files = TlsFiles {
        certificate: config.signing.certificate.clone(),
        key: config.signing.key.clone(),
        client_ca: config.signing.client_ca.clone(),
        client_crl: config.signing.client_crl.clone(),
    };
    let remedy = "put a PEM file of its kind there";
    let fault = |error: TlsError| vec![fault(error.file(), "signing", &error, remedy)];
    Ok((server::signing_config(&files).map_err(fault)?, server::not_after(&files).map_err(fault)?))
}

/// The ledger is opened by `serve` alone; that its folder is there can be told beforehand.
fn ledger_folder(ledger: &Path) -> Option<Fault> {
    let folder = ledger.parent().filter(|folder| !folder.is_dir())?;
    Some(fault(ledger, "", format!("{} is not a folder", folder.display()), "make the folder"))
}

/// A batch that was admitted must not fail halfway because the queue of the pool is full.
fn queue(config: &Config, hsm: &HsmConfig) -> Option<Fault> {
    let needed = config.limits.batches_max.saturating_mul(CHUNKS_AT_THE_HSM);
    (hsm.queue_max() < needed).then(|| {
        let problem = format!("limits.batches_max of signerd.toml needs {needed} places");
        fault(&config.hsm, "pool.queue_max", problem, "raise this one, or lower that one")
    })
}

/// Joins the table of clients with the issuers that the policy gives them.
fn access(config: &Config, policy: &Policy) -> Result<Access, Vec<Fault>> {
    let known: HashSet<&str> = config.clients.iter().map(|(id, _)| id.as_str()).collect();
    let mut faults = Vec::new();
    for rules in policy.issuers() {
        for client in rules.clients().iter().filter(|client| !known.contains(client.as_str())) {
            let problem = format!("client {client:?} is not in signerd.toml");
            let key = format!("issuer.{}.clients", rules.id());
            faults.push(fault(
                &config.policy,
                &key,
                problem,
                "add a [[client]] there, or remove it",
            ));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let row = |(id, identity): &(String, Identity)| {
        let issuers = policy.issuers().filter(|rules| rules.allows_client(id));
        let issuers = issuers.map(|rules| rules.id().to_owned()).collect();
        (identity.clone(), Client { id: id.clone(), issuers })
    };
    Ok(Access::new(config.clients.iter().map(row), config.rate))
}

/// Reads the signer certificate of every issuer's key and holds it against the key's algorithm.
fn signers(
    config: &Config,
    hsm: &HsmConfig,
    policy: &Policy,
) -> Result<HashMap<String, Arc<SignerCertificate>>, Vec<Fault>> {
    let mut signers = HashMap::new();
    let mut faults = Vec::new();
    for rules in policy.issuers() {
        let Some(key) = hsm.key(rules.key()) else {
            let problem = format!("key {:?} is not in hsm.toml", rules.key());
            let member = format!("issuer.{}.key", rules.id());
            faults.push(fault(&config.policy, &member, problem, "name a [key.…] of hsm.toml"));
            continue;
        };
        let member = format!("key.{}.certificate", rules.key());
        match signer(key) {
            Ok(signer) => drop(signers.insert(rules.id().to_owned(), Arc::new(signer))),
            Err(problem) => {
                let problem = format!("{}: {problem}", key.certificate().display());
                let remedy = "put the PEM certificate of this key there";
                faults.push(fault(&config.hsm, &member, problem, remedy));
            }
        }
    }
    if faults.is_empty() { Ok(signers) } else { Err(faults) }
}

fn signer(key: &hsm_config::Key) -> Result<SignerCertificate, String> {
    let pem = fs::read(key.certificate()).map_err(|error| error.to_string())?;
    let signer = SignerCertificate::from_pem(&pem).map_err(|error| error.to_string())?;
    let expected = match key.algorithm() {
        Algorithm::Es256 => Alg::Es256,
        Algorithm::Ps256 => Alg::Ps256,
    };
    if signer.alg() != expected {
        return Err(format!("certificate is for {}, not {}", signer.alg().name(), expected.name()));
    }
    if !signer.allows(EventKind::Vaccination) {
        return Err("extended key usage allows other certificates only, not vaccination".to_owned());
    }
    Ok(signer)
}

fn verifiers(config: &Config, policy: &Policy) -> Result<Verifiers, Vec<Fault>> {
    let certificates =
        pem_files::<CertificateDer<'static>>(config, policy.verifiers(), "verifier")?;
    Verifiers::new(certificates.iter().map(AsRef::as_ref)).map_err(|error| {
        vec![fault(&config.policy, "verifier", error, "register a P-256 or RSA-2048 certificate")]
    })
}

fn units(config: &Config, policy: &Policy) -> Result<Units, Vec<Fault>> {
    let trust = policy.facility_trust();
    let cas = pem_files::<CertificateDer<'static>>(config, &trust.ca, "facility_trust.ca")?;
    let crls = pem_files::<CertificateRevocationListDer<'static>>(
        config,
        &trust.crl,
        "facility_trust.crl",
    )?;
    let registered = policy.registry().facilities().iter().flat_map(|facility| {
        facility.certificates().iter().map(|certificate| RegisteredCertificate {
            unit: facility.id().to_owned(),
            serial: certificate.serial().to_vec(),
            issuer: certificate.issuer().to_owned(),
            sha256: *certificate.sha256(),
            der: certificate.der().to_vec(),
        })
    });
    TrustAnchors::new(cas.iter().map(AsRef::as_ref), crls.iter().map(AsRef::as_ref))
        .and_then(|trust| Units::new(registered, trust))
        .map_err(|error| vec![fault(&config.policy, "facility", error, "register it anew")])
}

/// Reads every PEM item of a kind from files named relative to the policy.
fn pem_files<T: rustls_pki_types::pem::PemObject>(
    config: &Config,
    files: &[String],
    key: &str,
) -> Result<Vec<T>, Vec<Fault>> {
    let folder = config.policy.parent().unwrap_or(Path::new("."));
    let mut items = Vec::new();
    for file in files {
        let path = folder.join(file);
        let read = T::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<T>, _>>);
        match read {
            Ok(found) if found.is_empty() => {
                return Err(vec![fault(
                    &path,
                    key,
                    "has no PEM item of its kind",
                    "put one there",
                )]);
            }
            Ok(found) => items.extend(found),
            Err(error) => return Err(vec![fault(&path, key, error, "put a PEM file there")]),
        }
    }
    Ok(items)
}

fn text(file: &Path) -> Result<String, Vec<Fault>> {
    let remedy = "check the path and the permissions";
    fs::read_to_string(file).map_err(|error| vec![fault(file, "", error, remedy)])
}

fn fault(file: &Path, key: &str, problem: impl Display, remedy: &str) -> Fault {
    let (key, problem, remedy) = (key.to_owned(), problem.to_string(), remedy.to_owned());
    Fault { file: file.to_owned(), line: None, key, problem, remedy }
}

fn collect<T>(result: Result<T, Vec<Fault>>, faults: &mut Vec<Fault>) -> Option<T> {
    result.map_err(|found| faults.extend(found)).ok()
}
