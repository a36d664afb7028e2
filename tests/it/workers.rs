//! Worker processes are lost, stopped and missed, and nobody who asked for a signature notices more
//! than a wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signerd_tests::batch::certificates;
use signerd_tests::pool::{LIVE, both_live, two_workers};
use signerd_tests::{Answer, Batch, Client, Daemon, Evidence, process};

const RESTARTS: &str = "signerd_hsm_worker_restarts_total";
/// Counts the chunks that workers signed.
const CHUNKS: &str = "signerd_hsm_sign_duration_seconds_count";

/// Asserts that a batch was answered in full; gives the identifiers of its certificates.
fn issued(answer: std::io::Result<Answer>, people: usize) -> Vec<String> {
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{:?}", answer.cbor());
    let (_, certificates) = certificates(&answer);
    assert_eq!(certificates.len(), people * 2);
    certificates.into_iter().map(|(uvci, _)| uvci).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_workers_costs_no_request() {
    // One worker, then all of them again and again, are killed while batches of 300 doses are signed:
    // every batch is answered in full, and the workers are back each time.
    const PEOPLE: usize = 150;
    let setup = two_workers(&[]);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let killed_enough = Arc::new(AtomicBool::new(false));
    let evidence = Arc::new(evidence);
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let (client, evidence) = (client.clone(), Arc::clone(&evidence));
            let killed_enough = Arc::clone(&killed_enough);
            tokio::spawn(async move {
                let mut uvcis = Vec::new();
                while !killed_enough.load(Ordering::Relaxed) {
                    let batch = Batch::about(&evidence, "vn-moh", PEOPLE);
                    uvcis.extend(issued(client.sign(batch.body).await, PEOPLE));
                }
                uvcis
            })
        })
        .collect();
    let mut killed = 0.0;
    for round in 0..5 {
        let signed = daemon.metric(CHUNKS);
        // In the middle of a batch: some chunks were signed since both workers were there.
        daemon.wait_until("signing", |daemon| daemon.metric(CHUNKS) >= signed + 5.0);
        let victims = daemon.workers();
        let victims = if round == 0 { &victims[..1] } else { &victims[..] };
        process::signal(victims, Signal::KILL);
        killed += f64::from(u32::try_from(victims.len()).unwrap());
        let since = Instant::now();
        daemon.wait_until("replacing its workers", |daemon| {
            let workers = daemon.workers();
            workers.len() == 2 && !victims.iter().any(|victim| workers.contains(victim))
        });
        // The first restart is immediate, and no later one waits for more than 3 s.
        let wait = Duration::from_secs(if round == 0 { 2 } else { 5 });
        assert!(since.elapsed() < wait, "replaced after {:?}", since.elapsed());
        both_live(&mut daemon);
    }
    killed_enough.store(true, Ordering::Relaxed);
    let mut uvcis = Vec::new();
    for sender in senders {
        uvcis.extend(sender.await.expect("every batch is answered in full"));
    }
    let different: HashSet<&String> = uvcis.iter().collect();
    assert_eq!(different.len(), uvcis.len(), "an identifier is given once");
    assert!(killed >= 5.0, "one at least in every round");
    assert_eq!(daemon.metric(RESTARTS), killed);
    assert_eq!(daemon.metric("signerd_hsm_worker_faults_total{kind=\"token\"}"), killed);
    assert_eq!(daemon.observe("/readyz"), (200, "ready\n".to_owned()));
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_workers_are_replaced_within_the_deadline() {
    // One worker, then both, hang (SIGSTOP): the batch is answered within its deadline by others.
    const PEOPLE: usize = 100;
    let setup = two_workers(&[("call_deadline_ms", 1_000), ("request_deadline_ms", 10_000)]);
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    for hanging in 1..=2 {
        both_live(&mut daemon);
        let batch = Batch::about(&evidence, "vn-moh", PEOPLE);
        let victims = daemon.workers()[..hanging].to_vec();
        process::signal(&victims, Signal::STOP);
        let since = Instant::now();
        issued(client.sign(batch.body).await, PEOPLE);
        assert!(since.elapsed() < Duration::from_secs(10));
        both_live(&mut daemon);
        assert!(victims.iter().all(|victim| !daemon.workers().contains(victim)));
    }
    assert_eq!(daemon.metric(RESTARTS), 3.0);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_worker_until_its_deadline() {
    // Without a live worker a batch waits for its whole deadline before it is refused with 503; when
    // a worker comes back in time, the batch is answered. Metrics and readiness tell of the outage.
    let deadline = Duration::from_secs(7);
    let setup = two_workers(&[("call_deadline_ms", 1_000), ("request_deadline_ms", 7_000)]);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let first = Batch::about(&evidence, "vn-moh-ec", 1);
    issued(client.sign(first.body.clone()).await, 1);
    let away = setup.path("tokens.away");
    std::fs::rename(setup.path("tokens"), &away).unwrap();
    process::signal(&daemon.workers(), Signal::KILL);
    daemon.wait_until("telling", |daemon| daemon.observe("/readyz").0 == 503);
    daemon.wait_until("clear about the cause", |daemon| {
        let (_, obstacle) = daemon.observe("/readyz");
        obstacle.starts_with("hsm: no live worker: ") && obstacle.contains("check module.environ")
    });
    assert_eq!((daemon.metric(LIVE), daemon.metric("signerd_ready")), (0.0, 0.0));
    assert_eq!(daemon.observe("/healthz").0, 200);

    let batch = Batch::about(&evidence, "vn-moh-ec", 1);
    let since = Instant::now();
    let refused = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "hsm.unavailable"));
    assert!(refused.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    assert!(since.elapsed() >= deadline, "refused after {:?}", since.elapsed());
    assert!(since.elapsed() < deadline + Duration::from_secs(3), "{:?}", since.elapsed());
    // Two were killed, and none of several starts succeeded since.
    assert!(daemon.metric("signerd_hsm_worker_faults_total{kind=\"token\"}") >= 4.0);
    // What was answered before is answered still: a replay needs no worker.
    let replayed = client.sign(first.body).await.unwrap();
    assert_eq!(replayed.headers["idempotency-replayed"], "true");

    // By now the pause between two restarts is as long as it gets: 3 s.
    let waiting = tokio::spawn(async move { client.sign(batch.body).await });
    daemon.wait_until("at work", |daemon| daemon.metric("signerd_http_inflight") == 1.0);
    let since = Instant::now();
    std::fs::rename(away, setup.path("tokens")).unwrap();
    issued(waiting.await.unwrap(), 1);
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    both_live(&mut daemon);
    assert_eq!(daemon.observe("/readyz").0, 200);
    assert!(daemon.stop().success());
}

