//! `signerctl.toml`: where the daemon is, and with which certificate the tool calls it.
//!
//! In goes the path of the file, out come [`Settings`] whose paths are resolved against the file's
//! folder. Unknown members are refused. The files that are named are not opened here: a verb that does
//! not need them does not fail for them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where the settings are looked for when `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/signerd/signerctl.toml";

/// The checked settings.
#[derive(Clone, Debug)]
pub struct Settings {
    signing: Option<Endpoint>,
    officer: Option<Endpoint>,
    /// The issuer where `--issuer` is not given.
    pub issuer: Option<String>,
    /// What `sample` signs with.
    pub sample: Option<SampleSettings>,
}

/// A listener of the daemon, and with what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port.
    pub server: Server,
    /// The CA that the daemon's certificate must come from (PEM).
    pub ca: PathBuf,
    /// The caller's certificate chain (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM, PKCS#8).
    pub key: PathBuf,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address to connect to; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The name that its certificate must carry.
    pub name: String,
}

/// Certificates and keys of the development set-up that sample records are signed with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleSettings {
    /// Certificate of the population database's gateway (PEM).
    pub verifier_certificate: PathBuf,
    /// Its key (PEM, PKCS#8).
    pub verifier_key: PathBuf,
    /// Organisation certificate of the unit (PEM).
    pub facility_certificate: PathBuf,
    /// Its key (PEM, PKCS#8).
    pub facility_key: PathBuf,
    /// The unit's id.
    pub facility: String,
    /// The unit's name; absent: not written into the records.
    pub facility_name: Option<String>,
}

/// Why there are no settings; the file has to be corrected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read settings {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, or has a member missing, unknown or of another type.
    #[error("settings {path}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What toml says, with line and column.
        reason: String,
    },
    /// `server` is not a URL the tool can use.
    #[error("settings {path}: server \"{url}\" is not https://HOST:PORT")]
    Server {
        /// The file.
        path: PathBuf,
        /// What stands there.
        url: String,
    },
    /// A member is needed for this verb.
    #[error("{0} is not in the settings")]
    Missing(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    server_name: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    issuer: Option<String>,
    officer: Option<OfficerTable>,
    sample: Option<SampleSettings>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfficerTable {
    server: String,
    /// Absent: that of the signing listener.
    server_name: Option<String>,
    /// Absent: that of the signing listener.
    ca: Option<PathBuf>,
    certificate: PathBuf,
    key: PathBuf,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// When it cannot be read or is not as documented.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Malformed {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let server = |url: String, name: Option<String>| match host_and_port(&url) {
            Some((host, port)) => {
                Ok(Server { port, name: name.unwrap_or_else(|| host.clone()), host })
            }
            None => Err(ConfigError::Server { path: path.to_owned(), url }),
        };
        let endpoint = |server, [ca, certificate, key]: [PathBuf; 3]| {
            let (ca, certificate, key) =
                (folder.join(ca), folder.join(certificate), folder.join(key));
            Endpoint { server, ca, certificate, key }
        };
        let (shared_name, shared_ca) = (file.server_name.clone(), file.ca.clone());
        let signing = match (file.server, file.ca, file.certificate, file.key) {
            (None, _, None, None) => None,
            (Some(url), Some(ca), Some(certificate), Some(key)) => {
                Some(endpoint(server(url, file.server_name)?, [ca, certificate, key]))
            }
            _ => return Err(ConfigError::Missing("one of server, ca, certificate and key")),
        };
        let officer = match file.officer {
            None => None,
            Some(OfficerTable { server: url, server_name, ca, certificate, key }) => {
                let ca = ca.or(shared_ca).ok_or(ConfigError::Missing("officer.ca"))?;
                let server = server(url, server_name.or(shared_name))?;
                Some(endpoint(server, [ca, certificate, key]))
            }
        };
        Ok(Self {
            signing,
            officer,
            issuer: file.issuer,
            sample: file.sample.map(|sample| sample.within(folder)),
        })
    }

    /// The signing listener.
    ///
    /// # Errors
    /// When the settings are an officer's alone.
    pub fn signing(&self) -> Result<&Endpoint, ConfigError> {
        self.signing.as_ref().ok_or(ConfigError::Missing("server"))
    }

    /// The officers' listener.
    ///
    /// # Errors
    /// When the settings have no table for it.
    pub fn officer(&self) -> Result<&Endpoint, ConfigError> {
        self.officer.as_ref().ok_or(ConfigError::Missing("[officer]"))
    }

    /// The issuer that was asked for, else the one of the settings.
    ///
    /// # Errors
    /// When neither names one.
    pub fn issuer<'a>(&'a self, asked: Option<&'a str>) -> Result<&'a str, ConfigError> {
        asked.or(self.issuer.as_deref()).ok_or(ConfigError::Missing("issuer"))
    }
}

