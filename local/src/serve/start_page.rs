//! The start page: what is running, six things to try first, and who is there to try them with.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Desk;
use super::page::{Frame, for_people, show};
use super::tour::{Person, Step, at_the_end, people, steps};

#[derive(Template)]
#[template(path = "desk/start.html")]
struct StartPage {
    frame: Frame,
    now: String,
    now_for_people: String,
    steps: [Step; 6],
    people: &'static [Person],
    vendor: String,
    several_methods: bool,
    /// What Tradepost does at the end of a subscription.
    at_the_end: &'static str,
    parties: [Party; 6],
}

struct Party {
    name: &'static str,
    address: String,
    what: &'static str,
    real: bool,
}

pub(super) async fn get(State(desk): State<Desk>) -> Response {
    let at = desk.stack.addresses();
    let now = desk.stack.clock.now();
    let policy = &desk.stack.policy;
    let parties = [
        Party {
            name: "Tradepost on AWS",
            address: format!("{}/", at.tradepost),
            what: "The four functions as they run in the cloud, called with the events AWS would send.",
            real: true,
        },
        Party {
            name: "Tradepost on Azure",
            address: format!("{}/", at.tradepost_azure),
            what: "The handler as the Functions host calls it: pages, webhooks and timers, over the same database.",
            real: true,
        },
        Party {
            name: "AWS Marketplace",
            address: format!("{}/", at.aws),
            what: "Where a buyer subscribes and cancels, its notices, and the APIs the functions call.",
            real: false,
        },
        Party {
            name: "Azure portal",
            address: format!("{}/", at.azure),
            what: "Where a buyer subscribes, changes and cancels in Microsoft\u{2019}s marketplace; beside it Entra ID, which signs buyers in, and the API the handler calls.",
            real: false,
        },
        Party {
            name: "The vendor",
            address: format!("{}/", at.vendor),
            what: "Sign-in, organizations, deployments, and the signed control plane Tradepost calls.",
            real: false,
        },
        Party {
            name: "Database, queues and clock",
            address: format!("{}/clock", at.start),
            what: "An embedded DynamoDB and queues that behave like SQS, reached by the SDK\u{2019}s own clients.",
            real: false,
        },
    ];
    let page = StartPage {
        now: now.to_string(),
        now_for_people: for_people(now),
        steps: steps(policy, &at),
        people: people(policy),
        vendor: policy.vendor.clone(),
        at_the_end: at_the_end(policy),
        several_methods: policy.link.sign_in.len() > 1,
        parties,
        frame: Frame { at, here: "/" },
    };
    show(StatusCode::OK, &page)
}
