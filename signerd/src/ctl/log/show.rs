//! `signerctl log show`: entries of an exported log, for people and for machines.
//!
//! In go a folder and what is looked for; out come entries with their times in Viet Nam and in UTC, as a
//! table or one JSON object a line. It shows what the folder says: whether that was signed is for
//! `log verify`.

use std::io::Write;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use policy::{Uvci, VIET_NAM};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::Context;
use super::super::error::{CtlError, Outcome};
use super::super::output::harmless;
use super::super::verify::when;
use super::LogError;
use super::folder::Folder;
use super::scan::{Found, Wanted, scan};
use crate::tlog::fact::{Entry, Fact, Peer};
use crate::tlog::note::Head;

/// The command line of `log show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of an export
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The certificate of this identifier, with the intent and the end of its batch
    #[arg(long, value_name = "UVCI")]
    uvci: Option<String>,
    /// Everything about the batches of this id
    #[arg(long, value_name = "UUID")]
    batch: Option<Uuid>,
    /// From this time on: RFC 3339, or without an offset in Viet Nam, such as 2026-11-24T06:00 or 2026-11-24
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// About this issuer and its batches
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// About this client and its batches
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Of this event, such as batch.refused
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// At most so many entries
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

/// Runs the verb.
///
/// # Errors
/// When the command line, the folder or the output stop it.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let uvci = args.uvci.as_deref().map(|text| {
        let uvci = Uvci::parse(text).map(|uvci| *uvci.as_bytes());
        uvci.map_err(|_| LogError::Usage(format!("\"{text}\" is no identifier of ours")))
    });
    let wanted = Wanted {
        uvci: uvci.transpose()?,
        batch_id: args.batch.map(Uuid::into_bytes),
        client: args.client.clone(),
        issuer: args.issuer.clone(),
        event: args.event.clone(),
        since: args.since.as_deref().map(time).transpose()?,
        until: args.until.as_deref().map(time).transpose()?,
        limit: args.limit,
    };
    let (found, is_cut) = scan(&Folder::at(&args.folder), &wanted)?;
    for Found { number, entry } in &found {
        match (entry, context.json) {
            (Ok(entry), true) => writeln!(out, "{}", as_json(*number, entry))?,
            (Ok(entry), false) => writeln!(out, "{}", harmless(&in_words(*number, entry)))?,
            (Err(fault), true) => {
                writeln!(out, "{}", json!({ "entry": number, "fault": fault.to_string() }))?;
            }
            (Err(fault), false) => writeln!(out, "{number:>9}  {}", harmless(&fault.to_string()))?,
        }
    }
    if is_cut && !context.json {
        writeln!(out, "… and more; raise --limit, or ask for less")?;
    }
    Ok(Outcome::Done)
}

/// A time of the command line.
fn time(text: &str) -> Result<i64, LogError> {
    let in_viet_nam = |time: civil::DateTime| time.to_zoned(TimeZone::fixed(VIET_NAM)).ok();
    let local = || in_viet_nam(text.parse::<civil::DateTime>().ok()?);
    let day = || in_viet_nam(text.parse::<civil::Date>().ok()?.at(0, 0, 0, 0));
    let found = text.parse::<Timestamp>().ok();
    let found = found.or_else(|| Some(local().or_else(day)?.timestamp()));
    let not = || LogError::Usage(format!("\"{text}\" is not a time such as 2026-11-24T06:00"));
    found.map(Timestamp::as_second).ok_or_else(not)
}

