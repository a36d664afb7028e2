//! The files of the configuration: read within a bound, and digested as they were read.
//!
//! In goes a path, out comes its content, and at the end one digest of all that was read, for the log. What
//! changes by itself is read elsewhere and is not in it: revocation lists, and the certificates of the
//! listeners. An auditor makes the same digest with `sha256sum` (`docs/log.md`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::load::fault;
use crate::config::Fault;

/// Most bytes of a configuration file: ten times the registry of a country. A log or a device in its place
/// must not fill the memory.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What was read, by path.
#[derive(Debug, Default)]
pub(super) struct Files(RefCell<BTreeMap<PathBuf, [u8; 32]>>);

impl Files {
    /// Reads a text of the configuration, or says what is wrong with the file.
    pub(super) fn text(&self, file: &Path) -> Result<String, Vec<Fault>> {
        let remedy = "check the path and the permissions";
        self.read_text(file).map_err(|error| vec![fault(file, "", error, remedy)])
    }

    /// Reads a text.
    pub(super) fn read_text(&self, file: &Path) -> io::Result<String> {
        String::from_utf8(self.read(file)?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
    }

    /// Reads a file.
    pub(super) fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = File::open(file)?.take(BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
        if !u64::try_from(read).is_ok_and(|read| read <= BYTES_MAX) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.borrow_mut().insert(file.to_owned(), Sha256::digest(&bytes).into());
        Ok(bytes)
    }

    /// SHA-256 of the files' SHA-256 in hexadecimal, sorted, a line each.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut lines: Vec<String> =
            self.0.borrow().values().map(|sha256| HEXLOWER.encode(sha256) + "\n").collect();
        lines.sort_unstable();
        Sha256::digest(lines.concat()).into()
    }

    /// How many files that is.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }
}
