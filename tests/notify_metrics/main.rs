//! The file for Prometheus: what promtool says of it, what a parser of its own reads in it, and what happens when it cannot be written.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use support::env::TestEnv;
use support::fault::{Fault, Gate};

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\nmax-age = \"1d\"\n";
const METRICS: &str = "[notify.metrics]\ntextfile = \"{root}/prom/holdall.prom\"\n";

fn measured(rest: &str) -> TestEnv {
    let env = TestEnv::with_store_and(&format!("{METRICS}{rest}")).file("file", "x");
    fs::create_dir(env.path("prom")).unwrap();
    env
}

fn textfile(env: &TestEnv) -> PathBuf {
    env.path("prom/holdall.prom")
}

/// What promtool has nothing to say against.
fn approved(env: &TestEnv) -> Samples {
    let file = textfile(env);
    let mut command = Command::new("promtool");
    let command = command.args(["check", "metrics"]).stdin(Stdio::from(File::open(&file).unwrap()));
    let checked = command.output().unwrap_or_else(|error| panic!("promtool: {error}; run `scripts/deps test`"));
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    let text = fs::read_to_string(file).unwrap();
    assert!(checked.status.success() && said.is_empty(), "{said}\n{text}");
    Samples::read(&text)
}

/// Name and labels as they stand there, with their values.
#[derive(Debug)]
struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Reads the format by itself: a comment, or `NAME{LABELS} VALUE`, each sample once, below its type.
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut samples = BTreeMap::new();
        let mut of = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(kind, "gauge");
                of = name.to_owned();
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(name.split('{').next().unwrap(), of, "{line}");
                assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line} stands twice");
            }
        }
        Self(samples)
    }

    fn item(&self, name: &str, item: &str) -> Option<f64> {
        self.0.get(&format!("holdall_{name}{{item=\"{item}\"}}")).copied()
    }

    fn run(&self, name: &str) -> f64 {
        *self.0.get(&format!("holdall_run_{name}")).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

#[test]
fn numbers_of_a_run_are_those_of_its_report_and_of_the_store() {
    let env = measured(HOME);
    let file = textfile(&env);
    env.run(["backup"]).code(0);
    env.write("second", "xyz");
    let lines = env.run(["backup", "--json"]).code(0).json_lines();
    let item = lines.iter().find(|line| line["type"] == "item").unwrap();
    let samples = approved(&env);
    for (name, field) in [
        ("backup_files_new", "files_new"),
        ("backup_files_changed", "files_changed"),
        ("backup_files_unmodified", "files_unmodified"),
        ("backup_processed_bytes", "bytes_processed"),
        ("backup_added_bytes", "bytes_added"),
        ("backup_stored_bytes", "bytes_stored"),
    ] {
        assert_eq!(samples.item(name, "files.home"), item[field].as_f64(), "{name}");
    }
    assert_eq!(
        (samples.item("backup_files_new", "files.home"), samples.item("item_points", "files.home")),
        (Some(1.0), Some(2.0))
    );
    let newest = env.run(["status", "--json"]).code(0).json()[0]["newest"].as_str().unwrap().to_owned();
    let newest = chrono::DateTime::parse_from_rfc3339(&newest).unwrap().timestamp() as f64;
    assert_eq!(samples.item("backup_last_success_timestamp_seconds", "files.home"), Some(newest));
    assert!(samples.item("backup_last_run_timestamp_seconds", "files.home").unwrap() >= newest);
    assert_eq!(
        (samples.item("backup_success", "files.home"), samples.item("item_stale", "files.home")),
        (Some(1.0), Some(0.0))
    );
    assert_eq!((samples.run("exit_code"), samples.run("outcome{outcome=\"ok\"}")), (0.0, 1.0));
    assert_eq!(samples.run("items{outcome=\"saved\"}"), 1.0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::read_dir(env.path("prom")).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn last_success_survives_failures_and_a_store_that_is_gone() {
    let env = measured(HOME);
    env.run(["backup"]).code(0);
    let success = approved(&env).item("backup_last_success_timestamp_seconds", "files.home");
    assert!(success.is_some());
    fs::rename(env.source(), env.path("away")).unwrap();
    env.run(["backup"]).code(1);
    let samples = approved(&env);
    assert_eq!(samples.item("backup_last_success_timestamp_seconds", "files.home"), success);
    assert_eq!(
        (samples.item("backup_success", "files.home"), samples.run("outcome{outcome=\"failed\"}")),
        (Some(0.0), 1.0)
    );
    // What a new file knows of it is in the store.
    fs::remove_file(textfile(&env)).unwrap();
    env.run(["backup"]).code(1);
    assert_eq!(approved(&env).item("backup_last_success_timestamp_seconds", "files.home"), success);
    fs::rename(env.store(), env.path("lost")).unwrap();
    env.run(["backup"]).code(10);
    let samples = approved(&env);
    assert_eq!(samples.item("backup_last_success_timestamp_seconds", "files.home"), success);
    assert_eq!((samples.run("exit_code"), samples.run("outcome{outcome=\"ok\"}")), (10.0, 0.0));
}

#[test]
fn incomplete_backup_is_no_success_and_counts_what_was_not_read() {
    let env = measured(HOME).unreadable("closed");
    env.run(["backup"]).code(3);
    let samples = approved(&env);
    assert_eq!(
        (samples.item("backup_success", "files.home"), samples.item("backup_read_errors", "files.home")),
        (Some(0.0), Some(1.0))
    );
    assert_eq!(samples.item("backup_last_success_timestamp_seconds", "files.home"), None);
    assert!(samples.item("item_newest_point_timestamp_seconds", "files.home").is_some());
    assert_eq!(samples.run("outcome{outcome=\"incomplete\"}"), 1.0);
}

#[test]
fn numbers_of_what_is_not_due_stay_and_what_is_not_configured_any_more_goes() {
    let other = "[files.other]\npaths = [\"{root}/home\"]\n";
    let env = measured(&format!("{HOME}every = \"1h\"\n{other}"));
    fs::write(env.path("home/x"), "x").unwrap();
    env.run(["backup"]).code(0);
    let added = approved(&env).item("backup_added_bytes", "files.home");
    assert!(added.is_some_and(|added| added > 0.0));
    env.run(["backup"]).code(0).stderr_has("1 not due");
    let samples = approved(&env);
    assert_eq!(
        (samples.item("backup_added_bytes", "files.home"), samples.run("items{outcome=\"not_due\"}")),
        (added, 1.0)
    );
    env.configure(&format!("{METRICS}{HOME}"));
    env.run(["backup"]).code(0);
    assert_eq!(approved(&env).item("backup_success", "files.other"), None);
}

#[test]
fn folder_that_is_not_there_or_cannot_be_written_leaves_the_backup_as_it_is() {
    let env = measured(HOME);
    fs::remove_dir(env.path("prom")).unwrap();
    let run = env.run(["backup"]).code(0).stderr_has("ok: 1 saved").stderr_has("the metrics are not those of this run");
    run.stderr_has("there is no folder").stderr_has("mkdir -p");
    env.run(["check"]).code(1).stdout_has("FAILED  notify.metrics: there is no folder");
    fs::create_dir(env.path("prom")).unwrap();
    fs::set_permissions(env.path("prom"), Permissions::from_mode(0o555)).unwrap();
    let env = env.without_override();
    env.run(["backup"]).code(0).stderr_has("ermission denied").stderr_has("ReadWritePaths=");
    env.run(["check"]).code(1).stdout_has("FAILED  notify.metrics: write to the folder").stdout_has("ReadWritePaths=");
    fs::set_permissions(env.path("prom"), Permissions::from_mode(0o755)).unwrap();
    env.run(["check"]).code(0).stdout_has("ok      notify.metrics: ").stdout_has("can be written");
    assert_eq!(fs::read_dir(env.path("prom")).unwrap().count(), 0, "it only looks");
}

#[test]
fn file_that_is_cut_or_of_somebody_else_is_replaced_by_a_good_one() {
    let env = measured(HOME);
    for content in [&b"holdall_backup_success{item=\"files.home"[..], b"\xff\xfe\0", b"node_load1 0.5\n", b""] {
        fs::write(textfile(&env), content).unwrap();
        env.run(["backup"]).code(0);
        assert_eq!(approved(&env).item("backup_success", "files.home"), Some(1.0));
    }
}

#[test]
fn run_beside_another_one_and_a_dry_run_write_nothing_and_one_that_is_stopped_does() {
    let env = measured(HOME);
    env.run(["backup", "-n"]).code(0);
    assert!(!textfile(&env).exists());
    let gate = Gate::new(&env);
    let mut run = Fault::new(&env).before_read(1, env.source().join("file"), &gate.command()).start(["backup"]);
    let held = gate.reached();
    env.run(["backup"]).code(11);
    assert!(!textfile(&env).exists());
    run.signal(Signal::TERM);
    assert_eq!(run.wait(Duration::from_secs(120)).code(), Some(143), "{}", run.log());
    drop(held);
    let samples = approved(&env);
    assert_eq!((samples.run("exit_code"), samples.run("outcome{outcome=\"failed\"}")), (143.0, 1.0));
}
