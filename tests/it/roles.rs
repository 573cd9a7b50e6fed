//! Who may do what to the books: the three roles on PostgreSQL, and the ledger that nobody changes.

use quittance::store::Db;

use crate::support::books::{assert_sound, block_on, digest_of};
use crate::support::databases::{TestDatabase, execute, on_both, postgres, sqlite};
use crate::support::lines::{file, line, plain};
use crate::support::program::Program;

/// What a database answers to a statement: the fault, or None where it did it.
fn refusal(url: &str, sql: &str) -> Option<String> {
    block_on(async {
        let db = Db::open(url).await.expect("the database opens");
        let mut tx = db.write().await.expect("a transaction begins");
        let fault = tx.execute(sql, Vec::new()).await.err().map(|fault| fault.to_string());
        drop(tx);
        db.close().await;
        fault
    })
}

/// Everything that people and jobs do to the books.
fn do_business(program: &mut Program) {
    let early = line("m-0", "acme", "verification", "1", "2026-03-01T08:59:59+08:00");
    let ahead = line("m-3", "acme", "verification", "2", "2026-03-01T13:00:00+08:00");
    let stranger = line("m-4", "beta", "promotional", "3", "2026-03-01T09:00:00+08:00");
    let messages = program.file("messages.csv", file(&[early, plain("m-1"), plain("m-1"), ahead, stranger]));
    let receipts = "account_id,message_id,status\nacme,m-1,delivered\nacme,m-1,failed\n\
                    acme,m-3,delivered\nacme,m-3,failed\n";
    let receipts = program.file("receipts.csv", receipts);
    let done: &[(&[&str], i32)] = &[
        (&["account", "add", "acme", "--name", "Acme"], 0),
        (&["account", "verify", "acme"], 0),
        (&["account", "activate", "acme", "sms-international"], 0),
        (&["account", "top-up", "acme", "100", "--reference", "cash-1"], 0),
        (&["account", "top-up", "acme", "100", "--reference", "cash-1"], 0),
        (&["ingest", "messages", &messages], 3),
        (&["--run-job", "aggregate-charges", "--dry-run"], 3),
        (&["--run-job", "aggregate-charges"], 3),
        (&["account", "add", "beta", "--name", "Beta"], 0),
    ];
    let later: &[(&[&str], i32)] = &[
        (&["batch", "retry", "1"], 0),
        (&["order", "place", "acme", "sms-domestic-200", "--reference", "order-1"], 0),
        (&["ingest", "messages", &messages], 0),
        (&["--run-job", "aggregate-charges"], 0),
        (&["explain", "message", "acme", "m-3"], 0),
        (&["ingest", "receipts", &receipts], 3),
        (&["exception", "approve", "1", "--reason", "the carrier erred"], 0),
        (&["exception", "dismiss", "2", "--reason", "the carrier erred"], 0),
    ];
    let month: &[(&[&str], i32)] = &[
        (&["--run-job", "aggregate-charges", "--catch-up"], 0),
        (&["--run-job", "settle-receipts", "--catch-up"], 0),
        (&["--run-job", "monthly-bills", "--catch-up", "--dry-run"], 0),
        (&["--run-job", "monthly-bills", "--catch-up"], 0),
        (&["bill", "show", "acme", "2026-04"], 0),
        (&["invoice", "buyer", "set", "acme", "--title", "Acme"], 0),
        (&["invoice", "issue", "acme", "--order", "acme-o1"], 0),
        (&["invoice", "return", "acme-i1"], 0),
        (&["invoice", "issue", "acme", "--bill", "2026-03"], 0),
        (&["--run-job", "audit-changes", "--catch-up"], 0),
        (&["--run-job", "audit-books", "--catch-up"], 0),
    ];
    program.at("2026-03-01T12:00:00+08:00");
    done.iter().for_each(|(command, code)| drop(program.run(command).exits(*code)));
    program.at("2026-03-01T13:00:00+08:00");
    later.iter().for_each(|(command, code)| drop(program.run(command).exits(*code)));
    program.at("2026-04-01T00:30:00+08:00");
    month.iter().for_each(|(command, code)| drop(program.run(command).exits(*code)));
}

