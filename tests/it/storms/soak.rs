//! Very many signatures: what the programs take from the machine does not grow with them.

use std::fs;
use std::time::Instant;

use rustix::process::Pid;
use signerd_tests::pool::{both_live, two_workers};
use signerd_tests::random;
use signerd_tests::shim::Function;
use signerd_tests::{Batch, Client, Daemon, Evidence, Person, Shim, Verifier};

use super::stage::Resources;

/// Signatures without `SIGNERD_SOAK`.
const SIGNATURES: usize = 140_000;
/// People of a batch, and doses of each.
const PEOPLE: usize = 400;
const DOSES: usize = 3;
/// After so many the ledger's page cache of 64 MiB is full, and nothing should grow any more.
const WARM: usize = 110_000;
/// One of so many batches is verified for all.
const EVERY: usize = 10;
/// What memory may grow by from then on, in KiB.
const FRONT_GROWTH: usize = 6 * 1024;
const WORKER_GROWTH: usize = 4 * 1024;

/// What a moment looks like.
#[derive(Debug)]
struct Moment {
    sessions: u64,
    front: Resources,
    front_memory: usize,
    workers: Vec<(Resources, usize)>,
}

impl Moment {
    fn of(daemon: &Daemon, shim: &Shim) -> Self {
        let tally = shim.tally();
        let mut workers = daemon.workers();
        workers.sort_by_key(|pid| pid.as_raw_nonzero());
        Self {
            sessions: tally.calls(Function::C_OpenSession) - tally.calls(Function::C_CloseSession),
            front: Resources::of(daemon.pid()),
            front_memory: memory(daemon.pid()),
            workers: workers.into_iter().map(|pid| (Resources::of(pid), memory(pid))).collect(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_programs_take_does_not_grow() {
    // Once the ledger's cache is full, sessions, files, threads and memory of front and workers stay what they
    // are for as long as is signed, no worker is lost, and what is looked at verifies.
    let wanted = random::number("SIGNERD_SOAK").map_or(SIGNATURES, |number| number as usize);
    let setup = two_workers(&[]);
    let shim = Shim::under(&setup);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let verifier = Verifier::of(&setup);
    let since = Instant::now();
    let (mut signed, mut early) = (0, None);
    for number in 0.. {
        if signed >= wanted {
            break;
        }
        let people: Vec<Person> = (0..PEOPLE).map(|_| Person::with_doses(DOSES)).collect();
        let batch = Batch::of(&evidence, "vn-moh-ec", &people);
        let answer = client.sign(batch.body).await.unwrap();
        assert_eq!(answer.status, 200, "{:?}", answer.cbor());
        let whole = number % EVERY == 0;
        signed += if whole { verifier.hold(&answer).unwrap() } else { answer.hcerts().len() };
        if early.is_none() && signed >= WARM.min(wanted / 4 * 3) {
            early = Some(Moment::of(&daemon, &shim));
        }
    }
    let (early, late) = (early.unwrap(), Moment::of(&daemon, &shim));
    eprintln!(
        "{signed} signatures in {:.0} s; when warm {early:?}; at the end {late:?}",
        since.elapsed().as_secs_f64()
    );
    assert_eq!(late.sessions, early.sessions);
    assert!(late.front.is_within(early.front));
    assert!(late.front_memory <= early.front_memory + FRONT_GROWTH);
    for ((early, before), (late, after)) in early.workers.iter().zip(&late.workers) {
        assert!(late.is_within(*early));
        assert!(after <= &(before + WORKER_GROWTH));
    }
    assert_eq!(daemon.metric("signerd_hsm_worker_restarts_total"), 0.0);
    assert!(daemon.stop().success());
}

/// Resident memory of a process in KiB.
fn memory(process: Pid) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
