//! Ten thousand changed logs, each with one thing changed that an attacker would change, all of them found.
//!
//! The attacker has the folder, and in the cleverer kinds makes all hashes anew; in the cleverest he has
//! the audit key too, and then it is what the auditor holds that tells. No daemon and no token: the log is
//! made here, by a seed that a failure prints.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rayon::prelude::*;
use signerd::ctl::log::check::{Given, Report, check};
use signerd::ctl::log::folder::Folder;
use signerd::tlog::bundle;
use signerd::tlog::note::Head;
use signerd::tlog::path::TilePath;
use signerd_tests::tlog::{self, Auditor};

/// How many changed logs.
const MUTATIONS: u32 = 10_000;
/// Entries of the log: two full bundles and a part.
const ENTRIES: usize = 530;
/// Sizes in the history.
const HISTORY: [u64; 3] = [100, 256, 511];

/// Random numbers that a seed repeats (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

/// What is changed, and what the attacker can do about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// One bit of one file.
    AnyFile,
    Edit,
    Delete,
    Insert,
    Swap,
    Truncate,
    /// A batch of another history, under the same key and of the same size.
    Fork,
    /// The whole folder of an earlier day.
    RollBack,
}

/// What the attacker makes anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Power {
    /// The entries alone.
    Entries,
    /// All tiles, so that they fit.
    Tiles,
    /// Tiles and the checkpoints: he has the audit key.
    Key,
}

const KINDS: [(Kind, Power); 17] = [
    (Kind::AnyFile, Power::Entries),
    (Kind::Edit, Power::Entries),
    (Kind::Edit, Power::Tiles),
    (Kind::Edit, Power::Key),
    (Kind::Delete, Power::Entries),
    (Kind::Delete, Power::Tiles),
    (Kind::Delete, Power::Key),
    (Kind::Insert, Power::Entries),
    (Kind::Insert, Power::Tiles),
    (Kind::Insert, Power::Key),
    (Kind::Swap, Power::Entries),
    (Kind::Swap, Power::Tiles),
    (Kind::Swap, Power::Key),
    (Kind::Truncate, Power::Tiles),
    (Kind::Truncate, Power::Key),
    (Kind::Fork, Power::Key),
    (Kind::RollBack, Power::Key),
];

/// The log as it was, and what the auditor holds of it.
struct World {
    auditor: Auditor,
    entries: Vec<Vec<u8>>,
    other: Vec<Vec<u8>>,
    original: tempfile::TempDir,
    given: Given,
}

impl World {
    fn new() -> Self {
        let auditor = Auditor::new();
        let entries = tlog::entries(ENTRIES, 7, 0);
        let original = tempfile::tempdir().unwrap();
        tlog::write(original.path(), &entries, &auditor, &HISTORY);
        let held = fs::read_to_string(original.path().join("checkpoint")).unwrap();
        let given = Given { held: vec![("held".to_owned(), held)], ..auditor.given() };
        Self { other: tlog::entries(ENTRIES, 7, 1), auditor, entries, original, given }
    }

    fn changed(&self, kind: Kind, dice: &mut Dice) -> Vec<Vec<u8>> {
        let mut entries = self.entries.clone();
        let at = dice.roll(entries.len());
        match kind {
            Kind::Edit => {
                let byte = dice.roll(entries[at].len());
                entries[at][byte] ^= 1 << dice.roll(8);
            }
            Kind::Delete => {
                entries.remove(at);
            }
            Kind::Insert => {
                let foreign = self.other[2 + dice.roll(7)].clone();
                entries.insert(at, foreign);
            }
            Kind::Swap => {
                let other = (at + 1 + dice.roll(entries.len() - 1)) % entries.len();
                entries.swap(at, other);
            }
            Kind::Truncate | Kind::RollBack => entries.truncate(1 + dice.roll(entries.len() - 1)),
            Kind::Fork => {
                let at = 1 + dice.roll(entries.len() - 9);
                entries.splice(at.., self.other[at..].iter().cloned());
            }
            Kind::AnyFile => {}
        }
        entries
    }

