//! The way to the front: the connection that a spawned worker was born with, or a listening socket.
//!
//! Out come connections whose peer is a process of the right user, one after the other. A socket
//! path is made accessible to no more than it must be. Nothing of systemd's is trusted beyond that
//! standard input is a listening socket, which is checked.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use hsm_config::FrontUser;
use hsm_config::HsmConfig;
use serde::Serialize;

use super::Channel;
use super::fault::Fault;
use super::say;
use crate::hsm::ipc;
use crate::hsm::ipc::ToFront;

/// Where fronts come from.
pub(super) enum Fronts {
    /// The one front that spawned this worker.
    Tethered(Option<UnixStream>),
    /// Any number of them, one after the other.
    Listening(UnixListener, Peers),
}

impl Fronts {
    pub(super) fn open(channel: &Channel, config: &HsmConfig) -> Result<Self, Fault> {
        match channel {
            Channel::Tether => Ok(Self::Tethered(Some(stdin_stream()?))),
            Channel::Listen(path) => Ok(Self::Listening(listen(path, config)?, Peers::of(config)?)),
            Channel::Activated => Ok(Self::Listening(activated()?, Peers::of(config)?)),
        }
    }

    /// Waits for the next front of the right user.
    pub(super) fn next(&mut self) -> Result<Front, Fault> {
        match self {
            Self::Tethered(stream) => match stream.take() {
                Some(stream) => Front::new(stream),
                None => Err(Fault::token("the front has gone")),
            },
            Self::Listening(listener, peers) => loop {
                let (stream, _) = listener
                    .accept()
                    .map_err(|e| Fault::token(format!("no connection can be accepted: {e}")))?;
                match peers.check(&stream) {
                    Ok(()) => return Front::new(stream),
                    Err(stranger) => say(&format!("connection refused: {stranger}")),
                }
            },
        }
    }
}

/// A connection to a front, with its writing half shared by all who answer.
pub(super) struct Front {
    reader: UnixStream,
    outlet: Arc<Outlet>,
}

impl Front {
    fn new(stream: UnixStream) -> Result<Self, Fault> {
        let writer = stream
            .try_clone()
            .map_err(|e| Fault::token(format!("a connection cannot be shared: {e}")))?;
        Ok(Self { reader: stream, outlet: Arc::new(Outlet(Mutex::new(writer))) })
    }

    pub(super) fn reader(&self) -> &UnixStream {
        &self.reader
    }

    pub(super) fn outlet(&self) -> Arc<Outlet> {
        Arc::clone(&self.outlet)
    }
}

/// The writing half of a connection: whole frames only.
pub(super) struct Outlet(Mutex<UnixStream>);

impl Outlet {
    pub(super) fn send<M: Serialize>(&self, message: &M) -> io::Result<()> {
        let frame = ipc::frame(message)?;
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        io::Write::write_all(&mut *stream, &frame)
    }

    /// The last word; gives up at once if somebody else is writing, for whom it may never end.
    pub(super) fn bid_farewell(&self, fault: &Fault) -> Result<(), Fault> {
        let fatal = ToFront::Fatal { kind: fault.kind(), detail: fault.detail().to_owned() };
        let failed = |e: io::Error| Fault::token(format!("the front cannot be told: {e}"));
        let frame = ipc::frame(&fatal).map_err(failed)?;
        let Ok(mut stream) = self.0.try_lock() else {
            return Err(failed(io::ErrorKind::WouldBlock.into()));
        };
        stream.set_nonblocking(true).map_err(failed)?;
        io::Write::write_all(&mut *stream, &frame).map_err(failed)
    }
}

/// The tether's writing half, for a worker that cannot even read its configuration.
pub(super) fn tethered() -> Result<Outlet, Fault> {
    Ok(Outlet(Mutex::new(stdin_stream()?)))
}

