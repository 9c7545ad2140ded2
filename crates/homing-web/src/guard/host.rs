//! The names a site is called by. A page of somebody else's can have its own name point here (DNS rebinding): to
//! the browser that page and this site are one. Only the name betrays it.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::HOST;

use crate::options::Options;
use crate::problem::{Refusal, Result};

/// The host and port that a request is for.
pub(crate) fn of(request: &Request) -> Result<String> {
    let mut given = request.headers().get_all(HOST).iter();
    let host = match (given.next(), given.next()) {
        (Some(host), None) => host.to_str().ok().map(str::to_owned),
        (None, None) => request.uri().authority().map(ToString::to_string),
        _ => None,
    };
    host.ok_or_else(|| {
        Refusal::new(StatusCode::MISDIRECTED_REQUEST, "host", "the request names no one host")
    })
}

/// A host without its port.
pub(crate) fn name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Whether the site is called by a name: one that nobody else can have point here, or one that was told.
pub(crate) fn is_known(options: &Options, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inside) = bracketed {
        return inside.parse::<Ipv6Addr>().is_ok();
    }
    name.parse::<Ipv4Addr>().is_ok()
        || name == "localhost"
        || [".localhost", ".local"]
            .iter()
            .any(|end| name.strip_suffix(end).is_some_and(|before| !before.is_empty()))
        || options.hosts.iter().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_that_nobody_can_point_here() {
        let options = Options::new().host("admin.Example.com");
        for (host, known) in [
            ("127.0.0.1:7070", true),
            ("10.0.0.7", true),
            ("[::1]:7070", true),
            ("localhost:7070", true),
            ("LOCALHOST", true),
            ("localhost.", true),
            ("app.localhost", true),
            ("printer.local:80", true),
            ("admin.example.com:443", true),
            ("example.com", false),
            ("admin.example.com.evil.org", false),
            ("127.0.0.1.evil.org", false),
            ("127.0.0.1.nip.io:7070", false),
            ("evil.org:127.0.0.1", false),
            ("localhost.evil.org", false),
            ("notlocalhost", false),
            (".local", false),
            ("local", false),
            ("[evil.org]", false),
            ("[::1", false),
            ("", false),
        ] {
            assert_eq!(is_known(&options, name(host)), known, "{host}");
        }
    }
}
