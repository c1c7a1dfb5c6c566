//! What Microsoft tells of a purchase, told late and in every order: the end is the same, and it is how the purchase
//! stands at Microsoft.
//!
//! A story happens to a purchase of its own, linked to an organization of its own. Its webhooks are recorded, every one
//! answered 200, so that changes count as accepted; only then are they delivered in the order under test, each of them
//! twice: at once, or all of them once more the other way round. Covered, in each [`Shape`]:
//!
//! * every order of four stories: one that goes on (plan, seats, suspended, reinstated, renewed), one that is suspended
//!   again, one that ends, and one nobody has landed with;
//!
//! and, in full and in mixed shapes, every ordered pair of everything Microsoft tells, `Transfer` and an action nobody
//! knows among it, after all the rest: of a purchase that ends, and of one that goes on and nobody has landed with.
//!
//! What is compared: the subscription's state and terms, link, slot, status and the deployment, with times left out; and
//! state and terms with Microsoft's own word.

use anyhow::{Context, ensure};
use http::StatusCode;
use serde_json::{Value, json};
use tradepost::deployment::Deployment;
use tradepost::landing::Resolved;
use tradepost::link::connect::Connected;
use tradepost::link::{Link, LinkState, Slot};
use tradepost::marketplace::Standing;
use tradepost::status::Status;
use tradepost::subscription::{State, SubscriptionKey, Terms};
use tradepost_azure::landing::resolved;
use tradepost_local::azure_marketplace::WebhookCall;

use super::Outcome;
use super::market::{Azure, overlaid};

/// How a webhook is written (Microsoft has published all of these).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Everything.
    Full,
    /// Ids, time and action.
    Slim,
    /// Without the subscription.
    Bare,
    /// Quantities as text, and a reinstatement is two fields without an id.
    Old,
    /// Each webhook of a story in another one of these, the two fields for any action.
    Mixed,
}

/// What happens, one thing after the other; the plan is activated by Microsoft itself where `Subscribe` is told.
struct Story {
    plan: &'static str,
    linked: bool,
    acts: &'static [&'static str],
}

const GOES_ON: Story =
    Story { plan: "team", linked: true, acts: &["ChangePlan", "ChangeQuantity", "Suspend", "Reinstate", "Renew"] };
const SUSPENDED_AGAIN: Story =
    Story { plan: "swift", linked: true, acts: &["Subscribe", "Suspend", "Reinstate", "Suspend"] };
const PAID_AGAIN: Story = Story { plan: "swift", linked: false, acts: &["Subscribe", "Suspend", "Reinstate"] };
const ENDS: Story =
    Story { plan: "team", linked: true, acts: &["ChangeQuantity", "Suspend", "Reinstate", "Unsubscribe"] };
const EVERYTHING: Story = Story {
    plan: "swift",
    linked: true,
    acts: &[
        "Subscribe",
        "ChangePlan",
        "ChangeQuantity",
        "Renew",
        "Suspend",
        "Reinstate",
        "Transfer",
        "Levitate",
        "Unsubscribe",
    ],
};
const NOBODY_LANDED: Story = Story {
    plan: "swift",
    linked: false,
    acts: &["Subscribe", "ChangePlan", "ChangeQuantity", "Renew", "Suspend", "Reinstate", "Transfer", "Levitate"],
};

/// Everything known in the end, without times.
#[derive(Clone, Debug, PartialEq)]
struct End {
    state: Value,
    terms: Option<Terms>,
    account: String,
    product: String,
    link: Option<(Value, u64)>,
    slot: Option<(u64, bool)>,
    status: Option<Value>,
    deployment: Vec<Value>,
}

#[tokio::test]
async fn every_order_in_full() -> Outcome {
    every_order(Shape::Full).await
}

#[tokio::test]
async fn every_order_slim() -> Outcome {
    every_order(Shape::Slim).await
}

#[tokio::test]
async fn every_order_without_the_subscription() -> Outcome {
    every_order(Shape::Bare).await
}

#[tokio::test]
async fn every_order_as_in_old_examples() -> Outcome {
    every_order(Shape::Old).await
}

#[tokio::test]
async fn every_order_in_mixed_shapes() -> Outcome {
    every_order(Shape::Mixed).await
}

#[tokio::test]
async fn every_pair_last() -> Outcome {
    every_pair(&EVERYTHING).await
}

#[tokio::test]
async fn every_pair_last_where_nobody_landed() -> Outcome {
    every_pair(&NOBODY_LANDED).await
}

async fn every_order(shape: Shape) -> Outcome {
    for story in [&PAID_AGAIN, &SUSPENDED_AGAIN, &ENDS, &GOES_ON] {
        the_same_in_all(story, &[shape], &permutations(story.acts.len())).await?;
    }
    Ok(())
}

