//! Manage subscriptions: what the buyer's account has, the way to the seller, and the way out.
//!
//! "Set up your account" is a form that posts across sites to the seller's landing page, with a token made for
//! this view of the page. It stays on the list for as long as the agreement is active, so a buyer whose token
//! expired comes back here. To cancel, the buyer types the product's title; its case does not matter.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;

use super::buyer::Buyer;
use super::lifecycle::Refusal;
use super::pages::{page, refused};
use super::signals::Amendment;
use super::state::{Agreement, Status};
use super::{AwsMarketplace, Desk};

/// The form that carries a fresh token to the seller.
#[derive(Template)]
#[template(path = "aws/set_up_form.html")]
struct SetUpForm {
    id: String,
    action: String,
    token: String,
    free_trial: bool,
    title: String,
}

#[derive(Template)]
#[template(path = "aws/subscriptions.html")]
struct ListPage<'a> {
    account: &'a str,
    subscribed: Option<(String, SetUpForm)>,
    cancelled: Option<String>,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "aws/subscription.html")]
struct DetailsPage<'a> {
    account: &'a str,
    row: Row,
    licence: String,
    offer: String,
    accepted: String,
    start: String,
    end: String,
    previous: Option<String>,
    has_term: bool,
    auto_renewal: bool,
    entitlements: Vec<(String, String, String)>,
}

#[derive(Template)]
#[template(path = "aws/cancel.html")]
struct CancelPage<'a> {
    account: &'a str,
    agreement: &'a str,
    title: &'a str,
    error: Option<String>,
}

struct Row {
    agreement: String,
    title: String,
    status: &'static str,
    payment_failed: bool,
    accepted: String,
    set_up: Option<SetUpForm>,
}

#[derive(Deserialize)]
pub(super) struct Banner {
    subscribed: Option<String>,
    cancelled: Option<String>,
}

pub(super) async fn list(State(market): State<AwsMarketplace>, buyer: Buyer, Query(banner): Query<Banner>) -> Response {
    market.desk(|desk| {
        let mut theirs: Vec<Agreement> =
            desk.state.agreements.values().filter(|agreement| agreement.acceptor == buyer.0).cloned().collect();
        theirs.sort_by_key(|agreement| Reverse(agreement.accepted));
        let named = |id: &Option<String>| theirs.iter().find(|agreement| Some(&agreement.id) == id.as_ref());
        let subscribed = named(&banner.subscribed).and_then(|agreement| {
            Some((desk.title(agreement), desk.set_up_form(agreement, "set-up-your-account".to_owned())?))
        });
        let cancelled = named(&banner.cancelled)
            .filter(|agreement| agreement.status == Status::Cancelled)
            .map(|agreement| desk.title(agreement));
        let rows = theirs.iter().map(|agreement| desk.row(agreement)).collect();
        page(StatusCode::OK, &ListPage { account: &buyer.0, subscribed, cancelled, rows })
    })
}

pub(super) async fn details(State(market): State<AwsMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| {
        let agreement = match desk.theirs(&buyer, &id) {
            Ok(agreement) => agreement,
            Err(refusal) => return refused(&buyer, refusal, "/subscriptions"),
        };
        let entitlements = desk.state.licences.get(&agreement.licence).map_or_else(Vec::new, |licence| {
            let rows = licence.entitlements.iter();
            rows.map(|row| (row.dimension.clone(), row.value.to_string(), row.expires.to_string())).collect()
        });
        let row = desk.row(&agreement);
        let text = |at: Option<Timestamp>| at.map_or_else(|| "No end date".to_owned(), |at| at.to_string());
        let details = DetailsPage {
            account: &buyer.0,
            row,
            accepted: agreement.accepted.to_string(),
            start: agreement.start.to_string(),
            end: text(agreement.ended.or(agreement.term_end)),
            has_term: agreement.term_end.is_some(),
            auto_renewal: agreement.auto_renewal,
            licence: agreement.licence,
            offer: agreement.offer,
            previous: agreement.previous,
            entitlements,
        };
        page(StatusCode::OK, &details)
    })
}

