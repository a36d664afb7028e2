//! The HTTPS client of the tool: one request in, its answer or a clear refusal out.
//!
//! TLS 1.3 with the client's certificate, HTTP/1.1, connections kept for the next request, a deadline
//! on each step. What can pass is repeated with growing pauses: a lost connection, 408, 429, 502, 503,
//! 504 and 409 `batch.in_progress`, honouring `Retry-After`. A repetition sends the very same bytes,
//! which is safe because the daemon recognises a batch by its id and bytes. Nothing is decoded here
//! but problems.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::answer::{self, Problem};
use super::config::{Endpoint, Server};
use super::pem::{self, PemError};

/// A server on the same continent answers a SYN and a handshake well within this.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// A connection that broke has ended, or ends at once when nothing is sent on it any more.
const CONNECTION_END_DEADLINE: Duration = Duration::from_secs(1);
/// The first pause before a repetition; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// The longest pause of our own choice: a restarted daemon is ready within seconds.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest pause a server can ask for: more is better told to the person at the terminal.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Most bytes of an answer: 9,000 certificates of 2 KiB each, and room.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const CBOR: &str = "application/cbor";

/// How long and how often the client tries.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Repetitions after the first attempt.
    pub retries: u32,
    /// From sending a request to having its whole answer.
    pub answer_deadline: Duration,
}

/// An answer with status 200.
#[derive(Debug)]
pub struct Reply {
    /// The body.
    pub body: Bytes,
    /// The daemon had answered this batch before (`Idempotency-Replayed`).
    pub replayed: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A certificate or key file cannot be used; correct it.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The certificate, key or CA do not work together, or the server's name is none; correct them.
    #[error("TLS settings: {0}")]
    TlsSettings(String),
    /// The server broke the TLS connection off: our certificate is unknown, revoked or expired to it.
    #[error("the server refused the TLS connection: {0}")]
    TlsRefused(String),
    /// We broke the TLS connection off: the server's certificate is not what the settings ask for.
    #[error("the server's certificate is not accepted: {0}")]
    ServerUntrusted(String),
    /// No connection, or it broke; repeated already.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What happened.
        reason: String,
    },
    /// No whole answer within the deadline; repeated already.
    #[error("no answer from the server within {0:?}")]
    Late(Duration),
    /// The server refused the request; see the code in the problem.
    #[error("{}", refusal(*status, problem, request_id.as_deref()))]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        problem: Box<Problem>,
        /// `X-Request-Id`, to be found in the server's journal.
        request_id: Option<String>,
    },
    /// The last of several attempts failed like this; the same command continues later.
    #[error("gave up after {}: {last}", counted(*attempts))]
    GaveUp {
        /// How many.
        attempts: u32,
        /// The last one.
        last: Box<Self>,
    },
}

fn counted(attempts: u32) -> String {
    if attempts == 1 { "one attempt".to_owned() } else { format!("{attempts} attempts") }
}

/// A client of one daemon.
pub struct Client {
    tls: TlsConnector,
    server: Server,
    server_name: ServerName<'static>,
    patience: Patience,
    idle: Mutex<Vec<Connection>>,
}

/// One kept connection: the end we send on, and the task that moves its bytes.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
}

/// Whatever hyper, rustls or the operating system said.
type Fault = Box<dyn StdError + Send + Sync>;

/// How one attempt ended, if not with an answer.
enum Attempt {
    /// It can pass: after this pause at least.
    Again(ClientError, Duration),
    /// It cannot.
    Failed(ClientError),
}

