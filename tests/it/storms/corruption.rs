//! A device that proves its keys and then signs wrongly: none of it is released.

use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use signerd_tests::pool::{both_live, two_workers};
use signerd_tests::random;
use signerd_tests::shim::{Act, Function, Line, Tally};
use signerd_tests::{Answer, Batch, Client, Daemon, Evidence, Shim, Verifier};
use tokio::task::JoinSet;

/// Corrupted signatures without `SIGNERD_CORRUPTED`.
const CORRUPTED: u64 = 100_000;
/// People of a batch, with two doses each; as many batches at once.
const PEOPLE: usize = 250;
const BATCHES: usize = 3;
/// How long may a batch that is repeated go without an answer?
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn no_corrupted_signature_is_released() {
    // The device signs wrongly whatever is not a proof of a key, with one bit that is wrong, with garbage or
    // with another key: a hundred thousand times nothing but a 503 leaves, and no head of the log. As soon as
    // it errs only now and then, every batch is answered in full; and all that leaves verifies.
    let wanted = random::number("SIGNERD_CORRUPTED").unwrap_or(CORRUPTED);
    let setup = two_workers(&[]);
    let shim = Shim::under(&setup);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let verifier = Verifier::of(&setup);
    let batches: Vec<Batch> =
        (0..BATCHES).map(|_| Batch::about(&evidence, "vn-moh-ec", PEOPLE)).collect();
    let (since, begin) = (Instant::now(), shim.tally());
    let proof = Sha256::digest(b"signerd proof of key, version 1").into();
    let mut refusals = 0;
    let mut head = None;
    for (act, part) in [
        // The key that signs heads of the log: the only one with which they are right.
        (Act::SignedBy("audit".to_owned()), wanted / 100),
        (Act::Flip(None), wanted / 10 * 7),
        (Act::Garbage, wanted / 10 * 2),
        (Act::Flip(Some(0)), wanted / 10),
    ] {
        let before = shim.tally();
        shim.play([Line::on(Function::C_Sign, act.clone()).except(proof)]);
        while corrupted(&shim.tally().since(&before)) < part {
            for answer in ask(&client, &batches).await {
                assert_eq!(answer.status, 503, "{act}");
                assert_eq!(answer.code(), "hsm.unavailable", "{act}");
                refusals += 1;
            }
            if !matches!(act, Act::SignedBy(_)) {
                let now = setup.text("state/checkpoint");
                assert_eq!(*head.get_or_insert_with(|| now.clone()), now, "a wrongly signed head");
            }
        }
    }
    let always = shim.tally();
    shim.play([Line::on(Function::C_Sign, Act::Flip(None)).chance(0.05, 1).except(proof)]);
    let mut certificates = 0;
    for batch in &batches {
        let asked = Instant::now();
        let answer = loop {
            let answer = client.sign(batch.body.clone()).await.unwrap();
            if answer.status == 200 {
                break answer;
            }
            assert_eq!((answer.status, answer.code().as_str()), (503, "hsm.unavailable"));
            assert!(asked.elapsed() < PATIENCE, "{}", daemon.log());
        };
        certificates += verifier.hold(&answer).unwrap();
    }
    assert_eq!(certificates, BATCHES * PEOPLE * 2);
    let now_and_then = corrupted(&shim.tally().since(&always));
    assert!(now_and_then > 0);
    shim.mend();
    daemon.wait_until("signing heads again", |_| Some(setup.text("state/checkpoint")) != head);
    let all = corrupted(&shim.tally().since(&begin));
    let seen = daemon.metric("signerd_hsm_signatures_refused_total");
    // Of a batch that fails not every signature is looked at.
    assert!(seen > all as f64 / 4.0 && seen <= all as f64, "{seen} of {all}");
    eprintln!(
        "{all} corrupted signatures, {now_and_then} of them among good ones, 0 released; {seen} seen and refused, \
         {refusals} batches refused, {certificates} certificates verified; {:.0} s",
        since.elapsed().as_secs_f64()
    );
    assert!(daemon.stop().success());
}

/// Asks for all batches at once.
async fn ask(client: &Client, batches: &[Batch]) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    for batch in batches {
        let (client, body) = (client.clone(), batch.body.clone());
        asked.spawn(async move { client.sign(body).await.expect("an answer") });
    }
    asked.join_all().await
}

fn corrupted(tally: &Tally) -> u64 {
    ["flip", "garbage", "signed-by"].iter().map(|act| tally.injected(Function::C_Sign, act)).sum()
}
