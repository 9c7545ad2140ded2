//! What a site is told before it is built: who is let in, what they may see, by which names it is called.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::http::HeaderName;
use axum::http::request::Parts;

/// Fewest characters of a token: what is shorter can be guessed.
pub(crate) const TOKEN: usize = 16;

/// What somebody may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Looks.
    Viewer,
    /// Retries, cancels, signals, submits; pauses queues and resumes them.
    Operator,
    /// Removes jobs.
    Admin,
}

impl Role {
    /// The word for the role.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Self, InvalidOption> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            _ => Err(InvalidOption(format!("`{text}` is no role: use viewer, operator or admin"))),
        }
    }
}

/// What somebody who is let in may do and see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// What the audit calls them.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// Whether they see arguments, values and messages; else these are masked whole.
    pub payloads: bool,
}

impl Grant {
    /// May do what a role may, and sees payloads.
    pub fn of(role: Role) -> Self {
        Self { user: role.name().to_owned(), role, payloads: true }
    }

    /// Looks, and sees payloads.
    pub fn viewer() -> Self {
        Self::of(Role::Viewer)
    }

    /// Acts, and sees payloads.
    pub fn operator() -> Self {
        Self::of(Role::Operator)
    }

    /// May do everything.
    pub fn admin() -> Self {
        Self::of(Role::Admin)
    }

    /// Who it is.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// Sees no payloads.
    #[must_use]
    pub fn without_payloads(mut self) -> Self {
        self.payloads = false;
        self
    }
}

/// Decides who is let in, by each request: for programs that know their users.
pub trait Access: Send + Sync {
    /// What the sender of a request may do; `None` lets them not in. Asked for every request but those for the
    /// style sheet and the scripts.
    fn of(&self, parts: &Parts) -> Option<Grant>;
}

/// An option that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOption(pub(crate) String);

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for InvalidOption {}

/// Addresses that begin alike: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl FromStr for Network {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Self, InvalidOption> {
        let invalid = || {
            InvalidOption(format!(
                "`{text}` is no network: give an address, or one like 10.0.0.0/8"
            ))
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(invalid()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    /// Whether an address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        // A socket of both families shows the addresses of IPv4 as those of IPv6.
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = (own.to_bits() ^ other.to_bits()).leading_zeros();
                differ >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = (own.to_bits() ^ other.to_bits()).leading_zeros();
                differ >= self.bits
            }
            _ => false,
        }
    }
}

/// What a site is told before it is built. See [`router`](crate::router).
#[derive(Clone, Default)]
#[must_use = "options do nothing until a router is made of them"]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Options {
    pub(crate) tokens: Vec<(String, Grant)>,
    pub(crate) header: Option<TrustedHeader>,
    pub(crate) access: Option<Arc<dyn Access>>,
    pub(crate) everybody: Option<Grant>,
    pub(crate) hosts: Vec<String>,
    pub(crate) base: Option<String>,
    pub(crate) frames: Vec<String>,
    pub(crate) redact: Vec<String>,
    pub(crate) hide_payloads: bool,
    pub(crate) read_only: bool,
    pub(crate) https: bool,
    pub(crate) metrics_open: bool,
    pub(crate) name: Option<String>,
    pub(crate) store: Option<String>,
}

/// A header that a proxy sets, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct TrustedHeader {
    pub(crate) name: HeaderName,
    pub(crate) from: Vec<Network>,
    pub(crate) roles: HashMap<String, Grant>,
}

