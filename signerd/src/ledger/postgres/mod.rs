//! The engine for a fleet of appliances: one PostgreSQL database that all of them share.
//!
//! In go the calls of the writer thread, the only user of the one connection; out come rows. A pool would
//! gain nothing: every group of every appliance begins by locking the one row of `log_head`, so that one
//! of them writes at a time, and what it then reads is all that was committed before. Hence quotas,
//! re-issue, doses and the numbers of the log hold across the fleet as they do in one process; and because
//! each group writes, its commit also waits for the standby to have whatever it has read.
//!
//! Each process is an incarnation, alive as long as it says so, by the server's clock. The batches that it
//! began are left to it while it is; after that the next repeat takes them over, wherever it arrives.
//!
//! It promises what `store` asks for, as far as the server keeps its promises: one that does without
//! `fsync` is refused. After a failed group the connection is thrown away and made anew, also to the server
//! that took over. It must not be used on a thread of the asynchronous runtime. It knows rows, not rules.

mod failure;
mod intent;
mod rows;
mod schema;
mod server;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, Row, SimpleQueryMessage, Statement};
use uuid::Uuid;

use super::LedgerError;
use failure::refused;
pub use server::{Server, ServerTls, Unusable};

/// How long is an incarnation alive after its last word? Several of its pulses, so that one that is late is
/// no death, and little enough that a client repeats its batch once or twice until another takes it over.
const ALIVE_SECONDS: u32 = 10;
/// How often does an appliance that has nothing to do say that it is alive?
pub(super) const PULSE: Duration = Duration::from_secs(2);

/// How long may an appliance keep the others waiting in the middle of a group? Between two statements lie
/// milliseconds; a machine that was paused there loses its connection, and with it the lock.
const IDLE_WAIT_MS: u32 = 3_000;
/// How long may a group wait for the groups of the others? Longer than for one that was paused.
const LOCK_WAIT_MS: u32 = 5_000;
/// How long may one statement take, with its wait? Shorter than a caller waits, who is told why then. The
/// server does not count the wait for its standby: a commit waits for that as long as it takes.
const STATEMENT_WAIT_MS: u32 = 8_000;

/// Settings of every connection, each with its reason.
fn settings() -> String {
    format!(
        "SET idle_in_transaction_session_timeout = {IDLE_WAIT_MS};
         SET lock_timeout = {LOCK_WAIT_MS};
         SET statement_timeout = {STATEMENT_WAIT_MS};
         -- A group sees what was committed before each statement, and all of it once it has the lock.
         SET default_transaction_isolation = 'read committed';
         -- Our tables, whatever stands before them elsewhere.
         SET search_path = public, pg_temp;
         -- Plans are made once, and never fall for a table that grew since it was last counted.
         SET plan_cache_mode = force_generic_plan;
         SET enable_seqscan = off;
         SET jit = off;
         -- A standby that has it on disk is the least; one that shows it already is more.
         SELECT set_config('synchronous_commit', 'on', false)
             WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');"
    )
}

/// The engine; the session is gone after a failed group, until the next one.
pub(super) struct PostgresStore {
    server: Server,
    /// Who this process is, until it ends.
    incarnation: Uuid,
    session: Option<Session>,
    purpose: Purpose,
    /// Entries of the log: in the group at work, before the command at work, after the last commit.
    size: u64,
    size_before: u64,
    size_committed: u64,
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// To work on it, as one of the fleet.
    Work,
    /// To read what was committed at one moment, while the fleet goes on; also from a standby.
    Look,
}

/// A connection and what was prepared on it.
struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// Whether the server warned since the last look.
    warned: Arc<AtomicBool>,
}

impl PostgresStore {
    /// Connects, and brings the schema up to date.
    pub(super) fn open(server: Server) -> Result<Self, LedgerError> {
        let mut session = Session::connect(&server, Purpose::Work)?;
        schema::migrate(&mut session.client)?;
        Ok(Self::over(server, session, Purpose::Work))
    }

    /// Connects to a ledger of this release, to read it as it is.
    pub(super) fn open_as_is(server: Server) -> Result<Self, LedgerError> {
        let mut session = Session::connect(&server, Purpose::Look)?;
        schema::require_newest(&mut session.client)?;
        Ok(Self::over(server, session, Purpose::Look))
    }

    fn over(server: Server, session: Session, purpose: Purpose) -> Self {
        let incarnation = Uuid::new_v4();
        let session = Some(session);
        let (size, size_before, size_committed) = (0, 0, 0);
        Self { server, incarnation, session, purpose, size, size_before, size_committed }
    }

