//! No personal data at rest, in the log or in the metrics (design D6).

use std::fs;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use ciborium::Value;
use signerd_tests::fleet::Fleet;
use signerd_tests::postgres::Postgres;
use signerd_tests::record::{self, at, encode, set};
use signerd_tests::{Client, Daemon, Evidence, Person, Setup};

/// Data that occur nowhere by chance; the last two are what a certificate makes of the first.
const MARKS: [&str; 10] = [
    "Quỳnhnămmươi",
    "Thịnghịch",
    "079171555666",
    "+84987650321",
    "PX7654321",
    "1971-12-31",
    "Trạm Bímật",
    "QUYNHNAMMUOI",
    "THINGHICH",
    "HC1:",
];

fn marked(number: &str) -> Person {
    let holder = |person: Person, name: &str, value: &str| person.holder(name, Value::from(value));
    let person = Person::with_doses(2).dose(0, "facility_name", Value::from("Trạm Bímật"));
    let person = holder(person, "full_name", "Quỳnhnămmươi Thịnghịch");
    let person = holder(person, "national_id", number);
    let person = holder(person, "passport", "PX7654321");
    let person = holder(person, "date_of_birth", "1971-12-31");
    holder(person, "phone", "+84987650321")
}

/// A mark in every form in which a program might leave it behind.
fn forms(mark: &str) -> Vec<Vec<u8>> {
    let utf8 = mark.as_bytes().to_vec();
    let wide = |bytes: fn(u16) -> [u8; 2]| mark.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let mut forms = vec![
        utf8.clone(),
        wide(u16::to_le_bytes),
        wide(u16::to_be_bytes),
        data_encoding::HEXLOWER.encode(&utf8).into_bytes(),
        data_encoding::HEXUPPER.encode(&utf8).into_bytes(),
    ];
    // Inside longer text, base64 depends on where the mark begins; whole groups of it do not.
    for skipped in (0..3).filter(|skipped| utf8.len() >= skipped + 3) {
        let groups = &utf8[skipped..skipped + (utf8.len() - skipped) / 3 * 3];
        forms.push(data_encoding::BASE64.encode(groups).into_bytes());
        forms.push(data_encoding::BASE64URL.encode(groups).into_bytes());
    }
    // A fragment of a few characters would be found by chance.
    forms.retain(|form| form.len() >= 4);
    forms
}

