//! A listener with client certificates: mutual TLS in front of the routes that it is given.
//!
//! The signing listener and the officers' are two of them, each with an authority of its own: a
//! certificate of one is no certificate to the other.

use std::sync::{Arc, Mutex};

use hyper_util::server::graceful::GracefulShutdown;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::tls::{self, LiveTls, Mutual};
use super::{Bounds, Stop, accept, connection, stopped};
use crate::api::{Phase, Routes};
use crate::audit::Refusals;
use crate::clock;
use crate::metrics::{Gauge, Metrics};
use crate::tlog::fact::Peer;

/// What a listener with client certificates needs.
pub struct MutualListener<R> {
    /// The bound socket.
    pub socket: TcpListener,
    /// TLS with client certificates.
    pub tls: Arc<LiveTls>,
    /// The routes.
    pub routes: Arc<R>,
    /// The bounds on its peers.
    pub bounds: Bounds,
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
    /// Who was turned away, for the log.
    pub refusals: Arc<Refusals>,
}

/// Serves until `stop`, then drains.
pub async fn serve<R: Routes>(listener: MutualListener<R>, mut stop: Stop) {
    let MutualListener { socket, tls, routes, bounds, metrics, refusals } = listener;
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
        let visit = Visit {
            tls: Arc::clone(&tls),
            routes: Arc::clone(&routes),
            bounds,
            metrics: Arc::clone(&metrics),
            refusals: Arc::clone(&refusals),
            stop: stop.clone(),
        };
        let watcher = drain.watcher();
        tokio::spawn(async move {
            visit.serve(stream, watcher).await;
            drop(place);
        });
    }
    drop(socket);
    if timeout(bounds.drain, drain.shutdown()).await.is_err() {
        log::warn!("connections were closed before their requests were done");
    }
}

/// One connection, from its handshake to its end.
struct Visit<R> {
    tls: Arc<LiveTls>,
    routes: Arc<R>,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
    stop: Stop,
}

impl<R: Routes> Visit<R> {
    async fn serve(self, stream: TcpStream, watcher: hyper_util::server::graceful::Watcher) {
        let Self { tls, routes, bounds, metrics, refusals, stop } = self;
        let mutual = tls.current();
        let acceptor = TlsAcceptor::from(Arc::clone(&mutual.config));
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
            Ok(Err(error)) => {
                log::info!(peer; "TLS handshake refused: {error}");
                // Whatever else breaks off a handshake, a look at the open port for one, is in the metrics.
                if let Some(code) = tls::refusal(&error) {
                    refusals.count(Peer::Nobody, code);
                }
                return;
            }
            Err(_) => return log::info!(peer; "TLS handshake took too long"),
        };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        if chain.is_empty() {
            return log::error!("TLS handshake without a client certificate");
        }
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        let peer = Identity { chain, admitted_by: Mutex::new(mutual) };
        let _open = Open::new(&metrics.connections);
        let answer = |request| {
            let phase = if *stop.borrow() { Phase::Draining } else { Phase::Serving };
            routes.answer(peer.certificate(&tls), request, phase)
        };
        connection::serve(stream, bounds, watcher, answer).await;
    }
}

/// Who is at the other end, by the trust that counts now.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    /// The reading of the files by which the certificates were last found good.
    admitted_by: Mutex<Arc<Mutual>>,
}

impl Identity {
    /// The certificate of the peer; nothing, which nobody knows, once it is no longer admitted.
    fn certificate(&self, tls: &LiveTls) -> &[u8] {
        let current = tls.current();
        // A poisoned lock only costs another look.
        let mut admitted_by =
            self.admitted_by.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !Arc::ptr_eq(&admitted_by, &current) {
            if !current.admits(&self.chain, clock::seconds_since_1970()) {
                return &[];
            }
            *admitted_by = current;
        }
        self.chain.first().map_or(&[], |leaf| leaf.as_ref())
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
