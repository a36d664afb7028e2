//! Overrides of signing windows: open until their end or until they are closed, and kept for ever.

use signerd::ledger::{
    Ledger, LedgerError, WINDOW_OVERRIDE_SECONDS_MAX, WindowClosing, WindowOverride,
};

use super::place::{NOW, Place};

const HOUR: i64 = 3_600;

fn opened(issuer: &str, opened_at: i64, until: i64) -> WindowOverride {
    let (officer, reason) = ("officer-1:00ff".to_owned(), "Đợt bổ sung".to_owned());
    WindowOverride { issuer: issuer.to_owned(), opened_at, until, officer, reason }
}

fn closing(issuer: &str, at: i64) -> WindowClosing {
    let (officer, reason) = ("officer-2:ff00".to_owned(), "xong".to_owned());
    WindowClosing { issuer: issuer.to_owned(), at, officer, reason }
}

async fn open_at(ledger: &Ledger, now: i64) -> Vec<String> {
    let open = ledger.windows(now).await.unwrap();
    open.into_iter().map(|open| open.issuer).collect()
}

#[tokio::test]
async fn an_override_counts_until_its_end_also_after_a_crash() {
    // Up to the last second before its end the override is there, with all that the officer said.
    let place = Place::new();
    let ledger = place.open();
    let override_ = opened("vn-moh", NOW, NOW + HOUR);
    assert_eq!(ledger.open_window(override_.clone()).await.unwrap(), None);
    let place = place.crash_copy();
    let ledger = place.open();
    assert_eq!(ledger.windows(NOW + HOUR - 1).await.unwrap(), [override_]);
    assert_eq!(open_at(&ledger, NOW + HOUR).await, [""; 0]);
}

#[tokio::test]
async fn closing_ends_the_override_of_its_issuer_alone() {
    // A closed override no longer counts; what was closed is told; closing once more changes nothing.
    let place = Place::new();
    let ledger = place.open();
    for issuer in ["b", "a"] {
        ledger.open_window(opened(issuer, NOW, NOW + HOUR)).await.unwrap();
    }
    assert_eq!(open_at(&ledger, NOW).await, ["a", "b"]);
    let closed = ledger.close_window(closing("b", NOW + 1)).await.unwrap();
    assert_eq!(closed, Some(opened("b", NOW, NOW + HOUR)));
    assert_eq!(open_at(&ledger, NOW + 1).await, ["a"]);
    assert_eq!(ledger.close_window(closing("b", NOW + 2)).await.unwrap(), None);
    assert_eq!(
        ledger.close_window(closing("a", NOW + HOUR)).await.unwrap(),
        None,
        "it had run out"
    );
}

#[tokio::test]
async fn a_later_override_takes_the_place_of_an_earlier_one() {
    // At most one override of an issuer is open: a second one shortens as well as lengthens. The same
    // one once more is the first one.
    let place = Place::new();
    let ledger = place.open();
    let first = opened("a", NOW, NOW + 5 * HOUR);
    ledger.open_window(first.clone()).await.unwrap();
    let repeated = WindowOverride { opened_at: NOW + 9, ..first.clone() };
    assert_eq!(ledger.open_window(repeated).await.unwrap(), Some(first.clone()));
    assert_eq!(ledger.windows(NOW + 9).await.unwrap(), std::slice::from_ref(&first));
    let second = opened("a", NOW + 10, NOW + HOUR);
    assert_eq!(ledger.open_window(second.clone()).await.unwrap(), Some(first));
    assert_eq!(ledger.windows(NOW + 10).await.unwrap(), [second]);
    assert_eq!(open_at(&ledger, NOW + 2 * HOUR).await, [""; 0]);
}

#[tokio::test]
async fn who_opened_and_who_closed_is_kept() {
    // Every override stays in the file: one that was closed with who did and why, one that ran out
    // without.
    let place = Place::new();
    let ledger = place.open();
    ledger.open_window(opened("a", NOW, NOW + HOUR)).await.unwrap();
    ledger.close_window(closing("a", NOW + 60)).await.unwrap();
    ledger.open_window(opened("a", NOW + 70, NOW + HOUR)).await.unwrap();
    ledger.open_window(opened("a", NOW + 2 * HOUR, NOW + 3 * HOUR)).await.unwrap();
    let rows = place.rows(
        "SELECT opened_at, officer, reason, closed_by, closing_reason FROM window_override ORDER BY id",
    );
    let row = |at: i64, [by, why]: [&str; 2]| {
        [&at.to_string(), "officer-1:00ff", "Đợt bổ sung", by, why].map(str::to_owned).to_vec()
    };
    let expected = [
        row(NOW, ["officer-2:ff00", "xong"]),
        row(NOW + 70, ["", ""]),
        row(NOW + 2 * HOUR, ["", ""]),
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn an_override_is_bounded_and_forges_no_line() {
    // Longer than a day, ended before it began, or with texts that are empty, long or of several lines:
    // refused, and nothing is open.
    let place = Place::new();
    let ledger = place.open();
    let good = opened("a", NOW, NOW + WINDOW_OVERRIDE_SECONDS_MAX);
    let reason = |reason: &str| WindowOverride { reason: reason.to_owned(), ..good.clone() };
    for bad in [
        opened("a", NOW, NOW + WINDOW_OVERRIDE_SECONDS_MAX + 1),
        opened("a", NOW, NOW),
        opened("a", i64::MIN, i64::MAX),
        opened("", NOW, NOW + 1),
        reason(""),
        reason(&"x".repeat(201)),
        reason("a\nb"),
        WindowOverride { officer: String::new(), ..good.clone() },
    ] {
        let refusal = ledger.open_window(bad.clone()).await;
        assert!(matches!(refusal, Err(LedgerError::Malformed(_))), "{bad:?}");
    }
    let refusal = ledger.close_window(WindowClosing { reason: String::new(), ..closing("a", NOW) });
    assert!(matches!(refusal.await, Err(LedgerError::Malformed(_))));
    assert_eq!(open_at(&ledger, NOW).await, [""; 0]);
    ledger.open_window(good).await.unwrap();
    assert_eq!(open_at(&ledger, NOW + WINDOW_OVERRIDE_SECONDS_MAX - 1).await, ["a"]);
}
