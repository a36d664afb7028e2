//! What `policy.toml` may say: its keys and their types, one struct per table.
//!
//! In: text. Out: values as they stand there, with their positions, not yet checked; absent keys
//! stay absent, their defaults are in [`super::check`].

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{Fault, Lines, VERSION};

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) version: Spanned<i64>,
    pub(super) value_sets: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) issuer: BTreeMap<Spanned<String>, IssuerSpec>,
    #[serde(default)]
    pub(super) verifier: Vec<VerifierSpec>,
    pub(super) facility_trust: Option<FacilityTrustSpec>,
    #[serde(default)]
    pub(super) registry: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) facility: Vec<FacilitySpec>,
}

/// A registry file in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistrySpec {
    version: Spanned<i64>,
    #[serde(default)]
    facility: Vec<FacilitySpec>,
}

/// `[issuer.ID]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerSpec {
    pub(super) clients: Vec<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) algorithm: Option<Spanned<String>>,
    pub(super) iss: Spanned<String>,
    pub(super) issuing_body: Spanned<String>,
    pub(super) records_max: Option<Spanned<i64>>,
    pub(super) doses_per_record_max: Option<Spanned<i64>>,
    pub(super) doses_per_day_max: Option<Spanned<i64>>,
    pub(super) certificates: Option<Spanned<String>>,
    pub(super) reissue_after_days: Option<Spanned<i64>>,
    pub(super) signing_window: Option<Spanned<String>>,
    pub(super) validity_months: Option<Spanned<i64>>,
    pub(super) assurance: Option<Spanned<String>>,
    pub(super) statement_age_days_max: Option<Spanned<i64>>,
    pub(super) facility_signature: Option<Spanned<String>>,
    pub(super) facilities: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) areas: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) code_combinations: Option<Spanned<String>>,
    pub(super) id_check: Option<Spanned<String>>,
}

/// `[[verifier]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifierSpec {
    pub(super) certificate: Spanned<String>,
    pub(super) valid_from: Option<Spanned<String>>,
    pub(super) valid_to: Option<Spanned<String>>,
    pub(super) statement_age_days_max: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) outcomes: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// `[facility_trust]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FacilityTrustSpec {
    pub(super) ca: Spanned<Vec<Spanned<String>>>,
    pub(super) crl: Spanned<Vec<Spanned<String>>>,
}

/// `[[facility]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FacilitySpec {
    pub(super) id: Spanned<String>,
    pub(super) name: Spanned<String>,
    pub(super) name_en: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) areas: Vec<Spanned<String>>,
    pub(super) managed_by: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) delegates: Vec<Spanned<String>>,
    pub(super) status: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) certificate: Vec<CertificateSpec>,
}

/// `[[facility.certificate]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateSpec {
    pub(super) issuer: Spanned<String>,
    pub(super) serial: Spanned<String>,
    pub(super) sha256: Spanned<String>,
    pub(super) der: Spanned<String>,
    pub(super) valid_from: Option<Spanned<String>>,
    pub(super) valid_to: Option<Spanned<String>>,
    pub(super) status: Option<Spanned<String>>,
}

/// Reads the shape of `policy.toml`.
pub(super) fn read(text: &str) -> Result<Spec, Fault> {
    shape(text, |spec: &Spec| &spec.version)
}

/// Reads the units of a registry file in TOML.
pub(super) fn read_registry(text: &str) -> Result<Vec<FacilitySpec>, Fault> {
    shape(text, |spec: &RegistrySpec| &spec.version).map(|spec| spec.facility)
}

/// Reads a file's shape; a file of another version is refused for that and nothing else.
fn shape<T: for<'de> Deserialize<'de>>(
    text: &str,
    version: impl Fn(&T) -> &Spanned<i64>,
) -> Result<T, Fault> {
    let spec = toml::from_str::<T>(text);
    let version = match &spec {
        Ok(spec) => Some(version(spec).clone()),
        Err(_) => toml::from_str::<VersionOnly>(text).ok().map(|only| only.version),
    };
    match version {
        Some(version) if *version.get_ref() != VERSION => Err(Fault {
            file: None,
            line: Some(Lines::of(text).line(version.span().start)),
            key: "version".to_owned(),
            problem: format!("is {}, and this program reads version {VERSION}", version.get_ref()),
            remedy: format!("write the file in the format of version {VERSION}"),
        }),
        _ => spec.map_err(|error| unreadable(text, &error)),
    }
}

/// The one key that every version of the file has.
#[derive(Deserialize)]
struct VersionOnly {
    version: Spanned<i64>,
}

/// What the TOML reader complains about, with the key that stands in its line.
fn unreadable(text: &str, error: &toml::de::Error) -> Fault {
    let message = error.message();
    // The one key that must stand outside of every table: what is not there has no line.
    if message == "missing field `version`" {
        return Fault {
            file: None,
            line: None,
            key: "version".to_owned(),
            problem: "is missing".to_owned(),
            remedy: format!("add version = {VERSION} as the first line"),
        };
    }
    let remedy = if message.contains("unknown field") {
        "correct its spelling or remove it"
    } else if message.contains("missing field") {
        "add it"
    } else if message.contains("invalid type") {
        "give a value of the type that is expected"
    } else {
        "correct the syntax (TOML 1.0)"
    };
    let line = error.span().map(|span| Lines::of(text).line(span.start));
    Fault {
        file: None,
        line,
        key: line.map_or_else(String::new, |line| key_in_line(text, line)),
        problem: message.trim().replace('\n', ", "),
        remedy: remedy.to_owned(),
    }
}

/// The dotted key of a line: the table it stands in, and what stands before its `=`.
fn key_in_line(text: &str, line: usize) -> String {
    // Some editors put a byte order mark in front, which is no part of the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut table = "";
    let mut key = "";
    for text in text.lines().take(line).map(str::trim) {
        key = "";
        if text.starts_with('[') {
            table = text.split('#').next().unwrap_or(text).trim().trim_matches(['[', ']']);
        } else if let Some((name, _)) = text.split_once('=') {
            key = name.trim();
        }
    }
    [table, key].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}
