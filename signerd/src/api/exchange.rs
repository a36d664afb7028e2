//! What every listener with certificates does around its routes: how a request is taken, how it is
//! answered and counted.
//!
//! In go the head of a request and what the routes came to, out comes the response: in the form the
//! client wants, with its request id, counted and, where it was refused, logged. A body is read within
//! its limits, and the rest of a refused one is taken off the wire. It knows no route and no client.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue,
    RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use uuid::Uuid;

use super::media::{self, Form, Wanted};
use super::problem;
use crate::audit::Refusals;
use crate::metrics::{Gauge, HistogramTimer, Metrics};
use crate::tlog::fact::Peer;
use crate::wire::cbor::write;
use crate::wire::problem::Problem;

/// The routes of a listener, as the server sees them.
pub trait Routes: Send + Sync + 'static {
    /// Answers one request of the peer with this certificate.
    fn answer(
        &self,
        certificate: &[u8],
        request: Request<Incoming>,
        phase: Phase,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Whether new work is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is.
    Serving,
    /// The daemon stops: what is in work is finished, nothing new is begun.
    Draining,
}

/// How much of a refused body is taken off the wire? It costs time only; nothing of it is kept.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The limits and the books of one listener.
pub(super) struct Exchange {
    pub(super) metrics: Arc<Metrics>,
    pub(super) refusals: Arc<Refusals>,
    /// Longest body in bytes.
    pub(super) body_bytes_max: usize,
    /// Longest wait for a body.
    pub(super) body_wait: Duration,
}

/// A request that is being answered.
pub(super) struct Asked {
    /// The client's `X-Request-Id`, or one of ours.
    pub(super) request_id: String,
    pub(super) wanted: Wanted,
    place: Place,
    method: Method,
    timer: HistogramTimer,
    in_flight: InFlight,
}

/// Where a request goes.
pub(super) struct Place {
    /// The route as a label of metrics: paths that do not exist share one, so that clients cannot make
    /// new ones.
    pub(super) label: &'static str,
    /// The method that the route has; none: there is no such route.
    pub(super) method: Option<Method>,
}

/// An answer before it has headers.
pub(super) struct Reply {
    body: Vec<u8>,
    /// The type of a body that is neither CBOR nor turned into JSON.
    plain: Option<&'static str>,
    replayed: bool,
}

impl Reply {
    /// A body in CBOR, or in JSON where the client wants that.
    pub(super) fn cbor(body: Vec<u8>) -> Self {
        Self { body, plain: None, replayed: false }
    }

    /// A body of one type, whatever the client wants.
    pub(super) fn plain(body: Vec<u8>, media: &'static str) -> Self {
        Self { body, plain: Some(media), replayed: false }
    }

    /// Whether it was given before.
    pub(super) fn replayed(self, replayed: bool) -> Self {
        Self { replayed, ..self }
    }
}

impl Exchange {
    /// Begins the books of a request.
    pub(super) fn ask(&self, request: &Request<Incoming>, place: Place) -> Asked {
        Asked {
            request_id: request_id(request),
            wanted: media::wanted(request.headers()),
            timer: self.metrics.request_duration.with_label_values(&[place.label]).start_timer(),
            in_flight: InFlight::new(&self.metrics.inflight),
            method: request.method().clone(),
            place,
        }
    }

    /// Makes the response of what the routes came to, and ends the books; `peer` tells whose request it
    /// was, where it was refused.
    pub(super) async fn answer(
        &self,
        asked: Asked,
        (head, body): (&Parts, &mut Incoming),
        peer: impl FnOnce() -> Peer,
        result: Result<Reply, Problem>,
    ) -> Response<Full<Bytes>> {
        let Asked { request_id, wanted, place, method, timer, in_flight } = asked;
        let path = place.label;
        // Who asks before it sends (RFC 9110 §10.1.1) has sent nothing yet and waits for this answer.
        if result.is_err() && !head.headers.contains_key(EXPECT) {
            self.discard(body).await;
        }
        drop(in_flight);
        timer.observe_duration();
        let mut response = match result {
            Ok(reply) => success(reply, wanted),
            Err(problem) => {
                self.metrics.problems.with_label_values(&[problem.code]).inc();
                if is_refusal(&problem) {
                    self.refusals.count(peer(), problem.code);
                }
                log::info!(request_id:%, code = problem.code, path:%, method:%; "request refused");
                refusal(&problem, wanted, place.method)
            }
        };
        let status = response.status();
        self.metrics.requests.with_label_values(&[path, status.as_str()]).inc();
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }

