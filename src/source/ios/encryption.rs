//! Turns the encryption of a device's backups on or off, and changes its password.
//!
//! The password is kept on the device, which encrypts what it sends to any computer. What it answers to a change is not enough to know that it was made: it is asked
//! before and after (`WillEncrypt` in `com.apple.mobile.backup`).

use std::fmt;

use anyhow::{Result, anyhow, ensure};
use plist::{Dictionary, Value};

use super::Ios;
use super::overlay::Overlay;
use super::phone::{Found, Phone};
use super::progress::Progress;
use super::refusal::{self, Circumstances};
use super::serve::{Plea, Serve};
use super::session;
use super::staging::{self, Staging};
use crate::error::{Annotate, hinted};
use crate::monitor::Monitor;
use crate::output::printable;
use crate::secret::Revealed;

/// What is to be done.
pub enum Change {
    /// Encrypt from now on, under this password.
    On(Revealed),
    /// Encrypt no longer; the password that it was.
    Off(Revealed),
    /// Another password: the old and the new one.
    Password(Revealed, Revealed),
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On(_) => "On",
            Self::Off(_) => "Off",
            Self::Password(..) => "Password",
        })
    }
}

impl Ios {
    /// Whether the device encrypts its backups; its name, printable.
    ///
    /// # Errors
    ///
    /// When it is not here, or does not tell.
    pub fn is_encrypting(&self) -> Result<(bool, String)> {
        let mut phone = self.present()?;
        let name = printable(phone.name().as_ref());
        Ok((self.runtime()?.block_on(will_encrypt(&mut phone))?, name))
    }

    /// Changes the encryption of the device's backups, and makes sure that it is changed.
    ///
    /// # Errors
    ///
    /// When the device is not here, refuses, or is afterwards not as it should be.
    pub fn change_encryption(&self, change: &Change, monitor: &dyn Monitor) -> Result<()> {
        let mut phone = self.present()?;
        self.runtime()?.block_on(self.talk_of_encryption(&mut phone, change, monitor))
    }

    /// The device, which must be here.
    fn present(&self) -> Result<Box<Phone>> {
        match self.find()? {
            Found::Here(phone) => Ok(phone),
            Found::Away(why) => Err(hinted(anyhow!("{} is away: {why}", self.id), "Connect it and unlock it.")),
        }
    }

    async fn talk_of_encryption(&self, phone: &mut Phone, change: &Change, monitor: &dyn Monitor) -> Result<()> {
        let name = printable(phone.name().as_ref());
        let mut request = Dictionary::from_iter([("TargetIdentifier", phone.udid())]);
        let mut put = |key: &str, password: &Revealed| drop(request.insert(key.to_owned(), Value::from(&**password)));
        match change {
            Change::On(new) => put("NewPassword", new),
            Change::Off(old) => put("OldPassword", old),
            Change::Password(old, new) => {
                put("OldPassword", old);
                put("NewPassword", new);
            }
        }
        let may_prompt = session::may_prompt(phone).await;
        let mut notices = session::listen(phone).await;
        let mut wire = session::service(phone).await?;
        wire.request("ChangePassword", request).await?;
        let say = |plea| match plea {
            Plea::Passcode => monitor.say(&format!("Enter the passcode on {name}.")),
            Plea::Look => monitor.say(&format!("{name} is silent: if it asks for its passcode, enter it.")),
        };
        // It asks for nothing; if it did, there would be nothing.
        let mut folder = Overlay::empty(phone.udid(), Staging::pretend(&staging::place(&self.config, &self.id)?));
        let progress = Progress::new(monitor, &self.id, "change encryption");
        let (notices, folder, circumstances) = (&mut notices, &mut folder, Circumstances::default());
        let arrived = &mut |_: &_| Ok(());
        let mut serve =
            Serve { wire: &mut wire, folder, notices, progress, arrived, say: &say, may_prompt, circumstances };
        let ended = serve.run().await?;
        let circumstances = serve.circumstances;
        wire.goodbye().await;
        refusal::judge(&ended, circumstances, &name)?;
        let expected = !matches!(change, Change::Off(_));
        ensure!(
            will_encrypt(phone).await? == expected,
            "{name} says that it is done, and its backups are {} encrypted",
            if expected { "still not" } else { "still" }
        );
        Ok(())
    }
}

async fn will_encrypt(phone: &mut Phone) -> Result<bool> {
    let value = phone.value(Some("com.apple.mobile.backup"), Some("WillEncrypt")).await;
    let value = value.hint("Is it unlocked, and paired? `holdall pair` says.")?;
    Ok(value.and_then(|value| value.as_boolean()).unwrap_or(false))
}
