//! Which functions can be tasks, and what their parameters are.
//!
//! A task is stored as a name and a JSON object and run later in another process, so it can keep
//! nothing of the place that called it: no type parameters, no receiver, no borrow. Each refusal
//! stands at the token that has to change and says what to write instead. The function itself
//! leaves this module unchanged; it becomes `run`.

use proc_macro2::{Span, TokenStream as Tokens};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Error, FnArg, GenericArgument, Ident, Item, ItemFn, Lifetime, Pat, PatType, PathArguments,
    PathSegment, Result, ReturnType, Signature, Type, TypeImplTrait, TypeReference,
};

use crate::Mistakes;

/// As many as a person reads in one line; beyond it a struct tells more.
const MOST_PARAMETERS: usize = 12;

/// A function that has passed every check.
pub(crate) struct Task {
    pub(crate) function: ItemFn,
    /// The declared `Result<..>`.
    pub(crate) returned: Type,
    /// In the order of declaration, which is the order `run` takes them in.
    pub(crate) parameters: Vec<Parameter>,
}

/// Where a parameter's value comes from.
pub(crate) enum Parameter {
    /// From the call: stored by name.
    Argument { name: Ident, ty: Type, unordered: Option<Span>, default: bool },
    /// From the worker: `ty` is the `T` of `State<T>`.
    State { declared: Type, ty: Type },
}

/// Reads the item under the attribute; all mistakes of it come as one combined error.
pub(crate) fn parse(item: Tokens) -> Result<Task> {
    let mut function = match syn::parse2(item)? {
        Item::Fn(function) => function,
        other => return Err(Error::new(other.span(), "`#[task]` goes on a plain `async fn`")),
    };
    let signature = &function.sig;
    let mut mistakes = Mistakes::default();
    mistakes.keep(check_kind_of_function(signature));
    mistakes.keep(check_generics(signature));
    let returned = mistakes.keep(returned(signature));
    let mut parameters = Vec::new();
    for input in &signature.inputs {
        parameters.extend(mistakes.keep(parameter(input)));
    }
    if let Some(one_more) = signature.inputs.iter().nth(MOST_PARAMETERS) {
        let message = format!(
            "a task takes at most {MOST_PARAMETERS} parameters, gather arguments in a struct"
        );
        mistakes.add(Error::new(one_more.span(), message));
    }
    mistakes.finish()?;
    // Without a mistake there is a return type; the error is never seen.
    let returned = returned.ok_or_else(|| Error::new(signature.span(), NO_RESULT))?;
    for input in &mut function.sig.inputs {
        // `#[serde(default)]` has been read, and would mean nothing to the compiler.
        if let FnArg::Typed(typed) = input {
            typed.attrs.clear();
        }
    }
    Ok(Task { function, returned, parameters })
}

const NO_RESULT: &str = "a task returns a `Result`, write `-> homing::Result<T>`";

fn check_kind_of_function(signature: &Signature) -> Result<()> {
    let Signature { constness, asyncness, unsafety, abi, fn_token, variadic, .. } = signature;
    let mut mistakes = Mistakes::default();
    let mut refuse = |token: &dyn ToTokens, message: &str| {
        mistakes.add(Error::new_spanned(token.to_token_stream(), message));
    };
    if asyncness.is_none() {
        refuse(fn_token, "a task is an `async fn`, write `async` before `fn`");
    }
    if let Some(token) = constness {
        refuse(token, "a task can't be `const`, it runs in a worker");
    }
    if let Some(token) = unsafety {
        refuse(token, "a task can't be `unsafe`, nobody is there to uphold its conditions");
    }
    if let Some(token) = abi {
        refuse(token, "a task can't be `extern`, write a plain `async fn` that calls it");
    }
    if let Some(token) = variadic {
        refuse(token, "a task can't be variadic, take a `Vec`");
    }
    mistakes.finish()
}

fn check_generics(signature: &Signature) -> Result<()> {
    let generics = &signature.generics;
    if let Some(lifetime) = generics.lifetimes().next() {
        let message = "a task owns its arguments, write types without lifetimes";
        return Err(Error::new_spanned(lifetime, message));
    }
    if !generics.params.is_empty() {
        let message = "a task can't be generic, its arguments are stored and decoded by a worker \
                       that knows only the kind: write one task for each type";
        return Err(Error::new_spanned(&generics.params, message));
    }
    match &generics.where_clause {
        Some(clause) => Err(Error::new_spanned(
            clause,
            "a task has no type parameters to bound, leave this out",
        )),
        None => Ok(()),
    }
}

fn returned(signature: &Signature) -> Result<Type> {
    match &signature.output {
        ReturnType::Type(_, ty) if is_result(ty) => Ok(ty.as_ref().clone()),
        ReturnType::Type(_, ty) => Err(Error::new_spanned(ty, NO_RESULT)),
        ReturnType::Default => Err(Error::new(signature.paren_token.span.close(), NO_RESULT)),
    }
}

