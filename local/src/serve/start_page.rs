//! The start page: what is running, six things to try first, and who is there to try them with.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use tradepost::ledger::Provider;

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
    parties: [Party; 6],
}

struct Step {
    title: String,
    text: &'static str,
    /// What its buttons say, and where they lead.
    ways: Vec<(&'static str, String)>,
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
    let listing = |marketplace| desk.stack.policy.listings.iter().find(move |one| one.marketplace == marketplace);
    let way = |marketplace, words| listing(marketplace).map(|listing| (words, listing.url.clone()));
    let title = desk.stack.policy.listings.first().map(|listing| listing.title.as_str()).unwrap_or_default();
    let ways = [way(Provider::Aws, "Open the listing on AWS"), way(Provider::Azure, "Open the listing on Azure")];
    let steps = [
        Step {
            title: format!("Buy {title} and link it"),
            text: "View purchase options, Subscribe, Set up your account; on Azure Subscribe, Configure account now, and pick the same Microsoft account. Continue as clean@demo.example and press Link.",
            ways: ways.into_iter().flatten().collect(),
        },
        Step {
            title: "Watch the modal turn from syncing to linked".to_owned(),
            text: "It does by itself when AWS confirms, about a minute after the purchase; in a hurry, push the clock two minutes. On Azure it is linked at once.",
            ways: vec![
                ("Tradepost\u{2019}s page on AWS", format!("{}/", at.tradepost)),
                ("Tradepost\u{2019}s page on Azure", format!("{}/", at.tradepost_azure)),
            ],
        },
        Step {
            title: "Try a refusal".to_owned(),
            text: "Buy on the other marketplace too: an account is linked to one purchase only. Or in a private window, where nobody is signed in, take another account, buy there, and continue as card@demo.example or credits@demo.example.",
            ways: vec![
                ("Take another AWS account", format!("{}/account?id=444455556666", at.aws)),
                ("Take another Azure account", format!("{}/account?id=ben", at.azure)),
            ],
        },
        Step {
            title: "Cancel".to_owned(),
            text: "Open the subscription and cancel it; AWS wants the product\u{2019}s name typed. Once the marketplace has told, the running deployments of Clean Co stop; the trial goes on.",
            ways: vec![
                ("Manage subscriptions on AWS", format!("{}/subscriptions", at.aws)),
                ("SaaS on Azure", format!("{}/saas", at.azure)),
            ],
        },
        Step {
            title: "Push the clock three days and an hour".to_owned(),
            text: "The last warnings go out on the way; after the hour exactly the stopped deployments are gone. The page says line by line what happened.",
            ways: vec![("Open the clock", "/clock".to_owned())],
        },
        Step {
            title: "Buy again within the three days".to_owned(),
            text: "Cancelled and bought again in time, what was stopped starts again and nothing is deleted. The logs show every notice with its raw JSON.",
            ways: vec![
                ("AWS\u{2019}s order log", format!("{}/orders", at.aws)),
                ("Microsoft\u{2019}s webhooks", format!("{}/webhooks", at.azure)),
            ],
        },
    ];
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
        frame: Frame { at, here: "/" },
        now: now.to_string(),
        now_for_people: for_people(now),
        steps,
        people: PEOPLE,
        parties,
    };
    show(StatusCode::OK, &page)
}
