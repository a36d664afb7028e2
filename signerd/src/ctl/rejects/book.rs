//! A list as a spreadsheet: a summary, then one sheet for each list of Annex 03.
//!
//! Rows come in the order of the lists and leave memory at once: every sheet grows in a file without a
//! name in the folder of the result. Whatever came from a record is written as a string, so that
//! nothing is a formula, a link or a number that loses its zeros; counts are numbers. A list that is
//! longer than a sheet goes on in another one with the same headings.

use std::io::Write;
use std::path::Path;

use rust_xlsxwriter::{
    Color, DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Workbook, Worksheet,
    XlsxError,
};

use super::columns::{COLUMNS, Cell, cells};
use super::row::{By, List, Row};
use super::tally::{Counts, Tally};
use crate::ctl::output::harmless;

/// Most rows of a sheet, headings included (Excel's specifications and limits).
const SHEET_ROWS_MAX: u32 = 1_048_576;
/// Rows of headings: Vietnamese, English.
const HEADINGS: u32 = 2;
/// Height of a row of headings: two lines.
const HEADING_POINTS: u32 = 32;
/// Columns that stay in sight: number and name.
const FROZEN_COLUMNS: u16 = 2;
/// The built-in number format "@" (ECMA-376 §18.8.30): the cell is text, also when somebody types a
/// corrected number into it.
const TEXT: u8 = 49;
/// ISO 216 A4, by the numbers of the format.
const A4: u8 = 9;
/// From about here a part of the file can need ZIP's 64-bit form, which old readers do not know.
const ZIP64_BYTES: u64 = 1 << 30;
/// Between several texts of one cell: one below the other.
const JOINT: &str = "\n";
/// Who has to take care, at the foot of every printed page.
const FOOTER: &str = "&L&8Chứa dữ liệu cá nhân / Contains personal data&R&8&P / &N";

/// What a spreadsheet is about.
pub(super) struct Subject<'a> {
    /// The lists it has.
    pub(super) lists: &'a [List],
    /// By what it is grouped.
    pub(super) by: By,
    /// The counts of its summary.
    pub(super) tally: &'a Tally,
    /// When it is made, seconds since 1970.
    pub(super) now: i64,
    /// Bytes of its rows, about.
    pub(super) bytes: u64,
}

/// A spreadsheet that is being written.
pub(super) struct Book {
    workbook: Workbook,
    heading: Format,
    cell: Format,
    /// Lists that have no sheet yet, the next one last.
    ahead: Vec<List>,
    sheet_rows_max: u32,
    current: Option<Sheet>,
}

/// The sheet that grows.
struct Sheet {
    position: usize,
    list: List,
    /// 1, or higher where a list goes on.
    part: u32,
    next_row: u32,
    serial: u64,
}

