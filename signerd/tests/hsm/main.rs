//! The pool and real worker processes against a real SoftHSM: what they promise, and each failure.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod token;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::digest;
use aws_lc_rs::signature;
use hsm_config::HsmConfig;
use rustix::process::Pid;
use rustix::process::Signal;
use signerd::hsm::FaultKind;
use signerd::hsm::HsmError;
use signerd::hsm::HsmEvents;
use signerd::hsm::Pool;
use signerd::hsm::Unobserved;
use signerd::hsm::clear_pin_latch;

use token::Kind;
use token::TestToken;

const PROGRAM: &str = env!("CARGO_BIN_EXE_signerd");

fn pool(token: &TestToken, config: &Arc<HsmConfig>, events: Arc<dyn HsmEvents>) -> Pool {
    Pool::start(Arc::clone(config), token.path("hsm.toml"), PROGRAM.into(), events).unwrap()
}

fn messages(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("message {i}").into_bytes()).collect()
}

fn digests(messages: &[Vec<u8>]) -> Vec<[u8; 32]> {
    let hash = |m: &Vec<u8>| digest::digest(&digest::SHA256, m).as_ref().try_into().unwrap();
    messages.iter().map(hash).collect()
}

/// Asserts that each signature is the key's over the message at its place.
fn assert_signed(token: &TestToken, key: &str, messages: &[Vec<u8>], signatures: &[Vec<u8>]) {
    assert_eq!(signatures.len(), messages.len());
    let public = token.public(key);
    let algorithm: &dyn signature::VerificationAlgorithm = if public.len() == 65 {
        &signature::ECDSA_P256_SHA256_FIXED
    } else {
        &signature::RSA_PSS_2048_8192_SHA256
    };
    for (message, one) in messages.iter().zip(signatures) {
        algorithm.verify_sig(public, message, one).unwrap();
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits for something that other processes do; polling is the only way to see it.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < Duration::from_secs(30), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Does something once, when the first chunk was signed, and counts what happens.
struct OnFirstChunk<F> {
    action: Mutex<Option<F>>,
    signed: AtomicUsize,
    restarts: AtomicUsize,
}

impl<F: FnOnce() + Send + 'static> OnFirstChunk<F> {
    fn new(action: F) -> Arc<Self> {
        Arc::new(Self {
            action: Mutex::new(Some(action)),
            signed: AtomicUsize::new(0),
            restarts: AtomicUsize::new(0),
        })
    }
}

impl<F: FnOnce() + Send + 'static> HsmEvents for OnFirstChunk<F> {
    fn signed(&self, _key: &str, signatures: usize, _took: Duration) {
        self.signed.fetch_add(signatures, Ordering::SeqCst);
        if let Some(action) = self.action.lock().unwrap().take() {
            action();
        }
    }

    fn worker_restarted(&self) {
        self.restarts.fetch_add(1, Ordering::SeqCst);
    }
}

/// A worker without a pool: its process, our end of its connection, and its log.
struct LoneWorker {
    process: Child,
    connection: UnixStream,
}

fn lone_worker(config: &Path) -> LoneWorker {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let process = Command::new(PROGRAM)
        .args(["hsm-worker", "--tether", "--config"])
        .arg(config)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    LoneWorker { process, connection: ours }
}

