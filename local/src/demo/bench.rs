//! The test benches of the simulated marketplaces and the demo vendor, as scenarios and tests call them.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::stack::{Addresses, loopback_client};

/// All of them, over HTTP.
#[derive(Clone, Debug)]
pub struct Bench {
    at: Addresses,
    client: reqwest::Client,
}

impl Bench {
    /// The benches of the stack at these addresses.
    pub fn new(at: Addresses) -> anyhow::Result<Self> {
        Ok(Self { at, client: loopback_client()? })
    }

    /// A call to AWS Marketplace's test bench.
    pub async fn aws(&self, call: &str, body: Value) -> anyhow::Result<Value> {
        self.call(&format!("{}/sim/{call}", self.at.aws), body).await
    }

    /// A call to the Microsoft marketplace's test bench.
    pub async fn azure(&self, call: &str, body: Value) -> anyhow::Result<Value> {
        self.call(&format!("{}/sim/{call}", self.at.azure), body).await
    }

    /// The newest subscription in the Microsoft marketplace.
    pub async fn azure_subscription(&self) -> anyhow::Result<Value> {
        let state = self.state(&self.at.azure).await?;
        let all = state.get("subscriptions").and_then(Value::as_object).context("there are no subscriptions")?;
        let created = |one: &&Value| one.get("created").and_then(Value::as_str).map(str::to_owned);
        all.values().max_by_key(created).cloned().context("nothing was bought")
    }

    /// A call to the demo vendor's test bench.
    pub async fn vendor(&self, call: &str, body: Value) -> anyhow::Result<Value> {
        self.call(&format!("{}/sim/{call}", self.at.vendor), body).await
    }

    async fn call(&self, url: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{url}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or_else(|_| json!({})))
    }

    /// Everything the demo vendor knows.
    pub async fn vendor_state(&self) -> anyhow::Result<Value> {
        self.state(&self.at.vendor).await
    }

    /// The id of an organization as the vendor has it, by name.
    pub async fn organization(&self, name: &str) -> anyhow::Result<String> {
        let found = self.of_organization("name", name).await?;
        Ok(found.get("id").and_then(Value::as_str).context("it has no id")?.to_owned())
    }

    /// The plan of an organization in the vendor's books, by id; empty if it has none.
    pub async fn plan(&self, id: &str) -> anyhow::Result<String> {
        let found = self.of_organization("id", id).await?;
        Ok(found.pointer("/billing/plan").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    async fn of_organization(&self, member: &str, value: &str) -> anyhow::Result<Value> {
        let state = self.vendor_state().await?;
        let all = state.get("organizations").and_then(Value::as_array).context("the vendor lists no organizations")?;
        let found = all.iter().find(|one| one.get(member).and_then(Value::as_str) == Some(value));
        found.cloned().with_context(|| format!("there is no organization {value}"))
    }

    /// What the Microsoft marketplace bills a subscription by usage.
    pub async fn azure_bill(&self, subscription: &str) -> anyhow::Result<Value> {
        self.get(&format!("{}/sim/usage/{subscription}", self.at.azure)).await
    }

    async fn state(&self, party: &str) -> anyhow::Result<Value> {
        self.get(&format!("{party}/sim/state")).await
    }

    async fn get(&self, url: &str) -> anyhow::Result<Value> {
        let text = self.client.get(url).send().await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The state of a deployment as the vendor has it, by name; none if it is gone.
    pub async fn deployment(&self, name: &str) -> anyhow::Result<Option<String>> {
        let state = self.vendor_state().await?;
        let all = state.get("deployments").and_then(Value::as_array).context("the vendor lists no deployments")?;
        let found = all.iter().find(|deployment| deployment.get("name").and_then(Value::as_str) == Some(name));
        Ok(found.and_then(|deployment| deployment.get("state")).and_then(Value::as_str).map(str::to_owned))
    }
}
