//! A client of the signing listener, or of the officers', that can also misbehave.

use std::collections::HashMap;
use std::sync::Arc;

use ciborium::Value;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::setup::Setup;

/// Settings of a client; every request makes a connection of its own unless told otherwise.
#[derive(Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
    port: u16,
}

/// An answer of the daemon.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as CBOR.
    pub fn cbor(&self) -> Value {
        ciborium::from_reader(self.body.as_slice()).expect("CBOR")
    }

    /// The stable code of a problem in CBOR (RFC 9290).
    pub fn code(&self) -> String {
        let problem = member(&self.cbor(), "tag:signerd,2026:problem");
        member(&problem, "code").into_text().expect("code")
    }

    /// A member of a problem's own entry.
    pub fn problem(&self, name: &str) -> Option<Value> {
        let problem = member(&self.cbor(), "tag:signerd,2026:problem");
        problem
            .as_map()?
            .iter()
            .find(|(key, _)| key.as_text() == Some(name))
            .map(|(_, v)| v.clone())
    }

    /// The results of a batch or a preview.
    pub fn results(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{:?}", String::from_utf8_lossy(&self.body));
        member(&self.cbor(), "results").into_array().expect("results")
    }

    /// The status of every result.
    pub fn statuses(&self) -> Vec<String> {
        self.results().iter().map(|r| member(r, "status").into_text().expect("status")).collect()
    }

    /// The reason codes of one result; none where it was issued.
    pub fn codes(&self, record: usize) -> Vec<String> {
        if self.statuses()[record] == "issued" {
            return Vec::new();
        }
        self.reasons(record).into_iter().map(|(code, _)| code).collect()
    }

    /// The reason codes of one result, each with its path.
    pub fn reasons(&self, record: usize) -> Vec<(String, String)> {
        let result = &self.results()[record];
        let text = |reason: &Value, name| member(reason, name).into_text().expect("text");
        let reasons = member(result, "reasons").into_array().expect("reasons");
        reasons.iter().map(|reason| (text(reason, "code"), text(reason, "path"))).collect()
    }

    /// Every HC1 text of a batch, in order.
    pub fn hcerts(&self) -> Vec<String> {
        let results = self.results();
        let issued = results.iter().filter(|r| member(r, "status").as_text() == Some("issued"));
        issued
            .flat_map(|result| member(result, "certificates").into_array().expect("certificates"))
            .map(|certificate| member(&certificate, "hcert").into_text().expect("hcert"))
            .collect()
    }
}

/// The member of a map in CBOR.
pub fn member(value: &Value, name: &str) -> Value {
    let pairs = value.as_map().unwrap_or_else(|| panic!("no map: {value:?}"));
    let found = pairs.iter().find(|(key, _)| key.as_text() == Some(name));
    found.unwrap_or_else(|| panic!("no {name} in {value:?}")).1.clone()
}

impl Client {
    /// The issuing system.
    pub fn new(setup: &Setup) -> Self {
        Self::named(setup, "client")
    }

    /// The same client on another port of loopback.
    pub fn at(&self, port: u16) -> Self {
        Self { tls: Arc::clone(&self.tls), port }
    }

    /// A client by the name of its files, e.g. `client-other`.
    pub fn named(setup: &Setup, name: &str) -> Self {
        let pem = |ending| setup.path(&format!("pki/{name}.{ending}"));
        let chain = CertificateDer::pem_file_iter(pem("pem")).expect("certificate");
        let key = PrivateKeyDer::from_pem_file(pem("key")).expect("key");
        Self::with(setup, chain.collect::<Result<_, _>>().expect("certificate"), key)
    }

    /// An officer by the name of its files, e.g. `officer-1`: on the officers' listener.
    pub fn officer(setup: &Setup, name: &str) -> Self {
        Self { port: setup.officer, ..Self::named(setup, name) }
    }

    /// A client with any certificate.
    pub fn with(
        setup: &Setup,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let tls = builder(setup).with_client_auth_cert(chain, key).expect("client certificate");
        Self { tls: Arc::new(tls), port: setup.signing }
    }

    /// A client without a certificate.
    pub fn anonymous(setup: &Setup) -> Self {
        Self { tls: Arc::new(builder(setup).with_no_client_auth()), port: setup.signing }
    }

    /// Opens a TLS connection. A refused client certificate may only show at the first read.
    ///
    /// # Errors
    /// The TCP connection or the handshake failed.
    pub async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("localhost").expect("name");
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await
    }

    /// Sends any request on a connection of its own.
    ///
    /// # Errors
    /// No answer came: the connection was refused or broke off.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> std::io::Result<Answer> {
        let stream = self.connect().await?;
        let broken = std::io::Error::other;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(broken)?.to_bytes().to_vec();
            let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or("").to_owned();
            let headers = parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v)));
            Ok(Answer { status: parts.status.as_u16(), headers: headers.collect(), body })
        }
        .await;
        drop(sender);
        driver.abort();
        answer
    }

    /// Posts a body as CBOR.
    ///
    /// # Errors
    /// No answer came.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> std::io::Result<Answer> {
        self.send(request(Method::POST, path, &[("content-type", "application/cbor")], body)).await
    }

    /// Signs a batch.
    ///
    /// # Errors
    /// No answer came.
    pub async fn sign(&self, body: impl Into<Bytes>) -> std::io::Result<Answer> {
        self.post("/v1/batches", body).await
    }

    /// Fetches a path.
    ///
    /// # Errors
    /// No answer came.
    pub async fn get(&self, path: &str) -> std::io::Result<Answer> {
        self.send(request(Method::GET, path, &[], Bytes::new())).await
    }
}

/// A request with headers.
pub fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).expect("request")
}

fn builder(setup: &Setup) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_file_iter(setup.path("pki/ca.pem")).expect("CA") {
        roots.add(ca.expect("CA")).expect("CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
}
