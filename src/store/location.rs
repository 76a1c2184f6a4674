//! Repository locations as restic spells them, translated for rustic_backend.
//!
//! Spellings are those of restic's manual, "Preparing a new repository". What restic takes from the environment can also
//! stand in `[store.options]`; the option names are opendal's with `-` for `_`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::config::StoreConfig;

/// Where rustic_backend finds the repository: its location string, and options with all secrets filled in.
pub(super) fn resolve(config: &StoreConfig) -> Result<(String, BTreeMap<String, String>)> {
    let Translated { location, options: derived } =
        translate(&config.repository).with_context(|| format!("understand the repository `{}`", config.repository))?;
    let mut options = derived;
    for (key, value) in &config.options {
        options.insert(key.replace('-', "_"), value.clone());
    }
    for (key, secret) in &config.secret_options {
        options.insert(key.replace('-', "_"), secret.read()?.to_string());
    }
    let location = match location.strip_prefix("rest:") {
        Some(url) => format!("rest:{}", with_login(url, options.remove("username"), options.remove("password"))),
        None => location,
    };
    if location == "opendal:s3" {
        // Signing needs some region; servers that have none accept any.
        options.entry("region".into()).or_insert_with(|| "us-east-1".into());
    }
    Ok((location, options))
}

/// The directory of a repository on this machine, if that is where it is.
pub fn local_path(repository: &str) -> Option<PathBuf> {
    match repository.strip_prefix("local:") {
        Some(path) => Some(path.into()),
        None if repository.starts_with('/') => Some(repository.into()),
        None => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Translated {
    location: String,
    options: BTreeMap<String, String>,
}

impl Translated {
    fn plain(location: String) -> Self {
        Self { location, options: BTreeMap::new() }
    }

    fn opendal<const N: usize>(service: &str, options: [(&str, &str); N]) -> Self {
        let options = options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { location: format!("opendal:{service}"), options }
    }
}

fn translate(repository: &str) -> Result<Translated> {
    if let Some(path) = local_path(repository) {
        return Ok(Translated::plain(format!("local:{}", path.display())));
    }
    let Some((scheme, rest)) = repository.split_once(':') else {
        bail!("a repository on this machine is an absolute path");
    };
    Ok(match scheme {
        "rest" | "rclone" => Translated::plain(repository.to_owned()),
        "s3" => {
            let (endpoint, path) = split_url(rest, "https")?;
            let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
            if bucket.is_empty() {
                bail!("the bucket is missing: s3:https://HOST/BUCKET/PREFIX");
            }
            Translated::opendal("s3", [("endpoint", &endpoint), ("bucket", bucket), ("root", &rooted(prefix))])
        }
        "webdav" => {
            let (endpoint, path) = split_url(rest, "https")?;
            Translated::opendal("webdav", [("endpoint", &endpoint), ("root", &rooted(path))])
        }
        "b2" => bucket("b2", "bucket", rest)?,
        "azure" => bucket("azblob", "container", rest)?,
        "gs" => bucket("gcs", "bucket", rest)?,
        "swift" => bucket("swift", "container", rest)?,
        "sftp" => sftp(rest)?,
        _ => bail!(
            "`{scheme}:` is not known; use a path, sftp:, rest:, s3:, b2:, azure:, gs:, swift:, webdav: or rclone:"
        ),
    })
}

/// `NAME:PATH`, as restic spells b2, azure, gs and swift.
fn bucket(service: &str, key: &str, rest: &str) -> Result<Translated> {
    let (name, path) = rest.split_once(':').unwrap_or((rest, ""));
    if name.is_empty() {
        bail!("the {key} is missing: NAME:/PATH");
    }
    Ok(Translated::opendal(service, [(key, name), ("root", &rooted(path))]))
}

/// `sftp:[USER@]HOST:PATH` (relative to the login directory unless it begins with `/`), `sftp://[USER@]HOST[:PORT]/PATH`.
fn sftp(rest: &str) -> Result<Translated> {
    let (endpoint, path) = match rest.strip_prefix("//") {
        // restic: `sftp://host//path` is absolute, `sftp://host/path` is relative to the login directory.
        Some(url) => {
            let (host, path) = url.split_once('/').unwrap_or((url, ""));
            (format!("ssh://{host}"), path)
        }
        None => {
            let Some((host, path)) = rest.split_once(':') else {
                bail!("the path is missing: sftp:USER@HOST:/PATH");
            };
            (host.to_owned(), path)
        }
    };
    if endpoint.trim_start_matches("ssh://").is_empty() || path.is_empty() {
        bail!("host or path is missing: sftp:USER@HOST:/PATH");
    }
    Ok(Translated::opendal("sftp", [("endpoint", &endpoint), ("root", path)]))
}

/// Splits `[SCHEME://]HOST[/PATH]` into `SCHEME://HOST` and the path without slashes at its ends.
fn split_url<'u>(url: &'u str, default_scheme: &str) -> Result<(String, &'u str)> {
    let (scheme, rest) = url.split_once("://").unwrap_or((default_scheme, url.trim_start_matches('/')));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() || !["http", "https"].contains(&scheme) {
        bail!("write it as https://HOST/PATH");
    }
    Ok((format!("{scheme}://{host}"), path.trim_matches('/')))
}

fn rooted(path: &str) -> String {
    format!("/{}", path.trim_matches('/'))
}

/// Puts a login into a URL that has none.
fn with_login(url: &str, username: Option<String>, password: Option<String>) -> String {
    match (url.split_once("://"), username) {
        (Some((scheme, rest)), Some(username)) if !rest.split('/').next().unwrap_or(rest).contains('@') => {
            let password = password.unwrap_or_default();
            format!("{scheme}://{}:{}@{rest}", percent_encode(&username), percent_encode(&password))
        }
        _ => url.to_owned(),
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(repository: &str) -> (String, Vec<(String, String)>) {
        let translated = translate(repository).unwrap();
        (translated.location, translated.options.into_iter().collect())
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn local_paths_may_contain_a_colon() {
        assert_eq!(options("/srv/a:b").0, "local:/srv/a:b");
        assert_eq!(options("local:/srv/x").0, "local:/srv/x");
    }

    #[test]
    fn s3_is_endpoint_bucket_and_prefix() {
        let expected = pairs([("bucket", "bucket"), ("endpoint", "https://host:9000"), ("root", "/a/b")]);
        assert_eq!(options("s3:https://host:9000/bucket/a/b/"), ("opendal:s3".into(), expected));
        let expected = pairs([("bucket", "bucket"), ("endpoint", "https://s3.example.org"), ("root", "/")]);
        assert_eq!(options("s3:s3.example.org/bucket"), ("opendal:s3".into(), expected.clone()));
        assert_eq!(options("s3://s3.example.org/bucket"), ("opendal:s3".into(), expected));
    }

    #[test]
    fn object_stores_are_name_and_path() {
        assert_eq!(options("b2:n:p/q"), ("opendal:b2".into(), pairs([("bucket", "n"), ("root", "/p/q")])));
        assert_eq!(options("azure:c:/"), ("opendal:azblob".into(), pairs([("container", "c"), ("root", "/")])));
        assert_eq!(options("gs:b:/x"), ("opendal:gcs".into(), pairs([("bucket", "b"), ("root", "/x")])));
        assert_eq!(options("swift:c:/x"), ("opendal:swift".into(), pairs([("container", "c"), ("root", "/x")])));
    }

    #[test]
    fn sftp_in_both_spellings() {
        let expected = pairs([("endpoint", "me@host"), ("root", "/srv/x")]);
        assert_eq!(options("sftp:me@host:/srv/x"), ("opendal:sftp".into(), expected));
        let expected = pairs([("endpoint", "ssh://me@host:2222"), ("root", "/srv/x")]);
        assert_eq!(options("sftp://me@host:2222//srv/x"), ("opendal:sftp".into(), expected));
    }

    #[test]
    fn login_is_put_into_rest_urls_that_have_none() {
        assert_eq!(with_login("https://h/x", Some("me".into()), Some("a/b@c".into())), "https://me:a%2Fb%40c@h/x");
        assert_eq!(with_login("https://you:x@h/x", Some("me".into()), None), "https://you:x@h/x");
        assert_eq!(with_login("https://h/x", None, None), "https://h/x");
    }

    #[test]
    fn half_a_location_is_refused() {
        for repository in ["srv/x", "s3:https://host", "s3:", "sftp:host", "sftp:host:", "b2::x", "ftp:host", "webdav:"]
        {
            assert!(translate(repository).is_err(), "{repository}");
        }
    }
}
