//! The token of a set-up, whole again after a worker was killed while SoftHSM wrote it.
//!
//! SoftHSM writes the token's own file at every log-in and not in one piece. What it loses is its own
//! fault, which no HSM has; these tests are about the ledger.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use signerd_tests::{Setup, process};

use super::auditor::{Fault, hold};

/// Workers end with their daemon; SoftHSM may be at work for so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What every file of the token had in it.
pub(super) struct Token(Vec<(PathBuf, Vec<u8>)>);

impl Token {
    /// The token as it was made.
    pub(super) fn of(setup: &Setup) -> Self {
        let mut files = Vec::new();
        collect(&setup.path("tokens"), &mut files);
        assert!(!files.is_empty(), "the token has no files");
        Self(files)
    }

    /// Makes it so again, once nobody uses it.
    pub(super) fn mend(&self, setup: &Setup) -> Result<(), Fault> {
        let begin = Instant::now();
        while !process::of(setup, "").is_empty() {
            hold(begin.elapsed() < PATIENCE, || "stuck: a worker outlives its daemon".to_owned())?;
            std::thread::sleep(Duration::from_millis(5));
        }
        for (file, content) in &self.0 {
            if fs::read(file).ok().as_ref() != Some(content) {
                fs::write(file, content).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("the token") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            let content = fs::read(&path).expect("a file of the token");
            files.push((path, content));
        }
    }
}
