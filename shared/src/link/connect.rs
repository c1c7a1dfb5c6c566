//! Linking: the person who resolved the purchase's token presses Link for one organization.
//!
//! Everything is read and judged afresh: the registration (this browser's own), the purchase, the organization's
//! slot, and the vendor's word on the person's role and the organization's billing. The link takes the slot and the
//! purchase in one transaction; of two that race exactly one wins, and the other is told "already linked".

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::making::{Maker, begun};
use super::{Candidate, Contact, Link, LinkState, Refusal, RefusedLink, Slot, refusals};
use crate::activation::activation_of;
use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::disposition::{Dispose, Disposition};
use crate::event::telling::link_refused;
use crate::home::Home;
use crate::ledger::{Key, Ledger, LedgerError, Provider, Row, Write};
use crate::message;
use crate::organization::Organization;
use crate::person::Person;
use crate::policy::Policy;
use crate::registration::{Registration, RegistrationState};
use crate::settle::{Changes, Occasion, linked_effects};
use crate::subscription::{Pointer, State, Subscription, SubscriptionKey};

const RACES: u32 = 6;

/// Linking that could not be brought to an answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The ledger.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// The vendor.
    #[error("the control plane failed")]
    ControlPlane(#[from] ControlPlaneError),
}

impl Dispose for ConnectError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Ledger(error) => error.disposition(),
            Self::ControlPlane(error) => error.disposition(),
        }
    }
}

/// A purchase as the landing page and the organization page need it.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// The browser's own registration.
    pub registration: Row<Registration>,
    /// Everything known of the purchase.
    pub home: Home,
    /// The subscription, as it stands.
    pub subscription: Subscription,
}

impl Purchase {
    /// Its link, if that is active.
    pub fn active_link(&self) -> Option<&Row<Link>> {
        self.home.link(&self.subscription.key).filter(|link| link.doc.state.is_active())
    }

    /// Whether this person may still link it: it goes on, nothing is linked with it, and the landing was not used by somebody
    /// else.
    pub fn is_open_to(&self, person: &Person) -> bool {
        let goes_on =
            matches!(self.subscription.state, State::Announced | State::Active { .. } | State::Suspended { .. });
        goes_on && self.active_link().is_none() && !self.is_used_by_another(person)
    }

    /// Whether the landing was used, by somebody else: it belongs to who used it.
    fn is_used_by_another(&self, person: &Person) -> bool {
        let used = matches!(self.registration.doc.state, RegistrationState::Consumed { .. });
        used && !self.home.link(&self.subscription.key).is_some_and(|row| person.is(&row.doc.person))
    }

    /// Its link, if that is active or was until the purchase ended or failed: no link of it can be made any more.
    pub fn told_link(&self) -> Option<&Row<Link>> {
        let over =
            matches!(self.subscription.state, State::Ended { .. } | State::Superseded { .. } | State::Failed { .. });
        self.home.link(&self.subscription.key).filter(|link| over || link.doc.state.is_active())
    }
}

/// What a registration leads to.
#[derive(Clone, Debug)]
pub enum Found {
    /// The purchase.
    Purchase(Box<Purchase>),
    /// The marketplace has not told us yet which purchase it is; its notice will.
    NotYet,
    /// No such registration, or it is too old.
    Nothing,
}

/// Finds the purchase a registration stands for.
pub async fn purchase(ledger: &Ledger, registration: &str, now: Timestamp) -> Result<Found, LedgerError> {
    let Some(row) = ledger.get::<Registration>(&Registration::row_key(registration)).await? else {
        return Ok(Found::Nothing);
    };
    if row.doc.is_over(now) {
        return Ok(Found::Nothing);
    }
    let key = match (&row.doc.subscription, &row.doc.licence) {
        (Some(key), _) => key.clone(),
        (None, Some(licence)) => match ledger.get::<Pointer>(&Pointer::licence_key(licence)).await? {
            Some(pointer) => pointer.doc.to,
            None => return Ok(Found::NotYet),
        },
        (None, None) => return Ok(Found::Nothing),
    };
    let home = Home::read(ledger, &key.partition()).await?;
    let Some(subscription) = home.standing(&key, now) else { return Ok(Found::NotYet) };
    let subscription = match subscription.reopened_by_landing(row.doc.resolved_at) {
        Some(state) => {
            let generation = subscription.generation.saturating_add(1);
            let reopened = subscription.moved(state, generation, None);
            Subscription { free_trial: row.doc.free_trial, ..reopened }
        }
        // A notice that was faster than the buyer does not know of the trial; the landing form does.
        None => Subscription { free_trial: subscription.free_trial || row.doc.free_trial, ..subscription },
    };
    let subscription = as_resolved(subscription, &row.doc);
    Ok(Found::Purchase(Box::new(Purchase { registration: row, home, subscription })))
}

