//! `signerctl verify`: do these certificates hold, and if not, why?
//!
//! In go texts and a trust list, out comes one line (or one JSON object) per text: who signed it
//! until when, or the first reason why it does not hold. The chain is kid → certificate → signature;
//! then times, permitted use and structure. It asks no server and repeats no personal data.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use thiserror::Error;

use crate::hcert::{self, Invalid, TrustList, TrustListError, Verified};

use super::texts::{self, Found, TextsError, shown};

/// The command line of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// HC1 texts, files with one text per line or with the JSON of `sign`, or - for standard input
    #[arg(value_name = "FILE|TEXT|-")]
    inputs: Vec<String>,
    /// Signer certificates one trusts: the JSON or CBOR of `trust-list`, PEM, or a German DSC list
    #[arg(long, short, value_name = "FILE")]
    trust_list: PathBuf,
    /// The time that counts, RFC 3339 or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<i64>,
}

/// Whether everything held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0: every text is a valid certificate.
    AllValid,
    /// Exit code 1: at least one is not.
    SomeInvalid,
}

/// Why nothing, or not everything, was verified.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The trust list could not be opened; correct the path or the rights.
    #[error("trust list {path}: {source}")]
    ListFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The trust list could not be understood; give another one.
    #[error("trust list {path}: {source}")]
    List {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: TrustListError,
    },
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
    /// The inputs could not be read.
    #[error(transparent)]
    Texts(#[from] TextsError),
}

/// What a verb reads from and writes to.
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Standard error.
    pub diagnostics: &'a mut dyn Write,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// Runs the verb; `now` in seconds since 1970 counts where the command line gives no time.
///
/// # Errors
/// A [`VerifyError`] if the inputs, the list or the output stop it.
pub fn run(
    args: &Args,
    now: i64,
    form: Form,
    streams: &mut Streams<'_>,
) -> Result<Outcome, VerifyError> {
    let list = trust_list(&args.trust_list)?;
    for problem in list.problems() {
        writeln!(streams.diagnostics, "trust list: {}", shown(problem))?;
    }
    let now = args.at.unwrap_or(now);
    let mut outcome = Outcome::AllValid;
    for found in texts::collect(&args.inputs, streams.input)? {
        let verified = hcert::verify(&found.text, list.signers(), now);
        if verified.is_err() {
            outcome = Outcome::SomeInvalid;
        }
        let line = match form {
            Form::Text => in_words(&found, &verified, &list),
            Form::Json => in_json(&found, &verified, &list).to_string(),
        };
        writeln!(streams.output, "{line}")?;
    }
    Ok(outcome)
}

fn trust_list(path: &PathBuf) -> Result<TrustList, VerifyError> {
    let file = |source| VerifyError::ListFile { path: path.clone(), source };
    let mut bytes = Vec::new();
    let limit = u64::try_from(hcert::LIST_BYTES_MAX).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|list| list.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(file)?;
    TrustList::read(&bytes).map_err(|source| VerifyError::List { path: path.clone(), source })
}

fn in_words(found: &Found, verified: &Result<Verified, Invalid>, list: &TrustList) -> String {
    let place = shown(&found.place);
    match verified {
        Err(reason) => format!("INVALID  {place}: {}", shown(&reason.to_string())),
        Ok(verified) => {
            let standing = list.standing(&verified.signer);
            let state = standing.state.map(|state| format!(", key {state}")).unwrap_or_default();
            let line = format!(
                "{} certificate of {}, issued {}, expires {}, {} by kid {} ({}{state})",
                verified.kind,
                verified.decoded.issuer().unwrap_or("an unnamed issuer"),
                when(verified.issued_at),
                when(verified.expires_at),
                verified.signer.alg(),
                verified.signer.kid(),
                verified.signer.subject(),
            );
            format!("VALID    {place}: {}", shown(&line))
        }
    }
}

fn in_json(found: &Found, verified: &Result<Verified, Invalid>, list: &TrustList) -> Value {
    match verified {
        Err(reason) => json!({
            "place": found.place,
            "valid": false,
            "reason": { "code": reason.code(), "detail": reason.to_string() },
        }),
        Ok(verified) => {
            let standing = list.standing(&verified.signer);
            json!({
                "place": found.place,
                "valid": true,
                "kind": verified.kind.to_string(),
                "iss": verified.decoded.issuer(),
                "issued_at": verified.issued_at,
                "expires_at": verified.expires_at,
                "alg": verified.signer.alg().name(),
                "kid": data_encoding::BASE64URL_NOPAD.encode(verified.signer.kid().as_bytes()),
                "signer": {
                    "subject": verified.signer.subject(),
                    "issuer": standing.issuer,
                    "state": standing.state,
                },
            })
        }
    }
}

/// Writes a time in UTC.
pub(super) fn when(epoch: i64) -> String {
    jiff::Timestamp::from_second(epoch)
        .map_or_else(|_| format!("second {epoch}"), |t| t.to_string())
}

/// Reads a time of the command line.
fn time(word: &str) -> Result<i64, String> {
    if let Ok(epoch) = word.parse::<i64>() {
        return Ok(epoch);
    }
    let time = word.parse::<jiff::Timestamp>();
    time.map(|time| time.as_second()).map_err(|_| {
        "neither RFC 3339, e.g. 2026-11-22T08:00:00+07:00, nor seconds since 1970".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms_are_read() {
        // A time is RFC 3339 with a zone, or seconds since 1970.
        assert_eq!(time("1620064800"), Ok(1_620_064_800));
        assert_eq!(time("2021-05-04T01:00:00+07:00"), Ok(1_620_064_800));
        assert!(time("2021-05-04").is_err());
    }
}
