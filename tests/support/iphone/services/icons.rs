//! com.apple.springboardservices: the icons of apps.

use std::io;

use plist::{Dictionary, Value};

use super::super::frame::{read_plist, write_binary};
use super::{Service, Session};

/// The service.
pub struct SpringBoard;

impl Service for SpringBoard {
    fn serve(&self, mut session: Session) -> io::Result<()> {
        while let Some(request) = read_plist(&mut session.wire)? {
            let text = |key: &str| request.as_dictionary()?.get(key)?.as_string();
            let mut answer = Dictionary::new();
            match (text("command"), text("bundleId")) {
                (Some("getIconPNGData"), Some(bundle)) => {
                    match session.device.apps().iter().find(|app| app.bundle == bundle) {
                        Some(app) => answer.insert("pngData".to_owned(), Value::Data(app.icon.clone())),
                        None => answer.insert("Error".to_owned(), "LookupFailed".into()),
                    };
                }
                _ => {
                    answer.insert("Error".to_owned(), "UnknownCommand".into());
                }
            }
            write_binary(&mut session.wire, &Value::Dictionary(answer))?;
        }
        Ok(())
    }
}
