//! What a replica on the target has to be before it may be written to, and how it is brought up to a snapshot of the source.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::adapt::{self, Adapted};
use super::api::{Server, is_not_found};
use super::copy::{Copy, has_no_common_base, is_damaged, is_out_of_order, lacks_profile};
use super::mark::{self, Mark};
use super::model::{Instance, Settings, Volume};
use super::select::{Selected, Subject};
use super::target::Place;
use super::{leftover, reseed};
use crate::config::CopyMode;
use crate::error::hinted;
use crate::monitor::{Monitor, Task as _, Unit};
use crate::source::Problem;

mod counting;
mod profiles;

use counting::Counting;

/// How replicas are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'w> {
    pub(crate) source: &'w Server,
    pub(crate) target: &'w Server,
    pub(crate) mode: CopyMode,
    /// The first digits of what marks name the source by.
    pub(crate) fingerprint: &'w str,
    /// Whether what is there without our mark is written to.
    pub(crate) adopt: bool,
    /// Whether a replica is made anew, and the old one deleted after that.
    pub(crate) reseed: bool,
    pub(crate) monitor: &'w dyn Monitor,
}

/// What came of a copy.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// Whether there was no replica before.
    pub(crate) is_first: bool,
    /// What went over, as far as the servers told.
    pub(crate) bytes: u64,
    /// What the copy lacks.
    pub(crate) problems: Vec<Problem>,
}

/// What is on the target under the name of an item.
#[derive(Debug, Clone, Copy)]
pub(crate) enum There<'p> {
    Nothing,
    Instance(&'p Instance),
    Volume(&'p Volume),
}

impl<'p> There<'p> {
    /// What `place` has for this subject.
    pub(crate) fn of(subject: &Subject, place: &'p Place) -> Self {
        let found = match &subject.pool {
            None => place.instances.get(&subject.name).map(Self::Instance),
            Some(pool) => place.volumes.get(&(pool.clone(), subject.name.clone())).map(Self::Volume),
        };
        found.unwrap_or(Self::Nothing)
    }

    fn config(self) -> Option<&'p Settings> {
        match self {
            Self::Nothing => None,
            Self::Instance(instance) => Some(&instance.config),
            Self::Volume(volume) => Some(&volume.config),
        }
    }

    fn snapshots(self) -> BTreeSet<&'p str> {
        match self {
            Self::Nothing => BTreeSet::new(),
            Self::Instance(instance) => instance.snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect(),
            Self::Volume(volume) => volume.snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect(),
        }
    }

    /// What its marks say.
    pub(crate) fn mark(self) -> Mark {
        self.config().map(Mark::of).unwrap_or_default()
    }
}

