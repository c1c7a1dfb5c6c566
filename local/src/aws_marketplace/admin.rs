//! The test bench: `POST /sim/<name>` with a JSON object does what no buyer can, `GET /sim/state` shows everything, and
//! `GET /sim/bills` what is billed for each licence.
//!
//! A call is answered 200 with a JSON object, 400 when it cannot be read, 404 when its name or agreement is not
//! known and 409 when the marketplace refuses. An object may be left out where nothing in it is required.

use std::collections::BTreeMap;

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

use super::bill::Bill;
use super::buyer::is_account;
use super::lifecycle::{Order, Refusal};
use super::renewal::Renewal;
use super::signals::Spend;
use super::state::{Entitled, Status};
use super::{AwsMarketplace, Desk};

pub(super) fn router(market: AwsMarketplace) -> Router {
    Router::new()
        .route("/sim/state", get(show))
        .route("/sim/bills", get(bills))
        .route("/sim/{name}", post(act))
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
            Self::Refused(refusal @ (Refusal::UnknownProduct | Refusal::UnknownAgreement)) => {
                (StatusCode::NOT_FOUND, refusal.sentence().to_owned())
            }
            Self::Refused(refusal) => (StatusCode::CONFLICT, refusal.sentence().to_owned()),
        };
        (status, Json(json!({"error": error}))).into_response()
    }
}

#[derive(Deserialize)]
struct Accept {
    product: String,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    offer_type: Option<String>,
    #[serde(default)]
    quantity: Option<u32>,
    #[serde(default)]
    starts: Option<Timestamp>,
    #[serde(default)]
    reseller: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    agreement: String,
}

#[derive(Deserialize)]
struct Renew {
    agreement: String,
    #[serde(flatten)]
    how: Renewal,
}

#[derive(Deserialize)]
struct Account {
    account: String,
}

#[derive(Deserialize)]
struct FailPayment {
    #[serde(default = "one")]
    times: u32,
}

#[derive(Deserialize)]
struct Advisory {
    agreement: String,
    #[serde(default)]
    resolved: bool,
}

#[derive(Deserialize)]
struct SpendThreshold {
    agreement: String,
    #[serde(default)]
    outcome: Spend,
}

#[derive(Deserialize)]
struct Ending {
    agreement: String,
    #[serde(default = "thirty")]
    days: u32,
}

#[derive(Deserialize)]
struct Granted {
    agreement: String,
    #[serde(flatten)]
    row: Entitled,
}

#[derive(Deserialize)]
struct Send {
    body: Value,
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

async fn show(State(market): State<AwsMarketplace>) -> Response {
    let mut state = market.save();
    let (now, next_due) = market.desk(|desk| (desk.now, desk.next_due()));
    if let Some(members) = state.as_object_mut() {
        members.insert("now".to_owned(), json!(now));
        members.insert("next_due".to_owned(), json!(next_due));
    }
    Json(state).into_response()
}

async fn bills(State(market): State<AwsMarketplace>) -> Response {
    let of = |desk: &mut Desk<'_>| {
        desk.state.licences.values().map(|licence| (licence.arn.clone(), desk.bill(licence))).collect()
    };
    let bills: BTreeMap<String, Bill> = market.desk(of);
    Json(bills).into_response()
}

async fn act(State(market): State<AwsMarketplace>, Path(name): Path<String>, body: Bytes) -> Response {
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
        let now = self.now;
        match name {
            "accept" => return self.accept_order(read(input)?),
            "token" => {
                let licence = self.known_agreement(&read::<Named>(input)?.agreement)?.licence;
                return Ok(json!({"token": self.state.issue_token(&licence, now)}));
            }
            "bill" => {
                let agreement = self.known_agreement(&read::<Named>(input)?.agreement)?;
                let bill = self.state.licences.get(&agreement.licence).map(|licence| self.bill(licence));
                return Ok(json!(bill.unwrap_or_default()));
            }
            "cancel" => self.end(&read::<Named>(input)?.agreement, Status::Cancelled, now)?,
            "terminate" => self.end(&read::<Named>(input)?.agreement, Status::Terminated, now)?,
            "expire" => self.end(&read::<Named>(input)?.agreement, Status::Expired, now)?,
            "amend" => self.amend(read(input)?)?,
            "renew" | "replace" => {
                let Renew { agreement, mut how } = read(input)?;
                how.replace |= name == "replace";
                let agreement = self.renew(&agreement, &how, now)?;
                return self.purchase(&agreement);
            }
            "entitlements" => {
                let granted: Granted = read(input)?;
                self.set_entitlement(&granted.agreement, granted.row)?;
            }
            "suspend-buyer" => {
                self.state.suspended.insert(read::<Account>(input)?.account);
            }
            "resume-buyer" => {
                self.state.suspended.remove(&read::<Account>(input)?.account);
            }
            "fail-payment" => self.state.payments_to_fail = read::<FailPayment>(input)?.times,
            "advisory" => {
                let advisory: Advisory = read(input)?;
                self.advise(&advisory.agreement, advisory.resolved)?;
            }
            "spend-threshold" => {
                let spend: SpendThreshold = read(input)?;
                self.report_spend(&spend.agreement, spend.outcome)?;
            }
            "ending" => {
                let ending: Ending = read(input)?;
                self.warn_of_end(&ending.agreement, ending.days)?;
            }
            "send" => {
                let body = read::<Send>(input)?.body;
                let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                self.schedule(now, "sent by hand".to_owned(), text, None);
            }
            "hold" => {
                self.state.outbox.held = read::<Hold>(input)?.on;
                self.state.outbox.let_through = 0;
            }
            "release" => match read::<Release>(input)?.count {
                Some(count) => self.state.outbox.let_through = count,
                None => self.state.outbox.held = false,
            },
            "switches" => return self.set_switches(input),
            _ => return Err(Failure::UnknownName),
        }
        Ok(json!({"done": name}))
    }

    fn accept_order(&mut self, accept: Accept) -> Result<Value, Failure> {
        let account = accept.account.unwrap_or_else(|| "210987654321".to_owned());
        if !is_account(&account) {
            return Err(Failure::Unreadable("An AWS account ID is twelve digits.".to_owned()));
        }
        let agreement = self.accept(&Order {
            product: accept.product,
            account,
            free_trial: accept.offer_type.as_deref() == Some("free-trial"),
            quantity: accept.quantity,
            starts: accept.starts,
            reseller: accept.reseller,
        })?;
        self.purchase(&agreement)
    }

    fn purchase(&mut self, agreement: &str) -> Result<Value, Failure> {
        let agreement = self.known_agreement(agreement)?;
        let token = self.state.issue_token(&agreement.licence, self.now);
        Ok(json!({"agreement": agreement.id, "licence": agreement.licence, "token": token}))
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

fn one() -> u32 {
    1
}

fn thirty() -> u32 {
    30
}

#[cfg(test)]
mod tests;
