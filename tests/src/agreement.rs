//! Whether marketplace, ledger and control plane agree once everything is quiet: nothing waits to be done, every purchase
//! stands in the ledger as in the marketplace, every link holds one purchase in force, every deployment is at the vendor
//! what the ledger says, and the accounts of usage come out even.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::Value;
use tradepost::deployment::{Deployment, DeploymentState};
use tradepost::event::Event;
use tradepost::home::Home;
use tradepost::ledger::{Document, Ledger};
use tradepost::link::{Slot, organization_partition};
use tradepost::notice::RawNotice;
use tradepost::parked;
use tradepost::subscription::{State, SubscriptionKey};
use tradepost::task::Task;
use tradepost::usage::Quantity;
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::meter::Meter;
use tradepost_aws::marketplace::licence_id;
use tradepost_local::stack::Stack;

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Purchases of both marketplaces.
    pub purchases: usize,
    /// Of those, in force.
    pub in_force: usize,
    /// Organizations that are linked.
    pub linked: usize,
    /// Deployments the ledger has a row for.
    pub deployments: usize,
    /// All usage that was counted.
    pub used: Quantity,
}

/// Compares everything. The stack must be quiet: days have passed since anybody did anything.
///
/// # Errors
/// The first thing that differs.
pub async fn agree(stack: &Stack) -> anyhow::Result<Compared> {
    let ledger = &stack.ledger;
    nothing_waits(stack).await?;
    let mut compared = Compared::default();
    let purchases = purchases(stack)?;
    let mut holders: BTreeMap<String, String> = BTreeMap::new();
    for (key, standing) in &purchases {
        let home = Home::read(ledger, &key.partition()).await?;
        let state = home.subscription(key).map(|row| &row.doc.state);
        ensure!(standing.fits(state), "{key} is {standing:?} in the marketplace and {state:?} in the ledger");
        compared.purchases += 1;
        compared.in_force += usize::from(*standing == Standing::InForce);
        if let Some(link) = home.link(key).filter(|link| link.doc.state.is_active()) {
            let organization = link.doc.organization.clone();
            let before = holders.insert(organization.clone(), key.to_string());
            ensure!(before.is_none(), "{organization} is linked with {key} and with {before:?}");
        }
        compared.used = compared.used.saturating_plus(comes_out_even(ledger, key).await?);
    }
    let vendor = stack.vendor.save();
    for organization in list(&vendor, "organizations") {
        let id = text(organization, "id")?;
        let slot = ledger.get::<Slot>(&Slot::row_key(&id)).await?.map(|row| row.doc);
        let active = slot.and_then(|slot| slot.active).map(|active| active.subscription.to_string());
        ensure!(
            active == holders.get(&id).cloned(),
            "{id}: its place says {active:?}, its link {:?}",
            holders.get(&id)
        );
        compared.linked += usize::from(active.is_some());
        compared.deployments += deployments_agree(ledger, &vendor, &id).await?;
    }
    Ok(compared)
}

/// Nothing is to be done, was given up on, or lies in a queue.
async fn nothing_waits(stack: &Stack) -> anyhow::Result<()> {
    let ledger = &stack.ledger;
    async fn none<T: Document>(ledger: &Ledger, state: &str) -> anyhow::Result<()> {
        let rows = ledger.all_listed::<T>(state).await?;
        let keys: Vec<String> = rows.iter().map(|row| row.doc.key().to_string()).collect();
        ensure!(keys.is_empty(), "{state} for good: {keys:?}");
        Ok(())
    }
    none::<RawNotice>(ledger, "received").await?;
    none::<Task>(ledger, "open").await?;
    none::<Event>(ledger, "open").await?;
    let (waiting, _) = parked::list(ledger, None, false, None, 10).await?;
    let given_up: Vec<_> = waiting.iter().filter(|row| row.kind() != parked::Kind::Held).collect();
    ensure!(given_up.is_empty(), "given up on: {given_up:?}");
    for queue in stack.queues() {
        let (under_way, dead) = (queue.len(), queue.dead_letters().len());
        ensure!((under_way, dead) == (0, 0), "{}: {under_way} under way, {dead} dead", queue.name());
    }
    Ok(())
}

/// Where a purchase stands in the marketplace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody has landed, or it was not paid.
    NotInForceYet,
    InForce,
    Ended,
    Superseded,
}

