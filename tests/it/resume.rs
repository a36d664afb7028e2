//! `signerctl sign` is killed again and again, and continues where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use signerd_tests::{Daemon, Setup, ledger};

const RECORDS: usize = 240;
const PER_BATCH: usize = 20;

#[test]
fn a_run_that_is_killed_again_and_again_signs_every_dose_once() {
    // Killed with several batches in flight and run again, the tool ends with every record once in
    // its output, no identifier twice, and nothing signed that is not in it.
    let setup = Setup::new();
    let daemon = Daemon::ready(&setup);
    let (records, output) = (setup.path("records.jsonl"), setup.path("out.jsonl"));
    sample(&setup, &records);
    let journal = setup.path("out.jsonl.journal");
    let mut killed = 0;
    for begun in [1, 4, 7, 10] {
        let mut run = sign(&setup, &records, &output);
        killed += usize::from(kill_when_begun(&mut run, &journal, begun));
    }
    assert!(killed >= 3, "only {killed} of 4 runs lived long enough to be killed");
    let last = sign(&setup, &records, &output).wait_with_output().unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));

    let wanted = doses_of_records(&records);
    let (mut found, mut uvcis) = (BTreeMap::<usize, BTreeSet<u64>>::new(), BTreeSet::new());
    for line in lines(&output) {
        let record = usize::try_from(line["record"].as_u64().unwrap()).unwrap();
        let dose = line["dose"].as_u64().unwrap_or_else(|| panic!("not issued: {line}"));
        assert!(found.entry(record).or_default().insert(dose), "twice: {record}, dose {dose}");
        assert!(uvcis.insert(line["uvci"].as_str().unwrap().to_owned()), "twice: {line}");
    }
    assert_eq!(found, wanted);
    let certificates = i64::try_from(uvcis.len()).unwrap();
    assert_eq!(ledger::issued(&setup), (certificates, certificates));
    assert_eq!(ledger::open_intents(&setup), 0);
    verify(&setup, &output);
    // Once more: nothing is left to do, and nothing is sent.
    let before = fs::read(&output).unwrap();
    assert!(sign(&setup, &records, &output).wait().unwrap().success());
    assert_eq!(fs::read(&output).unwrap(), before);
    assert_eq!(ledger::issued(&setup).0, certificates);
    assert!(daemon.stop().success());
}

fn sample(setup: &Setup, records: &Path) {
    let count = RECORDS.to_string();
    let mut sample = setup.signerctl();
    sample.args(["sample", "--seed", "7", "--doses", "1-3", "--count", &count, "--output"]);
    assert!(sample.arg(records).status().unwrap().success());
}

fn sign(setup: &Setup, records: &Path, output: &Path) -> Child {
    let size = PER_BATCH.to_string();
    let mut sign = setup.signerctl();
    sign.args(["sign", "--quiet", "--parallel", "3", "--batch-size", &size]).arg(records);
    sign.arg("--output").arg(output);
    sign.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Kills the run once so many batches more than before were begun; false where it had ended already.
fn kill_when_begun(run: &mut Child, journal: &Path, begun: usize) -> bool {
    let since = Instant::now();
    loop {
        if let Some(status) = run.try_wait().unwrap() {
            assert!(status.success());
            return false;
        }
        let text = fs::read_to_string(journal).unwrap_or_default();
        if text.matches("\"event\":\"open\"").count() >= begun {
            run.kill().unwrap();
            return run.wait().unwrap().code().is_none();
        }
        assert!(since.elapsed() < Duration::from_secs(30), "the run does not go on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The dose numbers of each record.
fn doses_of_records(records: &Path) -> BTreeMap<usize, BTreeSet<u64>> {
    let doses = |entry: &Value| {
        let doses = entry["record"]["doses"].as_array().unwrap();
        doses.iter().map(|dose| dose["number"].as_u64().unwrap()).collect()
    };
    lines(records).iter().map(doses).enumerate().collect()
}

fn verify(setup: &Setup, output: &Path) {
    let trust_list = setup.path("trust-list.json");
    let mut fetch = setup.signerctl();
    fetch.args(["trust-list", "--json", "--output"]).arg(&trust_list);
    assert!(fetch.status().unwrap().success());
    let mut verify = setup.signerctl();
    verify.arg("verify").arg(output).arg("--trust-list").arg(trust_list);
    let verified = verify.output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
