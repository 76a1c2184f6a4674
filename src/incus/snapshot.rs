//! Makes the snapshots of a run: volumes before instances, and an instance that is to be stopped together with the volumes that it has.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::api::{Operation, Server, refusal};
use super::hold::Hold;
use super::model::Instance;
use super::select::{Selected, Subject};
use super::{PREFIX, abreast};
use crate::error::{chain, hinted};

/// How far the clocks of this machine and of a server may be apart.
const CLOCK_MAY_DIFFER: chrono::Duration = chrono::Duration::minutes(5);

/// How many snapshots a server makes at a time.
const AT_ONCE: usize = 4;

/// For how many seconds a name is looked for that is not taken.
const NAMES_TRIED: u32 = 5;

/// No date: without one, the server takes `snapshots.expiry` of the instance, and would remove the snapshot by itself.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A snapshot that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) name: String,
    /// The time in its name.
    pub(crate) time: DateTime<Utc>,
}

/// What came of all snapshots.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// By the place of the item in the run.
    pub(crate) made: BTreeMap<usize, Result<Made>>,
    /// Instances that were not started again.
    pub(crate) errors: Vec<Error>,
}

/// The name of a snapshot made then.
pub(crate) fn name(time: DateTime<Utc>) -> String {
    format!("{PREFIX}{}", time.format("%Y%m%d-%H%M%S"))
}

/// Instances that are stopped together, and all items whose snapshots are made meanwhile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Who is stopped, by the place in the run.
    pub(crate) stopped: Vec<usize>,
    /// Volumes before instances, by the place in the run.
    pub(crate) items: Vec<usize>,
}

/// Whether a run stops it.
///
/// # Errors
///
/// When it would be deleted by that.
pub(crate) fn has_to_stop(selected: &Selected) -> Result<bool> {
    let Some(instance) = selected.instance.as_ref().filter(|instance| selected.stop && instance.status == "Running")
    else {
        return Ok(false);
    };
    if instance.ephemeral {
        let hint = "Take `stop` from it, or make it lasting: `incus config edit`, `ephemeral: false`.";
        return Err(hinted(anyhow::anyhow!("{} is ephemeral: stopping would delete it", instance.name), hint));
    }
    Ok(true)
}

/// Puts items together whose snapshots have to be made together, in the order in which they are made.
pub(crate) fn units(items: &[Selected]) -> Vec<Unit> {
    let is_stopped = |place: &usize| has_to_stop(&items[*place]).unwrap_or(false);
    let mut units: Vec<Unit> = Vec::new();
    for stopped in (0..items.len()).filter(is_stopped) {
        let mut unit = Unit { stopped: vec![stopped], items: volumes_of(items, stopped) };
        unit.items.push(stopped);
        // Two that share a volume are stopped together.
        let shares = |other: &Unit| other.items.iter().any(|item| unit.items.contains(item));
        let (joined, others): (Vec<Unit>, Vec<Unit>) = units.into_iter().partition(shares);
        units = others;
        for mut other in joined {
            unit.stopped.append(&mut other.stopped);
            unit.items.append(&mut other.items);
        }
        unit.stopped.sort_unstable();
        unit.items.sort_unstable_by_key(|place| (items[*place].instance.is_some(), *place));
        unit.items.dedup();
        units.push(unit);
    }
    let is_alone = |place: &usize| !units.iter().any(|unit| unit.items.contains(place));
    let mut alone: Vec<usize> = (0..items.len()).filter(is_alone).collect();
    alone.sort_by_key(|place| items[*place].instance.is_some());
    let volumes = alone.iter().filter(|place| items[**place].volume.is_some()).count();
    let single = |place: &usize| Unit { stopped: Vec::new(), items: vec![*place] };
    let (volumes, instances) = alone.split_at(volumes);
    volumes.iter().map(single).chain(units).chain(instances.iter().map(single)).collect()
}

/// The volumes of this run that an instance has, by their places.
fn volumes_of(items: &[Selected], instance: usize) -> Vec<usize> {
    let Some(own) = &items[instance].instance else { return Vec::new() };
    let project = &items[instance].subject.project;
    let has = |subject: &Subject| {
        subject.project == *project
            && own.expanded_devices.values().any(|device| {
                let source = device.get("source").and_then(|source| source.split('/').next());
                device.get("pool") == subject.pool.as_ref() && source == Some(subject.name.as_str())
            })
    };
    (0..items.len()).filter(|place| items[*place].volume.is_some() && has(&items[*place].subject)).collect()
}

