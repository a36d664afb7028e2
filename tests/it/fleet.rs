//! Three appliances over one PostgreSQL, behind a real `haproxy`: whichever answers, it is one answer.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use signerd_tests::balancer::Balancer;
use signerd_tests::batch::certificates;
use signerd_tests::fleet::Fleet;
use signerd_tests::pool::two_workers;
use signerd_tests::postgres::{End, PASSWORD};
use signerd_tests::{Answer, Batch, Client, Daemon, Evidence, Person, Setup, process};
use tokio::task::JoinHandle;

type Sent = JoinHandle<std::io::Result<Answer>>;

/// How long may a batch take that others must first give up?
const PATIENCE: Duration = Duration::from_secs(60);

/// A fleet whose workers may be held for longer than an appliance lives.
fn fleet() -> Fleet {
    Fleet::of(two_workers(&[("call_deadline_ms", 60_000), ("request_deadline_ms", 90_000)]))
}

fn send(client: &Client, batch: &Batch) -> Sent {
    let (client, body) = (client.clone(), batch.body.clone());
    tokio::spawn(async move { client.sign(body).await })
}

/// Sends a batch to an appliance whose workers stand still, and waits until its intent is durable.
fn send_and_hold(fleet: &Fleet, daemon: &mut Daemon, client: &Client, batch: &Batch) -> Sent {
    process::signal(&daemon.workers(), Signal::STOP);
    let sent = send(client, batch);
    daemon.wait_until("holding an intent", |_| fleet.batch(&batch.id).is_some());
    sent
}

