//! `git_tree`: git's own id for trees of every shape, and no file hashed twice.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use homing::{Homing, JobFilter, Status};

use crate::program::{Place, newest, until_ended};

const EMPTY: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// git, its user's settings aside.
fn git(arguments: &[&OsStr]) -> String {
    let mut git = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"GIT_") {
            git.env_remove(name);
        }
    }
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for name in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"]
    {
        git.env(name, "nobody@example.org");
    }
    let output = git.args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What git says of a directory, which is only read: the repository is elsewhere.
fn expected(place: &Place, tree: &Path) -> String {
    let repository = place.path("repository");
    git(&["init".as_ref(), "-q".as_ref(), "--bare".as_ref(), repository.as_ref()]);
    let mut git_dir = OsStr::new("--git-dir=").to_owned();
    git_dir.push(&repository);
    let mut work_tree = OsStr::new("--work-tree=").to_owned();
    work_tree.push(tree);
    git(&[&git_dir, &work_tree, "add".as_ref(), "-A".as_ref(), "-f".as_ref()]);
    git(&[&git_dir, &work_tree, "write-tree".as_ref()])
}

fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

/// A tree with everything in it that is odd.
fn odd(place: &Place) -> PathBuf {
    let tree = place.path("tree");
    let bytes = |name: &[u8]| tree.join(OsStr::from_bytes(name));
    write(tree.join("empty file"), "");
    write(tree.join("line\nfeed \"quoted\" back\\slash"), "x");
    write(tree.join("per%cent %41"), "%");
    write(bytes(b"caf\xe9"), "latin-1");
    write(bytes(b"\xff\xfe/\x80"), "no text at all");
    write(tree.join("größe/ß"), "UTF-8");
    write(tree.join("run"), "#!/bin/sh");
    fs::set_permissions(tree.join("run"), fs::Permissions::from_mode(0o711)).unwrap();
    write(tree.join("group only"), "not for git");
    fs::set_permissions(tree.join("group only"), fs::Permissions::from_mode(0o654)).unwrap();
    symlink("run", tree.join("link")).unwrap();
    symlink(OsStr::from_bytes(b"nowhere/\xfe"), tree.join("broken link")).unwrap();
    symlink("größe", tree.join("link to a directory")).unwrap();
    // A directory is sorted as `a/`, which is behind `a-` and `a.` and before `a0`.
    for name in ["a/x", "a-", "a.", "a.b/x", "a0", "ab", "b", "b-c/x", "b0/x"] {
        write(tree.join(name), name);
    }
    fs::create_dir_all(tree.join("nothing/in/here")).unwrap();
    write(tree.join(".gitignore"), "*\n");
    write(tree.join("deep/.git/config"), "no repository: it has no HEAD");
    write(tree.join("deep/beside"), "");
    write(tree.join(".github/x"), "");
    write(tree.join("large"), vec![7; 3 << 20]);
    tree
}

#[test]
fn odd_names_modes_and_order() {
    let place = Place::new("git_tree");
    let tree = odd(&place);
    let expected = expected(&place, &tree);
    let tree = tree.to_str().unwrap();
    assert_eq!(place.last_line(&[tree, "--store", "memory:"]), expected);
    assert_eq!(
        place.last_line(&["tree", "--concurrency", "1", "--store", &place.store()]),
        expected
    );
}

#[test]
fn sockets_and_git_directories_are_left_out() {
    let place = Place::new("git_tree");
    let tree = place.path("tree");
    write(tree.join("a/b"), "b");
    let expected = expected(&place, &tree);
    git(&["init".as_ref(), "-q".as_ref(), tree.as_ref()]);
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("a/socket")).unwrap();
    assert_eq!(place.last_line(&["tree"]), expected);
}

#[test]
fn nothing_is_the_empty_tree() {
    let place = Place::new("git_tree");
    fs::create_dir_all(place.path("tree/empty/empty")).unwrap();
    assert_eq!(expected(&place, &place.path("tree")), EMPTY);
    assert_eq!(place.last_line(&["tree"]), EMPTY);
}

#[test]
fn wide_and_deep_with_one_slot() {
    let place = Place::new("git_tree");
    let tree = place.path("tree");
    for number in 0..3_000 {
        write(tree.join(format!("wide/{number}")), number.to_string());
    }
    let deep = (0..300).fold(tree.clone(), |path, number| path.join(format!("d{number}")));
    write(deep.join("bottom"), "bottom");
    assert_eq!(place.last_line(&["tree", "--concurrency", "1"]), expected(&place, &tree));
}

