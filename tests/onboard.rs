//! `holdall onboard` as users meet it: what it makes, what it leaves alone, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its files fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory of its own, in which holdall finds nothing of the machine's.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(below)
    }

    fn text(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    fn mode(&self, below: &str) -> u32 {
        fs::metadata(self.path(below)).unwrap().permissions().mode() & 0o777
    }

    fn entries(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(below)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "cache")
            .collect();
        names.sort();
        names
    }

    /// Runs `holdall onboard` with these arguments, in this directory.
    fn onboard(&self, arguments: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_holdall"))
            .arg("onboard")
            .args(arguments)
            .args(["--config", "etc/config.toml"])
            .current_dir(self.0.path())
            .env_clear()
            .env("XDG_CACHE_HOME", self.path("cache"))
            .output()
            .unwrap();
        Run(output)
    }

    /// A store that is set up.
    fn with_store() -> Self {
        let place = Self::new();
        place.onboard(&["store", "repo"]).ends_with(0);
        place
    }
}

struct Run(Output);

impl Run {
    fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.0.status.code(), Some(code), "{}", self.stderr());
        self
    }

    fn says(&self, text: &str) -> &Self {
        assert!(self.stderr().contains(text), "no {text:?} in: {}", self.stderr());
        self
    }

    fn prints(&self, text: &str) -> &Self {
        assert_eq!(String::from_utf8_lossy(&self.0.stdout), text);
        self
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn store_is_made_with_a_private_password_and_named_in_the_configuration() {
    let place = Place::new();
    let (repository, password) = (display(&place.path("repo")), display(&place.path("etc/store.password")));
    place
        .onboard(&["store", "repo"])
        .ends_with(0)
        .prints("")
        .says(&format!("Keep a copy of the password off this machine (it is in the file {password})."))
        .says("Next: holdall --config etc/config.toml onboard files");
    assert!(
        place
            .text("etc/config.toml")
            .ends_with(&format!("[store]\nrepository = \"{repository}\"\npassword-file = \"{password}\"\n"))
    );
    assert_eq!(
        [place.mode("etc"), place.mode("etc/config.toml"), place.mode("etc/store.password")],
        [0o700, 0o600, 0o600]
    );
    assert!(place.path("repo/config").is_file());
}

#[test]
fn store_that_is_set_up_stays_as_it_is() {
    let place = Place::with_store();
    let before = [place.text("etc/config.toml"), place.text("etc/store.password")];
    for arguments in [&["store"][..], &["store", "repo"], &["store", "--password-file", "etc/store.password"]] {
        place.onboard(arguments).ends_with(0).says("already set up");
    }
    assert_eq!([place.text("etc/config.toml"), place.text("etc/store.password")], before);
}

#[test]
fn another_store_does_not_take_the_place_of_the_configured_one() {
    let place = Place::with_store();
    let before = place.text("etc/config.toml");
    let configured = format!("another store stands there: repository = \"{}\"", display(&place.path("repo")));
    place.onboard(&["store", "other"]).ends_with(2).says(&configured);
    place.onboard(&["store", "--password-file", "other"]).ends_with(2).says("the password in the file");
    place.onboard(&["store", "-o", "region=eu"]).ends_with(2).says("nothing for the option region");
    assert_eq!(place.text("etc/config.toml"), before);
    assert_eq!(place.entries(""), ["etc", "repo"]);
}

#[test]
fn existing_repository_is_adopted_with_its_password_only() {
    let place = Place::with_store();
    fs::rename(place.path("etc"), place.path("old")).unwrap();
    place
        .onboard(&["store", "repo"])
        .ends_with(12)
        .says("does not open with this password")
        .says("hint: ")
        .says("store.password was made just now");
    assert_eq!(place.entries("etc"), ["store.password"]);
    place
        .onboard(&["store", "repo", "--password-file", "old/store.password"])
        .ends_with(0)
        .says("opens with this password");
    assert!(place.text("etc/config.toml").contains("old/store.password"));
}

#[test]
fn interrupted_onboarding_goes_on_where_it_was() {
    let place = Place::with_store();
    let password = place.text("etc/store.password");
    // As after a crash between password and repository, and between repository and configuration.
    fs::remove_dir_all(place.path("repo")).unwrap();
    fs::remove_file(place.path("etc/config.toml")).unwrap();
    place.onboard(&["store", "repo"]).ends_with(0).says("Made a store");
    fs::remove_file(place.path("etc/config.toml")).unwrap();
    place.onboard(&["store", "repo"]).ends_with(0).says("opens with this password");
    assert_eq!(place.text("etc/store.password"), password);
    assert!(place.path("etc/config.toml").is_file());
}

#[test]
fn password_file_that_others_can_read_is_refused_with_the_command_to_type() {
    let place = Place::with_store();
    let password = place.path("etc/store.password");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    place.onboard(&["store"]).ends_with(1).says(&format!("hint: chmod 600 {}", display(&password)));
}

#[test]
fn secret_on_the_command_line_is_refused_before_anything_is_made() {
    let place = Place::new();
    place
        .onboard(&["store", "s3:https://localhost:1/b", "-o", "secret-access-key=hunter2"])
        .ends_with(2)
        .says("`secret-access-key-file = \"/PATH\"`");
    assert_eq!(place.entries(""), Vec::<String>::new());
}

#[test]
fn dry_run_shows_the_stanza_and_changes_nothing() {
    let place = Place::new();
    let (repository, password) = (display(&place.path("repo")), display(&place.path("etc/store.password")));
    place
        .onboard(&["store", "repo", "-n"])
        .ends_with(0)
        .prints(&format!("[store]\nrepository = \"{repository}\"\npassword-file = \"{password}\"\n"));
    place.onboard(&["files", "usr", "/usr/", "-n"]).ends_with(0).prints("[files.usr]\npaths = [\"/usr\"]\n");
    assert_eq!(place.entries(""), Vec::<String>::new());
}

#[test]
fn files_are_added_behind_what_stands_there() {
    let place = Place::with_store();
    let before = place.text("etc/config.toml");
    let arguments = ["files", "host", "/usr", "/etc", "--exclude", "*.tmp", "--one-file-system", "--every", "20h"];
    place
        .onboard(&[&arguments[..], &["--exclude-caches", "--max-age", "3d"]].concat())
        .ends_with(0)
        .says("Next: holdall --config etc/config.toml backup files.host");
    let stanza = "[files.host]\npaths = [\"/usr\", \"/etc\"]\nexclude = [\"*.tmp\"]\none-file-system = true\n\
                  exclude-caches = true\nevery = \"20h\"\nmax-age = \"3d\"\n";
    assert_eq!(place.text("etc/config.toml"), format!("{before}\n{stanza}"));
    place.onboard(&["files", "host", "/usr"]).ends_with(2).says("the name `host` is taken");
    assert_eq!(place.text("etc/config.toml"), format!("{before}\n{stanza}"));
}

#[test]
fn paths_that_cannot_be_backed_up_are_refused() {
    let place = Place::with_store();
    let before = place.text("etc/config.toml");
    place.onboard(&["files", "x", "nothing"]).ends_with(2).says("No such file");
    place.onboard(&["files", "X", "/usr"]).ends_with(2).says("write `x`");
    place.onboard(&["files", "x", "/usr", "--exclude", "[a"]).ends_with(2).says("is no glob");
    place
        .onboard(&["files", "x", "/usr", "--every", "3d", "--max-age", "1d"])
        .ends_with(2)
        .says("shorter than `every`");
    assert_eq!(place.text("etc/config.toml"), before);
}

#[test]
fn configuration_with_problems_is_not_touched() {
    let place = Place::with_store();
    let broken = format!("{}colour = 1\n", place.text("etc/config.toml"));
    fs::write(place.path("etc/config.toml"), &broken).unwrap();
    place.onboard(&["files", "usr", "/usr"]).ends_with(2).says("store.colour: unknown key");
    place.onboard(&["store"]).ends_with(2).says("store.colour: unknown key");
    assert_eq!(place.text("etc/config.toml"), broken);
}
