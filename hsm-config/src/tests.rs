//! What `hsm.toml` may say, and which fault each mistake is.

use super::*;

const GOOD: &str = r#"version = 1
[module]
path = "/usr/lib/softhsm/libsofthsm2.so"
environment = { SOFTHSM2_CONF = "/x/softhsm2.conf" }
[token]
label = "signerd-dev"
serial = "0123456789abcdef"
[pin]
file = "secrets/user-pin"
[pool]
workers = 3
sessions = 2
call_deadline_ms = 4000
start_deadline_ms = 30000
request_deadline_ms = 9000
queue_max = 32
pin_latch = "state/pin-latch"
sockets = []
[key.vn-moh]
label = "vn-moh"
algorithm = "PS256"
certificate = "pki/dsc/vn-moh.pem"
[key.vn-moh-ec]
label = "vn-moh-ec"
id = "0aFF"
algorithm = "ES256"
certificate = "/etc/signerd/ec.pem"
[secret]
label = "pseudonym"
"#;

fn parse(text: &str) -> Result<HsmConfig, Vec<Fault>> {
    HsmConfig::parse(text, Path::new("/srv/dev"))
}

#[test]
fn a_complete_file_is_read_with_paths_from_its_folder() {
    // Every setting of the file is read, and relative paths start from its folder.
    let config = parse(GOOD).unwrap();
    assert_eq!(config.module(), Path::new("/usr/lib/softhsm/libsofthsm2.so"));
    assert_eq!(config.environment()["SOFTHSM2_CONF"], "/x/softhsm2.conf");
    assert_eq!((config.token_label(), config.token_serial()), ("signerd-dev", "0123456789abcdef"));
    assert_eq!(config.pin(), &PinSource::File("/srv/dev/secrets/user-pin".into()));
    assert_eq!((config.workers(), config.sessions(), config.queue_max()), (3, 2, 32));
    assert_eq!(config.call_deadline(), Duration::from_secs(4));
    assert_eq!(config.start_deadline(), Duration::from_secs(30));
    assert_eq!(config.request_deadline(), Duration::from_secs(9));
    assert_eq!(config.pin_latch(), Path::new("/srv/dev/state/pin-latch"));
    assert_eq!(config.keys().count(), 2);
    let rsa = config.key("vn-moh").unwrap();
    assert_eq!(rsa.algorithm(), Algorithm::Ps256);
    assert_eq!(rsa.certificate(), Path::new("/srv/dev/pki/dsc/vn-moh.pem"));
    let ec = config.key("vn-moh-ec").unwrap();
    assert_eq!(ec.selector().id(), Some(&[0x0a, 0xff][..]));
    assert_eq!(ec.certificate(), Path::new("/etc/signerd/ec.pem"));
    assert_eq!(ec.selector().to_string(), "label \"vn-moh-ec\" and id 0aff");
    assert_eq!(config.secret().selector().label(), Some("pseudonym"));
    assert_eq!(config.secret().mechanism(), SecretMechanism::Sha256Hmac);
    let other = GOOD.replace("[secret]", "[secret]\nmechanism = \"AES_CBC\"");
    assert_eq!(parse(&other).unwrap().secret().mechanism(), SecretMechanism::AesCbc);
}

#[test]
fn the_pool_section_may_be_left_out() {
    // Without [pool] the defaults of the design hold.
    let start = GOOD.find("[pool]").unwrap();
    let end = GOOD.find("[key.vn-moh]").unwrap();
    let text = format!("{}{}", &GOOD[..start], &GOOD[end..]);
    let config = parse(&text).unwrap();
    assert_eq!((config.workers(), config.sessions(), config.queue_max()), (2, 1, 256));
    assert_eq!(config.call_deadline(), Duration::from_secs(5));
    assert_eq!(config.start_deadline(), Duration::from_secs(60));
    assert_eq!(config.request_deadline(), Duration::from_secs(10));
    assert_eq!(config.pin_latch(), Path::new("/srv/dev/state/pin-latch"));
}