async fn every_pair(story: &Story) -> Outcome {
    let count = story.acts.len();
    let pairs = (0..count).flat_map(|one| (0..count).map(move |other| (one, other)));
    let orders: Vec<Vec<usize>> = pairs
        .filter(|(one, other)| one != other)
        .map(|(one, other)| {
            let rest = (0..count).filter(|place| *place != one && *place != other);
            rest.chain([one, other]).collect()
        })
        .collect();
    the_same_in_all(story, &[Shape::Full, Shape::Mixed], &orders).await
}

/// Every order ends as hearing of everything at once and in full does.
async fn the_same_in_all(story: &Story, shapes: &[Shape], orders: &[Vec<usize>]) -> Outcome {
    // A simulated marketplace with many purchases is a slow one.
    for some in orders.chunks(24) {
        let azure = Azure::new("").await?;
        let expected = heard_at_once(&azure, story).await?;
        for (order, shape) in some.iter().flat_map(|order| shapes.iter().map(move |shape| (order, *shape))) {
            let told: Vec<&str> = order.iter().filter_map(|place| story.acts.get(*place).copied()).collect();
            let end = replayed(&azure, story, shape, order).await.with_context(|| format!("{shape:?} {told:?}"))?;
            ensure!(end == expected, "{shape:?} {told:?}: {end:#?} instead of {expected:#?}");
        }
    }
    Ok(())
}

async fn heard_at_once(azure: &Azure, story: &Story) -> anyhow::Result<End> {
    let (id, organization) = bought(azure, story).await?;
    let mut last = Value::Null;
    for (number, act) in story.acts.iter().enumerate() {
        for call in happens(azure, &id, number, act, &mut last).await? {
            told(azure, &call, 0).await?;
            azure.market.answered(&call.id, Some(200));
        }
        azure.world.sleep(60);
    }
    end(azure, &id, organization.as_deref()).await
}

async fn replayed(azure: &Azure, story: &Story, shape: Shape, order: &[usize]) -> anyhow::Result<End> {
    let (id, organization) = bought(azure, story).await?;
    let mut calls = Vec::new();
    let mut last = Value::Null;
    for (number, act) in story.acts.iter().enumerate() {
        let told = happens(azure, &id, number, act, &mut last).await?;
        ensure!(told.len() == 1, "{act} is told {} times", told.len());
        for call in told {
            azure.market.answered(&call.id, Some(200));
            calls.push(WebhookCall { body: shaped(&call.body, shape, number)?, ..call });
        }
        // What Microsoft waits for is settled by itself after ten seconds.
        azure.world.sleep(60);
    }
    let at_once = order.first() < order.last();
    let times: Vec<&usize> = if at_once {
        order.iter().flat_map(|place| [place, place]).collect()
    } else {
        order.iter().chain(order.iter().rev()).collect()
    };
    for (time, place) in times.into_iter().enumerate() {
        told(azure, calls.get(*place).context("a call")?, time).await?;
    }
    end(azure, &id, organization.as_deref()).await
}

async fn told(azure: &Azure, call: &WebhookCall, time: usize) -> Outcome {
    // Nothing but the operation's id says that it is the same one again.
    let again = WebhookCall { id: format!("{}-{time}", call.id), ..call.clone() };
    let answered = azure.deliver(&again).await?;
    ensure!(answered.status == StatusCode::OK, "{}: {answered:?}", call.summary);
    let late = answered.outcome.contains("later") || answered.outcome.contains("parked");
    ensure!(!late, "{}: {}", call.summary, answered.outcome);
    Ok(())
}

async fn bought(azure: &Azure, story: &Story) -> anyhow::Result<(String, Option<String>)> {
    let (id, token) = azure.bought(json!({"offer": "emqx-cloud", "plan": story.plan, "quantity": 20})).await?;
    if !story.linked {
        return Ok((id, None));
    }
    let (owner, organization) = azure.founded().await?;
    let connected = azure.link_to(&token, owner, &organization).await?;
    ensure!(matches!(connected, Connected::Linked { .. }), "{connected:?}");
    Ok((id, Some(organization)))
}

/// Lets it happen at Microsoft; what is told of it. `last` is the last webhook's body.
async fn happens(
    azure: &Azure,
    id: &str,
    number: usize,
    act: &str,
    last: &mut Value,
) -> anyhow::Result<Vec<WebhookCall>> {
    let (call, body) = match act {
        "Subscribe" => ("", Value::Null),
        "ChangePlan" => ("change-plan", json!({"subscription": id, "plan": "company"})),
        "ChangeQuantity" => ("change-quantity", json!({"subscription": id, "quantity": 30})),
        "Renew" => ("renew", json!({"subscription": id})),
        "Suspend" => ("suspend", json!({"subscription": id})),
        "Reinstate" => ("reinstate", json!({"subscription": id})),
        "Unsubscribe" => ("cancel", json!({"subscription": id})),
        other => {
            // Like the webhook before it, but for its own id, time and action: of an operation nobody can look up.
            let own = format!("{number:08}{}", id.get(8..).unwrap_or_default());
            let own = json!({
                "id": own, "activityId": own, "action": other, "status": "Succeeded",
                "timeStamp": azure.world.now().to_string(),
            });
            ("send", json!({"body": overlaid(last.clone(), own)}))
        }
    };
    if !call.is_empty() {
        azure.sim(call, body).await?;
    }
    let calls = azure.market.take_due();
    if let Some(call) = calls.last() {
        *last = serde_json::from_str(&call.body)?;
    }
    Ok(calls)
}

