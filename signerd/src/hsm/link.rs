//! One worker as the front sees it: start it, feed it, notice its end, start it again.
//!
//! [`run`] is the whole life of one place in the pool. It waits for its turn at the start gate,
//! gets a worker, waits for its Hello, and then keeps it fed with a second chunk for each session, so that
//! none waits for the round trip, nor for this process where that has to wait for the processor. Chunks of a
//! lost worker go back to the dispatch at once. It promises that a stopped or mute worker is noticed within the
//! deadline of one call, and that after a refused PIN nothing is tried until the latch is gone.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use hsm_config::HsmConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio::time::sleep_until;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::FaultKind;
use super::Health;
use super::HsmError;
use super::TOKEN_SECRET_BYTES;
use super::TokenSecret;
use super::dispatch::Chunk;
use super::ipc;
use super::ipc::Bytes;
use super::ipc::DIGEST_BYTES;
use super::ipc::Hello;
use super::ipc::Inlet;
use super::ipc::ToFront;
use super::ipc::ToWorker;
use super::latch;
use super::pool::Phase;
use super::pool::Shared;
use super::start;
use super::start::Process;

/// How much longer a worker's Hello is waited for than its start may take: its own watchdog is to end a
/// hanging one.
const HELLO_GRACE: Duration = Duration::from_secs(5);
/// Wait before the second restart; it doubles from there.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
/// Longest wait before a restart.
const BACK_OFF_MAX: Duration = Duration::from_secs(3);
/// A worker that signed for so long, and so many times as long as it was waited for, was well: its next fault
/// is a first one again. So no token is logged in to more than now and then, and a rare fault costs no wait.
const WELL_AFTER: Duration = Duration::from_secs(1);
const WELL_TIMES: u32 = 5;
/// How often the latch is looked for.
const LATCH_POLL: Duration = Duration::from_secs(1);

/// Keeps one place of the pool filled until the pool closes.
pub(super) async fn run(slot: usize, shared: Arc<Shared>) {
    let token = shared.config.token_of_worker(slot);
    let Some(config) = shared.config.of_token(token) else { return };
    let place = Place { slot, config };
    let mut closed = shared.phase.subscribe();
    let mut process = Process::default();
    tokio::select! {
        // The pool owns the sender, so an error means that nobody is left to serve.
        _ = closed.wait_for(|phase| *phase == Phase::Closed) => {}
        () = live_for_ever(&place, &shared, &mut process) => {}
    }
    // The connection went with the future above, and that is what tells the worker to end.
    process.farewell().await;
}

/// A place in the pool, and the token that its workers use.
struct Place {
    slot: usize,
    /// As seen from the token.
    config: HsmConfig,
}

impl Place {
    fn token(&self) -> usize {
        self.config.token_number()
    }
}

async fn live_for_ever(place: &Place, shared: &Shared, process: &mut Process) {
    let mut faults = 0_u32;
    loop {
        wait_for_latch(place, shared).await;
        let wait = back_off(faults);
        sleep(wait).await;
        let fault = match start_one(place, shared, process).await {
            Ok(mut live) => {
                let since = Instant::now();
                log::info!(worker = place.slot, token = place.token(), pid = process.id(); "worker live");
                let fault = live.converse(shared).await;
                live.abandon(shared);
                if since.elapsed() >= WELL_AFTER.max(wait.saturating_mul(WELL_TIMES)) {
                    faults = 0;
                }
                match fault.ending {
                    Ending::Own => process.farewell().await,
                    // Whatever it does now, its work is with others already.
                    Ending::Ours => process.kill().await,
                }
                fault
            }
            Err(fault) => {
                process.farewell().await;
                fault
            }
        };
        report(place, shared, &fault);
        faults = faults.saturating_add(1);
        shared.events.worker_restarted();
    }
}

/// A fault of a worker as the front knows it.
#[derive(Debug)]
struct Fault {
    kind: FaultKind,
    detail: String,
    ending: Ending,
}

/// Who ends the worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    /// It has said goodbye and ends by itself, after a log-in that may be under way.
    Own,
    /// It does not, as far as is known.
    Ours,
}

