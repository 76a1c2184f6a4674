//! `--import-iab`: what IncusAutobackup was told, with the key and the pins it has.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::setup::Setup;
use crate::support::incusd::LOCAL;

/// A machine on which IncusAutobackup runs: its directory with `config.json` and credentials, trusted by both servers.
struct Iab {
    setup: Setup,
    directory: PathBuf,
}

impl Iab {
    fn new() -> Self {
        let setup = Setup::new();
        let directory = setup.env.path("iab");
        let credentials = directory.join("credentials");
        fs::create_dir_all(credentials.join("servers")).unwrap();
        let (key, certificate) = (credentials.join("iab_client.key"), credentials.join("iab_client.crt"));
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            assert!(command.args(arguments).current_dir(&credentials).output().unwrap().status.success());
        };
        openssl(&["genrsa", "-traditional", "-out", "iab_client.key", "4096"]);
        openssl(&[
            "req",
            "-x509",
            "-key",
            "iab_client.key",
            "-subj",
            "/CN=incusAutobackup",
            "-days",
            "1825",
            "-out",
            "iab_client.crt",
        ]);
        assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        for server in [&setup.source, &setup.target] {
            server.incus(["config", "trust", "add-certificate", certificate.to_str().unwrap()]);
        }
        // Its files are called after hosts alone: here the source is 127.0.0.1, and the target localhost.
        let pins = [(&setup.source, "127.0.0.1"), (&setup.target, "localhost")];
        for (server, host) in pins {
            fs::copy(server.dir().join("server.crt"), credentials.join(format!("servers/{host}.pem"))).unwrap();
        }
        Self { setup, directory }
    }

    fn config(&self, change: impl Fn(&mut Value)) -> String {
        let target = self.setup.target.url().replace("127.0.0.1", "localhost");
        let mut config = json!({
            "iab": { "iabCredDir": "credentials", "uuid": "x", "stopInstance": true, "healthchecksUrl": "https://hc-ping.com/abc", "gotifyUrl": "" },
            "hosts": [
                { "name": "a", "role": "source", "url": self.setup.source.url() },
                { "name": "b", "role": "target", "url": target },
            ],
            "projects": [{
                "name": "default", "description": "all", "mode": "pull",
                "instances": [{ "name": "c1", "storage": "local", "excludeDevices": ["eth0"] }],
                "volumes": [{ "name": "v1", "storage": "local" }],
            }],
            "retention": { "hosts": { "source": { "default": "6,1h2d", "projects": { "default": { "instances": { "byName": { "c1": "3" } } } } } } },
        });
        change(&mut config);
        let file = self.directory.join("config.json");
        fs::write(&file, config.to_string()).unwrap();
        file.display().to_string()
    }
}

