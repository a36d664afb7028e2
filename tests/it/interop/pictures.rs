//! QR symbols, read back by a reader that is not the writer.

use std::fs;

use data_encoding::BASE64;
use serde_json::Value;
use signerd_tests::setup::vectors;
use signerd_tests::{Daemon, Setup};

use super::{ends, lines, text};

/// Pixels that make one module in a picture that is scanned: too few, and the reader loses its way.
const SCALE: usize = 4;

/// A square of modules, dark or light.
struct Modules {
    width: usize,
    dark: Vec<bool>,
}

impl Modules {
    /// Reads the square as a scanner would, from pixels.
    fn scanned(&self) -> String {
        let width = self.width * SCALE;
        let dark = |x: usize, y: usize| self.dark[y / SCALE * self.width + x / SCALE];
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, width, |x, y| {
            if dark(x, y) { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one symbol in the picture");
        grids[0].decode().expect("a readable symbol").1
    }
}

/// Reads a symbol out of a PNG of any depth; none where it holds no readable one.
fn scan_png(bytes: &[u8]) -> Option<String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut pixels).ok()?;
    let samples = info.color_type.samples();
    let (width, height) = (usize::try_from(info.width).ok()?, usize::try_from(info.height).ok()?);
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        pixels[y * info.line_size + x * samples]
    });
    image.detect_grids().first()?.decode().ok().map(|(_, text)| text)
}

/// The squares that an SVG of ours paints dark.
fn modules_of_svg(svg: &str) -> Modules {
    let box_of = svg.split("viewBox=\"0 0 ").nth(1).expect("a view box");
    let width: usize = box_of.split(' ').next().unwrap().parse().unwrap();
    let path = svg.split("<path d=\"").nth(1).expect("a path").split('"').next().unwrap();
    let mut dark = vec![false; width * width];
    for square in path.split('M').filter(|square| !square.is_empty()) {
        let (column, rest) = square.split_once(' ').expect("a place");
        let row = rest.strip_suffix("h1v1h-1z").expect("a square of one module");
        dark[row.parse::<usize>().unwrap() * width + column.parse::<usize>().unwrap()] = true;
    }
    Modules { width, dark }
}

/// The half blocks of a terminal, two rows of modules in a line.
fn modules_of_terminal(lines: &str) -> Modules {
    let plain = lines.replace("\x1b[30;107m", "").replace("\x1b[0m", "");
    let width = plain.lines().next().expect("a line").chars().count();
    let mut dark = Vec::new();
    for line in plain.lines() {
        for set in ['▀', '▄'] {
            dark.extend(line.chars().map(|block| block == set || block == '█'));
        }
    }
    dark.truncate(width * width);
    Modules { width, dark }
}

#[test]
fn every_form_of_a_symbol_scans_as_its_certificate() {
    // PNG, SVG and the terminal's blocks of fresh certificates, PS256 and ES256, on every level of
    // error correction, give the certificate's text back.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    ends(&setup, &["sample", "--count", "2", "--doses", "1", "--output", "records"], 0);
    ends(&setup, &["sign", "records", "--output", "signed"], 0);
    ends(&setup, &["sample", "--count", "1", "--seed", "9", "--output", "others"], 0);
    ends(&setup, &["sign", "others", "--issuer", "vn-moh-ec", "--output", "signed-ec"], 0);
    assert!(daemon.stop().success());
    for file in ["signed", "signed-ec"] {
        let hcert = text(&lines(&setup, file)[0], "hcert").to_owned();
        for level in ["L", "M", "Q", "H"] {
            for name in ["one.png", "one.svg"] {
                ends(&setup, &["qr", &hcert, "--level", level, "--output", name], 0);
            }
            let png = fs::read(setup.path("one.png")).unwrap();
            assert_eq!(scan_png(&png).as_deref(), Some(hcert.as_str()), "{file} {level}");
            assert_eq!(modules_of_svg(&setup.text("one.svg")).scanned(), hcert, "{file} {level}");
            let blocks = ends(&setup, &["qr", &hcert, "--level", level], 0).out;
            assert_eq!(modules_of_terminal(&blocks).scanned(), hcert, "{file} {level}");
        }
    }
    // Several certificates go into a folder, one picture each, in their order.
    fs::create_dir(setup.path("pictures")).unwrap();
    ends(&setup, &["qr", "signed", "--output", "pictures"], 0);
    for (number, line) in lines(&setup, "signed").iter().enumerate() {
        let png = fs::read(setup.path(&format!("pictures/{:04}.png", number + 1))).unwrap();
        assert_eq!(scan_png(&png).as_deref(), Some(text(line, "hcert")));
    }
}

#[test]
fn pictures_of_the_eu_scan_as_their_texts_and_a_broken_one_does_not() {
    // The scanner that judges our pictures reads those of other issuers, and refuses Q1.
    let Some(data) = vectors("the EU's pictures") else { return };
    let read = |name: &str| {
        let json = fs::read_to_string(data.join("dgc-testdata/common").join(name)).unwrap();
        serde_json::from_str::<Value>(json.trim_start_matches('\u{feff}')).unwrap()
    };
    let broken = BASE64.decode(text(&read("Q1.json"), "2DCODE").as_bytes()).unwrap_or_default();
    assert_eq!(scan_png(&broken), None);
    let good = read("CO28.json");
    let picture = BASE64.decode(text(&good, "2DCODE").as_bytes()).unwrap();
    assert_eq!(scan_png(&picture).as_deref(), Some(text(&good, "PREFIX")));
}
