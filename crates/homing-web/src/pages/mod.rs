//! Pages for people, made on the server: they work without a script, and the scripts only make them live.
//!
//! Every text of a store goes through [`sight`](crate::sight) on its way here.

use std::sync::Arc;

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use maud::{DOCTYPE, Markup, html};

use crate::assets;
use crate::options::Role;
use crate::problem::Refusal;
use crate::sight::{plain, t};
use crate::site::{Cx, Site, home};

pub(crate) mod about;
pub(crate) mod act;
pub(crate) mod actions;
mod axis;
pub(crate) mod charts;
pub(crate) mod failures;
pub(crate) mod groups;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod overview;
mod parts;
pub(crate) mod queues;
pub(crate) mod record;
pub(crate) mod submit;
pub(crate) mod task;
pub(crate) mod timeline;
mod tree;
pub(crate) mod workers;

/// The pages that change nothing.
pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{id}", get(job::show))
        .route("/jobs/{id}/timeline", get(timeline::show))
        .route("/jobs/{id}/log", get(log::show))
        .route("/jobs/{id}/failures", get(failures::show))
        .route("/tasks/{id}", get(task::show))
        .route("/tasks/{id}/record", get(record::show))
        .route("/failures", get(groups::list))
        .route("/failures/{fingerprint}", get(groups::show))
        .route("/queues", get(queues::list))
        .route("/queues/{name}", get(queues::show))
        .route("/workers", get(workers::list))
        .route("/workers/{id}", get(workers::show))
        .route("/kinds", get(workers::kinds))
        .route("/kinds/{name}", get(workers::kind))
        .route("/actions", get(actions::list))
        .route("/about", get(about::show))
}

/// A page to be: what stands around its body.
pub(crate) struct Page<'c> {
    cx: &'c Cx,
    title: String,
    /// The entry of the navigation that it belongs to.
    at: &'static str,
    scripts: &'static [&'static str],
    message: Option<String>,
}

impl<'c> Page<'c> {
    pub(crate) fn new(cx: &'c Cx, at: &'static str, title: &str) -> Self {
        Self { cx, title: plain(title), at, scripts: &[], message: None }
    }

    /// The modules that make it live.
    pub(crate) fn scripts(self, scripts: &'static [&'static str]) -> Self {
        Self { scripts, ..self }
    }

    /// What became of an action.
    pub(crate) fn message(self, message: Option<String>) -> Self {
        Self { message, ..self }
    }

    pub(crate) fn show(self, body: &Markup) -> Response {
        let (cx, site) = (self.cx, &self.cx.site);
        let entries = [
            ("/", "Overview"),
            ("/jobs", "Jobs"),
            ("/failures", "Failures"),
            ("/queues", "Queues"),
            ("/workers", "Workers"),
            ("/kinds", "Kinds"),
            ("/actions", "Actions"),
            ("/about", "About"),
        ];
        let page = html! {
            (head(site, &cx.visitor.base, &self.title, self.scripts))
            body data-base=(cx.visitor.base) {
                a .skip href="#main" { "Skip to the content" }
                header .top {
                    a .brand href=(cx.link("/")) { (t(site.name())) }
                    nav aria-label="Pages" {
                        @for (path, name) in entries {
                            a href=(cx.link(path)) aria-current=[(path == self.at).then_some("page")] { (name) }
                        }
                    }
                    (who(cx))
                }
                main #main tabindex="-1" {
                    @if let Some(message) = &self.message {
                        p .message role="status" { (t(message)) }
                    }
                    (body)
                }
                (foot())
            }
        };
        Html(page.into_string()).into_response()
    }
}

/// Who is signed in, and the way out.
fn who(cx: &Cx) -> Markup {
    html! {
        div .who {
            button .theme type="button" hidden { "Theme" }
            span title=(cx.visitor.role.name()) { (t(&cx.visitor.user)) }
            @if cx.site.options.read_only { span .pill { "read-only" } }
            @if cx.visitor.session {
                form method="post" action=(cx.link("/logout")) {
                    input type="hidden" name="csrf" value=(cx.visitor.csrf);
                    button .quiet type="submit" { "Sign out" }
                }
            }
        }
    }
}

fn foot() -> Markup {
    html! {
        footer { "homing " (env!("CARGO_PKG_VERSION")) " · times are UTC" }
    }
}

fn head(site: &Site, base: &str, title: &str, scripts: &[&str]) -> Markup {
    let asset = |name: &str| format!("{base}{}", assets::path(name));
    html! {
        (DOCTYPE)
        html lang="en";
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · " (plain(site.name())) }
            link rel="icon" href=(asset("icon.svg")) type="image/svg+xml";
            link rel="stylesheet" href=(asset("style.css"));
            script src=(asset("theme.js")) {}
            @for script in scripts { script type="module" src=(asset(script)) {} }
        }
    }
}

/// A page that tells of a refusal.
pub(crate) fn refused(site: &Site, base: &str, refusal: &Refusal) -> Response {
    let status = refusal.status;
    let title = status.canonical_reason().unwrap_or("Refused");
    let page = html! {
        (head(site, base, title, &[]))
        body {
            header .top { a .brand href=(home(base)) { (t(site.name())) } }
            main #main {
                h1 { (status.as_u16()) " " (title) }
                p { (t(&refusal.detail)) "." }
                @if let Some(hint) = &refusal.hint { p .hint { "Hint: " (t(hint)) "." } }
                p { a href=(home(base)) { "To the overview" } }
            }
            (foot())
        }
    };
    (status, Html(page.into_string())).into_response()
}

/// A link to an action's preview, for those who may.
pub(crate) fn action(cx: &Cx, role: Role, path: &str, name: &str) -> Markup {
    html! {
        @if cx.may(role) { a .button href=(cx.link(path)) { (name) } }
    }
}
