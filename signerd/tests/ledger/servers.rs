//! The server and the way to it: who it may be, what it must promise, and what happens when it is away.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use signerd::ledger::{Begin, Finished, Ledger, LedgerError, LedgerKeys, Server};

use super::place::{
    DIGEST, NOW, answered, batch, begin, contains, finished, fresh, intend, intent, open_batch,
    replays, resumable,
};
use super::server::{End, PASSWORD, Postgres};
use super::shared::{Place, open};

/// Why a ledger cannot be opened or used: what it says, with all its causes.
fn told<T>(refused: Result<T, LedgerError>) -> String {
    let error = refused.err().unwrap();
    assert!(matches!(error, LedgerError::Unavailable { .. }), "{error}");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[tokio::test]
async fn over_tls_the_server_and_the_client_prove_who_they_are() {
    // With the right authority, name and password the ledger opens; with another of them it does not, and
    // no text has the password.
    let place = Place::new();
    let right = place.over_tls();
    let ledger = open(right.clone()).unwrap();
    answered(&ledger, 1, &[1]).await;
    let ssl = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE ssl AND usename = 'signerd' AND version = 'TLSv1.3' AND datname = current_database()";
    assert_eq!(place.rows(ssl), [["1"]]);

    let folder = tempfile::tempdir().unwrap();
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let mut other_ca = right.clone();
    other_ca.tls.as_mut().unwrap().ca = file("ca.pem", &stranger.cert.pem());
    assert!(told(open(other_ca)).contains("certificate"));
    let other_name = Server { host: "127.0.0.1".to_owned(), ..right.clone() };
    assert!(told(open(other_name)).contains("certificate"));
    let wrong = Some(file("password", "mark-of-a-wrong-one"));
    let text = told(open(Server { password: wrong, ..right.clone() }));
    assert!(text.contains("refuses the user"), "{text}");
    assert!(!text.contains("mark-of"), "{text}");
    let missing = Some(folder.path().join("missing"));
    assert!(told(open(Server { password: missing, ..right.clone() })).contains("missing"));
    assert!(!format!("{right:?}{ledger:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_renewed_password_counts_from_the_next_connection() {
    // Files are read for every connection, so that nobody restarts an appliance for a new password.
    let place = Place::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), PASSWORD).unwrap();
    let server = Server { password: Some(file.path().to_owned()), ..place.over_tls() };
    let own = Place::on(Arc::new(Postgres::new()));
    let server = Server { port: own.postgres.port, database: own.database.clone(), ..server };
    let server = Server { tls: own.over_tls().tls, ..server };
    let ledger = open(server).unwrap();
    own.sql("ALTER ROLE signerd PASSWORD 'another'");
    cut(&own);
    assert!(ledger.probe().await.is_err(), "the cut connection");
    assert!(told(ledger.probe().await).contains("refuses the user"));
    fs::write(file.path(), "another\n").unwrap();
    ledger.probe().await.unwrap();
}

/// Ends every connection of the role.
fn cut(place: &Place) {
    place.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
         WHERE usename = 'signerd' AND datname = current_database()",
    );
}

#[tokio::test]
async fn a_cut_connection_fails_one_group_and_heals() {
    // What was answered is there, what was open is open, and the next command has a new connection.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let attempt = open_batch(&ledger, 2, &[2]).await;
    cut(&place);
    assert!(told(ledger.probe().await).contains("the server is not there"));
    assert!(replays(&ledger, 1).await);
    ledger.finish(attempt, finished(1)).await.unwrap();
    assert!(replays(&ledger, 2).await);
}

