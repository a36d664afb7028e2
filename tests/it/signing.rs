//! A batch of verified records in, certificates out.

use signerd_tests::{Client, Daemon, Evidence, Person, Setup};

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_record_is_signed_and_the_answer_is_replayed() {
    // A verified record gets one certificate per dose, and a repeat gets the same bytes again.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    for issuer in ["vn-moh", "vn-moh-ec"] {
        let body = evidence.request(issuer, [&Person::with_doses(3), &Person::with_doses(1)]);
        let first = client.sign(body.clone()).await.unwrap();
        assert_eq!(first.statuses(), ["issued", "issued"]);
        assert_eq!(first.hcerts().len(), 4);
        let second = client.sign(body).await.unwrap();
        assert_eq!(second.headers.get("idempotency-replayed").map(String::as_str), Some("true"));
        assert_eq!(first.body, second.body);
    }
    assert!(daemon.stop().success());
}
