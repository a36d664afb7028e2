//! A listener with client certificates: mutual TLS in front of the routes that it is given.
//!
//! The signing listener and the officers' are two of them, each with an authority of its own: a
//! certificate of one is no certificate to the other.

use std::sync::Arc;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::tls::ServerConfig;
use super::{Bounds, Stop, accept, connection, stopped};
use crate::api::{Phase, Routes};
use crate::metrics::{Gauge, Metrics};

/// What a listener with client certificates needs.
pub struct MutualListener<R> {
    /// The bound socket.
    pub socket: TcpListener,
    /// TLS with client certificates.
    pub tls: Arc<ServerConfig>,
    /// The routes.
    pub routes: Arc<R>,
    /// The bounds on its peers.
    pub bounds: Bounds,
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
}

/// Serves until `stop`, then drains.
pub async fn serve<R: Routes>(listener: MutualListener<R>, mut stop: Stop) {
    let MutualListener { socket, tls, routes, bounds, metrics } = listener;
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let drain = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            // The place is taken before the connection: what cannot be served waits in the backlog.
            Ok(place) = Arc::clone(&places).acquire_owned() => tokio::select! {
                () = stopped(&mut stop) => break,
                stream = accept(&socket) => (place, stream),
            },
        };
        let (place, stream) = stream;
        let peer = Peer {
            acceptor: acceptor.clone(),
            routes: Arc::clone(&routes),
            bounds,
            metrics: Arc::clone(&metrics),
            stop: stop.clone(),
        };
        let watcher = drain.watcher();
        tokio::spawn(async move {
            peer.serve(stream, watcher).await;
            drop(place);
        });
    }
    drop(socket);
    if timeout(bounds.drain, drain.shutdown()).await.is_err() {
        log::warn!("connections were closed before their requests were done");
    }
}

struct Peer<R> {
    acceptor: TlsAcceptor,
    routes: Arc<R>,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    stop: Stop,
}

impl<R: Routes> Peer<R> {
    async fn serve(self, stream: TcpStream, watcher: hyper_util::server::graceful::Watcher) {
        let Self { acceptor, routes, bounds, metrics, stop } = self;
        let peer = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
        let stream = connection::bounded(stream, bounds);
        let handshake = timeout(bounds.handshake, acceptor.accept(stream)).await;
        let result = match &handshake {
            Ok(Ok(_)) => "ok",
            Ok(Err(_)) => "refused",
            Err(_) => "timeout",
        };
        metrics.handshakes.with_label_values(&[result]).inc();
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return log::info!(peer; "TLS handshake refused: {error}"),
            Err(_) => return log::info!(peer; "TLS handshake took too long"),
        };
        let chain = stream.get_ref().1.peer_certificates();
        let Some(leaf) = chain.and_then(|chain| chain.first()).map(|leaf| leaf.to_vec()) else {
            return log::error!("TLS handshake without a client certificate");
        };
        let _open = Open::new(&metrics.connections);
        let answer = |request| {
            let phase = if *stop.borrow() { Phase::Draining } else { Phase::Serving };
            routes.answer(&leaf, request, phase)
        };
        connection::serve(stream, bounds, watcher, answer).await;
    }
}

/// Counts an open connection for as long as it lives.
struct Open<'a>(&'a Gauge);

impl<'a> Open<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
