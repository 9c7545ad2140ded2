//! Static orchestration: `chain`, `group` and `chord` as calls that can be submitted or spawned.
//!
//! For those who know the work beforehand. They are ordinary tasks of three kinds that every worker
//! has registered, on the same engine: a group is a set and a join, a chord a group and a call, a chain
//! one call after the other. Where the work shows only at run time, write a task: [`ChordSet`] is the
//! chord whose header grows.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{Call, Draft, Start};
use crate::error::{Error, Invalid, JoinError, Misuse, Result};
use crate::join_set::JoinSet;
use crate::task::{Body, Definition, Input, Kind, Options, StateType};

/// A call as it stands in the arguments of a combinator, with all its options.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    kind: String,
    arguments: Value,
    options: Options,
    start: Start,
    place: Option<String>,
}

/// A call that lacks its one argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Next {
    kind: String,
    argument: String,
    options: Options,
}

impl Stored {
    fn of(draft: Draft) -> Result<Self, Invalid> {
        let Draft { kind, arguments, options, start, place, .. } = draft;
        let arguments = serde_json::from_str(&arguments?).map_err(|error| Invalid::NotJson {
            field: format!("the arguments of `{kind}`"),
            reason: error.to_string(),
        })?;
        Ok(Self { kind, arguments, options, start, place })
    }

    fn draft(self) -> Draft {
        let arguments = crate::encode::arguments(&self.arguments);
        let mut draft = Draft::new(&self.kind, arguments, self.options);
        (draft.start, draft.place) = (self.start, self.place);
        draft
    }
}

impl Next {
    fn of<K: Kind>() -> Self {
        // Its function has one argument, so there is a first name.
        let argument = K::arguments().first().copied().unwrap_or_default().to_owned();
        Self { kind: K::NAME.to_owned(), argument, options: K::options().of_a_call() }
    }

    fn draft(&self, value: Value) -> Draft {
        let arguments = Value::Object([(self.argument.clone(), value)].into_iter().collect());
        let text = crate::encode::arguments(&arguments);
        Draft::new(&self.kind, text, self.options.clone())
    }
}

/// A task function of one argument: what `then` and a chord's body take.
pub trait Step<A>: Fn(A) -> Call<Self::Kind> {
    /// Its kind.
    type Kind: Kind;
}

impl<F: Fn(A) -> Call<K>, A, K: Kind> Step<A> for F {
    type Kind = K;
}

macro_rules! combinator {
    ($(#[$doc:meta])* $marker:ident, $name:literal, $body:path) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $marker<T> {
            output: PhantomData<fn() -> T>,
        }

        impl<T: Serialize + DeserializeOwned + Send + 'static> Kind for $marker<T> {
            const NAME: &'static str = $name;
            type Output = T;

            fn options() -> Options {
                Options::default()
            }

            fn states() -> Vec<StateType> {
                Vec::new()
            }

            fn arguments() -> &'static [&'static str] {
                &["plan"]
            }

            fn body(input: Input) -> Body<T> {
                Box::pin(async move {
                    let value = $body(input.argument("plan")?).await?;
                    serde_json::from_value(value).map_err(|error| Error::from(error).fatal())
                })
            }
        }
    };
}

combinator!(
    /// The kind of a [`chain`].
    Chain, "homing.chain", run_chain
);
combinator!(
    /// The kind of a [`group`].
    Group, "homing.group", run_group
);
combinator!(
    /// The kind of a [`chord`].
    Chord, "homing.chord", run_chord
);

/// The kinds every worker has.
pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        Definition::of::<Chain<Value>>(),
        Definition::of::<Group<Value>>(),
        Definition::of::<Chord<Value>>(),
    ]
}

fn call<K: Kind>(plan: Result<Value, Invalid>) -> Call<K> {
    Call::build(&[("plan", plan)])
}

/// One call after the other, each given the value of the one before.
///
/// ```
/// # use homing::{task, chain};
/// # #[task] async fn fetch(page: u32) -> homing::Result<String> { Ok(page.to_string()) }
/// # #[task] async fn parse(text: String) -> homing::Result<u32> { Ok(text.parse()?) }
/// let call = chain(fetch(7)).then(parse).call(); // spawn it, submit it: it brings a u32
/// ```
pub fn chain<K: Kind>(first: Call<K>) -> ChainBuilder<K::Output> {
    let first = Stored::of(first.draft);
    ChainBuilder { first, then: Vec::new(), output: PhantomData }
}

