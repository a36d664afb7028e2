//! `docs/api.cddl` held against what really goes over the wire, and the tables of codes against each other.
//!
//! Requests are those that the harness sends, answers those of the real daemon; the crate `cddl`, which
//! shares no code with ours, validates them. So that the test can fail, every message is then spoiled in
//! every place, and the validator must refuse each spoiled one. Where another description of the same
//! wire lies beside the project (`SIGNERD_CONTRACT`), the messages must hold against that one too.
//!
//! What the validator cannot say: deterministic encoding, the order of doses, NFC; the daemon's own tests
//! see to those. Two of its faults are worked around, measured with version 0.10.7: it searches for a
//! pattern instead of matching the whole text, and it panics on bytes where a literal text is due.

mod codes;
mod messages;
mod spoil;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use cddl::validator::Validator as _;
use cddl::validator::cbor::CBORValidator;
use cddl::{ast, cddl_from_str};
use ciborium::Value;
use signerd_tests::setup::root;

use self::messages::Message;

/// One description of the wire.
struct Grammar {
    name: String,
    text: &'static str,
    /// Rules that only ours has: what is inside statements and certificates.
    is_ours: bool,
}

impl Grammar {
    fn ours() -> Self {
        Self { name: "docs/api.cddl".into(), text: leak(text("docs/api.cddl")), is_ours: true }
    }

    /// Ours, and the published one where it lies beside the project.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::ours()];
        all.extend(contract("api.cddl").map(|text| Self {
            name: "the published api.cddl".into(),
            text: leak(text),
            is_ours: false,
        }));
        all
    }

    /// The grammar with this rule as its root, which for the validator is the first one.
    fn rooted(&self, rule: &str) -> Rooted {
        let text = leak(format!("message-at-hand = {rule}\n\n{}", anchored(self.text)));
        let parsed = cddl_from_str(text, false);
        Rooted(parsed.unwrap_or_else(|fault| panic!("{}: {fault}", self.name)))
    }
}

/// A grammar for one kind of message.
struct Rooted(ast::CDDL<'static>);

impl Rooted {
    fn check(&self, message: &Value) -> Result<(), String> {
        let mut validator = CBORValidator::new(&self.0, message.clone().into(), None);
        validator.validate().map_err(|fault| fault.to_string())
    }
}

/// Writes out that a `.regexp` is about the whole text (RFC 8610 §3.8.3): the validator only searches.
fn anchored(grammar: &str) -> String {
    let mut pieces = grammar.split(".regexp \"");
    let mut anchored = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (pattern, rest) = piece.split_once('"').expect("the end of a pattern");
        write!(anchored, ".regexp \"^({pattern})$\"{rest}").unwrap();
    }
    anchored
}

/// A grammar lives as long as its parsed form; the test process is short.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A file of the published contract, if it is there; says loudly what is skipped if not.
fn contract(file: &str) -> Option<String> {
    let folder = std::env::var_os("SIGNERD_CONTRACT")
        .map_or_else(|| root().join("../shared/contract"), PathBuf::from);
    let path = folder.join(file);
    let text = fs::read_to_string(&path);
    if text.is_err() {
        eprintln!("SKIPPED: {file}: {} is absent; set SIGNERD_CONTRACT", path.display());
    }
    text.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_as_described_and_no_spoiled_one_is() {
    // Whatever is sent and answered holds against the description; with any member missing, added, or of
    // another type or value than described, it does not.
    let messages = messages::recorded().await;
    let mut report = String::new();
    for grammar in Grammar::all() {
        let (mut held, mut refused) = (0, 0);
        for rule in messages::rules(&messages) {
            let rooted = grammar.is_ours.then(|| grammar.rooted(rule)).or_else(|| {
                let known = grammar.text.contains(&format!("\n{rule} = "));
                known.then(|| grammar.rooted(rule))
            });
            let Some(rooted) = rooted else { continue };
            for Message { what, value, .. } in messages.iter().filter(|m| m.rule == rule) {
                if let Err(fault) = rooted.check(value) {
                    panic!("{}: {rule}, {what}: {fault}\n{value:?}", grammar.name);
                }
                held += 1;
                for spoiled in spoil::everywhere(value) {
                    // Codes and patterns of answers are listed in ours alone.
                    if spoiled.is_subtle && !grammar.is_ours {
                        continue;
                    }
                    match rooted.check(&spoiled.value) {
                        Ok(()) => {
                            let (name, how) = (&grammar.name, &spoiled.how);
                            writeln!(report, "{name}: {rule}, {what}: {how}").unwrap();
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
        }
        assert!(held > 35 && refused > 1_500, "{}: {held} held, {refused} refused", grammar.name);
        eprintln!("{}: {held} messages hold, {refused} spoiled ones are refused", grammar.name);
    }
    assert!(report.is_empty(), "spoiled messages that hold:\n{report}");
}
