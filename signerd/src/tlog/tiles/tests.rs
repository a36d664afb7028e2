//! The tree against RFC 6962 written down directly, and its proofs against a verifier that is not ours.

use std::collections::HashMap;
use std::convert::Infallible;

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{
    Node, TileId, TileStore, TreeError, append, is_entry, is_growth, leaf, prove_entry,
    prove_growth, root,
};

#[derive(Default)]
struct Kept(HashMap<TileId, Vec<u8>>);

impl TileStore for Kept {
    type Error = Infallible;

    fn tile(&mut self, id: TileId) -> Result<Vec<u8>, Infallible> {
        Ok(self.0.get(&id).cloned().unwrap_or_default())
    }

    fn put_tile(&mut self, id: TileId, hashes: &[u8]) -> Result<(), Infallible> {
        self.0.insert(id, hashes.to_vec());
        Ok(())
    }
}

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

fn leaves(numbers: std::ops::Range<u64>) -> Vec<Node> {
    numbers.map(|number| leaf(&entry(number))).collect()
}

/// A tree that grew in steps.
fn grown(steps: &[u64]) -> (Kept, u64) {
    let (mut kept, mut size) = (Kept::default(), 0);
    for step in steps {
        append(&mut kept, size, &leaves(size..size + step)).unwrap();
        size += step;
    }
    (kept, size)
}

/// The Merkle tree hash as RFC 6962 §2.1 defines it.
fn defined(leaves: &[Node]) -> Node {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            let parts = [&[1], defined(left).as_slice(), &defined(right)].concat();
            Sha256::digest(parts).into()
        }
    }
}

fn theirs(root: Node, size: u64) -> RootHash<Sha256> {
    RootHash::new(root.into(), size)
}

#[test]
fn a_root_is_that_of_the_standard() {
    // However a tree grew, and for every earlier size of it, the root is the one of RFC 6962.
    let (mut kept, size) = grown(&[1, 2, 253, 1, 255, 512, 3]);
    let all = leaves(0..size);
    for earlier in [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 1023, 1024, size] {
        let known = all.get(..usize::try_from(earlier).unwrap()).unwrap();
        assert_eq!(root(&mut kept, earlier).unwrap(), defined(known), "{earlier}");
    }
    let (mut at_once, _) = grown(&[size]);
    assert_eq!(root(&mut at_once, size).unwrap(), defined(&all));
}

#[test]
fn three_levels_of_tiles_are_a_tree() {
    // Beyond 65,536 entries there is a third level, and roots and proofs go on.
    let (mut kept, size) = grown(&[65_500, 100, 1]);
    assert_eq!(kept.0.keys().map(|id| id.level).max(), Some(2));
    let whole = root(&mut kept, size).unwrap();
    assert_eq!(whole, defined(&leaves(0..size)));
    let proof = prove_entry(&mut kept, size, 65_535).unwrap();
    assert!(is_entry(&proof, size, whole, 65_535, leaf(&entry(65_535))));
}

#[test]
fn a_tree_whose_tiles_are_gone_says_so() {
    // Neither a root nor a proof comes from tiles that are not there, and nothing is appended to them.
    let (mut kept, size) = grown(&[300]);
    kept.0.remove(&TileId { level: 0, number: 1 });
    assert!(matches!(root(&mut kept, size), Err(TreeError::Incomplete)));
    assert!(matches!(append(&mut kept, size, &leaves(300..301)), Err(TreeError::Incomplete)));
    assert!(matches!(prove_entry(&mut kept, 5, 5), Err(TreeError::Incomplete)));
    assert!(matches!(prove_growth(&mut kept, 5, 0), Err(TreeError::Incomplete)));
    assert!(matches!(prove_growth(&mut kept, u64::MAX, 1), Err(TreeError::Incomplete)));
}

proptest! {
    #[test]
    fn proofs_hold_for_another_verifier(
        steps in prop::collection::vec(1_u64..400, 1..5),
        (a, b) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        // Proofs of entries and of growth are accepted by ours and by another program, and neither
        // accepts them for another entry or another tree.
        let (mut kept, size) = grown(&steps);
        let index = |index: prop::sample::Index| u64::try_from(index.index(usize::try_from(size).unwrap())).unwrap();
        let (number, earlier) = (index(a), index(b) + 1);
        let (whole, part) = (root(&mut kept, size).unwrap(), root(&mut kept, earlier).unwrap());

        let proof = prove_entry(&mut kept, size, number).unwrap();
        prop_assert!(is_entry(&proof, size, whole, number, leaf(&entry(number))));
        prop_assert!(!is_entry(&proof, size, whole, number, leaf(&entry(number + 1))));
        let other = InclusionProof::<Sha256>::from_bytes(proof.concat());
        prop_assert!(theirs(whole, size).verify_inclusion(&entry(number), number, &other).is_ok());

        let growth = prove_growth(&mut kept, size, earlier).unwrap();
        prop_assert!(is_growth(&growth, (size, whole), (earlier, part)));
        prop_assert!(!is_growth(&growth, (size, whole), (earlier, leaf(b"another"))));
        if earlier < size {
            let other = ConsistencyProof::<Sha256>::try_from_bytes(growth.concat()).unwrap();
            let (old, new) = (theirs(part, earlier), theirs(whole, size));
            prop_assert!(new.verify_consistency(&old, &other).is_ok());
        }
    }
}