#[test]
fn all_faults_are_named_at_once_with_their_lines() {
    // One run names every fault, each with its key and its line.
    let text = GOOD
        .replace("workers = 3", "workers = 99")
        .replace("\"PS256\"", "\"RS256\"")
        .replace("queue_max = 32", "queue_max = 32\nqueue_min = 1")
        .replace("id = \"0aFF\"", "id = \"0aF\"");
    let faults = parse(&text).unwrap_err();
    let found: Vec<(&str, Option<usize>)> =
        faults.iter().map(|f| (f.key.as_str(), f.line)).collect();
    assert_eq!(
        found,
        [
            ("pool.workers", Some(11)),
            ("pool.queue_min", Some(17)),
            ("key.vn-moh.algorithm", Some(22)),
            ("key.vn-moh-ec.id", Some(26)),
        ]
    );
    assert_eq!(
        faults[0].to_string(),
        "line 11: pool.workers: 99 is not between 1 and 16; the default is 2"
    );
}

#[test]
fn each_single_fault_is_refused_with_its_key() {
    // Whatever is missing, doubled, of the wrong type or out of bounds is refused by name.
    let cases = [
        ("version = 1", "version = 2", "version"),
        ("version = 1\n", "", "version"),
        ("path = \"/usr/lib/softhsm/libsofthsm2.so\"", "path = 5", "module.path"),
        ("path = \"/usr/lib/softhsm/libsofthsm2.so\"\n", "", "module.path"),
        ("serial = \"0123456789abcdef\"\n", "", "token.serial"),
        ("0123456789abcdef", "0123456789abcdef0", "token.serial"),
        ("file = \"secrets/user-pin\"\n", "", "pin.file"),
        ("file = \"secrets/user-pin\"", "file = \"a\"\ncredential = \"b\"", "pin.credential"),
        ("file = \"secrets/user-pin\"", "credential = \"../b\"", "pin.credential"),
        ("file = \"secrets/user-pin\"", "file = \"a\"\npin = \"1234\"", "pin.pin"),
        ("call_deadline_ms = 4000", "call_deadline_ms = 9000", "pool.request_deadline_ms"),
        ("sessions = 2", "sessions = -1", "pool.sessions"),
        ("sessions = 2", "sessions = \"2\"", "pool.sessions"),
        ("sockets = []", "sockets = [\"/run/a\"]", "pool.workers"),
        ("sockets = []", "sockets = [7]", "pool.sockets"),
        ("sockets = []", "front_user = 5000000000", "pool.front_user"),
        ("[key.vn-moh]\nlabel = \"vn-moh\"", "[key.vn-moh]", "key.vn-moh.label"),
        ("[key.vn-moh]", "[key.VN]", "key.VN"),
        ("certificate = \"pki/dsc/vn-moh.pem\"\n", "", "key.vn-moh.certificate"),
        ("[secret]\nlabel = \"pseudonym\"\n", "", "secret"),
        ("[secret]", "[extra]\na = 1\n[secret]", "extra"),
        ("[secret]", "[secret]\nmechanism = \"MD5_HMAC\"", "secret.mechanism"),
    ];
    for (from, to, key) in cases {
        assert!(GOOD.contains(from), "{from}");
        let faults = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(faults.iter().any(|fault| fault.key == key), "{to}: {faults:?}");
        assert!(faults.iter().all(|fault| !fault.remedy.is_empty()), "{faults:?}");
    }
}

#[test]
fn sockets_give_the_number_of_workers() {
    // With sockets there is one worker for each of them, and the front's user may be named.
    let text = GOOD
        .replace("workers = 3\n", "front_user = \"signerd\"\n")
        .replace("sockets = []", "sockets = [\"/run/signerd-hsm/1\", \"/run/signerd-hsm/2\"]");
    let config = parse(&text).unwrap();
    assert_eq!(config.workers(), 2);
    assert_eq!(config.sockets()[1], Path::new("/run/signerd-hsm/2"));
    assert_eq!(config.front_user(), Some(&FrontUser::Name("signerd".into())));
}

#[test]
fn text_that_is_not_toml_is_one_fault_with_a_line() {
    // Broken syntax is named by its line.
    let faults = parse("version = 1\n[module\n").unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].line, Some(2));
}

#[test]
fn the_profiles_are_valid() {
    // Every commented example that is shipped reads without a fault.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(parse(&text).map_err(|faults| (path, faults)).err(), None);
        seen += 1;
    }
    assert!(seen > 0);
}
