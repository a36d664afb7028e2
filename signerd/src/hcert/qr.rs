//! QR symbols (ISO/IEC 18004) of HC1 texts, for the tools.
//!
//! In goes a text in the alphanumeric set, out comes a symbol in alphanumeric mode, as PNG, SVG or
//! half blocks for a terminal, always with the quiet zone of four modules that the standard demands.
//! It refuses any other text instead of falling back to byte mode, which some verifiers do not read.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use fast_qr::{ECL, Mode, QRBuilder, QRCode};
use thiserror::Error;

/// How wide is the quiet zone, in modules? ISO/IEC 18004 §6.3.8 says four.
pub const QUIET_ZONE_MODULES: usize = 4;

/// How many pixels may a module have? 64 make the largest symbol 11,840 pixels wide, more than any
/// printer of certificates needs.
pub const SCALE_PIXELS_MAX: u8 = 64;

/// How much of a symbol may be damaged before it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// 7 %, the smallest symbol.
    L,
    /// 15 %, for print and old cameras.
    M,
    /// 25 %, what the HCERT specification recommends.
    #[default]
    Q,
    /// 30 %, the largest symbol.
    H,
}

impl Level {
    const fn ecl(self) -> ECL {
        match self {
            Self::L => ECL::L,
            Self::M => ECL::M,
            Self::Q => ECL::Q,
            Self::H => ECL::H,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L => "L",
            Self::M => "M",
            Self::Q => "Q",
            Self::H => "H",
        })
    }
}

impl FromStr for Level {
    type Err = QrError;

    fn from_str(name: &str) -> Result<Self, QrError> {
        match name {
            "L" => Ok(Self::L),
            "M" => Ok(Self::M),
            "Q" => Ok(Self::Q),
            "H" => Ok(Self::H),
            other => Err(QrError::Level(other.to_owned())),
        }
    }
}

/// Why a symbol was not made. None of these is cured by trying again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QrError {
    /// A character is outside the alphanumeric set; the text is damaged or is no certificate.
    #[error("character {position} of the text is outside the alphanumeric set of qr symbols")]
    Character {
        /// Its position, counted from 1.
        position: usize,
    },
    /// There is no text.
    #[error("text is empty")]
    Empty,
    /// The level is none of the four.
    #[error("error correction level \"{0}\" is none of L, M, Q and H")]
    Level(String),
    /// The symbol did not come out in alphanumeric mode; a bug.
    #[error("symbol is not in alphanumeric mode")]
    Mode,
    /// The picture could not be encoded; a bug.
    #[error("png could not be made: {0}")]
    Png(String),
    /// A module has no pixel, or too many; choose another scale.
    #[error("scale of {0} pixels is not between 1 and {SCALE_PIXELS_MAX}")]
    Scale(u8),
    /// The text does not fit into the largest symbol; choose a lower level.
    #[error("text of {chars} characters is too long for a qr symbol of level {level}")]
    TooLong {
        /// Length of the text.
        chars: usize,
        /// Level that was asked for.
        level: Level,
    },
}

/// A QR symbol with its quiet zone.
#[derive(Debug, Clone)]
pub struct Symbol {
    code: QRCode,
    level: Level,
}

impl Symbol {
    /// Makes the symbol of a text.
    ///
    /// # Errors
    /// A [`QrError`] if the text is empty, too long, or not in the alphanumeric set.
    pub fn of(text: &str, level: Level) -> Result<Self, QrError> {
        if text.is_empty() {
            return Err(QrError::Empty);
        }
        if let Some(before) = text.chars().position(|character| !is_alphanumeric(character)) {
            return Err(QrError::Character { position: before + 1 });
        }
        let built = QRBuilder::new(text).mode(Mode::Alphanumeric).ecl(level.ecl()).build();
        let code = built.map_err(|_| QrError::TooLong { chars: text.len(), level })?;
        if code.mode != Some(Mode::Alphanumeric) {
            return Err(QrError::Mode);
        }
        Ok(Self { code, level })
    }

    /// Gives the width in modules, without the quiet zone.
    #[must_use]
    pub const fn modules(&self) -> usize {
        self.code.size
    }

    /// Gives the version of the standard's sizes, 1 to 40.
    #[must_use]
    pub const fn version(&self) -> usize {
        (self.code.size.saturating_sub(17)) / 4
    }

