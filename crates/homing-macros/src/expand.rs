//! The items that stand for a task: its type, its kind, its body, its call and its partial call.
//!
//! Two namespaces make it work without a module, so also inside a function's body: a struct in
//! braces takes the name as a type only, a function takes it as a value only, and `run` hangs on
//! the type. Names that a user could also have chosen carry the macro's own hygiene.
//! Spans point at the user's types, so that a missing `Deserialize` is shown where the type
//! stands, but in the macro's context, so that no lint takes generated code for theirs.

use proc_macro2::{Delimiter, Group, Span, TokenStream as Tokens};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{AttrStyle, Attribute, Error, Ident, LitStr, Result, Visibility, parse_quote};

use crate::options::{KIND_FORM, Options, is_kind};
use crate::signature::{Parameter, Task};

/// The user's attributes, by the items on which they make sense.
#[derive(Default)]
struct Attributes {
    docs: Vec<Attribute>,
    /// `cfg` and `allow`: on every item.
    shared: Vec<Attribute>,
    /// `deprecated`: on the call, which is what others name.
    call: Vec<Attribute>,
    /// All others, above all `expect`, which on a second item would go unfulfilled.
    run: Vec<Attribute>,
}

impl Attributes {
    fn sort(given: Vec<Attribute>) -> Self {
        let mut sorted = Self::default();
        for mut attribute in given {
            attribute.style = AttrStyle::Outer;
            let path = attribute.path();
            let place = if path.is_ident("doc") {
                &mut sorted.docs
            } else if path.is_ident("cfg") || path.is_ident("allow") {
                &mut sorted.shared
            } else if path.is_ident("deprecated") {
                &mut sorted.call
            } else {
                &mut sorted.run
            };
            place.push(attribute);
        }
        sorted
    }

    /// The user's docs, or one sentence where there are none, for `missing_docs` to be content.
    fn docs_or(&self, sentence: &str) -> Tokens {
        match self.docs.as_slice() {
            [] => quote!(#[doc = #sentence]),
            docs => quote!(#(#docs)*),
        }
    }
}

/// What the generators below share.
struct Expansion<'a> {
    name: Ident,
    visibility: Visibility,
    attributes: Attributes,
    parameters: &'a [Parameter],
}

/// Writes the items; the only mistake left to find is a name that can't be a kind.
pub(crate) fn expand(options: &Options, mut task: Task) -> Result<Tokens> {
    let name = task.function.sig.ident.clone();
    let kind = kind(options, &name)?;
    let expansion = Expansion {
        visibility: task.function.vis.clone(),
        attributes: Attributes::sort(std::mem::take(&mut task.function.attrs)),
        parameters: &task.parameters,
        name,
    };
    let items = [
        expansion.declared_type(),
        expansion.run(&task),
        expansion.kind(&kind, options, &task),
        expansion.call(&task),
        expansion.partial(),
        expansion.warnings(),
    ];
    Ok(items.into_iter().collect())
}

fn kind(options: &Options, name: &Ident) -> Result<String> {
    let own = name.unraw().to_string();
    match &options.kind {
        Some(kind) => Ok(kind.clone()),
        None if is_kind(&own) => Ok(own),
        None => {
            let message =
                format!("this name can't be stored as a kind, add `kind = \"..\"` of {KIND_FORM}");
            Err(Error::new(name.span(), message))
        }
    }
}

impl Expansion<'_> {
    fn declared_type(&self) -> Tokens {
        let Self { name, visibility, attributes, .. } = self;
        let docs = attributes.docs_or(&format!("The task `{}`.", name.unraw()));
        let shared = &attributes.shared;
        quote! {
            #(#shared)*
            #docs
            #[allow(non_camel_case_types, reason = "a task's type carries its function's name")]
            #[allow(dead_code, reason = "the type is a name, an unused task is told of at its call")]
            #[derive(Debug, Clone, Copy)]
            #visibility struct #name {}
        }
    }

