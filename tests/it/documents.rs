//! Manual pages, documents and example files, held against the program they speak of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use hsm_config::HsmConfig;
use policy::{Policy, ReasonCode};
use signerd::config::Config;
use signerd::ctl::config::Settings;
use signerd_tests::setup::{program, root};

#[test]
fn the_examples_are_read_by_the_program() {
    // Every example file in systemd/examples has a shape that the program accepts.
    let folder = root().join("systemd/examples");
    let (signerd, credentials) = (folder.join("signerd.toml"), Path::new("/run/credentials"));
    Config::parse(&text("systemd/examples/signerd.toml"), &signerd, Some(credentials)).unwrap();
    let hsm = HsmConfig::parse(&text("systemd/examples/hsm.toml"), &folder).unwrap();
    Policy::parse(&text("systemd/examples/policy.toml")).unwrap();
    Settings::load(&folder.join("signerctl.toml")).unwrap();

    // The units and the example speak of the same sockets, user, credential and folder.
    let (socket, service) =
        (text("systemd/signerd-hsm@.socket"), text("systemd/signerd-hsm@.service"));
    for (number, path) in hsm.sockets().iter().enumerate() {
        let listens = format!("ListenStream={}", path.display());
        assert!(socket.replace("%i", &(number + 1).to_string()).contains(&listens), "{listens}");
    }
    assert_eq!(hsm.front_user(), Some(&hsm_config::FrontUser::Name("signerd".to_owned())));
    assert_eq!(*hsm.pin(), hsm_config::PinSource::Credential("user-pin".to_owned()));
    assert!(service.contains("LoadCredentialEncrypted=user-pin:"));
    let latch = hsm.pin_latch().parent().unwrap().display().to_string();
    assert!(service.contains(&format!("ReadWritePaths=-{latch}\n")), "{latch}");
    assert!(text("systemd/tmpfiles.d/signerd.conf").contains(&format!("d {latch} ")), "{latch}");
}

#[test]
fn the_manual_pages_are_those_of_the_program() {
    // man/ holds exactly the pages that `signerctl man` writes, beside the hand-written section 5.
    let made = tempfile::tempdir().unwrap();
    let status =
        Command::new(program("signerctl")).args(["man", "--dir"]).arg(made.path()).status();
    assert!(status.unwrap().success());
    let (made, kept) = (pages(made.path()), pages(&root().join("man")));
    let generated = kept.iter().filter(|(name, _)| !name.ends_with(".5")).cloned().collect();
    let names = |pages: &BTreeSet<(String, String)>| -> Vec<String> {
        pages.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&made), names(&generated));
    let remedy = "write it anew with: signerctl man --dir man";
    for (made, kept) in made.iter().zip(&generated) {
        assert!(made == kept, "man/{} is out of step; {remedy}", kept.0);
    }
    for page in ["signerd.toml.5", "policy.toml.5", "hsm.toml.5", "signerctl.toml.5"] {
        assert!(kept.iter().any(|(name, _)| name == page), "{page}");
    }
}

#[test]
fn every_member_of_the_configuration_has_its_entry() {
    // The pages of section 5 describe each member that the program reads, and no other.
    let sections = |source: &str| members_of_structs(&text(source));
    let mut front = sections("signerd/src/config.rs");
    front.extend(sections("signerd/src/config/ledger.rs"));
    let mut hsm = words_of(&text("hsm-config/src/read.rs"), "finish(\"");
    hsm.retain(|member| !["module", "token", "pin", "pool", "key", "secret"].contains(&&**member));
    for (page, members) in [
        ("man/signerd.toml.5", front),
        ("man/policy.toml.5", sections("policy/src/policy_file/spec.rs")),
        ("man/signerctl.toml.5", sections("signerd/src/ctl/config.rs")),
        ("man/hsm.toml.5", hsm),
    ] {
        assert!(members.len() > 5, "{page}: the members were not found in the source");
        let text = text(page);
        // A member has an entry `.BR name " = …"`, a section the heading `.SS [name]`.
        let entries = text.lines().filter_map(|line| {
            let name = line.strip_prefix(".BR ").and_then(|rest| rest.split_once(" \" = "));
            let section = line.strip_prefix(".SS ").map(|rest| {
                let path = rest.trim_start_matches('[').split(']').next().unwrap_or(rest);
                // A table within a table by its own name; in capitals it stands for any.
                path.rsplit('.').find(|name| !name.contains(char::is_uppercase)).unwrap_or(path)
            });
            name.map(|(name, _)| name).or(section).map(str::to_owned)
        });
        let mut described: BTreeSet<String> = entries.collect();
        if page == "man/hsm.toml.5" {
            described = described.intersection(&members).cloned().collect();
        }
        assert_eq!(members, described, "{page}");
    }
}

