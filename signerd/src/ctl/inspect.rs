//! `signerctl inspect`: what does this certificate say, whoever issued it?
//!
//! In go HC1 texts of any country, out come the facts of the envelope and the eleven fields of
//! QD 5772 §1.1, or what else the certificate holds. Nothing is proven here: `verify` proves. Text
//! from a certificate is made harmless before it reaches the terminal.

use std::io::{self, Write};

use policy::Catalogue;
use policy::value_set::Kind;
use serde_json::{Value, json};
use thiserror::Error;

use crate::hcert::{
    self, Decoded, EventKind, NamedAlg, Place, ReadError, SchemaFault, Tagging, Tree,
};

use super::texts::{self, Found, TextsError, shown};
use super::verify::{Form, Streams, when};

/// The command line of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// HC1 texts, files with one text per line or with the JSON of `sign`, or - for standard input
    #[arg(value_name = "FILE|TEXT|-")]
    inputs: Vec<String>,
}

/// Whether everything could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0: every text was read.
    AllRead,
    /// Exit code 1: at least one is no HC1 text, or is damaged.
    SomeUnreadable,
}

/// Why nothing, or not everything, was shown.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
    /// The inputs could not be read.
    #[error(transparent)]
    Texts(#[from] TextsError),
}

/// Runs the verb.
///
/// # Errors
/// An [`InspectError`] if the inputs or the output stop it.
pub fn run(
    args: &Args,
    catalogue: &Catalogue,
    form: Form,
    streams: &mut Streams<'_>,
) -> Result<Outcome, InspectError> {
    let mut outcome = Outcome::AllRead;
    for found in texts::collect(&args.inputs, streams.input)? {
        let decoded = hcert::read(&found.text);
        if decoded.is_err() {
            outcome = Outcome::SomeUnreadable;
        }
        match form {
            Form::Text => in_words(&found, &decoded, catalogue, streams.output)?,
            Form::Json => writeln!(streams.output, "{}", in_json(&found, &decoded, catalogue))?,
        }
    }
    Ok(outcome)
}

fn in_words(
    found: &Found,
    decoded: &Result<Decoded, ReadError>,
    catalogue: &Catalogue,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{}", shown(&found.place))?;
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return writeln!(out, "  unreadable  {}\n", shown(&causes(error))),
    };
    for (name, value) in envelope_facts(decoded) {
        writeln!(out, "  {name:<11} {}", shown(&value))?;
    }
    let Some(dcc) = decoded.dcc() else {
        let content = decoded.hcert().unwrap_or(decoded.claims()).to_json();
        return writeln!(out, "  content     not an EU DCC: {}\n", shown(&content.to_string()));
    };
    writeln!(out, "  content     {}", shown(&content(dcc)))?;
    match hcert::kind_of(dcc) {
        Some(EventKind::Vaccination) => {
            for (number, (name, value)) in fields(dcc, catalogue).iter().enumerate() {
                writeln!(out, "  {:>4}  {name:<23} {}", number + 1, shown(value))?;
            }
        }
        kind => other_event(dcc, kind, out)?,
    }
    writeln!(out, "  Nothing of this is proven; signerctl verify checks signature and times.\n")
}

/// Gives what the layers around the payload say.
fn envelope_facts(decoded: &Decoded) -> Vec<(&'static str, String)> {
    let (envelope, sizes) = (decoded.envelope(), decoded.sizes());
    let tagging = match envelope.tagging() {
        Tagging::CoseSign1 => "COSE_Sign1 (tag 18)",
        Tagging::CwtCoseSign1 => "COSE_Sign1 (tag 18) in CWT (tag 61)",
        Tagging::Untagged => "COSE_Sign1 without a tag",
    };
    let place = |place: Place| match place {
        Place::Protected => "protected",
        Place::Unprotected => "in the unprotected header",
    };
    let alg = envelope
        .alg()
        .map_or_else(|| "none".to_owned(), |(alg, at)| format!("{}, {}", alg_name(alg), place(at)));
    let kid = envelope.kid().map_or_else(
        || "none".to_owned(),
        |(kid, at)| {
            let (hex, base64) =
                (data_encoding::HEXLOWER.encode(kid), data_encoding::BASE64.encode(kid));
            format!("{hex} ({base64}), {}", place(at))
        },
    );
    let time = |time: Option<i64>| time.map_or_else(|| "none".to_owned(), when);
    vec![
        ("text", format!("{} characters", sizes.text_chars)),
        ("object", format!("{tagging}, {} bytes", sizes.cose_bytes)),
        ("algorithm", alg),
        ("kid", kid),
        ("signature", format!("{} bytes, not checked", sizes.signature_bytes)),
        ("issuer", decoded.issuer().unwrap_or("none").to_owned()),
        ("issued", time(decoded.issued_at())),
        ("expires", time(decoded.expires_at())),
    ]
}

fn alg_name(alg: NamedAlg) -> String {
    match alg {
        NamedAlg::Known(alg) => format!("{alg} ({})", alg.cose()),
        NamedAlg::Other(number) => format!("{number} (neither ES256 nor PS256)"),
        NamedAlg::Unnumbered => "named by text (neither ES256 nor PS256)".to_owned(),
    }
}

/// Says what the payload is and whether it obeys the schema.
fn content(dcc: &Tree) -> String {
    let version = text(dcc, "ver");
    match hcert::check_schema(dcc) {
        Ok(kind) => format!("EU DCC {version}, {kind}"),
        Err(fault) => format!("EU DCC {version}, breaks the schema: {}", fault_words(&fault)),
    }
}

