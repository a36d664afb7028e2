//! The load: requests made in advance, sent with several in flight, answers kept for later.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signerd::hcert::{SignerCertificate, Signers, verify};
use signerd_tests::record::{encode, request};
use signerd_tests::{Answer, Client, Evidence, Person, Setup, record};
use tokio::task::JoinSet;

use crate::Outcome;

/// Records of a batch: what the contract allows at most.
const RECORDS: usize = 1_000;
/// Doses of a record.
const DOSES: usize = 2;
/// Certificates of a batch.
pub(crate) const CERTIFICATES: u32 = 2_000;

/// Makes batches of new people, each record with both statements, on all cores.
pub(crate) fn prepare(setup: &Setup, issuer: &str, batches: usize) -> Outcome<Vec<Vec<u8>>> {
    let cores = std::thread::available_parallelism()?.get();
    let evidence = Evidence::of(setup);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                let (evidence, mine) = (&evidence, (core..batches).step_by(cores));
                scope.spawn(move || mine.map(|_| batch(evidence, issuer)).collect::<Vec<_>>())
            })
            .collect();
        let mut all = Vec::with_capacity(batches);
        for thread in threads {
            all.extend(thread.join().map_err(|_| "the preparation failed")?);
        }
        Ok(all)
    })
}

fn batch(evidence: &Evidence, issuer: &str) -> Vec<u8> {
    let entries = (0..RECORDS).map(|_| evidence.entry(&Person::with_doses(DOSES)));
    encode(&request(issuer, entries.collect()))
}

/// What came back.
pub(crate) struct Answered {
    /// From the first byte sent to the last byte received.
    pub(crate) took: Duration,
    /// The answers, in the order they came.
    pub(crate) answers: Vec<Answer>,
    /// How long each took.
    pub(crate) waits: Vec<Duration>,
}

/// Sends all requests, so many at a time, each on a connection of its own.
pub(crate) async fn send(
    client: &Client,
    requests: Vec<Vec<u8>>,
    in_flight: usize,
) -> Outcome<Answered> {
    let queue = Arc::new(Mutex::new(VecDeque::from(requests)));
    let since = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..in_flight {
        let (client, queue) = (client.clone(), Arc::clone(&queue));
        lanes.spawn(async move {
            let mut done = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(body) = next else { return Ok(done) };
                let sent = Instant::now();
                done.push((client.sign(body).await?, sent.elapsed()));
            }
        });
    }
    let mut done: Vec<(Answer, Duration)> = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        let of_lane: std::io::Result<_> = lane?;
        done.extend(of_lane?);
    }
    let took = since.elapsed();
    let (answers, waits) = done.into_iter().unzip();
    Ok(Answered { took, answers, waits })
}

/// Says why a batch was not answered with certificates, where one was not.
pub(crate) fn refused(answered: &Answered) -> Option<String> {
    let bad = answered.answers.iter().find(|answer| answer.status != 200)?;
    let code = bad.headers.get("content-type").is_some_and(|t| t.ends_with("problem-details+cbor"));
    let code = if code { bad.code() } else { String::from_utf8_lossy(&bad.body).into_owned() };
    Some(format!("a batch was answered with {} {code}", bad.status))
}

/// Reads every answer, verifies every certificate and gives their number.
pub(crate) fn check(setup: &Setup, issuer: &str, answers: &[Answer]) -> Outcome<u32> {
    let pem = std::fs::read(setup.path(&format!("pki/dsc/{issuer}.pem")))?;
    let signers: Signers = [SignerCertificate::from_pem(&pem)?].into_iter().collect();
    let now = i64::try_from(record::now())?;
    let mut count: u32 = 0;
    for answer in answers {
        for hcert in answer.hcerts() {
            verify(&hcert, &signers, now)?;
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}
