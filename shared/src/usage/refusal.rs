//! Why usage is not counted, for whoever reported it: a code for programs, and a sentence that says what to do.
//! `docs/usage.md` says more of each.

use super::report::Refusal;

impl Refusal {
    /// For programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotLinked => "not_linked",
            Self::DimensionUnknown => "dimension_unknown",
            Self::InTheFuture => "in_the_future",
            Self::TooOld => "too_old",
            Self::AfterTheEnd => "after_the_end",
            Self::TooLate => "too_late",
            Self::PurchaseFailed => "purchase_failed",
            Self::Renewing => "renewing",
            Self::KeyConflict => "key_conflict",
            Self::TooMuch => "too_much",
            Self::TooManyTagSets => "too_many_tag_sets",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Malformed => "The event does not read; mend it and send it again under its key.",
            Self::NotLinked => {
                "No marketplace purchase paid for the organization at that time; bill it in another way, or look at \
                 organization and time."
            }
            Self::DimensionUnknown => {
                "The policy's listing has no such meter; write the dimension as the marketplace has it, or add the meter."
            }
            Self::InTheFuture => "The time is more than five minutes ahead of our clock; set the clock right or wait.",
            Self::TooOld => "The time is more than 31 days ago; it can only be settled with the customer.",
            Self::AfterTheEnd => {
                "The subscription had ended at that time; the marketplace bills nothing after its end."
            }
            Self::TooLate => {
                "The subscription has ended and its last usage has been closed; it can only be settled with the customer."
            }
            Self::PurchaseFailed => "The marketplace did not confirm the purchase; nothing is billed through it.",
            Self::Renewing => {
                "The subscription ends or is renewed, and which is not known yet; send the event again, under its key, in an \
                 hour."
            }
            Self::KeyConflict => {
                "The key was used before for something else; give each event its own, and send this one under a new key \
                 only if it was never counted."
            }
            Self::TooMuch => {
                "More than the marketplace takes for one hour; look at the quantity, or spread it over hours."
            }
            Self::TooManyTagSets => {
                "The hour has as many different sets of tags as the marketplace takes; send the event with fewer tags, or \
                 none."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_stored_names() {
        for refusal in [
            Refusal::Malformed,
            Refusal::NotLinked,
            Refusal::DimensionUnknown,
            Refusal::InTheFuture,
            Refusal::TooOld,
            Refusal::AfterTheEnd,
            Refusal::TooLate,
            Refusal::PurchaseFailed,
            Refusal::Renewing,
            Refusal::KeyConflict,
            Refusal::TooMuch,
            Refusal::TooManyTagSets,
        ] {
            assert_eq!(serde_json::json!(refusal), refusal.code());
            assert!(refusal.text().ends_with('.'));
        }
    }
}
