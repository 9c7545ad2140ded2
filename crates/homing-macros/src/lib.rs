//! The `#[task]` attribute of homing.
//!
//! One attribute and no runtime: [`macro@task`] reads an `async fn`, refuses what could not be
//! stored and run again elsewhere, and writes the call, the kind and the decoding of arguments.
//! `options` reads the attribute, `signature` checks the function, `expand` writes the items.
//! Everything a user can get wrong ends as an error at the token that is wrong, never as a panic
//! and never as a type error inside generated code where the macro could have told first.

mod duration;
mod expand;
mod options;
mod signature;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;

/// Turns a plain `async fn` into a task: calling it makes a typed call to submit or to spawn.
///
/// ```ignore
/// #[task(retries = 5, timeout = "30s")]
/// async fn write_page(page: Page, State(db): State<Db>) -> homing::Result<u64> {
///     Ok(db.upsert(&page.rows).await?)
/// }
///
/// jobs.spawn(write_page(page)).await?;               // a call: stored, then run by some worker
/// write_page::run(page, State(db)).await?;           // the body itself: for tests
/// ```
///
/// The arguments are what is stored: owned serde values, by name. Parameters of type `State<T>`
/// are not stored; the worker supplies them.
///
/// An argument that a later release adds is an `Option`, which is `None` in calls from before it, or has
/// `#[serde(default)]` before its name, as a field has: `#[serde(default)] retries: u32`.
///
/// # Options
///
/// | option | value | without it |
/// |---|---|---|
/// | `kind` | the stored name, 1 to 200 of `A-Z a-z 0-9 _ . : -` | the function's name |
/// | `queue` | a queue's name | the parent's, or the default queue |
/// | `priority` | an integer, `i16` | the parent's, or 0 |
/// | `retries` | an integer, `u32` | homing's default |
/// | `backoff` | `"1s..10m"` grows from the first to the second, `"5s"` is constant | homing's default |
/// | `timeout` | a duration: one stretch, from claim to park or end | none |
/// | `soft_timeout` | a duration: after so much of a stretch the body is told | none |
/// | `deadline` | a duration: the whole task | none |
/// | `expires` | a duration: not started by then, it fails | none |
/// | `max_attempts` | an integer, `u32`, at least 1 | homing's default |
///
/// A duration is written `"500ms"`, `"30s"`, `"5m"`, `"1h 30m"` or `"7d"`.
///
/// # Limits
///
/// At most 12 parameters; no generics, no methods, no borrowed arguments, no `impl Trait`. The
/// function must return a `Result`. A `HashSet` among the arguments is warned of: its order changes
/// from run to run, so a replay would not compare equal.
///
/// Beside the function the attribute declares a type of the same name, so a module of that name
/// can't stand next to it, and a doc link has to say which is meant: `` [`write_page()`] ``.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand_task(attribute.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Reports the mistakes of the attribute and of the function together, to be mended in one go.
fn expand_task(attribute: Tokens, item: Tokens) -> syn::Result<Tokens> {
    let mut mistakes = Mistakes::default();
    let options = mistakes.keep(options::parse(attribute));
    let signature = mistakes.keep(signature::parse(item));
    mistakes.finish()?;
    match (options, signature) {
        (Some(options), Some(task)) => expand::expand(&options, task),
        _ => Ok(Tokens::new()),
    }
}

/// Errors gathered so that one compilation shows all of them.
#[derive(Default)]
struct Mistakes(Option<syn::Error>);

impl Mistakes {
    fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            none => *none = Some(error),
        }
    }

    fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
