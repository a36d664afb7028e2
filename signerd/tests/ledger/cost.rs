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
    let (began, cpu_before) = (Instant::now(), processor_ms());
    for number in 0..BATCHES {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let body = id.repeat(20_000);
        let batch = BatchRef { client: "moh-issuing".to_owned(), id };
        let digest = keys.request_digest(&body);
        let Begin::Fresh(ticket) = ledger.begin(batch, digest, NOW).await.unwrap() else {
            panic!("not fresh");
        };
        let Intended::Open(attempt) = ledger.intend(ticket, intent(&keys, number)).await.unwrap()
        else {
            panic!("conflicts");
        };
        let cose_sha256 =
            vec![[number.to_be_bytes()[3]; 32]; usize::try_from(CERTIFICATES).unwrap()];
        let sealed_answer = keys.seal(&body, &answer).unwrap();
        ledger.finish(attempt, Finished { sealed_answer, cose_sha256, now: NOW }).await.unwrap();
    }
    let (wall, cpu) = (began.elapsed(), processor_ms() - cpu_before);
    let total = f64::from(BATCHES * CERTIFICATES);
    ledger.close().await;
    let with_answers = fs::metadata(place.path()).unwrap().len();
    let ledger = place.open();
    let purging = Instant::now();
    ledger.purge(NOW + RETENTION).await.unwrap();
    let purged = purging.elapsed();
    ledger.close().await;
    let shrunk = rusqlite::Connection::open(place.path()).unwrap();
    let page = |pragma: &str| shrunk.query_row(pragma, [], |row| row.get::<_, f64>(0));
    let _ = &page;
    let used: i64 = shrunk
        .query_row("SELECT sum(pgsize) FROM dbstat WHERE name NOT LIKE 'answer%'", [], |row| {
            row.get(0)
        })
        .unwrap();
    println!("certificates          {total}");
    println!("processor time each   {:.1} µs", cpu * 1e3 / total);
    println!("elapsed each          {:.1} µs", wall.as_secs_f64() * 1e6 / total);
    println!("bytes each, for ever  {:.0}", used as f64 / total);
    println!("bytes each, answers   {:.0}", (with_answers as f64 - used as f64) / total);
    println!("purge of all answers  {purged:?}");
    let mut tables = shrunk
        .prepare("SELECT name, sum(pgsize), sum(unused) FROM dbstat GROUP BY name ORDER BY 2 DESC")
        .unwrap();
    let mut rows = tables.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (name, bytes, unused): (String, i64, i64) =
            (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        println!("  {name:24} {:6.1} ({:.1} unused)", bytes as f64 / total, unused as f64 / total);
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
        reissue: Reissue::Never,
    }
}

/// The process's own and system time in milliseconds, from fields 14 and 15 of proc(5) stat in
/// ticks of 10 ms.
fn processor_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks = |field: usize| after_name.split_whitespace().nth(field).unwrap().parse::<f64>();
    (ticks(11).unwrap() + ticks(12).unwrap()) * 10.0
}
