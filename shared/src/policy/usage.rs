//! How usage is metered, whatever the listing.

use jiff::SignedDuration;
use serde::Deserialize;

/// Whatever a policy says, the last usage is sent before this.
const LONGEST_FINAL_MINUTES: u32 = 50;

/// How usage is metered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRules {
    /// How long after the end of a subscription the product may report usage from before it.
    #[serde(default = "final_minutes")]
    pub final_minutes: u32,
}

impl Default for UsageRules {
    fn default() -> Self {
        Self { final_minutes: final_minutes() }
    }
}

fn final_minutes() -> u32 {
    15
}

impl UsageRules {
    /// How long after its end the last usage of a subscription may be reported.
    pub fn final_wait(&self) -> SignedDuration {
        SignedDuration::from_mins(i64::from(self.final_minutes.min(LONGEST_FINAL_MINUTES)))
    }

    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        let most = LONGEST_FINAL_MINUTES;
        let allowed = (1..=most).contains(&self.final_minutes);
        (!allowed)
            .then(|| format!("is {}; it must be 1 to {most}: AWS takes the last usage for an hour", self.final_minutes))
    }
}
