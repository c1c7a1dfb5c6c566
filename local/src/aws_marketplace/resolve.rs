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

#[cfg(test)]
mod tests {
    use crate::aws_marketplace::AwsMarketplace;
    use crate::aws_marketplace::bench::{BUYER, caller, market};
    use crate::aws_marketplace::seller_call::Operation;
    use serde_json::{Value, json};

    const BOUGHT: &str = "2026-11-21T09:00:00Z";

    fn token(market: &AwsMarketplace, licence: &str) -> String {
        market.at(BOUGHT, |desk| desk.state.issue_token(licence, desk.now))
    }

    fn resolve(market: &AwsMarketplace, now: &str, token: &str) -> Result<Value, &'static str> {
        let input = json!({"RegistrationToken": token});
        market.call(Operation::ResolveCustomer, now, input).map_err(|error| error.code)
    }

    #[test]
    fn a_token_gives_the_same_answer_for_four_hours() {
        let market = market();
        let (agreement, licence) = market.buy("payg", BOUGHT);
        let token = token(&market, &licence);
        let expected = json!({
            "CustomerAWSAccountId": BUYER, "ProductCode": "payg", "LicenseArn": licence,
            "Metadata": {"AgreementId": agreement},
        });
        assert_eq!(resolve(&market, BOUGHT, &token), Ok(expected.clone()));
        assert_eq!(resolve(&market, "2026-11-21T13:00:00Z", &token), Ok(expected));
        assert_eq!(resolve(&market, "2026-11-21T13:00:01Z", &token), Err("ExpiredTokenException"));
        assert_eq!(resolve(&market, BOUGHT, "garbage"), Err("InvalidTokenException"));
        assert_eq!(resolve(&market, BOUGHT, ""), Err("ValidationException"));
        market.at(BOUGHT, |desk| desk.state.switches.token_ttl_seconds = 1800);
        assert_eq!(resolve(&market, "2026-11-21T09:30:01Z", &token), Err("ExpiredTokenException"));
    }

    #[test]
    fn only_the_publisher_may_and_only_legacy_listings_have_the_old_identifier() {
        let market = market();
        let (_, licence) = market.buy("old", BOUGHT);
        let token = token(&market, &licence);
        let mut stranger = caller();
        stranger.account = "999988887777".to_owned();
        let input = json!({"RegistrationToken": token});
        let refused = market.at(BOUGHT, |desk| desk.resolve_customer(&stranger, &input)).unwrap_err();
        assert_eq!(refused.code, "InvalidTokenException");
        market.at(BOUGHT, |desk| desk.state.switches.omit_agreement_id = true);
        let answer = resolve(&market, BOUGHT, &token).unwrap();
        assert_eq!(answer["CustomerIdentifier"].as_str().unwrap().len(), 11);
        assert!(answer.get("Metadata").is_none());
    }

    #[test]
    fn the_throttle_switch_counts_down() {
        let market = market();
        market.at(BOUGHT, |desk| desk.state.switches.throttle = 2);
        let codes: Vec<_> = (0..3).map(|_| resolve(&market, BOUGHT, "x").unwrap_err()).collect();
        assert_eq!(codes, ["ThrottlingException", "ThrottlingException", "InvalidTokenException"]);
    }
}
