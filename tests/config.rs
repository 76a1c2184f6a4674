//! Configurations as users write them: the whole error of every wrong one, and what the right ones mean.
//!
//! Each `config/invalid/NAME.toml` has its message in `NAME.expected`, in which `FILE` stands for the path.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its samples fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall::config::{
    self, Connect, CopyMode, Hold, MailServer, MailTls, ReadFrom, SourceConfig, SshConfig, SshHostKey, WebhookBody,
    When,
};
use holdall::error::{ExitCode, chain, exit_code};

/// The samples of a folder, by name.
fn samples(folder: &str) -> Vec<PathBuf> {
    in_folder(&Path::new("tests/config").join(folder))
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
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
    for file in samples("valid").into_iter().chain(in_folder(Path::new("examples"))) {
        if let Err(error) = config::load(&file) {
            panic!("{}", chain(&error));
        }
    }
}

#[test]
fn mirror_has_all_its_keys_and_a_password_of_its_own() {
    let config = config::load(&sample("mirror.toml")).unwrap();
    let [offsite, attic] = config.mirrors.as_slice() else { panic!("{:?}", config.mirrors) };
    assert_eq!((offsite.name, attic.name), ("offsite", "attic"));
    assert_eq!(offsite.store.password.to_string(), "the file /etc/holdall/offsite.password");
    assert_eq!(offsite.store.options["region"], "eu");
    assert!(offsite.store.secret_options.contains_key("secret-access-key"));
    assert_eq!(attic.store.password.to_string(), "the systemd credential mirror-attic-password");
    let wanted = ["files.host", "docker.nas/volume/db", "docker.nas/container/web"];
    assert_eq!(wanted.map(|item| offsite.wants(item)), [true, true, false]);
    assert!(attic.wants("docker.nas/container/web"));
    assert!(config.retention[0].selects.mirror.as_ref().unwrap().is_match("offsite"));
}

#[test]
fn files_source_has_all_its_keys() {
    let config = config::load(&sample("local.toml")).unwrap();
    let ids: Vec<String> = config.sources.iter().map(SourceConfig::id).collect();
    assert_eq!(ids, ["files.host", "files.web"]);
    let SourceConfig::Files(host) = &config.sources[0] else { panic!("not the first") };
    assert_eq!(host.paths, [Path::new("/etc"), Path::new("/home")]);
    assert_eq!(host.leave_out.exclude, ["*.tmp", "/home/*/.cache", "!/home/me/.cache/keep"]);
    assert!(host.leave_out.one_file_system && host.leave_out.exclude_caches && host.common.allow_empty);
    assert_eq!(host.leave_out.exclude_larger_than, Some(4 << 30));
    assert_eq!(host.common.every, Some(Duration::from_secs(20 * 3600)));
    assert_eq!(host.common.max_age, Some(Duration::from_secs(3 * 86_400)));
    let SourceConfig::Files(web) = &config.sources[1] else { panic!("not the second") };
    assert!(!web.leave_out.one_file_system && !web.leave_out.exclude_caches && !web.common.allow_empty);
    assert_eq!((web.leave_out.exclude_larger_than, web.common.every, web.common.max_age), (None, None, None));
}

/// The sources of a valid sample that are machines.
fn machines(name: &str) -> Vec<SshConfig> {
    let ssh = |source: SourceConfig| match source {
        SourceConfig::Ssh(ssh) => Some(*ssh),
        _ => None,
    };
    config::load(&sample(name)).unwrap().sources.into_iter().filter_map(ssh).collect()
}

