//! The one switch from errors to what a client is told: status, stable code, a sentence.
//!
//! Operator detail stays in the log, under the request id. Clients learn what they can act on.

use crate::access::RateError;
use crate::audit::Missing;
use crate::hcert::HcertError;
use crate::hsm::{self, HsmError};
use crate::issue::IssueError;
use crate::ledger::{self, LedgerError, OverQuota};
use crate::wire::cbor::GateError;
use crate::wire::problem::Problem;
use crate::wire::request::RequestError;

/// After how many seconds does a repeat make sense where nothing better is known?
const RETRY_SECONDS: u64 = 2;
/// After how many seconds where a person has to act first, with a new certificate or at the clock?
const RETRY_PERSON_SECONDS: u64 = 60;

/// Every code of a problem with its status: what clients may meet, and the series that exist before their
/// first event.
pub const CODES: &[(u16, &str)] = &[
    (400, "cbor.malformed"),
    (400, "cbor.not_deterministic"),
    (400, "http.incomplete"),
    (400, "request.invalid"),
    (403, "client.unknown"),
    (403, "issuer.not_allowed"),
    (403, "officer.unknown"),
    (404, "http.not_found"),
    (404, "issuer.unknown"),
    (404, "log.beyond"),
    (405, "http.method_not_allowed"),
    (406, "http.not_acceptable"),
    (408, "http.timeout"),
    (409, "batch.conflict"),
    (409, "batch.in_progress"),
    (409, "window.always_open"),
    (410, "batch.expired"),
    (413, "http.too_large"),
    (415, "http.unsupported_media_type"),
    (422, "batch.duplicate_record"),
    (422, "batch.over_limit"),
    (422, "log.invalid"),
    (422, "window.invalid"),
    (429, "rate.exceeded"),
    (500, "internal"),
    (503, "clock.unsafe"),
    (503, "draining"),
    (503, "hsm.unavailable"),
    (503, "key.unusable"),
    (503, "ledger.unavailable"),
    (503, "log.unsigned"),
    (503, "overloaded"),
    (503, "window.closed"),
];

/// What the client is told about an error of the spine.
pub(super) fn of(error: &IssueError) -> Problem {
    match error {
        IssueError::Request(error) => request(error),
        IssueError::IssuerNotAllowed => Problem::new(
            403,
            "issuer.not_allowed",
            "Issuer not allowed",
        )
        .detail(
            "this client may not use this issuer; check the issuer's id, or ask the administrator",
        ),
        IssueError::Conflict => Problem::new(409, "batch.conflict", "Batch id already used")
            .detail("the batch id was used with other bytes; choose a new one"),
        // An attempt that another appliance took over is being answered there.
        IssueError::InProgress | IssueError::Ledger(LedgerError::AttemptSuperseded) => Problem::new(409, "batch.in_progress", "Batch in progress")
            .detail("the same batch is being answered; repeat it unchanged")
            .retry_after(1),
        IssueError::Expired => Problem::new(410, "batch.expired", "Answer no longer kept").detail(
            "the batch was answered before and its answer is no longer kept; what was not \
                 certified then may be sent under a new batch id",
        ),
        IssueError::Batch(fault) => batch(fault),
        IssueError::Rate(error) => rate(error),
        IssueError::Quota { over, retry_after } => quota(over, *retry_after),
        IssueError::WindowClosed { retry_after } => window_closed(*retry_after),
        IssueError::Clock(_) => Problem::new(503, "clock.unsafe", "Clock not to be trusted")
            .detail("nothing was released; tell the administrator, then repeat the batch unchanged")
            .retry_after(RETRY_PERSON_SECONDS),
        IssueError::Key(_) => Problem::new(503, "key.unusable", "Signer key not usable")
            .detail(
                "the signer certificate ends too soon or is not valid yet, and nothing was released; tell the \
                 administrator, then repeat the batch unchanged",
            )
            .retry_after(RETRY_PERSON_SECONDS),
        IssueError::Ledger(error) => ledger(error),
        IssueError::Unsealed(unsealed) => match unsealed.missing {
            Missing::Place | Missing::History => unavailable("ledger.unavailable", "Log not signed"),
            Missing::Token => unavailable("hsm.unavailable", "HSM does not sign"),
        },
        IssueError::Hsm(error) => hsm(error),
        IssueError::Hcert(HcertError::Signature(_)) | IssueError::Incomplete => {
            unavailable("hsm.unavailable", "HSM does not sign")
        }
        // Nobody reads it.
        IssueError::CallerGone | IssueError::Contended => overloaded(),
        IssueError::Hcert(_)
        | IssueError::Encode(_)
        | IssueError::Lost(_)
        | IssueError::Random
        | IssueError::Seal(_) => internal(),
    }
}