/// The marks that bytes hold.
fn found(bytes: &[u8]) -> Vec<&'static str> {
    let holds = |form: &Vec<u8>| bytes.windows(form.len()).any(|window| window == form);
    MARKS.into_iter().filter(|mark| forms(mark).iter().any(holds)).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn assert_clean(setup: &Setup, when: &str) {
    let state = files(&setup.path("state"));
    assert!(state.iter().any(|file| fs::metadata(file).unwrap().len() > 4_000), "nothing stored");
    for file in state.iter().chain([&setup.path("daemon.log")]) {
        let bytes = fs::read(file).unwrap();
        assert_eq!(found(&bytes), [""; 0], "{} {when}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_about_a_person_stays_behind() {
    // After batches that were signed, replayed, rejected, withheld, refused and malformed, no file of
    // the state, no line of the log and no metric has a name, a number, a birth date or a certificate,
    // in any usual encoding, neither while the daemon runs, nor after it was killed, nor after a stop.
    let setup = Setup::new();
    let mut daemon = Daemon::ready(&setup);
    let (client, evidence) = (Client::new(&setup), Evidence::of(&setup));
    let good = evidence.request("vn-moh-ec", [&marked("079171555666")]);
    // The search finds what is there: in the request, in the answer, and in each form.
    assert_eq!(found(&good).len(), 7);
    let first = client.sign(good.clone()).await.unwrap();
    assert_eq!(first.statuses(), ["issued"]);
    assert_eq!(found(&first.body), ["HC1:"]);
    for mark in MARKS {
        for form in forms(mark) {
            assert!(found(&[b"..", form.as_slice(), b".."].concat()).contains(&mark), "{mark}");
        }
    }
    assert_eq!(client.sign(good.clone()).await.unwrap().body, first.body);
    let unfit = |number: &str| marked(number).dose(0, "product", Value::from("Quỳnhnămmươi"));
    let rejected = evidence.request("vn-moh", [&unfit("079171555667"), &marked("079171555666")]);
    let withheld = {
        let entries = vec![evidence.entry(&marked("079171555668")), evidence.entry(&unfit("x"))];
        let mut request = record::request("vn-moh", entries);
        set(&mut request, "atomic", Some(Value::Bool(true)));
        encode(&request)
    };
    let duplicate = evidence.request("vn-moh", [&marked("079171555669"), &marked("079171555669")]);
    let unknown_member = {
        let mut request = record::request("vn-moh", vec![evidence.entry(&marked("079171555670"))]);
        set(&mut request, "Quỳnhnămmươi", Some(Value::from("079171555666")));
        encode(&request)
    };
    let unknown_in_record = {
        let mut person = marked("079171555671");
        set(at(&mut person.record, "holder"), "Quỳnhnămmươi", Some(Value::from("Thịnghịch")));
        evidence.request("vn-moh", [&person])
    };
    let cut = good[..good.len() - 1].to_vec();
    let paths = ["/v1/batches", "/v1/batches/preview", "/v1/batches/079171555666"];
    for body in [rejected, withheld, duplicate, unknown_member, unknown_in_record, cut] {
        for path in paths {
            let answer = client.post(path, body.clone()).await.unwrap();
            let without: Vec<_> = found(&answer.body);
            assert_eq!(without, [""; 0], "{path}: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    let strange = encode(&record::request("quynhnammuoi", vec![]));
    assert_eq!(client.sign(strange).await.unwrap().status, 400);
    assert_eq!(found(daemon.observe("/metrics").1.as_bytes()), [""; 0]);
    assert_clean(&setup, "while it runs");
    daemon.signal(rustix::process::Signal::KILL);
    daemon.wait();
    assert_clean(&setup, "after it was killed");
    let daemon = Daemon::ready(&setup);
    assert_eq!(client.sign(good).await.unwrap().body, first.body);
    assert!(daemon.stop().success());
    assert_clean(&setup, "after a stop");
}

/// People of the large test: two batches of the largest size.
const PEOPLE: usize = 2_000;

/// A name of two words that no other number has, written with the letters of Vietnamese.
fn name_of(number: usize) -> String {
    const CONSONANTS: [char; 12] = ['b', 'd', 'g', 'h', 'k', 'l', 'm', 'n', 'r', 's', 't', 'v'];
    const VOWELS: [char; 8] = ['á', 'ằ', 'ể', 'ị', 'ố', 'ừ', 'ỷ', 'ơ'];
    let syllable = |n: usize| [CONSONANTS[n % 12], VOWELS[n / 12 % 8], CONSONANTS[n / 96 % 12]];
    let word = |n: usize| {
        format!("Đ{}", [syllable(n), syllable(n * 7 + 5)].as_flattened().iter().collect::<String>())
    };
    format!("{} {}", word(number), word(number / 3 + 11))
}

/// Somebody of whom everything is found again: the person, and the marks to look for.
fn numbered(number: usize) -> (Person, [String; 4]) {
    let (name, phone) = (name_of(number), format!("+8491{number:07}"));
    let national_id = format!("079286{number:06}");
    let ascii = policy::icao::transliterate(&name.to_uppercase()).expect("a name");
    let text = |value: &str| Value::from(value);
    let person = Person::with_doses(1)
        .holder("full_name", text(&format!("Nguyễn {name}")))
        .holder("national_id", text(&national_id))
        .holder("phone", text(&phone));
    (person, [name, national_id, phone, ascii])
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_people_leave_nothing_behind() {
    // Of 2,000 people whose certificates were signed, replayed and proved, no file of the state, no line
    // of the journal and no metric has a name, its transliteration, a number or a phone, whatever the
    // encoding: neither while the daemon runs, nor after it was killed, nor after a stop.
    let setup = Setup::new();
    leave_nothing_behind(&setup, || files(&setup.path("state"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_people_leave_nothing_behind_on_a_server() {
    // The same where the ledger is on a PostgreSQL: none of its files has them, whether data, write-ahead
    // log or journal, although it is told to write every statement that fails or is slow.
    let told = ["log_min_duration_statement=0", "log_statement=all", "full_page_writes=on"];
    let fleet = Fleet::on(Setup::new(), Postgres::with(&told));
    leave_nothing_behind(&fleet.setups[0], || {
        // What is in the server's memory alone is written too.
        fleet.postgres.sql("postgres", "CHECKPOINT");
        let server = files(fleet.postgres.folder());
        server.into_iter().chain(files(&fleet.setups[0].path("state"))).collect()
    })
    .await;
}

/// Signs for people who are found again, and looks for them in the metrics, the journal and what is at
/// rest, in each state of the daemon.
async fn leave_nothing_behind(setup: &Setup, at_rest: impl Fn() -> Vec<PathBuf>) {
    let mut daemon = Daemon::ready(setup);
    let (client, evidence) = (Client::new(setup), Evidence::of(setup));
    let (people, marks): (Vec<Person>, Vec<[String; 4]>) = (0..PEOPLE).map(numbered).unzip();
    let patterns: Vec<Vec<u8>> = marks.iter().flatten().flat_map(|mark| forms(mark)).collect();
    let search = AhoCorasick::new(&patterns).unwrap();
    let mut answers = Vec::new();
    for people in people.chunks(PEOPLE / 2) {
        let body = evidence.request("vn-moh-ec", people);
        // The search finds everybody in what was sent: name, number and phone.
        assert!(search.find_overlapping_iter(&body).count() >= 3 * people.len());
        let answer = client.sign(body.clone()).await.unwrap();
        assert_eq!(answer.statuses(), vec!["issued"; people.len()]);
        assert_eq!(client.sign(body.clone()).await.unwrap().body, answer.body);
        answers.push((body, answer.body));
    }
    let clean = |bytes: &[u8], place: &str, when: &str| {
        let found = search
            .find(bytes)
            .map(|found| String::from_utf8_lossy(&bytes[found.range()]).into_owned());
        assert_eq!(found, None, "{place} {when}");
    };
    let all_clean = |when: &str| {
        let mut read = 0;
        for file in at_rest().iter().chain([&setup.path("daemon.log")]) {
            // A server removes files while one looks.
            let Ok(bytes) = fs::read(file) else { continue };
            read += bytes.len();
            clean(&bytes, &file.display().to_string(), when);
        }
        assert!(read > 1_000_000, "nothing stored");
    };
    clean(daemon.observe("/metrics").1.as_bytes(), "/metrics", "while it runs");
    all_clean("while it runs");
    daemon.signal(rustix::process::Signal::KILL);
    daemon.wait();
    all_clean("after it was killed");
    let daemon = Daemon::ready(setup);
    for (body, answer) in answers {
        assert_eq!(client.sign(body).await.unwrap().body, answer);
    }
    assert!(daemon.stop().success());
    all_clean("after a stop");
}
