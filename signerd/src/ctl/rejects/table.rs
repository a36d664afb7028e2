//! A list as CSV: RFC 4180 in UTF-8, with the byte order mark by which spreadsheet programs know it.
//!
//! One line of headings in both languages, then one row per record and list; the first column says
//! which list. Spreadsheet programs take a cell that begins with certain characters for a formula and
//! carry it out: such a cell gets an apostrophe before it. What such a program does to leading zeros
//! when it opens the file is its own doing; the .xlsx says that they are text.

use std::io::{self, Write};

use csv::{Terminator, Writer, WriterBuilder};

use super::columns::{COLUMNS, Cell, cells};
use super::row::Row;

/// The byte order mark.
const MARK: &[u8] = "\u{feff}".as_bytes();
/// Between several texts of one cell: no line break, since many tools cut at every one.
const JOINT: &str = " | ";

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
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(output);
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
            Cell::Text(text) => no_formula(text),
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

/// Makes sure that no program takes a text for a formula, also behind spaces that it passes over.
fn no_formula(text: String) -> String {
    let first = text.trim_start_matches([' ', '\u{a0}', '"', '\'']).chars().next();
    let begins = first.is_some_and(|first| {
        matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠')
    });
    if begins { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_only_text() {
        // Each character that begins a formula, bare or behind spaces, gets an apostrophe; text that
        // has it further on, names and numbers stay as they are.
        for text in ["=1+1", "+84901", "-1", "@x", "\tx", "\rx", " =1", "\u{a0}+1", "＝1", "'=1"] {
            assert_eq!(no_formula(text.into()), format!("'{text}"));
        }
        for text in ["Nguyễn Văn A", "001099456789", "a=b", "", "20/10/1999"] {
            assert_eq!(no_formula(text.into()), text);
        }
    }
}
