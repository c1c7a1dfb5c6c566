//! The rows people care about, as they stand in the ledger at one moment: links, their subscriptions, and the
//! deployments of their organizations. Two of them compared tell what changed, in plain words.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tradepost::deployment::{Deployment, DeploymentState, Stop};
use tradepost::ledger::{Document, Ledger, LedgerError, Provider};
use tradepost::link::{Link, LinkState, UnlinkCause, organization_partition};
use tradepost::subscription::{State, Subscription, SubscriptionKey};

use super::journal::{About, Kind};
use super::notes::named;
use super::waiting::Coming;

/// The rows at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    links: BTreeMap<SubscriptionKey, Link>,
    subscriptions: BTreeMap<SubscriptionKey, Subscription>,
    /// By organization and id.
    deployments: BTreeMap<(String, String), Deployment>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub kind: Kind,
    pub what: String,
    pub about: About,
}

impl Seen {
    /// Reads them all. Only for a ledger as small as one person's.
    pub async fn read(ledger: &Ledger) -> Result<Self, LedgerError> {
        let mut seen = Self::default();
        let mut organizations = BTreeSet::new();
        for state in ["syncing", "linked", "unlinked"] {
            for row in ledger.all_listed::<Link>(state).await? {
                let key = row.doc.subscription.clone();
                if let Some(subscription) = ledger.get::<Subscription>(&key.key()).await? {
                    seen.subscriptions.insert(key.clone(), subscription.doc);
                }
                organizations.insert(row.doc.organization.clone());
                seen.links.insert(key, row.doc);
            }
        }
        for organization in organizations {
            for found in ledger.whole_partition(&organization_partition(&organization), Deployment::PREFIX).await? {
                if found.kind == Deployment::KIND {
                    let row = found.read::<Deployment>()?.doc;
                    seen.deployments.insert((organization.clone(), row.id.clone()), row);
                }
            }
        }
        Ok(seen)
    }

    /// What changed since `before`: purchases, then links, then deployments.
    pub fn since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, link) in &self.links {
            let about = About {
                organization: Some(link.organization.clone()),
                deployment: None,
                agreement: Some(named(&key.to_string())),
            };
            let states = (before.subscriptions.get(key), self.subscriptions.get(key));
            if let (Some(was), Some(is)) = states
                && was.state.name() != is.state.name()
            {
                let what = format!("The purchase of {} {}", link.organization_name, purchase(&is.state));
                changes.push(Change { kind: Kind::Purchase, what, about: about.clone() });
            }
            let was = before.links.get(key);
            if was.is_none_or(|was| was.id != link.id || was.state != link.state) {
                let what = format!("{} {}", link.organization_name, linked(&link.state, company(key)));
                changes.push(Change { kind: Kind::Link, what, about });
            }
        }
        for (key, deployment) in &self.deployments {
            let Some((kind, what)) = deployed(before.deployments.get(key), deployment) else { continue };
            let what = format!("{} of {}: {what}", deployment.name, self.organization_name(&deployment.organization));
            let about = About {
                organization: Some(deployment.organization.clone()),
                deployment: Some(deployment.id.clone()),
                agreement: None,
            };
            changes.push(Change { kind, what, about });
        }
        changes
    }

    /// What will happen by itself, soonest first, unless something comes in between.
    pub fn coming(&self) -> Vec<Coming> {
        let mut coming = Vec::new();
        for link in self.links.values() {
            if let Some(by) = &link.confirm_by {
                let marketplace = company(&link.subscription);
                let what = format!(
                    "The link of {} fails unless {marketplace} has confirmed the purchase",
                    link.organization_name
                );
                coming.push(Coming { at: by.not_before, what });
            }
            let review =
                self.subscriptions.get(&link.subscription).and_then(|subscription| subscription.review.as_ref());
            if let Some(review) = review {
                let what = format!("The purchase of {} is looked at again", link.organization_name);
                coming.push(Coming { at: review.not_before, what });
            }
        }
        for deployment in self.deployments.values() {
            let name = format!("{} of {}", deployment.name, self.organization_name(&deployment.organization));
            match &deployment.state {
                DeploymentState::Running { trial_ends_at } => {
                    coming.push(Coming { at: *trial_ends_at, what: format!("{name}: the trial ends, it is stopped") });
                }
                DeploymentState::Stopped(stop) => {
                    if !stop.warned {
                        coming.push(Coming { at: stop.warn_at, what: format!("{name}: the last warning") });
                    }
                    coming.push(Coming { at: stop.keep_until, what: format!("{name}: deleted after this instant") });
                }
                DeploymentState::Stopping { .. }
                | DeploymentState::Deleting(_)
                | DeploymentState::Deleted { .. }
                | DeploymentState::Resuming
                | DeploymentState::Released { .. } => {}
            }
        }
        coming
    }

    fn organization_name<'a>(&'a self, id: &'a str) -> &'a str {
        let link = self.links.values().find(|link| link.organization == id);
        link.map_or(id, |link| &link.organization_name)
    }
}