#[test]
fn every_reason_has_its_row() {
    // docs/reasons.md has one row for each reason code, in the order of the program, with its group.
    let text = text("docs/reasons.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let rows: Vec<(&str, &str)> = rows
        .map(|(code, rest)| (code, rest.trim_end_matches('|').rsplit('|').next().unwrap().trim()))
        .collect();
    let codes = ReasonCode::ALL.iter().map(|code| {
        (code.as_str(), code.group().map_or(String::new(), |group| group.number().to_string()))
    });
    let codes: Vec<(&str, String)> = codes.collect();
    assert_eq!(rows, codes.iter().map(|(code, group)| (*code, &**group)).collect::<Vec<_>>());
}

#[test]
fn every_problem_has_its_row() {
    // docs/operations.md has a row for each code that api/ answers with, and for no other.
    let mut codes = BTreeSet::new();
    for file in fs::read_dir(root().join("signerd/src/api")).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        let product = source.split("#[cfg(test)]").next().unwrap_or_default();
        codes.extend(
            product.split('"').skip(1).step_by(2).filter(|word| is_code(word)).map(String::from),
        );
    }
    let text = text("docs/operations.md");
    let (_, problems) = text.split_once("## Problems").unwrap();
    let rows = problems.lines().filter_map(|line| line.split('`').nth(1));
    assert_eq!(codes, rows.filter(|word| is_code(word)).map(String::from).collect());
}

#[test]
fn every_metric_has_its_row_and_moves() {
    // docs/operations.md has a row for each metric, and each is moved somewhere in the program.
    let source = text("signerd/src/metrics.rs");
    let mut names = BTreeSet::new();
    for (at, _) in source.match_indices("r, \"").chain(source.match_indices("r,\n")) {
        let name = source[at..].split('"').nth(1).unwrap_or_default();
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            names.insert(format!("signerd_{name}"));
        }
    }
    names.insert("signerd_build_info".to_owned());
    let operations = text("docs/operations.md");
    let (_, table) = operations.split_once("## Metrics").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: BTreeSet<String> =
        rows.filter(|name| name.starts_with("signerd_")).map(String::from).collect();
    assert_eq!(names, rows);

    let program = sources(&root().join("signerd/src"));
    let fields = source.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(": "));
    for (field, _) in fields.filter(|(field, _)| !field.starts_with("fn ")) {
        let lent = program.contains(&format!("metrics.{field})"));
        let moved = ["inc", "dec", "set", "observe", "start_timer", "with_label_values"]
            .iter()
            .any(|verb| program.contains(&format!(".{field}.{verb}")));
        assert!(moved || lent, "nothing moves the metric {field}");
    }
}

/// Whether a text is a code of a problem: `subject.fact`, or one of the few without a subject.
#[test]
fn every_test_that_the_page_of_modules_names_is_there() {
    // docs/modules.md answers for each known way to fail with a test or with a reason; the tests exist.
    let page = text("docs/modules.md");
    let tests = sources(&root().join("tests/it")) + &sources(&root().join("signerd/src"));
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|word| Some(word.split_once("::")?.1))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(tests.contains(&format!("fn {name}()")), "docs/modules.md names {name}");
    }
}

fn is_code(word: &str) -> bool {
    const SUBJECTS: [&str; 13] = [
        "batch", "cbor", "client", "clock", "hsm", "http", "issuer", "key", "ledger", "log",
        "officer", "rate", "window",
    ];
    let fact = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    ["draining", "internal", "overloaded", "request.invalid"].contains(&word)
        || word.split_once('.').is_some_and(|(s, f)| SUBJECTS.contains(&s) && fact(f))
}

/// The field names of all structs that are read from TOML.
fn members_of_structs(source: &str) -> BTreeSet<String> {
    let product = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut members = BTreeSet::new();
    for derived in product.split("Deserialize)]").skip(1) {
        let Some((_, body)) = derived.split_once("struct ") else { continue };
        let Some((_, fields)) = body.split("\n}").next().unwrap_or_default().split_once('{') else {
            continue;
        };
        for line in fields.lines().map(str::trim) {
            let line = line.trim_start_matches("pub(super) ").trim_start_matches("pub ");
            if let Some((name, _)) = line.split_once(": ")
                && !line.starts_with(['/', '#'])
            {
                members.insert(name.to_owned());
            }
        }
    }
    members
}

/// The names, separated by commas, in every string that begins behind `prefix`.
fn words_of(source: &str, prefix: &str) -> BTreeSet<String> {
    let joined = source.replace("\\\n", "").replace("finish(\n", "finish(");
    let joined =
        joined.split_whitespace().collect::<Vec<_>>().join(" ").replace("finish( ", "finish(");
    let lists = joined.split(prefix).skip(1).filter_map(|rest| rest.split('"').next());
    lists
        .flat_map(|list| list.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
        .collect()
}

fn pages(folder: &Path) -> BTreeSet<(String, String)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read_to_string(file.path()).unwrap())
        })
        .collect()
}

/// All sources below a folder, one behind the other.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    all
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
