//! What every script holds to, read from its text: nothing is written before all is read, since a script has no rollback;
//! keys are those that the caller has declared; no number goes through a text; no call takes more values than Lua's stack
//! has; and no name is used that nobody has declared.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What all scripts begin with; see `script.rs`.
const COMMON: [&str; 6] = ["transaction", "rows", "waits", "ends", "upkeep", "commit"];

const READS: [&str; 14] = [
    "TIME",
    "HGET",
    "HMGET",
    "HGETALL",
    "HSCAN",
    "ZRANGEBYSCORE",
    "ZRANGEBYLEX",
    "ZLEXCOUNT",
    "ZSCORE",
    "ZMSCORE",
    "LLEN",
    "LINDEX",
    "SISMEMBER",
    "SCARD",
];
/// Reads, too. Which members it gives is left to chance: those who wait for a job are woken in no order.
const SAMPLE: &str = "SRANDMEMBER";
const WRITES: [&str; 13] = [
    "HSET", "HDEL", "ZADD", "ZREM", "RPUSH", "LSET", "SADD", "SREM", "UNLINK", "HINCRBY",
    "PUBLISH", "SPUBLISH", "COMMAND",
];

/// What the server gives to scripts and these use. Not among them: `cjson`, which rounds numbers and takes an empty list for
/// a map, `os`, `math.random` and `tostring`.
const GLOBALS: [&str; 18] = [
    "redis",
    "KEYS",
    "ARGV",
    "cmsgpack",
    "struct",
    "string",
    "table",
    "math",
    "pairs",
    "ipairs",
    "next",
    "unpack",
    "tonumber",
    "type",
    "pcall",
    "setmetatable",
    "rawset",
    "error",
];

const KEYWORDS: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Number,
    Sign(String),
}

impl Token {
    fn is(&self, text: &str) -> bool {
        matches!(self, Self::Name(own) | Self::Sign(own) if own == text)
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// The tokens of a script, each with its line.
fn tokens(script: &str) -> Vec<(usize, Token)> {
    let (mut found, mut line) = (Vec::new(), 1);
    let mut rest = script;
    while let Some(first) = rest.chars().next() {
        let length = |is_part: fn(char) -> bool| rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (token, width) = if first == '\n' {
            line += 1;
            (None, 1)
        } else if first.is_whitespace() {
            (None, 1)
        } else if rest.starts_with("--") || rest.starts_with("#!") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if first == '\'' || first == '"' {
            let end = end_of_text(rest, first);
            (Some(Token::Text(rest[1..end - 1].to_owned())), end)
        } else if first.is_ascii_digit() {
            (Some(Token::Number), length(|c| c.is_ascii_alphanumeric() || c == '.'))
        } else if first.is_alphabetic() || first == '_' {
            let taken = length(|c| c.is_alphanumeric() || c == '_');
            (Some(Token::Name(rest[..taken].to_owned())), taken)
        } else {
            let signs = ["...", "..", "==", "~=", "<=", ">="];
            let sign = signs.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.unwrap_or(&rest[..first.len_utf8()]);
            (Some(Token::Sign(sign.to_owned())), sign.len())
        };
        found.extend(token.map(|token| (line, token)));
        rest = &rest[width..];
    }
    found
}

fn end_of_text(rest: &str, quote: char) -> usize {
    let mut is_escaped = true;
    for (at, c) in rest.char_indices() {
        if c == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    panic!("a text without an end: {rest}");
}

/// A script, and what is wrong with it.
struct Check {
    tokens: Vec<(usize, Token)>,
    complaints: Vec<String>,
}

impl Check {
    fn of(script: &str) -> Vec<String> {
        let mut check = Self { tokens: tokens(script), complaints: Vec::new() };
        check.names();
        check.commands();
        check.numbers();
        check.unpacks(script);
        check.ends();
        check.complaints
    }

    fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).map(|(_, token)| token)
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.token(at).is_some_and(|token| token.is(text))
    }

    fn complain(&mut self, at: usize, what: &str) {
        self.complaints.push(format!("line {}: {what}", self.tokens[at].0));
    }

    /// Each name is declared where it is used, or one that the server gives.
    fn names(&mut self) {
        let mut scopes: Vec<BTreeSet<String>> =
            vec![GLOBALS.iter().map(|&name| name.to_owned()).collect()];
        let (mut pending, mut braces, mut at) = (BTreeSet::new(), Vec::new(), 0);
        while let Some(token) = self.token(at).cloned() {
            match &token {
                Token::Sign(sign) if "{([".contains(sign.as_str()) => braces.push(sign.clone()),
                Token::Sign(sign) if "})]".contains(sign.as_str()) => drop(braces.pop()),
                Token::Name(word) => match word.as_str() {
                    "local" | "for" => {
                        at += usize::from(self.is(at + 1, "function"));
                        let names = self.list_from(at + 1);
                        at += 2 * names.len() - 1;
                        if word == "for" {
                            pending = names;
                        } else {
                            scopes.last_mut().unwrap().extend(names);
                            // The parameters of a local function come next.
                            if self.is(at + 1, "(") {
                                let names = self.list_from(at + 2);
                                at = self.closing(at + 1);
                                scopes.push(names);
                            }
                        }
                    }
                    "function" => {
                        assert!(self.is(at + 1, "("), "functions here are local or nameless");
                        let names = self.list_from(at + 2);
                        at = self.closing(at + 1);
                        scopes.push(names);
                    }
                    "do" | "then" | "repeat" => scopes.push(std::mem::take(&mut pending)),
                    "end" | "until" | "elseif" => drop(scopes.pop()),
                    "else" => *scopes.last_mut().unwrap() = BTreeSet::new(),
                    word => {
                        let is_field = at > 0 && (self.is(at - 1, ".") || self.is(at - 1, ":"));
                        let is_key =
                            braces.last().is_some_and(|open| open == "{") && self.is(at + 1, "=");
                        let is_known = scopes.iter().any(|scope| scope.contains(word));
                        if !KEYWORDS.contains(&word) && !is_field && !is_key && !is_known {
                            self.complain(at, &format!("nobody has declared `{word}`"));
                        }
                    }
                },
                _ => {}
            }
            at += 1;
        }
        assert_eq!(scopes.len(), 1, "blocks are taken apart rightly");
    }

    /// Names with commas between them.
    fn list_from(&self, mut at: usize) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        while let Some(name) = self.token(at).and_then(Token::name) {
            // `_` stands for several.
            let is_new = names.insert(name.to_owned()) || names.insert(format!("{name} {at}"));
            assert!(is_new);
            if !self.is(at + 1, ",") {
                break;
            }
            at += 2;
        }
        names
    }

