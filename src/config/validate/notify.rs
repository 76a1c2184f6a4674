//! `[notify]`: who is told, and that they can be told from what is written.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::engine::one_of;
use super::{absolute, command};
use crate::config::file::{File, HealthchecksTable, MailTable, MetricsTable, NotifyTable};
use crate::config::problem::Collector;
use crate::config::strict::{self, Removed};
use crate::config::{
    HealthchecksConfig, MailConfig, MailLogin, MailServer, MailTls, MetricsConfig, NotifyConfig, When,
};
use crate::notify::mail::check_address;
use crate::quantity::parse_duration;
use crate::secret::Secret;

mod webhook;

/// What a mail server's URL begins with, and where it listens unless the URL says so.
const SERVERS: [(&str, MailTls, u16); 3] =
    [("smtps://", MailTls::Wrapped, 465), ("smtp://", MailTls::Started, 587), ("smtp+plain://", MailTls::Never, 25)];

/// The credential that holds the password of the mail server when the configuration names no other source for it.
const MAIL_CREDENTIAL: &str = "mail-password";

const WHEN: [(&str, When); 3] = [("failure", When::Failure), ("always", When::Always), ("change", When::Change)];

const MAIL_TIMEOUT: Duration = Duration::from_secs(60);

/// Longer than anybody waits for a server, and shorter than a service manager waits for a run that it stops.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10 * 60);

pub(super) fn check(written: &File, removed: &Removed, problems: &mut Collector) -> NotifyConfig {
    let NotifyTable { healthchecks: check, mail: letters, metrics: file, webhook: hooks } = &written.notify;
    NotifyConfig {
        healthchecks: check.as_ref().and_then(|table| healthchecks(table, removed, problems)),
        mail: letters.as_ref().and_then(|table| mail(table, written.report_file.is_some(), removed, problems)),
        metrics: file.as_ref().and_then(|table| metrics(table, removed, problems)),
        webhooks: webhook::check(hooks, written.report_file.is_some(), removed, problems),
    }
}

/// Who is told in a configuration that may be invalid, or not even TOML, as far as it can be made out: whoever watches should learn also of the typing error
/// that keeps every backup from running.
pub(in crate::config) fn of_broken(text: &str) -> NotifyConfig {
    // An open bracket or quote swallows what comes after it, also for a parser that recovers; so each section is tried alone, too.
    let starts = text.match_indices("\n[").map(|(newline, _)| newline + 1).chain([text.len()]);
    let sections = starts.scan(0, |start, end| Some(&text[std::mem::replace(start, end)..end]));
    let sections = sections.filter(|section| section.starts_with("[notify") || section.starts_with("[[notify"));
    let mut found = NotifyConfig::default();
    for text in std::iter::once(text).chain(sections) {
        let mut problems = Collector::new(text);
        let Some((written, removed)) = strict::read_what_can_be::<File>(text, &mut problems) else { continue };
        let here = check(&written, &removed, &mut problems);
        found.healthchecks = found.healthchecks.or(here.healthchecks);
        found.mail = found.mail.or(here.mail);
        found.metrics = found.metrics.or(here.metrics);
        for webhook in here.webhooks {
            if !found.webhooks.iter().any(|known| known.name == webhook.name) {
                found.webhooks.push(webhook);
            }
        }
    }
    found
}

fn healthchecks(
    table: &Spanned<HealthchecksTable>,
    removed: &Removed,
    problems: &mut Collector,
) -> Option<HealthchecksConfig> {
    let HealthchecksTable { url, url_file } = table.get_ref();
    let was_wrong = ["url", "url-file"].iter().any(|key| removed.contains(&format!("notify.healthchecks.{key}")));
    let keys = UrlKeys { url: url.as_ref(), file: url_file.as_ref(), was_wrong };
    keys.check("notify.healthchecks", &table.span(), problems).map(|url| HealthchecksConfig { url })
}

/// The two ways to give a URL, which may be a secret.
struct UrlKeys<'t> {
    url: Option<&'t Spanned<String>>,
    file: Option<&'t Spanned<String>>,
    /// Whether what was given is reported already.
    was_wrong: bool,
}

