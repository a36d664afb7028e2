//! What stands in a certificate: names, dates, numbers of doses, times, and the layout of its bytes.

use std::collections::HashSet;
use std::process::Command;

use ciborium::Value;
use sha2::{Digest as _, Sha256};
use signerd_tests::client::member;
use signerd_tests::record::{encode, now, set};
use signerd_tests::{Answer, Client, Daemon, Evidence, Person, Setup};

/// A certificate taken apart by the crate `dgc`: what is signed about it and what it says.
struct Taken {
    protected: Vec<u8>,
    payload: Vec<u8>,
    claims: Value,
}

impl Taken {
    fn of(text: &str) -> Self {
        let alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
        assert!(text.starts_with("HC1:") && text.chars().all(|c| alphabet.contains(c)));
        let signed = dgc::decode_cwt(text).unwrap().make_sig_structure();
        let parts: Value = ciborium::from_reader(signed.as_slice()).unwrap();
        let part = |index: usize| parts.as_array().unwrap()[index].as_bytes().unwrap().clone();
        let (protected, payload) = (part(1), part(3));
        let claims = ciborium::from_reader(payload.as_slice()).unwrap();
        Self { protected, payload, claims }
    }

    fn claim(&self, label: i64) -> Value {
        let pairs = self.claims.as_map().unwrap();
        pairs.iter().find(|(key, _)| *key == Value::from(label)).unwrap().1.clone()
    }

    fn dcc(&self) -> Value {
        self.claim(-260).into_map().unwrap()[0].1.clone()
    }

    /// A text of the name, `-` for one that is not there.
    fn name(&self, field: &str) -> String {
        let names = member(&self.dcc(), "nam").into_map().unwrap();
        let found = names.into_iter().find(|(key, _)| key.as_text() == Some(field));
        found.map_or_else(|| "-".into(), |(_, text)| text.into_text().unwrap())
    }

    fn vaccination(&self, field: &str) -> Value {
        member(&member(&self.dcc(), "v").into_array().unwrap()[0], field)
    }

    /// `dn/sd`.
    fn doses(&self) -> String {
        let number = |field| i128::from(self.vaccination(field).as_integer().unwrap());
        format!("{}/{}", number("dn"), number("sd"))
    }

    fn time(&self, label: i64) -> i64 {
        i64::try_from(self.claim(label).as_integer().unwrap()).unwrap()
    }
}

fn keys(map: &Value) -> Vec<Value> {
    map.as_map().unwrap().iter().map(|(key, _)| key.clone()).collect()
}

fn named(name: &str) -> Person {
    Person::with_doses(1).holder("full_name", Value::from(name))
}

async fn certify(setup: &Setup, issuer: &str, people: &[Person]) -> (Answer, Vec<Taken>) {
    let body = Evidence::of(setup).request(issuer, people);
    let answer = Client::new(setup).sign(body).await.unwrap();
    assert!(answer.statuses().iter().all(|status| status == "issued"), "{:?}", answer.cbor());
    let taken = answer.hcerts().iter().map(|text| Taken::of(text)).collect();
    (answer, taken)
}

