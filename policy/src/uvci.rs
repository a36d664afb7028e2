//! The unique vaccination certificate identifier.
//!
//! In: 16 random bytes, or the text of one. Out: `URN:UVCI:01:VN:` and 32 upper-case hex digits, as
//! Viet Nam's certificates have it, without the optional checksum. An identifier is personal data
//! (EU URN registration), so `Debug` does not print it. It does not draw the random bytes.

use std::{fmt, str::FromStr};

use data_encoding::{HEXUPPER, HEXUPPER_PERMISSIVE};

/// What every identifier of ours begins with: the scheme's version 01, the country, and the form
/// without issuer part.
const PREFIX: &str = "URN:UVCI:01:VN:";

/// An identifier of one certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uvci([u8; 16]);

impl Uvci {
    /// Makes an identifier from bytes that must be random: it must not lead to the person.
    pub fn from_random_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads an identifier of ours, in either case, with or without a checksum, which is not checked
    /// (of those in circulation a third are wrong).
    ///
    /// # Errors
    /// [`NotOurUvci`] if the text is anything else.
    pub fn parse(text: &str) -> Result<Self, NotOurUvci> {
        let text = match text.rsplit_once('#') {
            Some((uvci, checksum)) if checksum.len() == 1 => uvci,
            Some(_) => return Err(NotOurUvci),
            None => text,
        };
        let (prefix, hex) = text.split_at_checked(PREFIX.len()).ok_or(NotOurUvci)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(NotOurUvci);
        }
        let bytes = HEXUPPER_PERMISSIVE.decode(hex.as_bytes()).map_err(|_| NotOurUvci)?;
        bytes.try_into().map(Self).map_err(|_| NotOurUvci)
    }

    /// The 16 bytes of the identifier.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Uvci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", HEXUPPER.encode(&self.0))
    }
}

impl fmt::Debug for Uvci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uvci(..)")
    }
}

impl FromStr for Uvci {
    type Err = NotOurUvci;

    fn from_str(text: &str) -> Result<Self, NotOurUvci> {
        Self::parse(text)
    }
}

/// The text is not an identifier that this appliance makes; retrying does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the form {PREFIX} and 32 hex digits")]
pub struct NotOurUvci;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The identifier of the one public sample of Viet Nam.
    const SAMPLE: &str = "URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BCF";

    #[test]
    fn the_form_is_that_of_the_real_sample() {
        // An identifier is URN:UVCI:01:VN: and 32 upper-case hex digits.
        let uvci = Uvci::parse(SAMPLE).unwrap();
        assert_eq!(uvci.as_bytes()[..2], [0xFF, 0xFE]);
        assert_eq!(uvci.to_string(), SAMPLE);
    }

    #[test]
    fn reading_ignores_case_and_checksum() {
        // Identifiers are compared without regard to case and checksum.
        let uvci = Uvci::parse(SAMPLE).unwrap();
        assert_eq!(SAMPLE.to_lowercase().parse(), Ok(uvci));
        assert_eq!(Uvci::parse(&format!("{SAMPLE}#C")), Ok(uvci));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        // Other countries' forms, wrong lengths and wrong digits are refused.
        for bad in [
            "",
            "URN:UVCI:01:VN:",
            "URN:UVCI:01:NL:187/37512422923",
            "URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BC",
            "URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BCF00",
            "URN:UVCI:01:VN:GFFE3D31FABD035899134A9D3BAE9BCF",
            "URN:UVCI:02:VN:FFFE3D31FABD035899134A9D3BAE9BCF",
            "URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BCF#",
            "URN:UVCI:01:VN:FFFE3D31FABD035899134A9D3BAE9BCF#CC",
            "URN:UVCI:01:VNđFFFE3D31FABD035899134A9D3BAE9BCF",
        ] {
            assert_eq!(Uvci::parse(bad), Err(NotOurUvci), "{bad}");
        }
    }

    #[test]
    fn debug_prints_no_identifier() {
        // An identifier is personal data and does not get into logs by accident.
        assert_eq!(format!("{:?}", Uvci::from_random_bytes([7; 16])), "Uvci(..)");
    }

    proptest! {
        #[test]
        fn every_identifier_reads_back(bytes: [u8; 16]) {
            // What is written reads back as the same bytes.
            let uvci = Uvci::from_random_bytes(bytes);
            prop_assert_eq!(Uvci::parse(&uvci.to_string()), Ok(uvci));
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".{0,60}") {
            // Any text is an identifier or none.
            let _ = Uvci::parse(&text);
        }
    }
}
