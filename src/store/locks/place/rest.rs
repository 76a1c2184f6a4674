//! Lock files on a REST server: restic's document "REST Backend", version 2 of its lists.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::{Certificate, Identity, StatusCode, Url};
use serde::Deserialize;

use super::{Failure, PATIENCE, Place, is_name};

const LISTS_OF_VERSION_2: &str = "application/vnd.x.restic.rest.v2";

/// `locks/` below the URL of a repository; the URL holds the login.
pub(super) struct Rest {
    client: Client,
    locks: Url,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
}

impl Rest {
    /// Takes those of rustic_backend's options that say how to connect.
    pub(super) fn new(url: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        let slash = if url.ends_with('/') { "" } else { "/" };
        let locks = Url::parse(&format!("{url}{slash}locks/")).context("understand the address of the REST server")?;
        let mut client = Client::builder().user_agent("holdall").timeout(PATIENCE);
        let read = |file: &String| fs::read(file).with_context(|| format!("read {file}"));
        if let Some(file) = options.get("cacert") {
            let certificate = Certificate::from_pem(&read(file)?);
            client = client.add_root_certificate(certificate.with_context(|| format!("understand {file}"))?);
        }
        if let Some(file) = options.get("tls-client-cert") {
            let identity = Identity::from_pem(&read(file)?);
            client = client.identity(identity.with_context(|| format!("understand {file}"))?);
        }
        Ok(Self { client: client.build().context("get ready to speak with the REST server")?, locks })
    }

    fn url(&self, name: &str) -> Result<Url, Failure> {
        self.locks.join(name).map_err(|error| Failure::new("Naming a lock failed", error, false))
    }
}

/// Sends a request; `None` when there is no such file.
fn ask<T>(
    what: &str,
    request: RequestBuilder,
    take: impl FnOnce(Response) -> reqwest::Result<T>,
) -> Result<Option<T>, Failure> {
    let asked = request.send().and_then(|response| match response.status() {
        StatusCode::NOT_FOUND => Ok(None),
        _ => take(response.error_for_status()?).map(Some),
    });
    asked.map_err(|error| {
        let passing = !error.status().is_some_and(|status| status.is_client_error());
        Failure::new(what, error, passing)
    })
}

impl Place for Rest {
    fn list(&self) -> Result<Vec<String>, Failure> {
        let request = self.client.get(self.locks.clone()).header("Accept", LISTS_OF_VERSION_2);
        // A server may say `null` when there are none.
        let listed = ask("Listing the locks failed", request, Response::json::<Option<Vec<Listed>>>)?;
        let names = listed.flatten().into_iter().flatten().map(|file| file.name);
        Ok(names.filter(|name| is_name(name)).collect())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let read = ask("Reading a lock failed", self.client.get(self.url(name)?), Response::bytes)?;
        Ok(read.map(|content| content.to_vec()))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let request = self.client.post(self.url(name)?).body(content.to_vec());
        let sent = request.send().and_then(Response::error_for_status);
        sent.map(drop).map_err(|error| {
            let passing = !error.status().is_some_and(|status| status.is_client_error());
            Failure::new("Writing a lock failed", error, passing)
        })
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        ask("Deleting a lock failed", self.client.delete(self.url(name)?), |_| Ok(())).map(drop)
    }
}
