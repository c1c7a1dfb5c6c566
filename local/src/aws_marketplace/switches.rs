//! The switches of the test bench: what goes wrong on purpose, and how the fake reads the points on which AWS's
//! own pages disagree.
//!
//! Numbers named "next" count down as they are used; the rest stay until changed.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Switches {
    /// Every notice arrives twice, with the same event id.
    pub duplicate: bool,
    /// Notices that leave together do not leave in order.
    pub reorder: bool,
    /// This many of the next notices never arrive.
    pub lose: u32,
    /// Notices queued from now on arrive this much later; the time in their body does not change.
    pub delay_seconds: u32,
    /// The next ResolveCustomer calls are throttled.
    pub throttle: u32,
    /// The next calls of any operation are answered 500 and do nothing.
    pub fail_5xx: u32,
    /// The next BatchMeterUsage calls are throttled, besides those above the quota.
    pub throttle_metering: u32,
    /// The next BatchMeterUsage calls are answered 500 and nothing is metered.
    pub fail_before_metering: u32,
    /// The next BatchMeterUsage calls are metered and then answered 500.
    pub fail_after_metering: u32,
    /// The next BatchMeterUsage calls are metered and never answered.
    pub never_answer_metering: u32,
    /// The next usage records come back unprocessed.
    pub unprocessed: u32,
    /// Ended opens the final hour and License Deprovisioned closes it, instead of opening it 31 seconds later.
    pub strict_final_hour: bool,
    /// How long a registration token resolves.
    pub token_ttl_seconds: u32,
    /// ResolveCustomer answers without Metadata, as it did before 2026.
    pub omit_agreement_id: bool,
    /// An identical record sent again is DuplicateRecord, as one of AWS's texts has it, instead of Success.
    pub identical_is_duplicate: bool,
    /// Whether GetEntitlements starts with an empty page.
    pub empty_pages: EmptyPages,
    /// Regions whose metering API is switched off.
    pub disabled_regions: Vec<String>,
    /// To cancel, a box is ticked instead of the product's title typed.
    pub cancel_by_checkbox: bool,
    /// Calls without a signature are taken, for a person with a command line.
    pub allow_unsigned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EmptyPages {
    Never,
    /// Every third query.
    Sometimes,
    Always,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            duplicate: false,
            reorder: false,
            lose: 0,
            delay_seconds: 0,
            throttle: 0,
            fail_5xx: 0,
            throttle_metering: 0,
            fail_before_metering: 0,
            fail_after_metering: 0,
            never_answer_metering: 0,
            unprocessed: 0,
            strict_final_hour: false,
            token_ttl_seconds: 4 * 60 * 60,
            omit_agreement_id: false,
            identical_is_duplicate: false,
            empty_pages: EmptyPages::Sometimes,
            disabled_regions: Vec::new(),
            cancel_by_checkbox: false,
            allow_unsigned: false,
        }
    }
}

/// Uses up one of a "next" switch.
pub(super) fn use_one(next: &mut u32) -> bool {
    let was_on = *next > 0;
    *next = next.saturating_sub(1);
    was_on
}
