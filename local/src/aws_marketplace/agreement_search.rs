//! SearchAgreements: a seller's daily look at everything it has sold, in case a notice was lost.
//!
//! `AgreementType` and `PartyType` must be given; every other filter narrows. The default order is by end time,
//! where agreements without an end come last.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Desk;
use super::agreement_api::behaviour;
use super::entitlements::{epoch, page_size, read_token, token};
use super::seller_call::{ApiError, Caller};
use super::state::Agreement;

const MOST_AGREEMENTS: u64 = 50;

const FILTERS: [&str; 18] = [
    "AcceptorAccountId",
    "AfterEndTime",
    "AfterLastUpdateTime",
    "AfterStartTime",
    "AgreementType",
    "BeforeEndTime",
    "BeforeLastUpdateTime",
    "BeforeStartTime",
    "EndTimeBehaviorReasonCode",
    "EndTimeBehaviorType",
    "InitialAgreementId",
    "LicenseArn",
    "OfferId",
    "OfferSetId",
    "PartyType",
    "ResourceIdentifier",
    "ResourceType",
    "Status",
];

impl Desk<'_> {
    pub(super) fn search_agreements(&self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        if input.get("catalog").and_then(Value::as_str) != Some("AWSMarketplace") {
            return Err(ApiError::invalid("catalog must be AWSMarketplace."));
        }
        let filters = read_filters(input)?;
        let required =
            |name: &str| filters.iter().find(|(given, _)| given == name).map(|(_, values)| values.as_slice());
        if required("AgreementType").is_none_or(|values| values != ["PurchaseAgreement"]) {
            return Err(ApiError::invalid("The filter AgreementType must be PurchaseAgreement."));
        }
        let is_proposer = match required("PartyType") {
            Some([party]) if party == "Proposer" => true,
            Some([party]) if party == "Acceptor" => false,
            _ => return Err(ApiError::invalid("The filter PartyType must be Proposer or Acceptor.")),
        };
        let most = page_size(input, MOST_AGREEMENTS).ok_or_else(|| ApiError::invalid("maxResults must be 1 to 50."))?;
        let query = format!("{filters:?} {:?}", input.get("sort"));
        let from = match input.get("nextToken").filter(|token| !token.is_null()) {
            None => 0,
            Some(token) => read_token(token, &query).ok_or_else(|| ApiError::invalid("nextToken is not valid."))?,
        };
        let is_party = |agreement: &&Agreement| {
            let party = if is_proposer { &agreement.proposer } else { &agreement.acceptor };
            *party == caller.account
        };
        let mut found = Vec::new();
        for agreement in self.state.agreements.values().filter(is_party) {
            if self.passes(agreement, &filters)? {
                found.push(agreement);
            }
        }
        sort(&mut found, input)?;
        let page: Vec<Value> = found.iter().skip(from).take(most).map(|agreement| self.view(agreement)).collect();
        let next = from.saturating_add(page.len());
        let mut answer = Map::new();
        answer.insert("agreementViewSummaries".to_owned(), json!(page));
        if next < found.len() {
            answer.insert("nextToken".to_owned(), json!(token(next, &query)));
        }
        Ok(Value::Object(answer))
    }

    fn view(&self, agreement: &Agreement) -> Value {
        let mut view = self.summary(agreement);
        view.insert("lastUpdateTime".to_owned(), epoch(agreement.updated));
        view.insert("entitlements".to_owned(), json!([{"licenseArn": agreement.licence}]));
        if agreement.term_end.is_some() {
            view.insert("endTimeBehaviorType".to_owned(), json!(behaviour(agreement)));
        }
        Value::Object(view)
    }

    fn passes(&self, agreement: &Agreement, filters: &[(String, Vec<String>)]) -> Result<bool, ApiError> {
        let status = agreement.status_at(self.now).as_str();
        let product = self.product(&agreement.product).map_or("", |product| product.id.as_str());
        let end = agreement.ended.or(agreement.term_end);
        for (name, values) in filters {
            let any = |actual: &str| values.iter().any(|value| value == actual);
            let passes = match name.as_str() {
                "AgreementType" | "PartyType" => true,
                "ResourceIdentifier" => any(product),
                "ResourceType" => any("SaaSProduct"),
                "AcceptorAccountId" => any(&agreement.acceptor),
                "OfferId" => any(&agreement.offer),
                "OfferSetId" => false,
                "Status" => any(status),
                "InitialAgreementId" => any(&agreement.initial),
                "LicenseArn" => any(&agreement.licence),
                "EndTimeBehaviorType" => agreement.term_end.is_some() && any(behaviour(agreement)),
                "EndTimeBehaviorReasonCode" => {
                    agreement.term_end.is_some() && !agreement.auto_renewal && any("ACCEPTOR_RENEW_OPTED_OUT")
                }
                "BeforeEndTime" => compare(end, values, true)?,
                "AfterEndTime" => end.is_none() || compare(end, values, false)?,
                "BeforeStartTime" => compare(Some(agreement.start), values, true)?,
                "AfterStartTime" => compare(Some(agreement.start), values, false)?,
                "BeforeLastUpdateTime" => compare(Some(agreement.updated), values, true)?,
                "AfterLastUpdateTime" => compare(Some(agreement.updated), values, false)?,
                _ => false,
            };
            if !passes {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn read_filters(input: &Value) -> Result<Vec<(String, Vec<String>)>, ApiError> {
    let read = |filter: &Value| {
        let values = filter.get("values")?.as_array()?.iter().map(|value| value.as_str().map(str::to_owned));
        Some((filter.get("name")?.as_str()?.to_owned(), values.collect::<Option<Vec<_>>>()?))
    };
    let filters = input.get("filters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let filters: Option<Vec<_>> = filters.iter().map(read).collect();
    let filters = filters.ok_or_else(|| ApiError::invalid("A filter needs a name and values."))?;
    if let Some((name, _)) = filters.iter().find(|(name, _)| !FILTERS.contains(&name.as_str())) {
        return Err(ApiError::invalid(format!("The filter {name} is not known.")));
    }
    if filters.iter().any(|(_, values)| values.is_empty()) {
        return Err(ApiError::invalid("A filter must have a value."));
    }
    Ok(filters)
}

fn compare(actual: Option<Timestamp>, values: &[String], before: bool) -> Result<bool, ApiError> {
    let limit = values.first().and_then(|value| value.parse::<Timestamp>().ok());
    let limit = limit.ok_or_else(|| ApiError::invalid("A time filter must be an ISO 8601 instant."))?;
    Ok(actual.is_some_and(|actual| if before { actual < limit } else { actual > limit }))
}

fn sort(found: &mut [&Agreement], input: &Value) -> Result<(), ApiError> {
    let sort = input.get("sort").filter(|sort| !sort.is_null());
    let asked = |name: &str| sort.and_then(|sort| sort.get(name)).and_then(Value::as_str);
    let end = |agreement: &&Agreement| agreement.ended.or(agreement.term_end).unwrap_or(Timestamp::MAX);
    match asked("sortBy").unwrap_or("EndTime") {
        "EndTime" => found.sort_by_key(|agreement| (end(agreement), agreement.accepted)),
        "StartTime" => found.sort_by_key(|agreement| agreement.start),
        "LastUpdateTime" => found.sort_by_key(|agreement| agreement.updated),
        _ => return Err(ApiError::invalid("sortBy must be EndTime, StartTime or LastUpdateTime.")),
    }
    match asked("sortOrder").unwrap_or("ASCENDING") {
        "ASCENDING" => Ok(()),
        "DESCENDING" => {
            found.reverse();
            Ok(())
        }
        _ => Err(ApiError::invalid("sortOrder must be ASCENDING or DESCENDING.")),
    }
}

#[cfg(test)]
mod tests {
    use crate::aws_marketplace::AwsMarketplace;
    use crate::aws_marketplace::bench::market;
    use crate::aws_marketplace::seller_call::Operation;
    use crate::aws_marketplace::state::Status;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn search(market: &AwsMarketplace, more: Value, paging: Value) -> Result<Value, &'static str> {
        let mut filters = vec![
            json!({"name": "PartyType", "values": ["Proposer"]}),
            json!({"name": "AgreementType", "values": ["PurchaseAgreement"]}),
        ];
        filters.extend(more.as_array().unwrap().iter().cloned());
        let mut input = json!({"catalog": "AWSMarketplace", "filters": filters});
        input.as_object_mut().unwrap().extend(paging.as_object().unwrap().clone());
        market.call(Operation::SearchAgreements, NOW, input).map_err(|error| error.code)
    }

    fn count(market: &AwsMarketplace, name: &str, value: &str) -> usize {
        let found = search(market, json!([{"name": name, "values": [value]}]), json!({})).unwrap();
        found["agreementViewSummaries"].as_array().unwrap().len()
    }

    #[test]
    fn filters_and_pages() {
        let market = market();
        for hour in 1..6 {
            market.buy("payg", &format!("2026-11-21T0{hour}:00:00Z"));
        }
        let (cancelled, licence) = market.buy("seats", "2026-11-21T09:00:00Z");
        market.at(NOW, |desk| desk.end(&cancelled, Status::Cancelled, desk.now)).unwrap();
        assert_eq!(count(&market, "Status", "ACTIVE"), 5);
        assert_eq!(count(&market, "Status", "CANCELLED"), 1);
        assert_eq!(count(&market, "ResourceIdentifier", "prod-payg"), 5);
        assert_eq!(count(&market, "LicenseArn", &licence), 1);
        assert_eq!(count(&market, "AcceptorAccountId", "999988887777"), 0);
        assert_eq!(count(&market, "AfterLastUpdateTime", "2026-11-21T05:30:00Z"), 1);
        assert_eq!(count(&market, "BeforeEndTime", "2027-01-01T00:00:00Z"), 1);
        assert_eq!(
            search(&market, json!([{"name": "Nonsense", "values": ["a"]}]), json!({})),
            Err("ValidationException")
        );
        let newest = json!({"sortBy": "LastUpdateTime", "sortOrder": "DESCENDING"});
        let first = search(&market, json!([]), json!({"maxResults": 4, "sort": newest})).unwrap();
        assert_eq!(first["agreementViewSummaries"][0]["agreementId"], json!(cancelled));
        assert_eq!(first["agreementViewSummaries"][0]["entitlements"][0]["licenseArn"], json!(licence));
        let next = json!({"maxResults": 4, "sort": newest, "nextToken": first["nextToken"]});
        let rest = search(&market, json!([]), next).unwrap();
        assert_eq!(rest["agreementViewSummaries"].as_array().unwrap().len(), 2);
        assert!(rest.get("nextToken").is_none());
    }

    #[test]
    fn what_must_be_given() {
        let market = market();
        let call = |input| market.call(Operation::SearchAgreements, NOW, input).map_err(|error| error.code);
        assert_eq!(call(json!({})), Err("ValidationException"));
        assert_eq!(call(json!({"catalog": "AWSMarketplace"})), Err("ValidationException"));
        assert_eq!(search(&market, json!([]), json!({"maxResults": 51})), Err("ValidationException"));
        assert_eq!(search(&market, json!([]), json!({"nextToken": "x"})), Err("ValidationException"));
    }
}
