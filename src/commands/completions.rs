//! `holdall completions`: the completion script of a shell, made from the command line as clap knows it.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Context;
use crate::cli::Cli;
use crate::error::ExitCode;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs `completions`.
pub fn run(args: &CompletionsArgs, context: &Context) -> Result<ExitCode> {
    // Rendered in memory first: clap_complete panics when its writer fails, and a closed pipe is no reason to.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "holdall", &mut script);
    context.output.bytes(&script)?;
    Ok(ExitCode::Done)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "holdall", &mut script);
            let script = String::from_utf8(script).unwrap();
            for name in ["backup", "restore", "completions"] {
                assert!(script.contains(name), "{shell} does not know {name}");
            }
        }
    }
}
