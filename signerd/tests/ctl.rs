//! The program `signerctl` against a small TLS server that plays the daemon's part.
//!
//! What is proved here is the tool's own promise: the same bytes on every repetition, no batch sent
//! again that is done, exit codes, and files that are whole. That the daemon keeps its side is proved
//! with the real one elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the stage of these tests fails by panicking, as they do"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use ciborium::{Value, cbor};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// What the server does with one request: `None` breaks the connection off.
type Answer = Option<(u16, Vec<u8>)>;
/// Number of the request, its path and its body.
type Script = Box<dyn FnMut(usize, &str, &[u8]) -> Answer + Send>;

struct Seen {
    path: String,
    body: Vec<u8>,
}

/// A folder with settings, certificates and a server that answers by a script.
struct Stage {
    folder: TempDir,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
    _runtime: Runtime,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = make_pki(folder.path());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let nothing: Script = Box::new(|_, _, _| None);
        let script = Arc::new(Mutex::new(nothing));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        write_settings(folder.path(), listener.local_addr().unwrap());
        runtime.spawn(serve(listener, config, Arc::clone(&seen), Arc::clone(&script)));
        Self { folder, seen, script, _runtime: runtime }
    }

    fn answers(&self, script: impl FnMut(usize, &str, &[u8]) -> Answer + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
        self.seen.lock().unwrap().clear();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The `record` member of every line of an output.
    fn records(&self, name: &str) -> Vec<u64> {
        let record = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["record"].as_u64().unwrap()
        };
        self.text(name).lines().map(record).collect()
    }

    /// Runs signerctl in the folder; exit code, stdout and stderr.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let settings = ["--config", "signerctl.toml"];
        let settings = if arguments.contains(&"--config") { &[][..] } else { &settings[..] };
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_signerctl"))
            .current_dir(self.folder.path())
            .args(settings)
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().iter().map(|seen| seen.body.clone()).collect()
    }

    fn sample(&self, count: &str) {
        let (code, _, error) = self.run(&["sample", "--count", count, "--output", "records.jsonl"]);
        assert_eq!(code, 0, "{error}");
    }
}

fn make_pki(folder: &Path) -> ServerConfig {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca_params, ca_key);
    write("ca.pem", ca.pem());
    let leaf = |name: &str, kind| {
        let key = KeyPair::generate_for(kind).unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
        (certificate.der().clone(), key)
    };
    leaf("client", &PKCS_ECDSA_P256_SHA256);
    leaf("verifier", &PKCS_ECDSA_P256_SHA256);
    leaf("facility", &PKCS_RSA_SHA256);
    let (certificate, key) = leaf("server", &PKCS_ECDSA_P256_SHA256);
    let stranger = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    write("stranger.pem", params.self_signed(&stranger).unwrap().pem());
    write("stranger.key", stranger.serialize_pem());
    server_config(ca.der().clone(), certificate, &key)
}

