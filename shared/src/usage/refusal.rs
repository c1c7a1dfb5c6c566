//! Why usage is not counted, for whoever reported it: a code for programs, and a sentence that says what to do.

use super::report::Refusal;

impl Refusal {
    /// For programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Malformed => "The event does not read; mend it and send it again under its key.",
        }
    }
}
