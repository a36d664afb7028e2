//! The routes of the signing listener.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::exchange::{self, Asked, Exchange, Phase, Place, Reply, Routes};
use super::log::{self, LogRoute};
use super::problem;
use crate::access::{Client, RateError};
use crate::hcert::{self, SignerCertificate};
use crate::issue::{self, Answer, Caller, IssueError, Issuing, Warnings};
use crate::logging;
use crate::tlog::fact::Peer;
use crate::wire::cbor::{Bytes as Encoded, write};
use crate::wire::problem::Problem;
use crate::wire::response::TrustListEntry;

/// The signing listener's side of HTTP.
pub struct Signing {
    app: Arc<Issuing>,
    exchange: Exchange,
    batches_max: usize,
    batches: Arc<Semaphore>,
}

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

#[derive(Clone, Copy, Debug)]
enum Route<'a> {
    Sign,
    Preview,
    TrustList,
    Log(LogRoute<'a>),
}

impl<'a> Route<'a> {
    /// The route and the method that it has, by path.
    fn find(path: &'a str) -> Option<(Self, Method)> {
        match path {
            "/v1/batches" => Some((Self::Sign, Method::POST)),
            "/v1/batches/preview" => Some((Self::Preview, Method::POST)),
            "/v1/trust-list" => Some((Self::TrustList, Method::GET)),
            _ => match LogRoute::find(path)? {
                // The whole log is for auditors, on the officers' listener.
                LogRoute::Tile(_) | LogRoute::Checkpoints => None,
                route => Some((Self::Log(route), Method::GET)),
            },
        }
    }
}

/// What is done with a batch.
#[derive(Clone, Copy, Debug)]
enum Work {
    Sign,
    Preview(Warnings),
}

impl Routes for Signing {
    async fn answer(
        &self,
        certificate: &[u8],
        request: Request<Incoming>,
        phase: Phase,
    ) -> Response<Full<Bytes>> {
        let asked = self.exchange.ask(&request, place(request.uri().path()));
        let (head, mut body) = request.into_parts();
        let result = self.reply(certificate, (&head, &mut body), phase, &asked).await;
        let peer = || match self.app.rules.load().access.client(certificate) {
            Some(client) => Peer::Client(client.id.clone()),
            None => exchange::stranger(certificate),
        };
        self.exchange.answer(asked, (&head, &mut body), peer, result).await
    }
}

impl Signing {
    /// The routes over everything that issuing needs.
    pub fn new(app: Arc<Issuing>, limits: Limits) -> Self {
        let Limits { body_bytes_max, body_wait, batches_max } = limits;
        app.metrics.name_routes(LABELS, problem::CODES);
        let (metrics, refusals) = (Arc::clone(&app.metrics), Arc::clone(&app.refusals));
        let exchange = Exchange { metrics, refusals, body_bytes_max, body_wait };
        Self { app, exchange, batches_max, batches: Arc::new(Semaphore::new(batches_max)) }
    }

    /// Ends when no batch is in work, and lets none begin any more.
    pub async fn idle(&self) {
        let all = u32::try_from(self.batches_max).unwrap_or(u32::MAX);
        if let Ok(places) = self.batches.acquire_many(all).await {
            places.forget();
        }
    }

    async fn reply(
        &self,
        certificate: &[u8],
        (head, body): (&Parts, &mut Incoming),
        phase: Phase,
        asked: &Asked,
    ) -> Result<Reply, Problem> {
        let client =
            self.app.rules.load().access.client(certificate).ok_or_else(problem::client_unknown)?;
        let (route, method) = Route::find(head.uri.path()).ok_or_else(problem::not_found)?;
        if head.method != method {
            return Err(problem::method_not_allowed());
        }
        if let Route::Log(LogRoute::Checkpoint) = route {
            return log::checkpoint(&self.app).await;
        }
        if asked.wanted.answer.is_none() {
            return Err(problem::not_acceptable());
        }
        let work = match route {
            Route::TrustList => return self.trust_list(),
            Route::Log(route) => return self.log(route, &client).await,
            Route::Sign => Work::Sign,
            Route::Preview => Work::Preview(wanted_warnings(head)),
        };
        self.exchange.check_announced(head)?;
        if phase == Phase::Draining {
            return Err(problem::draining());
        }
        let place = Arc::clone(&self.batches).try_acquire_owned();
        let place = place.map_err(|_| problem::overloaded())?;
        let body = self.exchange.body(body).await?;
        self.batch(work, client, body, (place, &asked.request_id)).await
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
        // Dropped with this future when the connection ends.
        let (caller, _presence) = Caller::here();
        let task = tokio::spawn(async move {
            let result = match work {
                Work::Preview(warnings) => issue::preview(app, client, body, warnings).await,
                Work::Sign => issue::issue(app, client, body, caller).await,
            };
            drop(place);
            result
        });
        let result = task.await.unwrap_or(Err(IssueError::Lost(crate::cpu::Lost)));
        result.map(|Answer { body, replayed }| Reply::cbor(body).replayed(replayed)).map_err(|error| {
            let problem = problem::of(&error);
            if problem.status >= 500 {
                let cause = logging::chain(&error);
                ::log::warn!(request_id, client = id, code = problem.code; "batch not answered: {cause}");
            }
            if let IssueError::Rate(RateError::TooFast { .. }) = error {
                self.app.metrics.rate_limited.with_label_values(&[&id]).inc();
            }
            problem
        })
    }

    async fn log(&self, route: LogRoute<'_>, client: &Client) -> Result<Reply, Problem> {
        match route {
            LogRoute::Proof(uvci) => {
                log::proof(&self.app, uvci, |issuer| client.issuers.contains(issuer)).await
            }
            LogRoute::Consistency { from, to } => log::consistency(&self.app, from, to).await,
            LogRoute::Checkpoint => log::checkpoint(&self.app).await,
            LogRoute::Checkpoints | LogRoute::Tile(_) => Err(problem::not_found()),
        }
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
        Ok(Reply::cbor(body))
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

/// Every label that a path can have.
const LABELS: &[&str] = &[
    "/v1/batches",
    "/v1/batches/preview",
    "/v1/trust-list",
    log::CHECKPOINT,
    log::CONSISTENCY,
    log::PROOF,
    "other",
];

fn place(path: &str) -> Place {
    let found = Route::find(path);
    let label = match found {
        Some((Route::Sign, _)) => "/v1/batches",
        Some((Route::Preview, _)) => "/v1/batches/preview",
        Some((Route::TrustList, _)) => "/v1/trust-list",
        Some((Route::Log(route), _)) => route.label(),
        None => "other",
    };
    Place { label, method: found.map(|(_, method)| method) }
}
