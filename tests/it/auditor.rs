//! The auditor's tools against a real daemon, and against a log of a million entries.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ct_merkle::{ConsistencyProof, RootHash};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use sha2::Sha256;
use signerd::ctl::log::folder::Folder;
use signerd::tlog::cosign::WitnessKey;
use signerd::tlog::proof::StoredProof;
use signerd::tlog::tiles;
use signerd_tests::setup::program;
use signerd_tests::tlog::{self, Auditor};
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup, batch};

const ISSUER: &str = "vn-moh-ec";

/// Runs `signerctl log`.
fn log(setup: &Setup, arguments: &[&str]) -> Output {
    setup.signerctl().arg("log").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// Runs it to a good end.
fn good(setup: &Setup, arguments: &[&str]) -> String {
    let output = log(setup, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn size(note: &str) -> u64 {
    note.lines().nth(1).unwrap().parse().unwrap()
}

/// Signs a batch and waits until a checkpoint has it; gives its first identifier.
async fn signed(setup: &Setup, people: usize) -> (String, Vec<u8>) {
    let client = Client::new(setup);
    let sent = Batch::about(&Evidence::of(setup), ISSUER, people);
    let (_, certificates) = batch::certificates(&client.sign(sent.body).await.unwrap());
    let uvci = certificates[0].0.clone();
    let end = Instant::now() + Duration::from_secs(30);
    while client.get(&format!("/v1/log/proof/{uvci}")).await.unwrap().status != 200 {
        assert!(Instant::now() < end, "no checkpoint has the certificate");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (uvci, sent.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_takes_the_log_away_and_verifies_it() {
    // What is exported verifies offline, an export that is continued fetches what is new alone, a
    // certificate is found and proved, and a stored proof needs nobody.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (uvci, id) = signed(&setup, 3).await;
    let [folder, audit] = ["export", "pki/audit.pem"].map(|name| setup.path(name));
    let (folder, audit) = (folder.to_str().unwrap(), audit.to_str().unwrap());
    good(&setup, &["export", "--output", folder, "--certificate", audit]);
    let first = fs::read_to_string(setup.path("export/checkpoint")).unwrap();
    fs::write(setup.path("held"), &first).unwrap();
    signed(&setup, 150).await;
    let summary = good(&setup, &["export", "--output", folder, "--certificate", audit, "--json"]);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["entries_before"], size(&first));
    assert!(summary["entries"].as_u64().unwrap() > 300, "{summary}");
    signed(&setup, 1).await;
    let again = good(&setup, &["export", "--output", folder, "--certificate", audit, "--json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["bundles_fetched"], 1, "the full bundle is there already: {again}");
    assert!(setup.path("export/tile/0/000").is_file() && setup.path("export/checkpoints").is_dir());

    let proof = setup.path("one.tlog-proof");
    let proof = proof.to_str().unwrap();
    let told = good(&setup, &["proof", &uvci, "--certificate", audit, "--output", proof]);
    assert!(told.starts_with("GOOD") && told.contains(&uvci), "{told}");
    let held = setup.path("held");
    let held = held.to_str().unwrap();
    let told = good(&setup, &["proof", "--from", held, "--certificate", audit]);
    assert!(told.contains(&format!("begins with that of {}", size(&first))), "{told}");
    assert!(daemon.stop().success());

    // From here on there is no daemon.
    let told = good(&setup, &["verify", folder, "--certificate", audit, "--held", held]);
    assert!(told.contains("GOOD  every entry"), "{told}");
    assert!(!told.contains("WARNING"), "{told}");
    good(&setup, &["verify", "--proof", proof, "--certificate", audit]);
    let shown = json_lines(&good(&setup, &["show", folder, "--uvci", &uvci, "--json"]));
    let events: Vec<&str> = shown.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["batch.intended", "certificate.signed", "batch.answered"]);
    let batch = uuid::Uuid::from_slice(&id).unwrap().to_string();
    let shown = json_lines(&good(&setup, &["show", folder, "--batch", &batch, "--json"]));
    let certificates = shown.iter().filter(|entry| entry["event"] == "certificate.signed").count();
    assert_eq!((certificates, shown.len()), (3 * 2, 3 * 2 + 2));
    let started = good(&setup, &["show", folder, "--event", "daemon.started"]);
    assert_eq!(started.lines().count(), 1, "{started}");

    // One bit of an entry, and verify says which one, with an exit code of its own.
    let bundle = setup.path("export/tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let output = log(&setup, &["verify", folder, "--certificate", audit]);
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    assert!(text(&output).contains("(tile/entries/000): not the entry that was signed"));
    let nothing = log(&setup, &["verify", setup.dir().to_str().unwrap(), "--certificate", audit]);
    assert_eq!(nothing.status.code(), Some(5), "{}", text(&nothing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_put_back_is_refused_by_who_holds_a_checkpoint() {
    // A daemon on an older ledger, with nobody on it to object, is found out by the export and by the
    // witness; what they hold stays as it was, and verifies.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    signed(&setup, 1).await;
    assert!(daemon.stop().success());
    let ledger = setup.path("state/ledger.sqlite");
    let older = fs::read(&ledger).unwrap();
    let daemon = Daemon::ready(&setup);
    signed(&setup, 2).await;
    let [folder, audit, key, notes] = ["export", "pki/audit.pem", "witness.key", "seen"]
        .map(|name| setup.path(name).display().to_string());
    good(&setup, &["export", "--output", &folder, "--certificate", &audit]);
    let witness = good(&setup, &["witness", "--new-key", &key, "--name", "witness.example/a"]);
    let witness = witness.trim();
    let cosign = ["witness", "--key", &key, "--name", "witness.example/a", "--notes", &notes];
    let cosign = [&cosign[..], &["--certificate", &audit]].concat();
    let unseen = log(&setup, &cosign);
    assert_eq!(unseen.status.code(), Some(2), "a lost file is no first time: {}", text(&unseen));
    good(&setup, &[&cosign[..], &["--first"]].concat());
    good(&setup, &cosign);
    let seen = fs::read(&notes).unwrap();
    let slower = fs::File::options().append(true).open(format!("{notes}.lock")).unwrap();
    slower.try_lock().unwrap();
    let second = log(&setup, &cosign);
    assert_eq!(second.status.code(), Some(5), "two at once: {}", text(&second));
    assert!(text(&second).contains("another run is at work"), "{}", text(&second));
    assert_eq!(fs::read(&notes).unwrap(), seen);
    drop(slower);
    let verify = ["verify", &folder, "--certificate", &audit, "--held", &notes];
    let told = good(&setup, &[&verify[..], &["--witness", witness]].concat());
    assert!(told.contains("cosigned by witness.example/a"), "{told}");
    let other =
        good(&setup, &["witness", "--new-key", &format!("{key}2"), "--name", "w.example/b"]);
    let missing = log(&setup, &[&verify[..], &["--witness", other.trim()]].concat());
    assert_eq!(missing.status.code(), Some(6), "{}", text(&missing));
    assert!(daemon.stop().success());

    // The newest checkpoint is in the ledger that is gone; a file outside of it would have objected.
    fs::write(&ledger, older).unwrap();
    for left in
        ["state/ledger.sqlite-wal", "state/ledger.sqlite-shm", "state/checkpoint", "checkpoint"]
    {
        let _ = fs::remove_file(setup.path(left));
    }
    let _daemon = Daemon::ready(&setup);
    for people in [1, 1, 1, 1] {
        signed(&setup, people).await;
    }
    let before = fs::read(setup.path("export/checkpoint")).unwrap();
    let refused = log(&setup, &["export", "--output", &folder, "--certificate", &audit]);
    assert_eq!(refused.status.code(), Some(6), "{}", text(&refused));
    assert!(text(&refused).contains("fork or rewrite"), "{}", text(&refused));
    assert_eq!(fs::read(setup.path("export/checkpoint")).unwrap(), before);
    good(&setup, &verify);
    let refused = log(&setup, &cosign);
    assert_eq!(refused.status.code(), Some(6), "{}", text(&refused));
    assert_eq!(fs::read(&notes).unwrap(), seen);
    assert!(text(&refused).contains("fork or rewrite"), "{}", text(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_is_proved_within_what_is_signed() {
    // A proof of growth holds for another verifier; sizes beyond the head, none, and in the wrong order
    // have codes of their own; the history of checkpoints is the officers' alone.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    let (client, officer) = (Client::new(&setup), Client::officer(&setup, "officer-1"));
    signed(&setup, 1).await;
    let note = |answer: signerd_tests::Answer| String::from_utf8(answer.body).unwrap();
    let earlier = note(client.get("/v1/log/checkpoint").await.unwrap());
    signed(&setup, 20).await;
    let later = note(client.get("/v1/log/checkpoint").await.unwrap());
    let (from, to) = (size(&earlier), size(&later));
    for caller in [&client, &officer] {
        let answer = caller.get(&format!("/v1/log/consistency/{from}/{to}")).await.unwrap();
        assert_eq!(answer.status, 200);
        let nodes = signerd_tests::client::member(&answer.cbor(), "proof").into_array().unwrap();
        let nodes: Vec<u8> = nodes.into_iter().flat_map(|n| n.into_bytes().unwrap()).collect();
        let root = |note: &str| {
            let root = note.lines().nth(2).unwrap().as_bytes();
            let root: [u8; 32] = data_encoding::BASE64.decode(root).unwrap().try_into().unwrap();
            RootHash::<Sha256>::new(root.into(), size(note))
        };
        let theirs = ConsistencyProof::<Sha256>::try_from_bytes(nodes).unwrap();
        root(&later).verify_consistency(&root(&earlier), &theirs).unwrap();
    }
    for (path, status, code) in [
        ("consistency/1/999999", 404, "log.beyond"),
        ("consistency/0/1", 422, "log.invalid"),
        ("consistency/2/1", 422, "log.invalid"),
        ("consistency/1/99999999999999999999", 404, "http.not_found"),
    ] {
        let answer = client.get(&format!("/v1/log/{path}")).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    assert_eq!(client.get("/v1/log/checkpoints").await.unwrap().status, 404);
    let kept = officer.get("/v1/log/checkpoints?after=0").await.unwrap().cbor();
    let kept = kept.into_array().unwrap();
    let last = signerd_tests::client::member(kept.last().unwrap(), "note").into_text().unwrap();
    assert!(size(&last) >= to);
    let none = officer.get(&format!("/v1/log/checkpoints?after={}", u32::MAX)).await.unwrap();
    assert_eq!(none.cbor().into_array().unwrap(), []);
    assert_eq!(officer.get("/v1/log/checkpoints?after=x").await.unwrap().code(), "log.invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_killed_goes_on() {
    // However often an export is killed, the folder has the checkpoint of a whole log or none, and the
    // next run ends it.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    for _ in 0..3 {
        signed(&setup, 200).await;
    }
    let [folder, audit] =
        ["export", "pki/audit.pem"].map(|name| setup.path(name).display().to_string());
    let arguments = ["export", "--output", &folder, "--certificate", &audit];
    for pause in [1, 5, 10, 15, 20, 30, 40] {
        let mut child = setup.signerctl().arg("log").args(arguments).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let pid = rustix::process::Pid::from_child(&child);
        let _ = kill_process(pid, Signal::KILL);
        child.wait().unwrap();
        if Path::new(&folder).join("checkpoint").exists() {
            good(&setup, &["verify", &folder, "--certificate", &audit]);
        }
    }
    good(&setup, &arguments);
    good(&setup, &["verify", &folder, "--certificate", &audit]);
}

#[test]
fn a_witness_who_did_not_cosign_is_not_accused() {
    // Where a proof lacks the witness's line, verify says that and nothing of a forgery; a line under the
    // witness's name that is not its signature is told as such.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        Command::new(program("signerctl")).arg("log").args(arguments).output().unwrap()
    };
    let auditor = Auditor::new();
    let entries = tlog::entries(300, 7, 0);
    tlog::write(folder.path(), &entries, &auditor, &[]);
    fs::write(path("audit.pem"), &auditor.certificate).unwrap();
    let nodes = tiles::prove_entry(&mut Folder::at(folder.path()).hashes(300), 300, 3).unwrap();
    let checkpoint = fs::read_to_string(path("checkpoint")).unwrap();
    let proof = StoredProof { entry: entries[3].clone(), index: 3, nodes, checkpoint };
    let made = run(&["witness", "--new-key", &path("witness.key"), "--name", "witness.example/a"]);
    let witness = String::from_utf8(made.stdout).unwrap();
    let verified = |proof: &StoredProof| {
        fs::write(path("proof"), proof.to_text()).unwrap();
        let [proof, audit] = ["proof", "audit.pem"].map(path);
        let verify = ["verify", "--proof", &proof, "--certificate", &audit];
        let output = run(&[&verify[..], &["--witness", witness.trim()]].concat());
        assert_eq!(output.status.code(), Some(6), "{}", text(&output));
        text(&output)
    };
    let told = verified(&proof);
    assert!(told.contains("the witness witness.example/a did not cosign"), "{told}");
    assert!(!told.contains("does not fit"), "{told}");
    let line = WitnessKey::parse(witness.trim()).unwrap().line(1, &[0; 64]);
    let told = verified(&StoredProof { checkpoint: proof.checkpoint.clone() + &line, ..proof });
    assert!(told.contains("the cosignature of the witness does not fit the text"), "{told}");
}

#[test]
#[ignore = "takes a minute and 400 MB; run it in the release profile for the figures of docs/log.md"]
fn a_million_entries_are_verified_and_searched_in_time() {
    // A million entries verify in 20 seconds, and searches over them answer within one.
    let folder = tempfile::tempdir().unwrap();
    let auditor = Auditor::new();
    let entries = tlog::entries(1_000_000, 998, 0);
    tlog::write(folder.path(), &entries, &auditor, &[1_000, 500_000, 999_999]);
    drop(entries);
    let audit = folder.path().join("audit.pem");
    fs::write(&audit, &auditor.certificate).unwrap();
    let timed = |what: &str, arguments: &[&str], at_most: f64| {
        let mut command = Command::new(program("signerctl"));
        command.args(["log", arguments[0]]).arg(folder.path()).args(&arguments[1..]);
        let begun = Instant::now();
        let output = command.output().unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        assert!(output.status.success(), "{what}: {}", text(&output));
        eprintln!("{what}: {seconds:.2} s, {} bytes", output.stdout.len());
        assert!(seconds <= at_most, "{what}: {seconds} s");
        assert!(!output.stdout.is_empty(), "{what}");
    };
    let certificate = audit.to_str().unwrap();
    timed("verify", &["verify", "--certificate", certificate], 20.0);
    let batch = 1 + 1_000 * 700;
    let uvci = data_encoding::HEXUPPER.encode(&tlog::id(batch, 5, 0));
    timed("--uvci", &["show", "--uvci", &format!("URN:UVCI:01:VN:{uvci}")], 1.0);
    let id = uuid::Uuid::from_bytes(tlog::id(batch, 0, 9)).to_string();
    timed("--batch", &["show", "--batch", &id], 1.0);
    timed("--issuer", &["show", "--issuer", "vn-moh", "--limit", "100"], 1.0);
    timed("--client", &["show", "--client", "moh-issuing", "--event", "batch.answered"], 1.0);
    let late = tlog::BEGINNING + 9_990;
    let late = jiff_time(late);
    timed("--since", &["show", "--since", &late], 1.0);
    timed("--event", &["show", "--event", "batch.intended"], 1.0);
}

/// A time as the command line takes it.
fn jiff_time(epoch: i64) -> String {
    let output = Command::new("date").args(["-u", "-d", &format!("@{epoch}"), "+%FT%TZ"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}
