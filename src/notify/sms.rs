//! Text messages through a gateway's HTTP interface.

use std::path::Path;

use ureq::Agent;

use super::address::without;
use super::http::{self, Request};
use super::templates::{Part, Templates};
use super::{Answer, Told};
use crate::config::database::read_secret;
use crate::config::notices::Sms;
use crate::domain::length::{Length, measure};
use crate::domain::notice::Channel;
use crate::domain::product::{Astral, LengthRule};

/// A text message as our own rules count it: at home every character alike, abroad by its alphabet.
pub fn measured(text: &str, signature: Option<&str>, phone: &str) -> Length {
    let at_home = phone.starts_with("+86") || phone.starts_with("0086") || !phone.starts_with(['+', '0']);
    let rule = if at_home { LengthRule::Domestic } else { LengthRule::International };
    measure(rule, Astral::Utf16, signature, text)
}

/// What opens the gateway: lines of `Name: value`.
pub fn read_headers(file: Option<&Path>) -> Result<Vec<(String, String)>, String> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let text = read_secret(file)?;
    let mut headers = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let header =
            line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        let plain = |(name, value): &(String, String)| {
            let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !name.is_empty() && name.bytes().all(token) && value.bytes().all(|b| (0x20..0x7f).contains(&b))
        };
        // The line itself is a secret.
        let fault = || format!("{}:{number}: this is no header: write `Name: value`", file.display());
        headers.push(header.filter(plain).ok_or_else(fault)?);
    }
    Ok(headers)
}

/// Hands a text message to the gateway. It blocks.
pub fn send(
    agent: &Agent,
    sms: &Sms,
    headers: &[(String, String)],
    templates: &Templates,
    told: &Told,
    phone: &str,
) -> Answer {
    let id = told.key(Channel::Sms, "");
    let signature = sms.signature.as_deref();
    let filled = templates.part(told, Part::Sms).and_then(|text| {
        let body = templates.request(&sms.body, phone, &text, signature.unwrap_or_default(), &id)?;
        Ok((text, body))
    });
    let (text, body) = match filled {
        Ok(filled) => filled,
        Err(fault) => return Answer::Never(fault),
    };
    let mut all = vec![("content-type", sms.content_type.as_str()), ("idempotency-key", id.as_str())];
    all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let request = Request { url: &sms.url, headers: &all, body: &body };
    match http::post(agent, &request).answer() {
        Answer::Sent { .. } => Answer::Sent { units: Some(measured(&text, signature, phone).segments) },
        Answer::Later(said) => Answer::Later(without(&said, phone)),
        Answer::Never(said) => Answer::Never(without(&said, phone)),
        unreachable => unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn lengths_follow_the_receivers_country() {
        let text = "a".repeat(100);
        let segments = |phone: &str| measured(&text, None, phone).segments;
        assert_eq!(
            (segments("+8613800000000"), segments("13800000000"), segments("+4915112345678")),
            (2, 2, 1)
        );
        assert_eq!(measured(&"字".repeat(68), Some("名"), "+8613800000000").segments, 2);
    }

    #[test]
    fn f106_headers_are_read_from_a_closed_file_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("headers");
        let put = |text: &str, mode: u32| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            read_headers(Some(&file))
        };
        let header = ("Authorization".to_owned(), "Bearer s3cret".to_owned());
        assert_eq!(put("Authorization: Bearer s3cret\n\n", 0o640), Ok(vec![header]));
        assert!(put("Authorization: Bearer s3cret\n", 0o644).unwrap_err().contains("chmod 640"));
        let fault = put("x\nBearer s3cret\n", 0o600).unwrap_err();
        assert!(fault.contains(":1:") && !fault.contains("s3cret"), "{fault}");
    }
}
