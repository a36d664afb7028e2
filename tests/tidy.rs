//! The shape of the project, checked: sizes, layers, homes of foreign crates, words.
//!
//! Reads files as text, builds nothing and asks no network; the one program it calls is
//! `cargo tree`, for the licences. Each rule is a function from sources to faults, so that
//! each has beside it a test that it can fail. It does not judge what a compiler or clippy judges.

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;

use std::io;
use std::path::{Path, PathBuf};

use source::Source;

/// Returns every text file of the project, or the first one that could not be read.
fn project() -> io::Result<Vec<Source>> {
    let root = root();
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

fn collect(root: &Path, directory: &Path, sources: &mut Vec<Source>) -> io::Result<()> {
    // What git ignores, and git itself.
    const SKIPPED: [&str; 4] = ["target", "dev", "bench", ".git"];
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if directory == root && SKIPPED.contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, sources)?;
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(root).unwrap_or(&path);
            sources.push(Source { path: path.to_string_lossy().into_owned(), text });
        }
    }
    Ok(())
}

/// One fault: where it is, what it is, and what to do.
type Fault = String;

/// Ends a test with all faults at once, one per line.
#[track_caller]
fn report(faults: &[Fault]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Ends a test unless the rule found exactly so many faults: it shows that the rule can fail.
#[track_caller]
fn finds(count: usize, faults: &[Fault]) {
    assert_eq!(count, faults.len(), "the rule found:\n{}", faults.join("\n"));
}

/// Makes the sources of a self-test.
fn made_up(files: &[(&str, &str)]) -> Vec<Source> {
    files
        .iter()
        .map(|(path, text)| Source { path: (*path).to_owned(), text: (*text).to_owned() })
        .collect()
}

// The walk itself sees the project: a rule over no file would never fail.
#[test]
fn the_walk_sees_the_project() {
    let sources = project().unwrap();
    for path in ["Cargo.toml", "signerd/src/lib.rs", "tests/tidy.rs", "softhsm-setup.sh"] {
        assert!(sources.iter().any(|source| source.path == path), "{path} was not seen");
    }
    assert!(sources.iter().all(|source| !source.path.starts_with("target/")));
}
