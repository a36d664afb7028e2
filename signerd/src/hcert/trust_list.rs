//! Trust lists in the forms that are around, read into [`Signers`].
//!
//! In go the bytes of a list: the daemon's own (JSON or CBOR of `GET /v1/trust-list`), a PEM bundle,
//! or the list of German verifiers (`certificates`/`rawData`, with or without the line of signature
//! before it). Out come the usable certificates, and one sentence for each that is not. A list's own
//! signature is not checked: whoever names the file trusts it.

use std::collections::HashMap;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use thiserror::Error;

use super::signer::{Kid, SignerCertificate};
use super::tree::{Tree, TreeError};
use super::verify::Signers;

/// How large may a list be? The EU's had under 2 MiB with all countries.
pub const LIST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a list could not be read at all. None of these is cured by trying again.
#[derive(Debug, Error)]
pub enum TrustListError {
    /// The bytes are neither JSON, nor PEM, nor CBOR; give another file.
    #[error("trust list is neither json nor pem, and no cbor")]
    Cbor(#[source] TreeError),
    /// There is no usable certificate in it; give another file.
    #[error("trust list has no usable certificate{}", first(.problems))]
    Empty {
        /// What was wrong with the entries.
        problems: Vec<String>,
    },
    /// The bytes look like JSON and are not; the file is damaged.
    #[error("trust list is not json")]
    Json(#[source] serde_json::Error),
    /// The list is larger than the limit; give another file.
    #[error("trust list has more than {LIST_BYTES_MAX} bytes")]
    TooLarge,
}

/// What a list says about a signer beside its certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The issuer or country that the key belongs to.
    pub issuer: Option<String>,
    /// The state of the key, e.g. `active` or `retired`.
    pub state: Option<String>,
}

/// Trusted signers, what the list says about them, and what was wrong with the rest.
#[derive(Debug, Clone, Default)]
pub struct TrustList {
    signers: Signers,
    standings: HashMap<Vec<u8>, Standing>,
    problems: Vec<String>,
}

impl TrustList {
    /// Reads a list in any of the forms.
    ///
    /// # Errors
    /// A [`TrustListError`] if it has none of the forms or no usable certificate.
    pub fn read(bytes: &[u8]) -> Result<Self, TrustListError> {
        if bytes.len() > LIST_BYTES_MAX {
            return Err(TrustListError::TooLarge);
        }
        let list = match form(bytes) {
            Form::Pem => Self::from_entries(pem_entries(bytes)),
            Form::Json(json) => {
                let json = serde_json::from_slice(json).map_err(TrustListError::Json)?;
                Self::from_entries(json_entries(&json))
            }
            Form::Cbor => {
                let tree = Tree::decode(bytes).map_err(TrustListError::Cbor)?;
                // Bytes become base64url, so that both forms of the daemon's list are one.
                Self::from_entries(json_entries(&tree.to_json()))
            }
        };
        if list.signers.is_empty() {
            return Err(TrustListError::Empty { problems: list.problems });
        }
        Ok(list)
    }

    /// Gives the trusted signers.
    #[must_use]
    pub const fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Gives what the list says about a signer.
    #[must_use]
    pub fn standing(&self, signer: &SignerCertificate) -> Standing {
        self.standings.get(signer.der()).cloned().unwrap_or_default()
    }

    /// Gives a sentence for each entry that could not be used.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    fn from_entries(entries: impl IntoIterator<Item = Result<Entry, String>>) -> Self {
        let mut list = Self::default();
        let mut signers = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            match entry.and_then(Entry::signer) {
                Ok((signer, standing)) => {
                    list.standings.insert(signer.der().to_vec(), standing);
                    signers.push(signer);
                }
                Err(problem) => {
                    list.problems.push(format!("entry {} is left out: {problem}", number + 1));
                }
            }
        }
        list.signers = signers.into_iter().collect();
        list
    }
}

/// One entry before its certificate was read.
struct Entry {
    der: Vec<u8>,
    kid: Option<Vec<u8>>,
    standing: Standing,
}

impl Entry {
    fn signer(self) -> Result<(SignerCertificate, Standing), String> {
        let signer = SignerCertificate::from_der(&self.der).map_err(|e| e.to_string())?;
        match self.kid {
            // A kid that is not its certificate's was a fault of several countries' lists.
            Some(kid) if kid != signer.kid().as_bytes() => Err(format!(
                "kid {} is not that of its certificate, {}",
                HEXLOWER.encode(&kid),
                Kid::of(&self.der)
            )),
            _ => Ok((signer, self.standing)),
        }
    }
}

enum Form<'a> {
    Pem,
    Json(&'a [u8]),
    Cbor,
}

fn form(bytes: &[u8]) -> Form<'_> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return Form::Json(text);
    }
    if text.windows(10).any(|window| window == b"-----BEGIN") {
        return Form::Pem;
    }
    // The German list has its signature, in base64, on a line before the JSON.
    let mut lines = text.splitn(2, |byte| *byte == b'\n');
    match (lines.next(), lines.next()) {
        (Some(signature), Some(json))
            if signature.is_ascii() && json.trim_ascii_start().starts_with(b"{") =>
        {
            Form::Json(json)
        }
        _ => Form::Cbor,
    }
}

fn pem_entries(bytes: &[u8]) -> Vec<Result<Entry, String>> {
    CertificateDer::pem_slice_iter(bytes)
        .map(|der| match der {
            Ok(der) => Ok(Entry { der: der.to_vec(), kid: None, standing: Standing::default() }),
            Err(error) => Err(error.to_string()),
        })
        .collect()
}

fn json_entries(json: &Value) -> Vec<Result<Entry, String>> {
    let entries = json.as_array().or_else(|| json.get("certificates").and_then(Value::as_array));
    entries.map(|entries| entries.iter().map(json_entry).collect()).unwrap_or_default()
}

fn json_entry(entry: &Value) -> Result<Entry, String> {
    let text =
        |keys: [&str; 2]| keys.into_iter().find_map(|key| entry.get(key)).and_then(Value::as_str);
    let der = text(["certificate", "rawData"]).ok_or("no certificate")?;
    let kid = text(["kid", "kid"]).map(|kid| base64(kid).ok_or("kid is not base64")).transpose()?;
    Ok(Entry {
        der: base64(der).ok_or("certificate is not base64")?,
        kid,
        standing: Standing {
            issuer: text(["issuer", "country"]).map(str::to_owned),
            state: text(["state", "state"]).map(str::to_owned),
        },
    })
}

/// Decodes base64 in either alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let url: String = text
        .trim_end_matches('=')
        .chars()
        .map(|character| match character {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    BASE64URL_NOPAD.decode(url.as_bytes()).ok()
}

fn first(problems: &[String]) -> String {
    problems.first().map(|problem| format!(": {problem}")).unwrap_or_default()
}
