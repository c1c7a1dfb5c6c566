//! The start page: what is running, six things to try first, and who is there to try them with.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Desk;
use super::page::{Frame, for_people, show};

#[derive(Template)]
#[template(path = "desk/start.html")]
struct StartPage {
    frame: Frame,
    now: String,
    now_for_people: String,
    steps: [Step; 6],
    people: &'static [(&'static str, &'static str, &'static str)],
    parties: [Party; 4],
}

struct Step {
    title: String,
    text: &'static str,
    link: &'static str,
    address: String,
}

struct Party {
    name: &'static str,
    address: String,
    what: &'static str,
    real: bool,
}

/// Key, who that is, what linking does.
const PEOPLE: &[(&str, &str, &str)] = &[
    ("clean", "Owns Clean Co: three deployments and a trial", "Links"),
    ("second", "Owns Second Co: two deployments", "Links"),
    ("card", "Owns Card Co, with a card on file", "Refused: a credit card is set up"),
    ("credits", "Owns Credits Co, with 250.00 of credits", "Refused: credits are available"),
    ("owner", "Owns three organizations", "Asks which one; two of them are refused"),
    ("member", "Only a member of Member Co", "Refused: an owner or billing person has to"),
    ("fresh", "Has no organization yet", "Asks to make one first"),
];

pub(super) async fn get(State(desk): State<Desk>) -> Response {
    let at = desk.stack.addresses();
    let now = desk.stack.clock.now();
    let listing = desk.stack.policy.listings.first();
    let (code, title) = listing.map(|listing| (listing.code.as_str(), listing.title.as_str())).unwrap_or_default();
    let steps = [
        Step {
            title: format!("Buy {title} and link it"),
            text: "View purchase options, Subscribe, Set up your account; continue as clean@demo.example and press Link.",
            link: "Open the listing on AWS",
            address: format!("{}/product/{code}", at.aws),
        },
        Step {
            title: "Watch the modal turn from syncing to linked".to_owned(),
            text: "It does by itself when AWS confirms, about a minute after the purchase. In a hurry? Push the clock two minutes.",
            link: "Open Tradepost\u{2019}s page",
            address: format!("{}/", at.tradepost),
        },
        Step {
            title: "Try a refusal".to_owned(),
            text: "In a private window, where nobody is signed in, take another AWS account, buy there, and continue as card@demo.example or credits@demo.example.",
            link: "Take another AWS account",
            address: format!("{}/account?id=444455556666", at.aws),
        },
        Step {
            title: "Cancel".to_owned(),
            text: "Open the subscription, cancel it and type the product\u{2019}s name. Once AWS has told, the running deployments of Clean Co stop; the trial goes on.",
            link: "Open Manage subscriptions",
            address: format!("{}/subscriptions", at.aws),
        },
        Step {
            title: "Push the clock three days and an hour".to_owned(),
            text: "The last warnings go out on the way; after the hour exactly the stopped deployments are gone. The page says line by line what happened.",
            link: "Open the clock",
            address: "/clock".to_owned(),
        },
        Step {
            title: "Buy again within the three days".to_owned(),
            text: "Cancelled and bought again in time, what was stopped starts again and nothing is deleted. The order log shows every notice with its raw JSON.",
            link: "Open the order log",
            address: format!("{}/orders", at.aws),
        },
    ];
    let parties = [
        Party {
            name: "Tradepost",
            address: format!("{}/", at.tradepost),
            what: "The four functions as they run in the cloud, called with the events AWS would send.",
            real: true,
        },
        Party {
            name: "AWS Marketplace",
            address: format!("{}/", at.aws),
            what: "Where a buyer subscribes and cancels, its notices, and the APIs the functions call.",
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
        frame: Frame { at, here: "/" },
        now: now.to_string(),
        now_for_people: for_people(now),
        steps,
        people: PEOPLE,
        parties,
    };
    show(StatusCode::OK, &page)
}
