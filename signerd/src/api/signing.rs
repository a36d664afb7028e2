//! The routes of the signing listener.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Gauge;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue,
    RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

use super::media::{self, Form, Wanted};
use super::problem;
use crate::access::{Client, RateError};
use crate::hcert::{self, SignerCertificate};
use crate::issue::{self, Answer, IssueError, Issuing, Warnings};
use crate::logging;
use crate::wire::cbor::{Bytes as Encoded, write};
use crate::wire::problem::Problem;
use crate::wire::response::TrustListEntry;

/// The signing listener's side of HTTP.
pub struct Signing {
    app: Arc<Issuing>,
    limits: Limits,
    batches: Arc<Semaphore>,
}

/// How much of a refused body is taken off the wire? It costs time only; nothing of it is kept.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest body in bytes.
    pub body_bytes_max: usize,
    /// Longest wait for a body.
    pub body_wait: Duration,
    /// Most batches in work at once.
    pub batches_max: usize,
}

/// Whether new batches are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Batches are taken.
    Serving,
    /// The daemon stops: what is in work is finished, nothing new is begun.
    Draining,
}

#[derive(Clone, Copy, Debug)]
enum Route {
    Sign,
    Preview,
    TrustList,
}

impl Route {
    /// The route and the method that it has, by path.
    fn find(path: &str) -> Option<(Self, Method)> {
        match path {
            "/v1/batches" => Some((Self::Sign, Method::POST)),
            "/v1/batches/preview" => Some((Self::Preview, Method::POST)),
            "/v1/trust-list" => Some((Self::TrustList, Method::GET)),
            _ => None,
        }
    }
}

/// What is done with a batch.
#[derive(Clone, Copy, Debug)]
enum Work {
    Sign,
    Preview(Warnings),
}

/// An answer before it has headers.
struct Reply {
    body: Vec<u8>,
    replayed: bool,
}

impl Signing {
    /// The routes over everything that issuing needs.
    pub fn new(app: Arc<Issuing>, limits: Limits) -> Self {
        app.metrics.name_routes(LABELS, problem::CODES);
        Self { app, limits, batches: Arc::new(Semaphore::new(limits.batches_max)) }
    }

    /// Ends when no batch is in work, and lets none begin any more.
    pub async fn idle(&self) {
        let all = u32::try_from(self.limits.batches_max).unwrap_or(u32::MAX);
        if let Ok(places) = self.batches.acquire_many(all).await {
            places.forget();
        }
    }

    /// Answers one request of the client with this certificate.
    pub async fn answer<B>(
        &self,
        certificate: &[u8],
        request: Request<B>,
        phase: Phase,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let metrics = &self.app.metrics;
        let wanted = media::wanted(request.headers());
        let request_id = request_id(&request);
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        let timer = metrics.request_duration.with_label_values(&[label(&path)]).start_timer();
        let in_flight = InFlight::new(&metrics.inflight);
        let (head, mut body) = request.into_parts();
        let result = self.reply(certificate, &head, &mut body, (phase, wanted, &request_id)).await;
        // Who asks before it sends (RFC 9110 §10.1.1) has sent nothing yet and waits for this answer.
        if result.is_err() && !head.headers.contains_key(EXPECT) {
            self.discard(&mut body).await;
        }
        drop(in_flight);
        timer.observe_duration();
        let mut response = match result {
            Ok(reply) => success(reply, wanted),
            Err(problem) => {
                metrics.problems.with_label_values(&[problem.code]).inc();
                log::info!(request_id:%, code = problem.code, path:% = label(&path), method:%; "request refused");
                refusal(&problem, wanted, &path)
            }
        };
        let status = response.status();
        metrics.requests.with_label_values(&[label(&path), status.as_str()]).inc();
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }

