//! Servers that do not take the mail: the backup is as good, it ends in time, and the log says what to do.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use super::support::daemon::free_ports;
use super::support::mail::{MailServer, PASSWORD, Settings};
use super::{HOME, TestEnv, mailed, table};

/// A run that saves everything, and whose mail is not sent.
fn unsent(env: &TestEnv) -> super::support::outcome::Outcome {
    env.run(["backup"])
        .code(0)
        .stderr_has("ok: 1 saved")
        .stderr_has("no mail is sent of this run")
        .stderr_lacks(PASSWORD)
}

fn elsewhere(server: &MailServer, url: &str, rest: &str) -> TestEnv {
    let env = TestEnv::new().file("file", "x");
    env.onboard_store();
    env.write_secret("mail.password", PASSWORD);
    let table = table(server, &Settings::default()).replace(&server.url(), url);
    env.configure(&format!("{table}on = \"always\"\n{rest}\n{HOME}"));
    env
}

#[test]
fn server_that_is_not_there_is_tried_and_given_up() {
    let server = MailServer::start(&Settings::default());
    let [port] = free_ports();
    let env = elsewhere(&server, &format!("smtps://localhost:{port}"), "");
    unsent(&env)
        .stderr_has("given up, tries 4")
        .stderr_has("onnection refused")
        .stderr_has("smtps:// is mostly on port 465");
}

#[test]
fn server_that_never_answers_is_not_waited_for_longer_than_is_configured() {
    let server = MailServer::start(&Settings::default());
    // It connects, since the kernel does so for it, and nobody is there.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let env = elsewhere(&server, &format!("smtps://127.0.0.1:{port}"), "timeout = \"2s\"");
    unsent(&env).stderr_has("the server was not done with it within 2.0s");
}

#[test]
fn certificate_that_nobody_vouches_for_or_of_another_name_is_refused() {
    let settings = Settings { name: "mail.example.org", ..Settings::default() };
    let (other_name, env) = mailed(&settings, "on = \"always\"", HOME);
    unsent(&env).stderr_has("certificate not valid for name").stderr_has("tries 1").stderr_has("`ca-file`");
    assert_eq!(other_name.mails().len(), 0);
    for tls in ["wrapped", "started"] {
        let settings = Settings { tls, ..Settings::default() };
        let (server, env) = mailed(&settings, "on = \"always\"", HOME);
        let text = fs::read_to_string(env.config_file()).unwrap();
        let without: String =
            text.lines().filter(|line| !line.starts_with("ca-file")).map(|line| format!("{line}\n")).collect();
        fs::write(env.config_file(), without).unwrap();
        unsent(&env).stderr_has("UnknownIssuer").stderr_has("`ca-file`");
        assert_eq!(server.mails().len(), 0);
    }
}

#[test]
fn server_without_starttls_is_told_nothing() {
    let plain = MailServer::start(&Settings { tls: "never", login: false, ..Settings::default() });
    let env = elsewhere(&plain, &format!("smtp://localhost:{}", plain.port()), "");
    unsent(&env).stderr_has("STARTTLS is not supported");
    assert_eq!(plain.mails().len(), 0);
}

#[test]
fn wrong_password_is_not_tried_again_and_not_shown() {
    let (server, env) = mailed(&Settings::default(), "on = \"always\"", HOME);
    env.write_secret("mail.password", "wrong-secret-77");
    let run = unsent(&env).stderr_has("log in as nas@example.org").stderr_has("535").stderr_has("tries 1");
    run.stderr_lacks("wrong-secret-77").stderr_has("Look at `user` and the password");
    assert_eq!(server.mails().len(), 0);
    let check = env.run(["check"]).code(1).stdout_has("FAILED  notify.mail: ").stdout_has("log in as nas@example.org");
    check.stdout_lacks("wrong-secret-77").stderr_lacks("wrong-secret-77");
}

#[test]
fn recipient_that_is_refused_does_not_keep_the_mail_from_the_others() {
    let settings = Settings { refused: vec!["you@example.org"], ..Settings::default() };
    let (server, env) = mailed(&settings, "on = \"always\"", HOME);
    env.run(["backup"]).code(0).stderr_has("does not take mail for you@example.org").stderr_has("no such user here");
    assert_eq!(server.mails()[0]["to"], serde_json::json!(["me@example.org"]));
    env.run(["check"]).code(1).stdout_has("does not take mail for you@example.org");
    let settings = Settings { refused: vec!["me@example.org", "you@example.org"], ..Settings::default() };
    let (server, env) = mailed(&settings, "on = \"always\"", HOME);
    unsent(&env).stderr_has("name the recipient me@example.org, you@example.org").stderr_has("tries 1");
    assert_eq!(server.mails().len(), 0);
}

#[test]
fn server_that_is_busy_is_tried_again_and_gets_one_mail() {
    let settings = Settings { busy: 2, ..Settings::default() };
    let (server, env) = mailed(&settings, "on = \"always\"", HOME);
    env.run(["backup"]).code(0).stderr_lacks("no mail is sent");
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn check_says_that_the_server_would_take_mail_and_sends_none() {
    let (server, env) = mailed(&Settings::default(), "", HOME);
    env.run(["check"]).code(0).stdout_has(&format!("notify.mail: {} takes mail for 2 recipients", server.url()));
    assert_eq!(server.mails().len(), 0);
    fs::remove_file(env.path("mail.password")).unwrap();
    env.run(["check"]).code(1).stdout_has("read the password of notify.mail");
    env.run(["backup"]).code(0).stderr_lacks("no mail");
}

#[test]
fn ca_file_that_is_none_is_said() {
    let (_server, env) = mailed(&Settings::default(), "on = \"always\"", HOME);
    let text = fs::read_to_string(env.config_file()).unwrap();
    let text = text.lines().map(|line| if line.starts_with("ca-file") { "ca-file = \"/etc/hostname\"" } else { line });
    fs::write(env.config_file(), text.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    unsent(&env).stderr_has("there is no certificate in PEM in \"/etc/hostname\"");
}
