//! `signerctl trust-list`: the signer certificates of the appliance, for verifiers.
//!
//! Asks the daemon, checks that every kid is its certificate's, and writes a table, JSON (members as
//! in `api.cddl`, bytes as base64url) or a PEM bundle. The certificates' chains are not judged here.

use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answer::{self, TrustedSigner};
use super::client::Client;
use super::config::Settings;
use super::error::{CtlError, Outcome};
use super::output::{harmless, write_result};
use super::records::to_base64url;
use super::{Context, pem, runtime};

/// The command line of `trust-list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write a PEM bundle
    #[arg(long, conflicts_with = "json")]
    pem: bool,
    /// Where to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// When the settings, the server or the output stop it.
pub fn run(args: &Args, context: &Context, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let settings = Settings::load(&context.config)?;
    let client = Client::new(settings.signing()?, context.patience)?;
    let reply = runtime()?.block_on(client.fetch("/v1/trust-list"))?;
    let list: Vec<TrustedSigner> = answer::decode(&reply.body)?;
    for signer in &list {
        answer::check_kid(signer, &Sha256::digest(&signer.certificate.0))?;
    }
    let text = match (args.pem, context.json) {
        (true, _) => as_pem(&list),
        (false, true) => as_json(&list),
        (false, false) => as_table(&list),
    };
    write_result(args.output.as_deref(), out, |out| {
        Ok::<_, CtlError>(out.write_all(text.as_bytes())?)
    })?;
    Ok(Outcome::Done)
}

fn as_json(list: &[TrustedSigner]) -> String {
    let rows: Vec<_> = list
        .iter()
        .map(|signer| {
            json!({
                "kid": to_base64url(&signer.kid.0),
                "certificate": to_base64url(&signer.certificate.0),
                "issuer": signer.issuer, "alg": signer.alg, "state": signer.state,
                "not_before": signer.not_before, "not_after": signer.not_after,
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::from(rows))
}

fn as_pem(list: &[TrustedSigner]) -> String {
    list.iter()
        .map(|signer| {
            let (issuer, state) = (harmless(&signer.issuer), harmless(&signer.state));
            let kid = data_encoding::HEXLOWER.encode(&signer.kid.0);
            format!(
                "# {issuer}, {state}, kid {kid}\n{}",
                pem::certificate_to_pem(&signer.certificate.0)
            )
        })
        .collect()
}

fn as_table(list: &[TrustedSigner]) -> String {
    let mut text = format!(
        "{:<16}  {:<20}  {:<5}  {:<8}  {:<10}  {:<10}\n",
        "KID", "ISSUER", "ALG", "STATE", "FROM", "UNTIL"
    );
    for signer in list {
        let row = format!(
            "{:<16}  {:<20}  {:<5}  {:<8}  {:<10}  {:<10}",
            data_encoding::HEXLOWER.encode(&signer.kid.0),
            signer.issuer,
            algorithm(signer.alg),
            signer.state,
            day(signer.not_before),
            day(signer.not_after)
        );
        text.push_str(harmless(&row).trim_end());
        text.push('\n');
    }
    text
}

fn algorithm(alg: i64) -> String {
    match alg {
        -7 => "ES256".into(),
        -37 => "PS256".into(),
        other => other.to_string(),
    }
}

fn day(epoch: u64) -> String {
    let timestamp = i64::try_from(epoch).ok().and_then(|epoch| Timestamp::from_second(epoch).ok());
    timestamp.map_or_else(|| epoch.to_string(), |time| time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::super::cbor::Bytes;
    use super::*;

    fn list() -> Vec<TrustedSigner> {
        let certificate = b"certificate".to_vec();
        vec![TrustedSigner {
            kid: Bytes(Sha256::digest(&certificate)[..8].to_vec()),
            certificate: Bytes(certificate),
            issuer: "vn-moh".into(),
            alg: -37,
            state: "active".into(),
            not_before: 0,
            not_after: 86_400,
        }]
    }

    #[test]
    fn json_has_the_members_of_the_contract() {
        // The JSON form has the same member names, bytes as base64url without padding.
        let value: serde_json::Value = serde_json::from_str(&as_json(&list())).unwrap();
        assert_eq!(value[0]["certificate"], to_base64url(b"certificate"));
        assert_eq!(value[0]["alg"], -37);
        assert_eq!(value[0].as_object().unwrap().len(), 7);
    }

    #[test]
    fn tables_are_for_people() {
        // The table shows algorithm names and days in UTC.
        let table = as_table(&list());
        assert!(table.contains("PS256") && table.contains("1970-01-02"), "{table}");
    }

    #[test]
    fn pem_bundles_can_be_read() {
        // Each certificate of the bundle is read back, comments between them notwithstanding.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.pem");
        std::fs::write(&path, as_pem(&list()).repeat(2)).unwrap();
        assert_eq!(pem::certificates(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_wrong_kid_is_found() {
        // A row whose kid is not its certificate's is refused.
        let mut list = list();
        let digest = Sha256::digest(&list[0].certificate.0);
        assert!(answer::check_kid(&list[0], &digest).is_ok());
        list[0].kid.0[0] ^= 1;
        assert!(answer::check_kid(&list[0], &digest).is_err());
    }
}
