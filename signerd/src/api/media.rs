//! Media types: what a client sent, what it wants, and the two forms of every answer.

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Cbor,
    Json,
}

/// What a client accepts: a form for answers, if any fits, and a form for problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) answer: Option<Form>,
    pub(super) problem: Form,
}

/// The type of requests and answers (RFC 8949 §9.5).
pub(super) const CBOR: &str = "application/cbor";
/// The type of answers in JSON.
pub(super) const JSON: &str = "application/json";
/// The type of checkpoints.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// The type of tiles.
pub(super) const BYTES: &str = "application/octet-stream";
/// Problems in CBOR (RFC 9290).
pub(super) const PROBLEM_CBOR: &str = "application/concise-problem-details+cbor";
/// Problems in JSON (RFC 9457).
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Reads `Accept` (RFC 9110 §12.5.1): without one, CBOR; of several, the heaviest that we have, and of
/// equal ones the first.
pub(super) fn wanted(headers: &HeaderMap) -> Wanted {
    let values: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    if values.is_empty() {
        return Wanted { answer: Some(Form::Cbor), problem: Form::Cbor };
    }
    let mut ranges: Vec<(String, f32)> = values
        .iter()
        .flat_map(|value| value.split(','))
        .map(|range| (essence(range), weight(range)))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    // The sort is stable, so that equal weights keep the client's order.
    ranges.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let answer = ranges.iter().find_map(|(range, _)| match range.as_str() {
        CBOR | "application/*" | "*/*" => Some(Form::Cbor),
        JSON => Some(Form::Json),
        _ => None,
    });
    let json = ranges.iter().any(|(range, _)| range == PROBLEM_JSON) || answer == Some(Form::Json);
    Wanted { answer, problem: if json { Form::Json } else { Form::Cbor } }
}

/// Whether the body is declared as CBOR, parameters aside.
pub(super) fn is_cbor(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| essence(value) == CBOR)
}

fn essence(range: &str) -> String {
    range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The weight of a range, 1 where it names none.
fn weight(range: &str) -> f32 {
    let named = range.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())?
    });
    named.unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, value.parse().unwrap());
        wanted(&headers)
    }

    #[test]
    fn accept_chooses_the_form() {
        // Without Accept the answer is CBOR; JSON is given where it is asked for first.
        let cbor = Wanted { answer: Some(Form::Cbor), problem: Form::Cbor };
        let json = Wanted { answer: Some(Form::Json), problem: Form::Json };
        assert_eq!(wanted(&HeaderMap::new()), cbor);
        assert_eq!(accept("*/*"), cbor);
        assert_eq!(accept("Application/JSON; charset=utf-8, */*;q=0.1"), json);
        assert_eq!(accept("application/json;Q=0, application/cbor"), cbor);
        assert_eq!(accept("application/json;q=0.1, application/cbor"), cbor);
        assert_eq!(accept("application/cbor;q=0.5, application/json"), json);
        let mixed = Wanted { answer: Some(Form::Cbor), problem: Form::Json };
        assert_eq!(accept("application/cbor, application/problem+json"), mixed);
        let none = Wanted { answer: None, problem: Form::Cbor };
        assert_eq!(accept("text/html"), none);
    }
}
