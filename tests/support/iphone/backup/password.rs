//! `ChangePassword`: turns the encryption of backups on and off, and changes its password.

use plist::{Dictionary, Value};

use super::agent::Shared;
use super::around::{Around, End};

/// Does what `OldPassword` and `NewPassword` mean together, after the passcode was entered (iOS 13 and later).
///
/// # Errors
/// 207: the old password is wrong. 208: nobody has entered the passcode. 1: there is neither password.
pub fn change(shared: &Shared, around: &dyn Around, request: &Dictionary) -> Result<Option<String>, End> {
    let word = |name: &str| request.get(name).and_then(Value::as_string).filter(|word| !word.is_empty());
    let (old, new) = (word("OldPassword"), word("NewPassword"));
    if old.is_none() && new.is_none() {
        return Err(End::code(1, "No password was given"));
    }
    shared.ask_passcode(around)?;
    if old != shared.encryption().as_ref().map(|(password, _)| password.as_str()) {
        return Err(End::code(207, "Invalid password"));
    }
    shared.set_password(new);
    around.encrypts(new.is_some());
    around.post("com.apple.mobile.backup.domain_changed");
    Ok(None)
}
