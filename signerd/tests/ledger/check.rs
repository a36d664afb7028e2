//! The full check finds what does not fit, wherever it is; a backup is taken from a ledger in use.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{slice, thread};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rusqlite::Connection;
use signerd::ledger::{self, Checked, Damage, Engine, Ledger, LedgerError, StoredCheckpoint};
use signerd::tlog::note::{AuditKey, Head};

use super::place::{NOW, Place, answered, open, open_batch, replays};
use super::shared;

const ORIGIN: &str = "log.example/test";

/// An audit key as the token has it.
struct Audit {
    pair: EcdsaKeyPair,
    key: AuditKey,
}

impl Audit {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate =
            rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(scheme, &key.serialize_der()).unwrap();
        Self { pair, key: AuditKey::of(certificate.der()).unwrap() }
    }

    /// Signs the head of a ledger's log.
    async fn seal(&self, ledger: &Ledger) -> u64 {
        let (size, root) = ledger.log_head().await.unwrap();
        let head = Head { origin: ORIGIN.to_owned(), size, root, at: NOW };
        let signature = self.pair.sign(&SystemRandom::new(), head.text().as_bytes()).unwrap();
        let note = head.signed(&self.key, signature.as_ref().try_into().unwrap()).unwrap();
        ledger.keep_checkpoint(StoredCheckpoint { size, at: NOW, note }).await.unwrap();
        size
    }

    fn check(&self, path: &Path) -> Result<Checked, Damage> {
        self.check_on(&Engine::Sqlite(path.to_owned()))
    }

    fn check_on(&self, engine: &Engine) -> Result<Checked, Damage> {
        ledger::check(engine, (slice::from_ref(&self.key), ORIGIN), &mut |_, _| {})
    }
}

/// A closed ledger with 240 certificates in 60 batches, more entries than a tile holds.
async fn filled() -> (Place, Audit, u64) {
    let (place, audit) = (Place::new(), Audit::new());
    let ledger = place.open();
    for id in 0..60 {
        // A dose is named by one byte.
        let doses: Vec<u8> = (0..4).map(|dose| id * 4 + dose).collect();
        answered(&ledger, id, &doses).await;
    }
    drop(open_batch(&ledger, 200, &[250, 251]).await);
    let size = audit.seal(&ledger).await;
    ledger.close().await;
    (place, audit, size)
}

#[tokio::test]
async fn a_good_ledger_passes_and_says_what_it_holds() {
    // 60 answered batches of 4 certificates with their intents and ends, one open intent, and the
    // beginning of the log: everything is read, held against the signed head, and left as it was.
    let (place, audit, size) = filled().await;
    let before = fs::read(place.path()).unwrap();
    let mut seen = Vec::new();
    let mut progress = |done, all| seen.push((done, all));
    let engine = Engine::Sqlite(place.path());
    let checked = ledger::check(&engine, (slice::from_ref(&audit.key), ORIGIN), &mut progress);
    let expected = Checked { entries: 362, certificates: 240, unlogged: 0, signed: Some(size) };
    assert_eq!(checked.unwrap(), expected);
    assert_eq!(seen, [(362, 362)]);
    assert_eq!(fs::read(place.path()).unwrap(), before);
    assert!(audit.check(&place.folder.path().join("nowhere")).is_err());
}

#[tokio::test]
async fn a_ledger_that_was_never_signed_passes_too() {
    // Without a checkpoint there is nothing to hold the tree against, and the check says that.
    let (place, audit) = (Place::new(), Audit::new());
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    ledger.close().await;
    assert_eq!(audit.check(&place.path()).unwrap().signed, None);
}

