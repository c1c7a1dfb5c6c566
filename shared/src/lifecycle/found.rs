//! What a marketplace said when it was asked, taken as the notice of it would be: the same decision, without a stored
//! message. There is nothing that could be told again, so an answer that changes nothing writes nothing.

use jiff::Timestamp;

use super::decision::{Known, decide};
use super::{InterpretError, Interpreted, RACES, answer, earlier_home, entitlements, ours, slot_of_failed_link};
use crate::agreement::agreement_partition;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError};
use crate::marketplace::Marketplace;
use crate::notice::{Notice, Subject};
use crate::policy::Policy;
use crate::settle::Occasion;

/// Decides upon what was found out. None if nothing followed: it is known, or not about one of our listings.
///
/// # Errors
/// Anything but a lost race.
pub(crate) async fn found_out(
    ledger: &Ledger,
    policy: &Policy,
    marketplace: &impl Marketplace,
    notice: Notice,
    cause: &str,
    now: Timestamp,
) -> Result<Option<Interpreted>, InterpretError> {
    let Ok(notice) = ours(ledger, policy, notice).await? else { return Ok(None) };
    let partition = match &notice.subject {
        Subject::Subscription { key, .. } => key.partition(),
        Subject::Agreement { id } => agreement_partition(id),
    };
    let occasion = Occasion { policy, now, cause };
    for _ in 0..RACES {
        let home = Home::read(ledger, &partition).await?;
        let known = Known {
            before: earlier_home(ledger, &home, &notice).await?,
            slot: slot_of_failed_link(ledger, &home, &notice).await?,
            entitlements: entitlements(policy, marketplace, &home, &notice, now).await?,
            answer: answer(ledger, Some(&notice)).await?,
        };
        let (changes, outcome) = decide(occasion, &home, &known, &notice);
        let wake = changes.wake;
        if changes.writes.is_empty() {
            return Ok((!wake.is_empty()).then_some(Interpreted { outcome, wake }));
        }
        match ledger.transact(changes.writes).await {
            Ok(()) => return Ok(Some(Interpreted { outcome, wake })),
            Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(LedgerError::Conflict.into())
}