/// Makes the snapshots of all items, which are called by the time of `now`.
pub(crate) fn make(source: &Server, items: &[Selected], now: DateTime<Utc>, stop_timeout: Duration) -> Snapshots {
    let mut all = Snapshots::default();
    let units = units(items);
    let work = |unit: &Unit| make_unit(source, items, unit, now, stop_timeout);
    let mut clock = None;
    abreast::each(units.iter().collect(), AT_ONCE, work, |unit| {
        all.made.extend(unit.made);
        all.errors.extend(unit.errors);
        clock = clock.or(unit.clock);
    });
    if let Some(line) = clock.and_then(|(theirs, ours)| clocks_differ(theirs, ours)) {
        tracing::warn!("{line}");
    }
    all
}

/// What to say of two clocks that are too far apart; `ours` was asked right after `theirs`.
fn clocks_differ(theirs: DateTime<Utc>, ours: DateTime<Utc>) -> Option<String> {
    let [theirs_shown, ours_shown] = [theirs, ours].map(crate::quantity::show_time);
    ((theirs - ours).abs() > CLOCK_MAY_DIFFER).then(|| {
        format!(
            "the clocks differ: it is {theirs_shown} UTC on the source and {ours_shown} UTC here. A point that is dated in the future \
             is not counted, and one too far in the past is pruned too early"
        )
    })
}

