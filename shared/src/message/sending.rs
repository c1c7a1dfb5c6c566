//! Sending a message that is due: what it says is read just now, so that nobody is told what is not true any more.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::english::{self, Words};
use super::following::{Next, Stage, next};
use super::letter::{Facts, Letter, instant, plain};
use super::sender::{MailError, Sender};
use super::{About, Audience, Message, MessageState};
use crate::deployment::{Deployment, DeploymentState};
use crate::ending::{Standing, standing};
use crate::ledger::{Document as _, LedgerError, Row};
use crate::link::{Link, LinkState, organization_partition};
use crate::marketplace::Marketplace;
use crate::policy::EndFamily;
use crate::retry::Attempts;
use crate::web::text::english::ENGLISH;
use crate::web::text::fill;
use crate::work::{Ran, Tried, WorkError, Worker, claim, failed, is_due, written};

/// Sends what is due, or learns that it is void.
///
/// # Errors
/// The ledger's; the message stays due.
pub async fn send<M: Marketplace>(
    worker: &Worker<'_, M>,
    sender: Option<&dyn Sender>,
    row: Row<Message>,
    now: Timestamp,
) -> Result<Ran, LedgerError> {
    if !is_due(&row.doc, now) {
        return Ok(Ran::left(Message::KIND, "not due"));
    }
    let Some(row) = claim(worker.ledger, row, now).await? else { return Ok(Ran::left(Message::KIND, "taken")) };
    let sent = match sender {
        Some(sender) => sent(worker, sender, &row, now).await,
        None => Ok((row.doc.done(), "not sent: no sender is set up")),
    };
    match sent {
        Ok((next, outcome)) => written(worker.ledger, &row, next, Ran::done(Message::KIND, outcome)).await,
        Err(error) => failed(worker.ledger, row, &error, now).await,
    }
}

async fn sent<M: Marketplace>(
    worker: &Worker<'_, M>,
    sender: &dyn Sender,
    row: &Row<Message>,
    now: Timestamp,
) -> Result<(Message, &'static str), WorkError> {
    let message = &row.doc;
    let (letter, contact) = match &message.about {
        About::Linked { subscription, product } => {
            let link = worker.ledger.get::<Link>(&Link::row_key(subscription)).await?.map(|row| row.doc);
            let holds =
                |link: &Link| matches!(link.state, LinkState::Linked { .. }) && link.generation == message.generation;
            let Some(link) = link.filter(holds) else { return Ok((message.done(), "void: not linked any more")) };
            (Letter::new(english::LINKED, &facts(worker, message, product)), link.contact.as_str().to_owned())
        }
        About::Refused { subscription, product, reasons, contact } => {
            let link = worker.ledger.get::<Link>(&Link::row_key(subscription)).await?;
            if link.is_some_and(|row| row.doc.state.is_active()) {
                return Ok((message.done(), "void: linked meanwhile"));
            }
            let items = reasons.iter().map(|reason| {
                let (why, what) = (ENGLISH.refusal)(*reason);
                let word =
                    [("word", worker.policy.organization_word.as_str()), ("vendor", worker.policy.vendor.as_str())];
                fill(&format!("{why} {what}"), &word)
            });
            let facts = Facts { items: items.collect(), ..facts(worker, message, product) };
            let contact = contact.as_ref().map(|contact| contact.as_str().to_owned()).unwrap_or_default();
            (Letter::new(english::REFUSED, &facts), contact)
        }
        About::Ended { product, at, .. } => {
            let Some(link) = ended_link(worker, message).await? else {
                return Ok((message.done(), "void: linked again"));
            };
            let (words, more) = end_words(worker, message, *at);
            let facts = Facts { more, ..facts(worker, message, product) };
            (Letter::new(words, &facts), link.contact.as_str().to_owned())
        }
        About::Deployments { told } => return followed(worker, sender, message, told, now).await,
    };
    post(worker, sender, message, &letter, &contact, &message.id, now).await?;
    Ok((message.done(), "sent"))
}