fn shaped(body: &str, shape: Shape, number: usize) -> anyhow::Result<String> {
    let mut body: Value = serde_json::from_str(body)?;
    let shape = match (shape, number % 5) {
        (Shape::Mixed, 0) => Shape::Bare,
        (Shape::Mixed, 1) => Shape::Full,
        (Shape::Mixed, 2 | 3) => Shape::Slim,
        (other, _) => other,
    };
    let members = body.as_object_mut().context("an object")?;
    match shape {
        Shape::Full => {}
        Shape::Slim => {
            let kept = ["id", "activityId", "operationRequestSource", "subscriptionId", "timeStamp", "action"];
            members.retain(|name, _| kept.contains(&name.as_str()));
        }
        Shape::Bare => {
            members.remove("subscription");
        }
        Shape::Old if members.get("action") != Some(&json!("Reinstate")) => {
            let text = members.get("quantity").and_then(Value::as_u64).map(|one| one.to_string());
            members.insert("quantity".to_owned(), json!(text.unwrap_or_default()));
        }
        Shape::Old | Shape::Mixed => {
            let (subscription, action) = (members.get("subscriptionId").cloned(), members.get("action").cloned());
            body = json!({"subscriptionId": subscription, "operationType": action});
        }
    }
    Ok(body.to_string())
}

/// What is known in the end, and that Microsoft says the same.
async fn end(azure: &Azure, id: &str, organization: Option<&str>) -> anyhow::Result<End> {
    let ledger = azure.world.ledger();
    let found = azure.subscription(id).await?;
    let theirs: Resolved = resolved(&azure.marketplace.fulfillment.subscription(id.parse()?).await?);
    let same = match (&found.state, theirs.standing) {
        (State::Active { .. }, Standing::Live) | (State::Suspended { .. }, Standing::Suspended) => true,
        (State::Ended { reason, .. }, Standing::Ended(told)) => *reason == told,
        _ => false,
    };
    ensure!(same, "{:?}, and Microsoft says {:?}", found.state, theirs.standing);
    ensure!(found.terms == theirs.terms, "{:?}, and Microsoft says {:?}", found.terms, theirs.terms);
    let key = SubscriptionKey::Azure { id: id.to_owned() };
    let link = ledger.get::<Link>(&Link::row_key(&key)).await?;
    let mut known = End {
        state: timeless(json!(found.state)),
        // Purchases of different days end on different days; Microsoft's word on it has been compared.
        terms: found.terms.map(|terms| Terms { ends_at: None, ..terms }),
        account: found.account,
        product: found.product,
        link: link.map(|row| (timeless(json!(row.doc.state)), row.doc.generation)),
        slot: None,
        status: None,
        deployment: Vec::new(),
    };
    let Some(organization) = organization else { return Ok(known) };
    let link = ledger.get::<Link>(&Link::row_key(&key)).await?.context("a link")?;
    let slot = ledger.get::<Slot>(&Slot::row_key(organization)).await?.context("a slot")?;
    ensure!(link.doc.state.is_active() == slot.doc.active.is_some(), "{link:?} {slot:?}");
    ensure!(link.doc.slot_version == slot.version || matches!(link.doc.state, LinkState::Unlinked { .. }), "{slot:?}");
    let status = ledger.get::<Status>(&Status::row_key(organization)).await?.context("a status")?;
    let shown = timeless(json!(status.doc));
    let control_plane = &azure.world.stack.work.control_plane;
    let list = control_plane.list_deployments(organization, None, azure.world.now()).await?;
    for listed in list.items {
        let row = ledger.get::<Deployment>(&Deployment::row_key(organization, &listed.id)).await?;
        let ours = row.map(|row| row.doc.state.name());
        known.deployment.push(json!([format!("{:?}", listed.state), ours]));
    }
    known.slot = Some((slot.doc.generation, slot.doc.active.is_some()));
    known.status = Some(shown);
    Ok(known)
}

/// The same without its instants, and without whose it is.
fn timeless(mut value: Value) -> Value {
    let left_out = ["at", "since", "updated_at", "ended_at", "organization", "organization_name"];
    if let Some(members) = value.as_object_mut() {
        members.retain(|name, _| !left_out.contains(&name.as_str()));
    }
    value
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for thing in 0..count {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, thing);
                    longer
                })
            })
            .collect();
    }
    all
}
