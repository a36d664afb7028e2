//! The ledger's disk is full, read-only or gone: nothing is signed that cannot be written down first.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signerd_tests::batch::certificates;
use signerd_tests::faults::Faulty;
use signerd_tests::pool::{both_live, two_workers};
use signerd_tests::{Answer, Batch, Client, Daemon, Evidence, Setup, ledger, process};

/// More than the ledger wants to have free, so that it is ready when nothing else is on the disk.
const SIZE: &str = "size=40m,mode=0700";

/// A small file system for the set-up's state, gone with this value.
struct Disk(PathBuf);

impl Disk {
    /// Mounts it under the ledger; says loudly what is skipped where that is not allowed.
    fn mount(setup: &Setup) -> Option<Self> {
        Self::mount_at(setup.path("state"))
    }

    fn mount_at(at: PathBuf) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&at);
        if process::is_root("a full disk") && mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        eprintln!("SKIPPED: a full disk: nothing can be mounted here");
        None
    }

    fn remount(&self, how: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{how}")]).arg(&self.0);
        assert!(mount.status().unwrap().success());
    }

    /// Leaves not a byte free. The ledger's journal goes when a write fails, so it is tried thrice.
    fn fill(&self, daemon: &Daemon) {
        for _ in 0..3 {
            self.top_up();
            let (status, obstacles) = daemon.observe("/readyz");
            assert!(status == 503 && obstacles.contains("ledger cannot be written: disk is"));
        }
    }

    fn top_up(&self) {
        let filler = File::options().create(true).append(true).open(self.filler());
        let mut filler = filler.unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Counts the chunks that workers signed.
fn chunks(daemon: &Daemon) -> f64 {
    daemon.metric("signerd_hsm_sign_duration_seconds_count")
}

fn is_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "ledger.unavailable"));
    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
}