impl Fault {
    fn token(detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Token, detail: detail.into(), ending: Ending::Ours }
    }

    /// The worker's last word.
    fn last_word(kind: FaultKind, detail: String) -> Self {
        Self { kind, detail, ending: Ending::Own }
    }
}

fn report(place: &Place, shared: &Shared, fault: &Fault) {
    let known = shared.health.borrow().fault.as_deref() == Some(fault.detail.as_str());
    // The same fault at every restart is one fact, not many.
    let level = if known { log::Level::Debug } else { log::Level::Warn };
    log::log!(level, worker = place.slot, token = place.token(), kind = fault.kind.name(); "worker lost: {}", fault.detail);
    shared.events.worker_fault(fault.kind);
    shared.health.send_modify(|health| {
        health.fault = Some(fault.detail.clone());
        if fault.kind == FaultKind::Pin {
            health.pin_latched.insert(place.token());
        } else if !latch::is_set(&place.config) {
            health.pin_latched.remove(&place.token());
        }
    });
}

/// Waits while the PIN is known to be wrong. A latch that this user cannot see is asked of a worker,
/// which looks for it before it touches the token.
async fn wait_for_latch(place: &Place, shared: &Shared) {
    let is_known = shared.health.borrow().pin_latched.contains(&place.token());
    if !is_known && !latch::is_set(&place.config) {
        return;
    }
    shared.health.send_modify(|health| {
        health.pin_latched.insert(place.token());
        health.fault.get_or_insert_with(|| "the pin latch is set".to_owned());
    });
    loop {
        sleep(LATCH_POLL).await;
        if !latch::is_set(&place.config) {
            return;
        }
    }
}

/// None at first, then doubling up to the maximum, each spread over its upper half.
fn back_off(faults: u32) -> Duration {
    let Some(doublings) = faults.checked_sub(2) else { return Duration::ZERO };
    let full =
        BACK_OFF_FIRST.saturating_mul(2_u32.saturating_pow(doublings.min(16))).min(BACK_OFF_MAX);
    let mut random = [0_u8; 1];
    // Without randomness the restarts merely fall together.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let [random] = random;
    let half = full / 2;
    half.saturating_add(half.saturating_mul(u32::from(random)) / 255)
}

/// Starts one worker while no other one starts, and waits until it is ready.
async fn start_one(place: &Place, shared: &Shared, process: &mut Process) -> Result<Live, Fault> {
    let config = &place.config;
    let Some(gate) = shared.start_gates.get(place.token()) else {
        return Err(Fault::token("the token has no gate"));
    };
    let _turn = gate.lock().await;
    if latch::is_set(config) {
        let detail = "the pin latch is set".to_owned();
        return Err(Fault { kind: FaultKind::Pin, ..Fault::token(detail) });
    }
    let worker = match config.sockets().get(place.slot) {
        Some(socket) => start::connect(socket)
            .await
            .map_err(|e| Fault::token(format!("{} cannot be reached: {e}", socket.display())))?,
        None => start::spawn(config, &shared.config_path, &shared.program)
            .map_err(|e| Fault::token(format!("no worker can be spawned: {e}")))?,
    };
    *process = worker.process;
    let (reader, writer) = worker.connection.into_split();
    let mut inlet = Inlet::new(reader);
    // The deadline is that of the log-in, and again that of each key in each session.
    let proofs = config.keys().len().saturating_mul(config.sessions());
    let steps = u32::try_from(proofs).unwrap_or(u32::MAX).saturating_add(1);
    let start = config.start_deadline().saturating_mul(steps).saturating_add(HELLO_GRACE);
    let hello = timeout(start, first_word(&mut inlet))
        .await
        .map_err(|_| Fault::token("the worker did not become ready in time"))??;
    admit(&hello, place, shared)?;
    let depth = config.sessions().saturating_mul(2);
    // What was doubted before this worker proved its keys is not about it.
    let doubts = shared.doubts.subscribe();
    Ok(Live { inlet, writer, depth, doubts, next_id: 0, in_flight: HashMap::new() })
}

