//! Repository locations as restic spells them, and what is needed to get at them.
//!
//! Spellings are those of restic's manual, "Preparing a new repository". What restic takes from the environment is taken from
//! there too, unless `[store.options]` says something else; the option names are those of the library behind each service,
//! with `-` for `_`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustic_backend::BackendOptions;
use rustic_core::WriteBackend;

use super::explain;
use super::local::Local;
use super::locks::Where;
use super::sftp::{self, Sftp};
use crate::config::StoreConfig;

/// Where the secrets and settings of services stand in the environment, as restic names them: scheme, variable, option.
/// What is missing here the libraries read themselves (`AWS_…`, `GOOGLE_…`).
const FROM_ENVIRONMENT: [(&str, &str, &str); 10] = [
    ("rest", "RESTIC_REST_USERNAME", "username"),
    ("rest", "RESTIC_REST_PASSWORD", "password"),
    ("b2", "B2_ACCOUNT_ID", "application-key-id"),
    ("b2", "B2_ACCOUNT_KEY", "application-key"),
    ("azure", "AZURE_ACCOUNT_NAME", "account-name"),
    ("azure", "AZURE_ACCOUNT_KEY", "account-key"),
    ("azure", "AZURE_ACCOUNT_SAS", "sas-token"),
    ("azure", "AZURE_ENDPOINT_SUFFIX", "endpoint-suffix"),
    ("swift", "OS_STORAGE_URL", "endpoint"),
    ("swift", "OS_AUTH_TOKEN", "token"),
];

/// Services whose host names hold the region that requests must be signed for, as `s3.REGION.` or `s3-REGION.`.
const HOSTS_WITH_REGION: [&str; 7] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".backblazeb2.com",
    ".io.cloud.ovh.net",
    ".ionoscloud.com",
    ".scw.cloud",
    ".wasabisys.com",
];

/// Gets ready to use the repository and says where its locks are; a server is not asked yet.
pub(super) fn backend(config: &StoreConfig) -> Result<(Arc<dyn WriteBackend>, Where)> {
    let understand = || format!("understand the repository `{}`", config.repository);
    let place = translate(&config.repository).with_context(understand)?;
    let mut options = config.options.clone();
    for (key, secret) in &config.secret_options {
        options.insert(key.clone(), secret.read()?.to_string());
    }
    let Found { location, options } = match place {
        Place::Sftp(address) => {
            if let Some(key) = config.secret_options.keys().next() {
                bail!("SFTP takes no `{key}-file` under [store.options]: name a private key as `key = \"/PATH\"`");
            }
            let sftp = Arc::new(Sftp::new(address, &options)?);
            return Ok((sftp.clone(), Where::Sftp(sftp)));
        }
        Place::Rustic(translated) => {
            translated.complete(options, &|name| std::env::var(name).ok()).with_context(understand)?
        }
    };
    let locks = Where::from_rustic(&location, &options);
    let root = local_path(&config.repository);
    let names: Vec<String> = options.keys().cloned().collect();
    let backends = BackendOptions::default().repository(location).options(options).to_backends();
    let backend = backends.map_err(|error| explain(*error))?.repository();
    let backend = match root {
        Some(root) => Local::before(backend, root, names.iter()),
        None => backend,
    };
    Ok((backend, locks))
}

/// The directory of a repository on this machine, if that is where it is.
pub fn local_path(repository: &str) -> Option<PathBuf> {
    match repository.strip_prefix("local:") {
        Some(path) => Some(path.into()),
        None if repository.starts_with('/') => Some(repository.into()),
        None => None,
    }
}

/// Who speaks with the place where a repository is.
#[derive(Debug)]
enum Place {
    Rustic(Translated),
    Sftp(sftp::Address),
}

/// What the spelling of a repository says.
#[derive(Debug, PartialEq, Eq)]
struct Translated {
    scheme: String,
    location: String,
    /// With `-` for `_`, as in the configuration.
    options: BTreeMap<String, String>,
}

