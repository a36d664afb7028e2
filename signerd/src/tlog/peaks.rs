//! The root of a growing tree, and of all it was before, from its parts in order.
//!
//! In go the roots of full bundles, one after the other; out comes at any time the root of RFC 6962 of
//! what came so far, and of what follows it. The memory is one hash for each level of the tree. It reads
//! nothing: [`super::tiles`] makes roots and proofs from what is stored.

use sha2::{Digest as _, Sha256};
use tlog_tiles::{Hash, node_hash};

use super::tiles::Node;

/// The roots of the full subtrees that a tree consists of, the largest first.
#[derive(Clone, Debug, Default)]
pub struct Peaks(Vec<(u32, Node)>);

impl Peaks {
    /// Appends a leaf, or the root of a subtree that is as large as all others that are appended.
    pub fn push(&mut self, node: Node) {
        let (mut level, mut node) = (0, node);
        while let Some((_, left)) = self.0.pop_if(|(top, _)| *top == level) {
            node = above(left, node);
            level = level.saturating_add(1);
        }
        self.0.push((level, node));
    }

    /// The root of what was appended, with a smaller subtree behind it if there is one.
    #[must_use]
    pub fn root(&self, rest: Option<Node>) -> Node {
        let peaks = self.0.iter().rev().map(|(_, peak)| *peak);
        let root = rest.into_iter().chain(peaks).reduce(|right, left| above(left, right));
        root.unwrap_or_else(|| Sha256::digest([]).into())
    }

    /// The root of some leaves.
    #[must_use]
    pub fn root_of(leaves: &[Node]) -> Node {
        let mut peaks = Self::default();
        leaves.iter().for_each(|leaf| peaks.push(*leaf));
        peaks.root(None)
    }
}

fn above(left: Node, right: Node) -> Node {
    node_hash(Hash(left), Hash(right)).0
}

#[cfg(test)]
mod tests {
    use super::Peaks;
    use crate::tlog::tiles::{Node, leaf};

    /// The Merkle tree hash as RFC 6962 §2.1 defines it.
    fn defined(leaves: &[Node]) -> Node {
        match leaves {
            [] => Peaks::default().root(None),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                super::above(defined(left), defined(right))
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_standard() {
        // Leaf by leaf, and by bundles of 256 with a rest behind them, the root is the one of RFC 6962.
        let leaves: Vec<Node> = (0..1_300_u32).map(|number| leaf(&number.to_be_bytes())).collect();
        let mut bundles = Peaks::default();
        for (at, bundle) in leaves.chunks(256).enumerate() {
            for width in [1, 2, 3, 100, 255, 256].into_iter().filter(|width| *width <= bundle.len())
            {
                let known = &leaves[..at * 256 + width];
                assert_eq!(Peaks::root_of(known), defined(known));
                assert_eq!(bundles.root(Some(Peaks::root_of(&bundle[..width]))), defined(known));
            }
            bundles.push(Peaks::root_of(bundle));
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(data_encoding::HEXLOWER.encode(&Peaks::root_of(&[])), empty);
    }
}
