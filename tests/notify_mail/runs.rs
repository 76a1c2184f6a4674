//! After which runs there is a mail, and what is in it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::process::Signal;

use super::support::env::TestEnv;
use super::support::fault::{Fault, Gate};
use super::support::mail::{MailServer, Settings, USER, header};
use super::{HOME, body, lose_source, mailed, table};

#[test]
fn failed_run_is_one_mail_with_what_failed_why_and_what_to_type() {
    let (server, env) = mailed(&Settings::default(), "", HOME);
    env.run(["backup"]).code(0);
    assert_eq!(server.mails().len(), 0, "nothing failed");
    lose_source(&env);
    env.run(["backup"]).code(1);
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!((mail["user"].as_str(), mail["encrypted"].as_bool()), (Some(USER), Some(true)));
    assert_eq!(mail["from"], "nas@example.org");
    assert_eq!(mail["to"], serde_json::json!(["me@example.org", "you@example.org"]));
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    assert_eq!(header(mail, "Subject"), format!("holdall on {host}: failed: files.home"));
    assert_eq!(header(mail, "From"), "NAS <nas@example.org>");
    assert_eq!(header(mail, "To"), "me@example.org, you@example.org");
    assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
    assert!(header(mail, "Message-ID").starts_with('<') && !header(mail, "Date").is_empty());
    assert_eq!((mail["type"].as_str(), mail["charset"].as_str()), (Some("text/plain"), Some("utf-8")));
    assert_eq!(mail["defects"], serde_json::json!([]));
    let body = body(mail);
    assert!(body.starts_with("failed: 1 failed, in "), "{body}");
    assert!(body.contains("\nfiles.home: ") && body.contains("No such file or directory"), "{body}");
    assert!(body.contains("\n  hint: Is something not mounted?"), "{body}");
    assert!(body.contains("\nfiles.home  failed") && body.contains(env.config_file().to_str().unwrap()), "{body}");
}

#[test]
fn starttls_and_a_relay_on_this_machine_do_as_well() {
    for settings in [
        Settings { tls: "started", ..Settings::default() },
        Settings { tls: "never", login: false, ..Settings::default() },
    ] {
        let (server, env) = mailed(&settings, "on = \"always\"", HOME);
        env.run(["backup"]).code(0);
        let mails = server.mails();
        assert_eq!(mails.len(), 1, "{settings:?}");
        assert_eq!(mails[0]["encrypted"].as_bool(), Some(settings.tls != "never"));
        assert!(header(&mails[0], "Subject").contains(": ok: 1 saved, in "), "{:?}", mails[0]);
        assert!(body(&mails[0]).contains("\nfiles.home  saved       1 new, 0 changed, added "), "{}", body(&mails[0]));
    }
}

#[test]
fn what_is_not_read_is_named_whatever_its_name() {
    let (server, env) = mailed(&Settings::default(), "", HOME);
    let name = std::ffi::OsStr::from_bytes(b"a\r\nBcc: eve@example.org\r\n\r\n\xff\x1b[2J\xc3\xbc");
    let env = env.unreadable(name);
    env.run(["backup"]).code(3);
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert!(header(&mails[0], "Subject").ends_with(": incomplete: files.home"));
    assert_eq!(mails[0]["to"], serde_json::json!(["me@example.org", "you@example.org"]));
    let body = body(&mails[0]);
    assert!(body.contains("files.home: 1 could not be read; the rest is saved\n"), "{body}");
    assert!(body.contains("a\\r\\nBcc: eve@example.org\\r\\n\\r\\n\\xff\\u{1b}[2Jü: "), "{body}");
    assert!(mails[0]["longest_line"].as_u64().unwrap() <= 998, "RFC 5322: {body}");
}

