//! The daily work: requests from the connection to the session threads, answers back.
//!
//! One thread per lane takes from one bounded queue, so any free session serves the next request.
//! A lane that fails climbs the ladder once and the digest is tried again; if that fails, too, the worker
//! ends and the front starts another. Where the front doubts what was signed, every lane proves its keys
//! before it signs again. An idle lane proves one of its keys from time to time: it
//! keeps connections through firewalls alive and shows a lost token before a request does.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use hsm_config::HsmConfig;

use super::channel::Front;
use super::channel::Outlet;
use super::fault::Fault;
use super::key::Lane;
use super::key::SignError;
use super::ladder::Rung;
use super::say;
use super::token::Token;
use super::watchdog::Watchdog;
use crate::hsm::FaultKind;
use crate::hsm::ipc;
use crate::hsm::ipc::Bytes;
use crate::hsm::ipc::DIGEST_BYTES;
use crate::hsm::ipc::Hello;
use crate::hsm::ipc::ToFront;
use crate::hsm::ipc::ToWorker;

/// Requests that may wait here: the front sends two for each of 32 sessions at most, and one that came after
/// another front that has gone finds those of the other.
const QUEUE_MAX: usize = 128;
/// How long a lane rests before it proves a key; firewalls drop idle connections after minutes.
const PROOF_INTERVAL: Duration = Duration::from_secs(20);
/// Longest time between two heartbeats; with short deadlines it is a quarter of them.
const HEARTBEAT_MAX: Duration = Duration::from_secs(1);

/// Runs the lanes while `attend` looks after connections; gives out what ended it.
pub(super) fn serve(
    lanes: Vec<Lane>,
    config: &HsmConfig,
    watchdog: &Watchdog,
    mut attend: impl FnMut(&Station) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let Some(first) = lanes.first() else { return Err(Fault::token("there is no session")) };
    let station = Station {
        hello: ToFront::Hello(Hello {
            version: ipc::VERSION,
            module: first.token().module().to_owned(),
            token: first.token().name().to_owned(),
            keys: first.key_names(),
            secret: Bytes::new(first.token().secret().to_vec()),
        }),
        queue: Arc::default(),
        token: Arc::clone(first.token()),
        watchdog: watchdog.clone(),
    };
    let heartbeat = HEARTBEAT_MAX.min(config.call_deadline() / 4);
    let beating = watchdog.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(heartbeat);
            // A front that has gone is noticed by who reads from it.
            let _ = beating.outlet().send(&ToFront::Alive);
        }
    });
    for (number, lane) in lanes.into_iter().enumerate() {
        let worker = Session {
            number,
            keys: lane.key_names(),
            queue: Arc::clone(&station.queue),
            token: Arc::clone(&station.token),
            watchdog: watchdog.clone(),
            call_deadline: config.call_deadline(),
            start_deadline: config.start_deadline(),
        };
        std::thread::spawn(move || worker.work(lane));
    }
    attend(&station)
}

/// What looks after a connection.
pub(super) struct Station {
    hello: ToFront,
    queue: Arc<Queue>,
    token: Arc<Token>,
    watchdog: Watchdog,
}

impl Station {
    /// Ends the process: there is no front any more.
    pub(super) fn close(&self) -> ! {
        self.token.end_process()
    }

    /// Greets a front and takes its requests until it goes.
    pub(super) fn attend(&self, front: &Front) -> Result<(), Fault> {
        let outlet = front.outlet();
        if outlet.send(&self.hello).is_err() {
            return Ok(());
        }
        // Only now: a heartbeat before the hello would be one to nobody.
        self.watchdog.tell(Arc::clone(&outlet));
        let mut reader = io::BufReader::new(front.reader());
        loop {
            match ipc::read(&mut reader) {
                Ok(Some(ToWorker::Sign { id, key, digests })) => {
                    let job = Job { id, key, digests, outlet: Arc::clone(&outlet) };
                    if let Err(job) = self.queue.put(job) {
                        job.fail(FaultKind::Token, "the worker's queue is full");
                    }
                }
                Ok(Some(ToWorker::Prove)) => self.queue.doubt(),
                Ok(None) => return Ok(()),
                Err(e) => {
                    say(&format!("the front cannot be understood: {e}"));
                    return Ok(());
                }
            }
        }
    }
}

/// A request and who wants the answer.
struct Job {
    id: u64,
    key: String,
    digests: Bytes,
    outlet: Arc<Outlet>,
}

impl Job {
    // A front that has gone wants no answer.
    fn answer(&self, answer: &ToFront) {
        let _ = self.outlet.send(answer);
    }

    fn fail(&self, kind: FaultKind, detail: &str) {
        self.answer(&ToFront::Failed { id: self.id, kind, detail: detail.to_owned() });
    }
}

/// What a session thread does next.
enum Next {
    /// Signs.
    Job(Job),
    /// Proves every key: somebody doubts the signatures of this worker.
    Doubt,
    /// Proves a key, after a rest.
    Rest,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// How often the front has doubted.
    doubts: u64,
}

impl Queue {
    fn put(&self, job: Job) -> Result<(), Job> {
        let mut waiting = self.waiting();
        if waiting.jobs.len() >= QUEUE_MAX {
            return Err(job);
        }
        waiting.jobs.push_back(job);
        self.filled.notify_one();
        Ok(())
    }

