//! What is done to a container while what it writes to is read: what its labels and its source want, as far as that can be done to it.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use super::order::Graph;
use crate::config::{Hold, HoldConfig};
use crate::error::Annotate;
use crate::source::docker::engine::{Container, State};

/// What is done to a container, whatever its source says: `none`, `pause` or `stop`.
pub(crate) const LABEL: &str = "holdall.hold";

/// The same in the words of offen/docker-volume-backup: `true`, or the name of a group of containers.
const OFFEN: &str = "docker-volume-backup.stop-during-backup";

/// A swarm gives it to the containers that it watches over.
const SWARM_TASK: &str = "com.docker.swarm.task.id";

/// How a container is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    Pause,
    Stop,
}

/// What is wanted for a container: its label, else its source.
///
/// # Errors
///
/// When the label means nothing.
pub(super) fn wanted(container: &Container, config: &HoldConfig) -> Result<Hold> {
    if let Some(text) = container.labels.get(LABEL) {
        return match text.trim() {
            "none" => Ok(Hold::None),
            "pause" => Ok(Hold::Pause),
            "stop" => Ok(Hold::Stop),
            other => Err(anyhow!("the label {LABEL} of container {} is `{other}`", container.name))
                .hint("It may be none, pause or stop."),
        };
    }
    let stops_for_offen = container.labels.get(OFFEN).is_some_and(|text| !matches!(text.trim(), "" | "false"));
    Ok(if config.honors_offen && stops_for_offen { Hold::Stop } else { config.hold })
}

/// Why a container cannot be stopped without harm, if so.
fn not_to_be_stopped(container: &Container) -> Option<&'static str> {
    if container.is_removed_on_stop {
        Some("the engine would remove it (--rm)")
    } else if container.labels.contains_key(SWARM_TASK) {
        Some("its swarm would replace it")
    } else if container.state == State::Paused {
        Some("somebody has paused it")
    } else {
        None
    }
}

