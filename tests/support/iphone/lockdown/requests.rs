//! What lockdownd does for each request.

use std::sync::Arc;

use plist::{Dictionary, Value};
use uuid::Uuid;

use super::super::device::Way;
use super::super::pairing::Pairing;
use super::super::services;
use super::super::state::Trust;
use super::values::{CHANGEABLE, TOLD_TO_ALL};
use super::{Answer, Connection};

fn text<'a>(request: &'a Dictionary, key: &str) -> Option<&'a str> {
    request.get(key)?.as_string()
}

impl Connection {
    pub(super) fn get_value(&self, request: &Dictionary) -> Answer {
        let (domain, key) = (text(request, "Domain").unwrap_or_default(), text(request, "Key"));
        let is_told = |key: &str| self.session.is_some() || (domain.is_empty() && TOLD_TO_ALL.contains(&key));
        let value = self.device.get(|state| {
            let values = state.values.get(domain);
            match key {
                Some(key) if !is_told(key) => Err("GetProhibited"),
                Some(key) => values.and_then(|values| values.get(key)).cloned().ok_or("MissingValue"),
                None => {
                    let told = values.into_iter().flatten().filter(|(key, _)| is_told(key));
                    let told = told.map(|(key, value)| (key.clone(), value.clone()));
                    Ok(Value::Dictionary(told.collect()))
                }
            }
        })?;
        let mut answer = vec![("Value", value)];
        answer.extend(key.map(|key| ("Key", key.into())));
        answer.extend((!domain.is_empty()).then(|| ("Domain", domain.into())));
        Ok(answer)
    }

    pub(super) fn set_value(&self, request: &Dictionary) -> Answer {
        let (domain, key) = (text(request, "Domain").unwrap_or_default(), text(request, "Key").ok_or("MissingKey")?);
        let value = request.get("Value").ok_or("MissingValue")?;
        self.session.as_ref().ok_or("SessionInactive")?;
        if !CHANGEABLE.contains(&(domain, key)) {
            return Err("SetProhibited");
        }
        self.device.set(|state| state.set_value(domain, key, value.clone()));
        if key == "EnableWifiConnections" {
            self.device.set_wifi(value.as_boolean().unwrap_or(false));
        }
        Ok(vec![("Key", key.into()), ("Value", value.clone())])
    }

    pub(super) fn remove_value(&self, request: &Dictionary) -> Answer {
        let (domain, key) = (text(request, "Domain").unwrap_or_default(), text(request, "Key").ok_or("MissingKey")?);
        self.session.as_ref().ok_or("SessionInactive")?;
        if !CHANGEABLE.contains(&(domain, key)) {
            return Err("RemoveProhibited");
        }
        self.device.set(|state| state.values.get_mut(domain).and_then(|values| values.remove(key)));
        Ok(vec![("Key", key.into())])
    }

    pub(super) fn pair(&self, request: &Dictionary) -> Answer {
        let record = request.get("PairRecord").and_then(Value::as_dictionary).ok_or("InvalidPairRecord")?;
        let secrets = record.keys().filter(|key| key.ends_with("PrivateKey")).count();
        self.device.note(|seen| seen.private_keys += secrets);
        if self.wire.way() == Way::Wifi {
            return Err("PairingProhibitedOverThisConnection");
        }
        let bag = self.device.set(|state| {
            if state.locked || state.before_first_unlock {
                return Err("PasswordProtected");
            }
            let pairing = Pairing::of(record, &state.identity).ok_or("InvalidPairRecord")?;
            match state.trust {
                Trust::Pending => return Err("PairingDialogResponsePending"),
                Trust::Denied => return Err("UserDeniedPairing"),
                Trust::Accepted => {}
            }
            let bag = pairing.escrow_bag.to_vec();
            state.pairings.insert(pairing.host_id.clone(), pairing);
            state.set_value("", "TrustedHostAttached", true);
            Ok(bag)
        })?;
        self.device.post("com.apple.mobile.lockdown.host_attached");
        Ok(vec![("EscrowBag", Value::Data(bag))])
    }