    /// Makes a changed log in a folder; none: nothing was changed by it.
    fn apply(&self, folder: &Path, kind: Kind, power: Power, dice: &mut Dice) -> Option<()> {
        if kind == Kind::AnyFile {
            copy(self.original.path(), folder);
            return flip(folder, dice);
        }
        let entries = self.changed(kind, dice);
        if entries == self.entries {
            return None;
        }
        match power {
            Power::Key => {
                let within = |size: &&u64| **size <= entries.len() as u64;
                let history: Vec<u64> = HISTORY.iter().filter(within).copied().collect();
                tlog::write(folder, &entries, &self.auditor, &history);
            }
            Power::Tiles => {
                tlog::write(folder, &entries, &self.auditor, &[]);
                let signed = ["checkpoint", "checkpoints"];
                fs::remove_file(folder.join("checkpoint")).unwrap();
                for name in signed {
                    copy(&self.original.path().join(name), &folder.join(name));
                }
            }
            Power::Entries => {
                copy(self.original.path(), folder);
                let paths = TilePath::bundles(entries.len() as u64);
                for (path, entries) in paths.zip(entries.chunks(256)) {
                    let file = folder.join(path.to_string());
                    fs::create_dir_all(file.parent().unwrap()).unwrap();
                    fs::write(file, bundle::encode(entries).unwrap()).unwrap();
                }
                // What is inserted or deleted changes the part that the last bundle is.
                let old = TilePath::bundles(ENTRIES as u64).last().unwrap().to_string();
                if entries.len() != ENTRIES {
                    fs::remove_file(folder.join(old)).unwrap();
                }
            }
        }
        Some(())
    }
}

/// Turns one bit of one file, other than those that carry no statement of the log.
fn flip(folder: &Path, dice: &mut Dice) -> Option<()> {
    let mut files = Vec::new();
    list(folder, &mut files);
    files.sort();
    let file = &files[dice.roll(files.len())];
    let mut bytes = fs::read(file).unwrap();
    let at = dice.roll(bytes.len());
    bytes[at] ^= 1 << dice.roll(8);
    fs::write(file, bytes).unwrap();
    Some(())
}

fn list(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// A checked log; none: it could not even be read as one.
fn checked(folder: &Path, given: &Given) -> Option<Report> {
    check(&Folder::at(folder), given, &|_| ()).ok()
}

#[test]
fn every_changed_log_is_found() {
    // Of ten thousand changed logs every one is told wrong, whatever was made to fit; the log that was not
    // changed is good, and so is a good log of which an earlier checkpoint is held.
    let world = World::new();
    let whole = checked(world.original.path(), &world.given).unwrap();
    assert_eq!((whole.wrong.kept, whole.good), (Vec::new(), ENTRIES as u64));
    assert_eq!(whole.warnings.kept, []);

    let base =
        if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm") } else { Path::new("/tmp") };
    let round = |round: u32| {
        let mut dice = Dice(u64::from(round).wrapping_mul(0x5167_6e65_7264_0005));
        let (kind, power) = KINDS[round as usize % KINDS.len()];
        let folder = tempfile::tempdir_in(base).unwrap();
        while world.apply(folder.path(), kind, power, &mut dice).is_none() {}
        let report = checked(folder.path(), &world.given);
        let is_found = report.as_ref().is_none_or(|report| report.wrong.count > 0);
        assert!(is_found, "round {round}: {kind:?} with {power:?} passes for good");
        let held_good = report.map_or(0, |report| report.good);
        assert!(
            held_good <= ENTRIES as u64,
            "round {round}: {held_good} entries are said to be good"
        );
        (kind, power)
    };
    let mut found = BTreeMap::<(Kind, Power), u32>::new();
    for kind in (0..MUTATIONS).into_par_iter().map(round).collect::<Vec<_>>() {
        *found.entry(kind).or_default() += 1;
    }
    assert_eq!(found.values().sum::<u32>(), MUTATIONS);
    for ((kind, power), count) in &found {
        eprintln!("{kind:?} with {power:?}: {count} of {count} found");
    }
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    // With the tiles as they were signed the very entry is named; with tiles made anew the history says how
    // much from the beginning is still good; held checkpoints tell a fork and an older log.
    let world = World::new();
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>), power| {
        let folder = tempfile::tempdir().unwrap();
        let mut entries = world.entries.clone();
        change(&mut entries);
        tlog::write(folder.path(), &entries, &world.auditor, &[]);
        if power != Power::Key {
            for name in ["checkpoint", "checkpoints"] {
                let _ = fs::remove_file(folder.path().join(name));
                copy(&world.original.path().join(name), &folder.path().join(name));
            }
        }
        if power == Power::Entries {
            for level in ["0", "1"] {
                fs::remove_dir_all(folder.path().join("tile").join(level)).unwrap();
                let tiles = world.original.path().join("tile").join(level);
                copy(&tiles, &folder.path().join("tile").join(level));
            }
        }
        checked(folder.path(), &world.given).unwrap()
    };
    let edit: &dyn Fn(&mut Vec<Vec<u8>>) = &|entries| entries[300] = entries[301].clone();

    let report = changed(edit, Power::Entries);
    let told =
        report.wrong.kept.iter().find(|f| f.text == "not the entry that was signed").unwrap();
    assert_eq!((told.entry, told.place.as_str()), (Some(300), "tile/entries/001"));
    assert_eq!(report.good, 300);

    let report = changed(edit, Power::Tiles);
    assert_eq!(report.good, 256, "{:?}", report.wrong);
    assert!(report.wrong.kept.iter().any(|f| f.place == "checkpoints/511"));
    assert!(!report.wrong.kept.iter().any(|f| f.place == "checkpoints/256"));

    let report = changed(&|entries| entries.truncate(500), Power::Key);
    assert!(report.wrong.kept.iter().any(|f| f.text.contains("truncated, or an older one")));
    let report = changed(edit, Power::Key);
    assert!(report.wrong.kept.iter().any(|f| f.place == "held" && f.text.contains("a fork")));

    let report = changed(&|entries| drop(entries.remove(300)), Power::Entries);
    assert!(
        report.wrong.kept.iter().any(|f| f.place.starts_with("tile/entries/002")),
        "{report:?}"
    );
}