/// A time in Viet Nam.
fn local(epoch: i64) -> String {
    let time = Timestamp::from_second(epoch).map(|time| VIET_NAM.to_datetime(time));
    time.map_or_else(|_| epoch.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// One line for people: number, time in Viet Nam and UTC, event, what about.
fn in_words(number: u64, entry: &Entry) -> String {
    let Value::Object(members) = members(&entry.fact) else { return String::new() };
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let about: Vec<String> =
        members.iter().map(|(name, value)| format!("{name}={}", word(value))).collect();
    let (local, utc) = (local(entry.at), when(entry.at));
    format!("{number:>9}  {local}  ({utc})  {:<18}  {}", entry.fact.event(), about.join(" "))
}

/// One object for machines.
fn as_json(number: u64, entry: &Entry) -> Value {
    let mut value = json!({
        "entry": number, "at": entry.at, "time": format!("{}+07:00", local(entry.at).replace(' ', "T")),
        "time_utc": when(entry.at), "event": entry.fact.event(),
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut value, members(&entry.fact)) {
        all.extend(more);
    }
    value
}

/// An entry that a proof shows to be in a log.
pub(super) fn proved_words(number: u64, entry: &Entry, head: &Head) -> String {
    let (origin, size, at) = (&head.origin, head.size, when(head.at));
    let (log, line) = (harmless(origin), harmless(&in_words(number, entry)));
    format!("GOOD  in {log} of {size} entries, signed {at}:\n{line}\n")
}

/// The same for machines.
pub(super) fn proved_json(number: u64, entry: &Entry, head: &Head) -> Value {
    let mut value = as_json(number, entry);
    if let Value::Object(members) = &mut value {
        let head = json!({ "origin": head.origin, "entries": head.size, "at": head.at });
        members.insert("checkpoint".to_owned(), head);
    }
    value
}

/// The members of an event, as `docs/log.cddl` names them; identifiers as people know them.
fn members(fact: &Fact) -> Value {
    let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
    let id = |bytes: &[u8; 16]| Uuid::from_bytes(*bytes).to_string();
    match fact {
        Fact::LogBegun { certificates } => json!({ "certificates": certificates }),
        Fact::DaemonStarted { version, config, open, appliance } => {
            json!({ "version": version, "config": hex(config), "open": open, "appliance": appliance })
        }
        Fact::DaemonStopped { appliance } => json!({ "appliance": appliance }),
        Fact::RulesLoaded { config } => json!({ "config": hex(config) }),
        Fact::BatchIntended(intended) => {
            let rejected: serde_json::Map<String, Value> = intended
                .rejected
                .iter()
                .map(|(code, count)| (code.clone(), Value::from(*count)))
                .collect();
            json!({
                "batch_id": id(&intended.batch_id), "client": intended.client,
                "issuer": intended.issuer, "kid": hex(&intended.kid),
                "certificates": intended.certificates, "assurance": intended.assurance,
                "request": hex(&intended.request), "rejected": rejected,
            })
        }
        Fact::BatchResumed { batch, attempt } | Fact::BatchAnswered { batch, attempt } => {
            json!({ "batch": batch, "attempt": attempt })
        }
        Fact::BatchReleased { batch, code } => json!({ "batch": batch, "code": code }),
        Fact::RequestsRefused { peer, code, count } => match peer {
            Peer::Client(client) => json!({ "client": client, "code": code, "count": count }),
            Peer::Officer(by) => json!({ "by": by, "code": code, "count": count }),
            Peer::Stranger(sha256) => {
                json!({ "certificate": hex(sha256), "code": code, "count": count })
            }
            Peer::Nobody => json!({ "code": code, "count": count }),
        },
        Fact::ClockTrusted { seconds } => json!({ "seconds": seconds }),
        Fact::BatchRefused { client, batch_id, issuer, code } => {
            json!({ "batch_id": id(batch_id), "client": client, "issuer": issuer, "code": code })
        }
        Fact::CertificateSigned(certificate) => json!({
            "batch": certificate.batch,
            "uvci": Uvci::from_random_bytes(certificate.uvci).to_string(),
            "kid": hex(&certificate.kid),
            "iat": certificate.iat, "exp": certificate.exp, "sha256": hex(&certificate.sha256),
        }),
        Fact::WorkerLost { code } => json!({ "code": code }),
        Fact::WindowOpened { by, issuer, until, reason } => {
            json!({ "by": by, "issuer": issuer, "until": until, "reason": reason })
        }
        Fact::WindowClosed { by, issuer, reason } => {
            json!({ "by": by, "issuer": issuer, "reason": reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_an_offset_are_those_of_viet_nam() {
        // A day and a time are Viet Nam's; with an offset they are that one's; anything else is refused.
        for (text, expected) in [
            ("2026-11-24", 1_795_453_200),
            ("2026-11-24T06:00", 1_795_474_800),
            ("2026-11-23T23:00:00Z", 1_795_474_800),
        ] {
            assert_eq!(time(text).unwrap(), expected, "{text}");
        }
        assert!(time("yesterday").is_err());
        assert_eq!(local(1_795_453_200), "2026-11-24 00:00:00");
    }

    #[test]
    fn an_entry_is_shown_in_both_zones() {
        // A line has number, both times, event and members; JSON the same, and nothing steers a terminal.
        let reason = "b\u{1b}".to_owned();
        let fact = Fact::WindowClosed { by: "o".into(), issuer: "vn-moh".into(), reason };
        let entry = Entry { at: 1_795_453_200, fact };
        let line = harmless(&in_words(7, &entry));
        assert!(
            line.contains("7  2026-11-24 00:00:00  (2026-11-23T17:00:00Z)  window.closed"),
            "{line}"
        );
        assert!(line.contains("issuer=vn-moh") && !line.contains('\u{1b}'), "{line}");
        let value = as_json(7, &entry);
        assert_eq!(value["time"], "2026-11-24T00:00:00+07:00");
        assert_eq!(
            (value["entry"].as_u64(), value["event"].as_str()),
            (Some(7), Some("window.closed"))
        );
    }
}
