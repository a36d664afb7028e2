//! What the ledger costs: processor time and bytes per certificate, printed for whoever asks.
//!
//! Run it by `cargo test -p signerd --test ledger --release -- --ignored --nocapture cost`.

use std::fs;
use std::time::Instant;

use signerd::ledger::{
    BatchRef, Begin, Finished, Intended, IntendedCertificate, Intent, Ledger, LedgerKeys, Reissue,
};

use super::place::{NOW, Place, RETENTION};
use super::shared;

const BATCHES: u32 = 50;
const CERTIFICATES: u32 = 2_000;

/// Bytes of one certificate in an answer.
const ANSWER_BYTES: usize = 700;

#[tokio::test]
#[ignore = "a measurement, not a claim: it takes seconds and its result depends on the machine"]
async fn cost_per_certificate() {
    // Prints processor time and bytes on disk per certificate at 2,000 certificates a batch.
    let place = Place::new();
    let ledger = place.open();
    // The writer's thread names itself as it starts; a first answer means that it has.
    ledger.probe().await.unwrap();
    let (began, cpu_before) = (Instant::now(), writer_ms());
    fill(&ledger).await;
    let (elapsed, cpu) = (began.elapsed(), writer_ms() - cpu_before);
    let with_answers = fs::metadata(place.path()).unwrap().len();
    let purging = Instant::now();
    ledger.purge(NOW + RETENTION).await.unwrap();
    let purged = purging.elapsed();
    ledger.close().await;
    let each = |total: f64| total / f64::from(BATCHES * CERTIFICATES);
    println!("writer's processor time  {:6.1} µs a certificate", each(cpu * 1e3));
    println!("elapsed                  {:6.1} µs a certificate", each(elapsed.as_secs_f64() * 1e6));
    println!("purge of every answer    {:6.1} µs a certificate", each(purged.as_secs_f64() * 1e6));
    println!("the file with answers    {:6.1} bytes a certificate", each(with_answers as f64));
    let reader = rusqlite::Connection::open(place.path()).unwrap();
    let query = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 5";
    let mut tables = reader.prepare(query).unwrap();
    let mut rows = tables.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (name, bytes): (String, f64) = (row.get(0).unwrap(), row.get(1).unwrap());
        println!("{name:24} {:6.1} bytes a certificate", each(bytes));
    }
}

#[tokio::test]
#[ignore = "a measurement, not a claim: it takes seconds and its result depends on the machine"]
async fn cost_per_certificate_on_a_server() {
    // Prints time and bytes on the server's disk per certificate at 2,000 certificates a batch, with TLS on
    // loopback, and what remains of it for ever.
    let place = shared::Place::new();
    let ledger = shared::open(place.over_tls()).unwrap();
    ledger.probe().await.unwrap();
    let written = || {
        let query = "SELECT round(pg_current_wal_lsn() - '0/0')";
        place.rows(query)[0][0].parse::<f64>().unwrap()
    };
    let (began, cpu_before, written_before) = (Instant::now(), writer_ms(), written());
    fill(&ledger).await;
    let (elapsed, cpu) = (began.elapsed(), writer_ms() - cpu_before);
    let each = |total: f64| total / f64::from(BATCHES * CERTIFICATES);
    println!("writer's processor time  {:6.1} µs a certificate", each(cpu * 1e3));
    println!("elapsed                  {:6.1} µs a certificate", each(elapsed.as_secs_f64() * 1e6));
    println!(
        "journal                  {:6.1} bytes a certificate",
        each(written() - written_before)
    );
    let size = "SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
                WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                ORDER BY pg_total_relation_size(oid) DESC LIMIT 6";
    for row in place.rows(size) {
        let bytes = |at: usize| each(row[at].parse().unwrap());
        println!("{:24} {:6.1} bytes a certificate, indexes {:6.1}", row[0], bytes(1), bytes(2));
    }
    for (records, count) in [(1, 200_u32), (10, 200), (1_000, 20)] {
        let began = Instant::now();
        for number in 0..count {
            sign(&ledger, 1_000_000 * records + number, records).await;
        }
        let took = began.elapsed().as_secs_f64();
        println!(
            "{records:5} a batch, one client {:8.1} batches a second",
            f64::from(count) / took
        );
    }
    ledger.close().await;
}

/// Fills a ledger with batches of full size.
async fn fill(ledger: &Ledger) {
    for number in 0..BATCHES {
        sign(ledger, number, CERTIFICATES).await;
    }
}

/// Brings one batch from its request to its answer.
async fn sign(ledger: &Ledger, number: u32, certificates: u32) {
    let keys = LedgerKeys::derive(&[1; 32]);
    let count = usize::try_from(certificates).unwrap();
    let answer = vec![0x41; ANSWER_BYTES * count];
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let body = id.repeat(count * 10);
    let batch = BatchRef { client: "moh-issuing".to_owned(), id };
    let digest = keys.request_digest(&body);
    let Begin::Fresh(ticket) = ledger.begin(batch, digest, NOW).await.unwrap() else {
        panic!("not fresh");
    };
    let intended = ledger.intend(ticket, intent(&keys, number, certificates)).await.unwrap();
    let Intended::Open(attempt) = intended else {
        panic!("conflicts");
    };
    let cose_sha256 = vec![keys.request_digest(&id); count];
    let sealed_answer = keys.seal(&body, &answer).unwrap();
    ledger.finish(attempt, Finished { sealed_answer, cose_sha256, now: NOW }).await.unwrap();
}

fn intent(keys: &LedgerKeys, number: u32, certificates: u32) -> Intent {
    let certificate = |record: u32| {
        let name = [number.to_be_bytes(), record.to_be_bytes()].concat();
        let random = keys.request_digest(&name);
        IntendedCertificate {
            record,
            dose: 1,
            uvci: *random.first_chunk().unwrap(),
            expires_at: NOW + 31_536_000,
            pseudonym: keys.pseudonym(&name),
        }
    };
    Intent {
        issuer: "vn-moh".to_owned(),
        kid: [1; 8],
        issued_at: NOW,
        certificates: (0..certificates).map(certificate).collect(),
        rejections: Vec::new(),
        assurance: "statement",
        reissue: Reissue::Never,
        quota: None,
    }
}

/// Own and system time of the writer's thread in milliseconds: fields 14 and 15 of its stat in
/// proc(5), in ticks of 10 ms.
fn writer_ms() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
    let writer = stats.into_iter().find(|stat| stat.contains("(ledger)")).unwrap();
    let after_name = writer.rsplit(')').next().unwrap();
    let ticks = |field: usize| after_name.split_whitespace().nth(field).unwrap().parse::<f64>();
    (ticks(11).unwrap() + ticks(12).unwrap()) * 10.0
}
