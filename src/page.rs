//! `holdall status --html`: how fresh every item is, as one page that needs nothing but itself.
//!
//! No script, no font, no image, nothing from elsewhere: the page forbids it to the browser as well. Every text that stands in it came from outside
//! once (names of items, errors) and goes through [`escaped`]. What is shown is decided by the caller; how it looks, here, in [`plot`] and in
//! `style.css`. Stale is said in words, not by colour alone.

use std::fmt::{Display, Write};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::quantity::{rfc3339, show_bytes, show_duration, show_time};

pub mod plot;
mod scale;

use plot::{Sample, Span};

const STYLE: &str = include_str!("page/style.css");

/// Nothing is loaded, and no script runs: only the style that stands in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// How many samples all plots of a page have together, so that many items do not make it large.
const SAMPLES: usize = 6000;
/// How many samples one plot has at least, and at most.
const SAMPLES_A_PLOT: (usize, usize) = (24, 90);

/// How long an error is shown, in characters.
const ERROR: usize = 300;

/// What the page shows.
#[derive(Debug)]
pub struct Page {
    /// The machine it was made on.
    pub host: String,
    /// The version that made it.
    pub version: String,
    /// When it was made.
    pub time: DateTime<Utc>,
    /// The items.
    pub items: Vec<ItemView>,
    /// What went wrong in the last runs, newest first; `None`: nobody writes that down.
    pub failures: Option<Vec<Failure>>,
}

/// One item.
#[derive(Debug)]
pub struct ItemView {
    /// Its name.
    pub item: String,
    /// Its newest point.
    pub newest: Option<DateTime<Utc>>,
    /// How old that is.
    pub age: Option<Duration>,
    /// How old it may be.
    pub max_age: Option<Duration>,
    /// How many points it has.
    pub points: usize,
    /// Size of the newest point in bytes.
    pub bytes: Option<u64>,
    /// How it is.
    pub state: State,
    /// The sizes of its points, oldest first.
    pub sizes: Vec<Sample>,
    /// What its runs added to the store, oldest first; `None`: nobody writes that down.
    pub added: Option<Vec<Sample>>,
}

/// How an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its newest point is young enough.
    Fresh,
    /// Nobody said how old it may be.
    NoLimit,
    /// Its newest point is too old, or there is none.
    Stale,
    /// A place that must have it could not be asked.
    NotKnown,
}

/// Something that went wrong in a run.
#[derive(Debug)]
pub struct Failure {
    /// When its run began.
    pub time: DateTime<Utc>,
    /// The item or command.
    pub what: String,
    /// `incomplete` or `failed`.
    pub outcome: String,
    /// Why.
    pub error: String,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::NoLimit => "no limit",
            Self::Stale => "STALE",
            Self::NotKnown => "NOT KNOWN",
        }
    }

    fn is_bad(self) -> bool {
        matches!(self, Self::Stale | Self::NotKnown)
    }

    fn class(self) -> &'static str {
        match self {
            Self::Fresh => "state good",
            Self::NoLimit => "state soft",
            Self::Stale | Self::NotKnown => "state bad",
        }
    }
}

impl Page {
    /// The page as HTML.
    pub fn render(&self) -> String {
        let mut html = String::with_capacity(1 << 16);
        // Writing to a string does not fail.
        let _ = self.write(&mut html);
        html
    }

    fn write(&self, html: &mut String) -> std::fmt::Result {
        let host = escaped(&self.host);
        let (verdict, class) = self.verdict();
        write!(
            html,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <title>{verdict} - backups of {host}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>Backups of {host}</h1>\n<p class=\"verdict {class}\">{verdict}</p>\n\
             <p class=\"soft\">as of {} UTC</p>\n</header>\n<main>\n",
            time(self.time)
        )?;
        self.freshness(html)?;
        self.failures(html)?;
        self.plots(html)?;
        writeln!(
            html,
            "</main>\n<footer>Made by holdall {} on {host} at {} UTC. All times are UTC.</footer>\n</body>\n</html>",
            escaped(&self.version),
            show_time(self.time)
        )
    }