/// More than a year later: what is over is deleted.
fn keep_house(program: &mut Program) {
    let year: &[(&[&str], i32)] = &[
        (&["--run-job", "aggregate-charges", "--catch-up"], 0),
        (&["--run-job", "settle-receipts", "--catch-up"], 0),
        (&["--run-job", "monthly-bills", "--catch-up"], 0),
        (&["--run-job", "housekeeping", "--catch-up", "--dry-run"], 0),
        (&["--run-job", "housekeeping", "--catch-up"], 0),
    ];
    program.at("2027-06-01T00:30:00+08:00");
    year.iter().for_each(|(command, code)| drop(program.run(command).exits(*code)));
}

/// The database's name is unique, and so are the roles named after it.
fn roles_of(database: &TestDatabase) -> [String; 3] {
    let (_, name) = database.postgres.as_ref().expect("a PostgreSQL database");
    ["owner", "run", "audit"].map(|role| format!("{name}_{role}"))
}

/// A database with roles, each of which may log in here; they go with it.
struct WithRoles {
    server: String,
    database: Option<TestDatabase>,
    names: [String; 3],
}

impl WithRoles {
    fn make(database: TestDatabase) -> WithRoles {
        let names = roles_of(&database);
        let (server, prefix) = database.postgres.clone().expect("a PostgreSQL database");
        let program = Program::on(&database);
        let made = program.json(&["migrate", "--roles", &prefix]);
        assert_eq!(made["roles"]["run"], names[1]);
        let logins = names.clone().map(|name| format!("alter role {name} login;"));
        execute(&server, logins.concat());
        WithRoles { server, database: Some(database), names }
    }

    /// The URL of the database for one of the roles.
    fn url(&self, role: &str) -> String {
        let name = self.names.iter().find(|name| name.ends_with(role)).expect("a role");
        format!("{}&user={name}", self.database.as_ref().expect("it is there").url)
    }
}

impl Drop for WithRoles {
    fn drop(&mut self) {
        drop(self.database.take());
        execute(&self.server, format!("drop role {}", self.names.join(", ")));
    }
}

#[test]
fn f109_the_run_role_does_all_business_and_cannot_change_the_ledger() {
    let Some(database) = postgres() else { return };
    let roles = WithRoles::make(database);
    let undisturbed = sqlite();
    do_business(&mut Program::on(&undisturbed));
    let run = roles.url("run");
    do_business(&mut Program::on_url(&run));
    keep_house(&mut Program::on(&undisturbed));
    keep_house(&mut Program::on_url(&run));
    assert_eq!(digest_of(&run), digest_of(&undisturbed.url));
    assert_sound(&run);

    let messages = "select 1 / case when count(*) = 0 then 1 else 0 end from messages";
    assert_eq!(refusal(&run, messages), None, "housekeeping could not delete");
    for table in ["entries", "postings", "charges", "returns", "top_ups", "bills", "bill_lines", "invoices"] {
        for sql in [
            format!("update {table} set account_id = 'mallory'"),
            format!("delete from {table}"),
            format!("truncate {table}"),
            format!("alter table {table} add column more bigint"),
            format!("drop table {table}"),
        ] {
            let refused = refusal(&run, &sql).unwrap_or_else(|| panic!("done: {sql}"));
            assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{refused}");
        }
    }
    for sql in [
        "create table mine (x bigint)",
        "create view mine as select 1",
        "update _sqlx_migrations set version = 99",
        "delete from accounts",
        "delete from batches",
        "delete from failures",
        "delete from notices",
        "delete from retired_messages",
        "update messages set units = 1",
        "update receipts set status = 'failed'",
        "truncate messages",
        "alter table postings disable trigger all",
    ] {
        assert!(refusal(&run, sql).is_some(), "done: {sql}");
    }
    assert_eq!(refusal(&run, "create temporary table mine (x bigint)"), None);
    let new_key = "update instance set value = '' where name = 'recipient_key' returning 1 / length(value)";
    assert_eq!(refusal(&run, new_key), None, "the key's row is out of its reach");
}

