//! Notices by webhook and by an SMS gateway, against a receiver that checks what it gets (F105, F106).

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::databases::{on_both, sqlite};
use crate::support::mail_server::certificate;
use crate::support::notices::{bills, deliver, secret};
use crate::support::program::Program;

/// A call as it came.
#[derive(Clone, Debug)]
struct Call {
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Calls = Arc<Mutex<Vec<Call>>>;
type Answers = fn(usize) -> (u16, &'static str);

struct Receiver {
    port: u16,
    calls: Calls,
    _runtime: Runtime,
}

struct Encrypted {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.tcp.accept().await.unwrap();
            // Who does not trust the certificate goes away.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

impl Receiver {
    /// Answers as it is told, by how many calls came before.
    fn start(answers: Answers) -> Receiver {
        Receiver::listening(answers, |app, listener| async { axum::serve(listener, app).await })
    }

    /// One that speaks TLS alone, and the authority that signed its certificate.
    fn encrypted(answers: Answers) -> (Receiver, String) {
        let (acceptor, authority) = certificate();
        let serve = |app, tcp| async { axum::serve(Encrypted { tcp, acceptor }, app).await };
        (Receiver::listening(answers, serve), authority)
    }

    fn listening<S: Future<Output = std::io::Result<()>> + Send + 'static>(
        answers: Answers,
        serve: impl FnOnce(Router, TcpListener) -> S,
    ) -> Receiver {
        let runtime = Runtime::new().unwrap();
        let calls = Calls::default();
        let take = async move |State(calls): State<Calls>, uri: Uri, headers: HeaderMap, body: Bytes| {
            let body = String::from_utf8(body.to_vec()).unwrap();
            let count = {
                let mut calls = calls.lock().unwrap();
                calls.push(Call { uri, headers, body });
                calls.len() - 1
            };
            let (status, text) = answers(count);
            (StatusCode::from_u16(status).unwrap(), [("location", "http://127.0.0.1:1/")], text)
        };
        let app = Router::new().fallback(take).with_state(calls.clone());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(serve(app, listener));
        Receiver { port, calls, _runtime: runtime }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazfzIOgQ8Kc=";

fn webhook(port: u16, more: &str) -> String {
    format!("[webhook]\nurl = \"http://127.0.0.1:{port}/hook\"\nallow_private = true\n{more}\n")
}

#[test]
fn f105_a_webhook_is_signed_by_both_secrets_and_keeps_its_id() {
    on_both(|database| {
        let receiver = Receiver::start(|count| if count == 0 { (503, "busy") } else { (204, "") });
        bills(database, 1);
        let mut program = Program::on(database);
        secret(&program, "hook", &format!("{NEW}\n{OLD}\n"));
        program.configure(&webhook(receiver.port, "secret_file = \"hook\""));
        assert_eq!(deliver(&mut program, 0, 0)["counts"]["later"], 1);
        assert_eq!(deliver(&mut program, 1, 0)["counts"]["sent"], 1);
        assert_eq!(deliver(&mut program, 2, 0)["outcome"], "nothing_to_do");
        let calls = receiver.calls();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
        for call in &calls {
            for key in [OLD, NEW] {
                let checker = Webhook::new(key).unwrap();
                checker.verify(call.body.as_bytes(), &call.headers).unwrap();
                let other = call.body.replace("12.34", "0.01");
                assert!(checker.verify(other.as_bytes(), &call.headers).is_err());
            }
            assert!(
                Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
                    .unwrap()
                    .verify(call.body.as_bytes(), &call.headers)
                    .is_err()
            );
        }
        let body: Value = serde_json::from_str(&calls[0].body).unwrap();
        let expected = json!({
            "type": "bill_ready",
            "timestamp": "2026-03-01T12:00:00+08:00",
            "data": {
                "account_id": "acme-0",
                "subject": "2026-02",
                "due": "2026-03-01T12:00:00+08:00",
                "currency": "CNY",
                "facts": { "month": "2026-02", "total": "12.34", "due": "0" },
            },
        });
        assert_eq!(body, expected);
    });
}

#[test]
fn f105_a_webhook_goes_over_tls_to_whom_a_known_authority_vouches_for() {
    let database = sqlite();
    let (receiver, authority) = Receiver::encrypted(|_| (204, ""));
    bills(&database, 1);
    let mut program = Program::on(&database);
    secret(&program, "hook", &format!("{NEW}\n"));
    program.file("authority.pem", authority);
    let url = format!("https://localhost:{}/hook", receiver.port);
    program.configure(&format!("[webhook]\nurl = \"{url}\"\nallow_private = true\nsecret_file = \"hook\"\n"));
    assert_eq!(deliver(&mut program, 0, 0)["counts"]["later"], 1, "its authority is not known");
    assert!(receiver.calls().is_empty());
    program.set("SSL_CERT_FILE", "authority.pem");
    assert_eq!(deliver(&mut program, 1, 0)["counts"]["sent"], 1);
    assert_eq!(receiver.calls().len(), 1);
}

#[test]
fn f105_a_webhook_is_not_led_into_the_house() {
    let receiver = Receiver::start(|_| (302, ""));
    let database = sqlite();
    bills(&database, 1);
    let mut program = Program::on(&database);
    secret(&program, "hook", NEW);
    let local = webhook(receiver.port, "secret_file = \"hook\"");
    // Not where the configuration does not allow it, whatever the address is called.
    program.configure(&local.replace("allow_private = true\n", ""));
    program.run(&["check-config"]).exits(78).says(&["no TLS"]);
    let named = local.replace("allow_private = true\n", "").replace("http://127.0.0.1", "https://127.0.0.1");
    program.configure(&named);
    program.run(&["check-config"]).exits(78).says(&["private network", "allow_private"]);
    // What is allowed leads nowhere else.
    program.configure(&local);
    assert_eq!(deliver(&mut program, 0, 0)["counts"]["later"], 1);
    assert_eq!(receiver.calls().len(), 1, "a redirect is not followed");
    let listed = &program.json(&["notice", "list"])[0];
    assert_eq!(listed["error"], "it answered 302");
}

#[test]
fn r43_a_group_robot_is_told_in_words_and_signed() {
    const SECRET: &str = "SEC0123456789abcdef-robot";
    let receiver = Receiver::start(|count| match count {
        0 => (200, r#"{"errcode":310000,"errmsg":"sign not match"}"#),
        _ => (200, r#"{"errcode":0,"errmsg":"ok"}"#),
    });
    let database = sqlite();
    bills(&database, 1);
    let mut program = Program::on(&database);
    secret(&program, "robot", SECRET);
    secret(
        &program,
        "robot-url",
        &format!("http://127.0.0.1:{}/robot/send?access_token=t0ken", receiver.port),
    );
    let robot = "[webhook]\nurl_file = \"robot-url\"\nsecret_file = \"robot\"\nformat = \"dingtalk\"\n\
                 allow_private = true\n";
    program.configure(robot);
    program.set("QUITTANCE_LOG", "debug");
    assert_eq!(deliver(&mut program, 0, 0)["counts"]["later"], 1);
    let listed = program.json(&["notice", "list"])[0]["error"].clone();
    assert_eq!(listed, "it answered errcode 310000 sign not match");
    let answer =
        program.at("2026-03-01T12:01:00+08:00").run(&["--run-job", "deliver-notifications"]).exits(0);
    for word in [SECRET, "t0ken"] {
        assert!(!answer.stderr.contains(word), "{}", answer.shown());
    }
    let call = &receiver.calls()[1];
    let query = call.uri.query().unwrap();
    assert!(query.starts_with("access_token=t0ken&timestamp=") && query.contains("&sign="), "{query}");
    let body: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(body["msgtype"], "text");
    let said = body["text"]["content"].as_str().unwrap();
    assert!(said.starts_with("Your bill for 2026-02: 12.34 CNY\n\nDear Acme 短信 acme-0,"), "{said}");
}

#[test]
fn text_messages_go_through_a_gateway_with_its_key_and_their_length() {
    let receiver = Receiver::start(|count| match count {
        0 => (401, "who are you, +8613812345678?"),
        1 => (200, "{}"),
        _ => (400, "no such number"),
    });
    let database = sqlite();
    bills(&database, 1);
    let mut program = Program::on(&database);
    secret(&program, "keys", "Authorization: Bearer s3cret-gateway\nX-App: billing\n");
    let config = format!(
        "[notices.kinds]\nbill_ready = [\"inbox\", \"sms\"]\n[sms]\nurl = \"http://127.0.0.1:{}/send\"\n\
         headers_file = \"keys\"\nallow_private = true\nsignature = \"例\"\n\
         body = '{{\"mobile\": {{{{ phone|tojson }}}}, \"sign\": {{{{ signature|tojson }}}}, \
         \"content\": {{{{ text|tojson }}}}, \"ref\": {{{{ id|tojson }}}}}}'\n",
        receiver.port
    );
    program.configure(&config.replace("phone|tojson", "phnoe|tojson"));
    program.run(&["check-config"]).exits(78).says(&["there is no `phnoe`", "{{ phone }}"]);
    program.configure(&config);
    program.set("QUITTANCE_LOG", "debug");
    let answer = program.run(&["--run-job", "deliver-notifications", "--json"]).exits(0);
    assert_eq!(answer.json()["counts"]["later"], 1, "a wrong key is somebody's to mend: {}", answer.shown());
    for word in ["s3cret-gateway", "13812345678"] {
        assert!(!answer.stderr.contains(word), "{}", answer.shown());
    }
    assert_eq!(deliver(&mut program, 1, 0)["counts"]["sent"], 1);
    let call = &receiver.calls()[1];
    assert_eq!((call.header("authorization"), call.header("x-app")), ("Bearer s3cret-gateway", "billing"));
    let body: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!((&body["mobile"], &body["sign"]), (&json!("+8613812345678"), &json!("例")));
    assert_eq!(body["content"], "Your bill for 2026-02: 12.34 CNY.");
    assert_eq!(body["ref"], call.header("idempotency-key"));
    let listed = &program.json(&["notice", "list"])[0];
    assert_eq!((&listed["state"], &listed["units"]), (&json!("sent"), &json!(1)));
    assert_eq!(listed["to"], "+86***78");
    // A kind that nobody asked to have as a text message is none.
    assert_eq!(deliver(&mut program, 2, 0)["outcome"], "nothing_to_do");
}

#[test]
fn an_endpoint_that_is_not_there_is_left_alone_for_the_run() {
    let database = sqlite();
    bills(&database, 50);
    let mut program = Program::on(&database);
    secret(&program, "hook", NEW);
    program.configure(&webhook(1, "secret_file = \"hook\""));
    let run = deliver(&mut program, 0, 3);
    assert_eq!(run["counts"]["shut"], 1);
    // Three in a row, and those that were under way on the other lines.
    assert!((3..=6).contains(&run["counts"]["later"].as_i64().unwrap()), "{run}");
}
