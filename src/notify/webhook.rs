//! Tells whoever listens to HTTP: ntfy, Gotify, a chat, a home automation.
//!
//! The URL and the token are secrets. Nobody is followed to another address: there the token would reach somebody else, and the text might go nowhere.

use anyhow::{Context as _, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::blocking::RequestBuilder;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::http::{self, Effort};
use super::letter;
use super::news::{End, News};
use super::warn;
use crate::config::{WebhookBody, WebhookConfig};
use crate::error::{Annotate, chain, hints};
use crate::quantity::rfc3339;
use crate::report::{Verdict, json as lines};

/// More than ntfy shows of a message; what is longer becomes a file, or is refused. Source: docs.ntfy.sh, "Limitations".
const NTFY: usize = 4000;

/// What a template can have in it.
const PLACES: [&str; 5] = ["outcome", "summary", "host", "failed", "report"];

/// One address that is told.
#[derive(Debug)]
pub struct Webhook {
    config: WebhookConfig,
}

impl Webhook {
    /// By this configuration. Nothing is read yet.
    pub fn new(config: &WebhookConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Tells of a run, if whoever listens wants to hear of such a run. What goes wrong is a warning in the log.
    pub fn tell(&self, news: &News<'_>) {
        if !news.is_for(self.config.on) {
            return;
        }
        if let Err(error) = self.send(news) {
            warn(&error.context(format!("the webhook {} is not told of this run", self.config.name)));
        }
    }

    /// Looks whether there is everything that telling needs. Nobody is asked: whatever is sent is a message.
    ///
    /// # Errors
    ///
    /// When there is not.
    pub fn check(&self) -> Result<String> {
        let (url, _) = self.read()?;
        Ok(format!("tells {}; what it says to that is not tried", http::server(&url)))
    }

    fn read(&self) -> Result<(reqwest::Url, Option<HeaderValue>)> {
        let url = self.config.url.read().context("read its URL")?;
        let url = http::parse_url(&url).context("use its URL")?;
        let Some(token) = &self.config.token else { return Ok((url, None)) };
        let token = token.read().context("read its token")?;
        let is_gotify = self.config.body == WebhookBody::Gotify;
        let text = if is_gotify { token.to_string() } else { format!("Bearer {}", &*token) };
        // Its error says nothing of what it was made of.
        let mut header = HeaderValue::from_str(&text).context("use its token")?;
        header.set_sensitive(true);
        Ok((url, Some(header)))
    }

    fn send(&self, news: &News<'_>) -> Result<()> {
        let (url, token) = self.read()?;
        let client = http::client(false)?;
        let is_signal = matches!(news.end, End::Signal(_));
        let usual = Effort { timeout: self.config.timeout, ..Effort::default() };
        let effort = if is_signal { Effort { tries: 1, timeout: usual.signal_timeout, ..usual } } else { usual };
        let told = http::persist(&effort, || {
            let mut request = client.post(url.clone()).timeout(effort.timeout);
            if let Some(token) = &token {
                let is_gotify = self.config.body == WebhookBody::Gotify;
                request = if is_gotify {
                    request.header("X-Gotify-Key", token.clone())
                } else {
                    request.header(AUTHORIZATION, token.clone())
                };
            }
            http::send(with_body(request, &self.config.body, news)).map(drop)
        });
        told.map_err(|(refusal, tries)| {
            anyhow!("{}", refusal.why).context(format!("given up, tries {tries}")).context(http::server(&url))
        })
        .hint(format!("Look at the address and the token of the [[notify.webhook]] {:?}.", self.config.name))
    }
}

fn with_body(request: RequestBuilder, body: &WebhookBody, news: &News<'_>) -> RequestBuilder {
    const TEXT: &str = "text/plain; charset=utf-8";
    const JSON: &str = "application/json";
    match body {
        WebhookBody::Text => {
            request.header(CONTENT_TYPE, TEXT).body(format!("{}\n\n{}", letter::subject(news), letter::body(news)))
        }
        WebhookBody::Json => request.header(CONTENT_TYPE, JSON).body(document(news).to_string()),
        WebhookBody::Ntfy => {
            let (priority, tag) = match news.verdict() {
                Verdict::Ok => ("default", "white_check_mark"),
                Verdict::Incomplete => ("high", "warning"),
                Verdict::Failed => ("high", "rotating_light"),
            };
            let request = request.header("Title", header_text(&letter::subject(news)));
            let request = request.header("Priority", priority).header("Tags", tag);
            request.header(CONTENT_TYPE, TEXT).body(cut(&letter::body(news), NTFY))
        }
        WebhookBody::Gotify => {
            let priority = match news.verdict() {
                Verdict::Ok => 2,
                Verdict::Incomplete => 5,
                Verdict::Failed => 8,
            };
            let message = json!({"title": letter::subject(news), "message": letter::body(news), "priority": priority});
            request.header(CONTENT_TYPE, JSON).body(message.to_string())
        }
        WebhookBody::Template { body, content_type } => {
            request.header(CONTENT_TYPE, content_type).body(filled(body, content_type, |place| value(news, place)))
        }
    }
}

/// The run as one JSON document. Names of the fields are a promise to users' scripts.
fn document(news: &News<'_>) -> Value {
    let (items, errors) = match news.end {
        End::Report(report) => {
            let items = report
                .items
                .iter()
                .map(|item| serde_json::to_value(lines::item_json(item)).unwrap_or_default())
                .collect();
            (items, report.errors.iter().map(error_value).collect())
        }
        End::Error(error, _) => (Vec::new(), vec![error_value(error)]),
        End::Signal(_) => (Vec::new(), Vec::new()),
    };
    let stale: Vec<Value> = news
        .stale()
        .into_iter()
        .map(|item| {
            let max_age = item.max_age.map(|age| age.as_secs());
            json!({"item": item.item, "newest": item.newest.map(rfc3339), "max_age_seconds": max_age})
        })
        .collect();
    json!({
        "type": "run",
        "host": news.host,
        "time": rfc3339(news.time),
        "version": env!("CARGO_PKG_VERSION"),
        "outcome": news.verdict().word(),
        "exit_code": news.exit_code() as u8,
        "summary": news.summary(),
        "failed": news.failed(),
        "stale": stale,
        "items": Value::Array(items),
        "errors": Value::Array(errors),
    })
}

fn error_value(error: &anyhow::Error) -> Value {
    let hint = hints(error).join("\n");
    json!({"error": chain(error), "hint": Some(hint).filter(|hint| !hint.is_empty())})
}

/// What stands at a place of a template.
fn value(news: &News<'_>, place: &str) -> String {
    match place {
        "outcome" => news.verdict().word().to_owned(),
        "summary" => news.summary(),
        "host" => news.host.clone(),
        "failed" => news.failed().join(", "),
        _ => letter::body(news),
    }
}

/// A template with its values; in JSON they are escaped as in a string.
fn filled(template: &str, content_type: &str, value: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, place, after)) = next_place(rest) {
        text.push_str(before);
        if PLACES.contains(&place) {
            let value = value(place);
            text.push_str(&if is_json(content_type) { escaped(&value) } else { value });
        } else {
            text.push_str(&format!("{{{place}}}"));
        }
        rest = after;
    }
    text + rest
}

