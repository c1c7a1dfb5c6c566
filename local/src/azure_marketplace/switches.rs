//! The switches of the test bench: what goes wrong on purpose, and how the fake reads the points on which Microsoft's
//! pages and the real answers disagree.
//!
//! Numbers named "next" count down as they are used; the rest stay until changed.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Switches {
    /// Every webhook is called twice, with the same body.
    pub duplicate: bool,
    /// Calls that leave together do not leave in order.
    pub reorder: bool,
    /// This many of the next calls never arrive, and the marketplace believes they did.
    pub lose: u32,
    /// Calls queued from now on are made this much later; the time in their body does not change.
    pub delay_seconds: u32,
    /// Webhooks carry only ids, time and action.
    pub slim: bool,
    /// `quantity` in webhooks is a text, empty without seats.
    pub quantity_text: bool,
    /// The flavour of the webhook's token: 1 or 2.
    pub token_version: u8,
    /// Between the delivery of a change and its being taken as accepted.
    pub auto_accept_seconds: u32,
    /// Between a PATCH or DELETE by the publisher and its taking effect.
    pub operation_seconds: u32,
    /// Between two tries of a webhook.
    pub retry_millis: u32,
    /// A refused change is followed by one that "changes" to what was kept.
    pub revert: bool,
    /// The end of a purchase that was never activated is told as well.
    pub tell_pending_end: bool,
    /// How long a landing token resolves.
    pub token_ttl_seconds: u32,
    /// The list of subscriptions starts with an empty page.
    pub empty_pages: bool,
    /// How long a new operation is missing from the list.
    pub list_delay_seconds: u32,
    /// Answers as the documentation has them, where real ones were seen to differ.
    pub as_documented: bool,
    /// Statuses have spaces around them, as in some of the documentation's own examples.
    pub stray_spaces: bool,
    /// Publisher tokens lack the claims of a service principal, so the API refuses them.
    pub no_service_principal: bool,
    /// The next calls of the API are answered 429, to be tried again after `retry_after_seconds`.
    pub throttle: u32,
    pub retry_after_seconds: u32,
    /// The next calls of the API are answered 500 and do nothing.
    pub fail_5xx: u32,
    /// The next calls of the API are done and not answered for `time_out_seconds`.
    pub time_out: u32,
    pub time_out_seconds: u32,
    /// The next call of the API is answered 401 whatever its token is.
    pub unauthorized_once: bool,
    /// The next calls of the metering API are answered 429, or 500, and do nothing.
    pub throttle_metering: u32,
    pub fail_metering: u32,
    /// The next calls that tell usage are done and answered 500, or not answered for `time_out_seconds`.
    pub fail_after_metering: u32,
    pub silent_after_metering: u32,
    /// The next usage events get the status `Error` and are not taken.
    pub refuse_usage: u32,
    /// Usage of another plan in the same hour is no duplicate.
    pub plan_in_metering_key: bool,
    /// Usage on a plan that the purchase has left is refused.
    pub present_plan_only: bool,
    /// How long after its end a day's usage is processed.
    pub recon_hours: u32,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            duplicate: false,
            reorder: false,
            lose: 0,
            delay_seconds: 0,
            slim: false,
            quantity_text: false,
            token_version: 1,
            auto_accept_seconds: 10,
            operation_seconds: 5,
            retry_millis: 57_600,
            revert: true,
            tell_pending_end: true,
            token_ttl_seconds: 24 * 60 * 60,
            empty_pages: false,
            list_delay_seconds: 2,
            as_documented: false,
            stray_spaces: false,
            no_service_principal: false,
            throttle: 0,
            retry_after_seconds: 5,
            fail_5xx: 0,
            time_out: 0,
            time_out_seconds: 30,
            unauthorized_once: false,
            throttle_metering: 0,
            fail_metering: 0,
            fail_after_metering: 0,
            silent_after_metering: 0,
            refuse_usage: 0,
            plan_in_metering_key: false,
            present_plan_only: false,
            recon_hours: 6,
        }
    }
}

/// Uses up one of a "next" switch.
pub(super) fn use_one(next: &mut u32) -> bool {
    let was_on = *next > 0;
    *next = next.saturating_sub(1);
    was_on
}