/// More names than one page of a listing holds.
#[test]
fn a_listing_of_several_pages() {
    let place = Place::new("git_tree");
    let tree = place.path("tree");
    for number in 0..3_000 {
        write(tree.join(format!("{number}{}", "ü".repeat(120))), "");
    }
    assert_eq!(place.last_line(&["tree"]), expected(&place, &tree));
}

#[test]
fn a_repository_within_is_its_commit() {
    let place = Place::new("git_tree");
    let tree = place.path("tree");
    let (inner, linked) = (tree.join("inner"), tree.join("linked"));
    let run = |directory: &Path, arguments: &[&str]| {
        let mut all = vec![OsStr::new("-C"), directory.as_ref()];
        all.extend(arguments.iter().map(OsStr::new));
        git(&all)
    };
    write(inner.join("file"), "inner");
    run(&inner, &["init", "-q", "-b", "main"]);
    let (code, error) = place.failure(&["tree"]);
    assert!(code == Some(1) && error.contains("a repository without a commit"), "{error}");

    run(&inner, &["add", "-A"]);
    run(&inner, &["commit", "-q", "-m", "one"]);
    run(&inner, &["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    run(&linked, &["commit", "-q", "--allow-empty", "-m", "two"]);
    assert_eq!(place.last_line(&["tree"]), expected(&place, &tree));
    run(&inner, &["pack-refs", "--all"]);
    assert_eq!(place.last_line(&["tree"]), expected(&place, &tree));
}

/// Killed twice on the way, the same command goes on with the open job: a file is hashed again only if
/// its task had not ended. A finished job is not taken up again.
#[tokio::test]
async fn kill_9_and_the_same_command_again() {
    const FILES: u64 = 3_000;
    let place = Place::new("git_tree");
    let tree = place.path("tree");
    for number in 0..FILES {
        write(tree.join(number.to_string()), number.to_string());
    }
    let store = place.store();
    let arguments = ["tree", "--concurrency", "4", "--store", &store];
    let homing = Homing::open(&store).await.unwrap();
    let mut first = None;
    for count in [1, FILES / 3] {
        let mut program = place.start(&arguments);
        let job = newest(&homing).await;
        assert_eq!(*first.get_or_insert(job.id), job.id);
        until_ended(&homing, job.id, count, &mut program).await;
        program.kill();
    }
    // The root is the only directory, and it is the last to end.
    let done = newest(&homing).await.counts.ended();
    assert!((FILES / 3..FILES).contains(&done), "{done} tasks ended: it was killed too late");
    let output = place.run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("\n{} files hashed", FILES - done)), "{done} were done: {said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected(&place, &tree));
    let job = newest(&homing).await;
    assert_eq!((Some(job.id), job.status), (first, Status::Completed));
    assert_eq!(job.counts.spawned(), FILES + 1);
    assert_eq!(homing.check().await.unwrap(), []);

    write(tree.join("0"), "changed");
    assert_eq!(place.last_line(&arguments), expected(&place, &tree));
    assert_eq!(homing.jobs(JobFilter::default()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn split_into_processes() {
    let place = Place::new("git_tree");
    let tree = odd(&place);
    let store = place.store();
    let worker = place.start(&["--worker-only", "--store", &store]);
    let last = place.last_line(&["tree", "--submit-only", "--store", &store]);
    assert_eq!(last, expected(&place, &tree));
    assert!(worker.interrupt().success());
}

#[test]
fn wrong_arguments() {
    let place = Place::new("git_tree");
    write(place.path("file"), "");
    write(place.path("tree/file"), "");
    let says = |code, arguments: &[&str], text| {
        let (exit, error) = place.failure(arguments);
        assert!(exit == Some(code) && error.contains(text), "{arguments:?}: {exit:?} {error}");
    };
    says(2, &[], "<PATH>");
    says(2, &[".", "--concurrency", "none"], "--concurrency");
    says(2, &["--worker-only", "--submit-only"], "cannot be used with");
    says(1, &["nowhere"], "nowhere: No such file");
    says(1, &["file"], "file: not a directory");
    says(1, &[".", "--store", "sqlite:jobs.db"], "jobs.db lies in the directory");
    says(1, &["--worker-only"], "no other process sees");
    says(1, &["tree", "--store", "sqlite:x.db?color=red"], "color");
}
