//! An agreement continued by another: renewed on the same terms, or replaced by another offer.
//!
//! The old agreement ends as RENEWED or REPLACED, the new one names it as its previous one, and the new licence is
//! active from the same second: nothing may be interrupted. The three notices come in any order. A seller that
//! takes the first of them for a cancellation switches off a paying customer.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::lifecycle::{Refusal, a_year_after};
use super::state::{Agreement, Intent, Licence, Status, later, second};
use super::{Desk, Product};

/// How an agreement is continued.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Renewal {
    /// By another offer instead of the same.
    #[serde(default)]
    pub replace: bool,
    /// The licence stays the same.
    #[serde(default)]
    pub keep_licence: bool,
    /// The old licence is deprovisioned too, when the new one is not the same.
    #[serde(default)]
    pub deprovision_old: bool,
    /// The order of the notices; drawn when not given.
    #[serde(default)]
    pub order: Option<Vec<Step>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    Ended,
    Created,
    Updated,
}

const ORDERS: [[Step; 3]; 6] = [
    [Step::Created, Step::Updated, Step::Ended],
    [Step::Ended, Step::Created, Step::Updated],
    [Step::Updated, Step::Ended, Step::Created],
    [Step::Ended, Step::Updated, Step::Created],
    [Step::Updated, Step::Created, Step::Ended],
    [Step::Created, Step::Ended, Step::Updated],
];

/// Seconds after the renewal at which the first, second and third notice come.
const DELAYS: [i64; 3] = [1, 11, 72];