    /// All in one line, and its class.
    fn verdict(&self) -> (String, &'static str) {
        let (all, count) = (self.items.len(), |state| self.items.iter().filter(|item| item.state == state).count());
        let (stale, unknown) = (count(State::Stale), count(State::NotKnown));
        let items = if all == 1 { "item" } else { "items" };
        match (all, stale, unknown) {
            (0, ..) => ("There is nothing to show yet".to_owned(), "soft"),
            (_, 0, 0) => (format!("No item of {all} is stale"), "good"),
            (_, 0, _) => (format!("{unknown} of {all} {items} could not be asked for"), "bad"),
            (_, _, 0) => (format!("{stale} of {all} {items} stale"), "bad"),
            _ => (format!("{stale} of {all} {items} stale, {unknown} could not be asked for"), "bad"),
        }
    }

    fn freshness(&self, html: &mut String) -> std::fmt::Result {
        html.write_str(
            "<section id=\"freshness\">\n<h2>Freshness</h2>\n<table class=\"fresh\">\n<thead><tr><th scope=\"col\">Item</th><th scope=\"col\">State</th>\
             <th scope=\"col\">Newest point (UTC)</th><th scope=\"col\" class=\"number\">Age</th><th scope=\"col\" class=\"number\">May be</th>\
             <th scope=\"col\" class=\"number\">Points</th><th scope=\"col\" class=\"number\">Size</th></tr></thead>\n<tbody>\n",
        )?;
        for (number, item) in self.items.iter().enumerate() {
            let newest = match (item.newest, item.state) {
                (Some(newest), _) => time(newest),
                (None, State::NotKnown) => "not known".to_owned(),
                (None, _) => "never".to_owned(),
            };
            writeln!(
                html,
                "<tr{}><th scope=\"row\"><a href=\"#item-{number}\">{}</a></th><td class=\"{}\">{}</td><td class=\"time\" data-is=\"newest\">{newest}</td>\
                 <td class=\"number\" data-is=\"age\">{}</td><td class=\"number\" data-is=\"may be\">{}</td><td class=\"number\" data-is=\"points\">{}</td>\
                 <td class=\"number\" data-is=\"size\">{}</td></tr>",
                if item.state.is_bad() { " class=\"stale\"" } else { "" },
                escaped(&item.item),
                item.state.class(),
                item.state.word(),
                item.age.map(show_duration).unwrap_or_default(),
                item.max_age.map(show_duration).unwrap_or_default(),
                item.points,
                item.bytes.map(show_bytes).unwrap_or_default(),
            )?;
        }
        html.write_str("</tbody>\n</table>\n</section>\n")
    }

    fn failures(&self, html: &mut String) -> std::fmt::Result {
        let Some(failures) = &self.failures else { return Ok(()) };
        html.write_str("<section id=\"failures\">\n<h2>What went wrong lately</h2>\n")?;
        if failures.is_empty() {
            return html.write_str("<p class=\"soft\">Nothing, as far back as the report file goes.</p>\n</section>\n");
        }
        html.write_str(
            "<table>\n<thead><tr><th scope=\"col\">Run (UTC)</th><th scope=\"col\">What</th><th scope=\"col\">Outcome</th><th scope=\"col\">Why</th></tr></thead>\n<tbody>\n",
        )?;
        for Failure { time: when, what, outcome, error } in failures {
            writeln!(
                html,
                "<tr><td class=\"time\">{}</td><th scope=\"row\">{}</th><td class=\"state bad\">{}</td><td class=\"why\">{}</td></tr>",
                time(*when),
                escaped(what),
                escaped(outcome),
                escaped(shortened(error)),
            )?;
        }
        html.write_str("</tbody>\n</table>\n</section>\n")
    }

