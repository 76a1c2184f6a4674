//! The `holdall` program: parse, start logging, run, print error and hints, exit code.

use std::process;

use clap::Parser;
use holdall::cli::Cli;
use holdall::commands::{self, Context};
use holdall::{cleanup, logging, output, ui};
use rustix::fs::Mode;

fn main() {
    commands::completions::answer();
    let cli = Cli::parse();
    // Stores, caches, locks and configurations are nobody else's business; what is restored gets its modes from the point.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    logging::start(&cli.global);
    cleanup::watch_signals();
    let context = Context {
        monitor: ui::monitor(&cli.global, &cli.command),
        output: output::Output { json: cli.global.json },
        global: cli.global,
    };
    let code = match commands::run(&cli.command, &context) {
        Ok(code) => code,
        Err(error) => ui::print_error(&error),
    };
    process::exit(cleanup::finish(code) as i32);
}