fn server_config(
    ca: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: &KeyPair,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

fn write_settings(folder: &Path, address: SocketAddr) {
    let text = format!(
        "server = \"https://{address}\"\nserver_name = \"localhost\"\nca = \"ca.pem\"\n\
         certificate = \"client.pem\"\nkey = \"client.key\"\nissuer = \"vn-moh\"\n[sample]\n\
         verifier_certificate = \"verifier.pem\"\nverifier_key = \"verifier.key\"\n\
         facility_certificate = \"facility.pem\"\nfacility_key = \"facility.key\"\n\
         facility = \"79-TTYT-Q1\"\n"
    );
    std::fs::write(folder.join("signerctl.toml"), &text).unwrap();
    std::fs::write(folder.join("stranger.toml"), text.replace("client.", "stranger.")).unwrap();
}

async fn serve(
    listener: TcpListener,
    config: ServerConfig,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
) {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (acceptor, seen, script) = (acceptor.clone(), Arc::clone(&seen), Arc::clone(&script));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(socket).await else { return };
            let service = service_fn(|request| respond(request, &seen, &script));
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    seen: &Mutex<Vec<Seen>>,
    script: &Mutex<Script>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes().to_vec();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(Seen { path: path.clone(), body: body.clone() });
        seen.len() - 1
    };
    let (status, body) = (script.lock().unwrap())(number, &path, &body).ok_or("broken off")?;
    let response = Response::builder().status(status).header("retry-after", "1");
    Ok(response.body(Full::new(body.into()))?)
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn members(body: &[u8]) -> HashMap<String, Value> {
    let value: Value = ciborium::from_reader(body).unwrap();
    let members = value.into_map().unwrap();
    members.into_iter().map(|(key, value)| (key.into_text().unwrap(), value)).collect()
}

/// Signs every record of a batch once.
fn sign_all(body: &[u8]) -> Answer {
    let request = members(body);
    let count = request["records"].as_array().unwrap().len();
    let issued = cbor!({ "status" => "issued", "certificates" => [
        { "dose" => 1, "uvci" => "URN:UVCI:01:VN:0", "expires_at" => 9, "hcert" => "HC1:" } ] });
    let answer = cbor!({ "kid" => Value::Bytes(vec![7; 8]), "issuer" => request["issuer"],
        "results" => vec![issued.unwrap(); count], "batch_id" => request["batch_id"],
        "issued_at" => 8 });
    Some((200, bytes(&answer.unwrap())))
}

fn refuse(status: u16, code: &str, path: &str) -> Answer {
    let problem = cbor!({ -1 => "no", "tag:signerd,2026:problem" => {
        "code" => code, "path" => path } });
    Some((status, bytes(&problem.unwrap())))
}

#[test]
fn repetitions_send_the_same_bytes() {
    // 503 with Retry-After, a broken connection, 409 batch.in_progress: the batch is repeated with the
    // same id and the same bytes until it is answered, and stored once.
    let stage = Stage::new();
    stage.sample("3");
    stage.answers(|number, _, body| match number {
        0 => refuse(503, "hsm.unavailable", ""),
        1 => None,
        2 => refuse(409, "batch.in_progress", ""),
        _ => sign_all(body),
    });
    let (code, report, error) = stage.run(&["--json", "sign", "records.jsonl", "-o", "out.jsonl"]);
    assert_eq!(code, 0, "{error}");
    let bodies = stage.bodies();
    assert_eq!(bodies.len(), 4);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    cbor_core::Value::decode(&bodies[0][..]).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((report["records"].as_u64(), report["certificates"].as_u64()), (Some(3), Some(3)));
    assert_eq!(stage.records("out.jsonl"), [0, 1, 2]);
    let first = stage.text("out.jsonl");
    let first: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(
        (first["kid"].as_str(), first["issuer"].as_str()),
        (Some("BwcHBwcHBwc"), Some("vn-moh"))
    );
}

#[test]
fn an_interrupted_run_is_continued() {
    // The server goes away after the first batch: exit 4. The same command then skips the batch that
    // is done, repeats the open one with the bytes it had, and signs the rest.
    let stage = Stage::new();
    stage.sample("5");
    let command =
        ["--retries", "0", "sign", "records.jsonl", "-o", "out.jsonl", "--batch-size", "2"];
    let command = [&command[..], &["--parallel", "1"]].concat();
    stage.answers(|number, _, body| if number == 0 { sign_all(body) } else { None });
    let (code, _, error) = stage.run(&command);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("what to do:"), "{error}");
    let first = stage.bodies();
    assert_eq!((first.len(), stage.records("out.jsonl")), (2, vec![0, 1]));
    // A crash may also leave half a line of output: the journal does not vouch for it.
    std::fs::write(stage.path("out.jsonl"), stage.text("out.jsonl") + "{\"record\":2,").unwrap();
    stage.answers(|_, _, body| sign_all(body));
    let (code, report, error) = stage.run(&command);
    assert_eq!(code, 0, "{error}");
    let second = stage.bodies();
    assert_eq!(second.len(), 2);
    assert_eq!(second[0], first[1]);
    assert!(report.starts_with("5 records: 5 certificates"), "{report}");
    assert_eq!(stage.records("out.jsonl"), [0, 1, 2, 3, 4]);
    // A third run has nothing to do, and asks nothing.
    stage.answers(|_, _, _| None);
    assert_eq!((stage.run(&command).0, stage.bodies().len()), (0, 0));
    // A run over other records into the same output is refused.
    stage.sample("5");
    let (code, _, error) = stage.run(&command);
    assert_eq!((code, stage.bodies().len()), (5, 0));
    assert!(error.contains("was changed since the run was begun"), "{error}");
}

