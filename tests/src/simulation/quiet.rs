//! The end of a history: nothing fails any more, every schedule runs, and time goes on until nothing is due. Then
//! marketplace, ledger and control plane must agree.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tradepost::agreement::Agreement;
use tradepost::deployment::Deployment;
use tradepost::ledger::Provider;
use tradepost::link::{Link, LinkState, Slot, UnlinkCause};
use tradepost::notice::{NoticeState, RawNotice};
use tradepost::status::{Status, SyncState};
use tradepost::subscription::{State, Subscription};
use tradepost::task::{Task, TaskState};
use tradepost::usage::Quantity;
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::meter::{Meter, TermTotals};
use tradepost::usage::report::Reported;

use super::acts::{is_unpaid, text};
use super::handlers::Handler;
use super::memory::Fate;
use super::rules::{Broken, Rule, Verdict, broken, id};
use super::seen::Snapshot;
use super::{Outcome, Play};

/// Longer than anything waits that a history sets going: the retention, a link that nobody confirms, a successor that stays
/// away, the usage of a purchase that could not be paid.
const LONG_ENOUGH: SignedDuration = SignedDuration::from_hours(8 * 24);
/// Rounds of work until then; more means that something turns in circles.
const ROUNDS: u32 = 2_000;

/// Lines of the due index, and who works on them.
const LINES: [(&str, Handler); 6] = [
    ("aws", Handler::Sweeper),
    ("aws-final-usage", Handler::Sweeper),
    ("aws-metering", Handler::Metering),
    ("azure", Handler::Timer("sweeper")),
    ("azure-final-usage", Handler::Timer("sweeper")),
    ("azure-metering", Handler::Timer("metering")),
];

impl Play {
    pub(super) async fn until_quiet(&self, outcome: &mut Outcome) -> anyhow::Result<Option<Broken>> {
        self.outside.heal();
        // Whoever never heard an answer asks once more.
        let open = self.open_usage();
        self.tell_usage(&open).await;
        let end = self.outside.now().checked_add(LONG_ENOUGH)?;
        for round in 0.. {
            if round > ROUNDS {
                let what = format!("it is not quiet after {ROUNDS} rounds, at {}", self.outside.now());
                return Ok(broken(Rule::Kept, what).err());
            }
            self.deliver_all().await;
            let snapshot = Snapshot::of(&self.outside.stack.dynamo)?;
            let now = self.outside.now();
            let mut worked = false;
            for (line, handler) in LINES {
                if snapshot.next_due(line).is_some_and(|due| due <= now) {
                    self.call(handler, true).await;
                    worked = true;
                }
            }
            if worked {
                if let Some(broken) = self.always(&mut outcome.checks)? {
                    return Ok(Some(broken));
                }
                // What could not be done now is due later; the clock goes on a little, or it would be asked for ever.
                self.outside.pass(SignedDuration::from_secs(1));
                continue;
            }
            let stack = &self.outside.stack;
            let waiting = LINES.iter().filter_map(|(line, _)| snapshot.next_due(line));
            let waiting = waiting.chain([stack.aws.next_due(), stack.azure.market.next_due()].into_iter().flatten());
            let waiting =
                waiting.chain([stack.notices.next_visible(), stack.work_queue.next_visible()].into_iter().flatten());
            match waiting.min().filter(|next| *next <= end) {
                Some(next) => {
                    self.outside.stack.clock.advance_to(next.max(now.checked_add(SignedDuration::from_millis(1))?))
                }
                None => break,
            }
        }
        outcome.story.push(format!("     {:.0}  all is well and nothing is due", self.outside.now()));
        outcome.checks = outcome.checks.saturating_add(1);
        self.agreed().await
    }

    async fn deliver_all(&self) {
        loop {
            self.call(Handler::Notices, true).await;
            self.call(Handler::Worker, true).await;
            self.call(Handler::Webhook, true).await;
            self.hang_up();
            self.collect_notices();
            let now = self.outside.now();
            let stack = &self.outside.stack;
            let visible = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
            let more = visible(stack.notices.next_visible()) || visible(stack.work_queue.next_visible());
            if !more && !visible(stack.azure.market.next_due()) {
                return;
            }
        }
    }

