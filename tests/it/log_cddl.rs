//! `docs/log.cddl` held against entries of every kind, and of a real daemon, by a validator that is not ours.

use std::fs;

use cddl::cddl_from_str;
use cddl::validator::Validator as _;
use cddl::validator::cbor::CBORValidator;
use ciborium::Value;
use signerd::tlog::fact::{Entry, Fact, Peer};
use signerd::tlog::{bundle, glance::Glance};
use signerd_tests::setup::root;
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup, tlog};

/// One of each event.
fn every_fact() -> Vec<Fact> {
    let [by, issuer, reason, code] = ["o:1", "vn-moh", "Đợt bổ sung", "hang"].map(str::to_owned);
    vec![
        Fact::LogBegun { certificates: 3 },
        Fact::DaemonStarted {
            version: "1.2.3".to_owned(),
            config: [1; 32],
            open: 2,
            appliance: Some("signerd-1".to_owned()),
        },
        Fact::DaemonStopped { appliance: Some("signerd-1".to_owned()) },
        Fact::RulesLoaded { config: [2; 32] },
        tlog::intended(4, 3),
        Fact::BatchResumed { batch: 4, attempt: 2 },
        Fact::BatchReleased { batch: 4, code: Some("hsm".to_owned()) },
        Fact::RequestsRefused {
            peer: Peer::Client("moh-issuing".to_owned()),
            code: "issuer.not_allowed".to_owned(),
            count: 7,
        },
        Fact::ClockTrusted { seconds: 86_400 },
        Fact::BatchRefused {
            client: "moh-issuing".to_owned(),
            batch_id: [6; 16],
            issuer: issuer.clone(),
            code: "rate.exceeded".to_owned(),
        },
        tlog::certificate(4, 1, 0),
        Fact::BatchAnswered { batch: 4, attempt: 2 },
        Fact::WorkerLost { code },
        Fact::WindowOpened {
            by: by.clone(),
            issuer: issuer.clone(),
            until: 9,
            reason: reason.clone(),
        },
        Fact::WindowClosed { by, issuer, reason },
    ]
}

fn grammar() -> String {
    fs::read_to_string(root().join("docs/log.cddl")).unwrap()
}

/// Whether an entry is as its own rule says, which has the name of the event with a dash.
fn holds(grammar: &'static str, entry: &Value) -> Result<(), String> {
    let parsed = cddl_from_str(grammar, false).unwrap();
    let mut validator = CBORValidator::new(&parsed, entry.clone().into(), None);
    validator.validate().map_err(|fault| fault.to_string())
}

/// The grammar with the rule of an event as its root.
fn rooted(event: &str) -> &'static str {
    let rule = event.replace('.', "-");
    Box::leak(format!("at-hand = {rule}\n\n{}", grammar()).into_boxed_str())
}

fn read(entry: &[u8]) -> Value {
    ciborium::from_reader(entry).unwrap()
}

/// Entries with a member less, a member more, and each member of another type.
fn spoilt(entry: &Value) -> Vec<(String, Value)> {
    let members = entry.as_map().unwrap();
    let mut spoilt =
        vec![("more".to_owned(), with(members, members.len(), "unheard", Value::from(1)))];
    for (at, (key, value)) in members.iter().enumerate() {
        let name = key.as_text().unwrap();
        let mut less = members.clone();
        less.remove(at);
        spoilt.push((format!("without {name}"), Value::Map(less)));
        let other = if value.is_text() { Value::from(1) } else { Value::from("text") };
        spoilt.push((format!("{name} of another type"), with(members, at, name, other)));
        if let Value::Bytes(bytes) = value {
            let short = Value::Bytes(bytes[1..].to_vec());
            spoilt.push((format!("{name} shorter"), with(members, at, name, short)));
        }
    }
    spoilt
}

fn with(members: &[(Value, Value)], at: usize, name: &str, value: Value) -> Value {
    let mut changed = members.to_vec();
    changed.truncate(at);
    changed.push((Value::from(name), value));
    changed.extend_from_slice(members.get(at + 1..).unwrap_or_default());
    Value::Map(changed)
}

#[test]
fn every_entry_is_as_described_and_no_spoilt_one_is() {
    // An entry of each event holds against its rule and against the choice of all; with a member missing
    // that is not optional, added, of another type or length it holds against neither.
    let all: &'static str = Box::leak(format!("at-hand = entry\n\n{}", grammar()).into_boxed_str());
    let mut refused = 0;
    for fact in every_fact() {
        let event = fact.event();
        let entry = read(&Entry { at: tlog::BEGINNING, fact }.encode());
        assert_eq!(holds(rooted(event), &entry), Ok(()), "{event}");
        assert_eq!(holds(all, &entry), Ok(()), "{event}");
        for (how, spoilt) in spoilt(&entry) {
            // Entries of earlier releases have no such member.
            let is_older = match event {
                "batch.released" => how == "without code",
                // Of nobody's.
                "requests.refused" => how == "without client",
                _ => how == "without appliance",
            };
            assert_eq!(holds(rooted(event), &spoilt).is_ok(), is_older, "{event}: {how}");
            refused += usize::from(!is_older);
        }
    }
    let rules = grammar().matches("\"event\"").count();
    assert_eq!(rules, every_fact().len(), "each event has a rule");
    assert!(refused > 120, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_daemon_records_is_as_described() {
    // Every entry that a real daemon wrote holds against the rule of its event.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let client = Client::new(&setup);
    let sent = Batch::about(&Evidence::of(&setup), "vn-moh-ec", 3);
    assert_eq!(client.sign(sent.body).await.unwrap().status, 200);
    let officer = Client::officer(&setup, "officer-1");
    let mut width = 0;
    let mut bytes = Vec::new();
    for wanted in 1..256 {
        let answer = officer.get(&format!("/v1/log/tile/entries/000.p/{wanted}")).await.unwrap();
        if answer.status != 200 {
            break;
        }
        (width, bytes) = (wanted, answer.body);
    }
    assert!(daemon.stop().success());
    let entries = bundle::decode(&bytes, width).unwrap();
    assert!(entries.len() > 3 + 6, "{}", entries.len());
    for entry in entries {
        let event = Glance::at(entry).unwrap().event.to_owned();
        assert_eq!(holds(rooted(&event), &read(entry)), Ok(()), "{event}");
    }
}
