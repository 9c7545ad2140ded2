//! What forms send, and what is written of each act: who, from where, what, and what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use homing::Homing;

use crate::problem::{Refusal, Result};
use crate::site::{Cx, Site};

/// The fields of a form that a page of this site has made for whoever sends it.
#[derive(Debug)]
pub(crate) struct Posted(pub(crate) BTreeMap<String, String>);

impl FromRequest<Arc<Site>> for Posted {
    type Rejection = Refusal;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Self> {
        let (mut parts, body) = request.into_parts();
        let cx = Cx::from_request_parts(&mut parts, site).await?;
        let request = Request::from_parts(parts, body);
        let form = Form::<BTreeMap<String, String>>::from_request(request, site).await;
        let Form(fields) = form.map_err(|rejection| {
            Refusal::new(rejection.status(), "usage", rejection.body_text())
        })?;
        let told = fields.get("csrf").map(String::as_str).unwrap_or_default();
        if !site.keys.same(told, &cx.visitor.csrf) {
            return Err(Refusal::forbidden("the form was not made for this session")
                .hint("open the page anew, and send its form"));
        }
        Ok(Self(fields))
    }
}

impl Posted {
    /// A field that says something.
    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// A field as it was sent.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl Cx {
    /// Writes to the audit what was done.
    pub(crate) fn audit(&self, verb: &str, target: impl std::fmt::Display, became: &str) {
        let (user, from) = (&self.visitor.user, &self.visitor.from);
        tracing::info!(target: "homing_web::audit", %user, %from, verb, %target, became);
    }

    /// What a cancellation says of who wanted it.
    pub(crate) fn by(&self) -> String {
        format!("{} (web)", self.visitor.user)
    }
}

/// Stops claims from a queue, or resumes them; whether that was news.
pub(crate) async fn pause(homing: &Homing, queue: &str, paused: bool) -> Result<bool> {
    let was = homing.queues().await?.iter().any(|view| view.name == queue && view.paused);
    if paused {
        homing.pause(queue).await?;
    } else {
        homing.unpause(queue).await?;
    }
    Ok(was != paused)
}
