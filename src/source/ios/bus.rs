//! Looks at the USB bus for devices of Apple that usbmuxd does not show, and says why it may not. Only looks; whoever talks to them is usbmuxd.

use std::time::Duration;

use rusb::{Context, Device, UsbContext};

use super::find::same_device;

/// Apple.
const VENDOR: u16 = 0x05ac;

/// How long a device may take to say its serial number.
const PATIENCE: Duration = Duration::from_millis(500);

/// The interface that usbmuxd speaks to: class, subclass, protocol. Source: usbmuxd, src/usb.h.
const MUX: (u8, u8, u8) = (0xff, 0xfe, 0x02);

/// An iPhone or iPad on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plugged {
    /// Its identifier, without a dash, if this user may ask for it.
    pub(super) serial: Option<String>,
    /// What it is doing.
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Normal,
    /// It has no interface for data: it only takes power.
    Charging,
    /// It waits for a new system.
    Recovery,
}

/// The iPhones and iPads on the bus. None where one cannot look.
pub(super) fn look() -> Vec<Plugged> {
    let devices = Context::new().and_then(|context| context.devices());
    match devices {
        Ok(devices) => devices.iter().filter_map(|device| plugged(&device)).collect(),
        Err(error) => {
            tracing::debug!("the USB bus cannot be looked at: {error}");
            Vec::new()
        }
    }
}

fn plugged(device: &Device<Context>) -> Option<Plugged> {
    let descriptor = device.device_descriptor().ok()?;
    let state =
        state(descriptor.vendor_id(), descriptor.product_id(), has_mux(device, descriptor.num_configurations()))?;
    let serial = device.open().ok().and_then(|handle| {
        let language = *handle.read_languages(PATIENCE).ok()?.first()?;
        handle.read_serial_number_string(language, &descriptor, PATIENCE).ok()
    });
    let plain = |serial: String| serial.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    Some(Plugged { serial: serial.map(plain), state })
}

/// What a device of this vendor and product is doing; `None` when it is no iPhone or iPad.
fn state(vendor: u16, product: u16, has_mux: bool) -> Option<State> {
    match product {
        _ if vendor != VENDOR => None,
        0x1290..=0x12af if has_mux => Some(State::Normal),
        0x1290..=0x12af => Some(State::Charging),
        0x1222 | 0x1227 | 0x1280..=0x1283 => Some(State::Recovery),
        _ => None,
    }
}

/// Whether any configuration of it has the interface for data. Nothing is assumed against what cannot be read.
fn has_mux(device: &Device<Context>, configurations: u8) -> bool {
    (0..configurations).any(|index| {
        let Ok(configuration) = device.config_descriptor(index) else { return true };
        configuration
            .interfaces()
            .flat_map(|interface| interface.descriptors())
            .any(|descriptor| (descriptor.class_code(), descriptor.sub_class_code(), descriptor.protocol_code()) == MUX)
    })
}

/// Why a device on the bus is not to be had, and what to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) why: String,
    pub(super) hint: String,
}

impl Plugged {
    /// Whether it may be the device with this identifier: it is, or does not say who it is.
    pub(super) fn may_be(&self, udid: &str) -> bool {
        self.serial.as_ref().is_none_or(|serial| same_device(serial, udid))
    }

    /// Why usbmuxd does not show it; `is_absent`: because it does not run.
    pub(super) fn reason(&self, is_absent: bool) -> Reason {
        let (why, hint) = match self.state {
            State::Recovery => (
                "it is in recovery mode",
                "Start it anew: press volume up, volume down, then hold the side button until the logo shows.",
            ),
            State::Charging => (
                "it only takes power over this cable",
                "Unlock it and plug it in again, without a hub, with a cable for data. A device that was locked for an hour asks to be unlocked first (Settings, Face \
                 ID & Passcode, Accessories).",
            ),
            State::Normal if is_absent => (
                "usbmuxd does not run",
                "Type `systemctl start usbmuxd`, or install it: `apt install usbmuxd`. $USBMUXD_SOCKET_ADDRESS names one that listens elsewhere.",
            ),
            State::Normal => (
                "usbmuxd does not show it",
                "Unlock it, tap Trust if it asks, and plug it in again. If that does not help: `systemctl restart usbmuxd`, and see with `journalctl -u usbmuxd` whether it \
                 may open the device.",
            ),
        };
        Reason { why: format!("an iPhone or iPad is plugged in, but {why}"), hint: hint.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_by_vendor_product_and_interface() {
        assert_eq!(state(VENDOR, 0x12a8, true), Some(State::Normal));
        assert_eq!(state(VENDOR, 0x12ab, false), Some(State::Charging));
        assert_eq!(state(VENDOR, 0x1281, false), Some(State::Recovery));
        assert_eq!(state(VENDOR, 0x8600, true), None);
        assert_eq!(state(0x1d6b, 0x12a8, true), None);
    }

    #[test]
    fn every_reason_says_what_to_type() {
        let plugged = |state| Plugged { serial: None, state };
        let reason = plugged(State::Normal).reason(true);
        assert_eq!(reason.why, "an iPhone or iPad is plugged in, but usbmuxd does not run");
        assert!(reason.hint.contains("`systemctl start usbmuxd`"));
        assert!(plugged(State::Normal).reason(false).hint.contains("`systemctl restart usbmuxd`"));
        assert!(plugged(State::Charging).reason(true).why.contains("only takes power"));
        assert!(plugged(State::Recovery).reason(false).why.contains("recovery mode"));
    }

    #[test]
    fn a_device_is_known_by_its_serial_number_without_the_dash() {
        let named = Plugged { serial: Some("00008110000A1B2C3D4E001E".to_owned()), state: State::Normal };
        assert!(named.may_be("00008110-000A1B2C3D4E001E"));
        assert!(!named.may_be("00008110-000A1B2C3D4E001F"));
        assert!(Plugged { serial: None, ..named }.may_be("anything"));
    }

    #[test]
    fn the_bus_of_this_machine_can_be_looked_at() {
        look();
    }
}
