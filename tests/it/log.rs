//! The transparency log of a real daemon, read as an outsider reads it: with the audit certificate, a
//! verifier of RFC 6962 that is not ours, and openssl.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use ciborium::Value;
use ct_merkle::{InclusionProof, RootHash};
use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest as _, Sha256};
use signerd::tlog::fact::Fact;
use signerd_tests::client::member;
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup, batch, ledger};

/// What a checkpoint says, and the DER of its signature.
pub(super) struct Checkpoint {
    text: String,
    size: u64,
    root: [u8; 32],
    signature: Vec<u8>,
}

impl Checkpoint {
    pub(super) fn of(note: &str) -> Self {
        let (text, signatures) = note.split_once("\n\n").expect("a signed note");
        let text = format!("{text}\n");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "signerd.example/development");
        let blob = signatures.trim_end().rsplit(' ').next().expect("a signature");
        Self {
            size: lines[1].parse().unwrap(),
            root: BASE64.decode(lines[2].as_bytes()).unwrap().try_into().unwrap(),
            signature: BASE64.decode(blob.as_bytes()).unwrap()[4..].to_vec(),
            text,
        }
    }

    /// Whether openssl accepts the signature under the key of the audit certificate.
    pub(super) fn is_signed(&self, setup: &Setup) -> bool {
        let files = ["audit.pub", "note", "note.sig"].map(|name| setup.path(name));
        let [public, text, signature] = &files;
        let pem = setup.path("pki/audit.pem");
        let key = Command::new("openssl")
            .args(["x509", "-noout", "-pubkey", "-in"])
            .arg(pem)
            .output()
            .unwrap();
        fs::write(public, key.stdout).unwrap();
        fs::write(text, &self.text).unwrap();
        fs::write(signature, &self.signature).unwrap();
        Command::new("openssl")
            .args(["dgst", "-sha256", "-verify"])
            .arg(public)
            .arg("-signature")
            .arg(signature)
            .arg(text)
            .status()
            .unwrap()
            .success()
    }
}

/// The latest checkpoint once it has more entries than a number; it is at most a second behind.
pub(super) async fn checkpoint_beyond(client: &Client, entries: u64) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = client.get("/v1/log/checkpoint").await.unwrap();
        if answer.status == 200 {
            let note = String::from_utf8(answer.body.to_vec()).unwrap();
            if Checkpoint::of(&note).size > entries {
                return note;
            }
        }
        assert!(Instant::now() < end, "no checkpoint of more than {entries} entries");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    member(value, name).into_bytes().unwrap()
}

