//! What a browser's session keeps when a landing has to wait or is given up, when its buyer has
//! signed in to the marketplace or uses another account, and when it is linked. And what a landing leaves in the ledger.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bytes::Bytes;
use http::header::{COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, Request};
use jiff::SignedDuration;
use serde_json::Value;
use system_tests::world::World;
use tradepost::audit::AuditLine;
use tradepost::landing::{Resolved, register};
use tradepost::ledger::{Document as _, Row};
use tradepost::marketplace::Standing;
use tradepost::person::{Person, PersonId};
use tradepost::registration::{Registration, RegistrationState};
use tradepost::retry::later;
use tradepost::subscription::{Pointer, SubscriptionKey};
use tradepost::web::buyer::{Arrival, Buyer, arrived};
use tradepost::web::index::close;
use tradepost::web::page::Answer;
use tradepost::web::session::{SESSION_LIFE, Session, SigningIn, WaitingToken};
use tradepost::web::sign_in::{callback, sign_out, switch};
use tradepost::web::text::Message;
use tradepost::web::waiting::{forgotten, place_kept, too_many_tokens};
use tradepost::web::{App, Visit};

fn app(world: &World) -> &App {
    &world.stack.landing.app
}

/// A browser of somebody who is signed in, has signed out before, and holds another purchase.
fn session(world: &World) -> Session {
    Session {
        registration: Some("another".to_owned()),
        person: Some(Person {
            issuer: "https://id.example".to_owned(),
            subject: "p-1".to_owned(),
            email: Some("p@example.com".to_owned()),
            name: None,
        }),
        ask_who: true,
        organization: Some("org-1".to_owned()),
        csrf: "before".to_owned(),
        waiting: Some(waiting(world)),
        ..Session::default()
    }
}

fn waiting(world: &World) -> WaitingToken {
    WaitingToken { token: "a token".to_owned(), offer_type: None, since: world.now() }
}

fn visit(world: &World, session: Session) -> Visit {
    let request = Request::get("https://example.com/").body(Bytes::new()).unwrap();
    Visit { session, ..app(world).visit(&request, world.now()) }
}

/// The answer's headers, and the session the browser has after it; none if it keeps the one it had.
fn after(world: &World, visit: &Visit, answer: Answer) -> (HeaderMap, Option<Session>) {
    let headers = app(world).reply(visit, answer).response.headers().clone();
    let cookie = headers.get(SET_COOKIE).map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned());
    let session = cookie.map(|cookie| {
        let sent = HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]);
        app(world).sessions.open(&sent, world.now())
    });
    (headers, session)
}

