//! The columns of a list, in the order in which a facility reads them, and what may stand in a cell.
//!
//! One table for both kinds of file, so that they cannot differ. Text is made harmless before it
//! leaves: no control characters, nothing that turns the reading direction, no more than a cell holds.

use super::row::Row;
use crate::ctl::output::harmless;

/// Most UTF-16 units of one cell (Excel's specifications and limits).
pub(super) const CELL_UNITS_MAX: usize = 32_767;

/// One column.
pub(super) struct Column {
    /// Vietnamese heading.
    pub(super) vi: &'static str,
    /// English heading.
    pub(super) en: &'static str,
    /// Width in characters.
    pub(super) width: u8,
    /// Where the value comes from.
    value: fn(&Row) -> Value<'_>,
}

/// What a column takes from a row.
enum Value<'a> {
    /// The row's number in its list.
    Serial,
    Number(u64),
    Text(&'a str),
    /// Several sentences or codes, one below the other.
    Texts(&'a [String]),
}

/// What stands in a cell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// A count.
    Number(u64),
    /// Anything else, as it is: never a formula.
    Text(String),
}

const fn column([vi, en]: [&'static str; 2], width: u8, value: fn(&Row) -> Value<'_>) -> Column {
    Column { vi, en, width, value }
}

/// The columns.
pub(super) const COLUMNS: [Column; 17] = [
    column(["STT", "No."], 6, |_| Value::Serial),
    column(["Họ và tên", "Full name"], 26, |row| Value::Text(&row.full_name)),
    column(["Ngày sinh", "Date of birth"], 12, |row| Value::Text(&row.date_of_birth)),
    column(["Quốc tịch", "Nationality"], 10, |row| Value::Text(&row.nationality)),
    column(["Số CCCD/CMND", "Identity number"], 16, |row| Value::Text(&row.national_id)),
    column(["Số hộ chiếu", "Passport"], 14, |row| Value::Text(&row.passport)),
    column(["Số điện thoại", "Phone"], 14, |row| Value::Text(&row.phone)),
    column(["Mã cơ sở tiêm", "Unit"], 16, |row| Value::Text(&row.unit)),
    column(["Tên cơ sở tiêm", "Unit's name"], 26, |row| Value::Text(&row.unit_name)),
    column(["Đơn vị quản lý", "Managing unit"], 22, |row| Value::Text(&row.manager)),
    column(["Địa bàn", "Area"], 10, |row| Value::Text(&row.area)),
    column(["Mũi tiêm: ngày, sản phẩm, cơ sở", "Doses: date, product, unit"], 38, |row| {
        Value::Texts(&row.doses)
    }),
    column(["Mã lý do", "Reason codes"], 24, |row| Value::Texts(&row.codes)),
    column(["Sai sót; việc cần làm", "What is wrong; what to do (Vietnamese)"], 46, |row| {
        Value::Texts(&row.faults_vi)
    }),
    column(["Sai sót; việc cần làm (tiếng Anh)", "What is wrong; what to do"], 46, |row| {
        Value::Texts(&row.faults_en)
    }),
    column(["Dòng trong tệp", "Row in the file"], 10, |row| Value::Number(row.line)),
    column(["Ghi chú", "Notes"], 24, |_| Value::Text("")),
];

/// The cells of a row; `serial` is its number in its list, `joint` stands between several texts.
pub(super) fn cells<'a>(
    row: &'a Row,
    serial: u64,
    joint: &'a str,
) -> impl Iterator<Item = Cell> + 'a {
    COLUMNS.iter().map(move |column| match (column.value)(row) {
        Value::Serial => Cell::Number(serial),
        Value::Number(number) => Cell::Number(number),
        Value::Text(text) => Cell::Text(fitting(harmless(text))),
        Value::Texts(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| harmless(text)).collect();
            Cell::Text(fitting(texts.join(joint)))
        }
    })
}

/// Cuts a text to what a cell can hold.
fn fitting(mut text: String) -> String {
    let mut units: usize = 0;
    let end = text.char_indices().find_map(|(at, character)| {
        units = units.saturating_add(character.len_utf16());
        (units >= CELL_UNITS_MAX).then_some(at)
    });
    if let Some(end) = end {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_where_a_cell_ends() {
        // At most 32,767 UTF-16 units, also of characters that need two; shorter text is not touched.
        assert_eq!(fitting("Nguyễn".into()), "Nguyễn");
        let almost = "a".repeat(CELL_UNITS_MAX - 1);
        assert_eq!(fitting(almost.clone()), almost);
        for long in ["a".repeat(CELL_UNITS_MAX), "𝒳".repeat(CELL_UNITS_MAX)] {
            let cut = fitting(long);
            let units = cut.encode_utf16().count();
            assert!(cut.ends_with('…') && (CELL_UNITS_MAX - 1..=CELL_UNITS_MAX).contains(&units));
        }
    }

    #[test]
    fn headings_are_there_in_both_languages() {
        // Every column has a heading of each language, and none twice.
        let mut seen = std::collections::BTreeSet::new();
        for Column { vi, en, .. } in &COLUMNS {
            assert!(!vi.is_empty() && !en.is_empty());
            assert!(seen.insert(vi) && seen.insert(en), "{vi}, {en}");
        }
    }
}
