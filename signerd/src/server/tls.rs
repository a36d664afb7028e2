//! TLS 1.3 with client certificates, revocation lists enforced, and no resumption.
//!
//! What a reload brings counts for open connections too: before their next request, the client's
//! certificates are held against the new lists. Resumption is off because a resumed session brings the
//! client's old certificate back without looking at the revocation lists again. A list past its
//! `nextUpdate` refuses every client: an administrator who forgot it must notice before a revoked client
//! does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::ends::{self, End};
use crate::revocation;

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

/// The TLS side of a listener with client certificates.
///
/// # Errors
/// A file that is missing, empty or does not fit the others.
pub fn mutual(files: &TlsFiles) -> Result<Mutual, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = roots(&files.client_ca)?;
    let crls = all::<CertificateRevocationListDer<'static>>(&files.client_crl, "revocation list")?;
    let crls = revocation::newest(crls);
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
        .with_client_cert_verifier(Arc::clone(&clients))
        .with_single_cert(chain, key)
        .map_err(tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Mutual { config: Arc::new(config), clients })
}

/// The TLS side of a listener with client certificates, from one reading of its files.
#[derive(Debug)]
pub struct Mutual {
    pub(super) config: Arc<ServerConfig>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Mutual {
    /// Tells whether a client's certificates would still open a connection at `now`.
    pub(super) fn admits(&self, chain: &[CertificateDer<'_>], now: i64) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else { return false };
        let now = Duration::from_secs(u64::try_from(now).unwrap_or(0));
        let now = UnixTime::since_unix_epoch(now);
        self.clients.verify_client_cert(leaf, intermediates, now).is_ok()
    }
}

/// The TLS side that counts now; a reload replaces it.
#[derive(Debug)]
pub struct LiveTls(ArcSwap<Mutual>);

impl LiveTls {
    /// Begins with one reading.
    pub fn new(mutual: Mutual) -> Self {
        Self(ArcSwap::from_pointee(mutual))
    }

    /// Replaces it, for new connections and for the next request of those that are open.
    pub fn replace(&self, mutual: Mutual) {
        self.0.store(Arc::new(mutual));
    }

    pub(super) fn current(&self) -> Arc<Mutual> {
        self.0.load_full()
    }
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

/// Whether two listeners trust an authority in common, so that a certificate would open both.
///
/// # Errors
/// A file of authorities that cannot be read.
pub fn share_authority(one: &TlsFiles, other: &TlsFiles) -> Result<bool, TlsError> {
    let ours = all::<CertificateDer<'static>>(&one.client_ca, "certificate")?;
    let theirs = all::<CertificateDer<'static>>(&other.client_ca, "certificate")?;
    let keys = |authorities: &[CertificateDer<'static>]| -> Vec<Option<Vec<u8>>> {
        authorities.iter().map(|authority| public_key(authority)).collect()
    };
    // By their keys: the same authority may have been certified twice.
    let theirs = keys(&theirs);
    Ok(keys(&ours).iter().any(|key| key.is_some() && theirs.contains(key)))
}

fn public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    certificate.tbs_certificate().subject_public_key_info().to_der().ok()
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
    let lists = revocation::newest(lists);
    let lists =
        ends::of_revocation_lists(&name(&files.client_crl), lists.iter().map(AsRef::as_ref));
    let server = certificates(&files.certificate)?.map(|end| End { needed: true, ..end });
    let ends = [server, certificates(&files.client_ca)?, lists];
    Ok(ends.into_iter().flatten().collect())
}

/// Why a client's certificate was refused, as a code for the log; none: the handshake broke off over
/// something else.
pub(super) fn refusal(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::NoCertificatesPresented => Some("tls.no_certificate"),
        rustls::Error::InvalidCertificate(fault) => Some(match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "tls.expired",
            CertificateError::Revoked => "tls.revoked",
            CertificateError::UnknownIssuer => "tls.untrusted",
            _ => "tls.other",
        }),
        _ => None,
    }
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
