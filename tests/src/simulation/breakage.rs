//! The product, broken on purpose at one of its edges: one way for each rule, so that it is seen that the rule can fail.
//! What is bent is what the product's code hands out or is given; nothing of this exists outside the tests.

use std::str::FromStr;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tradepost_local::connector::{Call, Fault, Wire};

use super::rules::Rule;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// An organization's place is taken whatever is in it.
    PlacesUnchecked,
    /// A stopped deployment may go at once.
    RetentionUnread,
    /// When a trial ends is not read.
    TrialsUnseen,
    /// A usage event's key is written without looking whether it is there.
    KeysUnchecked,
    /// The reason of an end is not read: a renewal counts as a cancellation.
    ReasonsUnread,
    /// A notice is acknowledged without being stored.
    NoticesUnkept,
    /// Tasks are not written with what they follow from.
    TasksUnwritten,
    /// Whoever belongs to an organization counts as its owner.
    RolesUnread,
}

impl Breakage {
    /// All of them, in the order of the rules they break.
    pub const ALL: [Self; 8] = [
        Self::PlacesUnchecked,
        Self::RetentionUnread,
        Self::TrialsUnseen,
        Self::KeysUnchecked,
        Self::ReasonsUnread,
        Self::NoticesUnkept,
        Self::TasksUnwritten,
        Self::RolesUnread,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::PlacesUnchecked => "places-unchecked",
            Self::RetentionUnread => "retention-unread",
            Self::TrialsUnseen => "trials-unseen",
            Self::KeysUnchecked => "keys-unchecked",
            Self::ReasonsUnread => "reasons-unread",
            Self::NoticesUnkept => "notices-unkept",
            Self::TasksUnwritten => "tasks-unwritten",
            Self::RolesUnread => "roles-unread",
        }
    }

    /// The rule that must be seen to fail.
    pub fn breaks(self) -> Rule {
        match self {
            Self::PlacesUnchecked => Rule::OneLink,
            Self::RetentionUnread => Rule::Deletions,
            Self::TrialsUnseen => Rule::Trials,
            Self::KeysUnchecked => Rule::Usage,
            Self::ReasonsUnread => Rule::Ends,
            Self::NoticesUnkept => Rule::Kept,
            Self::TasksUnwritten => Rule::Agreement,
            Self::RolesUnread => Rule::Entitled,
        }
    }

    /// A notice as the product takes it.
    pub fn notice(self, body: String) -> String {
        if self != Self::ReasonsUnread {
            return body;
        }
        body.replace("RENEWED", "CANCELLED").replace("REPLACED", "CANCELLED")
    }

    /// A call to the ledger that is answered without being done.
    pub fn unkept(self, call: &Call) -> Option<Fault> {
        let puts = call.operation.ends_with(".PutItem") && find(&call.body, "\"NOTICE#");
        (self == Self::NoticesUnkept && puts).then_some(Fault::Answer(200, "unkept"))
    }

    /// Bends what is written to the ledger.
    pub fn into_the_ledger(self, wire: &Wire) {
        wire.bend(
            move |operation, body| {
                if self == Self::RetentionUnread && operation.ends_with(".PutItem") {
                    edited(&body, |request| request.pointer_mut("/Item").into_iter().for_each(unkept))
                } else if operation.ends_with("TransactWriteItems") {
                    edited(&body, |request| self.transaction(request))
                } else {
                    body
                }
            },
            |_, body| body,
        );
    }

    fn transaction(self, request: &mut Value) {
        let Some(items) = request.get_mut("TransactItems").and_then(Value::as_array_mut) else { return };
        let is = |item: &Value, name: &str, start: &str| {
            let key = item.pointer(&format!("/Put/Item/{name}/S")).and_then(Value::as_str);
            key.is_some_and(|key| key.starts_with(start))
        };
        match self {
            Self::TasksUnwritten => items.retain(|item| !is(item, "pk", "TASK#")),
            Self::PlacesUnchecked => unconditional(items, |item| is(item, "sk", "SLOT") || is(item, "sk", "LINK")),
            Self::KeysUnchecked => unconditional(items, |item| is(item, "pk", "USAGE-KEY#")),
            Self::RetentionUnread => items.iter_mut().filter_map(|item| item.pointer_mut("/Put/Item")).for_each(unkept),
            Self::TrialsUnseen | Self::ReasonsUnread | Self::NoticesUnkept | Self::RolesUnread => {}
        }
    }

    /// Bends what the control plane answers.
    pub fn into_the_vendor(self, wire: &Wire) {
        wire.bend(
            |_, body| body,
            move |operation, body| {
                if self == Self::TrialsUnseen && operation.ends_with("/list-deployments") {
                    edited(&body, |answer| each(answer, "deployments", |one| drop(one.remove("trial_ends_at"))))
                } else if self == Self::RolesUnread && operation.ends_with("/list-organizations") {
                    edited(&body, |answer| {
                        each(answer, "organizations", |one| drop(one.insert("role".to_owned(), "owner".into())));
                    })
                } else {
                    body
                }
            },
        );
    }
}

impl FromStr for Breakage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| format!("one of {}", names()))
    }
}

/// A deployment's row that is written as if it had been stopped four days before.
fn unkept(item: &mut Value) {
    let since = item.pointer("/doc/M/since/S").and_then(Value::as_str).and_then(|at| at.parse::<Timestamp>().ok());
    let is_stop = item.pointer("/doc/M/keep_until").is_some();
    let Some(before) = since.filter(|_| is_stop).and_then(|at| at.checked_sub(SignedDuration::from_hours(96)).ok())
    else {
        return;
    };
    for name in ["since", "warn_at", "keep_until"] {
        if let Some(at) = item.pointer_mut(&format!("/doc/M/{name}/S")) {
            *at = before.to_string().into();
        }
    }
    if let Some(due) = item.pointer_mut("/due_at/N") {
        *due = before.as_millisecond().to_string().into();
    }
}

fn find(body: &Bytes, text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

fn edited(body: &Bytes, edit: impl FnOnce(&mut Value)) -> Bytes {
    let Ok(mut value) = serde_json::from_slice(body) else { return body.clone() };
    edit(&mut value);
    Bytes::from(value.to_string())
}

fn each(answer: &mut Value, list: &str, edit: impl Fn(&mut serde_json::Map<String, Value>)) {
    for one in answer.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(members) = one.as_object_mut() {
            edit(members);
        }
    }
}

/// Takes the conditions off some of a transaction's writes.
fn unconditional(items: &mut [Value], which: impl Fn(&Value) -> bool) {
    for item in items.iter_mut().filter(|item| which(item)) {
        if let Some(put) = item.get_mut("Put").and_then(Value::as_object_mut) {
            for name in ["ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"] {
                put.remove(name);
            }
        }
    }
}
