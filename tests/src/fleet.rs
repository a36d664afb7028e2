//! Three appliances with the same keys over one PostgreSQL, and a look into their ledger.

use crate::daemon::Daemon;
use crate::ledger::StoredBatch;
use crate::postgres::{Postgres, USER};
use crate::setup::Setup;

/// Appliances in a fleet of a test.
pub const APPLIANCES: usize = 3;

/// The fleet before it is started: set-ups, and the server that they share.
pub struct Fleet {
    /// The server.
    pub postgres: Postgres,
    /// The database.
    pub database: String,
    /// The appliances.
    pub setups: Vec<Setup>,
}

impl Fleet {
    /// A fleet of copies of one set-up, which keep their ledger over TLS on a server of their own.
    pub fn of(first: Setup) -> Self {
        Self::on(first, Postgres::new())
    }

    /// The same on a given server.
    pub fn on(first: Setup, postgres: Postgres) -> Self {
        let database = postgres.database();
        let table = format!(
            "[ledger.postgres]\nhost = \"localhost\"\nport = {}\ndatabase = \"{database}\"\n\
             user = \"{USER}\"\npassword_file = \"{}\"\nca = \"{}\"\n",
            postgres.port,
            postgres.password().display(),
            postgres.ca().display()
        );
        first.change("signerd.toml", "path = \"state/ledger.sqlite\"\n", "");
        first.change("signerd.toml", "[log]\n", &format!("{table}\n[log]\n"));
        let mut setups = vec![first];
        while setups.len() < APPLIANCES {
            setups.push(setups[0].twin());
        }
        Self { postgres, database, setups }
    }

    /// Starts all of them at once, and waits until they are ready.
    pub fn ready(&self) -> Vec<Daemon> {
        std::thread::scope(|scope| {
            let starts: Vec<_> =
                self.setups.iter().map(|setup| scope.spawn(|| Daemon::ready(setup))).collect();
            starts.into_iter().map(|start| start.join().expect("an appliance")).collect()
        })
    }

    /// A batch by its id.
    pub fn batch(&self, id: &[u8]) -> Option<StoredBatch> {
        let id = data_encoding::HEXLOWER.encode(id);
        let rows = self.sql(&format!(
            "SELECT id, issued_at, attempt, (answered_at IS NOT NULL)::int FROM batch
             WHERE batch_id = '{id}'"
        ));
        let row: Vec<i64> =
            rows.first()?.iter().map(|value| value.parse().expect("a number")).collect();
        let certificates = self.sql(&format!(
            "SELECT upper(replace(uvci::text, '-', '')), expires_at FROM certificate
             WHERE batch = {} ORDER BY position",
            row[0]
        ));
        let certificates = certificates
            .into_iter()
            .map(|row| (format!("URN:UVCI:01:VN:{}", row[0]), row[1].parse().expect("a time")));
        Some(StoredBatch {
            issued_at: row[1],
            attempt: row[2],
            answered: row[3] == 1,
            certificates: certificates.collect(),
        })
    }

    /// How many certificates were issued, and how many different doses they are about.
    pub fn issued(&self) -> (i64, i64) {
        let number = |query: &str| self.postgres.number(&self.database, query);
        (
            number("SELECT count(*) FROM issued"),
            number("SELECT count(DISTINCT pseudonym) FROM issued"),
        )
    }

    /// How many intents are open.
    pub fn open_intents(&self) -> i64 {
        let open = "SELECT count(*) FROM batch WHERE answered_at IS NULL";
        self.postgres.number(&self.database, open)
    }

    /// Runs a query in the ledger.
    pub fn sql(&self, query: &str) -> Vec<Vec<String>> {
        self.postgres.sql(&self.database, query)
    }
}
