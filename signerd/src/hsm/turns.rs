//! Whose turn it is to have a chunk signed.
//!
//! Small requests and large ones stand in queues of their own, which take turns where both have somebody: a
//! single certificate lets one chunk of big batches go first and not one of each, and many single ones halve
//! the speed of a big batch and no more. Within a queue whoever came first is first. The end of a big batch may
//! be small, too, and passes then.

use std::collections::VecDeque;

/// A request of so many digests is small: a family's certificates.
const SMALL_DIGESTS_MAX: usize = 16;

/// The queue of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Size {
    /// Few certificates.
    Small,
    /// A share of a batch.
    Large,
}

impl Size {
    /// Of a request with so many digests.
    pub(super) fn of(digests: usize) -> Self {
        if digests <= SMALL_DIGESTS_MAX { Self::Small } else { Self::Large }
    }
}

/// Requests with work to hand out, each once.
#[derive(Default)]
pub(super) struct Turns {
    small: VecDeque<u64>,
    large: VecDeque<u64>,
    /// Whether the last turn was a small one's.
    small_had_one: bool,
}

impl Turns {
    /// Puts a request at the end of its queue.
    pub(super) fn push_back(&mut self, request: u64, size: Size) {
        self.queue(size).push_back(request);
    }

    /// Puts a request at the head of its queue.
    pub(super) fn push_front(&mut self, request: u64, size: Size) {
        self.queue(size).push_front(request);
    }

    /// The request that is next; it is in no queue any more.
    pub(super) fn next(&mut self) -> Option<u64> {
        let is_small = !self.small.is_empty() && (self.large.is_empty() || !self.small_had_one);
        self.small_had_one = is_small;
        self.queue(if is_small { Size::Small } else { Size::Large }).pop_front()
    }

    /// Takes a request out of its queue, if it stands in one.
    pub(super) fn remove(&mut self, request: u64) {
        self.small.retain(|id| *id != request);
        self.large.retain(|id| *id != request);
    }

    fn queue(&mut self, size: Size) -> &mut VecDeque<u64> {
        match size {
            Size::Small => &mut self.small,
            Size::Large => &mut self.large,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Large ones are 10, 11, ..., small ones 20, 21, ...
    fn turns(large: u64, small: u64) -> Turns {
        let mut turns = Turns::default();
        (10..10 + large).for_each(|id| turns.push_back(id, Size::Large));
        (20..20 + small).for_each(|id| turns.push_back(id, Size::Small));
        turns
    }

    fn all(mut turns: Turns) -> Vec<u64> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn a_small_request_does_not_wait_for_those_before_it() {
        // However many large ones came first, a small one is next.
        assert_eq!(all(turns(3, 1)), [20, 10, 11, 12]);
        // One that comes after a turn of a large one, too.
        let mut turns = turns(3, 0);
        assert_eq!(turns.next(), Some(10));
        turns.push_back(20, Size::Small);
        assert_eq!(all(turns), [20, 11, 12]);
    }

    #[test]
    fn many_small_requests_leave_every_second_turn_to_large_ones() {
        assert_eq!(all(turns(2, 4)), [20, 10, 21, 11, 22, 23]);
        // Also where small ones never end.
        let mut turns = turns(2, 1);
        let mut large = 0;
        for _ in 0..4 {
            let next = turns.next().unwrap();
            if next < 20 {
                large += 1;
            } else {
                turns.push_back(next, Size::Small);
            }
        }
        assert_eq!(large, 2);
    }

    #[test]
    fn who_comes_back_is_first_and_who_leaves_has_no_turn() {
        let mut turns = turns(2, 2);
        turns.push_front(12, Size::Large);
        turns.push_front(22, Size::Small);
        turns.remove(10);
        turns.remove(21);
        assert_eq!(all(turns), [22, 12, 20, 11]);
    }

    #[test]
    fn a_family_is_small_and_a_share_of_a_batch_is_large() {
        assert_eq!((Size::of(1), Size::of(16)), (Size::Small, Size::Small));
        assert_eq!((Size::of(17), Size::of(64)), (Size::Large, Size::Large));
    }
}
