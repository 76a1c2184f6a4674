//! Configurations as users write them: the whole error of every wrong one, and what the right ones mean.
//!
//! Each `config/invalid/NAME.toml` has its message in `NAME.expected`, in which `FILE` stands for the path.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall::config::{self, SourceConfig};
use holdall::error::{ExitCode, chain, exit_code};

/// The samples of a folder, by name.
fn samples(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no samples in {}", folder.display());
    files
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/valid").join(name)
}

#[test]
fn every_problem_of_an_invalid_configuration_is_reported_in_one_run() {
    for file in samples("invalid") {
        let expected = fs::read_to_string(file.with_extension("expected"))
            .unwrap_or_else(|error| panic!("the expected message of {}: {error}", file.display()));
        let Err(error) = config::load(&file) else { panic!("{} is valid", file.display()) };
        let message = chain(&error).replace(&file.display().to_string(), "FILE");
        assert_eq!(format!("{message}\n"), expected, "{}", file.display());
        assert_eq!(exit_code(&error), ExitCode::Usage, "{}", file.display());
    }
}

#[test]
fn no_message_holds_a_secret_that_stands_in_the_file() {
    let holding: Vec<PathBuf> = samples("invalid")
        .into_iter()
        .filter(|file| fs::read(file).unwrap().windows(7).any(|w| w == b"hunter2"))
        .collect();
    assert!(holding.len() >= 3, "{holding:?}");
    for file in holding {
        let error = config::load(&file).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{}", file.display());
    }
}

#[test]
fn every_valid_configuration_loads() {
    for file in samples("valid") {
        if let Err(error) = config::load(&file) {
            panic!("{}", chain(&error));
        }
    }
}

#[test]
fn files_source_has_all_its_keys() {
    let config = config::load(&sample("local.toml")).unwrap();
    let ids: Vec<String> = config.sources.iter().map(SourceConfig::id).collect();
    assert_eq!(ids, ["files.host", "files.web"]);
    let SourceConfig::Files(host) = &config.sources[0];
    assert_eq!(host.paths, [Path::new("/etc"), Path::new("/home")]);
    assert_eq!(host.exclude, ["*.tmp", "/home/*/.cache", "!/home/me/.cache/keep"]);
    assert!(host.one_file_system && host.exclude_caches && host.common.allow_empty);
    assert_eq!(host.exclude_larger_than, Some(4 << 30));
    assert_eq!(host.common.every, Some(Duration::from_secs(20 * 3600)));
    assert_eq!(host.common.max_age, Some(Duration::from_secs(3 * 86_400)));
    let SourceConfig::Files(web) = &config.sources[1];
    assert!(!web.one_file_system && !web.exclude_caches && !web.common.allow_empty);
    assert_eq!((web.exclude_larger_than, web.common.every, web.common.max_age), (None, None, None));
}

#[test]
fn retention_rules_keep_their_order_and_lines() {
    let config = config::load(&sample("local.toml")).unwrap();
    assert_eq!(config.retention.iter().map(|rule| rule.line).collect::<Vec<_>>(), [9, 12, 16]);
    let source = config.retention[1].selects.source.as_ref().unwrap();
    assert!(source.is_match("files.host") && !source.is_match("files.web"));
    assert_eq!(config.retention[2].policy, config.retention[1].policy, "a rule without a policy keeps all");
}

#[test]
fn options_of_the_store_are_told_apart_from_secrets() {
    let store = config::load(&sample("s3.toml")).unwrap().store.unwrap();
    assert_eq!(store.repository, "s3:https://s3.example.org/holdall/nas");
    assert_eq!(store.password.to_string(), "the command pass");
    let options: Vec<(&str, &str)> = store.options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        options,
        [
            ("access-key-id", "holdall"),
            ("enable-virtual-host-style", "true"),
            ("region", "eu-central-1"),
            ("retry", "5")
        ]
    );
    let secrets: Vec<String> = store.secret_options.iter().map(|(key, secret)| format!("{key}: {secret}")).collect();
    assert_eq!(secrets, ["secret-access-key: the file /etc/holdall/s3.key"]);
}

#[test]
fn password_is_a_credential_unless_something_else_is_named() {
    let store = config::load(&sample("credential.toml")).unwrap().store.unwrap();
    assert_eq!(store.password.to_string(), "the systemd credential store-password");
    assert_eq!(store.options["rclone-command"], "rclone serve restic --stdio");
}