    fn closing(&self, from: usize) -> usize {
        (from..self.tokens.len()).find(|at| self.is(*at, ")")).unwrap()
    }

    /// Reads stand anywhere, writes only where all is written: in the function that writes all, and behind its call.
    /// Their keys are those of the lane.
    fn commands(&mut self) {
        let position = |name: &str| {
            let of_name = |at: &usize| self.is(*at, name);
            (0..self.tokens.len()).filter(of_name).collect::<Vec<_>>()
        };
        let written = position("write_all");
        let [begin, call] = written.as_slice() else {
            return self.complain(0, "`write_all` is declared and called once");
        };
        // The function is the last of its file; the next begins with the states. The call stands in `commit`.
        let ends = (position("PENDING"), position("answer_only"));
        let (writer, rest) = (*begin..ends.0[0], *call..ends.1[0]);
        for at in 0..self.tokens.len().saturating_sub(5) {
            if !(self.is(at, "redis") && self.is(at + 1, ".")) {
                continue;
            }
            let may_write = writer.contains(&at) || rest.contains(&at);
            if self.is(at + 2, "sha1hex") {
                continue;
            }
            if !self.is(at + 2, "call") {
                self.complain(at, "the server is asked by `redis.call` alone");
                continue;
            }
            match self.token(at + 4).cloned() {
                Some(Token::Text(name)) if WRITES.contains(&name.as_str()) => {
                    if !may_write {
                        self.complain(at, &format!("`{name}` writes before all is read"));
                    }
                }
                Some(Token::Text(name)) if READS.contains(&name.as_str()) || name == SAMPLE => {
                    if may_write {
                        self.complain(at, &format!("`{name}` reads after something was written"));
                    }
                }
                // The command of a list that is written in slices.
                Some(token) if token.is("command") && may_write => {}
                _ => self.complain(at, "an unknown command"),
            }
            let is_of_the_lane = ["K", "LANE", "JOB_KEYS", "key", "fallen_key"];
            let has_key = is_of_the_lane.iter().any(|name| self.is(at + 6, name));
            if !has_key && !matches!(self.token(at + 4), Some(Token::Text(name)) if name == "TIME")
            {
                self.complain(at, "its key is none of the lane's");
            }
        }
    }

    /// What an instant is in a text is rounded.
    fn numbers(&mut self) {
        for at in 1..self.tokens.len() {
            let is_number = |token: Option<&Token>| {
                token.is_some_and(|token| *token == Token::Number || token.is("#"))
            };
            if self.is(at, "..") && (is_number(self.token(at - 1)) || is_number(self.token(at + 1)))
            {
                self.complain(at, "a number is made a text");
            }
        }
    }

