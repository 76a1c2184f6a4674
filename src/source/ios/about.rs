//! What a device says of itself, for people who want to know which one it is and how it is.

use anyhow::Result;
use plist::Value;

use super::phone::Phone;

/// What is known of a device. What it says is hostile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Its identifier.
    pub udid: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// `iPhone14,5`
    pub model: Option<String>,
    /// `17.5.1`
    pub version: Option<String>,
    /// `USB` or `Wi-Fi`; `None` when it is not there.
    pub connection: Option<&'static str>,
    /// Whether it lets this computer in.
    pub is_paired: bool,
    /// Whether its backups are encrypted.
    pub is_encrypted: Option<bool>,
    /// How full its battery is, in percent.
    pub battery: Option<u64>,
    /// What is wrong with it, or why it is away.
    pub trouble: Option<String>,
}

impl About {
    /// Asks a device that lets us in.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub(super) async fn of(phone: &mut Phone) -> Result<Self> {
        let mut value = async |domain, key| phone.value(domain, Some(key)).await;
        let text = |value: Option<Value>| value.and_then(Value::into_string);
        Ok(Self {
            model: text(value(None, "ProductType").await?),
            version: text(value(None, "ProductVersion").await?),
            is_encrypted: value(Some("com.apple.mobile.backup"), "WillEncrypt").await?.and_then(|it| it.as_boolean()),
            battery: value(Some("com.apple.mobile.battery"), "BatteryCurrentCapacity")
                .await?
                .and_then(|it| it.as_unsigned_integer()),
            connection: Some(if phone.is_wireless() { "Wi-Fi" } else { "USB" }),
            is_paired: true,
            udid: phone.udid().to_owned(),
            name: Some(phone.name().to_owned()),
            trouble: None,
        })
    }
}

/// `Anna's iPhone, iPhone14,5, iOS 17.5.1, USB, paired, not encrypted, battery 80 %`
impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let encrypted = |is: bool| if is { "backups encrypted" } else { "backups not encrypted" }.to_owned();
        let parts = [
            text(&self.name),
            text(&self.model),
            text(&self.version).map(|version| format!("iOS {version}")),
            self.connection.map(ToOwned::to_owned),
            self.connection.map(|_| if self.is_paired { "paired" } else { "not paired" }.to_owned()),
            self.is_encrypted.map(encrypted),
            self.battery.map(|percent| format!("battery {percent} %")),
            text(&self.trouble),
        ];
        f.write_str(&crate::output::printable(parts.into_iter().flatten().collect::<Vec<_>>().join(", ").as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_what_is_known_and_cannot_control_the_terminal() {
        let about = About {
            name: Some("Anna's\x1b iPhone".to_owned()),
            version: Some("17.5.1".to_owned()),
            connection: Some("USB"),
            is_paired: true,
            is_encrypted: Some(false),
            battery: Some(80),
            ..About::default()
        };
        assert_eq!(
            about.to_string(),
            "Anna's\\u{1b} iPhone, iOS 17.5.1, USB, paired, backups not encrypted, battery 80 %"
        );
        let away = About { trouble: Some("away: not on USB".to_owned()), ..About::default() };
        assert_eq!(away.to_string(), "away: not on USB");
    }
}
