//! A second certificate of a dose: never, or once the youngest one is old enough.

use signerd::ledger::{DoseConflict, Intended, Intent, Ledger, Reissue};

use super::place::{
    NOW, Place, RELEASED, answered, batch, finished, fresh, intend, intent, open_batch,
};

const DAY: i64 = 86_400;

/// An intent for one dose at a time, with a re-issue.
fn again(tag: u8, dose: u8, issued_at: i64, reissue: Reissue) -> Intent {
    Intent { issued_at, reissue, ..intent(tag, &[dose]) }
}

async fn refused(ledger: &Ledger, tag: u8, intent: Intent) -> Option<DoseConflict> {
    let ticket = fresh(ledger, tag).await;
    match ledger.intend(ticket, intent).await.unwrap() {
        Intended::Open(attempt) => {
            ledger.release(attempt, RELEASED, NOW).await.unwrap();
            None
        }
        Intended::Conflicts(_, conflicts) => Some(conflicts[0].1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_dose_is_certified_again_once_its_certificate_is_days_old() {
    // One second less than n days refuses, n days exactly allow; the preview says the same.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    for (days, age, conflict) in [
        (30, 30 * DAY - 1, Some(DoseConflict::AlreadyCertified)),
        (30, 30 * DAY, None),
        (30, 0, Some(DoseConflict::AlreadyCertified)),
        (1, DAY - 1, Some(DoseConflict::AlreadyCertified)),
        (1, DAY, None),
        (0, 0, None),
        // The certificate bears a later time: another appliance's clock is ahead.
        (0, -1, Some(DoseConflict::AlreadyCertified)),
        (u16::MAX, i64::from(u16::MAX) * DAY - 1, Some(DoseConflict::AlreadyCertified)),
        (u16::MAX, i64::from(u16::MAX) * DAY, None),
    ] {
        let (now, reissue) = (NOW + age, Reissue::AfterDays(days));
        assert_eq!(refused(&ledger, 2, again(2, 1, now, reissue)).await, conflict, "{days} {age}");
        let seen = ledger.conflicts(vec![[1; 32]], None, reissue, now).await.unwrap();
        assert_eq!(seen, [conflict], "{days} {age}");
    }
    let never = again(2, 1, NOW + 100 * 365 * DAY, Reissue::Never);
    assert_eq!(refused(&ledger, 2, never).await, Some(DoseConflict::AlreadyCertified));
}

#[tokio::test]
async fn the_youngest_certificate_of_a_dose_counts() {
    // After a second certificate the days begin anew; both stay in the ledger.
    let place = Place::new();
    let ledger = place.open();
    let reissue = Reissue::AfterDays(10);
    answered(&ledger, 1, &[1]).await;
    let ticket = fresh(&ledger, 2).await;
    let attempt = intend(&ledger, ticket, again(2, 1, NOW + 10 * DAY, reissue)).await;
    ledger.finish(attempt, finished(1)).await.unwrap();
    for (now, conflict) in
        [(NOW + 20 * DAY - 1, Some(DoseConflict::AlreadyCertified)), (NOW + 20 * DAY, None)]
    {
        assert_eq!(refused(&ledger, 3, again(3, 1, now, reissue)).await, conflict);
    }
    let issued = "SELECT count(*), count(DISTINCT uvci), count(DISTINCT pseudonym) FROM issued";
    assert_eq!(place.rows(issued), [["2", "2", "1"]]);
}

#[tokio::test]
async fn a_dose_in_progress_is_not_certified_again_whatever_its_age() {
    // An open intent of another batch conflicts also where re-issue is allowed and long due, beside an
    // old certificate and without one.
    let place = Place::new();
    let ledger = place.open();
    let (now, reissue) = (NOW + 50 * DAY, Reissue::AfterDays(1));
    answered(&ledger, 1, &[1]).await;
    let ticket = fresh(&ledger, 2).await;
    let _at_work = intend(&ledger, ticket, again(2, 1, NOW + 40 * DAY, reissue)).await;
    let _old_but_open = open_batch(&ledger, 3, &[3]).await;
    for dose in [1, 3] {
        let conflict = refused(&ledger, 4, again(4, dose, now, reissue)).await;
        assert_eq!(conflict, Some(DoseConflict::InProgress), "dose {dose}");
    }
    // A preview of the batch that is at work does not see itself.
    let doses = vec![[1; 32]];
    let seen = ledger.conflicts(doses, Some(batch(2)), reissue, now).await.unwrap();
    assert_eq!(seen, [None]);
}
