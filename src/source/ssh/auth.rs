//! Logging in: with a key, the agent, or a password, in this order.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, anyhow};
use ssh2::{KeyboardInteractivePrompt, Prompt, Session};

use crate::config::SshLogin;
use crate::error::Annotate;
use crate::process::shell_word;
use crate::secret::Revealed;

/// Logs in.
///
/// # Errors
///
/// When nothing that is configured is taken; with the methods that the server offers.
pub(super) fn log_in(session: &Session, user: &str, host: &str, login: &SshLogin) -> Result<()> {
    let mut tried = Vec::new();
    // A server may ask for nothing at all.
    let offered = session.auth_methods(user).unwrap_or_default().to_owned();
    let is_offered = |method: &str| offered.is_empty() || offered.split(',').any(|one| one == method);
    if !session.authenticated() && login.key_file.is_some() && is_offered("publickey") {
        tried.push(with_key(session, user, login)?);
    }
    if !session.authenticated() && login.agent && is_offered("publickey") {
        tried.push(with_agent(session, user)?);
    }
    if !session.authenticated()
        && let Some(password) = &login.password
    {
        let password = password.read()?;
        if is_offered("password") {
            tried.push(refused("the password", session.userauth_password(user, &password)));
        }
        if !session.authenticated() && is_offered("keyboard-interactive") {
            let mut answers = Answers(&password);
            let result = session.userauth_keyboard_interactive(user, &mut answers);
            tried.push(refused("the password, asked for interactively", result));
        }
    }
    if session.authenticated() {
        return Ok(());
    }
    let tried: Vec<String> = tried.into_iter().flatten().collect();
    let what = if tried.is_empty() { "nothing that is configured is asked for".to_owned() } else { tried.join("; ") };
    let offers = if offered.is_empty() { "nothing".to_owned() } else { offered.replace(',', ", ") };
    let key = login.key_file.as_ref().map_or_else(String::new, |key| {
        let key = shell_word(key);
        format!(", and does its `authorized_keys` have the line that `ssh-keygen -y -f {key}` prints, and let us in from here")
    });
    Err(anyhow!("{host} does not let {user} in: {what}"))
        .hint(format!("The server offers: {offers}. Is the user right{key}?"))
}

/// What to say of a method that was refused; nothing when it was not.
fn refused(method: &str, result: Result<(), ssh2::Error>) -> Option<String> {
    result.err().map(|error| format!("{method}: {}", error.message()))
}

fn with_key(session: &Session, user: &str, login: &SshLogin) -> Result<Option<String>> {
    let Some(file) = &login.key_file else { return Ok(None) };
    let opened = File::open(file).with_context(|| format!("open the key {}", file.display()))?;
    let mode = opened.metadata().with_context(|| format!("look at the key {}", file.display()))?.mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o7777;
        return Err(anyhow!("others than its owner can read the key {} (mode {mode:04o})", file.display()))
            .hint(format!("chmod 600 {}", shell_word(file)));
    }
    let passphrase: Option<Revealed> = login.passphrase.as_ref().map(|secret| secret.read()).transpose()?;
    let result = session.userauth_pubkey_file(user, None, file, passphrase.as_deref());
    // LIBSSH2_ERROR_FILE (libssh2.h): it cannot be read as a key.
    if let Err(error) = &result
        && error.code() == ssh2::ErrorCode::Session(-16)
    {
        let hint = if passphrase.is_some() {
            "Is the passphrase right?"
        } else {
            "Is it the private key? If it has a passphrase, name `passphrase-file`."
        };
        return Err(anyhow!("the key {} does not open: {}", file.display(), error.message())).hint(hint);
    }
    Ok(refused(&format!("the key {}", file.display()), result))
}

fn with_agent(session: &Session, user: &str) -> Result<Option<String>> {
    let mut agent = session.agent()?;
    agent
        .connect()
        .map_err(|error| anyhow!("ask the agent: {}", error.message()))
        .hint("Is $SSH_AUTH_SOCK set? A systemd unit has no agent of yours; name a `key-file` for it.")?;
    agent.list_identities().map_err(|error| anyhow!("ask the agent for its keys: {}", error.message()))?;
    let identities = agent.identities()?;
    for identity in &identities {
        if agent.userauth(user, identity).is_ok() {
            return Ok(None);
        }
    }
    Ok(Some(format!("the agent: none of its {} keys is taken", identities.len())))
}

/// Gives the password to whatever is asked without showing what is typed.
struct Answers<'p>(&'p str);

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|prompt| if prompt.echo { String::new() } else { self.0.to_owned() }).collect()
    }
}
