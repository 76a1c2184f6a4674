//! What people read of a run of `holdall backup`, by real mail servers: those that take mail, and those that refuse, lie and dawdle.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod runs;

use std::fs;

use serde_json::Value;
use support::env::TestEnv;
use support::mail::{MailServer, PASSWORD, Settings};

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";

/// A server, and an environment that mails by it; `mail` are further keys of `[notify.mail]`, `rest` further tables.
fn mailed(settings: &Settings, mail: &str, rest: &str) -> (MailServer, TestEnv) {
    let server = MailServer::start(settings);
    let env = TestEnv::new().file("file", "x");
    env.onboard_store();
    env.write_secret("mail.password", &format!("{PASSWORD}\n"));
    env.configure(&format!("{}{mail}\n{rest}", table(&server, settings)));
    (server, env)
}

fn table(server: &MailServer, settings: &Settings) -> String {
    let login = "user = \"nas@example.org\"\npassword-file = \"{root}/mail.password\"\n";
    let ca = format!("ca-file = {:?}\n", server.ca_file());
    format!(
        "[notify.mail]\nserver = \"{}\"\nfrom = \"NAS <nas@example.org>\"\nto = [\"me@example.org\", \"you@example.org\"]\n{}{}",
        server.url(),
        if settings.login { login } else { "" },
        if settings.tls == "never" { "" } else { &ca },
    )
}

fn body(mail: &Value) -> &str {
    mail["body"].as_str().unwrap()
}

/// From now on the run fails.
fn lose_source(env: &TestEnv) {
    fs::remove_dir_all(env.source()).unwrap();
}