fn fault_words(fault: &SchemaFault) -> String {
    match fault {
        SchemaFault::Field { path, what } => format!("{path} {what}"),
        SchemaFault::SeveralEvents => "several events".to_owned(),
        SchemaFault::Version(version) => format!("version {version} is not 1.x"),
    }
}

/// Gives the eleven fields of QD 5772 §1.1 of a vaccination certificate, in their order.
fn fields(dcc: &Tree, catalogue: &Catalogue) -> Vec<(&'static str, String)> {
    let empty = Tree::Null;
    let nam = dcc.get("nam").unwrap_or(&empty);
    let v = dcc.get("v").and_then(|events| events.item(0)).unwrap_or(&empty);
    let code = |list, key| {
        let code = text(v, key);
        catalogue
            .label(list, &code)
            .map_or_else(|| code.clone(), |label| format!("{label} ({code})"))
    };
    vec![
        ("Full name", full_name(nam)),
        ("Date of birth", text(dcc, "dob")),
        ("Nationality", "not in an HCERT; it stands in the record and the passport".to_owned()),
        ("Disease", code(Kind::Disease, "tg")),
        ("Doses received", format!("{} of {}", text(v, "dn"), text(v, "sd"))),
        ("Date of vaccination", text(v, "dt")),
        ("Dose number", text(v, "dn")),
        ("Vaccine", code(Kind::Vaccine, "vp")),
        ("Product", code(Kind::Product, "mp")),
        ("Manufacturer", code(Kind::Manufacturer, "ma")),
        ("Certificate identifier", text(v, "ci")),
    ]
}

/// Writes surname and the rest, and behind them what stands in a passport's machine-readable zone.
fn full_name(nam: &Tree) -> String {
    let join = |keys: [&str; 2], between: &str| {
        let parts: Vec<_> =
            keys.iter().filter_map(|k| nam.get(k).and_then(Tree::as_text)).collect();
        parts.join(between)
    };
    let (name, standard) = (join(["fn", "gn"], " "), join(["fnt", "gnt"], "<<"));
    match (name.is_empty(), standard.is_empty()) {
        (true, _) => standard,
        (false, true) => name,
        (false, false) => format!("{name} ({standard})"),
    }
}

/// Writes a test, a recovery, or whatever stands in the event's place, key by key.
fn other_event(dcc: &Tree, kind: Option<EventKind>, out: &mut dyn Write) -> io::Result<()> {
    let empty = Tree::Null;
    let nam = dcc.get("nam").unwrap_or(&empty);
    writeln!(out, "        {:<23} {}", "Full name", shown(&full_name(nam)))?;
    writeln!(out, "        {:<23} {}", "Date of birth", shown(&text(dcc, "dob")))?;
    let event = kind.and_then(|kind| dcc.get(kind.key())).and_then(|events| events.item(0));
    for (key, value) in event.unwrap_or(dcc).entries() {
        let value = value.as_text().map_or_else(|| value.to_json().to_string(), str::to_owned);
        writeln!(out, "        {:<23} {}", shown(&key.label()), shown(&value))?;
    }
    Ok(())
}

/// Gives a member as text, a number as its digits, a missing one as a dash.
fn text(tree: &Tree, key: &str) -> String {
    match tree.get(key) {
        None => "-".to_owned(),
        Some(value) => value.as_text().map_or_else(|| value.to_json().to_string(), str::to_owned),
    }
}

fn in_json(found: &Found, decoded: &Result<Decoded, ReadError>, catalogue: &Catalogue) -> Value {
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return json!({ "place": found.place, "unreadable": causes(error) }),
    };
    let (envelope, sizes) = (decoded.envelope(), decoded.sizes());
    let tags: &[u64] = match envelope.tagging() {
        Tagging::CoseSign1 => &[18],
        Tagging::CwtCoseSign1 => &[61, 18],
        Tagging::Untagged => &[],
    };
    let schema = decoded.dcc().map(|dcc| match hcert::check_schema(dcc) {
        Ok(kind) => json!({ "kind": kind.to_string() }),
        Err(fault) => json!({ "fault": fault_words(&fault) }),
    });
    let vaccination = |dcc: &&Tree| hcert::kind_of(dcc) == Some(EventKind::Vaccination);
    let eleven = decoded.dcc().filter(vaccination).map(|dcc| fields(dcc, catalogue));
    json!({
        "place": found.place,
        "tags": tags,
        "alg": envelope.alg().map(|(alg, _)| match alg {
            NamedAlg::Known(alg) => json!(alg.cose()),
            NamedAlg::Other(number) => json!(number),
            NamedAlg::Unnumbered => Value::Null,
        }),
        "kid": envelope.kid().map(|(kid, _)| data_encoding::BASE64URL_NOPAD.encode(kid)),
        "iss": decoded.issuer(),
        "issued_at": decoded.issued_at(),
        "expires_at": decoded.expires_at(),
        "sizes": {
            "text": sizes.text_chars,
            "cose": sizes.cose_bytes,
            "payload": sizes.payload_bytes,
            "signature": sizes.signature_bytes,
        },
        "claims": decoded.claims().to_json(),
        "schema": schema,
        "fields": eleven.map(|fields| {
            fields.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>()
        }),
    })
}

/// Writes an error and its causes in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}
