//! The front's side of all workers: requests in, signatures out, whatever happens to a worker.
//!
//! [`Pool::sign`] hands digests to the dispatch and waits for the answer, bounded by the request
//! deadline; one link per worker does the rest. It promises an answer or an error in that time, the
//! order of the digests, and that a worker's death costs time only. It does not verify signatures.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use hsm_config::HsmConfig;
use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio::time::timeout;

use super::Health;
use super::HsmError;
use super::HsmEvents;
use super::TokenSecret;
use super::dispatch::Answer;
use super::dispatch::Dispatch;
use super::ipc::DIGEST_BYTES;
use super::link;
use super::turns::Size;

/// All workers of the front; clones share them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    links: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// What the pool and its links share.
pub(super) struct Shared {
    pub(super) config: Arc<HsmConfig>,
    pub(super) config_path: PathBuf,
    pub(super) program: PathBuf,
    pub(super) events: Arc<dyn HsmEvents>,
    dispatch: Mutex<Dispatch>,
    /// Requests that may wait or be signed; who finds none is told at once.
    places: Semaphore,
    /// Large requests that the workers see.
    window: Semaphore,
    /// Small requests that they see besides: no crowd of large ones keeps them out.
    small_window: Semaphore,
    /// Rung when the dispatch has new work.
    pub(super) work: Notify,
    /// Rung when a request left the dispatch.
    drained: Notify,
    pub(super) health: watch::Sender<Health>,
    pub(super) secret: watch::Sender<Option<TokenSecret>>,
    /// One for each token, held while a worker of it starts: one log-in at a time.
    pub(super) start_gates: Vec<tokio::sync::Mutex<()>>,
    pub(super) phase: watch::Sender<Phase>,
    /// Counts the signatures that did not verify.
    pub(super) doubts: watch::Sender<u64>,
}

/// How far the pool is with its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Requests are taken.
    Open,
    /// Requests are finished, none is taken.
    Draining,
    /// The workers are sent home.
    Closed,
}

impl Shared {
    /// Where a request of so many digests waits until the workers see it.
    fn window(&self, digests: usize) -> &Semaphore {
        match Size::of(digests) {
            Size::Small => &self.small_window,
            Size::Large => &self.window,
        }
    }