/// A chain to be; see [`chain`].
#[derive(Debug)]
#[must_use = "a chain does nothing until its call is spawned, submitted or detached"]
pub struct ChainBuilder<T> {
    first: Result<Stored, Invalid>,
    then: Vec<Next>,
    output: PhantomData<fn() -> T>,
}

impl<T> ChainBuilder<T> {
    /// Adds a task function that takes the value so far.
    pub fn then<F: Step<T>>(mut self, _: F) -> ChainBuilder<<F::Kind as Kind>::Output> {
        self.then.push(Next::of::<F::Kind>());
        ChainBuilder { first: self.first, then: self.then, output: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> ChainBuilder<T> {
    /// The chain as a call that brings the last value.
    pub fn call(self) -> Call<Chain<T>> {
        call(self.first.map(|first| json!({"first": first, "then": self.then})))
    }
}

async fn run_chain(plan: Value) -> Result<Value> {
    #[derive(Deserialize)]
    struct Plan {
        first: Stored,
        then: Vec<Next>,
    }
    let plan: Plan = serde_json::from_value(plan)?;
    let mut value = spawn_draft(plan.first.draft(), "0").await?;
    for (n, next) in plan.then.iter().enumerate() {
        value = spawn_draft(next.draft(value), &(n + 1).to_string()).await?;
    }
    Ok(value)
}

/// Calls of one kind beside each other; brings their values in the order given.
///
/// The first failure aborts the rest and fails the group.
pub fn group<K: Kind>(calls: impl IntoIterator<Item = Call<K>>) -> Call<Group<Vec<K::Output>>> {
    let header: Result<Vec<_>, _> = calls.into_iter().map(|call| Stored::of(call.draft)).collect();
    call(header.map(|header| json!(header)))
}

async fn run_group(plan: Value) -> Result<Value> {
    let header: Vec<Stored> = serde_json::from_value(plan)?;
    let mut set = JoinSet::<Value>::named("group");
    for stored in header {
        set.spawn_draft(stored.draft()).await?;
    }
    let values: Vec<Value> = set.join_all().await?;
    Ok(Value::Array(values))
}

/// A group, and then a task that is given all its values. An empty header runs the body at once.
pub fn chord<K: Kind, F: Step<Vec<K::Output>>>(
    header: impl IntoIterator<Item = Call<K>>,
    _: F,
) -> Call<Chord<<F::Kind as Kind>::Output>> {
    let header: Result<Vec<_>, _> = header.into_iter().map(|call| Stored::of(call.draft)).collect();
    call(header.map(|header| json!({"header": header, "body": Next::of::<F::Kind>()})))
}

async fn run_chord(plan: Value) -> Result<Value> {
    #[derive(Deserialize)]
    struct Plan {
        header: Value,
        body: Next,
    }
    let plan: Plan = serde_json::from_value(plan)?;
    let values = run_group(plan.header).await?;
    spawn_draft(plan.body.draft(values), "body").await
}

async fn spawn_draft(draft: Draft, place: &str) -> Result<Value> {
    let mut set = JoinSet::<Value>::named(&format!("then {place}"));
    let handle = set.spawn_draft(draft).await?;
    Ok(handle.await?)
}

/// A chord whose header grows while its task runs: add calls as you find them, then run the body with
/// all their values.
///
/// Used in the body of a task. A chord is a join and a call; this is just the two under their old name.
#[derive(Debug)]
pub struct ChordSet<T> {
    header: JoinSet<T>,
}

impl<T: Serialize + DeserializeOwned + Send + 'static> ChordSet<T> {
    /// A chord with an empty header.
    pub fn new() -> Self {
        Self { header: JoinSet::new() }
    }

    /// Adds a call to the header.
    ///
    /// # Errors
    /// As [`JoinSet::spawn`].
    pub async fn add<K: Kind<Output = T>>(&mut self, call: Call<K>) -> Result<(), Misuse> {
        self.header.spawn(call).await.map(drop)
    }

    /// Waits for the header and then for the body that is given its values.
    ///
    /// # Errors
    /// The first failure of the header, which aborts the rest; or the body's.
    pub async fn run<K: Kind>(
        mut self,
        body: impl Fn(Vec<T>) -> Call<K>,
    ) -> Result<K::Output, JoinError> {
        let values = self.header.join_all().await?;
        crate::handle::spawn(body(values)).await?.await
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Default for ChordSet<T> {
    fn default() -> Self {
        Self::new()
    }
}
