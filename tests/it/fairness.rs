//! Large batches do not keep small ones waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signerd_tests::pool::{both_live, two_workers};
use signerd_tests::shim::{Act, Function, Line, Shim};
use signerd_tests::{Batch, Client, Daemon, Evidence, ledger};

/// How long a signature takes: long against all that the daemon does besides.
const SIGNATURE: Duration = Duration::from_millis(20);
/// Large batches, of 2,000 certificates each: more than have a place in the window at once.
const LARGE: usize = 4;
/// Small ones, one after the other.
const SMALL: usize = 10;
/// Signatures that others may get while one certificate is on its way: one chunk of a batch.
const CHUNK: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn a_single_certificate_waits_for_one_chunk_of_large_batches() {
    // While large batches wait for a slow token, in all places that there are, single certificates pass them:
    // each is answered before one chunk more of the large ones is signed. The large ones are answered, too.
    let setup = two_workers(&[]);
    let shim = Shim::under(&setup);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let large = (0..LARGE).map(|_| Batch::about(&evidence, "vn-moh-ec", 1_000).body);
    let large: Vec<_> = large.collect();
    shim.play([Line::on(Function::C_Sign, Act::Delay(SIGNATURE))]);
    let sent: Vec<_> = large
        .into_iter()
        .map(|body| {
            let client = client.clone();
            tokio::spawn(async move { client.sign(body).await })
        })
        .collect();
    daemon.wait_until("signing all of them", |_| ledger::open_intents(&setup) == LARGE as i64);
    let signatures = || shim.tally().calls(Function::C_Sign);
    // The first chunks taught how long a signature takes.
    let begin = signatures();
    daemon.wait_until("at its pace", |_| signatures() >= begin + CHUNK);
    for _ in 0..SMALL {
        let batch = Batch::about(&evidence, "vn-moh-ec", 1);
        let before = signatures();
        let answer = client.sign(batch.body).await.unwrap();
        let passed = signatures() - before;
        assert_eq!(answer.statuses(), ["issued"]);
        assert!(passed <= CHUNK, "{passed} signatures");
        assert_eq!(ledger::open_intents(&setup), LARGE as i64, "the large ones are still there");
    }
    shim.mend();
    for answer in sent {
        assert_eq!(answer.await.unwrap().unwrap().statuses(), vec!["issued"; 1_000]);
    }
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_single_certificates_do_not_keep_a_large_batch_waiting() {
    // While single certificates come without end, from more callers than the token has sessions, a large batch
    // is signed nevertheless.
    let setup = two_workers(&[]);
    let shim = Shim::under(&setup);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Arc::new(Evidence::of(&setup)));
    shim.play([Line::on(Function::C_Sign, Act::Delay(SIGNATURE / 10))]);
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (client, evidence, stop) =
                (client.clone(), Arc::clone(&evidence), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    let body = Batch::about(&evidence, "vn-moh-ec", 1).body;
                    assert_eq!(client.sign(body).await.unwrap().statuses(), ["issued"]);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let answer = client.sign(Batch::about(&evidence, "vn-moh-ec", 300).body).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(answer.statuses(), vec!["issued"; 300]);
    let mut singles = 0;
    for caller in callers {
        singles += caller.await.unwrap();
    }
    assert!(singles > 0);
    assert!(daemon.stop().success());
}
