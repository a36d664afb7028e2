//! What is told to the log from outside of a batch, and the signed heads of the log.
//!
//! `diary` takes facts from wherever they happen and makes them durable; `sealer` lets the audit key sign
//! the head of the log as it grows, and at start holds the log against the heads that were signed before;
//! `seals` knows whether that succeeds, and stops the signing of certificates where it does not; `refusals`
//! counts who was turned away.
//! Facts about batches do not come this way: the ledger logs them with their rows.

mod diary;
mod refusals;
mod sealer;
mod seals;

pub use diary::{Diary, DiaryPages};
pub use refusals::Refusals;
pub use sealer::{Sealer, SealerError};
pub use seals::{Missing, Seals, UNREADY_AFTER, UNSIGNED_MAX, Unsealed};
