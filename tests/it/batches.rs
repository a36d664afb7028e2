//! The batch as a whole: atomic or not, repeated, conflicting, too large; previews; doses once only.

use ciborium::Value;
use rustix::process::{Signal, kill_process};
use signerd_tests::client::member;
use signerd_tests::record::{self, encode, set};
use signerd_tests::{Answer, Client, Daemon, Evidence, Person, Setup};

const SIGNED: &str = "signerd_certificates_signed_total{alg=\"ES256\",issuer=\"vn-moh-ec\"}";

fn unfit() -> Person {
    Person::with_doses(1).dose(0, "product", Value::from("nope"))
}

/// A request under this id, with more members if wanted.
fn request(issuer: &str, id: u8, entries: Vec<Value>, more: &[(&str, Value)]) -> Vec<u8> {
    let mut request = record::request(issuer, entries);
    set(&mut request, "batch_id", Some(Value::Bytes(vec![id; 16])));
    more.iter().for_each(|(name, value)| set(&mut request, name, Some(value.clone())));
    encode(&request)
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_batch_is_signed_whole_or_not_at_all() {
    // One bad record in an atomic batch keeps the good ones back; nothing is signed or stored, and the
    // corrected batch is signed under the same id.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let good = evidence.entry(&Person::with_doses(2));
    let atomic = [("atomic", Value::Bool(true))];
    let batch = |entries| request("vn-moh-ec", 1, entries, &atomic);
    let mixed = batch(vec![good.clone(), evidence.entry(&unfit())]);
    for _ in 0..2 {
        let answer = client.sign(mixed.clone()).await.unwrap();
        assert_eq!(answer.statuses(), ["withheld", "rejected"]);
        assert!(!replayed(&answer));
        assert_eq!(
            answer.reasons(1),
            [("dose.product_unknown".into(), "/record/doses/0/product".into())]
        );
        assert_eq!(answer.results()[0].as_map().unwrap().len(), 1, "withheld says no more");
    }
    assert_eq!(daemon.metric(SIGNED), 0.0);
    let corrected = batch(vec![good.clone(), evidence.entry(&Person::with_doses(1))]);
    let answer = client.sign(corrected.clone()).await.unwrap();
    assert_eq!(answer.statuses(), ["issued", "issued"]);
    assert_eq!(daemon.metric(SIGNED), 3.0);
    assert!(replayed(&client.sign(corrected).await.unwrap()));
    assert_eq!(refused(&client.sign(mixed).await.unwrap()), (409, "batch.conflict".into()));
    // The doses are certified now: an atomic batch with one of them is withheld for that.
    let again = request("vn-moh", 2, vec![evidence.entry(&Person::with_doses(1)), good], &atomic);
    let answer = client.sign(again).await.unwrap();
    assert_eq!(answer.statuses(), ["withheld", "rejected"]);
    let certified = |dose| ("dose.already_certified".to_owned(), format!("/record/doses/{dose}"));
    assert_eq!(answer.reasons(1), [certified(0), certified(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_even_when_every_record_was_rejected() {
    // A batch of rejected records is answered the same way again, byte for byte; the same id with other
    // bytes is a conflict, whether other records, another issuer or another order; ids belong to one
    // client.
    let setup = Setup::new();
    setup.change(
        "policy.toml",
        "[issuer.vn-moh]\nclients = [\"moh-issuing\"]",
        "[issuer.vn-moh]\nclients = [\"moh-issuing\", \"moh-other\"]",
    );
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let entries = vec![evidence.entry(&unfit()), evidence.entry(&unfit())];
    let body = request("vn-moh", 1, entries.clone(), &[]);
    let first = client.sign(body.clone()).await.unwrap();
    assert_eq!(first.statuses(), ["rejected", "rejected"]);
    let second = client.sign(body.clone()).await.unwrap();
    assert!(replayed(&second) && first.body == second.body);
    let turned = entries.iter().rev().cloned().collect();
    for other in [
        request("vn-moh", 1, entries[..1].to_vec(), &[]),
        request("vn-moh-ec", 1, entries.clone(), &[]),
        request("vn-moh", 1, turned, &[]),
        request("vn-moh", 1, entries, &[("atomic", Value::Bool(false))]),
    ] {
        assert_eq!(refused(&client.sign(other).await.unwrap()), (409, "batch.conflict".into()));
    }
    let other_client = Client::named(&setup, "client-other");
    let own = other_client.sign(body.clone()).await.unwrap();
    assert_eq!((own.statuses(), replayed(&own)), (first.statuses(), false));
    // The answer outlives the daemon.
    assert!(daemon.stop().success());
    let _daemon = Daemon::ready(&setup);
    let third = client.sign(body).await.unwrap();
    assert!(replayed(&third) && first.body == third.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_limits() {
    // 1,001 records, more than the issuer allows, and one dose twice refuse the batch as a whole; the
    // sentence names the limit; a batch of just as many is signed.
    let setup = Setup::new();
    let policy = setup.text("policy.toml");
    let (head, tail) = policy.split_once("[issuer.vn-moh-ec]").unwrap();
    let tail = tail.replacen("records_max = 1000", "records_max = 2", 1);
    std::fs::write(setup.path("policy.toml"), format!("{head}[issuer.vn-moh-ec]{tail}")).unwrap();
    let _daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let person = Person::with_doses(2);
    let entry = evidence.entry(&person);
    let one = |issuer, entries: Vec<Value>| encode(&record::request(issuer, entries));
    let detail = |answer: &Answer| {
        let problem = answer.cbor().into_map().unwrap();
        let detail = problem.into_iter().find(|(key, _)| *key == Value::from(-2)).unwrap().1;
        detail.into_text().unwrap()
    };
    let over = (422, "batch.over_limit".to_owned());
    for path in ["/v1/batches", "/v1/batches/preview"] {
        let answer = client.post(path, one("vn-moh", vec![entry.clone(); 1_001])).await.unwrap();
        assert_eq!(refused(&answer), over);
        assert!(detail(&answer).contains("1001") && detail(&answer).contains("1000"));
        let people = [(); 3].map(|()| Person::with_doses(1));
        let three: Vec<Value> = people.iter().map(|person| evidence.entry(person)).collect();
        let answer = client.post(path, one("vn-moh-ec", three.clone())).await.unwrap();
        assert_eq!(refused(&answer), over);
        assert!(detail(&answer).contains('3') && detail(&answer).contains('2'));
        assert_eq!(client.sign(one("vn-moh", three)).await.unwrap().statuses(), ["issued"; 3]);
        // The dose key is nationality, number and dose: another name does not make another dose.
        let renamed =
            evidence.entry(&person.clone().holder("full_name", Value::from("Trần Văn B")));
        let answer = client.post(path, one("vn-moh", vec![entry.clone(), renamed])).await.unwrap();
        assert_eq!(refused(&answer), (422, "batch.duplicate_record".into()));
        assert_eq!(answer.problem("path"), Some("/records/1".into()));
        assert!(!detail(&answer).contains("079190"), "{}", detail(&answer));
    }
    // Two doses of one holder in two records are no duplicates.
    let select = |number: u64| {
        let mut entry = entry.clone();
        set(&mut entry, "doses", Some(Value::Array(vec![number.into()])));
        entry
    };
    let answer = client.sign(one("vn-moh-ec", vec![select(1), select(2)])).await.unwrap();
    assert_eq!(answer.statuses(), ["issued", "issued"]);
    // A dose selected twice is one dose, or told; never two certificates.
    let twice = [("doses", Value::Array(vec![1.into(), 1.into()]))];
    let mut entry = evidence.entry(&Person::with_doses(1));
    set(&mut entry, "doses", Some(twice[0].1.clone()));
    let answer = client.sign(one("vn-moh", vec![entry])).await.unwrap();
    assert_eq!(answer.hcerts().len(), 1, "{:?}", answer.cbor());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dose_is_certified_once_and_a_preview_tells_before() {
    // The selected doses alone are certified; a dose certified by any issuer is refused to every other
    // batch; a preview says exactly what signing would, stores nothing and leaves the id free.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let person = Person::with_doses(3);
    let select = |numbers: &[u64]| {
        let mut entry = evidence.entry(&person);
        let numbers = numbers.iter().map(|number| Value::from(*number)).collect();
        set(&mut entry, "doses", Some(Value::Array(numbers)));
        entry
    };
    let preview =
        async |body: &[u8]| client.post("/v1/batches/preview", body.to_vec()).await.unwrap();
    let second = request("vn-moh-ec", 1, vec![select(&[2])], &[]);
    for _ in 0..2 {
        let told = preview(&second).await;
        assert_eq!(told.statuses(), ["acceptable"]);
        assert_eq!(member(&told.results()[0], "doses"), Value::Array(vec![2.into()]));
        assert_eq!(member(&told.cbor(), "batch_id"), Value::Bytes(vec![1; 16]));
    }
    assert_eq!(daemon.metric(SIGNED), 0.0);
    // The previewed id is free for other bytes, too.
    let other = request("vn-moh-ec", 1, vec![select(&[2]), evidence.entry(&unfit())], &[]);
    let answer = client.sign(other.clone()).await.unwrap();
    assert_eq!(answer.statuses(), ["issued", "rejected"]);
    let certificates = member(&answer.results()[0], "certificates").into_array().unwrap();
    let doses: Vec<Value> = certificates.iter().map(|c| member(c, "dose")).collect();
    assert_eq!(doses, [Value::from(2)]);
    // Its own batch may be previewed again: signing it would give the kept answer.
    assert_eq!(preview(&other).await.statuses(), ["acceptable", "rejected"]);
    for issuer in ["vn-moh", "vn-moh-ec"] {
        let all = request(issuer, 2, vec![evidence.entry(&person)], &[]);
        let told = preview(&all).await;
        let expected = [("dose.already_certified".to_owned(), "/record/doses/1".to_owned())];
        assert_eq!(told.reasons(0), expected);
        if issuer == "vn-moh" {
            assert_eq!(client.sign(all).await.unwrap().reasons(0), expected);
        }
    }
    let rest = request("vn-moh", 3, vec![select(&[1, 3])], &[]);
    let answer = client.sign(rest).await.unwrap();
    assert_eq!((answer.statuses(), answer.hcerts().len()), (vec!["issued".to_owned()], 2));
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_signed_is_not_signed_by_another() {
    // While the HSM signs a batch, the same batch gets 409 batch.in_progress and another batch with the
    // same dose dose.in_progress, both at once; then the first is answered as if nothing had been.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let person = Person::with_doses(1);
    let body = evidence.request("vn-moh-ec", [&person]);
    let other = evidence.request("vn-moh", [&person]);
    let workers = daemon.workers();
    let all = |signal| workers.iter().for_each(|worker| kill_process(*worker, signal).unwrap());
    all(Signal::STOP);
    let first = tokio::spawn({
        let (client, body) = (client.clone(), body.clone());
        async move { client.sign(body).await.unwrap() }
    });
    // The intent is durable once a preview sees it.
    let in_progress = [("dose.in_progress".to_owned(), "/record/doses/0".to_owned())];
    loop {
        let told = client.post("/v1/batches/preview", other.clone()).await.unwrap();
        if told.statuses() == ["rejected"] {
            assert_eq!(told.reasons(0), in_progress);
            break;
        }
    }
    let same = client.sign(body.clone()).await.unwrap();
    assert_eq!(refused(&same), (409, "batch.in_progress".into()));
    assert_eq!(same.headers["retry-after"], "1");
    assert_eq!(client.sign(other.clone()).await.unwrap().reasons(0), in_progress);
    all(Signal::CONT);
    let first = first.await.unwrap();
    assert_eq!(first.statuses(), ["issued"]);
    assert_eq!(client.sign(body).await.unwrap().body, first.body);
    // The answer that was given to the other batch stays its answer.
    assert!(replayed(&client.sign(other).await.unwrap()));
}
