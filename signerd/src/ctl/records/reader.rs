//! The records file, read one record at a time.
//!
//! In goes any buffered reader, out come [`Located`] entries in file order. Both forms of RFC 8259
//! text are read: an array of objects, however it is spread over lines, and one object per line.
//! Every fault names the line. After a fault the reader ends: the rest of a broken file is not guessed
//! at. One record at a time is held, and it is bounded.

use std::io::{self, BufRead};

use super::{EntryError, JsonEntry, Located};

/// Most bytes of one record's JSON text: the largest possible entry in base64url with escapes is
/// under 32 KiB; the rest is room for white space. It bounds memory on a file that is no records file.
const ENTRY_JSON_BYTES_MAX: usize = 256 * 1024;

/// Why the records file cannot be read; the file has to be corrected, repeating does not help.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The operating system could not read on.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// The text is no JSON, or no `record-entry`; the column counts from the record's first byte.
    #[error("line {line}: {reason}")]
    Json {
        /// The line, from 1.
        line: u64,
        /// What `serde_json` says, without its own position.
        reason: String,
    },
    /// The entry breaks a limit that would make the daemon refuse its whole batch.
    #[error("line {line}: {source}")]
    Entry {
        /// The line on which the record begins, from 1.
        line: u64,
        /// The limit.
        source: EntryError,
    },
    /// Something stands where a record, a comma or the end of the array belongs.
    #[error("line {line}: {expected} expected")]
    Layout {
        /// The line, from 1.
        line: u64,
        /// What belongs there.
        expected: &'static str,
    },
    /// One record's text is longer than any real one.
    #[error("line {line}: a record of more than {ENTRY_JSON_BYTES_MAX} bytes")]
    TooLong {
        /// The line on which the record begins, from 1.
        line: u64,
    },
}

/// Reads the entries of one records file.
pub struct RecordReader<R> {
    source: R,
    form: Form,
    /// The line of the next byte, from 1.
    line: u64,
    index: u64,
    text: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Unknown,
    Lines,
    ArrayStart,
    ArrayRest,
    Ended,
}

impl<R: BufRead> RecordReader<R> {
    /// Begins at the start of a file.
    pub fn new(source: R) -> Self {
        Self { source, form: Form::Unknown, line: 1, index: 0, text: Vec::new() }
    }

    fn read_next(&mut self) -> Result<Option<Located>, RecordsError> {
        if self.form == Form::Unknown {
            self.form = self.begin()?;
        }
        let line = match self.form {
            Form::Lines => self.next_line()?,
            Form::ArrayStart | Form::ArrayRest => self.next_element()?,
            Form::Unknown | Form::Ended => None,
        };
        let Some(line) = line else { return Ok(None) };
        let json: JsonEntry =
            serde_json::from_slice(&self.text).map_err(|error| json_error(line, &error))?;
        let entry = json.into_entry().map_err(|source| RecordsError::Entry { line, source })?;
        let index = self.index;
        self.index = self.index.saturating_add(1);
        Ok(Some(Located { index, line, entry }))
    }

    /// Skips a byte order mark and white space, and tells the two forms apart.
    fn begin(&mut self) -> Result<Form, RecordsError> {
        if self.source.fill_buf()?.starts_with(b"\xEF\xBB\xBF") {
            self.source.consume(3);
        }
        match self.peek_after_space()? {
            None => Ok(Form::Ended),
            Some(b'[') => {
                self.source.consume(1);
                Ok(Form::ArrayStart)
            }
            Some(b'{') => Ok(Form::Lines),
            Some(_) => self.expected("an array of records or one record per line"),
        }
    }

    /// Puts the next line that is not blank into `text` and returns its number.
    fn next_line(&mut self) -> Result<Option<u64>, RecordsError> {
        if self.peek_after_space()?.is_none() {
            return Ok(None);
        }
        let line = self.line;
        self.text.clear();
        loop {
            let available = self.source.fill_buf()?;
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            let (size, at_end) = (part.len(), available.is_empty() || end.is_some());
            self.text.extend_from_slice(part);
            self.source.consume(size);
            if self.text.len() > ENTRY_JSON_BYTES_MAX {
                return Err(RecordsError::TooLong { line });
            }
            if at_end {
                return Ok(Some(line));
            }
        }
    }

