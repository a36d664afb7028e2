//! The signed heads that a ledger keeps.

use signerd::ledger::StoredCheckpoint;

use super::place::{NOW, Place};

#[tokio::test]
async fn the_last_checkpoint_of_each_hour_stays_and_all_are_listed() {
    // Of those of one hour the last one stays; they are listed by size, from any size on, so many at once;
    // the latest is the one with the most entries, also if a shorter one comes in late.
    let place = Place::new();
    let ledger = place.open();
    let hour = NOW - NOW % 3_600;
    let note = |size: u64| format!("checkpoint of {size}");
    for (size, at) in
        [(1, hour), (2, hour + 3_599), (5, hour + 3_600), (9, hour + 7_200), (8, hour + 3_700)]
    {
        let kept = StoredCheckpoint { size, at, note: note(size) };
        ledger.keep_checkpoint(kept).await.unwrap();
    }
    let listed = async |after, count| {
        let found = ledger.checkpoints(after, count).await.unwrap();
        assert!(found.iter().all(|one| one.note == note(one.size)));
        found.into_iter().map(|one| one.size).collect::<Vec<_>>()
    };
    assert_eq!(listed(0, 10).await, [2, 8, 9]);
    assert_eq!(listed(2, 1).await, [8]);
    assert_eq!(listed(9, 10).await, [0; 0]);
    assert_eq!(ledger.checkpoint().await.unwrap().unwrap().size, 9);
    // A clock that was years behind when the next one was signed takes none of the others away.
    let kept = StoredCheckpoint { size: 12, at: 0, note: note(12) };
    ledger.keep_checkpoint(kept).await.unwrap();
    assert_eq!(listed(0, 10).await, [2, 8, 9, 12]);
}
