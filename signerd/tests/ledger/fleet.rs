//! Several appliances on one ledger: who works on a batch, who takes it over, what holds across them.
//!
//! Each `Ledger` of these tests is an appliance: a connection, claims and a life of its own.

use std::time::{Duration, Instant};

use signerd::ledger::{
    Begin, DoseConflict, Intended, Intent, Ledger, LedgerError, Reissue, Ticket,
};

use super::place::{
    DIGEST, NOW, OTHER_DIGEST, RELEASED, answered, batch, begin, finished, fresh, intend, intent,
    open_batch, replays, resumable,
};
use super::shared::Place;

fn superseded<T>(result: &Result<T, LedgerError>) -> bool {
    matches!(result, Err(LedgerError::AttemptSuperseded))
}

#[tokio::test]
async fn any_appliance_answers_a_repeat_begun_on_another() {
    // Answered on one, replayed on the other; other bytes conflict there too.
    let place = Place::new();
    let (one, other) = (place.open(), place.open());
    answered(&one, 1, &[1]).await;
    assert!(replays(&other, 1).await);
    assert!(matches!(begin(&other, 1, OTHER_DIGEST).await, Begin::Conflict));
}

#[tokio::test]
async fn a_batch_that_a_living_appliance_works_on_is_in_progress_everywhere() {
    // The repeat elsewhere is turned away, other bytes conflict; neither housekeeping nor a start there
    // touches or counts the batch. Left by its task it belongs to its appliance until that says otherwise.
    let place = Place::new();
    let (one, other) = (place.open(), place.open());
    let attempt = open_batch(&one, 1, &[1]).await;
    assert!(matches!(begin(&other, 1, DIGEST).await, Begin::InProgress));
    assert!(matches!(begin(&other, 1, OTHER_DIGEST).await, Begin::Conflict));
    assert_eq!(other.release_idle(NOW + 1, NOW + 2).await.unwrap(), 0);
    assert_eq!((one.open_intents().await.unwrap(), other.open_intents().await.unwrap()), (1, 0));
    drop(attempt);
    assert!(matches!(begin(&other, 1, DIGEST).await, Begin::InProgress));
    let (ticket, _) = resumable(&one, 1).await;
    let attempt = one.resume(ticket, NOW).await.unwrap();
    one.finish(attempt, finished(1)).await.unwrap();
    assert!(replays(&other, 1).await);
}

#[tokio::test]
async fn an_appliance_that_lives_on_leaves_what_no_task_works_on_any_more() {
    // A task that was cut off, as by a server that was away: at the next pulse the batch is anybody's, and
    // what other tasks work on stays theirs.
    let place = Place::new();
    let (one, other) = (place.open(), place.open());
    let at_work = open_batch(&one, 1, &[1]).await;
    drop(open_batch(&one, 2, &[2]).await);
    assert!(matches!(begin(&other, 2, DIGEST).await, Begin::InProgress));
    let living = one.clone();
    let pulse = tokio::spawn(async move { living.stay_alive().await });
    let since = Instant::now();
    let ticket = loop {
        match begin(&other, 2, DIGEST).await {
            Begin::Resume(ticket, _) => break ticket,
            _ => assert!(since.elapsed() < Duration::from_secs(20), "it is never left"),
        }
    };
    let attempt = other.resume(ticket, NOW).await.unwrap();
    assert_eq!(attempt.number(), 2);
    other.finish(attempt, finished(1)).await.unwrap();
    assert!(replays(&one, 2).await);
    assert!(matches!(begin(&other, 1, DIGEST).await, Begin::InProgress));
    one.finish(at_work, finished(1)).await.unwrap();
    one.close().await;
    pulse.await.unwrap();
}

#[tokio::test]
async fn a_dead_appliances_batch_is_taken_over_and_its_late_attempt_is_void() {
    // After its life the next repeat goes on elsewhere, as the next attempt; who wakes up late can neither
    // finish nor release, and then finds the batch in progress there, and its answer in the end.
    let place = Place::new();
    let (one, other) = (place.open(), place.open());
    let paused = open_batch(&one, 1, &[1]).await;
    place.end_lives();
    let (ticket, _) = resumable(&other, 1).await;
    let current = other.resume(ticket, NOW).await.unwrap();
    assert_eq!((paused.number(), current.number()), (1, 2));
    assert!(superseded(&one.finish(paused, finished(1)).await));
    assert!(matches!(begin(&one, 1, DIGEST).await, Begin::InProgress));
    other.finish(current, finished(1)).await.unwrap();
    assert!(replays(&one, 1).await);
    assert_eq!(place.rows("SELECT count(*) FROM issued"), [["1"]]);
}

#[tokio::test]
async fn an_appliance_that_wakes_before_anybody_took_over_finishes() {
    // Silence alone voids nothing: the attempt is the current one until there is another.
    let place = Place::new();
    let (one, other) = (place.open(), place.open());
    let paused = open_batch(&one, 1, &[1]).await;
    place.end_lives();
    assert_eq!(other.open_intents().await.unwrap(), 1);
    one.finish(paused, finished(1)).await.unwrap();
    assert!(replays(&other, 1).await);
}

#[tokio::test]
async fn two_that_take_over_at_once_are_one() {
    // Both found the batch left; one resumes, and the other may neither resume nor discard it.
    let place = Place::new();
    let (dead, one, other) = (place.open(), place.open(), place.open());
    let _left = open_batch(&dead, 1, &[1]).await;
    place.end_lives();
    let (first, _) = resumable(&one, 1).await;
    let (second, _) = resumable(&other, 1).await;
    let attempt = one.resume(first, NOW).await.unwrap();
    assert!(superseded(&other.resume(second, NOW).await));
    assert!(matches!(begin(&other, 1, DIGEST).await, Begin::InProgress));
    place.end_lives();
    let (third, _) = resumable(&other, 1).await;
    // A group of the first one is enough to be alive again.
    one.probe().await.unwrap();
    assert!(superseded(&other.discard(third, RELEASED, NOW).await));
    one.finish(attempt, finished(1)).await.unwrap();
}

