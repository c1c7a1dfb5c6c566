//! ResolveCustomer: who is behind a registration token.
//!
//! A token is not used up: it gives the same answer until it expires, four hours after it was issued unless the
//! switch says otherwise. Only the account that published the product can resolve it. A resolved token says
//! nothing about payment or about the agreement still being alive.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Desk;
use super::seller_call::{ApiError, Caller};
use super::switches::use_one;

impl Desk<'_> {
    pub(super) fn resolve_customer(&mut self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        if use_one(&mut self.state.switches.throttle) {
            return Err(ApiError::refused("ThrottlingException", "Rate exceeded"));
        }
        self.check_region(caller)?;
        let value = input.get("RegistrationToken").and_then(Value::as_str).unwrap_or("");
        if value.is_empty() {
            return Err(ApiError::invalid("RegistrationToken must not be empty."));
        }
        let unknown = || ApiError::refused("InvalidTokenException", "Registration token is invalid.");
        let token = self.state.tokens.get(value).filter(|_| caller.account == self.config.publisher_account);
        let token = token.ok_or_else(unknown)?;
        let life = SignedDuration::from_secs(i64::from(self.state.switches.token_ttl_seconds));
        if self.now.duration_since(token.issued) > life {
            let message = "Registration token has expired. The buyer can open the product's page again for a new one.";
            return Err(ApiError::refused("ExpiredTokenException", message));
        }
        let licence = self.state.licences.get(&token.licence).ok_or_else(unknown)?;
        let mut answer = json!({
            "CustomerAWSAccountId": licence.account,
            "ProductCode": licence.product,
            "LicenseArn": licence.arn,
        });
        let Some(members) = answer.as_object_mut() else { return Ok(answer) };
        if !self.state.switches.omit_agreement_id {
            members.insert("Metadata".to_owned(), json!({"AgreementId": licence.agreement}));
        }
        if self.product(&licence.product).is_some_and(|product| product.legacy) {
            let customer = self.state.identifiers.customer_named(&licence.account);
            members.insert("CustomerIdentifier".to_owned(), json!(customer));
        }
        Ok(answer)
    }
}
