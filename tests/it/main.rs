//! The real binaries, held against the documents: one module per theme.

mod documents;
mod signing;
mod systemd;
