//! The test bench: `POST /sim/<name>` with a JSON object does what no buyer can, `GET /sim/state` shows everything,
//! `GET /sim/usage/<subscription>` what is billed by usage.
//!
//! A call is answered 200 with a JSON object, 400 when it cannot be read, 404 when its name or subscription is not
//! known and 409 when the marketplace refuses. An object may be left out where nothing in it is required. The name of
//! a switch is a call as well: `{"value": ...}` sets it; `switches` sets several.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tradepost::usage::Quantity;

use super::buyer::Person;
use super::credential::Credential;
use super::instants::{midnight, precise, whole};
use super::lifecycle::{Change, Order, Refusal};
use super::listings::TermUnit;
use super::metering::Event;
use super::metering_api::instant;
use super::state::Source;
use super::usage_report::{Recon, Verdict};
use super::{AzureMarketplace, Desk, bill};

pub(super) fn router(market: AzureMarketplace) -> Router {
    Router::new()
        .route("/sim/state", get(show))
        .route("/sim/{name}", post(act))
        .route("/sim/usage/{id}", get(bill::told))
        .with_state(market)
}

/// Why the bench did not do it.
enum Failure {
    Unreadable(String),
    UnknownName,
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Unreadable(error) => (StatusCode::BAD_REQUEST, error),
            Self::UnknownName => (StatusCode::NOT_FOUND, "There is no such call.".to_owned()),
            Self::Refused(refusal @ (Refusal::UnknownOffer | Refusal::UnknownPlan | Refusal::UnknownSubscription)) => {
                (StatusCode::NOT_FOUND, refusal.sentence().to_owned())
            }
            Self::Refused(refusal) => (StatusCode::CONFLICT, refusal.sentence().to_owned()),
        };
        (status, Json(json!({"error": error}))).into_response()
    }
}

#[derive(Deserialize)]
struct Purchase {
    offer: String,
    plan: Option<String>,
    quantity: Option<u32>,
    term: Option<TermUnit>,
    #[serde(default = "yes")]
    auto_renew: bool,
    buyer: Option<String>,
    #[serde(default)]
    resold: bool,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    subscription: String,
}

#[derive(Deserialize)]
struct ChangePlan {
    subscription: String,
    plan: String,
}

#[derive(Deserialize)]
struct ChangeQuantity {
    subscription: String,
    quantity: u32,
}

#[derive(Deserialize)]
struct AutoRenew {
    subscription: String,
    on: bool,
}

#[derive(Deserialize)]
struct Rotate {
    #[serde(default)]
    forget_old: bool,
}

/// A webhook nobody caused: any body, any credential.
#[derive(Deserialize)]
struct Send {
    body: Value,
    #[serde(default = "genuine")]
    credential: Credential,
}

/// A webhook that would be believed but for its credential.
#[derive(Deserialize)]
struct Forge {
    subscription: String,
    credential: Credential,
    #[serde(default = "unsubscribe")]
    action: String,
}

#[derive(Deserialize)]
struct Hold {
    on: bool,
}

#[derive(Deserialize)]
struct Release {
    #[serde(default)]
    count: Option<usize>,
}

/// Usage that somebody else told in the publisher's name.
#[derive(Deserialize)]
struct Meter {
    subscription: String,
    dimension: String,
    plan: String,
    quantity: String,
    at: Option<Timestamp>,
}

/// What the marketplace makes of a day's usage.
#[derive(Deserialize)]
struct Reconcile {
    /// `2026-11-20`.
    day: String,
    status: Recon,
    /// So much less of every row is processed.
    lower_by: Option<String>,
}

#[derive(Deserialize)]
struct One {
    value: Value,
}

async fn show(State(market): State<AzureMarketplace>) -> Response {
    let (now, next_due, mut state) =
        market.desk(|desk| (desk.now, desk.next_due().into_iter().chain(desk.next_timer()).min(), json!(desk.state)));
    if let Some(members) = state.as_object_mut() {
        members.insert("now".to_owned(), json!(now));
        members.insert("next_due".to_owned(), json!(next_due));
    }
    Json(state).into_response()
}

async fn act(State(market): State<AzureMarketplace>, Path(name): Path<String>, body: Bytes) -> Response {
    let read = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(&body) };
    let done = read
        .map_err(|error| Failure::Unreadable(error.to_string()))
        .and_then(|input: Value| market.desk(|desk| desk.act(&name, input)));
    match done {
        Ok(answer) => Json(answer).into_response(),
        Err(failure) => failure.into_response(),
    }
}

