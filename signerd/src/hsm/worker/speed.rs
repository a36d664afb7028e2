//! Signatures as fast as they go, in a process of its own: what `signerd hsm speed` counts.
//!
//! In go orders, out come counts. The lanes are a worker's own: every key found, bound and proved, one
//! session each. They are kept from one order to the next, and thrown away after an error.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use std::time::Instant;

use hsm_config::HsmConfig;
use sha2::Digest as _;
use sha2::Sha256;

use super::end_now;
use super::errand::Sender;
use super::fault::Fault;
use super::key::Handles;
use super::key::Lane;
use super::key::PROOF;
use super::key::SignError;
use super::token::Token;
use super::watchdog::Watched;
use crate::hsm::ipc;
use crate::hsm::ipc::DIGEST_BYTES;
use crate::hsm::speed::order::Counted;
use crate::hsm::speed::order::Order;
use crate::hsm::speed::order::Reply;

/// Logs in, and does what it is told until the command goes.
pub(super) fn run(config: HsmConfig, sender: &Sender) -> Result<(), Fault> {
    let orders = orders(sender.stream()?);
    let config = Arc::new(config);
    let token = Arc::new(Token::open(Arc::clone(&config))?);
    sender.done(Reply::Ready);
    let mut bench = Bench { config, token, lanes: HashMap::new(), prepared: None };
    // The thread that reads them ends the process where there are no more.
    for order in orders {
        sender.done(bench.obey(order));
    }
    Ok(())
}

/// Reads orders on a thread of its own, so that the end of the command is noticed while signatures are made.
fn orders(stream: UnixStream) -> Receiver<Order> {
    let (put, orders) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = io::BufReader::new(stream);
        while let Ok(Some(order)) = ipc::read(&mut reader) {
            if put.send(order).is_err() {
                break;
            }
        }
        end_now();
    });
    orders
}

struct Bench {
    config: Arc<HsmConfig>,
    token: Arc<Token>,
    lanes: HashMap<Handles, Vec<Lane>>,
    prepared: Option<Prepared>,
}

struct Prepared {
    key: String,
    sessions: usize,
    with: Handles,
}

impl Bench {
    fn obey(&mut self, order: Order) -> Reply {
        let outcome = match order {
            Order::Prepare { key, sessions, copy_keys } => {
                let with = if copy_keys { Handles::Copies } else { Handles::Keys };
                self.prepare(Prepared { key, sessions, with }).map(|()| Reply::Ready)
            }
            Order::Sign { step } => self.sign(step).map(Reply::Counted),
        };
        outcome.unwrap_or_else(|fault| {
            // A failed operation may linger in a session.
            self.lanes.clear();
            self.prepared = None;
            Reply::Cannot(fault.detail().to_owned())
        })
    }

    fn prepare(&mut self, wanted: Prepared) -> Result<(), Fault> {
        // Lanes of before must not take sessions from those that are measured.
        self.lanes.retain(|with, _| *with == wanted.with);
        let lanes = self.lanes.entry(wanted.with).or_default();
        lanes.truncate(wanted.sessions);
        while lanes.len() < wanted.sessions {
            let watched = Watched::by_the_command();
            lanes.push(Lane::open(&self.token, &self.config, wanted.with, &watched)?);
        }
        self.prepared = Some(wanted);
        Ok(())
    }

    fn sign(&mut self, step: Duration) -> Result<Counted, Fault> {
        let prepared = self.prepared.as_ref().ok_or_else(|| Fault::token("nothing is prepared"))?;
        let lanes = self.lanes.get_mut(&prepared.with).into_iter().flatten();
        let key = prepared.key.as_str();
        let outcomes = std::thread::scope(|scope| {
            let threads: Vec<_> =
                lanes.map(|lane| scope.spawn(move || count(lane, key, step))).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(Fault::token("a thread was lost")))
            });
            joined.collect::<Vec<_>>()
        });
        let mut all = Counted::default();
        for outcome in outcomes {
            all.add(&outcome?);
        }
        Ok(all)
    }
}

/// One session signs for so long; that the last ones are true is proved behind the clock's back.
fn count(lane: &mut Lane, key: &str, step: Duration) -> Result<Counted, Fault> {
    let failed = |error| match error {
        SignError::UnknownKey => Fault::config(key, "there is no such key", "name another one"),
        SignError::Token(fault) => fault,
    };
    let digest: [u8; DIGEST_BYTES] = Sha256::digest(PROOF).into();
    let mut counted = Counted::default();
    let cpu = on_cpu();
    let begin = Instant::now();
    let mut before = begin;
    while before.duration_since(begin) < step {
        lane.sign(key, &digest).map_err(failed)?;
        let now = Instant::now();
        let took = now.duration_since(before);
        counted.times.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        before = now;
    }
    counted.on_cpu = on_cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    let count = u32::try_from(counted.times.count()).unwrap_or(u32::MAX);
    counted.per_second = f64::from(count) / before.duration_since(begin).as_secs_f64();
    lane.prove(key).map_err(failed)?;
    Ok(counted)
}

/// How long this thread has had a processor, in nanoseconds: the first of the numbers of `proc(5)`.
fn on_cpu() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
