//! One batch: from its first request to the replay of its answer.

use std::future::{Future, poll_fn};
use std::task::Poll;

use signerd::ledger::{BatchRef, Begin, LedgerError, Reissue};

use super::place::{
    DIGEST, NOW, OTHER_DIGEST, Place, RELEASED, RETENTION, answered, batch, begin, finished, fresh,
    intend, intent, open_batch, replays, resumable,
};

#[tokio::test]
async fn an_answered_batch_is_replayed_also_after_a_restart() {
    // Same id and same bytes: the same answer, byte for byte, in this process and in the next.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1, 2]).await;
    assert!(replays(&ledger, 1).await);
    ledger.close().await;
    assert!(replays(&place.open(), 1).await);
}

#[tokio::test]
async fn other_bytes_under_a_used_id_conflict() {
    // Same id, other bytes: a conflict while the first is open (at work or left) and once answered.
    let place = Place::new();
    let ledger = place.open();
    let attempt = open_batch(&ledger, 1, &[1]).await;
    assert!(matches!(begin(&ledger, 1, OTHER_DIGEST).await, Begin::Conflict));
    drop(attempt);
    assert!(matches!(begin(&ledger, 1, OTHER_DIGEST).await, Begin::Conflict));
    let (ticket, _) = resumable(&ledger, 1).await;
    let attempt = ledger.resume(ticket, NOW).await.unwrap();
    ledger.finish(attempt, finished(1)).await.unwrap();
    assert!(matches!(begin(&ledger, 1, OTHER_DIGEST).await, Begin::Conflict));
}

#[tokio::test]
async fn a_batch_id_belongs_to_its_client() {
    // Two clients may use the same id without meeting.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let other = BatchRef { client: "moh-other".to_owned(), id: [1; 16] };
    assert!(matches!(ledger.begin(other, OTHER_DIGEST, NOW).await.unwrap(), Begin::Fresh(_)));
}

#[tokio::test]
async fn a_second_worker_on_a_batch_is_turned_away_at_once() {
    // A concurrent repeat hears "in progress" before and after the intent; a dropped ticket frees.
    let place = Place::new();
    let ledger = place.open();
    let ticket = fresh(&ledger, 1).await;
    assert!(matches!(begin(&ledger, 1, DIGEST).await, Begin::InProgress));
    assert!(matches!(begin(&ledger, 1, OTHER_DIGEST).await, Begin::InProgress));
    let attempt = intend(&ledger, ticket, intent(1, &[1])).await;
    assert!(matches!(begin(&ledger, 1, DIGEST).await, Begin::InProgress));
    ledger.release(attempt, RELEASED, NOW).await.unwrap();
    let ticket = fresh(&ledger, 1).await;
    drop(ticket);
    assert!(matches!(begin(&ledger, 1, OTHER_DIGEST).await, Begin::Fresh(_)));
}

#[tokio::test]
async fn a_batch_without_a_certificate_is_answered_and_replayed() {
    // An answer is stored even when every record was rejected.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[]).await;
    assert!(replays(&ledger, 1).await);
}

#[tokio::test]
async fn a_released_batch_leaves_nothing() {
    // After a 503 the id is free, also for other bytes, and so are the doses.
    let place = Place::new();
    let ledger = place.open();
    let attempt = open_batch(&ledger, 1, &[1, 2]).await;
    ledger.release(attempt, RELEASED, NOW).await.unwrap();
    let free = ledger.conflicts(vec![[1; 32], [2; 32]], None, Reissue::Never, NOW).await.unwrap();
    assert_eq!(free, [None, None]);
    let Begin::Fresh(ticket) = begin(&ledger, 1, OTHER_DIGEST).await else {
        panic!("the id is not free");
    };
    let attempt = intend(&ledger, ticket, intent(1, &[1, 2])).await;
    assert_eq!(attempt.number(), 1);
}