fn is_ready(daemon: &mut Daemon) {
    daemon.wait_until("ready again", |daemon| daemon.observe("/readyz").0 == 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_signs_nothing() {
    // With a full disk a batch gets 503 before the HSM is touched; a batch that was being signed when
    // it filled up is not released, and repeated as it was intended; both without a restart.
    let setup = two_workers(&[]);
    let Some(disk) = Disk::mount(&setup) else { return };
    let mut daemon = Daemon::ready(&setup);
    both_live(&mut daemon);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let before = Batch::about(&evidence, "vn-moh-ec", 50);
    let first = client.sign(before.body.clone()).await.unwrap();
    assert_eq!(certificates(&first).1.len(), 100);
    let signed = chunks(&daemon);

    disk.fill(&daemon);
    let batch = Batch::about(&evidence, "vn-moh-ec", 50);
    is_unavailable(&client.sign(batch.body.clone()).await.unwrap());
    assert_eq!(daemon.observe("/healthz").0, 200);
    disk.free();
    is_ready(&mut daemon);
    assert!(chunks(&daemon) <= signed, "nothing was signed");
    log_is_signed_again(&mut daemon, &setup);
    assert_eq!((ledger::issued(&setup), ledger::open_intents(&setup)), ((100, 100), 0));
    assert_eq!(certificates(&client.sign(batch.body).await.unwrap()).1.len(), 100);

    let batch = Batch::about(&evidence, "vn-moh-ec", 50);
    process::signal(&daemon.workers(), Signal::STOP);
    let (sender, body) = (client.clone(), batch.body.clone());
    let sent = tokio::spawn(async move { sender.sign(body).await });
    daemon.wait_until("holding an intent", |_| ledger::batch(&setup, &batch.id).is_some());
    let intent = ledger::batch(&setup, &batch.id).unwrap();
    disk.fill(&daemon);
    process::signal(&daemon.workers(), Signal::CONT);
    is_unavailable(&sent.await.unwrap().unwrap());
    disk.free();
    is_ready(&mut daemon);
    let answer = client.sign(batch.body).await.unwrap();
    assert!(certificates(&answer) == (intent.issued_at, intent.certificates), "as intended");
    assert_eq!(ledger::issued(&setup), (300, 300));
    let replayed = client.sign(before.body).await.unwrap();
    assert!(replayed.headers.contains_key("idempotency-replayed") && replayed.body == first.body);
    assert!(daemon.stop().success());
}

/// Waits for a checkpoint of the whole log, which is in its file as well.
fn log_is_signed_again(daemon: &mut Daemon, setup: &Setup) {
    daemon.wait_until("signing its log", |daemon| {
        let note = fs::read_to_string(setup.path("state/checkpoint")).unwrap_or_default();
        let size: f64 = note.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default();
        size > 0.0 && size == daemon.metric("signerd_log_entries")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_stops_the_signing_until_it_is_writable() {
    // A file system that turns read-only under the daemon, as the kernel makes it after an error, is a
    // 503 before the HSM is touched; nothing is lost, and writing goes on without a restart.
    let setup = Setup::new();
    let mark = setup.path("read-only");
    let faulty = Faulty::daemon(&setup).read_only_while(&mark, &setup);
    let mut daemon = Daemon::try_ready(&setup, faulty.into_command()).unwrap();
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let before = Batch::about(&evidence, "vn-moh-ec", 3);
    let first = client.sign(before.body.clone()).await.unwrap();
    log_is_signed_again(&mut daemon, &setup);
    fs::write(&mark, "").unwrap();
    let batch = Batch::about(&evidence, "vn-moh-ec", 3);
    let signed = chunks(&daemon);
    is_unavailable(&client.sign(batch.body.clone()).await.unwrap());
    let (status, obstacles) = daemon.observe("/readyz");
    assert!(status == 503 && obstacles.contains("ledger cannot be written"), "{obstacles}");
    assert!(chunks(&daemon) <= signed, "nothing was signed");
    fs::remove_file(&mark).unwrap();
    is_ready(&mut daemon);
    assert_eq!(certificates(&client.sign(batch.body).await.unwrap()).1.len(), 6);
    assert!(client.sign(before.body).await.unwrap().body == first.body);
    assert_eq!(ledger::issued(&setup), (12, 12));
    assert!(daemon.stop().success());
}

/// A set-up whose checkpoints go to a folder of their own.
fn checkpoints_apart() -> (Setup, PathBuf) {
    let setup = Setup::new();
    let folder = setup.path("checkpoints");
    fs::create_dir(&folder).unwrap();
    setup.change("signerd.toml", "\"state/checkpoint\"", "\"checkpoints/latest\"");
    (setup, folder)
}

/// The folder cannot be written: the daemon is not ready within seconds and says why.
fn is_missed(daemon: &mut Daemon, why: &str) {
    daemon.wait_until("missing its checkpoint file", |daemon| {
        let (status, obstacles) = daemon.observe("/readyz");
        status == 503 && obstacles.contains("the log is not signed") && obstacles.contains(why)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_file_that_cannot_be_written_ends_readiness() {
    // Where the folder of the checkpoint file is gone or full, the appliance is not ready after seconds
    // and names the file; a batch in between is still signed, and readiness is back by itself.
    let (setup, folder) = checkpoints_apart();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let sign = async || client.sign(Batch::about(&evidence, "vn-moh-ec", 1).body).await.unwrap();
    daemon.wait_until("writing checkpoints", |_| folder.join("latest").exists());
    let away = setup.path("away");
    fs::rename(&folder, &away).unwrap();
    assert_eq!(sign().await.statuses(), ["issued"]);
    is_missed(&mut daemon, "No such file");
    assert_eq!(sign().await.statuses(), ["issued"]);
    fs::rename(&away, &folder).unwrap();
    is_ready(&mut daemon);

    let Some(disk) = Disk::mount_at(folder) else { return };
    disk.top_up();
    assert_eq!(sign().await.statuses(), ["issued"]);
    is_missed(&mut daemon, "No space left");
    disk.free();
    is_ready(&mut daemon);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for a minute: tests/run.sh --long"]
async fn a_log_that_goes_unsigned_for_a_minute_stops_the_signing() {
    // Without a checkpoint for a minute nothing new is signed, what was answered is still replayed, and
    // a repeat passes as soon as the file can be written.
    let (setup, folder) = checkpoints_apart();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let away = setup.path("away");
    fs::rename(&folder, &away).unwrap();
    let early = Batch::about(&evidence, "vn-moh-ec", 1);
    let answer = client.sign(early.body.clone()).await.unwrap();
    assert_eq!(answer.statuses(), ["issued"]);
    let since = Instant::now();
    let refused = loop {
        let batch = Batch::about(&evidence, "vn-moh-ec", 1);
        let answer = client.sign(batch.body.clone()).await.unwrap();
        if answer.status != 200 {
            is_unavailable(&answer);
            break batch;
        }
        assert!(since.elapsed() < Duration::from_secs(90), "it signs all the same");
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    assert!(since.elapsed() > Duration::from_secs(55), "after {:?}", since.elapsed());
    assert_eq!(client.sign(early.body).await.unwrap().body, answer.body);
    fs::rename(&away, &folder).unwrap();
    is_ready(&mut daemon);
    assert_eq!(client.sign(refused.body).await.unwrap().statuses(), ["issued"]);
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_moved_away_is_missed_and_found_again() {
    // A ledger whose file is moved away stops the signing instead of being begun anew; it goes on
    // when the file is back, and a start without a place to write says what is in the way.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let (here, away) = (setup.path("state/ledger.sqlite"), setup.path("state/away"));
    let batch = Batch::about(&evidence, "vn-moh-ec", 1);
    fs::rename(&here, &away).unwrap();
    is_unavailable(&client.sign(batch.body.clone()).await.unwrap());
    let (status, obstacles) = daemon.observe("/readyz");
    assert_eq!(status, 503);
    assert!(obstacles.contains("ledger cannot be written: file was moved away"), "{obstacles}");
    assert!(!here.exists() && chunks(&daemon) < 1.0);
    fs::rename(&away, &here).unwrap();
    is_ready(&mut daemon);
    assert_eq!(client.sign(batch.body).await.unwrap().statuses(), ["issued"]);
    assert!(daemon.stop().success());

    let Some(disk) = Disk::mount(&setup) else { return };
    disk.remount("ro");
    let output = setup.signerd(&["serve"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let expected = "ledger.sqlite.lock cannot be opened: Read-only file system";
    assert!(told.contains(expected), "{told}");
    disk.remount("rw");
    assert!(Daemon::ready(&setup).stop().success());
}
