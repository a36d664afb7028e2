//! Who gets in: certificates of clients, revocation, TLS, and which issuers a client may use.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use signerd::tlog::fact::{Fact, Peer};
use signerd_tests::pki::{Authority, Validity};
use signerd_tests::{Answer, Client, Daemon, Evidence, Person, Setup, ledger};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CLIENT: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n";

fn client(uri: &str) -> String {
    format!("{CLIENT}subjectAltName=URI:urn:signerd:client:{uri}")
}

/// The good client signs, so the daemon is as it was.
async fn still_signs(setup: &Setup) {
    let body = Evidence::of(setup).request("vn-moh-ec", [&Person::with_doses(1)]);
    assert_eq!(Client::new(setup).sign(body).await.unwrap().statuses(), ["issued"]);
}

async fn trust_list(client: &Client) -> std::io::Result<Answer> {
    client.get("/v1/trust-list").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_needs_a_valid_certificate_of_the_clients_authority() {
    // No answer at all is given without a certificate, or to one of another authority, revoked,
    // expired, not for clients, or self-made; each refusal is counted, the log has the counts by reason,
    // and the daemon signs on.
    let setup = Setup::new();
    let ours = Authority::of(&setup, "ca");
    ours.issue("expired", Validity::Past, &client("moh-issuing"));
    ours.issue("no-client", Validity::Now, "extendedKeyUsage=serverAuth");
    let foreign = Authority::foreign(&setup, "foreign-ca", "ca");
    foreign.issue("foreign", Validity::Now, &client("moh-issuing"));
    let mut daemon = Daemon::ready(&setup);
    let refused = "signerd_tls_handshakes_total{result=\"refused\"}";
    let before = daemon.metric(refused);
    let names = ["client-revoked", "expired", "no-client", "foreign", "foreign-ca", "officer-1"];
    for name in names {
        let answer = trust_list(&Client::named(&setup, name)).await;
        assert!(answer.is_err(), "{name}: {answer:?}");
    }
    assert!(trust_list(&Client::anonymous(&setup)).await.is_err(), "no certificate");
    // A client may know of its refusal before it is counted and logged.
    let all = before + names.len() as f64 + 1.0;
    daemon.wait_until("counting", |daemon| daemon.metric(refused) == all);
    daemon.wait_until("logging", |daemon| daemon.log().contains("sent no certificates"));
    for reason in [
        "Revoked",
        "certificate expired",
        "client authentication",
        "UnknownIssuer",
        "sent no certificates",
    ] {
        assert!(daemon.log().contains(reason), "{reason}:\n{}", daemon.log());
    }
    still_signs(&setup).await;
    assert!(daemon.stop().success());
    for (code, count) in [
        ("tls.expired", 1),
        ("tls.no_certificate", 1),
        // Not for clients, and an authority's own.
        ("tls.other", 2),
        ("tls.revoked", 1),
        // Foreign, and an officer's.
        ("tls.untrusted", 2),
    ] {
        assert_eq!(refusals(&setup, &Peer::Nobody, code), count, "{code}");
    }
}

/// How often the log says that a peer was refused by a code.
fn refusals(setup: &Setup, whose: &Peer, wanted: &str) -> u32 {
    let counts = ledger::facts(setup).into_iter().filter_map(|fact| match fact {
        Fact::RequestsRefused { peer, code, count } if peer == *whose && code == wanted => {
            Some(count)
        }
        _ => None,
    });
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_do_what_the_table_says() {
    // A good certificate that is mapped to nobody, or to two clients, gets 403 client.unknown on every
    // path; a client without an issuer may read the trust list and sign for nobody; a client may not
    // sign for an issuer that does not exist. The log says how often each of them was turned away.
    let setup = Setup::new();
    let ours = Authority::of(&setup, "ca");
    ours.issue("nobody", Validity::Now, &client("moh-issuing2"));
    ours.issue("nameless", Validity::Now, CLIENT);
    let both = format!("{},URI:urn:signerd:client:moh-other", client("moh-issuing"));
    ours.issue("both", Validity::Now, &both);
    let daemon = Daemon::ready(&setup);
    for name in ["nobody", "nameless", "both"] {
        let stranger = Client::named(&setup, name);
        for path in ["/v1/trust-list", "/v1/batches", "/no/such/path"] {
            let answer = stranger.get(path).await.unwrap();
            assert_eq!((answer.status, answer.code().as_str()), (403, "client.unknown"), "{path}");
        }
        // Not even the form of the body is looked at.
        assert_eq!(stranger.sign(b"\xff".to_vec()).await.unwrap().code(), "client.unknown");
    }
    let evidence = Evidence::of(&setup);
    let other = Client::named(&setup, "client-other");
    assert_eq!(trust_list(&other).await.unwrap().status, 200);
    let client = Client::new(&setup);
    for (client, issuer) in [
        (&other, "vn-moh"),
        (&other, "vn-moh-ec"),
        (&other, "no-such-issuer"),
        (&client, "no-such-issuer"),
        (&client, "pseudonym"),
        (&client, "audit"),
    ] {
        let body = evidence.request(issuer, [&Person::with_doses(1)]);
        for path in ["/v1/batches", "/v1/batches/preview"] {
            let answer = client.post(path, body.clone()).await.unwrap();
            assert_eq!((answer.status, answer.code().as_str()), (403, "issuer.not_allowed"));
        }
    }
    assert_eq!(
        daemon.metric("signerd_certificates_signed_total{alg=\"PS256\",issuer=\"vn-moh\"}"),
        0.0
    );
    still_signs(&setup).await;
    assert!(daemon.stop().success());
    for name in ["nobody", "nameless", "both"] {
        let der = CertificateDer::from_pem_file(setup.path(&format!("pki/{name}.pem"))).unwrap();
        let stranger = Peer::Stranger(Sha256::digest(&der).into());
        assert_eq!(refusals(&setup, &stranger, "client.unknown"), 4, "{name}");
    }
    for (name, count) in [("moh-other", 6), ("moh-issuing", 6)] {
        let client = Peer::Client(name.to_owned());
        assert_eq!(refusals(&setup, &client, "issuer.not_allowed"), count, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_revocation_list_refuses_every_client() {
    // When the revocation list has run out nobody gets in, since nobody knows who was revoked; readiness
    // and the log say why, and after a reload of a new list the daemon signs again.
    let setup = Setup::new();
    let ours = Authority::of(&setup, "ca");
    ours.list("crl", Validity::Past);
    let mut daemon = Daemon::start(&setup);
    daemon.wait_until("unready for this alone", |daemon| {
        let (status, obstacles) = daemon.observe("/readyz");
        status == 503 && obstacles.lines().all(|line| line.contains("list has ended; renew it"))
    });
    for name in ["client", "client-other"] {
        assert!(trust_list(&Client::named(&setup, name)).await.is_err(), "{name}");
    }
    daemon.wait_until("logging", |daemon| {
        daemon.log().contains("certificate revocation list expired")
    });
    ours.list("crl", Validity::Now);
    daemon.signal(Signal::HUP);
    daemon.wait_until("ready", |daemon| daemon.observe("/readyz").0 == 200);
    assert!(trust_list(&Client::named(&setup, "client-revoked")).await.is_err());
    still_signs(&setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_1_3_without_resumption() {
    // TLS 1.2 is refused although the client has a good certificate, plain HTTP gets no answer, and a
    // second connection makes a full handshake again.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    let s_client = |version: &str| {
        let path = |file: &str| setup.path(file).display().to_string();
        let mut s_client = Command::new("openssl");
        s_client
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", setup.signing), version])
            .args(["-cert", &path("pki/client.pem"), "-key", &path("pki/client.key")])
            .args(["-CAfile", &path("pki/ca.pem"), "-verify_return_error"]);
        s_client.stdin(Stdio::null()).output().unwrap()
    };
    assert!(s_client("-tls1_3").status.success());
    let refused = s_client("-tls1_2");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("protocol version"));
    let mut plain = tokio::net::TcpStream::connect(("127.0.0.1", setup.signing)).await.unwrap();
    plain.write_all(b"GET /v1/trust-list HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let client = Client::new(&setup);
    for _ in 0..3 {
        let mut stream = client.connect().await.unwrap();
        let head = b"GET /v1/trust-list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
    still_signs(&setup).await;
}
