//! The table of direct dependencies against what the crates of this workspace name, and `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = workspace().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names on the left of a manifest's tables of dependencies.
fn named(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.trim_end_matches(']').ends_with("dependencies");
        } else if inside && line.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            names.insert(name.to_owned());
        }
    }
    names
}

/// Names with their versions, of what comes from the registry.
fn locked() -> BTreeSet<(String, String)> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let lock = read("Cargo.lock");
    let blocks = lock.split("[[package]]").filter(|block| block.contains("\nsource = "));
    blocks.filter_map(|block| Some((value(block, "name")?, value(block, "version")?))).collect()
}

#[test]
fn every_direct_dependency_has_a_row() {
    let mut wanted = BTreeSet::new();
    let crates = std::fs::read_dir(workspace().join("crates")).unwrap_or_else(|e| panic!("{e}"));
    let crates = crates.flatten().map(|entry| entry.path());
    for path in crates.chain([workspace().join("examples")]) {
        wanted.extend(named(&read(path.join("Cargo.toml"))));
    }
    wanted.retain(|name| !name.starts_with("homing"));
    let table = read("docs/development/dependencies.md");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let told: BTreeMap<_, _> = rows.map(|row| (row[1].trim_matches('`').to_owned(), row)).collect();
    let names: BTreeSet<_> = told.keys().cloned().collect();
    assert_eq!(names, wanted, "what docs/development/dependencies.md tells, and what is used");
    let locked = locked();
    for (name, row) in told {
        assert!(row.iter().skip(1).take(7).all(|cell| !cell.is_empty()), "{name}: an empty cell");
        let version = row[2].to_owned();
        assert!(
            locked.contains(&(name.clone(), version.clone())),
            "{name} {version} is not what Cargo.lock has: look at what has changed, and write its row anew"
        );
    }
}
