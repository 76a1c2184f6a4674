//! `SELECTOR[@POINT][:PATH]`: one point of one item, and perhaps a path in it.

use std::cmp::Reverse;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

use super::moment::{self, Moment};
use super::{Selector, ensure_usage, some_of, unknown};
use crate::error::{Annotate, ExitCode};
use crate::quantity::show_time;
use crate::timeline::{Place, Point};

/// One point of one item, and perhaps a path in it, as the user wrote it.
///
/// `files.host`, `files.host@latest~2`, `files.host@2026-02-05:/etc`, `files.host@a1b2c3d4`, `a1b2c3d4:/etc/hosts`,
/// `ios.phone:CameraRollDomain/Media`.
#[derive(Debug, Clone)]
pub struct PointSpec {
    /// The path after the colon, absolute and made of plain names only.
    pub path: Option<PathBuf>,
    /// `None` when the point is named by its id alone.
    selector: Option<Selector>,
    moment: Moment,
    /// POINT as it was written.
    written: String,
}

impl PointSpec {
    /// Reads a point spec. PATH begins at the first `:/`, since item ids may contain a colon: `docker.nas/image/app:1.2@latest:/image.json`. Those of devices
    /// contain none, and the files of a device are not called by absolute paths: there, and behind the id of a point, the slash may be left out.
    ///
    /// # Errors
    ///
    /// Exit code [`ExitCode::Usage`] when the selector, the point or the path is not well-formed.
    pub fn parse(text: &str) -> Result<Self> {
        let (head, path) = match path_start(text) {
            Some(colon) => (&text[..colon], Some(plain_path(&text[colon + 1..])?)),
            None => (text, None),
        };
        if moment::is_id(head) {
            let moment = Moment::Id(head.to_ascii_lowercase());
            return Ok(Self { path, selector: None, moment, written: head.to_owned() });
        }
        let (selector, written) = split_point(head);
        let source = selector.split('/').next().unwrap_or(selector);
        ensure_usage(!source.contains(':'), || {
            format!("`{text}`: the path must be absolute, as in `{}:/etc`", source.split(':').next().unwrap_or(source))
        })?;
        let moment = Moment::parse(written)
            .ok_or_else(|| anyhow!("`{written}` is not a point"))
            .hint("Write `latest`, `latest~2`, the beginning of an id of `holdall list`, or a date such as 2026-02-05T11:59.")
            .exit(ExitCode::Usage)?;
        Ok(Self { path, selector: Some(Selector::parse(selector)?), moment, written: written.to_owned() })
    }

    /// The selector as it was written; `None` when the point is named by its id alone.
    pub fn selector(&self) -> Option<&str> {
        self.selector.as_ref().map(|selector| selector.text.as_str())
    }

    /// The point that is meant, of `points` of all items in any order.
    ///
    /// The selector must mean exactly one item: that of exactly this id, or the only one whose whole id a glob matches. `latest` is the newest
    /// point also when it is incomplete; callers look at [`Point::complete`].
    ///
    /// What several places have of one moment is one point: the source's, else the target's, else the store's.
    ///
    /// # Errors
    ///
    /// Exit code [`ExitCode::Usage`] when the item is unknown or not one; [`ExitCode::Failed`] when it has no such point, or several.
    pub fn choose<'p>(&self, points: &'p [Point]) -> Result<&'p Point> {
        let item = self.selector.as_ref().map(|selector| one_item(selector, points)).transpose()?;
        let mut candidates: Vec<&Point> =
            points.iter().filter(|point| item.is_none_or(|item| point.item == item)).collect();
        if let Moment::Id(prefix) = &self.moment {
            candidates.retain(|point| point.id.starts_with(prefix));
        }
        candidates.sort_by_key(|point| {
            (Reverse(point.time.timestamp()), nearness(point.place), Reverse((point.time, &point.id)))
        });
        candidates.dedup_by(|next, point| {
            let is_same = next.item == point.item && next.time.timestamp() == point.time.timestamp();
            is_same && next.place != point.place
        });
        let found = match &self.moment {
            Moment::Latest(back) => candidates.get(*back).copied(),
            Moment::NotAfter(limit) => candidates.iter().copied().find(|point| point.time <= *limit),
            Moment::Id(_) if candidates.len() > 1 => return self.ambiguous(&candidates),
            Moment::Id(_) => candidates.first().copied(),
        };
        let what = if matches!(self.moment, Moment::NotAfter(_)) { "not after " } else { "" };
        let (of, list) =
            item.map_or((String::new(), String::new()), |item| (format!(" of {item}"), format!(" {item}")));
        found
            .ok_or_else(|| anyhow!("there is no point {what}`{}`{of}", self.written))
            .hint(format!("Run `holdall list{list}` to see what there is."))
    }

    fn ambiguous<T>(&self, candidates: &[&Point]) -> Result<T> {
        // As many digits as people see elsewhere, and more than they wrote.
        let digits = (self.written.len() + 4).max(8);
        let show = |point: &&Point| {
            let is_short = point.place.is_repository();
            let id = point.id.get(..digits).filter(|_| is_short).unwrap_or(&point.id);
            format!("{id} ({}, {})", point.item, show_time(point.time))
        };
        let names: Vec<String> = candidates.iter().map(show).collect();
        Err(anyhow!("`{}` is the beginning of {} ids", self.written, candidates.len()))
            .hint(format!("Write more digits of one of: {}.", some_of(&names)))
    }
}

