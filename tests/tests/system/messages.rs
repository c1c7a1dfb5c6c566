//! What people are told by e-mail: through a real SMTP conversation into the mailbox of the local stack.

#![expect(clippy::expect_used, reason = "a test says what it expects")]

use anyhow::Context as _;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use system_tests::world::{DAY, EMQX, HOUR, World};
use tradepost::ledger::Provider;
use tradepost::message::english::{LINKED, STOPPED};
use tradepost::message::letter::{Facts, Letter};
use tradepost::message::sender::Sender as _;
use tradepost::message::smtp::Smtp;
use tradepost::message::{Message, MessageState};
use tradepost::policy::Policy;
use tradepost_local::connector::Fault;
use tradepost_local::mailbox::Mail;

const CONTACT: &str = "clean@demo.example";

/// The subjects of what came to one address, oldest first.
fn subjects(world: &World, to: &str) -> Vec<String> {
    let mails = world.stack.mailbox.mails().into_iter().filter(|mail| mail.to.iter().any(|one| one == to));
    mails.map(|mail| mail.parsed().expect("a mail").subject).collect()
}

fn parsed(mail: &Mail) -> (String, String) {
    let parsed = mail.parsed().expect("a mail");
    (parsed.text, parsed.html)
}

#[tokio::test]
async fn from_the_link_to_the_last_deletion_there_is_one_mail_for_each_step() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    assert_eq!(subjects(&world, CONTACT), ["EMQX Cloud is linked to Clean Co"]);
    world.cancel(&bought).await?;
    world.pass(3 * HOUR).await?;
    assert_eq!(
        subjects(&world, CONTACT).get(1..).unwrap(),
        ["Your subscription to EMQX Cloud has ended", "Deployments of Clean Co are stopped and will be deleted"]
    );
    world.pass(2 * DAY).await?;
    assert_eq!(subjects(&world, CONTACT).get(3..).unwrap(), ["Deployments of Clean Co will be deleted soon"]);
    world.pass(DAY + 6 * HOUR).await?;
    assert_eq!(subjects(&world, CONTACT).get(4..).unwrap(), ["Deployments of Clean Co are deleted"]);
    let mails = world.stack.mailbox.mails();
    for (number, facts) in [
        (1, vec!["72 hours", "UTC", "trials go on until they end", "/subscriptions", "/tickets"]),
        (2, vec!["orders-prod: kept until", "events-staging: kept until", "old-archive: kept until"]),
        (3, vec!["orders-prod: kept until", "that cannot be undone"]),
        (4, vec!["orders-prod: deleted on", "events-staging: deleted on", "old-archive: deleted on"]),
    ] {
        let (text, html) = parsed(mails.get(number).unwrap());
        for fact in facts {
            assert!(text.contains(fact) && html.contains(fact), "{number}: {fact}\n{text}\n{html}");
        }
        assert!(!text.contains("trial-sandbox"), "a trial is not concerned");
        assert!(!text.contains('{') && !html.contains("{"), "a place was left open: {text}");
    }
    let ids: BTreeSet<_> = mails.iter().map(|mail| mail.parsed().unwrap().id).collect();
    assert_eq!(ids.len(), mails.len(), "each has a Message-ID of its own");
    assert_eq!(world.stack.parked().await?, 0);
    Ok(())
}

#[tokio::test]
async fn linked_again_nobody_is_warned() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(DAY).await?;
    let again = world.buy().await?;
    let mut browser = world.ready(&again.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(4 * DAY).await?;
    let said = subjects(&world, CONTACT);
    assert_eq!(said.iter().filter(|subject| subject.contains("is linked to")).count(), 2, "{said:?}");
    assert!(!said.iter().any(|subject| subject.contains("soon") || subject.contains("are deleted")), "{said:?}");
    assert!(world.ledger().all_listed::<Message>("open").await?.is_empty(), "nothing is left to send");
    Ok(())
}

