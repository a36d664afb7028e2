//! What a start does when something is not as it has to be: say so, and go on where that heals.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use signerd_tests::pki::{Authority, Validity, registration};
use signerd_tests::{Batch, Client, Daemon, Evidence, Setup};

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_the_token_heals_when_it_is_back() {
    // Without the token the daemon is up and answers 503, names what is in the way, and signs as soon
    // as the token is back.
    let setup = Setup::new();
    let (here, away) = (setup.path("tokens"), setup.path("tokens.away"));
    let text = setup.text("hsm.toml");
    let deadline = text.lines().find(|line| line.starts_with("request_deadline_ms")).unwrap();
    let call = text.lines().find(|line| line.starts_with("call_deadline_ms")).unwrap();
    setup.change("hsm.toml", deadline, "request_deadline_ms = 1500");
    setup.change("hsm.toml", call, "call_deadline_ms = 1000");
    fs::rename(&here, &away).unwrap();
    let mut daemon = Daemon::start(&setup);
    is_told(&mut daemon, &["it does not initialise", "check module.environment and the device"]);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let batch = Batch::about(&evidence, "vn-moh", 1);
    let refused = client.sign(batch.body.clone()).await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "hsm.unavailable"));
    assert!(refused.headers.contains_key("retry-after"));
    // What needs no signature is served.
    assert_eq!(client.get("/v1/trust-list").await.unwrap().status, 200);
    fs::rename(&away, &here).unwrap();
    daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
    assert_eq!(client.sign(batch.body).await.unwrap().statuses(), ["issued"]);
    assert!(daemon.stop().success());
}

/// Waits until readiness and log both say this; the log in one line, once, not at every new try.
fn is_told(daemon: &mut Daemon, words: &[&str]) {
    daemon.wait_until(&format!("telling of {words:?}"), |daemon| {
        let (status, obstacles) = daemon.observe("/readyz");
        status == 503
            && obstacles.starts_with("hsm: no live worker: ")
            && words.iter().all(|word| obstacles.contains(word))
    });
    let log = daemon.log();
    let lost = |line: &&str| line.contains("worker lost") && words.iter().all(|w| line.contains(w));
    assert_eq!(log.lines().filter(lost).count(), 1, "{log}");
}

