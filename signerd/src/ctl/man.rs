//! `signerctl man` and `signerctl completions`: manual pages and shell completions.
//!
//! Both are made from the very definitions that parse the command lines, so that they cannot differ
//! from them. For those who build packages.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap::builder::Resettable;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

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
    fs::create_dir_all(&args.dir).map_err(FileError::of("make", &args.dir))?;
    for (mut program, section) in [(super::command(), "1"), (crate::cli::command(), "8")] {
        // Built as a whole, so that the verbs know the program that they belong to.
        program = program.disable_help_subcommand(true);
        program.build();
        write_pages(program, section, &args.dir).map_err(FileError::of("write", &args.dir))?;
    }
    Ok(Outcome::Done)
}

/// Writes the completions of this tool.
pub fn completions(args: &CompletionsArgs, out: &mut dyn Write) -> Outcome {
    clap_complete::generate(args.shell, &mut super::command(), "signerctl", out);
    Outcome::Done
}

fn write_pages(command: Command, section: &str, folder: &Path) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_pages(verb.clone(), section, folder)?;
    }
    let more = command.get_after_long_help().or_else(|| command.get_after_help());
    let more = more.map(ToString::to_string).unwrap_or_default();
    let bare = command.after_help(Resettable::Reset).after_long_help(Resettable::Reset);
    let page = Man::new(bare).section(section).manual("signerd");
    let mut text = Vec::new();
    page.render(&mut text)?;
    sections(&more).to_writer(&mut text)?;
    fs::write(folder.join(page.get_filename()), text)
}

/// Turns paragraphs of `Title:` and lines into sections of their own, with the lines as they are.
fn sections(more: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in more.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let (title, lines) = paragraph.split_once(":\n").unwrap_or(("Notes", paragraph));
        roff.control("SH", [title.to_uppercase().as_str()]).control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        // The tool and each of its visible verbs have a page, and the first one names the exit codes.
        let folder = tempfile::tempdir().unwrap();
        man(&ManArgs { dir: folder.path().to_owned() }).unwrap();
        let page = fs::read_to_string(folder.path().join("signerctl.1")).unwrap();
        assert!(page.contains(".SH \"EXIT CODES\""));
        assert!(folder.path().join("signerd-hsm-clear-pin-latch.8").exists());
        for verb in super::super::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let page = folder.path().join(format!("signerctl-{}.1", verb.get_name()));
            assert!(page.exists(), "{}", page.display());
        }
    }
}