/// The text before the next `{word}`, the word, and what comes after.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    for (start, _) in text.match_indices('{') {
        let inside = &text[start + 1..];
        let length = inside.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(inside.len());
        if length > 0 && inside[length..].starts_with('}') {
            return Some((&text[..start], &inside[..length], &inside[length + 1..]));
        }
    }
    None
}

fn is_json(content_type: &str) -> bool {
    content_type.to_ascii_lowercase().contains("json")
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Whether a template has only places that there are, and is JSON if it is meant to be.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_template(template: &str, content_type: &str) -> Result<(), String> {
    let mut rest = template;
    while let Some((_, place, after)) = next_place(rest) {
        if !PLACES.contains(&place) {
            let near = crate::config::nearest(place, PLACES).map(|near| format!("; did you mean `{{{near}}}`?"));
            let known = || format!("; known are {{{}}}", PLACES.join("}, {"));
            return Err(format!("`{{{place}}}` stands for nothing{}", near.unwrap_or_else(known)));
        }
        rest = after;
    }
    if is_json(content_type) {
        let sample = filled(template, content_type, |_| "x".to_owned());
        let parsed: Result<Value, _> = serde_json::from_str(&sample);
        parsed.map_err(|error| format!("is no JSON: {error}"))?;
    }
    Ok(())
}

/// A text as it can stand in a header: RFC 2047 where it is not ASCII.
fn header_text(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { format!("=?UTF-8?B?{}?=", BASE64.encode(text)) }
}

fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}\n… cut", &text[..text.floor_char_boundary(limit)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, content_type: &str) -> String {
        filled(template, content_type, |place| format!("<{place} \"a\"\nb>"))
    }

    #[test]
    fn template_has_its_values_and_nothing_else_is_touched() {
        assert_eq!(fill("{host}: {x} {} {Host} {host", "text/plain"), "<host \"a\"\nb>: {x} {} {Host} {host");
        assert_eq!(
            fill(r#"{"text": "{summary}", "n": {"a": 1}}"#, "application/json"),
            r#"{"text": "<summary \"a\"\nb>", "n": {"a": 1}}"#
        );
    }

    #[test]
    fn value_does_not_become_a_template() {
        let text =
            filled(
                "{host} {summary}",
                "text/plain",
                |place| if place == "host" { "{report}".into() } else { "s".into() },
            );
        assert_eq!(text, "{report} s");
    }

    #[test]
    fn template_with_an_unknown_place_or_that_is_no_json_is_refused() {
        assert_eq!(check_template("{host} {report} {}", "text/plain"), Ok(()));
        assert_eq!(check_template(r#"{"a": "{host}"}"#, "application/json; charset=utf-8"), Ok(()));
        assert_eq!(
            check_template("{sumary}", "text/plain"),
            Err("`{sumary}` stands for nothing; did you mean `{summary}`?".to_owned())
        );
        assert!(check_template("{zz}", "text/plain").unwrap_err().contains("known are {outcome}, {summary}"));
        assert!(check_template(r#"{"a": {host}}"#, "application/json").unwrap_err().starts_with("is no JSON"));
    }

    #[test]
    fn header_is_ascii() {
        assert_eq!(header_text("holdall on nas: ok"), "holdall on nas: ok");
        assert_eq!(header_text("ü"), "=?UTF-8?B?w7w=?=");
    }
}