    async fn agreed(&self) -> anyhow::Result<Option<Broken>> {
        let snapshot = Snapshot::of(&self.outside.stack.dynamo)?;
        let aws = self.outside.shown("aws.localhost", "state").await?;
        let azure = self.outside.shown("azure.localhost", "state").await?;
        let deployments = self.outside.stack.vendor.deployments();
        Ok(self
            .everything_is_decided(&snapshot)
            .and_then(|()| self.marketplaces_agree(&snapshot, &aws, &azure))
            .and_then(|()| places_agree(&snapshot))
            .and_then(|()| self.deployments_agree(&snapshot, &deployments))
            .and_then(|()| self.usage_is_billed(&snapshot, &aws, &azure))
            .err())
    }

    fn everything_is_decided(&self, snapshot: &Snapshot) -> Verdict {
        let notices = read::<RawNotice>(snapshot)?;
        if let Some(open) = notices.iter().find(|notice| !matches!(notice.state, NoticeState::Interpreted { .. })) {
            return broken(Rule::Kept, format!("the notice {} is {:?}: {}", open.id, open.state, open.body));
        }
        let tasks = read::<Task>(snapshot)?;
        if let Some(open) = tasks.iter().find(|task| matches!(task.status, TaskState::Open | TaskState::Parked)) {
            return broken(Rule::Kept, format!("a task is {:?}: {:?}, {:?}", open.status, open.effect, open.attempts));
        }
        let dead = self.outside.stack.queues().iter().map(|queue| queue.dead_letters().len()).sum::<usize>();
        if dead > 0 {
            return broken(Rule::Kept, format!("{dead} dead letters"));
        }
        Ok(())
    }

    fn marketplaces_agree(&self, snapshot: &Snapshot, aws: &Value, azure: &Value) -> Verdict {
        let subscriptions = read::<Subscription>(snapshot)?;
        let agreements = read::<Agreement>(snapshot)?;
        let purchases = self.look(|memory| memory.purchases.clone());
        for purchase in purchases {
            let state = subscriptions.iter().find(|one| one.key == purchase.key).map(|one| &one.state);
            let (theirs, agrees) = match purchase.marketplace() {
                Provider::Aws => {
                    let agreement = aws.pointer(&format!("/agreements/{}", purchase.name)).cloned().unwrap_or_default();
                    let unpaid = is_unpaid(aws, &agreement);
                    let status = text(&agreement, "status");
                    let its_end_is_known = agreements.iter().any(|one| one.id == purchase.name && one.end.is_some());
                    let agrees = match (status.as_str(), state) {
                        // EventBridge tells nothing of a payment that fails; the policy's time-out does.
                        ("ACTIVE", None | Some(State::Announced | State::Failed { .. })) => unpaid,
                        ("ACTIVE", Some(State::Active { .. })) => !unpaid,
                        ("CANCELLED" | "EXPIRED" | "TERMINATED", Some(State::Ended { .. })) => true,
                        // Nobody has landed with it, and no notice has named its licence: there is nothing to be ended.
                        ("CANCELLED" | "EXPIRED" | "TERMINATED", None) => true,
                        // A landing makes its row without looking; the end is the agreement's, and is read with it.
                        ("CANCELLED" | "EXPIRED" | "TERMINATED", Some(State::Announced | State::Failed { .. })) => {
                            unpaid || its_end_is_known
                        }
                        ("RENEWED" | "REPLACED", Some(State::Announced | State::Failed { .. })) => {
                            unpaid && its_end_is_known
                        }
                        ("RENEWED" | "REPLACED", Some(State::Superseded { .. })) => true,
                        ("RENEWED" | "REPLACED", Some(State::Ended { .. })) => {
                            self.look(|memory| matches!(memory.last_fate(&purchase), Fate::Ended(_)))
                        }
                        ("RENEWED" | "REPLACED", None) => unpaid,
                        _ => false,
                    };
                    (format!("{status}{}", if unpaid { ", unpaid" } else { "" }), agrees)
                }
                Provider::Azure => {
                    let one = azure.pointer(&format!("/subscriptions/{}", purchase.name)).cloned().unwrap_or_default();
                    let status = text(&one, "status");
                    let agrees = match (status.as_str(), state) {
                        ("PendingFulfillmentStart", None | Some(State::Announced | State::Failed { .. })) => true,
                        ("Subscribed", Some(State::Active { .. })) | ("Suspended", Some(State::Suspended { .. })) => {
                            true
                        }
                        ("Unsubscribed", Some(State::Ended { .. })) => true,
                        // Nobody has told us of it, and nobody has landed with it.
                        ("Unsubscribed", None) => one.get("anchor").is_none_or(Value::is_null),
                        _ => false,
                    };
                    (status, agrees)
                }
            };
            if !agrees {
                let ours = state.map_or("not known", State::name);
                return broken(Rule::Agreement, format!("{} is {theirs} there and {ours} here", purchase.key));
            }
        }
        Ok(())
    }

