//! The real binaries, held against the documents: one module per theme.

mod access;
mod batches;
mod certificates;
mod crash;
mod devsetup;
mod disk;
mod documents;
mod evidence;
mod http;
mod interop;
mod observe;
mod pin;
mod privacy;
mod reasons;
mod requests;
mod resume;
mod signing;
mod startup;
mod systemd;
mod workers;
