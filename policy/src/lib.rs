//! What may be signed: the judge of the appliance.
//!
//! In: a decoded vaccination record, what was found out about the two statements that others signed
//! about it, the issuer's rules, and the time. Out: either [`Approved`], the only value from which a
//! certificate can be made, or every [`Reason`] why not. Beside it stand the facts that judging
//! needs: value sets, transliteration, the registry of facilities, and the `policy.toml` they are
//! chosen in.
//!
//! It promises to be pure: no clock (`now` is an argument), no file or socket, no logging, no async,
//! no panic on any input. It does not verify signatures, does not decode CBOR, and does not know
//! which doses were certified before.
//!
//! Read [`verdict::judge`] first.

pub mod batch;
mod calendar;
pub mod dose_key;
pub mod evidence;
pub mod icao;
pub mod issuer;
pub mod names;
mod plain;
pub mod policy_file;
pub mod reason;
pub mod record;
pub mod registry;
pub mod selection;
pub mod uvci;
pub mod validity;
pub mod value_set;
pub mod verdict;
pub mod warning;
pub mod window;

pub use batch::{BatchFault, check_batch};
pub use calendar::{Period, VIET_NAM, day_bounds};
pub use dose_key::{DoseKey, dose_keys};
pub use evidence::{Evidence, FacilitySigner, IdentityStatement, Outcome};
pub use issuer::{
    Algorithm, Assurance, CertifiedDoses, CodeCombinations, IdCheck, IssuerRules, Reissue,
    Requirement,
};
pub use names::Names;
pub use policy_file::{FacilityTrust, Fault, Policy, Verifier};
pub use reason::{Group, Reason, ReasonCode};
pub use record::{Dose, Holder, Record};
pub use registry::{Facility, Place, RegisteredCertificate, Registry, Status};
pub use selection::Selection;
pub use uvci::Uvci;
pub use validity::{KeyUnusable, SignerValidity, expiry};
pub use value_set::Catalogue;
pub use verdict::{Approved, ApprovedDose, Entry, judge};
pub use warning::{Warning, WarningCode};
pub use window::SigningWindow;