#[tokio::test]
async fn of_two_that_judged_the_same_fresh_batch_one_intends() {
    // The second intent finds the batch taken, whether it is at work, answered, or left by a dead one; it
    // is never continued under other identifiers.
    let place = Place::new();
    let (one, other) = (place.open(), place.open());
    let taken = async |ticket: Ticket| {
        matches!(other.intend(ticket, intent(99, &[1])).await.unwrap(), Intended::Taken)
    };
    let early = fresh(&other, 1).await;
    let attempt = open_batch(&one, 1, &[1]).await;
    assert!(taken(early).await);
    one.release(attempt, RELEASED, NOW).await.unwrap();
    let early = fresh(&other, 1).await;
    let attempt = open_batch(&one, 1, &[1]).await;
    place.end_lives();
    assert!(taken(early).await);
    one.release(attempt, RELEASED, NOW).await.unwrap();
    let early = fresh(&other, 1).await;
    answered(&one, 1, &[1]).await;
    assert!(taken(early).await);
    assert_eq!(place.rows("SELECT count(*) FROM batch"), [["1"]]);
}

#[tokio::test]
async fn an_appliance_that_ends_as_told_leaves_its_batches_at_once() {
    // Nobody waits for the end of its life.
    let place = Place::new();
    let (one, other) = (place.open(), place.open());
    drop(open_batch(&one, 1, &[1]).await);
    assert!(matches!(begin(&other, 1, DIGEST).await, Begin::InProgress));
    one.close().await;
    drop(resumable(&other, 1).await);
    assert_eq!(place.rows("SELECT count(*) FROM appliance"), [["1"]]);
}

#[tokio::test]
async fn doses_in_progress_elsewhere_conflict() {
    // What another appliance has open or answered is told as if it were here.
    let place = Place::new();
    let (one, other) = (place.open(), place.open());
    let _at_work = open_batch(&one, 1, &[1]).await;
    answered(&one, 2, &[2]).await;
    let doses = vec![[1; 32], [2; 32], [3; 32]];
    let seen = other.conflicts(doses, Some(batch(9)), Reissue::Never, NOW).await.unwrap();
    let expected = [Some(DoseConflict::InProgress), Some(DoseConflict::AlreadyCertified), None];
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_and_a_dose_hold_across_three_appliances() {
    // 60 batches at once over three appliances: of those that share one dose exactly one gets it, of the
    // others exactly as many as the quota holds; and the log has every number once.
    let place = Place::new();
    let ledgers = [place.open(), place.open(), place.open()];
    let tasks: Vec<_> = (1_u8..=60)
        .map(|id| {
            let ledger = ledgers[usize::from(id) % 3].clone();
            tokio::spawn(async move { passes(&ledger, id).await })
        })
        .collect();
    let mut passed = [0, 0];
    for (at, task) in tasks.into_iter().enumerate() {
        passed[at % 2] += u32::from(task.await.unwrap());
    }
    assert_eq!(passed, [1, 20]);
    let gaps =
        "SELECT (SELECT size FROM log_head) - count(*), max(number) + 1 - count(*) FROM log_entry";
    assert_eq!(place.rows(gaps), [["0", "0"]]);
    let counted = "SELECT sum(doses) - (SELECT count(*) FROM issued) FROM issued_per_day";
    assert_eq!(place.rows(counted), [["0"]]);
    let (size, root) = ledgers[0].log_head().await.unwrap();
    assert_eq!(ledgers[1].log_root(size).await.unwrap(), root);
}

/// Whether a batch comes through: every other one has the same dose, the rest has a quota.
async fn passes(ledger: &Ledger, id: u8) -> bool {
    let ticket = fresh(ledger, id).await;
    let intent = match id % 2 {
        1 => intent(id, &[200]),
        _ => Intent { issuer: "vn-day".to_owned(), quota: Some(20), ..intent(id, &[id]) },
    };
    match ledger.intend(ticket, intent).await.unwrap() {
        Intended::Open(attempt) => {
            ledger.finish(attempt, finished(1)).await.unwrap();
            true
        }
        Intended::Conflicts(..) | Intended::OverQuota(_) => false,
        Intended::Taken => panic!("nobody else has batch {id}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_that_comes_to_all_is_signed_once() {
    // The same fresh batch on three appliances at once, again and again: one attempt, two refusals.
    let place = Place::new();
    let ledgers = [place.open(), place.open(), place.open()];
    for id in 1..=20 {
        let tasks = ledgers.clone().map(|ledger| {
            tokio::spawn(async move {
                let Begin::Fresh(ticket) = begin(&ledger, id, DIGEST).await else { return None };
                match ledger.intend(ticket, intent(id, &[id])).await.unwrap() {
                    Intended::Open(attempt) => Some((ledger, attempt)),
                    Intended::Taken => None,
                    other => panic!("{other:?}"),
                }
            })
        });
        let mut attempts = Vec::new();
        for task in tasks {
            attempts.extend(task.await.unwrap());
        }
        assert_eq!(attempts.len(), 1, "batch {id}");
        let (ledger, attempt) = attempts.remove(0);
        ledger.finish(attempt, finished(1)).await.unwrap();
    }
    let attempt = intend(&ledgers[0], fresh(&ledgers[0], 99).await, intent(99, &[99])).await;
    assert_eq!(attempt.number(), 1);
}
