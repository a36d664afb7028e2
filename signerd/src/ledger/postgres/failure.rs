//! Sorts PostgreSQL's errors into the ledger's: who must act, and whether repeating helps.
//!
//! Only the codes that somebody acts on differently are told apart; the rest is a fault of this program's
//! statements. What the server adds in detail is left out: it quotes values of rows.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use postgres::Error;
use postgres::error::{DbError, SqlState};

use super::super::{Cause, LedgerError};

/// What the server said, without the values that it was about.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
struct Told {
    message: String,
    code: String,
}

/// Turns an error of the server or of the way to it into one of the ledger.
pub(super) fn refused(error: Error) -> LedgerError {
    match error.as_db_error() {
        Some(told) => sorted(told),
        None => LedgerError::Unavailable { what: way(&error), source: Some(Arc::new(error)) },
    }
}

/// A state that this program never leaves behind.
pub(super) const fn damaged(what: &'static str) -> LedgerError {
    LedgerError::Corrupt { what, source: None }
}

/// A value that does not fit its type: it was changed from outside.
pub(super) fn odd_value(error: Error) -> LedgerError {
    let what = "a value was changed from outside";
    LedgerError::Corrupt { what, source: Some(Arc::new(error)) }
}

fn sorted(told: &DbError) -> LedgerError {
    let code = told.code();
    let source: Cause =
        Arc::new(Told { message: told.message().to_owned(), code: code.code().to_owned() });
    let what = match code.code().get(..2) {
        _ if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
            "this machine was paused in the middle of a write"
        }
        _ if *code == SqlState::LOCK_NOT_AVAILABLE => "another appliance holds the ledger",
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => "the server is a standby",
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => "the role may not use the tables",
        _ if *code == SqlState::DISK_FULL => "the server's disk is full",
        // Class 40: the server had to choose between two; 57: it ends, starts, or was too slow.
        Some("40") => "another transaction was in the way",
        Some("57") if *code == SqlState::QUERY_CANCELED => "the server takes too long",
        Some("57" | "08") => "the server is not there",
        Some("28") => "the server refuses the user, its password or its certificate",
        Some("3D") => "the database does not exist",
        Some("53") => "the server is out of resources",
        Some("58") => "the server's disk reports an error",
        Some("XX") => {
            let what = "the server found damage";
            return LedgerError::Corrupt { what, source: Some(source) };
        }
        _ => return LedgerError::Fault { source },
    };
    LedgerError::Unavailable { what, source: Some(source) }
}

/// What is wrong on the way to the server.
fn way(error: &Error) -> &'static str {
    let kind = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match kind.map(io::Error::kind) {
        // The client's own word for one that takes no writes.
        Some(io::ErrorKind::PermissionDenied) => "the server is a standby",
        // What TLS refuses comes as this.
        Some(io::ErrorKind::InvalidData) => "the server's certificate is not accepted",
        _ if error.is_closed() => "the connection to the server was lost",
        _ => "the server cannot be reached",
    }
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn what_the_server_quotes_is_not_repeated() {
        // The text is the message and the code; details, which quote values of rows, have no place in it.
        let told = Told { message: "duplicate key".to_owned(), code: "23505".to_owned() };
        assert_eq!(told.to_string(), "duplicate key (SQLSTATE 23505)");
    }
}
