//! What a subscription's change means for its link, its organization and their tasks. Pure: from rows as read to
//! the writes of one transaction.
//!
//! * Confirmed: a syncing link becomes linked; a link that failed for want of payment comes back if its place is
//!   still free.
//! * Failed: the link gives up its places; what an earlier subscription's end had begun begins anew.
//! * Ended: the link is over, the place is free, and the policy's consequence is written as a task.
//! * Anything else: only what pages show.

use jiff::Timestamp;

use crate::audit::AuditLine;
use crate::event::Event;
use crate::event::telling::{link_synced, link_unlinked, subscription_carried_on, subscription_events};
use crate::ledger::{Document, Key, Row, Write};
use crate::link::history::LinkRecord;
use crate::link::{ActiveLink, EndedLink, Link, LinkState, Slot, UnlinkCause};
use crate::message::{self, Message};
use crate::policy::{EndFamily, Policy};
use crate::status::Status;
use crate::subscription::{State, Subscription};
use crate::task::{Effect, Task};
use crate::usage;

/// The writes of one transaction and the rows in it that can be worked on at once.
#[derive(Debug, Default)]
pub struct Changes {
    /// All or nothing.
    pub writes: Vec<Write>,
    /// Rows due at once, for whoever can run them.
    pub wake: Vec<Key>,
}

impl Changes {
    /// Adds a write.
    pub fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Adds a task and wakes its worker.
    pub fn task(&mut self, task: &Task) {
        self.wake.push(task.key());
        self.writes.push(Write::create(task));
    }

    /// Adds an event and wakes its worker.
    pub fn event(&mut self, event: &Event) {
        self.wake.push(event.key());
        self.writes.push(Write::create(event));
    }

    /// Adds e-mails; those that are due at once wake their worker.
    pub fn messages(&mut self, messages: Vec<Message>) {
        for message in messages {
            if message.attempts.not_before <= message.created_at {
                self.wake.push(message.key());
            }
            self.writes.push(Write::create(&message));
        }
    }

    /// Adds an audit line.
    pub fn audit(&mut self, line: &AuditLine) {
        self.writes.push(Write::create(line));
    }

    /// Adds all of `other`.
    pub fn and(&mut self, other: Self) {
        self.writes.extend(other.writes);
        self.wake.extend(other.wake);
    }
}

/// What every decision is made with.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The vendor's rules.
    pub policy: &'a Policy,
    /// The present.
    pub now: Timestamp,
    /// The id of what caused it: a notice, a registration, a review.
    pub cause: &'a str,
}

/// A subscription becomes `after`; `link` is its link row and `slot` its organization's, if it had to be read.
pub fn subscription_becomes(
    occasion: Occasion<'_>,
    before: Option<&Row<Subscription>>,
    after: &Subscription,
    link: Option<&Row<Link>>,
    slot: Option<&Row<Slot>>,
) -> Changes {
    let mut changes = Changes::default();
    changes.write(Write::save(before, after));
    let came_from = before.map_or("nothing", |row| row.doc.state.name());
    let line = format!("subscription {came_from} -> {}", after.state.name());
    changes.audit(&AuditLine::new(&after.key, occasion.now, occasion.cause, line));
    changes.and(usage::zeros::begun(occasion, before.map(|row| &row.doc.state), after));
    if let Some(before) = before {
        let organization = link.map(|row| row.doc.organization.as_str());
        changes.and(usage::ending::asked_for(occasion, Some(&before.doc.state), after, organization));
    }
    if let Some(link) = link {
        let follows = link_follows(occasion, after, link, slot);
        // A purchase concerns the vendor as long as an organization is linked with it, and as it comes and goes.
        if !follows.writes.is_empty() {
            for event in subscription_events(occasion, before.map(|row| &row.doc), after, &link.doc) {
                changes.event(&event);
            }
        }
        changes.and(follows);
    }
    changes
}

