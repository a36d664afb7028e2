//! `signerctl log verify`: is the exported log the one that was signed, and the one it was before?
//!
//! In go a folder or a stored proof, the audit certificate and whatever the auditor holds; out comes that
//! everything holds, or each thing that does not and where. It needs no network, no ledger and no settings.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::Context;
use super::super::error::{CtlError, Outcome};
use super::super::output::{FileError, harmless};
use super::super::verify::when;
use super::check::{self, Finding, Given, Report};
use super::folder::Folder;
use super::show::{proved_json, proved_words};
use super::{LogError, audit_keys, held};
use crate::tlog::cosign::WitnessKey;
use crate::tlog::fact::Entry;
use crate::tlog::note::{AuditKey, Head, NotACheckpoint};
use crate::tlog::proof::{NotAProof, PROOF_BYTES_MAX, StoredProof};

/// The command line of `log verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of an export
    #[arg(value_name = "DIR", required_unless_present = "proof")]
    folder: Option<PathBuf>,
    /// A proof that log proof has stored, instead of a folder
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folder", "held"])]
    proof: Option<PathBuf>,
    /// Certificate of the audit key (PEM); those before it as well, where the key was changed
    #[arg(long, value_name = "FILE", required = true)]
    certificate: Vec<PathBuf>,
    /// The log's name [default: that of its checkpoint]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// A checkpoint that was taken away before: the log must still begin with what it signs
    #[arg(long, value_name = "FILE")]
    held: Vec<PathBuf>,
    /// A witness, as log witness --new-key printed it, who must have cosigned the checkpoint or one held
    #[arg(long, value_name = "KEY")]
    witness: Vec<String>,
}

/// Runs the verb.
///
/// # Errors
/// When something cannot be read; what is wrong about the log is an outcome.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let keys = audit_keys(&args.certificate)?;
    let witnesses = args.witness.iter().map(|text| WitnessKey::parse(text));
    let witnesses = witnesses.collect::<Result<Vec<_>, _>>().map_err(LogError::from)?;
    if let Some(proof) = &args.proof {
        return stored(proof, args, (&keys, &witnesses), (context, out));
    }
    let held = args.held.iter().map(|path| Ok((path.display().to_string(), held(path)?)));
    let held = held.collect::<Result<Vec<_>, LogError>>()?;
    let given = Given { keys, origin: args.origin.clone(), held, witnesses };
    let folder = Folder::at(args.folder.as_deref().unwrap_or(Path::new(".")));
    let bar = context.progress.bar(entries(&folder, &given), "entries");
    let report = check::check(&folder, &given, &|read| bar.inc(read));
    bar.finish_and_clear();
    let report = report?;
    if context.json {
        writeln!(out, "{}", report_json(&report))?;
    } else {
        report_words(&report, out)?;
    }
    Ok(if report.wrong.count == 0 { Outcome::Done } else { Outcome::LogWrong })
}

/// How long the bar is.
fn entries(folder: &Folder, given: &Given) -> u64 {
    let note = folder.checkpoint().ok().flatten().unwrap_or_default();
    super::marks::open(&note, &given.keys, None).map_or(0, |head| head.size)
}

fn report_words(report: &Report, out: &mut dyn Write) -> Result<(), CtlError> {
    let head = &report.head;
    writeln!(out, "{}: {} entries, signed {}", harmless(&head.origin), head.size, when(head.at))?;
    for (name, size, at) in &report.cosigned {
        let at = i64::try_from(*at).map_or_else(|_| at.to_string(), when);
        writeln!(out, "cosigned by {}: {size} entries, {at}", harmless(name))?;
    }
    for (word, findings) in [("WARNING", &report.warnings), ("WRONG  ", &report.wrong)] {
        for finding in &findings.kept {
            writeln!(out, "{word}  {}", harmless(&line(finding)))?;
        }
        let kept = u64::try_from(findings.kept.len()).unwrap_or(u64::MAX);
        let more = findings.count.saturating_sub(kept);
        if more > 0 {
            writeln!(out, "{word}  and {more} more")?;
        }
    }
    if report.wrong.count > 0 {
        writeln!(out, "NOT what was signed; the first {} entries are", report.good)?;
    } else {
        let (certificates, open) = (report.certificates, report.open_batches);
        writeln!(
            out,
            "GOOD  every entry is the one that was signed; {certificates} certificates, {open} batches open"
        )?;
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    match finding.entry {
        Some(entry) => format!("entry {entry} ({}): {}", finding.place, finding.text),
        None => format!("{}: {}", finding.place, finding.text),
    }
}

fn report_json(report: &Report) -> Value {
    let list = |findings: &[Finding]| -> Vec<Value> {
        let one = |f: &Finding| json!({ "place": f.place, "entry": f.entry, "text": f.text });
        findings.iter().map(one).collect()
    };
    let cosigned = report.cosigned.iter();
    let cosigned: Vec<Value> = cosigned
        .map(|(name, size, at)| json!({ "name": name, "entries": size, "at": at }))
        .collect();
    json!({
        "good": report.wrong.count == 0,
        "origin": report.head.origin,
        "entries": report.head.size,
        "signed_at": report.head.at,
        "good_entries": report.good,
        "certificates": report.certificates,
        "open_batches": report.open_batches,
        "cosigned": cosigned,
        "wrong": list(&report.wrong.kept),
        "wrong_count": report.wrong.count,
        "warnings": list(&report.warnings.kept),
        "warnings_count": report.warnings.count,
    })
}

/// Verifies a stored proof.
fn stored(
    path: &Path,
    args: &Args,
    (keys, witnesses): (&[AuditKey], &[WitnessKey]),
    (context, out): (&Context, &mut dyn Write),
) -> Result<Outcome, CtlError> {
    let place = path.display().to_string();
    let not = |cause| LogError::Proof { place: place.clone(), cause };
    let bytes = std::fs::metadata(path).map_err(FileError::of("read", path))?.len();
    if usize::try_from(bytes).map_or(true, |bytes| bytes > PROOF_BYTES_MAX) {
        return Err(not(NotAProof::Form("too long")).into());
    }
    let text = std::fs::read_to_string(path).map_err(FileError::of("read", path))?;
    let proof = StoredProof::parse(&text).map_err(not)?;
    let head = verified(&proof, keys, args.origin.as_deref()).map_err(not)?;
    for witness in witnesses {
        let cosigned = witness.cosigned(&proof.checkpoint);
        let cosigned = cosigned.map_err(|cause| not(cause.into()))?;
        if cosigned.is_none() {
            let (place, witness) = (place.clone(), witness.name().to_owned());
            return Err(LogError::NotCosigned { place, witness }.into());
        }
    }
    let entry = Entry::decode(&proof.entry);
    let entry = entry.map_err(|_| not(NotAProof::Form("no entry of this log")))?;
    if context.json {
        writeln!(out, "{}", proved_json(proof.index, &entry, &head))?;
    } else {
        out.write_all(proved_words(proof.index, &entry, &head).as_bytes())?;
    }
    Ok(Outcome::Done)
}

/// Verifies a proof with whichever of the keys signed its checkpoint.
pub(super) fn verified(
    proof: &StoredProof,
    keys: &[AuditKey],
    origin: Option<&str>,
) -> Result<Head, NotAProof> {
    let mut refused = NotAProof::Checkpoint(NotACheckpoint::Unsigned);
    for key in keys {
        match proof.verify(key, origin) {
            Err(NotAProof::Checkpoint(NotACheckpoint::Unsigned)) => {}
            Err(cause) => refused = cause,
            verified => return verified,
        }
    }
    Err(refused)
}
