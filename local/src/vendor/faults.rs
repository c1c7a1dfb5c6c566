//! How the control plane misbehaves when a test or a person at the demo wants it to: for every call, for the next
//! few, for one operation or for one target only.

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// Nothing.
    #[default]
    Ok,
    /// 503, and nothing is done.
    Down,
    /// It is done, and answered with 500.
    LoseAnswer,
    /// It is done, and answered late.
    Slow,
    /// 429, and nothing is done.
    Throttle,
}

/// What goes wrong, and for which calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faults {
    mode: Mode,
    /// Only for so many more calls.
    #[serde(default)]
    next: Option<u32>,
    /// Only for this operation.
    #[serde(default)]
    operation: Option<String>,
    /// Only for this target.
    #[serde(default)]
    target: Option<String>,
    /// How late a slow answer is, in seconds of real time.
    #[serde(default)]
    seconds: Option<u64>,
}

/// Longer than a careful client waits.
const SLOW_SECONDS: u64 = 10;

impl Faults {
    /// What goes wrong with this call. Counts it.
    pub fn take(&mut self, operation: &str, target: &str) -> Mode {
        let concerns = self.operation.as_deref().is_none_or(|only| only == operation)
            && self.target.as_deref().is_none_or(|only| only == target);
        if !concerns {
            return Mode::Ok;
        }
        let mode = if self.next == Some(0) { Mode::Ok } else { self.mode };
        match self.next {
            Some(left @ 2..) => self.next = Some(left.saturating_sub(1)),
            Some(_) => *self = Self::default(),
            None => {}
        }
        mode
    }

    /// How late a slow answer is.
    pub fn lateness(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.seconds.unwrap_or(SLOW_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(json: serde_json::Value) -> Faults {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn it_goes_on_until_told_otherwise() {
        let mut faults = faults(json!({"mode": "lose-answer"}));
        for _ in 0..3 {
            assert_eq!(faults.take("stop_deployment", "dep-a"), Mode::LoseAnswer);
        }
    }

    #[test]
    fn only_so_many_calls() {
        let mut faults = faults(json!({"mode": "down", "next": 2}));
        let taken: Vec<_> = (0..4).map(|_| faults.take("stop_deployment", "dep-a")).collect();
        assert_eq!(taken, [Mode::Down, Mode::Down, Mode::Ok, Mode::Ok]);
    }

    #[test]
    fn only_calls_that_concern_it_count() {
        let mut faults =
            faults(json!({"mode": "throttle", "next": 1, "operation": "delete_deployment", "target": "dep-a"}));
        assert_eq!(faults.take("delete_deployment", "dep-b"), Mode::Ok);
        assert_eq!(faults.take("stop_deployment", "dep-a"), Mode::Ok);
        assert_eq!(faults.take("delete_deployment", "dep-a"), Mode::Throttle);
        assert_eq!(faults.take("delete_deployment", "dep-a"), Mode::Ok);
    }

    #[test]
    fn an_unknown_mode_is_refused() {
        assert!(serde_json::from_value::<Faults>(json!({"mode": "sulk"})).is_err());
    }
}