pub(super) async fn ask_to_cancel(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
) -> Response {
    market.desk(|desk| match desk.cancellable(&buyer, &id) {
        Ok(title) => {
            page(StatusCode::OK, &CancelPage { account: &buyer.0, agreement: &id, title: &title, error: None })
        }
        Err(refusal) => refused(&buyer, refusal, "/subscriptions"),
    })
}

#[derive(Deserialize)]
pub(super) struct Confirmation {
    #[serde(default)]
    confirmation: String,
}

pub(super) async fn cancel(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<Confirmation>,
) -> Response {
    market.desk(|desk| {
        let title = match desk.cancellable(&buyer, &id) {
            Ok(title) => title,
            Err(refusal) => return refused(&buyer, refusal, "/subscriptions"),
        };
        if folded(&form.confirmation) != folded(&title) {
            let error = format!("What you typed does not match. To cancel, type \"{title}\". Nothing was cancelled.");
            let page_again = CancelPage { account: &buyer.0, agreement: &id, title: &title, error: Some(error) };
            return page(StatusCode::UNPROCESSABLE_ENTITY, &page_again);
        }
        match desk.end(&id, Status::Cancelled, desk.now) {
            Ok(()) => Redirect::to(&format!("/subscriptions?cancelled={id}")).into_response(),
            Err(refusal) => refused(&buyer, refusal, "/subscriptions"),
        }
    })
}

#[derive(Deserialize)]
pub(super) struct RenewalChoice {
    auto_renewal: bool,
}

pub(super) async fn set_renewal(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<RenewalChoice>,
) -> Response {
    market.desk(|desk| {
        let amendment =
            Amendment { agreement: id.clone(), auto_renewal: Some(form.auto_renewal), ..Amendment::default() };
        match desk.theirs(&buyer, &id).and_then(|_| desk.amend(amendment)) {
            Ok(()) => Redirect::to(&format!("/subscriptions/{id}")).into_response(),
            Err(refusal) => refused(&buyer, refusal, "/subscriptions"),
        }
    })
}

impl Desk<'_> {
    /// Another buyer's agreement is as unknown as none.
    fn theirs(&self, buyer: &Buyer, id: &str) -> Result<Agreement, Refusal> {
        self.known_agreement(id).ok().filter(|agreement| agreement.acceptor == buyer.0).ok_or(Refusal::UnknownAgreement)
    }

    /// The title to be typed. A contract runs to its end and cannot be cancelled by the buyer.
    fn cancellable(&self, buyer: &Buyer, id: &str) -> Result<String, Refusal> {
        let agreement = self.theirs(buyer, id)?;
        let may = agreement.is_active_at(self.now) && agreement.term_end.is_none();
        if may { Ok(self.title(&agreement)) } else { Err(Refusal::NotActive) }
    }

    fn title(&self, agreement: &Agreement) -> String {
        self.product(&agreement.product).map_or_else(|| agreement.product.clone(), |product| product.title.clone())
    }

    fn row(&mut self, agreement: &Agreement) -> Row {
        let status = match agreement.status_at(self.now) {
            Status::Active => "Active",
            Status::Cancelled => "Cancelled",
            Status::Expired => "Expired",
            Status::Terminated => "Terminated",
            Status::Renewed => "Renewed",
            Status::Replaced => "Replaced",
            Status::RolledBack => "Payment failed",
        };
        Row {
            agreement: agreement.id.clone(),
            title: self.title(agreement),
            status,
            payment_failed: agreement.status_at(self.now) == Status::RolledBack,
            accepted: agreement.accepted.to_string(),
            set_up: self.set_up_form(agreement, format!("set-up-{}", agreement.id)),
        }
    }

    fn set_up_form(&mut self, agreement: &Agreement, id: String) -> Option<SetUpForm> {
        let product = self.product(&agreement.product).filter(|_| agreement.is_active_at(self.now))?;
        Some(SetUpForm {
            id,
            action: product.fulfillment_url.clone(),
            token: self.state.issue_token(&agreement.licence, self.now),
            free_trial: agreement.free_trial,
            title: product.title.clone(),
        })
    }
}

