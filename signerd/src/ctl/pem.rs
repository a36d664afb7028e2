//! PEM files of the tool: certificates and private keys, from disk into DER.
//!
//! In goes a path, out comes DER or a fault that names the file. What the DER says is not looked at
//! here.

use std::io;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a PEM file cannot be used; the file has to be corrected.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was looked for is not in the file, or is damaged.
    #[error("{path} holds no {wanted} in PEM")]
    Absent {
        /// The file.
        path: PathBuf,
        /// "certificate" or "private key".
        wanted: &'static str,
    },
}

/// Reads every certificate of a file, at least one.
///
/// # Errors
/// When the file cannot be read, holds none, or holds a damaged one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = read(path)?;
    let parsed = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, pem::Error>>();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(PemError::Absent { path: path.to_owned(), wanted: "certificate" }),
    }
}

/// Reads the first certificate of a file.
///
/// # Errors
/// As [`certificates`].
pub fn certificate(path: &Path) -> Result<CertificateDer<'static>, PemError> {
    let absent = || PemError::Absent { path: path.to_owned(), wanted: "certificate" };
    certificates(path)?.into_iter().next().ok_or_else(absent)
}

/// Reads the private key of a file; the text it was read from is wiped.
///
/// # Errors
/// When the file cannot be read or holds none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let text = zeroize::Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| PemError::Absent { path: path.to_owned(), wanted: "private key" })
}

/// Writes DER as one PEM block with lines of 64 characters (RFC 7468).
#[must_use]
pub fn certificate_to_pem(der: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (position, character) in base64.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|source| PemError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_read_back() {
        // What is written as PEM is read as the same DER, line breaks included.
        let der: Vec<u8> = (0..=255).collect();
        let text = certificate_to_pem(&der);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).unwrap().as_ref(), der);
    }

    #[test]
    fn missing_things_are_named() {
        // A file without a key says so with its name.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.pem");
        std::fs::write(&path, "nothing").unwrap();
        assert!(
            private_key(&path).unwrap_err().to_string().ends_with("holds no private key in PEM")
        );
        assert!(certificate(&path).unwrap_err().to_string().ends_with("no certificate in PEM"));
    }
}
