//! The login: a token, typed or in the fragment of the printed address, becomes a cookie for 12 hours.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::keys::SESSION;
use crate::act::Posted;
use crate::pages;
use crate::problem::{Refusal, Result};
use crate::site::{Cx, Site, home};

/// What the login's form sends.
#[derive(Deserialize)]
pub(crate) struct Entry {
    token: String,
    /// The path to go on to.
    #[serde(default)]
    to: String,
}

/// The login's page.
pub(crate) async fn page(State(site): State<Arc<Site>>, cx: Cx) -> Response {
    pages::login::page(&site, &cx.visitor.base, None)
}

/// Asks for a token, in place of the page that was wanted.
pub(crate) fn ask(site: &Site, base: &str, refusal: &Refusal) -> Response {
    let mut response = pages::login::page(site, base, Some(&refusal.detail));
    *response.status_mut() = refusal.status;
    response
}

/// Takes a token, and gives the cookie.
pub(crate) async fn enter(
    State(site): State<Arc<Site>>,
    cx: Cx,
    headers: HeaderMap,
    Form(entry): Form<Entry>,
) -> Result<Response> {
    let token = entry.token.trim();
    let (options, base) = (&site.options, &cx.visitor.base);
    let until = site.seconds() + SESSION.as_secs();
    // The comparison takes the same time for each guess; the cookie is made only of one that is right.
    let known = site.keys.token(options, token).map(|grant| grant.user.clone());
    let session = known.as_ref().and_then(|_| site.keys.session(options, token, until));
    let (Some(user), Some(session)) = (known, session) else {
        tracing::warn!(target: "homing_web::audit", from = cx.visitor.from, "a wrong token");
        let refusal =
            Refusal::new(StatusCode::UNAUTHORIZED, "login", "that token is not known here");
        return Ok(ask(&site, base, &refusal));
    };
    tracing::info!(target: "homing_web::audit", user, from = cx.visitor.from, verb = "login");
    let cookie = cookie(&site, base, &session, SESSION.as_secs());
    // A script goes on by itself.
    if headers.get("x-homing").is_some() {
        return Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response());
    }
    let to = if is_own_path(&entry.to, base) { entry.to } else { home(base) };
    Ok((StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, to)]).into_response())
}

/// Takes the cookie away.
pub(crate) async fn leave(
    State(site): State<Arc<Site>>,
    cx: Cx,
    Posted(_): Posted,
) -> Result<Response> {
    let base = &cx.visitor.base;
    let cookie = cookie(&site, base, "", 0);
    let to = format!("{base}/login");
    Ok((StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, to)]).into_response())
}

fn cookie(site: &Site, base: &str, value: &str, age: u64) -> String {
    let (name, path) = (site.keys.cookie(), home(base));
    let secure = if site.options.https { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

/// Whether a path leads to a page of the site's, and nowhere else.
fn is_own_path(path: &str, base: &str) -> bool {
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let rest = path.strip_prefix(base);
    plain
        && rest.is_some_and(|rest| rest.starts_with('/') && !rest.starts_with("//"))
        && !path.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_nowhere_else() {
        for (path, base, own) in [
            ("/jobs?q=a", "", true),
            ("/homing/jobs", "/homing", true),
            ("/elsewhere", "/homing", false),
            ("/homingevil", "/homing", false),
            ("//evil.org", "", false),
            ("/\\evil.org", "", false),
            ("https://evil.org", "", false),
            ("/a\r\nb", "", false),
            ("", "", false),
        ] {
            assert_eq!(is_own_path(path, base), own, "{path} {base}");
        }
    }
}
