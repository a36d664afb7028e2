//! The listening sockets that systemd passed to this process, by the names its units give them.
//!
//! In goes the environment (`LISTEN_FDS`, `LISTEN_FDNAMES`), out come bound sockets or nothing. A
//! name that is unknown or stands twice is refused: a socket that nobody serves would leave its
//! callers waiting. It does not look at addresses; who set up the units decided them.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;
use thiserror::Error;

/// The signing listener's name, `FileDescriptorName=` in its unit.
const SIGNING: &str = "signing";
/// The officers' listener's name.
const OFFICER: &str = "officer";
/// The observability listener's name.
const OBSERVABILITY: &str = "observability";

/// The sockets that were passed; each one may be absent.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For signing requests.
    pub signing: Option<TcpListener>,
    /// For officers.
    pub officer: Option<TcpListener>,
    /// For metrics and health.
    pub observability: Option<TcpListener>,
}

/// What is wrong with the passed sockets; the units have to be corrected.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Two sockets have one name; a listener has one address.
    #[error("two sockets are named {0:?}; a unit has one ListenStream=")]
    Twice(String),
    /// A socket has a name that no listener has.
    #[error("a socket is named {0:?}; write FileDescriptorName=signing, officer or observability")]
    UnknownName(String),
    /// A passed descriptor is no listening TCP socket.
    #[error("socket {name:?}: {source}")]
    Unusable {
        /// Its name.
        name: String,
        /// What it is not.
        source: io::Error,
    },
}

impl Sockets {
    /// Takes the sockets over; to be called once, before any thread runs, because the variables
    /// are removed from the environment so that no child believes they are for it.
    ///
    /// # Errors
    /// Every [`SocketError`].
    pub fn take() -> Result<Self, SocketError> {
        // Read first: the names mean nothing once the descriptors are taken.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut sockets = Self::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let place = sockets.place(name)?;
            let unusable = |source| SocketError::Unusable { name: name.to_owned(), source };
            let socket = passed.take_tcp_listener(index).map_err(unusable)?;
            if std::mem::replace(place, socket).is_some() {
                return Err(SocketError::Twice(name.to_owned()));
            }
        }
        Ok(sockets)
    }

    fn place(&mut self, name: &str) -> Result<&mut Option<TcpListener>, SocketError> {
        match name {
            SIGNING => Ok(&mut self.signing),
            OFFICER => Ok(&mut self.officer),
            OBSERVABILITY => Ok(&mut self.observability),
            other => Err(SocketError::UnknownName(other.to_owned())),
        }
    }
}
