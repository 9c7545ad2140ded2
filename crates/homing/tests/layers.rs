//! The rooms of the library and their doors: a room names only rooms before it, so that none can be understood only
//! together with a later one. ARCHITECTURE.md says what each may know.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in order. The testing room may name all.
const ROOMS: [&str; 11] = [
    "limits", "point", "core", "clock", "store", "error", "task", "body", "worker", "client",
    "testing",
];

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// What is neither a comment nor a test.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first words of a path's tail: one, or those of a group in braces.
fn heads(tail: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = tail.strip_prefix('{') else { return vec![word(tail)] };
    let (mut depth, mut heads, mut begins) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.push(word(&group[begins..at]));
                return heads;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(word(&group[begins..at]));
                begins = at + 1;
            }
            _ => {}
        }
    }
    panic!("a group without an end: {tail:.60}")
}

/// Of each name that the crate gives to its users: the room it comes from.
fn exports(library: &str) -> BTreeMap<String, String> {
    let mut rooms = BTreeMap::new();
    for item in library.split("pub use ").skip(1) {
        let path = item.split(';').next().unwrap();
        let path = path.strip_prefix("crate::").unwrap_or(path);
        let room = heads(path).remove(0);
        let end = path.rfind("::{").or_else(|| path.rfind("::")).unwrap() + 2;
        for name in heads(&path[end..]) {
            rooms.insert(name, room.clone());
        }
    }
    rooms
}

/// The doors of a text that open backwards.
fn backwards(room: &str, text: &str, exports: &BTreeMap<String, String>) -> Vec<String> {
    let from = rank(room).unwrap_or_else(|| panic!("`{room}` is no room: put it into one"));
    let code = code(text);
    let mut found = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c == '$' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        for head in heads(&code[at + path.len()..]) {
            let to = rank(&head).or_else(|| rank(exports.get(&head)?));
            if to.is_some_and(|to| to > from) {
                found.push(format!("{room} names {head}"));
            }
        }
    }
    found
}

#[test]
fn no_door_opens_backwards() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let exports = exports(&fs::read_to_string(source.join("lib.rs")).unwrap());
    assert_eq!(exports.get("JoinSet").map(String::as_str), Some("body"));
    let mut files = Vec::new();
    sources(&source, &mut files);
    assert!(files.len() > 150, "only {} files were found", files.len());
    let mut found = Vec::new();
    for file in files {
        let within = file.strip_prefix(&source).unwrap().display().to_string();
        let room = within.split('/').next().unwrap().trim_end_matches(".rs");
        if room == "lib" || within.contains("/tests/") || within.ends_with("/tests.rs") {
            continue;
        }
        let doors = backwards(room, &fs::read_to_string(&file).unwrap(), &exports);
        found.extend(doors.into_iter().map(|door| format!("{within}: {door}")));
    }
    assert!(found.is_empty(), "doors that open backwards:\n{}", found.join("\n"));
}

/// The test sees the forms in which a later room can be named.
#[test]
fn a_backward_door_is_seen() {
    let exports =
        exports("pub use client::{Homing, Why as Reasons};\npub use crate::core::id::JobId;\n");
    let seen = |text: &str| backwards("store", text, &exports).len();
    assert_eq!(seen("use crate::worker::Slot;"), 1);
    assert_eq!(seen("use crate::{limits, client::{Job, Log}, core::id};"), 1);
    assert_eq!(seen("fn f() -> crate::Homing { crate::body::step::run() }"), 2);
    assert_eq!(seen("use crate::JobId;\n// crate::worker\nuse crate::core::id;"), 0);
    assert_eq!(seen("#[cfg(test)]\nmod tests {\n    use crate::worker;\n}"), 0);
}
