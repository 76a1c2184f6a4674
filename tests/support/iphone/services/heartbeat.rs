//! com.apple.mobile.heartbeat: says Marco, and wants to hear Polo.

use std::io;

use plist::{Dictionary, Value};

use super::super::frame::{read_plist, write_binary};
use super::{Service, Session};

/// The service.
pub struct Heartbeat;

impl Service for Heartbeat {
    fn serve(&self, mut session: Session) -> io::Result<()> {
        let every = session.device.settings().heartbeat;
        let mut marco = Dictionary::new();
        marco.insert("Command".to_owned(), "Marco".into());
        marco.insert("Interval".to_owned(), every.as_secs().max(1).into());
        marco.insert("SupportsSleepyTime".to_owned(), true.into());
        let marco = Value::Dictionary(marco);
        loop {
            write_binary(&mut session.wire, &marco)?;
            if !session.wire.ready(session.device.settings().patience)? {
                return Err(io::Error::other("no Polo has come"));
            }
            let Some(answer) = read_plist(&mut session.wire)? else { return Ok(()) };
            let command = answer.as_dictionary().and_then(|answer| answer.get("Command")).and_then(Value::as_string);
            if command != Some("Polo") {
                return Err(io::Error::other(format!("no Polo, but {answer:?}")));
            }
            session.device.heard_polo();
            // A client that leaves is noticed at once.
            if session.wire.ready(every)? {
                return Ok(());
            }
        }
    }
}
