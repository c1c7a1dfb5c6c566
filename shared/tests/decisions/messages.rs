//! When somebody is told of an organization's deployments, which way mails go, and to which mail servers
//! nothing is said in clear.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tradepost::control_plane::StopReason;
use tradepost::deployment::{Deployment, DeploymentState, Stop};
use tradepost::ledger::{Document as _, Key, Provider};
use tradepost::link::{Contact, RefusedLink};
use tradepost::message::following::{Next, Stage, next};
use tradepost::message::letter::instant;
use tradepost::message::smtp::{Smtp, is_private};
use tradepost::message::{Audience, Message, refused};
use tradepost::outbound::Outbound;
use tradepost::person::PersonId;
use tradepost::policy::Policy;
use tradepost::retry::Attempts;
use tradepost::settings::{MailWay, Secrets, Settings, SettingsError};
use tradepost::settle::Occasion;
use tradepost::subscription::{Subscription, SubscriptionKey};

use super::t;

fn at(hours: i64) -> Timestamp {
    t("2026-11-21T09:00:00Z") + SignedDuration::from_hours(hours)
}

fn one(id: &str, state: DeploymentState) -> Deployment {
    Deployment {
        organization: "org-1".to_owned(),
        id: id.to_owned(),
        name: id.to_owned(),
        provider: Provider::Aws,
        generation: 1,
        ended_at: at(0),
        state,
        attempts: Attempts::at(at(0)),
        held: None,
        parked: false,
    }
}

fn stopping() -> DeploymentState {
    DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked: false }
}

fn stopped(warned: bool) -> DeploymentState {
    let (retention, warning) = (SignedDuration::from_hours(72), SignedDuration::from_hours(24));
    DeploymentState::Stopped(Stop { warned, ..Stop::new(at(0), at(0), false, retention, warning) })
}

fn tell(stage: Stage, of: &[usize]) -> Next {
    Next::Tell { stage, of: of.to_vec() }
}

#[test]
fn the_first_mail_waits_for_the_last_stop_but_not_for_ever() {
    let half = [one("a", stopped(false)), one("b", stopping())];
    let told = BTreeMap::new();
    assert_eq!(next(&half, &told, at(0), at(1)), Next::Look(at(1) + SignedDuration::from_mins(15)));
    assert_eq!(next(&half, &told, at(0), at(2)), tell(Stage::Stopped, &[0]));
    let all = [one("a", stopped(false)), one("b", stopped(false))];
    assert_eq!(next(&all, &told, at(0), at(1)), tell(Stage::Stopped, &[0, 1]));
}

#[test]
fn each_stage_is_told_once_and_then_it_is_over() {
    let mut told = BTreeMap::new();
    let deleted = DeploymentState::Deleted { at: at(73) };
    for (state, stage, now) in
        [(stopped(false), Stage::Stopped, 1), (stopped(true), Stage::Warned, 49), (deleted, Stage::Deleted, 73)]
    {
        let rows = [one("a", state)];
        assert_eq!(next(&rows, &told, at(0), at(now)), tell(stage, &[0]));
        told.insert("a".to_owned(), stage);
        let after = next(&rows, &told, at(0), at(now));
        let ahead = match stage {
            Stage::Stopped => Next::Look(at(48) + SignedDuration::from_mins(20)),
            Stage::Warned => Next::Look(at(72) + SignedDuration::from_mins(20)),
            Stage::Deleted => Next::Over,
        };
        assert_eq!(after, ahead);
    }
}

#[test]
fn the_last_mail_waits_for_what_is_being_deleted_but_not_for_ever() {
    let told = BTreeMap::from(["a", "b"].map(|id| (id.to_owned(), Stage::Warned)));
    let half = [one("a", DeploymentState::Deleted { at: at(73) }), one("b", stopped(true))];
    assert_eq!(next(&half, &told, at(0), at(73)), Next::Look(at(73) + SignedDuration::from_mins(15)));
    assert_eq!(next(&half, &told, at(0), at(75)), tell(Stage::Deleted, &[0]));
    let both = half.map(|one| Deployment { state: DeploymentState::Deleted { at: at(73) }, ..one });
    assert_eq!(next(&both, &told, at(0), at(73)), tell(Stage::Deleted, &[0, 1]));
    let later = [one("a", DeploymentState::Deleted { at: at(70) }), one("b", stopped(true))];
    assert_eq!(next(&later, &told, at(0), at(71)), tell(Stage::Deleted, &[0]), "the other is not due yet");
}

#[test]
fn what_was_never_told_of_is_not_told_of_when_it_is_gone() {
    let rows = [one("a", DeploymentState::Deleted { at: at(1) })];
    assert_eq!(next(&rows, &BTreeMap::new(), at(0), at(1)), Next::Over);
    let released = [one("a", DeploymentState::Released { why: "something else pays".to_owned() })];
    assert_eq!(next(&released, &BTreeMap::new(), at(0), at(1)), Next::Over);
}

#[test]
fn an_end_without_deployments_is_looked_at_for_three_days() {
    assert_eq!(next(&[], &BTreeMap::new(), at(0), at(71)), Next::Look(at(72)));
    assert_eq!(next(&[], &BTreeMap::new(), at(0), at(72)), Next::Over);
}

