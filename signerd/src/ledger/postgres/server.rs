//! The way to the server: where it is, who we are, and how it proves who it is.
//!
//! In go names and paths, out comes a connection over TLS 1.3, or over a Unix socket of this machine. Files
//! are read for every connection, so that a renewed certificate or password counts from the next one on.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{SslMode, TargetSessionAttrs};
use postgres::error::Severity;
use postgres::{Client, Config, NoTls};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::{Cause, LedgerError};
use super::Purpose;
use super::failure::refused;

/// How long may one address take to answer? Two of them fit into what a caller waits.
const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// After how long is a server that acknowledges nothing given up? A cut cable is an error then, not a wait.
const UNACKNOWLEDGED_WAIT: Duration = Duration::from_secs(5);
/// The same while nothing is on its way: asked after so long, so often, that many times.
const IDLE_ASK: Duration = Duration::from_secs(5);
const IDLE_ASK_AGAIN: Duration = Duration::from_secs(2);
const IDLE_ASKS: u32 = 3;
/// Longest password file.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// A PostgreSQL server and who we are there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// Its DNS name or address; or the folder of a Unix socket, an absolute path.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database, which is the ledger's own.
    pub database: String,
    /// The role, which owns the database.
    pub user: String,
    /// The file with the password; none: the server asks for none.
    pub password: Option<PathBuf>,
    /// Who the server may be; none: it is behind a Unix socket.
    pub tls: Option<ServerTls>,
}

/// How both sides prove who they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerTls {
    /// PEM file with the authorities of the server's certificate.
    pub ca: PathBuf,
    /// PEM files with our certificate and its key (PKCS#8), if the server wants them.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A file that makes no connection. To blame: the operator. Repeating helps once the file is right.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} cannot be used", file.display())]
pub struct Unusable {
    /// The member of the configuration, without its table.
    pub member: &'static str,
    /// The file.
    pub file: PathBuf,
    /// Why.
    #[source]
    pub source: Cause,
}

impl Server {
    /// Reads all files that a connection needs, and connects to nobody.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn check(&self) -> Result<(), Unusable> {
        self.config()?;
        self.tls.as_ref().map_or(Ok(()), |tls| tls.client().map(drop))
    }

    /// Connects, for work to whichever address of the name takes writes; `warned` hears of every warning.
    pub(super) fn connect(
        &self,
        purpose: Purpose,
        warned: impl Fn() + Send + Sync + 'static,
    ) -> Result<Client, LedgerError> {
        let mut config = self.config().map_err(unavailable)?;
        if purpose == Purpose::Work {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.notice_callback(move |notice| match notice.parsed_severity() {
            Some(Severity::Notice | Severity::Info | Severity::Log | Severity::Debug) => {}
            _ => warned(),
        });
        let connected = match &self.tls {
            Some(tls) => {
                config.ssl_mode(SslMode::Require);
                config.connect(MakeRustlsConnect::new(tls.client().map_err(unavailable)?))
            }
            None => {
                config.ssl_mode(SslMode::Disable);
                config.connect(NoTls)
            }
        };
        connected.map_err(refused)
    }

    fn config(&self) -> Result<Config, Unusable> {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .user(&self.user)
            .application_name("signerd")
            .connect_timeout(CONNECT_WAIT)
            .tcp_user_timeout(UNACKNOWLEDGED_WAIT)
            .keepalives_idle(IDLE_ASK)
            .keepalives_interval(IDLE_ASK_AGAIN)
            .keepalives_retries(IDLE_ASKS);
        if let Some(file) = &self.password {
            let password =
                password(file).map_err(|source| unusable("password_file", file, source))?;
            config.password(password.expose_secret());
        }
        Ok(config)
    }
}

impl ServerTls {
    fn client(&self) -> Result<ClientConfig, Unusable> {
        let ca = |source: Cause| Unusable { member: "ca", file: self.ca.clone(), source };
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.ca).map_err(ca)? {
            roots.add(authority).map_err(|source| ca(Arc::new(source)))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| ca(Arc::new(source)))?
            .with_root_certificates(roots);
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate).map_err(|source| Unusable {
            member: "certificate",
            file: certificate.clone(),
            source,
        })?;
        let read = PrivateKeyDer::from_pem_file(key);
        let read = read.map_err(|source| unusable("key", key, source))?;
        builder.with_client_auth_cert(chain, read).map_err(|source| unusable("key", key, source))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let told = |source| -> Cause { Arc::new(source) };
    let read = CertificateDer::pem_file_iter(file).map_err(told)?;
    let read = read.collect::<Result<Vec<_>, _>>().map_err(told)?;
    if read.is_empty() {
        return Err(Arc::new(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it")));
    }
    Ok(read)
}

/// Reads a password; the line's end is not part of it.
fn password(file: &Path) -> io::Result<SecretString> {
    let mut text = String::new();
    File::open(file)?.take(PASSWORD_BYTES_MAX).read_to_string(&mut text)?;
    let password = SecretString::from(text.trim_end_matches(['\r', '\n']));
    zeroize::Zeroize::zeroize(&mut text);
    if password.expose_secret().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty"));
    }
    Ok(password)
}

fn unusable(
    member: &'static str,
    file: &Path,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Unusable {
    Unusable { member, file: file.to_owned(), source: Arc::new(source) }
}

fn unavailable(error: Unusable) -> LedgerError {
    let what = "a file for the connection to the server cannot be used";
    LedgerError::Unavailable { what, source: Some(Arc::new(error)) }
}