impl Standing {
    fn fits(self, state: Option<&State>) -> bool {
        match (self, state) {
            // Microsoft tells nothing of a purchase before somebody has landed with it.
            (Self::NotInForceYet, None | Some(State::Announced | State::Failed { .. }))
            | (Self::InForce, Some(State::Active { .. } | State::Suspended { .. }))
            | (Self::Ended, Some(State::Ended { .. }))
            | (Self::Superseded, Some(State::Superseded { .. })) => true,
            // A purchase that ended before anybody landed with it, or before its link was confirmed.
            (Self::Ended, None | Some(State::Failed { .. })) => true,
            (_, _) => false,
        }
    }
}

fn purchases(stack: &Stack) -> anyhow::Result<Vec<(SubscriptionKey, Standing)>> {
    let mut all = Vec::new();
    let aws = stack.aws.save();
    for agreement in aws.get("agreements").and_then(Value::as_object).into_iter().flat_map(|all| all.values()) {
        let standing = match text(agreement, "status")?.as_str() {
            _ if agreement.get("payment_failed") == Some(&Value::Bool(true)) => Standing::NotInForceYet,
            "ACTIVE" => Standing::InForce,
            "RENEWED" | "REPLACED" => Standing::Superseded,
            _ => Standing::Ended,
        };
        let licence = text(agreement, "licence")?;
        let licence = licence_id(&licence).to_owned();
        all.push((SubscriptionKey::AwsLicence { agreement: text(agreement, "id")?, licence }, standing));
    }
    let azure = stack.azure.market.save();
    for one in azure.get("subscriptions").and_then(Value::as_object).into_iter().flat_map(|all| all.values()) {
        let standing = match text(one, "status")?.as_str() {
            "PendingFulfillmentStart" => Standing::NotInForceYet,
            "Subscribed" | "Suspended" => Standing::InForce,
            _ => Standing::Ended,
        };
        all.push((SubscriptionKey::Azure { id: text(one, "id")? }, standing));
    }
    Ok(all)
}

/// Every row of a deployment is settled, and the vendor has it in that state.
async fn deployments_agree(ledger: &Ledger, vendor: &Value, organization: &str) -> anyhow::Result<usize> {
    let found = ledger.whole_partition(&organization_partition(organization), Deployment::PREFIX).await?;
    let number = found.len();
    for found in found {
        let row = found.read::<Deployment>()?.doc;
        let there = list(vendor, "deployments").find(|one| one.get("id").and_then(Value::as_str) == Some(&row.id));
        let is = there.and_then(|one| one.pointer("/condition/is")).and_then(Value::as_str).unwrap_or("deleted");
        let agrees = match &row.state {
            DeploymentState::Running { .. } => is == "running",
            DeploymentState::Stopped(_) => is == "stopped",
            DeploymentState::Deleted { .. } => is == "deleted",
            DeploymentState::Released { .. } => true,
            DeploymentState::Stopping { .. } | DeploymentState::Deleting(_) | DeploymentState::Resuming => false,
        };
        ensure!(agrees, "{organization} {}: {} in the ledger, {is} at the vendor", row.id, row.state.name());
    }
    Ok(number)
}

/// The account of each dimension adds up, and so do its hours. Gives what was used.
async fn comes_out_even(ledger: &Ledger, key: &SubscriptionKey) -> anyhow::Result<Quantity> {
    let mut used = Quantity::ZERO;
    let mut accepted = Quantity::ZERO;
    for found in ledger.whole_partition(&Hour::partition(key), Meter::PREFIX).await? {
        let meter = found.read::<Meter>()?.doc;
        let mut rest = meter.carried;
        let mut of_the_meter = Quantity::ZERO;
        for term in &meter.terms {
            of_the_meter = of_the_meter.saturating_plus(term.used);
            accepted = accepted.saturating_plus(term.accepted);
            for part in [term.included, term.accepted, term.pending, term.refused, term.expired, term.remainder] {
                rest = rest.saturating_plus(part);
            }
        }
        ensure!(of_the_meter == rest, "{key} {}: {of_the_meter} was used, {rest} is accounted for", meter.dimension);
        used = used.saturating_plus(of_the_meter);
    }
    let mut billed = Quantity::ZERO;
    for found in ledger.whole_partition(&Hour::partition(key), Hour::PREFIX).await? {
        let hour = found.read::<Hour>()?.doc;
        ensure!(hour.stage.is_final(), "{} is still {}", hour.key(), hour.stage.name());
        if hour.stage == Stage::Accepted {
            billed = billed.saturating_plus(hour.billed());
        }
    }
    ensure!(billed == accepted, "{key}: its hours say {billed} is billed, its account {accepted}");
    Ok(used)
}

fn list<'a>(state: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    state.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {name} in {value}"))
}