    fn begin(&mut self) -> Result<(), LedgerError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::connect(&self.server, self.purpose)?,
        };
        let session = self.session.insert(session);
        // After the lock: the wait for it must not count as life.
        let begun = match self.purpose {
            Purpose::Work => format!(
                "BEGIN; SELECT size FROM log_head FOR UPDATE;
                 INSERT INTO appliance (incarnation, alive_until) VALUES ('{}', {})
                 ON CONFLICT (incarnation) DO UPDATE SET alive_until = excluded.alive_until",
                self.incarnation,
                alive_until(),
            ),
            Purpose::Look => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
                 SELECT size FROM log_head"
                .to_owned(),
        };
        let begun = session.client.simple_query(&begun);
        let size = begun.map_err(refused)?.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        self.size = size.ok_or_else(|| failure::damaged("the head of the log is missing"))?;
        // A server that took over without all that was answered: nothing may be built on it.
        if self.size < self.size_committed {
            return Err(failure::damaged("the server has lost entries of the log"));
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        let prolong = format!(
            "UPDATE appliance SET alive_until = {} WHERE incarnation = '{}'",
            alive_until(),
            self.incarnation
        );
        let session = self.session()?;
        session.warned.store(false, Ordering::Relaxed);
        // A group that took long ends with a whole life, before the others get their turn.
        session.client.batch_execute(&format!("{prolong}; COMMIT")).map_err(refused)?;
        // The server says so, and calls it committed, where an administrator ended its wait for the standby.
        if session.warned.load(Ordering::Relaxed) {
            let what = "the server did not wait for its standby";
            return Err(LedgerError::Unavailable { what, source: None });
        }
        self.size_committed = self.size;
        Ok(())
    }

    fn session(&mut self) -> Result<&mut Session, LedgerError> {
        self.session
            .as_mut()
            .ok_or(LedgerError::Unavailable { what: "no transaction is open", source: None })
    }

    fn run(&mut self, statements: &str) -> Result<(), LedgerError> {
        self.session()?.client.batch_execute(statements).map_err(refused)
    }

    fn list(&mut self, query: &'static str, values: Values<'_>) -> Result<Vec<Row>, LedgerError> {
        let session = self.session()?;
        let statement = session.prepared(query)?;
        session.client.query(&statement, values).map_err(refused)
    }

    fn find(
        &mut self,
        query: &'static str,
        values: Values<'_>,
    ) -> Result<Option<Row>, LedgerError> {
        Ok(self.list(query, values)?.into_iter().next())
    }

    fn execute(&mut self, query: &'static str, values: Values<'_>) -> Result<u64, LedgerError> {
        let session = self.session()?;
        let statement = session.prepared(query)?;
        session.client.execute(&statement, values).map_err(refused)
    }
}

/// The values of a statement, in the order of their numbers.
type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Session {
    fn connect(server: &Server, purpose: Purpose) -> Result<Self, LedgerError> {
        let warned = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&warned);
        let mut client = server.connect(purpose, move || heard.store(true, Ordering::Relaxed))?;
        client.batch_execute(&settings()).map_err(refused)?;
        if purpose == Purpose::Look {
            // Nobody waits for a reader, and one that counts all rows takes its time.
            client.batch_execute("SET statement_timeout = 0").map_err(refused)?;
        }
        let safe = client
            .query_one(
                "SELECT current_setting('fsync')::bool AND current_setting('full_page_writes')::bool",
                &[],
            )
            .and_then(|row| row.try_get(0))
            .map_err(refused)?;
        if safe {
            return Ok(Self { client, statements: HashMap::new(), warned });
        }
        let what = "the server runs with fsync or full_page_writes off";
        Err(LedgerError::Unavailable { what, source: None })
    }

    fn prepared(&mut self, query: &'static str) -> Result<Statement, LedgerError> {
        if let Some(statement) = self.statements.get(query) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(query).map_err(refused)?;
        self.statements.insert(query, statement.clone());
        Ok(statement)
    }
}

impl Drop for PostgresStore {
    /// The others need not wait for the end of this life: nobody works on its batches any more.
    fn drop(&mut self) {
        if self.purpose == Purpose::Look {
            return;
        }
        let gone = format!("DELETE FROM appliance WHERE incarnation = '{}'", self.incarnation);
        // Where it cannot be said, time will tell.
        let _ = self.run(&gone);
    }
}

fn alive_until() -> String {
    format!("clock_timestamp() + interval '{ALIVE_SECONDS} s'")
}