#[test]
fn ssh_source_has_all_its_keys() {
    let ssh = machines("ssh.toml");
    let pi = &ssh.iter().find(|ssh| ssh.common.name == "pi").unwrap();
    let login = &pi.login;
    assert_eq!((login.user.as_str(), login.host.as_str(), login.port), ("backup", "2001:db8::1", 2222));
    let fingerprint = |text: &str| SshHostKey::Fingerprint(format!("SHA256:{text}"));
    assert_eq!(login.host_key, fingerprint("uNiVztksCsDhcc0u9e8BrJlhSFTNiWmXPYq3Mf1lzLU"));
    assert_eq!(login.key_file.as_deref(), Some(Path::new("/etc/holdall/ssh/id_ed25519")));
    assert_eq!(login.passphrase.as_ref().unwrap().to_string(), "the file /etc/holdall/ssh/passphrase");
    assert_eq!(login.password.as_ref().unwrap().to_string(), "the command pass");
    assert!(login.agent && pi.sudo && pi.optional && pi.common.allow_empty);
    let jump = login.jump.as_ref().unwrap();
    assert_eq!((jump.user.as_str(), jump.host.as_str(), jump.port), ("me", "bastion", 2200));
    assert_eq!(jump.host_key, fingerprint("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"));
    assert_eq!((login.connect_timeout, login.idle_timeout), (Duration::from_secs(10), Duration::from_secs(120)));
    assert_eq!(pi.paths, [Path::new("/etc"), Path::new("/dumpster")]);
    assert_eq!(pi.leave_out.exclude, ["*.tmp"]);
    assert!(pi.leave_out.one_file_system && pi.leave_out.exclude_caches);
    assert_eq!(pi.leave_out.exclude_larger_than, Some(4 << 30));
    assert_eq!(pi.common.every, Some(Duration::from_secs(20 * 3600)));
    assert_eq!(
        (pi.before.join(" "), pi.after.join(" ")),
        ("systemctl stop wiki".into(), "systemctl start wiki".into())
    );
    let dumps: Vec<_> = pi.dumps.iter().map(|dump| (dump.command.join(" "), dump.file.to_str().unwrap())).collect();
    assert_eq!(dumps, [("pg_dumpall -U postgres".to_owned(), "db/all.sql"), ("crontab -l".to_owned(), "crontab")]);
}

#[test]
fn ssh_source_needs_little() {
    let ssh = machines("ssh.toml");
    let least = ssh.iter().find(|ssh| ssh.common.name == "least").unwrap();
    let login = &least.login;
    assert_eq!((login.user.as_str(), login.port, login.agent), ("root", 22, false));
    assert_eq!(login.password.as_ref().unwrap().to_string(), "the systemd credential ssh-least-password");
    assert!(login.key_file.is_none() && login.passphrase.is_none() && login.jump.is_none());
    assert_eq!((login.connect_timeout, login.idle_timeout), (Duration::from_secs(30), Duration::from_secs(300)));
    assert!(!least.sudo && !least.optional && least.before.is_empty() && least.after.is_empty());
    assert_eq!((least.paths.len(), least.dumps.len()), (1, 0));
    let through = ssh.iter().find(|ssh| ssh.common.name == "through").unwrap();
    assert!(through.login.password.is_none() && through.paths.is_empty());
    let known_hosts = SshHostKey::KnownHosts("/etc/ssh/ssh_known_hosts".into());
    let jump = through.login.jump.as_ref().unwrap();
    assert_eq!((&through.login.host_key, &jump.host_key), (&known_hosts, &known_hosts));
    assert_eq!((jump.user.as_str(), jump.port), ("me", 22), "the user of the host");
}

