//! Adoption: a purchase of an older listing that was sold before Tradepost, and that another integration looked after until
//! now, is linked with the organization the vendor names for it. No landing proves it, so two others have to: the vendor,
//! who signs the call and says whose it is, and the marketplace, which is asked whether it is in force.
//!
//! * A contract is in force as long as it entitles to something. Pay as you go is told by nothing that names the customer,
//!   only by the agreements of the buyer's account: each of them stands for one purchase, those that pay for others of ours
//!   do not count, and one counts from an hour after it began (what is not paid is rolled back within it).
//! * Nothing is overwritten: neither a link of the purchase, in force or over, nor one of the organization. What the ledger
//!   knows to be ending or over is not brought back.
//! * Whom the policy lets link is asked of buyers who choose. Here the vendor has chosen, and takes over who pays already;
//!   the product is told as of any link, people are not written to.
//!
//! The key is that of the listing's notices, so whichever comes first, this, a landing or a notice, the others find it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::entitlement::{Entitlement, valid};
use crate::home::Home;
use crate::ledger::{Key, Ledger, LedgerError, Provider, Row, Write};
use crate::lifecycle::stepped;
use crate::link::connect::Place;
use crate::link::making::{Maker, begun};
use crate::link::{Contact, Slot};
use crate::marketplace::{Listed, Marketplace, MarketplaceError, Standing, paid};
use crate::organization::Organization;
use crate::person::PersonId;
use crate::policy::{Notices, Policy};
use crate::settle::{Changes, Occasion, linked_silently, subscription_becomes};
use crate::subscription::{Pointer, Sign, State, Subscription, SubscriptionKey};

/// How many lost races in a row are decided again.
const RACES: u32 = 6;

/// What the vendor asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The listing's product code.
    pub product: &'a str,
    /// AWS's name of the customer.
    pub customer: &'a str,
    /// The buyer's AWS account.
    pub account: &'a str,
    /// The vendor's organization.
    pub organization: &'a str,
    /// Where the buyer can be reached.
    pub contact: &'a Contact,
    /// A fresh random id, for the link if it comes to be.
    pub link_id: &'a str,
    /// Only say what would become of it.
    pub dry_run: bool,
}

impl Wish<'_> {
    /// Which subscription it is about.
    pub fn key(&self) -> SubscriptionKey {
        SubscriptionKey::AwsLegacy { product: self.product.to_owned(), customer: self.customer.to_owned() }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// Linked now, or it would be.
    Now {
        /// Rows that can be worked on at once.
        wake: Vec<Key>,
    },
    /// Linked with that organization already; nothing was done.
    Already,
    /// Not linked, and nothing was done.
    Not(Reason),
}

/// Why a purchase is not adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The notices say that it is ending or over.
    Over,
    /// The marketplace does not say that it is in force.
    NotInForce,
    /// It began so lately that it may not be paid.
    TooYoung,
    /// It was not paid, or not confirmed in time.
    Failed,
    /// The product is not a listing of the policy whose notices come over SNS.
    ListingUnknown,
    /// The vendor's product knows no such organization.
    OrganizationUnknown,
    /// The organization is linked with another purchase.
    OrganizationLinked,
    /// The purchase is linked with another organization.
    PurchaseLinked,
    /// The purchase was linked before, and is not any more.
    LinkOver,
    /// The marketplace refuses to tell: its code.
    Unanswered(String),
}

