//! To come.

pub mod inspect;
pub mod qr;
pub mod texts;
pub mod verify;
