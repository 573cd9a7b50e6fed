//! What must stay between the operator and the books: the line to the database, passwords, files.

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
