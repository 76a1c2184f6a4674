//! com.apple.mobile.notification_proxy: who observes what, and what was posted.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use plist::{Dictionary, Value};

use super::super::frame::{read_plist, write_xml};
use super::{Service, Session};

/// How long a notification waits at most until it is relayed.
const STEP: Duration = Duration::from_millis(10);

/// What is posted on the phone comes by here.
#[derive(Debug, Default)]
pub struct Hub(Mutex<Vec<Weak<Observer>>>);

#[derive(Debug, Default)]
struct Observer {
    names: Mutex<HashSet<String>>,
    waiting: Mutex<Vec<String>>,
}

impl Hub {
    /// Tells those who observe it.
    pub fn post(&self, name: &str) {
        let mut observers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        observers.retain(|observer| observer.strong_count() > 0);
        for observer in observers.iter().filter_map(Weak::upgrade) {
            if observer.names.lock().unwrap_or_else(PoisonError::into_inner).contains(name) {
                observer.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
            }
        }
    }

    /// Whether somebody observes it.
    pub fn is_observed(&self, name: &str) -> bool {
        let observers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alive = observers.iter().filter_map(Weak::upgrade);
        alive.any(|observer| observer.names.lock().unwrap_or_else(PoisonError::into_inner).contains(name))
    }

    fn add(&self) -> Arc<Observer> {
        let observer = Arc::new(Observer::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&observer));
        observer
    }
}

/// The service.
pub struct NotificationProxy;

impl Service for NotificationProxy {
    fn serve(&self, mut session: Session) -> io::Result<()> {
        let observer = session.device.hub.add();
        loop {
            let waiting = std::mem::take(&mut *observer.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            for name in waiting {
                write_xml(&mut session.wire, &message("RelayNotification", Some(name)))?;
            }
            if !session.wire.ready(STEP)? {
                continue;
            }
            let Some(request) = read_plist(&mut session.wire)? else { return Ok(()) };
            let text = |key: &str| request.as_dictionary()?.get(key)?.as_string();
            match (text("Command"), text("Name")) {
                (Some("ObserveNotification"), Some(name)) => {
                    observer.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
                }
                (Some("PostNotification"), Some(name)) => {
                    session.device.note(|seen| seen.posted.push(name.to_owned()));
                    session.device.hub.post(name);
                }
                (Some("Shutdown"), _) => {
                    write_xml(&mut session.wire, &message("ProxyDeath", None))?;
                    return Ok(());
                }
                _ => return Err(io::Error::other(format!("a notification proxy is asked for {request:?}"))),
            }
        }
    }
}

fn message(command: &str, name: Option<String>) -> Value {
    let mut message = Dictionary::new();
    message.insert("Command".to_owned(), command.into());
    if let Some(name) = name {
        message.insert("Name".to_owned(), name.into());
    }
    Value::Dictionary(message)
}