    /// Puts the next object of the array into `text` and returns the line on which it begins.
    fn next_element(&mut self) -> Result<Option<u64>, RecordsError> {
        let mut next = self.peek_after_space()?;
        if next == Some(b',') && self.form == Form::ArrayRest {
            self.source.consume(1);
            next = self.peek_after_space()?;
            if next != Some(b'{') {
                return self.expected("a record");
            }
        } else if next == Some(b'{') && self.form == Form::ArrayRest {
            return self.expected("a comma or the end of the array");
        }
        match next {
            Some(b'{') => {
                self.form = Form::ArrayRest;
                self.take_object().map(Some)
            }
            Some(b']') => {
                self.source.consume(1);
                self.form = Form::Ended;
                match self.peek_after_space()? {
                    None => Ok(None),
                    Some(_) => self.expected("nothing behind the array"),
                }
            }
            _ => self.expected("a record or the end of the array"),
        }
    }

    /// Copies one object, brace to brace, into `text`: only strings need care, the rest is JSON's.
    fn take_object(&mut self) -> Result<u64, RecordsError> {
        let line = self.line;
        let mut scan = ObjectScan::default();
        self.text.clear();
        loop {
            let available = self.source.fill_buf()?;
            if available.is_empty() {
                return self.expected("the end of the record");
            }
            let end = available.iter().position(|byte| scan.ends_at(*byte));
            let size = end.map_or(available.len(), |position| position.saturating_add(1));
            let part = available.get(..size).unwrap_or_default();
            self.line = self.line.saturating_add(newlines(part));
            self.text.extend_from_slice(part);
            self.source.consume(size);
            if self.text.len() > ENTRY_JSON_BYTES_MAX {
                return Err(RecordsError::TooLong { line });
            }
            if end.is_some() {
                return Ok(line);
            }
        }
    }

    fn peek_after_space(&mut self) -> Result<Option<u8>, RecordsError> {
        loop {
            let available = self.source.fill_buf()?;
            let space = available.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
            let next = available.get(space).copied();
            let at_end = available.is_empty();
            self.line =
                self.line.saturating_add(newlines(available.get(..space).unwrap_or_default()));
            self.source.consume(space);
            if next.is_some() || at_end {
                return Ok(next);
            }
        }
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, RecordsError> {
        Err(RecordsError::Layout { line: self.line, expected })
    }
}

impl<R: BufRead> Iterator for RecordReader<R> {
    type Item = Result<Located, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read_next();
        if next.is_err() {
            self.form = Form::Ended;
        }
        next.transpose()
    }
}

