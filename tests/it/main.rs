//! The real binaries, held against the documents: one module per theme.

mod crash;
mod pin;
mod resume;
mod signing;
mod startup;
mod workers;