#[test]
fn run_that_cannot_begin_and_a_broken_configuration_are_mailed() {
    let (server, env) = mailed(&Settings::default(), "", HOME);
    fs::remove_dir_all(env.store()).unwrap();
    env.run(["backup"]).code(10);
    env.configure(&format!("{}\n{HOME}evry = \"1h\"\n", table(&server, &Settings::default())));
    env.run(["backup"]).code(2);
    fs::write(env.config_file(), fs::read_to_string(env.config_file()).unwrap() + "[files.b\n").unwrap();
    env.run(["backup"]).code(2);
    let mails = server.mails();
    assert_eq!(mails.len(), 3);
    assert!(body(&mails[0]).contains("there is no repository at"), "{}", body(&mails[0]));
    assert!(body(&mails[1]).contains("evry: unknown key; did you mean `every`?"), "{}", body(&mails[1]));
    assert!(header(&mails[2], "Subject").contains(": failed: "));
}

#[test]
fn item_that_is_too_old_is_mailed_of_though_the_run_went_well() {
    let rest = format!("{HOME}[files.other]\npaths = [\"{{root}}/tmp\"]\nmax-age = \"1d\"\n");
    let (server, env) = mailed(&Settings::default(), "", &rest);
    env.run(["backup", "files.home"]).code(0);
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert!(header(&mails[0], "Subject").ends_with(": too old: files.other"), "{:?}", mails[0]);
    assert!(
        body(&mails[0])
            .contains("files.other: there is no point yet; 1d are allowed\n  hint: holdall backup files.other")
    );
}

#[test]
fn run_in_which_nothing_is_due_and_dry_runs_are_not_mailed() {
    let (server, env) = mailed(&Settings::default(), "on = \"always\"", &format!("{HOME}every = \"1h\"\n"));
    env.run(["backup"]).code(0);
    env.run(["backup"]).code(0).stderr_has("1 not due");
    lose_source(&env);
    env.run(["backup", "-n", "--force"]).code(1);
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn change_is_told_when_a_run_ends_otherwise_than_the_one_before() {
    let server = MailServer::start(&Settings::default());
    let env = TestEnv::new().file("file", "x");
    env.onboard_store();
    env.write_secret("mail.password", super::PASSWORD);
    let root = env.root().to_str().unwrap().to_owned();
    let text = format!(
        "report-file = \"{root}/report.jsonl\"\n[store]\nrepository = \"{root}/store\"\npassword-file = \"{root}/store.password\"\n{}on = \"change\"\n{HOME}",
        table(&server, &Settings::default())
    );
    env.config(&text);
    let before = |outcome: &str, code: u8| {
        let line = format!(r#"{{"type":"run","command":"backup","outcome":"{outcome}","exit_code":{code}}}"#);
        fs::write(env.path("report.jsonl"), line + "\n").unwrap();
    };
    let mails_after = |code: i32| {
        env.run(["backup"]).code(code);
        server.mails().len()
    };
    assert_eq!(mails_after(0), 0, "well, and nothing is known of the time before");
    before("failed", 1);
    assert_eq!(mails_after(0), 1, "well again");
    lose_source(&env);
    before("ok", 0);
    assert_eq!(mails_after(1), 2, "no more");
    before("failed", 1);
    assert_eq!(mails_after(1), 2, "still not");
}

#[test]
fn run_that_is_ended_by_the_service_manager_is_mailed_and_one_at_the_keyboard_is_not() {
    for (signal, code, mails) in [(Signal::INT, 130, 0), (Signal::TERM, 143, 1)] {
        let (server, env) = mailed(&Settings::default(), "", HOME);
        let gate = Gate::new(&env);
        let mut run = Fault::new(&env).before_read(1, env.source().join("file"), &gate.command()).start(["backup"]);
        let held = gate.reached();
        run.signal(signal);
        assert_eq!(run.wait(Duration::from_secs(120)).code(), Some(code), "{}", run.log());
        drop(held);
        let told = server.mails();
        assert_eq!(told.len(), mails, "{}", run.log());
        for mail in told {
            assert!(header(&mail, "Subject").ends_with(": failed: ended by SIGTERM or SIGHUP"), "{mail:?}");
        }
    }
}