#[tokio::test]
async fn whatever_is_changed_is_found() {
    // Each way to tamper with a ledger from outside is found, and named by its place.
    for (statement, expected) in [
        ("DELETE FROM log_entry WHERE number = 300", "entry 300 of the log is missing"),
        (
            "UPDATE log_entry SET entry = (SELECT entry FROM log_entry WHERE number = 8) \
             WHERE number = 9",
            "the certificate of entry 9 of the log is not in a batch that says so",
        ),
        (
            "UPDATE log_entry SET entry = (SELECT entry FROM log_entry WHERE number = 1) \
             WHERE number = 2",
            "tile 0 of level 0 is not the one of the entries",
        ),
        ("UPDATE log_entry SET entry = x'a0' WHERE number = 2", "entry 2 of the log: "),
        (
            "UPDATE log_tile SET hashes = zeroblob(length(hashes)) WHERE level = 0 AND number = 1",
            "tile 1 of level 0 is not the one of the entries",
        ),
        (
            "UPDATE log_tile SET hashes = zeroblob(length(hashes)) WHERE level = 1",
            "tile 0 of level 1 is not the one of the entries",
        ),
        (
            "UPDATE batch SET issued_at = issued_at - 1 WHERE id = 3",
            "is not in a batch that says so",
        ),
        (
            "UPDATE signature SET cose_sha256 = randomblob(length(cose_sha256)) WHERE batch = 3",
            "is not in a batch that says so",
        ),
        (
            "UPDATE certificate SET uvci = randomblob(16) WHERE batch = 3 AND position = 0",
            "is not in a batch that says so",
        ),
        (
            "UPDATE batch SET answered_at = 5, signed_entry = 1 WHERE answered_at IS NULL",
            "batches have 242 certificates, and the log has 240",
        ),
        (
            "UPDATE log_checkpoint SET note = replace(note, 'time 1', 'time 2')",
            "the checkpoint of ",
        ),
        ("UPDATE log_checkpoint SET size = size - 1", "entries of the log are not those"),
    ] {
        let (place, audit, _) = filled().await;
        assert_eq!(Connection::open(place.path()).unwrap().execute(statement, []), Ok(1));
        let damage = audit.check(&place.path()).unwrap_err().to_string();
        assert!(damage.contains(expected), "{statement}: {damage}");
    }
}

#[tokio::test]
async fn a_log_that_was_made_anew_is_found() {
    // Whoever rewrites entries and tree together still has not the audit key.
    let (place, audit, _) = filled().await;
    let other = Place::new();
    let ledger = other.open();
    for id in 0..90 {
        answered(&ledger, id, &[id * 2, id * 2 + 1]).await;
    }
    ledger.close().await;
    let connection = Connection::open(other.path()).unwrap();
    connection.execute("ATTACH ? AS signed", [place.path().to_str()]).unwrap();
    let copied = "INSERT INTO log_checkpoint SELECT * FROM signed.log_checkpoint";
    assert_eq!(connection.execute(copied, []), Ok(1));
    drop(connection);
    let damage = audit.check(&other.path()).unwrap_err();
    assert!(matches!(damage, Damage::Root { .. } | Damage::Ledger(_)), "{damage}");
}

#[tokio::test]
async fn a_head_of_an_earlier_audit_key_is_checked_against_that_key() {
    // Right after a change of the key the latest checkpoint is the earlier key's: without its certificate
    // the check says that the key did not sign it, with it everything fits, in either order.
    let (place, earlier, _) = filled().await;
    let now = Audit::new();
    let damage = now.check(&place.path()).unwrap_err().to_string();
    assert!(damage.contains("no signature of the audit key"), "{damage}");
    let engine = Engine::Sqlite(place.path());
    for keys in [[&now, &earlier], [&earlier, &now]] {
        let keys = keys.map(|audit| audit.key.clone());
        assert!(ledger::check(&engine, (&keys, ORIGIN), &mut |_, _| {}).is_ok());
    }
}

#[tokio::test]
async fn damage_inside_the_file_is_found() {
    // A page that a disk has spoiled is found by the engine.
    let (place, audit, _) = filled().await;
    let mut bytes = fs::read(place.path()).unwrap();
    let page = 4096 * 9;
    bytes[page..page + 512].fill(0xee);
    fs::write(place.path(), bytes).unwrap();
    let damage = audit.check(&place.path()).unwrap_err();
    assert!(matches!(damage, Damage::Ledger(LedgerError::Corrupt { .. })), "{damage}");
}

