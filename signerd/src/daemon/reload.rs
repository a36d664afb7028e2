//! SIGHUP: the rules are read again and replaced as one, or kept as they are.
//!
//! In: the files as they are now. Out: new [`Rules`] in force, for batches that come in from then on,
//! and new TLS files, for connections and for the next request of those that are open; batches in work
//! end by the rules they began with. Any fault keeps the rules that were in force, and is
//! told in the journal as `signerd check` would tell it. What cannot change while the daemon runs
//! (listeners, ledger, limits, the HSM side, the key behind an issuer) is not changed: it is told.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::{io, thread};

use hsm_config::HsmConfig;
use tokio::sync::oneshot;

use super::load::{self, Loaded, fault};
use super::run;
use crate::clock;
use crate::config::{Config, Fault};
use crate::issue::{Issuing, Rules};
use crate::server::LiveTls;
use crate::systemd;
use crate::tlog::fact::Fact;

/// What the daemon was started with.
pub(super) struct Started {
    pub(super) file: PathBuf,
    pub(super) config: Config,
    pub(super) hsm: HsmConfig,
    /// The public key of each key in `hsm.toml`, by name, as the workers were given it.
    pub(super) keys: HashMap<String, Vec<u8>>,
    /// The TLS side of the signing listener.
    pub(super) tls: Arc<LiveTls>,
    /// That of the officers' listener, if there is one.
    pub(super) officer_tls: Option<Arc<LiveTls>>,
}

/// Reads the rules again and puts them in force.
pub(super) async fn reload(app: Arc<Issuing>, started: Arc<Started>) {
    systemd::reloading();
    let outcome = match read_again(&app, &started).await {
        Ok(Ok(loaded)) => {
            run::name_series(&app.metrics, &loaded);
            let config = loaded.digest;
            put_in_force(&app, &started, loaded);
            app.diary.tell(Fact::RulesLoaded { config });
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
        Err(error) => {
            log::error!("not reloaded: {error}");
            "refused"
        }
    };
    app.metrics.reloads.with_label_values(&[outcome]).inc();
    systemd::reloaded();
}

/// Reads the files in a thread of its own: a disk that hangs holds up neither judging nor the network.
async fn read_again(
    app: &Issuing,
    started: &Arc<Started>,
) -> io::Result<Result<Loaded, Vec<Fault>>> {
    let (before, from) = (app.rules.load_full(), Arc::clone(started));
    let (done, read) = oneshot::channel();
    thread::Builder::new().name("reload".to_owned()).spawn(move || {
        // Nobody waits any more where the daemon has ended meanwhile.
        let _ = done.send(fresh(&from, &before));
    })?;
    read.await.map_err(io::Error::other)
}

/// Each is replaced as one; between the two a client may be judged by new rules over an old connection,
/// which its next request mends.
fn put_in_force(app: &Issuing, started: &Started, loaded: Loaded) {
    let Loaded { rules, tls, officer_tls, .. } = loaded;
    app.rules.store(Arc::new(rules));
    started.tls.replace(tls);
    if let Some((live, fresh)) = started.officer_tls.as_ref().zip(officer_tls) {
        live.replace(fresh);
    }
}

/// What the files say now, if the running daemon can take them over.
fn fresh(started: &Started, before: &Rules) -> Result<Loaded, Vec<Fault>> {
    let mut loaded = load::load(&started.file)?;
    let mut faults = Vec::new();
    if loaded.hsm != started.hsm {
        let problem = "is not what the daemon was started with";
        faults.push(fault(&started.config.hsm, "", problem, "restart it, or undo the change"));
    }
    faults.extend(other_keys(started, &loaded.rules));
    if !faults.is_empty() {
        return Err(faults);
    }
    for member in started.config.fixed_members_that_differ(&loaded.config) {
        log::warn!("{member} of {} counts from the next start", started.file.display());
    }
    loaded.rules.access = loaded.rules.access.continuing(&before.access);
    Ok(loaded)
}

/// A renewed certificate is taken over if it is of the key that the workers hold.
fn other_keys(started: &Started, rules: &Rules) -> Vec<Fault> {
    let mut faults = Vec::new();
    for issuer in rules.policy.issuers() {
        let Some(signer) = rules.signers.get(issuer.id()) else { continue };
        if started.keys.get(issuer.key()).is_some_and(|held| held != signer.public_key()) {
            let member = format!("key.{}.certificate", issuer.key());
            let problem = "is of another key than at the start";
            let remedy = "restart the daemon, or undo the change";
            faults.push(fault(&started.config.hsm, &member, problem, remedy));
        }
    }
    faults
}
