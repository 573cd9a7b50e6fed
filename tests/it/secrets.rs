//! What must stay between the operator and the books: the line to the database, passwords, files.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use crate::support::databases::sqlite;
use crate::support::lines::{file, plain};
use crate::support::program::{Answer, Program};
use crate::support::tls_server::TlsServer;

#[test]
fn f108_a_server_on_the_network_must_prove_itself() {
    let Some(server) = TlsServer::start() else { return };
    let migrate = |parameters: &str| Program::on_url(&server.url(parameters)).run(&["migrate"]);
    let warns = |answer: Answer, words: &[&str]| answer.exits(0).says(words).says(&["weak"]);

    // Without TLS on the server nothing is sent to it unless the URL takes the risk.
    for refused in ["", "sslmode=verify-full", "sslmode=verify-ca", "sslmode=require"] {
        migrate(refused).exits(1).says(&["TLS", "0.0.0.0", "sslrootcert"]);
    }
    for falls_back in ["sslmode=prefer", "sslmode=allow"] {
        migrate(falls_back).exits(1).says(&["falls back", "verify-full"]);
    }
    warns(migrate("sslmode=disable"), &["in the clear"]);

    // With TLS, the authority and the name must be right.
    server.certify("DNS:books.example");
    let trusted = format!("sslrootcert={}", server.authority());
    migrate("").exits(1).says(&["TLS", "sslrootcert", "UnknownIssuer"]);
    migrate(&trusted).exits(1).says(&["TLS", "0.0.0.0", "not valid for"]);
    warns(migrate(&format!("{trusted}&sslmode=verify-ca")), &["authority"]);
    warns(migrate("sslmode=require"), &["whoever answers"]);
    server.certify("IP:0.0.0.0");
    assert_eq!(migrate(&trusted).exits(0).stderr, "", "a proven server needs no word");
    migrate(&format!("{trusted}&sslmode=prefer")).exits(1).says(&["falls back"]);
}

#[test]
fn f106_no_output_holds_a_secret() {
    const SECRET: &str = "hunter2";
    let urls = [
        "postgres://clerk:hunter2@localhost/books?host=/nonexistent",
        "postgres://localhost/books?host=/nonexistent&password=hunter2",
        "postgres://localhost/books?host=/nonexistent&pasword=hunter2",
        "postgres://clerk:hunter2@[not-a-host/books",
        "postgres://clerk:hunter2@localhost:port/books",
        "mysql://clerk:hunter2@localhost/books",
        "clerk:hunter2@localhost/books",
        "sqlite://nonexistent/books.db?key=hunter2",
        "postgres://clerk:s?hunter2@127.0.0.1:1/books",
        "postgres://clerk:1/hunter2@127.0.0.1:1/books",
        "postgres:clerk:hunter2@127.0.0.1/books",
    ];
    for (url, is_password) in
        urls.iter().zip([true, true, false, true, true, true, true, false, true, true, true])
    {
        let mut program = Program::on_url(url);
        for log in ["warn", "debug"] {
            program.set("QUITTANCE_LOG", log);
            for args in [&["status"][..], &["migrate", "-vv"], &["--run-job", "aggregate-charges", "--json"]]
            {
                let answer = program.run(args);
                assert_eq!(answer.code, 1, "{}", answer.shown());
                assert!(
                    !answer.stdout.contains(SECRET) && !answer.stderr.contains(SECRET),
                    "{}",
                    answer.shown()
                );
                // The command line is open to all users of a machine, whatever we print.
                assert_eq!(answer.stderr.contains("Other users"), is_password, "{}", answer.shown());
            }
        }
    }
    let database = sqlite();
    let mut program = Program::on(&database);
    program.set("QUITTANCE_DATABASE_URL", urls[0]);
    assert!(!program.run(&["--help"]).exits(0).stdout.contains(SECRET));
    for line in
        ["database = 5 # hunter2", "databse = \"postgres://clerk:hunter2@h/b\"", "database = \"hunter2"]
    {
        let config = program.file("quittance.toml", format!("{line}\n"));
        let answer = program.run(&["check-config", "--config", &config]).exits(78);
        assert!(!answer.stderr.contains(SECRET), "{}", answer.shown());
    }
}

#[test]
fn f106_a_password_in_the_configuration_stays_there() {
    let mut program = Program::configured();
    let url = "postgres://clerk:hunter2@localhost/books?host=/nonexistent";
    configure(&program, "");
    program.file("inline.toml", format!("database = \"{url}\"\n"));
    program.file("named.toml", "database_file = \"secret\"\n");
    program.file("secret", format!("{url}\n"));
    program.file("database-url", url);
    for name in ["inline.toml", "secret", "database-url"] {
        chmod(&program, name, 0o640);
    }
    program.set("QUITTANCE_LOG", "debug");
    let dir = program.dir().display().to_string();
    for (config, credentials) in [("inline.toml", ""), ("named.toml", ""), ("named.toml", &*dir)] {
        program.set("CREDENTIALS_DIRECTORY", credentials);
        for (command, code) in
            [(&["check-config"][..], 0), (&["check-config", "--json"], 0), (&["status"], 1)]
        {
            let answer = program.run(&[command, &["--config", config]].concat()).exits(code);
            assert!(!answer.stdout.contains("hunter2") && !answer.stderr.contains("hunter2"), "{answer:?}");
            assert!(!answer.stderr.contains("Other users"), "{answer:?}");
        }
    }
}