/// Where a point is looked for first.
fn nearness(place: Place) -> u8 {
    match place {
        Place::Source => 0,
        Place::Target => 1,
        Place::Store => 2,
        Place::Mirror(_) => 3,
    }
}

/// The one item that the selector means.
fn one_item<'p>(selector: &Selector, points: &'p [Point]) -> Result<&'p str> {
    let mut items: Vec<&str> = points.iter().map(|point| point.item.as_str()).collect();
    items.sort_unstable();
    items.dedup();
    let named: Vec<&str> = items.iter().copied().filter(|item| selector.names(item)).collect();
    let several = match named.as_slice() {
        [item] => return Ok(item),
        [] => items.iter().copied().filter(|item| selector.matches(item)).collect(),
        _ => named,
    };
    if several.is_empty() {
        return unknown(&[&selector.text], &items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>());
    }
    Err(anyhow!("`{}` is not one item", selector.text))
        .hint(format!("Name one of: {}.", some_of(&several)))
        .exit(ExitCode::Usage)
}

/// Splits `SELECTOR@POINT`; without a point it is `latest`. A digest in the name of an image (`app@sha256:…`) is no point.
fn split_point(head: &str) -> (&str, &str) {
    match head.rsplit_once('@') {
        Some((selector, point)) if !point.starts_with("sha256:") && !point.starts_with("sha512:") => (selector, point),
        _ => (head, "latest"),
    }
}

/// Where the colon before PATH is.
fn path_start(text: &str) -> Option<usize> {
    let first = text.find(':')?;
    if moment::is_id(&text[..first]) {
        return Some(first);
    }
    if !text.starts_with("ios.") {
        return text.find(":/");
    }
    // A time of day has colons, too: what is a point as a whole is one, and the longest that is one goes before the path.
    let is_whole = |head: &str| head.rsplit_once('@').is_none_or(|(_, point)| Moment::parse(point).is_some());
    match text[..first].contains('@') {
        false => Some(first),
        true if is_whole(text) => None,
        true => {
            text.rmatch_indices(':').map(|(colon, _)| colon).find(|&colon| is_whole(&text[..colon])).or(Some(first))
        }
    }
}

