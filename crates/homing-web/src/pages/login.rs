//! The login's page.

use axum::response::{Html, IntoResponse, Response};
use maud::html;

use super::{foot, head};
use crate::sight::t;
use crate::site::Site;

/// Asks for a token; with what was wrong with the last one.
pub(crate) fn page(site: &Site, base: &str, wrong: Option<&str>) -> Response {
    let page = html! {
        (head(site, base, "Sign in", &["login.js"]))
        body data-base=(base) {
            header .top { span .brand { (t(site.name())) } }
            main #main .narrow {
                h1 { "Sign in" }
                @if let Some(wrong) = wrong { p .hint role="status" { (t(wrong)) "." } }
                @if site.options.tokens.is_empty() {
                    p { "This site lets in those whom a proxy or its own program knows, and has no tokens." }
                } @else {
                    form #login method="post" action={ (base) "/login" } {
                        label for="token" { "Token" }
                        input #token name="token" type="password" autocomplete="current-password" required;
                        input name="to" type="hidden" value="";
                        button type="submit" { "Sign in" }
                    }
                    p .hint { "The token stands in the address that " code { "homing serve" } " has printed, behind " code { "#t=" } "." }
                    p { a href="" { "Signed in already? Open this page again" } }
                }
            }
            (foot())
        }
    };
    Html(page.into_string()).into_response()
}