/// Repeats a batch as a client does, until it is answered; gives also what it was refused by.
async fn repeat(client: &Client, batch: &Batch) -> (Answer, Vec<String>) {
    let (begin, mut refused) = (Instant::now(), Vec::new());
    loop {
        assert!(begin.elapsed() < PATIENCE, "never answered: {refused:?}");
        match client.sign(batch.body.clone()).await {
            Ok(answer) if answer.status == 200 => return (answer, refused),
            Ok(answer) => refused.push(answer.code()),
            Err(error) => refused.push(error.kind().to_string()),
        }
        // A client waits as Retry-After says, at least a second; a test has less time.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn clients(fleet: &Fleet) -> Vec<Client> {
    fleet.setups.iter().map(Client::new).collect()
}

fn processes(daemon: &Daemon) -> Vec<Pid> {
    let mut all = daemon.workers();
    all.push(daemon.pid());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn any_appliance_answers_a_repeat_begun_on_another() {
    // Signed behind the balancer, a batch is replayed byte for byte by each of the three and through the
    // balancer, also after all were started anew; other bytes conflict everywhere. Each start and end is in
    // the log with the appliance that it was, and no password is in any log.
    let fleet = fleet();
    let daemons = fleet.ready();
    let balancer = Balancer::before(&fleet.setups);
    let (clients, evidence) = (clients(&fleet), Evidence::of(&fleet.setups[0]));
    let outside = clients[0].at(balancer.port);
    let batch = Batch::about(&evidence, "vn-moh", 30);
    let (first, _) = repeat(&outside, &batch).await;
    assert!(!is_replayed(&first));
    for client in clients.iter().chain([&outside]) {
        let again = client.sign(batch.body.clone()).await.unwrap();
        assert!(is_replayed(&again) && again.body == first.body, "byte for byte");
        let other = client.sign(batch.other_bytes()).await.unwrap();
        assert_eq!(refusal(&other), (409, "batch.conflict".to_owned()));
    }
    for daemon in daemons {
        assert!(!daemon.log().contains(PASSWORD));
        assert!(daemon.stop().success());
    }
    assert_eq!(fleet.sql("SELECT count(*) FROM appliance"), [["0"]], "all have taken their leave");
    let _daemons = fleet.ready();
    let again = clients[2].sign(batch.body.clone()).await.unwrap();
    assert!(is_replayed(&again) && again.body == first.body);
    assert_eq!(fleet.issued(), (60, 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_on_another_appliance_is_in_progress_and_nothing_is_signed_twice() {
    // While one appliance signs, the others refuse the repeat at once, for longer than a life would last;
    // then all have the one answer, of the one attempt.
    let fleet = fleet();
    let mut daemons = fleet.ready();
    let (clients, evidence) = (clients(&fleet), Evidence::of(&fleet.setups[0]));
    let batch = Batch::about(&evidence, "vn-moh-ec", 5);
    let workers = daemons[0].workers();
    let sent = send_and_hold(&fleet, &mut daemons[0], &clients[0], &batch);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(13) {
        for client in &clients[1..] {
            let again = client.sign(batch.body.clone()).await.unwrap();
            assert_eq!(refusal(&again), (409, "batch.in_progress".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    process::signal(&workers, Signal::CONT);
    let first = sent.await.unwrap().unwrap();
    let stored = fleet.batch(&batch.id).unwrap();
    assert_eq!(certificates(&first), (stored.issued_at, stored.certificates));
    assert_eq!(stored.attempt, 1);
    for client in &clients {
        let again = client.sign(batch.body.clone()).await.unwrap();
        assert!(again.body == first.body);
    }
    assert_eq!(fleet.issued(), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appliance_that_wakes_up_late_cannot_finish_what_another_took_over() {
    // Paused in the middle of a batch, silent for longer than it lives, and woken when another one has
    // answered: its own result is thrown away, its client is told to repeat, and it then gives the other
    // one's answer, byte for byte. Paused itself, it keeps nobody from signing.
    let fleet = fleet();
    let mut daemons = fleet.ready();
    let (clients, evidence) = (clients(&fleet), Evidence::of(&fleet.setups[0]));
    let batch = Batch::about(&evidence, "vn-moh", 5);
    let sent = send_and_hold(&fleet, &mut daemons[0], &clients[0], &batch);
    let paused = processes(&daemons[0]);
    process::signal(&[daemons[0].pid()], Signal::STOP);
    let other = Batch::about(&evidence, "vn-moh", 2);
    let (_, _) = repeat(&clients[2], &other).await;
    let (answer, refused) = repeat(&clients[1], &batch).await;
    assert!(refused.iter().any(|code| code == "batch.in_progress"), "{refused:?}");
    let stored = fleet.batch(&batch.id).unwrap();
    assert_eq!((stored.answered, stored.attempt), (true, 2));
    assert_eq!(certificates(&answer), (stored.issued_at, stored.certificates));
    process::signal(&paused, Signal::CONT);
    let late = sent.await.unwrap().unwrap();
    assert_eq!(refusal(&late), (409, "batch.in_progress".to_owned()));
    let (again, _) = repeat(&clients[0], &batch).await;
    assert!(is_replayed(&again) && again.body == answer.body);
    assert_eq!(fleet.issued(), (14, 14));
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_one_in_the_middle_of_its_batches_loses_and_doubles_nothing() {
    // One of three is killed while twelve batches are under way; each client repeats through the balancer
    // until it has its answer. Every answer is replayed by the two that are left, every dose has one
    // certificate, no intent is left open, and the log has no gap.
    const BATCHES: usize = 12;
    let fleet = fleet();
    let mut daemons = fleet.ready();
    let balancer = Balancer::before(&fleet.setups);
    let (clients, evidence) = (clients(&fleet), Evidence::of(&fleet.setups[0]));
    let batches: Vec<Batch> = (0..BATCHES).map(|_| Batch::about(&evidence, "vn-moh", 10)).collect();
    // The first one is held there, so that at least one is in the middle.
    let held = send_and_hold(&fleet, &mut daemons[0], &clients[0], &batches[0]);
    let workers = daemons[0].workers();
    let outside = clients[0].at(balancer.port);
    let repeats: Vec<_> = batches
        .iter()
        .map(|batch| {
            let (outside, batch) = (outside.clone(), batch.clone());
            tokio::spawn(async move { repeat(&outside, &batch).await.0 })
        })
        .collect();
    daemons[1].wait_until("seeing several", |_| {
        fleet.sql("SELECT count(*) FROM batch")[0][0].parse::<usize>().unwrap() > 3
    });
    daemons[0].signal(Signal::KILL);
    daemons[0].wait();
    process::signal(&workers, Signal::CONT);
    assert!(held.await.unwrap().is_err());
    for (batch, repeat) in batches.iter().zip(repeats) {
        let answer = repeat.await.unwrap();
        for client in &clients[1..] {
            let again = client.sign(batch.body.clone()).await.unwrap();
            assert!(is_replayed(&again) && again.body == answer.body, "byte for byte");
        }
    }
    let expected = i64::try_from(BATCHES * 20).unwrap();
    assert_eq!(fleet.issued(), (expected, expected));
    assert_eq!(fleet.open_intents(), 0);
    assert!(fleet.batch(&batches[0].id).unwrap().attempt > 1, "it was taken over");
    let gaps =
        "SELECT (SELECT size FROM log_head) - count(*), max(number) + 1 - count(*) FROM log_entry";
    assert_eq!(fleet.sql(gaps), [["0", "0"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_and_a_dose_hold_across_appliances() {
    // What one has issued today is gone for all, and a dose that one has certified is refused by all.
    const ISSUER: &str = "vn-moh-ec";
    let setup = Setup::new();
    let table = format!("[issuer.{ISSUER}]\n");
    setup.change("policy.toml", &table, &format!("{table}doses_per_day_max = 10\n"));
    let fleet = Fleet::of(setup);
    let _daemons = fleet.ready();
    let (clients, evidence) = (clients(&fleet), Evidence::of(&fleet.setups[0]));
    let person = Person::with_doses(2);
    let first = Batch::of(&evidence, ISSUER, [&person, &Person::with_doses(2)]);
    assert_eq!(clients[0].sign(first.body).await.unwrap().statuses(), ["issued"; 2]);
    let again = Batch::of(&evidence, "vn-moh", [&person]);
    let again = clients[1].sign(again.body).await.unwrap();
    assert!(again.codes(0).iter().all(|code| code == "dose.already_certified"), "{again:?}");
    let second = clients[2].sign(Batch::about(&evidence, ISSUER, 3).body).await.unwrap();
    assert_eq!(second.statuses(), ["issued"; 3]);
    for client in &clients {
        let refused = client.sign(Batch::about(&evidence, ISSUER, 1).body).await.unwrap();
        assert_eq!(refusal(&refused), (429, "rate.exceeded".to_owned()));
    }
    assert_eq!(fleet.issued(), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_server_the_fleet_signs_nothing_and_is_back_with_it() {
    // The server killed: nothing is signed, 503 ledger.unavailable, not ready. Started again: ready, by
    // itself, and the same batch passes; what was answered before is replayed, and what was in the middle
    // is finished by another appliance, although the one that began it lives.
    let mut fleet = fleet();
    let mut daemons = fleet.ready();
    let (clients, evidence) = (clients(&fleet), Evidence::of(&fleet.setups[0]));
    let before = Batch::about(&evidence, "vn-moh", 2);
    let answered = clients[0].sign(before.body.clone()).await.unwrap();
    let middle = Batch::about(&evidence, "vn-moh", 2);
    let workers = daemons[0].workers();
    let sent = send_and_hold(&fleet, &mut daemons[0], &clients[0], &middle);
    fleet.postgres.stop(End::Killed);
    process::signal(&workers, Signal::CONT);
    assert_eq!(refusal(&sent.await.unwrap().unwrap()), (503, "ledger.unavailable".to_owned()));
    let batch = Batch::about(&evidence, "vn-moh", 2);
    for (client, daemon) in clients.iter().zip(&mut daemons) {
        let refused = client.sign(batch.body.clone()).await.unwrap();
        assert_eq!(refusal(&refused), (503, "ledger.unavailable".to_owned()));
        daemon.wait_until("not ready", |daemon| {
            let (status, text) = daemon.observe("/readyz");
            status == 503 && text.contains("ledger")
        });
    }
    fleet.postgres.start(&[]);
    for (client, daemon) in clients.iter().zip(&mut daemons) {
        daemon.wait_until("ready again", |daemon| daemon.observe("/readyz").0 == 200);
        let again = client.sign(before.body.clone()).await.unwrap();
        assert!(is_replayed(&again) && again.body == answered.body);
        assert_eq!(client.sign(batch.body.clone()).await.unwrap().statuses(), ["issued"; 2]);
    }
    let (answer, _) = repeat(&clients[1], &middle).await;
    let stored = fleet.batch(&middle.id).unwrap();
    assert_eq!(stored.attempt, 2);
    assert_eq!(certificates(&answer), (stored.issued_at, stored.certificates));
    assert_eq!(fleet.issued(), (12, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleets_configuration_is_checked_without_its_server() {
    // `signerd check` reads the files of the connection and connects to nobody; what is missing is told with
    // its member and a remedy.
    let setup = Setup::new();
    let table = "[ledger.postgres]\nhost = \"ledger.invalid\"\ndatabase = \"signerd\"\nuser = \"signerd\"\n\
                 password_file = \"ledger-password\"\nca = \"pki/ca.pem\"\n";
    setup.change("signerd.toml", "path = \"state/ledger.sqlite\"\n", "");
    setup.change("signerd.toml", "[log]\n", &format!("{table}\n[log]\n"));
    let check = || {
        let output = setup.signerd(&["check"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = check();
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("ledger.postgres.password_file"), "{text}");
    assert!(text.contains("put the password there"), "{text}");
    std::fs::write(setup.path("ledger-password"), "secret\n").unwrap();
    assert_eq!(check().0, Some(0), "{}", check().1);
    std::fs::write(setup.path("pki/empty.pem"), "").unwrap();
    setup.change("signerd.toml", "\nca = \"pki/ca.pem\"", "\nca = \"pki/empty.pem\"");
    let (code, text) = check();
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("ledger.postgres.ca") && text.contains("no certificate in it"), "{text}");
}