/// A body that is none of its route.
pub(super) fn request(error: &RequestError) -> Problem {
    match error {
        RequestError::Cbor(error) => not_cbor(error),
        RequestError::Shape(shape) => {
            let mut problem = Problem::new(400, "request.invalid", "Not a request of this route")
                .detail(format!("{}; correct the value at the path", shape.problem));
            problem.path = Some(shape.path.clone());
            problem
        }
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

/// What is asked for is not under a checkpoint yet.
pub(super) fn log_unsigned() -> Problem {
    Problem::new(503, "log.unsigned", "Log not signed yet")
        .detail("the latest checkpoint is older than what was asked for; ask again")
        .retry_after(1)
}

/// A proof about more entries than are signed.
pub(super) fn log_beyond(size: u64) -> Problem {
    Problem::new(404, "log.beyond", "Not that many entries").detail(format!(
        "the latest checkpoint has {size} entries; ask for no more, or again when the log has grown"
    ))
}

/// Sizes of logs that are none, or in the wrong order.
pub(super) fn log_invalid() -> Problem {
    Problem::new(422, "log.invalid", "Not possible sizes of the log").detail(
        "a size is a whole number, and the earlier one at least 1 and not above the later one; correct them",
    )
}

/// A fault of ours: a repeat would meet it again.
fn internal() -> Problem {
    Problem::new(500, "internal", "Internal error")
        .detail("nothing was released; tell the administrator the request id")
}

fn not_cbor(error: &GateError) -> Problem {
    let (code, title, remedy) = if error.fault.is_profile_fault() {
        let remedy =
            "encode deterministically by RFC 8949 section 4.2.1, without floats, tags and null";
        ("cbor.not_deterministic", "Not deterministic CBOR", remedy)
    } else {
        let remedy = "encode the request again within the limits, and send it whole";
        ("cbor.malformed", "Malformed CBOR, or beyond the limits", remedy)
    };
    let mut problem = Problem::new(400, code, title).detail(format!("{}; {remedy}", error.fault));
    problem.offset = Some(error.offset);
    problem
}

fn batch(fault: &policy::BatchFault) -> Problem {
    match fault {
        policy::BatchFault::OverLimit { .. } => over_limit(fault),
        policy::BatchFault::DuplicateRecord { second, .. } => {
            let mut problem =
                Problem::new(422, "batch.duplicate_record", "Dose twice in the batch")
                    .detail(format!("{fault}; send each dose once"));
            problem.path = Some(format!("/records/{second}"));
            problem
        }
    }
}

fn rate(error: &RateError) -> Problem {
    match error {
        RateError::NeverFits { .. } => over_limit(error),
        RateError::TooFast { retry_after } => {
            Problem::new(429, "rate.exceeded", "Rate limit reached")
                .detail("too many doses at once; repeat the batch unchanged after the seconds told")
                .retry_after(*retry_after)
        }
    }
}

/// A batch that no day holds is told so: it would be repeated for ever.
fn quota(over: &OverQuota, retry_after: u64) -> Problem {
    if over.never_fits() {
        return over_limit(&format!(
            "the batch has {} certificates and the issuer's daily quota is {}, so it never fits",
            over.wanted, over.quota
        ));
    }
    Problem::new(429, "rate.exceeded", "Daily quota reached")
        .detail(format!(
            "the issuer's daily quota is {} certificates, {} are left today and the batch has {}; repeat it \
             unchanged after midnight in Viet Nam, once the signing window is open, or send what is left",
            over.quota,
            over.left(),
            over.wanted
        ))
        .retry_after(retry_after)
}

fn window_closed(retry_after: u64) -> Problem {
    Problem::new(503, "window.closed", "Signing window closed")
        .detail(
            "the issuer signs at other hours, and nothing was released; repeat the batch unchanged \
             when the window opens, or ask an officer to open it",
        )
        .retry_after(retry_after)
}

fn over_limit(fault: &impl std::fmt::Display) -> Problem {
    Problem::new(422, "batch.over_limit", "Batch over the limit")
        .detail(format!("{fault}; send smaller batches"))
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
    Problem::new(403, "client.unknown", "Client unknown").detail(
        "the certificate is good but belongs to no configured client; ask the administrator",
    )
}

/// A certificate of the officers' authority that names nobody.
pub(super) fn officer_unknown() -> Problem {
    Problem::new(403, "officer.unknown", "Officer unknown").detail(
        "the certificate is good but has not exactly one common name of 1 to 64 characters; have \
         another one issued",
    )
}

/// An issuer that the policy does not have; officers may know which there are.
pub(super) fn issuer_unknown() -> Problem {
    Problem::new(404, "issuer.unknown", "No such issuer")
        .detail("the policy has no issuer of this id; GET /v1/windows lists them")
}

/// An override of a window that does not exist.
pub(super) fn window_always_open() -> Problem {
    Problem::new(409, "window.always_open", "Issuer signs at any time").detail(
        "the policy gives this issuer no signing window, so there is nothing to open; nothing was \
         changed",
    )
}

/// An override that would end before it begins, or last too long.
pub(super) fn window_invalid() -> Problem {
    let mut problem = Problem::new(422, "window.invalid", "Not a possible time").detail(
        "an override ends in the future, at most 24 hours from now; give another time, or have the \
         policy changed",
    );
    problem.path = Some("/until".to_owned());
    problem
}

/// A path that does not exist.
pub(super) fn not_found() -> Problem {
    Problem::new(404, "http.not_found", "No such route")
        .detail("the path is none of this listener; check its spelling")
}

/// A route that exists for another method.
pub(super) fn method_not_allowed() -> Problem {
    Problem::new(405, "http.method_not_allowed", "Method not allowed")
        .detail("the route has another method; use the one that Allow names")
}

/// No form of the answer that the client accepts.
pub(super) fn not_acceptable() -> Problem {
    Problem::new(406, "http.not_acceptable", "No acceptable form")
        .detail("answers are application/cbor or application/json; accept one of them")
}

/// A body that did not arrive in time.
pub(super) fn timeout() -> Problem {
    Problem::new(408, "http.timeout", "Body did not arrive in time")
        .detail("the rest of the body was not waited for; send it again, or smaller batches")
}

/// A body that is longer than the limit.
pub(super) fn too_large(bytes_max: usize) -> Problem {
    Problem::new(413, "http.too_large", "Body too large")
        .detail(format!("a body has at most {bytes_max} bytes; send smaller batches"))
}

/// A body that broke off.
pub(super) fn incomplete_body() -> Problem {
    Problem::new(400, "http.incomplete", "Body broke off")
        .detail("the body is shorter than announced or badly chunked; send it again")
}

/// A body of another type.
pub(super) fn unsupported() -> Problem {
    Problem::new(415, "http.unsupported_media_type", "Not application/cbor").detail(
        "the body is of another type or compressed; send application/cbor without content coding",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed() {
        // A code that a problem can have stands in the list, with its status.
        let product = include_str!("problem.rs").split("mod tests").next().unwrap();
        let made = product.split("Problem::new(").skip(1).filter_map(|call| {
            let mut arguments = call.split(['(', ',', ')']).map(str::trim);
            Some((arguments.next()?.parse().ok()?, arguments.next()?.trim_matches('"')))
        });
        let unavailable = product.split("unavailable(\"").skip(1);
        let unavailable = unavailable.filter_map(|call| Some((503, call.split('"').next()?)));
        for code in made.chain(unavailable).filter(|(_, code)| *code != "code") {
            assert!(CODES.contains(&code), "{code:?}");
        }
        assert!(CODES.is_sorted());
    }
}
