//! What a program left behind: exit code, standard output, standard error. Every assertion shows all three when it fails.

use std::process::Output;

use serde_json::Value;

/// How a program ended, and what it wrote.
#[derive(Debug, Clone)]
pub struct Outcome {
    command: String,
    code: Option<i32>,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
    /// Standard output as it was.
    pub bytes: Vec<u8>,
}

impl Outcome {
    /// Of the program that was started as `command`.
    pub fn new(command: String, output: Output) -> Self {
        Self {
            command,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }

    /// The program ended with this code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        self.holds(self.code == Some(expected), &format!("exit code {expected}"));
        self
    }

    /// The program ended with one of these codes: versions of restic differ.
    #[track_caller]
    pub fn code_among(self, expected: &[i32]) -> Self {
        self.holds(self.code.is_some_and(|code| expected.contains(&code)), &format!("exit code among {expected:?}"));
        self
    }

    /// Whether a signal ended the program.
    pub fn was_killed(&self) -> bool {
        self.code.is_none()
    }

    /// Standard output contains this.
    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Self {
        self.holds(self.stdout.contains(text), &format!("{text:?} on stdout"));
        self
    }

    /// Standard output does not contain this.
    #[track_caller]
    pub fn stdout_lacks(self, text: &str) -> Self {
        self.holds(!self.stdout.contains(text), &format!("no {text:?} on stdout"));
        self
    }

    /// Standard error contains this.
    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Self {
        self.holds(self.stderr.contains(text), &format!("{text:?} on stderr"));
        self
    }

    /// Standard error does not contain this.
    #[track_caller]
    pub fn stderr_lacks(self, text: &str) -> Self {
        self.holds(!self.stderr.contains(text), &format!("no {text:?} on stderr"));
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("stdout is not JSON: {error}\n{}", self.shown()),
        }
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => panic!("not a line of JSON: {error}: {line}\n{}", self.shown()),
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The one JSON line of this type.
    #[track_caller]
    pub fn line(&self, kind: &str) -> Value {
        let mut lines = self.json_lines();
        lines.retain(|line| line["type"] == kind);
        self.holds(lines.len() == 1, &format!("one line of type {kind}"));
        lines.remove(0)
    }

    #[track_caller]
    fn holds(&self, condition: bool, expected: &str) {
        assert!(condition, "expected {expected}\n{}", self.shown());
    }

    fn shown(&self) -> String {
        let Self { command, code, stdout, stderr, .. } = self;
        let code = code.map_or_else(|| "none: ended by a signal".to_owned(), |code| code.to_string());
        format!("command: {command}\nexit code: {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}
