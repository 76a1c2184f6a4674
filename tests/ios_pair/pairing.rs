//! The way from a phone that nobody knows to one that is configured, and back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::support::env::TestEnv;
use super::support::iphone::{Phone, Settings, Trust};
use super::{UDID, env_of, paired, trusting};

fn record(env: &TestEnv) -> PathBuf {
    env.path(format!("config/holdall/ios/{UDID}.plist"))
}

fn shared(phone: &Phone) -> PathBuf {
    phone.muxer().records().join(format!("{UDID}.plist"))
}

fn config(env: &TestEnv) -> String {
    fs::read_to_string(env.config_file()).unwrap()
}

/// Asserts that a pairing that failed has left nothing.
fn nothing_was_kept(env: &TestEnv, phone: &Phone) {
    assert!(!record(env).exists() && !shared(phone).exists());
    assert!(!config(env).contains("ios"), "{}", config(env));
}

#[test]
fn only_phone_is_paired_kept_on_both_sides_and_written_to_the_configuration() {
    let phone = trusting(Settings::default());
    let env = env_of(&phone);
    env.run(["pair", "--usb"])
        .code(0)
        .stderr_has(&format!("Paired: {UDID}  Anna's iPhone, iPhone14,5, iOS 17.5.1\n"))
        .stderr_has("Its backups are not encrypted")
        .stderr_has("Next: holdall backup ios.annas-iphone\n");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(record(&env)), mode(env.path("config/holdall/ios"))), (0o600, 0o700));
    assert!(shared(&phone).exists());
    assert!(config(&env).ends_with(&format!("[ios.annas-iphone]\nudid = \"{UDID}\"\nconnect = \"usb\"\n")));
    assert_eq!(phone.seen().private_keys, 0);
    assert!(!phone.get(|state| state.is_set("com.apple.mobile.wireless_lockdown", "EnableWifiConnections")));
    env.run(["check", "ios.annas-iphone"]).code(0).stdout_has(
        "ok      ios.annas-iphone: ready: Anna's iPhone, iPhone14,5, iOS 17.5.1, USB, paired, backups not encrypted, battery",
    );
}

#[test]
fn other_programs_of_the_machine_are_let_in_by_the_record() {
    let (phone, env) = paired(Settings::default());
    for (program, arguments) in [("idevicepair", &["validate"][..]), ("ideviceinfo", &["-k", "DeviceName"])] {
        let output = env.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    }
    assert!(phone.seen().refused_tls.is_empty(), "{:?}", phone.seen().refused_tls);
}

#[test]
fn record_of_another_program_is_taken_and_kept() {
    let phone = trusting(Settings::default());
    let env = env_of(&phone);
    let output = env.command("idevicepair").arg("pair").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    super::configure(&env, "connect = \"usb\"");
    env.run(["check", "ios.phone"]).code(0).stdout_has("ok      ios.phone: ready");
    let pairs =
        || phone.seen().lockdown.iter().filter(|it| it.get("Request").unwrap().as_string() == Some("Pair")).count();
    let before = pairs();
    env.run(["pair", "--usb"])
        .code(0)
        .stderr_has("Paired already: ")
        .stderr_has("[ios.phone] is in ")
        .stderr_has(" already.");
    assert_eq!(pairs(), before);
    assert!(record(&env).exists());
}

#[test]
fn pairing_again_changes_nothing_and_says_so() {
    let (_phone, env) = paired(Settings::default());
    let (before, key) = (config(&env), fs::read(record(&env)).unwrap());
    let told = env.run(["pair", "--usb", "--json"]).code(0).stderr_has("Paired already: ").json();
    assert_eq!(
        (&told["was_paired"], &told["written"], &told["source"]),
        (&true.into(), &false.into(), &"ios.phone".into())
    );
    assert_eq!((config(&env), fs::read(record(&env)).unwrap()), (before, key));
    env.run(["pair", "--name", "other"]).code(2).stderr_has("this device is [ios.phone] already");
}