impl Desk<'_> {
    fn act(&mut self, name: &str, input: Value) -> Result<Value, Failure> {
        match name {
            "purchase" => return self.order(read(input)?),
            "configure" => return self.landing(&read::<Named>(input)?.subscription),
            "cancel" => self.end(&read::<Named>(input)?.subscription, Source::Azure)?,
            "suspend" => self.suspend(&read::<Named>(input)?.subscription)?,
            "reinstate" => self.reinstate(&read::<Named>(input)?.subscription)?,
            "renew" => self.renew(&read::<Named>(input)?.subscription)?,
            "change-plan" => {
                let ChangePlan { subscription, plan } = read(input)?;
                return Ok(json!({"operation": self.change(&subscription, &Change::Plan(plan))?}));
            }
            "change-quantity" => {
                let ChangeQuantity { subscription, quantity } = read(input)?;
                return Ok(json!({"operation": self.change(&subscription, &Change::Seats(quantity))?}));
            }
            "auto-renew" => {
                let AutoRenew { subscription, on } = read(input)?;
                self.set_auto_renew(&subscription, on)?;
            }
            "rotate-keys" => self.keys.rotate(read::<Rotate>(input)?.forget_old),
            "send" => {
                let Send { body, credential } = read(input)?;
                let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                self.queue(None, credential, "Sent by hand".to_owned(), body);
            }
            "forge" => self.forge(read(input)?)?,
            "hold" => {
                self.state.outbox.held = read::<Hold>(input)?.on;
                self.state.outbox.let_through = 0;
            }
            "release" => match read::<Release>(input)?.count {
                Some(count) => self.state.outbox.let_through = count,
                None => self.state.outbox.held = false,
            },
            "foreign" => {
                let id = self.state.identifiers.guid();
                self.state.metering.foreign.insert(id.clone());
                return Ok(json!({"subscription": id}));
            }
            "meter" => return self.meter_for_somebody(read(input)?),
            "reconcile" => self.reconcile(&read(input)?)?,
            "switches" => return self.set_switches(input),
            switch => {
                let switch = switch.replace('-', "_");
                if json!(self.state.switches).get(&switch).is_none() {
                    return Err(Failure::UnknownName);
                }
                return self.set_switches(json!({switch: read::<One>(input)?.value}));
            }
        }
        Ok(json!({"done": name}))
    }

    fn order(&mut self, wanted: Purchase) -> Result<Value, Failure> {
        let offer = self.offer(&wanted.offer).ok_or(Refusal::UnknownOffer)?;
        let plan = wanted.plan.or_else(|| offer.plans.first().map(|plan| plan.id.clone())).unwrap_or_default();
        let key = wanted.buyer.unwrap_or_else(|| "ana".to_owned());
        let buyer = Person::find(&key).ok_or_else(|| Failure::Unreadable("There is no such buyer.".to_owned()))?;
        let id = self.purchase(Order {
            offer: wanted.offer,
            plan,
            quantity: wanted.quantity,
            term: wanted.term.unwrap_or(TermUnit::P1M),
            auto_renew: wanted.auto_renew,
            buyer,
            resold: wanted.resold,
            name: wanted.name.unwrap_or_else(|| offer.title.clone()),
            resource_group: "simulated".to_owned(),
            tags: Vec::new(),
        })?;
        self.landing(&id)
    }

    /// A fresh token and the address it is carried to.
    fn landing(&mut self, id: &str) -> Result<Value, Failure> {
        let offer = self.known(id)?.offer.clone();
        let offer = self.offer(&offer).ok_or(Refusal::UnknownOffer)?;
        let token = self.state.issue_token(id, self.now);
        Ok(json!({"subscription": id, "url": offer.landing(&token), "token": token}))
    }

    fn forge(&mut self, wanted: Forge) -> Result<(), Failure> {
        let one = self.known(&wanted.subscription)?;
        let (plan, offer) = (one.plan.clone(), one.offer.clone());
        let id = self.state.identifiers.guid();
        let body = json!({
            "id": id, "activityId": id, "publisherId": self.config.publisher_id, "offerId": offer, "planId": plan,
            "subscriptionId": wanted.subscription, "timeStamp": precise(self.now), "action": wanted.action,
            "status": "Succeeded", "operationRequestSource": "Azure",
        });
        let summary = format!("Forged {} of {}", wanted.action, wanted.subscription);
        self.queue(None, wanted.credential, summary, body.to_string());
        Ok(())
    }

    /// Answers with the status of the event.
    fn meter_for_somebody(&mut self, told: Meter) -> Result<Value, Failure> {
        let event = Event {
            resource: Some(told.subscription),
            dimension: Some(told.dimension),
            plan: Some(told.plan),
            at: Some(told.at.unwrap_or(self.now)),
            quantity: Quantity::parse(&told.quantity).ok(),
        };
        let status = match self.meter(&event) {
            Ok(_) => "Accepted",
            Err(refused) => refused.status(),
        };
        Ok(json!({"status": status}))
    }

    fn reconcile(&mut self, wanted: &Reconcile) -> Result<(), Failure> {
        let wrong = |what: &str| Failure::Unreadable(format!("{what} does not read."));
        let day = instant(&wanted.day).ok_or_else(|| wrong("The day"))?;
        let lower_by = wanted.lower_by.as_deref().map(Quantity::parse).transpose();
        let lower_by = lower_by.map_err(|_| wrong("The quantity"))?.unwrap_or_default();
        self.state.metering.verdicts.insert(whole(midnight(day)), Verdict { status: wanted.status, lower_by });
        Ok(())
    }

    /// Changes the switches that are named and answers with all of them.
    fn set_switches(&mut self, input: Value) -> Result<Value, Failure> {
        let mut all: Map<String, Value> = read(json!(self.state.switches))?;
        all.extend(read::<Map<String, Value>>(input)?);
        self.state.switches = read(Value::Object(all))?;
        Ok(json!(self.state.switches))
    }
}

fn read<T: DeserializeOwned>(input: Value) -> Result<T, Failure> {
    serde_json::from_value(input).map_err(|error| Failure::Unreadable(error.to_string()))
}

fn yes() -> bool {
    true
}

fn genuine() -> Credential {
    Credential::Genuine
}

fn unsubscribe() -> String {
    "Unsubscribe".to_owned()
}
