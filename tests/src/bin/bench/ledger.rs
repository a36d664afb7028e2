//! What durability costs: the ledger without HSM, judge and network, and what a client sees of it.
//!
//! `bench ledger [--rounds N]` counts batches that are intended, answered and durable, by size of the batch
//! and number of clients at once, on SQLite and on a PostgreSQL server of its own; next to each figure
//! stands how many durable writes of a page this disk does, because both are paid in those. Then what one certificate of a
//! 1,000-record batch costs: processor time of the writer, bytes for ever, bytes until the answer expires.
//! Then a real daemon: a replay of a 1,000-record batch beside its judging, and how old the newest
//! checkpoint ever is while batches are signed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signerd::ledger::{
    BatchRef, Begin, Engine, Finished, Intended, IntendedCertificate, Intent, Ledger, LedgerKeys,
    Reissue, Server, ServerTls, Settings,
};
use signerd_tests::postgres::{Postgres, USER};
use signerd_tests::record::now;
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::report::percentile;

/// Records of a batch, each with two doses.
const SIZES: [usize; 4] = [1, 10, 100, 1_000];
/// Clients at once.
const CLIENTS: [usize; 3] = [1, 8, 64];
/// How long each cell is measured, about.
const CELL: Duration = Duration::from_millis(1_500);
/// Batches of which the cost is taken.
const COST_BATCHES: u64 = 50;
/// Bytes of one certificate in an answer.
const ANSWER_BYTES: usize = 700;
/// Replays and previews of the same batch.
const REPEATS: usize = 100;
/// What the project aims at: µs of processor time and bytes for ever per certificate.
const CPU_AIM: f64 = 20.0;
const BYTES_AIM: f64 = 350.0;
/// What the project aims at: a replay's p99 within so many times the judging.
const REPLAY_AIM: f64 = 3.0;
const RETENTION: Duration = Duration::from_secs(604_800);
/// Any time will do: nobody looks at the clock here.
const NOW: i64 = 1_800_000_000;

/// Measures and writes tables and a line of JSON.
pub(crate) fn run(rounds: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut out = std::io::stdout().lock();
    let folder = tempfile::tempdir()?;
    let mut lines = vec![json!({ "durable_pages_per_second": disk(folder.path())? })];
    for kind in Kind::all()? {
        let table = runtime.block_on(rates(&kind, rounds))?;
        write_rates(&mut out, kind.name(), &table)?;
        lines.push(json!({ "engine": kind.name(), "batches_per_second": table }));
    }
    let cost = runtime.block_on(cost(folder.path()))?;
    cost.write(&mut out)?;
    let seen = runtime.block_on(seen())?;
    seen.write(&mut out)?;
    lines.extend([cost.json(), seen.json()]);
    writeln!(out, "{}", Value::from(lines))?;
    Ok(())
}

/// How often this disk makes a page of 4 KiB durable in a second.
fn disk(folder: &Path) -> Outcome<f64> {
    let file = File::create(folder.join("page"))?;
    file.write_all_at(&[1; 4_096], 0)?;
    file.sync_all()?;
    let (since, mut pages) = (Instant::now(), 0_u32);
    while since.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&pages.to_be_bytes().repeat(1_024), 0)?;
        file.sync_data()?;
        pages += 1;
    }
    Ok(f64::from(pages) / since.elapsed().as_secs_f64())
}

/// An engine with a place of its own.
enum Kind {
    Sqlite(tempfile::TempDir),
    Postgres(Box<Postgres>, String),
}

impl Kind {
    fn all() -> Outcome<Vec<Self>> {
        let server = Postgres::new();
        let database = server.database();
        Ok(vec![Self::Sqlite(tempfile::tempdir()?), Self::Postgres(Box::new(server), database)])
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(..) => "PostgreSQL",
        }
    }

    fn open(&self) -> Outcome<Ledger> {
        let engine = match self {
            Self::Sqlite(folder) => Engine::Sqlite(folder.path().join("ledger.sqlite")),
            Self::Postgres(server, database) => Engine::Postgres(over_tls(server, database)),
        };
        Ok(Ledger::open(Settings { engine, retention: RETENTION })?)
    }
}