/// An instant for people, in UTC.
fn for_people(instant: Timestamp) -> String {
    instant.strftime("%-d %b %Y, %H:%M:%S UTC").to_string()
}

fn purchase(state: &State) -> String {
    match state {
        State::Announced => "is known".to_owned(),
        State::Active { .. } => "is confirmed and active".to_owned(),
        State::Suspended { .. } => "is suspended".to_owned(),
        State::Ending { deadline, .. } => {
            format!("is ending; settled by {} if nothing else is heard", for_people(*deadline))
        }
        State::Ended { reason, .. } => {
            let reason = serde_json::to_value(reason).ok();
            let reason = reason.as_ref().and_then(serde_json::Value::as_str).unwrap_or("over").replace('_', " ");
            format!("has ended ({reason})")
        }
        State::Failed { .. } => "was not paid, or not confirmed in time".to_owned(),
        State::Superseded { .. } => "is carried on by another".to_owned(),
    }
}

/// Who confirms.
fn company(subscription: &SubscriptionKey) -> &'static str {
    match subscription.provider() {
        Provider::Aws => "AWS",
        Provider::Azure => "Microsoft",
    }
}

fn linked(state: &LinkState, marketplace: &str) -> String {
    let told = match state {
        LinkState::Syncing => return format!("was linked by its buyer and waits for {marketplace} to confirm"),
        LinkState::Linked { .. } => "is linked: the marketplace pays",
        LinkState::Unlinked { cause: UnlinkCause::SubscriptionEnded, .. } => "is unlinked: the subscription ended",
        LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. } => "is unlinked: the purchase failed",
        LinkState::Unlinked { cause: UnlinkCause::ReplacedByAnother, .. } => "has linked another purchase instead",
        LinkState::Unlinked { cause: UnlinkCause::CarriedOn { .. }, .. } => "goes on with the renewed purchase",
        LinkState::Unlinked { cause: UnlinkCause::Moved { .. }, .. } => "is unlinked: moved to another one",
        LinkState::Unlinked { cause: UnlinkCause::TakenOff, .. } => "is unlinked; the purchase goes on",
    };
    told.to_owned()
}

