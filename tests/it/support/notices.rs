//! Accounts with notices that wait, and a program that is configured to send them.

use std::os::unix::fs::PermissionsExt;

use quittance::desk::accounts;
use quittance::domain::account::Kind;
use quittance::domain::money::Micros;
use quittance::domain::notice::{Fact, Notice, NoticeKind};
use quittance::domain::period::Timestamp;
use quittance::store::accounts::NewAccount;
use quittance::store::notices::Notices;
use quittance::store::{self, Db};

use super::databases::TestDatabase;
use super::mail_server::{MailServer, PASSWORD, USER};
use super::program::{NOON, Program};

/// [`NOON`].
pub fn noon() -> Timestamp {
    Timestamp::parse_rfc3339(NOON).expect("a time")
}

/// A minute of that day.
pub fn at(minutes: i64) -> String {
    let minutes = 12 * 60 + minutes;
    format!("2026-03-{:02}T{:02}:{:02}:00+08:00", 1 + minutes / 1_440, minutes / 60 % 24, minutes % 60)
}

/// Accounts `acme-0`, `acme-1`, .. each with a notice of a bill, written at noon.
pub fn bills(database: &TestDatabase, accounts: usize) {
    let notice = Notice {
        kind: NoticeKind::BillReady,
        subject: "2026-02".to_owned(),
        due: noon(),
        facts: vec![
            ("month", Fact::Text("2026-02".to_owned())),
            ("total", Fact::Money(Micros(12_340_000))),
            ("due", Fact::Money(Micros::ZERO)),
        ],
    };
    let ids: Vec<String> = (0..accounts).map(|number| format!("acme-{number}")).collect();
    with(database, async |db| {
        let mut tx = db.write().await.expect("a transaction");
        let mut notices = Notices::default();
        for id in &ids {
            accounts::add_in(&mut tx, &account(id), noon()).await.expect("an account");
            notices.push(id, &notice, noon());
        }
        notices.flush(&mut tx).await.expect("notices");
        tx.commit().await.expect("a commit");
    });
}

/// Writes one notice to an account, or to the operator.
pub fn tell(database: &TestDatabase, account_id: &str, notice: &Notice, at: Timestamp) {
    with(database, async |db| {
        let mut tx = db.write().await.expect("a transaction");
        let mut notices = Notices::default();
        notices.push(account_id, notice, at);
        notices.flush(&mut tx).await.expect("notices");
        tx.commit().await.expect("a commit");
    });
}

pub fn account(id: &str) -> NewAccount {
    NewAccount {
        account_id: id.to_owned(),
        name: format!("Acme 短信 {id}"),
        kind: Kind::Enterprise,
        currency: "CNY".to_owned(),
        email: Some(format!("{id}@customer.example")),
        phone: Some("+8613812345678".to_owned()),
        locale: "en".to_owned(),
        credit_limit: Micros::ZERO,
    }
}

/// Does something with an open database, migrated where it was not.
pub fn with(database: &TestDatabase, work: impl AsyncFnOnce(&Db)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let db = Db::open(&database.url).await.expect("the database opens");
        store::prepare(&db).await.expect("a schema");
        work(&db).await;
        db.close().await;
    });
}

/// The program with a mail server, to which it logs in where it is encrypted.
pub fn mailing(database: &TestDatabase, server: &MailServer, tls: &str) -> Program {
    let mut program = Program::on(database);
    secret(&program, "smtp-password", &format!("{PASSWORD}\n"));
    program.file("authority.pem", &server.authority);
    program.configure(&smtp(server.port, tls, "deadline = \"5 seconds\""));
    program.set("SSL_CERT_FILE", "authority.pem");
    program
}

/// The configuration for a server.
pub fn smtp(port: u16, tls: &str, more: &str) -> String {
    let login = match tls {
        "none" => String::new(),
        _ => format!("user = \"{USER}\"\npassword_file = \"smtp-password\"\n"),
    };
    format!(
        "[notices]\nsender = \"Example Cloud\"\noperator = [\"ops@example.com\"]\n[smtp]\nhost = \"localhost\"\n\
         port = {port}\ntls = \"{tls}\"\n{login}from = \"Example Billing <billing@example.com>\"\n\
         unsubscribe = \"mailto:billing@example.com\"\n{more}\n"
    )
}

/// A file that only its owner can read.
pub fn secret(program: &Program, name: &str, content: &str) {
    program.file(name, content);
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(program.path(name), closed).expect("its mode can be set");
}

/// Runs the delivery at a minute after noon and gives its report.
#[track_caller]
pub fn deliver(program: &mut Program, minute: i64, code: i32) -> serde_json::Value {
    program.at(&at(minute)).run(&["--run-job", "deliver-notifications", "--json"]).exits(code).json()
}
