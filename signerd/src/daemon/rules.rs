//! The reading of the rules: `policy.toml` and every file that it names, joined with the clients of
//! `signerd.toml` and the keys of `hsm.toml`.
//!
//! In: the checked front and HSM configuration. Out: [`Rules`], or every fault with its file, member and
//! remedy. The start, a reload and `signerd check` share it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use hsm_config::{Algorithm, HsmConfig};
use policy::{IssuerRules, Place, Policy, Registry};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::files::Files;
use super::load::{collect, fault};
use crate::access::{Access, Client, Identity};
use crate::config::{Config, Fault};
use crate::ends::{self, End};
use crate::hcert::{Alg, EventKind, SignerCertificate};
use crate::issue::Rules;
use crate::revocation;
use crate::statement::{TrustAnchors, UnitError, Units, Verifiers};
use crate::tlog::note::AuditKey;

/// How many certificates of the registry are told at once? More than a person mends between two looks.
const UNIT_FAULTS_MAX: usize = 100;

/// Reads and checks the rules.
pub(super) fn read(config: &Config, hsm: &HsmConfig, files: &Files) -> Result<Rules, Vec<Fault>> {
    let policy = policy(config, files)?;
    let mut faults = unknown_units(config, &policy);
    let mut ends = Vec::new();
    let access = collect(access(config, &policy), &mut faults);
    let signers = collect(signers(config, (hsm, files), &policy), &mut faults);
    let verifiers = collect(verifiers(config, files, &policy, &mut ends), &mut faults);
    let units = collect(units(config, files, &policy, &mut ends), &mut faults);
    match (access, signers, verifiers, units) {
        (Some(access), Some(signers), Some(verifiers), Some(units)) if faults.is_empty() => {
            Ok(Rules { policy, verifiers, units, signers, access, ends })
        }
        _ => Err(faults),
    }
}

/// Reads `policy.toml` and the files that it is made of.
pub(super) fn policy(config: &Config, files: &Files) -> Result<Policy, Vec<Fault>> {
    let text = files.text(&config.policy)?;
    let folder = config.policy.parent().unwrap_or(Path::new("."));
    let named = |name: &str| files.read_text(&folder.join(name)).map_err(|e| e.to_string());
    Policy::parse_with(&text, &named).map_err(|faults| {
        let in_file = |fault: policy::Fault| Fault {
            file: fault.file.map_or_else(|| config.policy.clone(), |name| folder.join(name)),
            line: fault.line,
            key: fault.key,
            problem: fault.problem,
            remedy: fault.remedy,
        };
        faults.into_iter().map(in_file).collect()
    })
}

/// Names of units and areas in an issuer's rules that the registry does not have: slips of the pen, for
/// which every record would be refused.
fn unknown_units(config: &Config, policy: &Policy) -> Vec<Fault> {
    let registry: &Registry = policy.registry();
    let areas: HashSet<&str> =
        registry.facilities().iter().flat_map(|unit| unit.areas()).map(String::as_str).collect();
    let mut faults = Vec::new();
    for rules in policy.issuers() {
        let key = |name: &str| format!("issuer.{}.{name}", rules.id());
        for unit in rules.facilities().filter(|unit| registry.facility(unit).is_none()) {
            let problem = format!("unit {unit:?} is not in the registry");
            let remedy = "register it, or correct its id";
            faults.push(fault(&config.policy, &key("facilities"), problem, remedy));
        }
        for area in rules.areas().filter(|area| !areas.contains(area)) {
            let problem = format!("no registered unit is in area {area:?}");
            let remedy = "give its units that area, or correct the code";
            faults.push(fault(&config.policy, &key("areas"), problem, remedy));
        }
    }
    faults
}