/// What becomes of a subscription's link; nothing at all of one that is over and does not come back.
fn link_follows(occasion: Occasion<'_>, after: &Subscription, link: &Row<Link>, slot: Option<&Row<Slot>>) -> Changes {
    let now = occasion.now;
    if !link.doc.state.is_active() {
        return match (&after.state, slot) {
            (State::Active { .. } | State::Suspended { .. }, Some(slot)) => {
                link_comes_back(occasion, after, link, slot)
            }
            _ => Changes::default(),
        };
    }
    match &after.state {
        // Payment trouble comes after the confirmation: the buyer has it.
        State::Active { .. } | State::Suspended { .. } if link.doc.state == LinkState::Syncing => {
            let linked = link.doc.in_state(LinkState::Linked { since: now });
            let mut changes = shown(occasion, Some(link), &linked, after);
            changes.audit(&organization_line(occasion, &linked, "link syncing -> linked"));
            changes.and(linked_effects(occasion, &linked, after));
            changes
        }
        State::Failed { .. } => {
            let over = link.doc.in_state(LinkState::Unlinked { at: now, cause: UnlinkCause::PurchaseFailed });
            let mut changes = freed(occasion, link, over, after, link.doc.came_after.clone());
            // The organization had come back within the retention and did not pay after all: its stopped
            // deployments are taken up again, with the whole retention before them.
            if link.doc.came_after.is_some() {
                changes.and(end_effects(occasion, &link.doc, now));
            }
            changes
        }
        // Whether the link had been confirmed makes no difference: a confirmation and an end that overtake each other
        // come to the same.
        State::Ended { at, .. } => {
            let over = link.doc.in_state(LinkState::Unlinked { at: *at, cause: UnlinkCause::SubscriptionEnded });
            let ended = EndedLink { subscription: after.key.clone(), account: after.account.clone(), at: *at };
            let mut changes = freed(occasion, link, over, after, Some(ended));
            changes.messages(message::ended(occasion, &link.doc, after, *at));
            changes.and(end_effects(occasion, &link.doc, *at));
            changes
        }
        State::Active { .. }
        | State::Announced
        | State::Suspended { .. }
        | State::Ending { .. }
        | State::Superseded { .. } => shown(occasion, Some(link), &link.doc, after),
    }
}

/// A purchase that had failed is confirmed after all, and nobody has taken the organization's place meanwhile.
fn link_comes_back(occasion: Occasion<'_>, after: &Subscription, link: &Row<Link>, slot: &Row<Slot>) -> Changes {
    let failed = matches!(link.doc.state, LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. });
    if !failed || slot.doc.active.is_some() || slot.doc.generation != link.doc.generation {
        return Changes::default();
    }
    // A new generation: whatever the failure had set going is void.
    let generation = slot.doc.generation.saturating_add(1);
    let linked = Link {
        state: LinkState::Linked { since: occasion.now },
        generation,
        slot_version: slot.version.saturating_add(1),
        ..link.doc.clone()
    };
    let taken = Slot {
        generation,
        active: Some(ActiveLink { link: linked.id.clone(), subscription: linked.subscription.clone() }),
        ..slot.doc.clone()
    };
    let mut changes = shown(occasion, Some(link), &linked, after);
    changes.write(Write::replace(slot, &taken));
    changes.audit(&organization_line(occasion, &linked, "link failed -> linked"));
    changes.and(linked_effects(occasion, &linked, after));
    changes
}

/// The link row, its record and what pages show of it.
fn shown(occasion: Occasion<'_>, before: Option<&Row<Link>>, link: &Link, subscription: &Subscription) -> Changes {
    let mut changes = Changes::default();
    changes.write(Write::save(before, link));
    changes.write(Write::project(&LinkRecord::of(link, &subscription.product)));
    changes.write(Write::project(&Status::of(occasion.policy, link, subscription, occasion.now)));
    changes
}

/// The link is over and the organization's place is free.
pub(crate) fn freed(
    occasion: Occasion<'_>,
    link: &Row<Link>,
    over: Link,
    subscription: &Subscription,
    ended: Option<EndedLink>,
) -> Changes {
    let mut changes = shown(occasion, Some(link), &over, subscription);
    let slot = Slot { organization: over.organization.clone(), generation: over.generation, active: None, ended };
    changes.write(Write::replace_version(link.doc.slot_version, &slot));
    changes.audit(&organization_line(occasion, &over, &format!("link {} -> unlinked", link.doc.state.name())));
    if let Some(event) = link_unlinked(occasion, &over, subscription) {
        changes.event(&event);
    }
    changes
}