#[tokio::test]
async fn a_ledger_in_use_is_not_checked_but_its_backup_is() {
    // A daemon's ledger is refused by name; the copy, made while it was written, is whole, readable for
    // its owner alone, passes the check, and a daemon could start on it.
    let (place, audit) = (Place::new(), Audit::new());
    let ledger = place.open();
    for id in 0..20 {
        answered(&ledger, id, &[id * 2, id * 2 + 1]).await;
    }
    audit.seal(&ledger).await;
    assert!(matches!(audit.check(&place.path()), Err(Damage::Ledger(LedgerError::InUse { .. }))));
    let copy = Place::new();
    let (from, to) = (place.path(), copy.path());
    let copying = thread::spawn(move || ledger::backup(&from, &to, &mut |_, _| {}).unwrap());
    for id in 20..60 {
        answered(&ledger, id, &[id * 2, id * 2 + 1]).await;
    }
    assert_eq!(copying.join().unwrap(), fs::metadata(copy.path()).unwrap().len());
    assert_eq!(fs::metadata(copy.path()).unwrap().mode() & 0o777, 0o600);
    let checked = audit.check(&copy.path()).unwrap();
    assert!(checked.certificates >= 40 && checked.signed.is_some(), "{checked:?}");
    assert!(replays(&open(&copy.path()).unwrap(), 1).await);

    let refusal = ledger::backup(&place.path(), &copy.path(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(refusal, LedgerError::CannotOpen { .. }), "never over another file");
    let text = place.folder.path().join("text");
    fs::write(&text, "no ledger").unwrap();
    let nowhere = place.folder.path().join("copy");
    assert!(ledger::backup(&text, &nowhere, &mut |_, _| {}).is_err());
    assert!(!nowhere.exists(), "nothing half-done is left");
}

#[tokio::test]
async fn on_a_server_the_check_reads_one_moment_while_the_fleet_goes_on() {
    // While appliances have the ledger open, and one holds its lock, everything fits; an entry that was
    // changed, one that is gone, and a certificate without its batch are found.
    let place = shared::Place::new();
    let audit = Audit::new();
    let ledger = place.open();
    for id in 1..=20 {
        answered(&ledger, id, &[id * 2, id * 2 + 1]).await;
    }
    let size = audit.seal(&ledger).await;
    let _at_work = open_batch(&ledger, 200, &[250]).await;
    let engine = Engine::Postgres(place.over_tls());
    let check = || thread::scope(|scope| scope.spawn(|| audit.check_on(&engine)).join().unwrap());
    let checked = check().unwrap();
    let expected = Checked { entries: size + 1, certificates: 40, unlogged: 0, signed: Some(size) };
    assert_eq!(checked, expected);
    for (change, back, told) in [
        (
            "CREATE TABLE aside AS SELECT * FROM log_entry WHERE number = 7;
             UPDATE log_entry SET entry = set_byte(entry, 20, get_byte(entry, 20) # 1) WHERE number = 7",
            "UPDATE log_entry SET entry = aside.entry FROM aside WHERE log_entry.number = 7;
             DROP TABLE aside",
            "",
        ),
        (
            "CREATE TABLE aside AS SELECT * FROM log_entry WHERE number = 9;
             DELETE FROM log_entry WHERE number = 9",
            "INSERT INTO log_entry SELECT * FROM aside; DROP TABLE aside",
            "entry 9 of the log is missing",
        ),
        (
            "UPDATE certificate SET batch = batch + 1000 WHERE batch = 3",
            "UPDATE certificate SET batch = batch - 1000 WHERE batch = 1003",
            "a certificate belongs to a batch that is not there",
        ),
    ] {
        place.sql(change);
        let damage = check().unwrap_err().to_string();
        assert!(damage.contains(told), "{damage}");
        place.sql(back);
        assert_eq!(check().unwrap(), expected, "{change}");
    }
    assert!(replays(&ledger, 1).await);
}
