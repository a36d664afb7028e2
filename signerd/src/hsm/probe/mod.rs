//! What module, token and keys are like: the report of `signerd hsm probe`.
//!
//! In goes the configuration, out comes a [`Report`]: what a process on an errand found ([`Findings`]), what
//! is odd about it, and what to write to `hsm.toml`. It signs its own proof text and nothing else, makes
//! session objects only, and tries the PIN once. It measures one signature at a time; how many the token
//! makes in a second is for [`crate::hsm::speed`].

pub mod findings;
mod suggestion;
mod text;

use std::path::Path;

use hsm_config::HsmConfig;
use serde::Serialize;

pub use findings::Findings;
pub use suggestion::Suggestion;

use super::errand::Errand;
use super::errand::ErrandError;
use super::errand::Runner;

/// Version of the report's members.
const VERSION: u32 = 1;

/// What `signerd hsm probe` tells; its members are described in `docs/operations.md`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of this form, 1.
    pub version: u32,
    /// The program's own version.
    pub signerd: &'static str,
    /// When it was made, in seconds since 1970.
    pub made_at: i64,
    /// What was found.
    #[serde(flatten)]
    pub findings: Findings,
    /// What is odd, in sentences.
    pub quirks: Vec<String>,
    /// What to write to `hsm.toml`.
    pub suggestion: Suggestion,
}

impl Report {
    /// Whether a worker would start with this token and configuration.
    #[must_use]
    pub fn fits(&self) -> bool {
        let keys = self.findings.keys.values();
        self.findings.secret.problem.is_none() && keys.map(|key| &key.refused).all(Option::is_none)
    }
}

/// Lets a process of its own look at the token; `on_step` hears what it does.
///
/// # Errors
/// Those of an errand: the exit code is that of a worker with the same fault.
pub fn probe(
    config: &HsmConfig,
    config_path: &Path,
    made_at: i64,
    mut on_step: impl FnMut(&str),
) -> Result<Report, ErrandError> {
    on_step("start");
    let mut runner = Runner::start(Errand::Probe, config, config_path)?;
    let findings: Findings = runner.hear(config.start_deadline(), on_step)?;
    let quirks = suggestion::quirks(&findings);
    let suggestion = Suggestion::of(&findings, config);
    let signerd = env!("CARGO_PKG_VERSION");
    Ok(Report { version: VERSION, signerd, made_at, findings, quirks, suggestion })
}
