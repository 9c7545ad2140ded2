//! `completions` and `man`: what is made of the command line's description.

use crate::args::{CompletionsArgs, ManArgs};
use crate::output::Output;
use crate::{Exit, Result};

/// Prints the completions for a shell.
pub(crate) fn completions(
    mut command: clap::Command,
    out: &Output,
    args: &CompletionsArgs,
) -> Result<Exit> {
    let (name, mut text) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    out.bytes(&text)?;
    Ok(Exit::Done)
}

/// Prints the man page, or writes one for every command.
pub(crate) fn man(command: clap::Command, out: &Output, args: &ManArgs) -> Result<Exit> {
    if let Some(directory) = &args.dir {
        std::fs::create_dir_all(directory)?;
        clap_mangen::generate_to(command, directory)?;
    } else {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text)?;
        out.bytes(&text)?;
    }
    Ok(Exit::Done)
}