fn number(value: &Value, name: &str) -> u64 {
    member(value, name).into_integer().unwrap().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_certificate_is_in_the_signed_log() {
    // For each certificate of an answer the daemon proves, under a checkpoint that the audit key signed,
    // an entry with its identifier, key and hash; another verifier accepts the proof, openssl the signature.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    let client = Client::new(&setup);
    let sent = Batch::about(&Evidence::of(&setup), "vn-moh-ec", 3);
    let answer = client.sign(sent.body).await.unwrap();
    let (issued_at, certificates) = batch::certificates(&answer);
    assert_eq!(certificates.len(), 6);
    let hashes: Vec<Vec<u8>> = answer.hcerts().iter().map(|text| cose_sha256(text)).collect();
    for ((uvci, expires_at), hash) in certificates.iter().zip(hashes) {
        let path = format!("/v1/log/proof/{uvci}");
        let mut proof = client.get(&path).await.unwrap();
        while proof.status == 503 {
            assert_eq!(proof.code(), "log.unsigned");
            tokio::time::sleep(Duration::from_millis(50)).await;
            proof = client.get(&path).await.unwrap();
        }
        assert_eq!(proof.status, 200);
        let proof = proof.cbor();
        let note = member(&proof, "checkpoint").into_text().unwrap();
        let checkpoint = Checkpoint::of(&note);
        assert!(checkpoint.is_signed(&setup));

        let entry = bytes(&proof, "entry");
        let nodes = member(&proof, "proof").into_array().unwrap();
        let nodes: Vec<u8> =
            nodes.into_iter().flat_map(|node| node.into_bytes().unwrap()).collect();
        let root = RootHash::<Sha256>::new(checkpoint.root.into(), checkpoint.size);
        let theirs = InclusionProof::from_bytes(nodes);
        root.verify_inclusion(&entry, number(&proof, "index"), &theirs).unwrap();

        let entry: Value = ciborium::from_reader(entry.as_slice()).unwrap();
        assert_eq!(member(&entry, "event"), Value::Text("certificate.signed".into()));
        assert_eq!(bytes(&entry, "sha256"), hash);
        assert_eq!(number(&entry, "iat"), u64::try_from(issued_at).unwrap());
        assert_eq!(number(&entry, "exp"), u64::try_from(*expires_at).unwrap());
        let random = data_encoding::HEXUPPER.encode(&bytes(&entry, "uvci"));
        assert_eq!(format!("URN:UVCI:01:VN:{random}"), *uvci);
    }
}

/// SHA-256 of the COSE bytes of a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_by_which_configuration_was_signed() {
    // The digest that start and reload log is that of the files, as sha256sum makes it and `check` tells
    // it: another rule, another unit or another verifier is another digest, a new revocation list is none.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    let first = by_hand(&setup);
    let checked = setup.signerd(&["check"]).output().unwrap();
    let checked = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.contains(&format!("configuration {first}, 8 files")), "{checked}");
    setup.change("policy.toml", "records_max = 1000", "records_max = 999");
    let reload = |daemon: &mut Daemon, times: f64| {
        daemon.signal(rustix::process::Signal::HUP);
        let done = "signerd_config_reloads_total{result=\"ok\"}";
        daemon.wait_until("reloaded", |daemon| daemon.metric(done) >= times);
    };
    reload(&mut daemon, 1.0);
    let second = by_hand(&setup);
    fs::write(setup.path("pki/facility-crl.pem"), {
        let list = fs::read_to_string(setup.path("pki/facility-crl.pem")).unwrap();
        format!("# another one\n{list}")
    })
    .unwrap();
    reload(&mut daemon, 2.0);
    assert!(daemon.stop().success());
    let logged: Vec<String> = ledger::facts(&setup)
        .into_iter()
        .filter_map(|fact| match fact {
            Fact::DaemonStarted { config, .. } | Fact::RulesLoaded { config } => {
                Some(HEXLOWER.encode(&config))
            }
            _ => None,
        })
        .collect();
    assert_ne!(first, second);
    assert_eq!(logged, [first, second.clone(), second]);
}

