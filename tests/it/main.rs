//! The real binaries, held against the documents: one module per theme.

mod signing;
mod workers;
