//! How every item stands at the end of a run, whatever the run was about.

use super::Run;
use crate::commands::known_items;
use crate::commands::places::{Places, needs_store, replications};
use crate::commands::status::Freshness;
use crate::error::chain;
use crate::notify::standing::{ItemStanding, Standing};
use crate::store::Store;
use crate::timeline::{Place, Point, SAFETY_SUFFIX, Timeline};

impl Run<'_> {
    /// How every configured item stands, if somebody is told; `None` when the store cannot tell.
    pub(super) fn standing(&self, store: Option<&Store>) -> Option<Standing> {
        if !self.notifier.wants_standing() || (store.is_none() && needs_store(self.config)) {
            return None;
        }
        let mut points: Vec<Point> = match store.map(Store::points).transpose() {
            Ok(points) => points.unwrap_or_default(),
            Err(error) => {
                tracing::warn!("nobody is told how every item stands: {}", chain(&error));
                return None;
            }
        };
        let places = Places::ask(&replications(self.config, &[]));
        points.extend(places.points.iter().cloned());
        let is_configured = |item: &str| {
            let source = item.split('/').next().unwrap_or(item);
            self.config.sources.iter().any(|known| known.id() == source)
        };
        let is_away = |item: &str| [Place::Source, Place::Target].iter().any(|&place| places.is_away(item, place));
        let items = known_items(self.config, &points);
        let items = items.iter().filter(|item| is_configured(item) && !item.ends_with(SAFETY_SUFFIX) && !is_away(item));
        let items = items.map(|item| self.stands(item, &points)).collect();
        Some(Standing { items, unknown: places.away.into_iter().map(|away| away.error).collect() })
    }

    fn stands(&self, item: &str, points: &[Point]) -> ItemStanding {
        let now = self.context.now();
        let freshness = Freshness::of(item, self.config, points, now);
        let complete: Vec<Point> =
            points.iter().filter(|point| point.item == item && point.complete).cloned().collect();
        ItemStanding {
            item: item.to_owned(),
            newest: freshness.newest,
            newest_complete: Freshness::of(item, self.config, &complete, now).newest,
            max_age: freshness.max_age,
            is_stale: freshness.is_stale(),
            points: freshness.points as u64,
            bytes: freshness.bytes,
        }
    }
}
