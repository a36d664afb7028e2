//! What stands in a ledger that no daemon works on: read from the file as it lies there, or by the server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use rusqlite::{Connection, OpenFlags};
use signerd_tests::Setup;
use signerd_tests::fleet::Fleet;
use signerd_tests::postgres::{End, Postgres};

use super::auditor::{Fault, hold};

/// What an auditor reads.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Number and bytes of each entry of the log, in their order.
    pub(super) entries: Vec<(u64, Vec<u8>)>,
    pub(super) issued: Vec<Issued>,
    /// Checkpoints: the latest in the ledger, and the one beside it.
    pub(super) notes: Vec<String>,
}

/// A row of a certificate.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) uvci: Vec<u8>,
    pub(super) sha256: Vec<u8>,
    pub(super) dose: Vec<u8>,
}

/// Where the daemon keeps its ledger.
pub(super) enum Ground {
    File(Setup),
    Server(Box<Fleet>),
}

impl Ground {
    pub(super) fn file() -> Self {
        Self::File(Setup::new())
    }

    pub(super) fn server() -> Self {
        Self::Server(Box::new(Fleet::on(Setup::new(), Postgres::new())))
    }

    pub(super) fn setup(&self) -> &Setup {
        match self {
            Self::File(setup) => setup,
            Self::Server(fleet) => &fleet.setups[0],
        }
    }

    /// Lets the time pass after which others, and the next daemon here, may take over what a killed one
    /// had begun.
    pub(super) fn bury(&self) {
        if let Self::Server(fleet) = self
            && is_there(fleet)
        {
            fleet.sql("UPDATE appliance SET alive_until = clock_timestamp() - interval '1 s'");
        }
    }

    /// Kills what keeps the ledger, where that is a process of its own, and starts it again.
    pub(super) fn strike(&mut self) {
        if let Self::Server(fleet) = self {
            fleet.postgres.stop(End::Killed);
            fleet.postgres.start(&[]);
        }
    }

    /// Reads the books; none: the tables were not made yet.
    pub(super) fn read(&self) -> Result<Option<Books>, Fault> {
        let read = match self {
            Self::File(setup) => of_file(&setup.path("state/ledger.sqlite"))?,
            Self::Server(fleet) if is_there(fleet) => Some(of_server(fleet)),
            Self::Server(_) => None,
        };
        Ok(read.map(|mut books| {
            books.notes.extend(fs::read_to_string(self.setup().path("state/checkpoint")));
            books
        }))
    }
}

fn of_file(file: &Path) -> Result<Option<Books>, Fault> {
    let told = |error: rusqlite::Error| format!("the ledger cannot be read: {error}");
    let ledger = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let ledger = ledger.map_err(told)?;
    ledger.busy_timeout(Duration::from_secs(5)).map_err(told)?;
    let pragma = |name: &str| format!("PRAGMA {name}");
    let version: i64 =
        ledger.query_row(&pragma("user_version"), [], |row| row.get(0)).map_err(told)?;
    if version < 3 {
        return Ok(None);
    }
    let check: String =
        ledger.query_row(&pragma("integrity_check"), [], |row| row.get(0)).map_err(told)?;
    hold(check == "ok", || format!("the file is damaged: {check}"))?;
    rows(&ledger).map(Some).map_err(told)
}

fn rows(ledger: &Connection) -> rusqlite::Result<Books> {
    let mut entries = ledger.prepare("SELECT number, entry FROM log_entry ORDER BY number")?;
    let entries = entries.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut issued = ledger.prepare("SELECT uvci, cose_sha256, pseudonym FROM issued")?;
    let issued = issued.query_map([], |row| {
        Ok(Issued { uvci: row.get(0)?, sha256: row.get(1)?, dose: row.get(2)? })
    })?;
    let latest = "SELECT note FROM log_checkpoint ORDER BY size DESC LIMIT 1";
    let note = ledger.query_row(latest, [], |row| row.get::<_, String>(0)).ok();
    Ok(Books {
        entries: entries.collect::<Result<_, _>>()?,
        issued: issued.collect::<Result<_, _>>()?,
        notes: note.into_iter().collect(),
    })
}

fn is_there(fleet: &Fleet) -> bool {
    fleet.sql("SELECT to_regclass('log_entry') IS NOT NULL")[0] == ["t"]
}

fn of_server(fleet: &Fleet) -> Books {
    let bytes = |hex: &str| HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal");
    let entries = fleet.sql("SELECT number, encode(entry, 'hex') FROM log_entry ORDER BY number");
    let entry = |row: Vec<String>| (row[0].parse().expect("a number"), bytes(&row[1]));
    let issued = fleet.sql(
        "SELECT replace(uvci::text, '-', ''), encode(cose_sha256, 'hex'),
                replace(pseudonym::text, '-', '') FROM issued",
    );
    let of_row = |row: Vec<String>| Issued {
        uvci: bytes(&row[0]),
        sha256: bytes(&row[1]),
        dose: bytes(&row[2]),
    };
    let note = fleet.sql("SELECT note FROM log_checkpoint ORDER BY size DESC LIMIT 1");
    Books {
        entries: entries.into_iter().map(entry).collect(),
        issued: issued.into_iter().map(of_row).collect(),
        notes: note.into_iter().flatten().collect(),
    }
}