/// Adoption that could not be brought to an answer.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The ledger.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// The vendor.
    #[error("the control plane failed")]
    ControlPlane(#[from] ControlPlaneError),
    /// The marketplace.
    #[error("the marketplace failed")]
    Marketplace(#[from] MarketplaceError),
}

/// What the marketplace says, asked just now.
#[derive(Clone, Debug)]
pub enum Word {
    /// Of a contract: what it entitles to.
    Entitled(Vec<Entitlement>),
    /// Of pay as you go: the account's agreements.
    Agreements {
        /// All that are listed.
        listed: Vec<Listed>,
        /// Those of them that are purchases of ours by their licence.
        ours: BTreeSet<SubscriptionKey>,
        /// The account's other purchases of older listings that are in force.
        others: usize,
    },
}

/// Adopts a purchase, or says why not.
///
/// # Errors
/// If somebody who has to be asked does not answer.
pub async fn adopt(
    ledger: &Ledger,
    policy: &Policy,
    control_plane: &ControlPlane,
    marketplace: &impl Marketplace,
    wish: Wish<'_>,
    now: Timestamp,
) -> Result<Adopted, AdoptError> {
    let key = wish.key();
    let listing = policy.listing(Provider::Aws, wish.product).filter(|listing| listing.notices == Notices::Sns);
    let Some(listing) = listing else { return Ok(Adopted::Not(Reason::ListingUnknown)) };
    let mut asked: Option<(Organization, Word)> = None;
    for _ in 0..RACES {
        let home = Home::read(ledger, &key.partition()).await?;
        let slot = ledger.get::<Slot>(&Slot::row_key(wish.organization)).await?;
        if let Some(known) = known(&home, slot.as_ref(), wish) {
            return Ok(known);
        }
        let (organization, word) = match asked.take() {
            Some(asked) => asked,
            None => {
                let organization = match control_plane.organization(wish.organization, now).await {
                    Ok(organization) if organization.id == wish.organization => organization,
                    Ok(_) => return Ok(Adopted::Not(Reason::OrganizationUnknown)),
                    Err(error) if error.is_gone() => return Ok(Adopted::Not(Reason::OrganizationUnknown)),
                    Err(error) => return Err(error.into()),
                };
                let contract = listing.model.has_entitlements();
                match word(ledger, marketplace, wish, contract, now).await {
                    Ok(word) => (organization, word),
                    Err(AdoptError::Marketplace(MarketplaceError::Refused(why))) => {
                        return Ok(Adopted::Not(Reason::Unanswered(why)));
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let before = home.subscription(&key).map(|row| &row.doc);
        let after = match judged(before, wish, &word, now) {
            Ok(after) => after,
            Err(reason) => return Ok(Adopted::Not(reason)),
        };
        if wish.dry_run {
            return Ok(Adopted::Now { wake: Vec::new() });
        }
        let cause = format!("cut-over:{}", wish.link_id);
        let place = Place { slot, gives_way: None, taken: false };
        let changes = linked(Occasion { policy, now, cause: &cause }, &home, &place, &after, &organization, wish);
        match ledger.transact(changes.writes).await {
            Ok(()) => return Ok(Adopted::Now { wake: changes.wake }),
            Err(LedgerError::Conflict) => asked = Some((organization, word)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(LedgerError::Conflict.into())
}

/// What the ledger settles by itself, before anybody is asked. Pure.
pub fn known(home: &Home, slot: Option<&Row<Slot>>, wish: Wish<'_>) -> Option<Adopted> {
    let key = wish.key();
    if let Some(link) = home.link(&key) {
        return Some(match (link.doc.state.is_active(), link.doc.organization == wish.organization) {
            (true, true) => Adopted::Already,
            (true, false) => Adopted::Not(Reason::PurchaseLinked),
            (false, _) => Adopted::Not(Reason::LinkOver),
        });
    }
    let reason = match home.subscription(&key).map(|row| &row.doc.state) {
        Some(State::Ending { .. } | State::Ended { .. } | State::Superseded { .. }) => Some(Reason::Over),
        Some(State::Failed { .. }) => Some(Reason::Failed),
        None | Some(State::Announced | State::Active { .. } | State::Suspended { .. }) => None,
    };
    let taken = slot.is_some_and(|slot| slot.doc.active.is_some());
    reason.or(taken.then_some(Reason::OrganizationLinked)).map(Adopted::Not)
}

/// The purchase as it is adopted, or why it is not, by the marketplace's word. Pure.
///
/// # Errors
/// The reason.
pub fn judged(
    before: Option<&Subscription>,
    wish: Wish<'_>,
    word: &Word,
    now: Timestamp,
) -> Result<Subscription, Reason> {
    let announced = || Subscription::announced(wish.key(), wish.product, wish.account, now);
    let before = before.cloned().unwrap_or_else(announced);
    let entitlements = match word {
        Word::Entitled(list) => {
            valid(list, now).next().ok_or(Reason::NotInForce)?;
            Some(list.as_slice())
        }
        Word::Agreements { listed, ours, others } => {
            backed(listed, ours, *others, now)?;
            None
        }
    };
    // Without a time: whatever the marketplace has said meanwhile is newer than its answer.
    let after = stepped(&before, &Sign::Confirmed, None, entitlements, now).0;
    // Notices of an older listing name no account but the customer's name; licences are found by the account itself.
    Ok(Subscription { account: wish.account.to_owned(), ..after })
}

/// Whether an agreement in force is left for this purchase.
fn backed(listed: &[Listed], ours: &BTreeSet<SubscriptionKey>, others: usize, now: Timestamp) -> Result<(), Reason> {
    let free = |one: &&Listed| {
        one.told.standing == Standing::Live && !one.key.as_ref().is_some_and(|licence| ours.contains(licence))
    };
    let started = |one: &&Listed| one.told.begins.is_some_and(|begins| begins <= now);
    let old = |one: &&Listed| one.told.begins.is_some_and(|begins| paid(begins, now));
    let free: Vec<&Listed> = listed.iter().filter(free).filter(started).collect();
    if free.iter().filter(|one| old(one)).count() > others {
        return Ok(());
    }
    Err(if free.len() > others { Reason::TooYoung } else { Reason::NotInForce })
}

/// Asks the marketplace, and reads what its answer is to be held against.
async fn word(
    ledger: &Ledger,
    marketplace: &impl Marketplace,
    wish: Wish<'_>,
    contract: bool,
    now: Timestamp,
) -> Result<Word, AdoptError> {
    let key = wish.key();
    if contract {
        let purchase = Subscription::announced(key, wish.product, wish.account, now);
        return Ok(Word::Entitled(marketplace.entitlements(&purchase).await?));
    }
    let listed = marketplace.agreements_of(wish.account).await?;
    let licences: Vec<Key> = listed.iter().filter_map(|one| one.key.as_ref().map(SubscriptionKey::key)).collect();
    let ours = ledger.get_many::<Subscription>(&licences).await?.into_iter().map(|row| row.doc.key).collect();
    let mut older = Vec::new();
    for found in ledger.whole_partition(&Pointer::account_partition(Provider::Aws, wish.account), "").await? {
        let to = found.read::<Pointer>()?.doc.to;
        if matches!(to, SubscriptionKey::AwsLegacy { .. }) && to != key {
            older.push(to.key());
        }
    }
    let others = ledger.get_many::<Subscription>(&older).await?;
    let others = others.iter().filter(|row| row.doc.state.is_live()).count();
    Ok(Word::Agreements { listed, ours, others })
}

/// The writes of an adoption. Pure.
fn linked(
    occasion: Occasion<'_>,
    home: &Home,
    place: &Place,
    after: &Subscription,
    organization: &Organization,
    wish: Wish<'_>,
) -> Changes {
    let row = home.subscription(&after.key);
    let mut changes = match row {
        // Whoever has read it without a link decides again.
        Some(row) if row.doc == *after => Changes { writes: vec![Write::touch(row)], ..Changes::default() },
        _ => subscription_becomes(occasion, row, after, None, None),
    };
    changes.write(Write::project(&Pointer::from_account(&after.account, &after.key)));
    let person = PersonId { issuer: "tradepost".to_owned(), subject: "cut-over".to_owned() };
    let answers = BTreeMap::new();
    let maker = Maker { link_id: wish.link_id, person, contact: wish.contact, answers: &answers };
    let (link, making) = begun(occasion, after, place, organization, maker);
    changes.write(Write::create(&link));
    changes.and(making);
    changes.and(linked_silently(occasion, &link, after));
    changes
}