fn chmod(program: &Program, name: &str, mode: u32) {
    set_permissions(program.path(name), Permissions::from_mode(mode)).expect("it is ours");
}

fn mode(program: &Program, name: &str) -> u32 {
    std::fs::metadata(program.path(name)).expect("it is there").permissions().mode() & 0o777
}

/// The configuration that is shipped, with a line of its own in quittance.toml.
fn configure(program: &Program, line: &str) -> String {
    for name in ["products.toml", "prices.toml"] {
        let shipped = format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"));
        program.file(name, std::fs::read(shipped).expect("it is shipped"));
    }
    program.file("quittance.toml", format!("{line}\n"))
}

#[test]
fn check_config_tells_the_place_of_everything() {
    let program = Program::configured();
    let config = configure(&program, "database_file = \"secret\"\nzone = \"Europe/Berlin\"");
    program.file("secret", "postgres://clerk:hunter2@127.0.0.1/books\n");
    chmod(&program, "secret", 0o600);
    let shown = program.run(&["check-config", "--config", &config]).exits(0).stdout;
    for words in ["quittance.toml", "products.toml (sms-domestic", "prices.toml (91", "Europe/Berlin"] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }
    assert!(shown.contains("postgres://clerk:***@127.0.0.1/books (said by secret)"), "{shown}");
    program.file("secret", "postgres://db.example.com/books?sslmode=prefer");
    program.run(&["check-config", "--config", &config]).exits(78).says(&["falls back"]);
    // What no command could use is not right; short URLs are shown as they are.
    for wrong in ["sqlite://", "sqlite::memory:", "sqlite://m.db?mode=memory", "postgres:books"] {
        let config = configure(&program, &format!("database = \"{wrong}\""));
        program.run(&["check-config", "--config", &config]).exits(78);
    }
    let config = configure(&program, "database = \"sqlite:a.db\"");
    assert_eq!(program.json(&["check-config", "--config", &config])["database"], "sqlite:a.db");
}

#[test]
fn f107_a_secret_that_others_can_read_is_refused() {
    let program = Program::configured();
    let config = configure(&program, "database = \"postgres://clerk:hunter2@localhost/books\"");
    let check = || program.run(&["check-config", "--config", &config]);
    chmod(&program, &config, 0o644);
    check().exits(78).says(&["quittance.toml:1:12", "chmod 640", "database_file"]);
    chmod(&program, &config, 0o600);
    check().exits(0);

    configure(&program, "database_file = \"secret\"");
    check().exits(78).says(&["secret", "can't be read"]);
    program.file("secret", "sqlite://books.db\n");
    for (open, code) in [(0o644, 78), (0o666, 78), (0o660, 78), (0o604, 78), (0o640, 0), (0o400, 0)] {
        chmod(&program, "secret", open);
        let answer = check().exits(code);
        assert_eq!(answer.stderr.contains("chmod 640"), code == 78, "{}", answer.shown());
    }
    program.run(&["account", "list", "--config", &config]).exits(0);
    assert!(program.path("books.db").exists(), "the URL in the file is what counts");
    chmod(&program, "secret", 0o600);
    for nothing in ["", "\n", "books.db"] {
        program.file("secret", nothing);
        check().exits(78).says(&["secret"]);
    }
    configure(&program, "database = \"sqlite://a.db\"\ndatabase_file = \"secret\"");
    check().exits(78).says(&["quittance.toml:1:12", "twice"]);
}

#[test]
fn the_credential_of_a_service_comes_before_its_configuration() {
    let mut program = Program::configured();
    let config = configure(&program, "database = \"sqlite://configured.db\"");
    let dir = program.dir().join("credentials");
    std::fs::create_dir(&dir).expect("a directory");
    program.set("CREDENTIALS_DIRECTORY", &dir.display().to_string());
    program.run(&["account", "list", "--config", &config]).exits(0);
    assert!(program.path("configured.db").exists(), "no credential, no database of its");
    program.file("credentials/database-url", "sqlite://credential.db");
    chmod(&program, "credentials/database-url", 0o400);
    program.run(&["account", "list", "--config", &config]).exits(0);
    assert!(program.path("credential.db").exists());
}

#[test]
fn f107_what_the_program_makes_is_for_its_user_alone() {
    let program = Program::configured();
    program.file("messages.csv", file(&[plain("m-1")]));
    let mut shell = std::process::Command::new("sh");
    let commands = "umask 000; q() { \"$@\" >/dev/null || exit $?; }; q \"$0\" account add acme --name Acme; \
        q \"$0\" ingest messages messages.csv; q \"$0\" --run-job aggregate-charges --as-of 2026-03-01T12:00:00+08:00; \
        \"$0\" demo --help";
    shell.args(["-c", commands, env!("CARGO_BIN_EXE_quittance")]).current_dir(program.dir());
    let output = shell.env_remove("QUITTANCE_DATABASE_URL").output().expect("a shell");
    Answer::of("a day's work without a umask".into(), output).exits(0);
    assert_eq!(mode(&program, "quittance.db"), 0o600);

    chmod(&program, "quittance.db", 0o644);
    program.run(&["status"]).exits(0).says(&["chmod 600 quittance.db"]);
}
