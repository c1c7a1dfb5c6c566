//! The product meters itself: what an organization uses is noted first, under a key of its own, and reported to
//! Tradepost then. A note without an answer is reported again, under the same key, so nothing is lost and nothing
//! counts twice whatever breaks off in between. Usage can be kept back, as a product does that reports now and then;
//! when Tradepost asks for the final usage (`usage.final_requested`), everything is reported.
//!
//! The panel on `/deployments` uses something now and shows what Tradepost answered, and what became of the newest hours.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Form, State as Shared};
use axum::response::Response;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Vendor;
use super::page::{self, Instant};
use super::random;
use super::tradepost_client::{ReportedUsage, UsageHour, UsageToReport};

/// So many notes are kept.
const KEPT: usize = 500;
/// So many are reported in one call.
const BATCH: usize = 500;
/// So many are shown.
const SHOWN: usize = 5;
/// The longest quantity a form takes.
const LONGEST_QUANTITY: usize = 20;

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/usage", post(used)).route("/usage/report", post(report_kept_back))
}

/// Something the product can meter, and what one of it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// The marketplace's id of the dimension.
    pub dimension: String,
    /// For people.
    pub unit: String,
}

/// What the product noted, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Usage {
    notes: Vec<Note>,
}

/// Something that was used.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    key: String,
    organization: String,
    dimension: String,
    quantity: String,
    at: Timestamp,
    /// What Tradepost said of it; none until it is reported.
    answer: Option<ReportedUsage>,
}

impl Usage {
    /// Notes what was used; the oldest that are reported go.
    fn note(&mut self, organization: &str, dimension: String, quantity: String, at: Timestamp) {
        let (key, organization) = (random::id("use"), organization.to_owned());
        self.notes.push(Note { key, organization, dimension, quantity, at, answer: None });
        let mut too_many = self.notes.len().saturating_sub(KEPT);
        self.notes.retain(|note| {
            let goes = too_many > 0 && note.answer.is_some();
            too_many = too_many.saturating_sub(usize::from(goes));
            !goes
        });
    }

    /// What is to be reported of an organization, oldest first.
    fn open(&self, organization: &str) -> Vec<UsageToReport> {
        let open = self.notes.iter().filter(|note| note.organization == organization && note.answer.is_none());
        let event = |note: &Note| UsageToReport {
            key: note.key.clone(),
            organization: note.organization.clone(),
            dimension: note.dimension.clone(),
            quantity: note.quantity.clone(),
            at: note.at,
        };
        open.take(BATCH).map(event).collect()
    }

    /// Keeps what was answered of each.
    fn settle(&mut self, events: &[UsageToReport], answers: Vec<ReportedUsage>) {
        for (event, answer) in events.iter().zip(answers) {
            if let Some(note) = self.notes.iter_mut().find(|note| note.key == event.key) {
                note.answer = Some(answer);
            }
        }
    }
}

/// Reports what is open of an organization; false if Tradepost does not take it just now.
pub(super) async fn report(vendor: &Vendor, organization: &str) -> bool {
    let (events, now) = vendor.at_desk(|state, now| (state.usage.open(organization), now));
    if events.is_empty() {
        return true;
    }
    let Some(answers) = vendor.tradepost().report_usage(&events, now).await else { return false };
    vendor.at_desk(|state, _| state.usage.settle(&events, answers));
    true
}

/// What Tradepost has of the organizations of whoever is signed in that used something.
pub(super) async fn hours_of_signed_in(vendor: &Vendor, headers: &HeaderMap) -> BTreeMap<String, Vec<UsageHour>> {
    let (organizations, now) = vendor.at_desk(|state, now| {
        let person = state.signed_in(headers, now);
        let own = person.into_iter().flat_map(|person| state.organizations_of(&person.id));
        let used = |id: &str| state.usage.notes.iter().any(|note| note.organization == id);
        let users = own.map(|(organization, _)| organization.id.clone()).filter(|id| used(id));
        (users.collect::<Vec<_>>(), now)
    });
    let mut hours = BTreeMap::new();
    for organization in organizations {
        let told = vendor.tradepost().list_usage(&organization, now).await.unwrap_or_default();
        hours.insert(organization, told);
    }
    hours
}

/// The panel of one organization.
pub(super) struct Panel {
    /// What can be used.
    pub meters: Vec<Metered>,
    /// The newest notes, newest first.
    pub lines: Vec<PanelLine>,
    /// There is something that has not been reported.
    pub kept_back: bool,
    /// What became of the newest hours.
    pub hours: Vec<HourLine>,
}

/// An hour on the panel.
pub(super) struct HourLine {
    pub hour: Instant,
    /// `open`, `sealed`, `accepted`, …
    pub state: String,
    pub words: String,
}

impl From<&UsageHour> for HourLine {
    fn from(hour: &UsageHour) -> Self {
        let unit = hour.unit.as_ref().unwrap_or(&hour.dimension);
        let billed = hour.billed.as_ref().map(|billed| format!(", {billed} billed")).unwrap_or_default();
        let reason = hour.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let words = format!("{} {unit}{billed}{reason}", hour.used);
        Self { hour: hour.hour.into(), state: hour.state.clone(), words }
    }
}

