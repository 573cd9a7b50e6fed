//! Addresses: of people, which logs never show whole, and of servers, some of which are never called.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lettre::message::Mailbox as LettreMailbox;

/// Somebody who writes or is written to: `Name <name@example.com>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox(LettreMailbox);

impl Mailbox {
    pub fn parse(text: &str) -> Result<Mailbox, String> {
        if text.chars().any(char::is_control) {
            return Err("an e-mail address has no line breaks or other control characters".to_owned());
        }
        let read = text.trim().parse().map(Mailbox);
        read.map_err(|_| {
            format!(
                "`{}` is not an e-mail address: write name@example.com or Name <name@example.com>, a name with \
                 commas, colons or brackets in quotes",
                masked(text)
            )
        })
    }

    /// The address with another name before it.
    pub fn named(self, name: &str) -> Mailbox {
        Mailbox(LettreMailbox::new(Some(name.to_owned()), self.0.email))
    }

    /// The bare address.
    pub fn address(&self) -> &str {
        self.0.email.as_ref()
    }

    pub fn domain(&self) -> &str {
        self.0.email.domain()
    }

    pub(super) fn lettre(&self) -> &LettreMailbox {
        &self.0
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", masked(self.address()))
    }
}

/// An address or a number as logs may show it: `b***@example.com`, `+86***78`.
pub fn masked(address: &str) -> String {
    if let Some((name, domain)) = address.rsplit_once('@') {
        let first: String = name.chars().take(1).collect();
        return format!("{first}***@{domain}");
    }
    let chars: Vec<char> = address.chars().collect();
    if chars.len() < 8 {
        return "***".to_owned();
    }
    let shown = |range: &[char]| range.iter().collect::<String>();
    format!("{}***{}", shown(&chars[..3]), shown(&chars[chars.len() - 2..]))
}

/// What a server said, without the address that it may repeat.
pub fn without(said: &str, address: &str) -> String {
    if address.is_empty() { said.to_owned() } else { said.replace(address, &masked(address)) }
}

/// The place that a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// The host of a URL that may be called. Without TLS only what may stay in the house is.
    pub fn of_url(url: &str, allow_private: bool) -> Result<Host, String> {
        let uri: ureq::http::Uri = url
            .parse()
            .map_err(|_| "this is not a URL: write such as https://example.com/path".to_owned())?;
        let host = uri.host().filter(|host| !host.is_empty()).map(str::to_owned);
        let host = host.ok_or("this URL names no host: write such as https://example.com/path")?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(
                "this URL holds a name or a password: put keys into the file of headers or of the secret"
                    .to_owned(),
            );
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if allow_private => {}
            Some("http") => {
                return Err(
                    "this URL has no TLS: write https://, or `allow_private = true` for a server in your \
                            own network"
                        .to_owned(),
                );
            }
            _ => return Err("this URL is neither https:// nor http://".to_owned()),
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if !allow_private && (literal.is_some_and(is_private) || host == "localhost") {
            return Err(format!("{host} is in a private network: {ALLOW}"));
        }
        Ok(Host(host))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) const ALLOW: &str = "if that is meant, write `allow_private = true` beside its `url`";

pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an address belongs to this machine, a private network, or to nobody: a URL from outside must
/// not lead there (F105).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Addresses that lead to an IPv4 one: mapped, and by way of translators and tunnels.
    let v4 = |high: u16, low: u16| is_private_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if address != Ipv6Addr::UNSPECIFIED => {
            address.is_loopback() || v4(high, low)
        }
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [first, ..] => {
            address.is_unspecified()
                || address.is_multicast()
                || (first & 0xfe00) == 0xfc00
                || (first & 0xffc0) == 0xfe80
                || (first & 0xffc0) == 0xfec0
                || first == 0x100
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f105_addresses_of_the_house_are_known_in_all_their_forms() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "::10.0.0.1",
            "ff02::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn urls_need_tls_and_a_place_outside() {
        let of = |url: &str| Host::of_url(url, false);
        assert_eq!(of("https://hooks.example.com/x?y=z").unwrap().to_string(), "hooks.example.com");
        for url in [
            "http://hooks.example.com/",
            "https://127.0.0.1/",
            "https://[::1]:8443/",
            "https://localhost/x",
            "https://169.254.169.254/latest",
            "ftp://example.com/",
            "example.com/x",
            "https://",
            "x",
            "https://user:secret@example.com/",
        ] {
            assert!(of(url).is_err(), "{url}");
        }
        assert!(Host::of_url("http://127.0.0.1:8080/x", true).is_ok());
        assert!(!of("https://user:hunter2@example.com/").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn addresses_are_shown_in_part() {
        assert_eq!(masked("bob@example.com"), "b***@example.com");
        assert_eq!((masked("+8613812345678"), masked("12345")), ("+86***78".into(), "***".into()));
        let said = without("550 <bob@example.com>: unknown", "bob@example.com");
        assert_eq!(said, "550 <b***@example.com>: unknown");
    }

    #[test]
    fn f103_an_address_with_a_line_break_is_none() {
        for text in ["a@b.c\r\nBcc: x@y.z", "a@b.c\nx", "a", "a@", "@b", "a b@c", ""] {
            assert!(Mailbox::parse(text).is_err(), "{text:?}");
        }
        let named = Mailbox::parse("ops@example.com").unwrap().named("张三 <x@y.z>");
        assert_eq!(named.address(), "ops@example.com");
    }
}
