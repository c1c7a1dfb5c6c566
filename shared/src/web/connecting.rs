//! Starting from the product instead of from the marketplace: the vendor's console sends people to `/connect`, where they
//! choose a marketplace and go on to the listing there. Nobody has to be signed in; nothing is linked by it.
//!
//! `/connect?organization=…` remembers which organization they came from, as a hint in a cookie of its own: when they come
//! back with a purchase it is the one that is proposed, if it is theirs.

use http::StatusCode;
use serde::Serialize;

use super::page::{Answer, Page};
use super::{App, Visit, WebError};
use crate::ledger::Provider;

/// Where to go on.
#[derive(Debug, Serialize)]
pub struct ConnectView {
    /// The marketplaces something is listed in.
    pub marketplaces: Vec<Provider>,
    /// The chosen one, or the only one.
    pub chosen: Option<Provider>,
    /// Its listings.
    pub listings: Vec<ListingView>,
}

/// A listing to go on to.
#[derive(Debug, Serialize)]
pub struct ListingView {
    /// Its title there.
    pub title: String,
    /// Its page there.
    pub url: String,
}

/// The page.
pub fn show(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    let listings = &app.policy.listings;
    let lists = |market: &Provider| listings.iter().any(|listing| listing.marketplace == *market);
    let marketplaces: Vec<Provider> = [Provider::Aws, Provider::Azure].into_iter().filter(lists).collect();
    let asked = visit.parameter("marketplace");
    let named = marketplaces.iter().find(|market| asked.as_deref() == Some(market.to_string().as_str()));
    let chosen = match (named, marketplaces.as_slice()) {
        (Some(named), _) => Some(*named),
        (None, [only]) if asked.is_some() => Some(*only),
        (None, _) => None,
    };
    let there = listings.iter().filter(|listing| Some(listing.marketplace) == chosen);
    let there = there.map(|listing| ListingView { title: listing.title.clone(), url: listing.url.clone() });
    let view = ConnectView { marketplaces, chosen, listings: there.collect() };
    let answer = Answer::page(Page::Connect(view), StatusCode::OK, "marketplaces offered");
    Ok(match visit.parameter("organization") {
        Some(organization) => answer.remembering(organization),
        None => answer,
    })
}
