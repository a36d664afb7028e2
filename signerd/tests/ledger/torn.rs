//! A journal that lost its end.

use std::fs;

use super::place::{Place, answered, replays};

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
