//! The operations API: what is still open, what became of one, and the publisher's yes or no to it.

use serde_json::{Value, json};

use super::Desk;
use super::api::{Call, Reply};
use super::api_error::ApiError;
use super::instants::{later, seconds};
use super::payload::put;
use super::state::{Operation, OperationStatus, Source};

impl Desk<'_> {
    /// Only what is in progress, and that only after a while. Nothing is `{}`.
    pub(super) fn list_operations(&self, subscription: &str) -> Result<Reply, ApiError> {
        if !self.state.subscriptions.contains_key(subscription) {
            let documented = self.state.switches.as_documented;
            return if documented { Err(ApiError::NotFound) } else { Ok(Reply::json(json!({"operations": []}))) };
        }
        let delay = seconds(self.state.switches.list_delay_seconds);
        let all = self.state.operations.values();
        let of_it = all.filter(|one| one.subscription == subscription && one.is_open());
        let listed: Vec<Value> = of_it
            .filter(|one| later(one.created, delay) <= self.now)
            .map(|operation| self.operation_json(operation))
            .collect();
        Ok(Reply::json(if listed.is_empty() { json!({}) } else { json!({"operations": listed}) }))
    }

    pub(super) fn get_operation(&self, subscription: &str, id: &str) -> Result<Reply, ApiError> {
        let operation = self.operation(subscription, id)?;
        let failed = operation.status == OperationStatus::Failed;
        let mut json = self.operation_json(operation);
        put(&mut json, "operationRequestSource", json!(operation.source.as_str()));
        put(&mut json, "errorStatusCode", json!(if failed { "BadRequest" } else { "" }));
        put(&mut json, "errorMessage", json!(operation.error.as_deref().unwrap_or_default()));
        Ok(Reply::json(json))
    }

    /// `Success` or `Failure`, to what the buyer or Microsoft has started and nothing has settled yet.
    pub(super) fn patch_operation(&mut self, subscription: &str, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let operation = self.operation(subscription, id)?;
        let body = call.object()?;
        let accept = match body.get("status").and_then(Value::as_str) {
            Some("Success") => true,
            Some("Failure") => false,
            Some(_) | None => return Err(ApiError::bad("The status is Success or Failure.", "status")),
        };
        if operation.source == Source::Partner {
            return Err(ApiError::Server);
        }
        if !operation.is_open() {
            let documented = self.state.switches.as_documented;
            let sentence = "A newer update is already fulfilled.".to_owned();
            return Err(ApiError::Conflict(if documented { sentence } else { call.request_id.clone() }));
        }
        let plan_fits = body.get("planId").and_then(Value::as_str).is_none_or(|plan| plan == operation.plan);
        let quantity = body.get("quantity").and_then(Value::as_u64);
        if !plan_fits || quantity.is_some_and(|quantity| operation.quantity.map(u64::from) != Some(quantity)) {
            return Err(ApiError::bad("The plan or quantity is not the operation's.", "planId"));
        }
        if accept {
            self.settle(id);
        } else {
            self.refuse(id, "The publisher refused it.");
        }
        Ok(Reply::empty())
    }

    fn operation(&self, subscription: &str, id: &str) -> Result<&Operation, ApiError> {
        let found = self.state.operations.get(id).filter(|one| one.subscription == subscription);
        let unknown = if self.state.switches.as_documented {
            ApiError::NotFound
        } else {
            ApiError::bad("The operation is not known.", "operationId")
        };
        found.ok_or(unknown)
    }
}
