//! Values of a wrong type: refused where the type is known, and never the end of a job elsewhere.

use serde_json::json;

use super::Lab;
use crate::error::{Invalid, JoinError, SubmitError};
use crate::testing::Probe;
use crate::{Because, Result, RetryError, Signalled, State, TaskState, task};

fn mismatch(refused: &SubmitError) -> String {
    assert!(matches!(refused, SubmitError::Invalid(Invalid::Mismatch { .. })), "{refused:?}");
    refused.to_string()
}

#[task]
async fn approved() -> Result<bool> {
    Ok(crate::signal("approve").await?)
}

#[task]
async fn either() -> Result<u64> {
    crate::select! {
        number = crate::signal::<u64>("value") => Ok(number?),
        text = crate::signal::<String>("text") => Ok(text?.len() as u64),
    }
}

/// While a task is parked for a signal, a value that cannot be meant is refused, and a name that nobody waits
/// for is told.
pub async fn signals_of_another_type_are_refused(lab: Lab) {
    let worker = lab.worker().register(approved).register(either).start().await.unwrap();
    let job = lab.homing.submit(approved()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let refused = job.signal("approve", "yes").await.unwrap_err();
    let text = r#"the value of the signal `approve` is refused: expected boolean, got "yes""#;
    assert_eq!(mismatch(&refused), text);
    let why = lab.homing.why(job.id()).await.unwrap();
    let takes = why.because.iter().find_map(|because| match because {
        Because::Signal { takes, .. } => takes.clone(),
        _ => None,
    });
    assert_eq!(takes.as_deref(), Some("boolean"));
    let kept = job.signal("aprove", &true).await.unwrap();
    assert_eq!(kept, Signalled::Kept { waits_for: vec!["approve".to_owned()] });
    assert_eq!(job.signal("approve", &true).await.unwrap(), Signalled::Awaited);
    assert!(job.outcome().await.unwrap());
    assert_eq!(job.signal("approve", &true).await.unwrap(), Signalled::Ended);

    let job = lab.homing.submit(either()).await.unwrap();
    lab.reaches(job.id(), TaskState::Waiting).await;
    let refused = job.signal("value", &-1).await.unwrap_err();
    assert!(mismatch(&refused).ends_with("expected at least 0, got -1"), "{refused}");
    assert_eq!(job.signal("text", "four").await.unwrap(), Signalled::Awaited);
    assert_eq!(job.outcome().await.unwrap(), 4);
    lab.close([worker]).await;
}

#[task]
async fn patient(State(probe): State<Probe>) -> Result<(Vec<String>, bool)> {
    let mut wrong = Vec::new();
    loop {
        match crate::signal::<bool>("approve").await {
            Ok(approved) => return Ok((wrong, approved)),
            Err(JoinError::Signal { name, reason, .. }) => {
                probe.hit("wrong");
                wrong.push(format!("{name}: {reason}"));
            }
            Err(other) => return Err(other.into()),
        }
    }
}

/// Sent before the wait, a value of another type is an error of that wait, and the next value counts.
pub async fn a_bad_signal_is_an_error_of_its_wait(lab: Lab) {
    lab.homing.pause("default").await.unwrap();
    let job = lab.homing.submit(patient()).await.unwrap();
    for value in [json!("yes"), json!(1)] {
        let sent = job.signal("approve", &value).await.unwrap();
        assert_eq!(sent, Signalled::Kept { waits_for: Vec::new() });
    }
    let worker = lab.worker().register(patient).start().await.unwrap();
    lab.homing.unpause("default").await.unwrap();
    lab.probe.hits("wrong", 2).await;
    lab.reaches(job.id(), TaskState::Waiting).await;
    job.signal("approve", &false).await.unwrap();
    let (wrong, approved) = job.outcome().await.unwrap();
    let said = ["string \"yes\"", "integer `1`"]
        .map(|got| format!("approve: invalid type: {got}, expected a boolean"));
    assert!(wrong.iter().zip(&said).all(|(wrong, said)| wrong.starts_with(said)), "{wrong:?}");
    assert_eq!((wrong.len(), approved), (2, false));
    lab.close([worker]).await;
}

#[task]
async fn trusting(State(probe): State<Probe>) -> Result<(bool, String)> {
    crate::step("first", || async {
        probe.hit("first");
        Ok::<_, crate::Error>(())
    })
    .await?;
    let note: String = crate::signal("note").await?;
    let approved = crate::signal("approve").await?;
    Ok((approved, note))
}

/// A body that fails by a bad signal waits there again after the job's retry: the value is not sent again, what
/// was recorded before stays.
pub async fn job_retry_forgets_a_bad_signal(lab: Lab) {
    lab.homing.pause("default").await.unwrap();
    let job = lab.homing.submit(trusting()).await.unwrap();
    job.signal("note", "fine").await.unwrap();
    job.signal("approve", "yes").await.unwrap();
    let worker = lab.worker().register(trusting).start().await.unwrap();
    lab.homing.unpause("default").await.unwrap();
    let failure = job.outcome().await.unwrap_err().failure().cloned().unwrap();
    let text = "the signal `approve` brought no value of the type that the body waits for";
    assert!(failure.message.starts_with(text), "{failure}");
    let retried = job.retry().await.unwrap();
    assert_eq!((retried.reopened, retried.removed), (1, 0), "{retried:?}");
    lab.reaches(job.id(), TaskState::Waiting).await;
    assert!(matches!(job.retry().await, Err(RetryError::Open { .. })));
    job.signal("approve", "yes").await.unwrap_err();
    job.signal("approve", &true).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), (true, "fine".to_owned()));
    assert_eq!(lab.probe.count("first"), 1);
    lab.close([worker]).await;
}

