//! Rules between modules: who may import whom, which foreign crate lives where, what is pure.
//!
//! The tables are those of `ARCHITECTURE.md`. A change of them is a change of the design.

use crate::source::{Source, line, words};
use crate::{Fault, finds, made_up, project, report};

/// The daemon's modules, lowest layer first. A module imports from lower layers only, so two of
/// one layer do not know each other.
const LAYERS: [&[&str]; 8] = [
    &["clock", "cpu", "ends", "failpoint", "logging", "metrics", "revocation", "tlog", "wire"],
    &["access", "hcert", "hsm", "ledger", "statement"],
    &["audit"],
    &["issue", "keys"],
    &["api"],
    &["server"],
    &["cli", "config", "systemd"],
    &["daemon"],
];

/// The tool stands beside the daemon: it reads the same formats and shares nothing that serves.
const TOOL: &str = "ctl";
const TOOL_IMPORTS: [&str; 9] =
    ["cli", "clock", "cpu", "hcert", "ledger", "logging", "statement", "tlog", "wire"];

/// Where each foreign crate may be named, by the beginning of the path. A crate that is not here
/// may be used everywhere; one that is here stays exchangeable.
const HOMES: [(&str, &[&str]); 36] = [
    ("base45", &["signerd/src/hcert/text"]),
    ("clap", &["signerd/src/cli", "signerd/src/ctl"]),
    ("clap_complete", &["signerd/src/cli", "signerd/src/ctl"]),
    ("clap_mangen", &["signerd/src/cli", "signerd/src/ctl"]),
    ("coset", &["signerd/src/hcert", "signerd/src/statement", "signerd/src/ctl/sample"]),
    ("cryptoki", &["signerd/src/hsm/worker"]),
    ("cryptoki_sys", &["tests/faults/pkcs11"]),
    ("csv", &["policy/src/policy_file", "signerd/src/ctl/rejects"]),
    ("env_logger", &["signerd/src/logging"]),
    ("fail", &["signerd/src/failpoint"]),
    ("fast_qr", &["signerd/src/hcert/qr"]),
    ("flate2", &["signerd/src/hcert/text"]),
    ("governor", &["signerd/src/access", "signerd/src/api"]),
    ("http_body_util", &["signerd/src/api", "signerd/src/ctl/client", "signerd/src/server"]),
    ("hyper", &["signerd/src/api", "signerd/src/ctl/client", "signerd/src/server"]),
    ("hyper_util", &["signerd/src/ctl/client", "signerd/src/server"]),
    ("indicatif", &["signerd/src/ctl"]),
    ("libloading", &["tests/faults/pkcs11"]),
    ("listenfd", &["signerd/src/hsm/worker", "signerd/src/systemd"]),
    ("memchr", &["signerd/src/ctl/log"]),
    ("png", &["signerd/src/hcert/qr"]),
    ("postgres", &["signerd/src/ledger/postgres"]),
    ("prometheus", &["signerd/src/metrics"]),
    (
        "rayon",
        &["signerd/src/cpu", "signerd/src/ctl", "signerd/src/issue", "signerd/src/statement"],
    ),
    ("rusqlite", &["signerd/src/ledger/sqlite"]),
    ("rust_xlsxwriter", &["signerd/src/ctl/rejects"]),
    (
        "rustls",
        &["signerd/src/ctl/client", "signerd/src/ledger/postgres", "signerd/src/server/tls"],
    ),
    ("sd_notify", &["signerd/src/hsm/worker", "signerd/src/systemd"]),
    ("systemd_journal_logger", &["signerd/src/logging"]),
    ("tempfile", &["signerd/src/audit", "signerd/src/ctl", "signerd/src/ledger/sqlite"]),
    ("tlog_tiles", &["signerd/src/tlog"]),
    ("tokio_postgres_rustls", &["signerd/src/ledger/postgres"]),
    ("tokio_rustls", &["signerd/src/ctl/client", "signerd/src/server"]),
    ("toml", &["hsm-config/src", "policy/src", "signerd/src/config", "signerd/src/ctl"]),
    ("unicode_normalization", &["policy/src", "signerd/src/ctl", "signerd/src/hcert"]),
    ("webpki", &["signerd/src/server/tls", "signerd/src/statement"]),
];

/// Crates that judge and describe, and therefore touch nothing.
const PURE: [&str; 2] = ["policy/src/", "hsm-config/src/"];
const IMPURE: [&str; 13] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "async",
    "log",
    "println!",
    "rand",
    "tokio",
];

fn wrong_imports(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in product(sources) {
        let Some(module) = module(&source.path) else { continue };
        let code = source.product_code();
        for (at, import) in imports(&code) {
            if let Some(problem) = forbidden(module, import) {
                faults.push(format!("{}:{}: {problem}", source.path, line(&code, at)));
            }
        }
        let depth = module_path(&source.path).len();
        let to_the_root = "super::".repeat(depth);
        for at in words(&code, &to_the_root) {
            faults.push(format!("{}:{}: write crate::", source.path, line(&code, at)));
        }
    }
    faults
}