#[test]
fn engine_sources_have_all_their_keys() {
    let sources = config::load(&sample("engines.toml")).unwrap().sources;
    let find = |id: &str| sources.iter().find(|source| source.id() == id).unwrap();
    let SourceConfig::Docker(nas) = find("docker.nas") else { panic!("no engine") };
    assert_eq!(nas.engine.host.as_deref(), Some("tcp://nas.lan:2376"));
    assert_eq!(nas.engine.tls.as_ref().unwrap().key, Path::new("/etc/holdall/docker/key.pem"));
    let is_wanted = |names: &[config::NameGlob], name: &str| names.iter().any(|wanted| wanted.matches(name));
    assert!(is_wanted(&nas.images, "registry.lan:5000/app:1.2") && !is_wanted(&nas.images, "app:1.2"));
    assert!(is_wanted(&nas.exclude, "volume/cache_a") && is_wanted(&nas.exclude, "container/tmp"));
    assert_eq!((nas.hold.hold, nas.hold.honors_offen, nas.read), (Hold::Pause, true, ReadFrom::Api));
    assert_eq!(nas.hold.stop_timeout, Some(Duration::from_secs(90)));
    assert_eq!(nas.hold.start_timeout, Duration::from_secs(30));
    let dump = &nas.dumps[0];
    assert_eq!((dump.container.as_str(), dump.user.as_deref()), ("db", Some("postgres")));
    assert_eq!(
        (dump.command.join(" "), dump.file.to_str()),
        ("pg_dumpall -U postgres".to_owned(), Some("sql/all.sql"))
    );
    assert!(nas.common.allow_empty && nas.common.max_age == Some(Duration::from_secs(3 * 86_400)));

    let SourceConfig::Compose(stacks) = find("compose.stacks") else { panic!("no stacks") };
    assert_eq!(stacks.directory.as_deref(), Some(Path::new("/opt/stacks")));
    assert!(is_wanted(&stacks.stacks, "paperless") && !is_wanted(&stacks.stacks, "wiki"));
    assert!(!stacks.include_data && is_wanted(&stacks.keep_running, "traefik"));
    assert_eq!((stacks.exclude.join(" "), stacks.dumps[0].container.as_str()), ("*/logs".to_owned(), "paperless/db"));
}

#[test]
fn engine_sources_need_little() {
    let sources = config::load(&sample("engines.toml")).unwrap().sources;
    let find = |id: &str| sources.iter().find(|source| source.id() == id).unwrap();
    let SourceConfig::Docker(own) = find("docker.own") else { panic!("no engine") };
    assert_eq!((own.engine.host.as_ref(), own.engine.tls.as_ref()), (None, None));
    assert_eq!((own.hold.hold, own.hold.stop_timeout, own.read), (Hold::None, None, ReadFrom::Auto));
    assert!(own.volumes.is_empty() && own.containers.is_empty() && own.dumps.is_empty());
    let SourceConfig::Compose(running) = find("compose.running") else { panic!("no stacks") };
    assert!(running.directory.is_none() && running.include_data && running.stacks[0].matches("anything"));
    assert_eq!((running.hold.hold, running.hold.start_timeout), (Hold::Stop, Duration::from_secs(120)));
}

