//! `policy.toml`: reading it, and everything that can be wrong with it.
//!
//! In: the text of the file. Out: a [`Policy`] with checked issuers and registry, or every [`Fault`]
//! with its line, key and remedy. Unknown keys are refused. It opens no file: the paths that it
//! carries (certificates of verifiers, trusted authorities, revocation lists) are read by the daemon.
//!
//! What the file may say is in `spec`; what of that is acceptable is in `check` and `units`.

mod check;
mod spec;
mod units;

use std::{collections::BTreeMap, fmt, ops::Range};

use crate::{issuer::IssuerRules, registry::Registry, value_set::Catalogue};

/// The version of the format that this program reads.
const VERSION: i64 = 1;

/// The rules of all issuers, and what they share.
#[derive(Clone, Debug)]
pub struct Policy {
    issuers: BTreeMap<String, IssuerRules>,
    registry: Registry,
    verifiers: Vec<String>,
    facility_trust: FacilityTrust,
    catalogue: Catalogue,
}

impl Policy {
    /// Reads and checks the text of a `policy.toml`.
    ///
    /// # Errors
    /// Every fault that was found, in the order of the lines; never an empty list. What is not TOML,
    /// or has an unknown key or a value of a wrong type, is reported alone, since the rest cannot be
    /// judged then.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new(text);
        let spec = spec::read(text).map_err(|fault| vec![fault])?;
        let policy = check::policy(spec, &mut faults);
        faults.into_result(policy)
    }

    /// The rules of one issuer.
    pub fn issuer(&self, id: &str) -> Option<&IssuerRules> {
        self.issuers.get(id)
    }

    /// The rules of all issuers, in the order of their ids.
    pub fn issuers(&self) -> impl ExactSizeIterator<Item = &IssuerRules> {
        self.issuers.values()
    }

    /// The registered facilities.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Paths of the certificates whose keys may sign identity statements, relative to the file.
    pub fn verifiers(&self) -> &[String] {
        &self.verifiers
    }

    /// The authorities that facilities' certificates must come from.
    pub fn facility_trust(&self) -> &FacilityTrust {
        &self.facility_trust
    }

    /// The codes that certificates may carry.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}

/// The authorities that facilities' certificates must come from; paths are relative to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacilityTrust {
    /// Certificates of the authorities (PEM).
    pub ca: Vec<String>,
    /// Their revocation lists (PEM).
    pub crl: Vec<String>,
}

/// One thing that is wrong with the file; retrying does not help until the file is corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line it stands in, from 1; none if it is about something that is not there.
    pub line: Option<usize>,
    /// The key it is about, for example `issuer.vn-moh.validity_months`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", OneLine(&self.key))?;
        }
        write!(f, "{}; {}", OneLine(&self.problem), OneLine(&self.remedy))
    }
}

/// A text that may repeat what stands in the file, where a key can hold any character: line ends and
/// what else moves a terminal's cursor are written as escapes.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => write!(f, "{c}"),
        })
    }
}

/// The faults found so far in one text.
struct Faults<'a> {
    text: &'a str,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Reports what is wrong at `span`, with what to do.
    fn add(&mut self, span: Range<usize>, key: String, [problem, remedy]: [String; 2]) {
        let line = Some(line_of(self.text, span.start));
        self.found.push(Fault { line, key, problem, remedy });
    }

    /// Reports what is missing from the file as a whole, with what to do.
    fn add_absence(&mut self, key: &str, problem: &str, remedy: &str) {
        let [key, problem, remedy] = [key, problem, remedy].map(str::to_owned);
        self.found.push(Fault { line: None, key, problem, remedy });
    }

    fn into_result<T>(mut self, value: Option<T>) -> Result<T, Vec<Fault>> {
        self.found.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.found),
        }
    }
}

/// The line of a byte position, from 1.
fn line_of(text: &str, position: usize) -> usize {
    let before = text.as_bytes().get(..position).unwrap_or(text.as_bytes());
    before.iter().filter(|&&byte| byte == b'\n').count().saturating_add(1)
}

#[cfg(test)]
mod tests;
