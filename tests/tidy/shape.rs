//! Rules for single files: length, module documentation, reasons, dead files, words.

use crate::source::{Source, line, words};
use crate::{Fault, finds, made_up, project, report};

/// How long may a file be without its tests? What does not fit is two ideas.
const FILE_LINES_MAX: usize = 500;

fn too_long(sources: &[Source]) -> Vec<Fault> {
    sources
        .iter()
        .filter(|source| source.is_rust() && !source.is_test())
        .filter_map(|source| {
            let lines = source.product().lines().count();
            (lines > FILE_LINES_MAX)
                .then(|| format!("{}: {lines} lines; at most {FILE_LINES_MAX}", source.path))
        })
        .collect()
}

fn without_documentation(sources: &[Source]) -> Vec<Fault> {
    let first =
        |source: &Source| source.text.lines().find(|line| !line.is_empty()).map(str::to_owned);
    sources
        .iter()
        .filter(|source| source.is_rust())
        .filter(|source| !first(source).is_some_and(|line| line.starts_with("//!")))
        .map(|source| format!("{}: begin with //! and say what the module is for", source.path))
        .collect()
}

/// Attributes that switch a check off say why.
fn without_reason(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let code = source.code();
        for at in words(&code, "#[ignore]") {
            faults.push(format!("{}:{}: #[ignore = \"why\"]", source.path, line(&code, at)));
        }
        for name in ["expect(", "allow("] {
            for at in words(&code, name) {
                let (before, after) = code.split_at(at);
                let attribute = before.ends_with("#[") || before.ends_with("#![");
                let inside = after.split("]").next().unwrap_or_default();
                if attribute && words(inside, "reason").next().is_none() {
                    faults.push(format!("{}:{}: add reason = \"…\"", source.path, line(&code, at)));
                }
            }
        }
    }
    faults
}

/// A file that no `mod` names is compiled by nobody.
fn dead(sources: &[Source]) -> Vec<Fault> {
    let rust = || sources.iter().filter(|source| source.is_rust());
    rust()
        .filter(|file| !is_crate_root(&file.path))
        .filter(|file| {
            let (name, parents) = module_of(&file.path);
            !rust().any(|source| {
                let declares = || words(&source.code(), &format!("mod {name};")).next().is_some();
                named_by_path(source).any(|path| path == file.path)
                    || (parents.contains(&source.path) && declares())
            })
        })
        .map(|file| format!("{}: no module declares it", file.path))
        .collect()
}

fn is_crate_root(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    matches!(file, "lib.rs" | "main.rs" | "build.rs")
        || folder == "tests"
        || ["src/bin", "/tests", "/benches", "/examples", "/fuzz_targets"]
            .iter()
            .any(|end| folder.ends_with(end))
}

/// Returns a module's name, and the files that may declare it.
fn module_of(path: &str) -> (&str, Vec<String>) {
    let stem = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap_or(path);
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let mut parents: Vec<String> =
        ["mod.rs", "lib.rs", "main.rs"].iter().map(|file| format!("{folder}/{file}")).collect();
    parents.push(format!("{folder}.rs"));
    (name, parents)
}

/// The files that `#[path = "…"]` of a file names, which stand at the beginning of their lines.
fn named_by_path(source: &Source) -> impl Iterator<Item = String> + '_ {
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let paths =
        source.text.lines().filter_map(|line| line.strip_prefix("#[path = \"")?.split('"').next());
    paths.map(move |path| {
        let mut parts: Vec<&str> = folder.split('/').collect();
        for part in path.split('/') {
            match part {
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    })
}

/// The one crate that may be unsafe: a PKCS#11 module for tests, which nothing of ours contains.
const UNSAFE_HOME: &str = "tests/faults/pkcs11/";

/// Unsafe code elsewhere, and packages that do not take the workspace's word that there is none.
fn unsafe_elsewhere(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with(UNSAFE_HOME)) {
        if source.path.ends_with("/Cargo.toml")
            && !source.text.contains("[lints]\nworkspace = true")
        {
            faults.push(format!("{}: add [lints] workspace = true", source.path));
        }
        let code = if source.is_rust() { source.code() } else { String::new() };
        for at in words(&code, "unsafe") {
            faults.push(format!("{}:{}: only {UNSAFE_HOME} may", source.path, line(&code, at)));
        }
    }
    faults
}

