//! Tokens: where they may come from, and what becomes of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::setup::{Setup, trusted, unused_tokens};
use crate::support::incusd::{LOCAL, PLAIN};

fn openssl(file: &Path, options: &[&str]) -> String {
    let output = Command::new("openssl").arg("x509").arg("-in").arg(file).arg("-noout").args(options).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn tokens_of_both_servers_are_all_that_is_needed_for_a_source_that_can_be_backed_up() {
    let setup = Setup::new();
    setup.source.create("c1", &[]);
    setup.source.volume(LOCAL, "v1", "echo x >x");
    setup.source.incus(["storage", "volume", "snapshot", "create", LOCAL, "v1", "before"]);
    let source = setup.source.incus(["config", "trust", "add", "holdall"]);
    assert!(source.lines().count() > 1, "the whole output is saved: {source}");
    let source = setup.env.write_secret("source.token", &source).display().to_string();
    let target = setup.token(&setup.target, &[]);
    let arguments = ["--source-token-file", &source, "--target-token-file", "-"];
    setup
        .onboard_with_input(&arguments, &target)
        .code(0)
        .stderr_has("it trusts us now, for everything: default")
        .stderr_has("project default: 1 instance (c1); 1 volume (v1)")
        .stderr_has("Next: holdall backup incus.lab")
        .stderr_lacks("Warning");

    let expected = format!(
        "[incus.lab]\nsource = \"{}\"\ntarget = \"{}\"\n\n[[incus.lab.project]]\nname = \"default\"\n\
         instances = [{{ name = \"*\" }}]\nvolumes = [{{ name = \"*\" }}]\n",
        setup.source.url(),
        setup.target.url()
    );
    assert!(setup.config().ends_with(&expected), "{}", setup.config());
    let key = setup.credentials().join("client.key");
    assert_eq!((mode(&setup.credentials()), mode(&key)), (0o700, 0o600));
    assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    let shown = openssl(&setup.credentials().join("client.crt"), &["-text"]);
    for what in ["secp384r1", "CN = holdall@", "TLS Web Client Authentication"] {
        assert!(shown.contains(what), "{what}: {shown}");
    }
    for server in [&setup.source, &setup.target] {
        let pinned = fs::read_to_string(setup.pin(server)).unwrap();
        assert_eq!(pinned.trim(), fs::read_to_string(server.dir().join("server.crt")).unwrap().trim());
        assert_eq!((trusted(server).len(), unused_tokens(server)), (1, 0));
    }
    setup.env.run(["backup", "-n"]).code(0).stdout_lacks("error");
}

#[test]
fn what_is_onboarded_already_needs_no_token_and_is_not_replaced_without_being_told() {
    let setup = Setup::new();
    let tokens = [setup.token(&setup.source, &[]), setup.token(&setup.target, &[])];
    setup.onboard(&["--source-token-file", &tokens[0], "--target-token-file", &tokens[1]]).code(0);
    let before = format!("# mine\n{}\n# of files\n[files.x]\npaths = ['/etc']", setup.config());
    fs::write(setup.env.config_file(), &before).unwrap();
    setup.onboard(&[]).code(2).stderr_has("has [incus.lab] already").stderr_has("--force");
    assert_eq!(setup.config(), before);
    setup.env.run(["onboard", "incus", "x", "--source-url", &setup.source.url()]).code(2).stderr_has("`x` is taken");

    let key = fs::read(setup.credentials().join("client.key")).unwrap();
    setup.onboard(&["--force", "--mode", "pull"]).code(0).stderr_has("it trusts us already");
    let expected = before.replace("\n\n[[incus.lab.project]]", "\nmode = \"pull\"\n\n[[incus.lab.project]]");
    assert_eq!(setup.config(), expected);
    assert_eq!(fs::read(setup.credentials().join("client.key")).unwrap(), key);
}

#[test]
fn dry_run_shows_the_table_and_changes_nothing_anywhere() {
    let setup = Setup::new();
    let tokens = [setup.token(&setup.source, &[]), setup.token(&setup.target, &[])];
    setup
        .onboard(&["--source-token-file", &tokens[0], "--target-token-file", &tokens[1], "-n"])
        .code(0)
        .stdout_has("[incus.lab]\nsource = \"https://127.0.0.1:")
        .stderr_has("it does not trust us yet");
    assert!(!setup.credentials().exists() && !setup.env.config_file().exists());
    for server in [&setup.source, &setup.target] {
        assert_eq!((trusted(server).len(), unused_tokens(server)), (0, 1));
    }
}

#[test]
fn token_in_an_argument_works_and_warns_and_one_in_the_environment_does_not_warn() {
    let mut setup = Setup::new();
    let (source, target) = (setup.source.token(&[]), setup.target.token(&[]));
    setup.env = setup.env.variable("INCUS_TARGET_TOKEN", target);
    setup
        .onboard(&["--source-token", "-", "--target-token", "-"])
        .code(2)
        .stderr_has("cannot come from standard input");
    let outcome = setup.onboard(&["--source-token", &source]).code(0).stderr_has("use --source-token-file");
    outcome.stderr_lacks("--target-token-file").stderr_lacks(&source);
}

#[test]
fn pools_and_projects_that_the_target_lacks_are_told_with_what_to_type() {
    let setup = Setup::new();
    setup.source.incus(["storage", "create", "fast", "dir"]);
    setup.source.incus(["project", "create", "lab", "-c", "features.profiles=false", "-c", "features.images=false"]);
    setup.source.create("c1", &["--storage", "fast"]);
    setup.source.create("c2", &["--project", "lab"]);
    setup.source.incus(["storage", "volume", "create", "fast", "v1"]);
    setup.source.incus(["storage", "volume", "create", PLAIN, "twin"]);
    setup.source.incus(["storage", "volume", "create", LOCAL, "twin"]);
    let tokens = [setup.token(&setup.source, &[]), setup.token(&setup.target, &[])];
    setup
        .onboard(&["--source-token-file", &tokens[0], "--target-token-file", &tokens[1]])
        .code(0)
        .stderr_has("the target has no project lab: make it there with `incus project create lab`")
        .stderr_has("the target has no pool fast, but local, plain")
        .stderr_has("instances = [{ name = \"*\", pool = \"local\" }]")
        .stderr_has("`incus storage create fast DRIVER`")
        .stderr_has("two pools have a volume twin");
    let config = setup.config();
    assert!(config.contains("name = \"default\"\n") && config.contains("name = \"lab\"\n"), "{config}");
}

#[test]
fn without_a_target_everything_is_exported_into_the_store() {
    let setup = Setup::new();
    let token = setup.token(&setup.source, &[]);
    let url = setup.source.url();
    setup
        .env
        .run(["onboard", "incus", "lab", "--source-url", &url, "--source-token-file", &token])
        .code(0)
        .stderr_has("There is no target")
        .stderr_has("Next: holdall onboard store");
    assert!(setup.config().contains("export = true\n"));
    assert_eq!(trusted(&setup.target), Vec::<String>::new());
}
