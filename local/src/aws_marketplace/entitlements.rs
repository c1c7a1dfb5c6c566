//! GetEntitlements: what contracts grant, page by page.
//!
//! Only living contracts have rows: a licence that has not started, has ended, or whose row has expired is simply
//! not listed. A page may be empty and still name a next one; one query in three starts so, which catches a client
//! that stops at the first empty page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::seller_call::{ApiError, Caller};
use super::state::{Entitled, Licence};
use super::switches::EmptyPages;
use super::{Desk, Product};

const MOST_ROWS: u64 = 25;

#[derive(Debug, Default)]
struct Filter {
    customers: Option<Vec<String>>,
    accounts: Option<Vec<String>>,
    dimensions: Option<Vec<String>>,
    licences: Option<Vec<String>>,
}

impl Desk<'_> {
    pub(super) fn get_entitlements(&mut self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        let code =
            input.get("ProductCode").and_then(Value::as_str).ok_or_else(|| invalid("ProductCode is required."))?;
        let product = self.product(code).filter(|_| caller.account == self.config.publisher_account);
        let product = product.ok_or_else(|| invalid("ProductCode is not one of this account's."))?;
        let filter = read_filter(input.get("Filter").filter(|filter| !filter.is_null()))?;
        let most = page_size(input, MOST_ROWS).ok_or_else(|| invalid("MaxResults must be 1 to 25."))?;
        let query = format!("{code} {filter:?}");
        let from = match input.get("NextToken").filter(|token| !token.is_null()) {
            Some(token) => read_token(token, &query).ok_or_else(|| invalid("NextToken is not valid."))?,
            None if self.starts_with_an_empty_page() => {
                return Ok(json!({"Entitlements": [], "NextToken": token(0, &query)}));
            }
            None => 0,
        };
        let rows = self.rows(product, &filter);
        let page: Vec<&Value> = rows.iter().skip(from).take(most).collect();
        let next = from.saturating_add(page.len());
        let mut answer = json!({"Entitlements": page});
        if next < rows.len()
            && let Some(members) = answer.as_object_mut()
        {
            members.insert("NextToken".to_owned(), json!(token(next, &query)));
        }
        Ok(answer)
    }

    fn starts_with_an_empty_page(&mut self) -> bool {
        self.state.entitlement_queries = self.state.entitlement_queries.wrapping_add(1);
        match self.state.switches.empty_pages {
            EmptyPages::Never => false,
            EmptyPages::Sometimes => self.state.entitlement_queries.is_multiple_of(3),
            EmptyPages::Always => true,
        }
    }

    fn rows(&self, product: &Product, filter: &Filter) -> Vec<Value> {
        let mut rows = Vec::new();
        let is_alive = |licence: &&Licence| licence.has_started(self.now) && !licence.is_over(self.now);
        for licence in self.state.licences.values().filter(is_alive) {
            let customer = self.state.identifiers.customer_named(&licence.account);
            let is_asked = licence.product == product.code
                && product.model.has_term()
                && allows(&filter.licences, &licence.arn)
                && allows(&filter.accounts, &licence.account)
                && (filter.customers.is_none() || product.legacy && allows(&filter.customers, &customer));
            if !is_asked {
                continue;
            }
            for granted in &licence.entitlements {
                if granted.expires > self.now && allows(&filter.dimensions, &granted.dimension) {
                    rows.push(row(product, licence, granted, &customer));
                }
            }
        }
        rows
    }
}

fn row(product: &Product, licence: &Licence, granted: &Entitled, customer: &str) -> Value {
    let kind = match &granted.value {
        Value::Bool(_) => "BooleanValue",
        Value::Number(number) if number.is_f64() => "DoubleValue",
        Value::Number(_) => "IntegerValue",
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => "StringValue",
    };
    let mut members = Map::new();
    members.insert("ProductCode".to_owned(), json!(product.code));
    members.insert("Dimension".to_owned(), json!(granted.dimension));
    members.insert("CustomerAWSAccountId".to_owned(), json!(licence.account));
    members.insert("LicenseArn".to_owned(), json!(licence.arn));
    members.insert("Value".to_owned(), json!({kind: granted.value}));
    members.insert("ExpirationDate".to_owned(), epoch(granted.expires));
    if product.legacy {
        members.insert("CustomerIdentifier".to_owned(), json!(customer));
    }
    Value::Object(members)
}

