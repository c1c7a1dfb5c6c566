//! What the end of a subscription means.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::a_day;
use crate::ledger::Provider;

/// What the end of a subscription does to an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndFamily {
    /// Running deployments stop, trials excepted until they end; stopped ones are deleted after the retention.
    StopAndDelete,
    /// Only the link goes; everything stays and the vendor charges in its own way.
    Keep,
    /// The organization is put on another plan, unless something else pays for it; nothing is stopped or deleted.
    Downgrade,
}

/// What the end of a subscription does to deployments on trial. Only the control plane's `trial_ends_at` makes a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trials {
    /// They go on until they end, and are stopped and deleted like the rest then.
    #[default]
    UntilTheirEnd,
    /// They are the vendor's alone: Tradepost neither stops nor deletes them, during the trial or after it.
    LeftAlone,
}

/// What the end of a subscription means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndRules {
    /// Which family.
    pub family: EndFamily,
    /// The plan an organization is put on, for the family `downgrade`.
    #[serde(default)]
    pub downgrade_to: Option<String>,
    /// What becomes of trials.
    #[serde(default)]
    pub trials: Trials,
    /// How long stopped deployments are kept, in hours, by marketplace; 72 at least.
    #[serde(default)]
    pub retention_hours: BTreeMap<Provider, u32>,
    /// How long before a deletion the warning goes out.
    #[serde(default = "a_day")]
    pub warn_hours: u32,
    /// Whether deployments start again when the organization links again within the retention.
    #[serde(default)]
    pub restart_on_return: bool,
    /// Whether an organization may run while its subscription is suspended.
    #[serde(default)]
    pub run_while_suspended: bool,
}
