//! com.apple.mobile.installation_proxy: what is installed.

use std::io;

use plist::{Dictionary, Value};

use super::super::frame::{read_plist, write_binary};
use super::{Service, Session};

/// An app.
#[derive(Debug, Clone)]
pub struct App {
    /// `CFBundleIdentifier`.
    pub bundle: String,
    /// `CFBundleDisplayName`.
    pub name: String,
    /// `CFBundleShortVersionString`.
    pub version: String,
    /// Whether its owner has installed it; otherwise it is part of the system.
    pub is_users: bool,
    /// `iTunesMetadata`: a property list. Apps of the system have none.
    pub metadata: Vec<u8>,
    /// `ApplicationSINF`: what allows it to run. Apps of the system have none.
    pub sinf: Vec<u8>,
    /// Its picture, as PNG.
    pub icon: Vec<u8>,
}

/// How many apps are told at a time.
const AT_A_TIME: usize = 2;

impl App {
    /// A few, of the owner and of the system.
    pub fn examples() -> Vec<Self> {
        let own = |bundle: &str, name: &str, version: &str| {
            let mut metadata = Dictionary::new();
            metadata.insert("itemName".to_owned(), name.into());
            metadata.insert("softwareVersionBundleId".to_owned(), bundle.into());
            let mut bytes = Vec::new();
            Value::Dictionary(metadata).to_writer_binary(&mut bytes).unwrap();
            Self {
                bundle: bundle.to_owned(),
                name: name.to_owned(),
                version: version.to_owned(),
                is_users: true,
                metadata: bytes,
                sinf: format!("sinf of {bundle}").into_bytes(),
                icon: format!("\u{89}PNG\r\n\u{1a}\nicon of {bundle}").chars().map(|byte| byte as u8).collect(),
            }
        };
        let system =
            Self { is_users: false, metadata: Vec::new(), sinf: Vec::new(), ..own("com.apple.Maps", "Maps", "7") };
        vec![own("org.example.notes", "Notes & More", "1.4.2"), system, own("net.example.chat", "Chät", "22.1")]
    }

    fn told(&self, attributes: Option<&[Value]>) -> Dictionary {
        let mut all = Dictionary::new();
        let mut add = |key: &str, value: Value| {
            let is_wanted = attributes.is_none_or(|names| names.iter().any(|name| name.as_string() == Some(key)));
            // These are told only to those who ask for them by name.
            if is_wanted && (attributes.is_some() || !matches!(key, "ApplicationSINF" | "iTunesMetadata")) {
                all.insert(key.to_owned(), value);
            }
        };
        add("CFBundleIdentifier", self.bundle.as_str().into());
        add("CFBundleDisplayName", self.name.as_str().into());
        add("CFBundleName", self.name.as_str().into());
        add("CFBundleShortVersionString", self.version.as_str().into());
        add("CFBundleVersion", self.version.as_str().into());
        add("ApplicationType", if self.is_users { "User" } else { "System" }.into());
        let container = format!("/private/var/mobile/Containers/Data/Application/{}", self.bundle);
        add("Container", container.into());
        if self.is_users {
            add("ApplicationSINF", Value::Data(self.sinf.clone()));
            add("iTunesMetadata", Value::Data(self.metadata.clone()));
        }
        all
    }
}

/// The service.
pub struct InstallationProxy;

impl Service for InstallationProxy {
    fn serve(&self, mut session: Session) -> io::Result<()> {
        while let Some(request) = read_plist(&mut session.wire)? {
            let Some(request) = request.as_dictionary() else {
                return Err(io::Error::other("a request is no dictionary"));
            };
            let options = request.get("ClientOptions").and_then(Value::as_dictionary);
            let option = |key: &str| options?.get(key);
            let attributes = option("ReturnAttributes").and_then(Value::as_array).map(Vec::as_slice);
            let bundles = option("BundleIDs").and_then(Value::as_array);
            let kind = option("ApplicationType").and_then(Value::as_string).unwrap_or("Any");
            let device = std::sync::Arc::clone(&session.device);
            let apps = device.apps().iter().filter(|app| match kind {
                "User" => app.is_users,
                "System" => !app.is_users,
                _ => true,
            });
            let is_wanted =
                |app: &&App| bundles.is_none_or(|names| names.iter().any(|name| name.as_string() == Some(&app.bundle)));
            let apps: Vec<(&str, Dictionary)> =
                apps.filter(is_wanted).map(|app| (app.bundle.as_str(), app.told(attributes))).collect();
            match request.get("Command").and_then(Value::as_string) {
                Some("Browse") => browse(&mut session, &apps)?,
                Some("Lookup") => {
                    let found = apps.into_iter().map(|(bundle, told)| (bundle.to_owned(), Value::Dictionary(told)));
                    let found = found.collect::<Dictionary>();
                    answer(&mut session, [("LookupResult", found.into()), ("Status", "Complete".into())])?;
                }
                _ => answer(&mut session, [("Error", "UnknownCommand".into())])?,
            }
        }
        Ok(())
    }
}

fn browse(session: &mut Session, apps: &[(&str, Dictionary)]) -> io::Result<()> {
    for (number, some) in apps.chunks(AT_A_TIME).enumerate() {
        let list = some.iter().map(|(_, told)| Value::Dictionary(told.clone())).collect();
        answer(
            session,
            [
                ("Status", "BrowsingApplications".into()),
                ("Total", (apps.len() as u64).into()),
                ("CurrentIndex", ((number * AT_A_TIME) as u64).into()),
                ("CurrentAmount", (some.len() as u64).into()),
                ("CurrentList", Value::Array(list)),
            ],
        )?;
    }
    answer(session, [("Status", "Complete".into())])
}

fn answer<const N: usize>(session: &mut Session, values: [(&str, Value); N]) -> io::Result<()> {
    let values = values.into_iter().map(|(key, value)| (key.to_owned(), value));
    write_binary(&mut session.wire, &Value::Dictionary(values.collect()))
}