impl Book {
    /// Begins with the summary; rows wait in files in this folder.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(super) fn begin(subject: &Subject<'_>, folder: &Path) -> Result<Self, XlsxError> {
        Self::with_rows(subject, folder, SHEET_ROWS_MAX)
    }

    fn with_rows(
        subject: &Subject<'_>,
        folder: &Path,
        sheet_rows_max: u32,
    ) -> Result<Self, XlsxError> {
        let mut workbook = Workbook::new();
        workbook.set_tempdir(folder)?;
        workbook.use_zip_large_file(subject.bytes > ZIP64_BYTES);
        let made = ExcelDateTime::from_timestamp(subject.now)?;
        workbook.set_properties(
            &DocProperties::new()
                .set_title("Danh sách đối tượng không hợp lệ / Rejected records")
                .set_creation_datetime(&made),
        );
        let heading = Format::new()
            .set_bold()
            .set_text_wrap()
            .set_align(FormatAlign::Center)
            .set_align(FormatAlign::VerticalCenter)
            .set_background_color(Color::RGB(0x00DD_EBF7))
            .set_border(FormatBorder::Thin);
        let cell =
            Format::new().set_num_format_index(TEXT).set_text_wrap().set_align(FormatAlign::Top);
        let ahead = subject.lists.iter().rev().copied().collect();
        let mut book = Self { workbook, heading, cell, ahead, sheet_rows_max, current: None };
        book.summary(subject)?;
        Ok(book)
    }

    /// Writes one row; rows come in the order of the lists.
    ///
    /// # Errors
    /// When the format or the disk refuses it.
    pub(super) fn add(&mut self, row: &Row) -> Result<(), XlsxError> {
        while self.current.as_ref().is_none_or(|sheet| sheet.list != row.list) {
            let Some(list) = self.ahead.pop() else { return Err(XlsxError::RowColumnOrderError) };
            self.turn_to(list, 1, 0)?;
        }
        if let Some(Sheet { next_row, part, serial, .. }) = self.current
            && next_row >= self.sheet_rows_max
        {
            self.turn_to(row.list, part.saturating_add(1), serial)?;
        }
        let Some(sheet) = &mut self.current else { return Ok(()) };
        sheet.serial = sheet.serial.saturating_add(1);
        let worksheet = self.workbook.worksheet_from_index(sheet.position)?;
        for (column, cell) in (0..).zip(cells(row, sheet.serial, JOINT)) {
            write_cell(worksheet, sheet.next_row, column, cell)?;
        }
        sheet.next_row = sheet.next_row.saturating_add(1);
        Ok(())
    }

    /// Makes the sheets that got no row, and writes the file.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub(super) fn finish(mut self, output: impl Write + Send) -> Result<(), XlsxError> {
        while let Some(list) = self.ahead.pop() {
            self.turn_to(list, 1, 0)?;
        }
        self.close_sheet()?;
        self.workbook.save_to_writer(output)
    }

    /// Closes the current sheet and begins another one.
    fn turn_to(&mut self, list: List, part: u32, serial: u64) -> Result<(), XlsxError> {
        self.close_sheet()?;
        let (heading, cell) = (self.heading.clone(), self.cell.clone());
        let worksheet = self.workbook.add_worksheet_with_constant_memory()?;
        worksheet.set_name(sheet_name(list, part))?;
        let [vi, en] = list.titles();
        print_layout(worksheet, &format!("{vi} / {en}"))?;
        worksheet.set_freeze_panes(HEADINGS, FROZEN_COLUMNS)?;
        for (number, column) in (0..).zip(&COLUMNS) {
            worksheet.set_column_width(number, f64::from(column.width))?;
            worksheet.set_column_format(number, &cell)?;
        }
        // One row after the other: a row that is behind is written already.
        let columns = COLUMNS.each_ref();
        for (row, headings) in (0..).zip([columns.map(|c| c.vi), columns.map(|c| c.en)]) {
            worksheet.set_row_height(row, HEADING_POINTS)?;
            for (number, text) in (0..).zip(headings) {
                worksheet.write_string_with_format(row, number, text, &heading)?;
            }
        }
        let position = self.workbook.worksheets().len().saturating_sub(1);
        self.current = Some(Sheet { position, list, part, next_row: HEADINGS, serial });
        Ok(())
    }

    fn close_sheet(&mut self) -> Result<(), XlsxError> {
        let Some(sheet) = self.current.take() else { return Ok(()) };
        let last_column = u16::try_from(COLUMNS.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let last_row = sheet.next_row.saturating_sub(1);
        let worksheet = self.workbook.worksheet_from_index(sheet.position)?;
        worksheet.autofilter(HEADINGS.saturating_sub(1), 0, last_row, last_column)?;
        Ok(())
    }

    fn summary(&mut self, subject: &Subject<'_>) -> Result<(), XlsxError> {
        let number = Format::new().set_num_format("#,##0");
        let total = number.clone().set_bold().set_border_top(FormatBorder::Thin);
        let bold = Format::new().set_bold().set_border_top(FormatBorder::Thin);
        let heading = self.heading.clone();
        let worksheet = self.workbook.add_worksheet();
        worksheet.set_name("Tổng hợp - Summary")?;
        print_layout(worksheet, "Tổng hợp / Summary")?;
        let headings = summary_headings(subject);
        let first_count = if subject.by.has_names() { 2 } else { 1 };
        worksheet.set_freeze_panes(HEADINGS, first_count)?;
        worksheet.set_column_width(0, 18)?.set_column_width(first_count.saturating_sub(1), 40)?;
        for (column, [vi, en]) in (0..).zip(&headings) {
            worksheet.write_string_with_format(0, column, vi, &heading)?;
            worksheet.write_string_with_format(1, column, en, &heading)?;
            if column >= first_count {
                worksheet.set_column_width(column, 20)?;
            }
        }
        worksheet.set_row_height(0, 48)?.set_row_height(1, 48)?;
        let mut row = HEADINGS;
        for (place, counts) in subject.tally.places() {
            for (column, text) in (0..).zip(place.texts(subject.by)) {
                worksheet.write_string(row, column, harmless(text))?;
            }
            write_counts(worksheet, (row, first_count), &number, numbers(subject, counts))?;
            row = row.saturating_add(1);
        }
        let last_column = u16::try_from(headings.len().saturating_sub(1)).unwrap_or(u16::MAX);
        worksheet.autofilter(HEADINGS.saturating_sub(1), 0, row.saturating_sub(1), last_column)?;
        worksheet.write_string_with_format(row, 0, "Tổng cộng / Total", &bold)?;
        for column in 1..first_count {
            worksheet.write_blank(row, column, &bold)?;
        }
        write_counts(worksheet, (row, first_count), &total, numbers(subject, subject.tally.total()))
    }
}