    /// The dispatch; a panic elsewhere cannot leave it half-changed, so poison does not matter.
    pub(super) fn dispatch(&self) -> MutexGuard<'_, Dispatch> {
        self.dispatch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Starts the workers in the background, one after the other, and returns at once.
    ///
    /// `program` is this executable; it is started as `hsm-worker` unless the configuration names
    /// sockets of workers that systemd runs.
    ///
    /// # Errors
    /// [`HsmError::NoRuntime`] outside of a tokio runtime.
    pub fn start(
        config: Arc<HsmConfig>,
        config_path: PathBuf,
        program: PathBuf,
        events: Arc<dyn HsmEvents>,
    ) -> Result<Self, HsmError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| HsmError::NoRuntime)?;
        let workers = config.workers();
        let lanes = workers.saturating_mul(config.sessions());
        // Enough to keep every lane busy, and few enough in both windows together that a request that entered is
        // done long before its deadline, however many wait outside.
        let window = lanes.saturating_add(1);
        let shared = Arc::new(Shared {
            dispatch: Mutex::new(Dispatch::new(config.queue_max(), lanes)),
            places: Semaphore::new(config.queue_max()),
            window: Semaphore::new(window),
            small_window: Semaphore::new(window),
            work: Notify::new(),
            drained: Notify::new(),
            health: watch::Sender::new(Health { configured: workers, ..Health::default() }),
            secret: watch::Sender::new(None),
            start_gates: (0..config.tokens()).map(|_| tokio::sync::Mutex::new(())).collect(),
            phase: watch::Sender::new(Phase::Open),
            doubts: watch::Sender::new(0),
            config,
            config_path,
            program,
            events,
        });
        let links =
            (0..workers).map(|slot| runtime.spawn(link::run(slot, Arc::clone(&shared)))).collect();
        Ok(Self { shared, links: Arc::new(Mutex::new(links)) })
    }

    /// Signs SHA-256 digests with a configured key; the signatures are in the order of the digests.
    ///
    /// PS256 signatures have the length of the modulus, ES256 signatures are 64 bytes, r‖s.
    ///
    /// # Errors
    /// Any [`HsmError`]; after one, none of the signatures is given out.
    pub async fn sign(&self, key: &str, digests: Vec<[u8; DIGEST_BYTES]>) -> Answer {
        if *self.shared.phase.borrow() != Phase::Open {
            return Err(HsmError::Closed);
        }
        if self.shared.config.key(key).is_none() {
            return Err(HsmError::KeyUnknown { key: key.to_owned() });
        }
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let since = Instant::now();
        let overloaded = |_| HsmError::Overloaded { queue_max: self.shared.config.queue_max() };
        let _place = self.shared.places.try_acquire().map_err(overloaded)?;
        let _lane = tokio::select! {
            lane = self.shared.window(digests.len()).acquire() => lane.map_err(|_| HsmError::Closed)?,
            error = self.outage() => return Err(error),
        };
        let (id, answer) = self.shared.dispatch().submit(key, digests, since)?;
        // From here on the request leaves the dispatch in every case, also if the caller goes away.
        let _request = Place { shared: &self.shared, id };
        self.shared.work.notify_waiters();
        let deadline = self.shared.config.request_deadline();
        match timeout(deadline, self.answer_or_latch(answer)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.late()),
        }
    }

    /// Ends when no worker was live for a request's whole deadline, or the PIN was refused.
    async fn outage(&self) -> HsmError {
        let mut health = self.shared.health.subscribe();
        loop {
            // The sender lives as long as the pool, so waiting cannot fail.
            let _ = health.wait_for(|health| health.live == 0).await;
            let back = async { health.wait_for(|health| health.live > 0).await.is_ok() };
            tokio::select! {
                _ = back => {}
                () = self.latched() => return HsmError::PinLatched,
                () = sleep(self.shared.config.request_deadline()) => return self.late(),
            }
        }
    }

    /// The token's secret; waits for the first live worker, and is known from then on.
    ///
    /// # Errors
    /// [`HsmError::PinLatched`], or [`HsmError::Unavailable`] where no worker became live in time.
    pub async fn token_secret(&self) -> Result<TokenSecret, HsmError> {
        let mut secret = self.shared.secret.subscribe();
        let known = async {
            tokio::select! {
                known = secret.wait_for(Option::is_some) => match known {
                    Ok(known) => known.clone().ok_or_else(|| self.late()),
                    Err(_) => Err(HsmError::Closed),
                },
                () = self.latched() => Err(HsmError::PinLatched),
            }
        };
        match timeout(self.shared.config.request_deadline(), known).await {
            Ok(secret) => secret,
            Err(_) => Err(self.late()),
        }
    }

    /// Lets every worker prove its keys before it signs on: a signature of one of them did not verify.
    pub fn doubt(&self) {
        self.shared.doubts.send_modify(|doubts| *doubts = doubts.wrapping_add(1));
    }

    /// How the pool is now; never waits.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health.borrow().clone()
    }

    /// Finishes what was taken, within a request's deadline, then sends the workers home.
    pub async fn stop(&self) {
        self.shared.phase.send_if_modified(|phase| advance(phase, Phase::Draining));
        let deadline = self.shared.config.request_deadline();
        // Requests that are still there after their own deadline have nobody waiting for them.
        let _ = timeout(deadline, self.empty()).await;
        self.shared.phase.send_if_modified(|phase| advance(phase, Phase::Closed));
        let links = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *links)
        };
        for link in links {
            // A link that panicked has lost its worker with it.
            let _ = link.await;
        }
        self.shared.health.send_modify(|health| health.live = 0);
        self.shared.events.workers_live(0);
    }

    async fn answer_or_latch(&self, answer: oneshot::Receiver<Answer>) -> Answer {
        tokio::select! {
            answer = answer => answer.unwrap_or(Err(HsmError::Closed)),
            () = self.latched() => Err(HsmError::PinLatched),
        }
    }

    /// Ends when nobody signs because every token refused the PIN.
    async fn latched(&self) {
        let mut health = self.shared.health.subscribe();
        let tokens = self.shared.config.tokens();
        // Only the outcome is kept: the value itself holds a lock that must not live on.
        let all = |health: &Health| health.pin_latched.len() == tokens && health.live == 0;
        let gone = health.wait_for(all).await.is_err();
        if gone {
            // The sender lives as long as the pool; without it nobody will ever latch.
            std::future::pending::<()>().await;
        }
    }

    async fn empty(&self) {
        loop {
            let drained = self.shared.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.shared.dispatch().is_empty() {
                return;
            }
            drained.await;
        }
    }

    /// The error of a request that ran out of time.
    fn late(&self) -> HsmError {
        let health = self.shared.health.borrow();
        if health.live > 0 {
            return HsmError::Deadline {
                deadline_ms: self.shared.config.request_deadline().as_millis(),
            };
        }
        let fault = health.fault.clone().unwrap_or_else(|| "no worker is ready yet".to_owned());
        HsmError::Unavailable { fault }
    }
}

/// A request's place in the dispatch; dropping it clears the place.
struct Place<'p> {
    shared: &'p Shared,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.dispatch().withdraw(self.id);
        self.shared.drained.notify_waiters();
    }
}

fn advance(phase: &mut Phase, to: Phase) -> bool {
    let further = *phase < to;
    if further {
        *phase = to;
    }
    further
}
