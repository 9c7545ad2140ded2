//! What other people's code says and does: it may fail, panic or never come to an end.
//!
//! An error's `Display` and `source`, a panic's payload and a value's destructor are the user's. The worker
//! calls them where no `catch_unwind` of the body stands around it, so it calls them through here: nothing
//! in this file panics, and nothing loops for ever.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest chain of sources followed.
const CHAIN: usize = 128;

/// What something says of itself, or what became of the attempt to say it.
pub(crate) fn shown(what: &dyn fmt::Display) -> String {
    let mut text = String::new();
    let written = catch_unwind(AssertUnwindSafe(|| write!(text, "{what}")));
    let trouble = match written {
        Ok(Ok(())) => return text,
        Ok(Err(fmt::Error)) => "its `Display` returned an error".to_owned(),
        Err(panic) => format!("its `Display` panicked: {}", panic_text(panic)),
    };
    if text.is_empty() {
        format!("an error without a message: {trouble}")
    } else {
        format!("{text} … ({trouble})")
    }
}

type Source<'a> = &'a (dyn StdError + 'static);

/// An error and its sources, outermost first. It ends where it goes round, the first link perhaps told twice
/// by then, and at a `source` that panics.
pub(crate) fn chain<'a>(error: Source<'a>) -> impl Iterator<Item = Source<'a>> + use<'a> {
    let mut before: Vec<Source<'a>> = Vec::new();
    std::iter::successors(Some(error), move |last: &Source<'a>| -> Option<Source<'a>> {
        let last: Source<'a> = *last;
        before.push(last);
        let next: Option<Source<'a>> = catch_unwind(AssertUnwindSafe(|| last.source()))
            .unwrap_or_else(|panic| {
                discard(panic);
                None
            });
        let next: Source<'a> = next?;
        let again = before.iter().any(|earlier| same(*earlier, next));
        (!again && before.len() < CHAIN).then_some(next)
    })
}

/// Whether two are one: of one address and one type. An error may begin with its source, so the address is not
/// enough; a type may have two tables of methods, so that one is taken for another, but not twice.
fn same(one: Source<'_>, other: Source<'_>) -> bool {
    std::ptr::eq(one, other)
}

/// What a panic says.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    discard(panic);
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Drops a value; a panic of its destructor is reported, not passed on.
pub(crate) fn discard<T>(value: T) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) else { return };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    // The panic's own payload may panic as well when it is dropped.
    std::mem::forget(panic);
    tracing::error!(panic = text, "a value panicked while it was dropped");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Odd(&'static str, Option<Box<Odd>>);

    impl fmt::Display for Odd {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)?;
            match self.0 {
                "" | "half" => Err(fmt::Error),
                "panics" => panic!("no"),
                _ => Ok(()),
            }
        }
    }

    impl StdError for Odd {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            match self.0 {
                "round" => Some(self),
                "no source" => panic!("none"),
                _ => self.1.as_ref().map(|below| &**below as &dyn StdError),
            }
        }
    }

    #[test]
    fn whatever_an_error_does_is_told() {
        let texts = ["plain", "", "half", "panics"].map(|text| shown(&Odd(text, None)));
        let expected = [
            "plain",
            "an error without a message: its `Display` returned an error",
            "half … (its `Display` returned an error)",
            "panics … (its `Display` panicked: no)",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn every_chain_ends() {
        let length = |odd: &Odd| chain(odd).count();
        assert!(length(&Odd("round", None)) <= 2);
        assert_eq!(length(&Odd("no source", None)), 1);
        let deep =
            |levels| (1..levels).fold(Odd("x", None), |odd, _| Odd("x", Some(Box::new(odd))));
        assert_eq!((length(&deep(20)), length(&deep(1000))), (20, CHAIN));
        assert!(length(&Odd("x", Some(Box::new(Odd("round", None))))) <= 3);
    }

    #[test]
    fn a_destructor_that_panics_harms_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Self);
            }
        }
        discard(Bomb);
        let panic = catch_unwind(|| std::panic::panic_any(Bomb)).unwrap_err();
        assert_eq!(panic_text(panic), "a panic without a message");
    }
}