/// What the token told of the buyer is the marketplace's own word, and a notice that was faster may have known less: one of an
/// older listing names no account, and some shorten the licence's ARN.
fn as_resolved(subscription: Subscription, landed: &Registration) -> Subscription {
    let account = Some(&landed.account).filter(|account| !account.is_empty()).unwrap_or(&subscription.account).clone();
    let licence_arn = landed.licence_arn.clone().or_else(|| subscription.licence_arn.clone());
    Subscription { account, licence_arn, ..subscription }
}

/// What an organization's slot means for a new link.
#[derive(Clone, Debug)]
pub struct Place {
    /// The slot, if the organization ever had a link.
    pub slot: Option<Row<Slot>>,
    /// The link in it, if that gives way (its purchase is ending or over).
    pub gives_way: Option<Box<(Row<Link>, Subscription)>>,
    /// Whether it is taken by a link that does not give way.
    pub taken: bool,
}

/// Reads an organization's slot and, if it is taken by another purchase, whether that one is on its way out.
pub async fn place(
    ledger: &Ledger,
    organization: &str,
    purchase: &SubscriptionKey,
    now: Timestamp,
) -> Result<Place, LedgerError> {
    let slot = ledger.get::<Slot>(&Slot::row_key(organization)).await?;
    let active = slot.as_ref().and_then(|slot| slot.doc.active.clone());
    let Some(active) = active.filter(|active| active.subscription != *purchase) else {
        return Ok(Place { slot, gives_way: None, taken: false });
    };
    let home = Home::read(ledger, &active.subscription.partition()).await?;
    let ending = home.standing(&active.subscription, now).filter(|subscription| {
        matches!(subscription.state, State::Ending { .. } | State::Ended { .. } | State::Failed { .. })
    });
    let gives_way = match (ending, home.link(&active.subscription)) {
        (Some(subscription), Some(link)) => Some(Box::new((link.clone(), subscription))),
        _ => None,
    };
    let taken = gives_way.is_none();
    Ok(Place { slot, gives_way, taken })
}

/// A wish to link.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The browser's registration.
    pub registration: &'a str,
    /// The signed-in person.
    pub person: &'a Person,
    /// The organization.
    pub organization: &'a str,
    /// Where the buyer can be reached.
    pub contact: &'a Contact,
    /// What else the policy asks for, by key.
    pub answers: &'a BTreeMap<String, String>,
    /// A fresh random id, for the link if it comes to be.
    pub link_id: &'a str,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Connected {
    /// Linked (or syncing), by this wish or an earlier one.
    Linked {
        /// The link.
        link: Box<Link>,
        /// Rows that can be worked on at once.
        wake: Vec<Key>,
    },
    /// Refused; all reasons.
    Refused {
        /// The organization.
        organization: Organization,
        /// The purchase.
        purchase: Box<Subscription>,
        /// Why.
        reasons: Vec<Refusal>,
        /// Rows that can be worked on at once.
        wake: Vec<Key>,
    },
    /// The person does not belong to that organization (or it does not exist).
    NotYours,
    /// The registration leads nowhere (any more).
    NothingToLink,
    /// The marketplace has not told us yet which purchase it is.
    NotYet,
}

