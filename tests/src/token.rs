//! The token of a set-up, whole again after a worker was killed while SoftHSM wrote it.
//!
//! SoftHSM writes the token's own file at every log-in and not in one piece. What it loses is its own
//! fault, which no HSM has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process;
use crate::setup::Setup;

/// Workers end with their daemon; SoftHSM may be at work for so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What every file of the token had in it.
pub struct Token(Vec<(PathBuf, Vec<u8>)>);

impl Token {
    /// The token as it was made.
    pub fn of(setup: &Setup) -> Self {
        let mut files = Vec::new();
        collect(&setup.path("tokens"), &mut files);
        assert!(!files.is_empty(), "the token has no files");
        Self(files)
    }

    /// Makes it so again, once nobody uses it.
    ///
    /// # Errors
    /// A sentence that says what is in the way.
    pub fn mend(&self, setup: &Setup) -> Result<(), String> {
        let begin = Instant::now();
        while !process::of(setup, "").is_empty() {
            if begin.elapsed() > PATIENCE {
                return Err("stuck: a worker outlives its daemon".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for (file, content) in &self.0 {
            if fs::read(file).ok().as_ref() != Some(content) {
                fs::write(file, content).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Makes files whole again that are shorter than they were, whoever uses the token; says whether there are.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn restore_torn(&self) -> std::io::Result<bool> {
        let mut torn = false;
        for (file, content) in &self.0 {
            if fs::read(file)?.len() < content.len() {
                torn = true;
                let new = file.with_extension("new");
                fs::write(&new, content)?;
                fs::rename(new, file)?;
            }
        }
        Ok(torn)
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