/// At most 31 UTF-16 units, with room for the part.
fn sheet_name(list: List, part: u32) -> String {
    let name = match list {
        List::NoNumber => "1 Thiếu số - No number",
        List::Malformed => "2 Sai định dạng - Malformed",
        List::NotMatched => "3 Xác minh sai - No match",
        List::Other => "Khác - Other",
    };
    if part == 1 { name.to_owned() } else { format!("{name} {part}") }
}

fn print_layout(worksheet: &mut Worksheet, title: &str) -> Result<(), XlsxError> {
    worksheet.set_landscape().set_paper_size(A4).set_print_fit_to_pages(1, 0);
    worksheet.set_repeat_rows(0, HEADINGS.saturating_sub(1))?;
    worksheet.set_header(format!("&L&\"-,Bold\"{}&R&D", title.replace('&', "&&")));
    worksheet.set_footer(FOOTER);
    Ok(())
}

fn write_cell(
    worksheet: &mut Worksheet,
    row: u32,
    column: u16,
    cell: Cell,
) -> Result<(), XlsxError> {
    match cell {
        Cell::Number(number) => worksheet.write_number(row, column, float(number))?,
        Cell::Text(text) => worksheet.write_string(row, column, text)?,
    };
    Ok(())
}

fn write_counts(
    worksheet: &mut Worksheet,
    (row, first): (u32, u16),
    format: &Format,
    counts: Vec<u64>,
) -> Result<(), XlsxError> {
    for (column, count) in (first..).zip(counts) {
        worksheet.write_number_with_format(row, column, float(count), format)?;
    }
    Ok(())
}

fn summary_headings(subject: &Subject<'_>) -> Vec<[String; 2]> {
    let pair = |pair: [&str; 2]| pair.map(str::to_owned);
    let place = match subject.by {
        By::Area => ["Địa bàn", "Area"],
        By::Province => ["Tỉnh, thành phố", "Province"],
        By::Facility => ["Cơ sở tiêm", "Unit"],
        By::Approver => ["Cơ sở duyệt", "Approving unit"],
    };
    let mut headings = vec![pair(place)];
    if subject.by.has_names() {
        headings.push(pair(["Tên", "Name"]));
    }
    headings.push(pair(["Số bản ghi", "Records"]));
    headings.extend(subject.lists.iter().map(|list| pair(list.titles())));
    headings.extend(subject.tally.codes().map(|code| {
        let detail = policy::ReasonCode::parse(code).map_or("", policy::ReasonCode::detail_vi);
        let fault = detail.split(';').next().unwrap_or_default();
        [fault.to_owned(), code.to_owned()]
    }));
    headings
}

fn numbers(subject: &Subject<'_>, counts: &Counts) -> Vec<u64> {
    let lists = subject.lists.iter().map(|list| counts.list(*list));
    let codes = subject.tally.codes().map(|code| counts.code(code));
    std::iter::once(counts.records).chain(lists).chain(codes).collect()
}

/// Exact for every count that can occur: a sheet, and so a list of all people, has fewer.
fn float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheet_names_fit() {
        // Names have at most 31 UTF-16 units, also of a late part, and no character that is reserved.
        for list in List::ALL {
            for part in [1, 2, 999] {
                let name = sheet_name(list, part);
                assert!(name.encode_utf16().count() <= 31, "{name}");
                assert!(!name.contains(['[', ']', ':', '*', '?', '/', '\\']), "{name}");
            }
        }
    }

    #[test]
    fn a_list_longer_than_a_sheet_goes_on() {
        // Rows beyond the end of a sheet stand on another one, with the headings and in sequence.
        use calamine::{Data, Reader, Xlsx, open_workbook};
        let folder = tempfile::tempdir().unwrap();
        let tally = Tally::default();
        let (lists, by) = ([List::NoNumber, List::Other], By::Area);
        let subject = Subject { lists: &lists, by, tally: &tally, now: 0, bytes: 0 };
        let mut book = Book::with_rows(&subject, folder.path(), 5).unwrap();
        for record in 0..8 {
            book.add(&Row { list: List::NoNumber, record, ..Row::empty() }).unwrap();
        }
        book.add(&Row { list: List::Other, ..Row::empty() }).unwrap();
        let path = folder.path().join("list.xlsx");
        book.finish(std::fs::File::create(&path).unwrap()).unwrap();
        let mut book: Xlsx<_> = open_workbook(&path).unwrap();
        let names = book.sheet_names();
        let name = "1 Thiếu số - No number";
        let parts = [name.to_owned(), format!("{name} 2"), format!("{name} 3")];
        assert_eq!(names[1..4], parts);
        assert_eq!(names[4], "Khác - Other");
        let mut serials = Vec::new();
        for part in parts {
            let range = book.worksheet_range(&part).unwrap();
            assert_eq!(range.get((0, 1)), Some(&Data::String("Họ và tên".to_owned())));
            serials.extend(range.rows().skip(2).map(|row| row[0].to_string()));
        }
        assert_eq!(serials, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    }
}
