//! The quota of an issuer's day: counted with the intent, given back with it, by the days of Viet Nam.

use signerd::ledger::{Intended, Intent, Ledger, OverQuota};

use super::place::{
    NOW, Place, RELEASED, answered, finished, fresh, intend, intent, open_batch, resumable,
};

/// The first second of a day in Viet Nam: 17:00 UTC.
const MIDNIGHT: i64 = NOW - NOW % 86_400 + 61_200;

fn at(tag: u8, doses: &[u8], issued_at: i64, quota: u32) -> Intent {
    Intent { issued_at, quota: Some(quota), ..intent(tag, doses) }
}

/// Finishes the batch if the quota holds it.
async fn tried(ledger: &Ledger, tag: u8, intent: Intent) -> Option<OverQuota> {
    let ticket = fresh(ledger, tag).await;
    let count = intent.certificates.len();
    match ledger.intend(ticket, intent).await.unwrap() {
        Intended::Open(attempt) => {
            ledger.finish(attempt, finished(count)).await.unwrap();
            None
        }
        Intended::OverQuota(over) => Some(over),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_day_holds_its_quota_and_not_one_more() {
    // Batches pass as long as the day holds them whole; one that it does not hold is refused as a whole
    // and leaves nothing, and a smaller one passes after it.
    let place = Place::new();
    let ledger = place.open();
    assert_eq!(tried(&ledger, 1, at(1, &[1, 2, 3], NOW, 5)).await, None);
    let over = tried(&ledger, 2, at(2, &[4, 5, 6], NOW, 5)).await.unwrap();
    assert_eq!(over, OverQuota { quota: 5, issued: 3, wanted: 3 });
    assert_eq!((over.left(), over.never_fits()), (2, false));
    // The refused batch may come again, smaller, under its own id.
    assert_eq!(tried(&ledger, 2, at(2, &[4, 5], NOW, 5)).await, None);
    let over = tried(&ledger, 3, at(3, &[6], NOW, 5)).await.unwrap();
    assert_eq!((over.left(), over.issued), (0, 5));
    let over = tried(&ledger, 3, at(3, &[6, 7, 8, 9, 10, 11], NOW, 5)).await.unwrap();
    assert!(over.never_fits());
    // A lowered quota leaves nothing, and wraps around nowhere.
    assert_eq!(tried(&ledger, 3, at(3, &[6], NOW, 1)).await.unwrap().left(), 0);
    assert_eq!(
        tried(&ledger, 3, at(3, &[], NOW, 1)).await,
        None,
        "nothing to sign, nothing to count"
    );
}

#[tokio::test]
async fn the_day_ends_at_midnight_in_viet_nam() {
    // The last second of a day counts for it, the next one for the next day; a day before is not changed
    // by a day after.
    let place = Place::new();
    let ledger = place.open();
    assert_eq!(policy::day_bounds(MIDNIGHT), (MIDNIGHT, MIDNIGHT + 86_400));
    assert_eq!(tried(&ledger, 1, at(1, &[1, 2], MIDNIGHT - 1, 2)).await, None);
    assert!(tried(&ledger, 2, at(2, &[3], MIDNIGHT - 1, 2)).await.is_some());
    assert_eq!(tried(&ledger, 2, at(2, &[3, 4], MIDNIGHT, 2)).await, None);
    assert!(tried(&ledger, 3, at(3, &[5], MIDNIGHT + 86_399, 2)).await.is_some());
    assert_eq!(tried(&ledger, 3, at(3, &[5], MIDNIGHT + 86_400, 2)).await, None);
    assert!(tried(&ledger, 4, at(4, &[6], MIDNIGHT - 86_401, 0)).await.is_some());
    assert_eq!(tried(&ledger, 4, at(4, &[6, 7], MIDNIGHT - 86_401, 2)).await, None);
}

#[tokio::test]
async fn open_intents_count_and_give_their_part_back() {
    // An open intent has its part of the day; released, discarded or freed as abandoned, the day has it
    // back; resumed, it is not counted twice.
    let place = Place::new();
    let ledger = place.open();
    let attempt = open_batch(&ledger, 1, &[1, 2]).await;
    assert_eq!(tried(&ledger, 9, at(9, &[9], NOW, 2)).await.unwrap().issued, 2);
    ledger.release(attempt, RELEASED, NOW).await.unwrap();
    assert!(tried(&ledger, 9, at(9, &[7, 8, 9], NOW, 2)).await.unwrap().issued == 0);

    drop(open_batch(&ledger, 2, &[1, 2]).await);
    let (ticket, _) = resumable(&ledger, 2).await;
    let attempt = ledger.resume(ticket, NOW).await.unwrap();
    assert_eq!(tried(&ledger, 9, at(9, &[9], NOW, 2)).await.unwrap().issued, 2);
    drop(attempt);
    // The same intent once more, as a caller that kept it would store it.
    let (ticket, _) = resumable(&ledger, 2).await;
    drop(intend(&ledger, ticket, at(2, &[1, 2], NOW, 2)).await);
    assert_eq!(tried(&ledger, 9, at(9, &[9], NOW, 2)).await.unwrap().issued, 2);
    let (ticket, _) = resumable(&ledger, 2).await;
    drop(ledger.discard(ticket, RELEASED, NOW).await.unwrap());
    assert_eq!(tried(&ledger, 9, at(9, &[9], NOW, 0)).await.unwrap().issued, 0);

    drop(open_batch(&ledger, 3, &[1, 2]).await);
    assert_eq!(ledger.release_idle(NOW + 1, NOW + 2).await.unwrap(), 1);
    assert_eq!(tried(&ledger, 9, at(9, &[8, 9], NOW, 2)).await, None);
}

#[tokio::test]
async fn days_are_counted_before_there_is_a_quota_and_over_restarts() {
    // What was issued without a quota counts when one is set later the same day, also after a restart
    // and for what a killed process left open; another issuer has a day of its own.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1, 2]).await;
    let _at_work = open_batch(&ledger, 2, &[3]).await;
    let place = place.crash_copy();
    let ledger = place.open();
    let over = tried(&ledger, 3, at(3, &[4], NOW, 3)).await.unwrap();
    assert_eq!(over, OverQuota { quota: 3, issued: 3, wanted: 1 });
    let other = Intent { issuer: "vn-moh-ec".to_owned(), ..at(3, &[4], NOW, 3) };
    assert_eq!(tried(&ledger, 3, other).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_come_together_share_one_day() {
    // Of 32 concurrent batches of one dose a quota of 20 lets exactly 20 pass, whatever the order.
    let place = Place::new();
    let ledger = place.open();
    let tasks: Vec<_> = (1..=32)
        .map(|id| {
            let ledger = ledger.clone();
            tokio::spawn(async move { tried(&ledger, id, at(id, &[id], NOW, 20)).await })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += u32::from(task.await.unwrap().is_none());
    }
    assert_eq!(passed, 20);
}