async fn first_word(inlet: &mut Inlet<OwnedReadHalf>) -> Result<Hello, Fault> {
    loop {
        match inlet.next().await {
            Ok(Some(ToFront::Hello(hello))) => return Ok(hello),
            Ok(Some(ToFront::Fatal { kind, detail })) => {
                return Err(Fault::last_word(kind, detail));
            }
            Ok(Some(ToFront::Alive)) => {}
            Ok(Some(_)) => return Err(Fault::token("the worker spoke before its hello")),
            Ok(None) => return Err(Fault::token("the worker ended while it started")),
            Err(e) => return Err(Fault::token(format!("the worker cannot be understood: {e}"))),
        }
    }
}

/// Checks that the worker is of our version, our keys and our token, and counts it in.
fn admit(hello: &Hello, place: &Place, shared: &Shared) -> Result<(), Fault> {
    let config = |detail: String| Fault { kind: FaultKind::Config, ..Fault::token(detail) };
    if hello.version != ipc::VERSION {
        return Err(config(format!(
            "the worker speaks version {}, the front {}; restart both after an upgrade",
            hello.version,
            ipc::VERSION
        )));
    }
    if let Some((missing, _)) =
        shared.config.keys().find(|(n, _)| !hello.keys.iter().any(|k| k == n))
    {
        return Err(config(format!(
            "the worker has no key \"{missing}\"; restart it after a change of hsm.toml"
        )));
    }
    let secret = <[u8; TOKEN_SECRET_BYTES]>::try_from(&hello.secret.0[..]).map(Zeroizing::new);
    let Ok(secret) = secret else {
        return Err(config("the token's secret has a wrong length".to_owned()));
    };
    let differs = shared.secret.borrow().as_ref().is_some_and(|known| known.expose() != &*secret);
    if differs {
        let detail = "the token's secret changed; the worker uses another token or another key";
        return Err(config(detail.to_owned()));
    }
    shared.secret.send_if_modified(|known| {
        let first = known.is_none();
        known.get_or_insert_with(|| TokenSecret::new(*secret));
        first
    });
    shared.health.send_modify(|health| {
        health.pin_latched.remove(&place.token());
    });
    let live = change_live(&shared.health, |live| live.saturating_add(1));
    shared.events.workers_live(live);
    Ok(())
}

fn change_live(health: &watch::Sender<Health>, change: fn(usize) -> usize) -> usize {
    let mut now = 0;
    health.send_modify(|health| {
        health.live = change(health.live);
        now = health.live;
        if health.live == health.configured {
            health.fault = None;
        }
    });
    now
}

/// A worker that signs.
struct Live {
    inlet: Inlet<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    depth: usize,
    doubts: watch::Receiver<u64>,
    next_id: u64,
    in_flight: HashMap<u64, (Chunk, Instant)>,
}

impl Live {
    /// Feeds the worker until it is lost; says why.
    async fn converse(&mut self, shared: &Shared) -> Fault {
        let silence = shared.config.call_deadline();
        let mut heard = tokio::time::Instant::now();
        loop {
            let work = shared.work.notified();
            tokio::pin!(work);
            // Registered before the dispatch is asked, else work that comes in between is missed.
            work.as_mut().enable();
            if let Err(e) = self.feed(shared).await {
                return Fault::token(format!("the worker takes nothing more: {e}"));
            }
            let has_room = self.in_flight.len() < self.depth;
            tokio::select! {
                // After a pause of this whole process, what was said in time counts first.
                biased;
                word = self.inlet.next() => {
                    heard = tokio::time::Instant::now();
                    if let Err(fault) = self.hear(word, shared) {
                        return fault;
                    }
                }
                // Passed on with the next feed.
                Ok(()) = self.doubts.changed() => self.doubts.mark_changed(),
                () = &mut work, if has_room => {}
                () = sleep_until(heard + silence) => {
                    return Fault::token(format!("the worker was mute for {silence:?}"));
                }
            }
            if self.overdue(shared.config.request_deadline()) {
                return Fault::token("the worker lost a request");
            }
        }
    }