/// Standard input, as the connection to who started this process.
pub(super) fn stdin_stream() -> Result<UnixStream, Fault> {
    let fd = stdin_socket()?;
    if rustix::net::sockopt::socket_acceptconn(&fd).unwrap_or(true) {
        let problem = "standard input is not a connection";
        let remedy = "--tether is for workers that the daemon spawns; use --socket PATH";
        return Err(Fault::config("--tether", problem, remedy));
    }
    Ok(UnixStream::from(fd))
}

fn activated() -> Result<UnixListener, Fault> {
    let fd = stdin_socket()?;
    if !rustix::net::sockopt::socket_acceptconn(&fd).unwrap_or(false) {
        let remedy = "give --socket PATH, or StandardInput=socket in a socket-activated unit";
        return Err(Fault::config("standard input", "it is not a listening socket", remedy));
    }
    Ok(UnixListener::from(fd))
}

fn stdin_socket() -> Result<std::os::fd::OwnedFd, Fault> {
    io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| Fault::config("standard input", e, "do not close it"))
}

fn listen(path: &Path, config: &HsmConfig) -> Result<UnixListener, Fault> {
    let failed = |what: &str, e: io::Error| {
        Fault::config(path.display(), format!("{what}: {e}"), "check the folder and its rights")
    };
    match std::fs::symlink_metadata(path) {
        // Left behind by a worker that was killed; a live one is one unit with one path.
        Ok(found) if found.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(|e| failed("the old socket cannot go", e))?;
        }
        Ok(_) => return Err(failed("there is something else", io::ErrorKind::AddrInUse.into())),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(|e| failed("it cannot be bound", e))?;
    // The folder decides which group gets here; every peer's user is checked besides.
    let mode = if config.front_user().is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|e| failed("its rights cannot be set", e))?;
    Ok(listener)
}

/// The users whose processes may be a front.
pub(super) struct Peers(Vec<u32>);

impl Peers {
    fn of(config: &HsmConfig) -> Result<Self, Fault> {
        let own = rustix::process::getuid().as_raw();
        let mut users = vec![own];
        match config.front_user() {
            None => {}
            Some(FrontUser::Id(id)) => users.push(*id),
            Some(FrontUser::Name(name)) => users.push(user_id(name)?),
        }
        Ok(Self(users))
    }

    fn check(&self, stream: &UnixStream) -> Result<(), String> {
        let peer = rustix::net::sockopt::socket_peercred(stream)
            .map_err(|e| format!("the peer's user is unknown: {e}"))?;
        let user = peer.uid.as_raw();
        if self.0.contains(&user) {
            return Ok(());
        }
        Err(format!("user {user} is not the front's; set pool.front_user if it should be"))
    }
}

/// Looks a user up in `/etc/passwd`, where systemd-sysusers puts them.
fn user_id(name: &str) -> Result<u32, Fault> {
    let passwd = std::fs::read_to_string("/etc/passwd")
        .map_err(|e| Fault::config("/etc/passwd", e, "write pool.front_user as a number"))?;
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        fields.nth(1)?.parse().ok()
    });
    entry.ok_or_else(|| {
        let remedy = "create the user, or write its number";
        Fault::config("pool.front_user", format!("user \"{name}\" does not exist"), remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_refused() {
        // A peer of the worker's own user passes, one of any other user does not.
        let (stream, _other_end) = UnixStream::pair().unwrap();
        let own = rustix::process::getuid().as_raw();
        assert_eq!(Peers(vec![own]).check(&stream), Ok(()));
        let refused = Peers(vec![own.wrapping_add(1)]).check(&stream).unwrap_err();
        assert!(refused.contains("pool.front_user"), "{refused}");
    }

    #[test]
    fn a_user_is_found_by_name() {
        // root is 0 everywhere, and a user who does not exist is a fault with a remedy.
        assert_eq!(user_id("root"), Ok(0));
        assert_eq!(user_id("no such user").unwrap_err().exit_code(), 78);
    }
}