/// The digest of the configuration as `docs/log.md` says that an auditor makes it.
fn by_hand(setup: &Setup) -> String {
    let files = "signerd.toml hsm.toml policy.toml pki/dsc/vn-moh.pem pki/dsc/vn-moh-ec.pem \
                 pki/audit.pem pki/verifier.pem pki/facility-ca.pem";
    let line = format!("sha256sum {files} | cut -d' ' -f1 | sort | sha256sum | cut -d' ' -f1");
    let made = Command::new("sh").args(["-c", &line]).current_dir(setup.dir()).output().unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn cose_sha256(hcert: &str) -> Vec<u8> {
    let zipped = base45::decode(hcert.strip_prefix("HC1:").unwrap()).unwrap();
    let mut cose = Vec::new();
    let mut reader = flate2::read::ZlibDecoder::new(zipped.as_slice());
    std::io::Read::read_to_end(&mut reader, &mut cose).unwrap();
    Sha256::digest(cose).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_for_the_clients_of_its_issuer_and_the_tree_for_officers() {
    // Whoever may not use the issuer is told that there is no such certificate; tiles and entries are
    // served on the officers' listener alone, and a hash of them is that of the entry.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    let (client, other) = (Client::new(&setup), Client::named(&setup, "client-other"));
    let officer = Client::officer(&setup, "officer-1");
    let sent = Batch::about(&Evidence::of(&setup), "vn-moh-ec", 1);
    let (_, certificates) = batch::certificates(&client.sign(sent.body).await.unwrap());
    let path = format!("/v1/log/proof/{}", certificates[0].0);
    let note = checkpoint_beyond(&client, 4).await;
    assert_eq!(other.get("/v1/log/checkpoint").await.unwrap().status, 200);
    assert_eq!(client.get(&path).await.unwrap().status, 200);
    assert_eq!(officer.get(&path).await.unwrap().status, 200);
    assert_eq!(other.get(&path).await.unwrap().code(), "http.not_found");
    let unknown = format!("/v1/log/proof/URN:UVCI:01:VN:{}", "0".repeat(32));
    assert_eq!(client.get(&unknown).await.unwrap().status, 404);
    assert_eq!(client.get("/v1/log/proof/nothing").await.unwrap().status, 404);

    let size = Checkpoint::of(&note).size;
    let tile = |kind: &str| format!("/v1/log/tile/{kind}/000.p/{size}");
    assert_eq!(client.get(&tile("0")).await.unwrap().status, 404);
    let entries = officer.get(&tile("entries")).await.unwrap();
    let hashes = officer.get(&tile("0")).await.unwrap();
    assert_eq!((entries.status, hashes.status), (200, 200));
    let (mut rest, mut leaves): (&[u8], Vec<u8>) = (&entries.body, Vec::new());
    while let [high, low, after @ ..] = rest {
        let (entry, after) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        leaves.extend(Sha256::digest([&[0_u8], entry].concat()));
        rest = after;
    }
    assert_eq!(leaves.as_slice(), &hashes.body[..]);
    assert_eq!(officer.get("/v1/log/tile/0/001").await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_ledger_is_refused() {
    // A ledger that was put back from before the last checkpoint, or changed behind the daemon's back, is
    // not signed on: the start says what it found and what to do.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let client = Client::new(&setup);
    checkpoint_beyond(&client, 1).await;
    assert!(daemon.stop().success());
    let ledger = setup.path("state/ledger.sqlite");
    let older = fs::read(&ledger).unwrap();

    let daemon = Daemon::ready(&setup);
    let sent = Batch::about(&Evidence::of(&setup), "vn-moh-ec", 1);
    assert_eq!(client.sign(sent.body).await.unwrap().status, 200);
    assert!(daemon.stop().success());
    let newer = fs::read(&ledger).unwrap();

    let refused = |expected: &str| {
        let output = setup.signerd(&["serve"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(expected), "{expected:?} is not in {told}");
    };
    fs::write(&ledger, older).unwrap();
    refused("an older ledger was put back");
    fs::write(&ledger, newer).unwrap();
    let changed = rusqlite::Connection::open(&ledger).unwrap();
    let statement = "UPDATE log_tile SET hashes = zeroblob(length(hashes)) WHERE level = 0";
    assert_eq!(changed.execute(statement, []), Ok(1));
    drop(changed);
    refused("changed from outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_changes_under_the_daemon_stops_the_signing() {
    // Once other entries stand where signed ones were, no head is signed any more and no batch, and
    // readiness says why: there is no second history under the audit key.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let sent = Batch::about(&evidence, "vn-moh-ec", 1);
    assert_eq!(client.sign(sent.body).await.unwrap().status, 200);
    let note = checkpoint_beyond(&client, 4).await;
    let ledger = rusqlite::Connection::open(setup.path("state/ledger.sqlite")).unwrap();
    ledger.busy_timeout(Duration::from_secs(10)).unwrap();
    let statement = "UPDATE log_tile SET hashes = zeroblob(length(hashes)) WHERE level = 0";
    assert_eq!(ledger.execute(statement, []), Ok(1));
    daemon.wait_until("not ready", |daemon| {
        daemon.observe("/readyz").1.contains("changed from outside")
    });
    let refused = Batch::about(&evidence, "vn-moh-ec", 1);
    let answer = client.sign(refused.body).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "ledger.unavailable"));
    let latest = client.get("/v1/log/checkpoint").await.unwrap();
    assert_eq!(
        Checkpoint::of(&String::from_utf8_lossy(&latest.body)).root,
        Checkpoint::of(&note).root
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_another_secret_is_not_signed_on() {
    // Under another secret of the token no dose would be recognised: nothing is signed, and readiness says
    // what is wrong; with the right one all is as it was.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let batch = Batch::about(&evidence, "vn-moh-ec", 1);
    let first = client.sign(batch.body.clone()).await.unwrap();
    assert!(daemon.stop().success());
    let ledger = rusqlite::Connection::open(setup.path("state/ledger.sqlite")).unwrap();
    let mark: Vec<u8> = ledger.query_row("SELECT mark FROM secret", [], |row| row.get(0)).unwrap();
    assert_eq!(ledger.execute("UPDATE secret SET mark = zeroblob(16)", []), Ok(1));

    let mut daemon = Daemon::start(&setup);
    daemon.wait_until("told of the secret", |daemon| {
        daemon.observe("/readyz").1.contains("belongs to another secret")
    });
    let answer = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "ledger.unavailable"));
    assert_eq!(ledger.execute("UPDATE secret SET mark = ?", [mark]), Ok(1));
    daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
    assert_eq!(client.sign(batch.body).await.unwrap().body, first.body);
    assert!(daemon.stop().success());
}