#[test]
fn user_of_incusautobackup_goes_on_with_the_same_key_and_the_same_rules() {
    let iab = Iab::new();
    let Setup { env, source, target } = &iab.setup;
    source.create("c1", &[]);
    source.volume(LOCAL, "v1", "echo x >x");
    source.incus(["snapshot", "create", "c1", "IAB_20260205-115900"]);
    let file = iab.config(|_| ());
    let files = || -> Vec<Vec<u8>> {
        ["iab_client.key", "iab_client.crt", "servers/127.0.0.1.pem", "servers/localhost.pem"]
            .iter()
            .map(|name| fs::read(iab.directory.join("credentials").join(name)).unwrap())
            .collect()
    };
    let before = files();
    env.run(["onboard", "incus", "lab", "--import-iab", &file, "-n"]).code(0).stdout_has("[[retention]]");
    assert!(!env.config_file().exists());
    env.run(["onboard", "incus", "lab", "--import-iab", &file])
        .code(0)
        .stderr_has("trusts the key of IncusAutobackup")
        .stderr_has("2 instances and volumes are there")
        .stderr_has("Not taken over, since nothing here needs it: iab.uuid.")
        .stderr_has("--iOSfix")
        .stderr_has("Next: holdall backup incus.lab --adopt")
        .stderr_lacks("Warning");
    let rule = |rest: &str| format!("[[retention]]\nsource = \"incus.lab\"\nrole = \"source\"\n{rest}\n");
    let written = [
        format!("[incus.lab]\nsource = \"{}\"\ntarget = \"https://localhost:{}\"\n", source.url(), target.port()),
        format!(
            "credentials = \"{}\"\nmode = \"pull\"\nsame-retention = true\n",
            iab.directory.join("credentials").display()
        ),
        "instances = [{ name = \"c1\", pool = \"local\", exclude-devices = [\"eth0\"], stop = true }]\n".to_owned(),
        "volumes = [{ name = \"v1\", pool = \"local\" }]\n".to_owned(),
        rule("policy = \"6,1h2d\""),
        rule("project = \"default\"\nkind = \"instance\"\nname = \"c1\"\npolicy = \"3\""),
        "[[retention]]\nsource = \"incus.lab\"\nrole = \"target\"\npolicy = \"all\"\n".to_owned(),
        "[notify.healthchecks]\nurl = \"https://hc-ping.com/abc\"\n".to_owned(),
    ];
    let config = iab.setup.config();
    for part in written {
        assert!(config.contains(&part), "{part}\n{config}");
    }
    env.run(["list", "incus.lab"]).code(0).stdout_has("IAB_20260205-115900");
    assert!(files() == before, "its credentials are used as they are");
    let (quiet, _) = config.split_once("[notify.").unwrap();
    env.config(quiet);
    env.run(["backup", "incus.lab/*/volume/*"]).code(0);
    target.incus(["storage", "volume", "unset", LOCAL, "v1", "user.holdall.source"]);
    env.run(["backup", "incus.lab/*/volume/*"]).code(1).stderr_has("--adopt");
    env.run(["backup", "incus.lab", "--adopt"]).code(0);
    assert!(target.snapshots("default", "instance", "c1").contains(&"IAB_20260205-115900".to_owned()));
    env.config(&config);
    env.run(["onboard", "incus", "lab", "--import-iab", &file]).code(2).stderr_has("--force");
    env.run(["onboard", "incus", "lab", "--import-iab", &file, "--force"])
        .code(0)
        .stderr_has("[notify.healthchecks] is there already");
    assert_eq!(iab.setup.config(), config);
}

#[test]
fn what_cannot_be_taken_over_is_refused_or_said_and_nothing_is_written_half() {
    let iab = Iab::new();
    let env = &iab.setup.env;
    let run = |file: &str| env.run(["onboard", "incus", "lab", "--import-iab", file]);
    let zero = iab.config(|config| {
        config["retention"]["hosts"]["source"]["default"] = "0".into();
        config["retention"]["hosts"]["target"] = json!({ "default": "1d2w,3" });
    });
    run(&zero)
        .code(2)
        .stderr_has("retention.hosts.source.default: `0` at position 1")
        .stderr_has("retention.hosts.target.default: `3` at position 6")
        .stderr_has("write 1 for it alone");
    run(&iab.config(|config| config["iab"]["iabCredDir"] = "elsewhere".into()))
        .code(2)
        .stderr_has("elsewhere is not there");
    run(&iab.config(|config| config["hosts"][0]["url"] = "http://a".into()))
        .code(2)
        .stderr_has("is not the URL of an Incus server");
    run("/nonexistent/config.json").code(2).stderr_has("read /nonexistent/config.json");
    assert!(!env.config_file().exists());

    env.config("[notify.healthchecks]\nurl = \"https://hc-ping.com/mine\"\n\n[[retention]]\nkind = \"volume\"\npolicy = \"2\"\n");
    let before = iab.setup.config();
    iab.setup.source.volume(LOCAL, "v1", "");
    run(&iab.config(|config| config["projects"][0]["instances"][0]["name"] = "gone".into()))
        .code(0)
        .stderr_has("[notify.healthchecks] is there already")
        .stderr_has("tables that were there already win for incus.lab/default/volume/v1")
        .stderr_has("a backup would fail now")
        .stderr_has("there is no instance gone");
    assert!(iab.setup.config().starts_with(&before));
    assert!(!iab.setup.config().contains("hc-ping.com/abc"));
}

#[test]
fn server_that_does_not_trust_the_key_any_more_is_told_of_before_anything_is_written() {
    let iab = Iab::new();
    let env = &iab.setup.env;
    let list = iab.setup.target.query("/1.0/certificates");
    let print = list[0].as_str().unwrap().rsplit('/').next().unwrap();
    iab.setup.target.incus(["config", "trust", "remove", print]);
    let file = iab.config(|_| ());
    env.run(["onboard", "incus", "lab", "--import-iab", &file])
        .code(1)
        .stderr_has("connect to the target https://localhost:")
        .stderr_has("does not know our certificate any more");
    assert!(!env.config_file().exists());
}
