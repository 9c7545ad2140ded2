//! The options as tokens of `homing::task::Options`.
//!
//! Only what was given is written, over `..Options::default()`: what a kind leaves open is
//! homing's to choose, at run time and not when the user's crate was compiled. Durations are
//! written as numbers, because a constant must not have to be parsed again by a worker.

use std::time::Duration;

use proc_macro2::{Span, TokenStream as Tokens};
use quote::{ToTokens, quote};
use syn::Ident;

use super::Options;

impl ToTokens for Options {
    fn to_tokens(&self, tokens: &mut Tokens) {
        let queue = self.queue.as_ref().map(|name| quote!(::std::string::String::from(#name)));
        let backoff = self.backoff.map(|(first, last)| {
            let (first, last) = (duration(first), duration(last));
            quote!(::homing::task::Backoff::exponential(#first, #last))
        });
        let fields = [
            field("queue", queue),
            field("priority", self.priority),
            field("retries", self.retries),
            field("backoff", backoff),
            field("timeout", self.timeout.map(duration)),
            field("soft_timeout", self.soft_timeout.map(duration)),
            field("deadline", self.deadline.map(duration)),
            field("expires", self.expires.map(duration)),
            field("max_attempts", self.max_attempts),
        ];
        let given: Vec<Tokens> = fields.into_iter().flatten().collect();
        let defaults = quote!(::homing::task::Options::default());
        tokens.extend(match given.as_slice() {
            [] => defaults,
            given => quote!(::homing::task::Options { #(#given,)* ..#defaults }),
        });
    }
}

fn field(name: &str, value: Option<impl ToTokens>) -> Option<Tokens> {
    let name = Ident::new(name, Span::call_site());
    value.map(|value| quote!(#name: ::std::option::Option::Some(#value)))
}

fn duration(duration: Duration) -> Tokens {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::std::time::Duration::new(#seconds, #nanos))
}
