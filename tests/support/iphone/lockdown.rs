//! lockdownd: says what the phone is, pairs with hosts, and starts services for those it trusts.
//!
//! Requests and answers are property lists as XML with their length before them. An answer names its request, and has `Error` when it is none
//! (`src/lockdown.c` of libimobiledevice).

mod requests;
mod values;

use std::io::{self, Error, Write};
use std::sync::Arc;

use plist::{Dictionary, Value};

use super::device::Device;
use super::frame::{read_plist, write_binary, write_xml};
use super::pairing::Pairing;
use super::wire::Wire;

pub(super) use values::values;

/// What it calls itself.
pub const NAME: &str = "com.apple.mobile.lockdown";

/// What an answer has besides its request's name, or the error that it is instead.
type Answer = Result<Vec<(&'static str, Value)>, &'static str>;

/// One connection to it.
struct Connection {
    wire: Wire,
    device: Arc<Device>,
    session: Option<(String, Arc<Pairing>)>,
}

/// What happens after an answer was sent.
enum Then {
    GoOn,
    StartTls,
    StopTls,
}

/// Serves one connection to its end.
pub(super) fn serve(wire: Wire, device: &Arc<Device>) -> io::Result<()> {
    let mut connection = Connection { wire, device: Arc::clone(device), session: None };
    while let Some(request) = read_plist(&mut connection.wire)? {
        let request = request.into_dictionary().ok_or_else(|| Error::other("a request is no dictionary"))?;
        device.note(|seen| seen.lockdown.push(request.clone()));
        match fault(device) {
            Some(Fault::Close) => return Ok(()),
            Some(Fault::Answer(bytes)) => {
                connection.wire.write_all(&bytes)?;
                continue;
            }
            None => {}
        }
        let then = connection.answer(&request)?;
        match (then, &connection.session) {
            (Then::StartTls, Some((_, pairing))) => connection.wire.start_tls(pairing)?,
            (Then::StopTls, _) => connection.wire.stop_tls()?,
            _ => {}
        }
    }
    Ok(())
}

enum Fault {
    Close,
    Answer(Vec<u8>),
}

/// Counts down to faults; one that is there.
fn fault(device: &Device) -> Option<Fault> {
    device.set(|state| {
        let is_due = |left: &mut usize| {
            *left = left.saturating_sub(1);
            *left == 0
        };
        if state.faults.lockdown_closes_at.as_mut().is_some_and(is_due) {
            state.faults.lockdown_closes_at = None;
            return Some(Fault::Close);
        }
        if state.faults.lockdown_answers.as_mut().is_some_and(|(left, _)| is_due(left)) {
            return state.faults.lockdown_answers.take().map(|(_, bytes)| Fault::Answer(bytes));
        }
        None
    })
}

impl Connection {
    fn answer(&mut self, request: &Dictionary) -> io::Result<Then> {
        let name = request.get("Request").and_then(Value::as_string).unwrap_or_default();
        let mut then = Then::GoOn;
        let answer = match name {
            "QueryType" => Ok(vec![("Type", NAME.into())]),
            "GetValue" => self.get_value(request),
            "SetValue" => self.set_value(request),
            "RemoveValue" => self.remove_value(request),
            "Pair" => self.pair(request),
            "ValidatePair" => self.validate_pair(request),
            "Unpair" => self.unpair(request),
            "StartSession" => self.start_session(request).inspect(|_| then = Then::StartTls),
            "StopSession" => self.stop_session(request).inspect(|_| then = Then::StopTls),
            "StartService" => self.start_service(request),
            "Goodbye" => Ok(vec![("Result", "Success".into())]),
            _ => Err("InvalidRequest"),
        };
        let manner = self.device.get(|state| state.manner.clone());
        let result = manner.results.then(|| ("Result", if answer.is_ok() { "Success" } else { "Failure" }.into()));
        let values = answer.unwrap_or_else(|error| vec![("Error", error.into())]);
        let values = values.into_iter().chain([("Request", name.into())]).chain(result);
        let whole: Dictionary = values.map(|(key, value)| (key.to_owned(), value)).collect();
        let write = if manner.binary { write_binary } else { write_xml };
        write(&mut self.wire, &Value::Dictionary(whole))?;
        Ok(then)
    }
}
