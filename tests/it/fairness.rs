//! Large batches do not keep small ones waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use signerd_tests::pool::{both_live, two_workers};
use signerd_tests::shim::{Act, Function, Line, Shim};
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup, ledger};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a signature takes: long against all that the daemon does besides.
const SIGNATURE: Duration = Duration::from_millis(20);
/// Large batches, of 2,000 certificates each: more than have a place in the window at once.
const LARGE: usize = 4;
/// Callers of single certificates at once.
const CALLERS: usize = 16;
/// A batch of 600 certificates, at half of this token's speed, takes two seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Small ones, one after the other.
const SMALL: usize = 10;
/// Signatures that others get while one certificate is on its way, on a machine that does nothing else: workers
/// have four in hand, each alone in its chunk at this pace, and as many pass while it is judged and written down.
/// A chunk of a batch is 64.
const PASSED: u64 = 24;
/// Signatures that others may get meanwhile on a machine that does other things, too: a tenth of a batch.
const PASSED_MAX: u64 = 200;

/// A daemon with both workers live, whose token takes so long for a signature.
fn slow_token(signature: Duration) -> (Setup, Shim, Daemon) {
    let setup = two_workers(&[]);
    let shim = Shim::under(&setup);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    shim.play([Line::on(Function::C_Sign, Act::Delay(signature))]);
    (setup, shim, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_certificate_passes_large_batches() {
    // While large batches wait for a slow token, in all places that there are, single certificates pass them:
    // none waits for a tenth of a batch, and most of them for less than half a chunk. The large ones are
    // answered, too.
    let (setup, shim, mut daemon) = slow_token(SIGNATURE);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let large = (0..LARGE).map(|_| Batch::about(&evidence, "vn-moh-ec", 1_000).body);
    let large: Vec<_> = large.collect();
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
    daemon.wait_until("at its pace", |_| signatures() >= begin + PASSED);
    let mut all_passed = Vec::new();
    for _ in 0..SMALL {
        let batch = Batch::about(&evidence, "vn-moh-ec", 1);
        let before = signatures();
        let answer = client.sign(batch.body).await.unwrap();
        let passed = signatures() - before;
        assert_eq!(answer.statuses(), ["issued"]);
        assert!(passed <= PASSED_MAX, "{passed} signatures");
        assert_eq!(ledger::open_intents(&setup), LARGE as i64, "the large ones are still there");
        all_passed.push(passed);
    }
    all_passed.sort_unstable();
    assert!(all_passed[SMALL / 2] <= PASSED, "{all_passed:?} signatures");
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
    let (setup, _shim, daemon) = slow_token(SIGNATURE / 10);
    let (client, evidence) = (Client::new(&setup), Arc::new(Evidence::of(&setup)));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, evidence) = (client.clone(), Arc::clone(&evidence));
        let answered = Arc::clone(&answered);
        callers.spawn(async move {
            loop {
                let body = Batch::about(&evidence, "vn-moh-ec", 1).body;
                assert_eq!(client.sign(body).await.unwrap().statuses(), ["issued"]);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let large = client.sign(Batch::about(&evidence, "vn-moh-ec", 300).body);
    let answer = timeout(PATIENCE, large).await.expect("the large batch").unwrap();
    assert_eq!(answer.statuses(), vec!["issued"; 300]);
    assert!(answered.load(Ordering::Relaxed) > CALLERS, "single ones meanwhile");
    callers.abort_all();
    while let Some(ended) = callers.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()), "a single one was refused");
    }
    assert!(daemon.stop().success());
}
