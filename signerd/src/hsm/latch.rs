//! The file that says: the token refused the PIN, do not try it again.
//!
//! An HSM locks itself for good after a few wrong PINs, and a restart loop spends them in seconds.
//! So the first refusal leaves this file, every start looks for it before it touches the token, and
//! only a person removes it (`signerd hsm clear-pin-latch`). It is durable before the worker ends.
//! It holds no secret. A lock file beside it keeps two processes from logging in at once.

use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use hsm_config::HsmConfig;

/// Removes the latch of every token after a wrong PIN was put right; says whether there was one.
///
/// # Errors
/// Where the file is there and cannot be removed, usually for want of rights.
pub fn clear_pin_latch(config: &HsmConfig) -> io::Result<bool> {
    let mut was_set = false;
    for config in (0..config.tokens()).filter_map(|token| config.of_token(token)) {
        was_set |= clear(&config)?;
    }
    Ok(was_set)
}

fn clear(config: &HsmConfig) -> io::Result<bool> {
    match std::fs::remove_file(config.pin_latch()) {
        Ok(()) => sync_folder(config.pin_latch()).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether the latch is there; where its folder cannot be looked into, the worker will find out.
pub(crate) fn is_set(config: &HsmConfig) -> bool {
    std::fs::symlink_metadata(config.pin_latch()).is_ok()
}

/// Leaves the latch, durably.
pub(crate) fn set(config: &HsmConfig, reason: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(config.pin_latch())?;
    writeln!(file, "{reason}")?;
    file.sync_all()?;
    sync_folder(config.pin_latch())
}

/// Takes the lock that serialises log-ins of all processes on this machine; held until dropped.
///
/// It stands in the latch's folder on purpose: who cannot write there could not latch either, and
/// must not try the PIN.
pub(crate) fn lock_log_in(config: &HsmConfig) -> io::Result<File> {
    let mut name = config.pin_latch().as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.lock()?;
    Ok(file)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
