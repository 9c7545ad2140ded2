//! `serve`: the page, the API and the metrics of a store.

use std::path::PathBuf;

use homing_web::{Grant, InvalidOption, Network, Options, Role};
use tokio::net::TcpListener;

use crate::args::ServeArgs;
use crate::output::say;
use crate::{Context, Error, Exit, Result, words};

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(cx: Context, args: ServeArgs) -> Result<Exit> {
    super::worker::show_warnings(Some("homing_web"));
    let loopback = args.bind.ip().is_loopback();
    let (options, token) = doors(&args, loopback)?;
    let url = homing::Homing::inspect(&cx.url).await?.url; // without a password
    let options = told(options.store(&url), &args);
    let mut signals = super::worker::Signals::listen()?;
    let listener = TcpListener::bind(args.bind).await?;
    let address = listener.local_addr()?;
    let base = args.base.as_deref().unwrap_or("").trim_matches('/');
    let base = if base.is_empty() { String::new() } else { format!("/{base}") };
    let token = token.map(|token| format!("#t={token}")).unwrap_or_default();
    // The address is data: another program may open it.
    cx.out.line(format_args!("http://{address}{base}/{token}"))?;
    cx.out.flush()?;
    say(format_args!("serving {url}, until Ctrl-C"));
    let ended = async move {
        // A listener that fails is one that is gone.
        let _ = signals.next().await;
    };
    homing_web::serve(cx.homing, options, listener, ended).await?;
    Ok(Exit::Done)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn refused(error: InvalidOption) -> Error {
    Error::usage(error.to_string(), "`serve --help` has them all")
}

/// Who is let in; and the token that was made, if nobody gave one.
fn doors(args: &ServeArgs, loopback: bool) -> Result<(Options, Option<String>)> {
    let mut options = Options::new();
    if let Some(path) = &args.token_file {
        for (user, grant, token) in tokens(path)? {
            options = options.token(user, grant, token).map_err(refused)?;
        }
    }
    if let Some(name) = &args.trust_header {
        let from = networks(&args.trust_from)?;
        options = options.trust_header(name, from, roles(&args.role)?).map_err(refused)?;
    }
    if args.insecure_no_auth {
        return Ok((options.insecure_no_auth(Grant::operator().user("somebody")), None));
    }
    if args.token_file.is_some() || args.trust_header.is_some() {
        return Ok((options, None));
    }
    if !loopback {
        let message = format!("`--bind {}` is reached from other machines", args.bind);
        return Err(Error::usage(
            message,
            "say who is let in: --token-file FILE, --trust-header NAME or --insecure-no-auth",
        ));
    }
    let token = homing_web::fresh_token()?;
    let options = options.token(words::oneself(), Grant::admin(), &token).map_err(refused)?;
    Ok((options, Some(token)))
}

/// The lines of a file of tokens: a token alone, which is an operator's, or `NAME ROLE TOKEN`.
fn tokens(path: &PathBuf) -> Result<Vec<(String, Grant, String)>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::usage(format!("{}: {error}", path.display()), "name a file of tokens")
    })?;
    let mut tokens = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let token = match words[..] {
            [] => continue,
            [first, ..] if first.starts_with('#') => continue,
            [token] => ("token".to_owned(), Grant::operator(), token.to_owned()),
            [user, role, token] => (user.to_owned(), grant(role)?, token.to_owned()),
            _ => {
                let message = format!("{}, line {}: not understood", path.display(), at + 1);
                return Err(Error::usage(message, "a line is TOKEN, or NAME ROLE TOKEN"));
            }
        };
        tokens.push(token);
    }
    if tokens.is_empty() {
        let message = format!("{}: there is no token in it", path.display());
        return Err(Error::usage(message, "a line is TOKEN, or NAME ROLE TOKEN"));
    }
    Ok(tokens)
}

/// A role; `viewer-without-payloads` sees none.
fn grant(text: &str) -> Result<Grant> {
    match text.strip_suffix("-without-payloads") {
        Some(role) => Ok(Grant::of(role.parse::<Role>().map_err(refused)?).without_payloads()),
        None => Ok(Grant::of(text.parse().map_err(refused)?)),
    }
}

fn networks(texts: &[String]) -> Result<Vec<Network>> {
    texts.iter().map(|text| text.parse().map_err(refused)).collect()
}

/// `user=role`; `*` is everybody else.
fn roles(texts: &[String]) -> Result<Vec<(String, Grant)>> {
    let role = |text: &String| match text.split_once('=') {
        Some((user, role)) => Ok((user.to_owned(), grant(role)?)),
        None => Err(Error::usage(
            format!("`--role {text}` names no role"),
            "give USER=ROLE, such as ada=operator or *=viewer",
        )),
    };
    texts.iter().map(role).collect()
}

/// What is said beside who is let in.
fn told(mut options: Options, args: &ServeArgs) -> Options {
    for host in &args.host {
        options = options.host(host);
    }
    for path in &args.redact {
        options = options.redact(path);
    }
    if let Some(base) = &args.base {
        options = options.base(base);
    }
    if let Some(name) = &args.site_name {
        options = options.name(name);
    }
    if args.read_only {
        options = options.read_only();
    }
    if args.hide_payloads {
        options = options.hide_payloads();
    }
    if args.https {
        options = options.https();
    }
    if args.metrics_open {
        options = options.metrics_open();
    }
    options
}