/// What rustic_backend takes.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    location: String,
    options: BTreeMap<String, String>,
}

impl Translated {
    fn plain(scheme: &str, location: String) -> Self {
        Self { scheme: scheme.to_owned(), location, options: BTreeMap::new() }
    }

    fn opendal<const N: usize>(scheme: &str, service: &str, options: [(&str, &str); N]) -> Self {
        let options = options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { scheme: scheme.to_owned(), location: format!("opendal:{service}"), options }
    }

    /// Adds the configured options, which win over the spelling, and what the environment has beyond them.
    fn complete(
        self,
        configured: BTreeMap<String, String>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Found> {
        let Self { scheme, mut location, mut options } = self;
        options.extend(configured);
        for (_, variable, option) in FROM_ENVIRONMENT.iter().filter(|(of, ..)| *of == scheme) {
            if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
                options.entry((*option).to_owned()).or_insert(value);
            }
        }
        match scheme.as_str() {
            "rest" => {
                let url = location.strip_prefix("rest:").unwrap_or_default();
                location = format!("rest:{}", with_login(url, options.remove("username"), options.remove("password")));
            }
            "s3" if !options.contains_key("region") => {
                let region = options.get("endpoint").and_then(|endpoint| region_of(endpoint));
                let set = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(environment);
                // Signing needs some region; servers that have none accept any.
                let region = set.or(region).unwrap_or_else(|| "us-east-1".to_owned());
                options.insert("region".to_owned(), region);
            }
            "azure" if !options.contains_key("endpoint") => {
                let suffix = options.remove("endpoint-suffix").unwrap_or_else(|| "core.windows.net".to_owned());
                let Some(account) = options.get("account-name") else {
                    bail!("`account-name` is missing under [store.options]");
                };
                let endpoint = format!("https://{account}.blob.{suffix}");
                options.insert("endpoint".to_owned(), endpoint);
            }
            "b2" if !options.contains_key("bucket-id") => bail!("`bucket-id` is missing under [store.options]"),
            _ => {}
        }
        if location.starts_with("opendal:") {
            options = options.into_iter().map(|(key, value)| (key.replace('-', "_"), value)).collect();
        }
        Ok(Found { location, options })
    }
}

/// The region in the name of a host that is known to have one there.
fn region_of(endpoint: &str) -> Option<String> {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host).split(':').next()?;
    let domain = HOSTS_WITH_REGION.iter().find(|domain| host.ends_with(**domain))?;
    let region = host.strip_suffix(domain)?.strip_prefix("s3")?.strip_prefix(['.', '-'])?;
    let region = region.strip_prefix("dualstack.").unwrap_or(region);
    (!region.is_empty() && !region.contains('.')).then(|| region.to_owned())
}

fn translate(repository: &str) -> Result<Place> {
    if let Some(path) = local_path(repository) {
        return Ok(Place::Rustic(Translated::plain("local", format!("local:{}", path.display()))));
    }
    let Some((scheme, rest)) = repository.split_once(':') else {
        bail!("a repository on this machine is an absolute path");
    };
    Ok(Place::Rustic(match scheme {
        "sftp" => return Ok(Place::Sftp(rest.parse()?)),
        "rest" | "rclone" => Translated::plain(scheme, repository.to_owned()),
        "s3" => {
            let (endpoint, path) = split_url(rest, "https")?;
            let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
            if bucket.is_empty() {
                bail!("the bucket is missing: s3:https://HOST/BUCKET/PREFIX");
            }
            Translated::opendal("s3", "s3", [("endpoint", &endpoint), ("bucket", bucket), ("root", &rooted(prefix))])
        }
        "webdav" => {
            let (endpoint, path) = split_url(rest, "https")?;
            Translated::opendal("webdav", "webdav", [("endpoint", &endpoint), ("root", &rooted(path))])
        }
        "b2" => bucket("b2", "b2", "bucket", rest)?,
        "azure" => bucket("azure", "azblob", "container", rest)?,
        "gs" => bucket("gs", "gcs", "bucket", rest)?,
        "swift" => bucket("swift", "swift", "container", rest)?,
        _ => bail!(
            "`{scheme}:` is not known; use a path, sftp:, rest:, s3:, b2:, azure:, gs:, swift:, webdav: or rclone:"
        ),
    }))
}