    /// `unpack` takes 7,999 values at most.
    fn unpacks(&mut self, script: &str) {
        let lines: Vec<_> = script.lines().collect();
        for at in 1..self.tokens.len() {
            if self.is(at, "unpack") && !self.is(at - 1, ".") {
                let line = self.tokens[at].0;
                let before = &lines[line.saturating_sub(10)..line];
                if !before.iter().any(|line| line.contains("SLICE")) {
                    self.complain(at, "`unpack` without a slice");
                }
            }
        }
    }

    /// A verb's answer is the last that it does.
    fn ends(&mut self) {
        for at in 1..self.tokens.len() {
            let is_end = self.is(at, "commit") || self.is(at, "answer_only");
            let before = ["return", "function"].iter().any(|word| self.is(at - 1, word));
            if is_end && !before {
                self.complain(at, "a verb goes on after its commit");
            }
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis")
}

fn lua(name: &str) -> String {
    fs::read_to_string(folder().join("lua").join(name).with_extension("lua")).unwrap()
}

fn script(own: &[&str]) -> String {
    COMMON.iter().chain(own).map(|name| lua(name)).collect()
}

/// The scripts, by `script.rs`: a name, and the files of its own.
fn scripts() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(folder().join("link/script.rs")).unwrap();
    let calls = text.split("\nscript!(").skip(1).map(|rest| rest.split(");").next().unwrap());
    let parts = calls.map(|call| {
        let name = call.split(" = ").next().unwrap().split_whitespace().last().unwrap();
        (name.to_owned(), call.split('"').skip(1).step_by(2).map(str::to_owned).collect())
    });
    parts.collect()
}

#[test]
fn every_script_holds_to_the_rules() {
    let scripts = scripts();
    let mut files: BTreeSet<String> = COMMON.iter().map(|&name| name.to_owned()).collect();
    for (name, own) in &scripts {
        let own: Vec<_> = own.iter().map(String::as_str).collect();
        assert_eq!(Check::of(&script(&own)), Vec::<String>::new(), "{name}");
        files.extend(own.iter().map(|&name| name.to_owned()));
    }
    // None is left out.
    for entry in fs::read_dir(folder().join("lua")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(files.contains(name), "{name}.lua is part of no script");
    }
    assert!(scripts.len() >= 15, "{scripts:?}");
}

/// Each rule finds what breaks it.
#[test]
fn broken_scripts_are_found() {
    let broken = [
        (
            "pause",
            "put(K.paused",
            "redis.call('HSET', K.paused, 'x', 1) put(K.paused",
            "writes before",
        ),
        (
            "commit",
            "  local counter",
            "  redis.call('HGET', K.meta, 'c')\n  local counter",
            "reads after",
        ),
        ("pause", "return commit(true)", "commit(true) return true", "goes on after"),
        ("pause", "put(K.paused", "found = 1 put(K.paused", "declared `found`"),
        ("pause", "put(K.paused", "tostring(now) put(K.paused", "declared `tostring`"),
        ("pause", "put(K.paused", "cjson.encode({}) put(K.paused", "declared `cjson`"),
        ("pause", "put(K.paused", "math.max(os.time(), 1) put(K.paused", "declared `os`"),
        ("pause", "put(K.paused", "get(K.meta, 'x' .. 1) put(K.paused", "made a text"),
        ("pause", "put(K.paused", "get(K.meta, 'x' .. #KEYS) put(K.paused", "made a text"),
        (
            "pause",
            "put(K.paused",
            "redis.call('HGET', 'mine', 'x') put(K.paused",
            "none of the lane's",
        ),
        (
            "pause",
            "put(K.paused",
            "redis.call('RANDOMKEY', K.meta) put(K.paused",
            "unknown command",
        ),
        ("pause", "put(K.paused", "redis.pcall('HGET', K.meta, 'x') put(K.paused", "alone"),
        (
            "heartbeat",
            "local worker, ",
            "\n\n\n\n\n\n\n\n\n\nfoo(unpack(ARGV))\nlocal worker, ",
            "without a slice",
        ),
    ];
    for (name, from, to, complaint) in broken {
        let verb = if name == "commit" { "pause" } else { name };
        let whole = script(&[verb]);
        let text = lua(name);
        assert!(text.contains(from), "{name}: {from}");
        let whole = whole.replace(&text, &text.replacen(from, to, 1));
        let found = Check::of(&whole);
        assert!(found.iter().any(|found| found.contains(complaint)), "{to}: {found:?}");
    }
}
