//! The text form of a health certificate: `HC1:` + Base45 (RFC 9285) + zlib (RFC 1950).
//!
//! In goes the `COSE_Sign1` encoding, out comes the text that a QR symbol carries, and back. Writing
//! always gives level 9 with the header `78 da`, by a compressor for whole buffers, one per thread.
//! Reading is bounded in input and output and refuses everything that is not exactly one zlib stream
//! in exactly one Base45 spelling. It promises nothing about the bytes inside: that is `read`'s part.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};
use thiserror::Error;

/// The prefix that names context and version: health certificate, version 1.
pub const PREFIX: &str = "HC1:";

/// How long may a text be? A QR symbol of the largest size holds 4,296 alphanumeric characters, so
/// nothing longer was ever scanned from one; twice that leaves room for texts that came by file.
pub const TEXT_CHARS_MAX: usize = 8_592;

/// How many bytes may come out of the decompressor? Real certificates have 300 to 1,000; the limit
/// keeps a crafted text from unfolding into gigabytes.
pub const COSE_BYTES_MAX: usize = 65_536;

/// How hard to look for repetitions: the highest level takes three times as long and makes nothing shorter.
const LEVEL: i32 = 9;

/// Why a text is not one HC1 text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// The characters after the prefix are not Base45, or are a second spelling of the same bytes; a
    /// damaged text, retrying does not help.
    #[error("text is not base45 (rfc 9285): {0}")]
    Base45(&'static str),
    /// The compressor did not finish; a bug in this program, retrying does not help.
    #[error("certificate could not be compressed")]
    Compression,
    /// The decoded bytes are not a zlib stream, or are a cut one; a damaged text, retrying does not help.
    #[error("base45 content is not a whole zlib stream (rfc 1950)")]
    NotZlib,
    /// The text does not begin with `HC1:`; another kind of text, retrying does not help.
    #[error("text does not begin with \"HC1:\"")]
    Prefix,
    /// The text is longer than any QR symbol; retrying does not help.
    #[error("text has {chars} characters, more than {TEXT_CHARS_MAX}")]
    TooLong {
        /// Characters that came.
        chars: usize,
    },
    /// The zlib stream unfolds into more than the limit; a crafted text, retrying does not help.
    #[error("zlib stream unfolds into more than {COSE_BYTES_MAX} bytes")]
    TooLarge,
    /// Something follows the zlib stream; a damaged or crafted text, retrying does not help.
    #[error("zlib stream is followed by {bytes} more bytes")]
    TrailingBytes {
        /// Bytes behind the stream's end.
        bytes: usize,
    },
}

/// Gives the HC1 text of a `COSE_Sign1` encoding.
///
/// # Errors
/// [`TextError::Compression`] if the compressor misbehaves.
pub(super) fn encode(cose: &[u8]) -> Result<String, TextError> {
    let compressed = deflate(cose)?;
    let mut text = String::with_capacity(PREFIX.len() + compressed.len().div_ceil(2) * 3);
    text.push_str(PREFIX);
    text.push_str(&base45::encode(&compressed));
    Ok(text)
}

/// Gives the bytes (in practice a `COSE_Sign1` encoding) that an HC1 text carries.
///
/// # Errors
/// A [`TextError`] that names the first layer that does not hold.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, TextError> {
    if text.len() > TEXT_CHARS_MAX {
        return Err(TextError::TooLong { chars: text.chars().count() });
    }
    let body = text.strip_prefix(PREFIX).ok_or(TextError::Prefix)?;
    inflate(&unspell(body.as_bytes())?)
}

/// Decodes Base45, only in the one spelling that an encoder gives. The crate's decoder takes a last
/// pair above 255; and what it wrote is better read by something else.
fn unspell(body: &[u8]) -> Result<Vec<u8>, TextError> {
    let cut = TextError::Base45("cut in the middle of a group");
    let range = TextError::Base45("a group of characters is out of range");
    let mut bytes = Vec::with_capacity(body.len() / 3 * 2 + 1);
    let (threes, rest) = body.as_chunks::<3>();
    for [first, second, third] in threes {
        let value = digit(*first)? + 45 * (digit(*second)? + 45 * digit(*third)?);
        let value = u16::try_from(value).map_err(|_| range.clone())?;
        bytes.extend_from_slice(&value.to_be_bytes());
    }
    match rest {
        [] => {}
        [first, second] => {
            let value = digit(*first)? + 45 * digit(*second)?;
            bytes.push(u8::try_from(value).map_err(|_| range)?);
        }
        _ => return Err(cut),
    }
    Ok(bytes)
}

/// The value of a Base45 character.
fn digit(character: u8) -> Result<u32, TextError> {
    match DIGITS.get(usize::from(character)) {
        Some(Some(value)) => Ok(*value),
        _ => Err(TextError::Base45("wrong character")),
    }
}

/// Base45's characters in the order of their values (RFC 9285 §4.2).
const ALPHABET: [u8; 45] = *b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

/// The value of every byte, found without a branch: a text has 800 characters in no order.
const DIGITS: [Option<u32>; 256] = digits();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "evaluated by the compiler, where a fault is an error of the build"
)]
const fn digits() -> [Option<u32>; 256] {
    let mut digits = [None; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        digits[ALPHABET[value] as usize] = Some(value as u32);
        value += 1;
    }
    digits
}

thread_local! {
    // A fresh compressor costs more than a certificate costs to compress. It looks at nothing that it was given
    // before, so nothing of one holder reaches the next. The level exists, so there is no default to fall back to.
    static COMPRESS: RefCell<Compressor> =
        RefCell::new(Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default()));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