#[derive(Default)]
struct ObjectScan {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl ObjectScan {
    fn ends_at(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' => self.depth = self.depth.saturating_add(1),
            b'}' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX)
}

/// Moves `serde_json`'s position, which counts from the record's start, to the file's.
fn json_error(first_line: u64, error: &serde_json::Error) -> RecordsError {
    let within = u64::try_from(error.line().saturating_sub(1)).unwrap_or(0);
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    // serde_json quotes an offending value ("invalid type: string \"…\", expected u64"); it may be
    // personal data, and what the tool says ends in journals and tickets.
    let reason = match reason.split_once(", expected ") {
        Some((kind, expected)) if kind.starts_with("invalid ") => format!("{expected} expected"),
        _ => reason.to_owned(),
    };
    RecordsError::Json {
        line: first_line.saturating_add(within),
        reason: format!("{reason} (column {})", error.column()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::super::model::tests::full_record;
    use super::*;
    use crate::ctl::records::to_base64url;

    fn read(text: &str) -> Result<Vec<Located>, String> {
        // A buffer of seven bytes makes every construct straddle a refill.
        RecordReader::new(BufReader::with_capacity(7, text.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }

    fn object() -> String {
        format!(r#"{{"record": {}}}"#, serde_json::to_string(&full_record()).unwrap())
    }

    #[test]
    fn lines_and_arrays_give_the_same_entries() {
        // An array, a pretty-printed array and one object per line are the same file.
        let pretty = {
            let value: serde_json::Value = serde_json::from_str(&object()).unwrap();
            serde_json::to_string_pretty(&[value.clone(), value]).unwrap()
        };
        let lines = read(&format!("{}\r\n\n{}", object(), object())).unwrap();
        let array = read(&format!("[{},{}]\n", object(), object())).unwrap();
        let pretty = read(&pretty).unwrap();
        let entries = |all: &[Located]| all.iter().map(|l| l.entry.clone()).collect::<Vec<_>>();
        assert_eq!(lines.len(), 2);
        assert_eq!(entries(&lines), entries(&array));
        assert_eq!(entries(&lines), entries(&pretty));
        assert_eq!((lines[1].index, lines[1].line), (1, 3));
        assert_eq!((array[1].index, array[1].line), (1, 1));
    }

    #[test]
    fn encoded_records_pass_byte_for_byte() {
        // A record that others signed is passed on as it is, even if it is not our encoding.
        let text = format!(r#"{{"record":"{}"}}"#, to_base64url(b"\xbf\xff any bytes"));
        assert_eq!(read(&text).unwrap()[0].entry.record.0, b"\xbf\xff any bytes");
    }

    #[test]
    fn day_first_dates_give_the_same_bytes() {
        // A record with DD/MM/YYYY dates is encoded as the same record with ISO dates.
        let vietnamese =
            object().replace("2021-06-20", "20/6/2021").replace("1999-10-20", "20/10/1999");
        assert_eq!(read(&vietnamese).unwrap()[0].entry, read(&object()).unwrap()[0].entry);
    }

    #[test]
    fn faults_name_their_line() {
        // Each kind of fault names the line it is on and says what is wrong.
        let good = object();
        let faults = [
            (format!("{good}\n{{\"record\": 5}}\n"), "line 2: a vaccination record, or base64url"),
            (format!("{good}\n\n{{\"record\": "), "line 3: EOF while parsing"),
            (format!("{good} {good}"), "line 1: trailing characters"),
            (format!("[{good}\n,\n]"), "line 3: a record expected"),
            (format!("[{good}\n {good}]"), "line 2: a comma or the end"),
            (format!("[{good}]\nx"), "line 2: nothing behind the array"),
            (format!("[{good}"), "line 1: a record or the end of the array expected"),
            ("\n\n5".into(), "line 3: an array of records or one record per line"),
            ("[\n{\"record\":\"AAAA\",\n\"dozes\":[1]}]".into(), "line 3: unknown field `dozes`"),
            ("{\"record\":\"%%\"}".into(), "line 1: record is not base64url"),
            ("{\"record\":\"\"}".into(), "line 1: record has 0 bytes"),
            ("{\"record\":\"AAAA\",\"doses\":[0]}".into(), "line 1: doses must be"),
            (r#"[{"record":"a"#.into(), "line 1: the end of the record expected"),
        ];
        for (text, expected) in faults {
            let error = read(&text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn faults_repeat_no_values() {
        // A value of a wrong type is not repeated in the message: it may be personal data.
        let text = object().replace("\"total_doses\":2", "\"total_doses\":\"001099456789\"");
        let error = read(&text).unwrap_err();
        assert!(error.contains("u64 expected") && !error.contains("001099456789"), "{error}");
    }

    #[test]
    fn strings_may_hold_braces() {
        // Braces, quotes and backslashes inside strings do not end an object of an array.
        let text = r#"[{"record":{"holder":{"full_name":"}\"{\\","nationality":"VN",
            "date_of_birth":"1999"},"doses":[],"total_doses":1}}]"#;
        assert_eq!(read(text).unwrap().len(), 1);
    }

    #[test]
    fn endless_text_is_refused() {
        // A line longer than any record is refused without being held whole.
        let text = format!("{{{}", " ".repeat(ENTRY_JSON_BYTES_MAX + 10));
        assert!(read(&text).unwrap_err().contains("a record of more than"));
    }

    #[test]
    fn an_empty_file_has_no_records() {
        // Nothing, white space, or an empty array: no records, no fault.
        for text in ["", " \n\n", "[]", "\u{feff}[ ]\n"] {
            assert_eq!(read(text).unwrap().len(), 0);
        }
    }
}