#[task]
async fn ordered(
    page: u8,
    tags: Vec<String>,
    note: Option<String>,
    #[serde(default)] rate: u64,
) -> Result<usize> {
    Ok(usize::from(page) + tags.len() + note.map_or(0, |note| note.len()) + rate as usize)
}

/// By name, an argument that is missing or of another type is refused, unless it is forced.
pub async fn g13_named_arguments_have_types(lab: Lab) {
    let worker = lab.worker().register(ordered).start().await.unwrap();
    let submit = |arguments| lab.homing.submit_named("ordered", &arguments);
    for (arguments, said) in [
        (
            json!({"page": 1}),
            "the argument `tags` of `ordered` is refused: it is missing, and takes array of string",
        ),
        (
            json!({"page": 256, "tags": []}),
            "the argument `page` of `ordered` is refused: expected at most 255, got 256",
        ),
        (
            json!({"page": "1", "tags": []}),
            "the argument `page` of `ordered` is refused: expected integer, got \"1\"",
        ),
        (
            json!({"page": 1, "tags": [true]}),
            "the argument `tags` of `ordered` is refused: at index 0: expected string, got true",
        ),
        (
            json!({"page": 1, "tags": [], "note": 2}),
            "the argument `note` of `ordered` is refused: expected string or null, got 2",
        ),
        (
            json!({"page": 1, "tags": [], "rate": null}),
            "the argument `rate` of `ordered` is refused: expected integer, got null",
        ),
    ] {
        assert_eq!(mismatch(&submit(arguments).await.unwrap_err()), said);
    }
    assert_eq!(lab.homing.jobs(crate::JobFilter::default()).await.unwrap(), []);
    let job = submit(json!({"page": 1, "tags": ["a"], "note": "two"})).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), json!(5));
    let job = submit(json!({"page": 1, "tags": []})).await.unwrap();
    assert_eq!(job.outcome().await.unwrap(), json!(1));
    submit(json!({"page": 1})).force().await.unwrap().cancel().await.unwrap();
    lab.close([worker]).await;
}
