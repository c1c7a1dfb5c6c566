//! The Agreement API's reading half: one agreement, and the terms accepted with it.
//!
//! Only here does a seller learn that a purchase is a free trial without the buyer's browser telling: by a
//! `freeTrialPricingTerm` among the accepted terms. A pay-as-you-go agreement has no end time. The caller must be
//! the agreement's proposer, so a manufacturer cannot read what a channel partner sold.

use serde_json::{Map, Value, json};

use super::entitlements::{epoch, page_size, read_token, token};
use super::seller_call::{ApiError, Caller};
use super::state::Agreement;
use super::{Desk, Product};

const MOST_TERMS: u64 = 50;
const TRIAL: &str = "P14D";

impl Desk<'_> {
    pub(super) fn describe_agreement(&self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        let agreement = self.readable_agreement(caller, input)?;
        let mut answer = self.summary(agreement);
        answer.insert("estimatedCharges".to_owned(), json!({"currencyCode": "USD", "agreementValue": "0.00"}));
        if agreement.term_end.is_some() {
            let mut behaviour = json!({"type": behaviour(agreement)});
            if let Some(members) = behaviour.as_object_mut() {
                if agreement.auto_renewal {
                    members.insert("renewalSummary".to_owned(), json!({"offerId": agreement.offer}));
                } else {
                    members.insert("reasonCode".to_owned(), json!("ACCEPTOR_RENEW_OPTED_OUT"));
                }
            }
            answer.insert("endTimeBehavior".to_owned(), behaviour);
        }
        Ok(Value::Object(answer))
    }

    pub(super) fn get_agreement_terms(&self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        let agreement = self.readable_agreement(caller, input)?;
        let most = page_size(input, MOST_TERMS).ok_or_else(|| ApiError::invalid("maxResults must be 1 to 50."))?;
        let from = match input.get("nextToken").filter(|token| !token.is_null()) {
            None => 0,
            Some(token) => {
                read_token(token, &agreement.id).ok_or_else(|| ApiError::invalid("nextToken is not valid."))?
            }
        };
        let terms = self.product(&agreement.product).map_or_else(Vec::new, |product| self.terms(agreement, product));
        let page: Vec<&Value> = terms.iter().skip(from).take(most).collect();
        let next = from.saturating_add(page.len());
        let mut answer = Map::new();
        answer.insert("acceptedTerms".to_owned(), json!(page));
        if next < terms.len() {
            answer.insert("nextToken".to_owned(), json!(token(next, &agreement.id)));
        }
        Ok(Value::Object(answer))
    }

    /// The members DescribeAgreement and SearchAgreements share.
    pub(super) fn summary(&self, agreement: &Agreement) -> Map<String, Value> {
        let product = self.product(&agreement.product).map_or("", |product| product.id.as_str());
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("agreementId", json!(agreement.id));
        put("acceptor", json!({"accountId": agreement.acceptor}));
        put("proposer", json!({"accountId": agreement.proposer}));
        put("startTime", epoch(agreement.start));
        put("acceptanceTime", epoch(agreement.accepted));
        put("agreementType", json!("PurchaseAgreement"));
        put("status", json!(agreement.status_at(self.now).as_str()));
        put("initialAgreementId", json!(agreement.initial));
        let resources = json!([{"id": product, "type": "SaaSProduct"}]);
        put("proposalSummary", json!({"offerId": agreement.offer, "resources": resources}));
        if let Some(end) = agreement.ended.or(agreement.term_end) {
            put("endTime", epoch(end));
        }
        members
    }

    fn readable_agreement(&self, caller: &Caller, input: &Value) -> Result<&Agreement, ApiError> {
        let id = input.get("agreementId").and_then(Value::as_str).unwrap_or("");
        if id.is_empty()
            || id.len() > 64
            || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_/-".contains(&byte))
        {
            return Err(ApiError::invalid("agreementId is missing or malformed."));
        }
        let agreement = self.state.agreements.get(id);
        let agreement = agreement
            .ok_or_else(|| ApiError::refused("ResourceNotFoundException", format!("Agreement {id} was not found.")))?;
        if agreement.proposer != caller.account && agreement.acceptor != caller.account {
            let message = "The caller is not a party of this agreement.";
            return Err(ApiError::refused("AccessDeniedException", message));
        }
        Ok(agreement)
    }

    fn terms(&self, agreement: &Agreement, product: &Product) -> Vec<Value> {
        let id = |kind: &str| self.state.identifiers.term_named(&format!("{kind} {}", agreement.offer));
        let prices = |price: &str| -> Vec<Value> {
            product.dimensions.iter().map(|name| json!({"dimensionKey": name, "price": price})).collect()
        };
        let kind = "LegalTerm";
        let mut terms = vec![json!({"legalTerm": {
            "type": kind, "id": id(kind),
            "documents": [{"type": "StandardEula", "url": format!("{}/eula", self.config.base_url), "version": "2022-07-14"}],
        }})];
        let kind = "SupportTerm";
        terms.push(json!({"supportTerm": {"type": kind, "id": id(kind), "refundPolicy": "No refunds are offered."}}));
        if agreement.free_trial {
            let kind = "FreeTrialPricingTerm";
            let grants: Vec<Value> =
                product.dimensions.iter().map(|name| json!({"dimensionKey": name, "maxQuantity": 1000})).collect();
            terms.push(
                json!({"freeTrialPricingTerm": {"type": kind, "id": id(kind), "duration": TRIAL, "grants": grants}}),
            );
        }
        if product.model.is_metered() {
            let kind = "UsageBasedPricingTerm";
            terms.push(json!({"usageBasedPricingTerm": {
                "type": kind, "id": id(kind), "currencyCode": "USD", "rateCards": [{"rateCard": prices("0.001")}],
            }}));
        }
        if product.model.has_term() {
            terms.push(self.contract_term(agreement, &id("ConfigurableUpfrontPricingTerm"), prices("0.01")));
            let kind = "RenewalTerm";
            let configuration = json!({"enableAutoRenew": agreement.auto_renewal});
            terms.push(json!({"renewalTerm": {"type": kind, "id": id(kind), "configuration": configuration}}));
        }
        terms
    }

    fn contract_term(&self, agreement: &Agreement, id: &str, prices: Vec<Value>) -> Value {
        let bought = self.state.licences.get(&agreement.licence).map_or_else(Vec::new, |licence| {
            let bought = licence.entitlements.iter();
            bought
                .map(|row| json!({"dimensionKey": row.dimension, "dimensionValue": row.value.as_i64().unwrap_or(1)}))
                .collect()
        });
        json!({"configurableUpfrontPricingTerm": {
            "type": "ConfigurableUpfrontPricingTerm", "id": id, "currencyCode": "USD",
            "rateCards": [{
                "selector": {"type": "Duration", "value": "P12M"},
                "constraints": {"multipleDimensionSelection": "Allowed", "quantityConfiguration": "Allowed"},
                "rateCard": prices,
            }],
            "configuration": {"selectorValue": "P12M", "dimensions": bought},
        }})
    }
}