/// One look at an organization's deployments after an end.
async fn followed<M: Marketplace>(
    worker: &Worker<'_, M>,
    sender: &dyn Sender,
    message: &Message,
    told: &BTreeMap<String, Stage>,
    now: Timestamp,
) -> Result<(Message, &'static str), WorkError> {
    let Some(link) = ended_link(worker, message).await? else {
        return Ok((message.done(), "void: linked again"));
    };
    let found =
        worker.ledger.whole_partition(&organization_partition(&message.organization), Deployment::PREFIX).await?;
    let rows = found.into_iter().map(|one| one.read::<Deployment>().map(|row| row.doc));
    let mut deployments = rows.collect::<Result<Vec<_>, _>>()?;
    deployments.retain(|one| one.generation == message.generation);
    let again = |at: Timestamp, told: BTreeMap<String, Stage>| Message {
        about: About::Deployments { told },
        attempts: Attempts::at(at),
        ..message.clone()
    };
    let (stage, of) = match next(&deployments, told, message.created_at, now) {
        Next::Over => return Ok((message.done(), "everything is over")),
        Next::Look(at) => return Ok((again(at, told.clone()), "looked")),
        Next::Tell { stage, of } => (stage, of),
    };
    let these: Vec<&Deployment> = of.iter().filter_map(|place| deployments.get(*place)).collect();
    let wanted = worker.policy.messages.told(stage.kind()).any(|one| one == message.audience);
    let mut outcome = "not told of this";
    if wanted {
        let words = match stage {
            Stage::Stopped => english::STOPPED,
            Stage::Warned => english::WARNING,
            Stage::Deleted => english::DELETED,
        };
        let items = these.iter().map(|one| line(one)).collect();
        let letter = Letter::new(words, &Facts { items, ..facts(worker, message, &worker.policy.vendor) });
        // The same for the same mail: how many had been told of this stage before tells one from the next.
        let before = told.values().filter(|one| **one >= stage).count();
        let id = format!("{}-{}-{before}", message.id, stage.name());
        post(worker, sender, message, &letter, link.contact.as_str(), &id, now).await?;
        outcome = "sent";
    }
    let mut after = told.clone();
    after.extend(these.iter().map(|one| (one.id.clone(), stage)));
    let at = match next(&deployments, &after, message.created_at, now) {
        Next::Over => return Ok((Message { about: About::Deployments { told: after }, ..message.done() }, outcome)),
        Next::Look(at) => at,
        Next::Tell { .. } => now,
    };
    Ok((again(at, after), outcome))
}

/// The link whose end a message is about; none if the organization is linked again.
async fn ended_link<M: Marketplace>(worker: &Worker<'_, M>, message: &Message) -> Result<Option<Link>, LedgerError> {
    let Standing::Ended(slot) = standing(worker.ledger, &message.organization, message.generation).await? else {
        return Ok(None);
    };
    let Some(ended) = slot.doc.ended else { return Ok(None) };
    Ok(worker.ledger.get::<Link>(&Link::row_key(&ended.subscription)).await?.map(|row| row.doc))
}

fn facts<'a, M: Marketplace>(worker: &Worker<'a, M>, message: &'a Message, product: &'a str) -> Facts<'a> {
    Facts {
        policy: worker.policy,
        marketplace: message.provider,
        organization: &message.organization_name,
        product,
        more: Vec::new(),
        items: Vec::new(),
    }
}

fn end_words<M: Marketplace>(
    worker: &Worker<'_, M>,
    message: &Message,
    at: Timestamp,
) -> (Words, Vec<(&'static str, String)>) {
    let mut more = vec![("ended_at", instant(at))];
    let words = match worker.policy.end.family {
        EndFamily::StopAndDelete => {
            more.push(("retention", worker.policy.retention(message.provider).as_hours().to_string()));
            english::ENDED
        }
        EndFamily::Keep => english::ENDED_KEPT,
        EndFamily::Downgrade => {
            more.push(("plan", worker.policy.end.downgrade_to.clone().unwrap_or_default()));
            english::ENDED_DOWNGRADED
        }
    };
    (words, more)
}

fn line(deployment: &Deployment) -> String {
    let name = plain(&deployment.name);
    match &deployment.state {
        DeploymentState::Stopped(stop) | DeploymentState::Deleting(stop) => {
            fill(english::KEPT_UNTIL, &[("name", &name), ("until", &instant(stop.keep_until))])
        }
        DeploymentState::Deleted { at } => fill(english::DELETED_AT, &[("name", &name), ("at", &instant(*at))]),
        DeploymentState::Running { .. }
        | DeploymentState::Stopping { .. }
        | DeploymentState::Resuming
        | DeploymentState::Released { .. } => name,
    }
}

async fn post<M: Marketplace>(
    worker: &Worker<'_, M>,
    sender: &dyn Sender,
    message: &Message,
    letter: &Letter,
    contact: &str,
    id: &str,
    now: Timestamp,
) -> Result<(), WorkError> {
    let to = match message.audience {
        Audience::Buyer => vec![contact.to_owned()],
        Audience::Operators => worker.policy.messages.operator_addresses.clone(),
    };
    let mail = letter.packed(worker.policy, &to, id, now).map_err(MailError::from)?;
    Ok(sender.send(&mail).await?)
}

impl Tried for Message {
    fn attempts(&self) -> Attempts {
        self.attempts.clone()
    }
    fn with(&self, attempts: Attempts) -> Self {
        Self { attempts, ..self.clone() }
    }
    fn parked_with(&self, attempts: Attempts) -> Self {
        Self { attempts, status: MessageState::Parked, ..self.clone() }
    }
}
