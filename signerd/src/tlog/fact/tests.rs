//! Every fact as an entry and back, and one of them byte by byte.

use crate::wire::cbor::{Limits, gate};

use super::{BatchIntended, Certificate, Entry, Fact, NotAnEntry, Peer};

/// One of each.
fn all() -> Vec<Fact> {
    let [by, issuer, reason] = ["Nguyễn A", "vn-moh", "Đợt bổ sung"].map(str::to_owned);
    let rejected = vec![("dose.repeated".to_owned(), 2)];
    vec![
        Fact::LogBegun { certificates: 3 },
        Fact::DaemonStarted {
            version: "1.2.3".to_owned(),
            config: [1; 32],
            open: 2,
            appliance: Some("signerd-1".to_owned()),
        },
        Fact::DaemonStopped { appliance: Some("signerd-1".to_owned()) },
        // As earlier releases wrote it.
        Fact::DaemonStopped { appliance: None },
        Fact::RulesLoaded { config: [2; 32] },
        Fact::BatchIntended(Box::new(BatchIntended {
            client: "moh-issuing".to_owned(),
            batch_id: [3; 16],
            request: [4; 32],
            issuer: issuer.clone(),
            kid: [5; 8],
            assurance: "statement".to_owned(),
            certificates: 1,
            rejected,
        })),
        Fact::BatchResumed { batch: 4, attempt: 2 },
        Fact::BatchReleased { batch: 4, code: Some("hsm".to_owned()) },
        // As earlier releases wrote it.
        Fact::BatchReleased { batch: 4, code: None },
        refused(Peer::Client("moh-issuing".to_owned())),
        refused(Peer::Officer("o".to_owned())),
        refused(Peer::Stranger([12; 32])),
        refused(Peer::Nobody),
        Fact::ClockTrusted { seconds: 86_400 },
        Fact::BatchRefused {
            client: "moh-issuing".to_owned(),
            batch_id: [6; 16],
            issuer: issuer.clone(),
            code: "quota.exceeded".to_owned(),
        },
        Fact::CertificateSigned(certificate()),
        Fact::BatchAnswered { batch: 4, attempt: 2 },
        Fact::WorkerLost { code: "hang".to_owned() },
        Fact::WindowOpened {
            by: by.clone(),
            issuer: issuer.clone(),
            until: 9,
            reason: reason.clone(),
        },
        Fact::WindowClosed { by, issuer, reason },
    ]
}

fn refused(peer: Peer) -> Fact {
    Fact::RequestsRefused { peer, code: "client.unknown".to_owned(), count: 7 }
}

fn certificate() -> Certificate {
    Certificate { batch: 4, uvci: [7; 16], kid: [8; 8], iat: 9, exp: 10, sha256: [11; 32] }
}

#[test]
fn every_fact_is_an_entry_and_back() {
    // What is read is what was written, in deterministic CBOR.

    for fact in all() {
        let entry = Entry { at: 1_800_000_000, fact };
        let bytes = entry.encode();
        let checked = gate::check(&bytes, &Limits::SMALL_MAP);
        assert!(checked.is_ok(), "{entry:?}: {checked:?}");
        assert_eq!(Entry::decode(&bytes), Ok(entry));
    }
}

#[test]
fn a_certificates_entry_byte_by_byte() {
    // A map of eight members, shorter names first.
    let expected = [
        b"\xa8\x62at\x1a\x6b\x49\xd2\x00".as_slice(), // at: 1800000000
        b"\x63exp\x0a\x63iat\x09",
        b"\x63kid\x48\x08\x08\x08\x08\x08\x08\x08\x08",
        b"\x64uvci\x50",
        &[7; 16],
        b"\x65batch\x04",
        b"\x65event\x72certificate.signed",
        b"\x66sha256\x58\x20",
        &[11; 32],
    ];
    let entry = Entry { at: 1_800_000_000, fact: Fact::CertificateSigned(certificate()) };
    assert_eq!(entry.encode(), expected.concat());
}

#[test]
fn what_is_no_entry_is_told_why() {
    // Other bytes, an event of a newer release and a missing member are told apart.
    let entry = Entry { at: 1, fact: Fact::BatchReleased { batch: 4, code: None } }.encode();
    let changed = |from: &[u8], to: &[u8]| {
        let at = entry.windows(from.len()).position(|window| window == from).unwrap();
        let mut bytes = entry.clone();
        bytes.splice(at..at + from.len(), to.iter().copied());
        Entry::decode(&bytes).unwrap_err()
    };
    assert!(matches!(Entry::decode(b"\xff").unwrap_err(), NotAnEntry::Form(_)));
    assert_eq!(
        changed(b"batch.released", b"batch.replaced"),
        NotAnEntry::Event("batch.replaced".to_owned())
    );
    assert_eq!(
        changed(b"\x65batch\x04", b"\x65catch\x04"),
        NotAnEntry::Member { event: "batch.released".to_owned(), member: "batch" }
    );
}
