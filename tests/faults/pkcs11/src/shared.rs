//! Numbers that all processes share: a small file, mapped into each.
//!
//! A file is made of zeros by whoever comes first, so making it needs no lock; every number is changed by
//! one atomic step. A process that is killed leaves the numbers as they are.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags};

/// Bytes of a number.
const NUMBER_BYTES: usize = size_of::<AtomicU64>();

/// So many numbers, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Shared {
    first: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the mapping is never removed, and is changed through atomics only.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps the file, which is made if it is not there.
    pub(crate) fn open(path: &Path, count: usize) -> io::Result<Self> {
        let bytes = count * NUMBER_BYTES;
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        // All processes make it equally long, so this never takes a number away.
        file.set_len(u64::try_from(bytes).map_err(io::Error::other)?)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping of the kernel's choice overlaps nothing; nobody shortens the file.
        let mapped = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, &file, 0)
        }?;
        let first = NonNull::new(mapped.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first, count })
    }

    /// All numbers.
    pub(crate) fn numbers(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has so many numbers, is aligned to a page and never removed.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    /// One of them; the last one if there are not so many.
    pub(crate) fn number(&self, index: usize) -> &AtomicU64 {
        let index = index.min(self.count - 1);
        // SAFETY: the index is below the count.
        unsafe { self.numbers().get_unchecked(index) }
    }
}
