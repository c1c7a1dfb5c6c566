//! What the vendor's own servers ask of Tradepost: how an organization is billed through a marketplace, tokens with
//! which the console's own pages may ask, and that usage be billed. This is the example of such a client for a vendor to copy.
//!
//! How a call is signed is in `signed_client`. A page must never wait for or fail with another service, so one deadline
//! covers all pages of an answer, and whatever goes wrong is one value that a page shows as a quiet note. Nothing is
//! tried again: the next look at the page is the next attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::signed_client::{NotTold, SignedClient, Why};

/// No page waits longer than this, whatever is asked.
const DEADLINE: Duration = Duration::from_secs(3);
/// Pages of one answer; fifty deployments each.
const MOST_PAGES: usize = 20;

/// How an organization stands with a marketplace.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// It never had a purchase.
    Nothing,
    /// What Tradepost says.
    Billing(Box<Billing>),
    /// Tradepost could not be asked, or its answer does not read.
    NotNow,
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LinkState {
    Syncing,
    Linked,
    Failed,
    Unlinked,
}

/// How an organization is billed. Members that this vendor has no use for are not read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Billing {
    pub product: String,
    pub marketplace: Marketplace,
    /// Empty unless linked.
    pub payment_method: String,
    pub state: LinkState,
    /// What the end of the subscription concerns.
    #[serde(default)]
    pub concerned: Vec<Concerned>,
    /// There are more of them, from here on.
    #[serde(default)]
    pub next: Option<String>,
    pub updated_at: Timestamp,
}

/// Who sold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Marketplace {
    Aws,
    Azure,
}

/// A deployment that the end of the subscription concerns.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Concerned {
    pub id: String,
    pub name: String,
    /// `running` (a trial), `stopping`, `stopped`, `deleting`, `deleted`; there may be others one day.
    pub state: String,
    /// When a running trial stops.
    #[serde(default)]
    pub stops_at: Option<Timestamp>,
    /// Deleted after this instant, unless somebody pays.
    #[serde(default)]
    pub deleted_after: Option<Timestamp>,
    /// Why it is kept although its time has come.
    #[serde(default)]
    pub held: Option<String>,
}

/// Something that was used, as it is reported.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UsageToReport {
    /// Its own id: the same key counts once.
    pub key: String,
    pub organization: String,
    pub dimension: String,
    /// As text, so that nothing rounds it.
    pub quantity: String,
    pub at: Timestamp,
}

/// What Tradepost says of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReportedUsage {
    /// `accepted`, `duplicate` or `refused`.
    pub outcome: String,
    /// When the hour begins that it is billed in.
    #[serde(default)]
    pub hour: Option<Timestamp>,
    /// Why it is refused.
    #[serde(default)]
    pub reason: Option<Why>,
}

/// One hour of usage as Tradepost has it. Members that this vendor has no use for are not read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct UsageHour {
    pub dimension: String,
    #[serde(default)]
    pub unit: Option<String>,
    /// When it begins.
    pub hour: Timestamp,
    /// `open`, `sealed`, `accepted`; there are others.
    pub state: String,
    pub used: String,
    /// What the marketplace was told, once it is frozen.
    #[serde(default)]
    pub billed: Option<String>,
    #[serde(default)]
    pub reason: Option<String>,
}

impl LinkState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Syncing => "syncing",
            Self::Linked => "linked",
            Self::Failed => "failed",
            Self::Unlinked => "unlinked",
        }
    }
}

impl Marketplace {
    /// As people call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Aws => "AWS Marketplace",
            Self::Azure => "Azure Marketplace",
        }
    }
}

impl Told {
    pub fn billing(&self) -> Option<&Billing> {
        match self {
            Self::Billing(billing) => Some(billing),
            Self::Nothing | Self::NotNow => None,
        }
    }

    /// The state of the link, if there is one.
    pub fn state(&self) -> Option<LinkState> {
        self.billing().map(|billing| billing.state)
    }
}

/// Asks Tradepost. Cloning shares the connections.
#[derive(Clone)]
pub(super) struct TradepostClient {
    with: Option<SignedClient>,
}

impl TradepostClient {
    /// For Tradepost at `tradepost_url`; `secret` is the one it keeps as `vendor_api`.
    pub fn new(tradepost_url: &str, secret: &str, client: Option<reqwest::Client>) -> Self {
        let with = client.and_then(|client| SignedClient::new(tradepost_url, secret, client));
        if with.is_none() {
            tracing::error!("Tradepost cannot be asked: the secret is not a Standard Webhooks secret, or no client");
        }
        Self { with }
    }