/// Any `..Result`: `io::Result` and a crate's own alias are as good as homing's.
fn is_result(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident.to_string().ends_with("Result"))
}

fn parameter(input: &FnArg) -> Result<Parameter> {
    let PatType { attrs, pat, ty, .. } = match input {
        FnArg::Typed(typed) => typed,
        FnArg::Receiver(receiver) => {
            let message = "a task can't be a method, write a free `async fn` and take what it \
                           needs as an argument or as `State(..): State<T>`";
            return Err(Error::new_spanned(receiver, message));
        }
    };
    let is_default = |attribute: &&syn::Attribute| {
        attribute.path().is_ident("serde")
            && attribute.parse_args::<Ident>().is_ok_and(|argument| argument == "default")
    };
    let state = state_type(ty);
    if let Some(attribute) = attrs.iter().find(|one| state.is_some() || !is_default(one)) {
        let message = "a task's parameters take no attributes, put it on the function; only an argument \
                       may have `#[serde(default)]`, for calls from before it was there";
        return Err(Error::new_spanned(attribute, message));
    }
    if let Some(state) = state {
        return Ok(Parameter::State { declared: ty.as_ref().clone(), ty: state.clone() });
    }
    let mut mistakes = Mistakes::default();
    let name = mistakes.keep(argument_name(pat));
    let mut found = Findings::default();
    found.visit_type(ty);
    if let Some(error) = found.mistake {
        mistakes.add(error);
    }
    mistakes.finish()?;
    let name = name.ok_or_else(|| Error::new(pat.span(), PLAIN_NAME))?;
    Ok(Parameter::Argument {
        name,
        ty: ty.as_ref().clone(),
        unordered: found.unordered,
        default: !attrs.is_empty(),
    })
}

const PLAIN_NAME: &str = "an argument is stored under its name, write a plain name here and \
                          take the value apart in the body";

fn argument_name(pat: &Pat) -> Result<Ident> {
    match pat {
        Pat::Ident(plain) if plain.by_ref.is_none() && plain.subpat.is_none() => {
            Ok(plain.ident.clone())
        }
        Pat::TupleStruct(pat) if pat.path.segments.last().is_some_and(|s| s.ident == "State") => {
            let message = "a parameter `State(..)` has the type `State<T>`";
            Err(Error::new_spanned(pat, message))
        }
        other => Err(Error::new_spanned(other, PLAIN_NAME)),
    }
}

/// The `T` of a type written `State<T>`, by whatever path.
fn state_type(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "State")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(state)) if arguments.args.len() == 1 => Some(state),
        _ => None,
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// What an argument's type says anywhere within: the first thing that can't be stored, and the
/// last path that leads to a hash set.
#[derive(Default)]
struct Findings {
    mistake: Option<Error>,
    unordered: Option<Span>,
}

impl Findings {
    /// Keeps the first, outermost mistake: what is inside a borrow changes with it.
    fn refuse(&mut self, at: &dyn ToTokens, message: &str) {
        self.mistake.get_or_insert_with(|| Error::new_spanned(at.to_token_stream(), message));
    }
}

impl<'ast> Visit<'ast> for Findings {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let owned = owned(&reference.elem);
        let message = format!("a task owns its arguments, write {owned} instead of a borrow");
        self.refuse(reference, &message);
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        let message = "an argument needs one type that a worker can decode, \
                       name it instead of `impl Trait`";
        self.refuse(ty, message);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.refuse(lifetime, "a task owns its arguments, write a type without a lifetime");
        }
    }

    /// A `HashMap` needs no warning: canonical JSON sorts the keys of every object, so the same
    /// map is the same bytes. A set becomes an array, whose order nobody may change.
    fn visit_path_segment(&mut self, segment: &'ast PathSegment) {
        if segment.ident.to_string().ends_with("HashSet") {
            self.unordered = Some(segment.ident.span());
        }
        visit::visit_path_segment(self, segment);
    }
}

/// How the owned form of a borrowed type is written, for messages.
fn owned(borrowed: &Type) -> String {
    match borrowed {
        Type::Slice(slice) => format!("`Vec<{}>`", spelled(&slice.elem)),
        Type::Group(group) => owned(&group.elem),
        Type::TraitObject(_) => "a type with a name".to_owned(),
        other => {
            let name = spelled(other);
            match name.rsplit("::").next() {
                Some("str") => "`String`".to_owned(),
                Some("Path") => format!("`{name}Buf`"),
                Some("OsStr") => format!("`{name}ing`"),
                _ => format!("`{name}`"),
            }
        }
    }
}

/// A type as a person writes it; tokens alone would be printed as `Vec < u8 >`.
fn spelled(ty: &Type) -> String {
    let spaced = ty.to_token_stream().to_string();
    spaced.replace(" :: ", "::").replace(" < ", "<").replace(" >", ">").replace(" ,", ",")
}
