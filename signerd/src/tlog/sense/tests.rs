//! Stories of batches, right ones and each with one thing wrong.

use super::{Oddity, Sense, beginning};
use crate::tlog::fact::{BatchIntended, Certificate, Entry, Fact, NotAnEntry};

const KID: [u8; 8] = [5; 8];
const NOW: i64 = 1_800_000_000;

fn intended(certificates: u32) -> Fact {
    Fact::BatchIntended(Box::new(BatchIntended {
        client: "moh-issuing".to_owned(),
        batch_id: [3; 16],
        request: [4; 32],
        issuer: "vn-moh".to_owned(),
        kid: KID,
        assurance: "statement".to_owned(),
        certificates,
        rejected: Vec::new(),
    }))
}

fn signed(batch: u64, uvci: u8) -> Fact {
    let (iat, exp) = (NOW, NOW + 9);
    let certificate = Certificate { batch, uvci: [uvci; 16], kid: KID, iat, exp, sha256: [1; 32] };
    Fact::CertificateSigned(certificate)
}

/// All oddities of a log that begins with its beginning, by entry.
fn odd(facts: &[Fact]) -> Vec<(u64, Oddity)> {
    let begun = Fact::LogBegun { certificates: 0 };
    let mut sense = Sense::default();
    let mut found = Vec::new();
    for (number, fact) in (0..).zip([begun].iter().chain(facts)) {
        let entry = Ok(Entry { at: NOW, fact: fact.clone() });
        found.extend(sense.take(number, &entry).into_iter().map(|odd| (number, odd)));
    }
    found
}

#[test]
fn the_usual_stories_are_not_odd() {
    // A batch in one attempt, one that was resumed, one that was released, and one that is still open.
    let story = [
        intended(2),                                   // 1
        intended(1),                                   // 2
        signed(1, 1),                                  // 3
        signed(1, 2),                                  // 4
        Fact::BatchAnswered { batch: 1, attempt: 1 },  // 5
        Fact::BatchResumed { batch: 2, attempt: 2 },   // 6
        Fact::BatchResumed { batch: 2, attempt: 5 },   // 7
        signed(2, 3),                                  // 8
        Fact::BatchAnswered { batch: 2, attempt: 5 },  // 9
        intended(1),                                   // 10
        Fact::BatchReleased { batch: 10, code: None }, // 11
        intended(0),                                   // 12
        Fact::BatchAnswered { batch: 12, attempt: 1 }, // 13
        intended(7),                                   // 14
        Fact::RulesLoaded { config: [0; 32] },         // 15
    ];
    assert_eq!(odd(&story), []);
}

#[test]
fn each_contradiction_is_found_at_its_entry() {
    // What is signed without intent, under another key, too often, after the end or twice is told.
    let answered = |batch, attempt| Fact::BatchAnswered { batch, attempt };
    let not_open = |event, batch| Oddity::NotOpen { event, batch };
    let other_key = Fact::CertificateSigned(Certificate {
        batch: 1,
        uvci: [1; 16],
        kid: [6; 8],
        iat: NOW,
        exp: NOW + 1,
        sha256: [1; 32],
    });
    for (story, expected) in [
        (vec![signed(1, 1)], (1, not_open("certificate.signed", 1))),
        (vec![intended(1), answered(1, 1)], (2, Oddity::Count { batch: 1, found: 0, intended: 1 })),
        (vec![intended(0), answered(1, 2)], (2, Oddity::Attempt { batch: 1, last: 1, found: 2 })),
        (vec![intended(0), answered(1, 1), answered(1, 1)], (3, not_open("batch.answered", 1))),
        (
            vec![intended(0), Fact::BatchReleased { batch: 1, code: None }, signed(1, 1)],
            (3, not_open("certificate.signed", 1)),
        ),
        (vec![Fact::BatchReleased { batch: 4, code: None }], (1, not_open("batch.released", 4))),
        (
            vec![intended(1), Fact::BatchResumed { batch: 1, attempt: 1 }],
            (2, Oddity::Attempt { batch: 1, last: 1, found: 1 }),
        ),
        (vec![Fact::BatchResumed { batch: 9, attempt: 2 }], (1, not_open("batch.resumed", 9))),
        (vec![intended(1), other_key], (2, Oddity::Kid(1))),
        (vec![Fact::LogBegun { certificates: 0 }], (1, Oddity::Beginning)),
    ] {
        let found = odd(&story);
        assert_eq!(found, [expected], "{story:?}");
        assert!(!found[0].1.is_warning());
    }
}

#[test]
fn an_identifier_that_is_there_twice_is_found() {
    // Of many identifiers the one that came twice is told, once.
    let mut sense = Sense::default();
    for (number, uvci) in (1..).zip([4, 9, 7, 9, 9, 1]) {
        sense.take(number, &Ok(Entry { at: NOW, fact: signed(0, uvci) }));
    }
    assert_eq!(sense.certificates(), 6);
    assert_eq!(sense.doubled(), [beginning(&[9; 16])]);
}

#[test]
fn what_people_must_look_at_is_a_warning() {
    // An event of a newer release and odd times are told and are no fault; bytes that are no entry are one.
    let mut sense = Sense::default();
    let unknown = Err(NotAnEntry::Event("clock.set".to_owned()));
    assert!(sense.take(1, &unknown).iter().all(Oddity::is_warning));
    sense.take(2, &Ok(Entry { at: NOW, fact: Fact::RulesLoaded { config: [0; 32] } }));
    let back =
        sense.take(3, &Ok(Entry { at: NOW - 301, fact: Fact::RulesLoaded { config: [0; 32] } }));
    assert_eq!(back, [Oddity::Back(301)]);
    assert!(back[0].is_warning());
    assert_eq!(
        sense.take(4, &Ok(Entry { at: NOW - 300, fact: Fact::RulesLoaded { config: [0; 32] } })),
        []
    );
    let broken = Err(NotAnEntry::Form("cut".to_owned()));
    assert!(!sense.take(5, &broken)[0].is_warning());
    let ends_first =
        Certificate { batch: 1, uvci: [1; 16], kid: KID, iat: 5, exp: 5, sha256: [1; 32] };
    let entry = Ok(Entry { at: NOW, fact: Fact::CertificateSigned(ends_first) });
    assert!(sense.take(6, &entry).contains(&Oddity::Times("it ends before it begins")));
}
