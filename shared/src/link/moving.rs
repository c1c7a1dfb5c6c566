//! Taking a link in force off its organization while the purchase goes on: to another organization of the same person
//! ([`move_link`]), in one transaction and so without a gap, or altogether ([`take_off`]). Neither stops or deletes
//! anything. Both need the policy's leave and, in every organization concerned, one of its roles.

use jiff::Timestamp;

use super::connect::{ConnectError, Place, place};
use super::history::LinkRecord;
use super::making::{came_after, place_taken};
use super::{ActiveLink, Candidate, Link, LinkState, Refusal, Slot, UnlinkCause, refusals};
use crate::control_plane::ControlPlane;
use crate::event::telling::link_unlinked;
use crate::home::Home;
use crate::ledger::{Key, Ledger, LedgerError, Row, Write};
use crate::organization::{Organization, Role};
use crate::person::Person;
use crate::policy::Policy;
use crate::settle::{Changes, Occasion, freed, linked_effects, organization_line, unpaid_effects};
use crate::status::Status;
use crate::subscription::Subscription;

const RACES: u32 = 6;

/// What a move or a taking-off is made with.
#[derive(Clone, Copy, Debug)]
pub struct Hand<'a> {
    /// The ledger.
    pub ledger: &'a Ledger,
    /// The vendor's rules.
    pub policy: &'a Policy,
    /// The vendor's product.
    pub control_plane: &'a ControlPlane,
    /// The signed-in person.
    pub person: &'a Person,
    /// A fresh random id: the new link's, and what the audit lines name.
    pub fresh_id: &'a str,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Moved {
    /// Done.
    Done {
        /// Rows that can be worked on at once.
        wake: Vec<Key>,
    },
    /// The organization it should go to refuses; all reasons.
    Refused {
        /// That organization.
        organization: Organization,
        /// Why.
        reasons: Vec<Refusal>,
    },
    /// The person lacks the policy's role in the organization that has the link.
    RoleMissing,
    /// The person does not belong to one of the organizations (or it does not exist).
    NotYours,
    /// There is no link in force, or none that is confirmed.
    NothingLinked,
    /// The policy does not allow it.
    NotAllowed,
}

/// A link in force, with everything a change of it is checked by.
#[derive(Debug)]
pub struct InForce {
    /// The organization's slot.
    pub slot: Row<Slot>,
    /// The link.
    pub link: Row<Link>,
    /// Its subscription.
    pub subscription: Row<Subscription>,
}

/// The confirmed link of an organization, if it has one.
pub async fn in_force(ledger: &Ledger, organization: &str) -> Result<Option<InForce>, LedgerError> {
    let slot = ledger.get::<Slot>(&Slot::row_key(organization)).await?;
    let Some((slot, active)) = slot.and_then(|slot| slot.doc.active.clone().map(|active| (slot, active))) else {
        return Ok(None);
    };
    let home = Home::read(ledger, &active.subscription.partition()).await?;
    let (link, subscription) = (home.link(&active.subscription), home.subscription(&active.subscription));
    Ok(match (link, subscription) {
        (Some(link), Some(subscription))
            if matches!(link.doc.state, LinkState::Linked { .. }) && link.doc.organization == organization =>
        {
            Some(InForce { slot, link: link.clone(), subscription: subscription.clone() })
        }
        _ => None,
    })
}

/// Whether the person may link in that organization at all.
fn may_link(policy: &Policy, organization: &Organization) -> bool {
    policy.link.roles.contains(&organization.role.unwrap_or(Role::Unknown))
}

/// Why a link in force cannot be moved to this organization; empty if it can.
pub fn move_refusals(policy: &Policy, to: &Organization, place: &Place, subscription: &Subscription) -> Vec<Refusal> {
    let purchase = &subscription.state;
    refusals(policy, Candidate { organization: to, slot_taken: place.taken, purchase_link: None, purchase })
}

