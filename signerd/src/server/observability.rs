//! The observability listener: plain HTTP, for loopback or a private network.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Bounds, Stop, accept, connection, stopped};
use crate::api::Observation;

/// Prometheus and a person with curl: a few connections are plenty.
const BOUNDS: Bounds = Bounds {
    connections_max: 16,
    handshake: Duration::ZERO,
    head: Duration::from_secs(30),
    write: Duration::from_secs(30),
    drain: Duration::from_secs(1),
};

/// Serves until `stop`.
pub async fn observe(socket: TcpListener, routes: Arc<Observation>, mut stop: Stop) {
    let places = Arc::new(Semaphore::new(BOUNDS.connections_max));
    let drain = GracefulShutdown::new();
    loop {
        let (place, stream) = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Ok(place) = Arc::clone(&places).acquire_owned() => tokio::select! {
                () = stopped(&mut stop) => break,
                stream = accept(&socket) => (place, stream),
            },
        };
        let (routes, watcher) = (Arc::clone(&routes), drain.watcher());
        tokio::spawn(async move {
            let answer = |request| {
                let routes = Arc::clone(&routes);
                async move { routes.answer(&request).await }
            };
            connection::serve(connection::bounded(stream, BOUNDS), BOUNDS, watcher, answer).await;
            drop(place);
        });
    }
    // Whoever scrapes at this moment gets an answer; nobody waits for an idle connection.
    let _ = timeout(BOUNDS.drain, drain.shutdown()).await;
}
