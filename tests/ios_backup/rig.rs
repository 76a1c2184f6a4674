//! A phone that this machine is paired with, a store, and what must be in it.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::env::{TestEnv, finish};
use crate::support::iphone::backup::{Faults, file_id};
use crate::support::iphone::{Phone, Settings, Trust};
use crate::support::outcome::Outcome;

/// A phone, and an environment with a store whose configuration names it.
pub struct Rig {
    pub phone: Phone,
    pub env: TestEnv,
}

impl Rig {
    pub fn new(settings: Settings) -> Self {
        Self::with(settings, "")
    }

    /// With further keys in the table of the phone; `{root}` in them is the root of the environment.
    pub fn with(settings: Settings, keys: &str) -> Self {
        let phone = Phone::start(settings);
        phone.set(|state| state.trust = Trust::Accepted);
        let env = TestEnv::with_store_and(&format!("[ios.phone]\nudid = \"{}\"\n{keys}", phone.udid()));
        let env = env.variable("USBMUXD_SOCKET_ADDRESS", phone.usbmuxd());
        let paired = env.command("idevicepair").arg("pair").output().unwrap();
        assert!(paired.status.success(), "{paired:?}");
        Self { phone, env }
    }

    pub fn backup(&self, arguments: &[&str]) -> Outcome {
        self.env.run([&["backup", "--json", "ios.phone"], arguments].concat())
    }

    /// A backup, and how many bytes of memory it took at its peak.
    pub fn backup_measured(&self) -> (u64, Outcome) {
        const MEASURE: &str = "import resource, subprocess, sys\n\
            code = subprocess.run(sys.argv[2:]).returncode\n\
            open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n\
            sys.exit(code)";
        let measured = self.env.path("memory");
        let mut command = self.env.command("python3");
        command.args(["-c", MEASURE]).arg(&measured).arg(env!("CARGO_BIN_EXE_holdall"));
        command.args(["backup", "--json", "ios.phone"]);
        let outcome = finish(command);
        let kibibytes: u64 = fs::read_to_string(measured).unwrap().parse().unwrap();
        (kibibytes << 10, outcome)
    }

    /// A backup that has to be whole: what the run says of it.
    pub fn saved(&self, arguments: &[&str]) -> Value {
        let outcome = self.backup(arguments).code(0);
        let item = outcome.line("item");
        assert_eq!(item["outcome"], "saved", "{outcome:?}");
        item
    }

    /// A backup that fails, without a point and with nothing left behind; the error and the hint.
    pub fn failed(&self) -> (String, String) {
        let points = self.points();
        let outcome = self.backup(&[]).code(1);
        let item = outcome.line("item");
        assert_eq!(item["outcome"], "failed", "{outcome:?}");
        assert_eq!(self.points(), points);
        self.assert_nothing_is_left();
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        (text("error"), text("hint"))
    }

    /// A backup that is away, and why.
    pub fn away(&self) -> (String, Outcome) {
        let outcome = self.backup(&[]).code(0);
        let item = outcome.line("item");
        assert_eq!(item["outcome"], "away", "{outcome:?}");
        self.assert_nothing_is_left();
        (item["error"].as_str().unwrap_or_default().to_owned(), outcome)
    }

    pub fn points(&self) -> usize {
        self.env.run(["list", "--json"]).code(0).json().as_array().unwrap().len()
    }

    /// What the phone gets wrong in the next session, and only there.
    pub fn once(&self, faults: Faults) {
        self.phone.backup.fault(Faults { times: 1, ..faults });
    }

    /// What restic brings back of a point.
    pub fn restored(&self, snapshot: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let target = self.env.path(format!("restored-{snapshot}"));
        drop(fs::remove_dir_all(&target));
        self.env.restic(["restore", snapshot, "--target", target.to_str().unwrap()]).code(0);
        read(&target.join(self.phone.udid()))
    }

    /// Nothing of a session is on the disk any more.
    pub fn assert_nothing_is_left(&self) {
        let staging = self.env.path("cache/staging/ios.phone");
        assert!(!staging.exists(), "{:?}", fs::read_dir(&staging).map(|entries| entries.count()));
    }

    /// A point holds everything that is on the phone, and nothing else.
    pub fn assert_holds_the_phone(&self, item: &Value) {
        let mut files = self.restored(item["snapshot"].as_str().unwrap());
        for name in ["Info.plist", "Manifest.db", "Manifest.plist", "Status.plist"] {
            assert!(files.remove(Path::new(name)).is_some(), "no {name}");
        }
        for (domain, path, entry) in self.phone.backup.files().iter() {
            let Some(content) = entry.content() else { continue };
            let id = file_id(domain, path).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let body = files.remove(&Path::new(&id[..2]).join(&id));
            assert_eq!(body.as_deref(), Some(&*content.bytes()), "{domain} {path}");
        }
        assert_eq!(files.keys().collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }
}

/// Runs a program of libimobiledevice that has to succeed.
pub fn told(env: &TestEnv, program: &str, arguments: &[&str]) -> String {
    let output = env.command("timeout").args(["60", program]).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

/// The files below a directory, by their paths, with their contents.
pub fn read(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    files
}
