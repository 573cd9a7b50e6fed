//! Notices for programs, signed after Standard Webhooks, and for robots of chat groups (R43, R44).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use ureq::Agent;

use super::http::{self, Reply, Request};
use super::templates::{Part, Templates};
use super::{Answer, Told, words};
use crate::config::database::read_secret;
use crate::config::notices::{Webhook, WebhookFormat, WebhookUrl};
use crate::domain::notice::Channel;
use crate::domain::period::Timestamp;
use crate::notify::address::Host;

/// A webhook with its secrets.
pub struct Endpoint {
    url: String,
    format: WebhookFormat,
    /// Keys by which calls are signed: the one in use, and those being retired.
    keys: Vec<Vec<u8>>,
}

/// Secrets in use at once.
const MAX_KEYS: usize = 2;

impl Endpoint {
    /// Reads its secrets.
    pub fn open(webhook: &Webhook) -> Result<Endpoint, String> {
        let url = match &webhook.url {
            WebhookUrl::Plain(url) => url.clone(),
            WebhookUrl::File(file) => read_secret(file)?,
        };
        Host::of_url(&url, webhook.allow_private).map_err(|fault| format!("the webhook's URL: {fault}"))?;
        let mut keys = Vec::new();
        if let Some(file) = &webhook.secret_file {
            let place = file.display();
            for line in read_secret(file)?.lines().map(str::trim).filter(|line| !line.is_empty()) {
                keys.push(key(line, webhook.format).map_err(|fault| format!("{place}: {fault}"))?);
            }
            if keys.len() > MAX_KEYS {
                return Err(format!(
                    "{place} holds {} secrets: keep the new one and the one before",
                    keys.len()
                ));
            }
        }
        Ok(Endpoint { url, format: webhook.format, keys })
    }

    /// Calls it. It blocks.
    pub fn send(&self, agent: &Agent, templates: &Templates, told: &Told, now: Timestamp) -> Answer {
        let id = format!("msg_{}", told.key(Channel::Webhook, ""));
        match self.format {
            WebhookFormat::Standard => {
                let body = payload(told).to_string();
                let seconds = (now.0 / 1_000_000).to_string();
                let signature = signatures(&self.keys, &id, &seconds, &body);
                let headers = [
                    ("content-type", "application/json"),
                    ("webhook-id", id.as_str()),
                    ("webhook-timestamp", seconds.as_str()),
                    ("webhook-signature", signature.as_str()),
                ];
                http::post(agent, &Request { url: &self.url, headers: &headers, body: &body }).answer()
            }
            WebhookFormat::Dingtalk => self.tell_group(agent, templates, told, now),
        }
    }

    /// What a robot of a group is to say. It answers 200 to everything, and its judgement in the body.
    fn tell_group(&self, agent: &Agent, templates: &Templates, told: &Told, now: Timestamp) -> Answer {
        let said = [Part::Subject, Part::Text].map(|part| templates.part(told, part));
        let content = match said {
            [Ok(subject), Ok(text)] => format!("{subject}\n\n{}", text.trim()),
            [Err(fault), _] | [_, Err(fault)] => return Answer::Never(fault),
        };
        let body = json!({ "msgtype": "text", "text": { "content": content } }).to_string();
        let url = match self.keys.first() {
            Some(key) => signed_url(&self.url, key, now.0 / 1_000),
            None => self.url.clone(),
        };
        let headers = [("content-type", "application/json")];
        let reply = http::post(agent, &Request { url: &url, headers: &headers, body: &body });
        let Reply::Status(200, text) = &reply else { return reply.answer() };
        let judged: Json = serde_json::from_str(text).unwrap_or_default();
        match judged["errcode"].as_i64() {
            Some(0) => Answer::Sent { units: None },
            // Too many calls, a wrong signature, a forbidden word: all of them somebody or time may mend.
            code => {
                let code = code.map_or("no errcode".to_owned(), |code| format!("errcode {code}"));
                let why: String = judged["errmsg"].as_str().unwrap_or_default().chars().take(200).collect();
                Answer::Later(format!("it answered {code} {why}").trim_end().to_owned())
            }
        }
    }
}

/// What a program is told.
pub fn payload(told: &Told) -> Json {
    json!({
        "type": told.kind.as_str(),
        "timestamp": told.zone.format(told.at),
        "data": {
            "account_id": Some(&told.account_id).filter(|id| !id.is_empty()),
            "subject": told.subject,
            "due": told.zone.format(told.due),
            "currency": Some(&told.currency).filter(|currency| !currency.is_empty()),
            "facts": words::json(told),
        },
    })
}

/// A signature by each key, the newest first: receivers take any that they know.
fn signatures(keys: &[Vec<u8>], id: &str, seconds: &str, body: &str) -> String {
    let signed = format!("{id}.{seconds}.{body}");
    let one = |key: &Vec<u8>| format!("v1,{}", STANDARD.encode(mac(key, signed.as_bytes())));
    keys.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The URL of a group's robot with time and signature, as its "sign" setting asks for.
fn signed_url(url: &str, key: &[u8], millis: i64) -> String {
    let signed = [millis.to_string().as_bytes(), b"\n", key].concat();
    let sign = STANDARD.encode(mac(key, &signed)).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let and = if url.contains('?') { '&' } else { '?' };
    format!("{url}{and}timestamp={millis}&sign={sign}")
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length is taken.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(text).finalize().into_bytes());
    mac.map(|bytes| bytes.to_vec()).unwrap_or_default()
}

/// A line of the secret file: base64 after `whsec_`, or the robot's word as it is.
fn key(line: &str, format: WebhookFormat) -> Result<Vec<u8>, String> {
    if format == WebhookFormat::Dingtalk {
        return Ok(line.as_bytes().to_vec());
    }
    let key = STANDARD.decode(line.strip_prefix("whsec_").unwrap_or(line)).ok();
    key.filter(|key| (24..=64).contains(&key.len())).ok_or_else(|| {
        "a secret is `whsec_` and 24 to 64 bytes in base64: `openssl rand -base64 32` makes one".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_standard_webhooks_is_signed_as_it_is_there() {
        // From the reference: a secret, an id, a time, a body, and the signature they come to.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", WebhookFormat::Standard).unwrap();
        let signed =
            signatures(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn robots_get_time_and_signature_in_the_url() {
        let url =
            signed_url("https://oapi.dingtalk.com/robot/send?access_token=x", b"SECabc", 1_577_262_236_757);
        let (before, sign) = url.split_once("&sign=").unwrap();
        assert_eq!(before, "https://oapi.dingtalk.com/robot/send?access_token=x&timestamp=1577262236757");
        assert!(sign.ends_with("%3D") && !sign.contains(['+', '/', '=']), "{sign}");
    }

    #[test]
    fn short_secrets_are_refused() {
        for word in ["whsec_", "whsec_c2hvcnQ=", "no base64!"] {
            assert!(key(word, WebhookFormat::Standard).is_err(), "{word}");
        }
        assert_eq!(key("SECabc", WebhookFormat::Dingtalk), Ok(b"SECabc".to_vec()));
    }
}
