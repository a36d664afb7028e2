//! `signerctl log proof`: one certificate is in the log; one checkpoint is the continuation of another.
//!
//! Asks the appliance for a proof and verifies it with the audit certificate. In go an identifier, or two
//! checkpoints as files or sizes; out comes that it holds, and on demand the proof as a file that others
//! verify without the appliance.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::client::Client;
use super::super::error::{CtlError, Outcome};
use super::super::output::harmless;
use super::super::{Context, runtime};
use super::folder::{self, Durable};
use super::show::{proved_json, proved_words};
use super::verify::verified;
use super::{LogError, audit_keys, either, fetch, held, marks};
use crate::tlog::fact::{Entry, Fact};
use crate::tlog::note::{AuditKey, Head};
use crate::tlog::tiles;

/// The command line of `log proof`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The identifier of a certificate
    #[arg(value_name = "UVCI", required_unless_present = "from", conflicts_with = "from")]
    uvci: Option<String>,
    /// The earlier checkpoint: a file, or its number of entries
    #[arg(long, value_name = "FILE|SIZE")]
    from: Option<String>,
    /// The later one [default: the latest]
    #[arg(long, value_name = "FILE|SIZE", requires = "from")]
    to: Option<String>,
    /// Certificate of the audit key (PEM), and of those before it
    #[arg(long, value_name = "FILE", required = true)]
    certificate: Vec<PathBuf>,
    /// The log's name [default: that of the checkpoint]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Store the proof of the certificate, its entry and the checkpoint in this file
    #[arg(long, short, value_name = "FILE", conflicts_with = "from")]
    output: Option<PathBuf>,
}

/// Everybody may read a proof: it is there to be given away.
const FILE_MODE: u32 = 0o644;

/// Runs the verb.
///
/// # Errors
/// When the settings, the command line or the server stop it, or the proof does not hold.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let keys = audit_keys(&args.certificate)?;
    match (&args.uvci, &args.from) {
        (Some(uvci), _) => certificate(uvci, args, &keys, (context, out)),
        (None, Some(from)) => growth(from, args, &keys, (context, out)),
        (None, None) => Err(LogError::Usage("give an identifier, or --from".to_owned()).into()),
    }
}

fn certificate(
    uvci: &str,
    args: &Args,
    keys: &[AuditKey],
    (context, out): (&Context, &mut dyn Write),
) -> Result<Outcome, CtlError> {
    let wanted = policy::Uvci::parse(uvci);
    let wanted =
        wanted.map_err(|_| LogError::Usage(format!("\"{uvci}\" is no identifier of ours")))?;
    let client = super::client(context, either)?;
    let proof = runtime()?.block_on(fetch::proof(&client, &wanted.to_string()))?;
    let not = |cause| LogError::Proof { place: "the server's proof".to_owned(), cause };
    let head = verified(&proof, keys, args.origin.as_deref()).map_err(not)?;
    let other = || LogError::NotTheSigned("the proof is of another entry".to_owned());
    let entry = Entry::decode(&proof.entry).map_err(|_| other())?;
    match &entry.fact {
        Fact::CertificateSigned(found) if found.uvci == *wanted.as_bytes() => {}
        _ => return Err(other().into()),
    }
    if let Some(path) = &args.output {
        folder::put(path, proof.to_text().as_bytes(), FILE_MODE, Durable::Now)
            .map_err(LogError::from)?;
    }
    if context.json {
        writeln!(out, "{}", proved_json(proof.index, &entry, &head))?;
    } else {
        out.write_all(proved_words(proof.index, &entry, &head).as_bytes())?;
    }
    Ok(Outcome::Done)
}

fn growth(
    from: &str,
    args: &Args,
    keys: &[AuditKey],
    (context, out): (&Context, &mut dyn Write),
) -> Result<Outcome, CtlError> {
    let client = super::client(context, either)?;
    let origin = args.origin.as_deref();
    let (earlier, later) = runtime()?.block_on(async {
        let earlier = checkpoint(&client, from, (keys, origin)).await?;
        let origin = Some(earlier.origin.as_str());
        let later = match &args.to {
            Some(to) => checkpoint(&client, to, (keys, origin)).await?,
            None => latest(&client, (keys, origin)).await?,
        };
        grown(&client, &earlier, &later).await?;
        Ok::<_, CtlError>((earlier, later))
    })?;
    if context.json {
        let value = json!({ "origin": later.origin, "from": earlier.size, "to": later.size });
        writeln!(out, "{value}")?;
    } else {
        let (origin, from, to) = (harmless(&later.origin), earlier.size, later.size);
        writeln!(out, "GOOD  {origin}: the log of {to} entries begins with that of {from}")?;
    }
    Ok(Outcome::Done)
}

/// Fetches and verifies the proof that a log begins with an earlier one.
pub(super) async fn grown(client: &Client, earlier: &Head, later: &Head) -> Result<(), CtlError> {
    let (from, to) = (earlier.size, later.size);
    if from > to {
        let text = format!("{from} entries were signed before, and {to} now");
        return Err(LogError::Fork(text).into());
    }
    let nodes = fetch::growth(client, from, to).await?;
    if tiles::is_growth(&nodes, (to, later.root), (from, earlier.root)) {
        return Ok(());
    }
    let text = format!("the log of {to} entries does not begin with that of {from}");
    Err(LogError::Fork(text).into())
}

/// The latest checkpoint, verified.
pub(super) async fn latest(
    client: &Client,
    (keys, origin): (&[AuditKey], Option<&str>),
) -> Result<Head, CtlError> {
    let note = fetch::checkpoint(client).await?;
    Ok(opened(&note, "the server's checkpoint", (keys, origin))?)
}

/// A checkpoint by its file, or one that the server keeps by its size.
async fn checkpoint(
    client: &Client,
    word: &str,
    (keys, origin): (&[AuditKey], Option<&str>),
) -> Result<Head, CtlError> {
    let Ok(size) = word.parse::<u64>() else {
        return Ok(opened(&held(Path::new(word))?, word, (keys, origin))?);
    };
    let unknown =
        || LogError::Usage(format!("no checkpoint of {size} entries is kept; give one as a file"));
    let before = size.checked_sub(1).ok_or_else(unknown)?;
    let page = fetch::checkpoints(client, before).await?;
    let kept = page.into_iter().next().filter(|kept| kept.size == size).ok_or_else(unknown)?;
    let place = format!("the server's checkpoint of {size} entries");
    let head = opened(&kept.note, &place, (keys, origin))?;
    if head.size == size { Ok(head) } else { Err(unknown().into()) }
}

fn opened(
    note: &str,
    place: &str,
    (keys, origin): (&[AuditKey], Option<&str>),
) -> Result<Head, LogError> {
    let head = marks::open(note, keys, origin);
    head.map_err(|cause| LogError::NotSigned { place: place.to_owned(), cause })
}