/// What became of a deployment, if that is another thing than before.
fn deployed(was: Option<&Deployment>, is: &Deployment) -> Option<(Kind, String)> {
    if is.parked && !was.is_some_and(|was| was.parked) {
        return Some((Kind::Trouble, "given up on; an operator has to look".to_owned()));
    }
    if let Some(why) = is.held.as_ref().filter(|why| was.is_none_or(|was| was.held.as_ref() != Some(why))) {
        return Some((Kind::Trouble, format!("kept although its time has come: {why}")));
    }
    let same_end = was.filter(|was| was.generation == is.generation && was.ended_at == is.ended_at);
    if same_end.is_some_and(|was| was.state == is.state) {
        return None;
    }
    let was = same_end.map(|was| &was.state);
    Some(match (&is.state, was) {
        (DeploymentState::Stopped(stop), Some(DeploymentState::Stopped(before))) if stop.warned && !before.warned => {
            (Kind::Warned, format!("last warning, it is deleted after {}", for_people(stop.keep_until)))
        }
        (DeploymentState::Stopped(stop), _) => (Kind::Stopped, stopped(stop)),
        (DeploymentState::Running { trial_ends_at }, _) => {
            (Kind::Trial, format!("a trial, goes on until {}", for_people(*trial_ends_at)))
        }
        (DeploymentState::Stopping { .. }, Some(DeploymentState::Running { .. })) => {
            (Kind::Trial, "the trial has ended; it is being stopped".to_owned())
        }
        (DeploymentState::Stopping { .. }, _) => (Kind::Stopped, "is being stopped".to_owned()),
        (DeploymentState::Deleting(_), _) => (Kind::Deleted, "is being deleted".to_owned()),
        (DeploymentState::Deleted { .. }, _) => (Kind::Deleted, "is deleted".to_owned()),
        (DeploymentState::Resuming, _) => (Kind::Returned, "is to be started again".to_owned()),
        (DeploymentState::Released { why }, _) => (Kind::Returned, format!("left alone from now on: {why}")),
    })
}

fn stopped(stop: &Stop) -> String {
    let until = for_people(stop.keep_until);
    if stop.adopted {
        return format!("its user had stopped it before; kept until {until}");
    }
    format!("is stopped; kept until {until}")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tradepost::control_plane::StopReason;
    use tradepost::retry::Attempts;

    use super::*;

    fn row(state: DeploymentState) -> Deployment {
        let now = Timestamp::from_second(1_795_248_300).unwrap();
        Deployment {
            organization: "org".into(),
            id: "dep".into(),
            name: "web".into(),
            provider: Provider::Aws,
            generation: 1,
            ended_at: now,
            state,
            attempts: Attempts::at(now),
            held: None,
            parked: false,
        }
    }

    fn stop() -> Stop {
        let now = Timestamp::from_second(1_795_248_300).unwrap();
        Stop::new(now, now, false, SignedDuration::from_hours(72), SignedDuration::from_hours(24))
    }

    #[test]
    fn a_deployments_life_is_told_once_for_each_change() {
        let stopping = row(DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked: false });
        let stopped = row(DeploymentState::Stopped(stop()));
        let warned = row(DeploymentState::Stopped(Stop { warned: true, ..stop() }));
        let deleted = row(DeploymentState::Deleted { at: stop().keep_until });
        let life = [None, Some(&stopping), Some(&stopped), Some(&warned), Some(&deleted), Some(&deleted)];
        let told: Vec<_> = life.windows(2).map(|pair| deployed(pair[0], pair[1].unwrap()).map(|told| told.0)).collect();
        let expected = [Some(Kind::Stopped), Some(Kind::Stopped), Some(Kind::Warned), Some(Kind::Deleted), None];
        assert_eq!(told, expected);
        assert_eq!(deployed(Some(&stopping), &stopped).unwrap().1, "is stopped; kept until 24 Nov 2026, 08:05:00 UTC");
    }

    #[test]
    fn what_is_held_or_parked_is_told() {
        let stopped = row(DeploymentState::Stopped(stop()));
        let held = Deployment { held: Some("another purchase".into()), ..stopped.clone() };
        let parked = Deployment { parked: true, ..stopped.clone() };
        assert_eq!(deployed(Some(&stopped), &held).unwrap().0, Kind::Trouble);
        assert_eq!(deployed(Some(&stopped), &parked).unwrap().0, Kind::Trouble);
        assert_eq!(deployed(Some(&held), &held), None);
    }

    #[test]
    fn the_warning_and_the_deletion_of_what_is_stopped_are_to_come() {
        let mut seen = Seen::default();
        seen.deployments.insert(("org".into(), "dep".into()), row(DeploymentState::Stopped(stop())));
        let coming: Vec<_> = seen.coming().into_iter().map(|coming| coming.at).collect();
        assert_eq!(coming, [stop().warn_at, stop().keep_until]);
    }
}
