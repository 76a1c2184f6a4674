//! The command line, as clap reads it; no logic.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    backup, check, completions, diff, discover, dump, history, list, ls, man, mirror, onboard, pair, prune, restore,
    status, verify,
};
use crate::quantity::parse_duration;

/// The version with the commit it was built from.
pub const VERSION: &str = env!("HOLDALL_VERSION");

/// One bag for everything you own: stateless backups into one deduplicated, encrypted store
#[derive(Debug, Parser)]
#[command(name = "holdall", version = VERSION, max_term_width = 110, infer_subcommands = false)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration file
    ///
    /// Else $HOLDALL_CONFIG, $CONFIGURATION_DIRECTORY/config.toml, $XDG_CONFIG_HOME/holdall/config.toml, /etc/holdall/config.toml.
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say more; twice: name every file
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// How much to log, overriding -q and -v
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,

    /// How to write the log
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// How long to wait for another run, or for restic, to let go of the store or a source, e.g. 10min
    #[arg(long, global = true, value_parser = parse_duration, default_value = "0s", value_name = "DURATION")]
    pub lock_wait: Duration,

    /// Show no progress bars
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// How much to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed
    Error,
    /// What may need attention
    Warn,
    /// What was done
    Info,
    /// How it was done
    Debug,
    /// Everything
    Trace,
}

/// How to write the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people, and for journald when it listens
    Text,
    /// One JSON object a line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set one thing up, prove that it works, and write it to the configuration
    Onboard(onboard::OnboardArgs),
    /// Pair with an iPhone or iPad, and write it to the configuration
    Pair(pair::PairArgs),
    /// List what there is to back up, and what no source covers; change nothing
    Discover(discover::DiscoverArgs),
    /// Back up what is due: all sources, or the named ones
    Backup(backup::BackupArgs),
    /// Apply retention: remove points that no rule keeps, then free their space
    Prune(prune::PruneArgs),
    /// Copy to the mirrors what they lack, from the store
    Mirror(mirror::MirrorArgs),
    /// Bring something back
    Restore(restore::RestoreArgs),
    /// List points
    List(list::ListArgs),
    /// List the files in a point
    Ls(ls::LsArgs),
    /// Write one file to standard output, or a directory as tar
    Dump(dump::DumpArgs),
    /// Show what changed between two points
    Diff(diff::DiffArgs),
    /// Show the newest point of each item, its age, and whether that is too old
    Status(status::StatusArgs),
    /// Show how runs went: how often each item was saved, how long it took, and why it last was not
    History(history::HistoryArgs),
    /// Check configuration, store, readiness of every source, hooks and who is told; change nothing
    Check(check::CheckArgs),
    /// Check the integrity of the store, and with --restore whether files come back
    Verify(verify::VerifyArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write the manual pages to a directory
    Man(man::ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_text_is_a_sentence_without_full_stop() {
        fn check(command: &clap::Command) {
            let mut texts = vec![(command.get_name().to_owned(), command.get_about().map(ToString::to_string))];
            for arg in command.get_arguments() {
                texts.push((
                    format!("{} {}", command.get_name(), arg.get_id()),
                    arg.get_help().map(ToString::to_string),
                ));
            }
            for (what, text) in texts {
                let text = text.unwrap_or_else(|| panic!("{what} has no help"));
                assert!(text.starts_with(|c: char| c.is_uppercase()), "{what}: {text}");
                assert!(!text.ends_with('.'), "{what}: {text}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
