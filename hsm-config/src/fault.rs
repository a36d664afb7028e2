//! What is wrong with a configuration, said so that it can be mended without asking anybody.
//!
//! A fault names the key, the line, the problem and the remedy. It never carries a file name: the
//! caller knows which file it read. It promises one line of text.

use std::fmt;

/// One fault of a configuration file; the file must be changed, trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// Dotted name of the setting, such as `pool.workers`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong, lower-case, without a full stop.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
    /// Line of the text, counted from 1, where one can be named.
    pub line: Option<usize>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}
