//! The one switch from errors to what a client is told: status, stable code, a sentence.
//!
//! Operator detail stays in the log, under the request id. Clients learn what they can act on.

use crate::access::RateError;
use crate::hcert::HcertError;
use crate::hsm::{self, HsmError};
use crate::issue::IssueError;
use crate::ledger::{self, LedgerError};
use crate::wire::cbor::GateError;
use crate::wire::problem::Problem;
use crate::wire::request::RequestError;

/// After how many seconds does a repeat make sense where nothing better is known?
const RETRY_SECONDS: u64 = 2;

/// What the client is told about an error of the spine.
pub(super) fn of(error: &IssueError) -> Problem {
    match error {
        IssueError::Request(RequestError::Cbor(error)) => not_cbor(error),
        IssueError::Request(RequestError::Shape(shape)) => {
            let mut problem = Problem::new(400, "request.invalid", "Not a batch request")
                .detail(shape.problem.clone());
            problem.path = Some(shape.path.clone());
            problem
        }
        IssueError::IssuerNotAllowed => {
            Problem::new(403, "issuer.not_allowed", "Issuer not allowed")
                .detail("this client may not use this issuer; ask the administrator")
        }
        IssueError::Conflict => Problem::new(409, "batch.conflict", "Batch id already used")
            .detail("the batch id was used with other bytes; choose a new one"),
        IssueError::InProgress => Problem::new(409, "batch.in_progress", "Batch in progress")
            .detail("the same batch is being answered; repeat it unchanged")
            .retry_after(1),
        IssueError::Expired => Problem::new(410, "batch.expired", "Answer no longer kept")
            .detail("the batch was answered before and its answer is no longer kept"),
        IssueError::Batch(fault) => batch(fault),
        IssueError::Rate(error) => rate(error),
        IssueError::Clock(_) => unavailable("clock.unsafe", "Clock not to be trusted"),
        IssueError::Key(_) => unavailable("key.unusable", "Signer key not usable"),
        IssueError::Ledger(error) => ledger(error),
        IssueError::Hsm(error) => hsm(error),
        IssueError::Hcert(HcertError::Signature(_)) | IssueError::Incomplete => {
            unavailable("hsm.unavailable", "HSM does not sign")
        }
        IssueError::Contended => overloaded(),
        IssueError::Hcert(_)
        | IssueError::Encode(_)
        | IssueError::Lost(_)
        | IssueError::Random
        | IssueError::Seal(_) => internal(),
    }
}

fn ledger(error: &LedgerError) -> Problem {
    match (error, error.retry()) {
        (LedgerError::Overloaded, _) => overloaded(),
        (LedgerError::Closed, _) => draining(),
        (_, ledger::Retry::Later) => unavailable("ledger.unavailable", "Ledger not writable"),
        (_, ledger::Retry::Never) => internal(),
    }
}

fn hsm(error: &HsmError) -> Problem {
    match (error, error.retry()) {
        (HsmError::Overloaded { .. }, _) => overloaded(),
        (HsmError::Closed, _) => draining(),
        (HsmError::KeyUnknown { .. }, _) => unavailable("key.unusable", "Signer key not usable"),
        (_, hsm::Retry::Later) => unavailable("hsm.unavailable", "HSM does not sign"),
        (_, hsm::Retry::Never) => internal(),
    }
}

/// A fault of ours: a repeat would meet it again.
fn internal() -> Problem {
    Problem::new(500, "internal", "Internal error")
        .detail("nothing was released; tell the administrator the request id")
}

fn not_cbor(error: &GateError) -> Problem {
    let (code, title) = if error.fault.is_profile_fault() {
        ("cbor.not_deterministic", "Not deterministic CBOR")
    } else {
        ("cbor.malformed", "Malformed CBOR, or beyond the limits")
    };
    let mut problem = Problem::new(400, code, title).detail(error.fault.to_string());
    problem.offset = Some(error.offset);
    problem
}

fn batch(fault: &policy::BatchFault) -> Problem {
    match fault {
        policy::BatchFault::OverLimit { .. } => {
            Problem::new(422, "batch.over_limit", "Batch over the limit").detail(fault.to_string())
        }
        policy::BatchFault::DuplicateRecord { second, .. } => {
            let mut problem =
                Problem::new(422, "batch.duplicate_record", "Dose twice in the batch")
                    .detail(fault.to_string());
            problem.path = Some(format!("/records/{second}"));
            problem
        }
    }
}

fn rate(error: &RateError) -> Problem {
    match error {
        RateError::NeverFits { .. } => {
            Problem::new(422, "batch.over_limit", "Batch over the limit").detail(error.to_string())
        }
        RateError::TooFast { retry_after } => {
            Problem::new(429, "rate.exceeded", "Rate limit reached").retry_after(*retry_after)
        }
    }
}

fn unavailable(code: &'static str, title: &'static str) -> Problem {
    Problem::new(503, code, title)
        .detail("nothing was released; repeat the batch unchanged")
        .retry_after(RETRY_SECONDS)
}

/// Too much work at once.
pub(super) fn overloaded() -> Problem {
    unavailable("overloaded", "Too much work at once")
}

/// The daemon is on its way out.
pub(super) fn draining() -> Problem {
    unavailable("draining", "Draining before the stop")
}

/// A certificate that is mapped to no client.
pub(super) fn client_unknown() -> Problem {
    Problem::new(403, "client.unknown", "Client unknown")
        .detail("the certificate is good but belongs to no configured client")
}

/// A path that does not exist.
pub(super) fn not_found() -> Problem {
    Problem::new(404, "http.not_found", "No such route")
}

/// A route that exists for another method.
pub(super) fn method_not_allowed() -> Problem {
    Problem::new(405, "http.method_not_allowed", "Method not allowed")
}

/// No form of the answer that the client accepts.
pub(super) fn not_acceptable() -> Problem {
    Problem::new(406, "http.not_acceptable", "No acceptable form")
        .detail("answers are application/cbor or application/json")
}

/// A body that did not arrive in time.
pub(super) fn timeout() -> Problem {
    Problem::new(408, "http.timeout", "Body did not arrive in time")
}

/// A body that is longer than the limit.
pub(super) fn too_large(bytes_max: usize) -> Problem {
    Problem::new(413, "http.too_large", "Body too large")
        .detail(format!("a body has at most {bytes_max} bytes"))
}

/// A body that broke off.
pub(super) fn incomplete_body() -> Problem {
    Problem::new(400, "http.incomplete", "Body broke off")
}

/// A body of another type.
pub(super) fn unsupported() -> Problem {
    Problem::new(415, "http.unsupported_media_type", "Not application/cbor")
        .detail("send deterministic CBOR as application/cbor, without content coding")
}
