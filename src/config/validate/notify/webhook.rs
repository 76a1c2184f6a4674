//! `[[notify.webhook]]`: where to, and what is sent.

use std::time::Duration;

use toml::Spanned;

use super::super::engine::one_of;
use super::{UrlKeys, secret, timeout, when};
use crate::config::file::WebhookTable;
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{WebhookBody, WebhookConfig};
use crate::notify::webhook::check_template;

const KEY: &str = "notify.webhook";

const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Text,
    Json,
    Ntfy,
    Gotify,
}

const FORMATS: [(&str, Format); 4] =
    [("text", Format::Text), ("json", Format::Json), ("ntfy", Format::Ntfy), ("gotify", Format::Gotify)];

/// What a template is unless it says so.
const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) fn check(
    tables: &[Spanned<WebhookTable>],
    has_report_file: bool,
    removed: &Removed,
    problems: &mut Collector,
) -> Vec<WebhookConfig> {
    let mut webhooks: Vec<WebhookConfig> = Vec::new();
    for (position, table) in tables.iter().enumerate() {
        let was_wrong = |name: &str| removed.contains(&format!("{KEY}[{position}].{name}"));
        let written = table.get_ref();
        let name = name(table, position, was_wrong("name"), problems);
        if let Some(text) = written.name.as_ref().filter(|_| webhooks.iter().any(|known| known.name == name)) {
            problems.report(&text.span(), format!("{KEY}.name"), format!("`{name}` is the name of another webhook"));
        }
        let keys = UrlKeys {
            url: written.url.as_ref(),
            file: written.url_file.as_ref(),
            was_wrong: was_wrong("url") || was_wrong("url-file"),
        };
        let url = keys.check(KEY, &table.span(), problems);
        let token = secret(KEY, "token", written.token_file.as_ref(), written.token_command.as_ref(), problems);
        let body = body(written, problems);
        if body == WebhookBody::Gotify && token.is_none() && !was_wrong("token-file") && !was_wrong("token-command") {
            problems.report(
                &table.span(),
                format!("{KEY}.token-file"),
                "missing; Gotify takes nothing without a token",
            );
        }
        let on = when(written.on.as_ref(), KEY, has_report_file, problems);
        let timeout = timeout(written.timeout.as_ref(), KEY, TIMEOUT, problems);
        webhooks.extend(url.map(|url| WebhookConfig { name, url, token, body, on, timeout }));
    }
    webhooks
}

/// What it is called: in messages, since its URL may be a secret.
fn name(table: &Spanned<WebhookTable>, position: usize, was_wrong: bool, problems: &mut Collector) -> String {
    let Some(name) = &table.get_ref().name else {
        if !was_wrong {
            let missing = "missing; messages call it by this name, since its URL may be a secret";
            problems.report(&table.span(), format!("{KEY}.name"), missing);
        }
        return (position + 1).to_string();
    };
    let checked = super::super::check_name(name.get_ref()).map(|()| name.get_ref().clone());
    problems.take(&name.span(), format!("{KEY}.name"), checked).unwrap_or_else(|| (position + 1).to_string())
}

fn body(written: &WebhookTable, problems: &mut Collector) -> WebhookBody {
    let format = one_of(written.format.as_ref(), KEY, "format", &FORMATS, problems);
    if let (Some(body), Some(_)) = (&written.body, &written.format) {
        problems.report(&body.span(), format!("{KEY}.body"), "`format` is given as well; keep one of them");
    }
    let content_type = written.content_type.as_ref().and_then(|text| {
        let is_plain = |c: char| (' '..='~').contains(&c);
        let is_type = text.get_ref().contains('/') && text.get_ref().chars().all(is_plain);
        let checked =
            is_type.then(|| text.get_ref().clone()).ok_or("no content type; write for example application/json");
        if written.body.is_none() {
            let alone = "has no meaning without `body`; each `format` has its own";
            problems.report(&text.span(), format!("{KEY}.content-type"), alone);
        }
        problems.take(&text.span(), format!("{KEY}.content-type"), checked)
    });
    if let Some(body) = &written.body {
        let content_type = content_type.unwrap_or_else(|| PLAIN.to_owned());
        problems.take(&body.span(), format!("{KEY}.body"), check_template(body.get_ref(), &content_type));
        return WebhookBody::Template { body: body.get_ref().clone(), content_type };
    }
    match format {
        None | Some(Format::Text) => WebhookBody::Text,
        Some(Format::Json) => WebhookBody::Json,
        Some(Format::Ntfy) => WebhookBody::Ntfy,
        Some(Format::Gotify) => WebhookBody::Gotify,
    }
}