/// Says what is wrong about one module importing another, if anything is.
fn forbidden(module: &str, import: &str) -> Option<String> {
    // Names that are no module, such as a macro, belong to nobody.
    let lower = layer(import);
    if module == import || (lower.is_none() && import != TOOL) {
        return None;
    }
    if module == TOOL {
        return (!TOOL_IMPORTS.contains(&import))
            .then(|| format!("the tool may not import {import}"));
    }
    match (layer(module), lower) {
        (None, _) => Some(format!("{module} has no layer; give it one in tests/tidy/layers.rs")),
        (Some(own), Some(lower)) if lower < own => None,
        _ => Some(format!("{module} may not import {import}, which is not below it")),
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Returns the names that follow `crate::`, alone or in braces, with their offsets.
fn imports(code: &str) -> Vec<(usize, &str)> {
    let mut imports = Vec::new();
    for at in words(code, "crate::") {
        let (_, after) = code.split_at(at + "crate::".len());
        match after.strip_prefix('{') {
            None => imports.push((at, leading_name(after))),
            Some(group) => imports.extend(group_names(group).into_iter().map(|name| (at, name))),
        }
    }
    imports
}

/// Returns the first names of the paths in `a::b, c::{d, e}, f}`.
fn group_names(group: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut depth = 0_u32;
    let mut expects_name = true;
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => expects_name = true,
            _ if expects_name && !c.is_whitespace() => {
                names.push(leading_name(group.split_at(at).1));
                expects_name = false;
            }
            _ => {}
        }
    }
    names
}

fn leading_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end).0
}

fn homeless(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in product(sources) {
        let code = source.product_code();
        for (name, homes) in HOMES {
            if homes.iter().any(|home| source.path.starts_with(home)) {
                continue;
            }
            // As a path (`name::`) or imported whole (`use name as`, `use name;`).
            let path = format!("{name}::");
            let uses = [format!("use {name};"), format!("use {name} as")];
            let first = words(&code, &path)
                .find(|at| !code.split_at(*at).0.ends_with("::"))
                .or_else(|| uses.iter().find_map(|text| words(&code, text).next()));
            if let Some(at) = first {
                let place = line(&code, at);
                faults.push(format!(
                    "{}:{place}: {name} lives in {}",
                    source.path,
                    homes.join(", ")
                ));
            }
        }
    }
    faults
}

fn impure(sources: &[Source]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in product(sources) {
        if !PURE.iter().any(|start| source.path.starts_with(start)) {
            continue;
        }
        let code = source.product_code();
        for word in IMPURE {
            for at in words(&code, word) {
                faults.push(format!("{}:{}: {word} in a pure crate", source.path, line(&code, at)));
            }
        }
    }
    faults
}

fn product(sources: &[Source]) -> impl Iterator<Item = &Source> {
    sources.iter().filter(|source| source.is_rust() && !source.is_test())
}

/// Returns the daemon's top module that a file belongs to; none for roots and other crates.
fn module(path: &str) -> Option<&str> {
    module_path(path).first().copied().filter(|module| !matches!(*module, "lib" | "bin"))
}

fn module_path(path: &str) -> Vec<&str> {
    let Some(inside) = path.strip_prefix("signerd/src/") else { return Vec::new() };
    let stem = inside.strip_suffix("/mod.rs").or_else(|| inside.strip_suffix(".rs"));
    stem.unwrap_or(inside).split('/').collect()
}

// A module imports only from the layers below it.
#[test]
fn imports_go_downwards() {
    report(&wrong_imports(&project().unwrap()));
    let wrong = [
        ("signerd/src/wire/mod.rs", "use crate::api::X;"),
        ("signerd/src/hcert/mod.rs", "use crate::statement::X;"),
        ("signerd/src/issue.rs", "use crate::{wire::{A, B}, server, clock};"),
        ("signerd/src/ctl/sign.rs", "fn f() { crate::issue::open() }"),
        ("signerd/src/daemon.rs", "use crate::ctl::X;"),
        ("signerd/src/novel.rs", "use crate::wire::X;"),
        ("signerd/src/wire/cbor.rs", "use super::super::api::X;"),
    ];
    finds(wrong.len(), &wrong_imports(&made_up(&wrong)));
    let right = [
        (
            "signerd/src/api/mod.rs",
            "use crate::{\n    issue,\n    wire::Y,\n};\nuse crate::api::Z;",
        ),
        ("signerd/src/hsm/pool.rs", "// crate::server\nuse super::ipc;\nuse crate::metrics::X;"),
        (
            "signerd/src/ctl/verify.rs",
            "use crate::hcert;\n#[cfg(test)]\nmod tests {\nuse crate::api;\n}",
        ),
    ];
    finds(0, &wrong_imports(&made_up(&right)));
}

// A foreign crate is named only in its home.
#[test]
fn foreign_crates_stay_at_home() {
    report(&homeless(&project().unwrap()));
    let wrong = [
        ("signerd/src/hsm/pool.rs", "use cryptoki::session::Session;"),
        ("signerd/src/ledger/mod.rs", "type X = rusqlite::Connection;"),
        ("signerd/src/issue.rs", "use png;"),
    ];
    finds(3, &homeless(&made_up(&wrong)));
    let right = [
        ("signerd/src/hsm/worker/mod.rs", "use cryptoki::session::Session;"),
        ("signerd/src/api/mod.rs", "use crate::toml::X; // png::Y\nlet a = \"coset::\";"),
        ("tests/it/main.rs", "use rustls::X;"),
    ];
    finds(0, &homeless(&made_up(&right)));
}

// The crates that judge and describe touch neither clock, nor disk, nor network.
#[test]
fn pure_crates_are_pure() {
    report(&impure(&project().unwrap()));
    let wrong = [
        ("policy/src/date.rs", "let now = std::time::SystemTime::now();"),
        ("hsm-config/src/lib.rs", "std::fs::read(path)"),
    ];
    finds(2, &impure(&made_up(&wrong)));
    finds(0, &impure(&made_up(&[("signerd/src/clock.rs", "SystemTime::now()")])));
}