fn plain_path(text: &str) -> Result<PathBuf> {
    let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
    ensure_usage(!names.iter().any(|&name| name == "." || name == ".."), || {
        format!("the path `{text}` must not contain `.` or `..`")
    })?;
    Ok(PathBuf::from(format!("/{}", names.join("/"))))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::{exit_code, hints};

    const DIGESTED: &str = "docker.nas/image/app@sha256:00ff";

    fn points() -> Vec<Point> {
        let point = |item: &str, id: &str, time: &str, complete| Point {
            item: item.into(),
            place: Place::Store,
            id: id.into(),
            time: time.parse().unwrap(),
            complete,
            files: None,
            bytes: None,
            pinned: false,
        };
        vec![
            point("files.host", "a1b2c3d4e5f6", "2026-02-03T12:00:00Z", true),
            point("files.host", "b1b2c3d4e5f6", "2026-02-05T11:59:00.7Z", false),
            point("files.host", "a1b2ffffffff", "2026-02-04T23:59:59.9Z", true),
            point("files.host/before-restore", "c1b2c3d4e5f6", "2026-02-06T00:00:00Z", true),
            point("files.home", "d1b2c3d4e5f6", "2026-02-01T00:00:00Z", true),
            point("docker.nas/image/app:1.2", "e1b2c3d4e5f6", "2026-02-01T00:00:00Z", true),
            point(DIGESTED, "f1b2c3d4e5f6", "2026-02-01T00:00:00Z", true),
        ]
    }

    fn chosen(spec: &str) -> String {
        let points = points();
        PointSpec::parse(spec).unwrap().choose(&points).unwrap().id[..4].to_owned()
    }

    fn refused(spec: &str) -> (String, String, ExitCode) {
        let points = points();
        let error = PointSpec::parse(spec).and_then(|spec| spec.choose(&points).map(drop)).unwrap_err();
        (error.to_string(), hints(&error).join("; "), exit_code(&error))
    }

    #[test]
    fn item_alone_means_its_newest_point_also_an_incomplete_one() {
        assert_eq!(chosen("files.host"), "b1b2");
        assert_eq!(chosen("files.host@latest"), "b1b2");
        assert_eq!(chosen("files.host@latest~2"), "a1b2");
        assert_eq!(chosen("files.host/before-restore"), "c1b2");
        assert_eq!(chosen("*.home"), "d1b2");
    }

    #[test]
    fn date_means_the_newest_point_not_after_it() {
        assert_eq!(chosen("files.host@2026-02-05"), "b1b2");
        assert_eq!(chosen("files.host@2026-02-05 11:59:00"), "b1b2");
        assert_eq!(chosen("files.host@2026-02-05T12:58:59+01:00"), "a1b2");
        assert_eq!(chosen("files.host@2026-02-05T11:58:/etc"), "a1b2");
    }

    #[test]
    fn id_needs_no_item() {
        assert_eq!(chosen("a1b2f"), "a1b2");
        assert_eq!(chosen("C1B2:/etc"), "c1b2");
        assert_eq!(chosen("files.host@b1b2"), "b1b2");
    }

    #[test]
    fn colons_and_digests_of_images_are_part_of_the_item() {
        assert_eq!(chosen("docker.nas/image/app:1.2"), "e1b2");
        assert_eq!(chosen("docker.nas/image/app:1.2@latest:/image.json"), "e1b2");
        assert_eq!(chosen(DIGESTED), "f1b2");
        assert_eq!(chosen(&format!("{DIGESTED}@latest")), "f1b2");
    }

    #[test]
    fn path_is_absolute_and_plain() {
        let path = |spec: &str| PointSpec::parse(spec).unwrap().path;
        assert_eq!(path("files.host"), None);
        assert_eq!(path("files.host:/").as_deref(), Some(Path::new("/")));
        assert_eq!(path("files.host@latest:/etc//me@home/a:/b/").as_deref(), Some(Path::new("/etc/me@home/a:/b")));
        let (message, _, code) = refused("files.host:/etc/../root");
        assert_eq!((message.as_str(), code), ("the path `/etc/../root` must not contain `.` or `..`", ExitCode::Usage));
        let (message, _, code) = refused("files.host:etc");
        let expected = "`files.host:etc`: the path must be absolute, as in `files.host:/etc`";
        assert_eq!((message.as_str(), code), (expected, ExitCode::Usage));
    }

    #[test]
    fn path_of_a_device_needs_no_slash() {
        for (spec, head, expected) in [
            ("ios.phone:CameraRollDomain/Media", "latest", Some("/CameraRollDomain/Media")),
            ("ios.phone:/CameraRollDomain/a:/b", "latest", Some("/CameraRollDomain/a:/b")),
            ("ios.phone@latest~1:AppDomain-a/x@y:z", "latest~1", Some("/AppDomain-a/x@y:z")),
            ("ios.phone@2026-02-05T11:59:Home", "2026-02-05T11:59", Some("/Home")),
            ("ios.phone@2026-02-05T11:59", "2026-02-05T11:59", None),
            ("ios.phone@2026-02-05T11:59:30:30", "2026-02-05T11:59:30", Some("/30")),
            ("ios.phone", "latest", None),
            ("a1b2c3d4:HomeDomain", "a1b2c3d4", Some("/HomeDomain")),
        ] {
            let parsed = PointSpec::parse(spec).unwrap();
            assert_eq!((parsed.written.as_str(), parsed.path.as_deref()), (head, expected.map(Path::new)), "{spec}");
        }
        assert_eq!(refused("ios.phone@yesterday:Home").0, "`yesterday` is not a point");
    }

    #[test]
    fn missing_point_fails_with_a_hint_to_list() {
        let expected = |message: &str| {
            (message.to_owned(), "Run `holdall list files.host` to see what there is.".to_owned(), ExitCode::Failed)
        };
        assert_eq!(refused("files.host@latest~3"), expected("there is no point `latest~3` of files.host"));
        assert_eq!(
            refused("files.host@2026-02-01"),
            expected("there is no point not after `2026-02-01` of files.host")
        );
        assert_eq!(refused("files.host@d1b2"), expected("there is no point `d1b2` of files.host"));
        let (message, hint, code) = refused("0000");
        assert_eq!((message.as_str(), code), ("there is no point `0000`", ExitCode::Failed));
        assert_eq!(hint, "Run `holdall list` to see what there is.");
    }

    #[test]
    fn ambiguous_id_names_its_candidates() {
        let (message, hint, code) = refused("a1b2");
        assert_eq!((message.as_str(), code), ("`a1b2` is the beginning of 2 ids", ExitCode::Failed));
        assert_eq!(
            hint,
            "Write more digits of one of: a1b2ffff (files.host, 2026-02-04 23:59:59), a1b2c3d4 (files.host, 2026-02-03 12:00:00)."
        );
    }

    #[test]
    fn selector_must_mean_one_item() {
        let (message, hint, code) = refused("files.*");
        assert_eq!((message.as_str(), code), ("`files.*` is not one item", ExitCode::Usage));
        assert_eq!(hint, "Name one of: files.home, files.host.");
        assert_eq!(refused("docker.nas/image").1, format!("Name one of: docker.nas/image/app:1.2, {DIGESTED}."));
        let (message, hint, code) = refused("files.hots");
        assert_eq!((message.as_str(), code), ("nothing is called `files.hots`", ExitCode::Usage));
        assert_eq!(hint, "Did you mean `files.host` or `files.home`?");
    }

    #[test]
    fn text_that_is_no_point_is_refused() {
        let (message, hint, code) = refused("files.host@yesterday");
        assert_eq!((message.as_str(), code), ("`yesterday` is not a point", ExitCode::Usage));
        assert!(hint.starts_with("Write `latest`"), "{hint}");
        assert_eq!(refused("files.host@").0, "`` is not a point");
        assert_eq!(refused("@latest").0, "a selector is empty");
    }

    #[test]
    fn points_of_servers_are_named_like_their_snapshots_and_those_of_one_moment_are_one() {
        let point = |place, id: &str, time: &str| Point {
            item: "incus.lab/default/instance/vm1".into(),
            place,
            id: id.into(),
            time: time.parse().unwrap(),
            complete: true,
            files: None,
            bytes: None,
            pinned: false,
        };
        let points = [
            point(Place::Target, "IAB_20260201-120000", "2026-02-01T12:00:00Z"),
            point(Place::Store, "0123456789abcdef", "2026-02-02T12:00:00.5Z"),
            point(Place::Target, "IAB_20260202-120000", "2026-02-02T12:00:00Z"),
            point(Place::Source, "IAB_20260202-120000", "2026-02-02T12:00:00Z"),
            point(Place::Source, "IAB_20260203-120000", "2026-02-03T12:00:00Z"),
            point(Place::Store, "aaaa456789abcdef", "2025-01-01T00:00:00Z"),
        ];
        let chosen = |moment: &str| {
            let spec = PointSpec::parse(&format!("incus.lab/default/instance/vm1@{moment}")).unwrap();
            spec.choose(&points).map(|point| (point.place, point.id[..point.id.len().min(12)].to_owned()))
        };
        let is = |moment: &str| chosen(moment).unwrap();
        assert_eq!(is("latest"), (Place::Source, "IAB_20260203".to_owned()));
        assert_eq!(is("latest~1"), (Place::Source, "IAB_20260202".to_owned()));
        assert_eq!(is("latest~2"), (Place::Target, "IAB_20260201".to_owned()));
        assert_eq!(is("latest~3"), (Place::Store, "aaaa456789ab".to_owned()));
        assert_eq!(is("IAB_20260202-120000"), (Place::Source, "IAB_20260202".to_owned()));
        assert_eq!(is("IAB_20260201"), (Place::Target, "IAB_20260201".to_owned()));
        assert_eq!(is("0123"), (Place::Store, "0123456789ab".to_owned()));
        assert_eq!(is("2026-02-02"), (Place::Source, "IAB_20260202".to_owned()));
        let error = chosen("IAB_2026").unwrap_err();
        assert_eq!(error.to_string(), "`IAB_2026` is the beginning of 3 ids");
        assert!(hints(&error)[0].contains("IAB_20260203-120000 ("), "{:?}", hints(&error));
    }
}