    fn deployments_agree(&self, snapshot: &Snapshot, deployments: &[Value]) -> Verdict {
        let slots = read::<Slot>(snapshot)?;
        let links = read::<Link>(snapshot)?;
        for deployment in deployments {
            let (organization, state) = (text(deployment, "organization"), text(deployment, "state"));
            let linked = slots.iter().any(|slot| slot.organization == organization && slot.active.is_some());
            let otherwise = self.look(|memory| memory.paid_otherwise.get(organization.as_str()) == Some(&true));
            let last = links.iter().filter(|link| link.organization == organization).max_by_key(|link| link.generation);
            let ended = last
                .filter(|link| matches!(link.state, LinkState::Unlinked { cause: UnlinkCause::SubscriptionEnded, .. }));
            let other_live = ended.is_some_and(|link| self.has_other_live(link));
            let trial =
                text(deployment, "trial_ends_at").parse::<Timestamp>().is_ok_and(|end| end > self.outside.now());
            let row = snapshot.rows.get(&Deployment::row_key(&organization, &id(deployment)));
            let trial =
                trial || row.is_some_and(|row| row.due.as_ref().is_some_and(|(_, at)| *at > self.outside.now()));
            if let Some(link) = ended.filter(|_| !linked && !otherwise && !other_live && !trial) {
                let what = format!(
                    "{} of {organization} is {state}, its purchase {} has ended",
                    id(deployment),
                    link.subscription
                );
                return broken(Rule::Agreement, what);
            }
            let by_us = deployment.get("stopped_by").and_then(Value::as_str) == Some("tradepost");
            if linked && by_us && last.is_some_and(|link| matches!(link.state, LinkState::Linked { .. })) {
                return broken(
                    Rule::Agreement,
                    format!("{} is {state} by us though {organization} pays", id(deployment)),
                );
            }
        }
        Ok(())
    }

    /// Whether the buyer of a link's purchase holds another live one that is not linked: then nothing is deleted.
    fn has_other_live(&self, link: &Link) -> bool {
        self.look(|memory| {
            let buyer = memory.purchase(&link.subscription).map(|purchase| purchase.buyer);
            let theirs = memory.purchases.iter().filter(|one| Some(one.buyer) == buyer && one.fate == Fate::Going);
            // Microsoft's buyers all are of one tenant here.
            theirs.count() > 0
                || (link.subscription.provider() == Provider::Azure
                    && memory
                        .purchases
                        .iter()
                        .any(|one| one.marketplace() == Provider::Azure && one.fate == Fate::Going))
        })
    }

