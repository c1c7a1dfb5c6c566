//! Activate, change of plan or seats, and DELETE: what a publisher may do to a subscription.
//!
//! Changes and DELETE are only taken note of (202); they happen seconds later, and the webhook tells when.

use serde_json::Value;

use super::Desk;
use super::api::{Call, Reply};
use super::api_error::ApiError;
use super::lifecycle::{Change, Refusal};
use super::state::{Action, Status};

const MOST_SEATS: u64 = 1_000_000;

impl Desk<'_> {
    /// Billing begins. Plan and seats must be the ones that were bought.
    pub(super) fn activate(&mut self, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let one = self.known(id)?;
        let body = call.object()?;
        match one.status {
            Status::PendingFulfillmentStart => {}
            Status::Subscribed | Status::Suspended => {
                return Err(ApiError::bad("The subscription is already activated.", "subscription"));
            }
            Status::Unsubscribed => return Err(ApiError::NotFound),
        }
        if body.get("planId").and_then(Value::as_str) != Some(&one.plan) {
            return Err(ApiError::bad("The planId is missing or is not the one that was bought.", "planId"));
        }
        let quantity = body.get("quantity").filter(|value| !value.is_null() && value.as_str() != Some(""));
        let fits = match (quantity, one.quantity) {
            (None, None) => true,
            (Some(given), Some(bought)) => given.as_u64() == Some(u64::from(bought)),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !fits {
            return Err(ApiError::bad("The quantity is not the one that was bought.", "quantity"));
        }
        self.start(id);
        Ok(Reply::empty())
    }

    pub(super) fn update_subscription(&mut self, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let one = self.known(id)?.clone();
        let body = call.object()?;
        let change = match (body.get("planId"), body.get("quantity")) {
            (Some(_), Some(_)) => {
                return Err(ApiError::bad("Cannot patch more than one field in the same request", "planId"));
            }
            (Some(plan), None) => {
                let plan = plan.as_str().ok_or_else(|| ApiError::bad("The planId is not a text.", "planId"))?;
                Change::Plan(plan.to_owned())
            }
            (None, Some(quantity)) => {
                let quantity = quantity.as_u64().filter(|quantity| *quantity <= MOST_SEATS);
                let quantity = quantity.and_then(|quantity| u32::try_from(quantity).ok());
                Change::Seats(quantity.ok_or_else(|| ApiError::bad("The quantity is not valid.", "quantity"))?)
            }
            (None, None) => return Err(ApiError::bad("The planId or the quantity is required.", "planId")),
        };
        if one.resold {
            return Err(ApiError::bad("Update is not allowed on this subscription.", "allowedCustomerOperations"));
        }
        let (action, unchanged) = match &change {
            Change::Plan(plan) => {
                (Action::ChangePlan, ApiError::bad(format!("Customer is already subscribed to plan {plan}"), "planId"))
            }
            Change::Seats(_) => {
                (Action::ChangeQuantity, ApiError::bad("New quantity is the same as on the subscription", "quantity"))
            }
        };
        let (plan, quantity) = self
            .changed(&one, &change)
            .map_err(|refusal| if refusal == Refusal::Unchanged { unchanged } else { refusal.into() })?;
        let operation = self.begin(id, action, plan, quantity);
        Ok(Reply::accepted(self.operation_location(id, &operation)))
    }

    pub(super) fn delete_subscription(&mut self, id: &str) -> Result<Reply, ApiError> {
        let one = self.known(id)?.clone();
        if one.resold {
            return Err(ApiError::bad("Delete is not allowed on this subscription.", "allowedCustomerOperations"));
        }
        if one.status == Status::Unsubscribed {
            return Err(Refusal::Over.into());
        }
        if self.is_busy(id) {
            return Err(Refusal::Busy.into());
        }
        let operation = self.begin(id, Action::Unsubscribe, one.plan, one.quantity);
        Ok(Reply::accepted(self.operation_location(id, &operation)))
    }
}
