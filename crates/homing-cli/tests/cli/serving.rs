//! `serve`: a site beside a worker, and what it refuses to begin with.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::world::World;

/// A site that is up.
struct Site {
    process: Child,
    /// `127.0.0.1:PORT`.
    address: String,
    /// What the printed address has behind it.
    rest: String,
}

impl Site {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_homing"))
            .args(["serve", "--bind", "127.0.0.1:0"])
            .args(arguments)
            .env("HOMING_STORE", world.store())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("http://").unwrap();
        let (address, rest) = url.split_once('/').unwrap();
        Self { process, address: address.to_owned(), rest: rest.to_owned() }
    }

    /// The status and all that follows it.
    fn get(&self, path: &str, header: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}Connection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        (text[9..12].parse().unwrap(), text)
    }

    fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let output = self.process.stderr.take().unwrap();
        let code = self.process.wait().unwrap().code();
        (code, std::io::read_to_string(output).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_served_until_a_signal() {
    let world = World::busy().await;
    world.nightly().await;
    let site = Site::start(&world, &[]);
    let token = site.rest.strip_prefix("#t=").unwrap().to_owned();
    assert_eq!(token.len(), 32);
    assert_eq!(site.get("/", "").0, 401);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let (status, page) = site.get("/", &bearer);
    assert_eq!(status, 200);
    assert!(page.contains("nightly import of airports"), "{page}");
    // The API answers what the command prints.
    let (status, answer) = site.get("/api/v1/queues", &bearer);
    assert_eq!(status, 200);
    assert!(answer.contains(r#"{"items":["#));
    let (status, job) = site.get("/api/v1/jobs?q=nightly", &bearer);
    assert_eq!(status, 200);
    let body: serde_json::Value =
        serde_json::from_str(job.split_once("\r\n\r\n").unwrap().1).unwrap();
    let printed = world.json(&["jobs", "--title", "nightly"]).remove(0);
    assert_eq!(body["items"][0], printed);
    let (code, said) = site.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("until Ctrl-C") && !said.contains(&token), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_says_who_is_let_in() {
    let world = World::idle().await;
    let file = world.file("tokens");
    let text = "# who\nvera viewer veras-token-0123456789\n\nolgas-token-0123456789\n";
    std::fs::write(&file, text).unwrap();
    let site = Site::start(&world, &["--token-file", file.to_str().unwrap(), "--base", "x/y"]);
    assert_eq!(site.rest, "x/y/");
    for (token, role) in
        [("veras-token-0123456789", "viewer"), ("olgas-token-0123456789", "operator")]
    {
        let header = format!("Authorization: Bearer {token}\r\n");
        for base in ["/x/y", ""] {
            let (status, page) = site.get(&format!("{base}/about"), &header);
            assert_eq!(status, 200);
            assert!(page.contains(role) && page.contains("href=\"/x/y/jobs\""), "{page}");
        }
    }
    assert_eq!(site.stop().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_let_everybody_in_is_refused() {
    let world = World::idle().await;
    let (short, odd) = (world.file("short"), world.file("odd"));
    std::fs::write(&short, "secret\n").unwrap();
    std::fs::write(&odd, "ada ruler adas-token-0123456789\n").unwrap();
    let (short, odd) = (short.to_str().unwrap(), odd.to_str().unwrap());
    for (arguments, hint) in [
        (&["--bind", "0.0.0.0:0"][..], "--token-file FILE, --trust-header NAME"),
        (&["--bind", "[::]:0"], "--insecure-no-auth"),
        (&["--token-file", short], "16 characters"),
        (&["--token-file", odd], "viewer, operator or admin"),
        (&["--token-file", "/nowhere/to/be/found"], "name a file of tokens"),
        (&["--trust-header", "X-User"], "--trust-from"),
        (&["--trust-header", "X-User", "--trust-from", "10.0.0.0/8", "--role", "ada"], "USER=ROLE"),
        (&["--trust-header", "X-User", "--trust-from", "home", "--role", "a=viewer"], "10.0.0.0/8"),
    ] {
        let ran = world.run(&[&["serve"], arguments].concat());
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(hint), "{arguments:?}: {}", ran.err);
    }
}
