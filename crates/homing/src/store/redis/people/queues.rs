//! Queues, workers and kinds.

use crate::store::read::{ActionFilter, ActionView};
use std::collections::{BTreeMap, BTreeSet};

use rmpv::ValueRef;

use super::super::link::fault::Result;
use super::super::link::script::QUEUES;
use super::super::pack::{self, List, Pack};
use super::super::worker;
use super::View;
use crate::core::id::WorkerId;
use crate::core::parameter::Parameter;
use crate::limits;
use crate::store::read::{KindView, QueueView, WorkerView};

/// What a script says of the tasks of one class.
struct Class {
    queue: String,
    ready: u64,
    count: u64,
    oldest: Option<crate::core::time::Time>,
    stalled: bool,
}

fn classes(value: &ValueRef<'_>) -> Result<Vec<Class>> {
    let mut list = List::of(value)?;
    let mut classes = Vec::with_capacity(list.left());
    while list.left() > 0 {
        let mut one = list.list()?;
        classes.push(Class {
            queue: one.text()?,
            ready: one.count()?,
            count: one.count()?,
            oldest: one.maybe_time()?,
            stalled: one.flag()?,
        });
    }
    Ok(classes)
}

impl View<'_> {
    async fn hash(&self, name: &str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        self.0.command(redis::cmd("HGETALL").arg(self.0.lane.key(name))).await
    }

    pub(in crate::store::redis) async fn samples(
        &self,
        filter: &crate::store::read::SampleFilter,
    ) -> Result<Vec<crate::store::Sample>> {
        crate::store::redis::samples::list(self.0, filter).await
    }

    pub(in crate::store::redis) async fn actions(
        &self,
        filter: &ActionFilter,
    ) -> Result<Vec<ActionView>> {
        crate::store::redis::actions::list(self.0, filter).await
    }

    pub(in crate::store::redis) async fn queues(&self) -> Result<Vec<QueueView>> {
        let paused = self.hash("paused").await?;
        let (classes, _) = self.0.run(&QUEUES, &Pack::list(0).done(), classes).await?;
        let mut queues = BTreeMap::new();
        let fresh = |name: &str, paused| QueueView {
            name: name.to_owned(),
            ready: 0,
            scheduled: 0,
            oldest: None,
            stalled: 0,
            paused,
        };
        for name in paused.keys() {
            let name = pack::text(name)?;
            queues.insert(name.clone(), fresh(&name, true));
        }
        for class in classes {
            let queue =
                queues.entry(class.queue.clone()).or_insert_with(|| fresh(&class.queue, false));
            queue.ready += class.ready;
            queue.scheduled += class.count.saturating_sub(class.ready);
            queue.stalled += if class.stalled { class.count } else { 0 };
            queue.oldest = [queue.oldest, class.oldest].into_iter().flatten().min();
        }
        Ok(queues.into_values().collect())
    }

    /// From the texts of the classes: see `class_of` in `rows.lua`.
    pub(in crate::store::redis) async fn pending_kinds(&self) -> Result<Vec<(String, String)>> {
        let mut pairs = BTreeSet::new();
        for text in self.hash("classes").await?.keys() {
            let is_suspect = text.first() == Some(&b's');
            let names = text.get(if text.get(2) == Some(&b'h') { 19.. } else { 3.. });
            let mut names = names.unwrap_or_default().split(|byte| *byte == 0);
            if !is_suspect && let (Some(queue), Some(kind)) = (names.next(), names.next()) {
                pairs.insert((pack::text(queue)?, pack::text(kind)?));
            }
        }
        Ok(pairs.into_iter().take(limits::PAGE).collect())
    }

    pub(in crate::store::redis) async fn workers(&self) -> Result<Vec<WorkerView>> {
        let known = self.hash("workers").await?;
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let mut ask = redis::pipe();
        for worker in known.keys() {
            let to = [b"[", worker.as_slice(), &[0xff; 64]].concat();
            ask.cmd("ZLEXCOUNT").arg(self.0.lane.key("running"));
            ask.arg([b"[", worker.as_slice()].concat()).arg(to);
            ask.cmd("ZSCORE").arg(self.0.lane.key("leases")).arg(worker);
        }
        let found: Vec<Option<f64>> = self.0.commands(&ask).await?;
        let now = self.0.clock.now();
        let mut views = Vec::with_capacity(known.len());
        for ((id, blob), told) in known.iter().zip(found.chunks_exact(2)) {
            let value = pack::parse(blob)?;
            let mut list = List::of(&value)?;
            let (started, heartbeat) = (list.time()?, list.time()?);
            let (_lease, name) = (list.number()?, list.text()?);
            let (kinds, queues, slots, resident, ended) = worker::told(list.bytes()?)?;
            views.push(WorkerView {
                id: WorkerId::from_bytes(pack::sixteen(id)?),
                name,
                kinds,
                queues,
                slots,
                running: told[0].unwrap_or(0.0) as u32,
                resident,
                ended,
                started,
                heartbeat,
                alive: told[1].is_some_and(|until| until >= now.0 as f64),
            });
        }
        Ok(views)
    }

    pub(in crate::store::redis) async fn kinds(&self) -> Result<Vec<KindView>> {
        let mut views = Vec::new();
        for (name, arguments) in self.hash("kinds").await? {
            let arguments: Vec<String> = serde_json::from_slice(&arguments)?;
            let arguments = arguments.iter().map(|text| Parameter::from_text(text)).collect();
            views.push(KindView { name: pack::text(&name)?, arguments });
        }
        Ok(views)
    }
}