/// The way to a database as appliances have it: over TCP, with TLS and a password.
fn over_tls(server: &Postgres, database: &str) -> Server {
    Server {
        host: "localhost".to_owned(),
        port: server.port,
        database: database.to_owned(),
        user: USER.to_owned(),
        password: Some(server.password()),
        tls: Some(ServerTls { ca: server.ca(), identity: None }),
    }
}

/// Batches in a second by size and clients; of several rounds the median.
async fn rates(kind: &Kind, rounds: usize) -> Outcome<Vec<Vec<f64>>> {
    let ledger = kind.open()?;
    let next = Arc::new(AtomicU64::new(1));
    let mut table = Vec::new();
    for size in SIZES {
        let mut row = Vec::new();
        for clients in CLIENTS {
            let mut measured = Vec::new();
            for _ in 0..rounds {
                measured.push(rate(&ledger, &next, size, clients).await?);
            }
            measured.sort_by(f64::total_cmp);
            row.push(measured.get(measured.len() / 2).copied().unwrap_or(f64::NAN));
        }
        table.push(row);
    }
    ledger.close().await;
    Ok(table)
}

/// How long a batch of one record takes from its beginning to its durable answer, in seconds.
pub(crate) async fn one_batch() -> Outcome<f64> {
    let kind = Kind::Sqlite(tempfile::tempdir()?);
    let ledger = kind.open()?;
    let batches = rate(&ledger, &Arc::new(AtomicU64::new(1)), 1, 1).await?;
    ledger.close().await;
    Ok(1.0 / batches)
}

async fn rate(ledger: &Ledger, next: &Arc<AtomicU64>, size: usize, clients: usize) -> Outcome<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let since = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..clients {
        let (ledger, next, stop) = (ledger.clone(), Arc::clone(next), Arc::clone(&stop));
        lanes.spawn(async move {
            let mut done: u32 = 0;
            while !stop.load(Ordering::Relaxed) {
                sign(&ledger, next.fetch_add(1, Ordering::Relaxed), size * 2).await?;
                done += 1;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(done)
        });
    }
    tokio::time::sleep(CELL).await;
    stop.store(true, Ordering::Relaxed);
    let mut batches = 0.0;
    while let Some(lane) = lanes.join_next().await {
        batches += f64::from(lane??);
    }
    Ok(batches / since.elapsed().as_secs_f64())
}

/// Takes one batch from its beginning to its answer, with signatures out of nowhere.
async fn sign(ledger: &Ledger, number: u64, certificates: usize) -> Outcome<()> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let batch = BatchRef { client: "moh-issuing".to_owned(), id };
    let Begin::Fresh(ticket) = ledger.begin(batch, [7; 32], NOW).await? else {
        return Err("a new batch is not new".into());
    };
    let keys = LedgerKeys::derive(&[1; 32]);
    let Intended::Open(attempt) =
        ledger.intend(ticket, intent(&keys, number, certificates)).await?
    else {
        return Err("new doses are not new".into());
    };
    let finished = Finished {
        sealed_answer: vec![0x41; ANSWER_BYTES * certificates],
        cose_sha256: vec![keys.request_digest(&id); certificates],
        now: NOW,
    };
    Ok(ledger.finish(attempt, finished).await?)
}

fn intent(keys: &LedgerKeys, number: u64, certificates: usize) -> Intent {
    let certificate = |record: u32| {
        let name = [number.to_be_bytes().as_slice(), &record.to_be_bytes()].concat();
        let random = keys.request_digest(&name);
        let mut uvci = [0; 16];
        uvci.copy_from_slice(&random[..16]);
        let (pseudonym, expires_at) = (keys.pseudonym(&name), NOW + 31_536_000);
        IntendedCertificate { record: record / 2, dose: 1, uvci, expires_at, pseudonym }
    };
    Intent {
        issuer: "vn-moh".to_owned(),
        kid: [1; 8],
        issued_at: NOW,
        certificates: (0..).map(certificate).take(certificates).collect(),
        rejections: Vec::new(),
        assurance: "statement",
        reissue: Reissue::Never,
        quota: None,
    }
}

