//! Dumps of databases whose images keep to what the official ones do: which command, and where user and password are.
//!
//! The commands run in the container, as whom it runs, over its own socket. Passwords are taken from the variables of the images
//! (`POSTGRES_PASSWORD`, `MYSQL_ROOT_PASSWORD`, … or the same with `_FILE`), and given on in the environment, never in the arguments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use super::Dump;
use crate::config::nearest;
use crate::error::Annotate;

/// The label that names presets, with commas between them.
const LABEL: &str = "holdall.dump";

/// Name, file, and what the container's shell runs.
const PRESETS: [(&str, &str, &str); 5] = [
    (
        "postgres",
        "postgres.sql",
        r#"export PGPASSWORD="${POSTGRES_PASSWORD-$(cat "$POSTGRES_PASSWORD_FILE" 2>/dev/null)}"
exec pg_dumpall --clean --if-exists -U "${POSTGRES_USER:-postgres}""#,
    ),
    (
        "mysql",
        "mysql.sql",
        r#"export MYSQL_PWD="${MYSQL_ROOT_PASSWORD-$(cat "$MYSQL_ROOT_PASSWORD_FILE" 2>/dev/null)}"
exec mysqldump --all-databases --single-transaction --routines --events --user=root"#,
    ),
    (
        "mariadb",
        "mariadb.sql",
        r#"export MYSQL_PWD="${MARIADB_ROOT_PASSWORD-${MYSQL_ROOT_PASSWORD-$(cat "${MARIADB_ROOT_PASSWORD_FILE-$MYSQL_ROOT_PASSWORD_FILE}" 2>/dev/null)}}"
exec "$(command -v mariadb-dump || echo mysqldump)" --all-databases --single-transaction --routines --events --user=root"#,
    ),
    (
        "mongo",
        "mongo.archive",
        r#"password=${MONGO_INITDB_ROOT_PASSWORD-$(cat "$MONGO_INITDB_ROOT_PASSWORD_FILE" 2>/dev/null)}
[ -n "$MONGO_INITDB_ROOT_USERNAME" ] || exec mongodump --quiet --archive
printf 'password: "%s"\n' "$(printf %s "$password" | sed 's/["\\]/\\&/g')" | mongodump --quiet --archive --config /dev/stdin --username "$MONGO_INITDB_ROOT_USERNAME" --authenticationDatabase admin"#,
    ),
    (
        "redis",
        "redis.rdb",
        r#"password=${REDIS_PASSWORD-$(cat "$REDIS_PASSWORD_FILE" 2>/dev/null)}
[ -z "$password" ] || export REDISCLI_AUTH="$password"
exec redis-cli --rdb -"#,
    ),
];

/// The one preset that is told which file: `sqlite:/path`.
const SQLITE: &str = "sqlite:";

/// The dumps that the labels of a container ask for.
pub(super) fn of_labels(labels: &BTreeMap<String, String>) -> Result<Vec<Dump>> {
    let Some(value) = labels.get(LABEL) else { return Ok(Vec::new()) };
    value.split(',').map(str::trim).map(preset).collect()
}

fn preset(word: &str) -> Result<Dump> {
    if let Some(path) = word.strip_prefix(SQLITE) {
        return sqlite(path);
    }
    let Some((_, file, script)) = PRESETS.iter().find(|(name, ..)| *name == word) else {
        let names: Vec<&str> = PRESETS.iter().map(|(name, ..)| *name).collect();
        let near =
            nearest(word, names.iter().copied()).map_or_else(String::new, |near| format!("Did you mean {near}? "));
        return Err(anyhow!("the label {LABEL} says `{word}`, which is no dump that holdall knows"))
            .hint(format!("{near}There is: {}, {SQLITE}/PATH.", names.join(", ")));
    };
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    Ok(Dump { program: format!("the dump of {word}"), command, user: None, file: PathBuf::from(file) })
}

fn sqlite(path: &str) -> Result<Dump> {
    let name = Path::new(path).file_name().filter(|_| path.starts_with('/'));
    let Some(name) = name.and_then(|name| name.to_str()) else {
        return Err(anyhow!("the label {LABEL} says `{SQLITE}{path}`"))
            .hint(format!("Write {SQLITE}/PATH/OF/FILE.db."));
    };
    let command = ["sqlite3", "-bail", "-readonly", path, ".dump"].map(str::to_owned).to_vec();
    Ok(Dump { program: "sqlite3".to_owned(), command, user: None, file: PathBuf::from(format!("{name}.sql")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(label: &str) -> Result<Vec<PathBuf>> {
        let labels = BTreeMap::from([(LABEL.to_owned(), label.to_owned())]);
        Ok(of_labels(&labels)?.into_iter().map(|dump| dump.file).collect())
    }

    #[test]
    fn label_names_presets() {
        assert_eq!(files("postgres").unwrap(), [PathBuf::from("postgres.sql")]);
        let two = ["redis.rdb", "app.db.sql"].map(PathBuf::from);
        assert_eq!(files("redis, sqlite:/data/app.db").unwrap(), two);
        assert!(of_labels(&BTreeMap::new()).unwrap().is_empty());
    }

    #[test]
    fn label_that_means_nothing_is_an_error() {
        for label in ["", "postgre", "sqlite:", "sqlite:data/x", "sqlite:/", "postgres,,redis"] {
            assert!(files(label).is_err(), "{label}");
        }
        let error = files("postgre").unwrap_err();
        assert!(crate::error::hints(&error)[0].starts_with("Did you mean postgres?"));
    }

    #[test]
    fn scripts_are_valid_for_a_shell() {
        for (name, _, script) in PRESETS {
            let checked = std::process::Command::new("busybox").args(["sh", "-n", "-c", script]).status().unwrap();
            assert!(checked.success(), "{name}");
        }
    }
}
