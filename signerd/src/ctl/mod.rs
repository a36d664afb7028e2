//! `signerctl`: the tool of the people around the appliance, one file per verb.
//!
//! A command line in, results on stdout, diagnostics on stderr and a documented exit code out. The
//! tool holds no key of an issuer and trusts nothing but its settings: what it knows of the appliance
//! it asks over the same listener as every client. It shares the daemon's formats, not its state.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use policy::Catalogue;

pub mod answer;
pub mod batch;
pub mod cbor;
pub mod client;
pub mod config;
pub mod error;
pub mod inspect;
pub mod journal;
pub mod ledger;
pub mod log;
pub mod man;
pub mod output;
pub mod pem;
pub mod preview;
pub mod qr;
pub mod records;
pub mod rejects;
pub mod sample;
pub mod sign;
pub mod texts;
pub mod trust_list;
pub mod value_sets;
pub mod verify;
pub mod window;

use client::Patience;
use error::{CtlError, EXIT_CODES, Outcome};
use output::Progress;
use verify::{Form, Streams};

/// What every verb is given beside its own arguments.
#[derive(Clone, Debug)]
pub struct Context {
    /// The settings file.
    pub config: PathBuf,
    /// Results for machines.
    pub json: bool,
    /// Whether progress may be drawn.
    pub progress: Progress,
    /// How long and how often the server is tried.
    pub patience: Patience,
    /// Seconds since 1970.
    pub now: i64,
}

/// Sign vaccination records with signerd, and look at what came of it
#[derive(Debug, Parser)]
#[command(name = "signerctl", version, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    /// Settings file
    #[arg(long, value_name = "FILE", global = true, default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// No progress bar
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Repetitions while the server is away or busy
    #[arg(long, value_name = "N", global = true, default_value_t = 8)]
    retries: u32,
    /// Seconds to wait for one answer
    #[arg(long, value_name = "SECONDS", global = true, default_value_t = 120,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make realistic signed records for tests and demonstrations
    Sample(sample::Args),
    /// Turn a records file into certificates
    Sign(sign::Args),
    /// Show what would be signed, and why not the rest
    Preview(preview::Args),
    /// Check certificates against a trust list
    Verify(verify::Args),
    /// Show what is in a certificate of any country
    Inspect(inspect::Args),
    /// Draw certificates as QR symbols
    Qr(qr::Args),
    /// List rejected records for review, by group, area or unit
    Rejects(rejects::Args),
    /// Back the ledger's file up while the daemon goes on
    Ledger(ledger::Args),
    /// Fetch the signer certificates
    TrustList(trust_list::Args),
    /// Show value sets, and what a change of them would change
    ValueSets(value_sets::Args),
    /// Look at signing windows, open and close them as an officer
    Window(window::Args),
    /// Take the log away, verify it, read it, and vouch for it
    Log(log::Args),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::ManArgs),
    /// Write shell completions
    #[command(hide = true)]
    Completions(man::CompletionsArgs),
}

/// Runs the tool with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version arrive here too, with exit code 0.
        Err(error) => {
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let ended = run(&cli, &mut out).and_then(|outcome| Ok(out.flush().map(|()| outcome)?));
    match ended {
        Ok(outcome) => outcome.into(),
        // Whoever reads us (`| head`) has seen enough.
        Err(CtlError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let text = format!("signerctl: {error}\n  what to do: {}\n", error.remedy());
            io::stderr().write_all(output::harmless_lines(&text).as_bytes()).ok();
            error.exit_code()
        }
    }
}

/// The definition of the command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn run(cli: &Cli, out: &mut dyn Write) -> Result<Outcome, CtlError> {
    let context = Context {
        config: cli.config.clone(),
        json: cli.json,
        progress: if cli.json || cli.quiet { Progress::Hidden } else { Progress::Shown },
        patience: Patience {
            retries: cli.retries,
            answer_deadline: Duration::from_secs(cli.timeout),
        },
        // The tool's one reading of the clock; from here on time is an argument.
        now: jiff::Timestamp::now().as_second(),
    };
    match &cli.verb {
        Verb::Sample(args) => sample::run(args, &context, out),
        Verb::Sign(args) => sign::run(args, &context, out),
        Verb::Preview(args) => preview::run(args, &context, out),
        Verb::Verify(args) => offline(out, |streams| {
            Ok(verify::run(args, context.now, context.form(), streams)?.into())
        }),
        Verb::Inspect(args) => offline(out, |streams| {
            let catalogue = Catalogue::select(Catalogue::set_ids())?;
            Ok(inspect::run(args, &catalogue, context.form(), streams)?.into())
        }),
        Verb::Qr(args) => {
            offline(out, |streams| Ok(qr::run(args, streams).map(|()| Outcome::Done)?))
        }
        Verb::Rejects(args) => rejects::run(args, &context, out),
        Verb::Ledger(args) => ledger::run(args, &context, out),
        Verb::TrustList(args) => trust_list::run(args, &context, out),
        Verb::ValueSets(args) => value_sets::run(args, &context, out),
        Verb::Window(args) => window::run(args, &context, out),
        Verb::Log(args) => log::run(args, &context, out),
        Verb::Man(args) => man::man(args),
        Verb::Completions(args) => Ok(man::completions(args, out)),
    }
}

/// Runs a verb that needs no server on the standard streams.
fn offline(
    output: &mut dyn Write,
    verb: impl FnOnce(&mut Streams<'_>) -> Result<Outcome, CtlError>,
) -> Result<Outcome, CtlError> {
    let (mut input, mut diagnostics) = (io::stdin().lock(), io::stderr().lock());
    verb(&mut Streams { input: &mut input, output, diagnostics: &mut diagnostics })
}

impl Context {
    fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }
}

/// The asynchronous runtime of the verbs that ask the server: two threads, since the work is waiting.
fn runtime() -> Result<tokio::runtime::Runtime, CtlError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CtlError::Runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_defined() {
        // clap finds no contradiction in the definition of any verb.
        command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        // Global options may stand before or behind the verb.
        let before = Cli::try_parse_from(["signerctl", "--json", "trust-list"]).unwrap();
        let behind = Cli::try_parse_from(["signerctl", "trust-list", "--json"]).unwrap();
        assert!(before.json && behind.json);
    }

    #[test]
    fn batches_are_bounded() {
        // --batch-size takes 1 to 1000 and nothing else.
        let parse = |size| {
            Cli::try_parse_from(["signerctl", "sign", "f", "--output", "o", "--batch-size", size])
        };
        for (size, fits) in
            [("1", true), ("1000", true), ("1001", false), ("0", false), ("x", false)]
        {
            assert_eq!(parse(size).is_ok(), fits, "{size}");
        }
    }
}
