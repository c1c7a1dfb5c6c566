//! Deployments of the demo vendor's product, and the only four ways one can change: stop, start, delete, and time.
//!
//! A deployment runs, or is stopped by somebody since an instant, or is on its way between the two, or is gone. A
//! deleted one stays as a tombstone: its id is never used again, and lists skip it.
//!
//! The rule that protects people's data: a deletion names the instant since which the caller believes the
//! deployment stopped. If it runs, or was started and stopped again since, nothing happens.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::random;
use super::state::State;

/// Who stopped a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoppedBy {
    User,
    Tradepost,
    Vendor,
}

/// What a deployment does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(super) enum Condition {
    Running,
    Stopping { by: StoppedBy, until: Timestamp },
    Stopped { by: StoppedBy, since: Timestamp },
    Starting { until: Timestamp },
    Deleted { at: Timestamp },
}

/// Something that runs for an organization.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Deployment {
    pub id: String,
    pub organization: String,
    pub name: String,
    pub condition: Condition,
    /// Only this makes a trial. Nothing happens here when it passes: that is Tradepost's to decide.
    pub trial_ends_at: Option<Timestamp>,
}

/// Why a deletion did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDeleted {
    /// It is gone already.
    Gone,
    /// It is not stopped, or not since the expected instant.
    Differs,
}

impl Deployment {
    pub fn new(id: &str, organization: &str, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            organization: organization.to_owned(),
            name: name.to_owned(),
            condition: Condition::Running,
            trial_ends_at: None,
        }
    }

    pub fn is_deleted(&self) -> bool {
        matches!(self.condition, Condition::Deleted { .. })
    }

    /// What time alone has brought about.
    pub fn settle(&mut self, now: Timestamp) {
        match self.condition {
            // Not `now`: whenever somebody looks, it has been stopped since the same instant.
            Condition::Stopping { by, until } if until <= now => {
                self.condition = Condition::Stopped { by, since: until }
            }
            Condition::Starting { until } if until <= now => self.condition = Condition::Running,
            Condition::Running
            | Condition::Stopping { .. }
            | Condition::Stopped { .. }
            | Condition::Starting { .. }
            | Condition::Deleted { .. } => {}
        }
    }

    /// Stops it, which takes `delay`. What is stopped or stopping already stays as it is.
    pub fn stop(&mut self, by: StoppedBy, now: Timestamp, delay: SignedDuration) {
        if matches!(self.condition, Condition::Running | Condition::Starting { .. }) {
            self.condition = Condition::Stopping { by, until: after(now, delay) };
            self.settle(now);
        }
    }

    /// Starts it, which takes `delay`. What runs or is starting already stays as it is.
    pub fn start(&mut self, now: Timestamp, delay: SignedDuration) {
        if matches!(self.condition, Condition::Stopped { .. } | Condition::Stopping { .. }) {
            self.condition = Condition::Starting { until: after(now, delay) };
            self.settle(now);
        }
    }

    /// Deletes it if it has been stopped since exactly `expected`.
    pub fn delete(&mut self, expected: Timestamp, now: Timestamp) -> Result<(), NotDeleted> {
        match self.condition {
            Condition::Stopped { since, .. } if since == expected => {
                self.condition = Condition::Deleted { at: now };
                Ok(())
            }
            Condition::Deleted { .. } => Err(NotDeleted::Gone),
            Condition::Stopped { .. }
            | Condition::Running
            | Condition::Stopping { .. }
            | Condition::Starting { .. } => Err(NotDeleted::Differs),
        }
    }

    /// The state's name in the contract; none when it is deleted.
    pub fn state(&self) -> Option<&'static str> {
        match self.condition {
            Condition::Running => Some("running"),
            Condition::Stopping { .. } => Some("stopping"),
            Condition::Stopped { .. } => Some("stopped"),
            Condition::Starting { .. } => Some("starting"),
            Condition::Deleted { .. } => None,
        }
    }
}

/// A deployment as the contract shows it.
#[derive(Debug, Serialize)]
pub(super) struct DeploymentView<'a> {
    id: &'a str,
    name: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_ends_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_by: Option<StoppedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_since: Option<Timestamp>,
}

impl<'a> DeploymentView<'a> {
    /// None for what is deleted: it is nowhere to be seen.
    pub fn new(deployment: &'a Deployment) -> Option<Self> {
        let stopped = match deployment.condition {
            Condition::Stopped { by, since } => Some((by, since)),
            Condition::Running
            | Condition::Stopping { .. }
            | Condition::Starting { .. }
            | Condition::Deleted { .. } => None,
        };
        Some(Self {
            id: &deployment.id,
            name: &deployment.name,
            state: deployment.state()?,
            trial_ends_at: deployment.trial_ends_at,
            stopped_by: stopped.map(|(by, _)| by),
            stopped_since: stopped.map(|(_, since)| since),
        })
    }
}

