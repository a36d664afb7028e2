//! Who works on which batch inside this process.
//!
//! A [`Ticket`] is the right to work on one batch, an [`Attempt`] a ticket whose intent is durable.
//! Neither can be copied; dropping one ends the work, also when a task is cancelled. What is
//! durable stays as it is then: an open intent waits for the next repeat of the request.
//!
//! The claims live in memory only. A crash frees them all, which is right: nobody works any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::BatchRef;

/// All batches that are being worked on, with the digest of their request.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Mutex<HashMap<BatchRef, [u8; 32]>>>);

impl Claims {
    /// Claims a batch; gives the digest of the request at work if somebody has it.
    pub(super) fn take(&self, batch: BatchRef, digest: [u8; 32]) -> Result<Arc<Claim>, [u8; 32]> {
        let mut held = self.held();
        if let Some(at_work) = held.get(&batch) {
            return Err(*at_work);
        }
        held.insert(batch.clone(), digest);
        Ok(Arc::new(Claim { batch, digest, claims: self.clone() }))
    }

    /// Tells whether somebody works on a batch.
    pub(super) fn holds(&self, batch: &BatchRef) -> bool {
        self.held().contains_key(batch)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<BatchRef, [u8; 32]>> {
        // The map is whole after every statement, also one that panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One claimed batch; freed when the last holder (the task, or its command in the writer) is gone.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) batch: BatchRef,
    pub(super) digest: [u8; 32],
    claims: Claims,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.held().remove(&self.batch);
    }
}

/// The right of one task to work on one batch; dropping it gives the right back.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    pub(super) claim: Arc<Claim>,
}

impl Ticket {
    /// Names the batch.
    #[must_use]
    pub fn batch(&self) -> &BatchRef {
        &self.claim.batch
    }
}

/// A batch whose intent is durable: signing may begin, and ends with `finish` or `release`.
///
/// Dropping it instead leaves the intent open; the next repeat of the request finds it again.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    pub(super) ticket: Ticket,
    pub(super) key: AttemptKey,
}

impl Attempt {
    /// Names the batch.
    #[must_use]
    pub fn batch(&self) -> &BatchRef {
        self.ticket.batch()
    }

    /// Counts the attempts at this batch, from 1.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.key.number
    }
}

/// Identifies an attempt in the store; the row of a released batch is never used again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct AttemptKey {
    pub(super) row: i64,
    pub(super) number: u32,
}

#[cfg(test)]
mod tests {
    use super::{BatchRef, Claims};

    #[test]
    fn a_batch_is_claimed_once_until_the_last_holder_is_gone() {
        // A second claim meets the first one's digest; after the drop the batch is free.
        let (claims, batch) = (Claims::default(), BatchRef { client: "c".to_owned(), id: [1; 16] });
        let claim = claims.take(batch.clone(), [2; 32]).expect("free");
        let also_held = std::sync::Arc::clone(&claim);
        assert_eq!(claims.take(batch.clone(), [3; 32]).expect_err("held"), [2; 32]);
        drop(claim);
        assert!(claims.holds(&batch));
        drop(also_held);
        assert!(claims.take(batch, [3; 32]).is_ok());
    }
}
