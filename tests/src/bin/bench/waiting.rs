//! What a caller waits for besides the HSM: slow sessions, single certificates, memory under load.
//!
//! `bench hsm` prints these beside the shares of the ceiling. Every figure stands beside what bounds it,
//! measured in the same run on the same machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use rustix::process::Pid;
use serde_json::Value;
use signerd_tests::pool;
use signerd_tests::session::Session;
use signerd_tests::setup::program;
use signerd_tests::shim::{Act, Function, Line};
use signerd_tests::{Client, Daemon, Evidence, Person, Setup, Shim};
use tokio::task::JoinSet;

use crate::{Outcome, ledger, load};

/// How long a signature of the slow token takes.
const SLOW: Duration = Duration::from_millis(2);
/// Sessions of one worker that are tried with it.
const SESSIONS: [usize; 4] = [1, 2, 4, 8];
/// Batches for each of these sessions.
const BATCHES_OF_A_SESSION: usize = 8;
/// Batches at once with it.
const IN_FLIGHT: usize = 4;
/// Single certificates, one after the other.
const SINGLES: usize = 400;
/// How long single certificates compete with large batches.
const COMPETITION: Duration = Duration::from_secs(12);
/// Large batches at once, each of 1,000 records with 3 doses.
const LARGE: usize = 4;
const LARGE_DOSES: usize = 3;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A token that takes its time, by sessions: certificates a second, and signatures of the raw loop.
pub(crate) fn slow() -> Outcome<Vec<(usize, f64, f64)>> {
    SESSIONS
        .into_iter()
        .map(|sessions| slow_with(sessions).map(|(e, r)| (sessions, e, r)))
        .collect()
}

fn slow_with(sessions: usize) -> Outcome<(f64, f64)> {
    let setup = Setup::new();
    let number = u64::try_from(sessions)?;
    pool::set(&setup, &[("workers", 1), ("sessions", number), ("request_deadline_ms", 60_000)]);
    let shim = Shim::under(&setup);
    shim.play([Line::on(Function::C_Sign, Act::Delay(SLOW))]);
    let daemon = Daemon::ready(&setup);
    let before = ceiling(&setup, "vn-moh-ec", 1, sessions)?;
    // A batch of 2,000 takes 4 s of one session: long enough that the judging of the first one and the
    // answering of the last one, while sessions have nothing to do, weigh as little as in a night.
    let batches = sessions * BATCHES_OF_A_SESSION;
    let requests = load::prepare(&setup, "vn-moh-ec", batches)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answered = runtime.block_on(load::send(&Client::new(&setup), requests, IN_FLIGHT))?;
    if let Some(why) = load::refused(&answered) {
        return Err(why.into());
    }
    let certificates = f64::from(load::check(&setup, "vn-moh-ec", &answered.answers)?);
    let after = ceiling(&setup, "vn-moh-ec", 1, sessions)?;
    if !daemon.stop().success() {
        return Err("the daemon did not end well".into());
    }
    Ok((certificates / answered.took.as_secs_f64(), f64::midpoint(before, after)))
}

