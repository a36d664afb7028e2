//! A batch that can be sent again, and what an answer to it certifies.

use ciborium::Value;
use sha2::{Digest as _, Sha256};

use crate::client::{Answer, member};
use crate::record::{Evidence, Person, encode, request, set};

/// A batch with its id and its bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The idempotency key.
    pub id: Vec<u8>,
    /// The encoded request.
    pub body: Vec<u8>,
    request: Value,
}

impl Batch {
    /// A batch about these people under a fresh id.
    pub fn of<'a>(
        evidence: &Evidence,
        issuer: &str,
        people: impl IntoIterator<Item = &'a Person>,
    ) -> Self {
        let entries = people.into_iter().map(|person| evidence.entry(person)).collect();
        let request = request(issuer, entries);
        let id = member(&request, "batch_id").into_bytes().expect("id");
        Self { id, body: encode(&request), request }
    }

    /// A batch about so many new people with two doses each.
    pub fn about(evidence: &Evidence, issuer: &str, people: usize) -> Self {
        let people: Vec<Person> = (0..people).map(|_| Person::with_doses(2)).collect();
        Self::of(evidence, issuer, &people)
    }

    /// Another request under the same id.
    pub fn other_bytes(&self) -> Vec<u8> {
        let mut request = self.request.clone();
        set(&mut request, "atomic", Some(Value::Bool(true)));
        encode(&request)
    }
}

/// The time that an answer's certificates bear, and identifier and expiry of each, in order.
///
/// Read from the certificates themselves, with an implementation that is not the project's, and held
/// against what the answer says about them.
pub fn certificates(answer: &Answer) -> (i64, Vec<(String, i64)>) {
    let number = |value: Value| i64::try_from(value.into_integer().expect("integer")).expect("i64");
    let issued_at = number(member(&answer.cbor(), "issued_at"));
    let mut certificates = Vec::new();
    for result in answer.results() {
        if member(&result, "status").as_text() != Some("issued") {
            continue;
        }
        for certificate in member(&result, "certificates").into_array().expect("certificates") {
            let text = |name| member(&certificate, name).into_text().expect("text");
            let uvci = text("uvci");
            let expires_at = number(member(&certificate, "expires_at"));
            let container = dgc::decode(&text("hcert")).expect("a certificate");
            assert_eq!(container.certs[&1].vaccines[0].id, uvci);
            let inside = serde_json::to_value((container.issued_at, container.expires_at));
            let said =
                [issued_at, expires_at].map(|time| f64::from(u32::try_from(time).expect("u32")));
            assert_eq!(inside.expect("times"), serde_json::json!(said));
            certificates.push((uvci, expires_at));
        }
    }
    (issued_at, certificates)
}

/// SHA-256 of the COSE bytes of a certificate.
pub fn cose_sha256(hcert: &str) -> Vec<u8> {
    let zipped = base45::decode(hcert.strip_prefix("HC1:").expect("HC1:")).expect("Base45");
    let mut cose = Vec::new();
    let mut reader = flate2::read::ZlibDecoder::new(zipped.as_slice());
    std::io::Read::read_to_end(&mut reader, &mut cose).expect("zlib");
    Sha256::digest(cose).to_vec()
}