/// Lower case with single spaces: vendors' pages write one title in several cases.
fn folded(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use crate::aws_marketplace::AwsMarketplace;
    use crate::aws_marketplace::bench::{Answer, market, send};
    use crate::aws_marketplace::seller_call::Operation;
    use crate::clock::Clock;
    use serde_json::json;

    async fn get(market: &AwsMarketplace, path: &str) -> Answer {
        send(market.pages(), "GET", path, &[], b"").await
    }

    async fn post(market: &AwsMarketplace, path: &str, form: &str) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        send(market.pages(), "POST", path, &headers, form.as_bytes()).await
    }

    /// The value of the hidden token field of the form with this id.
    fn token(page: &str, form: &str) -> String {
        let form = page.split(&format!("id=\"{form}\"")).nth(1).unwrap();
        let value = form.split("name=\"x-amzn-marketplace-token\" value=\"").nth(1).unwrap();
        value.split('"').next().unwrap().replace("&#43;", "+").replace("&#61;", "=").replace("&#47;", "/")
    }

    #[tokio::test]
    async fn a_buyer_subscribes_sets_up_and_cancels() {
        let market = market();
        let found = get(&market, "/?q=broker+cloud").await.text();
        assert!(found.contains("/product/payg") && !found.contains("/product/mixed"));
        assert!(get(&market, "/product/payg").await.text().contains("View purchase options"));
        assert!(get(&market, "/product/payg/options").await.text().contains("action=\"/product/payg/subscribe\""));
        let accepted = post(&market, "/product/payg/subscribe", "offer_type=free-trial").await;
        assert_eq!(accepted.status, 303);
        let banner = get(&market, accepted.header("location").unwrap()).await.text();
        assert!(banner.contains("action=\"http://vendor.localhost:8080/aws/register\""));
        assert!(banner.contains("name=\"x-amzn-marketplace-offer-type\" value=\"free-trial\""));
        let first = token(&banner, "set-up-your-account");
        let agreement = accepted.header("location").unwrap().split('=').nth(1).unwrap().to_owned();
        let again = token(&get(&market, "/subscriptions").await.text(), &format!("set-up-{agreement}"));
        assert_ne!(first, again, "a fresh token for each view");
        for token in [first, again] {
            let now = Clock::default().now().to_string();
            let answer = market.call(Operation::ResolveCustomer, &now, json!({"RegistrationToken": token})).unwrap();
            assert_eq!(answer["Metadata"]["AgreementId"], json!(agreement));
        }
        let page = format!("/subscriptions/{agreement}");
        assert!(get(&market, &page).await.text().contains(&format!("{page}/cancel")));
        let wrong = post(&market, &format!("{page}/cancel"), "confirmation=Broker").await;
        assert_eq!(wrong.status, 422);
        assert!(wrong.text().contains("does not match"));
        let right = "confirmation=+broker+cloud++(PAY+as+you+go)";
        let cancelled = post(&market, &format!("{page}/cancel"), right).await;
        let list = get(&market, cancelled.header("location").unwrap()).await.text();
        assert!(list.contains("has been cancelled") && !list.contains("x-amzn-marketplace-token"));
        assert_eq!(get(&market, &format!("{page}/cancel")).await.status, 409);
    }

    #[tokio::test]
    async fn accounts_are_apart_and_titles_are_escaped() {
        let market = market();
        let switched = get(&market, "/account?id=000011112222").await;
        assert!(switched.header("set-cookie").unwrap().starts_with("sim-aws-account=000011112222;"));
        assert_eq!(get(&market, "/account?id=1").await.status, 400);
        let cookie = [("cookie", "a=b; sim-aws-account=000011112222")];
        send(market.pages(), "POST", "/product/seats/subscribe", &[cookie[0], ("content-type", "application/x-www-form-urlencoded")], b"quantity=25").await;
        let theirs = send(market.pages(), "GET", "/subscriptions", &cookie, b"").await.text();
        assert!(theirs.contains("Broker &#60;Contract&#62; &#38; more"));
        assert!(get(&market, "/subscriptions").await.text().contains("id=\"no-subscriptions\""));
        let id = market.lock().agreements.keys().next().unwrap().clone();
        assert_eq!(get(&market, &format!("/subscriptions/{id}")).await.status, 404, "another buyer's");
        let details = send(market.pages(), "GET", &format!("/subscriptions/{id}"), &cookie, b"").await.text();
        assert!(details.contains("<td>25</td>") && details.contains("id=\"change-renewal\""));
        assert!(!details.contains("id=\"cancel-subscription\""));
    }
}