#[tokio::test]
async fn a_dropped_attempt_is_resumed_with_what_was_intended() {
    // A cancelled task leaves the intent; the repeat finds the same identifiers, key and times.
    let place = Place::new();
    let ledger = place.open();
    drop(open_batch(&ledger, 1, &[1, 2]).await);
    let (ticket, stored) = resumable(&ledger, 1).await;
    let first = intent(1, &[1, 2]);
    assert_eq!((stored.issuer, stored.kid, stored.issued_at), (first.issuer, first.kid, NOW));
    assert_eq!(stored.rejections, first.rejections);
    for (stored, first) in stored.certificates.iter().zip(&first.certificates) {
        assert_eq!(
            (stored.record, stored.dose, stored.uvci, stored.expires_at),
            (first.record, first.dose, first.uvci, first.expires_at)
        );
    }
    let attempt = ledger.resume(ticket, NOW).await.unwrap();
    assert_eq!(attempt.number(), 2);
    ledger.finish(attempt, finished(2)).await.unwrap();
    assert!(replays(&ledger, 1).await);
}

#[tokio::test]
async fn intending_the_same_again_is_the_next_attempt_and_another_intent_is_refused() {
    // An open intent is continued or discarded, never silently replaced.
    let place = Place::new();
    let ledger = place.open();
    drop(open_batch(&ledger, 1, &[1, 2]).await);
    let (ticket, _) = resumable(&ledger, 1).await;
    assert_eq!(intend(&ledger, ticket, intent(1, &[1, 2])).await.number(), 2);
    let (ticket, _) = resumable(&ledger, 1).await;
    let refusal = ledger.intend(ticket, intent(1, &[1])).await.unwrap_err();
    assert!(matches!(refusal, LedgerError::IntentDiffers));
    let (ticket, _) = resumable(&ledger, 1).await;
    let ticket = ledger.discard(ticket, RELEASED, NOW).await.unwrap();
    assert_eq!(intend(&ledger, ticket, intent(9, &[1])).await.number(), 1);
}

#[tokio::test]
async fn there_is_nothing_to_resume_without_an_intent() {
    // A ticket without an open intent cannot be resumed; discarding it changes nothing.
    let place = Place::new();
    let ledger = place.open();
    let ticket = fresh(&ledger, 1).await;
    let ticket = ledger.discard(ticket, RELEASED, NOW).await.unwrap();
    assert!(matches!(ledger.resume(ticket, NOW).await, Err(LedgerError::AttemptSuperseded)));
}

#[tokio::test]
async fn an_answer_needs_one_digest_per_certificate() {
    // A result that does not fit its intent is refused, and the intent stays open.
    let place = Place::new();
    let ledger = place.open();
    let attempt = open_batch(&ledger, 1, &[1, 2]).await;
    let refusal = ledger.finish(attempt, finished(1)).await.unwrap_err();
    assert!(matches!(refusal, LedgerError::Malformed(_)));
    let _ = resumable(&ledger, 1).await;
}

#[tokio::test]
async fn a_caller_that_stops_waiting_does_not_undo_its_command() {
    // A cancelled `finish` is still carried out, and the batch is claimed until it is.
    let place = Place::new();
    let ledger = place.open();
    let attempt = open_batch(&ledger, 1, &[1]).await;
    {
        let mut finish = Box::pin(ledger.finish(attempt, finished(1)));
        // One poll puts the command into the queue; then the caller is gone.
        poll_fn(|context| {
            let _ = finish.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
    }
    // The probe stands behind the command in the queue.
    ledger.probe().await.unwrap();
    assert!(replays(&ledger, 1).await);
}

#[tokio::test]
async fn an_answer_expires_with_its_retention_and_its_doses_do_not() {
    // After the retention a repeat finds it expired, purged or not; the dose stays certified.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let at = |now| ledger.begin(batch(1), DIGEST, now);
    assert!(matches!(at(NOW + RETENTION - 1).await.unwrap(), Begin::Replay { .. }));
    assert!(matches!(at(NOW + RETENTION).await.unwrap(), Begin::Expired));
    assert_eq!(ledger.purge(NOW + RETENTION - 1).await.unwrap(), 0);
    assert_eq!(ledger.purge(NOW + RETENTION).await.unwrap(), 1);
    assert_eq!(ledger.purge(NOW + RETENTION).await.unwrap(), 0);
    assert!(matches!(at(NOW).await.unwrap(), Begin::Expired));
    assert!(matches!(begin(&ledger, 1, OTHER_DIGEST).await, Begin::Conflict));
    let seen = ledger.conflicts(vec![[1; 32]], None, Reissue::Never, NOW).await.unwrap();
    assert!(seen[0].is_some());
}