/// Somebody else's landing may be what waits: nothing that was chosen before is taken along but who is there.
#[tokio::test]
async fn whoever_waits_stays_signed_in_and_is_still_asked_who_they_are() -> anyhow::Result<()> {
    let world = World::new().await?;
    let token = waiting(&world);
    for ask_who in [true, false] {
        let before = Session { ask_who, waiting: None, ..session(&world) };
        let visit = visit(&world, before.clone());
        let wait = SignedDuration::from_secs(9);
        let full = too_many_tokens(app(&world), &visit, token.clone(), wait);
        let kept = place_kept(app(&world), &visit, token.clone());
        for (answer, asked_to_wait) in [(full, Some("10")), (kept, None)] {
            let (headers, session) = after(&world, &visit, answer);
            let told = headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(told, asked_to_wait);
            let session = session.unwrap();
            assert_eq!(session.waiting.as_ref(), Some(&token));
            assert_eq!((session.person, session.ask_who), (before.person.clone(), ask_who));
            assert_eq!((session.registration, session.organization), (None, None));
            assert!(!session.csrf.is_empty() && session.csrf != before.csrf, "a fresh secret for every form");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_token_of_no_use_is_forgotten_and_nothing_else() -> anyhow::Result<()> {
    let world = World::new().await?;
    let waits = visit(&world, session(&world));
    let (_, kept) = after(&world, &waits, forgotten(&waits, Message::TokenInvalid));
    let kept = Session { ends_at: None, ..kept.unwrap() };
    assert_eq!(kept, Session { waiting: None, ..session(&world) });
    // One that another site has made this browser bring changes nothing here.
    let brought = visit(&world, Session { waiting: None, ..session(&world) });
    let (_, untouched) = after(&world, &brought, forgotten(&brought, Message::TokenInvalid));
    assert_eq!(untouched, None);
    Ok(())
}

/// A landing that nobody has signed in for.
async fn landed(world: &World) -> anyhow::Result<Registration> {
    let row = Registration {
        id: "r-1".to_owned(),
        subscription: None,
        licence: None,
        licence_arn: None,
        product: world.code(),
        account: "210987654321".to_owned(),
        free_trial: false,
        buyer: None,
        resolved_at: world.now(),
        state: RegistrationState::Resolved,
    };
    world.ledger().create(row.clone()).await?;
    Ok(row)
}

async fn registration(world: &World) -> Row<Registration> {
    world.ledger().get::<Registration>(&Registration::row_key("r-1")).await.unwrap().unwrap()
}

/// The browser holds the purchase from then on; its row says whose sign-in let it go on, until it is linked.
#[tokio::test]
async fn a_buyer_who_signed_in_holds_the_purchase_and_stays_signed_in() -> anyhow::Result<()> {
    let world = World::new().await?;
    let who = |subject: &str| PersonId { issuer: "https://login.example".to_owned(), subject: subject.to_owned() };
    landed(&world).await?;
    let arrival = Arrival { registration: "r-1".to_owned(), accounts: Vec::new() };
    let buyer = Buyer { name: Some("Ana".to_owned()), email: None };
    for ask_who in [true, false] {
        let before = Session { arrival: Some(arrival.clone()), ask_who, ..session(&world) };
        let visit = visit(&world, before.clone());
        let answer = arrived(app(&world), &visit, &arrival, &who("ana"), buyer.clone()).await?;
        let (headers, session) = after(&world, &visit, answer);
        assert!(headers.get(LOCATION).unwrap().to_str()?.ends_with("/?landed=1"), "{headers:?}");
        let session = session.unwrap();
        assert_eq!((session.registration.as_deref(), session.arrival), (Some("r-1"), None));
        assert_eq!((session.person, session.ask_who), (before.person, ask_who));
        assert_eq!((session.buyer, session.waiting, session.organization), (Some(buyer.clone()), None, None));
        assert!(!session.csrf.is_empty() && session.csrf != before.csrf);
    }
    let visit = visit(&world, session(&world));
    let row = registration(&world).await;
    assert_eq!((row.doc.buyer.as_ref(), row.version), (Some(&who("ana")), 2), "written once");
    arrived(app(&world), &visit, &arrival, &who("ben"), buyer.clone()).await?;
    let row = registration(&world).await;
    assert_eq!(row.doc.buyer, Some(who("ben")));
    let linked = RegistrationState::Consumed { link: "link-1".to_owned() };
    world.ledger().replace(&row, Registration { state: linked, ..row.doc.clone() }).await?;
    arrived(app(&world), &visit, &arrival, &who("ana"), buyer).await?;
    assert_eq!(registration(&world).await.doc.buyer, Some(who("ben")), "the link is this buyer's");
    Ok(())
}

/// Whoever uses another account of the vendor is still who signed in to the marketplace.
#[tokio::test]
async fn another_account_goes_on_with_the_same_purchase_and_buyer() -> anyhow::Result<()> {
    let world = World::new().await?;
    let row = landed(&world).await?;
    let buyer = Some(Buyer { name: Some("Ana".to_owned()), email: None });
    let before = Session { registration: Some(row.id), buyer: buyer.clone(), ..session(&world) };
    let visit = visit(&world, before.clone());
    let (_, session) = after(&world, &visit, switch(app(&world), &visit).await?);
    let session = session.unwrap();
    assert_eq!((session.registration.as_deref(), session.buyer), (Some("r-1"), buyer));
    assert_eq!((session.person, session.organization, session.ask_who), (None, None, true));
    assert!(!session.csrf.is_empty() && session.csrf != before.csrf);
    Ok(())
}

/// What is linked need not be held any longer, nor who signed in for it; whoever is there stays.
#[tokio::test]
async fn closing_what_was_linked_lets_go_of_the_purchase_and_its_buyer() -> anyhow::Result<()> {
    let world = World::new().await?;
    let buyer = Some(Buyer { name: Some("Ana".to_owned()), email: None });
    let held = Session { buyer, waiting: None, ..session(&world) };
    for (field, back) in [("", "/"), ("back=billing", "/billing"), ("back=elsewhere", "/")] {
        let visit = Visit { body: Bytes::from_static(field.as_bytes()), ..visit(&world, held.clone()) };
        let (headers, kept) = after(&world, &visit, close(&visit));
        assert!(headers.get(LOCATION).unwrap().to_str()?.ends_with(back), "{headers:?}");
        let kept = Session { ends_at: None, ..kept.unwrap() };
        assert_eq!(kept, Session { registration: None, buyer: None, ..held.clone() });
    }
    Ok(())
}

/// Two landings with one purchase may come at the very same moment; whoever knows only the account finds the purchase.
#[tokio::test]
async fn each_landing_has_its_line_and_the_account_leads_to_the_purchase() {
    let world = World::new().await.unwrap();
    let key = SubscriptionKey::Azure { id: "5d1f3a0e-0000-0000-0000-000000000001".to_owned() };
    let resolved = |account: &str| Resolved {
        subscription: Some(key.clone()),
        licence: None,
        licence_arn: None,
        product: "emqx-cloud".to_owned(),
        account: account.to_owned(),
        free_trial: false,
        standing: Standing::Pending,
        terms: None,
    };
    let (ledger, now) = (world.ledger(), world.now());
    let pointer = |account: &str| Pointer::from_account(account, &key).key();
    register(ledger, "first-landing", &resolved(""), now).await.unwrap();
    assert!(ledger.get::<Pointer>(&pointer("")).await.unwrap().is_none());
    register(ledger, "another-landing", &resolved("account-1"), now).await.unwrap();
    assert_eq!(ledger.get::<Pointer>(&pointer("account-1")).await.unwrap().unwrap().doc.to, key);
    let lines = ledger.whole_partition(&AuditLine::partition(&key), "").await.unwrap();
    let causes: Vec<String> = lines.into_iter().map(|line| line.read::<AuditLine>().unwrap().doc.cause).collect();
    assert_eq!(causes, ["landing:another-", "landing:first-la"], "enough to tell two apart");
}

/// The first page a browser sees brings the secret that its forms are sent back with; data brings no session.
#[tokio::test]
async fn a_first_page_brings_the_secret_of_its_forms() -> anyhow::Result<()> {
    let world = World::new().await?;
    let first = visit(&world, Session::default());
    let (_, session) = after(&world, &first, Answer::message(Message::NotFound));
    assert!(!session.unwrap().csrf.is_empty());
    let (_, session) = after(&world, &first, sign_out());
    assert!(!session.unwrap().csrf.is_empty());
    let (_, none) = after(&world, &first, Answer::json(Value::Null, "data"));
    assert_eq!(none, None);
    Ok(())
}

/// A session lasts as long as it did when its person signed in, however much is done in it.
#[tokio::test]
async fn a_session_is_prolonged_when_somebody_signs_in_and_by_nothing_else() -> anyhow::Result<()> {
    let world = World::new().await?;
    let soon = world.now() + SignedDuration::from_hours(1);
    let before = Session { ends_at: Some(soon), ..session(&world) };
    let visit = visit(&world, before.clone());
    let person = before.person.clone().map(|person| Person { subject: "p-2".to_owned(), ..person });
    for (next, ends_at) in [
        (Session { organization: Some("org-2".to_owned()), ..before.clone() }, soon),
        (Session { person, ..before }, later(visit.now, SESSION_LIFE)),
    ] {
        let (_, session) = after(&world, &visit, Answer::redirect("/").with_session(next));
        assert_eq!(session.unwrap().ends_at, Some(ends_at));
    }
    Ok(())
}

/// Only the page of a purchase that has not been told of yet looks again by itself.
#[tokio::test]
async fn only_a_page_that_waits_looks_again() -> anyhow::Result<()> {
    let world = World::new().await?;
    let visit = visit(&world, session(&world));
    for (message, again) in [(Message::PurchaseNotYet, true), (Message::NotFound, false)] {
        let page = app(&world).reply(&visit, Answer::message(message)).response.into_body();
        assert_eq!(String::from_utf8_lossy(&page).contains("data-look-again"), again, "{message:?}");
    }
    Ok(())
}

/// A sign-in that came to nothing is over: what comes back for it later, from history or from elsewhere, is not taken.
#[tokio::test]
async fn a_sign_in_that_came_to_nothing_is_over() -> anyhow::Result<()> {
    let world = World::new().await?;
    for silent in [true, false] {
        let under_way = SigningIn {
            method: "demo".to_owned(),
            state: "s".to_owned(),
            nonce: "n".to_owned(),
            verifier: "v".to_owned(),
            silent,
            since: world.now(),
        };
        let before = Session { signing_in: Some(under_way), ..session(&world) };
        let query = "state=s&error=login_required".to_owned();
        let visit = Visit { query, ..visit(&world, before.clone()) };
        let (headers, session) = after(&world, &visit, callback(app(&world), &visit).await?);
        let asks = headers.get(LOCATION).is_some_and(|to| to.to_str().unwrap().ends_with("/sign-in?ask=1"));
        assert_eq!(asks, silent, "{headers:?}");
        let session = Session { ends_at: None, ..session.unwrap() };
        assert_eq!(session, Session { signing_in: None, ..before }, "nothing else changes");
    }
    Ok(())
}
