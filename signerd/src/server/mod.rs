//! The listeners: sockets, TLS, and a limit on everything a peer can make us hold.
//!
//! Connections are bounded before they are accepted, handshakes and request heads in time. A listener
//! ends by its [`Stop`]: it accepts no more, lets the requests in work finish within the drain time,
//! and then closes what is left. The routes behind it are [`crate::api`]'s.

mod connection;
mod observability;
mod signing;
mod tls;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use observability::observe;
pub use signing::{SigningListener, sign};
pub use tls::{ServerConfig, TlsError, TlsFiles, ends, not_after, signing_config};

/// How a listener bounds its peers.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most connections at once.
    pub connections_max: usize,
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// Longest wait for a request head, idle time between requests included.
    pub head: Duration,
    /// Longest time in which a peer takes nothing of its answer.
    pub write: Duration,
    /// Longest wait for requests in work when the listener ends.
    pub drain: Duration,
}

/// The receiving end of the signal to stop.
pub type Stop = watch::Receiver<bool>;

/// Waits until the signal is given, or its sender is gone.
async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Accepts the next connection; a shortage of file descriptors or memory is waited out.
async fn accept(listener: &TcpListener) -> tokio::net::TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {
                log::debug!("connection aborted before it was accepted");
            }
            Err(error) => {
                log::error!("connection cannot be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How long to wait after a shortage? Long enough for connections to end, short enough to be unnoticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
