//! Which change is told, and with what. Pure: from a row before and after to the events of the same transaction. What
//! has not changed is not told, and a purchase that no organization is linked with concerns nobody at the vendor.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Event, EventKind, Origin, members};
use crate::control_plane::StopReason;
use crate::deployment::{Deployment, DeploymentState};
use crate::ledger::Provider;
use crate::link::{EndedLink, Link, LinkState, RefusedLink, UnlinkCause};
use crate::settle::Occasion;
use crate::subscription::{State, Subscription, SubscriptionKey};

/// What every event about a subscription says of it.
fn facts(occasion: Occasion<'_>, subscription: &Subscription) -> Map<String, Value> {
    let terms = subscription.terms.as_ref();
    let listing = occasion.policy.listing(subscription.key.provider(), &subscription.product);
    members(json!({
        "subscription": subscription.key,
        "product": subscription.product,
        "product_name": listing.map(|listing| &listing.product),
        "state": subscription.state.name(),
        "plan": terms.map(|terms| &terms.plan),
        "seats": terms.and_then(|terms| terms.quantity),
        "term_ends_at": terms.and_then(|terms| terms.ends_at),
    }))
}

fn of_link(kind: EventKind, occasion: Occasion<'_>, link: &Link, subscription: &Subscription, more: Value) -> Event {
    let mut data = facts(occasion, subscription);
    data.extend(members(json!({
        "organization_name": link.organization_name,
        "generation": link.generation,
        "link": link.id,
        "contact": link.contact,
    })));
    if !link.answers.is_empty() {
        data.insert("answers".to_owned(), json!(link.answers));
    }
    data.extend(members(more));
    let subject = format!("{}|{}", link.id, link.subscription);
    Event::new(kind, origin(occasion, &link.organization, link.subscription.provider(), &subject), data)
}

fn origin<'a>(occasion: Occasion<'a>, organization: &'a str, provider: Provider, subject: &'a str) -> Origin<'a> {
    Origin { provider, organization, subject, cause: occasion.cause, now: occasion.now }
}

/// A link comes into force.
pub fn link_synced(occasion: Occasion<'_>, link: &Link, subscription: &Subscription) -> Event {
    of_link(EventKind::LinkSynced, occasion, link, subscription, Value::Null)
}

/// A link is over; nothing is told of one that a renewal carries on.
pub fn link_unlinked(occasion: Occasion<'_>, over: &Link, subscription: &Subscription) -> Option<Event> {
    let LinkState::Unlinked { cause, .. } = &over.state else { return None };
    if matches!(cause, UnlinkCause::CarriedOn { .. }) {
        return None;
    }
    Some(of_link(EventKind::LinkUnlinked, occasion, over, subscription, json!({"cause": cause.code()})))
}

/// A link is refused. Its id is the refusal's: one for each landing and organization.
pub fn link_refused(occasion: Occasion<'_>, refused: &RefusedLink, name: &str, subscription: &Subscription) -> Event {
    let mut data = facts(occasion, subscription);
    let codes: Vec<_> = refused.reasons.iter().map(|reason| reason.code()).collect();
    data.extend(members(json!({"organization_name": name, "reasons": codes})));
    let subject = format!("{}|{}|{}", refused.organization, refused.subscription, refused.registration);
    Event::new(
        EventKind::LinkRefused,
        origin(occasion, &refused.organization, refused.subscription.provider(), &subject),
        data,
    )
}

/// What a linked subscription's change is worth telling. `link` is the one that was or comes into force with it.
pub fn subscription_events(
    occasion: Occasion<'_>,
    before: Option<&Subscription>,
    after: &Subscription,
    link: &Link,
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tell = |kind, more| {
        let mut data = facts(occasion, after);
        data.extend(members(json!({"organization_name": link.organization_name, "generation": link.generation})));
        data.extend(members(more));
        let subject = after.key.to_string();
        let origin = origin(occasion, &link.organization, after.key.provider(), &subject);
        events.push(Event::new(kind, origin, data));
    };
    let came_from = before.map(|before| &before.state);
    match (came_from, &after.state) {
        (Some(State::Active { .. }), State::Active { .. }) => {}
        (Some(State::Suspended { .. } | State::Ending { .. }), State::Active { since }) => {
            tell(EventKind::SubscriptionReinstated, json!({"since": since}));
        }
        (_, State::Active { since }) => tell(EventKind::SubscriptionActivated, json!({"since": since})),
        (Some(State::Suspended { .. }), State::Suspended { .. }) => {}
        (_, State::Suspended { since }) => tell(EventKind::SubscriptionSuspended, json!({"since": since})),
        (Some(State::Ended { .. }), State::Ended { .. }) => {}
        (_, State::Ended { at, reason }) => {
            tell(EventKind::SubscriptionEnded, json!({"ended_at": at, "reason": reason}));
        }
        (_, State::Announced | State::Ending { .. } | State::Failed { .. } | State::Superseded { .. }) => {}
    }
    let over = matches!(after.state, State::Ended { .. } | State::Superseded { .. } | State::Failed { .. });
    let terms = (before.and_then(|before| before.terms.as_ref()), after.terms.as_ref());
    if let (Some(old), Some(new)) = terms
        && !over
    {
        if (&old.plan, old.quantity) != (&new.plan, new.quantity) {
            let more = json!({"plan_before": old.plan, "seats_before": old.quantity});
            tell(EventKind::SubscriptionPlanChanged, more);
        }
        if matches!((old.ends_at, new.ends_at), (Some(old), Some(new)) if new > old) {
            tell(EventKind::SubscriptionRenewed, json!({"term_ended_at": old.ends_at}));
        }
    }
    events
}