impl Way<'_> {
    /// Makes sure that an item can be copied to what is there; changes nothing.
    ///
    /// # Errors
    ///
    /// When it is not ours, is another kind of thing, or is in use.
    pub(crate) fn check(&self, item: &str, selected: &Selected, place: &Place) -> Result<()> {
        let subject = &selected.subject;
        if let Some(pool) = subject.pool.as_ref().filter(|pool| !place.pools.contains(*pool)) {
            let hint = "A volume is in the pool of the same name on both servers: make it with `incus storage create`.";
            return Err(adapt::no_pool(pool, &place.pools, hint));
        }
        let there = There::of(subject, place);
        self.check_kind(selected, there)?;
        self.check_owner(item, subject, there)?;
        let user = match there {
            There::Nothing => return Ok(()),
            There::Instance(instance) => Some(instance).filter(|instance| instance.is_running()),
            There::Volume(volume) => {
                users(volume).filter_map(|name| place.instances.get(name)).find(|instance| instance.is_running())
            }
        };
        let Some(user) = user else { return Ok(()) };
        let (name, project) = (&user.name, &subject.project);
        let text = match there {
            There::Instance(_) => {
                "the replica runs: it was started on the target, and a copy would undo what it does".to_owned()
            }
            _ => format!("the replica is used by {name}, which runs on the target"),
        };
        let hint = format!(
            "If it has taken over, take it out of this backup. If it was a try, stop it: `incus stop {name} --project {project}` on the target."
        );
        Err(hinted(anyhow!(text), hint))
    }

    fn check_kind(&self, selected: &Selected, there: There<'_>) -> Result<()> {
        let (ours, theirs) = match (&selected.instance, &selected.volume, there) {
            (Some(own), _, There::Instance(instance)) => (&own.kind, &instance.kind),
            (_, Some(own), There::Volume(volume)) => (&own.content_type, &volume.content_type),
            _ => return Ok(()),
        };
        if ours == theirs {
            return Ok(());
        }
        let text = format!("it is a {ours} on the source, and a {theirs} on the target");
        Err(hinted(anyhow!(text), "Rename or delete the one on the target if it is of no use."))
    }

    fn check_owner(&self, item: &str, subject: &Subject, there: There<'_>) -> Result<()> {
        let mark = there.mark();
        let expected = mark::source(item, self.fingerprint);
        if matches!(there, There::Nothing) || self.adopt || mark.source.as_ref() == Some(&expected) {
            return Ok(());
        }
        let (kind, name) = (subject.kind(), &subject.name);
        let overwrite =
            format!("`holdall backup {item} --adopt` overwrites it with what the source has, snapshots included.");
        match mark.item() {
            None => {
                let text = format!("the target has an {kind} {name} that holdall did not make")
                    .replace("an volume", "a volume");
                let hint = format!("If it is a replica, for instance of IncusAutobackup, {overwrite}");
                Err(hinted(anyhow!(text), hint))
            }
            Some(owner) if owner == item => {
                let text =
                    "the replica on the target is of another server: the source was replaced, or has a new certificate";
                let hint = format!("If this source has what is to be kept, {overwrite}");
                Err(hinted(anyhow!(text), hint))
            }
            Some(owner) => {
                let owner = crate::output::printable(owner.as_ref());
                let hint = format!("Two sources cannot share it. If the other one is given up, {overwrite}");
                Err(hinted(anyhow!("what the target has under this name is the replica of {owner}"), hint))
            }
        }
    }

    /// The point that a replica has, when it lacks snapshots that somebody else has made and that are called so that they sort behind `next`: one refresh for
    /// those, and one for the next snapshot, does what one for both cannot on btrfs, see [`is_out_of_order`].
    pub(crate) fn lags(&self, item: &str, selected: &Selected, place: &Place, next: &str) -> Option<String> {
        let there = There::of(&selected.subject, place);
        let mark = there.mark();
        if self.makes_anew(there) || mark.source != Some(mark::source(item, self.fingerprint)) {
            return None;
        }
        let known = there.snapshots();
        let here = match (&selected.instance, &selected.volume) {
            (Some(own), _) => There::Instance(own).snapshots(),
            (None, own) => own.as_ref().map(|own| There::Volume(own).snapshots()).unwrap_or_default(),
        };
        let is_behind = |name: &&str| *name > next && !known.contains(name);
        mark.point.filter(|_| here.iter().any(is_behind))
    }

    /// Whether what is there is replaced and not refreshed: it was asked for, or the original was brought back from it.
    fn makes_anew(&self, there: There<'_>) -> bool {
        self.reseed || there.config().is_some_and(|config| config.contains_key(mark::RESEED))
    }

    /// How the copy has to look.
    pub(crate) fn adapted(&self, selected: &Selected, place: &Place) -> Result<Adapted> {
        let replica = match There::of(&selected.subject, place) {
            There::Instance(instance) => Some(instance),
            _ => None,
        };
        match (&selected.instance, &selected.volume) {
            (Some(own), _) => adapt::instance(selected, own, place, replica),
            (None, Some(own)) => Ok(adapt::volume(own)),
            (None, None) => Ok(Adapted::default()),
        }
    }

    /// Brings the replica of an item up to a snapshot that the source has. The item was [checked](Self::check).
    ///
    /// # Errors
    ///
    /// When it cannot be; what is on the target then is marked, and the next run goes on from there.
    pub(crate) fn copy(&self, item: &str, selected: &Selected, snapshot: &str, place: &Place) -> Result<Copied> {
        let subject = &selected.subject;
        let mut there = There::of(subject, place);
        if there.mark().copying.is_some() && leftover::settle(self.target, subject, &there.mark())? {
            there = There::Nothing;
        }
        let adapted = self.adapted(selected, place)?;
        if self.makes_anew(there) && !matches!(there, There::Nothing) {
            let anew = || self.bring(item, selected, snapshot, There::Nothing, &adapted);
            return reseed::replace(self.target, subject, anew);
        }
        self.bring(item, selected, snapshot, there, &adapted).map_err(|error| {
            let why = if has_no_common_base(&error) {
                "No snapshot of the replica is one that the source has: the source was restored, or made anew."
            } else if is_damaged(&error) {
                "On the disk of the target the replica is not what Incus has noted of it."
            } else if is_out_of_order(&error) {
                "Incus sends new snapshots of btrfs in the order of their names, and these were made in another one: give your own ones names that sort as they were made."
            } else {
                return error;
            };
            let hint = format!(
                "{why} `holdall backup {item} --reseed` copies it anew, and deletes the old replica after that."
            );
            hinted(error, hint)
        })
    }

    fn bring(
        &self,
        item: &str,
        selected: &Selected,
        snapshot: &str,
        there: There<'_>,
        adapted: &Adapted,
    ) -> Result<Copied> {
        let subject = &selected.subject;
        let is_first = matches!(there, There::Nothing);
        let owner = mark::source(item, self.fingerprint);
        let marks = [(mark::SOURCE.to_owned(), owner.clone()), (mark::COPYING.to_owned(), snapshot.to_owned())];
        if !is_first {
            self.set_marks(subject, &marks).context("mark the replica")?;
        }
        let mut body = match &selected.volume {
            Some(volume) => {
                let mut config = adapted.config.clone();
                config.extend(marks);
                json!({
                    "name": subject.name, "type": "custom", "content_type": volume.content_type,
                    "config": config, "description": adapted.description,
                })
            }
            None => adapted.body(marks),
        };
        if let Some(own) = &selected.instance {
            body["name"] = own.name.clone().into();
            body["type"] = own.kind.clone().into();
        }
        let task = Counting::new(self.monitor.start(item, "copy", Unit::Bytes));
        let copy = Copy {
            from: self.source,
            to: self.target,
            mode: self.mode,
            subject,
            to_pool: subject.pool.as_deref(),
            refresh: !is_first,
            body,
        };
        let mut done = copy.run(&task.shared());
        if let Err(error) = &done
            && lacks_profile(error)
            && profiles::make_placeholders(self.source, self.target, subject)
                .context("make placeholders of profiles")?
        {
            done = copy.run(&task.shared());
        }
        task.finish();
        if let Err(error) = done {
            if is_first {
                leftover::discard_half(self.target, subject, &owner);
            }
            return Err(error.context("copy it to the target"));
        }
        self.settle(subject, there, adapted, snapshot, owner).context("write the configuration of the replica")?;
        Ok(Copied { is_first, bytes: task.amount(), problems: adapted.problems.clone() })
    }

    /// Says of a replica that it is whole, and lets its configuration follow the source's.
    fn settle(
        &self,
        subject: &Subject,
        there: There<'_>,
        adapted: &Adapted,
        snapshot: &str,
        owner: String,
    ) -> Result<()> {
        let whole = [
            (mark::SOURCE.to_owned(), owner),
            (mark::COPYING.to_owned(), String::new()),
            (mark::POINT.to_owned(), snapshot.to_owned()),
        ];
        let is_as = match there {
            There::Nothing => true,
            There::Instance(instance) => adapted.is_as(instance),
            There::Volume(volume) => adapted.is_as_volume(volume),
        };
        if is_as {
            return self.set_marks(subject, &whole);
        }
        let whole = whole.into_iter().filter(|(_, value)| !value.is_empty());
        let body = if subject.pool.is_some() {
            let mut config = adapted.config.clone();
            config.extend(whole);
            json!({ "config": config, "description": adapted.description })
        } else {
            // What the target says of itself stays: how the files are shifted, what it was given to start.
            let now: Instance = self.target.call("GET", &subject.path(&[])).project(&subject.project).get()?;
            let own = now.config.into_iter().filter(|(key, _)| key.starts_with("volatile."));
            adapted.body(own.chain(whole))
        };
        self.target.call("PUT", &subject.path(&[])).project(&subject.project).body(body).run().map(|_| ())
    }

    fn set_marks(&self, subject: &Subject, marks: &[(String, String)]) -> Result<()> {
        let config: Settings = marks.iter().cloned().collect();
        let body = json!({ "config": config });
        self.target.call("PATCH", &subject.path(&[])).project(&subject.project).body(body).run().map(|_| ())
    }
}

/// The instances that have a volume, of its own project.
pub(crate) fn users(volume: &Volume) -> impl Iterator<Item = &str> {
    volume.used_by.iter().filter_map(|path| {
        let path = path.split('?').next().unwrap_or(path);
        path.strip_prefix("/1.0/instances/")
    })
}

/// Deletes an instance or a volume with its snapshots; one that is not there is well.
pub(crate) fn delete(server: &Server, subject: &Subject) -> Result<Value> {
    match server.call("DELETE", &subject.path(&[])).project(&subject.project).run() {
        Err(error) if is_not_found(&error) => Ok(Value::Null),
        done => done,
    }
}
