//! The marketplace: search, an offer with its plans, and the purchase in three steps: Basics, Tags, Review. An offer has
//! a second page, outside the portal, with "Get it now".
//!
//! The three steps are one form. What was typed on the other steps is carried along in hidden fields, so that nothing
//! is kept before "Subscribe". Resource groups are made up: any name will do.

use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::buyer::Buyer;
use super::frame::{Frame, page};
use super::lifecycle::{Order, Refusal};
use super::listings::{Offer, Plan, Seats, TermUnit};
use super::pages::refused;
use super::{AzureMarketplace, Desk};

#[derive(Template)]
#[template(path = "azure/search.html")]
struct SearchPage<'a> {
    frame: Frame<'a>,
    q: &'a str,
    found: Vec<&'a Offer>,
}

#[derive(Template)]
#[template(path = "azure/offer.html")]
struct OfferPage<'a> {
    frame: Frame<'a>,
    offer: &'a Offer,
    plans: Vec<&'a Plan>,
    /// What this account has of it already.
    owned: Option<String>,
}

#[derive(Template)]
#[template(path = "azure/storefront.html")]
struct Storefront<'a> {
    frame: Frame<'a>,
    offer: &'a Offer,
}

#[derive(Template)]
#[template(path = "azure/subscribe.html")]
struct SubscribePage<'a> {
    frame: Frame<'a>,
    offer: &'a Offer,
    plans: Vec<&'a Plan>,
    /// Some plan is sold by the seat.
    seats: Option<Seats>,
    terms: Vec<TermUnit>,
    step: Step,
    form: Draft,
    errors: Vec<(&'static str, &'static str)>,
    azure_subscription: String,
    plan_name: String,
    term_words: &'static str,
    total: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Basics,
    Tags,
    Review,
}

impl Step {
    fn is(self, name: &str) -> bool {
        matches!((self, name), (Self::Basics, "basics") | (Self::Tags, "tags") | (Self::Review, "review"))
    }
}

/// What has been typed so far.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Draft {
    go: String,
    name: String,
    resource_group: String,
    plan: String,
    quantity: String,
    term: String,
    recurring: String,
    tag_name: String,
    tag_value: String,
}

impl SubscribePage<'_> {
    fn error(&self, field: &str) -> Option<&'static str> {
        self.errors.iter().find(|(name, _)| *name == field).map(|(_, words)| *words)
    }
}

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
}

pub(super) async fn search(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Query(search): Query<Search>,
) -> Response {
    let q = search.q.trim();
    let wanted = q.to_lowercase();
    let matches = |offer: &&Offer| {
        let title = offer.title.to_lowercase();
        wanted.split_whitespace().all(|word| title.contains(word))
    };
    let found = market.config().offers.iter().filter(matches).collect();
    page(StatusCode::OK, &SearchPage { frame: Frame::of(market.config(), &buyer), q, found })
}

pub(super) async fn offer(State(market): State<AzureMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let Some(offer) = desk.offer(&id) else { return refused(frame, Refusal::UnknownOffer, "/") };
        let owned = desk.live(buyer, &id);
        page(StatusCode::OK, &OfferPage { frame, offer, plans: public(offer), owned })
    })
}

/// The offer as the web shows it to everybody, before anybody signs in to the portal.
pub(super) async fn storefront(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let Some(offer) = desk.offer(&id) else { return refused(frame, Refusal::UnknownOffer, "/") };
        page(StatusCode::OK, &Storefront { frame, offer })
    })
}

#[derive(Deserialize)]
pub(super) struct Chosen {
    #[serde(default)]
    plan: String,
}

pub(super) async fn begin(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Query(chosen): Query<Chosen>,
) -> Response {
    market.desk(|desk| {
        let Some(offer) = desk.offer(&id) else {
            return refused(Frame::of(desk.config, &buyer), Refusal::UnknownOffer, "/");
        };
        let plan = offer.plan(&chosen.plan).or(offer.plans.first());
        let form = Draft {
            plan: plan.map(|plan| plan.id.clone()).unwrap_or_default(),
            term: "P1M".to_owned(),
            recurring: "on".to_owned(),
            quantity: plan.and_then(|plan| plan.seats).map(|seats| seats.min.to_string()).unwrap_or_default(),
            ..Draft::default()
        };
        desk.checkout(buyer, offer, Step::Basics, form, Vec::new())
    })
}

