//! Rules for what comes from others: reasons, sources, bans, licences.
//!
//! `cargo deny` checks the last three better and against an advisory database; this holds where it
//! is not installed, by the same lists out of `deny.toml`.

use std::process::Command;

use crate::source::Source;
use crate::{Fault, finds, made_up, project, report, root};

fn without_reason(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| source.path == "Cargo.toml") {
        let mut inside = false;
        for (index, line) in source.text.lines().enumerate() {
            if line.starts_with('[') {
                inside = line == "[workspace.dependencies]";
            }
            let dependency = inside && line.contains(" = ") && !line.starts_with('#');
            let ours = line.contains("{ path = ");
            let reason = line.rsplit_once(" # ").is_some_and(|(_, reason)| reason.len() > 8);
            if dependency && !ours && !reason {
                faults.push(format!("Cargo.toml:{}: say what it is here for: {line}", index + 1));
            }
        }
    }
    faults
}

/// Packages of the lock file that come from elsewhere than the registry.
fn foreign(lock: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut name = "";
    for line in lock.lines() {
        name = value(line, "name").unwrap_or(name);
        if let Some(source) = value(line, "source")
            && !source.starts_with("registry+https://github.com/rust-lang/")
        {
            faults.push(format!("Cargo.lock: {name} comes from {source}"));
        }
    }
    faults
}

fn banned<'a>(packages: impl Iterator<Item = &'a str>, banned: &[String]) -> Vec<Fault> {
    packages
        .filter(|name| banned.iter().any(|banned| banned == name))
        .map(|name| format!("{name} is banned in deny.toml; find it by cargo tree -i {name}"))
        .collect()
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')
}

/// Returns the strings of `key = [ … ]` in a section of `deny.toml`; for `bans.deny` the crates'.
fn list(deny: &str, section: &str, key: &str) -> Vec<String> {
    let start = format!("[{section}]\n");
    let body = deny.split_once(&start).map_or("", |(_, body)| body);
    let body = body.split("\n[").next().unwrap_or_default();
    let start = format!("{key} = [\n");
    let body = body.split_once(&start).map_or("", |(_, body)| body);
    body.lines()
        .take_while(|line| *line != "]")
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

/// Packages, as pairs of name and licence expression, that no listed licence covers.
fn unlicensed<'a>(
    packages: impl Iterator<Item = (&'a str, &'a str)>,
    allowed: &[String],
) -> Vec<Fault> {
    packages
        .filter(|(_, licence)| !covered(licence, allowed))
        .map(|(name, licence)| format!("{name}: licence \"{licence}\" is not in deny.toml"))
        .collect()
}

/// Evaluates an SPDX expression; the old form with a slash means OR.
fn covered(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().peekable();
    any_of(&mut tokens, allowed) && tokens.next().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    let mut covered = all_of(tokens, allowed);
    while tokens.next_if_eq(&"OR").is_some() {
        covered |= all_of(tokens, allowed);
    }
    covered
}

fn all_of(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    let mut covered = one(tokens, allowed);
    while tokens.next_if_eq(&"AND").is_some() {
        covered &= one(tokens, allowed);
    }
    covered
}

fn one(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    if tokens.next_if_eq(&"(").is_some() {
        let covered = any_of(tokens, allowed);
        return tokens.next_if_eq(&")").is_some() && covered;
    }
    let Some(licence) = tokens.next() else { return false };
    let exception = tokens.next_if_eq(&"WITH").and_then(|_| tokens.next());
    let name = exception.map_or(licence.to_owned(), |text| format!("{licence} WITH {text}"));
    allowed.contains(&name)
}

/// Asks cargo for names and licences of what the two programs are built of. What only tests need
/// is never given away, and left to `cargo deny`.
fn product() -> Result<Vec<(String, String)>, String> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["tree", "--package=signerd", "--edges=normal,build", "--locked", "--offline"])
        .args(["--prefix=none", "--format={p}|{l}|"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let mut packages: Vec<_> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut parts = line.split('|');
            let name = parts.next()?.split(' ').next()?;
            Some((name.to_owned(), parts.next()?.to_owned()))
        })
        .collect();
    packages.sort();
    packages.dedup();
    Ok(packages)
}

fn file(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_default()
}

// Every dependency says in Cargo.toml what it is here for.
#[test]
fn every_dependency_has_a_reason() {
    report(&without_reason(&project().unwrap()));
    let text = "[workspace.dependencies]\na = { path = \"a\" }\nb = \"1\"\nc = \"1\" # it counts\n\
                [profile.dev]\ndebug = false\n";
    finds(1, &without_reason(&made_up(&[("Cargo.toml", text)])));
}

// Dependencies come from the registry and from nowhere else.
#[test]
fn dependencies_come_from_the_registry() {
    let lock = file("Cargo.lock");
    assert!(lock.lines().count() > 100, "Cargo.lock is there");
    report(&foreign(&lock));
    let lock = "name = \"a\"\nsource = \"registry+https://github.com/rust-lang/x\"\n\
                name = \"b\"\nsource = \"git+https://example.invalid\"\nname = \"ours\"\n";
    finds(1, &foreign(lock));
}

// No banned crate is built into the programs.
#[test]
fn no_banned_crate_is_built_in() {
    let bans = list(&file("deny.toml"), "bans", "deny");
    assert!(bans.contains(&"openssl".to_owned()), "deny.toml lists bans");
    let packages = product().unwrap();
    assert!(packages.len() > 100, "cargo tree names only {} packages", packages.len());
    report(&banned(packages.iter().map(|(name, _)| name.as_str()), &bans));
    finds(1, &banned(["openssl", "openssl-probe"].into_iter(), &bans));
}

// Nothing in the programs ends them where a test asks for it: the feature for that is off.
#[test]
fn no_failpoint_is_built_in() {
    let packages = product().unwrap();
    let named = |name: &str| packages.iter().any(|(package, _)| package == name);
    assert!(named("log") && !named("fail"), "signerd is built with the feature failpoints");
    let manifest = file("signerd/Cargo.toml");
    assert!(manifest.contains("fail = { workspace = true, optional = true }"));
    assert!(!manifest.contains("default = ["), "signerd has features that are on by themselves");
    let main = file("signerd/src/bin/signerd.rs");
    assert!(!main.contains("fail"), "the daemon's own program sets a failpoint up");
}

// The module that fails as tests say is in none of the programs.
#[test]
fn no_fault_is_built_in() {
    let packages = product().unwrap();
    let named = |name: &str| packages.iter().any(|(package, _)| package == name);
    assert!(named("cryptoki") && !named("pkcs11-faults"), "signerd contains pkcs11-faults");
}

// Every licence of what is built into the programs is one that deny.toml lists.
#[test]
fn licences_are_listed() {
    let allowed = list(&file("deny.toml"), "licenses", "allow");
    let packages = product().unwrap();
    assert!(packages.len() > 100, "cargo tree names only {} packages", packages.len());
    report(&unlicensed(packages.iter().map(|(a, b)| (a.as_str(), b.as_str())), &allowed));
    let allowed = ["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    let fine = ["MIT OR GPL-3.0", "GPL-3.0/MIT", "MIT AND (GPL OR Apache-2.0 WITH LLVM-exception)"];
    finds(0, &unlicensed(fine.into_iter().map(|licence| ("a", licence)), &allowed));
    let bad = ["", "GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(MIT", "MIT MIT"];
    finds(bad.len(), &unlicensed(bad.into_iter().map(|licence| ("a", licence)), &allowed));
}
