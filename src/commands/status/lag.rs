//! How far the mirrors are behind, for `status`. It decides nothing: what is stale is decided by the store.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::commands::{Context, mirrors};
use crate::config::{Config, MirrorConfig};
use crate::error::chain;
use crate::quantity::{rfc3339, show_duration};
use crate::timeline::Point;

/// What each mirror has; `None` of one that could not be asked.
pub(super) struct Lag<'c>(Vec<(&'c MirrorConfig, Option<Vec<Point>>)>);

impl<'c> Lag<'c> {
    /// Asks all mirrors. One that does not answer is a warning: the next backup that cannot reach it is the one that fails.
    pub(super) fn ask(context: &Context, config: &'c Config) -> Self {
        let answers = mirrors::ask_all(context, config).into_iter().map(|(mirror, answer)| {
            let told = answer.inspect_err(|error| tracing::warn!("{}", chain(error)));
            (mirror, told.ok().map(|(_, points)| points))
        });
        Self(answers.collect())
    }

    /// The headers of the columns.
    pub(super) fn headers(&self) -> impl Iterator<Item = &'c str> {
        self.0.iter().map(|(mirror, _)| mirror.name)
    }

    /// What the columns say of an item whose newest point is of this time.
    pub(super) fn cells(&self, item: &str, newest: Option<DateTime<Utc>>) -> Vec<String> {
        let cell = |(mirror, points): &(&MirrorConfig, Option<Vec<Point>>)| match points {
            _ if !mirror.wants(item) => "-".to_owned(),
            None => "not known".to_owned(),
            Some(points) => say(newest_of(item, points), newest),
        };
        self.0.iter().map(cell).collect()
    }

    /// Adds `"mirrors":{"offsite":{"newest","points"}}` to the row of an item, where mirrors are configured. Both are `null` when the mirror could not be asked, and
    /// a mirror that is not to have the item is left out.
    pub(super) fn add_to(&self, row: &mut Value, item: &str) {
        if self.0.is_empty() {
            return;
        }
        let wanted = self.0.iter().filter(|(mirror, _)| mirror.wants(item));
        let rows = wanted.map(|(mirror, points)| {
            let count = points.as_ref().map(|points| points.iter().filter(|point| point.item == item).count());
            let newest = points.as_ref().and_then(|points| newest_of(item, points)).map(rfc3339);
            (mirror.name.to_owned(), json!({"newest": newest, "points": count}))
        });
        row["mirrors"] = Value::Object(rows.collect::<Map<_, _>>());
    }
}

fn newest_of(item: &str, points: &[Point]) -> Option<DateTime<Utc>> {
    points.iter().filter(|point| point.item == item).map(|point| point.time).max()
}

fn say(there: Option<DateTime<Utc>>, here: Option<DateTime<Utc>>) -> String {
    match (there, here) {
        (None, _) => "none".to_owned(),
        (Some(there), Some(here)) if there < here => {
            format!("{} behind", show_duration((here - there).to_std().unwrap_or_default()))
        }
        (Some(_), _) => "up to date".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_says_how_far_a_mirror_is_behind() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        assert_eq!(say(None, at(10)), "none");
        assert_eq!(say(at(10), at(10)), "up to date");
        assert_eq!(say(at(10), None), "up to date", "the store may have pruned what the mirror keeps");
        assert_eq!(say(at(0), at(7200)), "2h behind");
    }
}
