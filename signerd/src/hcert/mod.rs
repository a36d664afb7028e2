//! Health certificates (HCERT): made strictly, read tolerantly.
//!
//! To make one: [`prepare`] encodes the claims of one dose and gives the digest to be signed; the
//! token signs; [`Unsigned::verify`] verifies the signature with an implementation that is not the
//! token's, and [`Signed::pack`] packs, reads the text back, compares, and only then gives an [`Hcert`].
//! To read any country's: [`read`] and [`verify`](fn@verify). The bytes have the layout of Viet Nam's real
//! sample: tag 18, protected `{1: alg, 4: kid}`, empty unprotected header, claims 1, 4, 6, -260.
//!
//! It does not decide what may be certified (`policy`), holds no key and reads no clock.

mod claims;
mod envelope;
mod judge;
pub mod qr;
mod read;
mod schema;
mod seal;
mod signer;
mod text;
mod tree;
mod trust_list;
mod verify;

pub use claims::{Claims, Dcc, Name, PayloadError, SCHEMA_VERSION, Vaccination};
pub use envelope::{Envelope, EnvelopeError, NamedAlg, Place, Tagging};
pub use judge::ClaimFault;
pub use read::{Decoded, ReadError, Sizes, read};
pub use schema::{SchemaFault, check as check_schema, kind_of};
pub use seal::{Hcert, HcertError, Refused, Signed, Unsigned, prepare};
pub use signer::{
    Alg, CertificateError, EventKind, Kid, SignatureInvalid, SignerCertificate, UnknownAlg,
};
pub use text::{COSE_BYTES_MAX, PREFIX, TEXT_CHARS_MAX, TextError};
pub use tree::{NESTING_MAX, Tree, TreeError};
pub use trust_list::{LIST_BYTES_MAX, Standing, TrustList, TrustListError};
pub use verify::{Invalid, Signers, Verified, verify};

#[cfg(test)]
mod tests;
