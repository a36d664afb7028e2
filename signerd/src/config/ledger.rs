//! `[ledger]` of `signerd.toml`: a file, or a PostgreSQL server that a fleet shares.
//!
//! In go the members as they are written, out comes the one engine that they name, or what is wrong with
//! them. Nothing here opens a file or a connection.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Faults;
use crate::ledger::{Engine, Server, ServerTls};

/// The port that PostgreSQL has everywhere.
const PORT: u16 = 5432;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerSpec {
    path: Option<PathBuf>,
    postgres: Option<PostgresSpec>,
    #[serde(default = "seven")]
    pub(super) retention_days: u16,
}

fn seven() -> u16 {
    7
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostgresSpec {
    host: String,
    #[serde(default = "port")]
    port: u16,
    database: String,
    user: String,
    password_file: Option<PathBuf>,
    /// Name of a systemd credential that holds the password.
    password_credential: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

fn port() -> u16 {
    PORT
}

impl LedgerSpec {
    /// The engine; none: there is a fault.
    pub(super) fn engine(
        self,
        faults: &mut Faults<'_>,
        credentials: Option<&Path>,
    ) -> Option<Engine> {
        match (self.path, self.postgres) {
            (Some(path), None) => Some(Engine::Sqlite(faults.path(&path))),
            (None, Some(postgres)) => postgres.server(faults, credentials).map(Engine::Postgres),
            _ => {
                let remedy = "give path for one appliance, or [ledger.postgres] for several";
                faults.add("ledger", "needs exactly one of path and postgres", remedy);
                None
            }
        }
    }
}

impl PostgresSpec {
    fn server(self, faults: &mut Faults<'_>, credentials: Option<&Path>) -> Option<Server> {
        let named = [("host", &self.host), ("database", &self.database), ("user", &self.user)];
        for (member, value) in named {
            if value.is_empty() || value.contains(char::is_control) {
                let key = format!("ledger.postgres.{member}");
                faults.add(&key, "is empty or no name", "write the name without quotes around it");
            }
        }
        let password = match (&self.password_file, &self.password_credential) {
            (None, None) => None,
            (file, name) => Some(super::named_file(
                ["ledger.postgres.password_file", "ledger.postgres.password_credential"],
                (file.clone(), name.clone()),
                faults,
                credentials,
            )?),
        };
        let tls = self.tls(faults);
        let Self { host, port, database, user, .. } = self;
        Some(Server { host, port, database, user, password, tls })
    }

    fn tls(&self, faults: &mut Faults<'_>) -> Option<ServerTls> {
        let on_this_machine = self.host.starts_with('/');
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some((faults.path(certificate), faults.path(key))),
            (None, None) => None,
            _ => {
                let remedy = "give both, or neither where the server asks for no certificate";
                faults.add(
                    "ledger.postgres.certificate",
                    "comes with key, and key with it",
                    remedy,
                );
                None
            }
        };
        match &self.ca {
            Some(_) if on_this_machine => {
                let remedy = "leave ca, certificate and key out; a Unix socket has no TLS";
                faults.add("ledger.postgres.ca", "is there with a Unix socket", remedy);
                None
            }
            Some(ca) => Some(ServerTls { ca: faults.path(ca), identity }),
            None if on_this_machine => {
                if identity.is_some() {
                    let remedy = "leave it and key out; a Unix socket has no TLS";
                    faults.add(
                        "ledger.postgres.certificate",
                        "is there with a Unix socket",
                        remedy,
                    );
                }
                None
            }
            None => {
                let remedy = "give the authorities of the server's certificate as PEM";
                faults.add("ledger.postgres.ca", "is needed: the server must prove itself", remedy);
                None
            }
        }
    }
}
