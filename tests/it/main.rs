//! The real binaries, held against the documents: one module per theme.

mod access;
mod batches;
mod certificates;
mod documents;
mod evidence;
mod http;
mod interop;
mod observe;
mod privacy;
mod reasons;
mod requests;
mod signing;
mod systemd;
mod workers;
