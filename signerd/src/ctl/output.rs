//! Where results go: stdout or a file, and what may be shown on a terminal.
//!
//! Files are written beside their final name and moved there when they are whole, so that a reader
//! never sees half a result. Text that came from records or certificates is made harmless before it
//! reaches a terminal. `sign` does not use the file part: its output grows batch by batch.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What the tool writes may hold personal data: for the owner's eyes.
pub const PRIVATE_MODE: u32 = 0o600;

/// Writes a result to `path`, or to `stdout` where there is none or it is `-`.
///
/// # Errors
/// Whatever `write` returns, or a failure to make, flush or move the file.
pub fn write_result<E: From<FileError>>(
    path: Option<&Path>,
    stdout: &mut dyn Write,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    match path.filter(|path| path.as_os_str() != "-") {
        None => write(stdout),
        Some(path) => {
            let part = beside(path, ".part");
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(PRIVATE_MODE)
                .open(&part)
                .map_err(FileError::of("make", &part))?;
            let mut buffer = BufWriter::new(file);
            write(&mut buffer)?;
            let file = buffer
                .into_inner()
                .map_err(|error| FileError::of("write", &part)(error.into_error()))?;
            file.sync_all().map_err(FileError::of("write", &part))?;
            std::fs::rename(&part, path).map_err(FileError::of("make", path))?;
            Ok(())
        }
    }
}

/// The same name with something behind it: `out.jsonl` and `.journal` give `out.jsonl.journal`.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A local file cannot be used: look at its folder, its owner and the free space, then repeat.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}: {source}")]
pub struct FileError {
    /// What was tried.
    pub verb: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

impl FileError {
    /// Makes the closure for `map_err`.
    pub fn of(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { verb, path, source }
    }
}

/// Replaces what could steer a terminal or turn the reading direction by U+FFFD.
#[must_use]
pub fn harmless(text: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|character| if steers(character) { '\u{fffd}' } else { character }).collect()
}

/// As [`harmless`], but line breaks stay: for text of several lines that the tool put together.
#[must_use]
pub fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Whether a progress bar may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// On stderr, where that is a terminal.
    Shown,
    /// Never.
    Hidden,
}

impl Progress {
    /// A bar over `total` things of this name.
    #[must_use]
    pub fn bar(self, total: u64, things: &'static str) -> ProgressBar {
        let target = match self {
            Self::Shown => ProgressDrawTarget::stderr(),
            Self::Hidden => ProgressDrawTarget::hidden(),
        };
        let template =
            format!("{{bar:32}} {{pos}}/{{len}} {things}  {{per_sec}}  {{eta}} left  {{msg}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(Some(total), target).with_style(style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_results_are_not_seen() {
        // A result that fails half-way leaves the old file as it was.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let fails = |out: &mut dyn Write| {
            out.write_all(b"new").map_err(FileError::of("write", Path::new("out")))?;
            Err(FileError::of("write", Path::new("out"))(io::Error::other("disk full")))
        };
        assert!(write_result::<FileError>(Some(&path), &mut io::sink(), fails).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        let works = |out: &mut dyn Write| {
            out.write_all(b"new").map_err(FileError::of("write", Path::new("out")))
        };
        write_result::<FileError>(Some(&path), &mut io::sink(), works).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn terminals_are_not_steered() {
        // Escape sequences, line breaks and direction marks are shown as U+FFFD; names are not changed.
        assert_eq!(harmless("Nguyễn Văn A"), "Nguyễn Văn A");
        assert_eq!(harmless("\u{1b}[2J\n\u{202e}x"), "\u{fffd}[2J\u{fffd}\u{fffd}x");
    }
}