#[test]
fn a_trial_is_waited_for() {
    let rows = [one("a", DeploymentState::Running { trial_ends_at: at(300) })];
    assert_eq!(next(&rows, &BTreeMap::new(), at(0), at(1)), Next::Look(at(300) + SignedDuration::from_mins(20)));
}

#[test]
fn nobody_is_talked_to_in_clear_but_this_machine() {
    for (address, private) in [
        ("smtps://me@mail.example:465", true),
        ("smtp://me@mail.example:587?tls=required", true),
        ("smtp://me@mail.example:587", false),
        ("smtp://me@mail.example:587?tls=opportunistic", false),
        ("smtp://127.0.0.1:2525", true),
        ("smtp://[::1]:2525", true),
        ("smtp://localhost:2525", true),
        ("smtp://localhost.example:2525", false),
        ("https://mail.example", false),
    ] {
        let url = address.parse().unwrap();
        assert_eq!(is_private(&url), private, "{address}");
        assert_eq!(Smtp::new(&url, Some("secret")).is_some(), private, "{address}");
    }
}

fn settings(mail: &str, smtp_url: &str) -> Result<Settings, SettingsError> {
    let given = |name: &str| {
        let text = match name {
            "TRADEPOST_MAIL" => mail,
            "TRADEPOST_SMTP_URL" => smtp_url,
            "TRADEPOST_SIGN_IN" => "[]",
            "TRADEPOST_TABLE" | "TRADEPOST_PUBLIC_URL" => "any",
            "TRADEPOST_CONTROL_PLANE_URL" => "https://vendor.example",
            _ => return None,
        };
        Some(text.to_owned())
    };
    Settings::read(given, |_| Ok(include_str!("../../../policies/emqx.toml").to_owned()))
}

#[test]
fn mails_go_one_way_or_none() {
    let server = "smtps://me@mail.example:465";
    let smtp = || Some(MailWay::Smtp(server.parse().unwrap()));
    for (mail, smtp_url, way) in [
        ("", "", None),
        ("smtp", "", None),
        ("", server, smtp()),
        ("smtp", server, smtp()),
        ("ses", "", Some(MailWay::Ses)),
    ] {
        let settings = settings(mail, smtp_url).unwrap();
        assert_eq!(settings.mail, way, "{mail:?} {smtp_url:?}");
        assert_eq!(settings.policy.messages.from.is_some(), way.is_some(), "without a way nothing is written");
    }
    for (mail, smtp_url, says) in [
        ("ses", server, "TRADEPOST_MAIL is ses and TRADEPOST_SMTP_URL names a mail server; set only one of them"),
        ("post", "", "TRADEPOST_MAIL is not smtp or ses"),
        (
            "",
            "smtp://mail.example:25",
            "TRADEPOST_SMTP_URL is not a mail server reached with TLS (smtps://user@host:465)",
        ),
    ] {
        assert_eq!(settings(mail, smtp_url).unwrap_err().to_string(), says);
    }
}

#[test]
fn a_cloud_without_ses_says_so_and_nobody_is_asked_for_it_needlessly() {
    let secrets = Secrets::read(r#"{"cookie_key": "", "control_plane": ""}"#).unwrap();
    let outlets = |settings: &Settings| settings.outlets(&secrets, Arc::new(Outbound::default()), || None);
    let error = outlets(&settings("ses", "").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "TRADEPOST_MAIL is not a way to send mails from this cloud (ses is for AWS)");
    let unasked =
        settings("", "").unwrap().outlets(&secrets, Arc::new(Outbound::default()), || panic!("not asked for"));
    assert!(unasked.unwrap().mail.is_none());
}

/// Who refused is told of is the policy's choice; a buyer without a contact cannot be.
#[test]
fn of_a_refusal_whoever_can_be_reached_is_told() {
    let policy = include_str!("../../../policies/emqx.toml").replace(
        "[messages]\n",
        "[messages]\nbuyer = [\"refused\"]\noperators = [\"refused\"]\noperator_addresses = [\"ops@example.com\"]\n",
    );
    let policy = Policy::parse(&policy).unwrap();
    let occasion = Occasion { policy: &policy, now: at(1), cause: "c" };
    let key = SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() };
    let one = RefusedLink {
        organization: "org-1".to_owned(),
        subscription: key.clone(),
        registration: "r-1".to_owned(),
        reasons: Vec::new(),
        person: PersonId { issuer: "https://id.example".to_owned(), subject: "p".to_owned() },
        at: at(1),
    };
    let subscription = Subscription::announced(key, "prod", "1", at(0));
    let mails = |contact: Option<Contact>| refused(occasion, &one, "One", contact, &subscription);
    assert!(mails(None).iter().all(|mail| Message::is_at(&mail.key())), "what tells somebody comes after what is done");
    assert!(!Message::is_at(&subscription.key()) && !Message::is_at(&Key::new("EVENTS#org-1", "MESSAGE")));
    let told = |contact: Option<Contact>| -> Vec<Audience> {
        mails(contact).into_iter().map(|message| message.audience).collect()
    };
    assert_eq!(told(Contact::parse("buyer@example.com")), [Audience::Buyer, Audience::Operators]);
    assert_eq!(told(None), [Audience::Operators]);
}

#[test]
fn people_read_an_instant_in_words() {
    assert_eq!(instant(t("2026-11-02T09:05:59Z")), "2 November 2026, 09:05 UTC");
}
