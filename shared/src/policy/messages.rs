//! Which e-mails go out, and to whom.

use serde::{Deserialize, Serialize};

/// What an e-mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A purchase is linked; what to do next.
    Linked,
    /// A purchase could not be linked; why.
    Refused,
    /// The subscription has ended; what follows, and when.
    Ended,
    /// Deployments are stopped; when they will be deleted.
    Stopped,
    /// Deployments are about to be deleted.
    Warning,
    /// Deployments are deleted.
    Deleted,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Linked, Self::Refused, Self::Ended, Self::Stopped, Self::Warning, Self::Deleted];
}

/// Which e-mails go out, and to whom. None at all without `from`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRules {
    /// Who sends them: an address the mail service is allowed to send for.
    #[serde(default)]
    pub from: Option<String>,
    /// What the buyer's contact is told.
    #[serde(default = "every_kind")]
    pub buyer: Vec<MessageKind>,
    /// What the vendor's operators are told.
    #[serde(default)]
    pub operators: Vec<MessageKind>,
    /// The operators' addresses.
    #[serde(default)]
    pub operator_addresses: Vec<String>,
}

impl Default for MessageRules {
    fn default() -> Self {
        Self { from: None, buyer: every_kind(), operators: Vec::new(), operator_addresses: Vec::new() }
    }
}

fn every_kind() -> Vec<MessageKind> {
    MessageKind::ALL.to_vec()
}

impl MessageRules {
    /// Every address in them, with the key it stands under.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (String, &str)> {
        let from = self.from.as_deref().map(|from| ("messages.from".to_owned(), from));
        let operators = self.operator_addresses.iter().enumerate();
        let operators = operators.map(|(number, one)| (format!("messages.operator_addresses.{number}"), one.as_str()));
        from.into_iter().chain(operators)
    }
}