/// Links, or says why not.
pub async fn connect(
    ledger: &Ledger,
    policy: &Policy,
    control_plane: &ControlPlane,
    wish: Wish<'_>,
    now: Timestamp,
) -> Result<Connected, ConnectError> {
    let organizations = control_plane.organizations(wish.person, now).await?;
    let Some(organization) = organizations.into_iter().find(|organization| organization.id == wish.organization) else {
        return Ok(Connected::NotYours);
    };
    for _ in 0..RACES {
        let purchase = match purchase(ledger, wish.registration, now).await? {
            Found::Purchase(purchase) => purchase,
            Found::NotYet => return Ok(Connected::NotYet),
            Found::Nothing => return Ok(Connected::NothingToLink),
        };
        if matches!(&purchase.registration.doc.state, RegistrationState::SignedIn { person } if !wish.person.is(person))
        {
            return Ok(Connected::NothingToLink);
        }
        if let Some(link) = purchase.active_link().filter(|link| link.doc.organization == organization.id) {
            return Ok(Connected::Linked { link: Box::new(link.doc.clone()), wake: Vec::new() });
        }
        if purchase.is_used_by_another(wish.person) {
            return Ok(Connected::NothingToLink);
        }
        let place = place(ledger, &organization.id, &purchase.subscription.key, now).await?;
        let candidate = Candidate {
            organization: &organization,
            slot_taken: place.taken,
            purchase_link: purchase.active_link().map(|row| &row.doc),
            purchase: &purchase.subscription.state,
        };
        let reasons = refusals(policy, candidate);
        if !reasons.is_empty() {
            let wake = remember_refusal(ledger, policy, &purchase, &organization, wish.person, &reasons, now).await?;
            let purchase = Box::new(purchase.subscription);
            return Ok(Connected::Refused { organization, purchase, reasons, wake });
        }
        let cause = format!("registration:{}", wish.link_id);
        let occasion = Occasion { policy, now, cause: &cause };
        let (link, changes) = made(occasion, &purchase, &place, &organization, wish);
        match ledger.transact(changes.writes).await {
            Ok(()) => return Ok(Connected::Linked { link: Box::new(link), wake: changes.wake }),
            Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(LedgerError::Conflict.into())
}

/// The writes of a new link. Pure.
fn made(
    occasion: Occasion<'_>,
    purchase: &Purchase,
    place: &Place,
    organization: &Organization,
    wish: Wish<'_>,
) -> (Link, Changes) {
    let subscription = &purchase.subscription;
    let maker = Maker { link_id: wish.link_id, person: wish.person.id(), contact: wish.contact, answers: wish.answers };
    let (link, mut changes) = begun(occasion, subscription, place, organization, maker);
    changes.write(Write::save(purchase.home.link(&subscription.key), &link));
    let consumed = RegistrationState::Consumed { link: link.id.clone() };
    let registration = Registration { state: consumed, ..purchase.registration.doc.clone() };
    changes.write(Write::replace(&purchase.registration, &registration));
    // The state the link was judged by must still hold, and whoever has read the purchase without a link decides again. A
    // landing that reopened a legacy purchase is written here.
    let before = purchase.home.subscription(&subscription.key);
    changes.write(Write::save(before, subscription));
    if before.is_some_and(|row| row.doc.account != subscription.account) {
        changes.write(Write::project(&Pointer::from_account(&subscription.account, &subscription.key)));
    }
    if link.state != LinkState::Syncing {
        changes.and(linked_effects(occasion, &link, subscription));
    } else if subscription.key.provider() == Provider::Azure {
        // Microsoft waits for our word; AWS confirms by itself.
        changes.task(&activation_of(&link, occasion.now));
    }
    (link, changes)
}

/// Keeps a refusal for support and tells it, once for each landing; neither slot nor billing changes. Gives what can be
/// worked on at once.
pub async fn remember_refusal(
    ledger: &Ledger,
    policy: &Policy,
    purchase: &Purchase,
    organization: &Organization,
    person: &Person,
    reasons: &[Refusal],
    now: Timestamp,
) -> Result<Vec<Key>, LedgerError> {
    let refused = RefusedLink {
        organization: organization.id.clone(),
        subscription: purchase.subscription.key.clone(),
        registration: purchase.registration.doc.id.clone(),
        reasons: reasons.to_vec(),
        person: person.id(),
        at: now,
    };
    let cause = format!("refused:{}", refused.registration);
    let occasion = Occasion { policy, now, cause: &cause };
    let mut changes = Changes::default();
    changes.write(Write::create(&refused));
    changes.event(&link_refused(occasion, &refused, &organization.name, &purchase.subscription));
    let contact = person.email.as_deref().and_then(Contact::parse);
    changes.messages(message::refused(occasion, &refused, &organization.name, contact, &purchase.subscription));
    match ledger.transact(changes.writes).await {
        Ok(()) => Ok(changes.wake),
        // It is kept already: the page was only asked for once more.
        Err(LedgerError::Conflict) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Marks a registration as this person's. The first to sign in in the browser that resolved the token owns it.
pub async fn signed_in(ledger: &Ledger, registration: &str, person: &Person) -> Result<(), LedgerError> {
    let Some(row) = ledger.get::<Registration>(&Registration::row_key(registration)).await? else { return Ok(()) };
    let state = match &row.doc.state {
        RegistrationState::Consumed { .. } => return Ok(()),
        RegistrationState::SignedIn { .. } => return Ok(()),
        RegistrationState::Resolved => RegistrationState::SignedIn { person: person.id() },
    };
    match ledger.replace(&row, Registration { state, ..row.doc.clone() }).await {
        Ok(_) | Err(LedgerError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The person who owns a registration hands it back, to go on in the same browser as somebody else. True if it may.
pub async fn handed_back(ledger: &Ledger, registration: &str, person: &Person) -> Result<bool, LedgerError> {
    let Some(row) = ledger.get::<Registration>(&Registration::row_key(registration)).await? else { return Ok(false) };
    match &row.doc.state {
        RegistrationState::SignedIn { person: owner } if person.is(owner) => {
            let free = Registration { state: RegistrationState::Resolved, ..row.doc.clone() };
            match ledger.replace(&row, free).await {
                Ok(_) => Ok(true),
                Err(LedgerError::Conflict) => Ok(false),
                Err(error) => Err(error),
            }
        }
        RegistrationState::Resolved => Ok(true),
        RegistrationState::SignedIn { .. } | RegistrationState::Consumed { .. } => Ok(false),
    }
}
