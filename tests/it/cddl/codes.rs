//! The codes in the program, in `docs/`, and in the published contract: the same, in the same order.

use policy::ReasonCode;
use signerd::api::PROBLEM_CODES;

use super::{contract, text};

/// Marks a row of docs/reasons.md whose code the published table does not have.
const ADDED: &str = "added";

/// The text literals of a choice in docs/api.cddl.
fn choice(rule: &str) -> Vec<String> {
    let grammar = text("docs/api.cddl");
    let (_, rule) = grammar.split_once(&format!("\n{rule} =\n")).expect("the rule");
    let lines = rule.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line.split('"').nth(1).expect("a literal").to_owned()).collect()
}

/// The cells of the rows of a table that begin with a code, or with codes.
fn rows(document: &str) -> Vec<Vec<String>> {
    let rows = document.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect());
    cells.filter(|cells: &Vec<String>| cells.iter().any(|cell| cell.starts_with('`'))).collect()
}

/// What stands in back-quotes.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    rest.split("\n## ").next().unwrap_or_default()
}

#[test]
fn reason_codes_agree() {
    // The codes of the judge, of the table for people, of the description of the wire and of the published
    // table are the same in the same order; what we have beyond the published ones is marked.
    let program: Vec<String> = ReasonCode::ALL.iter().map(|c| c.as_str().to_owned()).collect();
    assert_eq!(choice("reason-code"), program, "docs/api.cddl");
    let document = text("docs/reasons.md");
    let table = rows(&document);
    let documented: Vec<String> = table.iter().flat_map(|cells| quoted(&cells[0])).collect();
    assert_eq!(documented, program, "docs/reasons.md");
    let Some(published) = contract("api.md") else { return };
    let published: Vec<String> = rows(section(&published, "\n## Reasons for one record"))
        .iter()
        .flat_map(|cells| quoted(&cells[0]).collect::<Vec<_>>())
        .collect();
    assert!(published.len() > 30, "{published:?}");
    let unmarked = table.iter().filter(|cells| !cells[0].contains(ADDED));
    let unmarked: Vec<String> = unmarked.flat_map(|cells| quoted(&cells[0])).collect();
    assert_eq!(unmarked, published, "codes that are not marked as added");
    let marked = table.iter().filter(|cells| cells[0].contains(ADDED));
    for code in marked.flat_map(|cells| quoted(&cells[0])) {
        assert!(!published.contains(&code), "{code} is published");
    }
}

#[test]
fn every_reason_is_explained() {
    // Each row of the table says what the code means, what to do, and by what paragraph; the group is one
    // of the three of Annex 03 or none.
    for cells in rows(&text("docs/reasons.md")) {
        let [code, meaning, remedy, paragraph, group] = cells.as_slice() else {
            panic!("not five cells: {cells:?}")
        };
        assert!(meaning.ends_with('.') && remedy.ends_with('.'), "{code}");
        let ours = code.starts_with("`dose.in_progress`") || code.contains(ADDED);
        assert!(ours || paragraph.contains("QĐ ") || paragraph.contains("CV "), "{code}");
        assert!(["", "1", "2", "3"].contains(&group.as_str()), "{code}");
    }
}

#[test]
fn problem_codes_agree() {
    // The problems that the program has, that clients read of and that the description allows are the same,
    // with the same status; the published ones are all there with theirs.
    let program: Vec<String> = PROBLEM_CODES.iter().map(|(_, code)| (*code).to_owned()).collect();
    assert_eq!(choice("problem-code"), program, "docs/api.cddl");
    let with_status: Vec<(String, String)> = PROBLEM_CODES
        .iter()
        .map(|(status, code)| (status.to_string(), format!("`{code}`")))
        .collect();
    let document = text("docs/api.md");
    let table = rows(section(&document, "\n## Problems"));
    let told: Vec<(String, String)> =
        table.iter().map(|cells| (cells[0].clone(), cells[1].clone())).collect();
    assert_eq!(told, with_status, "docs/api.md");
    let document = text("docs/operations.md");
    let mut told: Vec<(String, String)> = rows(section(&document, "\n## Problems"))
        .iter()
        .map(|cells| (cells[0].clone(), cells[1].clone()))
        .collect();
    told.sort();
    let mut sorted = with_status.clone();
    sorted.sort();
    assert_eq!(told, sorted, "docs/operations.md");
    let Some(published) = contract("api.md") else { return };
    let mut seen = 0;
    for cells in rows(section(&published, "\n## Errors for a whole request")) {
        for code in quoted(&cells[1]).filter(|code| !code.contains('*')) {
            let row = (cells[0].clone(), format!("`{code}`"));
            assert!(with_status.contains(&row), "{row:?} is published");
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen} published codes were found");
}
