//! `signerctl log witness`: another machine remembers what the log was, and says so.
//!
//! In go the checkpoint that the witness cosigned last and its key; from the appliance come the latest one
//! and the proof that it begins with the other. Out comes the latest with the witness's cosignature, in
//! place of the one before. A log that was put back, rewritten or forked gets no cosignature, and what was
//! held stays as it is. The key is the witness's own: it is not on the appliance.

use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64;
use serde_json::json;
use zeroize::Zeroizing;

use super::super::error::{CtlError, Outcome};
use super::super::output::{FileError, PRIVATE_MODE, harmless};
use super::super::{Context, pem, runtime};
use super::folder::{self, Durable};
use super::proof::grown;
use super::{LogError, audit_keys, either, fetch, marks};
use crate::tlog::cosign::WitnessKey;
use crate::tlog::note::Head;

/// The command line of `log witness`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Make a key in this file and print its public part for log verify --witness; cosign nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "notes", "certificate"])]
    new_key: Option<PathBuf>,
    /// The witness's key (PEM, PKCS#8), readable by its owner alone
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// The witness's name, such as witness.example/vn
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The file of the cosigned checkpoint: what was seen last, replaced by what is seen now
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    notes: Option<PathBuf>,
    /// Certificate of the audit key (PEM), and of those before it
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    certificate: Vec<PathBuf>,
    /// The log's name [default: that of the checkpoint seen last]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Begin with what the appliance shows now, because nothing was seen before
    #[arg(long, conflicts_with = "new_key")]
    first: bool,
}

/// The rights of others in a mode.
const OTHERS: u32 = 0o077;
/// Everybody may read a cosigned checkpoint: it is there to be taken away.
const NOTE_MODE: u32 = 0o644;

/// Runs the verb.
///
/// # Errors
/// When the settings, the files or the server stop it, or the log is not the continuation of what was seen.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    if let Some(path) = &args.new_key {
        let witness = new_key(path, &args.name)?;
        writeln!(out, "{witness}")?;
        return Ok(Outcome::Done);
    }
    let (Some(key), Some(notes)) = (&args.key, &args.notes) else {
        return Err(LogError::Usage("give --key and --notes".to_owned()).into());
    };
    let keys = audit_keys(&args.certificate)?;
    let pair = read_key(key)?;
    let witness = public(&pair, &args.name)?;
    let open = |note: &str, place: &str, origin: Option<&str>| {
        let head = marks::open(note, &keys, origin);
        head.map_err(|cause| LogError::NotSigned { place: place.to_owned(), cause })
    };
    // Read, compared and replaced under one lock: a slower run must not put an earlier checkpoint back.
    let _lock = super::lock(notes, &lock_of(notes))?;
    let before = folder::note(notes).map_err(LogError::from)?;
    let place = notes.display().to_string();
    let before = before.map(|note| open(&note, &place, args.origin.as_deref())).transpose()?;
    let before = expected(before, args.first, notes)?;
    let client = super::client(context, either)?;
    let origin = before.as_ref().map(|before| before.origin.as_str()).or(args.origin.as_deref());
    let (note, head) = runtime()?.block_on(async {
        let note = fetch::checkpoint(&client).await?;
        let head = open(&note, "the server's checkpoint", origin)?;
        if let Some(before) = &before {
            grown(&client, before, &head).await?;
        }
        Ok::<_, CtlError>((note, head))
    })?;
    let cosigned = cosign(&note, (&pair, &witness), context.now)?;
    folder::put(notes, cosigned.as_bytes(), NOTE_MODE, Durable::Now).map_err(LogError::from)?;
    let from = before.map_or(0, |before| before.size);
    if context.json {
        let value = json!({ "origin": head.origin, "from": from, "entries": head.size, "witness": witness.name() });
        writeln!(out, "{value}")?;
    } else {
        let (origin, name, size) = (harmless(&head.origin), witness.name(), head.size);
        writeln!(out, "{origin}: {size} entries cosigned by {name}, {from} of them seen before")?;
    }
    Ok(Outcome::Done)
}

/// What keeps a second run out: a file beside the notes, which are themselves replaced.
fn lock_of(notes: &Path) -> PathBuf {
    let mut name = notes.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Whether there must be something that was seen before is said by the command line: a file that was lost
/// must not pass for a first time.
fn expected(before: Option<Head>, first: bool, notes: &Path) -> Result<Option<Head>, LogError> {
    let notes = notes.display();
    match (&before, first) {
        (None, false) => Err(LogError::Usage(format!(
            "there is no {notes}: nothing was seen before; give --first if that is so"
        ))),
        (Some(_), true) => {
            Err(LogError::Usage(format!("{notes} is there: this is not the first time")))
        }
        _ => Ok(before),
    }
}

/// Adds the witness's line to a note.
fn cosign(
    note: &str,
    (pair, witness): (&Ed25519KeyPair, &WitnessKey),
    now: i64,
) -> Result<String, LogError> {
    let not = |cause| LogError::NotSigned { place: "the server's checkpoint".to_owned(), cause };
    let at = u64::try_from(now).unwrap_or(0);
    let message = WitnessKey::message(note, at).map_err(not)?;
    let line = witness.line(at, pair.sign(message.as_bytes()).as_ref());
    let cosigned = format!("{note}{line}");
    witness.cosigned(&cosigned).map_err(not)?;
    Ok(cosigned)
}

/// Makes a key in a file that is not there yet.
fn new_key(path: &Path, name: &str) -> Result<WitnessKey, LogError> {
    if path.exists() {
        return Err(LogError::Key { path: path.to_owned(), cause: "there is a file of this name" });
    }
    let failed = || LogError::Key { path: path.to_owned(), cause: "no key can be made" };
    let pair = Ed25519KeyPair::generate().map_err(|_| failed())?;
    let witness = public(&pair, name)?;
    let der = pair.to_pkcs8v1().map_err(|_| failed())?;
    let base64 = Zeroizing::new(BASE64.encode(der.as_ref()));
    let pem = Zeroizing::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        *base64
    ));
    folder::put(path, pem.as_bytes(), PRIVATE_MODE, Durable::Now)?;
    Ok(witness)
}

/// Reads the witness's key; one that others may read is refused.
fn read_key(path: &Path) -> Result<Ed25519KeyPair, CtlError> {
    let found = std::fs::metadata(path).map_err(FileError::of("read", path))?;
    if found.permissions().mode() & OTHERS != 0 {
        let cause = "others than its owner may read or write it; set its mode to 0600";
        return Err(LogError::Key { path: path.to_owned(), cause }.into());
    }
    let der = pem::private_key(path)?;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_der());
    let not = || LogError::Key { path: path.to_owned(), cause: "not a key of Ed25519 in PKCS#8" };
    Ok(pair.map_err(|_| not())?)
}

fn public(pair: &Ed25519KeyPair, name: &str) -> Result<WitnessKey, LogError> {
    let key = pair.public_key().as_ref().try_into().unwrap_or_default();
    Ok(WitnessKey::new(name, key)?)
}
