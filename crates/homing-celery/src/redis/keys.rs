//! The names of keys and channels: Celery's and kombu's, and those that the bridge adds beside them.

use super::Url;

/// Names of keys and channels on one server.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
    separator: String,
    steps: Vec<u8>,
    database: i64,
    /// `homing` and, where there are several bridges on one Redis, the bridge's name.
    own: String,
}

impl Keys {
    pub(crate) fn new(url: &Url, name: Option<&str>) -> Self {
        Self {
            prefix: url.prefix.clone(),
            separator: url.separator.clone(),
            steps: url.steps.clone(),
            database: url.way.database(),
            own: own(name),
        }
    }

    /// Names as they are without options, where there is no Redis.
    pub(crate) fn plain(name: Option<&str>) -> Self {
        let (prefix, separator) = (String::new(), String::new());
        Self { prefix, separator, steps: Vec::new(), database: 0, own: own(name) }
    }

    /// The queue in which results come over `rpc://`.
    pub(crate) fn replies(&self) -> String {
        format!("{}.celery.results", self.own)
    }

    /// The list of a queue for messages of a priority: that of the highest step below it.
    pub(crate) fn queue(&self, queue: &str, priority: u8) -> String {
        let step = self.steps.iter().rev().find(|step| **step <= priority).copied().unwrap_or(0);
        self.step(queue, step)
    }

    fn step(&self, queue: &str, step: u8) -> String {
        let Self { prefix, separator, .. } = self;
        if step == 0 {
            format!("{prefix}{queue}")
        } else {
            format!("{prefix}{queue}{separator}{step}")
        }
    }

    /// The lists of queues in the order in which they are served: priority by priority, those of `first` first.
    pub(crate) fn lists(&self, queues: &[String], first: usize) -> Vec<String> {
        let turned = || queues.iter().cycle().skip(first % queues.len().max(1)).take(queues.len());
        let step = |step: &u8| {
            let step = *step;
            turned().map(move |queue| self.step(queue, step)).collect::<Vec<_>>()
        };
        self.steps.iter().flat_map(step).collect()
    }

    /// A channel of an exchange that goes to all.
    pub(crate) fn channel(&self, exchange: &str) -> String {
        format!("{}/{}.{exchange}", self.prefix, self.database)
    }

    /// Who is bound to an exchange.
    pub(crate) fn binding(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
    }

    /// A binding as kombu writes it.
    pub(crate) fn member(&self, routing_key: &str, queue: &str) -> String {
        let Self { separator, .. } = self;
        format!("{routing_key}{separator}{separator}{queue}")
    }

    /// The queue of a binding, if it is bound with this key.
    pub(crate) fn bound(&self, member: &str, routing_key: &str) -> Option<String> {
        let mut parts = member.split(&self.separator);
        let (key, _, queue) = (parts.next()?, parts.next()?, parts.next()?);
        (key == routing_key && !queue.is_empty()).then(|| queue.to_owned())
    }

    /// A task's result, and the channel that tells of it.
    pub(crate) fn result(&self, id: &str) -> String {
        format!("{}celery-task-meta-{id}", self.prefix)
    }

    /// Results of tasks that this bridge has sent.
    pub(crate) fn results_pattern(&self) -> String {
        format!("{}celery-task-meta-{}.*", escaped(&self.prefix), escaped(&self.own))
    }

    /// The id of the task whose result has this key.
    pub(crate) fn of_result<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&self.prefix)?.strip_prefix("celery-task-meta-")
    }

    /// A key of a group: its suffix is `.j`, `.t`, `.s`, `.d`, `.c` or empty.
    pub(crate) fn group(&self, group: &str, suffix: &str) -> String {
        format!("{}celery-taskset-meta-{group}{suffix}", self.prefix)
    }

    /// What Celery calls a task of homing's that it is sent for the first time, and for the n-th time after that.
    pub(crate) fn celery_id(&self, task: homing::TaskId, again: u32) -> String {
        match again {
            0 => format!("{}.{task}", self.own),
            again => format!("{}.{task}~{again}", self.own),
        }
    }

    /// The task of homing's that Celery calls so.
    pub(crate) fn task(&self, celery_id: &str) -> Option<homing::TaskId> {
        let task = celery_id.strip_prefix(&self.own)?.strip_prefix('.')?;
        task.split_once('~').map_or(task, |(task, _)| task).parse().ok()
    }

    /// Messages that were taken and are not yet jobs, by their tags.
    pub(crate) fn unacked(&self) -> String {
        format!("{}{}.unacked", self.prefix, self.own)
    }

    /// When they were taken.
    pub(crate) fn unacked_index(&self) -> String {
        format!("{}{}.unacked_index", self.prefix, self.own)
    }

    /// That a message was published under an id.
    pub(crate) fn sent(&self, id: &str) -> String {
        format!("{}homing:sent:{id}", self.prefix)
    }

    /// That a task was revoked.
    pub(crate) fn revoked(&self, id: &str) -> String {
        format!("{}homing:revoked:{id}", self.prefix)
    }

    /// A register of tasks under way, by the time of the next look: `out`, what Celery runs for homing; `in`, what
    /// homing runs for Celery.
    pub(crate) fn register(&self, which: &str) -> String {
        format!("{}{}:celery:{which}", self.prefix, self.own)
    }
}

fn own(name: Option<&str>) -> String {
    name.map_or_else(|| "homing".to_owned(), |name| format!("homing.{name}"))
}

/// A text that a pattern of Redis takes as it stands.
fn escaped(text: &str) -> String {
    let special = |c: char| "*?[]\\^-".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(url: &str, name: Option<&str>) -> Keys {
        Keys::new(&Url::read("the broker", url).unwrap(), name)
    }

    #[test]
    fn priorities_fall_on_kombus_steps() {
        let keys = keys("redis://h/0", None);
        assert_eq!(keys.queue("q", 0), "q");
        assert_eq!(keys.queue("q", 2), "q");
        assert_eq!(keys.queue("q", 3), "q\u{6}\u{16}3");
        assert_eq!(keys.queue("q", 9), "q\u{6}\u{16}9");
        let lists = keys.lists(&["a".to_owned(), "b".to_owned()], 1);
        assert_eq!(lists[..4], ["b", "a", "b\u{6}\u{16}3", "a\u{6}\u{16}3"]);
        assert_eq!(lists.len(), 8);
    }

    #[test]
    fn an_id_goes_there_and_back() {
        let task = homing::JobId::named("j").root();
        for name in [None, Some("eu")] {
            let keys = keys("redis://h/0?global_keyprefix=p-", name);
            for again in [0, 12] {
                let id = keys.celery_id(task, again);
                assert_eq!(keys.task(&id), Some(task));
                let key = keys.result(&id);
                assert_eq!(keys.of_result(&key).and_then(|id| keys.task(id)), Some(task));
            }
        }
        let (one, other) = (keys("redis://h/0", None), keys("redis://h/0", Some("eu")));
        assert_eq!(one.task(&other.celery_id(task, 0)), None, "of another bridge's store");
    }

    #[test]
    fn a_binding_is_found_by_its_key() {
        let keys = keys("redis://h/0", None);
        let member = "oid\u{6}\u{16}\u{6}\u{16}oid.reply.celery.pidbox";
        assert_eq!(keys.bound(member, "oid").as_deref(), Some("oid.reply.celery.pidbox"));
        assert_eq!(keys.bound(member, "other"), None);
        assert_eq!(keys.bound("oid", "oid"), None);
        assert_eq!(keys.member("oid", "oid.reply.celery.pidbox"), member);
    }
}
