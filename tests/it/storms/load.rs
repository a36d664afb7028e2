//! A few issuing systems that go on whatever happens, and know what is no answer.
//!
//! Each sends one batch after the other and repeats what was refused. An answer is right, with certificates
//! that all verify with another implementation, or a 503 of those that may come; anything else is a fault.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use signerd_tests::batch::certificates;
use signerd_tests::{Answer, Batch, Client, Evidence, Setup, Verifier};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What must never be, in a sentence.
pub(super) type Fault = String;

/// Issuing systems.
const LANES: usize = 3;
/// How soon is a refused batch sent again, and how soon comes another one?
const PAUSE: Duration = Duration::from_millis(10);
/// One of so many batches is signed with RSA, and one of so many is asked for once more.
const EVERY: u64 = 8;

/// The issuing systems at work.
pub(super) struct Load {
    shared: Arc<Shared>,
    lanes: Vec<JoinHandle<Result<(), Fault>>>,
}

/// What all of them know.
struct Shared {
    client: Client,
    evidence: Evidence,
    verifier: Verifier,
    ended: AtomicBool,
    /// When the latest request was sent that was answered well.
    good: watch::Sender<Option<Instant>>,
    broken: AtomicBool,
    identifiers: Mutex<HashSet<String>>,
    counts: Counts,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) answered: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) certificates: AtomicU64,
    pub(super) replays: AtomicU64,
}

impl Load {
    /// Begins.
    pub(super) fn on(setup: &Setup) -> Self {
        let shared = Arc::new(Shared {
            client: Client::new(setup),
            evidence: Evidence::of(setup),
            verifier: Verifier::of(setup),
            ended: AtomicBool::new(false),
            good: watch::Sender::new(None),
            broken: AtomicBool::new(false),
            identifiers: Mutex::default(),
            counts: Counts::default(),
        });
        let lanes = (0..LANES).map(|_| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let outcome = shared.work().await;
                shared.broken.fetch_or(outcome.is_err(), Ordering::Relaxed);
                outcome
            })
        });
        let lanes = lanes.collect();
        Self { shared, lanes }
    }

    /// Waits until a request that was sent since then is answered well; not where the patience is spent, or an
    /// issuing system has seen what it must not.
    pub(super) async fn next_good(&self, since: Instant, patience: Duration) -> bool {
        let mut good = self.shared.good.subscribe();
        let later = good.wait_for(|sent| sent.is_some_and(|sent| sent >= since));
        tokio::time::timeout(patience, later).await.is_ok() && !self.is_broken()
    }

    /// Whether one of them has seen what must not be.
    pub(super) fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// Says what one of them has seen, if it was what must not be.
    pub(super) async fn end_if_broken(&mut self) -> Result<(), Fault> {
        if self.is_broken() { self.end().await } else { Ok(()) }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Lets each finish its batch; an error says what one of them has seen.
    pub(super) async fn end(&mut self) -> Result<(), Fault> {
        self.shared.ended.store(true, Ordering::Relaxed);
        for lane in self.lanes.drain(..) {
            lane.await.map_err(|error| error.to_string())??;
        }
        Ok(())
    }
}

impl Shared {
    async fn work(&self) -> Result<(), Fault> {
        let mut number = 0;
        while !self.ended.load(Ordering::Relaxed) {
            number += 1;
            let issuer = if number % EVERY == 0 { "vn-moh" } else { "vn-moh-ec" };
            let batch = Batch::about(&self.evidence, issuer, 1 + (number % 3) as usize);
            let (answer, refused) = self.obtain(&batch).await?;
            self.hold(&answer)?;
            if refused || number % EVERY == 1 {
                self.replay(&batch, &answer).await?;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Sends a batch until it is answered; says also whether it was refused before.
    async fn obtain(&self, batch: &Batch) -> Result<(Answer, bool), Fault> {
        let mut refused = false;
        loop {
            let sent = Instant::now();
            let answer = self.client.sign(batch.body.clone()).await;
            let answer = answer.map_err(|error| format!("no answer: {error}"))?;
            if answer.status == 200 {
                self.counts.answered.fetch_add(1, Ordering::Relaxed);
                self.good.send_modify(|latest| *latest = (*latest).max(Some(sent)));
                return Ok((answer, refused));
            }
            may_be(&answer)?;
            refused = true;
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Every certificate verifies, and none was there before.
    fn hold(&self, answer: &Answer) -> Result<(), Fault> {
        let count = self.verifier.hold(answer)?;
        self.counts.certificates.fetch_add(count as u64, Ordering::Relaxed);
        let (_, named) = certificates(answer);
        if named.is_empty() || answer.statuses().iter().any(|status| status != "issued") {
            return Err(format!("not all was issued: {:?}", answer.cbor()));
        }
        let mut identifiers = self.identifiers.lock().expect("the identifiers");
        for (identifier, _) in named {
            if !identifiers.insert(identifier.clone()) {
                return Err(format!("{identifier} is there twice"));
            }
        }
        Ok(())
    }

    /// A batch has one answer, however often it was asked for.
    async fn replay(&self, batch: &Batch, before: &Answer) -> Result<(), Fault> {
        let (answer, _) = self.obtain(batch).await?;
        self.counts.replays.fetch_add(1, Ordering::Relaxed);
        if answer.body == before.body {
            return Ok(());
        }
        Err("a batch has two answers".to_owned())
    }
}

/// Refusals that an HSM's trouble explains; all say when to come again.
fn may_be(answer: &Answer) -> Result<(), Fault> {
    let explained = answer.status == 503
        && ["hsm.unavailable", "overloaded"].contains(&answer.code().as_str())
        && answer.headers.get("retry-after").is_some_and(|after| after.parse::<u64>().is_ok());
    if explained { Ok(()) } else { Err(format!("answered {}: {:?}", answer.status, answer.cbor())) }
}
