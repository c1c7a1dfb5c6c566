//! `list_links` and `list_refused_links`: what became of an organization's links, and which were never made and why.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::call::{ListOf, read};
use super::{Operation, Refusal};
use crate::ledger::{Provider, Row};
use crate::link::history::LinkRecord;
use crate::link::{Contact, Link, LinkState, RefusedLink, organization_partition};
use crate::person::PersonId;
use crate::web::organizations::RefusalView;
use crate::web::page::{Answer, Instant};
use crate::web::{App, WebError};

/// Links a page.
const PAGE: i32 = 50;

/// A link, active or over.
#[derive(Debug, Serialize)]
pub(super) struct LinkView {
    id: String,
    organization: String,
    organization_name: String,
    subscription: String,
    marketplace: Provider,
    /// The product's name inside the vendor's console.
    product: String,
    /// The marketplace's code of it.
    product_code: String,
    /// `state`, with `since`, or `at` and `cause`.
    #[serde(flatten)]
    state: LinkState,
    person: PersonId,
    contact: Contact,
    /// What the policy asked for when it was linked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    answers: BTreeMap<String, String>,
    created_at: Instant,
}

impl LinkView {
    /// Of a link to a purchase of the product with that code.
    pub fn new(app: &App, link: Link, product: String) -> Self {
        let marketplace = link.subscription.provider();
        let listing = app.policy.listing(marketplace, &product);
        Self {
            id: link.id,
            organization: link.organization,
            organization_name: link.organization_name,
            marketplace,
            subscription: link.subscription.to_string(),
            product: listing.map_or_else(|| product.clone(), |listing| listing.product.clone()),
            product_code: product,
            state: link.state,
            person: link.person,
            contact: link.contact,
            answers: link.answers,
            created_at: link.created_at.into(),
        }
    }
}

/// The link an organization has, or had last. One Query.
pub(super) async fn newest_link(app: &App, organization: &str) -> Result<Option<LinkView>, WebError> {
    let partition = organization_partition(organization);
    let page = app.ledger.newest(&partition, LinkRecord::PREFIX, None, 1).await?;
    let Some(found) = page.items.into_iter().next() else { return Ok(None) };
    let LinkRecord { link, product } = found.read()?.doc;
    Ok(Some(LinkView::new(app, link, product)))
}

/// Answers `POST /v1/links`: newest first. One Query.
pub(super) async fn list_links(app: &App, body: &Bytes) -> Result<Answer, WebError> {
    let (organization, after) = match page(Operation::ListLinks, body, LinkRecord::PREFIX) {
        Ok(page) => page,
        Err(refusal) => return Ok(refusal.into()),
    };
    let partition = organization_partition(&organization);
    let found = app.ledger.newest(&partition, LinkRecord::PREFIX, after.as_deref(), PAGE).await?;
    let mut links = Vec::new();
    for item in found.items {
        let LinkRecord { link, product } = item.read()?.doc;
        links.push(LinkView::new(app, link, product));
    }
    let links = json!({"organization": organization, "links": links});
    Ok(Answer::json(with_next(links, found.next, LinkRecord::PREFIX), "links told"))
}

#[derive(Serialize)]
struct RefusedView {
    subscription: String,
    marketplace: Provider,
    reasons: Vec<RefusalView>,
    person: PersonId,
    at: Instant,
}

/// Answers `POST /v1/refused-links`. One Query.
pub(super) async fn list_refused_links(app: &App, body: &Bytes) -> Result<Answer, WebError> {
    let (organization, after) = match page(Operation::ListRefusedLinks, body, RefusedLink::PREFIX) {
        Ok(page) => page,
        Err(refusal) => return Ok(refusal.into()),
    };
    let partition = organization_partition(&organization);
    let found = app.ledger.partition(&partition, RefusedLink::PREFIX, after.as_deref(), PAGE).await?;
    let mut refused = Vec::new();
    for item in found.items {
        let row: Row<RefusedLink> = item.read()?;
        refused.push(RefusedView {
            marketplace: row.doc.subscription.provider(),
            subscription: row.doc.subscription.to_string(),
            reasons: RefusalView::all(&row.doc.reasons, &app.policy),
            person: row.doc.person,
            at: row.doc.at.into(),
        });
    }
    let refused = json!({"organization": organization, "refused_links": refused});
    Ok(Answer::json(with_next(refused, found.next, RefusedLink::PREFIX), "refused links told"))
}

/// Whose list, and the sort key it continues behind.
fn page(operation: Operation, body: &[u8], prefix: &str) -> Result<(String, Option<String>), Refusal> {
    let call: ListOf = read(operation, body)?;
    let after = call.after.map(|place| format!("{prefix}{}", place.as_str()));
    Ok((call.organization.as_str().to_owned(), after))
}

/// An answer with where its next page starts: the sort key without its prefix.
pub(super) fn with_next(mut answer: serde_json::Value, next: Option<String>, prefix: &str) -> serde_json::Value {
    let next = next.as_deref().and_then(|sk| sk.strip_prefix(prefix));
    if let (Some(members), Some(next)) = (answer.as_object_mut(), next) {
        members.insert("next".to_owned(), json!(next));
    }
    answer
}
