//! No personal data at rest: what the ledger takes as text, and what its files contain.

use std::fs;

use signerd::ledger::{BatchRef, Begin, Finished, Intent, LedgerError, LedgerKeys};

use super::place::{
    DIGEST, NOW, Place, RETENTION, batch, contains, finished, fresh, intend, intent, open_batch,
};

#[tokio::test]
async fn texts_that_are_no_names_or_codes_are_refused() {
    // What the ledger takes as text cannot carry a name, a number or a sentence.
    let place = Place::new();
    let ledger = place.open();
    for code in ["079123456789", "Nguyễn Văn A", "nguyen", "dose.date x", "", "dose.079"] {
        let ticket = fresh(&ledger, 1).await;
        let mut marked = intent(1, &[1]);
        marked.rejections[0].codes = vec![code.to_owned()];
        let refusal = ledger.intend(ticket, marked).await.unwrap_err();
        assert!(matches!(refusal, LedgerError::Malformed(_)), "{code}");
    }
    let ticket = fresh(&ledger, 1).await;
    let marked = Intent { issuer: "Nguyễn Văn A".to_owned(), ..intent(1, &[1]) };
    assert!(matches!(ledger.intend(ticket, marked).await, Err(LedgerError::Malformed(_))));
    let client = BatchRef { client: "Nguyễn Văn A".to_owned(), id: [1; 16] };
    assert!(matches!(ledger.begin(client, DIGEST, NOW).await, Err(LedgerError::Malformed(_))));
}

#[tokio::test]
async fn no_byte_of_request_or_answer_is_in_the_files() {
    // Marked bytes of a request, its answer and its dose are found in no file, and the answer opens
    // with the request.
    let place = Place::new();
    let ledger = place.open();
    let keys = LedgerKeys::derive(&[5; 32]);
    let body = "Nguyễn Thị Đánh Dấu 079999888777 0912345678".repeat(20);
    let answer = "HC1:NGUYEN<<THI<DANH<DAU certificates".repeat(500);
    let digest = keys.request_digest(body.as_bytes());
    let Begin::Fresh(ticket) = ledger.begin(batch(1), digest, NOW).await.unwrap() else {
        panic!("not fresh");
    };
    let mut marked = intent(1, &[1]);
    marked.certificates[0].pseudonym = keys.pseudonym(b"VN\x0c079999888777\x01");
    let attempt = intend(&ledger, ticket, marked).await;
    let sealed_answer = keys.seal(body.as_bytes(), answer.as_bytes()).unwrap();
    ledger.finish(attempt, Finished { sealed_answer, ..finished(1) }).await.unwrap();
    for entry in fs::read_dir(place.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for mark in ["Đánh Dấu", "079999888777", "0912345678", "NGUYEN<<", "HC1:", "DAU cert"] {
            assert!(!contains(&bytes, mark.as_bytes()), "{mark} in {path:?}");
        }
    }
    let Begin::Replay { sealed } = ledger.begin(batch(1), digest, NOW).await.unwrap() else {
        panic!("no replay");
    };
    assert_eq!(keys.unseal(body.as_bytes(), &sealed).unwrap(), answer.as_bytes());
}

#[tokio::test]
async fn a_purged_answer_is_gone_from_the_file() {
    // Purging overwrites: no byte of the sealed answer is left in the file.
    let place = Place::new();
    let ledger = place.open();
    let attempt = open_batch(&ledger, 1, &[1]).await;
    let sealed_answer = b"mark-of-a-sealed-answer-".repeat(2_000);
    ledger.finish(attempt, Finished { sealed_answer, ..finished(1) }).await.unwrap();
    assert!(contains(&fs::read(place.journal()).unwrap(), b"mark-of-a-sealed-answer-"));
    assert_eq!(ledger.purge(NOW + RETENTION).await.unwrap(), 1);
    ledger.close().await;
    assert!(!contains(&fs::read(place.path()).unwrap(), b"mark-of-a-sealed-answer-"));
}