    /// Passes doubts on, then sends chunks until the worker has as many as it should.
    async fn feed(&mut self, shared: &Shared) -> io::Result<()> {
        // A doubt goes before the work that may have come with it.
        if self.doubts.has_changed().unwrap_or(false) {
            self.doubts.mark_unchanged();
            self.say(&ToWorker::Prove, shared).await?;
        }
        while self.in_flight.len() < self.depth {
            let now = Instant::now();
            let Some(chunk) = shared.dispatch().pull(now) else { return Ok(()) };
            if let Some(waited) = chunk.waited() {
                shared.events.queue_waited(waited);
            }
            let id = self.next_id;
            self.next_id = id.wrapping_add(1);
            let digests = Bytes::new(chunk.digests().as_flattened().to_vec());
            let message = ToWorker::Sign { id, key: chunk.key().to_owned(), digests };
            // It is in flight before the first byte is, so that an error gives it back.
            self.in_flight.insert(id, (chunk, now));
            self.say(&message, shared).await?;
        }
        Ok(())
    }

    async fn say(&mut self, message: &ToWorker, shared: &Shared) -> io::Result<()> {
        let frame = ipc::frame(message)?;
        timeout(shared.config.call_deadline(), self.writer.write_all(&frame)).await??;
        Ok(())
    }

    fn hear(&mut self, word: io::Result<Option<ToFront>>, shared: &Shared) -> Result<(), Fault> {
        match word {
            Ok(Some(ToFront::Signed { id, signatures, took_us })) => {
                self.signed(id, &signatures, Duration::from_micros(took_us), shared)
            }
            Ok(Some(ToFront::Failed { id, kind, detail })) => {
                self.failed(id, kind, detail, shared);
                Ok(())
            }
            Ok(Some(ToFront::Alive)) => Ok(()),
            Ok(Some(ToFront::Fatal { kind, detail })) => Err(Fault::last_word(kind, detail)),
            Ok(Some(ToFront::Hello(_))) => Err(Fault::token("the worker said hello twice")),
            Ok(None) => Err(Fault::token("the worker ended")),
            Err(e) => Err(Fault::token(format!("the worker cannot be understood: {e}"))),
        }
    }

    fn signed(
        &mut self,
        id: u64,
        signatures: &Bytes,
        took: Duration,
        shared: &Shared,
    ) -> Result<(), Fault> {
        let Some((chunk, sent)) = self.in_flight.remove(&id) else {
            return Err(Fault::token("the worker answered what was not asked"));
        };
        let count = chunk.digests().len();
        let each = signatures.0.len().checked_div(count).unwrap_or(0);
        if each < DIGEST_BYTES || each.checked_mul(count) != Some(signatures.0.len()) {
            self.in_flight.insert(id, (chunk, sent));
            return Err(Fault::token("the worker answered with a wrong number of signatures"));
        }
        shared.events.signed(chunk.key(), count, took);
        let signatures = signatures.0.chunks_exact(each).map(<[u8]>::to_vec).collect();
        shared.dispatch().complete(&chunk, signatures, took);
        Ok(())
    }

    fn failed(&mut self, id: u64, kind: FaultKind, detail: String, shared: &Shared) {
        let Some((chunk, _)) = self.in_flight.remove(&id) else { return };
        let error = match kind {
            FaultKind::Key => HsmError::KeyUnknown { key: chunk.key().to_owned() },
            FaultKind::Config | FaultKind::Pin | FaultKind::Token => {
                HsmError::Unavailable { fault: detail }
            }
        };
        shared.dispatch().refuse(&chunk, error);
    }

    fn overdue(&self, deadline: Duration) -> bool {
        self.in_flight.values().any(|(_, sent)| sent.elapsed() > deadline)
    }

    /// Gives back what was not signed and counts the worker out.
    fn abandon(mut self, shared: &Shared) {
        let live = change_live(&shared.health, |live| live.saturating_sub(1));
        shared.events.workers_live(live);
        {
            let mut dispatch = shared.dispatch();
            for (_, (chunk, _)) in self.in_flight.drain() {
                dispatch.give_back(&chunk);
            }
        }
        shared.work.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_the_wait_is_bounded() {
        // The first restart does not wait, the following ones wait longer and longer, at most 3 s.
        assert_eq!(back_off(0), Duration::ZERO);
        assert_eq!(back_off(1), Duration::ZERO);
        assert!((Duration::from_millis(50)..=Duration::from_millis(100)).contains(&back_off(2)));
        for faults in 3..200 {
            assert!(back_off(faults) <= BACK_OFF_MAX);
            assert!(back_off(faults) >= BACK_OFF_FIRST);
        }
    }
}
