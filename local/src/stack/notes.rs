//! What the stack writes into its journal: what came of each notice, what a sweep did, and which rows changed.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use tradepost::ledger::Key;
use tradepost::notice::{NotUnderstood, Notice, NoticeState, RawNotice, Subject};
use tradepost::sweeper::Report;
use tradepost::usage::run::MeteringReport;
use tradepost_aws::event::{notice_id, read};
use tradepost_aws::notifications::BatchResponse;

use super::Stack;
use super::journal::{About, Kind};
use super::seen::Seen;
use crate::azure_marketplace::WebhookCall;
use crate::queue::Message;

type ReadNotice = fn(&RawNotice) -> Result<Notice, NotUnderstood>;

impl Stack {
    /// Keeps a journal from now on.
    pub async fn keep_journal(&self) -> anyhow::Result<()> {
        let seen = Seen::read(&self.looking).await?;
        self.journal.replace_seen(seen);
        Ok(())
    }

    /// What came of a batch of notices, and what followed.
    pub(super) async fn note_notices(&self, batch: &[Message], answer: &BatchResponse, now: Timestamp) {
        if !self.journal.is_kept() {
            return;
        }
        for message in batch {
            let handed_back = answer.batch_item_failures.iter().any(|failure| failure.item_identifier == message.id);
            let (kind, what, about) = self.notice(message, handed_back).await;
            self.journal.add(now, kind, what, about);
        }
        self.note_changes(now).await;
    }

    async fn notice(&self, message: &Message, handed_back: bool) -> (Kind, String, About) {
        self.told(&notice_id(&message.body, &message.id), read, message.receives > 1, handed_back).await
    }

    /// What came of a webhook, and what followed. `status` is what it was answered, if it was.
    pub(super) async fn note_webhook(&self, call: &WebhookCall, status: Option<StatusCode>, now: Timestamp) {
        if !self.journal.is_kept() {
            return;
        }
        let body: Value = serde_json::from_str(&call.body).unwrap_or_default();
        let id = format!("azure:{}", body.get("id").and_then(Value::as_str).unwrap_or_default());
        let handed_back = status.is_none_or(|status| status.is_server_error());
        let (kind, what, about) = match status {
            Some(StatusCode::UNAUTHORIZED) => {
                let what = "A webhook was turned away: nothing proves that Microsoft sent it".to_owned();
                (Kind::Trouble, what, About::default())
            }
            Some(_) | None => self.told(&id, tradepost_azure::notice::read, call.attempt > 1, handed_back).await,
        };
        self.journal.add(now, kind, what, about);
        self.note_changes(now).await;
    }

    async fn told(&self, id: &str, read: ReadNotice, again: bool, handed_back: bool) -> (Kind, String, About) {
        let row = self.looking.get::<RawNotice>(&Key::new(format!("NOTICE#{id}"), "NOTICE")).await.ok().flatten();
        let Some(row) = row else {
            return (Kind::Trouble, "A notice could not be stored; it comes again".to_owned(), About::default());
        };
        let Ok(notice) = read(&row.doc) else {
            let what = "A message that no rule applies to is kept for an operator".to_owned();
            return (Kind::Trouble, what, About::default());
        };
        let agreement = match &notice.subject {
            Subject::Subscription { key, .. } => named(&key.to_string()),
            Subject::Agreement { id } => id.clone(),
        };
        let about = About { agreement: Some(agreement), ..About::default() };
        let told = format!("{} ({})", in_plain_words(&notice.kind), notice.kind);
        let again = if again { ", delivered again" } else { "" };
        match &row.doc.state {
            NoticeState::Interpreted { outcome } => {
                let outcome = outcome.strip_prefix(&format!("{}: ", notice.kind)).unwrap_or(outcome);
                (Kind::Notice, format!("{told}{again}: {}", outcome.replace("->", "\u{2192}")), about)
            }
            NoticeState::Parked { why } => {
                (Kind::Trouble, format!("{told}{again}: kept for an operator, {why}"), about)
            }
            NoticeState::Received if handed_back => (Kind::Trouble, format!("{told}: not yet, it comes again"), about),
            NoticeState::Received => (Kind::Notice, format!("{told}{again}: stored"), about),
        }
    }

