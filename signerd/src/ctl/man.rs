//! `signerctl man` and `signerctl completions`: manual pages and shell completions.
//!
//! Both are made from the very definitions that parse the command lines, so that they cannot differ
//! from them. For those who build packages.

use std::io::Write;
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use super::error::{CtlError, Outcome};
use super::output::FileError;

/// The command line of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Folder for the pages; made if it is not there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// The command line of `completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Writes one page per command and verb.
///
/// # Errors
/// When the folder or a page cannot be written.
pub fn man(args: &ManArgs) -> Result<Outcome, CtlError> {
    std::fs::create_dir_all(&args.dir).map_err(FileError::of("make", &args.dir))?;
    for command in programs() {
        clap_mangen::generate_to(command, &args.dir).map_err(FileError::of("write", &args.dir))?;
    }
    Ok(Outcome::Done)
}

/// Writes the completions of this tool.
pub fn completions(args: &CompletionsArgs, out: &mut dyn Write) -> Outcome {
    clap_complete::generate(args.shell, &mut super::command(), "signerctl", out);
    Outcome::Done
}

/// The programs that have manual pages. (`crate::cli::command()`, the daemon's, belongs here too.)
fn programs() -> Vec<Command> {
    vec![super::command()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        // The tool and each of its visible verbs have a page, and the first one names the exit codes.
        let folder = tempfile::tempdir().unwrap();
        man(&ManArgs { dir: folder.path().to_owned() }).unwrap();
        let page = std::fs::read_to_string(folder.path().join("signerctl.1")).unwrap();
        assert!(page.contains("Exit codes"));
        for verb in super::super::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let page = folder.path().join(format!("signerctl-{}.1", verb.get_name()));
            assert!(page.exists(), "{}", page.display());
        }
    }
}
