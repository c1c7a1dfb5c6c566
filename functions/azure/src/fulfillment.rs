//! The SaaS fulfillment and operations APIs, version 2 (Microsoft: SaaS fulfillment Subscription APIs; SaaS
//! fulfillment Operations APIs), and the metering API beside them, in [`metering`].
//!
//! Terms: *resolve* a landing token leads to a subscription; *activate* the publisher has set it up, billing starts;
//! *operation* a change Microsoft wants answered; *acknowledge* its answer. Every call carries the publisher's token
//! and fresh request and correlation ids, and leaves one line in the log with them: never a body, never a token.
//! A call refused for its token is tried once more with another one.
//!
//! What statuses mean is in [`error`], how answers read in [`subscription`] and [`operation`], and what is true after
//! an activation that did not plainly succeed in [`activation`].

pub mod activation;
pub mod error;
pub mod metering;
pub mod operation;
pub mod subscription;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tradepost::outbound::Outbound;
use url::Url;
use uuid::{Builder, Uuid};

use crate::fulfillment::error::{FulfillmentError, ResolveError, classify};
use crate::fulfillment::operation::{Operation, OperationId};
use crate::fulfillment::subscription::{MarketplaceSubscription, Plan, SubscriptionId};
use crate::publisher::{Publisher, below};
use crate::reading::Fields;
use crate::secret::Secret;

/// Where the marketplace's APIs are.
pub const MARKETPLACE_API: &str = "https://marketplaceapi.microsoft.com/api";
/// The version every call names.
pub const API_VERSION: &str = "2018-08-31";

/// The client.
pub struct Fulfillment {
    base: Url,
    publisher: Arc<Publisher>,
    outbound: Arc<Outbound>,
    random: fn() -> [u8; 32],
}

impl fmt::Debug for Fulfillment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fulfillment").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// The next page of a list, as Microsoft named it. Only the client makes one, after looking where it leads.
#[derive(Clone, PartialEq, Eq)]
pub struct Continuation(Url);

impl fmt::Debug for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Continuation(..)")
    }
}

impl Continuation {
    /// As text, for [`Fulfillment::continuation`].
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A page of the publisher's subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Those on it; at most 100, none on an empty page though more follow.
    pub subscriptions: Vec<MarketplaceSubscription>,
    /// How many on it did not read.
    pub unreadable: usize,
    /// The next page.
    pub next: Option<Continuation>,
}

/// One call before it has its token and ids.
struct Call<'a> {
    operation: &'static str,
    method: Method,
    url: Url,
    subscription: Option<SubscriptionId>,
    landing_token: Option<&'a HeaderValue>,
    body: Option<Value>,
}

impl Fulfillment {
    /// Of the APIs at `base` ([`MARKETPLACE_API`]). `random` makes the ids of requests.
    pub fn new(base: Url, publisher: Arc<Publisher>, outbound: Arc<Outbound>, random: fn() -> [u8; 32]) -> Self {
        Self { base, publisher, outbound, random }
    }

    /// Who stands behind a landing token: the token as it is after the query was decoded, exactly once. It is good for
    /// 24 hours, in every state of the subscription.
    pub async fn resolve(&self, token: &Secret) -> Result<MarketplaceSubscription, ResolveError> {
        let mut token = HeaderValue::from_str(token.expose()).map_err(|_| ResolveError::NotAToken)?;
        if token.is_empty() || !token.as_bytes().is_ascii() {
            return Err(ResolveError::NotAToken);
        }
        token.set_sensitive(true);
        let mut call = self.call("resolve", Method::POST, "saas/subscriptions/resolve")?;
        call.landing_token = Some(&token);
        let answer = self.send(call).await.map_err(ResolveError::of)?;
        let body = object(&answer)?;
        let fields = Fields::of(&body).ok_or(FulfillmentError::Unreadable("not an object"))?;
        let id = fields.guid("id").map(SubscriptionId::from);
        let id = id.ok_or(FulfillmentError::Unreadable("a resolved token without an id"))?;
        match fields.inner("subscription").and_then(MarketplaceSubscription::read) {
            Some(subscription) if subscription.id == id => Ok(subscription),
            Some(_) => Err(FulfillmentError::Unreadable("a resolved token with two ids").into()),
            None => Ok(self.subscription(id).await?),
        }
    }

    /// Tells Microsoft that the subscription is set up, with the plan and seats that were bought. Billing starts.
    /// [`Fulfillment::settle_activation`] also answers what is true when this does not succeed.
    pub async fn activate(
        &self,
        id: SubscriptionId,
        plan: &str,
        quantity: Option<u64>,
    ) -> Result<(), FulfillmentError> {
        let mut call = self.call("activate", Method::POST, &format!("saas/subscriptions/{id}/activate"))?.about(id);
        let mut body = json!({ "planId": plan });
        if let (Some(quantity), Value::Object(fields)) = (quantity, &mut body) {
            fields.insert("quantity".to_owned(), quantity.into());
        }
        call.body = Some(body);
        self.send(call).await.map(drop)
    }