/// What happens when the term ends.
pub(super) fn behaviour(agreement: &Agreement) -> &'static str {
    if agreement.auto_renewal { "RENEW" } else { "EXPIRE" }
}

#[cfg(test)]
mod tests {
    use crate::aws_marketplace::bench::{BUYER, SELLER, caller, instant, market, order};
    use crate::aws_marketplace::seller_call::Operation;
    use crate::aws_marketplace::state::Status;
    use serde_json::{Value, json};

    const BOUGHT: &str = "2026-11-21T09:00:00Z";

    fn kinds(answer: &Value) -> Vec<String> {
        let terms = answer["acceptedTerms"].as_array().unwrap();
        terms.iter().map(|term| term.as_object().unwrap().keys().next().unwrap().clone()).collect()
    }

    #[test]
    fn an_agreement_of_pay_as_you_go_has_no_end_until_it_ends() {
        let market = market();
        let (id, _) = market.buy("payg", BOUGHT);
        let describe = || market.call(Operation::DescribeAgreement, "2026-11-21T10:00:00Z", json!({"agreementId": id}));
        let answer = describe().unwrap();
        assert_eq!(answer["status"], "ACTIVE");
        assert_eq!(answer["acceptor"]["accountId"], BUYER);
        assert_eq!(answer["proposer"]["accountId"], SELLER);
        assert_eq!(answer["startTime"], json!(instant(BOUGHT).as_second()));
        assert_eq!(answer["proposalSummary"]["resources"], json!([{"id": "prod-payg", "type": "SaaSProduct"}]));
        assert!(answer.get("endTime").is_none() && answer.get("endTimeBehavior").is_none());
        market.at("2026-11-21T09:30:00Z", |desk| desk.end(&id, Status::Cancelled, desk.now)).unwrap();
        let answer = describe().unwrap();
        assert_eq!(answer["status"], "CANCELLED");
        assert_eq!(answer["endTime"], json!(instant("2026-11-21T09:30:01Z").as_second()));
    }

    #[test]
    fn only_the_terms_tell_a_trial() {
        let market = market();
        let mut trial = order("payg");
        trial.free_trial = true;
        let id = market.at(BOUGHT, |desk| desk.accept(&trial)).unwrap();
        let terms = |input| market.call(Operation::GetAgreementTerms, BOUGHT, input).unwrap();
        let answer = terms(json!({"agreementId": id}));
        assert_eq!(kinds(&answer), ["legalTerm", "supportTerm", "freeTrialPricingTerm", "usageBasedPricingTerm"]);
        assert_eq!(answer["acceptedTerms"][2]["freeTrialPricingTerm"]["duration"], "P14D");
        let first = terms(json!({"agreementId": id, "maxResults": 3}));
        let rest = terms(json!({"agreementId": id, "maxResults": 3, "nextToken": first["nextToken"]}));
        assert_eq!((kinds(&first).len(), kinds(&rest).len()), (3, 1));
        let (contract, _) = market.buy("mixed", BOUGHT);
        let kinds = kinds(&terms(json!({"agreementId": contract})));
        assert!(
            kinds.contains(&"configurableUpfrontPricingTerm".to_owned()) && kinds.contains(&"renewalTerm".to_owned())
        );
    }

    #[test]
    fn who_may_read_what() {
        let market = market();
        let code = |id: &str| {
            let input = json!({"agreementId": id});
            market.call(Operation::DescribeAgreement, BOUGHT, input).unwrap_err().code
        };
        assert_eq!(code("agmt-unknown"), "ResourceNotFoundException");
        assert_eq!(code(""), "ValidationException");
        let mut resold = order("payg");
        resold.reseller = Some("333344445555".to_owned());
        let id = market.at(BOUGHT, |desk| desk.accept(&resold)).unwrap();
        assert_eq!(code(&id), "AccessDeniedException");
        let mut buyer = caller();
        buyer.account = BUYER.to_owned();
        let input = json!({"agreementId": id});
        assert!(market.at(BOUGHT, |desk| desk.describe_agreement(&buyer, &input)).is_ok());
    }
}
