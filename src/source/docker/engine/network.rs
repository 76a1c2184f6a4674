//! Networks, as far as a container that is put back needs them.

use anyhow::{Context, Result};
use bollard::models::{EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::InspectNetworkOptions;
use serde_json::Value;

use super::{Engine, escaped, if_there};

impl Engine {
    /// Whether there is a network of this name.
    pub(crate) fn has_network(&self, name: &str) -> Result<bool> {
        let asked = self.wait(self.docker().inspect_network(&escaped(name), None::<InspectNetworkOptions>));
        Ok(if_there(asked).with_context(|| format!("look at the network {name}"))?.is_some())
    }

    /// Connects a container to a network. `endpoint` is as in `POST /networks/NAME/connect`.
    pub(crate) fn connect_network(&self, name: &str, container: &str, endpoint: &Value) -> Result<()> {
        let endpoint: EndpointSettings = serde_json::from_value(endpoint.clone()).context("describe the endpoint")?;
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
        let connected = self.wait(self.docker().connect_network(&escaped(name), request));
        connected.with_context(|| format!("connect it to the network {name}"))
    }
}