    /// Lets every lane prove its keys before it signs again.
    fn doubt(&self) {
        let mut waiting = self.waiting();
        waiting.doubts = waiting.doubts.wrapping_add(1);
        self.filled.notify_all();
    }

    /// What to do next, for a lane that has answered so many doubts.
    fn take(&self, answered: &mut u64) -> Next {
        let idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && waiting.doubts == *answered;
        let (mut waiting, _) = self
            .filled
            .wait_timeout_while(self.waiting(), PROOF_INTERVAL, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.doubts != *answered {
            *answered = waiting.doubts;
            return Next::Doubt;
        }
        waiting.jobs.pop_front().map_or(Next::Rest, Next::Job)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread with a lane.
struct Session {
    number: usize,
    keys: Vec<String>,
    queue: Arc<Queue>,
    token: Arc<Token>,
    watchdog: Watchdog,
    call_deadline: Duration,
    start_deadline: Duration,
}

impl Session {
    fn work(self, mut lane: Lane) {
        let mut canaries = self.keys.iter().cycle();
        let mut doubts = 0;
        loop {
            let outcome = match self.queue.take(&mut doubts) {
                Next::Job(job) => self.serve(lane, &job),
                Next::Doubt => self.prove(lane, &self.keys),
                Next::Rest => self.prove(lane, canaries.next()),
            };
            match outcome {
                Ok(kept) => lane = kept,
                Err(fault) => self.give_up(&fault),
            }
        }
    }

    fn serve(&self, mut lane: Lane, job: &Job) -> Result<Lane, Fault> {
        let since = Instant::now();
        let (digests, rest) = job.digests.0.as_chunks::<DIGEST_BYTES>();
        if digests.is_empty() || !rest.is_empty() {
            job.fail(FaultKind::Token, "the digests are not whole");
            return Ok(lane);
        }
        let mut signatures = Vec::new();
        for digest in digests {
            let signature;
            (lane, signature) = self.sign(lane, &job.key, digest)?;
            let Some(signature) = signature else {
                job.fail(FaultKind::Key, "the worker has no such key");
                return Ok(lane);
            };
            signatures.extend_from_slice(&signature);
        }
        job.answer(&ToFront::Signed {
            id: job.id,
            signatures: Bytes::new(signatures),
            took_us: u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        Ok(lane)
    }

    /// Signs, with one recovery of the lane; nothing where the key is unknown.
    fn sign(
        &self,
        lane: Lane,
        key: &str,
        digest: &[u8; DIGEST_BYTES],
    ) -> Result<(Lane, Option<Vec<u8>>), Fault> {
        let lane = match self.try_to_sign(&lane, key, digest) {
            Ok(signature) => return Ok((lane, Some(signature))),
            Err(SignError::UnknownKey) => return Ok((lane, None)),
            Err(SignError::Token(fault)) => self.recover(lane, fault)?,
        };
        match self.try_to_sign(&lane, key, digest) {
            Ok(signature) => Ok((lane, Some(signature))),
            Err(SignError::UnknownKey) => Ok((lane, None)),
            Err(SignError::Token(fault)) => Err(fault),
        }
    }

    fn try_to_sign(
        &self,
        lane: &Lane,
        key: &str,
        digest: &[u8; DIGEST_BYTES],
    ) -> Result<Vec<u8>, SignError> {
        let _watched = self.watchdog.watch(self.number, self.call_deadline);
        lane.sign(key, digest)
    }

    /// Proves keys, and recovers the lane, which proves them all again, where one fails.
    fn prove<'k>(
        &self,
        lane: Lane,
        keys: impl IntoIterator<Item = &'k String>,
    ) -> Result<Lane, Fault> {
        for key in keys {
            let outcome = {
                let _watched = self.watchdog.watch(self.number, self.call_deadline);
                lane.prove(key)
            };
            if let Err(SignError::Token(fault)) = outcome {
                return self.recover(lane, fault);
            }
        }
        Ok(lane)
    }

    /// Climbs the ladder until the lane signs again.
    fn recover(&self, lane: Lane, mut fault: Fault) -> Result<Lane, Fault> {
        let lost = {
            let _watched = self.watchdog.watch(self.number, self.call_deadline);
            lane.lose()
        };
        let mut rung = fault.rung();
        let mut reached = None;
        loop {
            // A token that refuses the PIN, or nothing that can be done here.
            if fault.kind() == FaultKind::Pin {
                return Err(fault);
            }
            if rung == Rung::Process {
                return Err(reached.map_or(fault.clone(), |reached| fault.despite(reached)));
            }
            say(&format!("{} made anew: {}", rung.name(), fault.detail()));
            let deadline = match rung {
                Rung::Session => self.call_deadline,
                Rung::LogIn | Rung::Module | Rung::Process => self.start_deadline,
            };
            let watched = self.watchdog.watch(self.number, deadline);
            match lost.climb(rung, &watched) {
                Ok(lane) => return Ok(lane),
                Err(next) => fault = next,
            }
            reached = Some(rung);
            rung = rung.next().max(fault.rung());
        }
    }

    fn give_up(&self, fault: &Fault) -> ! {
        say(&fault.to_string());
        let _ = self.watchdog.outlet().bid_farewell(fault);
        let _watched = self.watchdog.watch(self.number, self.call_deadline);
        self.token.end_process()
    }
}
