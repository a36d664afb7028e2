//! The report for a person: what was found, line by line, the oddities, and the suggestion.

use std::fmt;

use super::Report;
use super::findings::Attributes;
use super::findings::Key;
use super::findings::Shown;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.findings;
        let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "not said".to_owned());
        writeln!(f, "module {}", found.module.path)?;
        line(f, "description", said(&found.module.description))?;
        line(f, "manufacturer", said(&found.module.manufacturer))?;
        line(f, "version", said(&found.module.version))?;
        line(f, "PKCS#11", said(&found.module.cryptoki))?;
        self.token(f)?;
        self.mechanisms(f)?;
        for (name, key) in &found.keys {
            writeln!(f, "\nkey {name}: {}, {}", key.algorithm, key.selector)?;
            show_key(f, key)?;
        }
        writeln!(f, "\nsecret key: {}, {}", found.secret.mechanism, found.secret.selector)?;
        line(f, "works", found.secret.problem.as_deref().unwrap_or("yes"))?;
        show_attributes(f, "attributes", &found.secret.attributes)?;
        let sessions = &found.sessions;
        writeln!(f, "\nsessions and handles")?;
        line(f, "sessions open", format!("{} of {} tried", sessions.opened, sessions.tried))?;
        if let Some(problem) = &sessions.problem {
            line(f, "the next one", problem)?;
        }
        let life = &found.life;
        line(f, "object, session closed", &life.object_of_closed_session)?;
        line(f, "session, finalised", &life.session_after_finalize)?;
        line(f, "session, initialised", &life.session_after_initialize)?;
        line(f, "session, another open", &life.session_after_another_opens)?;
        line(f, "module begins again", life.problem.as_deref().unwrap_or("yes"))?;
        writeln!(f, "\nquirks: {}", if self.quirks.is_empty() { "none" } else { "" })?;
        self.quirks.iter().try_for_each(|quirk| writeln!(f, "  - {quirk}"))?;
        writeln!(f, "\nsuggestion, to begin with; signerd hsm speed measures what is best:\n")?;
        write!(f, "{}", self.suggestion.hsm_toml)
    }
}

impl Report {
    fn token(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = &self.findings.token;
        writeln!(f, "\ntoken {}, serial number {}", token.label, token.serial)?;
        line(f, "model", format!("{}, {}", token.model, token.manufacturer))?;
        line(f, "hardware, firmware", format!("{}, {}", token.hardware, token.firmware))?;
        line(f, "flags", token.flags.join(" "))?;
        let (all, writing) = (&token.sessions_max, &token.rw_sessions_max);
        line(f, "most sessions", format!("{all}; read-write {writing}"))?;
        line(f, "PIN length", format!("{} to {}", token.pin.length_min, token.pin.length_max))
    }

    fn mechanisms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanisms = &self.findings.mechanisms;
        writeln!(f, "\nmechanisms: {}, of which", mechanisms.all)?;
        for mechanism in &mechanisms.of_interest {
            let text = match (mechanism.there, mechanism.key_min, mechanism.key_max) {
                (false, ..) => "absent".to_owned(),
                (true, Some(min), Some(max)) => format!("keys {min} to {max}"),
                (true, ..) => "there, and nothing said of it".to_owned(),
            };
            line(f, &mechanism.name, text)?;
        }
        Ok(())
    }
}

fn show_key(f: &mut fmt::Formatter<'_>, key: &Key) -> fmt::Result {
    line(f, "a worker takes it", key.refused.as_deref().unwrap_or("yes"))?;
    let belongs = if key.certificate_belongs { "yes" } else { "not proved" };
    line(f, "certificate belongs", belongs)?;
    for form in &key.forms {
        let outcome = match (form.works, form.bytes) {
            (true, Some(bytes)) => format!("signs a {}, {bytes} bytes", form.input),
            _ => form.problem.clone().unwrap_or_default(),
        };
        line(f, &form.mechanism, outcome)?;
    }
    if let Some(point) = &key.ec_point {
        line(f, "form of CKA_EC_POINT", point)?;
    }
    line(f, "copy in the session", key.copy.problem.as_deref().unwrap_or("works"))?;
    show_attributes(f, "the copy differs in", &key.copy.differs)?;
    if let Some(latency) = &key.latency {
        let (median, p99, max) = (latency.median_us, latency.p99_us, latency.max_us);
        let text = format!("median {median} us, p99 {p99} us, longest {max} us");
        line(f, "one signature", format!("{text}, of {}", latency.signatures))?;
    }
    show_attributes(f, "attributes", &key.attributes)
}

fn show_attributes(f: &mut fmt::Formatter<'_>, name: &str, attributes: &Attributes) -> fmt::Result {
    let mut name = name;
    for (attribute, shown) in attributes {
        let shown = match shown {
            None => "absent".to_owned(),
            Some(Shown::Flag(flag)) => flag.to_string(),
            Some(Shown::Number(number)) => number.to_string(),
            Some(Shown::Text(text)) => text.clone(),
            Some(Shown::List(list)) => format!("[{}]", list.join(" ")),
        };
        line(f, name, format!("{attribute} = {shown}"))?;
        name = "";
    }
    Ok(())
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {name:<24} {text}")
}