#[test]
fn an_identifier_that_was_given_twice_is_told() {
    // A daemon that gives one identifier to two certificates is found out, by the numbers of both.
    let auditor = Auditor::new();
    let mut entries = tlog::entries(600, 7, 0);
    let twice = tlog::fact(10, tlog::certificate(10, 1, 0));
    assert_eq!(entries[12], twice);
    let batch = 19;
    let again = match signerd::tlog::fact::Entry::decode(&twice).unwrap().fact {
        signerd::tlog::fact::Fact::CertificateSigned(certificate) => {
            let certificate = signerd::tlog::fact::Certificate { batch, ..certificate };
            tlog::fact(batch, signerd::tlog::fact::Fact::CertificateSigned(certificate))
        }
        other => panic!("{other:?}"),
    };
    entries[21] = again;
    let folder = tempfile::tempdir().unwrap();
    tlog::write(folder.path(), &entries, &auditor, &[]);
    let report = checked(folder.path(), &auditor.given()).unwrap();
    let [told] = report.wrong.kept.as_slice() else { panic!("{:?}", report.wrong) };
    assert_eq!((told.entry, told.text.contains("entry 12")), (Some(21), true), "{told:?}");
}

#[test]
fn of_doubled_identifiers_only_so_many_are_looked_for() {
    // A log whose certificates all bear one identifier is told wrong, and the search for more of them ends
    // with the findings that are kept.
    let auditor = Auditor::new();
    let same = tlog::fact(1, tlog::certificate(1, 0, 0));
    let begun = signerd::tlog::fact::Fact::LogBegun { certificates: 0 };
    let mut entries = vec![tlog::fact(0, begun), tlog::fact(1, tlog::intended(1, 2_000))];
    entries.extend(std::iter::repeat_n(same, 2_000));
    let answered = signerd::tlog::fact::Fact::BatchAnswered { batch: 1, attempt: 1 };
    entries.push(tlog::fact(1, answered));
    let folder = tempfile::tempdir().unwrap();
    tlog::write(folder.path(), &entries, &auditor, &[]);
    let report = checked(folder.path(), &auditor.given()).unwrap();
    assert_eq!(report.wrong.kept.len(), 100);
    assert!(report.wrong.kept.iter().all(|f| f.text.ends_with("entry 2")), "{:?}", report.wrong);
    // Those of the first bundle: behind log.begun, the intent, and the certificate that is the first.
    assert_eq!(report.wrong.count, 256 - 3);
}

#[test]
fn a_checkpoint_of_nothing_has_the_root_of_nothing() {
    // A checkpoint of no entries holds with SHA-256 of nothing as its root, and with no other: be it the
    // log's own, of its history, or held.
    let empty = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let empty: [u8; 32] = data_encoding::HEXLOWER.decode(empty).unwrap().try_into().unwrap();
    let auditor = Auditor::new();
    let (origin, at) = (tlog::ORIGIN.to_owned(), tlog::BEGINNING);
    let signed = |root| auditor.sign(&Head { origin: origin.clone(), size: 0, root, at });
    for (root, is_good) in [(empty, true), ([7; 32], false)] {
        let note = signed(root);
        let told = |folder: &Path, given: &Given| -> Vec<String> {
            let report = checked(folder, given).unwrap();
            report.wrong.kept.into_iter().map(|finding| finding.place).collect()
        };
        let expected = |place: &str| if is_good { Vec::new() } else { vec![place.to_owned()] };
        let bare = tempfile::tempdir().unwrap();
        fs::write(bare.path().join("checkpoint"), &note).unwrap();
        assert_eq!(told(bare.path(), &auditor.given()), expected("checkpoint"));
        let grown = tempfile::tempdir().unwrap();
        tlog::write(grown.path(), &tlog::entries(300, 7, 0), &auditor, &[256]);
        let given = Given { held: vec![("held".to_owned(), note.clone())], ..auditor.given() };
        assert_eq!(told(grown.path(), &given), expected("held"));
        fs::write(grown.path().join("checkpoints/0"), &note).unwrap();
        assert_eq!(told(grown.path(), &auditor.given()), expected("checkpoints/0"));
    }
}
