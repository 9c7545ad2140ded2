//! From the command line to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::args::{Args, Command};
use crate::output::{Output, say};
use crate::{App, Context, Error, Exit, Result, commands, style, top, watch, words};

/// Runs an app with the arguments of this process, and returns its exit code: see [`Exit`].
///
/// Data goes to standard output, messages to standard error.
pub async fn run(app: App) -> ExitCode {
    run_with(app, std::env::args_os()).await
}

/// As [`run`], with arguments of one's own; the first is the name of the program.
pub async fn run_with<A: Into<OsString>>(
    app: App,
    arguments: impl IntoIterator<Item = A>,
) -> ExitCode {
    parse(app, arguments.into_iter().map(Into::into).collect()).await.into()
}

async fn parse(mut app: App, arguments: Vec<OsString>) -> Exit {
    let parsed = command(&app).try_get_matches_from(arguments);
    let args = match parsed.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => {
            // With the output gone there is nobody left to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    match dispatch(&mut app, args).await {
        Ok(exit) => exit,
        Err(error) if error.is_broken_pipe() => Exit::Done,
        Err(error) => {
            tell(&error);
            error.exit()
        }
    }
}

/// The command line of an app.
pub(crate) fn command(app: &App) -> clap::Command {
    let mut command = Args::command().name(app.name).version(app.version);
    if let Some(about) = app.about {
        command = command.about(about);
    }
    if app.worker.is_none() {
        command = command.mut_subcommand("worker", |worker| worker.hide(true));
        command = command.mut_subcommand("verify", |verify| verify.hide(true));
    }
    command
}

async fn dispatch(app: &mut App, args: Args) -> Result<Exit> {
    let out = Output::new(args.color.into());
    let given = args.store.filter(|url| !url.is_empty());
    let (json, url) = (args.json, given.or_else(|| app.store.clone()));
    let url = || url.ok_or(Error::NoStore);
    let exit = match args.command {
        Command::Completions(args) => commands::documents::completions(command(app), &out, &args)?,
        Command::Man(args) => commands::documents::man(command(app), &out, &args)?,
        Command::Worker(args) => commands::worker::run(app, &url()?, args).await?,
        Command::Verify(args) => {
            let url = url()?;
            let build = commands::worker::builder(app)?;
            let homing = commands::store::open(&url).await?;
            let cx = Context { homing, url, json, out };
            let exit = commands::verify::run(&cx, build, &args).await?;
            cx.out.flush()?;
            return Ok(exit);
        }
        #[cfg(feature = "web")]
        Command::Serve(args) => {
            let url = url()?;
            let homing = commands::store::open(&url).await?;
            return commands::serve::run(Context { homing, url, json, out }, args).await;
        }
        #[cfg(feature = "celery")]
        Command::Celery(args) => commands::celery::run(json, &out, args.command).await?,
        Command::Store(args) => commands::store::run(&url()?, json, &out, args.command).await?,
        other => {
            let url = url()?;
            let homing = commands::store::open(&url).await?.acting(&words::oneself());
            let cx = Context { homing, url, json, out };
            let exit = on_store(&cx, other).await?;
            cx.out.flush()?;
            return Ok(exit);
        }
    };
    out.flush()?;
    Ok(exit)
}

async fn on_store(cx: &Context, command: Command) -> Result<Exit> {
    match command {
        Command::Jobs(args) => commands::jobs::run(cx, args).await,
        Command::Job(args) => commands::job::run(cx, &args).await,
        Command::Why(args) => commands::why::run(cx, &args).await,
        Command::Record(args) => commands::record::run(cx, &args).await,
        Command::Failures(args) => commands::failures::run(cx, args).await,
        Command::Actions(args) => commands::actions::run(cx, args).await,
        Command::Log(args) => commands::log::run(cx, &args).await,
        Command::Submit(args) => commands::submit::run(cx, args).await,
        Command::Cancel(args) => commands::steer::cancel(cx, &args).await,
        Command::Retry(args) => commands::steer::retry(cx, &args).await,
        Command::Remove(args) => commands::steer::remove(cx, &args).await,
        Command::Signal(args) => commands::steer::signal(cx, &args).await,
        Command::Pause(args) => commands::queues::pause(cx, &args, true).await,
        Command::Unpause(args) => commands::queues::pause(cx, &args, false).await,
        Command::Queues => commands::queues::list(cx).await,
        Command::Samples(args) => commands::samples::run(cx, args).await,
        Command::Workers => commands::workers::list(cx).await,
        Command::Kinds => commands::workers::kinds(cx).await,
        Command::Prune(args) => commands::upkeep::prune(cx, &args).await,
        Command::Check => commands::upkeep::check(cx).await,
        Command::Watch(args) => watch::run(cx, args).await,
        Command::Top(args) => top::run(cx, args).await,
        Command::Completions(_)
        | Command::Man(_)
        | Command::Worker(_)
        | Command::Verify(_)
        | Command::Store(_) => {
            Ok(Exit::Done) // these have been run
        }
        #[cfg(feature = "web")]
        Command::Serve(_) => Ok(Exit::Done),
        #[cfg(feature = "celery")]
        Command::Celery(_) => Ok(Exit::Done),
    }
}

fn tell(error: &Error) {
    say(format_args!("{} {error}", style::paint(style::BAD, "error:")));
    if let Some(hint) = error.hint() {
        say(format_args!("{} {hint}", style::paint(style::BOLD, "hint:")));
    }
}