/// Joins the table of clients with the issuers that the policy gives them.
fn access(config: &Config, policy: &Policy) -> Result<Access, Vec<Fault>> {
    let known: HashSet<&str> = config.clients.iter().map(|(id, _)| id.as_str()).collect();
    let mut faults = Vec::new();
    for rules in policy.issuers() {
        for client in rules.clients().iter().filter(|client| !known.contains(client.as_str())) {
            let problem = format!("client {client:?} is not in signerd.toml");
            let key = format!("issuer.{}.clients", rules.id());
            let remedy = "add a [[client]] there, or remove it";
            faults.push(fault(&config.policy, &key, problem, remedy));
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
    (hsm, files): (&HsmConfig, &Files),
    policy: &Policy,
) -> Result<HashMap<String, Arc<SignerCertificate>>, Vec<Fault>> {
    let mut signers = HashMap::new();
    let mut faults = Vec::new();
    for rules in policy.issuers() {
        if rules.key() == config.log.key {
            let problem = format!("key {:?} signs the log, and nothing else", rules.key());
            let member = format!("issuer.{}.key", rules.id());
            faults.push(fault(&config.policy, &member, problem, "name a key of the issuer's own"));
            continue;
        }
        let Some(key) = hsm.key(rules.key()) else {
            let problem = format!("key {:?} is not in hsm.toml", rules.key());
            let member = format!("issuer.{}.key", rules.id());
            faults.push(fault(&config.policy, &member, problem, "name a [key.…] of hsm.toml"));
            continue;
        };
        faults.extend(other_algorithm(config, rules, key));
        match signer(key, files) {
            Ok(signer) => drop(signers.insert(rules.id().to_owned(), Arc::new(signer))),
            Err(problem) => {
                let problem = format!("{}: {problem}", key.certificate().display());
                let member = format!("key.{}.certificate", rules.key());
                let remedy = "put the PEM certificate of this key there";
                faults.push(fault(&config.hsm, &member, problem, remedy));
            }
        }
    }
    if faults.is_empty() { Ok(signers) } else { Err(faults) }
}

/// The policy may say which algorithm an issuer signs with; the key must then be of that one.
fn other_algorithm(config: &Config, rules: &IssuerRules, key: &hsm_config::Key) -> Option<Fault> {
    let wanted = match rules.algorithm()? {
        policy::Algorithm::Es256 => Algorithm::Es256,
        policy::Algorithm::Ps256 => Algorithm::Ps256,
    };
    (wanted != key.algorithm()).then(|| {
        let problem = format!("key {:?} of hsm.toml is of another algorithm", rules.key());
        let member = format!("issuer.{}.algorithm", rules.id());
        fault(&config.policy, &member, problem, "name another key, or correct the algorithm")
    })
}

/// The public key of each key in `hsm.toml` whose certificate can be read, by name.
pub(super) fn public_keys(hsm: &HsmConfig) -> HashMap<String, Vec<u8>> {
    let files = Files::default();
    let keys = hsm.keys().filter_map(|(name, key)| Some((name, signer(key, &files).ok()?)));
    keys.map(|(name, signer)| (name.to_owned(), signer.public_key().to_vec())).collect()
}

/// The public part of the key that signs the log.
pub(super) fn audit_key(
    config: &Config,
    hsm: &HsmConfig,
    files: &Files,
) -> Result<AuditKey, Vec<Fault>> {
    let name = &config.log.key;
    let Some(key) = hsm.key(name) else {
        let problem = format!("key {name:?} is not in hsm.toml");
        let remedy = "add a [key.…] for the audit key there, or name it";
        return Err(vec![fault(&config.hsm, "log.key", problem, remedy)]);
    };
    audit_certificate(key.certificate(), files).map_err(|problem| {
        let problem = format!("{}: {problem}", key.certificate().display());
        let remedy = "put the PEM certificate of the audit key there; it is one on P-256";
        vec![fault(&config.hsm, &format!("key.{name}.certificate"), problem, remedy)]
    })
}

/// The audit key of a certificate.
pub(super) fn audit_certificate(file: &Path, files: &Files) -> Result<AuditKey, String> {
    let pem = files.read(file).map_err(|error| error.to_string())?;
    let certificate = SignerCertificate::from_pem(&pem).map_err(|error| error.to_string())?;
    AuditKey::of(certificate.der()).map_err(|error| error.to_string())
}

fn signer(key: &hsm_config::Key, files: &Files) -> Result<SignerCertificate, String> {
    let pem = files.read(key.certificate()).map_err(|error| error.to_string())?;
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

fn verifiers(
    config: &Config,
    files: &Files,
    policy: &Policy,
    ends: &mut Vec<End>,
) -> Result<Verifiers, Vec<Fault>> {
    let mut read = Vec::new();
    for verifier in policy.verifiers() {
        let certificates: Vec<CertificateDer<'static>> =
            pem_items(config, files, verifier.certificate(), "verifier.certificate")?;
        let [certificate] = &certificates[..] else {
            let path = config.policy.with_file_name(verifier.certificate());
            let problem = format!("has {} certificates", certificates.len());
            let remedy = "leave the gateway's own there, and give others a [[verifier]] each";
            return Err(vec![fault(&path, "verifier.certificate", problem, remedy)]);
        };
        ends.extend(ends::of_certificates(verifier.certificate(), [certificate.as_ref()]));
        read.push((verifier, certificate.clone()));
    }
    let read = read.iter().map(|(verifier, certificate)| (*verifier, certificate.as_ref()));
    Verifiers::new(read).map_err(|error| {
        vec![fault(&config.policy, "verifier", error, "register a P-256 or RSA-2048 certificate")]
    })
}

fn units(
    config: &Config,
    files: &Files,
    policy: &Policy,
    ends: &mut Vec<End>,
) -> Result<Units, Vec<Fault>> {
    let trust = policy.facility_trust();
    let mut anchors: Vec<CertificateDer<'static>> = Vec::new();
    for file in &trust.ca {
        let found = pem_items(config, files, file, "facility_trust.ca")?;
        ends.extend(ends::of_certificates(file, found.iter().map(AsRef::as_ref)));
        anchors.extend(found);
    }
    let mut crls: Vec<CertificateRevocationListDer<'static>> = Vec::new();
    for file in &trust.crl {
        // Another one every day: no part of the configuration.
        let found = pem_items(config, &Files::default(), file, "facility_trust.crl")?;
        ends.extend(ends::of_revocation_lists(file, found.iter().map(AsRef::as_ref)));
        crls.extend(found);
    }
    let crls = revocation::newest(crls);
    let unlisted = revocation::without_list(anchors.iter().map(AsRef::as_ref), &crls);
    if !unlisted.is_empty() {
        let told = unlisted.iter().map(|subject| {
            let problem = format!("there is no revocation list of authority {subject:?}");
            let remedy = "add its list, or remove the authority: its facilities would be refused";
            fault(&config.policy, "facility_trust.crl", problem, remedy)
        });
        return Err(told.collect());
    }
    let in_policy =
        |key, error: &dyn std::fmt::Display, remedy| fault(&config.policy, key, error, remedy);
    let trust =
        TrustAnchors::new(anchors.iter().map(AsRef::as_ref), crls.iter().map(AsRef::as_ref))
            .map_err(|error| vec![in_policy("facility_trust", &error, "put a good one there")])?;
    Units::new(Arc::clone(policy.registry()), trust).map_err(|errors| unit_faults(config, &errors))
}

/// Certificates of the registry that cannot be used, where they are registered.
fn unit_faults(config: &Config, errors: &[(Place, UnitError)]) -> Vec<Fault> {
    let told = errors.iter().take(UNIT_FAULTS_MAX).map(|(place, error)| {
        let file = place.file.as_ref().map_or_else(
            || config.policy.clone(),
            |name| config.policy.with_file_name(name.as_ref()),
        );
        Fault {
            line: Some(place.line),
            ..fault(&file, "facility", error, "register the certificate anew")
        }
    });
    let mut told: Vec<Fault> = told.collect();
    if let Some(more @ 1..) = errors.len().checked_sub(UNIT_FAULTS_MAX) {
        let problem = format!("{more} more certificates have faults");
        told.push(fault(&config.policy, "facility", problem, "mend these first"));
    }
    told
}

/// Reads every PEM item of a kind from a file named relative to the policy.
fn pem_items<T: rustls_pki_types::pem::PemObject>(
    config: &Config,
    files: &Files,
    file: &str,
    key: &str,
) -> Result<Vec<T>, Vec<Fault>> {
    let path = config.policy.with_file_name(file);
    let unusable = |problem: String| vec![fault(&path, key, problem, "put a PEM file there")];
    let pem = files.read(&path).map_err(|error| unusable(error.to_string()))?;
    let items = T::pem_slice_iter(&pem).collect::<Result<Vec<T>, _>>();
    match items {
        Ok(items) if items.is_empty() => {
            Err(vec![fault(&path, key, "has no PEM item of its kind", "put one there")])
        }
        items => items.map_err(|error| unusable(error.to_string())),
    }
}
