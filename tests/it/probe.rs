//! `signerd hsm probe` and `signerd hsm speed`, on SoftHSM and on an HSM that a test makes odd.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hsm_config::HsmConfig;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use signerd_tests::shim::{Act, Function, Line, LogIn, Mechanism, Shim, State};
use signerd_tests::{Daemon, Setup, process};

/// How the processes are called that load the module for a command.
const ERRAND: &str = "hsm-errand";

fn run(setup: &Setup, words: &[&str], more: &[&str]) -> Output {
    setup.signerd(words).args(more).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", told(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn probe(setup: &Setup) -> Value {
    json(&run(setup, &["hsm", "probe"], &["--json"]))
}

/// What `pkcs11-tool` says of the set-up's token.
fn pkcs11_tool(setup: &Setup, words: &[&str]) -> String {
    let config = HsmConfig::parse(&setup.text("hsm.toml"), setup.dir()).unwrap();
    let mut tool = Command::new("pkcs11-tool");
    tool.arg("--module").arg(config.module()).args(["--token-label", config.token_label()]);
    tool.args(words).envs(config.environment()).env("USER_PIN", setup.text("secrets/user-pin"));
    let output = tool.output().expect("pkcs11-tool");
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of the token, but for the one that SoftHSM rewrites at each log-in.
fn objects(setup: &Setup) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut objects = BTreeMap::new();
    let mut folders = vec![setup.path("tokens")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != "token.object" {
                objects.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    assert!(objects.len() > 5, "the set-up has keys");
    objects
}

/// Waits until no process of the set-up is on an errand.
fn all_gone(setup: &Setup) {
    let begin = Instant::now();
    while !process::of(setup, ERRAND).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "processes are left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_probe_says_what_other_tools_say() {
    // Names, limits, mechanisms and key sizes are those that pkcs11-tool shows, the attributes those that
    // the set-up made, and each object of the token is as it was before.
    let setup = Setup::new();
    let before = objects(&setup);
    let report = probe(&setup);
    assert_eq!(objects(&setup), before);
    assert!(process::of(&setup, ERRAND).is_empty(), "its process has ended");

    let slots = pkcs11_tool(&setup, &["--list-token-slots"]);
    let token = &report["token"];
    for (name, value) in [
        ("token label", &token["label"]),
        ("serial num", &token["serial"]),
        ("token model", &token["model"]),
        ("token manufacturer", &token["manufacturer"]),
        ("firmware version", &token["firmware"]),
        ("hardware version", &token["hardware"]),
    ] {
        let line = format!("{name:<19}: {}", value.as_str().unwrap());
        assert!(slots.lines().any(|shown| shown.trim() == line), "{line}\n{slots}");
    }
    assert!(token["flags"].as_array().unwrap().contains(&"LOGIN_REQUIRED".into()));
    let info = pkcs11_tool(&setup, &["--show-info"]);
    let cryptoki = format!("Cryptoki version {}", report["module"]["cryptoki"].as_str().unwrap());
    assert!(info.contains(&cryptoki) && info.contains("SoftHSM"), "{info}");

    let listed = pkcs11_tool(&setup, &["--list-mechanisms"]);
    for mechanism in report["mechanisms"]["of_interest"].as_array().unwrap() {
        let name = mechanism["name"].as_str().unwrap();
        let short = match name {
            "CKM_EC_KEY_PAIR_GEN" => "ECDSA-KEY-PAIR-GEN".to_owned(),
            name => name.trim_start_matches("CKM_").replace('_', "-"),
        };
        let line = listed.lines().map(str::trim).find(|line| {
            line.split(',').next().is_some_and(|shown| shown.eq_ignore_ascii_case(&short))
        });
        assert_eq!(mechanism["there"], line.is_some(), "{name}: {line:?}");
        if let Some((min, max)) = line.and_then(key_sizes) {
            assert_eq!((&mechanism["key_min"], &mechanism["key_max"]), (&min.into(), &max.into()));
        }
    }
}

/// The sizes in `keySize={256,521}` of pkcs11-tool; sizes of other units and none at all are left out.
fn key_sizes(line: &str) -> Option<(u64, u64)> {
    let (min, max) = line.split("keySize={").nth(1)?.split('}').next()?.split_once(',')?;
    Some((min.parse().ok()?, max.parse().ok()?))
}

#[test]
fn a_probe_reads_keys_back_and_tries_them() {
    // Each key has the attributes of the set-up, belongs to its certificate, signs in the worker's form and
    // only in that one, since the set-up allows no other mechanism, can be copied, and has a latency.
    let report = probe(&Setup::new());
    assert_eq!(report["version"], 1);
    assert_eq!(report["signerd"], env!("CARGO_PKG_VERSION"));
    for (name, algorithm, bytes, mechanisms) in [
        ("vn-moh", "PS256", 256, ["CKM_RSA_PKCS_PSS", "CKM_SHA256_RSA_PKCS_PSS"]),
        ("vn-moh-ec", "ES256", 64, ["CKM_ECDSA", "CKM_ECDSA_SHA256"]),
        ("audit", "ES256", 64, ["CKM_ECDSA", "CKM_ECDSA_SHA256"]),
    ] {
        let key = &report["keys"][name];
        assert_eq!((&key["algorithm"], &key["refused"]), (&algorithm.into(), &Value::Null));
        let attributes = &key["attributes"];
        for (attribute, value) in [
            ("TOKEN", true),
            ("PRIVATE", true),
            ("SENSITIVE", true),
            ("ALWAYS_SENSITIVE", true),
            ("EXTRACTABLE", false),
            ("NEVER_EXTRACTABLE", true),
            ("LOCAL", true),
            ("SIGN", true),
            ("DECRYPT", false),
            ("UNWRAP", false),
            ("DERIVE", false),
            ("COPYABLE", true),
            ("ALWAYS_AUTHENTICATE", false),
        ] {
            assert_eq!(attributes[attribute], value, "{name}: {attribute}");
        }
        assert_eq!(attributes["CLASS"], "CKO_PRIVATE_KEY");
        assert_eq!(attributes["LABEL"], name);
        assert_eq!(attributes["ALLOWED_MECHANISMS"], serde_json::json!([mechanisms[0]]));
        let size = if algorithm == "PS256" { "MODULUS_BITS" } else { "EC_PARAMS" };
        let wanted = if algorithm == "PS256" { 2048.into() } else { Value::from("P-256") };
        assert_eq!(attributes[size], wanted);
        let point = if algorithm == "PS256" { Value::Null } else { "der".into() };
        assert_eq!(key["ec_point"], point);
        assert_eq!(key["certificate_belongs"], true);
        let forms = key["forms"].as_array().unwrap();
        let outcome =
            |at: usize| (&forms[at]["mechanism"], &forms[at]["input"], &forms[at]["works"]);
        assert_eq!(outcome(0), (&mechanisms[0].into(), &"digest".into(), &true.into()));
        assert_eq!(outcome(1), (&mechanisms[1].into(), &"message".into(), &false.into()));
        assert_eq!(forms[0]["bytes"], bytes);
        assert_eq!(key["copy"]["works"], true, "{}", key["copy"]);
        assert_eq!(key["copy"]["differs"]["TOKEN"], false);
        assert_eq!(key["copy"]["differs"].get("SENSITIVE"), None);
        let latency = |what: &str| key["latency"][what].as_u64().unwrap();
        assert!(latency("median_us") > 0 && latency("median_us") <= latency("p99_us"));
        assert!(latency("p99_us") <= latency("max_us") && latency("signatures") > 0);
    }
    assert_eq!(report["secret"]["mechanism"], "CKM_SHA256_HMAC");
    assert_eq!(report["secret"]["problem"], Value::Null);
    assert_eq!(report["secret"]["attributes"]["VALUE_LEN"], 32);
    assert_eq!(
        (&report["sessions"]["tried"], &report["sessions"]["opened"]),
        (&64.into(), &64.into())
    );
    let life = |what: &str| report["life"][what].as_str().unwrap().to_owned();
    assert!(life("object_of_closed_session").contains("ObjectHandleInvalid"), "{}", report["life"]);
    assert!(life("session_after_finalize").contains("CryptokiNotInitialized"));
    assert!(life("session_after_initialize").contains("SessionHandleInvalid"));
    assert_eq!(report["life"]["begins_again"], true);
}

#[test]
fn a_probe_suggests_a_file_that_is_read() {
    // The suggestion is a whole hsm.toml with the keys of the old one, and names SoftHSM's profile; the
    // report for people ends with it, and goes to a file where one is named.
    let setup = Setup::new();
    let suggestion = &probe(&setup)["suggestion"];
    assert_eq!(suggestion["profile"], "softhsm.toml");
    let suggested = suggestion["hsm_toml"].as_str().unwrap();
    let suggested = HsmConfig::parse(suggested, Path::new("/")).unwrap();
    let old = HsmConfig::parse(&setup.text("hsm.toml"), setup.dir()).unwrap();
    assert!(suggested.keys().eq(old.keys()));
    assert_eq!(suggested.secret(), old.secret());
    assert_eq!((suggested.module(), suggested.pin()), (old.module(), old.pin()));
    assert_eq!(suggested.pin_latch(), old.pin_latch());
    assert_eq!((suggested.sessions(), suggested.copy_keys()), (1, true));

    let out = setup.path("report.txt");
    let output = run(&setup, &["hsm", "probe"], &["--out", out.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", told(&output));
    let text = fs::read_to_string(out).unwrap();
    for part in ["key vn-moh: PS256", "CKM_RSA_PKCS_PSS", "quirks:", "SENSITIVE = true", "[pool]"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains(setup.text("secrets/user-pin").trim()));
}

#[test]
fn a_wrong_pin_is_tried_once_by_a_probe_and_then_never() {
    // A PIN that the token refuses costs one try and leaves the latch; the next probe, and a measurement, try
    // none. Both end as a worker does, with 77.
    let setup = Setup::new();
    let shim = Shim::under(&setup);
    fs::write(setup.path("secrets/user-pin"), "00000000").unwrap();
    for verb in ["probe", "probe", "speed"] {
        let output = run(&setup, &["hsm", verb], &[]);
        assert_eq!(output.status.code(), Some(77), "{}", told(&output));
        assert!(told(&output).contains("clear-pin-latch") && output.stdout.is_empty());
        assert!(setup.path("state/pin-latch").exists());
    }
    assert_eq!(shim.tally().log_ins(LogIn::Wrong), 1);
    all_gone(&setup);
}

#[test]
fn a_probe_tells_of_an_odd_token() {
    // A token without raw PSS, with bare EC points and few sessions is reported so, with the exit code of a
    // worker that would refuse a key; the suggestion keeps within the limit, and the PIN is tried once.
    let setup = Setup::new();
    let shim = Shim::under(&setup);
    shim.play([
        Line::token(State::Without(Mechanism::CKM_RSA_PKCS_PSS)),
        Line::token(State::RawPoint),
        Line::token(State::Sessions { all: 6, writing: 1 }),
    ]);
    let output = run(&setup, &["hsm", "probe"], &["--json"]);
    assert_eq!(output.status.code(), Some(78), "{}", told(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mechanisms = report["mechanisms"]["of_interest"].as_array().unwrap();
    let pss = mechanisms.iter().find(|mechanism| mechanism["name"] == "CKM_RSA_PKCS_PSS");
    assert_eq!(pss.unwrap()["there"], false);
    let rsa = &report["keys"]["vn-moh"];
    assert_eq!((&rsa["forms"][0]["works"], &rsa["latency"]), (&false.into(), &Value::Null));
    assert!(rsa["refused"].as_str().unwrap().contains("it fails its proof"), "{rsa}");
    let ec = &report["keys"]["vn-moh-ec"];
    assert_eq!((&ec["ec_point"], &ec["refused"]), (&"raw".into(), &Value::Null));
    assert_eq!(report["token"]["sessions_max"], "6");
    assert_eq!(report["sessions"]["opened"], 5, "one keeps the log-in");
    let quirks = report["quirks"].to_string();
    for quirk in
        ["CKM_RSA_PKCS_PSS does not sign", "CKA_EC_POINT is the bare point", "no more than 5"]
    {
        assert!(quirks.contains(quirk), "{quirk}: {quirks}");
    }
    let number = |what: &str| report["suggestion"][what].as_u64().unwrap();
    assert!(number("workers") * (number("sessions") + 1) <= 6);
    let tally = shim.tally();
    assert_eq!((tally.log_ins(LogIn::Right), tally.log_ins(LogIn::Wrong)), (1, 0));
}

#[test]
fn a_module_that_crashes_or_hangs_is_told_with_its_step() {
    // A crash and a hang of the module end the probe with 75 and the step that it came to; nothing is left
    // running.
    let setup = Setup::new();
    setup.change("hsm.toml", "call_deadline_ms", "start_deadline_ms = 4000\ncall_deadline_ms");
    let shim = Shim::under(&setup);
    for (act, words) in [(Act::Kill, "ended its process (signal 9)"), (Act::Hang, "within 4 s")] {
        shim.play([Line::on(Function::C_GetMechanismList, act)]);
        let output = run(&setup, &["hsm", "probe"], &[]);
        assert_eq!(output.status.code(), Some(75), "{}", told(&output));
        let told = told(&output);
        assert!(told.contains(words) && told.contains("ask for module, token"), "{told}");
        all_gone(&setup);
    }
}

#[test]
fn a_measurement_names_each_row_and_a_best_setting() {
    // Each row of the plan is there with a rate and times that grow; the best setting is one of them and
    // its lines are read; how long it takes is said before; no process is left.
    let setup = Setup::new();
    let plan = ["--seconds", "1", "--key", "vn-moh-ec", "--workers", "1,2", "--sessions", "1"];
    let output = run(&setup, &["hsm", "speed", "--json", "--copies"], &plan);
    let results = json(&output);
    assert!(told(&output).contains("4 rows take 4 s"), "{}", told(&output));
    let rows = results["rows"].as_array().unwrap();
    let cases = rows.iter().map(|row| (row["workers"].as_u64(), row["copy_keys"].as_bool()));
    let wanted = [(1, false), (1, true), (2, false), (2, true)];
    assert!(cases.eq(wanted.map(|(workers, copies)| (Some(workers), Some(copies)))));
    for row in rows {
        assert_eq!((&row["key"], &row["algorithm"]), (&"vn-moh-ec".into(), &"ES256".into()));
        assert_eq!((&row["sessions"], &row["problem"]), (&1.into(), &Value::Null));
        let number = |what: &str| row[what].as_f64().unwrap();
        assert!(number("per_second") > 0.0 && number("signatures") > 0.0, "{row}");
        assert!(number("p50_us") > 0.0 && number("p50_us") <= number("p90_us"), "{row}");
        assert!(number("cpu_us") > 0.0, "SoftHSM signs on this machine's processors");
        assert!(number("p90_us") <= number("p99_us") && number("p99_us") <= number("max_us"));
    }
    assert_eq!(results["ceilings"].as_array().unwrap().len(), 1);
    let best = &results["best"];
    assert!([1, 2].contains(&best["workers"].as_u64().unwrap()) && best["sessions"] == 1);
    let text = setup.text("hsm.toml");
    let (head, rest) = text.split_once("[pool]").unwrap();
    let (_, tail) = rest.split_once("[key.").unwrap();
    let lines = best["hsm_toml"].as_str().unwrap();
    HsmConfig::parse(&format!("{head}{lines}[key.{tail}"), setup.dir()).unwrap();
    all_gone(&setup);
}

#[test]
fn a_measurement_that_is_ended_leaves_nobody() {
    // SIGINT to the command alone ends its processes, too, in the middle of a row.
    let setup = Setup::new();
    let mut command = setup.signerd(&["hsm", "speed", "--seconds", "60", "--workers", "2"]);
    let mut command = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while process::of(&setup, ERRAND).len() < 2 {
        assert!(begin.elapsed() < Duration::from_secs(30), "it never started");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&command), Signal::INT).unwrap();
    assert!(!command.wait().unwrap().success());
    all_gone(&setup);
}

#[test]
fn a_key_that_is_not_configured_is_no_row() {
    // A name that hsm.toml does not have is a fault of the command line, before anything is started.
    let setup = Setup::new();
    let output = run(&setup, &["hsm", "speed"], &["--key", "nobody"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(told(&output).contains("no section [key.nobody]"), "{}", told(&output));
}

#[test]
fn a_running_daemon_is_warned_of() {
    // Beside a daemon the probe works, and says that somebody else is logged in.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let output = run(&setup, &["hsm", "probe"], &["--json"]);
    json(&output);
    let workers = daemon.workers().len();
    let warning = format!("warning: {workers} workers of a daemon are logged in");
    assert!(told(&output).contains(&warning), "{}", told(&output));
    assert_eq!(daemon.observe("/readyz").0, 200);
}
