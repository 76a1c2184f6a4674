//! Two servers with snapshots and copies as Incus's own client makes them.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::incus_bench::Bench;
use crate::support::incus_proxy::IncusProxy;
use crate::support::incusd::{IMAGE, Incusd, LOCAL};
use crate::support::outcome::Outcome;

/// What most tests configure: everything of the default project, without a store.
pub const EVERYTHING: &str =
    "[[incus.lab.project]]\nname = \"default\"\ninstances = [{ name = \"*\" }]\nvolumes = [{ name = \"*\" }]\n";

/// A `[[retention]]` for all.
pub fn retention(policy: &str, selectors: &str) -> String {
    format!("[[retention]]\npolicy = \"{policy}\"\n{selectors}\n")
}

/// The two servers, and what is configured of them.
pub struct Lab {
    /// Servers and environment.
    pub bench: Bench,
}

impl Lab {
    /// With this configuration of `[incus.lab]` and what follows it, and no store.
    pub fn new(rest: &str) -> Self {
        let lab = Self { bench: Bench::without_store(rest) };
        let token = lab.bench.target.token(&[]);
        let remote = ["remote", "add", "target", &lab.bench.target.url(), "--accept-certificate", "--token", &token];
        lab.bench.source.incus(remote);
        lab
    }

    /// Makes an instance that never ran, with these snapshots.
    pub fn instance(&self, name: &str, snapshots: &[&str]) {
        self.bench.source.incus(["create", IMAGE, name]);
        self.snapshots(name, snapshots);
    }

    /// Makes snapshots of an instance of the source.
    pub fn snapshots(&self, name: &str, snapshots: &[&str]) {
        for snapshot in snapshots {
            self.bench.source.incus(["snapshot", "create", name, snapshot]);
        }
    }

    /// Makes a custom volume with these snapshots.
    pub fn volume(&self, name: &str, snapshots: &[&str]) {
        self.bench.source.volume(LOCAL, name, "echo content >file");
        for snapshot in snapshots {
            self.bench.source.incus(["storage", "volume", "snapshot", "create", LOCAL, name, snapshot]);
        }
    }

    /// What stands in the mark of a copy of this item.
    pub fn mark(&self, item: &str) -> String {
        format!("user.holdall.source={item} {}", &fingerprint(&self.bench.source)[..16])
    }

    /// Has Incus's own client copy. It writes the configuration in the end, and gives up when the server has just done so itself.
    #[track_caller]
    fn copy(&self, words: &[&str]) {
        for _ in 0..5 {
            let outcome = self.bench.source.try_incus(words);
            if !outcome.stderr.contains("ETag doesn't match") {
                outcome.code(0);
                return;
            }
        }
        panic!("the server writes without end: {words:?}");
    }

    /// Copies an instance with its snapshots to the target, and marks the copy.
    pub fn copy_instance(&self, name: &str) {
        self.copy(&["copy", name, &format!("target:{name}"), "--mode", "push", "--refresh"]);
        let mark = self.mark(&format!("incus.lab/default/instance/{name}"));
        self.bench.target.incus(["config", "set", name, &mark]);
    }

    /// The same of an instance with a profile that the target does not have.
    pub fn copy_instance_without_profile(&self, name: &str, profile: &str) {
        self.bench.target.incus(["profile", "create", profile]);
        self.copy_instance(name);
    }

    /// Copies a volume with its snapshots to the target, and marks the copy.
    pub fn copy_volume(&self, name: &str) {
        let (from, to) = (format!("{LOCAL}/{name}"), format!("target:{LOCAL}/{name}"));
        self.copy(&["storage", "volume", "copy", &from, &to, "--mode", "push", "--refresh"]);
        let mark = self.mark(&format!("incus.lab/default/volume/{name}"));
        self.bench.target.incus(["storage", "volume", "set", LOCAL, name, &mark]);
    }

    /// The snapshots that an instance has on a server.
    pub fn of_instance(&self, server: &Incusd, name: &str) -> Vec<String> {
        server.snapshots("default", "instance", name)
    }

    /// The snapshots that a volume of the default pool has on a server.
    pub fn of_volume(&self, server: &Incusd, name: &str) -> Vec<String> {
        server.snapshots("default", "volume", &format!("{LOCAL}/{name}"))
    }

    /// Runs holdall.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.bench.run(arguments)
    }

    /// Makes the target trust us for one project only.
    pub fn restrict_target(&self, project: &str) {
        let target = &self.bench.target;
        let all = target.query("/1.0/certificates?recursion=1");
        let own = all.as_array().unwrap().iter().find(|one| text(&one["name"]).starts_with("client.crt")).unwrap();
        target.incus(["config", "trust", "remove", text(&own["fingerprint"])]);
        self.trust(target, &["--restricted", "--projects", project]);
    }

    /// Gives us a new certificate that ends in so many days, and makes both servers trust it.
    pub fn renew_client_certificate(&self, days: u32) {
        let (certificate, key) =
            (self.bench.credentials().join("client.crt"), self.bench.credentials().join("client.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-new", "-subj", "/CN=holdall", "-days", &days.to_string()]);
        assert!(openssl.arg("-key").arg(key).arg("-out").arg(certificate).output().unwrap().status.success());
        self.trust(&self.bench.source, &[]);
        self.trust(&self.bench.target, &[]);
    }

    fn trust(&self, server: &Incusd, options: &[&str]) {
        let certificate = self.bench.credentials().join("client.crt");
        let add = ["config", "trust", "add-certificate", certificate.to_str().unwrap()];
        server.incus(add.iter().chain(options));
    }

    /// Puts a proxy before the source: it is in the configuration in its place from now on.
    pub fn put_proxy_before_source(&self) -> IncusProxy {
        let credentials = self.bench.credentials();
        let own = [credentials.join("client.crt"), credentials.join("client.key")];
        let proxy = IncusProxy::start(&self.bench.source, &own[0], &own[1]);
        let pinned = |url: &str| credentials.join(format!("servers/127.0.0.1_{}.pem", url.rsplit(':').next().unwrap()));
        fs::copy(pinned(&self.bench.source.url()), pinned(&proxy.url())).unwrap();
        let file = self.bench.env.config_file();
        let config = fs::read_to_string(&file).unwrap();
        fs::write(file, config.replace(&self.bench.source.url(), &proxy.url())).unwrap();
        proxy
    }

    /// Puts another configuration in the place of the one there is.
    pub fn configure(&self, rest: &str) {
        self.bench.configure_alone(rest);
    }

    /// `WHERE POINT` of every row that a command lists of an item.
    pub fn points(&self, item: &str) -> Vec<String> {
        let rows = self.run(&["list", item, "--json"]).code(0).json();
        rows.as_array().unwrap().iter().map(|row| format!("{} {}", text(&row["where"]), text(&row["point"]))).collect()
    }
}

/// A text in JSON.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The SHA-256 of the certificate of a server, as Incus shows it.
fn fingerprint(server: &Incusd) -> String {
    let certificate = fs::read_to_string(server.dir().join("server.crt")).unwrap();
    let info = server.query("/1.0");
    assert_eq!(text(&info["environment"]["certificate"]).trim(), certificate.trim());
    text(&info["environment"]["certificate_fingerprint"]).to_owned()
}