#[test]
fn one_refused_batch_does_not_stop_the_others() {
    // A batch that is refused whole is named with its record and line (exit 3), the others are signed;
    // the next run sends that batch alone, under a new id.
    let stage = Stage::new();
    stage.sample("6");
    let command =
        ["sign", "records.jsonl", "-o", "out.jsonl", "--batch-size", "2", "--parallel", "1"];
    stage.answers(|number, _, body| match number {
        1 => refuse(422, "batch.duplicate_record", "/records/1"),
        _ => sign_all(body),
    });
    let (code, _, error) = stage.run(&command);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("batch 1 (record 3, line 4)"), "{error}");
    assert!(error.contains("batch.duplicate_record"), "{error}");
    let first = stage.bodies();
    assert_eq!((first.len(), stage.records("out.jsonl")), (3, vec![0, 1, 4, 5]));
    stage.answers(|_, _, body| sign_all(body));
    let (code, _, error) = stage.run(&command);
    assert_eq!(code, 0, "{error}");
    let second = stage.bodies();
    assert_eq!((second.len(), stage.records("out.jsonl")), (1, vec![0, 1, 4, 5, 2, 3]));
    assert_eq!(members(&second[0])["records"], members(&first[1])["records"]);
    assert_ne!(members(&second[0])["batch_id"], members(&first[1])["batch_id"]);
}

#[test]
fn rejected_records_are_an_exit_code_of_their_own() {
    // Rejected and withheld records are written with their reasons; the exit code is 1.
    let stage = Stage::new();
    stage.sample("2");
    stage.answers(|_, _, body| {
        let request = members(body);
        assert_eq!(request["atomic"], Value::Bool(true));
        let answer = cbor!({ "kid" => Value::Bytes(vec![7; 8]), "issuer" => request["issuer"],
            "results" => [ { "status" => "withheld" }, { "status" => "rejected", "reasons" => [
                { "code" => "holder.id_missing", "path" => "/record/holder", "detail" => "d" } ] } ],
            "batch_id" => request["batch_id"], "issued_at" => 8 });
        Some((200, bytes(&answer.unwrap())))
    });
    let (code, _, error) =
        stage.run(&["sign", "records.jsonl", "-o", "out.jsonl", "--atomic", "--issuer", "vn-x"]);
    assert_eq!(code, 1, "{error}");
    let text = stage.text("out.jsonl");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], r#"{"record":0,"status":"withheld"}"#);
    assert!(lines[1].contains("\"status\":\"rejected\"") && lines[1].contains("holder.id_missing"));
}

#[test]
fn answers_to_other_questions_are_not_stored() {
    // An answer with another batch id, or with fewer results than records, is not written down.
    let stage = Stage::new();
    stage.sample("2");
    stage.answers(|_, _, body| {
        let request = members(body);
        let answer = cbor!({ "kid" => Value::Bytes(vec![7; 8]), "issuer" => request["issuer"],
            "results" => [ { "status" => "withheld" } ], "batch_id" => request["batch_id"],
            "issued_at" => 8 });
        Some((200, bytes(&answer.unwrap())))
    });
    let (code, _, error) = stage.run(&["sign", "records.jsonl", "-o", "out.jsonl"]);
    assert!(code == 4 && error.contains("1 results for 2 records"), "{code} {error}");
    assert_eq!(stage.text("out.jsonl"), "");
}

#[test]
fn strangers_are_told_so() {
    // A client certificate of another CA is refused by the server's alert (exit 3), a server of
    // another name by us (exit 4); neither hangs, and both say what to do.
    let stage = Stage::new();
    stage.answers(|_, _, body| sign_all(body));
    let run = |config: &str| stage.run(&["--config", config, "--retries", "3", "trust-list"]);
    let (code, _, error) = run("stranger.toml");
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("what to do: Check that the client certificate"), "{error}");
    let other = stage.text("signerctl.toml").replace("\"localhost\"", "\"example.org\"");
    std::fs::write(stage.path("other.toml"), other).unwrap();
    let (code, _, error) = run("other.toml");
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("certificate is not accepted"), "{error}");
    assert!(stage.bodies().is_empty());
}