    fn run(&self, task: &Task) -> Tokens {
        let Self { name, attributes: Attributes { docs, shared, run, .. }, .. } = self;
        let mut function = task.function.clone();
        function.sig.ident = Ident::new("run", name.span());
        function.attrs = parse_quote! {
            /// Runs the body itself, without a store: for tests.
            ///
            #(#docs)*
            #(#shared)*
            #[allow(
                clippy::implicit_hasher,
                clippy::missing_errors_doc,
                clippy::needless_pass_by_value,
                clippy::unused_async,
                reason = "a task is async, owns its arguments and can fail, whatever its body does"
            )]
            #(#run)*
        };
        quote! {
            #(#shared)*
            impl #name { #function }
        }
    }

    fn kind(&self, kind: &str, options: &Options, task: &Task) -> Tokens {
        let Self { name, attributes: Attributes { shared, .. }, .. } = self;
        let returned = &task.returned;
        let output = quote_spanned! {placed(returned)=>
            <#returned as ::homing::task::Returned>::Value
        };
        let states = self.states();
        let arguments = self.arguments().map(|(name, ty, default)| {
            let stored = stored_name(name);
            let optional = default.then(|| quote!(.optional()));
            quote_spanned!(placed(ty)=> ::homing::task::Parameter::of::<#ty>(#stored)#optional)
        });
        let (input, body) = self.body(returned);
        quote! {
            #(#shared)*
            impl ::homing::task::Kind for #name {
                const NAME: &'static str = #kind;
                type Output = #output;
                #[allow(clippy::needless_update, reason = "an option may be added to homing")]
                fn options() -> ::homing::task::Options { #options }
                fn states() -> ::std::vec::Vec<::homing::task::StateType> { #states }
                fn arguments() -> ::std::vec::Vec<::homing::task::Parameter> {
                    ::std::vec![#(#arguments),*]
                }
                fn body(#input: ::homing::task::Input) -> ::homing::task::Body<Self::Output> {
                    ::std::boxed::Box::pin(async move { #body })
                }
            }
        }
    }

    fn states(&self) -> Tokens {
        let states: Vec<Tokens> = self
            .parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::State { ty, .. } => Some(ty),
                Parameter::Argument { .. } => None,
            })
            .map(|ty| quote_spanned!(placed(ty)=> ::homing::task::StateType::of::<#ty>()))
            .collect();
        if states.is_empty() {
            quote!(::std::vec::Vec::new())
        } else {
            quote!(::std::vec![#(#states),*])
        }
    }

    /// Decodes every parameter and runs the body; the name of the input goes with it.
    fn body(&self, returned: &syn::Type) -> (Tokens, Tokens) {
        let input = Ident::new("input", Span::mixed_site());
        let mut locals = Vec::new();
        let mut decoded = Vec::new();
        for (place, parameter) in self.parameters.iter().enumerate() {
            let local = format_ident!("parameter{place}", span = Span::mixed_site());
            decoded.push(match parameter {
                Parameter::Argument { name, ty, default, .. } => {
                    let stored = stored_name(name);
                    let decode =
                        if *default { quote!(argument_or_default) } else { quote!(argument) };
                    quote_spanned!(placed(ty)=> let #local: #ty = #input.#decode(#stored)?;)
                }
                Parameter::State { declared, ty } => {
                    quote_spanned!(placed(ty)=> let #local: #declared = #input.state::<#ty>()?;)
                }
            });
            locals.push(local);
        }
        let named = if locals.is_empty() { quote!(_) } else { quote!(#input) };
        // Dropped before the body runs: a parked body would keep its arguments twice.
        let forget = if locals.is_empty() { quote!() } else { quote!(::core::mem::drop(#input);) };
        let result = quote_spanned! {placed(returned)=>
            #forget
            ::homing::task::Returned::into_result(Self::run(#(#locals),*).await)
        };
        (named, quote!(#(#decoded)* #result))
    }

    /// Keeps the spans of the user's own `fn` and braces, for the compiler to tell of a task that
    /// nobody calls: it says nothing of a function whose span begins or ends in a macro.
    fn call(&self, task: &Task) -> Tokens {
        let fn_token = task.function.sig.fn_token;
        let Self { name, visibility, attributes, .. } = self;
        let Attributes { shared, call, .. } = attributes;
        let docs = attributes
            .docs_or(&format!("A call of the task `{}`, to submit or to spawn.", name.unraw()));
        let parameters = self.arguments().map(|(name, ty, _)| quote!(#name: #ty));
        let encoded = self.arguments().map(|(name, ty, _)| {
            let stored = stored_name(name);
            quote_spanned!(placed(ty)=> (#stored, ::homing::task::encode(#name)))
        });
        let mut body =
            Group::new(Delimiter::Brace, quote!(::homing::Call::build(&[#(#encoded),*])));
        body.set_span(task.function.block.span());
        quote! {
            #(#shared)*
            #docs
            #[allow(
                clippy::implicit_hasher,
                clippy::needless_pass_by_value,
                clippy::too_many_arguments,
                clippy::used_underscore_binding,
                reason = "a call takes what the task takes"
            )]
            #(#call)*
            #visibility #fn_token #name(#(#parameters),*) -> ::homing::Call<#name> #body
        }
    }

    /// The call without its first argument; nothing for a task that takes none.
    fn partial(&self) -> Tokens {
        let Self { name, visibility, attributes: Attributes { shared, call, .. }, .. } = self;
        let mut arguments = self.arguments();
        let Some((first, first_type, _)) = arguments.next() else { return Tokens::new() };
        let rest: Vec<_> = arguments.collect();
        let docs = format!(
            "A call of the task `{}` that still lacks its first argument, `{}`, which the task before \
             it brings: what follows in a chain, for instance. Takes the other arguments.",
            name.unraw(),
            first.unraw()
        );
        let parameters = rest.iter().map(|(name, ty, _)| quote!(#name: #ty));
        let encoded = rest.iter().map(|(name, ty, _)| {
            let stored = stored_name(name);
            quote_spanned!(placed(ty)=> (#stored, ::homing::task::encode(#name)))
        });
        let stored = stored_name(first);
        quote! {
            #(#shared)*
            impl #name {
                #[doc = #docs]
                #[allow(dead_code, reason = "not every task follows another")]
                #[allow(
                    clippy::implicit_hasher,
                    clippy::needless_pass_by_value,
                    clippy::too_many_arguments,
                    clippy::used_underscore_binding,
                    reason = "a call takes what the task takes"
                )]
                #(#call)*
                #visibility fn with(#(#parameters),*) -> ::homing::Partial<#first_type, #name> {
                    ::homing::Call::lacking(#stored, &[#(#encoded),*])
                }
            }
        }
    }

    /// A procedural macro on stable Rust can't warn, but the use of a deprecated item does.
    fn warnings(&self) -> Tokens {
        let shared = &self.attributes.shared;
        let spans = self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Argument { unordered, .. } => *unordered,
            Parameter::State { .. } => None,
        });
        spans
            .map(|span| {
                let used = Ident::new("HASH_SET_AS_ARGUMENT", span);
                quote! {
                    #(#shared)*
                    const _: () = {
                        #[deprecated(note = "the order of a HashSet changes from run to run, so a \
                            replay would not compare equal: take a BTreeSet or a Vec")]
                        const #used: () = ();
                        #used
                    };
                }
            })
            .collect()
    }

    fn arguments(&self) -> impl Iterator<Item = (&Ident, &syn::Type, bool)> {
        self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Argument { name, ty, default, .. } => Some((name, ty, *default)),
            Parameter::State { .. } => None,
        })
    }
}

/// The key of an argument in the stored object: its name, without the mark of a raw identifier.
fn stored_name(name: &Ident) -> LitStr {
    LitStr::new(&name.unraw().to_string(), name.span())
}

/// Where the user wrote `tokens`, but resolved as the macro's own code.
fn placed(tokens: &impl Spanned) -> Span {
    tokens.span().resolved_at(Span::mixed_site())
}