impl Client {
    /// Reads certificates and key; connects only when the first request is made.
    ///
    /// # Errors
    /// When a file cannot be used or they do not fit together.
    pub fn new(endpoint: &Endpoint, patience: Patience) -> Result<Self, ClientError> {
        let wrong = |error: rustls::Error| ClientError::TlsSettings(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(&endpoint.ca)? {
            roots.add(certificate).map_err(wrong)?;
        }
        let (chain, key) =
            (pem::certificates(&endpoint.certificate)?, pem::private_key(&endpoint.key)?);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(wrong)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(wrong)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let server_name = ServerName::try_from(endpoint.server.name.clone())
            .map_err(|error| ClientError::TlsSettings(format!("server_name: {error}")))?;
        Ok(Self {
            tls: TlsConnector::from(Arc::new(tls)),
            server: endpoint.server.clone(),
            server_name,
            patience,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Sends CBOR and returns the answer.
    ///
    /// # Errors
    /// When the server refuses, or cannot be reached within the client's patience.
    pub async fn post(&self, path: &str, body: Bytes) -> Result<Reply, ClientError> {
        self.exchange(Method::POST, path, body).await
    }

    /// Asks for a resource in CBOR.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn fetch(&self, path: &str) -> Result<Reply, ClientError> {
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let mut attempts: u32 = 0;
        loop {
            attempts = attempts.saturating_add(1);
            let (error, at_least) = match self.attempt(method.clone(), path, body.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Again(error, at_least)) => (error, at_least),
            };
            let left = self.patience.retries.saturating_add(1).saturating_sub(attempts);
            // A window that opens in the evening: all repetitions would end before it does.
            if left == 0 || at_least > RETRY_AFTER_MAX.saturating_mul(left) {
                return Err(ClientError::GaveUp { attempts, last: Box::new(error) });
            }
            sleep(pause(attempts).max(at_least.min(RETRY_AFTER_MAX))).await;
        }
    }

    async fn attempt(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, Attempt> {
        let mut connection = self.connection().await?;
        let request = self.request(method, path, body)?;
        let deadline = self.patience.answer_deadline;
        let exchange = async {
            let response = connection.sender.send_request(request).await.map_err(boxed)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok::<_, Fault>((Response::from_parts(parts, ()), body))
        };
        let (response, body) = match timeout(deadline, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.broken(connection, error).await),
            Err(_) => return Err(Attempt::Again(ClientError::Late(deadline), Duration::ZERO)),
        };
        self.keep(connection);
        judge(&response, body)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Attempt> {
        let server = &self.server;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{}:{}", server.name, server.port))
            .header(ACCEPT, CBOR);
        let request = if body.is_empty() { request } else { request.header(CONTENT_TYPE, CBOR) };
        request
            .body(Full::new(body))
            .map_err(|error| Attempt::Failed(self.unreachable(&error.to_string())))
    }

    /// Takes a kept connection that is still open, or makes one.
    async fn connection(&self) -> Result<Connection, Attempt> {
        while let Some(mut kept) = self.kept() {
            if kept.sender.ready().await.is_ok() {
                return Ok(kept);
            }
        }
        timeout(CONNECT_DEADLINE, self.connect())
            .await
            .map_err(|_| Attempt::Again(self.unreachable("no connection in time"), Duration::ZERO))?
            .map_err(|error| self.lost(error.as_ref()))
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let socket = TcpStream::connect((self.server.host.as_str(), self.server.port)).await?;
        socket.set_nodelay(true)?;
        let stream = self.tls.connect(self.server_name.clone(), socket).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection { sender, driver: tokio::spawn(connection) })
    }

    fn kept(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: Connection) {
        if !connection.sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }

    /// Finds out why a connection broke. In TLS 1.3 a refused client certificate shows only after the
    /// handshake, and the alert may reach the connection's task instead of the request.
    async fn broken(&self, connection: Connection, error: Fault) -> Attempt {
        let Connection { sender, driver } = connection;
        drop(sender);
        match timeout(CONNECTION_END_DEADLINE, driver).await {
            Ok(Ok(Err(cause))) if tls_fault(&cause).is_some() => self.lost(&cause),
            _ => self.lost(error.as_ref()),
        }
    }

    /// Tells a connection that TLS ended from one that can be tried again.
    fn lost(&self, error: &(dyn StdError + 'static)) -> Attempt {
        match tls_fault(error) {
            // An internal error of the server may pass, every other alert is about us.
            Some(rustls::Error::AlertReceived(alert))
                if *alert != rustls::AlertDescription::InternalError =>
            {
                Attempt::Failed(ClientError::TlsRefused(format!("{alert:?}")))
            }
            Some(fault @ rustls::Error::InvalidCertificate(_)) => {
                Attempt::Failed(ClientError::ServerUntrusted(fault.to_string()))
            }
            _ => Attempt::Again(self.unreachable(&chain(error)), Duration::ZERO),
        }
    }

    fn unreachable(&self, reason: &str) -> ClientError {
        let Server { host, port, .. } = &self.server;
        ClientError::Unreachable { server: format!("{host}:{port}"), reason: reason.into() }
    }
}

impl ClientError {
    /// The refusal at the bottom of this error, if it is one.
    #[must_use]
    pub fn refused(&self) -> Option<(u16, &Problem)> {
        match self {
            Self::Refused { status, problem, .. } => Some((*status, problem)),
            Self::GaveUp { last, .. } => last.refused(),
            Self::Pem(_)
            | Self::TlsSettings(_)
            | Self::TlsRefused(_)
            | Self::ServerUntrusted(_)
            | Self::Unreachable { .. }
            | Self::Late(_) => None,
        }
    }
}

fn judge(response: &Response<()>, body: Bytes) -> Result<Reply, Attempt> {
    let (status, headers) = (response.status(), response.headers());
    if status == StatusCode::OK {
        let replayed = text(headers, "idempotency-replayed").as_deref() == Some("true");
        return Ok(Reply { body, replayed });
    }
    let problem = answer::problem(&body);
    let can_pass = match status.as_u16() {
        408 | 429 | 502 | 503 | 504 => true,
        409 => problem.code == "batch.in_progress",
        _ => false,
    };
    let header = text(headers, RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok());
    let at_least = Duration::from_secs(header.or(problem.retry_after).unwrap_or(0));
    let request_id = text(headers, "x-request-id");
    let error =
        ClientError::Refused { status: status.as_u16(), problem: Box::new(problem), request_id };
    Err(if can_pass { Attempt::Again(error, at_least) } else { Attempt::Failed(error) })
}

/// The pause before repetition `attempt`: doubled each time, plus up to a quarter so that several
/// clients that lost one server do not come back in step.
fn pause(attempt: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1).min(16));
    let pause = PAUSE_FIRST.saturating_mul(doubled).min(PAUSE_MAX);
    let [random, ..] = uuid::Uuid::new_v4().into_bytes();
    pause.saturating_add(pause.saturating_mul(u32::from(random)) / 1024)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(|value| value.trim().to_owned())
}

fn boxed(error: hyper::Error) -> Fault {
    Box::new(error)
}

fn tls_fault<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(fault) = error.downcast_ref::<rustls::Error>() {
            return Some(fault);
        }
        // io::Error's source() skips the error it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}

fn refusal(status: u16, problem: &Problem, request_id: Option<&str>) -> String {
    let code = if problem.code.is_empty() { "no code" } else { &problem.code };
    let mut text = format!("the server refused: HTTP {status}, {code}");
    for part in [Some(problem.title.as_str()), problem.detail.as_deref()].into_iter().flatten() {
        if !part.is_empty() {
            text.push_str(": ");
            text.push_str(part);
        }
    }
    if let Some(path) = &problem.path {
        text.push_str(&format!(", at {path}"));
    }
    if let Some(offset) = problem.offset {
        text.push_str(&format!(", at byte {offset}"));
    }
    if let Some(id) = request_id {
        text.push_str(&format!(" (request {id})"));
    }
    text
}