fn deflate(plain: &[u8]) -> Result<Vec<u8>, TextError> {
    COMPRESS.with_borrow_mut(|compress| {
        let mut out = vec![0; compress.zlib_compress_bound(plain.len())];
        let bytes = compress.zlib_compress(plain, &mut out).map_err(|_| TextError::Compression)?;
        out.truncate(bytes);
        Ok(out)
    })
}

fn inflate(compressed: &[u8]) -> Result<Vec<u8>, TextError> {
    DECOMPRESS.with_borrow_mut(|decompress| {
        decompress.reset(true);
        // Grown step by step: real certificates fit the first step, the limit is for crafted ones.
        let mut out = Vec::with_capacity(2_048);
        loop {
            let consumed = usize::try_from(decompress.total_in()).unwrap_or(usize::MAX);
            let rest = compressed.get(consumed..).unwrap_or_default();
            let before = out.len();
            let status = decompress.decompress_vec(rest, &mut out, FlushDecompress::None);
            match status.map_err(|_| TextError::NotZlib)? {
                Status::StreamEnd => break,
                _ if out.len() > COSE_BYTES_MAX => return Err(TextError::TooLarge),
                _ if out.len() == out.capacity() => out.reserve(out.len()),
                _ if out.len() == before => return Err(TextError::NotZlib),
                Status::Ok | Status::BufError => {}
            }
        }
        if out.len() > COSE_BYTES_MAX {
            return Err(TextError::TooLarge);
        }
        let consumed = usize::try_from(decompress.total_in()).unwrap_or(usize::MAX);
        match compressed.len().saturating_sub(consumed) {
            0 => Ok(out),
            bytes => Err(TextError::TrailingBytes { bytes }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_then_decoding_gives_the_same_bytes() {
        // Whatever goes in comes out again, also when the thread's compressor was used before.
        for length in [0_usize, 1, 2, 3, 255, 600, 5_000] {
            let bytes: Vec<u8> = (0..=u8::MAX).map(|i| i ^ i << 3).cycle().take(length).collect();
            let text = encode(&bytes).unwrap();
            assert_eq!(text, encode(&bytes).unwrap());
            assert_eq!(decode(&text).unwrap(), bytes);
        }
    }

    #[test]
    fn stream_has_the_header_of_level_nine() {
        // The zlib header is 78 da, as in the real sample of Viet Nam.
        let text = encode(b"abc").unwrap();
        assert_eq!(base45::decode(&text[PREFIX.len()..]).unwrap()[..2], [0x78, 0xda]);
    }

    #[test]
    fn second_spelling_of_a_pair_is_refused() {
        // A last pair above 255 is no Base45, though the crate's decoder takes it.
        let compressed = deflate(b"an odd one").unwrap();
        assert_eq!(compressed.len() % 2, 1);
        let mut body = base45::encode(&compressed);
        body.truncate(body.len() - 2);
        body.push_str("::");
        assert!(base45::decode(&body).is_ok());
        assert!(matches!(decode(&format!("HC1:{body}")), Err(TextError::Base45(_))));
    }

    #[test]
    fn base45_is_read_as_the_crate_writes_it() {
        // Every pair of bytes and every last byte reads back; groups beyond their range, single
        // characters and small letters do not.
        for value in 0..=u16::MAX {
            let bytes = value.to_be_bytes();
            assert_eq!(unspell(base45::encode(bytes).as_bytes()), Ok(bytes.to_vec()));
        }
        for byte in 0..=u8::MAX {
            assert_eq!(unspell(base45::encode([byte]).as_bytes()), Ok(vec![byte]));
        }
        // 65,535 and 65,536; 255 and 256; RFC 9285 §4.2 has the second as its example.
        for (good, bad) in [("FGW", "GGW"), ("U5", "V5")] {
            assert!(unspell(good.as_bytes()).is_ok());
            assert!(unspell(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in [":::", "A", "AAAA", "aaa", "AA\u{e9}", "A_"] {
            assert!(unspell(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn bomb_and_leftovers_are_refused() {
        // A stream that unfolds beyond the limit is refused, and so is anything behind a stream.
        let bomb = encode(&vec![0; COSE_BYTES_MAX + 1]).unwrap();
        assert_eq!(decode(&bomb), Err(TextError::TooLarge));
        let whole = encode(&vec![0; COSE_BYTES_MAX]).unwrap();
        assert_eq!(decode(&whole).unwrap().len(), COSE_BYTES_MAX);
        let mut long = deflate(b"certificate").unwrap();
        long.extend_from_slice(&[0, 0]);
        let text = format!("HC1:{}", base45::encode(&long));
        assert_eq!(decode(&text), Err(TextError::TrailingBytes { bytes: 2 }));
        let cut = format!("HC1:{}", base45::encode(&deflate(b"certificate").unwrap()[..10]));
        assert_eq!(decode(&cut), Err(TextError::NotZlib));
    }

    #[test]
    fn other_texts_are_refused_by_name() {
        // A wrong prefix, a wrong character and an endless text are told apart.
        assert_eq!(decode("HC2:6BF"), Err(TextError::Prefix));
        assert_eq!(decode(""), Err(TextError::Prefix));
        assert!(matches!(decode("HC1:a"), Err(TextError::Base45(_))));
        let long = format!("HC1:{}", "0".repeat(TEXT_CHARS_MAX));
        assert_eq!(decode(&long), Err(TextError::TooLong { chars: TEXT_CHARS_MAX + 4 }));
    }
}
