//! The issuing system through all of it: what it sent, what it was answered, what it has to repeat.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use signerd_tests::client::member;
use signerd_tests::random::Random;
use signerd_tests::{Answer, Batch, Client, Evidence, Person, Setup};
use tokio::task::JoinSet;

use super::auditor::{Certified, Fault};

/// Requests at once.
const LANES: usize = 4;
/// A batch that a running daemon does not answer for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(30);
/// Batches that are made at a time.
const MADE: usize = 12;

/// A batch and the answer to it.
pub(super) struct Answered {
    batch: Batch,
    body: Vec<u8>,
}

/// Clients and their memory.
pub(super) struct Clients {
    client: Client,
    evidence: Evidence,
    people: Vec<Person>,
    /// Made and never sent.
    fresh: VecDeque<Batch>,
    /// Sent, and no answer came.
    pub(super) open: VecDeque<Batch>,
    pub(super) answered: Vec<Answered>,
    /// Different doses of all batches.
    pub(super) doses: usize,
    pub(super) replays: usize,
}

/// Whether the daemon was there until the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    Alive,
    Gone,
}

enum Outcome {
    Answered(Vec<u8>),
    /// The daemon refuses it for now, by the rules that the test gave it.
    Refused,
    Gone,
}

type Queue = Arc<Mutex<VecDeque<Batch>>>;

impl Clients {
    pub(super) fn of(setup: &Setup) -> Self {
        Self {
            client: Client::new(setup),
            evidence: Evidence::of(setup),
            people: Vec::new(),
            fresh: VecDeque::new(),
            open: VecDeque::new(),
            answered: Vec::new(),
            doses: 0,
            replays: 0,
        }
    }

    /// Repeats everything that was not answered.
    pub(super) async fn settle(&mut self) -> Result<Peer, Fault> {
        let batches = std::mem::take(&mut self.open);
        self.send(batches).await
    }

    /// Sends new batches.
    pub(super) async fn work(&mut self, random: &mut Random) -> Result<Peer, Fault> {
        while self.fresh.len() < MADE {
            let batch = self.make(random);
            self.fresh.push_back(batch);
        }
        let batches = self.fresh.drain(..MADE).collect();
        self.send(batches).await
    }

    /// Sends what was made and never sent.
    pub(super) async fn finish(&mut self) -> Result<Peer, Fault> {
        let batches = std::mem::take(&mut self.fresh);
        self.send(batches).await
    }

    /// Repeats answered batches, the latest and some older ones: the answers are the same, byte for byte.
    pub(super) async fn replay(
        &mut self,
        latest: usize,
        older: usize,
        random: &mut Random,
    ) -> Result<Peer, Fault> {
        let all = self.answered.len();
        let latest = all.saturating_sub(latest)..all;
        let older: Vec<usize> =
            (0..older.min(latest.start)).map(|_| random.below(latest.start)).collect();
        for index in latest.chain(older) {
            let Answered { batch, body } = &self.answered[index];
            match sign(&self.client, batch).await? {
                Outcome::Gone => return Ok(Peer::Gone),
                Outcome::Refused => return Err("an answered batch is refused".to_owned()),
                Outcome::Answered(again) if again == *body => self.replays += 1,
                Outcome::Answered(_) => {
                    return Err("an answer is another one than before".to_owned());
                }
            }
        }
        Ok(Peer::Alive)
    }

    /// What the answers from this one on certify.
    pub(super) fn certified(&self, from: usize) -> impl Iterator<Item = Certified> {
        self.answered[from..].iter().map(|answered| certified(&answered.body))
    }

    /// From one to four people with one or two doses; now and then somebody whom another batch has, too.
    fn make(&mut self, random: &mut Random) -> Batch {
        let mut people: Vec<Person> = (0..=random.below(4))
            .map(|_| {
                let doses = 1 + random.below(2);
                self.doses += doses;
                Person::with_doses(doses)
            })
            .collect();
        let known = self.people.len();
        if known > 0 && random.below(5) == 0 {
            let recent = known - 1 - random.below(known.min(24));
            people.push(self.people[recent].clone());
        }
        self.people.extend(people.iter().cloned());
        Batch::of(&self.evidence, "vn-moh-ec", &people)
    }

    async fn send(&mut self, batches: VecDeque<Batch>) -> Result<Peer, Fault> {
        let queue = Arc::new(Mutex::new(batches));
        let mut lanes = JoinSet::new();
        for _ in 0..LANES {
            lanes.spawn(lane(self.client.clone(), Arc::clone(&queue)));
        }
        let (mut peer, mut fault) = (Peer::Alive, None);
        while let Some(done) = lanes.join_next().await {
            let (outcomes, broken) = done.expect("a lane");
            fault = fault.or(broken);
            for (batch, outcome) in outcomes {
                match outcome {
                    Outcome::Answered(body) => self.answered.push(Answered { batch, body }),
                    Outcome::Refused => self.open.push_back(batch),
                    Outcome::Gone => {
                        self.open.push_back(batch);
                        peer = Peer::Gone;
                    }
                }
            }
        }
        let unsent = std::mem::take(&mut *queue.lock().expect("the queue"));
        self.open.extend(unsent);
        fault.map_or(Ok(peer), Err)
    }
}

/// Sends one batch after the other until there is none, or nobody to send it to.
async fn lane(client: Client, queue: Queue) -> (Vec<(Batch, Outcome)>, Option<Fault>) {
    let mut outcomes = Vec::new();
    loop {
        let next = queue.lock().expect("the queue").pop_front();
        let Some(batch) = next else { return (outcomes, None) };
        match sign(&client, &batch).await {
            Ok(outcome) => {
                let gone = matches!(outcome, Outcome::Gone);
                outcomes.push((batch, outcome));
                if gone {
                    return (outcomes, None);
                }
            }
            Err(fault) => return (outcomes, Some(fault)),
        }
    }
}

/// Sends a batch, and repeats it while it is told to.
async fn sign(client: &Client, batch: &Batch) -> Result<Outcome, Fault> {
    let begin = Instant::now();
    loop {
        let Ok(answer) = client.sign(batch.body.clone()).await else { return Ok(Outcome::Gone) };
        match (
            answer.status,
            if answer.status == 200 { String::new() } else { answer.code() }.as_str(),
        ) {
            (200, _) => return Ok(Outcome::Answered(answer.body)),
            (503, "draining") => return Ok(Outcome::Gone),
            (422, "batch.over_limit") => return Ok(Outcome::Refused),
            // Workers that were killed, a repeat that was faster than the end of the attempt before.
            (409 | 503, code) if begin.elapsed() > PATIENCE => {
                return Err(format!("stuck: a batch gets nothing but {code}"));
            }
            (409, "batch.in_progress") | (503, _) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (status, code) => return Err(format!("a good batch gets {status} {code}")),
        }
    }
}

fn certified(body: &[u8]) -> Certified {
    let answer =
        Answer { status: 200, headers: std::collections::HashMap::new(), body: body.to_vec() };
    let mut certified = Vec::new();
    for result in answer.results() {
        if member(&result, "status").as_text() != Some("issued") {
            continue;
        }
        for certificate in member(&result, "certificates").into_array().expect("certificates") {
            let text = |name| member(&certificate, name).into_text().expect("text");
            let random = text("uvci").rsplit(':').next().expect("a part").to_owned();
            let uvci = data_encoding::HEXUPPER.decode(random.as_bytes()).expect("hex");
            certified.push((uvci, signerd_tests::batch::cose_sha256(&text("hcert"))));
        }
    }
    certified
}