impl Options {
    /// Lets nobody in: say who is, with at least one of the following.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets in who knows a token: a browser by the page's login, which it remembers for 12 hours by a cookie; a
    /// program by `Authorization: Bearer TOKEN` with each request. `user` is what the audit calls them.
    ///
    /// # Errors
    /// The token has fewer than 16 characters, or a blank or a character beyond ASCII in it.
    pub fn token(
        mut self,
        user: impl Into<String>,
        grant: Grant,
        token: impl Into<String>,
    ) -> Result<Self, InvalidOption> {
        let token = token.into();
        if token.len() < TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!(
                "a token must have {TOKEN} characters or more, all ASCII and none blank: \
                 take 32 hexadecimal digits by chance"
            );
            return Err(InvalidOption(message));
        }
        self.tokens.push((token, grant.user(user)));
        Ok(self)
    }

    /// Lets in whom a program of one's own says.
    pub fn access(mut self, access: impl Access + 'static) -> Self {
        self.access = Some(Arc::new(access));
        self
    }

    /// Lets in whom a proxy names in a header, if the request comes from one of these networks; each user is
    /// granted what `roles` says of them, or of `*`, or is not let in. The address of the sender is known only
    /// where the server says so: [`serve`](crate::serve) does, and
    /// `into_make_service_with_connect_info::<SocketAddr>()` in an application of one's own.
    ///
    /// # Errors
    /// The name is none of a header; there is no network, or nobody has a role.
    pub fn trust_header(
        mut self,
        name: &str,
        from: impl IntoIterator<Item = Network>,
        roles: impl IntoIterator<Item = (String, Grant)>,
    ) -> Result<Self, InvalidOption> {
        let header = HeaderName::from_str(name)
            .map_err(|_| InvalidOption(format!("`{name}` is no name of a header")))?;
        let from: Vec<Network> = from.into_iter().collect();
        let roles: HashMap<String, Grant> = roles.into_iter().collect();
        if from.is_empty() || roles.is_empty() {
            let message = format!(
                "whom to trust with the header `{name}` is not said: name the proxy's network and \
                 at least one user's role, or that of `*`"
            );
            return Err(InvalidOption(message));
        }
        self.header = Some(TrustedHeader { name: header, from, roles });
        Ok(self)
    }

    /// Lets everybody in who reaches the server.
    pub fn insecure_no_auth(mut self, grant: Grant) -> Self {
        self.everybody = Some(grant);
        self
    }

    /// Another name that the site is called by, without a port: `admin.example.com`. Known besides are
    /// addresses, `localhost`, `*.localhost` and `*.local`; a request for any other is answered 421, because a
    /// page of somebody else's could have its name point here.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// The path that stands before all of the site's, where a proxy takes it off. What `nest` takes off is seen.
    pub fn base(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        let path = path.trim_matches('/');
        self.base = Some(if path.is_empty() { String::new() } else { format!("/{path}") });
        self
    }

    /// An origin whose pages may show this site in a frame, such as `https://intranet.example.com`.
    pub fn frame_ancestor(mut self, origin: impl Into<String>) -> Self {
        self.frames.push(origin.into());
        self
    }

    /// A key whose values are masked wherever it stands in arguments, values and messages, or the end of a path
    /// of keys: `email`, `user.address`. Keys that look like passwords, secrets and tokens always are.
    pub fn redact(mut self, path: impl Into<String>) -> Self {
        self.redact.push(path.into().to_lowercase());
        self
    }

    /// Masks arguments, values and messages whole, for everybody.
    pub fn hide_payloads(mut self) -> Self {
        self.hide_payloads = true;
        self
    }

    /// Leaves out every route that changes anything.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Browsers come by https, to a proxy: the cookie is for that only.
    pub fn https(mut self) -> Self {
        self.https = true;
        self
    }

    /// Shows the metrics to everybody.
    pub fn metrics_open(mut self) -> Self {
        self.metrics_open = true;
        self
    }

    /// What the site is called in titles. Default: `homing`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The store's URL as the page `about` shows it; it must have no password in it.
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = Some(url.into());
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No tokens.
        f.debug_struct("Options").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        for (address, inside) in
            [("10.1.2.3", true), ("10.2.0.1", false), ("::ffff:10.1.2.3", true), ("::1", false)]
        {
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{address}");
        }
        let one: Network = "::1".parse().unwrap();
        assert!(one.contains("::1".parse().unwrap()) && !one.contains("::2".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("192.0.2.1".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "example.com", "10.0.0.0/x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_long() {
        for wrong in ["", "short", "has a blank in its middle", "ümlautümlautümlaut"] {
            assert!(Options::new().token("x", Grant::viewer(), wrong).is_err(), "{wrong}");
        }
        let options = Options::new().token("x", Grant::viewer(), "0123456789abcdef").unwrap();
        assert!(!format!("{options:?}").contains("0123456789abcdef"));
    }
}