pub(super) async fn go_on(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<Draft>,
) -> Response {
    market.desk(|desk| {
        let Some(offer) = desk.offer(&id) else {
            return refused(Frame::of(desk.config, &buyer), Refusal::UnknownOffer, "/");
        };
        if form.go == "basics" {
            return desk.checkout(buyer, offer, Step::Basics, form, Vec::new());
        }
        let errors = mistakes(offer, &form);
        if !errors.is_empty() {
            return desk.checkout(buyer, offer, Step::Basics, form, errors);
        }
        match form.go.as_str() {
            "tags" => return desk.checkout(buyer, offer, Step::Tags, form, Vec::new()),
            "subscribe" => {}
            _ => return desk.checkout(buyer, offer, Step::Review, form, Vec::new()),
        }
        let tags = (!form.tag_name.trim().is_empty()).then(|| (form.tag_name.clone(), form.tag_value.clone()));
        let order = Order {
            offer: offer.id.clone(),
            quantity: seats_of(offer, &form),
            term: TermUnit::parse(&form.term).unwrap_or(TermUnit::P1M),
            auto_renew: form.recurring == "on",
            buyer: buyer.0,
            resold: false,
            name: form.name.trim().to_owned(),
            plan: form.plan,
            resource_group: form.resource_group.trim().to_owned(),
            tags: tags.into_iter().collect(),
        };
        match desk.purchase(order) {
            Ok(id) => Redirect::to(&format!("/saas/{id}/progress")).into_response(),
            Err(refusal) => refused(Frame::of(desk.config, &buyer), refusal, &format!("/offer/{}", offer.id)),
        }
    })
}

impl Desk<'_> {
    fn checkout(
        &self,
        buyer: Buyer,
        offer: &Offer,
        step: Step,
        form: Draft,
        errors: Vec<(&'static str, &'static str)>,
    ) -> Response {
        let plan = offer.plan(&form.plan);
        let term = TermUnit::parse(&form.term).unwrap_or(TermUnit::P1M);
        let mut terms: Vec<TermUnit> = offer.plans.iter().flat_map(|plan| plan.terms.clone()).collect();
        terms.sort_by_key(|term| term.months());
        terms.dedup();
        let seats = seats_of(offer, &form);
        let price = plan.map(|plan| plan.price(term)).unwrap_or_default();
        let each = if plan.is_some_and(|plan| plan.seats.is_some()) { " a seat" } else { "" };
        let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let content = SubscribePage {
            frame: Frame::of(self.config, &buyer),
            offer,
            plans: public(offer),
            seats: offer.plans.iter().find_map(|plan| plan.seats),
            terms,
            step,
            errors,
            azure_subscription: buyer.0.azure_subscription(),
            plan_name: plan.map(|plan| plan.name.clone()).unwrap_or_default(),
            term_words: term.words(),
            total: match seats {
                Some(seats) => format!("${price}{each}, {seats} seats"),
                None => format!("${price}"),
            },
            form,
        };
        page(status, &content)
    }

    /// The newest subscription of an account to an offer that has not ended.
    fn live(&self, buyer: Buyer, offer: &str) -> Option<String> {
        let all = self.state.subscriptions.values();
        let live = all.filter(|one| one.offer == offer && one.buyer == buyer.0.key && one.ended.is_none());
        live.max_by_key(|one| one.created).map(|one| one.id.clone())
    }
}

fn public(offer: &Offer) -> Vec<&Plan> {
    offer.plans.iter().filter(|plan| !plan.private).collect()
}

/// The seats of a plan that has seats.
fn seats_of(offer: &Offer, form: &Draft) -> Option<u32> {
    offer.plan(&form.plan)?.seats?;
    form.quantity.trim().parse().ok()
}

fn mistakes(offer: &Offer, form: &Draft) -> Vec<(&'static str, &'static str)> {
    let mut mistakes = Vec::new();
    if form.name.trim().is_empty() || form.name.chars().count() > 120 {
        mistakes.push(("name", "Give the subscription a name of at most 120 characters."));
    }
    if form.resource_group.trim().is_empty() {
        mistakes.push(("resource_group", "Name a resource group. Any name will do."));
    }
    match offer.plan(&form.plan) {
        None => mistakes.push(("plan", "Choose a plan.")),
        Some(plan) => {
            if !plan.takes(seats_of(offer, form)) {
                mistakes.push(("quantity", "The plan is not sold with that number of seats."));
            }
            if TermUnit::parse(&form.term).is_none_or(|term| !plan.terms.contains(&term)) {
                mistakes.push(("term", "The plan is not sold for that billing term."));
            }
        }
    }
    mistakes
}