    fn usage_is_billed(&self, snapshot: &Snapshot, aws: &Value, azure: &Value) -> Verdict {
        let meters = read::<Meter>(snapshot)?;
        let hours = read::<Hour>(snapshot)?;
        let subscriptions = read::<Subscription>(snapshot)?;
        // What is used while the marketplace waits for the buyer's money waits, too, in sight.
        let waits = |hour: &&Hour| {
            let of = subscriptions.iter().find(|one| one.key == hour.subscription);
            of.is_some_and(|one| matches!(one.state, State::Suspended { .. }))
        };
        if let Some(open) = hours.iter().find(|hour| !hour.stage.is_final() && !waits(hour)) {
            return broken(
                Rule::Usage,
                format!("an hour is left {}: {} {}", open.stage.name(), open.subscription, open.hour),
            );
        }
        for dimension in ["session_hours", "traffic_gb"] {
            let told: Quantity = self.look(|memory| {
                let counted = memory.usage.iter().filter(|(event, answer)| {
                    event.dimension == dimension
                        && matches!(answer, Some(Reported::Accepted { .. } | Reported::Duplicate { .. }))
                });
                counted.map(|(event, _)| event.quantity).sum()
            });
            let of = |sum: fn(&TermTotals) -> Quantity| -> Quantity {
                let terms = meters.iter().filter(|meter| meter.dimension == dimension).flat_map(|meter| &meter.terms);
                terms.map(sum).sum()
            };
            let carried: Quantity =
                meters.iter().filter(|meter| meter.dimension == dimension).map(|meter| meter.carried).sum();
            let accepted = of(|term| term.accepted);
            let rest = [
                carried,
                of(|term| term.included),
                of(|term| term.remainder),
                of(|term| term.refused),
                of(|term| term.expired),
            ];
            let not_frozen = hours.iter().filter(|hour| hour.dimension == dimension && hour.stage == Stage::Open);
            let waiting: Quantity = not_frozen.map(|hour| hour.amount).sum();
            let all: Quantity = rest.into_iter().chain([accepted, waiting, of(|term| term.pending)]).sum();
            if told != all {
                let what = format!("{dimension}: {told} was acknowledged, {all} is accounted for: {meters:?}");
                return broken(Rule::Usage, what);
            }
            let billed = billed(aws, azure, dimension);
            let doubtful: Quantity = hours
                .iter()
                .filter(|hour| hour.dimension == dimension && matches!(hour.stage, Stage::Refused | Stage::Expired))
                .filter(|hour| hour.sealed.as_ref().is_some_and(|sealed| sealed.in_doubt))
                .map(Hour::billed)
                .sum();
            if billed < accepted || billed > accepted.plus(doubtful).unwrap_or(accepted) {
                let what =
                    format!("{dimension}: {billed} is billed where {accepted} was accepted and {doubtful} is in doubt");
                return broken(Rule::Usage, what);
            }
        }
        Ok(())
    }
}

/// What both marketplaces bill of a dimension.
fn billed(aws: &Value, azure: &Value, dimension: &str) -> Quantity {
    let rows = |state: &Value, at: &str| -> Vec<Value> {
        match state.pointer(at) {
            Some(Value::Object(all)) => all.values().cloned().collect(),
            Some(Value::Array(all)) => all.clone(),
            _ => Vec::new(),
        }
    };
    let all = rows(aws, "/usage").into_iter().chain(rows(azure, "/metering/taken"));
    all.filter(|row| text(row, "dimension") == dimension)
        .filter_map(|row| Some(Quantity::from_micros(row.get("micros").or(row.get("quantity"))?.as_u64()?)))
        .sum()
}

fn places_agree(snapshot: &Snapshot) -> Verdict {
    let (slots, links) = (read::<Slot>(snapshot)?, read::<Link>(snapshot)?);
    let subscriptions = read::<Subscription>(snapshot)?;
    for status in read::<Status>(snapshot)? {
        let slot = slots.iter().find(|slot| slot.organization == status.organization);
        let active = slot.and_then(|slot| slot.active.as_ref());
        let link = active.and_then(|active| links.iter().find(|link| link.subscription == active.subscription));
        let shows = status.payment_method.is_some();
        let linked = link.is_some_and(|link| matches!(link.state, LinkState::Linked { .. }));
        if shows != linked
            || (status.sync == SyncState::Syncing) != link.is_some_and(|link| link.state == LinkState::Syncing)
        {
            let what = format!(
                "{} shows {}, its link is {:?}",
                status.organization,
                status.sync.name(),
                link.map(|link| link.state.name())
            );
            return broken(Rule::Agreement, what);
        }
        let Some(link) = link else { continue };
        let state = subscriptions.iter().find(|one| one.key == link.subscription).map(|one| &one.state);
        let fits = matches!(
            (&link.state, state),
            (LinkState::Linked { .. }, Some(State::Active { .. } | State::Suspended { .. }))
                | (LinkState::Syncing, Some(State::Announced))
        );
        if !fits {
            let what = format!(
                "{} is {} with {}, which is {:?}",
                status.organization,
                link.state.name(),
                link.subscription,
                state.map(State::name)
            );
            return broken(Rule::Agreement, what);
        }
    }
    Ok(())
}

fn read<T: tradepost::ledger::Document>(snapshot: &Snapshot) -> Result<Vec<T>, Broken> {
    snapshot.all().map_err(|error| Broken { rule: Rule::Agreement, what: format!("{error:#}") })
}
