//! Killed at any instant: what was promised is there, what was not can be repeated.

use std::fs;

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

#[tokio::test]
async fn a_torn_journal_gives_back_a_state_that_once_was() {
    // Cut anywhere, the journal loses its tail only: batches go in the reverse order of their answers.
    let place = Place::new();
    let ledger = place.open();
    for id in 1..=6 {
        answered(&ledger, id, &[id]).await;
    }
    let whole = fs::metadata(place.journal()).unwrap().len();
    for part in 0..=24 {
        let copy = place.crash_copy();
        let journal = fs::OpenOptions::new().write(true).open(copy.journal()).unwrap();
        journal.set_len(whole * part / 24).unwrap();
        let after = copy.open();
        let mut kept = Vec::new();
        for id in 1..=6 {
            kept.push(replays(&after, id).await);
        }
        after.close().await;
        assert!(kept.is_sorted_by(|earlier, later| earlier >= later), "part {part}: {kept:?}");
        assert!(part < 24 || kept.iter().all(|kept| *kept));
    }
}
