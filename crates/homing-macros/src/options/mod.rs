//! What stands in the parentheses of `#[task(...)]`.
//!
//! Every option is `key = literal`, given at most once; what is not given stays `None`, so that
//! the defaults live in homing alone and not in code compiled long ago. Nothing here looks at the
//! function: the kind that falls back to its name is settled in `expand`.

mod emit;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::time::Duration;

use proc_macro2::TokenStream as Tokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprUnary, Ident, Lit, Result, Token, UnOp};

use crate::{Mistakes, duration};

/// Keys in the order in which messages list them.
const KEYS: [&str; 10] = [
    "kind",
    "queue",
    "priority",
    "retries",
    "backoff",
    "timeout",
    "soft_timeout",
    "deadline",
    "expires",
    "max_attempts",
];

/// What a call can be told and a kind cannot.
const OF_A_CALL: [&str; 7] = ["delay", "run_at", "tags", "title", "key", "id", "at"];

/// The form of a stored name, for messages.
pub(crate) const KIND_FORM: &str = "1 to 200 of the characters A-Z a-z 0-9 _ . : -";

/// The options given, checked; what was not given is `None`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) kind: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) priority: Option<i16>,
    pub(crate) retries: Option<u32>,
    pub(crate) backoff: Option<(Duration, Duration)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) expires: Option<Duration>,
    pub(crate) max_attempts: Option<u32>,
}

/// One `key = value`, not yet understood.
struct Assignment {
    key: Ident,
    value: Expr,
}

impl Parse for Assignment {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = Ident::parse_any(input)?;
        check_known(&key)?;
        if !input.peek(Token![=]) {
            let message = format!("`{key}` needs a value, as in `{}`", example(&key.to_string()));
            return Err(Error::new(key.span(), message));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { key, value: input.parse()? })
    }
}

/// Reads the attribute's tokens; all mistakes of it come as one combined error.
pub(crate) fn parse(attribute: Tokens) -> Result<Options> {
    let given = Punctuated::<Assignment, Token![,]>::parse_terminated.parse2(attribute)?;
    let mut options = Options::default();
    let mut mistakes = Mistakes::default();
    let mut seen: Vec<Ident> = Vec::new();
    for Assignment { key, value } in given {
        if seen.contains(&key) {
            let message = format!("`{key}` is given twice, keep one of the two");
            mistakes.add(Error::new(key.span(), message));
        } else {
            mistakes.keep(options.set(&key.to_string(), &value));
            seen.push(key);
        }
    }
    mistakes.finish().map(|()| options)
}

impl Options {
    fn set(&mut self, key: &str, value: &Expr) -> Result<()> {
        match key {
            "kind" => self.kind = Some(kind(value)?),
            "queue" => self.queue = Some(queue(value)?),
            "priority" => self.priority = Some(integer(key, value, i16::MIN..=i16::MAX)?),
            "retries" => self.retries = Some(integer(key, value, 0..=u32::MAX)?),
            "backoff" => self.backoff = Some(backoff(value)?),
            "timeout" => self.timeout = Some(span_of_time(key, value)?),
            "soft_timeout" => self.soft_timeout = Some(span_of_time(key, value)?),
            "deadline" => self.deadline = Some(span_of_time(key, value)?),
            "expires" => self.expires = Some(span_of_time(key, value)?),
            "max_attempts" => self.max_attempts = Some(integer(key, value, 1..=u32::MAX)?),
            _ => {} // `check_known` has refused it
        }
        Ok(())
    }
}

/// Whether a name can be stored as a kind.
pub(crate) fn is_kind(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}

fn kind(value: &Expr) -> Result<String> {
    let name = text("kind", value)?;
    if is_kind(&name) {
        return Ok(name);
    }
    Err(Error::new(value.span(), format!("a kind is {KIND_FORM}")))
}

fn queue(value: &Expr) -> Result<String> {
    let name = text("queue", value)?;
    if name.is_empty() {
        return Err(Error::new(value.span(), "a queue's name can't be empty"));
    }
    Ok(name)
}

fn backoff(value: &Expr) -> Result<(Duration, Duration)> {
    duration::parse_range(&text("backoff", value)?).ok_or_else(|| {
        let message = "`backoff` takes a rising range of durations such as \"1s..10m\", \
                       or one duration such as \"5s\" for a constant delay";
        Error::new(value.span(), message)
    })
}

fn span_of_time(key: &str, value: &Expr) -> Result<Duration> {
    let form = duration::FORM;
    match duration::parse(&text(key, value)?) {
        Some(Duration::ZERO) => {
            let message = format!("`{key}` must be longer than zero, leave it out for no limit");
            Err(Error::new(value.span(), message))
        }
        Some(duration) => Ok(duration),
        None => Err(Error::new(value.span(), format!("`{key}` takes a duration such as {form}"))),
    }
}

fn text(key: &str, value: &Expr) -> Result<String> {
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = bare(value) {
        return Ok(text.value());
    }
    let message = format!("`{key}` takes a string, as in `{}`", example(key));
    Err(Error::new(value.span(), message))
}

/// An integer within `range`, whose type is the option's.
fn integer<N>(key: &str, value: &Expr, range: RangeInclusive<N>) -> Result<N>
where
    N: TryFrom<i128> + PartialOrd + std::fmt::Display,
{
    let (negative, digits) = match bare(value) {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => (true, bare(expr)),
        other => (false, other),
    };
    let Expr::Lit(ExprLit { lit: Lit::Int(digits), .. }) = digits else {
        let message = format!("`{key}` takes an integer, as in `{}`", example(key));
        return Err(Error::new(value.span(), message));
    };
    digits
        .base10_parse::<i128>()
        .ok()
        .and_then(|number| N::try_from(if negative { -number } else { number }).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            Error::new(value.span(), format!("`{key}` takes an integer from {first} to {last}"))
        })
}

/// The expression without the invisible group in which `macro_rules` hands on a literal.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => bare(&group.expr),
        other => other,
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "kind" => "kind = \"write_page\"",
        "queue" => "queue = \"db\"",
        "priority" => "priority = 3",
        "retries" => "retries = 5",
        "backoff" => "backoff = \"1s..10m\"",
        "timeout" => "timeout = \"30s\"",
        "soft_timeout" => "soft_timeout = \"20s\"",
        "deadline" => "deadline = \"1h\"",
        "expires" => "expires = \"10m\"",
        _ => "max_attempts = 40",
    }
}

fn check_known(key: &Ident) -> Result<()> {
    let name = key.to_string();
    if KEYS.contains(&name.as_str()) {
        return Ok(());
    }
    if OF_A_CALL.contains(&name.as_str()) {
        let message = format!("`{name}` belongs to one call, write `.{name}(..)` after the call");
        return Err(Error::new(key.span(), message));
    }
    let hint = nearest(&name).map(|near| format!(", did you mean `{near}`")).unwrap_or_default();
    let known = KEYS.join(", ");
    let message = format!("unknown option `{name}`{hint} (the options are {known})");
    Err(Error::new(key.span(), message))
}

/// The known key that differs from `name` by the fewest letters, if by at most three.
///
/// And by half of its own at most: `sla` is nobody's misspelling of `queue`.
fn nearest(name: &str) -> Option<&'static str> {
    let reach = 3.min(name.len().div_ceil(2));
    KEYS.into_iter()
        .map(|key| (distance(name.as_bytes(), key.as_bytes()), key))
        .filter(|(steps, _)| *steps <= reach)
        .min()
        .map(|(_, key)| key)
}

/// Levenshtein's distance, one row at a time.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
