//! TLS 1.3 with client certificates, revocation lists enforced, and no resumption.
//!
//! Resumption is off because a resumed session brings the client's old certificate back without
//! looking at the revocation lists again. A list past its `nextUpdate` refuses every client: an
//! administrator who forgot it must notice before a revoked client does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
pub use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::ends::{self, End};

/// The PEM texts that a TLS listener is made of.
#[derive(Debug)]
pub struct TlsFiles {
    /// The server's certificate and the chain above it.
    pub certificate: PathBuf,
    /// The private key in PKCS#8.
    pub key: PathBuf,
    /// The CAs of the clients.
    pub client_ca: PathBuf,
    /// The revocation lists of those CAs.
    pub client_crl: PathBuf,
}

/// Files that make no TLS listener. To blame: the operator. Do not retry.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file has nothing of its kind in it.
    #[error("has no {what}")]
    Empty {
        /// The file.
        file: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A file cannot be read or is no PEM.
    #[error("cannot be read: {source}")]
    Pem {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate, key, CA or list do not fit.
    #[error("cannot be used: {source}")]
    Tls {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The clients' CAs and lists make no verifier.
    #[error("cannot be used: {source}")]
    Verifier {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: rustls::server::VerifierBuilderError,
    },
}

impl TlsError {
    /// The file that has to be mended.
    pub fn file(&self) -> &Path {
        match self {
            Self::Empty { file, .. }
            | Self::Pem { file, .. }
            | Self::Tls { file, .. }
            | Self::Verifier { file, .. } => file,
        }
    }
}

/// The TLS side of the signing listener.
///
/// # Errors
/// A file that is missing, empty or does not fit the others.
pub fn signing_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = roots(&files.client_ca)?;
    let crls = all::<CertificateRevocationListDer<'static>>(&files.client_crl, "revocation list")?;
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .with_crls(crls)
            .enforce_revocation_expiration()
            .build()
            .map_err(|source| TlsError::Verifier { file: files.client_crl.clone(), source })?;
    let chain = all::<CertificateDer<'static>>(&files.certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|source| TlsError::Pem { file: files.key.clone(), source })?;
    let tls = |source| TlsError::Tls { file: files.key.clone(), source };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// When the server's certificate ends, in seconds since 1970.
///
/// # Errors
/// The file has no certificate that can be read.
pub fn not_after(files: &TlsFiles) -> Result<i64, TlsError> {
    let empty = || TlsError::Empty { file: files.certificate.clone(), what: "certificate" };
    let chain = all::<CertificateDer<'static>>(&files.certificate, "certificate")?;
    let leaf = Certificate::from_der(chain.first().ok_or_else(empty)?).map_err(|_| empty())?;
    let end = leaf.tbs_certificate().validity().not_after.to_unix_duration();
    Ok(i64::try_from(end.as_secs()).unwrap_or(i64::MAX))
}

/// When the files of the listener end.
///
/// # Errors
/// A file cannot be read.
pub fn ends(files: &TlsFiles) -> Result<Vec<End>, TlsError> {
    let name = |file: &Path| file.display().to_string();
    let certificates = |file: &PathBuf| {
        let found = all::<CertificateDer<'static>>(file, "certificate")?;
        Ok(ends::of_certificates(&name(file), found.iter().map(AsRef::as_ref)))
    };
    let lists = all::<CertificateRevocationListDer<'static>>(&files.client_crl, "revocation list")?;
    let lists =
        ends::of_revocation_lists(&name(&files.client_crl), lists.iter().map(AsRef::as_ref));
    let server = certificates(&files.certificate)?.map(|end| End { needed: true, ..end });
    let ends = [server, certificates(&files.client_ca)?, lists];
    Ok(ends.into_iter().flatten().collect())
}

fn roots(file: &PathBuf) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in all::<CertificateDer<'static>>(file, "certificate")? {
        roots.add(ca).map_err(|source| TlsError::Tls { file: file.clone(), source })?;
    }
    Ok(roots)
}

fn all<T: rustls_pki_types::pem::PemObject>(
    file: &PathBuf,
    what: &'static str,
) -> Result<Vec<T>, TlsError> {
    let pem = |source| TlsError::Pem { file: file.clone(), source };
    let items: Vec<T> =
        T::pem_file_iter(file).map_err(pem)?.collect::<Result<_, _>>().map_err(pem)?;
    if items.is_empty() { Err(TlsError::Empty { file: file.clone(), what }) } else { Ok(items) }
}