/// `NAME:PATH`, as restic spells b2, azure, gs and swift.
fn bucket(scheme: &str, service: &str, key: &str, rest: &str) -> Result<Translated> {
    let (name, path) = rest.split_once(':').unwrap_or((rest, ""));
    if name.is_empty() {
        bail!("the {key} is missing: NAME:/PATH");
    }
    Ok(Translated::opendal(scheme, service, [(key, name), ("root", &rooted(path))]))
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

/// Puts a login into a URL: what is missing there of user and password.
fn with_login(url: &str, username: Option<String>, password: Option<String>) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or(rest);
    let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    let user = login.map(str::to_owned).or_else(|| username.map(|name| percent_encode(&name)));
    let login = match (user, password) {
        (None, _) => return url.to_owned(),
        (Some(user), Some(password)) if !user.contains(':') => format!("{user}:{}", percent_encode(&password)),
        (Some(user), _) => user,
    };
    format!("{scheme}://{login}@{host}{}", &rest[authority.len()..])
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

    fn complete(repository: &str, configured: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Found> {
        let Place::Rustic(translated) = translate(repository)? else { panic!("{repository} is SFTP") };
        let look_up =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        translated.complete(pairs(configured), &look_up)
    }

    fn found(location: &str, options: &[(&str, &str)]) -> Found {
        Found { location: location.to_owned(), options: pairs(options) }
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn local_paths_may_contain_a_colon() {
        assert_eq!(complete("/srv/a:b", &[], &[]).unwrap(), found("local:/srv/a:b", &[]));
        assert_eq!(complete("local:/srv/x", &[], &[]).unwrap(), found("local:/srv/x", &[]));
    }

    #[test]
    fn s3_is_endpoint_bucket_and_prefix() {
        let expect = |repository: &str, endpoint: &str, root: &str| {
            let options = [("bucket", "bucket"), ("endpoint", endpoint), ("region", "us-east-1"), ("root", root)];
            assert_eq!(complete(repository, &[], &[]).unwrap(), found("opendal:s3", &options));
        };
        expect("s3:https://host:9000/bucket/a/b/", "https://host:9000", "/a/b");
        expect("s3:s3.example.org/bucket", "https://s3.example.org", "/");
        expect("s3://s3.example.org/bucket", "https://s3.example.org", "/");
    }

    #[test]
    fn region_comes_from_options_environment_or_host_in_this_order() {
        let region = |repository: &str, configured: &[(&str, &str)], environment: &[(&str, &str)]| {
            complete(repository, configured, environment).unwrap().options["region"].clone()
        };
        let amazon = "s3:s3.eu-central-1.amazonaws.com/bucket";
        assert_eq!(region(amazon, &[("region", "a")], &[("AWS_REGION", "b")]), "a");
        assert_eq!(region(amazon, &[], &[("AWS_DEFAULT_REGION", "b")]), "b");
        assert_eq!(region(amazon, &[], &[]), "eu-central-1");
        assert_eq!(region("s3:https://s3-eu-west-1.amazonaws.com/bucket", &[], &[]), "eu-west-1");
        assert_eq!(region("s3:https://s3.us-west-004.backblazeb2.com:443/bucket", &[], &[]), "us-west-004");
        assert_eq!(region("s3:https://s3.dualstack.eu-west-1.amazonaws.com/bucket", &[], &[]), "eu-west-1");
        for elsewhere in ["s3:s3.amazonaws.com/bucket", "s3:https://s3.nas.example.org/b", "s3:https://wasabisys.com/b"]
        {
            assert_eq!(region(elsewhere, &[], &[]), "us-east-1", "{elsewhere}");
        }
    }

    #[test]
    fn object_stores_are_name_and_path_with_their_login() {
        let login = [("bucket-id", "1"), ("application-key-id", "k"), ("application-key", "s")];
        let options = [
            ("application_key", "s"),
            ("application_key_id", "k"),
            ("bucket", "n"),
            ("bucket_id", "1"),
            ("root", "/p/q"),
        ];
        assert_eq!(complete("b2:n:p/q", &login, &[]).unwrap(), found("opendal:b2", &options));
        let options = [
            ("account_key", "s"),
            ("account_name", "me"),
            ("container", "c"),
            ("endpoint", "https://me.blob.core.windows.net"),
            ("root", "/"),
        ];
        let login = [("AZURE_ACCOUNT_NAME", "me"), ("AZURE_ACCOUNT_KEY", "s")];
        assert_eq!(complete("azure:c:/", &[], &login).unwrap(), found("opendal:azblob", &options));
        let options = [("bucket", "b"), ("credential_path", "/key.json"), ("root", "/x")];
        let login = [("credential-path", "/key.json")];
        assert_eq!(complete("gs:b:/x", &login, &[]).unwrap(), found("opendal:gcs", &options));
        let options = [("container", "c"), ("endpoint", "https://h/v1/a"), ("root", "/x"), ("token", "t")];
        let login = [("OS_STORAGE_URL", "https://h/v1/a"), ("OS_AUTH_TOKEN", "other")];
        assert_eq!(complete("swift:c:/x", &[("token", "t")], &login).unwrap(), found("opendal:swift", &options));
    }

    #[test]
    fn what_a_service_cannot_do_without_is_asked_for() {
        let error = |repository: &str| complete(repository, &[], &[]).unwrap_err().to_string();
        assert_eq!(error("b2:n:p"), "`bucket-id` is missing under [store.options]");
        assert_eq!(error("azure:c:/"), "`account-name` is missing under [store.options]");
    }

    #[test]
    fn options_of_rest_and_rclone_keep_their_spelling() {
        let configured = [("rclone-command", "rclone serve restic --stdio"), ("use-password", "false")];
        assert_eq!(complete("rclone:r:p", &configured, &[]).unwrap(), found("rclone:r:p", &configured));
        let login = [("username", "me"), ("password", "s"), ("tls-client-cert", "/c.pem")];
        let expected = found("rest:https://me:s@h/x", &[("tls-client-cert", "/c.pem")]);
        assert_eq!(complete("rest:https://h/x", &login, &[]).unwrap(), expected);
        let login = [("RESTIC_REST_USERNAME", "me"), ("RESTIC_REST_PASSWORD", "s")];
        assert_eq!(complete("rest:https://h/x", &[], &login).unwrap(), found("rest:https://me:s@h/x", &[]));
    }

    #[test]
    fn login_is_put_into_rest_urls_where_it_is_missing() {
        let me = || Some("me".to_owned());
        let secret = || Some("a/b@c".to_owned());
        assert_eq!(with_login("https://h/x", me(), secret()), "https://me:a%2Fb%40c@h/x");
        assert_eq!(with_login("https://me@h:1/x@y", None, secret()), "https://me:a%2Fb%40c@h:1/x@y");
        assert_eq!(with_login("https://you:x@h/x", me(), secret()), "https://you:x@h/x");
        assert_eq!(with_login("https://h/x", me(), None), "https://me@h/x");
        assert_eq!(with_login("https://h/x", None, secret()), "https://h/x");
    }

    #[test]
    fn half_a_location_is_refused() {
        for repository in ["srv/x", "s3:https://host", "s3:", "sftp:host", "sftp:host:", "b2::x", "ftp:host", "webdav:"]
        {
            assert!(translate(repository).is_err(), "{repository}");
        }
    }
}
