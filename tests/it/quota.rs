//! An issuer's quota of the day and re-issue after days, as clients meet them.

use std::time::Duration;

use signerd_tests::record::now;
use signerd_tests::{Batch, Client, Daemon, Evidence, Person, Setup, ledger};

const ISSUER: &str = "vn-moh-ec";

/// A set-up with a member of the policy for the issuer.
fn with(member: &str) -> Setup {
    let setup = Setup::new();
    let table = format!("[issuer.{ISSUER}]\n");
    setup.change("policy.toml", &table, &format!("{table}{member}\n"));
    setup
}

/// A test of a day needs less; at most so long it waits for the next one.
const TEST_SECONDS: u64 = 45;

/// The first second of the next day in Viet Nam, which does not begin before the test ends.
async fn midnight() -> u64 {
    let next = || {
        let (_, midnight) = policy::day_bounds(now().try_into().unwrap());
        u64::try_from(midnight).unwrap()
    };
    let left = next() - now();
    if left > TEST_SECONDS {
        return next();
    }
    tokio::time::sleep(Duration::from_secs(left)).await;
    next()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_its_quota_over_all_batches() {
    // Batches pass until the day is full; one that it does not hold gets 429 with the seconds until
    // midnight in Viet Nam, what is left still passes, replays and previews always do, and a batch larger
    // than the quota is told that it never fits. A restart forgets nothing; another issuer has its own day.
    let midnight = midnight().await;
    let setup = with("doses_per_day_max = 10");
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let first = Batch::about(&evidence, ISSUER, 3);
    let signed = client.sign(first.body.clone()).await.unwrap();
    assert_eq!(signed.statuses(), ["issued"; 3]);
    assert!(daemon.stop().success());

    let _daemon = Daemon::ready(&setup);
    let second = Batch::about(&evidence, ISSUER, 3);
    let asked_at = now();
    let refused = client.sign(second.body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate.exceeded"));
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((midnight - now()..=midnight - asked_at).contains(&wait), "{wait}");
    let detail = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(
        detail.contains("quota is 10 certificates, 4 are left today and the batch has 6"),
        "{detail}"
    );
    let preview = client.post("/v1/batches/preview", second.body).await.unwrap();
    assert_eq!(preview.statuses(), ["acceptable"; 3]);
    assert_eq!(ledger::open_intents(&setup), 0, "nothing of it was stored");

    let small = client.sign(Batch::about(&evidence, ISSUER, 2).body).await.unwrap();
    assert_eq!(small.statuses(), ["issued"; 2]);
    let one_more = evidence.request(ISSUER, [&Person::with_doses(1)]);
    assert_eq!(client.sign(one_more).await.unwrap().code(), "rate.exceeded");
    let replay = client.sign(first.body).await.unwrap();
    assert_eq!(replay.body, signed.body);
    let large = client.sign(Batch::about(&evidence, ISSUER, 6).body).await.unwrap();
    assert_eq!((large.status, large.code().as_str()), (422, "batch.over_limit"));
    assert!(String::from_utf8_lossy(&large.body).contains("it never fits"));
    let other = client.sign(Batch::about(&evidence, "vn-moh", 6).body).await.unwrap();
    assert_eq!(other.statuses(), ["issued"; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_day_ends_when_the_window_of_the_next_one_opens() {
    // Who is refused by the quota of an issuer with a window is sent to the hour in which that issuer
    // signs again, not to a closed window at midnight.
    let midnight = midnight().await;
    let minute = 1_440 - (midnight - now()).div_ceil(60);
    // The hour around now, as far as it lies in today.
    let (from, to) = (minute.saturating_sub(30), (minute + 30).min(1_440));
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let window = format!("signing_window = \"{}-{}\"", clock(from), clock(to));
    let setup = with(&format!("doses_per_day_max = 1\n{window}"));
    let _daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let one = || evidence.request(ISSUER, [&Person::with_doses(1)]);
    assert_eq!(client.sign(one()).await.unwrap().statuses(), ["issued"]);
    let asked_at = now();
    let refused = client.sign(one()).await.unwrap();
    assert_eq!(refused.code(), "rate.exceeded");
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    let opens_at = midnight + from * 60;
    assert!((opens_at - now()..=opens_at - asked_at).contains(&wait), "{wait}, {window}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dose_is_certified_again_after_the_days_of_the_policy() {
    // Before its days are over a dose is refused, in preview and in earnest; once they are it gets a
    // second certificate, and both stay in the ledger.
    let setup = with("reissue_after_days = 30");
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let person = Person::with_doses(2);
    let first = Batch::of(&evidence, ISSUER, [&person]);
    assert_eq!(client.sign(first.body.clone()).await.unwrap().statuses(), ["issued"]);
    let again = || evidence.request(ISSUER, [&person]);
    let expected = ["/record/doses/0", "/record/doses/1"]
        .map(|path| ("dose.already_certified".to_owned(), path.to_owned()));
    for path in ["/v1/batches", "/v1/batches/preview"] {
        let refused = client.post(path, again()).await.unwrap();
        assert_eq!(refused.reasons(0), expected, "{path}");
    }
    assert!(daemon.stop().success());

    ledger::make_older(&setup, &first.id, 30 * 86_400 - 3_600);
    let daemon = Daemon::ready(&setup);
    assert_eq!(client.sign(again()).await.unwrap().statuses(), ["rejected"], "an hour too early");
    assert!(daemon.stop().success());

    ledger::make_older(&setup, &first.id, 3_600);
    let _daemon = Daemon::ready(&setup);
    let preview = client.post("/v1/batches/preview", again()).await.unwrap();
    assert_eq!(preview.statuses(), ["acceptable"]);
    assert_eq!(client.sign(again()).await.unwrap().statuses(), ["issued"]);
    assert_eq!(client.sign(again()).await.unwrap().statuses(), ["rejected"], "the youngest counts");
    assert_eq!(ledger::issued(&setup), (4, 2), "four certificates of two doses");
    // The first answer is still the first answer.
    assert_eq!(client.sign(first.body).await.unwrap().headers["idempotency-replayed"], "true");
}
