//! What a run finds: what differs, and what was done about it or is to be done.

use serde::{Deserialize, Serialize};

/// The kinds of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The marketplace has a purchase in force of which we had never heard.
    PurchaseUnknown,
    /// A renewal or replacement we had not heard of whole.
    SuccessorMissed,
    /// The purchase stands otherwise than we believed.
    StandingDiffers,
    /// Plan, seats or term were others.
    TermsDiffer,
    /// A contract entitles to something else than we believed.
    EntitlementsDiffer,
    /// The marketplace waited for an answer to a question we had not heard.
    AnswerOwed,
    /// What pages show of an organization was not what its link says.
    StatusDiffers,
    /// A deployment runs though its organization's purchase has ended.
    StillRunning,
    /// An organization is not on the plan it was to be put on.
    PlanDiffers,
    /// The marketplace has it in force, but nothing told that it has been paid.
    Unconfirmed,
    /// It ended by all we were told, and the marketplace has it in force.
    Revived,
    /// A sign of its end came long ago, and the marketplace has it in force.
    EndUnsettled,
    /// The agreement is in force, and the contract entitles to nothing.
    NothingEntitled,
    /// The marketplace did not answer, or refused to.
    Unanswered,
    /// Something on the marketplace's list could not be read.
    Unreadable,
    /// The link and the organization's place do not name each other.
    SlotDiffers,
    /// A link is in force over a purchase that is over.
    LinkOverEnded,
    /// A deployment that we had stopped runs again.
    RunsAgain,
    /// A deployment that we had stopped is still stopped though its organization is linked again.
    StillStopped,
    /// The vendor's product did not answer.
    ProductUnanswered,
    /// Something has been due for hours and nobody works on it.
    Overdue,
    /// Something was given up on.
    Parked,
}

impl What {
    /// Its name, as in JSON and the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::PurchaseUnknown => "purchase_unknown",
            Self::SuccessorMissed => "successor_missed",
            Self::StandingDiffers => "standing_differs",
            Self::TermsDiffer => "terms_differ",
            Self::EntitlementsDiffer => "entitlements_differ",
            Self::AnswerOwed => "answer_owed",
            Self::StatusDiffers => "status_differs",
            Self::StillRunning => "still_running",
            Self::PlanDiffers => "plan_differs",
            Self::Unconfirmed => "unconfirmed",
            Self::Revived => "revived",
            Self::EndUnsettled => "end_unsettled",
            Self::NothingEntitled => "nothing_entitled",
            Self::Unanswered => "unanswered",
            Self::Unreadable => "unreadable",
            Self::SlotDiffers => "slot_differs",
            Self::LinkOverEnded => "link_over_ended",
            Self::RunsAgain => "runs_again",
            Self::StillStopped => "still_stopped",
            Self::ProductUnanswered => "product_unanswered",
            Self::Overdue => "overdue",
            Self::Parked => "parked",
        }
    }

    /// What a person should do about one that is open.
    pub fn action(self) -> &'static str {
        match self {
            Self::PurchaseUnknown
            | Self::SuccessorMissed
            | Self::StandingDiffers
            | Self::TermsDiffer
            | Self::EntitlementsDiffer
            | Self::AnswerOwed
            | Self::StatusDiffers => "Nothing: it was put right as its notice would have been.",
            Self::StillRunning => {
                "Nothing is stopped by itself: it may have been let go because something else paid, or have come after the end. \
                 Look in the audit lines and among the parked tasks; replay the stop, or stop it by hand."
            }
            Self::PlanDiffers => {
                "Somebody may have chosen it. If not, look among the parked tasks, and whether the vendor's product keeps the \
                 plan it is told."
            }
            Self::Unconfirmed => {
                "Look in the marketplace's portal whether the purchase is paid. If it is, ask the marketplace to send its \
                 notices again; until one comes the purchase stays unconfirmed."
            }
            Self::Revived => {
                "Look in the marketplace's portal. An end is never taken back here: if the purchase is in force, the buyer \
                 opens it from there once more, or buys again."
            }
            Self::EndUnsettled => {
                "Look in the marketplace's portal whether the purchase ends. If it goes on, ask the marketplace to send its \
                 notices again: what carries it on is not known here, and its usage is not taken meanwhile. Nothing is stopped."
            }
            Self::NothingEntitled => {
                "Look in the marketplace's portal what the contract grants. Nothing was ended: that is decided when what was \
                 granted runs out."
            }
            Self::Unanswered => {
                "Nothing was changed. If it stays, look whether the marketplace is down, or whether we may still ask it."
            }
            Self::Unreadable => {
                "Nothing was changed. The marketplace tells something this version does not know: report it."
            }
            Self::SlotDiffers => {
                "Look at the organization's audit lines and its list of links. Take the wrong link off by hand."
            }
            Self::LinkOverEnded => {
                "Look at the purchase's audit lines. If it is over in the marketplace too, take the link off by hand."
            }
            Self::RunsAgain => {
                "Ask who started it. It is not stopped a second time and not deleted while it runs; stop it in the vendor's \
                 product, or let the organization pay."
            }
            Self::StillStopped => "Start it in the vendor's product, or ask the customer to.",
            Self::ProductUnanswered => {
                "Nothing was changed. If it stays, look why the vendor's product does not answer."
            }
            Self::Overdue => "Look whether the functions that work on what is due run, and what their logs say.",
            Self::Parked => "Look at what was given up on, put right what stood in its way, and have it tried again.",
        }
    }
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub what: What,
    /// Of what: a subscription's key, a deployment, a row.
    pub subject: String,
    /// Whose, where an organization is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// How it is with us, and how elsewhere, in a few words.
    pub detail: String,
    /// Whether it was put right.
    pub healed: bool,
}

impl Finding {
    /// Something to be told only.
    pub fn open(what: What, subject: impl ToString, detail: impl Into<String>) -> Self {
        Self { what, subject: subject.to_string(), organization: None, detail: detail.into(), healed: false }
    }

    /// Something that was put right.
    pub fn healed(what: What, subject: impl ToString, detail: impl Into<String>) -> Self {
        Self { healed: true, ..Self::open(what, subject, detail) }
    }

    /// The same, of an organization.
    pub fn of(self, organization: &str) -> Self {
        Self { organization: Some(organization.to_owned()), ..self }
    }
}
