//! `[store]`, and what `[[mirror]]` shares with it: where it is, how its password is had, and options in which no secret stands.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::{Spanned, Value};

use super::{absolute, command};
use crate::config::StoreConfig;
use crate::config::file::StoreTable;
use crate::config::problem::{Collector, nearest};
use crate::config::strict::Removed;
use crate::secret::Secret;

/// What stands before the colon of a repository that is not a path, as in restic.
const SCHEMES: [&str; 10] = ["azure", "b2", "gs", "local", "rclone", "rest", "s3", "sftp", "swift", "webdav"];

/// Options that are secrets, in the names of the services that take them.
const SECRET_OPTIONS: [&str; 14] = [
    "account-key",
    "application-key",
    "credential",
    "encryption-key",
    "passphrase",
    "password",
    "private-key",
    "sas-token",
    "secret-access-key",
    "secret-key",
    "server-side-encryption-customer-key",
    "session-token",
    "temp-url-key",
    "token",
];

/// Options that end like the name of a secret's source and are none.
const PLAIN_OPTIONS: [&str; 1] = ["rclone-command"];

/// The credential that holds the password when the configuration names no other source for it.
const PASSWORD_CREDENTIAL: &str = "store-password";

/// What a table says of a repository.
pub(super) struct Keys<'t> {
    /// What the table is called.
    pub(super) table: &'static str,
    /// The repository is wrong, not missing.
    pub(super) is_repository_removed: bool,
    /// The credential that holds the password when nothing else is named.
    pub(super) credential: String,
    pub(super) repository: Option<&'t Spanned<String>>,
    pub(super) password_file: Option<&'t Spanned<String>>,
    pub(super) password_command: Option<&'t Spanned<Vec<String>>>,
    pub(super) options: &'t BTreeMap<Spanned<String>, Spanned<Value>>,
}

pub(super) fn check(table: &Spanned<StoreTable>, removed: &Removed, problems: &mut Collector) -> StoreConfig {
    let StoreTable { repository, password_file, password_command, options } = table.get_ref();
    let keys = Keys {
        table: "store",
        is_repository_removed: removed.contains("store.repository"),
        credential: PASSWORD_CREDENTIAL.to_owned(),
        repository: repository.as_ref(),
        password_file: password_file.as_ref(),
        password_command: password_command.as_ref(),
        options,
    };
    check_keys(&table.span(), &keys, problems)
}

pub(super) fn check_keys(span: &Range<usize>, keys: &Keys<'_>, problems: &mut Collector) -> StoreConfig {
    let key = |name: &str| format!("{}.{name}", keys.table);
    if keys.repository.is_none() && !keys.is_repository_removed {
        problems.report(span, key("repository"), "missing; write a path, or a URL as restic spells it");
    }
    let repository = keys
        .repository
        .and_then(|text| problems.take(&text.span(), key("repository"), check_repository(text.get_ref(), keys.table)));
    let mut store = StoreConfig {
        repository: repository.unwrap_or_default(),
        password: Secret::credential(&keys.credential),
        options: BTreeMap::new(),
        secret_options: BTreeMap::new(),
    };
    if let Some(file) = keys.password_file
        && let Some(path) = problems.take(&file.span(), key("password-file"), absolute(file.get_ref()))
    {
        store.password = Secret::file(path);
    }
    if let Some(argv) = keys.password_command {
        let key = key("password-command");
        if let Some(argv) = problems.take(&argv.span(), &key, command(argv.get_ref())) {
            store.password = Secret::command(argv);
        }
        if keys.password_file.is_some() {
            problems.report(&argv.span(), key, "`password-file` is given as well; keep one of them");
        }
    }
    for (name, value) in keys.options {
        let path = key(&format!("options.{}", name.get_ref()));
        problems.take(&name.span(), path, add_option(&mut store, name.get_ref(), value.get_ref()));
    }
    store
}

/// The repository as the store takes it.
fn check_repository(text: &str, table: &str) -> Result<String, String> {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| !scheme.contains('/'));
    let Some(scheme) = scheme else {
        return Ok(absolute(text)?.display().to_string());
    };
    let rest = &text[scheme.len() + 1..];
    if !SCHEMES.contains(&scheme) {
        let hint = match nearest(scheme, SCHEMES) {
            Some(near) => format!("did you mean `{near}:`?"),
            None => format!("use an absolute path, {}:", SCHEMES.join(":, ")),
        };
        return Err(format!("`{scheme}:` is no kind of repository; {hint}"));
    }
    if rest.is_empty() {
        return Err(format!("nothing stands behind `{scheme}:`"));
    }
    if scheme == "local" {
        return Ok(absolute(rest)?.display().to_string());
    }
    let authority = rest.split_once("//").map_or(rest, |(_, rest)| rest).split('/').next().unwrap_or("");
    if authority.rsplit_once('@').is_some_and(|(login, _)| login.contains(':')) {
        return Err(format!(
            "holds a password; take the login out of the URL and put `username` and `password-file` under [{table}.options]"
        ));
    }
    Ok(text.to_owned())
}

