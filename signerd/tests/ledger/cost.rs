//! What the ledger costs: processor time and bytes per certificate, printed for whoever asks.
//!
//! Run it by `cargo test -p signerd --test ledger --release -- --ignored --nocapture cost`.

use std::fs;
use std::time::Instant;

use signerd::ledger::{
    BatchRef, Begin, Finished, Intended, IntendedCertificate, Intent, LedgerKeys, Reissue,
};

use super::place::{NOW, Place, RETENTION};

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
    let keys = LedgerKeys::derive(&[1; 32]);
    let answer = vec![0x41; ANSWER_BYTES * usize::try_from(CERTIFICATES).unwrap()];
    // The writer's thread names itself as it starts; a first answer means that it has.
    ledger.probe().await.unwrap();
    let (began, cpu_before) = (Instant::now(), writer_ms());
    for number in 0..BATCHES {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let body = id.repeat(20_000);
        let batch = BatchRef { client: "moh-issuing".to_owned(), id };
        let digest = keys.request_digest(&body);
        let Begin::Fresh(ticket) = ledger.begin(batch, digest, NOW).await.unwrap() else {
            panic!("not fresh");
        };
        let intended = ledger.intend(ticket, intent(&keys, number)).await.unwrap();
        let Intended::Open(attempt) = intended else {
            panic!("conflicts");
        };
        let cose_sha256 = vec![keys.request_digest(&id); usize::try_from(CERTIFICATES).unwrap()];
        let sealed_answer = keys.seal(&body, &answer).unwrap();
        ledger.finish(attempt, Finished { sealed_answer, cose_sha256, now: NOW }).await.unwrap();
    }
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

fn intent(keys: &LedgerKeys, number: u32) -> Intent {
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
        certificates: (0..CERTIFICATES).map(certificate).collect(),
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
