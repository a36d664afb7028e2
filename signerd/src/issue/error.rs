//! What can end a whole request.

use policy::{BatchFault, KeyUnusable};
use thiserror::Error;

use crate::access::RateError;
use crate::audit::Unsealed;
use crate::clock::ClockError;
use crate::cpu;
use crate::hcert::HcertError;
use crate::hsm::HsmError;
use crate::ledger::{LedgerError, OverQuota, SealError};
use crate::wire::cbor::write::EncodeError;
use crate::wire::request::RequestError;

/// An error for a whole request. Nothing was released; `api::problem` says what the client is told.
#[derive(Debug, Error)]
pub enum IssueError {
    /// The batch breaks a limit. To blame: the client; a smaller or corrected batch passes.
    #[error(transparent)]
    Batch(#[from] BatchFault),
    /// Nobody waits for the answer any more, and nothing was intended yet. Nobody to blame; repeat.
    #[error("caller has gone before anything was intended")]
    CallerGone,
    /// The clock is not to be trusted. To blame: the operator; a repeat helps later.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The id was used with other bytes. To blame: the client; do not retry.
    #[error("batch id was used with other bytes")]
    Conflict,
    /// Other batches kept taking the same doses. Nobody to blame; repeat.
    #[error("other batches keep taking the same doses")]
    Contended,
    /// An answer of ours could not be encoded. To blame: a bug.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Answered before, and the answer is no longer kept. To blame: the client; do not retry.
    #[error("answer is no longer kept")]
    Expired,
    /// A certificate could not be made or did not verify. To blame: the HSM or a bug; repeat.
    #[error(transparent)]
    Hcert(#[from] HcertError),
    /// The HSM does not sign. To blame: the operator or the device; a repeat helps later.
    #[error(transparent)]
    Hsm(#[from] HsmError),
    /// Fewer certificates came back than were intended. To blame: the HSM side or a bug; repeat.
    #[error("fewer certificates came back than were intended")]
    Incomplete,
    /// The same batch is being answered right now. Nobody to blame; repeat.
    #[error("batch is being answered")]
    InProgress,
    /// The client may not use this issuer, or it does not exist. To blame: the client.
    #[error("issuer not allowed")]
    IssuerNotAllowed,
    /// The signer certificate ends too soon. To blame: the operator.
    #[error(transparent)]
    Key(#[from] KeyUnusable),
    /// The ledger cannot be written. To blame: the operator; a repeat helps later.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A computation ended without a result. To blame: a bug.
    #[error(transparent)]
    Lost(#[from] cpu::Lost),
    /// The issuer's day is full, or too full for the batch. To blame: nobody, or the client where the
    /// batch is larger than the whole quota; else a repeat helps after midnight in Viet Nam,
    /// once the window is open.
    #[error("{over}")]
    Quota {
        /// The quota, and what is left of it.
        over: OverQuota,
        /// Seconds until the next day begins, or until the window opens on it.
        retry_after: u64,
    },
    /// Random numbers could not be had. To blame: the operating system; a repeat may help.
    #[error("no random numbers")]
    Random,
    /// The batch comes too early. To blame: the client; a repeat helps later.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// The body is no batch request. To blame: the client; do not retry.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A stored answer could not be sealed or opened. To blame: the operator (another token) or a bug.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The log is not signed any more. To blame: the operator; a repeat helps later.
    #[error(transparent)]
    Unsealed(#[from] Unsealed),
    /// The issuer signs at other hours, and no officer has opened its window. Nobody to blame; a
    /// repeat helps once the window opens.
    #[error("signing window is closed, it opens in {retry_after} s")]
    WindowClosed {
        /// Seconds until it opens by the policy.
        retry_after: u64,
    },
}
