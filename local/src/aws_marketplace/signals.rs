//! What AWS tells a seller about a living agreement: it was amended, its end is near, its buyer looks suspicious,
//! the buyer's spending reached a threshold. None of these ends anything.
//!
//! The exact names and bodies of the spend threshold events are not published; these are a guess, for testing that
//! a seller survives an event it does not know.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Desk;
use super::lifecycle::Refusal;
use super::state::{Agreement, Entitled, PAYMENT, later, second};

/// What of an agreement changes.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Amendment {
    pub agreement: String,
    #[serde(default)]
    pub auto_renewal: Option<bool>,
    #[serde(default)]
    pub entitlements: Option<Vec<Entitled>>,
}

/// How a check at a spending threshold went.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Spend {
    #[default]
    Reached,
    VetSucceeded,
    VetFailed,
}

impl Desk<'_> {
    /// Changes an active agreement; changed entitlements are told by a `License Updated` as well.
    pub(super) fn amend(&mut self, amendment: Amendment) -> Result<(), Refusal> {
        let now = self.now;
        self.active_agreement(&amendment.agreement)?;
        if let Some(agreement) = self.state.agreements.get_mut(&amendment.agreement) {
            agreement.auto_renewal = amendment.auto_renewal.unwrap_or(agreement.auto_renewal);
            agreement.updated = now;
        }
        let agreement = self.active_agreement(&amendment.agreement)?;
        let product = self.product(&agreement.product).ok_or(Refusal::UnknownProduct)?;
        let changes_entitlements = amendment.entitlements.is_some();
        if let (Some(rows), Some(licence)) = (amendment.entitlements, self.state.licences.get_mut(&agreement.licence)) {
            licence.entitlements = rows;
        }
        if product.legacy {
            if product.model.has_term() {
                self.send_entitlement_updated(product, &agreement.acceptor, now);
            }
            return Ok(());
        }
        self.send_amended(&agreement, second(later(now, super::lifecycle::CREATED)));
        if changes_entitlements {
            self.send_licence_updated(&agreement, second(later(now, PAYMENT)));
        }
        Ok(())
    }

    /// Sets one dimension of a contract, silently: an amendment tells the seller, this does not.
    pub(super) fn set_entitlement(&mut self, agreement: &str, row: Entitled) -> Result<(), Refusal> {
        let agreement = self.state.agreements.get(agreement).ok_or(Refusal::UnknownAgreement)?;
        let licence = self.state.licences.get_mut(&agreement.licence).ok_or(Refusal::UnknownAgreement)?;
        licence.entitlements.retain(|kept| kept.dimension != row.dimension);
        licence.entitlements.push(row);
        Ok(())
    }

    pub(super) fn advise(&mut self, agreement: &str, resolved: bool) -> Result<(), Refusal> {
        let agreement = self.known_agreement(agreement)?;
        let (what, when) = if resolved { ("Resolved", "resolvedAt") } else { ("Issued", "issuedAt") };
        let mut extra = Map::new();
        extra.insert("advisory".to_owned(), json!({when: second(self.now).to_string()}));
        self.send_signal(&format!("Purchase Agreement Advisory {what} - Manufacturer"), &agreement, self.now, extra);
        Ok(())
    }

    pub(super) fn report_spend(&mut self, agreement: &str, spend: Spend) -> Result<(), Refusal> {
        let agreement = self.known_agreement(agreement)?;
        let what = match spend {
            Spend::Reached => "Reached",
            Spend::VetSucceeded => "Vet Succeeded",
            Spend::VetFailed => "Vet Failed",
        };
        let name = format!("Spend Threshold {what} - Manufacturer");
        self.send_signal(&name, &agreement, self.now, Map::<String, Value>::new());
        Ok(())
    }

    pub(super) fn warn_of_end(&mut self, agreement: &str, days: u32) -> Result<(), Refusal> {
        let agreement = self.active_agreement(agreement)?;
        self.send_ending(&agreement, self.now, days);
        Ok(())
    }

    pub(super) fn known_agreement(&self, id: &str) -> Result<Agreement, Refusal> {
        self.state.agreements.get(id).cloned().ok_or(Refusal::UnknownAgreement)
    }

    fn active_agreement(&self, id: &str) -> Result<Agreement, Refusal> {
        let agreement = self.known_agreement(id)?;
        if agreement.is_active_at(self.now) { Ok(agreement) } else { Err(Refusal::NotActive) }
    }
}