    /// Refuses a body that is not CBOR, or is announced longer than the limit, before it is read.
    pub(super) fn check_announced(&self, head: &Parts) -> Result<(), Problem> {
        if !media::is_cbor(&head.headers) || head.headers.contains_key(CONTENT_ENCODING) {
            return Err(problem::unsupported());
        }
        let announced =
            head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let is_too_long = |length: u64| {
            usize::try_from(length).map_or(true, |length| length > self.body_bytes_max)
        };
        if announced.is_some_and(is_too_long) {
            return Err(problem::too_large(self.body_bytes_max));
        }
        Ok(())
    }

    /// Reads a body within its limits.
    pub(super) async fn body(&self, body: &mut Incoming) -> Result<Bytes, Problem> {
        let limit = self.body_bytes_max;
        let collected = timeout(self.body_wait, Limited::new(body, limit).collect()).await;
        match collected.map_err(|_| problem::timeout())? {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(problem::too_large(limit)),
            Err(_) => Err(problem::incomplete_body()),
        }
    }

    /// Takes the rest of a refused body off the wire: many clients read no answer before they have sent
    /// everything, and would only see the connection break.
    async fn discard(&self, body: &mut Incoming) {
        let all = async {
            let mut left = DISCARD_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever is slower, or sends more, sees the connection break.
        let _ = timeout(self.body_wait, all).await;
    }
}

/// Somebody whom the configuration does not know, by the certificate; an empty one is no longer admitted.
pub(super) fn stranger(certificate: &[u8]) -> Peer {
    match certificate {
        [] => Peer::Nobody,
        der => Peer::Stranger(Sha256::digest(der).into()),
    }
}

/// Whether an auditor is told: of what a peer may not do or did wrong, not of our own troubles, nor of a
/// repeat that came while the first was at work.
fn is_refusal(problem: &Problem) -> bool {
    let is_repeat = problem.code == "batch.in_progress";
    (problem.status < 500 && !is_repeat) || problem.code == "window.closed"
}

/// Counts a request for as long as somebody waits for it.
struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The client's `X-Request-Id`, if it is short, plain and not a mere number, which could be somebody's;
/// else one of ours.
fn request_id<B>(request: &Request<B>) -> String {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && id.bytes().any(|b| b.is_ascii_alphabetic())
    };
    let sent = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).filter(plain);
    sent.map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned)
}

fn success(reply: Reply, wanted: Wanted) -> Response<Full<Bytes>> {
    let (body, media) = match wanted.answer {
        _ if let Some(media) = reply.plain => (reply.body, media),
        Some(Form::Json) => match write::to_json(&reply.body) {
            Ok(json) => (json, media::JSON),
            Err(error) => return refusal(&problem::of(&error.into()), wanted, None),
        },
        Some(Form::Cbor) | None => (reply.body, media::CBOR),
    };
    let mut response = respond(StatusCode::OK, media, body);
    if reply.replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

fn refusal(problem: &Problem, wanted: Wanted, allowed: Option<Method>) -> Response<Full<Bytes>> {
    let (body, media) = match wanted.problem {
        Form::Cbor => (problem.to_cbor(), media::PROBLEM_CBOR),
        Form::Json => (problem.to_json(), media::PROBLEM_JSON),
    };
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, media, body);
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if let (StatusCode::METHOD_NOT_ALLOWED, Some(method)) = (status, allowed)
        && let Ok(method) = HeaderValue::from_str(method.as_str())
    {
        response.headers_mut().insert(ALLOW, method);
    }
    response
}

fn respond(status: StatusCode, media: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