    pub(super) fn validate_pair(&self, request: &Dictionary) -> Answer {
        self.known(request.get("PairRecord").and_then(Value::as_dictionary)).map(|_| Vec::new())
    }

    pub(super) fn unpair(&self, request: &Dictionary) -> Answer {
        let record = request.get("PairRecord").and_then(Value::as_dictionary);
        let pairing = self.known(record)?;
        self.device.set(|state| state.pairings.remove(&pairing.host_id));
        Ok(Vec::new())
    }

    pub(super) fn start_session(&mut self, request: &Dictionary) -> Answer {
        if self.session.is_some() {
            return Err("SessionActive");
        }
        text(request, "HostID").ok_or("MissingHostID")?;
        let pairing = self.known(Some(request))?;
        if self.device.get(|state| state.before_first_unlock) {
            return Err("PasswordProtected");
        }
        let id = Uuid::new_v4().to_string().to_uppercase();
        self.session = Some((id.clone(), Arc::new(pairing)));
        Ok(vec![("SessionID", id.into()), ("EnableSessionSSL", true.into())])
    }

    pub(super) fn stop_session(&mut self, request: &Dictionary) -> Answer {
        match &self.session {
            None => Err("SessionInactive"),
            Some((id, _)) if text(request, "SessionID") != Some(id) => Err("InvalidSessionID"),
            Some(_) => {
                self.session = None;
                // Of all requests it is this one whose answer clients look at for that.
                Ok(vec![("Result", "Success".into())])
            }
        }
    }

    pub(super) fn start_service(&self, request: &Dictionary) -> Answer {
        let name = text(request, "Service").ok_or("MissingService")?;
        let known = services::find(name, &self.device).ok_or("InvalidService")?;
        let pairing = self.session.as_ref().map(|(_, pairing)| Arc::clone(pairing));
        if pairing.is_none() && !known.is_insecure {
            return Err("SessionInactive");
        }
        let bag = request.get("EscrowBag").and_then(Value::as_data);
        if let Some(bag) = bag {
            self.device.note(|seen| seen.escrow_bags.push(bag.to_vec()));
        }
        let is_open = bag.is_some_and(|bag| {
            pairing.as_ref().is_some_and(|pairing| pairing.takes_anybody || *pairing.escrow_bag == bag)
        });
        let (is_locked, error) = self.device.get(|state| {
            let fault = state.faults.service_error.clone().filter(|(service, _)| service == name);
            (state.locked, fault.map(|(_, error)| error))
        });
        if let Some(error) = error {
            return Ok(vec![("Error", error.into())]);
        }
        if bag.is_some() && !is_open {
            return Err("EscrowLocked");
        }
        if known.needs_keys && is_locked && !is_open {
            return Err("PasswordProtected");
        }
        let has_tls = !known.is_insecure && !self.device.get(|state| state.manner.services_without_tls);
        let way = self.wire.way();
        let port = self.device.open_port(way, (name, known.service), pairing, has_tls, is_open);
        let port = port.map_err(|_| "ServiceLimit")?;
        let mut answer = vec![("Service", name.into()), ("Port", port.into())];
        answer.extend(has_tls.then(|| ("EnableServiceSSL", true.into())));
        Ok(answer)
    }

    /// The host that a record or a request names, if it is trusted.
    fn known(&self, record: Option<&Dictionary>) -> Result<Pairing, &'static str> {
        let record = record.ok_or("InvalidPairRecord")?;
        let host = text(record, "HostID").ok_or("MissingHostID")?;
        if let Some(pairing) = self.device.get(|state| state.impostor.clone()) {
            return Ok(pairing);
        }
        let pairing = self.device.get(|state| state.pairings.get(host).cloned()).ok_or("InvalidHostID")?;
        let is_same = text(record, "SystemBUID").is_none_or(|buid| buid == pairing.system_buid);
        if is_same { Ok(pairing) } else { Err("InvalidHostID") }
    }
}