#[test]
fn json_and_quiet_say_the_same_and_nothing() {
    let phone = trusting(Settings::default());
    let env = env_of(&phone);
    let told = env.run(["pair", "--usb", "--json", "-q"]).code(0).stderr_lacks("Paired").json();
    for (key, value) in [
        ("udid", UDID.into()),
        ("name", "Anna's iPhone".into()),
        ("source", "ios.annas-iphone".into()),
        ("was_paired", false.into()),
        ("encrypted", false.into()),
        ("wifi", serde_json::Value::Null),
        ("written", true.into()),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
}

#[test]
fn owner_who_takes_time_is_waited_for_and_told_what_to_do() {
    let phone = Phone::start(Settings::default());
    let env = env_of(&phone);
    phone.set(|state| state.locked = true);
    let running = thread::scope(|scope| {
        let pairing = scope.spawn(|| env.run(["pair", "--usb"]));
        let asked = |times: usize| {
            let begun = Instant::now();
            let pairs = || {
                phone.seen().lockdown.iter().filter(|it| it.get("Request").unwrap().as_string() == Some("Pair")).count()
            };
            while pairs() < times && begun.elapsed() < Duration::from_secs(20) {
                thread::sleep(Duration::from_millis(20));
            }
            pairs()
        };
        let so_far = asked(1);
        phone.set(|state| state.locked = false);
        let so_far = asked(so_far + 1);
        phone.set(|state| state.trust = Trust::Accepted);
        asked(so_far + 1);
        pairing.join().unwrap()
    });
    running
        .code(0)
        .stderr_has("Anna's iPhone is locked: unlock it. Waiting 2min for it.\n")
        .stderr_has("Tap Trust on Anna's iPhone, and enter its passcode there. Waiting 1min ")
        .stderr_has("Paired: ");
}

#[test]
fn owner_who_says_nothing_or_no_leaves_nothing_behind() {
    let phone = Phone::start(Settings::default());
    let env = env_of(&phone);
    env.run(["pair", "--usb", "--timeout", "1s"])
        .code(1)
        .stderr_has("pair with Anna's iPhone: nobody has answered yet, on the device, whether it trusts this computer")
        .stderr_has("hint: Tap Trust on the device.");
    nothing_was_kept(&env, &phone);
    phone.set(|state| state.locked = true);
    env.run(["pair", "--usb", "--timeout", "1s"])
        .code(1)
        .stderr_has("pair with Anna's iPhone: the device is locked")
        .stderr_has("hint: Unlock it, and try again.");
    phone.set(|state| (state.locked, state.trust) = (false, Trust::Denied));
    env.run(["pair", "--usb"])
        .code(1)
        .stderr_has("pair with Anna's iPhone: somebody tapped Don't Trust on the device")
        .stderr_has("hint: Unplug it, plug it in again, run `holdall pair` and tap Trust.");
    nothing_was_kept(&env, &phone);
}

#[test]
fn several_phones_are_listed_and_one_is_named() {
    let phone = trusting(Settings::default());
    let env = env_of(&phone);
    let udid = "00008110-000A1B2C3D4E5F61";
    let other = Settings { udid: udid.to_owned(), name: "Ben\u{2019}s iPad".to_owned(), ..Settings::default() };
    let other = Phone::start_at(phone.muxer(), other);
    other.set(|state| state.trust = Trust::Accepted);
    env.run(["pair", "--usb"])
        .code(2)
        .stderr_has("several devices are connected; name one:")
        .stderr_has(&format!("{UDID}  Anna's iPhone, iPhone14,5, iOS 17.5.1"))
        .stderr_has(&format!("{udid}  Ben\u{2019}s iPad"));
    env.run(["pair", "--usb", "00008110-FFFFFFFFFFFFFFFF"])
        .code(2)
        .stderr_has("00008110-FFFFFFFFFFFFFFFF is not connected; there is")
        .stderr_has(udid);
    env.run(["pair", "--usb", udid]).code(0);
    env.run(["pair", "--usb", &UDID.to_lowercase()]).code(0);
    assert!(config(&env).contains("[ios.bens-ipad]") && config(&env).contains("[ios.annas-iphone]"));
    env.run(["check", "ios.*"])
        .code(0)
        .stdout_has("ok      ios.bens-ipad: ready")
        .stdout_has("ok      ios.annas-iphone: ready");
}

#[test]
fn name_that_is_taken_is_refused_before_anybody_is_asked() {
    let phone = trusting(Settings::default());
    let env = env_of(&phone);
    env.configure("[files.phone]\npaths = [\"/etc\"]\n");
    env.run(["pair", "--usb", "--name", "phone"]).code(2).stderr_has("the name `phone` is taken");
    env.run(["pair", "--usb", "--name", "No Name"]).code(2);
    env.config("nonsense = true\n");
    env.run(["pair", "--usb"]).code(2).stderr_has("nonsense");
    assert!(!phone.seen().lockdown.iter().any(|it| it.get("Request").unwrap().as_string() == Some("Pair")));
}

#[test]
fn pairing_is_ended_on_both_sides_and_points_stay() {
    let (phone, env) = paired(Settings::default());
    assert_eq!(phone.get(|state| state.pairings.len()), 1);
    env.run(["pair", "--remove"])
        .code(0)
        .stderr_has(&format!("{UDID} and this computer are not paired any more."))
        .stderr_has("Its points stay, and so does [ios.phone] in ");
    assert_eq!(phone.get(|state| state.pairings.len()), 0);
    assert!(!record(&env).exists() && !shared(&phone).exists());
    env.run(["pair", "--remove"]).code(1).stderr_has(&format!("{UDID} is not paired with this computer"));
    env.run(["check", "ios.phone"])
        .code(1)
        .stdout_has(&format!("FAILED  ios.phone: {UDID} is not paired with this computer"))
        .stdout_has(&format!("hint: Connect it with a cable, and run `holdall pair {UDID}`."));
}

#[test]
fn pairing_of_a_phone_that_is_not_there_is_ended_here() {
    let (phone, env) = paired(Settings::default());
    phone.unplug();
    env.run(["pair", "--remove", UDID])
        .code(0)
        .stderr_has(&format!("This computer has forgotten {UDID}, but was not able to tell it: not on USB."));
    assert!(!record(&env).exists() && !shared(&phone).exists());
    assert_eq!(phone.get(|state| state.pairings.len()), 1);
}

#[test]
fn record_is_no_part_of_a_backup_of_this_machine() {
    let (_phone, env) = paired(Settings::default());
    let text = config(&env);
    fs::write(env.config_file(), format!("{text}\n[files.own]\npaths = [\"{}\"]\n", env.path("config").display()))
        .unwrap();
    env.run(["backup", "files.own"]).code(0);
    env.run(["ls", "-R", "files.own"]).code(0).stdout_has("config.toml").stdout_lacks(UDID);
}

#[test]
fn help_is_there() {
    let output = Command::new(env!("CARGO_BIN_EXE_holdall")).args(["pair", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for option in ["[UDID]", "--wifi", "--usb", "--name", "--remove", "--timeout", "--address"] {
        assert!(text.contains(option), "{option}: {text}");
    }
}