fn read_filter(filter: Option<&Value>) -> Result<Filter, ApiError> {
    let mut read = Filter::default();
    let Some(filter) = filter else { return Ok(read) };
    let filter = filter.as_object().ok_or_else(|| invalid("Filter must be a map."))?;
    for (key, values) in filter {
        let values: Option<Vec<String>> = values
            .as_array()
            .filter(|values| !values.is_empty())
            .and_then(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect());
        let values = Some(values.ok_or_else(|| invalid("A filter must list at least one value."))?);
        match key.as_str() {
            "CUSTOMER_IDENTIFIER" => read.customers = values,
            "CUSTOMER_AWS_ACCOUNT_ID" => read.accounts = values,
            "DIMENSION" => read.dimensions = values,
            "LICENSE_ARN" => read.licences = values,
            _ => return Err(invalid("A filter's key is not known.")),
        }
    }
    if read.customers.is_some() && read.accounts.is_some() {
        return Err(invalid("CUSTOMER_IDENTIFIER and CUSTOMER_AWS_ACCOUNT_ID exclude each other."));
    }
    Ok(read)
}

fn allows(listed: &Option<Vec<String>>, value: &str) -> bool {
    listed.as_ref().is_none_or(|listed| listed.iter().any(|one| one == value))
}

fn invalid(message: &str) -> ApiError {
    ApiError::refused("InvalidParameterException", message)
}

/// `MaxResults` or `maxResults`, at most `most`; none if it is out of bounds.
pub(super) fn page_size(input: &Value, most: u64) -> Option<usize> {
    let asked = input.get("MaxResults").or_else(|| input.get("maxResults")).filter(|asked| !asked.is_null());
    let size = asked.map_or(Some(most), Value::as_u64)?;
    usize::try_from(size).ok().filter(|_| (1..=most).contains(&size))
}

/// Where to go on, bound to the query it belongs to.
pub(super) fn token(from: usize, query: &str) -> String {
    let query = URL_SAFE_NO_PAD.encode(Sha256::digest(query));
    URL_SAFE_NO_PAD.encode(format!("{from}|{query}"))
}

pub(super) fn read_token(sent: &Value, query: &str) -> Option<usize> {
    let sent = sent.as_str()?;
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(sent).ok()?).ok()?;
    let from = text.split_once('|')?.0.parse().ok()?;
    (token(from, query) == sent).then_some(from)
}

