//! A virtual iPhone for a shell: `cargo run --example virtual-iphone -- SOCKET`, and `USBMUXD_SOCKET_ADDRESS=UNIX:SOCKET` for its clients.
//!
//! It prints `ready UDID`, and the address of its lockdownd if that is in the network. Then it does what lines of standard input say: `change PERCENT`
//! gives so many of its files other contents, `encrypt PASSWORD` and `plain` set and forget the password of backups. It answers each with a line, and
//! runs until it is killed.
#![allow(dead_code, reason = "tests use all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may end")]

use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::Parser;

use iphone::backup::{Content, Files, Start};
use iphone::{Muxer, Phone, Settings, Trust};

mod iphone;

/// Where the files are that `--files` makes.
const DOMAIN: &str = "CameraRollDomain";

#[derive(Parser)]
struct Arguments {
    /// Where its muxer listens.
    socket: PathBuf,
    /// Its UDID.
    #[arg(long)]
    udid: Option<String>,
    /// Its name.
    #[arg(long)]
    name: Option<String>,
    /// How many files it has, besides a few that all phones have.
    #[arg(long, default_value_t = 0)]
    files: u64,
    /// How many bytes these files have together.
    #[arg(long, default_value_t = 0)]
    bytes: u64,
    /// The password of its backups.
    #[arg(long)]
    password: Option<String>,
    /// Whether it is in the network.
    #[arg(long)]
    wifi: bool,
    /// Whether its owner has yet to trust this computer, and never does.
    #[arg(long)]
    untrusting: bool,
}

fn path(number: u64) -> String {
    format!("Media/DCIM/{:03}APPLE/IMG_{number:06}.JPG", 100 + number / 1000)
}

fn main() {
    let arguments = Arguments::parse();
    let mut files = Files::typical(1);
    let size = |number: u64| {
        let share = arguments.bytes / arguments.files.max(1);
        share + u64::from(number < arguments.bytes % arguments.files.max(1))
    };
    for number in 0..arguments.files {
        files.add(DOMAIN, &path(number), Content::seeded(number, size(number)));
    }
    let usual = Settings::default();
    let settings = Settings {
        udid: arguments.udid.unwrap_or(usual.udid),
        name: arguments.name.unwrap_or(usual.name),
        wifi: arguments.wifi,
        backup: Start { files, ..Start::default() },
        ..Settings::default()
    };
    let phone = Phone::start_at(&Arc::new(Muxer::start_at(Some(&arguments.socket))), settings);
    if !arguments.untrusting {
        phone.set(|state| state.trust = Trust::Accepted);
    }
    if let Some(password) = &arguments.password {
        phone.encrypt_backups(Some(password));
    }
    let address = phone.lockdown().map(|address| format!(" {address}")).unwrap_or_default();
    say(&format!("ready {}{address}", phone.udid()));

    let mut turn = 0;
    for line in stdin().lock().lines() {
        match line.unwrap().split_whitespace().collect::<Vec<_>>()[..] {
            ["change", percent] => {
                turn += 1;
                let count = arguments.files * percent.parse::<u64>().unwrap() / 100;
                // Spread over all of them, and others each time.
                let step = (arguments.files / count.max(1)).max(1);
                let mut files = phone.backup.files();
                for number in (0..count).map(|number| (number * step + turn) % arguments.files) {
                    files.change(DOMAIN, &path(number), Content::seeded(number + (turn << 32), size(number)));
                }
                drop(files);
                say(&format!("changed {count}"));
            }
            ["encrypt", password] => {
                phone.encrypt_backups(Some(password));
                say("encrypted");
            }
            ["plain"] => {
                phone.encrypt_backups(None);
                say("plain");
            }
            _ => say("what?"),
        }
    }
    loop {
        thread::park();
    }
}

fn say(line: &str) {
    let mut output = stdout();
    writeln!(output, "{line}").unwrap();
    output.flush().unwrap();
}
