//! `status --html`, looked at by a real browser: what it shows, that it asks nobody for anything, and that it has nothing to complain of.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::env::{TestEnv, finish};
use support::fault::Fault;
use support::outcome::Outcome;

const SOURCES: &str = "[files.home]\npaths = [\"{root}/source\"]\nmax-age = \"3d\"\n\
                       [files.old]\npaths = [\"{root}/old\"]\nmax-age = \"1d\"\n[files.never]\npaths = [\"/nowhere/x\"]\n";
const HOSTILE: &str = "<script>document.title='taken'</script><img src=\"http://192.0.2.1/x\">";

/// Two items with points of several days, one without, and a report file with their runs and a hostile one.
fn with_history() -> TestEnv {
    let env = TestEnv::new().file("file", "content");
    env.onboard_store();
    let store = "[store]\nrepository = \"{root}/store\"\npassword-file = \"{root}/store.password\"\n";
    env.config(&format!("report-file = \"{{root}}/report.jsonl\"\n{store}{SOURCES}"));
    fs::create_dir(env.path("old")).unwrap();
    for day in 1..=6_u8 {
        env.write(format!("file-{day}"), vec![day; usize::from(day) * 100_000]);
        fs::write(env.path("old/dump"), vec![day; 2_000_000]).unwrap();
        let wanted: &[&str] = if day <= 3 { &["files.home", "files.old"] } else { &["files.home"] };
        at(&env, day).run([&["backup"], wanted].concat()).code(0);
    }
    at(&env, 6).run(["backup", "files.never"]).code(1);
    let error = serde_json::to_string(&format!("{HOSTILE}\u{1b}[2J\u{202e}")).unwrap();
    let item = format!(r#"{{"item":{error},"outcome":"failed","error":{error}}}"#);
    let line = format!(
        r#"{{"type":"run","time":"2026-02-06T04:00:00Z","command":"backup","outcome":"failed","items":[{item}],"errors":[]}}"#
    );
    writeln!(fs::OpenOptions::new().append(true).open(env.path("report.jsonl")).unwrap(), "{line}").unwrap();
    env
}

fn at(env: &TestEnv, day: u8) -> Fault<'_> {
    Fault::new(env).at(&format!("2026-02-{day:02}T03:00:00Z"))
}

/// Writes the page.
fn page(env: &TestEnv) -> PathBuf {
    let file = env.path("page.html");
    at(env, 7).run(["status".as_ref(), "--html".as_ref(), file.as_os_str()]).code(1).stdout_has("STALE");
    file
}

/// Has the browser look at the page, as a phone or a desk, light or dark.
fn browse(env: &TestEnv, page: &Path, arguments: &[&str]) -> Outcome {
    let mut command = env.command("chromium");
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
    ]);
    // Nothing leaves this machine.
    command.args([
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--proxy-server=127.0.0.1:9",
        "--proxy-bypass-list=<-loopback>",
    ]);
    command.arg(format!("--user-data-dir={}", env.path("browser").display()));
    command.args(arguments).arg(format!("file://{}", page.display()));
    finish(command).code(0)
}

/// Everything that the browser wanted to load, from the log of its network.
fn loaded(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap();
    let log: Value = serde_json::from_str(&text).unwrap();
    let events = log["events"].as_array().unwrap().iter();
    events.filter_map(|event| event["params"]["url"].as_str()).map(str::to_owned).collect()
}

