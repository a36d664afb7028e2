//! One file of the project, and the views of it that rules look through.
//!
//! The views are made by a small lexer that knows comments, strings and characters, and nothing else
//! of Rust. It trusts the house rule that tests stand last in a file.

/// One text file, by its path from the project's root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Tells whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Tells whether the whole file is tests: the package `tests`, folders and files of that name.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| {
            matches!(part, "tests" | "tests.rs" | "benches" | "examples")
                || part.ends_with("_tests.rs")
        })
    }

    /// Returns the text without the tests at its end.
    pub(crate) fn product(&self) -> &str {
        match test_module(&self.text) {
            Some(start) => self.text.split_at(start).0,
            None => &self.text,
        }
    }

    /// Returns the product's code: comments and the insides of strings are blank, lines stay.
    pub(crate) fn product_code(&self) -> String {
        code(self.product())
    }

    /// Returns the code of the whole file.
    pub(crate) fn code(&self) -> String {
        code(&self.text)
    }
}

/// Finds where `#[cfg(test)]` of an inline test module begins.
fn test_module(text: &str) -> Option<usize> {
    let mut offset = 0;
    let mut candidate = None;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_end();
        if trimmed == "#[cfg(test)]" {
            candidate = Some(offset);
        } else if trimmed.starts_with("mod ") && trimmed.ends_with('{') {
            if candidate.is_some() {
                return candidate;
            }
        } else if !trimmed.starts_with("#[") {
            candidate = None;
        }
        offset += line.len();
    }
    None
}

/// Blanks comments, strings and characters; every line keeps its number.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let blank = comment(rest)
            .or_else(|| if inside_word { None } else { prefixed_string(rest) })
            .or_else(|| string(rest))
            .or_else(|| character(rest));
        let (token, after) = rest.split_at(blank.unwrap_or(first.len_utf8()));
        match blank {
            Some(_) => code.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => code.push_str(token),
        }
        rest = after;
    }
    code
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let mut depth = 0_u32;
    let mut at = 0;
    while let Some((_, tail)) = rest.split_at_checked(at) {
        if tail.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += tail.chars().next()?.len_utf8();
        }
    }
    Some(rest.len())
}

/// Strings with a prefix: `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`.
fn prefixed_string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c"].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|tail| tail.starts_with(['"', '#']))
    })?;
    let (_, tail) = rest.split_at(prefix.len());
    if !prefix.ends_with('r') {
        return Some(prefix.len() + string(tail)?);
    }
    let hashes: String = tail.chars().take_while(|c| *c == '#').collect();
    let inside = tail.strip_prefix(hashes.as_str())?.strip_prefix('"')?;
    let end = format!("\"{hashes}");
    let length = inside.find(&end)?;
    Some(prefix.len() + hashes.len() + 1 + length + end.len())
}

fn string(rest: &str) -> Option<usize> {
    if rest.starts_with('"') { closing(rest, '"') } else { None }
}

/// A character, which is not a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.strip_prefix('\'')?.chars();
    let first = chars.next()?;
    if first == '\\' || chars.next() == Some('\'') { closing(rest, '\'') } else { None }
}

/// Finds the end of a literal that begins with a quote and may hold escapes.
fn closing(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// Returns the line number of a byte offset.
pub(crate) fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Returns the offsets at which a path or word begins that is not the tail of a longer one.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let (before, after) = code.split_at(*at);
        let after = after.strip_prefix(word).unwrap_or_default();
        let name = |c: char| c.is_alphanumeric() || c == '_';
        let longer = word.ends_with(name) && after.starts_with(name);
        !before.ends_with(name) && !longer
    })
}

// Comments, strings and characters are blank; lifetimes, code and line numbers stay.
#[test]
fn the_lexer_blanks_what_is_not_code() {
    let text =
        "a // b\n\"c\\\"d\" e r#\"f\"g\"# 'h' '\\'' &'i j /* k /* l */\n m */ n b\"o\" var\"\"";
    let left: String = code(text).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(left, "a e &'i j n var");
    assert_eq!(code(text).lines().count(), text.lines().count());
}

// The test module at the end of a file is not product; a test-only function is.
#[test]
fn the_product_ends_where_the_tests_begin() {
    let text = "a\n#[cfg(test)]\nfn b() {}\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n}\n";
    let source = Source { path: String::new(), text: text.to_owned() };
    assert_eq!(source.product(), "a\n#[cfg(test)]\nfn b() {}\n");
}
