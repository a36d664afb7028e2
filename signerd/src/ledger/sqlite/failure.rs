//! Sorts SQLite's errors into the ledger's: who must act, and whether repeating helps.
//!
//! Only the codes that somebody acts on differently are told apart; the rest is a fault of this
//! program's statements.

use std::sync::Arc;

use rusqlite::{Error, ErrorCode};

use super::super::{Cause, LedgerError};

/// Turns an error of the engine into one of the ledger.
pub(super) fn refused(error: Error) -> LedgerError {
    let code = error.sqlite_error_code();
    let odd_value = matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
    );
    let source: Cause = Arc::new(error);
    let what = match code {
        _ if odd_value => return damaged("a value was changed from outside", source),
        Some(ErrorCode::DiskFull) => "disk is full",
        Some(ErrorCode::ReadOnly) => "file or disk is read-only",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has locked the file"
        }
        Some(ErrorCode::SystemIoFailure) => "disk reports an error",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => "file cannot be opened",
        Some(ErrorCode::OutOfMemory) => "memory is exhausted",
        Some(ErrorCode::DatabaseCorrupt) => return damaged("the engine found damage", source),
        Some(ErrorCode::NotADatabase) => return damaged("file is not a database", source),
        _ => return LedgerError::Fault { source },
    };
    LedgerError::Unavailable { what, source: Some(source) }
}

fn damaged(what: &'static str, source: Cause) -> LedgerError {
    LedgerError::Corrupt { what, source: Some(source) }
}