#[test]
fn incus_sources_have_two_servers_and_projects() {
    let sources = config::load(&sample("incus.toml")).unwrap().sources;
    let find = |id: &str| sources.iter().find(|source| source.id() == id).unwrap();
    let SourceConfig::Incus(lab) = find("incus.lab") else { panic!("no servers") };
    assert_eq!(lab.source, "https://192.168.1.100:8443");
    assert_eq!(lab.target.as_deref(), Some("https://nas.lan:8443"), "as Incus's own client completes it");
    assert_eq!((lab.mode, lab.same_retention, lab.export), (CopyMode::Pull, true, true));
    assert_eq!((lab.stop_timeout.as_secs(), lab.idle_timeout.as_secs()), (600, 3600));
    assert_eq!(lab.projects.iter().map(|project| project.name.as_str()).collect::<Vec<_>>(), ["default", "web"]);
    let vm1 = &lab.projects[0].instances[1];
    assert_eq!((vm1.name.text.as_str(), vm1.pool.as_deref(), vm1.stop), ("vm1", Some("local"), true));
    assert_eq!(vm1.exclude_devices, ["eth0", "custom-volume-1"]);
    assert!(lab.projects[0].volumes[1].name.matches("data-1") && lab.projects[0].exclude[0].matches("instance/tmp-x"));

    let SourceConfig::Incus(single) = find("incus.single") else { panic!("no server") };
    assert_eq!((single.target.as_ref(), single.mode, single.same_retention), (None, CopyMode::Push, false));
    assert_eq!((single.stop_timeout.as_secs(), single.idle_timeout.as_secs()), (300, 1800));
    assert_eq!(single.credentials.as_deref(), Some(Path::new("/etc/holdall/old")));
    assert_eq!(single.projects[0].name, "default");
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

#[test]
fn ios_source_has_all_its_keys() {
    let config = config::load(&sample("ios.toml")).unwrap();
    let ids: Vec<String> = config.sources.iter().map(SourceConfig::id).collect();
    assert_eq!(ids, ["ios.old-pad", "ios.phone"]);
    let SourceConfig::Ios(phone) = &config.sources[1] else { panic!("not the second") };
    assert_eq!(phone.udid, "00008110-000A1B2C3D4E5F60");
    assert_eq!((phone.connect, phone.address.clone()), (Connect::Network, Some(("fe80::1%eth0".to_owned(), 62079))));
    assert_eq!(phone.credentials.as_deref(), Some(Path::new("/etc/holdall/pairings")));
    assert_eq!(phone.staging.as_deref(), Some(Path::new("/srv/staging")));
    assert_eq!(phone.encryption_password.as_ref().unwrap().path(), Some(Path::new("/etc/holdall/phone.password")));
    assert_eq!(phone.idle_timeout, Duration::from_secs(5 * 60));
    assert_eq!(phone.common.max_age, Some(Duration::from_secs(14 * 86_400)));
    assert!(phone.common.allow_empty);
    let SourceConfig::Ios(pad) = &config.sources[0] else { panic!("not the first") };
    assert_eq!(pad.udid, "abcdef0123456789abcdef0123456789abcdef01");
    assert_eq!((pad.connect, &pad.address, &pad.staging), (Connect::Auto, &None, &None));
    assert_eq!(pad.encryption_password.as_ref().unwrap().to_string(), "the command pass");
    assert_eq!(pad.idle_timeout, Duration::from_secs(10 * 60));
}

#[test]
fn those_who_are_told_have_all_their_keys() {
    let config = config::load(&sample("notify.toml")).unwrap();
    let mail = config.notify.mail.as_ref().unwrap();
    let server = MailServer { host: "2001:db8::25".into(), port: 2525, tls: MailTls::Started };
    assert_eq!((&mail.server, mail.on, mail.timeout), (&server, When::Change, Duration::from_secs(30)));
    let login = mail.login.as_ref().unwrap();
    assert_eq!(
        (login.user.as_str(), login.password.to_string()),
        ("nas", "the systemd credential mail-password".into())
    );
    assert_eq!(mail.ca_file.as_deref(), Some(Path::new("/etc/holdall/mail-ca.pem")));
    assert_eq!((mail.from.as_str(), mail.to.len()), ("NAS <nas@example.org>", 2));
    let textfile = &config.notify.metrics.as_ref().unwrap().textfile;
    assert_eq!(textfile, Path::new("/var/lib/prometheus/node-exporter/holdall.prom"));
    let [phone, chat] = config.notify.webhooks.as_slice() else { panic!("{:?}", config.notify.webhooks) };
    assert_eq!((phone.name.as_str(), phone.url.to_string()), ("phone", "the file /etc/holdall/ntfy.url".into()));
    assert_eq!((&phone.body, phone.on, phone.timeout), (&WebhookBody::Ntfy, When::Always, Duration::from_secs(5)));
    assert_eq!(phone.token.as_ref().unwrap().to_string(), "the command pass");
    let body =
        WebhookBody::Template { body: r#"{"text": "{summary}"}"#.into(), content_type: "application/json".into() };
    assert_eq!((&chat.body, chat.on, chat.timeout), (&body, When::Failure, Duration::from_secs(10)));
    assert_eq!(config.secrets().len(), 5);
}

#[test]
fn hooks_are_lists_of_words_around_the_run_and_its_sources() {
    let config = config::load(&sample("notify.toml")).unwrap();
    assert_eq!(config.hooks.run.before, [["mount", "/srv/holdall"]]);
    assert_eq!(config.hooks.run.after, [vec!["sync"], vec!["umount", "/srv/holdall"]]);
    assert_eq!((config.hooks.run.on_failure.len(), config.hooks.run.timeout), (0, Duration::from_secs(600)));
    let host = config.hooks.of("files.host");
    assert_eq!(
        (host.on_failure[0].join(" "), host.timeout),
        ("/usr/local/bin/blink --red".into(), Duration::from_secs(60))
    );
    assert!(config.hooks.of("files.other").is_empty() && !host.is_empty());
}