/// Signatures of the raw loop in a second.
fn ceiling(setup: &Setup, key: &str, processes: usize, sessions: usize) -> Outcome<f64> {
    let output = Command::new(program("ceiling"))
        .arg("--config")
        .arg(setup.path("hsm.toml"))
        .args(["--key", key, "--seconds", "2"])
        .args(["--processes", &processes.to_string(), "--sessions", &sessions.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let about: Value = serde_json::from_slice(&output.stdout)?;
    about.get("per_second").and_then(Value::as_f64).ok_or_else(|| "ceiling gave no rate".into())
}

/// Single certificates on a kept connection, and what each cannot be faster than.
pub(crate) struct Singles {
    /// Answers, sorted, in seconds.
    pub(crate) waits: Vec<f64>,
    /// One raw signature, in seconds.
    pub(crate) signature: f64,
    /// Two durable commits of the ledger, in seconds.
    pub(crate) commits: f64,
}

/// Of a daemon that has nothing else to do.
pub(crate) fn singles() -> Outcome<Singles> {
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let commits = runtime.block_on(ledger::one_batch())?;
    let before = ceiling(&setup, "vn-moh", 1, 1)?;
    let requests = single_requests(&setup, SINGLES);
    let mut waits =
        runtime.block_on(one_after_the_other(&setup, requests, &AtomicBool::new(false)))?;
    waits.sort_by(f64::total_cmp);
    let signature = 1.0 / f64::midpoint(before, ceiling(&setup, "vn-moh", 1, 1)?);
    if !daemon.stop().success() {
        return Err("the daemon did not end well".into());
    }
    Ok(Singles { waits, signature, commits })
}

fn single_requests(setup: &Setup, count: usize) -> Vec<Vec<u8>> {
    let evidence = Evidence::of(setup);
    (0..count).map(|_| evidence.request("vn-moh", [&Person::with_doses(1)])).collect()
}

/// Sends requests on one connection until there is none, or somebody says stop; gives the waits.
async fn one_after_the_other(
    setup: &Setup,
    requests: Vec<Vec<u8>>,
    stop: &AtomicBool,
) -> Outcome<Vec<f64>> {
    let mut session = Session::open(&Client::new(setup)).await?;
    let mut waits = Vec::new();
    for body in requests {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let request = Request::post("/v1/batches")
            .header("host", "localhost")
            .header("content-type", "application/cbor")
            .body(Full::new(Bytes::from(body)))?;
        let since = Instant::now();
        let answer = session.send(request).await?;
        waits.push(since.elapsed().as_secs_f64());
        if answer.status != 200 {
            return Err(format!("a certificate was answered with {}", answer.status).into());
        }
    }
    Ok(waits)
}

/// Single certificates while large batches run, and what the front's memory comes to.
pub(crate) struct Crowded {
    /// Answers to the single ones, sorted, in seconds.
    pub(crate) waits: Vec<f64>,
    /// Certificates of the large ones meanwhile.
    pub(crate) certificates: usize,
    /// KiB of the front that is idle, and at most.
    pub(crate) idle: u32,
    pub(crate) most: u32,
}

/// Of a daemon with four batches of 3,000 doses at any time.
pub(crate) fn crowded() -> Outcome<Crowded> {
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let idle = resident(daemon.pid())?;
    let evidence = Evidence::of(&setup);
    // As many as four lanes send in that time at the rate of a fast machine.
    let large: Vec<Vec<u8>> = (0..20)
        .map(|_| {
            let people: Vec<Person> = (0..1_000).map(|_| Person::with_doses(LARGE_DOSES)).collect();
            evidence.request("vn-moh", &people)
        })
        .collect();
    let singles = single_requests(&setup, 2_000);
    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch_memory(daemon.pid(), Arc::clone(&stop));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (waits, certificates) = runtime.block_on(compete(&setup, large, singles, &stop))?;
    let most = watching.join().map_err(|_| "nobody looked at the memory")?;
    if !daemon.stop().success() {
        return Err("the daemon did not end well".into());
    }
    Ok(Crowded { waits, certificates, idle, most })
}

async fn compete(
    setup: &Setup,
    large: Vec<Vec<u8>>,
    singles: Vec<Vec<u8>>,
    stop: &Arc<AtomicBool>,
) -> Outcome<(Vec<f64>, usize)> {
    let queue = Arc::new(std::sync::Mutex::new(large));
    let mut lanes = JoinSet::new();
    for _ in 0..LARGE {
        let (client, queue, stop) = (Client::new(setup), Arc::clone(&queue), Arc::clone(stop));
        lanes.spawn(async move {
            let mut certificates = 0;
            while !stop.load(Ordering::Relaxed) {
                let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                let Some(body) = next else { break };
                let answer = client.sign(body).await?;
                if answer.status != 200 {
                    return Err(std::io::Error::other(format!("answered with {}", answer.status)));
                }
                certificates += answer.hcerts().len();
            }
            Ok(certificates)
        });
    }
    let timer = tokio::spawn({
        let stop = Arc::clone(stop);
        async move {
            tokio::time::sleep(COMPETITION).await;
            stop.store(true, Ordering::Relaxed);
        }
    });
    let mut waits = one_after_the_other(setup, singles, stop).await?;
    waits.sort_by(f64::total_cmp);
    timer.await?;
    let mut certificates = 0;
    while let Some(lane) = lanes.join_next().await {
        certificates += lane??;
    }
    Ok((waits, certificates))
}

/// The most resident memory of a process until it is told to stop.
fn watch_memory(process: Pid, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u32> {
    std::thread::spawn(move || {
        let mut most = 0;
        while !stop.load(Ordering::Relaxed) {
            most = most.max(resident(process).unwrap_or(0));
            std::thread::sleep(LOOK);
        }
        most
    })
}

/// Resident memory in KiB.
fn resident(process: Pid) -> Outcome<u32> {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(Path::new(&path))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