impl UrlKeys<'_> {
    fn check(&self, key: &str, table: &std::ops::Range<usize>, problems: &mut Collector) -> Option<Secret> {
        match (self.url, self.file) {
            (Some(url), None) => {
                let checked = http_url(url.get_ref()).map(Secret::literal);
                problems.take(&url.span(), format!("{key}.url"), checked)
            }
            (None, Some(file)) => {
                problems.take(&file.span(), format!("{key}.url-file"), absolute(file.get_ref())).map(Secret::file)
            }
            (Some(_), Some(file)) => {
                let both = "`url` is given as well; keep one of them";
                problems.report(&file.span(), format!("{key}.url-file"), both);
                None
            }
            (None, None) => {
                if !self.was_wrong {
                    problems.report(table, key, "`url` or `url-file` is missing");
                }
                None
            }
        }
    }
}

/// A web address without slashes at its end.
fn http_url(url: &str) -> Result<String, &'static str> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = !url.chars().any(|c| c.is_whitespace() || c.is_control());
    match host {
        Some(host) if plain && !host.is_empty() && !host.starts_with(['/', '?', '#']) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err("not a web address; it begins with https:// or http://"),
    }
}

/// The two ways to give a secret besides a credential.
fn secret(
    key: &str,
    name: &str,
    file: Option<&Spanned<String>>,
    argv: Option<&Spanned<Vec<String>>>,
    problems: &mut Collector,
) -> Option<Secret> {
    if let (Some(_), Some(argv)) = (file, argv) {
        let both = format!("`{name}-file` is given as well; keep one of them");
        problems.report(&argv.span(), format!("{key}.{name}-command"), both);
    }
    let file =
        file.and_then(|file| problems.take(&file.span(), format!("{key}.{name}-file"), absolute(file.get_ref())));
    let argv =
        argv.and_then(|argv| problems.take(&argv.span(), format!("{key}.{name}-command"), command(argv.get_ref())));
    file.map(Secret::file).or_else(|| argv.map(Secret::command))
}

/// A duration after which somebody is given up.
fn timeout(text: Option<&Spanned<String>>, key: &str, default: Duration, problems: &mut Collector) -> Duration {
    let Some(text) = text else { return default };
    let checked = parse_duration(text.get_ref()).and_then(|timeout| {
        let is_sensible = !timeout.is_zero() && timeout <= LONGEST_TIMEOUT;
        is_sensible.then_some(timeout).ok_or_else(|| format!("`{}` is not between 1s and 10min", text.get_ref()))
    });
    problems.take(&text.span(), format!("{key}.timeout"), checked).unwrap_or(default)
}

/// After which runs somebody is told. What a change is, the report file tells.
fn when(text: Option<&Spanned<String>>, key: &str, has_report_file: bool, problems: &mut Collector) -> When {
    let on = one_of(text, key, "on", &WHEN, problems).unwrap_or_default();
    if let Some(text) = text.filter(|_| on == When::Change && !has_report_file) {
        let unknown = "needs a `report-file` above the first table: without it nothing is known of the run before";
        problems.report(&text.span(), format!("{key}.on"), unknown);
    }
    on
}