impl SampleSettings {
    fn within(mut self, folder: &Path) -> Self {
        for path in [
            &mut self.verifier_certificate,
            &mut self.verifier_key,
            &mut self.facility_certificate,
            &mut self.facility_key,
        ] {
            *path = folder.join(&path);
        }
        self
    }
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let authority = url.strip_prefix("https://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = authority.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let possible = bare.is_some() || !host.contains([':', '/', '@', '[']);
    let host = bare.unwrap_or(host);
    (possible && !host.is_empty()).then_some(())?;
    Some((host.to_owned(), port.parse().ok().filter(|port| *port != 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
server = "https://127.0.0.1:8443"
server_name = "localhost"
ca = "pki/ca.pem"
certificate = "pki/client.pem"
key = "/keys/client.key"
issuer = "vn-moh"
[sample]
verifier_certificate = "pki/verifier.pem"
verifier_key = "pki/verifier.key"
facility_certificate = "pki/facility.pem"
facility_key = "pki/facility.key"
facility = "79-TTYT-Q1"
"#;

    #[test]
    fn paths_are_relative_to_the_file() {
        // Relative paths are resolved against the settings' folder, absolute ones are left alone.
        let settings = Settings::parse(TEXT, Path::new("dev/signerctl.toml")).unwrap();
        let signing = settings.signing().unwrap();
        assert_eq!(signing.ca, Path::new("dev/pki/ca.pem"));
        assert_eq!(signing.key, Path::new("/keys/client.key"));
        assert_eq!(
            settings.sample.as_ref().unwrap().verifier_key,
            Path::new("dev/pki/verifier.key")
        );
        let server = Server { host: "127.0.0.1".into(), port: 8443, name: "localhost".into() };
        assert_eq!(signing.server, server);
    }

    const OFFICER: &str = r#"
[officer]
server = "https://127.0.0.1:8444"
certificate = "pki/officer-1.pem"
key = "pki/officer-1.key"
"#;

    #[test]
    fn officers_share_what_they_do_not_name() {
        // Name and CA of the daemon are those of the signing listener; certificate and key are not.
        let settings = Settings::parse(&format!("{TEXT}{OFFICER}"), Path::new("dev/x")).unwrap();
        let officer = settings.officer().unwrap();
        let server = Server { host: "127.0.0.1".into(), port: 8444, name: "localhost".into() };
        assert_eq!(officer.server, server);
        assert_eq!(officer.ca, Path::new("dev/pki/ca.pem"));
        assert_eq!(officer.key, Path::new("dev/pki/officer-1.key"));
        let without = Settings::parse(TEXT, Path::new("x")).unwrap();
        assert!(matches!(without.officer(), Err(ConfigError::Missing("[officer]"))));
    }

    #[test]
    fn an_officer_needs_no_client_certificate() {
        // Settings with nothing but the officer's part are whole; half of a client's part is not.
        let text = format!("ca = \"ca.pem\"\n{OFFICER}");
        let settings = Settings::parse(&text, Path::new("x")).unwrap();
        assert!(settings.officer().is_ok() && settings.signing().is_err());
        assert!(Settings::parse(OFFICER, Path::new("x")).is_err(), "no CA");
        let half = "server = \"https://a:1\"\nca = \"ca.pem\"\n";
        assert!(Settings::parse(half, Path::new("x")).is_err());
    }

    #[test]
    fn unknown_members_are_refused() {
        // A misspelt member is named with its line.
        let text = TEXT.replace("server_name", "servername");
        let error = Settings::parse(&text, Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("servername") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn servers_are_https_with_a_port() {
        // Only https://HOST:PORT is a server; IPv6 addresses stand in brackets.
        assert_eq!(host_and_port("https://[::1]:8443/"), Some(("::1".into(), 8443)));
        for url in [
            "http://localhost:1",
            "https://localhost",
            "https://:8443",
            "https://a:0",
            "https://a:99999",
            "https://::1:8443",
            "https://a/b:1",
        ] {
            assert_eq!(host_and_port(url), None, "{url}");
        }
    }
}