    /// How an organization is billed, with everything that the end of its subscription concerns.
    pub async fn billing(&self, organization: &str, now: Timestamp) -> Told {
        self.within_the_deadline(organization, now, MOST_PAGES).await
    }

    /// Where the link of an organization stands; what is concerned may be cut short.
    pub async fn glance(&self, organization: &str, now: Timestamp) -> Told {
        self.within_the_deadline(organization, now, 1).await
    }

    /// [`Self::billing`] of several organizations, asked at the same time.
    pub async fn billing_of_each(&self, organizations: Vec<String>, now: Timestamp) -> BTreeMap<String, Told> {
        let mut asked = JoinSet::new();
        for organization in organizations {
            let client = self.clone();
            asked.spawn(async move {
                let told = client.billing(&organization, now).await;
                (organization, told)
            });
        }
        let mut told = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            told.extend(answer);
        }
        told
    }

    /// A token with which a page may ask how this organization stands, as Tradepost gives it; none if it cannot be had.
    pub async fn status_token(&self, organization: &str, now: Timestamp) -> Option<Value> {
        let body = json!({"operation": "create_status_token", "organization": organization});
        self.asked("/v1/status-token", &body, now).await
    }

    /// Reports usage: one answer an event, in their order. None if Tradepost did not say what became of it; the same
    /// events can be reported again.
    pub async fn report_usage(&self, events: &[UsageToReport], now: Timestamp) -> Option<Vec<ReportedUsage>> {
        #[derive(Deserialize)]
        struct Answer {
            results: Vec<ReportedUsage>,
        }
        let body = json!({"operation": "report_usage", "events": events});
        let answer: Answer = self.asked("/v1/usage", &body, now).await?;
        Some(answer.results).filter(|results| results.len() == events.len())
    }

    /// The newest hours of an organization; none if Tradepost did not tell.
    pub async fn list_usage(&self, organization: &str, now: Timestamp) -> Option<Vec<UsageHour>> {
        #[derive(Deserialize)]
        struct Answer {
            hours: Vec<UsageHour>,
        }
        let body = json!({"operation": "list_usage", "organization": organization});
        let answer: Answer = self.asked("/v1/usage/hours", &body, now).await?;
        Some(answer.hours)
    }

    /// One call within the deadline; a failure is logged.
    async fn asked<T: DeserializeOwned>(&self, path: &str, body: &Value, now: Timestamp) -> Option<T> {
        let asked = async { self.call(path, body.to_string(), now).await.and_then(|answer| read(&answer)) };
        match tokio::time::timeout(DEADLINE, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::warn!(path, %error, "Tradepost did not answer");
                None
            }
            Err(_) => {
                tracing::warn!(path, "Tradepost took too long to answer");
                None
            }
        }
    }

    async fn within_the_deadline(&self, organization: &str, now: Timestamp, pages: usize) -> Told {
        match tokio::time::timeout(DEADLINE, self.pages(organization, now, pages)).await {
            Ok(Ok(Some(billing))) => Told::Billing(Box::new(billing)),
            Ok(Ok(None)) => Told::Nothing,
            Ok(Err(error)) => {
                tracing::warn!(organization, %error, "Tradepost did not tell how an organization is billed");
                Told::NotNow
            }
            Err(_) => {
                tracing::warn!(organization, "Tradepost took too long to tell how an organization is billed");
                Told::NotNow
            }
        }
    }

    /// At most so many pages as one.
    async fn pages(&self, organization: &str, now: Timestamp, most: usize) -> Result<Option<Billing>, NotTold> {
        let Some(mut billing) = self.page(organization, None, now).await? else { return Ok(None) };
        for _ in 1..most {
            let Some(after) = billing.next.take() else { break };
            let Some(page) = self.page(organization, Some(&after), now).await? else { break };
            billing.concerned.extend(page.concerned);
            billing.next = page.next;
        }
        Ok(Some(billing))
    }

    async fn page(&self, organization: &str, after: Option<&str>, now: Timestamp) -> Result<Option<Billing>, NotTold> {
        let mut body = json!({"operation": "get_billing", "organization": organization});
        if let (Some(after), Some(members)) = (after, body.as_object_mut()) {
            members.insert("after".to_owned(), json!(after));
        }
        let answer = self.call("/v1/billing", body.to_string(), now).await?;
        // Of an organization without a purchase there is nothing else to read.
        #[derive(Deserialize)]
        struct State {
            state: String,
        }
        if read::<State>(&answer)?.state == "none" { Ok(None) } else { read(&answer).map(Some) }
    }

    async fn call(&self, path: &str, body: String, now: Timestamp) -> Result<Vec<u8>, NotTold> {
        self.with.as_ref().ok_or(NotTold::Setup)?.call(path, body, now).await
    }
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, NotTold> {
    serde_json::from_slice(answer).map_err(NotTold::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::bench::{StandIn, StandInAnswer, config, told};
    use crate::vendor::signed_client::LARGEST_ANSWER;

    const AT: &str = "2026-11-21T08:05:00Z";

    fn client(url: &str, secret: &str) -> TradepostClient {
        TradepostClient::new(url, secret, Some(reqwest::Client::builder().no_proxy().build().unwrap()))
    }

    async fn ask(answer: Option<StandInAnswer>) -> Told {
        let tradepost = StandIn::default();
        if let Some(answer) = answer {
            tradepost.answer("org-a", answer);
        }
        client(&tradepost.serve().await, &config().api_secret).billing("org-a", Timestamp::now()).await
    }

    #[tokio::test]
    async fn a_signed_call_is_answered_and_no_id_comes_twice() {
        let tradepost = StandIn::default();
        tradepost.answer("org-a", StandInAnswer::Json(told("linked", AT, json!([]))));
        let client = client(&tradepost.serve().await, &config().api_secret);
        let both = client.billing_of_each(vec!["org-a".to_owned(), "org-b".to_owned()], Timestamp::now()).await;
        assert_eq!(both["org-a"].state(), Some(LinkState::Linked));
        assert!(matches!(both["org-b"], Told::Nothing));
        let mut ids = tradepost.ids();
        ids.dedup();
        assert_eq!(ids.len(), 2);
    }

    #[tokio::test]
    async fn a_wrong_secret_a_wrong_clock_or_none_at_all_is_not_an_answer() {
        let url = StandIn::default().serve().await;
        let other = client(&url, "whsec_dHJhZGVwb3N0LWRlbW8tc2VjcmV0LWZvci10ZXN0cw==");
        assert!(matches!(other.glance("org-a", Timestamp::now()).await, Told::NotNow));
        let right = client(&url, &config().api_secret);
        assert!(matches!(right.glance("org-a", Timestamp::UNIX_EPOCH).await, Told::NotNow));
        assert!(matches!(client(&url, "no secret").glance("org-a", Timestamp::now()).await, Told::NotNow));
        let nowhere = client("http://127.0.0.1:1", &config().api_secret);
        assert!(matches!(nowhere.glance("org-a", Timestamp::now()).await, Told::NotNow));
    }

    #[tokio::test]
    async fn garbage_is_not_an_answer() {
        let ok = http::StatusCode::OK;
        let huge = format!("{{\"state\":\"none\",\"x\":\"{}\"}}", "x".repeat(LARGEST_ANSWER));
        let mut unheard = told("linked", AT, json!([]));
        unheard["state"] = json!("of a later version");
        for answer in [
            StandInAnswer::Text(ok, "<html>".to_owned()),
            StandInAnswer::Text(ok, "{\"state\":\"linked\"}".to_owned()),
            StandInAnswer::Text(ok, huge),
            StandInAnswer::Text(http::StatusCode::BAD_GATEWAY, "{\"state\":\"none\"}".to_owned()),
            StandInAnswer::Json(unheard),
        ] {
            assert!(matches!(ask(Some(answer)).await, Told::NotNow));
        }
        assert!(matches!(ask(None).await, Told::Nothing));
    }

    #[tokio::test]
    async fn whoever_takes_too_long_is_not_waited_for() {
        let before = std::time::Instant::now();
        assert!(matches!(ask(Some(StandInAnswer::Never)).await, Told::NotNow));
        assert!(before.elapsed() < DEADLINE + Duration::from_secs(2));
    }

    #[tokio::test]
    async fn all_pages_are_read_but_not_for_ever() {
        let page = |id: &str, next: Option<&str>| {
            let mut page = told("unlinked", AT, json!([{"id": id, "name": id, "state": "stopped"}]));
            page["next"] = next.map_or(Value::Null, |next| json!(next));
            page
        };
        let pages = [(String::new(), page("a", Some("a"))), ("a".to_owned(), page("b", None))];
        let told = ask(Some(StandInAnswer::Pages(pages.into()))).await;
        let billing = told.billing().unwrap();
        assert_eq!(billing.concerned.iter().map(|concerned| concerned.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(billing.next, None);

        let told = ask(Some(StandInAnswer::Json(page("a", Some("a"))))).await;
        let billing = told.billing().unwrap();
        assert_eq!((billing.concerned.len(), billing.next.as_deref()), (MOST_PAGES, Some("a")));
    }
}
