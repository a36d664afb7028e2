//! The observability listener: `/metrics`, `/healthz`, `/readyz`, on plain HTTP.
//!
//! `/healthz` says that this process serves, and never asks the HSM. `/readyz` says whether a batch
//! would be signed now, and names what is in the way.

use std::sync::Arc;
use std::time::Instant;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::ends::End;
use crate::issue::{IssueError, Issuing};
use crate::ledger::LedgerError;

/// The observability listener's side of HTTP.
pub struct Observation {
    app: Arc<Issuing>,
}

/// What is in the way of signing; empty where nothing is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// One line for each thing that is not as it must be.
    pub obstacles: Vec<String>,
}

impl Readiness {
    /// Asks the workers, the ledger, the clock and every signer certificate.
    pub async fn of(app: &Issuing) -> Self {
        let mut obstacles = Vec::new();
        let health = app.pool.health();
        app.metrics.pin_latched.set(i64::from(!health.pin_latched.is_empty()));
        if health.live == 0 && !health.pin_latched.is_empty() {
            obstacles
                .push("hsm: wrong PIN latched; mend it, then: signerd hsm clear-pin-latch".into());
        } else if health.live == 0 {
            let fault = health.fault.unwrap_or_else(|| "workers are starting".into());
            obstacles.push(format!("hsm: no live worker: {fault}"));
        }
        if let Err(error) = app.ledger.probe().await {
            obstacles.push(format!("ledger: {error}"));
        }
        if health.live > 0
            && let Err(IssueError::Ledger(error @ LedgerError::OtherSecret)) =
                app.ledger_keys().await
        {
            obstacles.push(format!("ledger: {error}"));
        }
        if let Some(unsealed) = app.seals.obstacle(Instant::now()) {
            obstacles.push(unsealed.to_string());
        }
        match app.clock.now() {
            Ok(now) => {
                obstacles.extend(unusable_keys(app, now));
                obstacles.extend(ended_files(app, now));
            }
            Err(error) => obstacles.push(format!("clock: {error}")),
        }
        app.metrics.ready.set(i64::from(obstacles.is_empty()));
        Self { obstacles }
    }
}

fn unusable_keys(app: &Issuing, now: i64) -> Vec<String> {
    let rules = app.rules.load();
    let unusable = rules.signers.iter().filter_map(|(issuer, signer)| {
        let months = rules.policy.issuer(issuer)?.validity_months();
        let error = policy::expiry(now, months, signer.validity()).err()?;
        Some(format!("key {issuer}: {error}"))
    });
    unusable.collect()
}

/// Past its end, a revocation list refuses every client or facility of its authority, and the server's
/// certificate every client.
fn ended_files(app: &Issuing, now: i64) -> Vec<String> {
    let rules = app.rules.load();
    let ended = rules.ends.iter().filter(|end| end.needed && end.at < now);
    ended
        .map(|End { file, what, .. }| format!("{file}: {what} has ended; renew it and reload"))
        .collect()
}

impl Observation {
    /// Observes everything that issuing needs.
    pub fn new(app: Arc<Issuing>) -> Self {
        Self { app }
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.app.metrics.render());
                let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, media);
                response
            }
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let readiness = Readiness::of(&self.app).await;
                if readiness.obstacles.is_empty() {
                    text(StatusCode::OK, "ready\n")
                } else {
                    let lines = readiness.obstacles.join("\n");
                    text(StatusCode::SERVICE_UNAVAILABLE, format!("{lines}\n"))
                }
            }
            _ => text(StatusCode::NOT_FOUND, "routes: /metrics /healthz /readyz\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