/// Runs a worker that must not become ready; gives its exit code, its log and its last word.
fn failing_worker(token: &TestToken) -> (Option<i32>, String, String) {
    let LoneWorker { mut process, mut connection } = lone_worker(&token.path("hsm.toml"));
    let mut word = Vec::new();
    connection.read_to_end(&mut word).unwrap();
    let mut log = String::new();
    process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    (process.wait().unwrap().code(), log, String::from_utf8_lossy(&word).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_algorithms_sign_through_real_workers() {
    // PS256 and ES256 signatures verify with another implementation, each at its digest's place.
    let token = TestToken::with(&[("rsa", Kind::Rsa), ("ec", Kind::P256)]);
    let config = token.write_config(|text| text.replace("sessions = 1", "sessions = 2"));
    let pool = pool(&token, &config, Arc::new(Unobserved));
    let (few, many) = (messages(70), messages(700));
    let (rsa, ec) = tokio::join!(pool.sign("rsa", digests(&few)), pool.sign("ec", digests(&many)));
    assert_signed(&token, "rsa", &few, &rsa.unwrap());
    assert_signed(&token, "ec", &many, &ec.unwrap());
    assert_eq!(pool.sign("ec", Vec::new()).await, Ok(Vec::new()));
    let unknown = pool.sign("other", digests(&few)).await.unwrap_err();
    assert_eq!(unknown, HsmError::KeyUnknown { key: "other".to_owned() });
    eventually("both workers live", || pool.health().live == 2).await;
    assert_eq!(pool.health().fault, None);
    pool.stop().await;
    assert_eq!(token.workers(), Vec::<u32>::new(), "no worker outlives its pool");
    assert_eq!(pool.sign("ec", digests(&few)).await, Err(HsmError::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_without_hmac_derives_the_secret_by_aes() {
    // An AES key of the token gives a secret of its own, the same one after every start; a generic secret
    // cannot stand in for it, and the fault says what is needed.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    token.generate_aes("cipher");
    let by_aes = |label: &'static str| {
        token.write_config(move |text| {
            let from = "[secret]\nlabel = \"pseudonym\"";
            assert!(text.contains(from), "{text}");
            text.replace(from, &format!("[secret]\nmechanism = \"AES_CBC\"\nlabel = \"{label}\""))
        })
    };
    let mut secrets = Vec::new();
    for label in [None, Some("cipher"), Some("cipher")] {
        // Workers read the file, so that there is one at a time.
        let config = label.map_or_else(|| token.write_config(|text| text), by_aes);
        let pool = pool(&token, &config, Arc::new(Unobserved));
        secrets.push(*pool.token_secret().await.unwrap().expose());
        pool.stop().await;
    }
    assert_eq!(secrets[1], secrets[2]);
    assert_ne!(secrets[0], secrets[1]);
    assert!(secrets.iter().all(|secret| *secret != [0; 32]));
    let config = by_aes("pseudonym");
    let pool = pool(&token, &config, Arc::new(Unobserved));
    eventually("the fault is told", || pool.health().fault.is_some()).await;
    let told = pool.health().fault.unwrap().to_string();
    assert!(told.contains("AES-256 key that may encrypt"), "{told}");
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_workers_map_the_module_and_agree_on_the_secret() {
    // The module is mapped by workers and by nobody else, and the secret is the token's.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    let config = token.write_config(|text| text);
    let first = pool(&token, &config, Arc::new(Unobserved));
    let secret = *first.token_secret().await.unwrap().expose();
    assert_ne!(secret, [0; 32]);
    eventually("both workers live", || first.health().live == 2).await;
    let maps = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/maps"));
    assert!(!maps("self").unwrap().contains("softhsm"));
    for pid in token.workers() {
        match maps(&pid.to_string()) {
            Ok(maps) => assert!(maps.contains("libsofthsm2")),
            // An undumpable process shows its maps to root alone.
            Err(_) => eprintln!("SKIPPED: the maps of a worker are for root to read"),
        }
    }
    first.stop().await;
    let second = pool(&token, &config, Arc::new(Unobserved));
    assert_eq!(*second.token_secret().await.unwrap().expose(), secret);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_every_worker_costs_no_request() {
    // SIGKILL to all workers in the middle of a batch: the batch is finished by their successors.
    let token = TestToken::with(&[("rsa", Kind::Rsa)]);
    let config = token.write_config(|text| text);
    let hsm_toml = token.path("hsm.toml");
    let events = OnFirstChunk::new(move || {
        for pid in token::workers_of(&hsm_toml) {
            signal(pid, Signal::KILL);
        }
    });
    let observer: Arc<dyn HsmEvents> = events.clone();
    let pool = pool(&token, &config, observer);
    eventually("both workers live", || pool.health().live == 2).await;
    let messages = messages(300);
    let signatures = pool.sign("rsa", digests(&messages)).await.unwrap();
    assert_signed(&token, "rsa", &messages, &signatures);
    assert!(events.restarts.load(Ordering::SeqCst) >= 1);
    eventually("both workers live again", || pool.health().live == 2).await;
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_worker_is_replaced_and_its_work_done_by_another() {
    // SIGSTOP to one worker: after the call deadline another one has its digests.
    let token = TestToken::with(&[("rsa", Kind::Rsa)]);
    let config = token.write_config(|text| text.replace("ms = 5000", "ms = 500"));
    let hsm_toml = token.path("hsm.toml");
    let stopped = Arc::new(Mutex::new(None));
    let victim = Arc::clone(&stopped);
    let events = OnFirstChunk::new(move || {
        let pid = token::workers_of(&hsm_toml)[0];
        signal(pid, Signal::STOP);
        *victim.lock().unwrap() = Some(pid);
    });
    let observer: Arc<dyn HsmEvents> = events.clone();
    let pool = pool(&token, &config, observer);
    eventually("both workers live", || pool.health().live == 2).await;
    let messages = messages(400);
    let signatures = pool.sign("rsa", digests(&messages)).await.unwrap();
    assert_signed(&token, "rsa", &messages, &signatures);
    eventually("the stopped worker is replaced", || {
        pool.health().live == 2 && !token.workers().contains(&stopped.lock().unwrap().unwrap())
    })
    .await;
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_call_ends_its_worker() {
    // A call that overruns its deadline ends the worker by its own watchdog; the request survives.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    let config = token.write_config(|text| text.replace("ms = 5000", "ms = 500"));
    let pool = pool(&token, &config, Arc::new(Unobserved));
    eventually("both workers live", || pool.health().live == 2).await;
    let before = token.workers();
    let messages = messages(200);
    let (other, wanted) = (pool.clone(), digests(&messages));
    let locks = token.lock_objects();
    let request = tokio::spawn(async move { other.sign("ec", wanted).await });
    let watchdog = "overran its deadline";
    eventually("a watchdog has ended its worker", || {
        pool.health().fault.is_some_and(|fault| fault.contains(watchdog))
    })
    .await;
    drop(locks);
    assert_signed(&token, "ec", &messages, &request.await.unwrap().unwrap());
    eventually("new workers live", || pool.health().live == 2).await;
    assert_ne!(before, token.workers());
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_pin_is_tried_once_and_heals_when_cleared() {
    // A wrong PIN latches, requests fail at once, no start tries again, and clearing heals the pool.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    token.write_pin("000000");
    let config = token.write_config(|text| text);
    let pool = pool(&token, &config, Arc::new(Unobserved));
    let messages = messages(10);
    let since = Instant::now();
    assert_eq!(pool.sign("ec", digests(&messages)).await, Err(HsmError::PinLatched));
    assert!(since.elapsed() < config.request_deadline() / 2, "nobody waits for a latched pin");
    assert_eq!(pool.health().pin_latched, [0].into());
    assert_eq!(pool.token_secret().await.unwrap_err(), HsmError::PinLatched);
    assert!(config.pin_latch().exists());
    // With the latch set the worker ends before it even loads the module.
    token.write_right_pin();
    token.write_config(|text| text.replace(token::MODULE, "/nowhere/module.so"));
    let (code, log, word) = failing_worker(&token);
    assert_eq!(code, Some(77), "{log}");
    assert!(log.contains("clear-pin-latch") && word.contains("clear-pin-latch"), "{log}{word}");
    token.write_config(|text| text);
    assert!(clear_pin_latch(&config).unwrap());
    assert!(!clear_pin_latch(&config).unwrap());
    eventually("the pool heals", || pool.health().live == 2).await;
    assert!(pool.health().pin_latched.is_empty());
    let signatures = pool.sign("ec", digests(&messages)).await.unwrap();
    assert_signed(&token, "ec", &messages, &signatures);
    pool.stop().await;
}

#[test]
fn a_wrong_pin_ends_the_worker_with_77_and_a_latch() {
    // One try, a latch, exit code 77, and the PIN in no output.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    token.write_pin("000000");
    let (code, log, word) = failing_worker(&token);
    assert_eq!(code, Some(77), "{log}");
    assert!(token.path("state/pin-latch").exists());
    assert!(!log.contains("000000") && !word.contains("000000"));
}

#[test]
fn each_fault_of_the_configuration_ends_with_78_and_its_remedy() {
    // What does not fit machine and token is named with its file or key, and what to do.
    let mut token = TestToken::with(&[("ec", Kind::P256)]);
    token.generate("stranger", Kind::P256);
    token.certify("stranger", "stranger");
    token.generate("twin", Kind::P256);
    token.generate("twin", Kind::P256);
    let serial = token.write_config(|text| text).token_serial().to_owned();
    let cases = [
        (token::MODULE, "/nowhere/module.so", "/nowhere/module.so"),
        (serial.as_str(), "ffffffffffffffff", "set token.label and token.serial"),
        ("signerd-test", "another", "the module shows: signerd-test/"),
        ("\nlabel = \"ec\"", "\nlabel = \"missing\"", "label \"missing\"): it is not in the token"),
        ("\nlabel = \"ec\"", "\nlabel = \"twin\"", "2 objects"),
        ("\"pseudonym\"", "\"none\"", "secret key with label \"none\""),
        ("pki/ec.pem", "pki/stranger.pem", "the public keys differ"),
        ("pki/ec.pem", "pki/none.pem", "pki/none.pem: it cannot be read"),
        ("pki/ec.pem", "softhsm2.conf", "it is not a certificate"),
        ("ES256", "PS256", "its key is not RSA"),
        ("secrets/user-pin", "secrets/none", "secrets/none"),
        ("file = \"secrets/user-pin\"", "credential = \"pin\"", "LoadCredential="),
    ];
    for (from, to, expected) in cases {
        token.write_config(|text| text.replace(from, to));
        let (code, log, word) = failing_worker(&token);
        assert_eq!(code, Some(78), "{to}: {log}");
        assert!(log.contains(expected), "{to}: {log}");
        assert!(word.contains(expected), "{to}: {word}");
    }
    token.write_config(|text| text);
    let pin = token.path("secrets/user-pin");
    std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (code, log, _) = failing_worker(&token);
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("others can use it, its mode is 0640; chmod 600"), "{log}");
    assert!(!token.path("state/pin-latch").exists(), "no fault of these is one of the PIN");
}

#[test]
fn a_broken_hsm_toml_is_named_with_all_its_faults() {
    // The worker names every fault of its configuration, on its log and to the front.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    std::fs::write(token.path("hsm.toml"), "version = 2\n").unwrap();
    let (code, log, word) = failing_worker(&token);
    assert_eq!(code, Some(78));
    for expected in ["hsm.toml", "line 1: version", "module", "token", "pin"] {
        assert!(log.contains(expected) && word.contains(expected), "{expected}: {log}");
    }
}

#[test]
fn a_worker_ends_with_its_front() {
    // The end of the front's connection, however it comes, is the end of a spawned worker.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    let LoneWorker { mut process, mut connection } = lone_worker(&token.path("hsm.toml"));
    let mut header = [0; 4];
    connection.read_exact(&mut header).unwrap();
    drop(connection);
    let status = process.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it leaves without clean-up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_under_the_same_label_is_never_used() {
    // A key replaced behind the worker's back is refused: it is not the certificate's.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    let config = token.write_config(|text| text.replace("ms = 20000", "ms = 5500"));
    let pool = pool(&token, &config, Arc::new(Unobserved));
    let messages = messages(3);
    let signatures = pool.sign("ec", digests(&messages)).await.unwrap();
    assert_signed(&token, "ec", &messages, &signatures);
    // SoftHSM loses a token for a moment while somebody else logs in, as the tools below do.
    eventually("both workers live", || pool.health().live == 2).await;
    token.delete("ec");
    token.generate("ec", Kind::P256);
    let error = pool.sign("ec", digests(&messages)).await.unwrap_err();
    assert!(matches!(error, HsmError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("the public keys differ"), "{error}");
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_on_sockets_outlive_their_fronts() {
    // A worker that others run serves one front after the other, without a new log-in.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    let socket = token.path("worker");
    let config = token.write_config(|text| {
        text.replace("workers = 2", &format!("sockets = [\"{}\"]", socket.display()))
            .replace("ms = 20000", "ms = 6000")
    });
    // Without the module's environment: the worker starts itself again with it.
    let mut worker = Command::new(PROGRAM)
        .args(["hsm-worker", "--config"])
        .arg(token.path("hsm.toml"))
        .arg("--socket")
        .arg(&socket)
        .spawn()
        .unwrap();
    let messages = messages(100);
    for _ in 0..2 {
        let pool = pool(&token, &config, Arc::new(Unobserved));
        let signatures = pool.sign("ec", digests(&messages)).await.unwrap();
        assert_signed(&token, "ec", &messages, &signatures);
        pool.stop().await;
    }
    assert_eq!(worker.try_wait().unwrap(), None, "the same worker served both");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    worker.kill().unwrap();
    worker.wait().unwrap();
    let pool = pool(&token, &config, Arc::new(Unobserved));
    let error = pool.sign("ec", digests(&messages)).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_takes_its_listening_socket_from_standard_input() {
    // Socket activation: standard input is the listening socket, and nothing else will do.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    let socket = token.path("worker");
    let config = token.write_config(|text| {
        text.replace("workers = 2", &format!("sockets = [\"{}\"]", socket.display()))
    });
    let listener = UnixListener::bind(&socket).unwrap();
    let activated = |stdin: Stdio| {
        let mut command = Command::new(PROGRAM);
        command.args(["hsm-worker", "--config"]).arg(token.path("hsm.toml")).stdin(stdin);
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut worker = activated(Stdio::from(OwnedFd::from(listener)));
    let pool = pool(&token, &config, Arc::new(Unobserved));
    let messages = messages(10);
    let signatures = pool.sign("ec", digests(&messages)).await.unwrap();
    assert_signed(&token, "ec", &messages, &signatures);
    pool.stop().await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    let refused = activated(Stdio::null()).wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(78));
    let log = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(log.contains("not a listening socket"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_worker_a_request_ends_at_its_deadline() {
    // Where no worker ever starts, requests and the secret end with an error, in time.
    let token = TestToken::with(&[("ec", Kind::P256)]);
    let config = token.write_config(|text| {
        text.replace("ms = 5000", "ms = 100").replace("ms = 20000", "ms = 600\nqueue_max = 1")
    });
    let program = PathBuf::from("/bin/false");
    let pool =
        Pool::start(Arc::clone(&config), token.path("hsm.toml"), program, Arc::new(Unobserved))
            .unwrap();
    let since = Instant::now();
    let messages = messages(3);
    let (first, second, secret) = tokio::join!(
        pool.sign("ec", digests(&messages)),
        pool.sign("ec", digests(&messages)),
        pool.token_secret(),
    );
    assert!(matches!(first, Err(HsmError::Unavailable { .. })));
    assert_eq!(second, Err(HsmError::Overloaded { queue_max: 1 }));
    assert!(matches!(secret, Err(HsmError::Unavailable { .. })));
    assert!(since.elapsed() < Duration::from_secs(3));
    pool.stop().await;
}

#[test]
fn fault_kinds_have_stable_names() {
    // Metrics and alerts depend on these words.
    let kinds = [FaultKind::Config, FaultKind::Key, FaultKind::Pin, FaultKind::Token];
    assert_eq!(kinds.map(FaultKind::name), ["config", "key", "pin", "token"]);
}