#[tokio::test]
async fn a_server_that_dies_loses_nothing_and_the_ledger_heals() {
    // Killed without a word to its disk, with an answered and an open batch: while it is away nothing is
    // accepted, and when it is back the same handle has all of it.
    let mut place = Place::on(Arc::new(Postgres::new()));
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    let attempt = open_batch(&ledger, 2, &[2]).await;
    let postgres = Arc::get_mut(&mut place.postgres).unwrap();
    postgres.stop(End::Killed);
    assert!(ledger.finish(attempt, finished(1)).await.is_err());
    assert!(told(ledger.probe().await).contains("the server cannot be reached"));
    postgres.start(&[]);
    ledger.probe().await.unwrap();
    assert!(replays(&ledger, 1).await);
    let (ticket, _) = resumable(&ledger, 2).await;
    let attempt = ledger.resume(ticket, NOW).await.unwrap();
    ledger.finish(attempt, finished(1)).await.unwrap();
}

#[tokio::test]
async fn an_appliance_that_holds_the_ledger_too_long_is_a_reason_and_heals() {
    // Another one's transaction has the lock and does not end: what waits is told so in time, and goes on
    // when the lock is gone.
    let place = Place::new();
    let ledger = place.open();
    let (locked, lock) = std::sync::mpsc::channel();
    let (end, ending) = std::sync::mpsc::channel::<()>();
    let (postgres, database) = (Arc::clone(&place.postgres), place.database.clone());
    let holder = thread::spawn(move || {
        let mut client = postgres.client(&database).unwrap();
        client.batch_execute("BEGIN; SELECT size FROM log_head FOR UPDATE").unwrap();
        locked.send(()).unwrap();
        let _ = ending.recv();
    });
    lock.recv().unwrap();
    assert!(told(ledger.probe().await).contains("another appliance holds the ledger"));
    drop(end);
    holder.join().unwrap();
    ledger.probe().await.unwrap();
}

#[tokio::test]
async fn a_standby_is_not_written_to_and_heals() {
    // A server that takes no writes is named; once it is the one that does, the ledger goes on.
    let place = Place::new();
    let ledger = place.open();
    place.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", place.database));
    cut(&place);
    assert!(ledger.probe().await.is_err(), "the cut connection");
    assert!(told(ledger.probe().await).contains("the server is a standby"));
    assert!(told(open(place.server())).contains("the server is a standby"));
    place.sql(&format!(
        "SET transaction_read_only = off; ALTER DATABASE {} RESET default_transaction_read_only",
        place.database
    ));
    ledger.probe().await.unwrap();
}

#[tokio::test]
async fn a_server_that_may_forget_is_refused() {
    // Without fsync, or without whole pages in its journal, nothing that it says is durable.
    for setting in ["fsync=off", "full_page_writes=off"] {
        let place = Place::on(Arc::new(Postgres::with(&[setting])));
        assert!(told(open(place.server())).contains("fsync or full_page_writes"), "{setting}");
    }
}

#[tokio::test]
async fn commits_wait_for_the_standby_whatever_the_role_is_set_to() {
    // A role or database that is set to wait for less waits for its disk and the standby's all the same;
    // one that waits for more keeps that.
    let place = Place::new();
    for (set, used) in
        [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")]
    {
        place.sql(&format!("ALTER DATABASE {} SET synchronous_commit = {set}", place.database));
        let ledger = place.open();
        answered(&ledger, 1, &[1]).await;
        assert_eq!(commit_setting(&place), used, "{set}");
        place.sql("TRUNCATE batch, certificate, answer, signature, rejection, issued_per_day");
        ledger.close().await;
    }
}

/// What the ledger's connection is set to, as its own trigger sees it.
fn commit_setting(place: &Place) -> String {
    place.sql(
        "CREATE TABLE IF NOT EXISTS seen (setting text);
         CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
         $$BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END$$;
         CREATE OR REPLACE TRIGGER see BEFORE UPDATE ON appliance FOR EACH ROW EXECUTE FUNCTION see();
         TRUNCATE seen",
    );
    let seen = || place.rows("SELECT setting FROM seen LIMIT 1");
    let runtime = thread::scope(|scope| {
        scope
            .spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async { place.open().probe().await })
            })
            .join()
    });
    runtime.unwrap().unwrap();
    seen()[0][0].clone()
}

