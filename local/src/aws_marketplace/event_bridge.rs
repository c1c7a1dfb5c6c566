//! EventBridge events as they lie in the queue: the bare event, no envelope around it.
//!
//! Who hears what: the seller of its own offer is manufacturer and proposer, and hears agreement events only as
//! Proposer; when a channel partner resells, only as Manufacturer. Licence events are always for the Manufacturer.
//! Agreement events name neither product nor licence; `detail.agreement.id` is what joins the two kinds.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Desk;
use super::state::{Agreement, Intent, second};

/// The end of an agreement that has none, as events write it.
const NO_END: &str = "9999-01-01T00:00:00Z";

impl Desk<'_> {
    pub(super) fn send_created(&mut self, agreement: &Agreement, at: Timestamp) {
        let mut about = json!({
            "id": agreement.id,
            "intent": agreement.intent.as_str(),
            "status": "ACTIVE",
            "acceptanceTime": millis(agreement.accepted),
            "startTime": millis(agreement.start),
            "endTime": agreement.term_end.map_or_else(|| NO_END.to_owned(), millis),
        });
        let mut detail = agreement_detail(agreement);
        detail.insert("offer".to_owned(), json!({"id": agreement.offer}));
        if agreement.intent != Intent::New {
            set(&mut about, "previousAgreementId", json!(agreement.previous));
            if let Some(product) = self.product(&agreement.product) {
                detail.insert("product".to_owned(), json!({"id": product.id, "title": product.title}));
            }
            detail.insert(
                "proposer".to_owned(),
                json!({"accountId": agreement.proposer, "name": self.config.seller_name}),
            );
        }
        detail.insert("agreement".to_owned(), about);
        self.send_agreement_event("Purchase Agreement Created", agreement, at, detail, None);
    }

    pub(super) fn send_amended(&mut self, agreement: &Agreement, at: Timestamp) {
        let mut detail = agreement_detail(agreement);
        let about = json!({
            "id": agreement.id,
            "intent": "AMEND",
            "status": "ACTIVE",
            "acceptanceTime": millis(agreement.accepted),
            "startTime": millis(agreement.start),
            "endTime": agreement.term_end.map_or_else(|| NO_END.to_owned(), millis),
            "autoRenewalEnabled": agreement.auto_renewal,
        });
        detail.insert("agreement".to_owned(), about);
        detail.insert("offer".to_owned(), json!({"id": agreement.offer}));
        let disabled_by = if agreement.auto_renewal { Value::Null } else { json!("ACCEPTOR") };
        detail.insert("renewalSummary".to_owned(), json!({"disabledBy": disabled_by}));
        if let Some(product) = self.product(&agreement.product) {
            detail.insert("product".to_owned(), json!({"id": product.id, "title": product.title}));
        }
        self.send_agreement_event("Purchase Agreement Amended", agreement, at, detail, None);
    }

    /// `status` is the agreement's last one; neither licence, product nor offer is in this event.
    pub(super) fn send_ended(&mut self, agreement: &Agreement, at: Timestamp) {
        let mut detail = agreement_detail(agreement);
        let about = json!({"id": agreement.id, "status": agreement.status.as_str()});
        detail.insert("agreement".to_owned(), about);
        self.send_agreement_event("Purchase Agreement Ended", agreement, at, detail, None);
    }

    pub(super) fn send_ending(&mut self, agreement: &Agreement, at: Timestamp, days: u32) {
        let mut detail = agreement_detail(agreement);
        let about = json!({
            "id": agreement.id,
            "endTime": agreement.term_end.map_or_else(|| NO_END.to_owned(), millis),
            "daysBeforeEndTime": days,
            "autoRenewalEnabled": agreement.auto_renewal,
        });
        detail.insert("agreement".to_owned(), about);
        self.send_agreement_event("Purchase Agreement Ending", agreement, at, detail, None);
    }

    pub(super) fn send_licence_updated(&mut self, agreement: &Agreement, at: Timestamp) {
        self.send_licence_event("License Updated", agreement, at, Some(updated_key(&agreement.id)));
    }

    pub(super) fn send_licence_deprovisioned(&mut self, agreement: &Agreement, at: Timestamp) {
        self.send_licence_event("License Deprovisioned", agreement, at, None);
    }

    /// An event with the licence events' parties and `extra`, under a full detail type.
    pub(super) fn send_signal(&mut self, name: &str, agreement: &Agreement, at: Timestamp, extra: Map<String, Value>) {
        let mut detail = parties(agreement);
        detail.insert("agreement".to_owned(), json!({"id": agreement.id}));
        if let Some(product) = self.product(&agreement.product) {
            detail.insert("product".to_owned(), json!({"id": product.id}));
        }
        detail.extend(extra);
        self.send_event(name, agreement, at, detail, None);
    }

    fn send_agreement_event(
        &mut self,
        name: &str,
        agreement: &Agreement,
        at: Timestamp,
        detail: Map<String, Value>,
        key: Option<String>,
    ) {
        let role = if agreement.resale_authorization.is_some() { "Manufacturer" } else { "Proposer" };
        self.send_event(&format!("{name} - {role}"), agreement, at, detail, key);
    }

    fn send_licence_event(&mut self, name: &str, agreement: &Agreement, at: Timestamp, key: Option<String>) {
        let mut detail = parties(agreement);
        detail.insert("agreement".to_owned(), json!({"id": agreement.id}));
        detail.insert("license".to_owned(), json!({"arn": agreement.licence}));
        detail.insert("offer".to_owned(), json!({"id": agreement.offer}));
        if let Some(product) = self.product(&agreement.product) {
            detail.insert("product".to_owned(), json!({"id": product.id, "code": product.code}));
        }
        self.send_event(&format!("{name} - Manufacturer"), agreement, at, detail, key);
    }

    fn send_event(
        &mut self,
        detail_type: &str,
        agreement: &Agreement,
        at: Timestamp,
        mut detail: Map<String, Value>,
        key: Option<String>,
    ) {
        detail.insert("requestId".to_owned(), json!(self.state.identifiers.uuid()));
        detail.insert("catalog".to_owned(), json!("AWSMarketplace"));
        let body = json!({
            "version": "0",
            "id": self.state.identifiers.uuid(),
            "detail-type": detail_type,
            "source": "aws.agreement-marketplace",
            "account": self.config.publisher_account,
            "time": second(at).to_string(),
            "region": "us-east-1",
            "resources": [format!("arn:aws:aws-marketplace::aws:agreement:{}", agreement.id)],
            "detail": detail,
        });
        let summary = format!("{detail_type} ({})", agreement.id);
        self.schedule(at, summary, body.to_string(), key);
    }
}

/// By what a `License Updated` that has not happened yet is called off.
pub(super) fn updated_key(agreement: &str) -> String {
    format!("updated {agreement}")
}

fn parties(agreement: &Agreement) -> Map<String, Value> {
    let mut detail = Map::new();
    detail.insert("acceptor".to_owned(), json!({"accountId": agreement.acceptor}));
    detail.insert("proposer".to_owned(), json!({"accountId": agreement.proposer}));
    detail
}

fn agreement_detail(agreement: &Agreement) -> Map<String, Value> {
    let mut detail = parties(agreement);
    detail.insert("resaleAuthorization".to_owned(), json!({"id": agreement.resale_authorization}));
    detail
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

fn millis(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
