//! `signerctl qr`: a certificate as a QR symbol, on paper, on a page or in the terminal.
//!
//! In goes an HC1 text, out comes a PNG or SVG file (by the name's ending) or half blocks on standard
//! output. The symbol is always in alphanumeric mode. The certificate is not judged: `verify` does.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::hcert::qr::{Level, QrError, SCALE_PIXELS_MAX, Symbol};

use super::texts::{self, Found, TextsError};
use super::verify::Streams;

/// The command line of `qr`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// HC1 texts, files with one text per line or with the JSON of `sign`, or - for standard input
    #[arg(value_name = "FILE|TEXT|-")]
    inputs: Vec<String>,
    /// Where to write: NAME.png, NAME.svg, or a folder for several [default: the terminal]
    #[arg(long, short, value_name = "FILE|FOLDER")]
    output: Option<PathBuf>,
    /// Error correction: L, M (advised for print), Q or H
    #[arg(long, short, value_name = "LEVEL", default_value_t = Level::Q)]
    level: Level,
    /// Pixels per module of a PNG
    #[arg(long, value_name = "PIXELS", default_value_t = 8,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(SCALE_PIXELS_MAX)))]
    scale: u8,
}

/// Why a symbol was not made or written.
#[derive(Debug, Error)]
pub enum QrVerbError {
    /// The name of the output ends in neither `.png` nor `.svg` and is no folder; correct it.
    #[error("output {0} ends in neither .png nor .svg, and is no folder")]
    Ending(PathBuf),
    /// The file could not be written; check folder, owner and space.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
    /// There are several texts and one file; name a folder.
    #[error("{0} certificates do not fit into one file: name a folder")]
    Several(usize),
    /// The text makes no symbol.
    #[error("{place}: {source}")]
    Symbol {
        /// Where the text stood.
        place: String,
        /// Why not.
        source: QrError,
    },
    /// The inputs could not be read.
    #[error(transparent)]
    Texts(#[from] TextsError),
}

/// Runs the verb.
///
/// # Errors
/// A [`QrVerbError`] if the inputs, a text or the output stop it.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> Result<(), QrVerbError> {
    let found = texts::collect(&args.inputs, streams.input)?;
    let Some(output) = &args.output else {
        for found in &found {
            write!(streams.output, "{}", symbol(found, args.level)?.terminal())?;
        }
        return Ok(());
    };
    if output.is_dir() {
        for (index, found) in found.iter().enumerate() {
            let path = output.join(format!("{:04}.png", index + 1));
            write_file(&path, &symbol(found, args.level)?, args.scale)?;
        }
        return Ok(());
    }
    match found.as_slice() {
        [found] => write_file(output, &symbol(found, args.level)?, args.scale),
        several => Err(QrVerbError::Several(several.len())),
    }
}

fn symbol(found: &Found, level: Level) -> Result<Symbol, QrVerbError> {
    Symbol::of(&found.text, level)
        .map_err(|source| QrVerbError::Symbol { place: found.place.clone(), source })
}

fn write_file(path: &Path, symbol: &Symbol, scale: u8) -> Result<(), QrVerbError> {
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    let bytes = match ending.as_deref() {
        Some("png") => symbol
            .png(scale)
            .map_err(|source| QrVerbError::Symbol { place: path.display().to_string(), source })?,
        Some("svg") => symbol.svg().into_bytes(),
        _ => return Err(QrVerbError::Ending(path.to_owned())),
    };
    write_private(path, &bytes)
        .map_err(|source| QrVerbError::File { path: path.to_owned(), source })
}

/// Writes a picture of personal data: for the owner's eyes.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}
