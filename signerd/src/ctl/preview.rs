//! `signerctl preview`: what would be signed of a records file, and why not the rest (R15).
//!
//! A records file in, one line per record out. Nothing is signed and nothing is stored, so that ids
//! are thrown away and no journal is needed.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;

use serde_json::json;
use uuid::Uuid;

use super::answer::{self, PreviewResponse, PreviewResult};
use super::batch::{self, Atomicity, Batch, Batches};
use super::client::Client;
use super::config::Settings;
use super::error::{CtlError, Outcome};
use super::output::{FileError, harmless};
use super::records::{RecordReader, VaccinationRecord};
use super::{Context, runtime};

/// The command line of `preview`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Records file: a JSON array, or one object per line
    file: PathBuf,
    /// Issuer whose rules judge [default: the settings' issuer]
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// Show rejected records only
    #[arg(long)]
    rejected: bool,
}

/// Runs the verb.
///
/// # Errors
/// When a file, the settings or the server stop it.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let settings = Settings::load(&context.config)?;
    let issuer = settings.issuer(args.issuer.as_deref())?;
    let client = Client::new(settings.signing()?, context.patience)?;
    let file = File::open(&args.file).map_err(FileError::of("open", &args.file))?;
    let batches = Batches::new(RecordReader::new(BufReader::new(file)), batch::RECORDS_MAX);
    let runtime = runtime()?;
    let (mut acceptable, mut rejected): (u64, u64) = (0, 0);
    for batch in batches {
        let batch =
            batch.map_err(|source| CtlError::Records { path: args.file.clone(), source })?;
        let results = runtime.block_on(ask(&client, issuer, &batch))?;
        for ((index, entry), result) in (batch.first..).zip(&batch.entries).zip(&results) {
            let count = match result {
                PreviewResult::Acceptable { .. } => &mut acceptable,
                PreviewResult::Rejected { .. } => &mut rejected,
            };
            *count = count.saturating_add(1);
            if args.rejected && matches!(result, PreviewResult::Acceptable { .. }) {
                continue;
            }
            if context.json {
                let mut line = json!({ "record": index });
                merge(&mut line, result);
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{}", row(index, &holder(&entry.record.0), result))?;
            }
        }
    }
    if !context.json {
        writeln!(out, "{acceptable} records acceptable, {rejected} rejected; nothing was signed")?;
    }
    Ok(if rejected == 0 { Outcome::Done } else { Outcome::SomeRejected })
}

async fn ask(client: &Client, issuer: &str, batch: &Batch) -> Result<Vec<PreviewResult>, CtlError> {
    let batch_id = Uuid::new_v4();
    let request = batch.request(issuer, Atomicity::Each, batch_id)?;
    let reply = client.post("/v1/batches/preview", request.into()).await?;
    let response: PreviewResponse = answer::decode(&reply.body)?;
    let of = (&response.batch_id, response.issuer.as_str(), response.results.len());
    answer::belongs(of, (&batch_id, issuer, batch.entries.len()))?;
    Ok(response.results)
}

/// Who it is, for the person who decides what to sign.
fn holder(record: &[u8]) -> String {
    let record: Result<VaccinationRecord, _> = ciborium::from_reader(record);
    record.map_or_else(
        |_| "(cannot be read)".into(),
        |record| harmless(&format!("{}, {}", record.holder.full_name, record.holder.date_of_birth)),
    )
}

fn row(index: u64, holder: &str, result: &PreviewResult) -> String {
    match result {
        PreviewResult::Acceptable { doses } => {
            let doses: Vec<_> = doses.iter().map(u64::to_string).collect();
            format!("{index}\tacceptable\tdoses {}\t{holder}", doses.join(", "))
        }
        PreviewResult::Rejected { reasons } => {
            let mut text = format!("{index}\trejected\t\t{holder}");
            for reason in reasons {
                let reason = format!("{} at {}: {}", reason.code, reason.path, reason.detail);
                text.push_str(&format!("\n\t\t{}", harmless(&reason)));
            }
            text
        }
    }
}

fn merge(line: &mut serde_json::Value, result: &PreviewResult) {
    if let (Some(line), Ok(serde_json::Value::Object(members))) =
        (line.as_object_mut(), serde_json::to_value(result))
    {
        line.extend(members);
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Reason;
    use super::super::records::model::tests::full_record;
    use super::*;

    #[test]
    fn the_signer_sees_who_and_why() {
        // A row names the person and either the doses or every reason.
        let holder = holder(&full_record().encode().unwrap());
        let good = row(4, &holder, &PreviewResult::Acceptable { doses: vec![1, 2] });
        assert_eq!(good, "4\tacceptable\tdoses 1, 2\tNguyễn Văn A, 1999-10-20");
        let reason =
            |code: &str| Reason { code: code.into(), path: "/x".into(), detail: "d".into() };
        let result = PreviewResult::Rejected { reasons: vec![reason("a.b"), reason("c.d")] };
        let bad = row(5, &holder, &result);
        assert!(bad.contains("a.b at /x: d") && bad.contains("c.d at /x: d"));
    }

    #[test]
    fn json_rows_are_flat() {
        // A JSON row holds the record's index beside the members of its result.
        let mut line = json!({ "record": 3 });
        merge(&mut line, &PreviewResult::Acceptable { doses: vec![2] });
        assert_eq!(line, json!({ "record": 3, "status": "acceptable", "doses": [2] }));
    }
}