    /// What a sweep did, if anything was due, and what followed.
    pub(super) async fn note_sweep(&self, report: &Report, now: Timestamp) {
        if !self.journal.is_kept() || report.rows == 0 {
            return;
        }
        let outcomes = report.outcomes.iter().map(|(what, number)| match number {
            1 => what.replace("->", "\u{2192}"),
            _ => format!("{number} \u{d7} {}", what.replace("->", "\u{2192}")),
        });
        let rows = if report.rows == 1 { "one row".to_owned() } else { format!("{} rows", report.rows) };
        let what = format!("The sweeper found {rows} due: {}", outcomes.collect::<Vec<_>>().join("; "));
        let kind = if report.failed > 0 || report.page > 0 { Kind::Trouble } else { Kind::Sweep };
        self.journal.add(now, kind, what, About::default());
        self.note_changes(now).await;
    }

    /// What a metering run did, if any hour was due.
    pub(super) async fn note_metering(&self, report: &MeteringReport, now: Timestamp) {
        if !self.journal.is_kept() || report.hours == 0 {
            return;
        }
        let MeteringReport { accepted, nothing, held, lost, failed, .. } = *report;
        let counts = [
            (accepted, "billed"),
            (nothing, "with nothing to bill"),
            (held, "not taken yet"),
            (lost, "lost"),
            (failed, "to be tried again"),
        ];
        let told = counts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}"));
        let hours = if report.hours == 1 { "one hour".to_owned() } else { format!("{} hours", report.hours) };
        let what = format!("Usage of {hours} was due at AWS Marketplace: {}", told.collect::<Vec<_>>().join(", "));
        let kind = if lost > 0 || failed > 0 { Kind::Trouble } else { Kind::Usage };
        self.journal.add(now, kind, what, About::default());
        self.note_changes(now).await;
    }

    /// Compares the rows with how they were before. The journal is for people: a look that fails is only logged.
    pub(super) async fn note_changes(&self, now: Timestamp) {
        if !self.journal.is_kept() {
            return;
        }
        match Seen::read(&self.looking).await {
            Ok(seen) => {
                let before = self.journal.replace_seen(seen.clone()).unwrap_or_default();
                for change in seen.since(&before) {
                    self.journal.add(now, change.kind, change.what, change.about);
                }
            }
            Err(error) => tracing::warn!(%error, "the journal could not look at the ledger"),
        }
    }
}

/// The agreement's id in a subscription's key, or the subscription's own; the whole key where there is neither.
pub(super) fn named(subscription: &str) -> String {
    if let Some(id) = subscription.strip_prefix("azure|") {
        return id.to_owned();
    }
    match subscription.strip_prefix("aws|").and_then(|rest| rest.split_once('|')) {
        Some((agreement, _)) => agreement.to_owned(),
        None => subscription.to_owned(),
    }
}

fn in_plain_words(kind: &str) -> &'static str {
    match kind {
        "Purchase Agreement Created" => "AWS tells of a new agreement",
        "Purchase Agreement Ended" => "AWS tells that an agreement ended",
        "Purchase Agreement Advisory Issued" => "AWS warns of the buyer's account",
        "Purchase Agreement Advisory Resolved" => "AWS takes its warning back",
        "License Updated" => "AWS confirms the licence",
        "License Deprovisioned" => "AWS takes the licence back",
        "subscribe-success" => "AWS confirms the subscription",
        "subscribe-fail" => "AWS tells that the subscription could not be paid",
        "unsubscribe-pending" => "AWS tells that the subscription will end",
        "unsubscribe-success" => "AWS tells that the subscription ended",
        "entitlement-updated" => "AWS tells that entitlements changed",
        "Subscribe" => "Microsoft tells of a purchase that is active already",
        "ChangePlan" => "Microsoft tells of a change of plan",
        "ChangeQuantity" => "Microsoft tells of a change of seats",
        "Renew" => "Microsoft tells of a renewal",
        "Suspend" => "Microsoft tells that the payment failed",
        "Reinstate" => "Microsoft tells that the payment is healed",
        "Unsubscribe" => "Microsoft tells that the subscription ended",
        _ => "The marketplace tells something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreements_are_named_by_their_id() {
        assert_eq!(named("aws|agmt-1|l-2"), "agmt-1");
        assert_eq!(named("aws-legacy|code|customer"), "aws-legacy|code|customer");
        assert_eq!(named("azure|5c0d2f6e"), "5c0d2f6e");
    }
}
