//! SIGHUP: the rules are read again and replaced as one, or kept as they are.
//!
//! In: the files as they are now. Out: new [`Rules`] in force, for batches that come in from then on;
//! those in work end by the rules they began with. Any fault keeps the rules that were in force, and is
//! told in the journal as `signerd check` would tell it. What cannot change while the daemon runs
//! (listeners, ledger, limits, the HSM side, the key behind an issuer) is not changed: it is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hsm_config::HsmConfig;

use super::load::{self, fault};
use super::run;
use crate::clock;
use crate::config::{Config, Fault};
use crate::cpu;
use crate::hcert::SignerCertificate;
use crate::issue::{Issuing, Rules};

/// What the daemon was started with.
pub(super) struct Started {
    pub(super) file: PathBuf,
    pub(super) config: Config,
    pub(super) hsm: HsmConfig,
}

/// Reads the rules again and puts them in force.
pub(super) async fn reload(app: &Arc<Issuing>, started: &Arc<Started>) {
    let (before, from) = (app.rules.load_full(), Arc::clone(started));
    let read = cpu::run(move || fresh(&from, &before)).await;
    let outcome = match read {
        Ok(Ok(rules)) => {
            run::name_series(&app.metrics, &rules);
            app.rules.store(Arc::new(rules));
            app.metrics.loaded_at.set(clock::seconds_since_1970());
            log::info!("rules reloaded");
            "ok"
        }
        Ok(Err(faults)) => {
            for fault in &faults {
                log::error!("not reloaded: {fault}");
            }
            log::error!(faults = faults.len(); "the rules in force stay; see: signerd check");
            "refused"
        }
        Err(lost) => {
            log::error!("not reloaded: {lost}");
            "refused"
        }
    };
    app.metrics.reloads.with_label_values(&[outcome]).inc();
}

/// The rules of the files as they are now, if the running daemon can take them over.
fn fresh(started: &Started, before: &Rules) -> Result<Rules, Vec<Fault>> {
    let loaded = load::load(&started.file)?;
    let mut faults = Vec::new();
    if loaded.hsm != started.hsm {
        let problem = "is not what the daemon was started with";
        faults.push(fault(&started.config.hsm, "", problem, "restart it, or undo the change"));
    }
    faults.extend(other_keys(&started.config.hsm, before, &loaded.rules));
    if !faults.is_empty() {
        return Err(faults);
    }
    for member in started.config.fixed_members_that_differ(&loaded.config) {
        log::warn!("{member} of {} counts from the next start", started.file.display());
    }
    let mut rules = loaded.rules;
    rules.access = rules.access.continuing(&before.access);
    Ok(rules)
}

/// A renewed certificate is taken over if it is of the key that the workers hold.
fn other_keys(file: &Path, before: &Rules, rules: &Rules) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, signer) in signers_by_key(rules) {
        let known = signers_by_key(before).find(|(known, _)| *known == name);
        if known.is_some_and(|(_, old)| old.public_key() != signer.public_key()) {
            let member = format!("key.{name}.certificate");
            let problem = "is of another key than before";
            faults.push(fault(file, &member, problem, "restart the daemon, or undo the change"));
        }
    }
    faults
}

/// The signer certificates with the names of their keys in `hsm.toml`.
fn signers_by_key(rules: &Rules) -> impl Iterator<Item = (&str, &SignerCertificate)> {
    let issuers = rules.policy.issuers();
    issuers.filter_map(|issuer| Some((issuer.key(), &**rules.signers.get(issuer.id())?)))
}
