//! Resolve, get, list and the plans: what a publisher may read. Activate and changes are in `updates_api`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Desk;
use super::api::{Call, Reply, VERSION};
use super::api_error::ApiError;
use super::instants::{later, seconds};
use super::listings::{Dimension, Plan, TermUnit};
use super::payload::put;

/// Subscriptions on a page of the list.
const PAGE: usize = 100;

impl Desk<'_> {
    /// Which purchase a landing token stands for. It resolves as often as asked, in every state of the subscription.
    pub(super) fn resolve(&mut self, call: &Call) -> Result<Reply, ApiError> {
        const HEADER: &str = "x-ms-marketplace-token";
        let token = call.header(HEADER).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| ApiError::bad("The marketplace token is missing.", HEADER))?;
        let life = seconds(self.state.switches.token_ttl_seconds);
        let known = self.state.tokens.get(token).filter(|known| self.now < later(known.issued, life));
        let subscription = known.and_then(|known| self.state.subscriptions.get(&known.subscription));
        let one = subscription.ok_or_else(|| ApiError::bad("The marketplace token is invalid or expired.", HEADER))?;
        let mut resolved = json!({
            "id": one.id,
            "subscriptionName": one.name,
            "offerId": one.offer,
            "planId": one.plan,
            "subscription": self.subscription_json(one),
        });
        if let Some(quantity) = one.quantity {
            put(&mut resolved, "quantity", json!(quantity));
        }
        Ok(Reply::json(resolved))
    }

    pub(super) fn get_subscription(&self, id: &str) -> Result<Reply, ApiError> {
        Ok(Reply::json(self.subscription_json(self.known(id)?)))
    }

    /// A hundred at a time, in the order of their ids. Nothing at all is a body of no bytes.
    pub(super) fn list_subscriptions(&self, call: &Call) -> Result<Reply, ApiError> {
        let all = &self.state.subscriptions;
        if all.is_empty() {
            return Ok(Reply::empty());
        }
        let after = match call.query.get("continuationToken") {
            None if self.state.switches.empty_pages => {
                return Ok(Reply::json(json!({"subscriptions": [], "@nextLink": self.next_link("")})));
            }
            None => String::new(),
            Some(token) => {
                let read = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                read.and_then(|text| text.strip_prefix("after:").map(str::to_owned))
                    .ok_or_else(|| ApiError::bad("The continuation token is invalid.", "continuationToken"))?
            }
        };
        let mut rest = all.values().filter(|one| one.id > after).peekable();
        let page: Vec<_> = rest.by_ref().take(PAGE).collect();
        let mut answer =
            json!({"subscriptions": page.iter().map(|one| self.subscription_json(one)).collect::<Vec<_>>()});
        if let (Some(last), Some(_)) = (page.last(), rest.peek()) {
            put(&mut answer, "@nextLink", json!(self.next_link(&last.id)));
        }
        Ok(Reply::json(answer))
    }

    fn next_link(&self, after: &str) -> String {
        let token = STANDARD.encode(format!("after:{after}"));
        let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let base = &self.config.api_url;
        format!("{base}/api/saas/subscriptions?continuationToken={token}&api-version={VERSION}")
    }

    /// An unknown subscription has a body of no bytes, not 404.
    pub(super) fn available_plans(&self, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let Some(one) = self.state.subscriptions.get(id) else { return Ok(Reply::empty()) };
        let wanted = call.query.get("planId");
        let plans = self.offer(&one.offer).map(|offer| offer.plans.as_slice()).unwrap_or_default();
        let listed = plans.iter().filter(|plan| wanted.is_none_or(|wanted| *wanted == plan.id));
        Ok(Reply::json(json!({"plans": listed.map(plan_json).collect::<Vec<_>>()})))
    }
}

fn plan_json(plan: &Plan) -> Value {
    let included = |one: &Dimension| Some(json!({"dimensionId": one.id, "units": one.included?.to_string()}));
    let dimension =
        |one: &Dimension| json!({"id": one.id, "currency": "USD", "unitOfMeasure": one.unit, "displayName": one.unit});
    let term = |term: &TermUnit| {
        json!({
            "currency": "USD",
            "price": plan.price(*term).parse::<f64>().unwrap_or_default(),
            "termUnit": term.as_str(),
            "termDescription": term.words(),
            "meteredQuantityIncluded": plan.dimensions.iter().filter_map(included).collect::<Vec<_>>(),
        })
    };
    let mut json = json!({
        "planId": plan.id,
        "displayName": plan.name,
        "isPrivate": plan.private,
        "description": plan.description,
        "hasFreeTrials": false,
        "isPricePerSeat": plan.seats.is_some(),
        "isStopSell": false,
        "market": "US",
        "planComponents": {
            "recurrentBillingTerms": plan.terms.iter().map(term).collect::<Vec<_>>(),
            "meteringDimensions": plan.dimensions.iter().map(dimension).collect::<Vec<_>>(),
        },
        "sourceOffers": [],
    });
    if let Some(seats) = plan.seats {
        put(&mut json, "minQuantity", json!(seats.min));
        put(&mut json, "maxQuantity", json!(seats.max));
    }
    json
}
