//! The vendor's product as a client of Tradepost's usage API: it reports with signed calls, keeps books of its own of what
//! was counted, and reads back what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tradepost::usage::Quantity;

use super::play::Play;
use crate::stack::{Stack, loopback_client};
use crate::vendor::signed_client::{SignedClient, Why};

/// A dimension's hour.
pub(super) type HourOf = (String, Timestamp);

/// Something that was used. The key makes it count once.
#[derive(Clone, Debug)]
pub(super) struct Used {
    pub key: &'static str,
    pub dimension: &'static str,
    pub quantity: &'static str,
    pub at: Timestamp,
    /// The team it is for, as a tag.
    pub team: Option<&'static str>,
}

/// Something that was used, without tags.
pub(super) fn used(key: &'static str, dimension: &'static str, quantity: &'static str, at: Timestamp) -> Used {
    Used { key, dimension, quantity, at, team: None }
}

/// What Tradepost says of an event.
#[derive(Debug, Deserialize)]
struct Said {
    outcome: String,
    subscription: Option<String>,
    hour: Option<Timestamp>,
    reason: Option<Why>,
}

/// An hour as Tradepost has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ToldHour {
    pub dimension: String,
    pub hour: Timestamp,
    pub state: String,
    pub used: String,
    pub included: Option<String>,
    pub billed: Option<String>,
    pub record: Option<String>,
    pub reason: Option<String>,
}

/// A dimension's sums as Tradepost has them.
#[derive(Debug, Deserialize)]
pub(super) struct ToldSums {
    pub dimension: String,
    pub carried: String,
    pub terms: Vec<ToldTerm>,
}

/// The sums of one term.
#[derive(Debug, Deserialize)]
pub(super) struct ToldTerm {
    pub used: String,
    pub included: String,
    pub accepted: String,
    pub pending: String,
    pub refused: String,
    pub expired: String,
    pub remainder: String,
}

/// The product of one organization.
pub(super) struct Product {
    stack: Arc<Stack>,
    client: SignedClient,
    organization: String,
    /// The first hour of the story.
    begun: Timestamp,
    /// What was counted, in which hour.
    pub posted: BTreeMap<HourOf, Quantity>,
    /// Hours that are billed although the marketplace named no record of them: AWS does not where it says
    /// `DuplicateRecord`.
    pub unnamed: usize,
    /// Who pays, once Tradepost has said so.
    subscription: Option<String>,
}

impl Product {
    pub fn of(play: &Play, organization: &str, begun: Timestamp) -> anyhow::Result<Self> {
        let client = SignedClient::new(play.tradepost(), play.stack.vendor_api_secret(), loopback_client()?);
        Ok(Self {
            stack: Arc::clone(&play.stack),
            client: client.context("the secret cannot sign")?,
            organization: organization.to_owned(),
            begun,
            posted: BTreeMap::new(),
            unnamed: 0,
            subscription: None,
        })
    }

    /// A time of the story: so many hours and minutes after its first hour began.
    pub fn at(&self, hour: i64, minute: i64) -> Timestamp {
        let since = SignedDuration::from_mins(hour.saturating_mul(60).saturating_add(minute));
        self.begun.saturating_add(since).unwrap_or(Timestamp::MAX)
    }

    /// The marketplace's own id of who pays: AWS's agreement, Microsoft's subscription.
    pub fn purchase(&self) -> anyhow::Result<&str> {
        let id = self.subscription.as_deref().and_then(|key| key.split('|').nth(1));
        id.context("nothing has been counted yet, so nobody knows who pays")
    }

    /// Reports in one call. Each event must be answered as wanted: `accepted`, `duplicate`, or the code of a refusal.
    pub async fn report(&mut self, events: &[Used], wanted: &[&str]) -> anyhow::Result<Vec<Option<Timestamp>>> {
        #[derive(Deserialize)]
        struct Answer {
            results: Vec<Said>,
        }
        let written: Vec<Value> = events.iter().map(|event| self.written(event)).collect();
        let answer: Answer = self.call("/v1/usage", &json!({"operation": "report_usage", "events": written})).await?;
        let word = |said: &Said| said.reason.as_ref().map_or_else(|| said.outcome.clone(), |why| why.code.clone());
        let words: Vec<String> = answer.results.iter().map(word).collect();
        ensure!(words == wanted, "it was answered {words:?}, not {wanted:?}");
        for (event, said) in events.iter().zip(&answer.results) {
            if let ("accepted", Some(hour)) = (said.outcome.as_str(), said.hour) {
                self.note(event.dimension, event.quantity, hour)?;
                self.subscription.clone_from(&said.subscription);
            }
        }
        Ok(answer.results.iter().map(|said| said.hour).collect())
    }

    /// Notes what the product counted by itself.
    pub fn note(&mut self, dimension: &str, quantity: &str, hour: Timestamp) -> anyhow::Result<()> {
        let sum = self.posted.entry((dimension.to_owned(), hour)).or_default();
        *sum = sum.plus(Quantity::parse(quantity)?).context("more than can be counted")?;
        Ok(())
    }

    /// Every hour that Tradepost has of the organization.
    pub async fn hours(&self) -> anyhow::Result<BTreeMap<HourOf, ToldHour>> {
        #[derive(Deserialize)]
        struct Page {
            hours: Vec<ToldHour>,
            next: Option<String>,
        }
        // With the subscription and not the organization: hours without usage are nobody's.
        let mut call = json!({"operation": "list_usage", "subscription": self.subscription});
        let mut hours = BTreeMap::new();
        loop {
            let page: Page = self.call("/v1/usage/hours", &call).await?;
            hours.extend(page.hours.into_iter().map(|hour| ((hour.dimension.clone(), hour.hour), hour)));
            match (page.next, call.as_object_mut()) {
                (Some(next), Some(members)) => drop(members.insert("after".to_owned(), json!(next))),
                _ => return Ok(hours),
            }
        }
    }

    /// The sums of the purchase.
    pub async fn sums(&self) -> anyhow::Result<Vec<ToldSums>> {
        #[derive(Deserialize)]
        struct Page {
            totals: Vec<ToldSums>,
        }
        let call = json!({"operation": "list_usage", "subscription": self.subscription});
        Ok(self.call::<Page>("/v1/usage/hours", &call).await?.totals)
    }

    fn written(&self, event: &Used) -> Value {
        let mut written = json!({
            "key": event.key, "organization": self.organization, "dimension": event.dimension,
            "quantity": event.quantity, "at": event.at,
        });
        if let (Some(team), Some(members)) = (event.team, written.as_object_mut()) {
            members.insert("tags".to_owned(), json!({"team": team}));
        }
        written
    }

    async fn call<T: DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        let answer = self.client.call(path, body.to_string(), self.stack.clock.now()).await;
        let answer = answer.map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
        Ok(serde_json::from_slice(&answer)?)
    }
}