/// What a link that comes into force sets going, and who is told.
pub fn linked_effects(occasion: Occasion<'_>, link: &Link, subscription: &Subscription) -> Changes {
    let mut changes = linked_silently(occasion, link, subscription);
    changes.messages(message::linked(occasion, link, subscription));
    changes
}

/// The same without e-mails, for a link of which people need not hear: the product is told.
pub(crate) fn linked_silently(occasion: Occasion<'_>, link: &Link, subscription: &Subscription) -> Changes {
    let mut changes = Changes::default();
    changes.event(&link_synced(occasion, link, subscription));
    let mut task = |effect| {
        let provider = link.subscription.provider();
        changes.task(&Task::new(provider, &link.organization, link.generation, effect, occasion.cause, occasion.now));
    };
    if link.came_after.is_some() && occasion.policy.end.restart_on_return {
        task(Effect::ResumeOrganization { after: None });
    }
    if let Some(plan) = &occasion.policy.link.plan_after {
        task(Effect::SetPlan { plan: plan.clone() });
    }
    changes
}

/// What the end of a subscription sets going, by policy.
fn end_effects(occasion: Occasion<'_>, link: &Link, ended_at: Timestamp) -> Changes {
    let effect = match occasion.policy.end.family {
        EndFamily::StopAndDelete => Effect::StopOrganization { ended_at, page: None },
        EndFamily::Downgrade => return unpaid_effects(occasion, link),
        EndFamily::Keep => return Changes::default(),
    };
    let mut changes = Changes::default();
    let provider = link.subscription.provider();
    changes.task(&Task::new(provider, &link.organization, link.generation, effect, occasion.cause, occasion.now));
    changes.messages(message::follow(occasion, link));
    changes
}

/// What follows where a link is taken off while its subscription goes on: nothing is stopped or deleted, but a plan that
/// the marketplace paid for does not stay.
pub(crate) fn unpaid_effects(occasion: Occasion<'_>, link: &Link) -> Changes {
    let mut changes = Changes::default();
    if let Some(plan) = &occasion.policy.end.downgrade_to {
        let effect = Effect::Downgrade { plan: plan.clone() };
        let provider = link.subscription.provider();
        changes.task(&Task::new(provider, &link.organization, link.generation, effect, occasion.cause, occasion.now));
    }
    changes
}

/// A renewal or replacement carries the link on: the organization notices nothing.
///
/// `old` is the link of the subscription before, `new` the subscription that carries on, `own` a link row the new
/// one may already have.
pub fn carried_on(occasion: Occasion<'_>, old: &Row<Link>, new: &Subscription, own: Option<&Row<Link>>) -> Changes {
    if !old.doc.state.is_active() || own.is_some_and(|row| row.doc.state.is_active()) {
        return Changes::default();
    }
    let over = old
        .doc
        .in_state(LinkState::Unlinked { at: occasion.now, cause: UnlinkCause::CarriedOn { by: new.key.clone() } });
    let state = LinkState::Linked { since: occasion.now };
    let link = Link {
        subscription: new.key.clone(),
        slot_version: old.doc.slot_version.saturating_add(1),
        created_at: occasion.now,
        ..old.doc.in_state(state)
    };
    let slot = Slot {
        organization: link.organization.clone(),
        generation: link.generation,
        active: Some(ActiveLink { link: link.id.clone(), subscription: new.key.clone() }),
        ended: link.came_after.clone(),
    };
    let mut changes = shown(occasion, own, &link, new);
    changes.write(Write::replace(old, &over));
    changes.write(Write::project(&LinkRecord::of(&over, &new.product)));
    changes.write(Write::replace_version(old.doc.slot_version, &slot));
    changes.audit(&organization_line(occasion, &link, "link carried on by a renewal"));
    changes.event(&subscription_carried_on(occasion, &old.doc.subscription, new, &link));
    // A link that was still syncing comes into force with it.
    if old.doc.state == LinkState::Syncing {
        changes.and(linked_effects(occasion, &link, new));
    }
    changes
}

/// An audit line in the organization's history.
pub fn organization_line(occasion: Occasion<'_>, link: &Link, what: &str) -> AuditLine {
    let subject = format!("organization {}", link.organization);
    AuditLine::new(subject, occasion.now, occasion.cause, format!("{what} ({})", link.subscription))
}
