//! A database with a ledger in it, on a server that all tests of this process share.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use signerd::ledger::{Engine, Ledger, LedgerError, Server, ServerTls, Settings};

use super::place::RETENTION;
use super::server::{Postgres, USER};

/// The server, as long as a test uses it.
static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

pub(crate) struct Place {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) database: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let postgres = shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Postgres::new());
            *shared = Arc::downgrade(&started);
            started
        });
        drop(shared);
        Self::on(postgres)
    }

    /// A database on a server of the test's own.
    pub(crate) fn on(postgres: Arc<Postgres>) -> Self {
        let database = postgres.database();
        Self { postgres, database }
    }

    pub(crate) fn open(&self) -> Ledger {
        open(self.server()).unwrap()
    }

    /// What a killed process leaves: the database, and a life that ended.
    pub(crate) fn crash_copy(&self) -> Self {
        self.end_lives();
        Self { postgres: Arc::clone(&self.postgres), database: self.database.clone() }
    }

    /// Lets every appliance be silent for longer than it lives.
    pub(crate) fn end_lives(&self) {
        self.sql("UPDATE appliance SET alive_until = '-infinity'");
    }

    /// The way over the socket.
    pub(crate) fn server(&self) -> Server {
        Server {
            host: self.postgres.socket().display().to_string(),
            port: self.postgres.port,
            database: self.database.clone(),
            user: USER.to_owned(),
            password: None,
            tls: None,
        }
    }

    /// The way over loopback, with TLS and the password.
    pub(crate) fn over_tls(&self) -> Server {
        let tls = ServerTls { ca: self.postgres.ca(), identity: None };
        let password = Some(self.postgres.password());
        Server { host: "localhost".to_owned(), password, tls: Some(tls), ..self.server() }
    }

    pub(crate) fn sql(&self, statements: &str) -> Vec<Vec<String>> {
        self.postgres.sql(&self.database, statements)
    }

    /// Looks into the ledger as an auditor does; a column that is NULL is empty.
    pub(crate) fn rows(&self, query: &str) -> Vec<Vec<String>> {
        self.sql(query)
    }
}

pub(crate) fn open(server: Server) -> Result<Ledger, LedgerError> {
    let retention = Duration::from_secs(RETENTION.unsigned_abs());
    Ledger::open(Settings { engine: Engine::Postgres(server), retention })
}