/// A note on the panel.
pub(super) struct PanelLine {
    pub quantity: String,
    pub unit: String,
    pub at: Instant,
    /// `kept`, `accepted`, `duplicate` or `refused`.
    pub outcome: String,
    pub words: String,
}

impl Panel {
    /// None if the product meters nothing.
    pub fn of(vendor: &Vendor, usage: &Usage, organization: &str, hours: &[UsageHour]) -> Option<Self> {
        let meters = vendor.config().meters.clone();
        if meters.is_empty() {
            return None;
        }
        let own = || usage.notes.iter().filter(|note| note.organization == organization);
        let unit = |dimension: &str| {
            let meter = meters.iter().find(|meter| meter.dimension == dimension);
            meter.map_or_else(|| dimension.to_owned(), |meter| meter.unit.clone())
        };
        let line = |note: &Note| PanelLine {
            quantity: note.quantity.clone(),
            unit: unit(&note.dimension),
            at: note.at.into(),
            outcome: note.answer.as_ref().map_or_else(|| "kept".to_owned(), |answer| answer.outcome.clone()),
            words: words(note.answer.as_ref()),
        };
        let lines = own().rev().take(SHOWN).map(line).collect();
        let kept_back = own().any(|note| note.answer.is_none());
        Some(Self { lines, kept_back, meters, hours: hours.iter().take(SHOWN).map(HourLine::from).collect() })
    }
}

fn words(answer: Option<&ReportedUsage>) -> String {
    let Some(answer) = answer else { return "not reported yet".to_owned() };
    let hour = answer.hour.map(|hour| format!(", in the hour of {}", Instant::from(hour).shown)).unwrap_or_default();
    match (answer.outcome.as_str(), &answer.reason) {
        ("accepted", _) => format!("counted{hour}"),
        ("duplicate", _) => format!("counted before{hour}"),
        (_, Some(why)) => format!("refused: {}", why.text),
        (other, None) => other.to_owned(),
    }
}

#[derive(Deserialize)]
struct Used {
    organization: String,
    dimension: String,
    quantity: String,
    /// A ticked box sends something, an empty one nothing.
    later: Option<String>,
}

async fn used(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Form(form): Form<Used>) -> Response {
    let refused = vendor.at_desk(|state, now| {
        let Some(person) = state.signed_in(&headers, now) else {
            return Some(page::see_other("/sign-in"));
        };
        if state.organizations_of(&person.id).all(|(organization, _)| organization.id != form.organization) {
            return Some(page::unknown(&vendor));
        }
        let metered = vendor.config().meters.iter().any(|meter| meter.dimension == form.dimension);
        let quantity = form.quantity.trim();
        if !metered || quantity.is_empty() || quantity.len() > LONGEST_QUANTITY {
            return Some(page::problem(
                &vendor,
                StatusCode::UNPROCESSABLE_ENTITY,
                "That cannot be used",
                "Choose what is metered, and a quantity such as 1 or 0.5.",
            ));
        }
        state.usage.note(&form.organization, form.dimension.clone(), quantity.to_owned(), now);
        None
    });
    if let Some(refused) = refused {
        return refused;
    }
    if form.later.is_none() {
        report(&vendor, &form.organization).await;
    }
    page::see_other("/deployments")
}

#[derive(Deserialize)]
struct Whose {
    organization: String,
}

async fn report_kept_back(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Form(form): Form<Whose>) -> Response {
    let belongs = vendor.at_desk(|state, now| {
        let person = state.signed_in(&headers, now)?;
        state.organizations_of(&person.id).find(|(organization, _)| organization.id == form.organization).map(|_| ())
    });
    if belongs.is_none() {
        return page::unknown(&vendor);
    }
    report(&vendor, &form.organization).await;
    page::see_other("/deployments")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn answered(outcome: &str) -> ReportedUsage {
        ReportedUsage { outcome: outcome.to_owned(), hour: None, reason: None }
    }

    #[test]
    fn what_is_not_answered_is_reported_again_under_its_key() {
        let mut usage = Usage::default();
        usage.note("o", "gb".to_owned(), "1".to_owned(), at(1));
        usage.note("other", "gb".to_owned(), "1".to_owned(), at(2));
        usage.note("o", "gb".to_owned(), "2".to_owned(), at(3));
        let first = usage.open("o");
        assert_eq!(first.iter().map(|event| event.quantity.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(usage.open("o").first().map(|event| event.key.clone()), Some(first[0].key.clone()));
        usage.settle(&first, vec![answered("accepted"), answered("refused")]);
        assert!(usage.open("o").is_empty());
        assert_eq!(usage.open("other").len(), 1);
    }

    #[test]
    fn what_is_open_never_goes() {
        let mut usage = Usage::default();
        usage.note("kept", "gb".to_owned(), "1".to_owned(), at(1));
        for second in 0..600 {
            usage.note("o", "gb".to_owned(), "1".to_owned(), at(second));
            let events = usage.open("o");
            usage.settle(&events, vec![answered("accepted")]);
        }
        assert_eq!((usage.notes.len(), usage.open("kept").len()), (KEPT, 1));
    }
}
