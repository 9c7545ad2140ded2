//! What a program's log is told, kept for tests to look at.
//!
//! One subscriber serves the whole process, as a program has one: tests that share it tell their jobs'
//! events apart by the ids.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// An event, with the fields of the innermost span around it.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its level.
    pub level: Level,
    /// Its target.
    pub target: String,
    /// Its message.
    pub message: String,
    /// Its fields.
    pub fields: BTreeMap<String, String>,
    /// The fields of the span; empty outside any.
    pub span: BTreeMap<String, String>,
}

static TOLD: LazyLock<Mutex<Vec<Told>>> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::registry().with(Capture).with(crate::log_layer());
    // Refused if somebody was faster; then nothing is told and the test says so.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Mutex::default()
});

/// Begins to keep what is told.
pub fn install() {
    LazyLock::force(&TOLD);
}

/// What was told so far that has this value in a field of the event or of its span.
pub fn told(field: &str, value: &str) -> Vec<Told> {
    let has = |fields: &BTreeMap<String, String>| fields.get(field).is_some_and(|own| own == value);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner).clone();
    told.retain(|told| has(&told.fields) || has(&told.span));
    told
}

/// Waits until a message was told about a task, so often.
///
/// # Panics
/// After 15 seconds.
pub async fn until(id: &str, message: &str, times: usize) -> Vec<Told> {
    for _ in 0..7_000 {
        let mut found = told("id", id);
        found.retain(|told| told.message == message);
        if found.len() >= times {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not told {times} times of {id}: {message}\n{:#?}", told("id", id))
}

struct Capture;

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context
            .event_span(event)
            .and_then(|span| span.extensions().get::<Fields>().map(|fields| fields.0.clone()));
        let told = Told {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            message: fields.0.remove("message").unwrap_or_default(),
            fields: fields.0,
            span: span.unwrap_or_default(),
        };
        TOLD.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }
}