    async fn reply<B>(
        &self,
        certificate: &[u8],
        head: &Parts,
        body: &mut B,
        (phase, wanted, request_id): (Phase, Wanted, &str),
    ) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let client =
            self.app.rules.load().access.client(certificate).ok_or_else(problem::client_unknown)?;
        let (route, method) = Route::find(head.uri.path()).ok_or_else(problem::not_found)?;
        if head.method != method {
            return Err(problem::method_not_allowed());
        }
        if wanted.answer.is_none() {
            return Err(problem::not_acceptable());
        }
        let work = match route {
            Route::TrustList => return self.trust_list(),
            Route::Sign => Work::Sign,
            Route::Preview => Work::Preview(wanted_warnings(head)),
        };
        if !media::is_cbor(&head.headers) || head.headers.contains_key(CONTENT_ENCODING) {
            return Err(problem::unsupported());
        }
        let announced =
            head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| {
            usize::try_from(length).map_or(true, |l| l > self.limits.body_bytes_max)
        }) {
            return Err(problem::too_large(self.limits.body_bytes_max));
        }
        if phase == Phase::Draining {
            return Err(problem::draining());
        }
        let place = Arc::clone(&self.batches).try_acquire_owned();
        let place = place.map_err(|_| problem::overloaded())?;
        let body = self.body(body).await?;
        self.batch(work, client, body, (place, request_id)).await
    }

    /// Runs the spine in a task of its own: a client that goes away does not cut a batch in half, and
    /// its place stays taken until the work is done.
    async fn batch(
        &self,
        work: Work,
        client: Arc<Client>,
        body: Bytes,
        (place, request_id): (OwnedSemaphorePermit, &str),
    ) -> Result<Reply, Problem> {
        let (app, id) = (Arc::clone(&self.app), client.id.clone());
        let task = tokio::spawn(async move {
            let result = match work {
                Work::Preview(warnings) => issue::preview(app, client, body, warnings).await,
                Work::Sign => issue::issue(app, client, body).await,
            };
            drop(place);
            result
        });
        let result = task.await.unwrap_or(Err(IssueError::Lost(crate::cpu::Lost)));
        result.map(|Answer { body, replayed }| Reply { body, replayed }).map_err(|error| {
            let problem = problem::of(&error);
            if problem.status >= 500 {
                let cause = logging::chain(&error);
                log::warn!(request_id, client = id, code = problem.code; "batch not answered: {cause}");
            }
            if let IssueError::Rate(RateError::TooFast { .. }) = error {
                self.app.metrics.rate_limited.with_label_values(&[&id]).inc();
            }
            problem
        })
    }

    async fn body<B>(&self, body: &mut B) -> Result<Bytes, Problem>
    where
        B: Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let limit = self.limits.body_bytes_max;
        let collected = timeout(self.limits.body_wait, Limited::new(body, limit).collect()).await;
        match collected.map_err(|_| problem::timeout())? {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(problem::too_large(limit)),
            Err(_) => Err(problem::incomplete_body()),
        }
    }

    /// Takes the rest of a refused body off the wire: many clients read no answer before they have sent
    /// everything, and would only see the connection break.
    async fn discard<B: Body<Data = Bytes> + Send + Unpin>(&self, body: &mut B) {
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
        let _ = timeout(self.limits.body_wait, all).await;
    }

    fn trust_list(&self) -> Result<Reply, Problem> {
        let rules = self.app.rules.load();
        let mut signers: Vec<(&String, &Arc<SignerCertificate>)> = rules.signers.iter().collect();
        signers.sort_by_key(|(issuer, _)| *issuer);
        let kids: Vec<hcert::Kid> = signers.iter().map(|(_, signer)| signer.kid()).collect();
        let entries: Vec<TrustListEntry<'_>> = signers
            .iter()
            .zip(&kids)
            .map(|((issuer, signer), kid)| TrustListEntry {
                alg: signer.alg().cose(),
                kid: Encoded(kid.as_bytes()),
                state: "active",
                issuer,
                not_after: signer.not_after(),
                not_before: signer.not_before(),
                certificate: Encoded(signer.der()),
            })
            .collect();
        let body = write::to_vec(&entries).map_err(|error| problem::of(&error.into()))?;
        Ok(Reply { body, replayed: false })
    }
}

/// Warnings are an addition to the contract's preview, and only for who asks for them.
fn wanted_warnings(head: &Parts) -> Warnings {
    let mut parameters = head.uri.query().unwrap_or_default().split('&');
    if parameters.any(|parameter| parameter == "warnings=true") {
        Warnings::Shown
    } else {
        Warnings::Hidden
    }
}

/// Counts a request for as long as somebody waits for it.
struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Every label that a path can have.
const LABELS: &[&str] = &["/v1/batches", "/v1/batches/preview", "/v1/trust-list", "other"];

/// The route as a label: paths that do not exist share one, so that clients cannot make new ones.
fn label(path: &str) -> &'static str {
    match Route::find(path) {
        Some((Route::Sign, _)) => "/v1/batches",
        Some((Route::Preview, _)) => "/v1/batches/preview",
        Some((Route::TrustList, _)) => "/v1/trust-list",
        None => "other",
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
        Some(Form::Json) => match write::to_json(&reply.body) {
            Ok(json) => (json, media::JSON),
            Err(error) => return refusal(&problem::of(&error.into()), wanted, ""),
        },
        Some(Form::Cbor) | None => (reply.body, media::CBOR),
    };
    let mut response = respond(StatusCode::OK, media, body);
    if reply.replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

fn refusal(problem: &Problem, wanted: Wanted, path: &str) -> Response<Full<Bytes>> {
    let (body, media) = match wanted.problem {
        Form::Cbor => (problem.to_cbor(), media::PROBLEM_CBOR),
        Form::Json => (problem.to_json(), media::PROBLEM_JSON),
    };
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, media, body);
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if let (StatusCode::METHOD_NOT_ALLOWED, Some((_, method))) = (status, Route::find(path))
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
