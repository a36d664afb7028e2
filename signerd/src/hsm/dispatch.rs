//! Which digests go to which worker next: bounded, fair, and never lost.
//!
//! In go whole requests; out come chunks for workers that have room, and the chunks come back
//! signed, or unsigned from a worker that was lost. Requests take turns chunk by chunk, and small ones
//! have turns of their own, so that a single certificate waits for what the workers have in hand and not for
//! the end of a big batch. Chunks are sized by the measured time of a signature, and become smaller where little
//! waits, so that all workers have some of it and finish it together. It promises that a digest is with one
//! worker at a time and that signatures keep the order of the digests. It knows no socket, no clock and no
//! runtime beyond the channel of the answer.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::oneshot;

use super::HsmError;
use super::ipc::DIGEST_BYTES;
use super::turns::Size;
use super::turns::Turns;

/// Digests of a chunk at most: 64 signatures of RSA-4096 still fit a frame four times over.
const CHUNK_DIGESTS_MAX: usize = 64;
/// Smallest chunk worth a round trip of its own (about 50 µs against 60 µs for one ES256).
const CHUNK_DIGESTS_MIN: usize = 4;
/// How long a chunk should keep a session busy: long against the round trip, short for others, which may
/// wait for one that is being signed and one that the worker has in hand.
const CHUNK_DURATION: Duration = Duration::from_millis(20);
/// How often a chunk is handed out again after losing its worker, before it is suspected to be the
/// cause: one that kills workers must not take all of them down for ever.
const CHUNK_LOSSES_MAX: u32 = 3;
/// Weight of a new measurement against the mean so far is one to this.
const PACE_INERTIA: u32 = 4;

/// The answer of a request.
pub(super) type Answer = Result<Vec<Vec<u8>>, HsmError>;

/// A run of digests of one request, to be signed by one worker.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    request: u64,
    range: Range<usize>,
    losses: u32,
    key: Arc<str>,
    digests: Arc<[[u8; DIGEST_BYTES]]>,
    waited: Option<Duration>,
}

impl Chunk {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn digests(&self) -> &[[u8; DIGEST_BYTES]] {
        self.digests.get(self.range.clone()).unwrap_or_default()
    }

    /// How long the request had waited, if this is its first chunk.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.waited
    }
}

