//! Killed at any instant: what was promised is there, what was not can be repeated.

use super::place::{NOW, Place, answered, open_batch, replays, resumable};

#[tokio::test]
async fn a_crash_after_the_intent_leaves_it_to_be_resumed() {
    // Killed before the answer: the repeat continues with what was intended, as the next attempt.
    let place = Place::new();
    let ledger = place.open();
    let _at_work = open_batch(&ledger, 1, &[1, 2]).await;
    let copy = place.crash_copy();
    let after = copy.open();
    let (ticket, stored) = resumable(&after, 1).await;
    assert_eq!(stored.certificates.len(), 2);
    assert_eq!(after.resume(ticket, NOW).await.unwrap().number(), 2);
}

#[tokio::test]
async fn a_crash_after_the_answer_keeps_it() {
    // Once `finish` has returned, the answer is there, whatever happens to the process.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let copy = place.crash_copy();
    assert!(replays(&copy.open(), 1).await);
}
