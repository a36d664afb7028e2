//! What the configuration takes, and what it says of what it does not take.

use super::*;

const GOOD: &str = r#"
    version = 1
    policy = "policy.toml"
    hsm = "hsm.toml"
    [signing]
    listen = "127.0.0.1:8443"
    certificate = "pki/server.pem"
    key = "pki/server.key"
    client_ca = "pki/ca.pem"
    client_crl = "pki/crl.pem"
    [observability]
    listen = "127.0.0.1:8445"
    [ledger]
    path = "state/ledger.sqlite"
    [log]
    origin = "signerd.example/log"
    [clock]
    require_synchronised = true
    [rate]
    doses_per_second = 100000
    burst = 100000
    [[client]]
    id = "moh-issuing"
    san_uri = "urn:signerd:client:moh-issuing"
"#;

fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    Config::parse(text, Path::new("/etc/signerd/signerd.toml"), None)
}

#[test]
fn paths_are_relative_to_the_file() {
    // A good file is read, its paths are relative to its folder, and defaults are filled in.
    let config = parse(GOOD).unwrap();
    assert_eq!(config.signing.key, Path::new("/etc/signerd/pki/server.key"));
    assert_eq!(config.limits.body_bytes_max, 20 * 1024 * 1024);
    assert_eq!(config.synchronised_marker, Some(TIMESYNC_MARKER.into()));
}

#[test]
fn every_fault_is_named_with_a_remedy() {
    // A bad file is refused with all its faults, each naming its member.
    let bad = GOOD
        .replace("version = 1", "version = 2")
        .replace("key = \"pki/server.key\"", "")
        .replace("san_uri = \"urn:signerd:client:moh-issuing\"", "spki_sha256 = \"zz\"");
    let keys: Vec<String> = parse(&bad).unwrap_err().into_iter().map(|f| f.key).collect();
    assert_eq!(keys, ["version", "client \"moh-issuing\"", "signing.key"]);
}

#[test]
fn a_ledger_is_a_file_or_a_server() {
    // Exactly one of both; a server proves itself by its certificate unless it is behind a socket of
    // this machine, and what is missing or too much is told with its member.
    let fault = |ledger: &str| {
        let text = GOOD.replace("path = \"state/ledger.sqlite\"", ledger);
        parse(&text).map(|config| config.ledger).map_err(|faults| faults[0].key.clone())
    };
    let server = |more: &str| {
        fault(&format!(
            "[ledger.postgres]\nhost = \"db.example\"\ndatabase = \"l\"\nuser = \"u\"\n{more}"
        ))
    };
    let Ok(Engine::Postgres(read)) = server("ca = \"ca.pem\"\npassword_file = \"p\"") else {
        panic!("no server");
    };
    assert_eq!((read.port, read.password), (5432, Some("/etc/signerd/p".into())));
    assert_eq!(read.tls.unwrap().ca, Path::new("/etc/signerd/ca.pem"));
    for (more, key) in [
        ("", "ca"),
        ("ca = \"ca.pem\"\ncertificate = \"c.pem\"", "certificate"),
        ("ca = \"ca.pem\"\npassword_file = \"p\"\npassword_credential = \"p\"", "password_file"),
        ("ca = \"ca.pem\"\npassword_credential = \"p\"", "password_credential"),
    ] {
        assert_eq!(server(more).unwrap_err(), format!("ledger.postgres.{key}"), "{more}");
    }
    let socket = "[ledger.postgres]\nhost = \"/run/postgresql\"\ndatabase = \"l\"\nuser = \"u\"\n";
    assert!(fault(socket).is_ok());
    assert_eq!(fault(&format!("{socket}ca = \"c\"")).unwrap_err(), "ledger.postgres.ca");
    assert_eq!(fault("").unwrap_err(), "ledger");
    assert_eq!(fault(&format!("path = \"l\"\n{socket}")).unwrap_err(), "ledger");
}

const OFFICER: &str = r#"
    [officer]
    listen = "127.0.0.1:8444"
    client_ca = "pki/officer-ca.pem"
    client_crl = "pki/officer-crl.pem"
"#;

#[test]
fn officers_have_a_listener_where_it_is_configured() {
    // Without the table there is none; with it, certificate and key are the signing listener's
    // unless it names its own, both of them.
    assert!(parse(GOOD).unwrap().officer.is_none());
    let officer = |more: &str| parse(&format!("{GOOD}{OFFICER}{more}"));
    let shared = officer("").unwrap().officer.unwrap();
    assert_eq!(shared.key, Path::new("/etc/signerd/pki/server.key"));
    assert_eq!(shared.client_ca, Path::new("/etc/signerd/pki/officer-ca.pem"));
    let own = officer("certificate = \"o.pem\"\nkey = \"o.key\"").unwrap().officer.unwrap();
    assert_eq!(own.certificate, Path::new("/etc/signerd/o.pem"));
    assert_eq!(own.key, Path::new("/etc/signerd/o.key"));
    for half in ["certificate = \"o.pem\"", "key = \"o.key\"", "key_credential = \"o\""] {
        let faults = officer(half).unwrap_err();
        assert!(faults[0].key.starts_with("officer.key"), "{half}: {}", faults[0]);
    }
    let same = format!("{GOOD}{OFFICER}").replace("8444", "8443");
    assert_eq!(parse(&same).unwrap_err()[0].key, "officer.listen");
}

#[test]
fn an_unknown_member_is_refused_with_its_line() {
    // A member that nobody knows is a fault, told with its line.
    let faults = parse(&GOOD.replace("[rate]", "[rate]\n        per_minute = 5")).unwrap_err();
    assert_eq!(faults[0].line, Some(20));
    assert!(faults[0].problem.contains("per_minute"), "{}", faults[0]);
}
