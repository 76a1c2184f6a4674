//! `pair --encryption`: on, off, another password; what the phone says afterwards decides.

use super::rig::Rig;
use super::support::iphone::Settings;
use super::support::outcome::Outcome;

fn encryption(rig: &Rig, arguments: &[&str]) -> Outcome {
    rig.env.run([&["pair", rig.phone.udid(), "--encryption"], arguments].concat())
}

fn secret(rig: &Rig, name: &str, password: &str) -> String {
    rig.env.write_secret(name, password).to_str().unwrap().to_owned()
}

#[test]
fn turned_on_changed_and_turned_off() {
    let rig = Rig::new(Settings::default());
    let [first, second] = ["first", "second"].map(|name| secret(&rig, name, &format!("{name} password")));
    encryption(&rig, &["on", "--password-file", &first])
        .code(0)
        .stderr_has("Nobody can look it up or reset it")
        .stderr_has("The next backup is a full one")
        .stderr_has("Anna's iPhone encrypts its backups now.");
    assert!(rig.phone.backup.will_encrypt());
    encryption(&rig, &["on", "--password-file", &first]).code(2).stderr_has("encrypts its backups already");
    encryption(&rig, &["change", "--old-password-file", &first, "--password-file", &second]).code(0);
    let wrong = encryption(&rig, &["off", "--old-password-file", &first]).code(1);
    wrong.stderr_has("Anna's iPhone does not take the password");
    assert!(rig.phone.backup.will_encrypt());
    encryption(&rig, &["off", "--old-password-file", &second])
        .code(0)
        .stderr_has("does not encrypt its backups any more");
    assert!(!rig.phone.backup.will_encrypt());
    encryption(&rig, &["change", "--old-password-file", &first, "--password-file", &second])
        .code(2)
        .stderr_has("does not encrypt its backups");
    encryption(&rig, &["on"]).code(2).stderr_has("no terminal").stderr_has("--password-file FILE");
}

#[test]
fn password_in_the_configuration_is_set_and_used() {
    let rig = Rig::with(Settings::default(), "encryption-password-file = \"{root}/phone.password\"\n");
    rig.env.write_secret("phone.password", "from the file");
    encryption(&rig, &["on", "--json"]).code(0).stdout_has("\"encrypted\": true");
    let saved = rig.saved(&[]);
    assert_eq!(saved["problems"], serde_json::json!([]));
    encryption(&rig, &["off"]).code(0);
    let log = rig.env.run(["pair", "--encryption", "on", "--log-level", "trace"]).code(0);
    log.stderr_lacks("from the file");
}