    fn plots(&self, html: &mut String) -> std::fmt::Result {
        if self.items.is_empty() {
            return Ok(());
        }
        let most = (SAMPLES / self.items.len()).clamp(SAMPLES_A_PLOT.0, SAMPLES_A_PLOT.1);
        html.write_str("<section id=\"plots\">\n<h2>Over time</h2>\n<div class=\"grid\">\n")?;
        for (number, item) in self.items.iter().enumerate() {
            let added = item.added.as_deref().unwrap_or_default();
            let span = Span::of(item.sizes.iter().chain(added), self.time.timestamp());
            let name = escaped(&item.item);
            write!(html, "<article class=\"card\" id=\"item-{number}\">\n<h3>{name}</h3>\n")?;
            if item.sizes.is_empty() {
                html.write_str("<p class=\"soft\">No point with a known size yet.</p>\n")?;
            } else {
                figure(html, "Size of each point", |html| plot::sizes(html, &item.sizes, span, most))?;
            }
            if !added.is_empty() {
                figure(html, "Added to the store", |html| plot::added(html, added, span, most))?;
            }
            html.write_str("</article>\n")?;
        }
        html.write_str("</div>\n</section>\n")
    }
}

fn figure(html: &mut String, caption: &str, plot: impl FnOnce(&mut String) -> std::fmt::Result) -> std::fmt::Result {
    writeln!(html, "<figure><figcaption>{caption}</figcaption>")?;
    plot(html)?;
    html.write_str("</figure>\n")
}

fn time(time: DateTime<Utc>) -> String {
    format!("<time datetime=\"{}\">{}</time>", rfc3339(time), time.format("%Y-%m-%d %H:%M"))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(ERROR) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text as it may stand in an element or a quoted attribute. What would control a terminal, or turn the direction of the text around it, is shown
/// by its number.
pub fn escaped(text: impl Display) -> String {
    let text = text.to_string();
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                html.extend(c.escape_default())
            }
            c if c.is_control() => html.extend(c.escape_default()),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(item: &str, state: State) -> ItemView {
        ItemView {
            item: item.into(),
            newest: None,
            age: None,
            max_age: None,
            points: 0,
            bytes: None,
            state,
            sizes: Vec::new(),
            added: None,
        }
    }

    fn page(items: Vec<ItemView>) -> Page {
        let time = "2026-02-05T11:59:00Z".parse().unwrap();
        Page { host: "nas".into(), version: "0".into(), time, items, failures: None }
    }

    #[test]
    fn what_comes_from_outside_is_text_and_nothing_else() {
        let hostile = "<script>alert('1')</script>\"&\u{202e}\u{1b}";
        let shown = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;\\u{202e}\\u{1b}";
        assert_eq!(escaped(hostile), shown);
        let mut page = page(vec![view(hostile, State::Stale)]);
        page.host = hostile.into();
        let failure = Failure { time: page.time, what: hostile.into(), outcome: hostile.into(), error: hostile.into() };
        page.failures = Some(vec![failure]);
        let html = page.render();
        assert!(!html.contains("<script") && !html.contains('\u{202e}') && !html.contains('\u{1b}'), "{html}");
        assert_eq!(html.matches(shown).count(), 8);
    }

    #[test]
    fn verdict_says_in_words_what_is_stale() {
        let verdict = |states: &[State]| page(states.iter().map(|state| view("a", *state)).collect()).verdict().0;
        assert_eq!(verdict(&[]), "There is nothing to show yet");
        assert_eq!(verdict(&[State::Fresh, State::NoLimit]), "No item of 2 is stale");
        assert_eq!(verdict(&[State::Fresh, State::Stale]), "1 of 2 items stale");
        assert_eq!(verdict(&[State::NotKnown, State::Stale]), "1 of 2 items stale, 1 could not be asked for");
        assert_eq!(verdict(&[State::NotKnown]), "1 of 1 item could not be asked for");
    }

    #[test]
    fn long_errors_are_cut() {
        assert_eq!(shortened(&"ä".repeat(400)), format!("{} ...", "ä".repeat(300)));
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn many_items_with_many_points_make_a_page_of_less_than_a_megabyte() {
        let sample = |number: i64| Sample {
            time: 1_700_000_000 + number * 3600,
            value: number.unsigned_abs() << 30,
            is_whole: true,
        };
        let items = (0..200).map(|number| ItemView {
            sizes: (0..3000).map(sample).collect(),
            added: Some((0..3000).map(sample).collect()),
            ..view(&format!("docker.nas/volume/volume-{number}"), State::Fresh)
        });
        let html = page(items.collect()).render();
        assert!(html.len() < 1_000_000, "{}", html.len());
    }
}