#[test]
fn what_does_not_fit_the_token_is_told_with_its_remedy() {
    // A fault between configuration and token is named in readiness and log, with what to do; the
    // daemon stays up, and is ready without a restart once it is mended.
    let module = |setup: &Setup| {
        let text = setup.text("hsm.toml");
        let path = text.lines().find(|line| line.starts_with("path = ")).unwrap().to_owned();
        setup.change("hsm.toml", &path, "path = \"/nowhere/module.so\"");
    };
    let serial = |setup: &Setup| {
        let text = setup.text("hsm.toml");
        let serial = text.lines().find(|line| line.starts_with("serial = ")).unwrap().to_owned();
        setup.change("hsm.toml", &serial, "serial = \"ffffffffffffffff\"");
    };
    let key = |setup: &Setup| {
        setup.change("hsm.toml", "label = \"vn-moh\"", "label = \"missing\"");
    };
    let certificate = |setup: &Setup| {
        setup.change("hsm.toml", "pki/dsc/vn-moh.pem", "pki/facility.pem");
    };
    let open = |setup: &Setup| {
        fs::set_permissions(setup.path("secrets/user-pin"), Permissions::from_mode(0o644)).unwrap();
    };
    type Spoil<'a> = &'a dyn Fn(&Setup);
    let cases: [(Spoil<'_>, [&str; 2]); 5] = [
        (&module, ["/nowhere/module.so", "set module.path to the vendor's PKCS#11 library"]),
        (&serial, ["\"signerd-dev\"/ffffffffffffffff: it is not there", "set token.label and"]),
        (&key, ["label \"missing\"): it is not in the token", "correct label and id in hsm.toml"]),
        (&certificate, ["the public keys differ", "put the certificate of this very key there"]),
        (&open, ["secrets/user-pin: others can use it, its mode is 0644", "chmod 600"]),
    ];
    let setup = Setup::new();
    let good = setup.text("hsm.toml");
    for (spoil, words) in cases {
        spoil(&setup);
        let _ = fs::remove_file(setup.path("daemon.log"));
        let mut daemon = Daemon::start(&setup);
        is_told(&mut daemon, &words);
        assert_eq!(daemon.observe("/healthz").0, 200);
        fs::write(setup.path("hsm.toml"), &good).unwrap();
        fs::set_permissions(setup.path("secrets/user-pin"), Permissions::from_mode(0o600)).unwrap();
        // The front knows another certificate as the key's by now; that one needs a restart.
        if !words[0].contains("public keys") {
            daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
        }
        assert!(daemon.stop().success());
        assert!(!setup.path("state/pin-latch").exists(), "no fault of these is one of the PIN");
    }
}

/// A change of a file of the set-up, and what must be said about it.
type BadFile = (&'static str, &'static str, &'static str, &'static [&'static str]);

const BAD_FILES: &[BadFile] = &[
    (
        "signerd.toml",
        "[rate]",
        "[rate]\nper_minute = 5",
        &["signerd.toml:", "`per_minute`", "see "],
    ),
    ("signerd.toml", "[rate]", "[rate", &["signerd.toml:", "; see signerd.toml(5)"]),
    (
        "signerd.toml",
        "version = 1",
        "version = 9",
        &["signerd.toml: version:", "write version = 1"],
    ),
    (
        "signerd.toml",
        "id = \"moh-issuing\"",
        "id = \"other\"",
        &[
            "policy.toml: issuer.vn-moh.clients: client \"moh-issuing\" is not in signerd.toml; add a ",
            "policy.toml: issuer.vn-moh-ec.clients: client \"moh-issuing\"",
        ],
    ),
    ("signerd.toml", "pki/server.pem", "pki/none.pem", &["pki/none.pem", "put a PEM file"]),
    ("signerd.toml", "pki/server.key", "pki/client.key", &["pki/client.key", "put a"]),
    (
        "signerd.toml",
        "pki/crl.pem",
        "pki/ca.pem",
        &["pki/ca.pem: signing: has no revocation list; put"],
    ),
    ("signerd.toml", "\"policy.toml\"", "\"none.toml\"", &["none.toml", "check the path and the"]),
    ("signerd.toml", "\"hsm.toml\"", "\"none.toml\"", &["none.toml", "check the path and the"]),
    ("signerd.toml", "state/ledger", "none/ledger", &["none is not a folder", "make the folder"]),
    (
        "policy.toml",
        "key = \"vn-moh-ec\"",
        "key = \"other\"",
        &["policy.toml: issuer.vn-moh-ec.key: key \"other\" is not in hsm.toml; name a [key."],
    ),
    ("policy.toml", "version = 1", "version = 1\nextra = 1", &["policy.toml:", "extra"]),
    (
        "policy.toml",
        "pki/verifier.pem",
        "pki/none.pem",
        &["none.pem", "verifier", "put a PEM file"],
    ),
    ("hsm.toml", "sessions = 1", "sessions = 1\nextra = 1", &["hsm.toml:", "extra"]),
    ("hsm.toml", "[token]", "[token", &["hsm.toml:"]),
    ("hsm.toml", "dsc/vn-moh.pem", "dsc/none.pem", &["key.vn-moh.certificate", "put the PEM cert"]),
    ("hsm.toml", "dsc/vn-moh.pem", "dsc/vn-moh-ec.pem", &["certificate is for ES256, not PS256"]),
];

#[test]
fn a_bad_configuration_is_refused_with_every_fault_named() {
    // `check` and `serve` end with 78 and name file, member or line, problem and remedy; faults of
    // several files are told together, and a good configuration is told to be good.
    let setup = Setup::new();
    let check = || setup.signerd(&["check"]).output().unwrap();
    assert!(check().status.success());
    for (file, from, to, expected) in BAD_FILES {
        let good = setup.text(file);
        setup.change(file, from, to);
        let checked = check();
        is_refused(&checked, expected);
        let served = setup.signerd(&["serve"]).output().unwrap();
        is_refused(&served, expected);
        fs::write(setup.path(file), good).unwrap();
    }
    let text = setup.text("signerd.toml");
    let rate = text.lines().position(|line| line == "[rate]").unwrap() + 1;
    for (to, line) in [("[rate]\nper_minute = 5", rate + 1), ("[rate", rate)] {
        setup.change("signerd.toml", "[rate]", to);
        is_refused(&check(), &[&format!("signerd.toml:{line}: ")]);
        fs::write(setup.path("signerd.toml"), &text).unwrap();
    }

    setup.change("signerd.toml", "pki/server.key", "pki/client.key");
    setup.change("policy.toml", "records_max = 1000", "records_max = 0");
    setup.change("hsm.toml", "sessions = 1", "sessions = 0");
    let all = check();
    is_refused(&all, &["pki/client.key", "records_max", "pool.sessions"]);
}

#[test]
fn a_file_beyond_all_measure_is_refused() {
    // A file of more than 256 MiB in the place of a registry is a fault, and is not read to its end.
    let setup = Setup::new();
    let big = fs::File::create(setup.path("units.csv")).unwrap();
    big.set_len(1 << 40).unwrap();
    setup.change("policy.toml", "version = 1\n", "version = 1\nregistry = [\"units.csv\"]\n");
    is_refused(&setup.signerd(&["check"]).output().unwrap(), &["units.csv", "file too large"]);
}

#[test]
fn a_certificate_that_is_not_the_registered_one_is_told_with_its_row() {
    // Where a registration and its certificate disagree, `check` names the file and the line.
    let setup = Setup::new();
    let authority = Authority::of(&setup, "facility-ca");
    authority.issue("facility-new", Validity::Now, "keyUsage=critical,digitalSignature");
    let [issuer, _, sha256, der] = registration(&setup, "facility-new");
    let sheet = format!(
        "id,name,certificate_issuer,certificate_serial,certificate_sha256,certificate_der\n\
         U-1,Một,,,,\n\
         U-2,Hai,\"{issuer}\",0A0B,{sha256},{der}\n"
    );
    fs::write(setup.path("units.csv"), sheet).unwrap();
    setup.change("policy.toml", "version = 1\n", "version = 1\nregistry = [\"units.csv\"]\n");
    let checked = setup.signerd(&["check"]).output().unwrap();
    is_refused(&checked, &["units.csv:3: ", "\"U-2\"", "registered serial", "register"]);
}

fn is_refused(output: &Output, expected: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{expected:?}: {told}");
    for words in expected {
        assert!(told.contains(words), "{words:?} is not in: {told}");
    }
}

#[test]
fn what_another_process_has_is_told() {
    // A port or a ledger that another process has ends the start with 1 and says which; the other
    // daemon goes on.
    let first = Setup::new();
    let daemon = Daemon::ready(&first);
    let second = Setup::new();
    let fails = |expected: &[&str]| {
        let output = second.signerd(&["serve"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(expected.iter().all(|words| told.contains(words)), "{expected:?}: {told}");
    };
    for port in [second.signing, second.observability] {
        let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let address = format!("cannot listen on 127.0.0.1:{port}");
        fails(&[&address, "Address already in use"]);
    }
    let ledger = first.path("state/ledger.sqlite");
    let theirs = format!("path = \"{}\"", ledger.display());
    second.change("signerd.toml", "path = \"state/ledger.sqlite\"", &theirs);
    fails(&["ledger.sqlite.lock is in use by another process"]);
    assert_eq!(daemon.observe("/readyz").0, 200);
    // What the operating system says is part of what is told.
    second.change("signerd.toml", &theirs, "path = \"state\"");
    fails(&["state cannot be opened: ", "directory"]);
    assert!(daemon.stop().success());
}