struct Request {
    key: Arc<str>,
    digests: Arc<[[u8; DIGEST_BYTES]]>,
    /// Digests from here on were never handed out.
    fresh_from: usize,
    /// Chunks that came back unsigned.
    returned: VecDeque<(Range<usize>, u32)>,
    signatures: Vec<Vec<u8>>,
    missing: usize,
    since: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Request {
    fn size(&self) -> Size {
        Size::of(self.digests.len())
    }

    /// Digests that were never handed out.
    fn fresh(&self) -> usize {
        self.digests.len().saturating_sub(self.fresh_from)
    }

    fn has_work(&self) -> bool {
        !self.returned.is_empty() || self.fresh() > 0
    }
}

/// All requests that are not finished.
pub(super) struct Dispatch {
    queue_max: usize,
    lanes: usize,
    next_request: u64,
    requests: HashMap<u64, Request>,
    /// Requests with work to hand out.
    turns: Turns,
    /// Time of one signature by key.
    pace: HashMap<Arc<str>, Duration>,
}

impl Dispatch {
    /// `lanes` is how many chunks can be signed at the same time.
    pub(super) fn new(queue_max: usize, lanes: usize) -> Self {
        Self {
            queue_max,
            lanes: lanes.max(1),
            next_request: 0,
            requests: HashMap::new(),
            turns: Turns::default(),
            pace: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Takes a request in; its answer comes through the channel.
    pub(super) fn submit(
        &mut self,
        key: &str,
        digests: Vec<[u8; DIGEST_BYTES]>,
        now: Instant,
    ) -> Result<(u64, oneshot::Receiver<Answer>), HsmError> {
        if self.requests.len() >= self.queue_max {
            return Err(HsmError::Overloaded { queue_max: self.queue_max });
        }
        let (answer, receiver) = oneshot::channel();
        let id = self.next_request;
        self.next_request = id.wrapping_add(1);
        let missing = digests.len();
        let request = Request {
            key: key.into(),
            digests: digests.into(),
            fresh_from: 0,
            returned: VecDeque::new(),
            signatures: vec![Vec::new(); missing],
            missing,
            since: now,
            answer,
        };
        self.turns.push_back(id, request.size());
        self.requests.insert(id, request);
        Ok((id, receiver))
    }

    /// Forgets a request that nobody waits for any more.
    pub(super) fn withdraw(&mut self, request: u64) {
        self.requests.remove(&request);
        self.turns.remove(request);
    }

    /// The next chunk for a worker that has room.
    pub(super) fn pull(&mut self, now: Instant) -> Option<Chunk> {
        let id = self.turns.next()?;
        let waiting = self.requests.values().map(Request::fresh).fold(0, usize::saturating_add);
        let request = self.requests.get_mut(&id)?;
        let waited = (request.fresh_from == 0).then(|| now.duration_since(request.since));
        let (range, losses) = match request.returned.pop_front() {
            Some(returned) => returned,
            None => {
                let left = request.fresh();
                let pace = self.pace.get(&request.key).copied();
                let size = chunk_size(waiting, self.lanes, pace);
                let end = request.fresh_from.saturating_add(size.min(left));
                let range = request.fresh_from..end;
                request.fresh_from = end;
                (range, 0)
            }
        };
        let chunk = Chunk {
            request: id,
            range,
            losses,
            key: Arc::clone(&request.key),
            digests: Arc::clone(&request.digests),
            waited,
        };
        if request.has_work() {
            self.turns.push_back(id, request.size());
        }
        Some(chunk)
    }

    /// Takes a chunk's signatures; the last chunk answers its request.
    pub(super) fn complete(&mut self, chunk: &Chunk, signatures: Vec<Vec<u8>>, took: Duration) {
        self.learn(chunk, took);
        let Some(request) = self.requests.get_mut(&chunk.request) else { return };
        let Some(places) = request.signatures.get_mut(chunk.range.clone()) else { return };
        for (place, signature) in places.iter_mut().zip(signatures) {
            *place = signature;
        }
        request.missing = request.missing.saturating_sub(chunk.range.len());
        if request.missing == 0
            && let Some(request) = self.requests.remove(&chunk.request)
        {
            // Who asked may have given up in the meantime; then nobody wants the answer.
            let _ = request.answer.send(Ok(request.signatures));
        }
    }

    /// Takes back a chunk whose worker was lost; it is its request's next one.
    pub(super) fn give_back(&mut self, chunk: &Chunk) {
        let losses = chunk.losses.saturating_add(1);
        if losses > CHUNK_LOSSES_MAX {
            let fault = format!("the same digests lost their worker {losses} times");
            self.refuse(chunk, HsmError::Unavailable { fault });
            return;
        }
        let Some(request) = self.requests.get_mut(&chunk.request) else { return };
        let in_turns = request.has_work();
        request.returned.push_back((chunk.range.clone(), losses));
        if !in_turns {
            self.turns.push_front(chunk.request, request.size());
        }
    }

    /// Answers a chunk's whole request with an error.
    pub(super) fn refuse(&mut self, chunk: &Chunk, error: HsmError) {
        if let Some(request) = self.requests.remove(&chunk.request) {
            self.turns.remove(chunk.request);
            let _ = request.answer.send(Err(error));
        }
    }

    fn learn(&mut self, chunk: &Chunk, took: Duration) {
        let Some(each) = u32::try_from(chunk.range.len()).ok().and_then(|n| took.checked_div(n))
        else {
            return;
        };
        let pace = self.pace.entry(Arc::clone(&chunk.key)).or_insert(each);
        let weight = PACE_INERTIA.saturating_sub(1);
        *pace = pace.saturating_mul(weight).saturating_add(each) / PACE_INERTIA;
    }
}

/// A share for every lane, twice over, of all that waits, within what the pace allows.
fn chunk_size(waiting: usize, lanes: usize, pace: Option<Duration>) -> usize {
    let by_pace = match pace {
        Some(each) if !each.is_zero() => {
            let count = CHUNK_DURATION.as_nanos().checked_div(each.as_nanos()).unwrap_or(1);
            usize::try_from(count).unwrap_or(CHUNK_DIGESTS_MAX).clamp(1, CHUNK_DIGESTS_MAX)
        }
        // Nothing is known about this key yet: begin small, the first answers teach the pace.
        _ => CHUNK_DIGESTS_MIN,
    };
    let share = waiting.div_ceil(lanes.saturating_mul(2).max(1)).max(CHUNK_DIGESTS_MIN);
    share.min(by_pace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(1);

    fn digests(count: usize) -> Vec<[u8; 32]> {
        (0..count).map(|i| [u8::try_from(i % 256).unwrap(); 32]).collect()
    }

    fn echo(chunk: &Chunk) -> Vec<Vec<u8>> {
        chunk.digests().iter().map(|d| d.to_vec()).collect()
    }

    #[test]
    fn signatures_keep_the_order_of_the_digests() {
        // Chunks may come back in any order, also after a loss; the answer is in order.
        let mut dispatch = Dispatch::new(4, 2);
        let now = Instant::now();
        let (_, mut answer) = dispatch.submit("k", digests(300), now).unwrap();
        let mut out = Vec::new();
        let mut lost = false;
        while let Some(chunk) = dispatch.pull(now) {
            if out.len() == 2 && !lost {
                lost = true;
                dispatch.give_back(&chunk);
            } else {
                out.push(chunk);
            }
        }
        for chunk in out.iter().rev() {
            assert!(answer.try_recv().is_err());
            dispatch.complete(chunk, echo(chunk), FAST);
        }
        let expected: Vec<Vec<u8>> = digests(300).iter().map(|d| d.to_vec()).collect();
        assert_eq!(answer.try_recv().unwrap().unwrap(), expected);
        assert!(dispatch.is_empty() && dispatch.pull(now).is_none());
    }

    #[test]
    fn requests_take_turns() {
        // Large requests get a chunk each in turn; a small one comes next, before those that came before it.
        let mut dispatch = Dispatch::new(4, 2);
        let now = Instant::now();
        let _first = dispatch.submit("k", digests(3000), now).unwrap();
        let _second = dispatch.submit("k", digests(3000), now).unwrap();
        let next = |dispatch: &mut Dispatch| dispatch.pull(now).unwrap().request;
        assert_eq!([next(&mut dispatch), next(&mut dispatch), next(&mut dispatch)], [0, 1, 0]);
        let _small = dispatch.submit("k", digests(2), now).unwrap();
        assert_eq!([next(&mut dispatch), next(&mut dispatch), next(&mut dispatch)], [2, 1, 0]);
    }

    #[test]
    fn the_queue_is_bounded() {
        // One request more than allowed is refused at once, and finishing one makes room.
        let mut dispatch = Dispatch::new(1, 2);
        let now = Instant::now();
        let (id, _answer) = dispatch.submit("k", digests(1), now).unwrap();
        let refused = dispatch.submit("k", digests(1), now).unwrap_err();
        assert_eq!(refused, HsmError::Overloaded { queue_max: 1 });
        dispatch.withdraw(id);
        assert!(dispatch.pull(now).is_none(), "a withdrawn request hands out nothing");
        assert!(dispatch.submit("k", digests(1), now).is_ok());
    }

    #[test]
    fn a_chunk_that_kills_workers_ends_its_request() {
        // After three lost workers the request is refused instead of taking down a fourth one.
        let mut dispatch = Dispatch::new(4, 2);
        let now = Instant::now();
        let (_, mut answer) = dispatch.submit("k", digests(1), now).unwrap();
        for _ in 0..CHUNK_LOSSES_MAX {
            let chunk = dispatch.pull(now).unwrap();
            dispatch.give_back(&chunk);
        }
        let chunk = dispatch.pull(now).unwrap();
        dispatch.give_back(&chunk);
        assert!(matches!(answer.try_recv(), Ok(Err(HsmError::Unavailable { .. }))));
        assert!(dispatch.pull(now).is_none());
    }

    #[test]
    fn chunks_fit_the_pace_and_the_end() {
        // Slow keys get small chunks, fast ones large ones, and what little is left is shared out.
        let ms = Duration::from_millis;
        assert_eq!(chunk_size(3000, 2, Some(Duration::from_micros(650))), 30);
        assert_eq!(chunk_size(3000, 2, Some(Duration::from_micros(60))), 64);
        assert_eq!(chunk_size(3000, 2, Some(ms(700))), 1);
        assert_eq!(chunk_size(40, 2, Some(Duration::from_micros(60))), 10);
        assert_eq!(chunk_size(3, 2, Some(Duration::from_micros(60))), 4);
        assert_eq!(chunk_size(3000, 2, None), 4);
    }
}
