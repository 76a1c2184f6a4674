//! Where the tokens come from: a file, standard input, the environment, or, with a warning, an argument.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::Context;
use crate::error::{Annotate, ExitCode};
use crate::incus::api::Role;
use crate::incus::token::Token;

/// More than any token has, in bytes.
const LARGEST: u64 = 128 << 10;

/// Standard input, where a file or a token is to be named.
const STDIN: &str = "-";

/// What makes servers trust us.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    /// File with a token of the source, as `incus config trust add holdall` prints it there; `-` is standard input
    ///
    /// Also $INCUS_SOURCE_TOKEN. A server that trusts us already needs none.
    #[arg(long, value_name = "FILE", conflicts_with = "source_token")]
    source_token_file: Option<PathBuf>,

    /// The token itself, which everybody on this machine can see then; `-` is standard input
    #[arg(long, value_name = "TOKEN")]
    source_token: Option<String>,

    /// File with a token of the target; `-` is standard input
    ///
    /// Also $INCUS_TARGET_TOKEN.
    #[arg(long, value_name = "FILE", conflicts_with = "target_token")]
    target_token_file: Option<PathBuf>,

    /// The token itself, which everybody on this machine can see then; `-` is standard input
    #[arg(long, value_name = "TOKEN")]
    target_token: Option<String>,
}

/// The tokens that were given.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Of the source.
    pub source: Option<Token>,
    /// Of the target.
    pub target: Option<Token>,
}

impl TokenArgs {
    /// Whether an argument names a token of the target.
    pub fn names_target(&self) -> bool {
        self.target_token_file.is_some() || self.target_token.is_some()
    }

    /// Reads the tokens that were given; a server without one must trust us already.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or both are to come from standard input; exit code [`ExitCode::Usage`].
    pub fn read(&self, context: &Context) -> Result<Tokens> {
        let is_stdin = |file: &Option<PathBuf>, token: &Option<String>| {
            file.as_deref() == Some(Path::new(STDIN)) || token.as_deref() == Some(STDIN)
        };
        let source = is_stdin(&self.source_token_file, &self.source_token);
        if source && is_stdin(&self.target_token_file, &self.target_token) {
            return Err(anyhow!("both tokens cannot come from standard input"))
                .hint("Save one to a file, and name it with --target-token-file.")
                .exit(ExitCode::Usage);
        }
        Ok(Tokens {
            source: one(Role::Source, self.source_token_file.as_deref(), self.source_token.as_deref(), context)?,
            target: one(Role::Target, self.target_token_file.as_deref(), self.target_token.as_deref(), context)?,
        })
    }
}

fn one(role: Role, file: Option<&Path>, token: Option<&str>, context: &Context) -> Result<Option<Token>> {
    let word = role.word();
    let variable = format!("INCUS_{}_TOKEN", word.to_uppercase());
    let (text, place) = match (file, token) {
        (Some(file), _) if file == Path::new(STDIN) => (from_stdin()?, "standard input".to_owned()),
        (_, Some(STDIN)) => (from_stdin()?, "standard input".to_owned()),
        (Some(file), _) => (from_file(file)?, file.display().to_string()),
        (None, Some(token)) => {
            context.monitor.say(&format!(
                "Warning: everybody on this machine could see the token, and your shell remembers it. It is good once; next time use \
                 --{word}-token-file."
            ));
            (token.to_owned(), format!("--{word}-token"))
        }
        (None, None) => match std::env::var(&variable) {
            Ok(token) if !token.trim().is_empty() => (token, format!("${variable}")),
            _ => return Ok(None),
        },
    };
    Token::parse(&text).with_context(|| format!("take the token of the {word} from {place}")).map(Some)
}

fn from_stdin() -> Result<String> {
    bounded(std::io::stdin().lock()).context("read the token from standard input").exit(ExitCode::Usage)
}

fn from_file(file: &Path) -> Result<String> {
    let text = std::fs::File::open(file).map_err(Into::into).and_then(bounded);
    text.with_context(|| format!("read the token from {}", file.display())).exit(ExitCode::Usage)
}

fn bounded(from: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(LARGEST).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| anyhow!("it is not text"))
}
