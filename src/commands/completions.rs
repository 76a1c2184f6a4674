//! `holdall completions`: what makes a shell ask holdall itself how a word may go on.
//!
//! The shell runs holdall with [`VARIABLE`] in the environment and the words so far; clap answers with commands and flags as it knows them, and [`candidates`] with
//! sources, items and points.

use anyhow::{Context as _, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::Context;
use crate::cli::Cli;
use crate::error::ExitCode;

mod candidates;

pub use candidates::{selectors, specs};

/// Names the shell that asks; all that clap has to know that it is asked.
const VARIABLE: &str = "_HOLDALL_COMPLETE";

/// For bash our own: clap's knows nothing of words with `@` and `:` in them.
const BASH: &str = include_str!("completions/holdall.bash");

/// zsh loads a file as the function of its name when it needs it first: that call is to be answered, too.
const ZSH_LOADED: &[u8] = b"[[ $funcstack[1] != _holdall ]] || _clap_dynamic_completer_holdall \"$@\"\n";

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs `completions`.
pub fn run(args: &CompletionsArgs, context: &Context) -> Result<ExitCode> {
    context.output.bytes(&script(args.shell)?)?;
    Ok(ExitCode::Done)
}

fn script(shell: Shell) -> Result<Vec<u8>> {
    if shell == Shell::Bash {
        return Ok(BASH.as_bytes().to_vec());
    }
    // Rendered in memory first: a closed pipe is told by whoever writes to it.
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string()).context("find out how this shell completes")?;
    completer.write_registration(VARIABLE, "holdall", "holdall", "holdall", &mut script).context("write the script")?;
    if shell == Shell::Zsh {
        script.extend_from_slice(ZSH_LOADED);
    }
    Ok(script)
}

/// Answers a shell that asks, and ends the program then.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_asks_holdall() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell).unwrap()).unwrap();
            assert!(script.contains(VARIABLE) && script.contains("holdall"), "{shell}: {script}");
        }
    }
}