    /// A subscription as it is now.
    pub async fn subscription(&self, id: SubscriptionId) -> Result<MarketplaceSubscription, FulfillmentError> {
        let call = self.call("get subscription", Method::GET, &format!("saas/subscriptions/{id}"))?.about(id);
        let body = object(&self.send(call).await?)?;
        let read = Fields::of(&body).and_then(MarketplaceSubscription::read);
        read.filter(|read| read.id == id).ok_or(FulfillmentError::Unreadable("not the subscription asked for"))
    }

    /// A page of all the publisher's subscriptions, 100 at a time; those unsubscribed stay on it for ever.
    pub async fn subscriptions(&self, from: Option<&Continuation>) -> Result<Page, FulfillmentError> {
        let mut call = self.call("list subscriptions", Method::GET, "saas/subscriptions")?;
        if let Some(Continuation(url)) = from {
            call.url = url.clone();
        }
        let body = list(&self.send(call).await?)?;
        let Some(fields) = Fields::of(&body) else {
            return Ok(Page { subscriptions: Vec::new(), unreadable: 0, next: None });
        };
        let items = fields.list("subscriptions");
        let subscriptions: Vec<_> =
            items.iter().filter_map(Fields::of).filter_map(MarketplaceSubscription::read).collect();
        let next = fields.text("@nextLink").map(|link| self.continuation(&link)).transpose()?;
        Ok(Page { unreadable: items.len().saturating_sub(subscriptions.len()), subscriptions, next })
    }

    /// The plans the buyer may have, the present one and private ones included; none if the subscription is unknown.
    pub async fn plans(&self, id: SubscriptionId) -> Result<Vec<Plan>, FulfillmentError> {
        let path = format!("saas/subscriptions/{id}/listAvailablePlans");
        let body = list(&self.send(self.call("list plans", Method::GET, &path)?.about(id)).await?)?;
        let plans = Fields::of(&body).map_or(&[][..], |fields| fields.list("plans"));
        Ok(plans.iter().filter_map(Fields::of).filter_map(Plan::read).collect())
    }

    /// One operation. Of unknown ids Microsoft says 404, and has been seen to say 400.
    pub async fn operation(&self, id: SubscriptionId, operation: OperationId) -> Result<Operation, FulfillmentError> {
        let path = format!("saas/subscriptions/{id}/operations/{operation}");
        let body = object(&self.send(self.call("get operation", Method::GET, &path)?.about(id)).await?)?;
        let read = Fields::of(&body).and_then(Operation::read);
        read.filter(|read| read.id == operation && read.subscription == id)
            .ok_or(FulfillmentError::Unreadable("not the operation asked for"))
    }

    /// The operations that wait for an answer. A new one may appear here with a delay.
    pub async fn operations(&self, id: SubscriptionId) -> Result<Vec<Operation>, FulfillmentError> {
        let path = format!("saas/subscriptions/{id}/operations");
        let body = list(&self.send(self.call("list operations", Method::GET, &path)?.about(id)).await?)?;
        let operations = Fields::of(&body).map_or(&[][..], |fields| fields.list("operations"));
        Ok(operations.iter().filter_map(Fields::of).filter_map(Operation::read).collect())
    }

    /// Accepts or refuses an operation, within 10 seconds of its webhook; after that it counts as accepted. 409, and
    /// in practice 400, 404 and 500 too, may mean that it is not open any more: read it again before believing so.
    pub async fn acknowledge(
        &self,
        id: SubscriptionId,
        operation: OperationId,
        accept: bool,
    ) -> Result<(), FulfillmentError> {
        let path = format!("saas/subscriptions/{id}/operations/{operation}");
        let mut call = self.call("acknowledge", Method::PATCH, &path)?.about(id);
        call.body = Some(json!({ "status": if accept { "Success" } else { "Failure" } }));
        self.send(call).await.map(drop)
    }

    /// Ends a subscription for good. The answer names the operation to watch; a webhook follows.
    pub async fn cancel(&self, id: SubscriptionId) -> Result<Option<OperationId>, FulfillmentError> {
        let call = self.call("cancel", Method::DELETE, &format!("saas/subscriptions/{id}"))?.about(id);
        let answer = self.send(call).await?;
        let location = answer.headers().get("operation-location").and_then(|value| value.to_str().ok());
        let last = location.and_then(|text| Url::parse(text).ok()).and_then(|url| {
            let last = url.path_segments()?.next_back()?;
            Uuid::try_parse(last).ok()
        });
        Ok(last.map(OperationId::from))
    }