#[test]
fn browser_shows_every_row_and_loads_nothing() {
    let env = with_history();
    let page = page(&env);
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o644);
    let log = env.path("network.json");
    let seen = browse(&env, &page, &["--dump-dom", &format!("--log-net-log={}", log.display())]);
    // What the page says on the console, a policy that is broken among it, is in the log of the browser.
    assert!(!seen.stderr.contains("CONSOLE"), "{}", seen.stderr);
    let loaded = loaded(&log);
    let from_elsewhere: Vec<&String> =
        loaded.iter().filter(|url| !url.starts_with("file://") && !is_of_browser(url)).collect();
    assert!(from_elsewhere.is_empty(), "{from_elsewhere:?}");
    let dom = &seen.stdout;
    assert!(dom.contains("<title>1 of 3 items stale - backups of "), "{dom}");
    for item in ["files.home", "files.old", "files.never"] {
        assert!(
            dom.contains(&format!("\">{item}</a></th>")) && dom.contains(&format!("<h3>{item}</h3>")),
            "{item}: {dom}"
        );
    }
    let (states, plots) = (|word: &str| dom.matches(&format!("\">{word}</td>")).count(), dom.matches("<svg ").count());
    assert_eq!((states("fresh"), states("STALE"), states("no limit"), plots), (1, 1, 1, 4));
    assert_eq!(dom.matches("<circle class=\"dot\"").count(), 6 + 3);
    assert!(!dom.contains("<script") && !dom.contains("<img") && !dom.contains('\u{1b}') && !dom.contains('\u{202e}'));
    assert_eq!(dom.matches("&lt;script&gt;").count(), 2);
    assert!(dom.contains("look at /nowhere/x: No such file or directory"));
}

/// What a browser asks its maker for, whatever the page.
fn is_of_browser(url: &str) -> bool {
    let host = url.split('/').nth(2).unwrap_or_default();
    !url.starts_with("http") || ["google.com", "googleapis.com", "gvt1.com"].iter().any(|own| host.ends_with(own))
}

#[test]
fn browser_tells_when_a_page_loads_something_or_has_a_fault() {
    let env = TestEnv::new();
    let page = env.path("page.html");
    fs::write(&page, "<img src=\"http://192.0.2.1/x\"><script>nothing()</script>").unwrap();
    let log = env.path("network.json");
    let seen = browse(&env, &page, &["--dump-dom", &format!("--log-net-log={}", log.display())]);
    assert!(seen.stderr.contains("CONSOLE"), "{}", seen.stderr);
    assert!(loaded(&log).iter().any(|url| url == "http://192.0.2.1/x" && !is_of_browser(url)));
}

#[test]
fn browser_draws_it_on_a_desk_and_on_a_phone_light_and_dark() {
    let env = with_history();
    let page = page(&env);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/status-html");
    fs::create_dir_all(&folder).unwrap();
    let mut pictures = Vec::new();
    for (name, size) in [("desk", "1280,1200"), ("phone", "390,1800")] {
        for (scheme, number) in [("light", 1), ("dark", 0)] {
            let picture = folder.join(format!("{name}-{scheme}.png"));
            let (shot, window) = (format!("--screenshot={}", picture.display()), format!("--window-size={size}"));
            let colours = format!("--blink-settings=preferredColorScheme={number}");
            browse(&env, &page, &[&shot, &window, &colours]);
            pictures.push(fs::read(picture).unwrap());
        }
    }
    // PNG, all different: each scheme and each width has its own.
    assert!(pictures.iter().all(|picture| picture.starts_with(b"\x89PNG") && picture.len() > 10_000));
    pictures.sort();
    pictures.dedup();
    assert_eq!(pictures.len(), 4);
}

#[test]
fn page_goes_to_standard_output_and_without_a_report_file_lacks_only_what_is_in_it() {
    let env = TestEnv::with_store_and("[files.home]\npaths = [\"{root}/source\"]\n").file("file", "content");
    env.run(["backup"]).code(0);
    let page = env.run(["status", "--html", "-"]).code(0);
    assert!(page.stdout.starts_with("<!DOCTYPE html>") && page.stdout.ends_with("</html>\n"), "{}", page.stdout);
    let page = page.stdout_has("Size of each point").stdout_lacks("Added to the store");
    page.stdout_lacks("What went wrong").stdout_has("default-src 'none'; style-src 'unsafe-inline'");
    // A report file that cannot be read costs only what would have come from it.
    let config = fs::read_to_string(env.config_file()).unwrap();
    env.config(&format!("report-file = \"{{root}}\"\n{config}"));
    let page = env.run(["status", "--html", "-"]).code(0).stderr_has("the page lacks what runs have told: ");
    page.stdout_has("Size of each point").stdout_lacks("What went wrong");
    env.config(&config);
    let missing = env.path("missing/page.html");
    let told = env.run(["status".as_ref(), "--html".as_ref(), missing.as_os_str()]).code(1);
    told.stderr_has("write the page ").stderr_has("hint: Name a file in a directory that you can write");
}
