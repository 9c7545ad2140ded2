//! The language in which lists of jobs are asked for, by `top` and by the page alike: words `status:…`,
//! `kind:…`, `tag:…`, `queue:…`, `newer:…`, `older:…`; the rest is part of the title.

use std::time::Duration;

use homing::{JobFilter, Status, Time};

use crate::words::parse_duration;

/// What was typed, and what it means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    filter: JobFilter,
    newer: Option<Duration>,
    older: Option<Duration>,
}

impl Query {
    /// Reads a query. `status:failed kind:import tag:eu queue:slow newer:2h older:7d nightly`: each word
    /// narrows the list, and what has no such name before its colon is part of the title.
    ///
    /// # Errors
    /// What is wrong with the text, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut query, mut title) = (Self::default(), Vec::new());
        for word in text.split_whitespace() {
            let Some((name, value)) = word.split_once(':') else {
                title.push(word);
                continue;
            };
            let filter = &mut query.filter;
            let known = ["status", "kind", "tag", "queue", "newer", "older"];
            if value.is_empty() && known.contains(&name) {
                return Err(format!("`{word}` says nothing after the colon"));
            }
            let age = || parse_duration(value).map_err(|error| format!("`{word}`: {error}"));
            match name {
                "status" => filter.status = Some(status(value)?),
                "kind" => filter.kind = Some(value.to_owned()),
                "tag" => filter.tag = Some(value.to_owned()),
                "queue" => filter.queue = Some(value.to_owned()),
                "newer" => query.newer = Some(age()?),
                "older" => query.older = Some(age()?),
                _ => title.push(word),
            }
        }
        query.filter.title = Some(title.join(" ")).filter(|title| !title.is_empty());
        Ok(query)
    }

    /// What to ask the store for, at an instant of its clock.
    pub fn filter(&self, now: Time) -> JobFilter {
        JobFilter {
            since: self.newer.map(|age| now.before(age)),
            until: self.older.map(|age| now.before(age)),
            ..self.filter.clone()
        }
    }
}

/// Reads a status as queries name it.
fn status(text: &str) -> Result<Status, String> {
    match text {
        "open" | "in-progress" => Ok(Status::InProgress),
        "stalled" => Ok(Status::Stalled),
        "completed" => Ok(Status::Completed),
        "completed-with-errors" | "errors" => Ok(Status::CompletedWithErrors),
        "failed" => Ok(Status::Failed),
        "cancelled" => Ok(Status::Cancelled),
        _ => Err("open, stalled, completed, errors, failed or cancelled".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<JobFilter, String> {
        Query::parse(text).map(|query| query.filter(Time(7_200_000_000)))
    }

    #[test]
    fn filters_are_read() {
        let filter = parse("nightly status:open kind:import import tag:a queue:slow").unwrap();
        assert_eq!(filter.title.as_deref(), Some("nightly import"));
        assert_eq!(filter.status, Some(Status::InProgress));
        assert_eq!(filter.kind.as_deref(), Some("import"));
        assert_eq!(filter.tag.as_deref(), Some("a"));
        assert_eq!(filter.queue.as_deref(), Some("slow"));
        // A title may hold a colon of its own.
        assert_eq!(parse("step 2: at 12:30").unwrap().title.as_deref(), Some("step 2: at 12:30"));
        assert_eq!(parse("kind:").unwrap_err(), "`kind:` says nothing after the colon");
        assert!(parse("status:soon").unwrap_err().contains("open, stalled, completed"));
        assert_eq!(parse("  ").unwrap(), JobFilter::default());
    }

    #[test]
    fn ages_are_counted_from_now() {
        let filter = parse("newer:1h older:30m").unwrap();
        assert_eq!(filter.since, Some(Time(3_600_000_000)));
        assert_eq!(filter.until, Some(Time(5_400_000_000)));
        assert!(parse("newer:soon").unwrap_err().contains("`newer:soon`: give a duration"));
    }
}
