//! The life of an agreement: accepted, paid for, ended.
//!
//! Accepting makes agreement, licence and token at once; `Purchase Agreement Created` follows after 11 seconds and
//! `License Updated`, which alone means "activate", after 72. When payment fails neither ever comes, and only a
//! legacy listing is told. Ending is told after a second; `License Deprovisioned` 31 seconds later (or, read
//! strictly, after the hour for final usage instead of before it). Renewal lives in `renewal`.

use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};
use serde_json::json;

use super::event_bridge::updated_key;
use super::sns::{subscribed_key, unsubscribed_key};
use super::state::{Agreement, Entitled, Intent, Licence, PAYMENT, Status, later, second};
use super::{Desk, Model, Product};

pub(super) const CREATED: SignedDuration = SignedDuration::from_secs(11);
const SOON: SignedDuration = SignedDuration::from_secs(1);
const DEPROVISIONING: SignedDuration = SignedDuration::from_secs(31);
pub(super) const FINAL_HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What a contract grants of its first dimension when the buyer names no number.
const DEFAULT_QUANTITY: u32 = 10;

/// What a buyer accepts.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Product code.
    pub product: String,
    pub account: String,
    pub free_trial: bool,
    /// Of the contract's first dimension.
    pub quantity: Option<u32>,
    /// A later start than now.
    pub starts: Option<Timestamp>,
    /// The channel partner's account, when one resells.
    pub reseller: Option<String>,
}

/// Why the marketplace does not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownProduct,
    UnknownAgreement,
    NotActive,
    RunsToItsEnd,
    AlreadySubscribed,
    TrialUsed,
}

impl Refusal {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::UnknownProduct => "There is no such product.",
            Self::UnknownAgreement => "There is no such agreement.",
            Self::NotActive => "This agreement is not active any more.",
            Self::RunsToItsEnd => "A contract runs to its end and cannot be cancelled before.",
            Self::AlreadySubscribed => "This account is already subscribed to this product.",
            Self::TrialUsed => "This account has already used its free trial of this product.",
        }
    }
}

