//! What workers have done minute by minute.

use homing::{SampleView, WorkSample, WorkerId};
use serde::Serialize;

use super::Object;

/// What a worker has done in a minute.
#[derive(Debug, Serialize)]
pub struct Sample<'a> {
    minute: Option<String>,
    worker: WorkerId,
    name: &'a str,
    slots: u32,
    /// Slots taken on average.
    busy: f64,
    resident: u32,
    work: &'a [WorkSample],
}

/// What a worker has done in a minute.
pub fn sample(view: &SampleView) -> Object<'_> {
    Object::Sample(Sample {
        minute: view.minute.rfc3339(),
        worker: view.worker,
        name: &view.name,
        slots: view.slots,
        busy: (view.busy.as_secs_f64() / 60.0 * 1000.0).round() / 1000.0,
        resident: view.resident,
        work: &view.work,
    })
}