    /// Gives the error correction level.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Gives a PNG of one bit per pixel, with square modules of `scale` pixels.
    ///
    /// # Errors
    /// [`QrError::Scale`] for a scale out of range.
    pub fn png(&self, scale: u8) -> Result<Vec<u8>, QrError> {
        if scale == 0 || scale > SCALE_PIXELS_MAX {
            return Err(QrError::Scale(scale));
        }
        let scale = usize::from(scale);
        let width = self.full_width() * scale;
        let pixels = u32::try_from(width).map_err(|e| QrError::Png(e.to_string()))?;
        let mut image = Vec::with_capacity(width * width.div_ceil(8));
        for row in 0..self.full_width() {
            let line = self.line(row, scale);
            for _ in 0..scale {
                image.extend_from_slice(&line);
            }
        }
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, pixels, pixels);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().map_err(|e| QrError::Png(e.to_string()))?;
        writer.write_image_data(&image).map_err(|e| QrError::Png(e.to_string()))?;
        writer.finish().map_err(|e| QrError::Png(e.to_string()))?;
        Ok(file)
    }

    /// Gives an SVG whose unit is the module.
    #[must_use]
    pub fn svg(&self) -> String {
        let width = self.full_width();
        let mut path = String::new();
        for row in 0..width {
            for column in (0..width).filter(|column| self.is_dark(row, *column)) {
                // Writing into a string does not fail.
                let _ = write!(path, "M{column} {row}h1v1h-1z");
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" \
             shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{width}v{width}H0z\"/>\
             <path d=\"{path}\"/></svg>\n"
        )
    }

    /// Gives half blocks, two rows of modules in a line, black on white whatever the terminal's colours.
    #[must_use]
    pub fn terminal(&self) -> String {
        let width = self.full_width();
        let mut lines = String::new();
        for row in (0..width).step_by(2) {
            lines.push_str("\x1b[30;107m");
            for column in 0..width {
                lines.push(match (self.is_dark(row, column), self.is_dark(row + 1, column)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            lines.push_str("\x1b[0m\n");
        }
        lines
    }

    const fn full_width(&self) -> usize {
        self.code.size + 2 * QUIET_ZONE_MODULES
    }

    /// Tells whether a module is dark; the quiet zone and everything outside is light.
    fn is_dark(&self, row: usize, column: usize) -> bool {
        let size = self.code.size;
        let inside = |at: usize| at.checked_sub(QUIET_ZONE_MODULES).filter(|at| *at < size);
        let (Some(row), Some(column)) = (inside(row), inside(column)) else { return false };
        self.code.data.get(row * size + column).is_some_and(|module| module.value())
    }

    /// Packs one row of pixels, eight to a byte, white as 1.
    fn line(&self, row: usize, scale: usize) -> Vec<u8> {
        let pixels: Vec<bool> = (0..self.full_width())
            .flat_map(|column| std::iter::repeat_n(!self.is_dark(row, column), scale))
            .collect();
        pixels
            .chunks(8)
            .map(|eight| {
                (0..8).fold(0, |byte, bit| {
                    byte << 1 | u8::from(eight.get(bit).copied().unwrap_or_default())
                })
            })
            .collect()
    }
}

const fn is_alphanumeric(character: char) -> bool {
    matches!(character, '0'..='9' | 'A'..='Z' | ' ' | '$' | '%' | '*' | '+' | '-' | '.' | '/' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character of the set, long enough to need a version above 6.
    const TEXT: &str = "HC1:0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

    fn scanned(png: &[u8]) -> String {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut packed = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut packed).unwrap();
        let width = usize::try_from(info.width).unwrap();
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, width, |x, y| {
            if packed[y * info.line_size + x / 8] >> (7 - x % 8) & 1 == 1 { 255 } else { 0 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn picture_scans_as_the_text() {
        // What another implementation reads from the picture is the text, on every level.
        for level in [Level::L, Level::M, Level::Q, Level::H] {
            for text in [TEXT.to_owned(), TEXT.repeat(10)] {
                let symbol = Symbol::of(&text, level).unwrap();
                assert_eq!(scanned(&symbol.png(4).unwrap()), text, "{level}");
            }
        }
    }

    #[test]
    fn symbol_of_the_real_length_has_the_known_size() {
        // 825 characters, as in the real sample, give version 16 at L, 19 at M, 23 at Q, 26 at H:
        // the sizes of alphanumeric mode; byte mode would need larger ones.
        let text = format!("HC1:{}", "6BF".repeat(274)).chars().take(825).collect::<String>();
        for (level, version) in [(Level::L, 16), (Level::M, 19), (Level::Q, 23), (Level::H, 26)] {
            assert_eq!(Symbol::of(&text, level).unwrap().version(), version, "{level}");
        }
    }

    #[test]
    fn other_characters_are_refused() {
        // A text outside the alphanumeric set is refused, not put into byte mode.
        let refused = Symbol::of("HC1:abc", Level::Q).unwrap_err();
        assert_eq!(refused, QrError::Character { position: 5 });
        assert_eq!(Symbol::of("", Level::Q).unwrap_err(), QrError::Empty);
        let long = Symbol::of(&"A".repeat(4_297), Level::L).unwrap_err();
        assert_eq!(long, QrError::TooLong { chars: 4_297, level: Level::L });
        assert_eq!("X".parse::<Level>(), Err(QrError::Level("X".to_owned())));
    }

    #[test]
    fn quiet_zone_surrounds_every_form() {
        // Four light modules stand on every side of the picture, the drawing and the terminal's lines.
        let symbol = Symbol::of(TEXT, Level::Q).unwrap();
        let width = symbol.full_width();
        assert_eq!(width, symbol.modules() + 8);
        assert!((0..width).all(|at| {
            [0, 3, width - 4, width - 1]
                .iter()
                .all(|edge| !symbol.is_dark(*edge, at) && !symbol.is_dark(at, *edge))
        }));
        assert!(symbol.is_dark(4, 4));
        assert!(symbol.svg().contains(&format!("viewBox=\"0 0 {width} {width}\"")));
        assert!(symbol.svg().contains("M4 4h1v1h-1z"));
        let terminal = symbol.terminal();
        assert_eq!(terminal.lines().count(), width.div_ceil(2));
        assert!(terminal.lines().take(2).all(|l| !l.contains(['█', '▀', '▄'])));
        assert_eq!(symbol.png(0).unwrap_err(), QrError::Scale(0));
        assert_eq!(symbol.png(65).unwrap_err(), QrError::Scale(65));
    }
}
