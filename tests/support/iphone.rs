//! A virtual iPhone: what a program meets that talks to a phone by usbmuxd or by the network, on threads of the test's own process.
//!
//! It is made after what libimobiledevice 1.3.0 and pymobiledevice3 expect of a phone, and `tests/iphone_rig/` proves it with both. Nothing of
//! holdall is used in it. One [`Phone`] is one device; it brings a [`Muxer`] of its own, or is attached to one that has others too. What
//! there is of the device is in [`Device`]: services get it with each connection.
#![allow(unused_imports, reason = "each test file uses a part of this")]

pub mod backup;
mod device;
mod frame;
mod identity;
mod lockdown;
mod muxer;
mod pairing;
mod services;
mod state;
mod tls;
mod wire;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

pub use backup::Agent;
pub use device::{Device, Seen, Way};
pub use frame::{read_plist, write_binary, write_xml};
pub use muxer::{Muxer, MuxerFault};
pub use pairing::Pairing;
pub use services::{App, Service, Session};
pub use state::{Faults, Manner, Settings, State, Trust};
pub use wire::Wire;

/// A running phone; it is gone when this is dropped.
#[derive(Debug)]
pub struct Phone {
    device: Arc<Device>,
    muxer: Arc<Muxer>,
}

impl Phone {
    /// Starts a phone that is attached by USB to a muxer of its own.
    pub fn start(settings: Settings) -> Self {
        Self::start_at(&Arc::new(Muxer::start()), settings)
    }

    /// Starts a phone that is attached by USB to a muxer which may have others.
    pub fn start_at(muxer: &Arc<Muxer>, settings: Settings) -> Self {
        let phone = Self { device: Device::new(settings), muxer: Arc::clone(muxer) };
        muxer.attach(&phone.device, Way::Usb);
        phone
    }

    /// Starts what says it is this phone, and is not: another key, and it believes whoever comes. It shows a certificate of its own, or the one
    /// that the phone shows to a host with this `HostID`, without having its key.
    pub fn start_impostor(&self, muxer: &Arc<Muxer>, of_host: Option<&str>) -> Self {
        let impostor = Self::start_at(muxer, self.settings().clone());
        let seen = of_host.and_then(|host| self.get(|state| state.pairings.get(host).map(|own| own.device.clone())));
        impostor.set(|state| state.impostor = Some(Pairing::of_impostor(&state.identity, seen)));
        impostor
    }

    /// The muxer it is attached to.
    pub fn muxer(&self) -> &Arc<Muxer> {
        &self.muxer
    }

    /// The value of `USBMUXD_SOCKET_ADDRESS` with which clients find it: `UNIX:/path`.
    pub fn usbmuxd(&self) -> String {
        self.muxer.address()
    }

    /// Where its lockdownd is in the network; `None` while Wi-Fi connections are switched off.
    pub fn lockdown(&self) -> Option<SocketAddr> {
        self.device.wifi_address()
    }

    /// Pulls the plug: the muxer says that it is gone, and what was open by USB is cut.
    pub fn unplug(&self) {
        self.muxer.detach(&self.device, Way::Usb);
        self.device.cut(Way::Usb);
    }

    /// Plugs it in again.
    pub fn plug_in(&self) {
        self.muxer.attach(&self.device, Way::Usb);
    }

    /// Has the muxer list it as a device of the network too, as netmuxd does.
    pub fn list_as_network_device(&self) {
        self.muxer.attach(&self.device, Way::Wifi);
    }
}

impl Deref for Phone {
    type Target = Arc<Device>;

    fn deref(&self) -> &Self::Target {
        &self.device
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.muxer.detach(&self.device, Way::Usb);
        self.muxer.detach(&self.device, Way::Wifi);
        self.device.stop();
    }
}
