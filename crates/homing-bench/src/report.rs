//! What a bench has found: figures over its runs, as one JSON line or a table to read.

use std::fmt::Write;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::Result;
use crate::figure::Figure;

/// The figure that is held against the limit.
const RATED: &str = "per_second";

/// The figures of one run, by name.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// A bench's findings.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    store: String,
    tasks: Option<u64>,
    children: Option<u64>,
    runs: u32,
    warmups: u32,
    cores: usize,
    settings: Map<String, Value>,
    #[serde(flatten)]
    figures: Samples,
    #[serde(serialize_with = "figure")]
    limit_per_second: Vec<f64>,
    #[serde(serialize_with = "figure", skip_serializing_if = "Vec::is_empty")]
    ratio: Vec<f64>,
    notes: Vec<String>,
}

/// Every figure's values, one per run, in the order they were named.
#[derive(Debug, Default)]
struct Samples(Vec<(&'static str, Vec<f64>)>);

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, values)| (name, Figure::of(values))))
    }
}

fn figure<S: Serializer>(values: &[f64], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Figure::of(values).serialize(serializer)
}

impl Report {
    /// An empty report.
    pub(crate) fn new(bench: &'static str, store: &str) -> Self {
        Self {
            bench,
            store: store.to_owned(),
            tasks: None,
            children: None,
            runs: 0,
            warmups: 1,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            settings: Map::new(),
            figures: Samples::default(),
            limit_per_second: Vec::new(),
            ratio: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn tasks(mut self, tasks: u64) -> Self {
        self.tasks = Some(tasks);
        self
    }

    pub(crate) fn children(mut self, children: u64) -> Self {
        self.children = Some(children);
        self
    }

    /// Runs that are made first and left out. Default: 1.
    pub(crate) fn warmups(mut self, warmups: u32) -> Self {
        self.warmups = warmups;
        self
    }

    pub(crate) fn warmup_runs(&self) -> u32 {
        self.warmups
    }

    pub(crate) fn bench(&self) -> &'static str {
        self.bench
    }

    pub(crate) fn setting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a run, and the limit measured just before it.
    pub(crate) fn add(&mut self, figures: Figures, limit: Option<f64>) {
        self.runs += 1;
        for (name, value) in figures {
            if let (RATED, Some(limit)) = (name, limit) {
                self.ratio.push(value / limit);
            }
            match self.figures.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => self.figures.0.push((name, vec![value])),
            }
        }
        self.limit_per_second.extend(limit);
    }

    /// The report as one line of JSON.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// The report as a table.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("{}  {}\n  {}\n", self.bench, self.store, self.terms());
        let mut lines: Vec<(&str, &[f64])> =
            self.figures.0.iter().map(|(name, values)| (*name, values.as_slice())).collect();
        lines.push(("limit_per_second", &self.limit_per_second));
        lines.push(("ratio", &self.ratio));
        line(&mut out, "", ["median", "min", "max"].map(str::to_owned));
        for (name, values) in lines {
            if let Some(Figure { median, min, max }) = Figure::of(values) {
                line(&mut out, name, [median, min, max].map(number));
            }
        }
        for note in &self.notes {
            line_of(&mut out, format_args!("  - {note}\n"));
        }
        out.push('\n');
        out
    }

    fn terms(&self) -> String {
        let left_out = match self.warmups {
            0 => "no warm-up run".to_owned(),
            1 => "one warm-up run left out".to_owned(),
            more => format!("{more} warm-up runs left out"),
        };
        let mut terms = Vec::new();
        terms.extend(self.tasks.map(|tasks| format!("tasks {tasks}")));
        terms.extend(self.children.map(|children| format!("children {children}")));
        terms.push(format!("runs {} ({left_out})", self.runs));
        terms.push(format!("cores {}", self.cores));
        let plain = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        terms.extend(self.settings.iter().map(|(name, value)| format!("{name} {}", plain(value))));
        terms.join(", ")
    }
}

fn line(out: &mut String, name: &str, [median, min, max]: [String; 3]) {
    line_of(out, format_args!("  {name:<26}{median:>14}{min:>14}{max:>14}\n"));
}

fn line_of(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

/// A number as people read it: thousands set apart, small ones with their decimals.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.3}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("throughput", "sqlite:x").tasks(10).setting("processes", 1);
        report.add(vec![("per_second", 50.0), ("seconds", 0.2)], Some(100.0));
        report.add(vec![("per_second", 30.0), ("seconds", 0.33)], Some(40.0));
        report
    }

    #[test]
    fn each_run_is_held_against_the_limit_measured_beside_it() {
        let json: Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(
            json["per_second"],
            serde_json::json!({"median": 40.0, "min": 30.0, "max": 50.0})
        );
        assert_eq!(json["ratio"], serde_json::json!({"median": 0.625, "min": 0.5, "max": 0.75}));
        assert_eq!(json["limit_per_second"]["median"], 70.0);
        assert_eq!((json["runs"].as_u64(), json["warmups"].as_u64()), (Some(2), Some(1)));
    }

    #[test]
    fn without_a_limit_the_limit_is_null_and_there_is_no_ratio() {
        let mut report = Report::new("throughput", "memory:");
        report.add(vec![("per_second", 50.0)], None);
        let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json.get("limit_per_second"), Some(&Value::Null));
        assert_eq!(json.get("ratio"), None);
    }

    #[test]
    fn a_table_shows_every_figure() {
        let table = report().note("a note").table();
        for part in ["tasks 10", "processes 1", "one warm-up run left out", "ratio", "- a note"] {
            assert!(table.contains(part), "{part} is not in\n{table}");
        }
    }

    #[test]
    fn numbers_are_legible() {
        let shown = [0.5, -3.25, 1234.0, -1_234_567.0, 100.0].map(number);
        assert_eq!(shown, ["0.500", "-3.250", "1,234", "-1,234,567", "100"]);
    }
}