fn mail(
    table: &Spanned<MailTable>,
    has_report_file: bool,
    removed: &Removed,
    problems: &mut Collector,
) -> Option<MailConfig> {
    let key = "notify.mail";
    let written = table.get_ref();
    let mut missing = |name: &str, is_there: bool, what: &str| {
        if !is_there && !removed.iter().any(|removed| removed.starts_with(&format!("{key}.{name}"))) {
            problems.report(&table.span(), format!("{key}.{name}"), format!("missing; {what}"));
        }
    };
    missing("server", written.server.is_some(), "write for example smtps://mail.example.org");
    missing("from", written.from.is_some(), "write the address that the mail comes from");
    let has_recipients = written.to.as_ref().is_some_and(|to| !to.get_ref().is_empty());
    missing("to", has_recipients, "list at least one address");
    let server = written
        .server
        .as_ref()
        .and_then(|text| problems.take(&text.span(), format!("{key}.server"), mail_server(text.get_ref())));
    let login = login(written, server.as_ref(), key, problems);
    let ca_file = written
        .ca_file
        .as_ref()
        .and_then(|text| problems.take(&text.span(), format!("{key}.ca-file"), absolute(text.get_ref())));
    if let (Some(text), Some(MailTls::Never)) = (&written.ca_file, server.as_ref().map(|server| server.tls)) {
        problems.report(&text.span(), format!("{key}.ca-file"), "has no meaning without TLS; leave it out");
    }
    let mut address = |name: &str, text: &Spanned<String>| {
        let checked = check_address(text.get_ref()).map(|()| text.get_ref().clone());
        problems.take(&text.span(), format!("{key}.{name}"), checked)
    };
    let from = written.from.as_ref().and_then(|text| address("from", text));
    let to: Vec<String> = written.to.iter().flat_map(Spanned::get_ref).filter_map(|text| address("to", text)).collect();
    let on = when(written.on.as_ref(), key, has_report_file, problems);
    let timeout = timeout(written.timeout.as_ref(), key, MAIL_TIMEOUT, problems);
    // One recipient too few is better than nobody, in a configuration that is broken.
    if to.is_empty() {
        return None;
    }
    Some(MailConfig { server: server?, login, ca_file, from: from?, to, on, timeout })
}

fn login(written: &MailTable, server: Option<&MailServer>, key: &str, problems: &mut Collector) -> Option<MailLogin> {
    let (file, argv) = (written.password_file.as_ref(), written.password_command.as_ref());
    let password = secret(key, "password", file, argv, problems);
    let Some(user) = &written.user else {
        if let Some(span) = file.map(Spanned::span).or_else(|| argv.map(Spanned::span)) {
            problems.report(&span, format!("{key}.user"), "missing; a password without a user opens nothing");
        }
        return None;
    };
    if user.get_ref().is_empty() {
        problems.report(&user.span(), format!("{key}.user"), "is empty");
    }
    if server.is_some_and(|server| server.tls == MailTls::Never) {
        let open = "a password would go over the connection as it is; use smtps:// or smtp://, or leave out the login";
        problems.report(&user.span(), format!("{key}.user"), open);
    }
    let password = password.unwrap_or_else(|| Secret::credential(MAIL_CREDENTIAL));
    Some(MailLogin { user: user.get_ref().clone(), password })
}

/// `smtps://HOST[:PORT]`, `smtp://HOST[:PORT]`, or `smtp+plain://` and a relay on this machine.
fn mail_server(text: &str) -> Result<MailServer, String> {
    let found = SERVERS.iter().find_map(|(scheme, tls, port)| Some((text.strip_prefix(scheme)?, *tls, *port)));
    let Some((rest, tls, usual_port)) = found else {
        return Err("no mail server; write smtps://HOST, or smtp://HOST for STARTTLS".to_owned());
    };
    if rest.contains('@') {
        return Err("the login does not stand in the URL; give `user` and `password-file`".to_owned());
    }
    let wrong = || "no mail server; it is written as smtps://HOST or smtps://HOST:PORT".to_owned();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
    if host.is_empty() || !host.chars().all(is_plain) {
        return Err(wrong());
    }
    let port = match port.map(str::parse::<u16>) {
        None => usual_port,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => return Err("has no port between 1 and 65535 behind the colon".to_owned()),
    };
    let is_own = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if tls == MailTls::Never && !is_own {
        return Err(
            "without TLS only a relay on this machine is used (localhost); write smtps:// or smtp://".to_owned()
        );
    }
    Ok(MailServer { host: host.to_owned(), port, tls })
}

fn metrics(table: &Spanned<MetricsTable>, removed: &Removed, problems: &mut Collector) -> Option<MetricsConfig> {
    let key = "notify.metrics.textfile";
    let Some(text) = &table.get_ref().textfile else {
        if !removed.contains(key) {
            problems.report(&table.span(), key, "missing; write the path of the file");
        }
        return None;
    };
    let textfile = problems.take(&text.span(), key, absolute(text.get_ref()).and_then(prom_file))?;
    Some(MetricsConfig { textfile })
}

