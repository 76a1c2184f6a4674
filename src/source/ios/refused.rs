//! What a device says when it says no, in words for people, and what to do about it.
//!
//! The codes are those of lockdownd (libimobiledevice, include/libimobiledevice/lockdown.h) and of the services that it starts.

use anyhow::Error;

use super::way;
use crate::error::{cause, hinted};

/// A device said no.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Refused {
    code: String,
    words: String,
}

/// Codes, what they mean, and what to do.
const KNOWN: [(&str, &str, &str); 18] = [
    ("PasswordProtected", "the device is locked", "Unlock it, and try again."),
    ("DeviceLocked", "the device is locked", "Unlock it, and try again."),
    (
        "EscrowLocked",
        "the device was not unlocked since it was started",
        "Unlock it once with its passcode, and try again.",
    ),
    (
        "InvalidHostID",
        "the device does not know this computer (any more)",
        "Run `holdall pair` with the device on USB. A device forgets a pairing when it is reset, when its owner says so, or after 30 days without use.",
    ),
    (
        "InvalidPairRecord",
        "the device does not accept the pairing record",
        "Run `holdall pair` with the device on USB.",
    ),
    (
        "PairingDialogResponsePending",
        "nobody has answered yet, on the device, whether it trusts this computer",
        "Tap Trust on the device.",
    ),
    (
        "UserDeniedPairing",
        "somebody tapped Don't Trust on the device",
        "Unplug it, plug it in again, run `holdall pair` and tap Trust.",
    ),
    (
        "PairingProhibitedOverThisConnection",
        "a device is paired over USB only",
        "Connect it with a cable, and run `holdall pair`.",
    ),
    (
        "PairingProhibited",
        "the device lets nobody pair",
        "Whoever manages the device has forbidden it (Settings, General, VPN & Device Management).",
    ),
    ("FMiPRestricted", "the device is locked by Find My", "Unlock it with its owner's account."),
    ("GetProhibited", "the device does not tell this without a session", "Run `holdall pair` with the device on USB."),
    ("SetProhibited", "the device does not let this be changed", "Whoever manages the device may have forbidden it."),
    ("SessionInactive", "the device has ended the session", "Try again."),
    (
        "InvalidService",
        "the device has no such service",
        "Its system may be too old, or too new for this version of holdall.",
    ),
    (
        "ServiceProhibited",
        "the device forbids this service",
        "Whoever manages the device has forbidden it (Settings, General, VPN & Device Management).",
    ),
    (
        "ServiceLimit",
        "the device has too many connections to this service",
        "Quit other programs that talk to it, or start it anew.",
    ),
    ("InvalidActivationRecord", "the device is not activated", "Set it up first."),
    ("InvalidConnection", "the device does not allow this over this connection", "Connect it with a cable."),
];

impl Refused {
    /// What this code means, with a hint.
    pub(super) fn explained(code: &str) -> Error {
        // What a device says is cut: it may say anything.
        let code: String = code.chars().take(200).collect();
        match KNOWN.iter().find(|(known, ..)| *known == code) {
            Some((_, words, hint)) => hinted(Self { words: (*words).to_owned(), code }, hint),
            None => {
                Self { words: format!("the device answers: {}", crate::output::printable(code.as_ref())), code }.into()
            }
        }
    }

    /// Whether an error is, or comes from, an answer with this code.
    pub(super) fn is(error: &Error, code: &str) -> bool {
        Self::code(error) == Some(code)
    }

    /// The code in an error that is, or comes from, such an answer.
    pub(super) fn code(error: &Error) -> Option<&str> {
        cause::<Self>(error).map(|refused| refused.code.as_str())
    }

    /// Whether it says that the device is locked.
    pub(super) fn is_locked(error: &Error) -> bool {
        Self::code(error).is_some_and(|code| ["PasswordProtected", "DeviceLocked", "EscrowLocked"].contains(&code))
    }
}

/// What an error of a connection means for people.
pub(super) fn broken(error: std::io::Error) -> Error {
    if way::is_gone(&error) {
        return hinted(
            Error::new(error).context("the connection to the device broke off"),
            "Was it unplugged, or out of reach? Run this again when it is back.",
        );
    }
    super::tls::told(&error).unwrap_or_else(|| error.into())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::error::{chain, hints};

    #[test]
    fn every_code_has_words_and_a_hint() {
        for (code, words, hint) in KNOWN {
            let error = Refused::explained(code).context("start the backup");
            assert!(Refused::is(&error, code));
            assert_eq!(chain(&error), format!("start the backup: {words}"));
            assert_eq!(hints(&error), [hint]);
        }
        assert!(Refused::is_locked(&Refused::explained("PasswordProtected")));
        assert!(!Refused::is_locked(&Refused::explained("InvalidHostID")));
    }

    #[test]
    fn unknown_code_is_shown_and_cannot_control_the_terminal() {
        let error = Refused::explained(&format!("Odd\x1b[2J{}", "x".repeat(1000)));
        assert!(chain(&error).starts_with("the device answers: Odd\\u{1b}[2Jxxx"), "{error:#}");
        assert!(chain(&error).len() < 300);
    }

    #[test]
    fn connection_that_ends_is_told_as_such() {
        for kind in [ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe] {
            let told = broken(kind.into());
            assert!(chain(&told).starts_with("the connection to the device broke off"), "{told:#}");
        }
        assert_eq!(broken(std::io::Error::other("x")).to_string(), "x");
    }
}