impl State {
    /// A deployment that is not deleted.
    pub fn deployment(&self, id: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.id == id && !deployment.is_deleted())
    }

    pub fn deployment_mut(&mut self, id: &str) -> Option<&mut Deployment> {
        self.deployments.iter_mut().find(|deployment| deployment.id == id && !deployment.is_deleted())
    }

    /// A new running deployment; returns its id.
    pub fn deploy(&mut self, organization: &str, name: &str, trial_ends_at: Option<Timestamp>) -> String {
        let id = random::id("dep");
        self.deployments.push(Deployment { trial_ends_at, ..Deployment::new(&id, organization, name) });
        id
    }

    /// The user's own stop; none if there is no such deployment.
    pub fn stop_as_user(&mut self, id: &str, now: Timestamp) -> Option<&Deployment> {
        let delay = self.stop_delay;
        let deployment = self.deployment_mut(id)?;
        deployment.stop(StoppedBy::User, now, delay);
        Some(deployment)
    }

    /// The user's own start; none if there is no such deployment.
    pub fn start_as_user(&mut self, id: &str, now: Timestamp) -> Option<&Deployment> {
        let delay = self.start_delay;
        let deployment = self.deployment_mut(id)?;
        deployment.start(now, delay);
        Some(deployment)
    }
}

fn after(now: Timestamp, delay: SignedDuration) -> Timestamp {
    now.checked_add(delay).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: SignedDuration = SignedDuration::ZERO;
    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn running() -> Deployment {
        Deployment::new("dep-a", "org-a", "a")
    }

    #[test]
    fn a_second_stop_changes_nothing() {
        let mut deployment = running();
        deployment.stop(StoppedBy::User, at(0), NONE);
        deployment.stop(StoppedBy::Tradepost, at(9), NONE);
        assert_eq!(deployment.condition, Condition::Stopped { by: StoppedBy::User, since: at(0) });
    }

    #[test]
    fn a_slow_stop_is_stopped_since_it_was_done_whenever_somebody_looks() {
        let mut deployment = running();
        deployment.stop(StoppedBy::Tradepost, at(0), MINUTE);
        deployment.settle(at(59));
        assert_eq!(deployment.state(), Some("stopping"));
        assert_eq!(deployment.delete(at(60), at(59)), Err(NotDeleted::Differs));
        deployment.settle(at(5_000));
        assert_eq!(deployment.condition, Condition::Stopped { by: StoppedBy::Tradepost, since: at(60) });
    }

    #[test]
    fn a_start_takes_its_time_too_and_calls_off_a_stop() {
        let mut deployment = running();
        deployment.stop(StoppedBy::Tradepost, at(0), MINUTE);
        deployment.start(at(10), MINUTE);
        assert_eq!(deployment.state(), Some("starting"));
        deployment.settle(at(70));
        assert_eq!(deployment.condition, Condition::Running);
    }

    #[test]
    fn only_what_is_stopped_since_the_expected_instant_is_deleted() {
        let stopped = Condition::Stopped { by: StoppedBy::Tradepost, since: at(0) };
        let cases = [
            (Condition::Running, at(0), Err(NotDeleted::Differs)),
            (Condition::Starting { until: at(99) }, at(0), Err(NotDeleted::Differs)),
            (Condition::Stopping { by: StoppedBy::User, until: at(0) }, at(0), Err(NotDeleted::Differs)),
            (stopped.clone(), at(-1), Err(NotDeleted::Differs)),
            (stopped.clone(), at(1), Err(NotDeleted::Differs)),
            (stopped, at(0), Ok(())),
            (Condition::Deleted { at: at(0) }, at(0), Err(NotDeleted::Gone)),
        ];
        for (condition, expected, outcome) in cases {
            let mut deployment = Deployment { condition: condition.clone(), ..running() };
            assert_eq!(deployment.delete(expected, at(50)), outcome, "{condition:?}");
            assert_eq!(deployment.condition != condition, outcome.is_ok());
        }
    }

    #[test]
    fn what_was_restarted_is_not_deleted_under_its_old_instant() {
        let mut deployment = running();
        deployment.stop(StoppedBy::Tradepost, at(0), NONE);
        deployment.start(at(1), NONE);
        deployment.stop(StoppedBy::User, at(2), NONE);
        assert_eq!(deployment.delete(at(0), at(3)), Err(NotDeleted::Differs));
    }

    #[test]
    fn a_view_carries_only_what_the_state_has() {
        let mut deployment = running();
        let view = serde_json::to_value(DeploymentView::new(&deployment)).unwrap();
        assert_eq!(view, serde_json::json!({"id": "dep-a", "name": "a", "state": "running"}));
        deployment.stop(StoppedBy::Tradepost, at(0), NONE);
        let view = serde_json::to_value(DeploymentView::new(&deployment)).unwrap();
        assert_eq!(view["stopped_by"], "tradepost");
        assert_eq!(view["stopped_since"], at(0).to_string());
        deployment.delete(at(0), at(1)).unwrap();
        assert!(DeploymentView::new(&deployment).is_none());
    }
}