/// node_exporter reads no other files.
fn prom_file(path: PathBuf) -> Result<PathBuf, String> {
    if path.extension().is_some_and(|extension| extension == "prom") && path.parent().is_some() {
        Ok(path)
    } else {
        Err("does not end with `.prom`, and node_exporter reads no other files".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_addresses_lose_their_trailing_slash() {
        assert_eq!(http_url("https://hc.example.org/ping/x/"), Ok("https://hc.example.org/ping/x".to_owned()));
        for url in ["", "hc.example.org", "ftp://x", "https://", "https:///x", "https://a b"] {
            assert!(http_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn mail_server_has_the_port_of_its_kind_and_plain_ones_are_on_this_machine() {
        for (text, host, port, tls) in [
            ("smtps://mail.example.org", "mail.example.org", 465, MailTls::Wrapped),
            ("smtps://mail.example.org:4650/", "mail.example.org", 4650, MailTls::Wrapped),
            ("smtp://mail.example.org", "mail.example.org", 587, MailTls::Started),
            ("smtp://[2001:db8::1]:25", "2001:db8::1", 25, MailTls::Started),
            ("smtp+plain://localhost", "localhost", 25, MailTls::Never),
            ("smtp+plain://[::1]:2525", "::1", 2525, MailTls::Never),
        ] {
            assert_eq!(mail_server(text), Ok(MailServer { host: host.to_owned(), port, tls }), "{text}");
        }
        for text in [
            "",
            "mail.example.org",
            "http://x",
            "smtps://",
            "smtps://a b",
            "smtps://a/b",
            "smtps://me:pw@mail.example.org",
            "smtps://a:0",
            "smtps://a:x",
            "smtp+plain://mail.example.org",
            "smtp+plain://192.0.2.1",
        ] {
            assert!(mail_server(text).is_err(), "{text}");
        }
    }

    fn ping_url(text: &str) -> Option<String> {
        of_broken(text).healthchecks.map(|healthchecks| (*healthchecks.url.read().unwrap()).to_owned())
    }

    #[test]
    fn url_is_found_in_a_config_with_unknown_keys_and_wrong_types() {
        let text = "[store]\nrepo = 7\n[notify.healthchecks]\nurll = 1\nurl = \"https://hc.example/x\"\n[files.a]\npaths = 3\n";
        assert_eq!(ping_url(text).as_deref(), Some("https://hc.example/x"));
    }

    #[test]
    fn url_is_found_in_a_config_that_is_not_toml() {
        let text = "\n\n[store\nrepository = /srv\n[notify.healthchecks]\nurl = \"https://hc.example/x\"\n[files.a]\npaths = [\"/etc\"\n";
        assert_eq!(ping_url(text).as_deref(), Some("https://hc.example/x"));
        let text = "notify.healthchecks.url = \"https://hc.example/x\"\n[files.a\n";
        assert_eq!(ping_url(text).as_deref(), Some("https://hc.example/x"));
    }

    #[test]
    fn url_file_is_read_when_there_is_no_url() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "https://hc.example/y").unwrap();
        let text = format!("[files.a]\npaths = [\"/etc\n[notify]\nhealthchecks = {{ url-file = {:?} }}\n", file.path());
        assert_eq!(ping_url(&text).as_deref(), Some("https://hc.example/y"));
    }

    #[test]
    fn config_without_a_monitor_has_no_url() {
        for text in ["", "notify = 1", "[notify.healthchecks]\nurl = 3", "[notify.healthchecks]\nurl = \" \"", "\0[[[["]
        {
            assert!(ping_url(text).is_none(), "{text}");
        }
    }

    #[test]
    fn mail_and_webhooks_are_found_in_a_config_that_is_not_toml() {
        let text = "[store\n[notify.mail]\nserver = \"smtps://m\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]\nonn = 1\n\
            [[notify.webhook]]\nname = \"x\"\nurl = \"https://n/x\"\n[[notify.webhook]]\nname = \"y\"\nurl = \"https://n/y\"\n[x\n";
        let found = of_broken(text);
        assert_eq!(found.mail.unwrap().to, ["d@e.f"]);
        assert_eq!(found.webhooks.iter().map(|webhook| webhook.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    }
}
