//! Doses across batches: never two certificates for one dose.

use signerd::ledger::{DoseConflict, Intended, Reissue};

use super::place::{NOW, Place, answered, batch, finished, fresh, intend, intent, open_batch};

#[tokio::test]
async fn a_dose_of_another_batch_conflicts_and_nothing_is_stored() {
    // Open elsewhere: in progress; answered elsewhere: already certified; the ticket comes back.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let _at_work = open_batch(&ledger, 2, &[2]).await;
    let ticket = fresh(&ledger, 3).await;
    let outcome = ledger.intend(ticket, intent(3, &[9, 1, 2])).await.unwrap();
    let Intended::Conflicts(ticket, conflicts) = outcome else {
        panic!("no conflict");
    };
    let expected = [(1, DoseConflict::AlreadyCertified), (2, DoseConflict::InProgress)];
    assert_eq!(conflicts, expected);
    let seen = ledger.conflicts(vec![[9; 32]], None, Reissue::Never, NOW).await.unwrap();
    assert_eq!(seen, [None]);
    let attempt = intend(&ledger, ticket, intent(3, &[9])).await;
    ledger.finish(attempt, finished(1)).await.unwrap();
}

#[tokio::test]
async fn a_preview_does_not_see_its_own_batch() {
    // The conflicts of a preview leave out the batch that asks, and store nothing.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let doses = || vec![[1; 32], [2; 32]];
    let look = async |except| ledger.conflicts(doses(), except, Reissue::Never, NOW).await.unwrap();
    let seen = look(None).await;
    assert_eq!(seen, [Some(DoseConflict::AlreadyCertified), None]);
    assert_eq!(look(Some(batch(1))).await, [None, None]);
    assert_eq!(look(Some(batch(2))).await, seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_batches_with_one_dose_exactly_one_gets_it() {
    // Concurrent batches that share a dose: one intent, the others conflict, whatever the order.
    let place = Place::new();
    let ledger = place.open();
    let tasks: Vec<_> = (1..=32)
        .map(|id| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let ticket = fresh(&ledger, id).await;
                match ledger.intend(ticket, intent(id, &[200])).await.unwrap() {
                    Intended::Open(attempt) => {
                        ledger.finish(attempt, finished(1)).await.unwrap();
                        1
                    }
                    Intended::Conflicts(..) => 0,
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let mut certified = 0;
    for task in tasks {
        certified += task.await.unwrap();
    }
    assert_eq!(certified, 1);
}

#[tokio::test]
async fn an_intent_that_nobody_repeats_is_freed_after_its_time() {
    // Left intents keep their doses until they are old; those at work are kept however old.
    let place = Place::new();
    let ledger = place.open();
    drop(open_batch(&ledger, 1, &[1]).await);
    let _at_work = open_batch(&ledger, 2, &[2]).await;
    answered(&ledger, 3, &[3]).await;
    assert_eq!(ledger.release_idle(NOW, NOW + 2).await.unwrap(), 0);
    assert_eq!(ledger.release_idle(NOW + 1, NOW + 2).await.unwrap(), 1);
    let doses = vec![[1; 32], [2; 32], [3; 32]];
    let seen = ledger.conflicts(doses, None, Reissue::Never, NOW).await.unwrap();
    let expected = [None, Some(DoseConflict::InProgress), Some(DoseConflict::AlreadyCertified)];
    assert_eq!(seen, expected);
}