/// How those of `users` are held that have to be, and whoever has to stop with them; all by their numbers in `all`. And
/// what the user should know of it.
///
/// Only what runs is held: what is paused is quiet, and whoever paused it will let it go on. Who shares the network, the processes or the memory of a container
/// that is stopped would be cut off from it for good, so it is stopped as well. Where that cannot be, both are not stopped but paused.
///
/// # Errors
///
/// When a label means nothing.
pub(super) fn decide(
    users: &[usize],
    all: &[&Container],
    graph: &Graph,
    config: &HoldConfig,
) -> Result<(BTreeMap<usize, Way>, Vec<String>)> {
    let (mut ways, mut notes) = (BTreeMap::new(), Vec::new());
    for &user in users {
        let container = all[user];
        if container.state != State::Running || container.is_ours() {
            continue;
        }
        match wanted(container, config)? {
            Hold::None => {}
            Hold::Pause => {
                ways.entry(user).or_insert(Way::Pause);
            }
            Hold::Stop => {
                let followers = graph.joiners(user);
                let followers = followers.into_iter().filter(|&other| all[other].state != State::Stopped);
                let with: Vec<usize> = std::iter::once(user).chain(followers).collect();
                let hindered = with.iter().find_map(|&one| Some((all[one], not_to_be_stopped(all[one])?)));
                if let Some((other, why)) = hindered {
                    let name = &container.name;
                    let whose = if other.id == container.id { "" } else { &format!("{} cannot: ", other.name) };
                    notes.push(format!("{name} is paused and not stopped: {whose}{why}"));
                    ways.entry(user).or_insert(Way::Pause);
                    continue;
                }
                for one in with {
                    if one != user && wanted(all[one], config).is_ok_and(|own| own == Hold::None) {
                        notes.push(format!("{} is stopped as well: it lives in {}", all[one].name, container.name));
                    }
                    ways.insert(one, Way::Stop);
                }
            }
        }
    }
    Ok((ways, notes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::order::tests::container;
    use super::*;

    fn config(hold: Hold, honors_offen: bool) -> HoldConfig {
        HoldConfig { hold, stop_timeout: None, start_timeout: std::time::Duration::from_secs(60), honors_offen }
    }

    fn decided(containers: &[Container], users: &[usize], hold: Hold) -> Vec<(usize, Way)> {
        let all: Vec<&Container> = containers.iter().collect();
        let (graph, _) = Graph::new(&all, &[]);
        decide(users, &all, &graph, &config(hold, true)).unwrap().0.into_iter().collect()
    }

    #[test]
    fn label_wins_over_the_source_and_over_offens() {
        let of = |labels: serde_json::Value| container("a", json!({"Config": {"Labels": labels}}));
        let stops = config(Hold::Stop, true);
        assert_eq!(wanted(&of(json!({})), &stops).unwrap(), Hold::Stop);
        assert_eq!(wanted(&of(json!({LABEL: "none"})), &stops).unwrap(), Hold::None);
        assert_eq!(wanted(&of(json!({LABEL: "pause", OFFEN: "true"})), &stops).unwrap(), Hold::Pause);
        let nothing = |honors| config(Hold::None, honors);
        assert_eq!(wanted(&of(json!({OFFEN: "true"})), &nothing(true)).unwrap(), Hold::Stop);
        assert_eq!(wanted(&of(json!({OFFEN: "nightly"})), &nothing(true)).unwrap(), Hold::Stop);
        assert_eq!(wanted(&of(json!({OFFEN: "false"})), &nothing(true)).unwrap(), Hold::None);
        assert_eq!(wanted(&of(json!({OFFEN: "true"})), &nothing(false)).unwrap(), Hold::None);
        let error = wanted(&of(json!({LABEL: "freeze"})), &stops).unwrap_err().to_string();
        assert!(error.contains("container a") && error.contains("freeze"), "{error}");
    }

    #[test]
    fn only_what_runs_and_is_the_users_is_held() {
        let all = [
            container("runs", json!({})),
            container("stopped", json!({"State": {"Running": false}})),
            container("paused", json!({"State": {"Paused": true}})),
            container("ours", json!({"Config": {"Labels": {"holdall.internal": "reader"}}})),
        ];
        assert_eq!(decided(&all, &[0, 1, 2, 3], Hold::Stop), [(0, Way::Stop)]);
        assert_eq!(decided(&all, &[0, 1, 2, 3], Hold::Pause), [(0, Way::Pause)]);
        assert_eq!(decided(&all, &[0, 1, 2, 3], Hold::None), []);
    }

    #[test]
    fn who_lives_in_a_stopped_container_is_stopped_whatever_its_label_says() {
        let joins = |name: &str, other: &str| {
            let labels = json!({LABEL: "none"});
            container(
                name,
                json!({"HostConfig": {"NetworkMode": format!("container:{other}")}, "Config": {"Labels": labels}}),
            )
        };
        let all = [container("vpn", json!({})), joins("torrent", "id-vpn"), joins("watch", "torrent"), joins("x", "y")];
        assert_eq!(decided(&all, &[0], Hold::Stop), [(0, Way::Stop), (1, Way::Stop), (2, Way::Stop)]);
        assert_eq!(decided(&all, &[0], Hold::Pause), [(0, Way::Pause)]);
    }

    #[test]
    fn what_would_be_lost_by_a_stop_is_paused() {
        let removed = json!({"HostConfig": {"AutoRemove": true}});
        let task = json!({"Config": {"Labels": {SWARM_TASK: "x"}}});
        let all = [container("removed", removed), container("task", task)];
        assert_eq!(decided(&all, &[0, 1], Hold::Stop), [(0, Way::Pause), (1, Way::Pause)]);

        let guest = json!({"HostConfig": {"AutoRemove": true, "NetworkMode": "container:host"}});
        let all = [container("host", json!({})), container("guest", guest)];
        assert_eq!(decided(&all, &[0], Hold::Stop), [(0, Way::Pause)]);
    }
}
