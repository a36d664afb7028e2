//! The committed corpus: it holds, it is small, and it gets behind every door; and how it was made.

mod seeds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use policy::{Policy, ReasonCode};

use super::{TARGETS, record, statement};

/// How many seeds a target has at most: what is more belongs into a corpus of one's own.
const SEEDS_MAX: usize = 100;
/// How large all seeds are together at most: they are in everybody's clone.
const BYTES_MAX: usize = 200 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The seeds of a target, with their names.
fn seeds_of(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut seeds: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn the_corpus_holds() {
    // Every committed input keeps every promise of its target, also where libFuzzer cannot be built.
    for (name, target) in TARGETS {
        for (seed, bytes) in seeds_of(name) {
            println!("{seed}");
            target(&bytes);
        }
    }
}

#[test]
fn the_corpus_is_small() {
    // A target has seeds, not more than a hundred, and all together are a small part of a clone.
    let mut bytes = 0;
    for (name, _) in TARGETS {
        let seeds = seeds_of(name);
        assert!((5..=SEEDS_MAX).contains(&seeds.len()), "{name}: {} seeds", seeds.len());
        bytes += seeds.iter().map(|(_, seed)| seed.len()).sum::<usize>();
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

#[test]
fn every_target_is_complete() {
    // A target has a program and a corpus under its name, and there is no other.
    let expected: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |folder: &Path| -> BTreeSet<String> {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(names(&package.join("fuzz_targets")), expected);
    assert_eq!(names(&folder()), expected);
}

#[test]
fn seeds_get_behind_every_signature() {
    // Seeds come to verified evidence of both kinds, and to every refusal there is.
    let found: BTreeSet<String> = seeds_of("statement")
        .iter()
        .flat_map(|(_, seed)| statement::outcomes(seed))
        .map(|outcome| outcome.map_or_else(|code| code.to_string(), str::to_owned))
        .collect();
    let codes = [
        ReasonCode::IdentityStatementInvalid,
        ReasonCode::IdentityVerifierUnknown,
        ReasonCode::FacilitySignatureInvalid,
        ReasonCode::FacilityCertificateUnregistered,
        ReasonCode::FacilityCertificateUntrusted,
        ReasonCode::FacilityCertificateExpired,
        ReasonCode::FacilityCertificateRevoked,
    ];
    let verified = ["identity statement", "facility signature"].map(str::to_owned);
    let expected = codes.iter().map(ToString::to_string).chain(verified).collect();
    assert_eq!(found, expected);
}

#[test]
fn seeds_get_to_the_judge() {
    // Seeds come to a record that may be certified, and to most reasons why one may not.
    let outcomes: Vec<_> =
        seeds_of("record").iter().map(|(_, seed)| record::outcomes(seed)).collect();
    assert!(outcomes.iter().any(Vec::is_empty), "no record is in order");
    let codes: BTreeSet<ReasonCode> = outcomes.into_iter().flatten().collect();
    assert!(codes.len() >= 20, "only {codes:?}");
}

#[test]
fn a_good_policy_is_among_the_seeds() {
    // Seeds are good policies and bad ones.
    let good =
        |seed: &[u8]| std::str::from_utf8(seed).is_ok_and(|text| Policy::parse(text).is_ok());
    let (good, bad): (Vec<_>, Vec<_>) =
        seeds_of("policy_toml").into_iter().partition(|(_, seed)| good(seed));
    assert!(good.len() >= 2 && bad.len() >= 5, "{} good, {} bad", good.len(), bad.len());
}

#[test]
#[ignore = "writes into the source tree; run it after a change of the formats"]
fn write_seeds() {
    // The named seeds are made by this program and by nothing else.
    for (target, seeds) in seeds::all() {
        let folder = folder().join(target);
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}
