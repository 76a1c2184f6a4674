//! A terminal with somebody at it, made by `script`.

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use super::support::env::TestEnv;

/// holdall on a terminal, typed to as it asks.
pub struct Terminal {
    child: Child,
    shown: String,
}

impl Terminal {
    /// Starts it with these words, none of which has a quote.
    pub fn start(env: &TestEnv, words: &[String]) -> Self {
        let holdall = env!("CARGO_BIN_EXE_holdall");
        let words: Vec<String> =
            [holdall].into_iter().chain(words.iter().map(String::as_str)).map(|word| format!("'{word}'")).collect();
        let mut command = env.command("script");
        command.args(["--quiet", "--return", "--echo", "never", "--command", &words.join(" "), "/dev/null"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { child, shown: String::new() }
    }

    /// Waits for this text, and types.
    #[track_caller]
    pub fn type_at(&mut self, text: &str, answer: &str) {
        let mut byte = [0; 1];
        while !self.shown.ends_with(text) {
            let count = self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert!(count > 0, "it did not ask {text:?}: {}", self.shown);
            self.shown.push(char::from(byte[0]));
        }
        writeln!(self.child.stdin.as_mut().unwrap(), "{answer}").unwrap();
    }

    /// The exit code, and all that was shown.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        (status.code(), self.shown + &String::from_utf8_lossy(&rest))
    }
}
