//! `policy.toml`: reading it, and everything that can be wrong with it.
//!
//! In: the text of the file. Out: a [`Policy`] with checked issuers and registry, or every [`Fault`]
//! with its line, key and remedy. Unknown keys are refused. It opens no file: those that the policy is
//! made of (registries, value sets) are handed in by the caller, and those that it only names
//! (certificates, revocation lists) are read by the daemon.
//!
//! What the file may say is in `spec`; what of that is acceptable is in `check` and the modules it
//! calls, one for each kind of table.

mod check;
mod issuers;
mod sheet;
mod spec;
mod trust;
mod units;
mod values;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Range,
    sync::Arc,
};

use crate::{
    calendar::Period,
    evidence::Outcome,
    issuer::IssuerRules,
    registry::{Place, Registry},
    value_set::Catalogue,
};

/// The version of the format that this program reads.
const VERSION: i64 = 1;

/// The rules of all issuers, and what they share.
#[derive(Clone, Debug)]
pub struct Policy {
    issuers: BTreeMap<String, IssuerRules>,
    registry: Arc<Registry>,
    verifiers: Vec<Verifier>,
    facility_trust: FacilityTrust,
    catalogue: Catalogue,
}

/// Reads a file that the policy names, relative to the policy's folder; the error says why it cannot.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<String, String>;

impl Policy {
    /// Reads and checks the text of a `policy.toml` that is made of this one file.
    ///
    /// # Errors
    /// As [`Policy::parse_with`]; a policy that names other files has a fault for each.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        Self::parse_with(text, &|_| Err("no other files are at hand here".to_owned()))
    }

    /// Reads and checks the text of a `policy.toml`, and the files that it is made of.
    ///
    /// # Errors
    /// Every fault that was found, file by file in the order of the lines; never an empty list. What is
    /// not TOML, or has an unknown key or a value of a wrong type, is reported alone, since the rest
    /// cannot be judged then.
    pub fn parse_with(text: &str, files: Files<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new(text);
        let spec = spec::read(text).map_err(|fault| vec![fault])?;
        let policy = check::policy(spec, files, &mut faults);
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
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Whose keys may sign identity statements.
    pub fn verifiers(&self) -> &[Verifier] {
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

/// Whose key may sign identity statements, and what its statements are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    pub(crate) certificate: String,
    pub(crate) valid: Period,
    pub(crate) age_days_max: Option<u16>,
    pub(crate) outcomes: HashMap<String, Outcome>,
}

impl Verifier {
    /// Path of its certificate (PEM), relative to the file.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The days on which its look-ups count.
    pub fn valid(&self) -> Period {
        self.valid
    }

    /// For how many days a look-up counts; none: as the issuer's rules say.
    pub fn age_days_max(&self) -> Option<u16> {
        self.age_days_max
    }

    /// What each of its words for an outcome means: the contract's, and its own.
    pub fn outcomes(&self) -> &HashMap<String, Outcome> {
        &self.outcomes
    }
}

/// The authorities that facilities' certificates must come from; paths are relative to the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FacilityTrust {
    /// Certificates of the authorities (PEM).
    pub ca: Vec<String>,
    /// Their revocation lists (PEM).
    pub crl: Vec<String>,
}

/// One thing that is wrong with the file; retrying does not help until the file is corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as the policy names it; none: the policy itself.
    pub file: Option<String>,
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
        if let Some(file) = &self.file {
            write!(f, "{}: ", OneLine(file))?;
        }
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

/// How many faults are told at once? More than a person mends between two looks; a registry whose
/// every row is wrong would have tens of thousands.
const FAULTS_MAX: usize = 100;

/// The faults found so far in one text.
struct Faults {
    lines: Lines,
    file: Option<Arc<str>>,
    found: Vec<Fault>,
    /// How many were not kept.
    dropped: usize,
}

impl Faults {
    fn new(text: &str) -> Self {
        Self { lines: Lines::of(text), file: None, found: Vec::new(), dropped: 0 }
    }

    fn of_file(text: &str, file: &str) -> Self {
        Self { file: Some(Arc::from(file)), ..Self::new(text) }
    }

    /// Reports what is wrong at `span`, with what to do.
    fn add(&mut self, span: Range<usize>, key: String, [problem, remedy]: [String; 2]) {
        if self.found.len() >= FAULTS_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let line = Some(self.lines.line(span.start));
        self.push(Fault { file: None, line, key, problem, remedy });
    }

    /// The place of something that another will judge.
    fn place(&self, span: Range<usize>) -> Place {
        Place { file: self.file.clone(), line: self.lines.line(span.start) }
    }

    /// Reports what is missing from the file as a whole, with what to do.
    fn add_absence(&mut self, key: &str, problem: &str, remedy: &str) {
        let [key, problem, remedy] = [key, problem, remedy].map(str::to_owned);
        self.push(Fault { file: None, line: None, key, problem, remedy });
    }

    fn push(&mut self, fault: Fault) {
        self.found.push(Fault { file: self.file.as_deref().map(str::to_owned), ..fault });
    }

    /// Takes over the faults of another file.
    fn join(&mut self, other: Self) {
        self.found.extend(other.sorted());
    }

    fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<Fault>> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.sorted()),
        }
    }

    /// By file, then by line; what is missing, and how many more there are, at the end.
    fn sorted(mut self) -> Vec<Fault> {
        let place = |fault: &Fault| (fault.file.clone(), fault.line.unwrap_or(usize::MAX));
        self.found.sort_by_key(place);
        if self.dropped > 0 {
            self.found.push(Fault {
                file: self.file.as_deref().map(str::to_owned),
                line: None,
                key: String::new(),
                problem: format!("has {} more faults", self.dropped),
                remedy: "mend these first".to_owned(),
            });
        }
        self.found
    }
}

/// The lines of a text: where each ends. A registry of a country has tens of thousands, and asks for
/// one per certificate.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(position, _)| position).collect())
    }

    /// The line of a byte position, from 1.
    pub(crate) fn line(&self, position: usize) -> usize {
        self.0.partition_point(|&end| end < position).saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
