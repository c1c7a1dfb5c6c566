//! Where a purchase stands by the marketplace's own answer, not by a notice: what follows for the subscription and for
//! whoever is linked with it. Such an answer is the present word, so it also heals what a lost or late notice left behind.

use jiff::Timestamp;

use super::decision::stepped;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError, Row};
use crate::marketplace::Standing;
use crate::settle::{Changes, Occasion, subscription_becomes};
use crate::subscription::{Sign, State, Subscription, Terms};

/// The subscription as the marketplace says it stands; the same where that is known already. Pure.
pub(crate) fn stands(before: &Subscription, standing: Standing, terms: Option<&Terms>, now: Timestamp) -> Subscription {
    let sign = match (standing, &before.state) {
        (Standing::Suspended, State::Suspended { .. }) | (Standing::Pending | Standing::Unknown, _) => None,
        (Standing::Live, _) => Some(Sign::Confirmed),
        (Standing::Suspended, _) => Some(Sign::Suspended),
        (Standing::Ended(reason), _) => Some(Sign::Ended(reason)),
        (Standing::Superseded, _) => Some(Sign::Superseded),
    };
    let after = match (sign, &before.state) {
        (Some(sign), _) => stepped(before, &sign, None, None, now).0,
        // We had given it up for want of a confirmation; it can still be linked.
        (None, State::Failed { .. }) if standing == Standing::Pending => {
            before.moved(State::Announced, before.generation, None)
        }
        (None, _) => before.clone(),
    };
    let over = matches!(after.state, State::Ended { .. });
    match terms {
        // A tombstone takes nothing from an answer that does not know of the end yet.
        Some(terms) if !over || matches!(standing, Standing::Ended(_)) => after.with_terms(terms, now),
        _ => after,
    }
}

/// A subscription of `home` becomes `after`, with all that follows. Reads a slot only where a failed link may take it
/// again.
pub(crate) async fn followed(
    occasion: Occasion<'_>,
    ledger: &Ledger,
    home: &Home,
    row: &Row<Subscription>,
    after: &Subscription,
) -> Result<Changes, LedgerError> {
    let slot = home.slot_of_failed_link(ledger, &after.key).await?;
    Ok(subscription_becomes(occasion, Some(row), after, home.link(&after.key), slot.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::subscription::EndReason;

    const NOW: &str = "2026-11-21T09:00:00Z";

    fn subscription(state: Value) -> Subscription {
        let mut doc =
            json!({"key": "aws|agmt-1|l-1", "product": "prod", "account": "1", "generation": 1, "created_at": NOW});
        doc.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
        serde_json::from_value(doc).unwrap()
    }

    #[test]
    fn what_was_given_up_is_waited_for_again_only_if_the_marketplace_says_that_it_is_pending() {
        let failed = subscription(json!({"state": "failed", "at": NOW}));
        let now = NOW.parse().unwrap();
        assert_eq!(stands(&failed, Standing::Pending, None, now).state, State::Announced);
        assert_eq!(stands(&failed, Standing::Unknown, None, now), failed);
    }

    #[test]
    fn a_tombstone_takes_terms_only_from_an_answer_that_knows_of_the_end() {
        let terms: Terms = serde_json::from_value(json!({"plan": "pro"})).unwrap();
        let ended = subscription(json!({"state": "ended", "at": NOW, "reason": "cancelled"}));
        let now = NOW.parse().unwrap();
        assert_eq!(stands(&ended, Standing::Live, Some(&terms), now), ended);
        let known = stands(&ended, Standing::Ended(EndReason::Cancelled), Some(&terms), now);
        assert_eq!(known.terms, Some(terms));
    }
}