impl Desk<'_> {
    /// Continues an active agreement from `at` and returns the new agreement's id.
    pub(super) fn renew(&mut self, id: &str, how: &Renewal, at: Timestamp) -> Result<String, Refusal> {
        let product = self.state.agreements.get(id).ok_or(Refusal::UnknownAgreement)?.product.clone();
        let product = self.product(&product).ok_or(Refusal::UnknownProduct)?;
        let status = if how.replace { Status::Replaced } else { Status::Renewed };
        let start = second(at);
        let old = self.close_agreement(id, status, start)?;
        let new = self.succeed(product, &old, how, start);
        let mut deprovisioned = None;
        if how.keep_licence {
            if let Some(licence) = self.state.licences.get_mut(&old.licence) {
                licence.agreement.clone_from(&new.id);
                licence.entitlements.iter_mut().for_each(|row| row.expires = new.term_end.unwrap_or(row.expires));
            }
        } else {
            self.continue_licence(&old, &new, start);
            deprovisioned = Some(self.close_licence(product, &old.licence, start));
        }
        self.announce_renewal(product, &old, &new, how, at);
        if let Some(deprovisioned) = deprovisioned.filter(|_| how.deprovision_old && !product.legacy) {
            self.send_licence_deprovisioned(&old, deprovisioned);
        }
        let id = new.id.clone();
        self.state.agreements.insert(id.clone(), new);
        Ok(id)
    }

    fn succeed(&mut self, product: &Product, old: &Agreement, how: &Renewal, start: Timestamp) -> Agreement {
        let identifiers = &mut self.state.identifiers;
        let id = identifiers.agreement();
        let offer = if how.replace { identifiers.offer_named(&id) } else { old.offer.clone() };
        let licence = if how.keep_licence { old.licence.clone() } else { identifiers.licence() };
        Agreement {
            intent: if how.replace { Intent::Replace } else { Intent::Renew },
            status: Status::Active,
            offer,
            licence,
            free_trial: false,
            accepted: start,
            start,
            term_end: product.model.has_term().then(|| a_year_after(start)),
            ended: None,
            updated: self.now,
            previous: Some(old.id.clone()),
            id,
            ..old.clone()
        }
    }

    fn continue_licence(&mut self, old: &Agreement, new: &Agreement, start: Timestamp) {
        let mut entitlements =
            self.state.licences.get(&old.licence).map_or_else(Vec::new, |old| old.entitlements.clone());
        entitlements.iter_mut().for_each(|row| row.expires = new.term_end.unwrap_or(row.expires));
        let licence = Licence {
            arn: new.licence.clone(),
            agreement: new.id.clone(),
            account: new.acceptor.clone(),
            product: new.product.clone(),
            active_from: Some(start),
            ended: None,
            final_until: None,
            entitlements,
        };
        self.state.licences.insert(new.licence.clone(), licence);
    }

    fn announce_renewal(&mut self, product: &Product, old: &Agreement, new: &Agreement, how: &Renewal, at: Timestamp) {
        if product.legacy {
            let soon = later(at, SignedDuration::from_secs(1));
            self.send_subscribed(product, new, soon, "subscribe-success");
            if product.model.has_term() {
                self.send_entitlement_updated(product, &new.acceptor, soon);
            }
            return;
        }
        let drawn = self.state.identifiers.below(ORDERS.len());
        let drawn = ORDERS.get(drawn).map_or_else(Vec::new, |order| order.to_vec());
        let order = how.order.clone().unwrap_or(drawn);
        for (step, delay) in order.into_iter().zip(DELAYS) {
            let at = second(later(at, SignedDuration::from_secs(delay)));
            match step {
                Step::Ended => self.send_ended(old, at),
                Step::Created => self.send_created(new, at),
                Step::Updated => self.send_licence_updated(new, at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws_marketplace::bench::{BUYER, caller, market};
    use crate::aws_marketplace::signals::Amendment;
    use serde_json::{Value, json};

    const RENEWED: &str = "2026-11-22T09:00:00Z";

    fn renew(keep_licence: bool) -> (Vec<Value>, Agreement, Agreement, crate::aws_marketplace::AwsMarketplace) {
        let market = market();
        let (old, _) = market.buy("seats", "2026-11-21T09:00:00Z");
        market.heard("2026-11-21T10:00:00Z");
        let order = Some(vec![Step::Updated, Step::Ended, Step::Created]);
        let how = Renewal { keep_licence, order, ..Renewal::default() };
        let new = market.at(RENEWED, |desk| desk.renew(&old, &how, desk.now)).unwrap();
        let notices = market.at("2026-11-22T10:00:00Z", |desk| desk.take_due());
        let bodies = notices.iter().map(|notice| serde_json::from_str(&notice.body).unwrap()).collect();
        let named = |id: &String| market.lock().agreements[id].clone();
        let (old, new) = (named(&old), named(&new));
        (bodies, old, new, market)
    }

    #[test]
    fn a_renewal_is_a_new_agreement_with_a_new_licence_and_no_gap() {
        let (bodies, old, new, market) = renew(false);
        let names: Vec<&str> = bodies.iter().map(|body| body["detail-type"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "License Updated - Manufacturer",
                "Purchase Agreement Ended - Proposer",
                "Purchase Agreement Created - Proposer",
            ]
        );
        assert_ne!(old.licence, new.licence);
        assert_eq!(bodies[0]["detail"]["license"]["arn"], json!(new.licence));
        assert_eq!(bodies[1]["detail"]["agreement"], json!({"id": old.id, "status": "RENEWED"}));
        assert_eq!(bodies[2]["detail"]["agreement"]["intent"], "RENEW");
        assert_eq!(bodies[2]["detail"]["agreement"]["previousAgreementId"], json!(old.id));
        assert_eq!(bodies[2]["detail"]["product"]["id"], "prod-seats");
        assert_eq!(new.initial, old.id);
        market.at("2026-11-22T09:00:00Z", |desk| {
            desk.state.switches.empty_pages = crate::aws_marketplace::switches::EmptyPages::Never;
            let rows = desk.get_entitlements(&caller(), &json!({"ProductCode": "seats"})).unwrap();
            let rows = rows["Entitlements"].as_array().unwrap().clone();
            assert_eq!(rows.len(), 1, "in the very second of the renewal");
            assert_eq!(rows[0]["LicenseArn"], json!(new.licence));
            assert_eq!(rows[0]["CustomerAWSAccountId"], BUYER);
            let described = desk.describe_agreement(&caller(), &json!({"agreementId": new.id})).unwrap();
            assert_eq!(described["initialAgreementId"], json!(old.id));
        });
    }

    #[test]
    fn the_licence_may_stay_and_a_replacement_has_another_offer() {
        let (bodies, old, new, market) = renew(true);
        assert_eq!(old.licence, new.licence);
        assert_eq!(bodies[0]["detail"]["license"]["arn"], json!(old.licence));
        assert!(market.lock().licences[&old.licence].ended.is_none());
        let how = Renewal { replace: true, deprovision_old: true, ..Renewal::default() };
        let replaced = market.at("2026-11-23T09:00:00Z", |desk| desk.renew(&new.id, &how, desk.now)).unwrap();
        let replaced = market.lock().agreements[&replaced].clone();
        assert_ne!(replaced.offer, new.offer);
        assert_eq!(replaced.initial, old.id);
        let names: Vec<String> = market.heard("2026-11-24T00:00:00Z").into_iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), 4);
        assert!(names.contains(&"License Deprovisioned - Manufacturer".to_owned()));
    }

    #[test]
    fn a_contract_with_automatic_renewal_goes_on() {
        let market = market();
        let (id, _) = market.buy("seats", "2026-11-21T09:00:00Z");
        let amendment = Amendment { agreement: id.clone(), auto_renewal: Some(true), entitlements: None };
        market.at("2026-11-21T10:00:00Z", |desk| desk.amend(amendment)).unwrap();
        let told = market.heard("2026-11-21T11:00:00Z");
        assert_eq!(told[2].1, "Purchase Agreement Amended - Proposer");
        assert_eq!(market.heard("2027-11-22T00:00:00Z").len(), 3);
        let active = |market: &crate::aws_marketplace::AwsMarketplace| {
            market.lock().agreements.values().filter(|agreement| agreement.status == Status::Active).count()
        };
        assert_eq!(active(&market), 1);
        assert_eq!(market.lock().agreements[&id].status, Status::Renewed);
    }
}
