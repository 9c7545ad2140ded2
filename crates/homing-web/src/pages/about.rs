//! What runs here, who asks, and what looking costs.

use axum::response::Response;
use homing_view::words;
use maud::html;

use super::Page;
use crate::problem::Result;
use crate::sight::t;
use crate::site::Cx;

/// The page.
pub(crate) async fn show(cx: Cx) -> Result<Response> {
    let (site, visitor) = (&cx.site, &cx.visitor);
    let payloads = if cx.sight.payloads { "sees payloads" } else { "sees no payloads" };
    let body = html! {
        h1 { "About" }
        dl .facts {
            dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
            @if let Some(store) = &site.options.store { dt { "Store" } dd { code { (t(store)) } } }
            dt { "Clock of the store" } dd { (words::instant(site.now())) }
            dt { "You" } dd { (t(&visitor.user)) ", " (visitor.role.name()) ", " (payloads) }
            dt { "Acts" } dd { @if site.options.read_only { "none: this site is read-only" } @else { "with a preview each" } }
            dt { "Looks at the store for live pages, so far" } dd { (words::number(site.hub.taken())) }
            dt { "Open streams" } dd { (site.open_streams()) }
        }
        h2 { "For programs" }
        ul {
            li { a href=(cx.link("/api/v1/openapi.json")) { "The API, as OpenAPI describes it" } }
            li { a href=(cx.link("/metrics")) { "Metrics, as Prometheus reads them" } }
        }
    };
    Ok(Page::new(&cx, "/about", "About").show(&body))
}