/// Epoch seconds as awsJson writes them, with a fraction when there is one.
pub(super) fn epoch(at: Timestamp) -> Value {
    let millis = at.as_millisecond();
    let (seconds, rest) = (millis.div_euclid(1000), millis.rem_euclid(1000));
    if rest == 0 {
        return json!(seconds);
    }
    format!("{seconds}.{rest:03}").parse::<f64>().map_or_else(|_| json!(seconds), |fraction| json!(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws_marketplace::AwsMarketplace;
    use crate::aws_marketplace::bench::{BUYER, instant, market};
    use crate::aws_marketplace::seller_call::Operation;
    use crate::aws_marketplace::state::Status;

    const BOUGHT: &str = "2026-11-21T09:00:00Z";
    const NOW: &str = "2026-11-21T10:00:00Z";

    fn ask(market: &AwsMarketplace, now: &str, input: Value) -> Result<Value, &'static str> {
        market.call(Operation::GetEntitlements, now, input).map_err(|error| error.code)
    }

    /// Every row, paging on through empty pages; and how many pages were empty.
    fn all(market: &AwsMarketplace, now: &str, mut input: Value) -> (Vec<Value>, usize) {
        let (mut rows, mut empty) = (Vec::new(), 0);
        loop {
            let page = ask(market, now, input.clone()).unwrap();
            let listed = page["Entitlements"].as_array().unwrap();
            empty += usize::from(listed.is_empty());
            rows.extend(listed.iter().cloned());
            match page.get("NextToken") {
                Some(token) => input["NextToken"] = token.clone(),
                None => return (rows, empty),
            }
        }
    }

    fn grant(market: &AwsMarketplace, agreement: &str, dimension: &str, value: Value) {
        let row = Entitled { dimension: dimension.to_owned(), value, expires: instant("2027-01-01T00:00:00.5Z") };
        market.at(NOW, |desk| desk.set_entitlement(agreement, row)).unwrap();
    }

    #[test]
    fn rows_of_living_contracts_only() {
        let market = market();
        let (agreement, licence) = market.buy("seats", BOUGHT);
        market.buy("payg", BOUGHT);
        let input = json!({"ProductCode": "seats"});
        assert!(all(&market, "2026-11-21T09:01:11Z", input.clone()).0.is_empty(), "not active yet");
        let (rows, _) = all(&market, "2026-11-21T09:01:12Z", input.clone());
        let expires = instant("2027-11-21T09:00:00Z").as_second();
        assert_eq!(
            rows,
            [json!({
                "ProductCode": "seats", "Dimension": "seats", "CustomerAWSAccountId": BUYER, "LicenseArn": licence,
                "Value": {"IntegerValue": 10}, "ExpirationDate": expires,
            })]
        );
        grant(&market, &agreement, "support", json!(true));
        grant(&market, &agreement, "seats", json!(2.5));
        let (rows, _) = all(&market, NOW, input.clone());
        assert_eq!(rows[0]["Value"], json!({"BooleanValue": true}));
        assert_eq!(rows[1]["Value"], json!({"DoubleValue": 2.5}));
        assert_eq!(rows[1]["ExpirationDate"].as_f64(), Some(1_798_761_600.5));
        assert!(all(&market, "2027-01-01T00:00:01Z", input.clone()).0.is_empty(), "expired rows are not listed");
        market.at(NOW, |desk| desk.end(&agreement, Status::Terminated, desk.now)).unwrap();
        assert!(all(&market, "2026-11-21T10:00:01Z", input.clone()).0.is_empty(), "ended");
        assert!(all(&market, NOW, json!({"ProductCode": "payg"})).0.is_empty(), "pay as you go has none");
    }

    #[test]
    fn paging_with_an_empty_page_now_and_then() {
        let market = market();
        let (agreement, licence) = market.buy("seats", BOUGHT);
        for number in 0..7 {
            grant(&market, &agreement, &format!("d{number}"), json!(number));
        }
        let input = json!({"ProductCode": "seats", "MaxResults": 3, "Filter": {"LICENSE_ARN": [licence]}});
        let walks: Vec<_> = (0..3).map(|_| all(&market, NOW, input.clone())).collect();
        assert!(walks.iter().all(|(rows, _)| rows.len() == 8));
        assert_eq!(walks.iter().map(|(_, empty)| empty).sum::<usize>(), 1, "one query in three");
        let filtered = json!({"ProductCode": "seats", "Filter": {"DIMENSION": ["d1", "d2", "no"], "CUSTOMER_AWS_ACCOUNT_ID": [BUYER]}});
        assert_eq!(all(&market, NOW, filtered).0.len(), 2);
    }

    #[test]
    fn what_is_refused() {
        let market = market();
        market.at(NOW, |desk| desk.state.switches.empty_pages = EmptyPages::Always);
        let token = ask(&market, NOW, json!({"ProductCode": "seats"})).unwrap()["NextToken"].clone();
        for input in [
            json!({}),
            json!({"ProductCode": "unknown"}),
            json!({"ProductCode": "seats", "MaxResults": 0}),
            json!({"ProductCode": "seats", "MaxResults": 26}),
            json!({"ProductCode": "seats", "Filter": {"COLOUR": ["red"]}}),
            json!({"ProductCode": "seats", "Filter": {"DIMENSION": []}}),
            json!({"ProductCode": "seats", "Filter": {"CUSTOMER_IDENTIFIER": ["a"], "CUSTOMER_AWS_ACCOUNT_ID": ["b"]}}),
            json!({"ProductCode": "seats", "NextToken": "nonsense"}),
            json!({"ProductCode": "mixed", "NextToken": token}),
        ] {
            assert_eq!(ask(&market, NOW, input.clone()), Err("InvalidParameterException"), "{input}");
        }
    }
}
