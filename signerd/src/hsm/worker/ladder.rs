//! The rungs by which a worker gets back to signing: each is tried only when the one before failed.
//!
//! ```text
//!   session ──► log-in ──► module ──► process
//!   a new one   C_Login    C_Finalize  the front starts
//!               again      C_Initialize another worker
//! ```
//! In goes what a call answered, out comes the lowest rung that can mend it. Most codes say little (devices
//! answer `CKR_GENERAL_ERROR` to nearly everything), so the climb begins low and goes on; those that do say
//! something save the rungs that cannot help. Nothing here makes a call.

use cryptoki::error::Error;
use cryptoki::error::RvError;

/// What is made anew.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Rung {
    /// A session, with its keys found and proved again.
    Session,
    /// The log-in of this process, and then a session.
    LogIn,
    /// The module's whole state: finalised, initialised, logged in.
    Module,
    /// The process.
    Process,
}

impl Rung {
    /// The lowest rung that can mend what a call failed with.
    pub(super) fn of(error: &Error) -> Self {
        let Error::Pkcs11(code, _) = error else { return Self::Session };
        match code {
            RvError::UserNotLoggedIn => Self::LogIn,
            // Several modules look for their device again only when they are initialised.
            RvError::CryptokiNotInitialized
            | RvError::DeviceRemoved
            | RvError::SlotIdInvalid
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized => Self::Module,
            // Also SESSION_HANDLE_INVALID, SESSION_CLOSED, OBJECT_HANDLE_INVALID, KEY_HANDLE_INVALID,
            // OPERATION_ACTIVE, DEVICE_ERROR, DEVICE_MEMORY, FUNCTION_FAILED, GENERAL_ERROR and the vendors' own.
            _ => Self::Session,
        }
    }

    /// The next one.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Session => Self::LogIn,
            Self::LogIn => Self::Module,
            Self::Module | Self::Process => Self::Process,
        }
    }

    /// For the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::LogIn => "log-in",
            Self::Module => "module",
            Self::Process => "process",
        }
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn a_code_begins_the_climb_where_it_can_help() {
        // A lost log-in begins at the log-in, a lost device at the module, anything else at the session; from
        // each the climb ends at the process.
        for (code, rung) in [
            (RvError::UserNotLoggedIn, Rung::LogIn),
            (RvError::DeviceRemoved, Rung::Module),
            (RvError::TokenNotPresent, Rung::Module),
            (RvError::CryptokiNotInitialized, Rung::Module),
            (RvError::SessionHandleInvalid, Rung::Session),
            (RvError::OperationActive, Rung::Session),
            (RvError::DeviceError, Rung::Session),
            (RvError::GeneralError, Rung::Session),
        ] {
            assert_eq!(Rung::of(&Error::Pkcs11(code, Function::Sign)), rung);
            assert_eq!(rung.next().next().next(), Rung::Process);
            assert!(rung.next() > rung);
        }
    }
}
