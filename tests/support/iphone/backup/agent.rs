//! BackupAgent2 of the virtual phone: what it knows, what tests set and see, and one connection of `com.apple.mobilebackup2`.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use plist::{Dictionary, Value};

use super::around::{Around, End};
use super::faults::Faults;
use super::files::Files;
use super::keybag::{Keybag, Rounds, random};
use super::link::Link;
use super::restoring::Restored;
use super::seen::Seen;
use super::settings::Settings;
use super::wire::{Stream, Wire};
use super::{making, other, password, restoring};

#[derive(Default)]
struct State {
    settings: Settings,
    faults: Faults,
    seen: Seen,
    /// The password of backups and the keys under it.
    encryption: Option<(String, Keybag)>,
    restored: Option<Restored>,
    connections: usize,
    entered: bool,
    stopped: bool,
}

/// What connections and tests have in common.
pub struct Shared {
    files: Mutex<Files>,
    state: Mutex<State>,
    changed: Condvar,
    /// The keys under a password that nobody knows, of backups that are not encrypted.
    unknown: Keybag,
}

/// BackupAgent2 of one phone.
#[derive(Clone)]
pub struct Agent(Arc<Shared>);

impl Agent {
    /// That of a phone with these files.
    pub fn new(files: Files) -> Self {
        let secret: String = random::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let unknown = Keybag::new(&secret, Rounds::default());
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { files: Mutex::new(files), state, changed, unknown }))
    }

    /// What is on the phone, to look at and to change; a backup that has begun does not see it.
    pub fn files(&self) -> MutexGuard<'_, Files> {
        self.0.files.lock().expect("nobody has panicked with it")
    }

    /// Changes the settings.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.0.state().settings);
    }

    /// What is to go wrong from now on.
    pub fn fault(&self, faults: Faults) {
        self.0.state().faults = faults;
    }

    /// What the phone has seen.
    pub fn seen(&self) -> Seen {
        self.0.state().seen.clone()
    }

    /// Forgets what it has seen, what was restored, and that the passcode was entered.
    pub fn forget(&self) {
        let mut state = self.0.state();
        (state.seen, state.restored, state.entered) = (Seen::default(), None, false);
    }

    /// Somebody enters the passcode.
    pub fn enter_passcode(&self) {
        self.0.state().entered = true;
        self.0.changed.notify_all();
    }

    /// `WillEncrypt` of the domain `com.apple.mobile.backup`.
    pub fn will_encrypt(&self) -> bool {
        self.0.state().encryption.is_some()
    }

    /// Sets or forgets the password of backups, as if by somebody else.
    pub fn set_password(&self, password: Option<&str>) {
        self.0.set_password(password);
    }

    /// What the last restore has brought.
    pub fn restored(&self) -> Option<Restored> {
        self.0.state().restored.clone()
    }

    /// Ends every wait: the phone is being taken away.
    pub fn stop(&self) {
        self.0.state().stopped = true;
        self.0.changed.notify_all();
    }

    /// One connection of the service, until the host takes its leave. `escrow`: it came with the pairing's escrow bag.
    ///
    /// # Errors
    /// The connection broke off, was made to by a fault, or the host sent what is no message.
    pub fn serve(&self, stream: &mut dyn Stream, escrow: bool, around: &dyn Around) -> io::Result<()> {
        {
            let mut state = self.0.state();
            state.connections += 1;
            state.seen.connections.0 += 1;
            state.seen.connections.1 = state.seen.connections.1.max(state.connections);
        }
        let result = self.0.converse(stream, escrow, around);
        self.0.state().connections -= 1;
        result
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody has panicked with it")
    }

    /// Notes something for the test.
    pub fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.state().seen);
    }

    /// The settings of now.
    pub fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    /// What is on the phone now.
    pub fn snapshot(&self) -> Files {
        self.files.lock().expect("nobody has panicked with it").clone()
    }

    /// The password and the keys of encrypted backups.
    pub fn encryption(&self) -> Option<(String, Keybag)> {
        self.state().encryption.clone()
    }

    /// The keys that stand in a backup that is not encrypted.
    pub fn unknown_keys(&self) -> &Keybag {
        &self.unknown
    }

    /// Sets the password of backups, with new keys.
    pub fn set_password(&self, password: Option<&str>) {
        let rounds = self.settings().rounds;
        self.state().encryption = password.map(|password| (password.to_owned(), Keybag::new(password, rounds)));
    }

    /// Notes what was restored.
    pub fn set_restored(&self, restored: Restored) {
        self.state().restored = Some(restored);
    }

    /// Waits, but not longer than the phone is there.
    pub fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state();
        while !state.stopped
            && let Some(left) = until.checked_duration_since(Instant::now())
        {
            state = self.changed.wait_timeout(state, left).expect("nobody has panicked with it").0;
        }
    }

    /// Asks for the passcode, if there is one. The phone is silent until it was entered or given up.
    ///
    /// # Errors
    /// 208: nobody has entered it.
    pub fn ask_passcode(&self, around: &dyn Around) -> Result<(), End> {
        let Some(passcode) = self.settings().passcode else { return Ok(()) };
        around.post("com.apple.LocalAuthentication.ui.presented");
        self.note(|seen| seen.prompts += 1);
        let begun = Instant::now();
        let time = passcode.entered_after.unwrap_or(Duration::MAX).min(passcode.gives_up_after);
        let mut state = self.state();
        while !state.entered && !state.stopped && begun.elapsed() < time {
            let left = time.saturating_sub(begun.elapsed());
            state = self.changed.wait_timeout(state, left).expect("nobody has panicked with it").0;
        }
        let entered = std::mem::take(&mut state.entered)
            || passcode.entered_after.is_some_and(|after| after <= passcode.gives_up_after);
        drop(state);
        around.post("com.apple.LocalAuthentication.ui.dismissed");
        if entered { Ok(()) } else { Err(End::code(208, "Device locked")) }
    }

    fn faults(&self) -> Faults {
        let mut state = self.state();
        let faults = state.faults.clone();
        match faults.times {
            0 => {}
            1 => state.faults = Faults::default(),
            more => state.faults.times = more - 1,
        }
        faults
    }

    fn converse(&self, stream: &mut dyn Stream, escrow: bool, around: &dyn Around) -> io::Result<()> {
        let mut wire = Wire::new(stream, self);
        let text = |text: &str| Value::String(text.to_owned());
        wire.send(&Value::Array(vec![text("DLMessageVersionExchange"), 300.into(), 0.into()]))?;
        let answer = wire.receive()?;
        if answer.as_array().and_then(|answer| answer.get(1)?.as_string()) != Some("DLVersionsOk") {
            return Ok(());
        }
        wire.send(&Value::Array(vec![text("DLMessageDeviceReady")]))?;
        let mut link = Link::new(wire, self);
        loop {
            let message = link.wire.receive()?;
            let Some(message) = message.into_array() else { return Ok(()) };
            let request = match message.first().and_then(Value::as_string) {
                Some("DLMessageProcessMessage") => message.get(1).and_then(Value::as_dictionary),
                Some("DLMessageDisconnect") => {
                    self.note(|seen| seen.farewells += 1);
                    return Ok(());
                }
                _ => return Ok(()),
            };
            let Some(request) = request else { return Ok(()) };
            self.request(&mut link, request, escrow, around)?;
        }
    }

    fn request(&self, link: &mut Link, request: &Dictionary, escrow: bool, around: &dyn Around) -> io::Result<()> {
        let name = request.get("MessageName").and_then(Value::as_string).unwrap_or_default();
        if name == "Hello" {
            return other::hello(link, request);
        }
        self.note(|seen| seen.requests.push(request.clone()));
        let faults = self.faults();
        link.wire.expect(faults.connection);
        let target = request.get("TargetIdentifier").and_then(Value::as_string);
        let result = if let Some((code, text)) = &faults.refuse {
            Err(End::Refused(*code, text.clone()))
        } else if target.is_some_and(|target| target != around.udid()) {
            Err(End::code(1, "The target identifier is not that of this device"))
        } else {
            match name {
                "Backup" | "Restore" if around.locked() && !escrow => Err(End::code(208, "Device locked")),
                "Backup" => making::run(link, self, around, &faults, request),
                "Restore" => restoring::run(link, self, around, request),
                "ChangePassword" => password::change(self, around, request),
                "Info" => other::info(link, around, request),
                "List" => other::list(link, around, request),
                "EraseDevice" => Err(End::code(1, "This phone does not erase itself")),
                // What BackupAgent2 of iOS 10 and later does not know any more: it goes away.
                _ => Err(End::Broken(io::Error::new(io::ErrorKind::ConnectionAborted, format!("request {name}")))),
            }
        };
        let sent = link.wire.sent();
        self.note(|seen| seen.bytes = sent);
        let (code, text, content) = match result {
            Ok(content) => (0, String::new(), content),
            Err(End::Refused(code, text)) => (code, text, None),
            Err(End::Broken(error)) => {
                self.note(|seen| seen.ends.push(Err(error.to_string())));
                return Err(error);
            }
        };
        self.note(|seen| seen.ends.push(Ok((code, text.clone()))));
        if faults.leaves {
            return other::leave(link);
        }
        other::respond(link, code, &text, content)
    }
}