#[test]
fn f109_the_audit_role_reads_everything_but_the_key_and_writes_nothing() {
    let Some(database) = postgres() else { return };
    let roles = WithRoles::make(database);
    do_business(&mut Program::on_url(&roles.url("run")));
    let audit = roles.url("audit");
    let auditor = Program::on_url(&audit);
    let commands: &[&[&str]] = &[
        &["status"],
        &["jobs"],
        &["account", "list"],
        &["account", "show", "acme"],
        &["batch", "list"],
        &["exception", "list", "--all"],
        &["explain", "message", "acme", "m-3"],
        &["audit", "acme"],
        &["audit"],
    ];
    commands.iter().for_each(|command| drop(auditor.run(command).exits(0)));
    assert_eq!(digest_of(&audit), digest_of(&roles.url("run")));
    auditor.run(&["account", "add", "eve", "--name", "Eve"]).exits(1).says(&["permission denied"]);
    auditor.run(&["--run-job", "aggregate-charges"]).exits(1).says(&["permission denied"]);
    for sql in ["insert into accounts default values", "update jobs set runs = 0", "delete from suspense"] {
        assert!(refusal(&audit, sql).is_some_and(|fault| fault.contains("permission denied")), "{sql}");
    }
    let all = "select 1 / count(*) from";
    assert_eq!(refusal(&audit, &format!("{all} v_journal")), None);
    assert_eq!(refusal(&audit, &format!("{all} instance")), None);
    let key = format!("{all} instance where name = 'recipient_key'");
    assert!(refusal(&audit, &key).is_some_and(|fault| fault.contains("division by zero")));
}

#[test]
fn roles_can_be_given_to_books_that_are_kept_already_and_stay() {
    let Some(database) = postgres() else { return };
    let program = Program::on(&database);
    program.run(&["migrate"]).exits(0);
    do_business(&mut Program::on(&database));
    let before = digest_of(&database.url);
    let roles = WithRoles::make(database);
    assert_eq!(digest_of(&roles.url("run")), before);
    // From now on the owner migrates, without the rights of a superuser.
    let owner = Program::on_url(&roles.url("owner"));
    assert_eq!(owner.json(&["migrate"])["roles"]["owner"], roles.names[0]);
    assert!(refusal(&roles.url("owner"), "alter table accounts add column more bigint").is_none());
    Program::on_url(&roles.url("run")).run(&["migrate"]).exits(1).says(&["permission denied"]);
}

#[test]
fn f109_nobody_changes_the_ledger() {
    on_both(|database| {
        let program = Program::on(database);
        program.run(&["migrate"]).exits(0);
        program.run(&["account", "add", "acme", "--name", "Acme"]).exits(0);
        program.run(&["account", "top-up", "acme", "10", "--reference", "cash-1"]).exits(0);
        for table in ["entries", "postings"] {
            for sql in [format!("update {table} set entry_no = 7"), format!("delete from {table}")] {
                let refused = refusal(&database.url, &sql).unwrap_or_else(|| panic!("done: {sql}"));
                assert!(refused.contains("append only"), "{refused}");
            }
            if database.postgres.is_some() {
                assert!(refusal(&database.url, &format!("truncate {table}")).is_some());
            }
        }
    });
}

#[test]
fn roles_are_refused_where_there_are_none_and_where_their_name_could_be_anything() {
    let database = sqlite();
    let program = Program::on(&database);
    program.run(&["migrate", "--roles", "books"]).exits(1).says(&["SQLite has no roles"]);
    for name in ["", "Books", "1st", "books; drop table entries", "b\"c"] {
        program.run(&["migrate", "--roles", name]).exits(2);
    }
}