/// Words that say "not finished", also of a merge.
fn unfinished(sources: &[Source]) -> Vec<Fault> {
    // Written apart, or this file would be the first to offend.
    let needles = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("<<<<", "<<<"),
        concat!(">>>>", ">>>"),
    ];
    containing(sources, &needles, |path| path == "LICENSE", "finish it or open an issue")
}

/// Words that only mean something on the machine where they were written.
fn local(sources: &[Source]) -> Vec<Fault> {
    let needles = [
        concat!("/wo", "rk/"),
        concat!("/tmp", "/brief"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("index.", "crates", ".io"),
        concat!("static.", "crates", ".io"),
    ];
    containing(sources, &needles, |path| path == "Cargo.lock", "a project file names no machine")
}

fn containing(
    sources: &[Source],
    needles: &[&str],
    exempt: impl Fn(&str) -> bool,
    remedy: &str,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !exempt(&source.path)) {
        for needle in needles {
            for at in words(&source.text, needle) {
                let place = line(&source.text, at);
                faults.push(format!("{}:{place}: \"{needle}\": {remedy}", source.path));
            }
        }
    }
    faults
}

// No file is longer than 500 lines without its tests.
#[test]
fn no_file_is_too_long() {
    report(&too_long(&project().unwrap()));
    let long = "x\n".repeat(501);
    let tested = format!("x\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    finds(1, &too_long(&made_up(&[("a/src/b.rs", &long), ("a/src/c.rs", &tested)])));
}

// Every module says what it is for.
#[test]
fn every_module_is_documented() {
    report(&without_documentation(&project().unwrap()));
    finds(1, &without_documentation(&made_up(&[("a.rs", "use b;\n"), ("c.rs", "\n//! C.\n")])));
}

// Whoever switches a check off says why.
#[test]
fn every_exception_has_a_reason() {
    report(&without_reason(&project().unwrap()));
    let text = "//! A.\n#[ignore]\n#[expect(dead_code)]\n#![allow(x, y)]\n";
    finds(3, &without_reason(&made_up(&[("a.rs", text)])));
    let text = "#[ignore = \"slow\"]\n#[expect(\n    x,\n    reason = \"r\"\n)]\na.expect(\"b\")";
    finds(0, &without_reason(&made_up(&[("a.rs", text)])));
}

// Every source file belongs to a program.
#[test]
fn no_file_is_dead() {
    report(&dead(&project().unwrap()));
    let files = [
        ("a/src/lib.rs", "mod b;\n// mod dead;\npub mod c;"),
        ("a/src/b.rs", ""),
        ("a/src/c/mod.rs", "pub(crate) mod d;"),
        ("a/src/c/d.rs", "#[cfg(test)]\nmod tests;"),
        ("a/src/c/d/tests.rs", ""),
        ("a/src/dead.rs", ""),
        ("a/src/bin/a.rs", ""),
        ("a/tests/t.rs", "#[path = \"t/one.rs\"]\nmod other;\n// #[path = \"t/two.rs\"]"),
        ("a/tests/t/one.rs", "#[path = \"../../src/e.rs\"]\nmod e;"),
        ("a/tests/t/two.rs", ""),
        ("a/src/e.rs", ""),
    ];
    finds(2, &dead(&made_up(&files)));
}

// Unsafe code is in the module that tests put before an HSM, and nowhere else.
#[test]
fn unsafe_code_stays_at_home() {
    report(&unsafe_elsewhere(&project().unwrap()));
    let text = "fn f() { unsafe { g() } } // unsafe";
    let wrong = [("signerd/src/a.rs", text), ("signerd/Cargo.toml", "[lints.rust]\n")];
    finds(2, &unsafe_elsewhere(&made_up(&wrong)));
    let right =
        [("tests/faults/pkcs11/src/a.rs", text), ("a/Cargo.toml", "[lints]\nworkspace = true\n")];
    finds(0, &unsafe_elsewhere(&made_up(&right)));
}

// Nothing says that it is not finished.
#[test]
fn nothing_is_unfinished() {
    report(&unfinished(&project().unwrap()));
    let text = concat!("// TO", "DO: more\n// FIX", "ME\nmastodon TODOS\n<<<<", "<<< HEAD\n");
    finds(3, &unfinished(&made_up(&[("a.sh", text)])));
}

// No file names a folder of one machine or a host of a registry.
#[test]
fn nothing_names_a_machine() {
    report(&local(&project().unwrap()));
    let text = concat!("cd /wo", "rk/x\nsee https://static.", "crates", ".io\n");
    finds(2, &local(&made_up(&[("a.md", text)])));
}