fn write_rates(out: &mut dyn Write, engine: &str, table: &[Vec<f64>]) -> Outcome<()> {
    writeln!(out, "durable batches a second, {engine}, by clients at once")?;
    writeln!(out, "{:<24}{:>12}{:>12}{:>12}", "records of 2 doses", 1, 8, 64)?;
    for (size, row) in SIZES.iter().zip(table) {
        write!(out, "{size:<24}")?;
        for rate in row {
            write!(out, "{rate:>12.1}")?;
        }
        writeln!(out)?;
    }
    writeln!(out)?;
    Ok(())
}

/// What one certificate costs on SQLite in batches of 1,000 records.
struct Cost {
    writer_micros: f64,
    bytes: f64,
    answer_bytes: f64,
    tables: Vec<(String, f64)>,
}

async fn cost(folder: &Path) -> Outcome<Cost> {
    let path = folder.join("cost.sqlite");
    let engine = Engine::Sqlite(path.clone());
    let ledger = Ledger::open(Settings { engine, retention: RETENTION })?;
    // The writer's thread names itself as it starts; a first answer means that it has.
    ledger.probe().await?;
    let before = writer_nanos()?;
    for number in 0..COST_BATCHES {
        sign(&ledger, number, 2_000).await?;
    }
    let certificates = f64::from(u32::try_from(COST_BATCHES)?) * 2_000.0;
    let spent = writer_nanos()? - before;
    let reader = rusqlite::Connection::open(&path)?;
    let used = "SELECT sum(pgsize) FROM dbstat WHERE name = 'answer'";
    let answers: f64 = reader.query_row(used, [], |row| row.get(0))?;
    ledger.purge(NOW + i64::try_from(RETENTION.as_secs())?).await?;
    ledger.close().await;
    let query = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC";
    let mut statement = reader.prepare(query)?;
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, f64>(1)?)))?;
    let mut tables = Vec::new();
    for row in rows {
        let (name, bytes) = row?;
        tables.push((name, bytes / certificates));
    }
    Ok(Cost {
        writer_micros: spent / 1e3 / certificates,
        bytes: tables.iter().map(|(_, bytes)| bytes).sum(),
        answer_bytes: answers / certificates,
        tables,
    })
}

/// Processor time of the ledger's thread in nanoseconds.
fn writer_nanos() -> Outcome<f64> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == "ledger" {
            let spent = fs::read_to_string(task.join("schedstat"))?;
            return Ok(spent.split_whitespace().next().unwrap_or_default().parse()?);
        }
    }
    Err("no thread of the ledger".into())
}

impl Cost {
    fn write(&self, out: &mut dyn Write) -> Outcome<()> {
        let met = |met: bool| if met { "met" } else { "MISSED" };
        let Self { writer_micros, bytes, answer_bytes, .. } = self;
        writeln!(out, "per certificate, SQLite, 1,000 records of 2 doses a batch")?;
        let aim = met(*writer_micros <= CPU_AIM);
        writeln!(out, "writer's processor time  {writer_micros:6.1} µs, aim {CPU_AIM}: {aim}")?;
        let aim = met(*bytes <= BYTES_AIM);
        writeln!(out, "bytes for ever           {bytes:6.1}, aim {BYTES_AIM}: {aim}")?;
        for (name, bytes) in self.tables.iter().filter(|(_, bytes)| *bytes >= 1.0) {
            writeln!(out, "  {name:<24}{bytes:6.1}")?;
        }
        writeln!(out, "bytes of sealed answers  {answer_bytes:6.1}, until the retention ends\n")?;
        Ok(())
    }

