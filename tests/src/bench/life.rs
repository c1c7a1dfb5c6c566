//! A purchase's life on a stage, each step by the function whose it is, and what each step asked of others.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tradepost::person::Person;
use tradepost::web::session::Session;

use crate::lambda_host::cloud::Bought;
use crate::lambda_host::{Function, Stage, events};

/// As long as Lambda may give a function: some stop minutes before their time is up.
const LIMIT: Duration = Duration::from_secs(900);

/// What confirms a purchase.
pub const UPDATED: &str = "License Updated - Manufacturer";
/// What ends it.
pub const ENDED: &str = "Purchase Agreement Ended - Proposer";

/// An event that was answered.
#[derive(Clone, Debug)]
pub struct Handled {
    /// From handing it over to its answer.
    pub took: Duration,
    /// The same without the time in which a service was being asked.
    pub own: Duration,
    /// How long the process was on a processor.
    pub processor: Duration,
    /// What was asked of services, in order.
    pub calls: Vec<String>,
    /// How often it was waited for them: calls at the same time count once.
    pub round_trips: usize,
    /// The answer.
    pub answer: Value,
}

/// Hands a function an event and sees what comes of it.
///
/// # Errors
/// If the function reports an error or ends.
pub async fn handled(stage: &Stage, function: &mut Function, event: String) -> anyhow::Result<Handled> {
    let before = function.processor_time()?;
    let done = function.invoke_within(event, LIMIT).await?;
    let processor = function.processor_time()?.saturating_sub(before);
    let (began, ended) = (done.began, done.ended);
    let took = ended.duration_since(began);
    Ok(Handled {
        took,
        own: took.saturating_sub(stage.meter.busy(began, ended)),
        processor,
        calls: stage.meter.asked(began, ended),
        round_trips: stage.meter.round_trips(began, ended),
        answer: done.answer().with_context(|| function.log_so_far())?,
    })
}

/// A purchase and the organization it is for.
#[derive(Debug)]
pub struct Life {
    /// The purchase.
    pub bought: Bought,
    /// The organization.
    pub organization: String,
    session: Session,
}

impl Life {
    /// Somebody bought, and the organization runs one deployment.
    ///
    /// # Errors
    /// If the marketplace refuses.
    pub async fn begun(stage: &Stage, organization: &str) -> anyhow::Result<Self> {
        stage.control_plane.open_account(organization, &[&format!("{organization}-a")]);
        let session = Session::default();
        Ok(Self { bought: stage.buy().await?, organization: organization.to_owned(), session })
    }

    /// The buyer lands, and then signs in: that needs a browser and an identity provider, so its cookie is made here.
    ///
    /// # Errors
    /// If the landing fails.
    pub async fn land(&mut self, stage: &Stage, landing: &mut Function) -> anyhow::Result<Handled> {
        let done = handled(stage, landing, events::landing(&self.bought.token)?).await?;
        let cookie = done.answer.pointer("/cookies/0").and_then(Value::as_str).context("no cookie")?;
        let person = Person {
            issuer: "https://id.example.com".to_owned(),
            subject: format!("person-of-{}", self.organization),
            email: Some("ada@buyer.example".to_owned()),
            name: Some("Ada Buyer".to_owned()),
        };
        self.session = Session { person: Some(person), ..stage.session(cookie)? };
        Ok(done)
    }

    /// The buyer's cookie.
    ///
    /// # Errors
    /// If it cannot be sealed.
    pub fn cookie(&self, stage: &Stage) -> anyhow::Result<String> {
        stage.cookie(&self.session)
    }

    /// The buyer looks at a page.
    ///
    /// # Errors
    /// If it is not shown.
    pub async fn look(&self, stage: &Stage, landing: &mut Function, path: &str) -> anyhow::Result<Handled> {
        let cookie = self.cookie(stage)?;
        let done = handled(stage, landing, events::page(path, Some(&cookie))?).await?;
        ensure!(status(&done) == Some(200), "{path}: {}", done.answer);
        Ok(done)
    }

    /// The buyer presses Link.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn link(&mut self, stage: &Stage, landing: &mut Function) -> anyhow::Result<Handled> {
        let cookie = self.cookie(stage)?;
        let fields = [
            ("csrf", self.session.csrf.as_str()),
            ("organization", &self.organization),
            ("contact", "bills@buyer.example"),
        ];
        let done = handled(stage, landing, events::form("/link", &cookie, &fields)?).await?;
        ensure!(status(&done) == Some(303), "{}", done.answer);
        if let Some(cookie) = done.answer.pointer("/cookies/0").and_then(Value::as_str) {
            self.session = stage.session(cookie)?;
        }
        Ok(done)
    }

    /// The marketplace tells something of the purchase; `id` is the event's.
    ///
    /// # Errors
    /// If it is handed back.
    pub async fn told(
        &self,
        stage: &Stage,
        notifications: &mut Function,
        kind: &str,
        id: &str,
    ) -> anyhow::Result<Handled> {
        let event = events::notices(&[events::notice(kind, id, &self.bought)?])?;
        let done = handled(stage, notifications, event).await?;
        ensure!(done.answer == serde_json::json!({"batchItemFailures": []}), "{}", done.answer);
        Ok(done)
    }
}

fn status(done: &Handled) -> Option<u64> {
    done.answer.get("statusCode").and_then(Value::as_u64)
}
