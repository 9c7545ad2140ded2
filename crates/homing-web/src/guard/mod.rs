//! The guard before every route: the host's name, who asks, and for what changes anything where it comes from.
//!
//! It also writes the headers of every response, and turns a refusal into a page or a document.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, OriginalUri, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::options::Grant;
use crate::pages;
use crate::problem::{Refusal, Result};
use crate::site::{PATIENCE, Site, Visitor};

pub(crate) mod host;
pub(crate) mod keys;
pub(crate) mod login;

/// Lets a request through, or not.
pub(crate) async fn guard(
    State(site): State<Arc<Site>>,
    mut request: Request,
    next: Next,
) -> Response {
    let base = base(&site, &request);
    let path = request.uri().path().to_owned();
    let mut response = match admit(&site, &request, &path, &base) {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            answer(&site, &path, request, next).await
        }
        Err(refusal) => axum::response::IntoResponse::into_response(refusal),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let program = path.starts_with("/api/") || path == "/metrics";
        response = match refusal.status {
            _ if program => refusal.document(),
            StatusCode::UNAUTHORIZED => login::ask(&site, &base, &refusal),
            _ => pages::refused(&site, &base, &refusal),
        };
    }
    headers(&site, &mut response);
    response
}

/// Handles a request, with so many others at once, for so long.
async fn answer(site: &Site, path: &str, request: Request, next: Next) -> Response {
    // A stream takes its looks one by one; what changes anything is not abandoned halfway.
    if path.ends_with("/events") || !request.method().is_safe() {
        return next.run(request).await;
    }
    let handled = async {
        let _permit = site.reads.acquire().await;
        next.run(request).await
    };
    match tokio::time::timeout(PATIENCE, handled).await {
        Ok(response) => response,
        Err(_) => axum::response::IntoResponse::into_response(
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store",
                format!("the store did not answer within {} s", PATIENCE.as_secs()),
            )
            .hint("a list that few jobs match is read whole: narrow it by `newer:`"),
        ),
    }
}

/// The path before all of the site's: what was said, or what `nest` has taken off.
fn base(site: &Site, request: &Request) -> String {
    if let Some(base) = &site.options.base {
        return base.clone();
    }
    let own = request.uri().path();
    let whole = request.extensions().get::<OriginalUri>().map_or(own, |whole| whole.path());
    let base = whole.strip_suffix(own).or_else(|| (own == "/").then_some(whole));
    base.unwrap_or_default().trim_end_matches('/').to_owned()
}

fn admit(site: &Site, request: &Request, path: &str, base: &str) -> Result<Visitor> {
    let headers = request.headers();
    let host = host::of(request)?;
    if !host::is_known(&site.options, host::name(&host)) {
        let detail = format!("this site is not called `{}`", host::name(&host));
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "host", detail)
            .hint("start it with --host NAME, if the name is yours"));
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let known = identify(site, request, peer);
    let is_open = path.starts_with("/assets/")
        || path == "/login"
        || (path == "/metrics" && site.options.metrics_open);
    let (grant, who, way) = match known {
        Some(known) => known,
        None if is_open => (Grant::viewer().without_payloads(), String::new(), Way::Nobody),
        None => {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "login", "nobody is signed in")
                .hint("open the address that `homing serve` has printed, or send the token as `Authorization: Bearer TOKEN`"));
        }
    };
    if !request.method().is_safe() && way != Way::Bearer {
        comes_from_here(headers, &host, path)?;
    }
    Ok(Visitor {
        user: grant.user,
        role: grant.role,
        payloads: grant.payloads,
        csrf: site.keys.form(&who),
        base: base.to_owned(),
        from: peer.map_or_else(|| "-".to_owned(), |peer| peer.ip().to_string()),
        session: way == Way::Session,
    })
}

/// How somebody was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bearer,
    Session,
    Other,
    Nobody,
}

/// Who asks: what they may, what their forms are bound to, and how they were known.
fn identify(
    site: &Site,
    request: &Request,
    peer: Option<SocketAddr>,
) -> Option<(Grant, String, Way)> {
    let (options, headers) = (&site.options, request.headers());
    if let Some(given) = headers.get(AUTHORIZATION) {
        // A wrong one is not overlooked for what else may let them in.
        let token = given.to_str().ok()?.strip_prefix("Bearer ")?;
        let grant = site.keys.token(options, token.trim())?.clone();
        return Some((grant, String::new(), Way::Bearer));
    }
    if let Some(cookie) = cookie(headers, &site.keys.cookie())
        && let Some(grant) = site.keys.of_session(cookie, site.seconds())
    {
        return Some((grant.clone(), cookie.to_owned(), Way::Session));
    }
    let named = |grant: Grant| {
        let who = format!("user {}", grant.user);
        Some((grant, who, Way::Other))
    };
    if let Some(trusted) = &options.header
        && peer.is_some_and(|peer| trusted.from.iter().any(|net| net.contains(peer.ip())))
        && let Some(user) = headers.get(&trusted.name).and_then(|user| user.to_str().ok())
        && headers.get_all(&trusted.name).iter().count() == 1
        && let Some(grant) = trusted.roles.get(user).or_else(|| trusted.roles.get("*"))
    {
        return named(grant.clone().user(user));
    }
    if let Some(access) = &options.access {
        let mut parts = axum::http::Request::new(()).into_parts().0;
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.headers = headers.clone();
        parts.extensions = request.extensions().clone();
        if let Some(grant) = access.of(&parts) {
            return named(grant);
        }
    }
    options.everybody.clone().and_then(named)
}

/// Whether what changes something comes from a page of this site, or from no browser at all.
///
/// A form of another site's can send neither `X-Homing`, which no form has, nor the site's own origin. Forms
/// carry a token besides, which [`Posted`](crate::act::Posted) compares.
fn comes_from_here(headers: &HeaderMap, host: &str, path: &str) -> Result<()> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let origin = text(ORIGIN);
    let program = path.starts_with("/api/");
    let refused = |what: &str| {
        Err(Refusal::forbidden(format!("the request comes from {what}"))
            .hint("open the page itself, and act there"))
    };
    match (site, origin) {
        (Some("same-origin"), _) => {}
        (Some(_), _) => return refused("another site"),
        (None, Some(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            if authority != Some(host) {
                return refused("another site");
            }
        }
        // No browser: it has nothing of somebody else's with it.
        (None, None) if program => {}
        (None, None) => return refused("no page of this site"),
    }
    if program && headers.get("x-homing").is_none_or(|value| value != "1") {
        return Err(Refusal::forbidden("the request has no header `X-Homing: 1`")
            .hint("send it, or the token as `Authorization: Bearer TOKEN`"));
    }
    Ok(())
}

/// The value of a cookie.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The headers of every response.
fn headers(site: &Site, response: &mut Response) {
    let ancestors = match site.options.frames.as_slice() {
        [] => "'none'".to_owned(),
        frames => frames.join(" "),
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let headers = response.headers_mut();
    // An origin that is none of a header's texts frames nothing.
    let policy = HeaderValue::from_str(&policy).unwrap_or_else(|_| {
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
    });
    headers.insert("content-security-policy", policy);
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        // Not `no-referrer`: with that, forms would send the origin `null` where a browser sends no
        // `Sec-Fetch-Site`, which is on plain http.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry("cache-control").or_insert(HeaderValue::from_static("no-store"));
}