#[tokio::test]
async fn a_refusal_tells_whoever_tried_and_the_operators_what_the_policy_says() -> anyhow::Result<()> {
    let from = "from = \"billing@emqx.example\"";
    let rules = format!(
        "{from}\nbuyer = [\"refused\"]\noperators = [\"linked\", \"refused\"]\noperator_addresses = [\"one@emqx.example\", \"two@emqx.example\"]"
    );
    let world = World::with_policy(&EMQX.replace(from, &rules)).await?;
    let bought = world.buy().await?;
    world.ready(&bought.token, "card").await?;
    world.pass(60).await?;
    for to in ["card@demo.example", "one@emqx.example", "two@emqx.example"] {
        assert_eq!(subjects(&world, to).len(), 1, "{to}");
    }
    let (text, html) = parsed(world.stack.mailbox.mails().first().unwrap());
    for fact in ["already has a credit card set up", "still runs in AWS Marketplace"] {
        assert!(text.contains(fact) && html.contains(fact), "{text}");
    }
    world.linked("clean").await?;
    assert!(subjects(&world, CONTACT).is_empty(), "buyers are told of refusals only");
    assert_eq!(subjects(&world, "one@emqx.example").len(), 2);
    Ok(())
}

#[tokio::test]
async fn without_a_sender_nothing_is_written() -> anyhow::Result<()> {
    let world = World::with_policy(&EMQX.replace("from = \"billing@emqx.example\"\n", "")).await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    assert!(world.ledger().all_listed::<Message>("open").await?.is_empty());
    assert!(world.stack.mailbox.mails().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_busy_gets_it_later_and_one_that_refuses_gets_it_parked() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.stack.mailbox.refuse(Some("451 4.3.0 later"));
    world.linked("clean").await?;
    assert!(world.stack.mailbox.mails().is_empty());
    let waiting = world.ledger().all_listed::<Message>("open").await?;
    let why = waiting.first().and_then(|row| row.doc.attempts.last_failure.clone()).unwrap_or_default();
    assert!(why.contains("451") && !why.contains('@'), "{why}");
    world.stack.mailbox.refuse(None);
    world.pass(2 * HOUR).await?;
    assert_eq!(subjects(&world, CONTACT).len(), 1);
    world.stack.mailbox.refuse(Some("550 5.7.1 no"));
    let second = world.buy().await?;
    let mut browser = world.ready(&second.token, "second").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(DAY).await?;
    let parked = world.ledger().all_listed::<Message>("parked").await?;
    assert_eq!(parked.first().map(|row| row.doc.status), Some(MessageState::Parked));
    Ok(())
}

#[tokio::test]
async fn a_crash_after_sending_sends_the_same_message_id_once_more() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.stack.dynamo.wire().inject(|call| {
        let body = String::from_utf8_lossy(&call.body);
        let noted =
            call.operation.ends_with("PutItem") && body.contains("MESSAGE#") && body.contains("{\"S\":\"done\"}");
        noted.then_some(Fault::Unreachable)
    });
    world.linked("clean").await?;
    world.stack.dynamo.wire().heal();
    world.pass(2 * HOUR).await?;
    let mails = world.stack.mailbox.mails();
    assert!(mails.len() >= 2, "told again");
    let ids: BTreeSet<_> = mails.iter().map(|mail| mail.parsed().unwrap().id).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(ids.first().unwrap().ends_with("@emqx.example>"));
    Ok(())
}

fn facts<'a>(policy: &'a Policy, organization: &'a str, items: Vec<String>) -> Facts<'a> {
    let (marketplace, product) = (Provider::Aws, "EMQX Cloud");
    Facts { policy, marketplace, organization, product, more: Vec::new(), items }
}

#[tokio::test]
async fn nobody_is_told_of_a_link_that_is_over_by_then() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.stack.mailbox.refuse(Some("451 4.3.0 later"));
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.stack.mailbox.refuse(None);
    world.pass(2 * HOUR).await?;
    let said = subjects(&world, CONTACT);
    assert!(!said.is_empty() && !said.iter().any(|subject| subject.contains("is linked to")), "{said:?}");
    Ok(())
}