#[test]
fn bad_usage_and_bad_files_are_told_apart() {
    // Usage and settings: 2. Files: 5, with the line, before anything is sent. Help: 0.
    let stage = Stage::new();
    let (code, help, _) = stage.run(&["--help"]);
    assert!(code == 0 && help.contains("Exit codes"));
    assert_eq!(stage.run(&["sign", "x", "-o", "y", "--batch-size", "1001"]).0, 2);
    assert_eq!(stage.run(&["sign", "x", "-o", "-"]).0, 2);
    assert_eq!(stage.run(&["--config", "none.toml", "trust-list"]).0, 2);
    assert_eq!(stage.run(&["sign", "none.jsonl", "-o", "y"]).0, 5);
    stage.sample("3");
    let broken = stage.text("records.jsonl").replace("\"full_name\"", "\"fullname\"");
    std::fs::write(stage.path("broken.jsonl"), broken).unwrap();
    let (code, _, error) = stage.run(&["sign", "broken.jsonl", "-o", "out.jsonl"]);
    assert!(code == 5 && error.contains("line 1: unknown field `fullname`"), "{code} {error}");
    assert!(!stage.path("out.jsonl").exists());
    std::fs::write(stage.path("mine"), "precious").unwrap();
    let (code, _, error) = stage.run(&["sign", "records.jsonl", "-o", "mine"]);
    assert!(code == 5 && error.contains("without its journal"), "{code} {error}");
    assert_eq!(stage.text("mine"), "precious");
    assert!(stage.bodies().is_empty());
}

#[test]
fn preview_shows_what_would_be_signed() {
    // Preview asks its own route and shows each record with doses or reasons.
    let stage = Stage::new();
    stage.sample("2");
    stage.answers(|_, path, body| {
        assert_eq!(path, "/v1/batches/preview");
        let request = members(body);
        let answer = cbor!({ "issuer" => request["issuer"], "results" => [
            { "status" => "acceptable", "doses" => [1, 2] },
            { "status" => "rejected", "reasons" => [
                { "code" => "holder.id_missing", "path" => "/record/holder", "detail" => "d" } ] } ],
            "batch_id" => request["batch_id"] });
        Some((200, bytes(&answer.unwrap())))
    });
    let (code, shown, error) = stage.run(&["preview", "records.jsonl"]);
    assert_eq!(code, 1, "{error}");
    assert!(shown.contains("acceptable\tdoses 1, 2") && shown.contains("holder.id_missing at"));
    let (_, json, _) = stage.run(&["preview", "records.jsonl", "--json", "--rejected"]);
    let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!((line["record"].as_u64(), line["status"].as_str()), (Some(1), Some("rejected")));
}

#[test]
fn trust_lists_are_checked_and_written() {
    // The list is written as JSON and PEM; a kid that is not its certificate's is refused.
    let stage = Stage::new();
    let list = |kid: Vec<u8>| {
        let row = cbor!({ "alg" => -7, "kid" => Value::Bytes(kid), "state" => "active",
            "issuer" => "vn-moh", "not_after" => 9, "not_before" => 8,
            "certificate" => Value::Bytes(b"der".to_vec()) });
        bytes(&Value::Array(vec![row.unwrap()]))
    };
    let (good, bad) = (list(Sha256::digest(b"der")[..8].to_vec()), list(vec![0; 8]));
    stage.answers(move |_, _, _| Some((200, good.clone())));
    let (code, json, error) = stage.run(&["trust-list", "--json"]);
    assert_eq!(code, 0, "{error}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["certificate"].as_str(), Some("ZGVy"));
    assert_eq!(stage.run(&["trust-list", "--pem", "--output", "bundle.pem"]).0, 0);
    assert!(stage.text("bundle.pem").contains("-----BEGIN CERTIFICATE-----\nZGVy\n"));
    assert_eq!(stage.run(&["trust-list", "--pem", "--json"]).0, 2);
    stage.answers(move |_, _, _| Some((200, bad.clone())));
    let (code, _, error) = stage.run(&["trust-list"]);
    assert!(code == 4 && error.contains("kid"), "{code} {error}");
}

#[test]
fn readable_and_encoded_samples_are_the_same_records() {
    // Samples of one seed are sent as the same record bytes, whichever way they were written.
    let stage = Stage::new();
    let mut records = Vec::new();
    let sample = ["sample", "--count", "50", "--seed", "9", "--output", "r"];
    for form in [&[][..], &["--encoded"]] {
        assert_eq!(stage.run(&[&sample, form].concat()).0, 0);
        stage.answers(|_, _, body| sign_all(body));
        let output = format!("out{}", records.len());
        assert_eq!(stage.run(&["sign", "r", "-o", &output]).0, 0);
        assert_eq!(stage.seen.lock().unwrap()[0].path, "/v1/batches");
        let entries = members(&stage.bodies()[0])["records"].clone().into_array().unwrap();
        let record = |entry: &Value| {
            let members = entry.as_map().unwrap();
            members.iter().find(|(key, _)| key.as_text() == Some("record")).unwrap().1.clone()
        };
        records.push(entries.iter().map(record).collect::<Vec<_>>());
    }
    assert_eq!(records[0], records[1]);
}