/// A renewal or replacement carries a link on.
pub fn subscription_carried_on(
    occasion: Occasion<'_>,
    old: &SubscriptionKey,
    new: &Subscription,
    link: &Link,
) -> Event {
    let mut data = facts(occasion, new);
    data.extend(members(json!({
        "organization_name": link.organization_name,
        "generation": link.generation,
        "carries_on": old,
    })));
    let subject = new.key.to_string();
    Event::new(EventKind::SubscriptionRenewed, origin(occasion, &link.organization, new.key.provider(), &subject), data)
}

/// What a deployment's next state is worth telling. `before` is its row of the same generation and end, `ended` what its
/// organization's slot says of that end.
pub fn deployment_events(
    before: Option<&Deployment>,
    after: &Deployment,
    ended: Option<&EndedLink>,
    now: Timestamp,
) -> Vec<Event> {
    let same = before.filter(|before| before.generation == after.generation && before.ended_at == after.ended_at);
    let came_from = same.map(|before| &before.state);
    let kinds: &[EventKind] = match (came_from, &after.state) {
        (Some(DeploymentState::Stopping { .. }), DeploymentState::Stopping { .. }) => &[],
        (_, DeploymentState::Stopping { .. }) => &[EventKind::DeploymentStopRequested],
        (Some(DeploymentState::Stopping { .. }), DeploymentState::Stopped(_)) => {
            &[EventKind::DeploymentStopped, EventKind::DeploymentDeletionScheduled]
        }
        (Some(DeploymentState::Stopped(old) | DeploymentState::Deleting(old)), DeploymentState::Stopped(new))
            if old.keep_until == new.keep_until =>
        {
            if new.warned && !old.warned {
                &[EventKind::DeploymentDeletionWarning]
            } else {
                &[]
            }
        }
        (_, DeploymentState::Stopped(_)) => &[EventKind::DeploymentDeletionScheduled],
        // The vendor's own deletions are no news to the vendor.
        (Some(DeploymentState::Deleting(_)), DeploymentState::Deleted { .. }) => &[EventKind::DeploymentDeleted],
        (
            _,
            DeploymentState::Running { .. }
            | DeploymentState::Deleting(_)
            | DeploymentState::Deleted { .. }
            | DeploymentState::Resuming
            | DeploymentState::Released { .. },
        ) => &[],
    };
    kinds.iter().map(|kind| of_deployment(*kind, after, ended, now)).collect()
}

fn of_deployment(kind: EventKind, deployment: &Deployment, ended: Option<&EndedLink>, now: Timestamp) -> Event {
    let mut data = members(json!({
        "subscription": ended.map(|ended| &ended.subscription),
        "generation": deployment.generation,
        "deployment": {"id": deployment.id, "name": deployment.name},
        "subscription_ended_at": deployment.ended_at,
    }));
    // The instant that makes it this happening and no other of the same deployment.
    let instant = match &deployment.state {
        DeploymentState::Stopping { reason, .. } => {
            data.insert("reason".to_owned(), json!(reason));
            match reason {
                StopReason::SubscriptionEnded => deployment.ended_at.to_string(),
                StopReason::TrialEnded => format!("{} trial", deployment.ended_at),
            }
        }
        DeploymentState::Stopped(stop) | DeploymentState::Deleting(stop) => {
            data.extend(members(json!({
                "stopped_since": stop.since,
                "stopped_by_user": stop.adopted,
                "deleted_after": stop.keep_until,
            })));
            stop.keep_until.to_string()
        }
        DeploymentState::Deleted { at } => {
            data.insert("deleted_at".to_owned(), json!(at));
            deployment.ended_at.to_string()
        }
        DeploymentState::Running { .. } | DeploymentState::Resuming | DeploymentState::Released { .. } => {
            deployment.ended_at.to_string()
        }
    };
    let subject = format!("{}|{}", deployment.organization, deployment.id);
    let cause = format!("{}|{instant}", deployment.generation);
    let origin = Origin {
        provider: deployment.provider,
        organization: &deployment.organization,
        subject: &subject,
        cause: &cause,
        now,
    };
    Event::new(kind, origin, data)
}
