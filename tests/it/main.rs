//! The real binaries, held against the documents: one module per theme.

mod documents;
mod access;
mod batches;
mod certificates;
mod evidence;
mod http;
mod observe;
mod privacy;
mod reasons;
mod requests;
mod interop;
mod signing;
mod systemd;
mod workers;