#[test]
fn only_workers_map_the_module() {
    // The vendor's library is mapped by every worker and by no other process; a worker says in its
    // command line what it is.
    let setup = two_workers(&[]);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let workers: HashSet<_> = process::of(&setup, "hsm-worker").into_iter().collect();
    assert_eq!(workers, daemon.workers().into_iter().collect());
    assert_eq!(workers.len(), 2);
    let all = process::of(&setup, "");
    assert!(all.contains(&daemon.pid()) && all.len() == 3);
    if process::is_root("the mappings of front and workers") {
        assert_eq!(process::maps(daemon.pid(), "softhsm"), Some(false));
        assert!(workers.iter().all(|pid| process::maps(*pid, "libsofthsm2.so") == Some(true)));
    }
    assert!(daemon.stop().success());
    assert_eq!(process::of(&setup, ""), []);
}

#[test]
fn workers_end_with_the_front_however_it_ends() {
    // Killed at any time of its life, the front leaves no worker behind.
    let setup = two_workers(&[]);
    let gone = || {
        let since = Instant::now();
        while !process::of(&setup, "").is_empty() {
            assert!(since.elapsed() < Duration::from_secs(30), "a worker outlived its front");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let mut live = Daemon::ready(&setup);
    both_live(&mut live);
    live.signal(Signal::KILL);
    live.wait();
    gone();
    let mut starting = Daemon::start(&setup);
    starting.wait_until("starting a worker", |daemon| !daemon.workers().is_empty());
    starting.signal(Signal::KILL);
    starting.wait();
    gone();
    // And the token is as good as before.
    assert!(Daemon::ready(&setup).stop().success());
}