/// A trial is stopped when it ends, long after the others: that is told by itself, and not asked about all the while.
#[tokio::test]
async fn what_is_stopped_later_is_told_in_a_mail_of_its_own() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(3 * HOUR).await?;
    let [waiting] = world.ledger().all_listed::<Message>("open").await?.try_into().expect("one mail that waits");
    let next = waiting.doc.attempts;
    assert!(next.tries == 0 && next.not_before.duration_since(world.now()).as_hours() > 24, "{next:?}");
    world.pass(11 * DAY).await?;
    let mails = world.stack.mailbox.mails();
    let mails: Vec<_> = mails.iter().map(|mail| mail.parsed().expect("a mail")).collect();
    let stopped = mails.iter().filter(|mail| mail.subject.contains("are stopped")).count();
    let ids: BTreeSet<_> = mails.iter().map(|mail| &mail.id).collect();
    assert_eq!((stopped, ids.len()), (2, mails.len()), "{ids:?}");
    Ok(())
}

#[tokio::test]
async fn names_write_no_headers_and_no_tags() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (policy, now) = (&*world.stack.policy, Timestamp::now());
    let smtp = Smtp::new(&world.stack.mailbox.url().context("no mail server")?.parse()?, None).expect("a server");
    let nasty = "Evil\r\nBcc: victim@example.com\r\n\r\n<script>alert(1)</script> {vendor} Zürich ☃";
    let items = (0..60).map(|number| format!("one-{number}\r\n.\r\n{nasty}")).collect();
    for (number, words) in [LINKED, STOPPED].into_iter().enumerate() {
        let letter = Letter::new(words, &facts(policy, nasty, Vec::clone(&items)));
        let mail = letter.packed(policy, &["buyer@example.com".to_owned()], &format!("id-{number}"), now)?;
        smtp.send(&mail).await?;
    }
    let mails = world.stack.mailbox.mails();
    assert_eq!(mails.len(), 2, "a dot on a line of its own ends nothing");
    for mail in &mails {
        assert_eq!(mail.to, ["buyer@example.com"]);
        let parsed = mail.parsed()?;
        assert!(!parsed.headers.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{:?}", parsed.headers);
        assert!(parsed.subject.contains("Zürich ☃") && parsed.subject.contains("{vendor}"), "{}", parsed.subject);
        assert!(!parsed.html.contains("<script>") && parsed.html.contains("&#60;script&#62;"), "{}", parsed.html);
        assert!(parsed.text.contains("and 10 more") && parsed.html.contains("and 10 more"));
    }
    Ok(())
}

#[tokio::test]
async fn addresses_are_written_to_or_refused_never_mangled() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (policy, now) = (&*world.stack.policy, Timestamp::now());
    let smtp = Smtp::new(&world.stack.mailbox.url().context("no mail server")?.parse()?, None).expect("a server");
    let letter = Letter::new(LINKED, &facts(policy, "Clean Co", Vec::new()));
    for address in ["jürgen@example.com", "o'neil+cloud@example.com"] {
        smtp.send(&letter.packed(policy, &[address.to_owned()], "id", now)?).await?;
        assert_eq!(world.stack.mailbox.mails().last().unwrap().to, [address]);
    }
    for address in ["", "nobody", "a@b\r\nRCPT TO:<c@example.com>", "a b@example.com"] {
        assert!(letter.packed(policy, &[address.to_owned()], "id", now).is_err(), "{address:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_mailbox_shows_every_mail_and_frames_its_html_without_rights() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.linked("clean").await?;
    let client = tradepost_local::stack::loopback_client()?;
    let start = world.at.start.clone();
    let list = client.get(format!("{start}/mailbox")).send().await?.text().await?;
    assert!(list.contains("EMQX Cloud is linked to Clean Co") && list.contains(CONTACT));
    let one = client.get(format!("{start}/mailbox/0")).send().await?.text().await?;
    assert!(one.contains("sandbox") && one.contains("/mailbox/0/html"));
    let html = client.get(format!("{start}/mailbox/0/html")).send().await?;
    let policy = html.headers()["content-security-policy"].to_str()?.to_owned();
    assert!(policy.starts_with("sandbox; default-src 'none'"), "{policy}");
    assert!(html.text().await?.contains("<h1"));
    assert_eq!(client.get(format!("{start}/mailbox/7")).send().await?.status(), 404);
    world.vendor("events", json!({"status": null})).await?;
    let events = client.get(format!("{}/events", world.at.vendor)).send().await?.text().await?;
    assert!(events.contains("link.synced"), "{events}");
    Ok(())
}