    fn json(&self) -> Value {
        json!({
            "writer_micros": self.writer_micros,
            "bytes": self.bytes,
            "answer_bytes": self.answer_bytes,
        })
    }
}

/// What a client sees of the ledger of a real daemon, in milliseconds, and of its log.
struct Seen {
    judging: Vec<f64>,
    replay: Vec<f64>,
    /// Oldest that the newest checkpoint was while the log grew, in seconds; the note counts whole ones.
    checkpoint_age: u64,
}

async fn seen() -> Outcome<Seen> {
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let batch = Batch::about(&evidence, "vn-moh-ec", 1_000);
    let previewed = Batch::about(&evidence, "vn-moh-ec", 1_000);
    let (mut judging, mut replay) = (Vec::new(), Vec::new());
    let first = client.sign(batch.body.clone()).await?;
    for _ in 0..REPEATS {
        let since = Instant::now();
        let answer = client.post("/v1/batches/preview", previewed.body.clone()).await?;
        judging.push(since.elapsed().as_secs_f64() * 1e3);
        let since = Instant::now();
        let again = client.sign(batch.body.clone()).await?;
        replay.push(since.elapsed().as_secs_f64() * 1e3);
        if answer.status != 200 || again.body != first.body {
            return Err("a preview or a replay failed".into());
        }
    }
    let checkpoint_age = checkpoint_age(&client, &evidence).await?;
    if !daemon.stop().success() {
        return Err("the daemon did not end well".into());
    }
    judging.sort_by(f64::total_cmp);
    replay.sort_by(f64::total_cmp);
    Ok(Seen { judging, replay, checkpoint_age })
}

/// Signs without a pause and looks at the newest checkpoint ten times a second.
async fn checkpoint_age(client: &Client, evidence: &Evidence) -> Outcome<u64> {
    let batches: Vec<Batch> = (0..20).map(|_| Batch::about(evidence, "vn-moh-ec", 500)).collect();
    let sender = client.clone();
    let sending = tokio::spawn(async move {
        for batch in batches {
            sender.sign(batch.body).await?;
        }
        Ok::<_, std::io::Error>(())
    });
    // A log that does not grow needs no newer checkpoint: what counts begins with the first one under load.
    let (begun, mut oldest) = (now(), None);
    while !sending.is_finished() {
        let answer = client.get("/v1/log/checkpoint").await?;
        let note = String::from_utf8(answer.body.to_vec())?;
        let time = note.lines().find_map(|line| line.strip_prefix("time ")).ok_or("no time")?;
        let at: u64 = time.parse()?;
        if at >= begun {
            oldest = oldest.max(Some(now().saturating_sub(at)));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sending.await??;
    oldest.ok_or_else(|| "no checkpoint under load".into())
}

impl Seen {
    fn write(&self, out: &mut dyn Write) -> Outcome<()> {
        let (judging, replay) = (percentile(&self.judging, 50), percentile(&self.replay, 99));
        writeln!(out, "1,000 records of 2 doses over mTLS, each {REPEATS} times in turn")?;
        writeln!(
            out,
            "judging (preview), ms    p50 {judging:6.1}  p99 {:6.1}",
            percentile(&self.judging, 99)
        )?;
        writeln!(
            out,
            "replay, ms               p50 {:6.1}  p99 {replay:6.1}",
            percentile(&self.replay, 50)
        )?;
        let ratio = replay / judging;
        let aim = if ratio <= REPLAY_AIM { "met" } else { "MISSED" };
        writeln!(out, "replay p99 / judging p50 {ratio:6.2}, aim {REPLAY_AIM}: {aim}")?;
        let age = self.checkpoint_age;
        writeln!(out, "newest checkpoint under load: at most {age} s old, in whole seconds")?;
        Ok(())
    }

    fn json(&self) -> Value {
        json!({
            "judging_p50_ms": percentile(&self.judging, 50),
            "replay_p50_ms": percentile(&self.replay, 50),
            "replay_p99_ms": percentile(&self.replay, 99),
            "checkpoint_age_s": self.checkpoint_age,
        })
    }
}