/// What came of one unit.
#[derive(Debug, Default)]
struct OfUnit {
    made: Vec<(usize, Result<Made>)>,
    errors: Vec<Error>,
    /// What the source's clock said, and what ours did.
    clock: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

fn make_unit(source: &Server, items: &[Selected], unit: &Unit, now: DateTime<Utc>, stop_timeout: Duration) -> OfUnit {
    let mut of = OfUnit::default();
    let refused: Vec<(usize, Error)> =
        unit.items.iter().filter_map(|place| Some((*place, has_to_stop(&items[*place]).err()?))).collect();
    let stopped: Vec<(&Subject, &Instance)> = unit
        .stopped
        .iter()
        .filter_map(|place| Some((&items[*place].subject, items[*place].instance.as_ref()?)))
        .collect();
    let mut hold = None;
    if !stopped.is_empty() {
        match Hold::stop(source, &stopped, stop_timeout) {
            Ok(held) => hold = Some(held),
            Err((error, others)) => {
                let text = chain(&error);
                let mut first = Some(error);
                of.made = unit
                    .items
                    .iter()
                    .map(|place| (*place, Err(first.take().unwrap_or_else(|| anyhow::anyhow!(text.clone())))))
                    .collect();
                of.errors = others;
                return of;
            }
        }
    }
    let is_refused = |place: &usize| refused.iter().any(|(other, _)| other == place);
    let begun: Vec<(usize, Result<Operation>)> = unit
        .items
        .iter()
        .filter(|place| !is_refused(place))
        .map(|place| (*place, begin(source, &items[*place].subject, now)))
        .collect();
    of.clock =
        begun.iter().find_map(|(_, operation)| operation.as_ref().ok()?.created_at()).map(|time| (time, Utc::now()));
    for (place, operation) in begun {
        let done = operation.and_then(|operation| operation.wait(None).map(|_| Made { name: name(now), time: now }));
        let done = done.or_else(|error| try_later(source, &items[place].subject, error, now));
        of.made.push((place, done.with_context(|| format!("make a snapshot of {}", items[place].subject.name))));
    }
    if let Some(hold) = hold {
        of.errors = hold.let_go();
    }
    of.made.extend(refused.into_iter().map(|(place, error)| (place, Err(error))));
    of
}

fn begin(source: &Server, subject: &Subject, time: DateTime<Utc>) -> Result<Operation> {
    let mut body = json!({ "name": name(time), "expires_at": NEVER });
    if subject.pool.is_none() {
        body["stateful"] = false.into();
    }
    source.call("POST", &subject.path(&["snapshots"])).project(&subject.project).body(body).begin()
}

/// Tries the names of the next seconds, when somebody else has made a snapshot in this one.
fn try_later(source: &Server, subject: &Subject, mut error: Error, from: DateTime<Utc>) -> Result<Made> {
    let mut time = from;
    for _ in 0..NAMES_TRIED {
        if !is_taken(&error) {
            return Err(error);
        }
        time += chrono::Duration::seconds(1);
        thread::sleep((time - Utc::now()).to_std().unwrap_or_default());
        match begin(source, subject, time).and_then(|operation| operation.wait(None)) {
            Ok(_) => return Ok(Made { name: name(time), time }),
            Err(next) => error = next,
        }
    }
    Err(error)
}

/// Whether a snapshot was refused because there is one with its name.
fn is_taken(error: &Error) -> bool {
    refusal(error).is_some_and(|refused| {
        refused.status == 409
            || ["already in use", "already exists", "UNIQUE constraint"]
                .iter()
                .any(|text| refused.message.contains(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incus::model::{Devices, Settings, Volume};

    fn volume(name: &str) -> Selected {
        Selected {
            subject: Subject { project: "p".to_owned(), pool: Some("local".to_owned()), name: name.to_owned() },
            instance: None,
            volume: Some(Volume { name: name.to_owned(), ..Volume::default() }),
            target_pool: None,
            exclude_devices: Vec::new(),
            stop: false,
        }
    }

    fn instance(name: &str, stop: bool, volumes: &[&str]) -> Selected {
        let device = |volume: &&str| {
            let pairs = [("type", "disk"), ("pool", "local"), ("source", volume), ("path", "/v")];
            let device: Settings = pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            ((*volume).to_owned(), device)
        };
        let expanded_devices: Devices = volumes.iter().map(device).collect();
        let (name, status) = (name.to_owned(), "Running".to_owned());
        let own = Instance { name: name.clone(), status, expanded_devices, ..Instance::default() };
        Selected {
            subject: Subject { project: "p".to_owned(), pool: None, name },
            instance: Some(own),
            volume: None,
            stop,
            ..volume("")
        }
    }

    fn unit(stopped: &[usize], items: &[usize]) -> Unit {
        Unit { stopped: stopped.to_vec(), items: items.to_vec() }
    }

    #[test]
    fn volumes_come_first_and_those_of_a_stopped_instance_are_saved_while_it_is_stopped() {
        let items =
            [volume("a"), volume("b"), instance("plain", false, &["a"]), instance("stops", true, &["b"]), volume("c")];
        assert_eq!(units(&items), [unit(&[], &[0]), unit(&[], &[4]), unit(&[3], &[1, 3]), unit(&[], &[2])]);
    }

    #[test]
    fn instances_that_share_a_volume_are_stopped_together() {
        let items = [
            volume("a"),
            volume("b"),
            instance("x", true, &["a"]),
            instance("y", true, &["b"]),
            instance("z", true, &["a", "b"]),
        ];
        assert_eq!(units(&items), [unit(&[2, 3, 4], &[0, 1, 2, 3, 4])]);
    }

    #[test]
    fn what_does_not_run_is_not_stopped_and_what_stopping_would_delete_is_refused() {
        let mut stopped = instance("x", true, &[]);
        stopped.instance.as_mut().unwrap().status = "Stopped".to_owned();
        assert!(!has_to_stop(&stopped).unwrap());
        let mut ephemeral = instance("x", true, &[]);
        ephemeral.instance.as_mut().unwrap().ephemeral = true;
        assert!(has_to_stop(&ephemeral).is_err());
    }

    #[test]
    fn clocks_that_differ_by_more_than_five_minutes_are_told_with_both_times() {
        let ours: DateTime<Utc> = "2026-02-05T12:00:00Z".parse().unwrap();
        let minutes = |minutes| clocks_differ(ours + chrono::Duration::minutes(minutes), ours);
        assert!(minutes(5).is_none() && minutes(-5).is_none());
        let line = minutes(60).unwrap();
        assert!(
            line.contains("it is 2026-02-05 13:00:00 UTC on the source and 2026-02-05 12:00:00 UTC here"),
            "{line}"
        );
        assert!(minutes(-6).is_some());
    }

    #[test]
    fn name_is_the_time_in_utc() {
        let time = "2026-02-05T12:59:00+01:00".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(name(time), "IAB_20260205-115900");
        assert_eq!(super::super::snapshot_time(&name(time)), Some(time));
    }
}
