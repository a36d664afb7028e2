//! A list as CSV: RFC 4180 in UTF-8, with the byte order mark by which spreadsheet programs know it.
//!
//! One line of headings in both languages, then one row per record and list; the first column says
//! which list. Spreadsheet programs take a cell that begins with certain characters for a formula and
//! carry it out: such a cell gets an apostrophe before it. What such a program does to leading zeros
//! when it opens the file is its own doing; the .xlsx says that they are text.

use std::io::{self, Write};

use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};

use super::columns::{COLUMNS, Cell, cells};
use super::row::Row;

/// The byte order mark.
const MARK: &[u8] = "\u{feff}".as_bytes();
/// Between several texts of one cell: no line break, since many tools cut at every one.
const JOINT: &str = " | ";
/// Where some program or other begins a new cell, whatever quotation marks say.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

/// A list that is being written.
pub(super) struct Table<W: Write> {
    writer: Writer<W>,
    /// The list and number of the row before.
    last: Option<(super::row::List, u64)>,
}

impl<W: Write> Table<W> {
    /// Begins with the headings.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(super) fn begin(mut output: W) -> io::Result<Self> {
        output.write_all(MARK)?;
        let mut writer = WriterBuilder::new()
            .terminator(Terminator::CRLF)
            .quote_style(QuoteStyle::Always)
            .from_writer(output);
        let headings = COLUMNS.iter().map(|column| format!("{} / {}", column.vi, column.en));
        writer.write_record(std::iter::once("Nhóm / Group".to_owned()).chain(headings))?;
        Ok(Self { writer, last: None })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(super) fn add(&mut self, row: &Row) -> io::Result<()> {
        let before =
            self.last.filter(|(list, _)| *list == row.list).map_or(0, |(_, number)| number);
        let serial = before.saturating_add(1);
        self.last = Some((row.list, serial));
        let [vi, en] = row.list.titles();
        let texts = cells(row, serial, JOINT).map(|cell| match cell {
            Cell::Number(number) => number.to_string(),
            Cell::Text(text) => no_formula(&text),
        });
        Ok(self.writer.write_record(std::iter::once(format!("{vi} / {en}")).chain(texts))?)
    }

    /// Writes what is waiting and gives the output back.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub(super) fn finish(self) -> io::Result<W> {
        self.writer.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// Makes sure that no program takes a text for a formula, nor a piece of it where it cuts at separators.
fn no_formula(text: &str) -> String {
    let mut safe = String::with_capacity(text.len().saturating_add(1));
    for piece in text.split_inclusive(SEPARATORS) {
        if begins_formula(piece) {
            safe.push('\'');
        }
        safe.push_str(piece);
    }
    safe
}

/// Whether a cell would be a formula, also behind blanks and quotes that are passed over.
fn begins_formula(cell: &str) -> bool {
    let is_blank = |c: char| c.is_whitespace() && !c.is_control();
    let first = cell.trim_start_matches(|c| is_blank(c) || matches!(c, '"' | '\'')).chars().next();
    first.is_some_and(|first| {
        matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_only_text() {
        // Each character that begins a formula, bare or behind spaces, gets an apostrophe; text that
        // has it further on, names and numbers stay as they are.
        for text in ["=1+1", "+84901", "-1", "@x", "\tx", "\rx", " =1", "\u{a0}+1", "＝1", "'=1"] {
            assert_eq!(no_formula(text), format!("'{text}"));
        }
        for text in ["Nguyễn Văn A", "001099456789", "a=b", "", "20/10/1999", "sai; sửa lại", ";"]
        {
            assert_eq!(no_formula(text), text);
        }
    }

    #[test]
    fn a_separator_in_a_cell_begins_no_formula() {
        // What follows a semicolon or a tab, with blanks and quotes between or without, gets an
        // apostrophe in front of all of it; every separator counts.
        for (text, safe) in [
            ("A;=1+1", "A;'=1+1"),
            ("A; \"=1", "A;' \"=1"),
            ("A;\u{a0}'@x", "A;'\u{a0}'@x"),
            ("A\t=1", "A\t'=1"),
            ("A\t \"+1", "A\t' \"+1"),
            ("=1;-2;b;＝3", "'=1;'-2;b;'＝3"),
            (";;=1", ";;'=1"),
        ] {
            assert_eq!(no_formula(text), safe);
        }
    }

    #[test]
    fn a_program_that_cuts_at_other_separators_finds_no_formula() {
        // The file is read as with a semicolon or a tab between cells, with and without regard to
        // quotation marks: no cell of any reading begins a formula, and every cell is quoted.
        let mut table = Table::begin(Vec::new()).unwrap();
        for name in ["A;=1+1", "A;\"=1+1", "A; \"\"=1", "\";=1", "A;\"", "A\t=1", "A;\",\";=1"] {
            let unit = "=HYPERLINK(\"http://x\")".to_owned();
            table.add(&Row { full_name: name.into(), unit, ..Row::empty() }).unwrap();
        }
        let text = String::from_utf8(table.finish().unwrap()).unwrap();
        let body = text.strip_prefix('\u{feff}').unwrap();
        assert!(body.lines().all(|line| line.starts_with('"') && line.ends_with('"')));
        for (separator, quoting) in [(b';', true), (b';', false), (b'\t', true), (b'\t', false)] {
            let mut reader = csv::ReaderBuilder::new();
            reader.delimiter(separator).quoting(quoting).flexible(true).has_headers(false);
            for row in reader.from_reader(body.as_bytes()).records() {
                for cell in &row.unwrap() {
                    let bare = cell.trim_start_matches([' ', '"']);
                    assert!(!bare.starts_with(['=', '+', '-', '@']), "{cell}");
                }
            }
        }
    }
}