    fn call(&self, operation: &'static str, method: Method, path: &str) -> Result<Call<'static>, FulfillmentError> {
        let mut url = Url::parse(&below(&self.base, path)).map_err(|_| FulfillmentError::Unmakeable)?;
        url.set_query(Some(&format!("api-version={API_VERSION}")));
        Ok(Call { operation, method, url, subscription: None, landing_token: None, body: None })
    }

    /// A link to the next page leads to the list itself, or the publisher's token would go somewhere else.
    ///
    /// # Errors
    /// If it leads elsewhere.
    pub fn continuation(&self, link: &str) -> Result<Continuation, FulfillmentError> {
        let elsewhere = FulfillmentError::Unreadable("a next link that leads elsewhere");
        let Ok(mut list) = Url::parse(&below(&self.base, "saas/subscriptions")) else { return Err(elsewhere) };
        let Ok(link) = list.join(link) else { return Err(elsewhere) };
        let same = link.origin() == list.origin()
            && link.path().trim_end_matches('/') == list.path()
            && link.username().is_empty()
            && link.password().is_none();
        if !same {
            return Err(elsewhere);
        }
        list.set_path(link.path());
        list.set_query(link.query());
        if !link.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case("api-version")) {
            list.query_pairs_mut().append_pair("api-version", API_VERSION);
        }
        Ok(Continuation(list))
    }

    /// Sends a call, once more if only its token was refused, and leaves its line in the log.
    async fn send(&self, call: Call<'_>) -> Result<Response<Bytes>, FulfillmentError> {
        let correlation = self.fresh_id();
        let mut tries = 0_u32;
        let (request, outcome) = loop {
            tries = tries.saturating_add(1);
            let request = self.fresh_id();
            let bearer = match self.publisher.bearer().await {
                Ok(bearer) => bearer,
                Err(error) => break (request, Err(FulfillmentError::from(error))),
            };
            let answer = match call.request(&bearer.header(), request, correlation) {
                Ok(sent) => self.outbound.send(sent).await.map_err(FulfillmentError::from),
                Err(error) => Err(error),
            };
            let again = match answer.as_ref().map(Response::status) {
                Ok(StatusCode::UNAUTHORIZED) => {
                    self.publisher.refused(&bearer).await;
                    true
                }
                Ok(StatusCode::FORBIDDEN) => self.publisher.forbidden(&bearer).await,
                Ok(_) | Err(_) => false,
            };
            if !again || tries > 1 {
                break (request, answer);
            }
        };
        let status = outcome.as_ref().ok().map(|answer| answer.status().as_u16());
        let outcome = outcome.and_then(|answer| classify(answer, self.publisher.now()));
        let said = outcome.as_ref().err().map_or("done", FulfillmentError::code);
        let subscription = call.subscription.map(tracing::field::display);
        let code = outcome.as_ref().err().and_then(FulfillmentError::marketplace_code);
        tracing::info!(operation = call.operation, outcome = said, status, code, tries, subscription,
            request_id = %request, correlation_id = %correlation, "asked the marketplace");
        outcome
    }

    /// A random GUID.
    fn fresh_id(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip((self.random)()).for_each(|(to, from)| *to = from);
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

impl Call<'_> {
    fn about(mut self, subscription: SubscriptionId) -> Self {
        self.subscription = Some(subscription);
        self
    }

    fn request(&self, bearer: &str, request: Uuid, correlation: Uuid) -> Result<Request<Vec<u8>>, FulfillmentError> {
        let mut bearer = HeaderValue::from_str(bearer).map_err(|_| FulfillmentError::Unmakeable)?;
        bearer.set_sensitive(true);
        let mut builder = Request::builder()
            .method(self.method.clone())
            .uri(self.url.as_str())
            .header("authorization", bearer)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("x-ms-requestid", request.to_string())
            .header("x-ms-correlationid", correlation.to_string());
        if let Some(token) = self.landing_token {
            builder = builder.header("x-ms-marketplace-token", token);
        }
        if self.body.is_none() && self.method == Method::POST {
            // Without it a server may answer 411; an empty body does not get it by itself.
            builder = builder.header("content-length", "0");
        }
        let body = self.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
        builder.body(body).map_err(|_| FulfillmentError::Unmakeable)
    }
}

/// The JSON of an answer that must have some.
fn object(answer: &Response<Bytes>) -> Result<Value, FulfillmentError> {
    serde_json::from_slice(answer.body()).map_err(|_| FulfillmentError::Unreadable("not JSON"))
}

/// The JSON of a list; an empty list may have no body at all.
fn list(answer: &Response<Bytes>) -> Result<Value, FulfillmentError> {
    if answer.body().trim_ascii().is_empty() { Ok(Value::Null) } else { object(answer) }
}
