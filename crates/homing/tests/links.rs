//! Links between the pages of the documentation lead somewhere: the file is there, and its heading; and each page has
//! its place in the book.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn pages(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            into.push(path);
        }
    }
}

/// What is prose: neither code between fences nor code within a line.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line.split('`').step_by(2).collect::<Vec<_>>().join("_"));
        }
    }
    lines.join("\n")
}

/// Where the links of a page lead.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let tails = prose.split("](").skip(1);
    tails.map(|tail| tail.split([')', ' ']).next().unwrap().to_owned()).collect()
}

/// The names under which headings are linked to.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let name = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(name).collect()
}

/// What is wrong with the links of a page.
fn broken(page: &Path, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for link in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let target =
            if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
        let found = target.exists()
            && (anchor.is_empty()
                || anchors(&fs::read_to_string(&target).unwrap()).contains(&anchor.to_owned()));
        if !found {
            broken.push(link);
        }
    }
    broken
}

#[test]
fn every_link_leads_somewhere() {
    let root = workspace();
    let mut all = Vec::new();
    pages(&root.join("docs"), &mut all);
    for crates in ["crates", "examples"] {
        pages(&root.join(crates), &mut all);
    }
    all.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name)));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in &all {
        let text = fs::read_to_string(page).unwrap();
        count += links(&text).len();
        let broken = broken(page, &text);
        wrong.extend(broken.into_iter().map(|link| format!("{}: {link}", page.display())));
    }
    assert!(count > 50, "only {count} links were found");
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

/// Paths of the repository that stand between backticks.
fn paths(text: &str) -> Vec<&str> {
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let rooms = ["crates/", "docs/", "examples/", "scripts/"];
    spans
        .filter(|span| rooms.iter().any(|room| span.starts_with(room)))
        .filter(|span| !span.contains([' ', '*', '{', '<']))
        .collect()
}

#[test]
fn every_path_that_is_named_is_there() {
    let root = workspace();
    let mut all = Vec::new();
    pages(&root.join("docs"), &mut all);
    all.extend(["README.md", "ARCHITECTURE.md"].map(|name| root.join(name)));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in &all {
        let text = fs::read_to_string(page).unwrap();
        for path in paths(&text) {
            count += 1;
            if !root.join(path).exists() {
                wrong.push(format!("{}: {path}", page.display()));
            }
        }
    }
    assert!(count > 10, "only {count} paths were found");
    assert!(wrong.is_empty(), "paths that are not there:\n{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_book() {
    let docs = workspace().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let mut all = Vec::new();
    pages(&docs, &mut all);
    let names = all.iter().map(|page| page.strip_prefix(&docs).unwrap().display().to_string());
    let mut wanted: Vec<String> = names.filter(|name| name != "SUMMARY.md").collect();
    let mut told = links(&summary);
    wanted.sort();
    told.sort();
    assert_eq!(told, wanted, "the pages in docs/SUMMARY.md, and those in docs");
}

#[test]
fn a_link_that_leads_nowhere_is_seen() {
    let page = workspace().join("README.md");
    let text = "[a](docs/limits.md) [b](docs/none.md) `[c](none.md)` [d](#no-such-heading) [e](https://a.b)";
    assert_eq!(broken(&page, text), ["docs/none.md", "#no-such-heading"]);
}

/// A program that a page shows is compiled, unless it says that it is none: the library takes the page for its own
/// documentation when that is tested.
#[test]
fn programs_of_pages_are_compiled() {
    let workspace = workspace();
    let library = fs::read_to_string(workspace.join("crates/homing/src/lib.rs")).unwrap();
    let mut all = vec![workspace.join("README.md")];
    pages(&workspace.join("docs"), &mut all);
    let has_program = |page: &Path| {
        let text = fs::read_to_string(page).unwrap();
        text.lines().any(|line| line.starts_with("```rust") && !line.contains("ignore"))
    };
    let programs: Vec<_> = all.iter().filter(|page| has_program(page)).collect();
    assert!(programs.len() > 5, "{programs:?}");
    for page in programs {
        let name = page.strip_prefix(&workspace).unwrap().display().to_string();
        assert!(
            library.contains(&format!("include_str!(\"../../../{name}\")")),
            "the programs of {name} are compiled by nobody: include it where `src/lib.rs` has `cfg(doctest)`"
        );
    }
}