/// Moves the link of `from` to the organization `to`, or says why not.
pub async fn move_link(hand: Hand<'_>, from: &str, to: &str, now: Timestamp) -> Result<Moved, ConnectError> {
    let Hand { ledger, policy, .. } = hand;
    if !policy.link.may_move {
        return Ok(Moved::NotAllowed);
    }
    let organizations = hand.control_plane.organizations(hand.person, now).await?;
    let mine = |id: &str| organizations.iter().find(|organization| organization.id == id);
    let (Some(source), Some(target)) = (mine(from), mine(to).filter(|_| from != to)) else {
        return Ok(Moved::NotYours);
    };
    if !may_link(policy, source) {
        return Ok(Moved::RoleMissing);
    }
    for _ in 0..RACES {
        let Some(held) = in_force(ledger, from).await? else { return Ok(Moved::NothingLinked) };
        let place = place(ledger, to, &held.link.doc.subscription, now).await?;
        let reasons = move_refusals(policy, target, &place, &held.subscription.doc);
        if !reasons.is_empty() {
            return Ok(Moved::Refused { organization: target.clone(), reasons });
        }
        let cause = format!("move:{}", hand.fresh_id);
        let changes = moved(Occasion { policy, now, cause: &cause }, &held, &place, target, hand.person, hand.fresh_id);
        match ledger.transact(changes.writes).await {
            Ok(()) => return Ok(Moved::Done { wake: changes.wake }),
            Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(LedgerError::Conflict.into())
}

/// The writes of a move by `person`, which makes the link `fresh_id`. Pure.
pub fn moved(
    occasion: Occasion<'_>,
    held: &InForce,
    place: &Place,
    to: &Organization,
    person: &Person,
    fresh_id: &str,
) -> Changes {
    let (now, before, subscription) = (occasion.now, &held.link.doc, &held.subscription.doc);
    let over = before.in_state(LinkState::Unlinked { at: now, cause: UnlinkCause::Moved { to: to.id.clone() } });
    let came_after = came_after(place, now);
    let link = Link {
        id: fresh_id.to_owned(),
        organization: to.id.clone(),
        organization_name: to.name.clone(),
        generation: place.slot.as_ref().map_or(0, |row| row.doc.generation).saturating_add(1),
        slot_version: place.slot.as_ref().map_or(0, |row| row.version).saturating_add(1),
        state: LinkState::Linked { since: now },
        person: person.id(),
        came_after: came_after.clone(),
        created_at: now,
        ..before.clone()
    };
    let taken = Slot {
        organization: link.organization.clone(),
        generation: link.generation,
        active: Some(ActiveLink { link: link.id.clone(), subscription: link.subscription.clone() }),
        ended: came_after,
    };
    let left = Slot { active: None, ended: None, ..held.slot.doc.clone() };
    let mut changes = place_taken(occasion, place, &taken);
    changes.write(Write::replace(&held.slot, &left));
    changes.write(Write::replace(&held.link, &link));
    changes.write(Write::check(Some(&held.subscription), subscription.key.key()));
    for record in [&over, &link] {
        changes.write(Write::project(&LinkRecord::of(record, &subscription.product)));
        changes.write(Write::project(&Status::of(occasion.policy, record, subscription, now)));
    }
    if let Some(event) = link_unlinked(occasion, &over, subscription) {
        changes.event(&event);
    }
    changes.audit(&organization_line(occasion, &over, "link moved to another organization"));
    changes.audit(&organization_line(occasion, &link, "link moved here from another organization"));
    changes.and(unpaid_effects(occasion, &over));
    changes.and(linked_effects(occasion, &link, subscription));
    changes
}

/// Takes the link of an organization off; the purchase goes on in the marketplace and can be linked again from there.
pub async fn take_off(hand: Hand<'_>, organization: &str, now: Timestamp) -> Result<Moved, ConnectError> {
    let Hand { ledger, policy, .. } = hand;
    if !policy.link.may_unlink {
        return Ok(Moved::NotAllowed);
    }
    let organizations = hand.control_plane.organizations(hand.person, now).await?;
    let Some(mine) = organizations.iter().find(|one| one.id == organization) else { return Ok(Moved::NotYours) };
    if !may_link(policy, mine) {
        return Ok(Moved::RoleMissing);
    }
    for _ in 0..RACES {
        // A purchase that is ending has an end of its own: nobody gets around it by being faster.
        let held = in_force(ledger, organization).await?.filter(|held| held.subscription.doc.state.is_live());
        let Some(held) = held else { return Ok(Moved::NothingLinked) };
        let cause = format!("take-off:{}", hand.fresh_id);
        let occasion = Occasion { policy, now, cause: &cause };
        let over = held.link.doc.in_state(LinkState::Unlinked { at: now, cause: UnlinkCause::TakenOff });
        let mut changes = freed(occasion, &held.link, over.clone(), &held.subscription.doc, None);
        changes.write(Write::check(Some(&held.subscription), held.subscription.doc.key.key()));
        changes.and(unpaid_effects(occasion, &over));
        match ledger.transact(changes.writes).await {
            Ok(()) => return Ok(Moved::Done { wake: changes.wake }),
            Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(LedgerError::Conflict.into())
}
