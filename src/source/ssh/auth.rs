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
    let attempt = Attempt { session, user, host };
    let mut tried = Vec::new();
    let mut offered = attempt.offers()?;
    if attempt.may(&offered, "publickey") && login.key_file.is_some() {
        tried.push(attempt.with_key(login)?);
        offered = attempt.offers()?;
    }
    if attempt.may(&offered, "publickey") && login.agent {
        tried.push(attempt.with_agent()?);
        offered = attempt.offers()?;
    }
    let asks_password = ["password", "keyboard-interactive"].iter().any(|method| attempt.may(&offered, method));
    if let Some(password) = login.password.as_ref().filter(|_| asks_password) {
        let password = password.read()?;
        if attempt.may(&offered, "password") {
            tried.push(attempt.refused("the password", session.userauth_password(user, &password))?);
            offered = attempt.offers()?;
        }
        if attempt.may(&offered, "keyboard-interactive") {
            let mut answers = Answers(&password);
            let result = session.userauth_keyboard_interactive(user, &mut answers);
            tried.push(attempt.refused("the password, asked for interactively", result)?);
            offered = attempt.offers()?;
        }
    }
    if session.authenticated() {
        return Ok(());
    }
    let tried: Vec<String> = tried.into_iter().flatten().collect();
    let what = if tried.is_empty() { "nothing that is configured is asked for".to_owned() } else { tried.join("; ") };
    let offers = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
    let advice = match &login.key_file {
        Some(key) => format!(
            "Is the user right, does its `authorized_keys` have the line that `ssh-keygen -y -f {}` prints, and no `from=` that leaves us out?",
            shell_word(key)
        ),
        None if login.agent => "Is the user right, and does its `authorized_keys` have a key of the agent?".to_owned(),
        None => "Are the user and the password right?".to_owned(),
    };
    Err(anyhow!("{host} does not let {user} in: {what}")).hint(format!("The server offers: {offers}. {advice}"))
}

/// A login on its way.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    session: &'a Session,
    user: &'a str,
    host: &'a str,
}

impl Attempt<'_> {
    /// The methods that the server would go on with: after one that it took as the first of several they are others.
    fn offers(self) -> Result<Vec<String>> {
        if self.session.authenticated() {
            return Ok(Vec::new());
        }
        match self.session.auth_methods(self.user) {
            Ok(methods) => Ok(methods.split(',').map(str::to_owned).collect()),
            // It asks for nothing at all.
            Err(_) if self.session.authenticated() => Ok(Vec::new()),
            Err(error) => Err(self.broke(&error)),
        }
    }

    fn may(self, offered: &[String], method: &str) -> bool {
        !self.session.authenticated() && offered.iter().any(|one| one == method)
    }

    fn broke(self, error: &ssh2::Error) -> anyhow::Error {
        anyhow!("the connection broke off while {} was logging in on {}: {}", self.user, self.host, error.message())
    }

    /// What to say of a method that was refused; nothing when it was not.
    ///
    /// # Errors
    ///
    /// When it was not answered.
    fn refused(self, method: &str, result: Result<(), ssh2::Error>) -> Result<Option<String>> {
        match result {
            Ok(()) => Ok(None),
            Err(error) if is_of_line(&error) => Err(self.broke(&error)),
            Err(error) => Ok(Some(format!("{method}: {}", error.message()))),
        }
    }

    fn with_key(self, login: &SshLogin) -> Result<Option<String>> {
        let Some(file) = &login.key_file else { return Ok(None) };
        let opened = File::open(file).with_context(|| format!("open the key {}", file.display()))?;
        let mode = opened.metadata().with_context(|| format!("look at the key {}", file.display()))?.mode();
        if mode & 0o077 != 0 {
            let mode = mode & 0o7777;
            return Err(anyhow!("others than its owner can read the key {} (mode {mode:04o})", file.display()))
                .hint(format!("chmod 600 {}", shell_word(file)));
        }
        let passphrase: Option<Revealed> = login.passphrase.as_ref().map(|secret| secret.read()).transpose()?;
        let result = self.session.userauth_pubkey_file(self.user, None, file, passphrase.as_deref());
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
        self.refused(&format!("the key {}", file.display()), result)
    }

    fn with_agent(self) -> Result<Option<String>> {
        let mut agent = self.session.agent()?;
        agent
            .connect()
            .map_err(|error| anyhow!("ask the agent: {}", error.message()))
            .hint("Is $SSH_AUTH_SOCK set? A systemd unit has no agent of yours; name a `key-file` for it.")?;
        agent.list_identities().map_err(|error| anyhow!("ask the agent for its keys: {}", error.message()))?;
        let identities = agent.identities()?;
        for identity in &identities {
            if self.refused("", agent.userauth(self.user, identity))?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(format!("the agent: none of its {} keys is taken", identities.len())))
    }
}

/// Whether an error is one of the connection, and says nothing of what was tried: LIBSSH2_ERROR_SOCKET_SEND, _TIMEOUT, _SOCKET_DISCONNECT,
/// _SOCKET_TIMEOUT, _SOCKET_RECV, _BAD_SOCKET (libssh2.h).
fn is_of_line(error: &ssh2::Error) -> bool {
    matches!(error.code(), ssh2::ErrorCode::Session(-7 | -9 | -13 | -30 | -43 | -45))
}

/// Gives the password to whatever is asked without showing what is typed.
struct Answers<'p>(&'p str);

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|prompt| if prompt.echo { String::new() } else { self.0.to_owned() }).collect()
    }
}