/// The calendar and the clock of Viet Nam, from another program than ours: year, and the rest.
fn viet_nam(seconds: i64) -> (i64, String) {
    let at = format!("@{seconds}");
    let mut date = Command::new("date");
    date.env("TZ", "ICT-7").args(["-d", &at, "+%Y %m-%d %H:%M:%S"]);
    let text = String::from_utf8(date.output().unwrap().stdout).unwrap();
    let (year, rest) = text.trim().split_once(' ').unwrap();
    (year.parse().unwrap(), rest.replace("02-29", "02-28"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_has_the_layout_of_the_published_one() {
    // Protected header {1: alg, 4: kid}; claims 1, 4, 6, -260 in deterministic bytes; one vaccination
    // with the ten fields; issued now, valid to the same local time in 12 months; identifiers of their
    // own; nothing of the record beside what the certificate needs.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    for (issuer, algorithm) in [("vn-moh", b"\x38\x24".as_slice()), ("vn-moh-ec", b"\x26")] {
        let before = i64::try_from(now()).unwrap();
        let (answer, certificates) = certify(&setup, issuer, &[Person::with_doses(3)]).await;
        let kid = member(&answer.cbor(), "kid").into_bytes().unwrap();
        let pem = setup.path(&format!("pki/dsc/{issuer}.pem"));
        let certificate =
            <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_file(pem)
                .unwrap();
        assert_eq!(kid, Sha256::digest(&certificate)[..8]);
        let protected = [b"\xa2\x01", algorithm, b"\x04\x48", &kid].concat();
        let results = answer.results();
        let told = member(&results[0], "certificates").into_array().unwrap();
        let mut uvcis = HashSet::new();
        for (index, (taken, told)) in certificates.iter().zip(&told).enumerate() {
            assert_eq!(taken.protected, protected);
            assert_eq!(taken.payload, encode(&taken.claims), "not deterministic");
            assert_eq!(keys(&taken.claims), [1, 4, 6, -260].map(Value::from));
            assert_eq!(keys(&taken.claim(-260)), [Value::from(1)]);
            assert_eq!(taken.claim(1), Value::from("VN"));
            let dcc = taken.dcc();
            assert_eq!(keys(&dcc), ["v", "dob", "nam", "ver"].map(Value::from));
            assert_eq!(member(&dcc, "ver"), Value::from("1.3.0"));
            assert_eq!(member(&dcc, "dob"), Value::from("1990-03-25"));
            assert_eq!(keys(&member(&dcc, "nam")), ["fn", "gn", "fnt", "gnt"].map(Value::from));
            let vaccinations = member(&dcc, "v").into_array().unwrap();
            let fields = ["ci", "co", "dn", "dt", "is", "ma", "mp", "sd", "tg", "vp"];
            assert_eq!(
                (vaccinations.len(), keys(&vaccinations[0])),
                (1, fields.map(Value::from).to_vec())
            );
            for (field, value) in [
                ("co", "VN"),
                ("dt", ["2021-07-15", "2021-08-15", "2021-09-15"][index]),
                ("is", "Bộ Y tế Việt Nam"),
                ("ma", "ORG-100030215"),
                ("mp", "EU/1/20/1528"),
                ("tg", "840539006"),
                ("vp", "1119349007"),
            ] {
                assert_eq!(taken.vaccination(field), Value::from(value));
            }
            let uvci = taken.vaccination("ci").into_text().unwrap();
            let random = uvci.strip_prefix("URN:UVCI:01:VN:").unwrap();
            assert!(random.len() == 32 && random.chars().all(|c| "0123456789ABCDEF".contains(c)));
            assert_eq!(member(told, "uvci"), Value::from(uvci.as_str()));
            assert_eq!(member(told, "dose"), Value::from(index as u64 + 1));
            assert!(uvcis.insert(uvci));
            let (issued, expires) = (taken.time(6), taken.time(4));
            assert!((before..=before + 60).contains(&issued));
            assert_eq!(member(&answer.cbor(), "issued_at"), Value::from(issued));
            assert_eq!(member(told, "expires_at"), Value::from(expires));
            let ((year, time), (later, same)) = (viet_nam(issued), viet_nam(expires));
            assert_eq!((later, same), (year + 1, time));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_written_as_their_papers_say() {
    // Mononyms, decomposed names, look-alikes of Đ, compound surnames, foreigners and partial birth
    // dates; and the number in the series of doses for boosters and for a vaccine of one dose.
    let setup = Setup::new();
    let _daemon = Daemon::ready(&setup);
    // As old systems write them: base letters, and every mark a character of its own.
    let decomposed = "Tra\u{302}\u{300}n Đu\u{31b}\u{301}c Thi\u{323}nh";
    let foreign = |name: &str, surname: &str| {
        let person = named(name).holder("nationality", Value::from("ID"));
        let person = person.holder("national_id", None).holder("surname", Value::from(surname));
        person.holder("passport", Value::from(format!("X{:08}", name.len())))
    };
    let born = |date: &str| Person::with_doses(1).holder("date_of_birth", Value::from(date));
    let names: Vec<(Person, [&str; 5])> = vec![
        (named("Suharto"), ["Suharto", "-", "SUHARTO", "-", "1990-03-25"]),
        (named(decomposed), ["Trần", "Đức Thịnh", "TRAN", "DUC<THINH", "1990-03-25"]),
        (named("Đỗ Ðăng Ɖạt"), ["Đỗ", "Ðăng Ɖạt", "DO", "DANG<DAT", "1990-03-25"]),
        (named("  Lê\u{a0} Ơn  "), ["Lê", "Ơn", "LE", "ON", "1990-03-25"]),
        (
            named("Tôn Nữ Thị Ninh").holder("surname", Value::from("Tôn Nữ")),
            ["Tôn Nữ", "Thị Ninh", "TON<NU", "THI<NINH", "1990-03-25"],
        ),
        (
            foreign("O'Connor-Smith Mary Ann", "O'Connor-Smith"),
            ["O'Connor-Smith", "Mary Ann", "OCONNOR<SMITH", "MARY<ANN", "1990-03-25"],
        ),
        (
            foreign("Müller Jürgen", "Müller"),
            ["Müller", "Jürgen", "MUELLER", "JUERGEN", "1990-03-25"],
        ),
        (born("1957"), ["Nguyễn", "Thị Ánh Tuyết", "NGUYEN", "THI<ANH<TUYET", "1957"]),
        (born("1957-08"), ["Nguyễn", "Thị Ánh Tuyết", "NGUYEN", "THI<ANH<TUYET", "1957-08"]),
    ];
    let people: Vec<Person> = names.iter().map(|(person, _)| person.clone()).collect();
    let (_, certificates) = certify(&setup, "vn-moh-ec", &people).await;
    for (taken, (_, expected)) in certificates.iter().zip(&names) {
        let [family, given, family_latin, given_latin] =
            ["fn", "gn", "fnt", "gnt"].map(|field| taken.name(field));
        let born = member(&taken.dcc(), "dob").into_text().unwrap();
        assert_eq!([family, given, family_latin, given_latin, born], *expected);
    }
    let vaccine = |person: Person, index: usize, codes: [&str; 3]| {
        ["product", "manufacturer", "vaccine"]
            .iter()
            .zip(codes)
            .fold(person, |person, (name, code)| person.dose(index, name, Value::from(code)))
    };
    let janssen =
        |doses| vaccine(Person::with_doses(doses), 0, ["EU/1/20/1525", "ORG-100001417", "J07BX03"]);
    let abdala = (0..3).fold(Person::with_doses(3), |person, index| {
        vaccine(person, index, ["Abdala", "CIGB", "J07BX03"])
    });
    let mut booster_alone = Person::with_doses(3);
    booster_alone.record.as_map_mut().unwrap().iter_mut().for_each(|(key, value)| {
        if key.as_text() == Some("doses") {
            value.as_array_mut().unwrap().drain(..2);
        }
    });
    let mut of_four = Person::with_doses(1);
    set(&mut of_four.record, "total_doses", Some(4.into()));
    let series = [
        (Person::with_doses(3), vec!["1/2", "2/2", "3/3"]),
        (janssen(1), vec!["1/1"]),
        (janssen(3), vec!["1/1", "2/1", "3/1"]),
        (abdala, vec!["1/3", "2/3", "3/3"]),
        (booster_alone, vec!["3/3"]),
        (of_four, vec!["1/2"]),
    ];
    let people: Vec<Person> = series.iter().map(|(person, _)| person.clone()).collect();
    let (_, certificates) = certify(&setup, "vn-moh-ec", &people).await;
    let doses: Vec<String> = certificates.iter().map(Taken::doses).collect();
    assert_eq!(doses, series.into_iter().flat_map(|(_, doses)| doses).collect::<Vec<_>>());
}
