//! `signerctl man` and `signerctl completions`: manual pages and shell completions.
//!
//! Both are made from the very definitions that parse the command lines, so that they cannot differ
//! from them. For those who build packages.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

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

/// Writes one page per program and verb: the tool's in section 1, the daemon's in section 8.
///
/// # Errors
/// When the folder or a page cannot be written.
pub fn man(args: &ManArgs) -> Result<Outcome, CtlError> {
    std::fs::create_dir_all(&args.dir).map_err(FileError::of("make", &args.dir))?;
    for (mut program, section) in [(super::command(), "1"), (crate::cli::command(), "8")] {
        // Built as a whole, so that the verbs know the program that they belong to.
        program.build();
        write_pages(program, section, &args.dir).map_err(FileError::of("write", &args.dir))?;
    }
    Ok(Outcome::Done)
}

fn write_pages(command: Command, section: &str, folder: &Path) -> io::Result<()> {
    let own = |verb: &&Command| !verb.is_hide_set() && verb.get_name() != "help";
    for verb in command.get_subcommands().filter(own) {
        write_pages(verb.clone(), section, folder)?;
    }
    Man::new(command).section(section).manual("signerd").generate_to(folder).map(drop)
}

/// Writes the completions of this tool.
pub fn completions(args: &CompletionsArgs, out: &mut dyn Write) -> Outcome {
    clap_complete::generate(args.shell, &mut super::command(), "signerctl", out);
    Outcome::Done
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
        assert!(folder.path().join("signerd-hsm-clear-pin-latch.8").exists());
        for verb in super::super::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let page = folder.path().join(format!("signerctl-{}.1", verb.get_name()));
            assert!(page.exists(), "{}", page.display());
        }
    }
}