/// Adds `KEY = value`, or for a secret option `KEY-file = path` or `KEY-command = [program, argument…]`.
fn add_option(store: &mut StoreConfig, key: &str, value: &Value) -> Result<(), String> {
    let spelling = key.to_ascii_lowercase().replace('_', "-");
    if key != spelling {
        return Err(format!("write it as `{spelling}`"));
    }
    if !key.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        return Err("not the name of an option: letters, digits and `-`".to_owned());
    }
    let source = if PLAIN_OPTIONS.contains(&key) {
        None
    } else {
        let file = key.strip_suffix("-file").map(|name| (name, "file"));
        file.or_else(|| key.strip_suffix("-command").map(|name| (name, "command")))
    };
    let name = source.map_or(key, |(name, _)| name);
    let taken = store.options.contains_key(name) || store.secret_options.contains_key(name);
    match (source.map(|(_, source)| source), value) {
        _ if taken => return Err(format!("`{name}` is given in another way as well; keep one of them")),
        (Some("file"), Value::String(path)) => {
            store.secret_options.insert(name.to_owned(), Secret::file(absolute(path)?));
        }
        (Some("file"), _) => return Err("must be the path of a file".to_owned()),
        (Some(_), Value::Array(elements)) => {
            let argv: Option<Vec<String>> = elements.iter().map(|e| e.as_str().map(str::to_owned)).collect();
            let argv = command(&argv.unwrap_or_default())?;
            store.secret_options.insert(name.to_owned(), Secret::command(argv));
        }
        (Some(_), _) => return Err("must be an array: [\"program\", \"argument\"]".to_owned()),
        (None, _) if SECRET_OPTIONS.contains(&key) => {
            return Err(format!(
                "a secret does not stand in the configuration; put it into a file that only you can read and name it as \
                 `{key}-file = \"/PATH\"`"
            ));
        }
        (None, Value::String(text)) => {
            store.options.insert(key.to_owned(), text.clone());
        }
        (None, Value::Integer(_) | Value::Boolean(_) | Value::Float(_)) => {
            store.options.insert(key.to_owned(), value.to_string());
        }
        (None, _) => return Err("must be a string, a number, or true or false".to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_spelt_as_in_restic() {
        for text in [
            "/srv/holdall",
            "/srv/a:b",
            "sftp:me@host:/srv/x",
            "sftp://me@host:2222//srv/x",
            "rest:https://host:8000/x",
            "s3:https://host/bucket/prefix",
            "b2:bucket:path",
            "azure:container:/",
            "gs:bucket:/",
            "swift:container:/path",
            "webdav:https://host/x@y:z",
            "rclone:remote:path",
        ] {
            assert_eq!(check_repository(text, "store"), Ok(text.to_owned()));
        }
        assert_eq!(check_repository("local:/srv/x/", "store"), Ok("/srv/x".to_owned()));
    }

    #[test]
    fn repository_that_cannot_be_is_refused() {
        assert_eq!(
            check_repository("s4:https://host/b", "store"),
            Err("`s4:` is no kind of repository; use an absolute path, azure:, b2:, gs:, local:, rclone:, rest:, s3:, sftp:, \
                 swift:, webdav:"
                .to_owned())
        );
        assert_eq!(
            check_repository("sfpt:h:/x", "store"),
            Err("`sfpt:` is no kind of repository; did you mean `sftp:`?".into())
        );
        assert_eq!(
            check_repository("srv/x", "store"),
            Err("`srv/x` is not absolute; it must begin with `/`".to_owned())
        );
        assert_eq!(check_repository("s3:", "store"), Err("nothing stands behind `s3:`".to_owned()));
        assert!(check_repository("", "store").is_err());
    }

    #[test]
    fn password_in_a_url_is_refused_without_repeating_it() {
        for text in ["rest:https://me:hunter2@host/x", "webdav:https://me:hunter2@host", "sftp://me:hunter2@host/x"] {
            let error = check_repository(text, "store").unwrap_err();
            assert!(error.contains("`password-file` under [store.options]") && !error.contains("hunter2"), "{error}");
        }
        assert!(check_repository("rest:https://me@host/x", "store").is_ok());
    }
}