impl Desk<'_> {
    /// Accepts an offer and returns the agreement's id.
    pub(super) fn accept(&mut self, order: &Order) -> Result<String, Refusal> {
        let product = self.product(&order.product).ok_or(Refusal::UnknownProduct)?;
        self.check_may_accept(product, order)?;
        let fails = super::switches::use_one(&mut self.state.payments_to_fail);
        let start = order.starts.map_or(self.now, |starts| starts.max(self.now));
        let activated = second(later(start, PAYMENT));
        let id = self.state.identifiers.agreement();
        let arn = self.state.identifiers.licence();
        let offer = if order.free_trial { format!("{} trial", product.code) } else { product.code.clone() };
        let agreement = Agreement {
            id: id.clone(),
            intent: Intent::New,
            status: Status::Active,
            product: product.code.clone(),
            acceptor: order.account.clone(),
            proposer: order.reseller.clone().unwrap_or_else(|| self.config.publisher_account.clone()),
            resale_authorization: order.reseller.as_ref().map(|_| format!("resaleauthz-{}", product.code)),
            offer: self.state.identifiers.offer_named(&offer),
            free_trial: order.free_trial,
            payment_failed: fails,
            auto_renewal: false,
            accepted: self.now,
            start,
            term_end: product.model.has_term().then(|| a_year_after(start)),
            ended: None,
            updated: self.now,
            previous: None,
            initial: id.clone(),
            licence: arn.clone(),
        };
        let licence = Licence {
            arn: arn.clone(),
            agreement: id.clone(),
            account: order.account.clone(),
            product: product.code.clone(),
            active_from: (!fails).then_some(activated),
            ended: None,
            final_until: None,
            entitlements: first_entitlements(product, &agreement, order.quantity),
        };
        self.announce_acceptance(product, &agreement, activated);
        self.state.agreements.insert(id.clone(), agreement);
        self.state.licences.insert(arn, licence);
        Ok(id)
    }

    /// Ends an active agreement at `at`: cancelled, terminated or expired.
    pub(super) fn end(&mut self, agreement: &str, status: Status, at: Timestamp) -> Result<(), Refusal> {
        let product = self.state.agreements.get(agreement).ok_or(Refusal::UnknownAgreement)?.product.clone();
        let product = self.product(&product).ok_or(Refusal::UnknownProduct)?;
        let ended = second(later(at, SOON));
        let agreement = self.close_agreement(agreement, status, ended)?;
        let was_activated = self.state.licences.get(&agreement.licence).is_some_and(|licence| licence.has_started(at));
        self.call_off(&updated_key(&agreement.id));
        self.call_off(&subscribed_key(&agreement.id));
        let deprovisioned = self.close_licence(product, &agreement.licence, ended);
        if product.legacy {
            if product.model.has_term() {
                self.send_entitlement_updated(product, &agreement.acceptor, ended);
            }
            self.send_unsubscribed(product, &agreement.acceptor, ended, "unsubscribe-pending");
            self.send_unsubscribed(product, &agreement.acceptor, later(ended, FINAL_HOUR), "unsubscribe-success");
        } else {
            self.send_ended(&agreement, ended);
            // A licence that was never provisioned is not deprovisioned either.
            if was_activated {
                self.send_licence_deprovisioned(&agreement, deprovisioned);
            }
        }
        Ok(())
    }

    /// Ends or renews the agreements whose term is over.
    pub(super) fn close_finished_terms(&mut self) {
        let now = self.now;
        let is_over =
            |agreement: &&Agreement| agreement.is_active_at(now) && agreement.term_end.is_some_and(|end| end <= now);
        let over: Vec<Agreement> = self.state.agreements.values().filter(is_over).cloned().collect();
        for agreement in over {
            let end = agreement.term_end.unwrap_or(now);
            if agreement.auto_renewal {
                let _ = self.renew(&agreement.id, &super::renewal::Renewal::default(), end);
            } else {
                let _ = self.end(&agreement.id, Status::Expired, end);
            }
        }
    }

    /// Marks the agreement as over and returns it as it now is.
    pub(super) fn close_agreement(&mut self, id: &str, status: Status, ended: Timestamp) -> Result<Agreement, Refusal> {
        let now = self.now;
        let agreement = self.state.agreements.get_mut(id).ok_or(Refusal::UnknownAgreement)?;
        if !agreement.is_active_at(now) {
            return Err(Refusal::NotActive);
        }
        agreement.status = status;
        agreement.ended = Some(ended);
        agreement.updated = now;
        Ok(agreement.clone())
    }

    /// Ends the licence and returns when it is deprovisioned; usage up to `ended` is taken for an hour more.
    pub(super) fn close_licence(&mut self, product: &Product, arn: &str, ended: Timestamp) -> Timestamp {
        let hour_later = later(ended, FINAL_HOUR);
        let strict = self.state.switches.strict_final_hour;
        let deprovisioned = if strict { hour_later } else { later(ended, DEPROVISIONING) };
        let counts_from_the_end = strict || product.legacy;
        if let Some(licence) = self.state.licences.get_mut(arn) {
            licence.ended = Some(ended);
            licence.final_until = Some(if counts_from_the_end { hour_later } else { later(deprovisioned, FINAL_HOUR) });
        }
        deprovisioned
    }

    fn check_may_accept(&self, product: &Product, order: &Order) -> Result<(), Refusal> {
        let mut earlier = self
            .state
            .agreements
            .values()
            .filter(|agreement| agreement.product == product.code && agreement.acceptor == order.account);
        if product.legacy && earlier.clone().any(|agreement| agreement.is_active_at(self.now)) {
            return Err(Refusal::AlreadySubscribed);
        }
        if order.free_trial && earlier.any(|agreement| agreement.free_trial && !agreement.payment_failed) {
            return Err(Refusal::TrialUsed);
        }
        Ok(())
    }

    fn announce_acceptance(&mut self, product: &Product, agreement: &Agreement, activated: Timestamp) {
        if product.legacy {
            if agreement.payment_failed {
                self.send_subscribed(product, agreement, activated, "subscribe-fail");
                return;
            }
            self.call_off(&unsubscribed_key(&product.code, &agreement.acceptor));
            self.send_subscribed(product, agreement, activated, "subscribe-success");
            if product.model.has_term() {
                self.send_entitlement_updated(product, &agreement.acceptor, activated);
            }
        } else if !agreement.payment_failed {
            self.send_created(agreement, second(later(self.now, CREATED)));
            self.send_licence_updated(agreement, activated);
        }
    }
}

/// One row of the contract's first dimension; nothing for pay as you go.
fn first_entitlements(product: &Product, agreement: &Agreement, quantity: Option<u32>) -> Vec<Entitled> {
    let (Some(dimension), Some(expires)) = (product.dimensions.first(), agreement.term_end) else {
        return Vec::new();
    };
    debug_assert!(product.model != Model::Subscription, "only a term has entitlements");
    let value = json!(quantity.unwrap_or(DEFAULT_QUANTITY));
    vec![Entitled { dimension: dimension.clone(), value, expires }]
}

/// The same day next year, in UTC.
pub(super) fn a_year_after(start: Timestamp) -> Timestamp {
    start.to_zoned(TimeZone::UTC).checked_add(Span::new().years(1)).map_or(Timestamp::MAX, |end| end.timestamp())
}

#[cfg(test)]
mod tests;
