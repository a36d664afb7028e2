//! The running daemon: workers, ledger, listeners, housekeeping, and the drain at the end.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OnceCell, watch};
use tokio::time::timeout;

use super::load::Loaded;
use super::reload::{self, Started};
use super::rules;
use crate::api::{self, Observation, Readiness};
use crate::audit::{Diary, DiaryPages, Sealer, SealerError, Seals};
use crate::cli::Serve;
use crate::clock::{self, Clock};
use crate::config::Limits;
use crate::failpoint::{self, Place};
use crate::hsm::{FaultKind, HsmError, HsmEvents, Pool};
use crate::issue::{Issuing, window};
use crate::ledger::{Ledger, LedgerError, Settings};
use crate::logging;
use crate::metrics::{Metrics, MetricsError};
use crate::server::{self, Bounds, LiveTls, MutualListener};
use crate::systemd::{self, Sockets};
use crate::tlog::fact::Fact;

/// What ends the daemon with a failure. To blame: the operator, unless it says otherwise.
///
/// Each prints its own level; the causes are its sources.
#[derive(Debug, Error)]
pub(super) enum RunError {
    /// A socket cannot be opened; is another daemon running?
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The ledger cannot be opened.
    #[error("ledger")]
    Ledger(#[from] LedgerError),
    /// The log is not the one that was signed before, or cannot be read.
    #[error("log")]
    Log(#[from] SealerError),
    /// Two metrics of one name: a bug.
    #[error("metrics")]
    Metrics(#[from] MetricsError),
    /// The workers cannot be managed.
    #[error("workers")]
    Pool(#[from] HsmError),
    /// Our own program cannot be found, so no worker can be started.
    #[error("own program not found")]
    Program(#[source] io::Error),
    /// The runtime cannot be started.
    #[error("runtime")]
    Runtime(#[source] io::Error),
    /// Signals cannot be received.
    #[error("signals")]
    Signals(#[source] io::Error),
}

/// How often are old answers dropped, abandoned intents freed and readiness looked at?
const HOUSEKEEPING: Duration = Duration::from_secs(600);
const READINESS: Duration = Duration::from_secs(5);
/// How long may the ledger take to close? It only has to finish what it writes.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
/// An intent that nobody repeated for a day belongs to a client that never will; its doses are freed.
const ABANDONED_SECONDS: i64 = 86_400;

/// Runs until SIGTERM or SIGINT, then drains.
pub(super) async fn run(loaded: Loaded, sockets: Sockets, args: &Serve) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::new()?);
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let limits = loaded.config.limits;
    let (signing_socket, signing) = listen(sockets.signing, loaded.config.signing.listen).await?;
    let officer = match &loaded.config.officer {
        Some(officer) => Some(listen(sockets.officer, officer.listen).await?),
        None => None,
    };
    let (observability_socket, observability) =
        listen(sockets.observability, loaded.config.observability).await?;
    let Assembled { app, started, sealer, pages, config } =
        assemble(loaded, &args.file.config, Arc::clone(&metrics))?;
    sealer.check().await?;
    hold_clock(&app, args.trust_clock).await?;
    failpoint::pass(Place::LogChecked);
    tell_start(&app, config).await?;
    tokio::spawn(pages.write(app.ledger.clone()));
    let sealing = Arc::clone(&sealer);
    tokio::spawn(async move { sealing.run().await });

    let (stop, stopped) = watch::channel(false);
    let routes = Arc::new(api::Signing::new(Arc::clone(&app), request_limits(limits)));
    let listener = MutualListener {
        socket: signing_socket,
        tls: Arc::clone(&started.tls),
        routes: Arc::clone(&routes),
        bounds: bounds(limits),
        metrics,
        refusals: Arc::clone(&app.refusals),
    };
    let signing_task = tokio::spawn(server::serve(listener, stopped.clone()));
    let officer_task = officer.zip(started.officer_tls.clone()).map(|(bound, tls)| {
        let listener = officer_listener(&app, limits, bound, tls);
        tokio::spawn(server::serve(listener, stopped.clone()))
    });
    let observation = Arc::new(Observation::new(Arc::clone(&app)));
    let observing = tokio::spawn(server::observe(observability_socket, observation, stopped));
    tokio::spawn(systemd::feed_watchdog());
    tokio::spawn(keep_house(Arc::clone(&app)));
    tokio::spawn(tell_refusals(Arc::clone(&app)));
    tokio::spawn(stay_alive(Arc::clone(&app)));
    tokio::spawn(watch_readiness(Arc::clone(&app)));

    systemd::ready(&format!("listening on {signing}"));
    let version = env!("CARGO_PKG_VERSION");
    log::info!(version; "serving on {signing}, observed on {observability}");
    let mut reloading = tokio::spawn(async {});
    let name = loop {
        match signals.next().await {
            Wanted::Stop(name) => break name,
            // A reload that hangs on a disk must not keep the daemon from ending.
            Wanted::Reload if reloading.is_finished() => {
                reloading = tokio::spawn(reload::reload(Arc::clone(&app), Arc::clone(&started)));
            }
            Wanted::Reload => log::warn!("a reload is at work already"),
        }
    };
    log::info!(signal = name; "draining");
    systemd::stopping();
    let _ = stop.send(true);
    // A listener that panicked has nothing left to drain.
    let _ = signing_task.await;
    if let Some(task) = officer_task {
        let _ = task.await;
    }
    let _ = observing.await;
    // A batch whose client is gone is finished all the same.
    let _ = timeout(Duration::from_secs(limits.drain_seconds), routes.idle()).await;
    close(&app, &sealer).await;
    log::info!("ended");
    Ok(())
}

/// Holds the clock against the log of earlier runs, from now on.
async fn hold_clock(app: &Issuing, trust_clock: bool) -> Result<(), LedgerError> {
    match app.ledger.latest_time().await? {
        Some(latest) if trust_clock => {
            log::warn!("the clock is trusted, whatever the log says");
            let behind = latest.saturating_sub(clock::seconds_since_1970());
            let seconds = u64::try_from(behind).unwrap_or(0);
            app.diary.tell(Fact::ClockTrusted { seconds });
        }
        Some(latest) => app.clock.no_earlier_than(latest),
        None => {}
    }
    Ok(())
}

/// Logs the start, and says which batches an earlier end cut off.
async fn tell_start(app: &Issuing, config: [u8; 32]) -> Result<(), LedgerError> {
    let open = app.ledger.open_intents().await?;
    if open > 0 {
        log::warn!(open; "batches were cut off at the last end: each is finished when it is repeated");
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let appliance = Some(app.appliance.clone());
    app.diary.tell(Fact::DaemonStarted { version, config, open, appliance });
    Ok(())
}

/// Logs the end, and ends the workers and the ledger.
async fn close(app: &Issuing, sealer: &Sealer) {
    failpoint::pass(Place::StopDrained);
    if timeout(CLOSE_WAIT, tell_stop(app, sealer)).await.is_err() {
        log::warn!("the end is not in the log: the ledger or the token does not answer");
    }
    failpoint::pass(Place::StopTold);
    app.pool.stop().await;
    // A disk that hangs must not keep the process from ending.
    if timeout(CLOSE_WAIT, app.ledger.close()).await.is_err() {
        log::error!("ledger was not closed in time");
    }
    failpoint::pass(Place::StopClosed);
}

/// Logs the end, and signs the log with it.
async fn tell_stop(app: &Issuing, sealer: &Sealer) {
    app.refusals.tell(&app.diary);
    app.diary.written().await;
    let now = clock::seconds_since_1970();
    let stopped = Fact::DaemonStopped { appliance: Some(app.appliance.clone()) };
    if let Err(error) = app.ledger.record(now, vec![stopped]).await {
        log::warn!("the end is not in the log: {error}");
    }
    if let Err(error) = sealer.seal().await {
        log::warn!("the end of the log is not signed: {}", logging::chain(&error));
    }
}

/// All parts, before they run.
struct Assembled {
    app: Arc<Issuing>,
    started: Arc<Started>,
    sealer: Arc<Sealer>,
    pages: DiaryPages,
    /// SHA-256 of the configuration.
    config: [u8; 32],
}

/// Opens the ledger, starts the workers, and puts everything together.
fn assemble(loaded: Loaded, file: &Path, metrics: Arc<Metrics>) -> Result<Assembled, RunError> {
    name_series(&metrics, &loaded);
    let Loaded { config, hsm, rules, audit, digest, tls, officer_tls, .. } = loaded;
    metrics.loaded_at.set(clock::seconds_since_1970());
    for kind in FaultKind::ALL {
        metrics.worker_faults.with_label_values(&[kind.name()]);
    }
    let engine = config.ledger.clone();
    let ledger = Ledger::open(Settings { engine, retention: config.retention })?;
    failpoint::pass(Place::LedgerOpened);
    let program = std::env::current_exe().map_err(RunError::Program)?;
    let (diary, pages) = Diary::new();
    let events = Arc::new(Counted {
        metrics: Arc::clone(&metrics),
        diary: diary.clone(),
        audit_key: config.log.key.clone(),
    });
    let pool = Pool::start(Arc::new(hsm.clone()), config.hsm.clone(), program, events)?;
    let app = Issuing {
        rules: ArcSwap::from_pointee(rules),
        ledger,
        pool,
        appliance: config.log.appliance.clone().unwrap_or_else(host_name),
        clock: Clock::new(config.synchronised_marker.clone()),
        metrics,
        diary,
        refusals: Arc::default(),
        seals: Arc::new(Seals::new(Instant::now())),
        ledger_keys: OnceCell::new(),
    };
    let sealer = Sealer {
        ledger: app.ledger.clone(),
        pool: app.pool.clone(),
        metrics: Arc::clone(&app.metrics),
        key: config.log.key.clone(),
        audit,
        origin: config.log.origin.clone(),
        file: config.log.checkpoint.clone(),
        sealed: Mutex::new(None),
        seals: Arc::clone(&app.seals),
    };
    let started = Started {
        file: file.to_owned(),
        keys: rules::public_keys(&hsm),
        config,
        hsm,
        tls: Arc::new(LiveTls::new(tls)),
        officer_tls: officer_tls.map(|tls| Arc::new(LiveTls::new(tls))),
    };
    let (app, started, sealer) = (Arc::new(app), Arc::new(started), Arc::new(sealer));
    Ok(Assembled { app, started, sealer, pages, config: digest })
}

/// The machine's name.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Makes the series that the rules name exist, and says when certificates and lists end.
pub(super) fn name_series(metrics: &Metrics, loaded: &Loaded) {
    let rules = &loaded.rules;
    metrics.tls_not_after.set(loaded.tls_not_after);
    // What the files no longer name must not raise an alarm for ever.
    metrics.key_not_after.reset();
    metrics.file_not_after.reset();
    metrics.name_clients(loaded.config.clients.iter().map(|(client, _)| client.as_str()));
    for (issuer, signer) in &rules.signers {
        metrics.key_not_after.with_label_values(&[issuer]).set(signer.not_after());
    }
    for end in &rules.ends {
        metrics.file_not_after.with_label_values(&[&end.file]).set(end.at);
    }
    metrics.name_issuers(
        rules.signers.iter().map(|(issuer, signer)| (issuer.as_str(), signer.alg().name())),
    );
}

/// The passed socket, else one of our own; with the address that it really has.
async fn listen(
    passed: Option<std::net::TcpListener>,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), RunError> {
    let socket = match passed {
        // Whoever passes a socket need not know that we never block on it.
        Some(socket) => socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)),
        None => TcpListener::bind(address).await,
    };
    socket
        .and_then(|socket| socket.local_addr().map(|bound| (socket, bound)))
        .map_err(|source| RunError::Listen { address, source })
}

/// The officers' listener. A handful of people have plenty in a handful of connections, and may not
/// take memory from the issuing system.
fn officer_listener(
    app: &Arc<Issuing>,
    limits: Limits,
    (socket, address): (TcpListener, SocketAddr),
    tls: Arc<LiveTls>,
) -> MutualListener<api::Officers> {
    log::info!("officers on {address}");
    let body_wait = Duration::from_secs(limits.body_seconds);
    MutualListener {
        socket,
        tls,
        routes: Arc::new(api::Officers::new(Arc::clone(app), body_wait)),
        bounds: Bounds { connections_max: OFFICER_CONNECTIONS_MAX, ..bounds(limits) },
        metrics: Arc::clone(&app.metrics),
        refusals: Arc::clone(&app.refusals),
    }
}

/// Most connections of officers at once.
const OFFICER_CONNECTIONS_MAX: usize = 16;

fn request_limits(limits: Limits) -> api::Limits {
    api::Limits {
        body_bytes_max: limits.body_bytes_max,
        body_wait: Duration::from_secs(limits.body_seconds),
        batches_max: limits.batches_max,
    }
}

fn bounds(limits: Limits) -> Bounds {
    Bounds {
        connections_max: limits.connections_max,
        handshake: Duration::from_secs(limits.handshake_seconds),
        head: Duration::from_secs(limits.header_seconds),
        write: Duration::from_secs(limits.write_seconds),
        drain: Duration::from_secs(limits.drain_seconds),
    }
}

/// What a signal asks for.
enum Wanted {
    /// To drain and end.
    Stop(&'static str),
    /// To read the rules again.
    Reload,
}

/// The signals that the daemon heeds, caught from before it is ready.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let (interrupt, hangup) = (signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
        Ok(Self { terminate, interrupt, hangup })
    }

    async fn next(&mut self) -> Wanted {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Wanted::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Wanted::Stop("SIGINT"),
            _ = self.hangup.recv() => Wanted::Reload,
        }
    }
}

/// Keeps the others of a fleet from taking over what is at work here.
async fn stay_alive(app: Arc<Issuing>) {
    app.ledger.stay_alive().await;
}

/// Logs who was turned away, every minute.
async fn tell_refusals(app: Arc<Issuing>) {
    app.refusals.keep_telling(&app.diary).await;
}

async fn keep_house(app: Arc<Issuing>) {
    let mut pulse = tokio::time::interval(HOUSEKEEPING);
    loop {
        pulse.tick().await;
        let Ok(now) = app.clock.now() else { continue };
        match app.ledger.purge(now).await {
            Ok(0) => {}
            Ok(answers) => log::info!(answers; "expired answers dropped"),
            Err(error) => log::warn!("expired answers not dropped: {error}"),
        }
        match app.ledger.release_idle(now.saturating_sub(ABANDONED_SECONDS), now).await {
            Ok(0) => {}
            Ok(intents) => log::warn!(intents; "abandoned intents freed"),
            Err(error) => log::warn!("abandoned intents not freed: {error}"),
        }
    }
}

/// Tells the journal and systemd when readiness changes, once per change, and Prometheus how the
/// signing windows stand.
async fn watch_readiness(app: Arc<Issuing>) {
    let mut pulse = tokio::time::interval(READINESS);
    let mut before = None;
    loop {
        pulse.tick().await;
        if let Err(error) = window::observe(&app, clock::seconds_since_1970()).await {
            log::debug!("windows not observed: {error}");
        }
        let readiness = Readiness::of(&app).await;
        if before.as_ref() == Some(&readiness) {
            continue;
        }
        let line = readiness.obstacles.join("; ");
        if readiness.obstacles.is_empty() {
            log::info!("ready to sign");
            systemd::status("ready to sign");
        } else {
            log::warn!("not ready: {line}");
            systemd::status(&format!("not ready: {line}"));
        }
        before = Some(readiness);
    }
}

/// Counts what the pool tells, and logs what was lost.
struct Counted {
    metrics: Arc<Metrics>,
    diary: Diary,
    /// The key of the checkpoints, whose signatures are no chunks of a batch.
    audit_key: String,
}

impl HsmEvents for Counted {
    fn workers_live(&self, live: usize) {
        self.metrics.workers_up.set(i64::try_from(live).unwrap_or(i64::MAX));
    }

    fn worker_restarted(&self) {
        self.metrics.worker_restarts.inc();
    }

    fn worker_fault(&self, kind: FaultKind) {
        self.metrics.worker_faults.with_label_values(&[kind.name()]).inc();
        self.diary.tell(Fact::WorkerLost { code: kind.name().to_owned() });
    }

    fn signed(&self, key: &str, _signatures: usize, took: Duration) {
        if key == self.audit_key {
            return;
        }
        self.metrics.sign_duration.observe(took.as_secs_f64());
    }

    fn queue_waited(&self, wait: Duration) {
        self.metrics.queue_wait.observe(wait.as_secs_f64());
    }
}
