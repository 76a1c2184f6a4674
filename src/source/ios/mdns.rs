//! Who in the network says that it is a device with Wi-Fi sync: `_apple-mobdev2._tcp`, by multicast DNS.
//!
//! The names there begin with the address of the network card, which devices make up anew for each network; so a name proves nothing, and whoever answers is asked who it is.

use std::net::{SocketAddr, SocketAddrV6};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mdns_sd::{ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent};
use tokio::sync::mpsc::{Receiver, channel};

use super::way::LOCKDOWN_PORT;

/// The service that devices announce.
const SERVICE: &str = "_apple-mobdev2._tcp.local.";

/// How many addresses wait to be tried.
const WAITING: usize = 64;

/// How often one looks whether the answer is still wanted.
const STEP: Duration = Duration::from_millis(200);

/// Where devices may be, as they answer, for this long or until nobody listens any more.
///
/// # Errors
///
/// When this machine lets nobody ask.
pub(super) fn browse(patience: Duration) -> Result<Receiver<SocketAddr>> {
    let daemon = ServiceDaemon::new().context("ask the network for devices")?;
    let events = daemon.browse(SERVICE).context("ask the network for devices")?;
    let (sender, receiver) = channel(WAITING);
    let ask = move || {
        let end = Instant::now() + patience;
        'asking: while Instant::now() < end && !sender.is_closed() {
            let Ok(event) = events.recv_timeout(STEP) else { continue };
            if let ServiceEvent::ServiceResolved(service) = event {
                for address in addresses(&service) {
                    if sender.blocking_send(address).is_err() {
                        break 'asking;
                    }
                }
            }
        }
        // It may be busy, and is gone with the process in any case.
        drop(daemon.shutdown());
    };
    thread::Builder::new().name("ios-mdns".to_owned()).spawn(ask).context("start a thread")?;
    Ok(receiver)
}

/// Where its lockdownd may be. The port that devices announce is not the one that it listens at; but who stands in for a device may mean it.
fn addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    let mut ips: Vec<&ScopedIp> = service.addresses.iter().collect();
    ips.sort_by_key(|ip| ip.is_ipv6());
    let mut ports = vec![LOCKDOWN_PORT, service.port];
    ports.dedup();
    let at = |ip: &ScopedIp, port| match ip {
        ScopedIp::V6(v6) => SocketAddr::V6(SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index)),
        other => SocketAddr::new(other.to_ip_addr(), port),
    };
    ips.into_iter().flat_map(|ip| ports.iter().map(move |port| at(ip, *port))).collect()
}
