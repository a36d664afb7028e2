//! The daemon is stopped or killed in the middle of its work, and every dose has one certificate.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signerd_tests::batch::certificates;
use signerd_tests::pool::{both_live, two_workers};
use signerd_tests::record::now;
use signerd_tests::{Answer, Batch, Client, Daemon, Evidence, Person, Setup, ledger, process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

type Sent = JoinHandle<std::io::Result<Answer>>;

fn send(client: &Client, body: Vec<u8>) -> Sent {
    let client = client.clone();
    tokio::spawn(async move { client.sign(body).await })
}

/// Sends a batch while every worker stands still, and waits until what will be signed is durable.
///
/// Until the workers are let go, nothing of it can be signed.
fn send_and_hold(daemon: &mut Daemon, setup: &Setup, client: &Client, batch: &Batch) -> Sent {
    process::signal(&daemon.workers(), Signal::STOP);
    let sent = send(client, batch.body.clone());
    daemon.wait_until("holding an intent", |_| ledger::batch(setup, &batch.id).is_some());
    sent
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].parse().expect("seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_daemon_died_with_is_carried_out_as_intended() {
    // Killed between intent and signatures, the daemon gives the repeated batch the identifiers and
    // times of the intent; answers are replayed byte for byte after any restart; the id takes no
    // other bytes, and the doses take no other batch.
    let setup = two_workers(&[]);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let before = Batch::about(&evidence, "vn-moh-ec", 2);
    let answered = client.sign(before.body.clone()).await.unwrap();
    let people: Vec<Person> = (0..60).map(|_| Person::with_doses(2)).collect();
    let batch = Batch::of(&evidence, "vn-moh", &people);

    let workers = daemon.workers();
    let sent = send_and_hold(&mut daemon, &setup, &client, &batch);
    let intent = ledger::batch(&setup, &batch.id).unwrap();
    assert!(!intent.answered && intent.certificates.len() == 120);
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(sent.await.unwrap().is_err());
    process::signal(&workers, Signal::CONT);

    let mut daemon = Daemon::ready(&setup);
    daemon.wait_until("later than the intent", |_| {
        now() > u64::try_from(intent.issued_at).expect("a time")
    });
    let resumed = client.sign(batch.body.clone()).await.unwrap();
    assert!(!is_replayed(&resumed));
    assert!(certificates(&resumed) == (intent.issued_at, intent.certificates), "as intended");
    assert_eq!(ledger::batch(&setup, &batch.id).unwrap().attempt, 2);
    assert!(daemon.stop().success());

    let daemon = Daemon::ready(&setup);
    for (batch, first) in [(&before, &answered), (&batch, &resumed)] {
        let replayed = client.sign(batch.body.clone()).await.unwrap();
        assert!(is_replayed(&replayed));
        assert!(replayed.body == first.body, "byte for byte");
        let other = client.sign(batch.other_bytes()).await.unwrap();
        assert_eq!(refusal(&other), (409, "batch.conflict".to_owned()));
    }
    let later = Batch::of(&evidence, "vn-moh-ec", [&people[7], &Person::with_doses(2)]);
    let later = client.sign(later.body).await.unwrap();
    assert_eq!(later.statuses(), ["rejected", "issued"]);
    let reasons = later.reasons(0);
    assert!(reasons.iter().all(|(code, _)| code == "dose.already_certified"), "{reasons:?}");
    assert_eq!(ledger::issued(&setup), (4 + 120 + 2, 4 + 120 + 2));
    assert_eq!(ledger::open_intents(&setup), 0);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_instant_there_is_one_set_of_certificates() {
    // Killed at a random time after a batch was sent: what was answered is replayed byte for byte,
    // what was intended is carried out as it was, what was not begun is done anew.
    const PEOPLE: usize = 40;
    const ROUNDS: usize = 6;
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let since = Instant::now();
    client.sign(Batch::about(&evidence, "vn-moh", PEOPLE).body).await.unwrap();
    let usual = since.elapsed();
    let (mut unknown, mut open, mut answered) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let batch = Batch::about(&evidence, "vn-moh", PEOPLE);
        let sent = send(&client, batch.body.clone());
        tokio::time::sleep(usual.mul_f64(random_share() * 1.2)).await;
        daemon.signal(Signal::KILL);
        daemon.wait();
        let first = sent.await.unwrap().ok();
        let left = ledger::batch(&setup, &batch.id);

        daemon = Daemon::ready(&setup);
        let again = client.sign(batch.body).await.unwrap();
        let made = certificates(&again);
        assert_eq!(made.1.len(), PEOPLE * 2);
        assert_eq!(is_replayed(&again), left.as_ref().is_some_and(|left| left.answered));
        match &left {
            None => unknown += 1,
            Some(left) if left.answered => answered += 1,
            Some(_) => open += 1,
        }
        if let Some(left) = left {
            assert!(made == (left.issued_at, left.certificates), "as intended");
        }
        if let Some(first) = first {
            assert!(first.body == again.body, "what was answered stays answered");
        }
    }
    eprintln!(
        "killed before the intent: {unknown}, before the answer: {open}, after it: {answered}"
    );
    let total = i64::try_from((1 + ROUNDS) * PEOPLE * 2).unwrap();
    assert_eq!(ledger::issued(&setup), (total, total));
    assert_eq!(ledger::open_intents(&setup), 0);
    assert!(daemon.stop().success());
}

/// A random number from 0 to 1.
fn random_share() -> f64 {
    let mut byte = [0; 1];
    aws_lc_rs::rand::fill(&mut byte).expect("randomness");
    f64::from(byte[0]) / 255.0
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_work_and_takes_no_more() {
    // After SIGTERM the batch in work is answered and the daemon ends with 0, and a batch whose client
    // has gone is finished all the same; a new batch gets 503 "draining" or no connection. After the
    // restart the answers are the same and the new batch passes.
    let setup = two_workers(&[]);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let in_work = Batch::about(&evidence, "vn-moh", 40);
    let late = Batch::about(&evidence, "vn-moh-ec", 1);
    let left = Batch::about(&evidence, "vn-moh", 40);
    let sent = send_and_hold(&mut daemon, &setup, &client, &in_work);
    send_and_hold(&mut daemon, &setup, &client, &left).abort();
    // A client that has begun to say something before the signal.
    let mut early = client.connect().await.unwrap();
    early.write_all(b"POST /v1/batches HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
    early.flush().await.unwrap();

    daemon.signal(Signal::TERM);
    daemon.wait_until("draining", |daemon| daemon.log().contains("draining"));
    match client.sign(late.body.clone()).await {
        Err(_) => {}
        Ok(answer) => assert_eq!(refusal(&answer), (503, "draining".to_owned())),
    }
    let told = tell_late(&mut early, &late).await;
    assert!(told.is_empty() || (told.contains(" 503 ") && told.contains("draining")), "{told}");
    process::signal(&daemon.workers(), Signal::CONT);
    let answer = sent.await.unwrap().expect("the answer arrives");
    assert_eq!(certificates(&answer).1.len(), 80);
    assert!(daemon.wait().success());
    assert!(process::of(&setup, "").is_empty());

    let daemon = Daemon::ready(&setup);
    let replayed = client.sign(in_work.body).await.unwrap();
    assert!(is_replayed(&replayed) && replayed.body == answer.body);
    let replayed = client.sign(left.body).await.unwrap();
    assert!(is_replayed(&replayed) && certificates(&replayed).1.len() == 80);
    let answer = client.sign(late.body).await.unwrap();
    assert!(!is_replayed(&answer) && certificates(&answer).1.len() == 2);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_for_a_client_that_has_gone() {
    // Whoever hangs up while a large batch is judged gets no intent and no certificate, and the HSM is not
    // asked; the repeat of the batch is judged anew and signed.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let batch = Batch::about(&evidence, "vn-moh-ec", 1_000);
    let length = batch.body.len();
    let head = format!(
        "POST /v1/batches HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cbor\r\n\
         content-length: {length}\r\n\r\n"
    );
    let mut connection = client.connect().await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&batch.body).await.unwrap();
    connection.flush().await.unwrap();
    drop(connection);
    // It ends only when nothing is in work any more.
    assert!(daemon.stop().success());
    assert_eq!(ledger::batch(&setup, &batch.id), None);
    assert_eq!(ledger::issued(&setup), (0, 0));

    let daemon = Daemon::ready(&setup);
    let answer = client.sign(batch.body).await.unwrap();
    assert!(!is_replayed(&answer) && certificates(&answer).1.len() == 2_000);
    assert!(daemon.stop().success());
}

/// Goes on with a request that was begun, and gives what came back, which may be nothing.
async fn tell_late<S>(stream: &mut S, batch: &Batch) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let length = batch.body.len();
    let rest = format!("content-type: application/cbor\r\ncontent-length: {length}\r\n\r\n");
    // A connection that was closed already takes none of it.
    let _ = stream.write_all(rest.as_bytes()).await;
    let _ = stream.write_all(&batch.body).await;
    let _ = stream.flush().await;
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told).await;
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_is_worked_on_once_at_a_time() {
    // While a batch is in work, its repetition gets 409 at once and says when to come back; other
    // bytes under its id are a conflict, during the work and after it. Of many senders at the same
    // time, one has the batch signed.
    let setup = two_workers(&[]);
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let batch = Batch::about(&evidence, "vn-moh", 20);
    let sent = send_and_hold(&mut daemon, &setup, &client, &batch);
    let since = Instant::now();
    let second = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!(refusal(&second), (409, "batch.in_progress".to_owned()));
    assert!((1..=10).contains(&retry_after(&second)));
    let other = client.sign(batch.other_bytes()).await.unwrap();
    assert_eq!(refusal(&other), (409, "batch.conflict".to_owned()));
    assert!(since.elapsed() < Duration::from_secs(2), "at once, not after {:?}", since.elapsed());
    process::signal(&daemon.workers(), Signal::CONT);
    let first = sent.await.unwrap().unwrap();
    assert_eq!(certificates(&first).1.len(), 40);
    let other = client.sign(batch.other_bytes()).await.unwrap();
    assert_eq!(refusal(&other), (409, "batch.conflict".to_owned()));
    let third = client.sign(batch.body).await.unwrap();
    assert!(is_replayed(&third) && third.body == first.body);

    let batch = Batch::about(&evidence, "vn-moh-ec", 20);
    let senders: Vec<Sent> = (0..8).map(|_| send(&client, batch.body.clone())).collect();
    let (mut signed, mut bodies) = (0, HashSet::new());
    for sender in senders {
        let answer = sender.await.unwrap().unwrap();
        if answer.status == 200 {
            signed += usize::from(!is_replayed(&answer));
            bodies.insert(answer.body);
        } else {
            assert_eq!(refusal(&answer), (409, "batch.in_progress".to_owned()));
            assert!(retry_after(&answer) >= 1);
        }
    }
    assert_eq!((signed, bodies.len()), (1, 1));
    assert_eq!(ledger::issued(&setup), (80, 80));
    assert!(daemon.stop().success());
}