#[tokio::test]
async fn appliances_that_start_at_once_make_one_schema() {
    // Six that find an empty database open one ledger.
    let place = Place::new();
    let ledgers: Vec<Ledger> = thread::scope(|scope| {
        let starts: Vec<_> = (0..6).map(|_| scope.spawn(|| place.open())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    answered(&ledgers[0], 1, &[1]).await;
    assert!(replays(&ledgers[5], 1).await);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    // Tables of others, and a mark like ours by another, are no ledger.
    let mark = "CREATE TABLE ledger_schema (program text, version int);
                ALTER TABLE ledger_schema OWNER TO signerd";
    for theirs in ["CREATE TABLE theirs (x int)", mark] {
        let place = Place::new();
        place.sql(theirs);
        let refusal = open(place.server()).unwrap_err();
        assert!(matches!(refusal, LedgerError::Corrupt { .. }), "{refusal}");
        let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        assert_eq!(place.rows(tables), [["1"]]);
    }
}

#[tokio::test]
async fn a_newer_ledger_is_refused() {
    // A database of a newer release names both versions.
    let place = Place::new();
    place.open().close().await;
    place.sql("UPDATE ledger_schema SET version = 9");
    let refusal = open(place.server()).unwrap_err();
    assert!(matches!(refusal, LedgerError::SchemaTooNew { found: 9, known: 1 }));
}

#[tokio::test]
async fn a_role_without_its_database_is_told_so() {
    // A database that does not exist, and one that the role does not own, are told apart.
    let place = Place::new();
    let nowhere = Server { database: "nowhere".to_owned(), ..place.server() };
    assert!(told(open(nowhere)).contains("the database does not exist"));
    let theirs = Server { database: "postgres".to_owned(), ..place.server() };
    assert!(told(open(theirs)).contains("the role may not use the tables"));
}

#[tokio::test]
async fn a_value_changed_from_outside_is_damage_not_a_fault() {
    // A number that does not fit its type is reported as damage.
    let place = Place::new();
    let ledger = place.open();
    drop(open_batch(&ledger, 1, &[1]).await);
    place.sql("UPDATE batch SET attempt = 99999999999");
    let refusal = ledger.begin(batch(1), DIGEST, 0).await.unwrap_err();
    assert!(matches!(refusal, LedgerError::Corrupt { .. }), "{refusal}");
}

#[tokio::test]
async fn a_server_that_lost_entries_is_not_built_on() {
    // A standby that took over without all that was answered: the ledger refuses, until what it knew is
    // there again.
    let place = Place::new();
    let ledger = place.open();
    answered(&ledger, 1, &[1]).await;
    place.sql(
        "CREATE TABLE aside AS SELECT size FROM log_head; UPDATE log_head SET size = size - 1",
    );
    let refusal = ledger.probe().await.unwrap_err();
    assert!(matches!(refusal, LedgerError::Corrupt { .. }), "{refusal}");
    place.sql("UPDATE log_head SET size = (SELECT size FROM aside)");
    ledger.probe().await.unwrap();
}

#[tokio::test]
async fn no_byte_of_request_or_answer_is_on_the_servers_disk() {
    // Marked bytes of a request, its answer and its dose are found in no file of the server, its journal
    // and its log included; the answer opens with the request.
    let place = Place::on(Arc::new(Postgres::with(&["log_statement=all"])));
    let ledger = place.open();
    let keys = LedgerKeys::derive(&[5; 32]);
    let body = "Nguyễn Thị Đánh Dấu 079999888777 0912345678".repeat(20);
    let answer = "HC1:NGUYEN<<THI<DANH<DAU certificates".repeat(500);
    let digest = keys.request_digest(body.as_bytes());
    let Begin::Fresh(ticket) = ledger.begin(batch(1), digest, NOW).await.unwrap() else {
        panic!("not fresh");
    };
    let mut marked = intent(1, &[1]);
    marked.certificates[0].pseudonym = keys.pseudonym(b"VN\x0c079999888777\x01");
    let attempt = intend(&ledger, ticket, marked).await;
    let sealed_answer = keys.seal(body.as_bytes(), answer.as_bytes()).unwrap();
    ledger.finish(attempt, Finished { sealed_answer, ..finished(1) }).await.unwrap();
    place.sql("CHECKPOINT");
    let mut files = 0;
    let mut folders = vec![place.postgres.socket()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                files += 1;
                let bytes = fs::read(&path).unwrap();
                for mark in ["Đánh Dấu", "079999888777", "0912345678", "NGUYEN<<", "DAU cert"] {
                    assert!(!contains(&bytes, mark.as_bytes()), "{mark} in {path:?}");
                }
            }
        }
    }
    assert!(files > 100, "{files} files were searched");
    assert!(place.postgres.log().contains("INSERT INTO answer"));
    let Begin::Replay { sealed } = ledger.begin(batch(1), digest, NOW).await.unwrap() else {
        panic!("no replay");
    };
    assert_eq!(keys.unseal(body.as_bytes(), &sealed).unwrap(), answer.as_bytes());
}

#[tokio::test]
async fn purging_works_in_slices_of_rows_and_bytes() {
    // Large answers go a few at a time, so that the other appliances get their turn, and all of them go.
    let place = Place::new();
    let ledger = place.open();
    for id in 1..=5 {
        let attempt = intend(&ledger, fresh(&ledger, id).await, intent(id, &[id])).await;
        let sealed_answer = vec![id; 3 << 20];
        ledger.finish(attempt, Finished { sealed_answer, ..finished(1) }).await.unwrap();
    }
    assert_eq!(ledger.purge(NOW + super::place::RETENTION).await.unwrap(), 5);
    assert_eq!(place.rows("SELECT count(*) FROM answer"), [["0"]]);
    assert!(matches!(begin(&ledger, 5, DIGEST).await, Begin::Expired));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_did_not_wait_for_its_standby_is_no_answer() {
    // While the standby is away a commit waits. Who ends that wait by hand makes the server call it
    // committed: the caller is told otherwise, and the ledger heals when the standby is no longer asked for.
    let place = Place::on(Arc::new(Postgres::new()));
    let ledger = place.open();
    let attempt = open_batch(&ledger, 1, &[1]).await;
    place.sql("ALTER SYSTEM SET synchronous_standby_names = 'away'");
    place.sql("SELECT pg_reload_conf()");
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while place.rows("SHOW synchronous_standby_names") != [["away"]] {
        tokio::task::yield_now().await;
    }
    let finishing = ledger.clone();
    let finish = tokio::spawn(async move { finishing.finish(attempt, finished(1)).await });
    while place.rows(asked) != [["1"]] {
        tokio::task::yield_now().await;
    }
    assert!(!finish.is_finished());
    place.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    assert!(told(finish.await.unwrap()).contains("did not wait for its standby"));
    place.sql("ALTER SYSTEM RESET synchronous_standby_names");
    place.sql("SELECT pg_reload_conf()");
    while place.rows("SHOW synchronous_standby_names") != [[""]] {
        tokio::task::yield_now().await;
    }
    assert!(replays(&ledger, 1).await, "it stands in the server all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_server_asks_for_a_certificate_it_is_shown() {
    // A server that knows its clients by certificate admits the one that has it, without a password, and no
    // other.
    let place = Place::on(Arc::new(Postgres::new()));
    place.postgres.admit("cert");
    let without = Server { password: None, ..place.over_tls() };
    let mut with = without.clone();
    with.tls.as_mut().unwrap().identity = Some(place.postgres.identity());
    let begin = Instant::now();
    let ledger = loop {
        match open(with.clone()) {
            Ok(ledger) => break ledger,
            // The server has not read its file yet.
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(20), "{error}"),
        }
    };
    let text = told(open(without));
    assert!(text.contains("certificate"), "{text}");
    answered(&ledger, 1, &[1]).await;
    let (certificate, _) = place.postgres.identity();
    with.tls.as_mut().unwrap().identity = Some((certificate.clone(), certificate));
    assert!(told(open(with)).contains("client.pem"));
}
