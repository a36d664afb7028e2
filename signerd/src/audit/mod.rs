//! What is told to the log from outside of a batch, and the signed heads of the log.
//!
//! `diary` takes facts from wherever they happen and makes them durable; `sealer` lets the audit key sign
//! the head of the log as it grows, and at start holds the log against the heads that were signed before.
//! Facts about batches do not come this way: the ledger logs them with their rows.

mod diary;
mod sealer;

pub use diary::{Diary, DiaryPages};
pub use sealer::{Sealer, SealerError};
