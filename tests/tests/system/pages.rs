//! Tradepost's own pages: what a buyer is told at each step, who may go on as whom, and what the pages weigh.

use jiff::SignedDuration;
use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use system_tests::world::{ATLAS, EMQX, HOUR, World, asked, signed};
use tradepost::ledger::Provider;
use tradepost_local::demo::Browser;

#[tokio::test]
async fn the_landing_page_says_what_was_bought_what_comes_next_and_where_help_is() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let browser = world.land(&bought.token).await?;
    assert_eq!(browser.url.path(), "/sign-in");
    let text = browser.text();
    for said in [
        "Set up your account for EMQX Cloud (Pay as you go)",
        "AWS Marketplace account 210987654321",
        "Sign in to EMQX or sign up",
        "What happens next",
        "Linking is refused if the account",
        "has a credit card set up",
        "has available credits",
        "is already linked",
        "Open a ticket",
        "support@emqx.example",
    ] {
        assert!(text.contains(said), "{said:?} is not in: {text}");
    }
    assert!(!browser.html.contains(&bought.token), "the token is on the page");
    Ok(())
}

#[tokio::test]
async fn who_is_signed_in_at_the_vendor_goes_straight_to_the_index_page() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (first, mut browser) = (world.buy().await?, Browser::new()?);
    browser.open(&format!("{}/sign-in", world.at.vendor)).await?;
    browser.submit("form#sign-in", &[("email", "clean@demo.example"), ("password", "demo")]).await?;
    browser.open(&format!("{}/", world.at.aws)).await?;
    let landing = format!("{}/aws/landing", world.at.tradepost);
    browser.post(&landing, &[("x-amzn-marketplace-token", &first.token)]).await?;
    assert_eq!((browser.url.path(), browser.status), ("/", 200), "{}", browser.text());
    assert!(browser.text().contains("Link this purchase to this account"), "{}", browser.text());
    Ok(())
}

#[tokio::test]
async fn a_contact_that_is_no_address_is_said_at_the_field_and_nothing_is_linked() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    for typed in ["nobody", "a b@c.example", ""] {
        browser.submit("form#link-form", &[("contact", typed)]).await?;
        assert_eq!(browser.status, 422, "{typed:?}");
        assert!(browser.text_of("#contact-wrong")?.contains("Enter an e-mail address"), "{typed:?}");
        assert!(world.link_of(&bought).await?.is_none(), "{typed:?}");
    }
    browser.submit("form#link-form", &[("contact", "clara@clean.example")]).await?;
    assert_eq!(browser.status, 200, "{}", browser.text());
    assert!(world.link_of(&bought).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_buyer_can_go_on_as_somebody_else_until_it_is_linked() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "card").await?;
    assert!(browser.text().contains("credit card"), "{}", browser.text());
    browser.press("Use another account", &[]).await?;
    assert_eq!(browser.url.path(), "/sign-in", "{}", browser.text());
    browser.click("or sign up").await?;
    assert_eq!(browser.url.host_str(), Some("vendor.localhost"), "the vendor did not ask who it is");
    browser.submit("form#sign-in", &[("email", "second@demo.example"), ("password", "demo")]).await?;
    browser.submit("form#link-form", &[]).await?;
    let link = world.link_of(&bought).await?.ok_or_else(|| anyhow::anyhow!("not linked"))?;
    assert_eq!(link.organization, "org-second");
    Ok(())
}

#[tokio::test]
async fn only_its_owner_hands_a_landing_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut owner = world.ready(&bought.token, "clean").await?;
    // The same cookies, the person replaced: a browser somebody else has signed in in since.
    let mut other = owner.clone();
    other.open(&format!("{}/sign-out", world.at.vendor)).await?;
    other.submit("form#confirm-sign-out", &[]).await?;
    other.open(&format!("{}/sign-in/demo", world.at.tradepost)).await?;
    other.submit("form#sign-in", &[("email", "second@demo.example"), ("password", "demo")]).await?;
    assert!(other.text().contains("There is no purchase to link in this browser"), "{}", other.text());
    let form = other.form("form[action$='/sign-out']", &[])?;
    let csrf = form.2.iter().find(|(name, _)| name == "csrf").map(|(_, value)| value.clone()).unwrap_or_default();
    other.post("/switch", &[("csrf", &csrf)]).await?;
    assert_eq!(other.url.path(), "/signed-out", "{}", other.text());
    // The owner's own browser is not disturbed.
    owner.submit("form#link-form", &[]).await?;
    assert_eq!(owner.status, 200, "{}", owner.text());
    assert_eq!(world.link_of(&bought).await?.map(|link| link.organization), Some("org-clean".to_owned()));
    Ok(())
}

#[tokio::test]
async fn signing_out_ends_the_session_and_asks_who_it_is_next_time() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, mut browser) = world.linked("clean").await?;
    browser.open(&format!("{}/billing", world.at.tradepost)).await?;
    browser.press("Sign out", &[]).await?;
    assert!(browser.text().contains("You are signed out"), "{}", browser.text());
    browser.open(&format!("{}/billing", world.at.tradepost)).await?;
    assert_eq!(browser.url.path(), "/sign-in");
    browser.click("or sign up").await?;
    assert_eq!(browser.url.host_str(), Some("vendor.localhost"), "{}", browser.text());
    Ok(())
}

#[tokio::test]
async fn the_vendors_servers_are_told_how_an_organization_is_billed() -> anyhow::Result<()> {
    let world = World::new().await?;
    let key = world.stack.vendor_api_secret().to_owned();
    let call = |organization: &str| json!({"operation": "get_billing", "organization": organization}).to_string();
    let told = async |organization: &str| -> anyhow::Result<Value> {
        let body = call(organization);
        let response = asked(&world, "POST", "/v1/billing", signed(&world, &key, &body)?, &body).await?;
        assert_eq!(response.status(), StatusCode::OK, "{}", response.body());
        assert!(!response.headers().contains_key("set-cookie"));
        Ok(serde_json::from_str(response.body())?)
    };
    assert_eq!(told("org-clean").await?, json!({"organization": "org-clean", "state": "none"}));
    let (bought, _) = world.syncing("clean").await?;
    let syncing = told("org-clean").await?;
    assert_eq!((&syncing["state"], &syncing["payment_method"]), (&json!("syncing"), &json!("")));
    world.pass(120).await?;
    let linked = told("org-clean").await?;
    assert_eq!((&linked["state"], &linked["may_run"]), (&json!("linked"), &json!(true)));
    assert_eq!(linked["payment_method"], "AWS Marketplace Subscription");
    world.cancel(&bought).await?;
    let ended = told("org-clean").await?;
    assert_eq!((&ended["state"], &ended["subscription"]), (&json!("unlinked"), &json!("ended")));
    let concerned = ended["concerned"].as_array().cloned().unwrap_or_default();
    let named = |name: &str| concerned.iter().find(|one| one["name"] == name).cloned().unwrap_or_default();
    assert!(named("orders-prod")["deleted_after"].is_string(), "{ended}");
    assert!(named("trial-sandbox")["stops_at"].is_string(), "{ended}");
    assert_eq!(told("org-second").await?["state"], "none", "another organization's state");
    Ok(())
}

#[tokio::test]
async fn nobody_else_is_told_how_an_organization_is_billed() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.syncing("clean").await?;
    let body = json!({"operation": "get_billing", "organization": "org-clean"}).to_string();
    let key = world.stack.vendor_api_secret().to_owned();
    let good = signed(&world, &key, &body)?;
    let other = signed(&world, "whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg==", &body)?;
    let mut changed = good.clone();
    changed["webhook-id"] = json!("msg_other");
    for (headers, body, code) in [
        (json!({}), body.as_str(), "signature_missing"),
        (other, body.as_str(), "signature_invalid"),
        (changed, body.as_str(), "signature_invalid"),
        (good.clone(), r#"{"operation":"get_billing","organization":"org-second"}"#, "signature_invalid"),
    ] {
        let response = asked(&world, "POST", "/v1/billing", headers, body).await?;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{code}");
        let answer: Value = serde_json::from_str(response.body())?;
        assert_eq!(answer["code"], code);
        assert!(!response.body().contains("Clean Co"));
    }
    world.stack.clock.push(SignedDuration::from_secs(301));
    let late = asked(&world, "POST", "/v1/billing", good, &body).await?;
    assert!(late.body().contains("timestamp_stale"), "{}", late.body());
    let nonsense = r#"{"operation":"delete_everything"}"#;
    let answer = asked(&world, "POST", "/v1/billing", signed(&world, &key, nonsense)?, nonsense).await?;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{}", answer.body());
    Ok(())
}

#[tokio::test]
async fn the_first_page_is_light_and_brings_everything_itself() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let browser = world.ready(&bought.token, "clean").await?;
    let mut weight = browser.html.len();
    let mut assets = 0;
    for part in browser.html.split(['"', '\'']).filter(|part| part.contains("/assets/")) {
        assert!(part.starts_with("/assets/"), "{part} is not ours");
        let asset = asked(&world, "GET", part, json!({}), "").await?;
        assert_eq!(asset.status(), StatusCode::OK, "{part}");
        assert!(!asset.body().contains("http://") || part.ends_with(".svg"), "{part} asks somebody else");
        weight += asset.body().len();
        assets += 1;
    }
    assert!(assets >= 4, "{assets} assets");
    assert!(weight < 50 * 1024, "{weight} bytes");
    let csp = asked(&world, "GET", "/", json!({}), "").await?;
    let csp = csp.headers()["content-security-policy"].to_str()?.to_owned();
    assert!(!csp.contains("unsafe") && !csp.contains("http") && !csp.contains('*'), "{csp}");
    for forbidden in ["<style", "style=", "onclick", "<script>"] {
        assert!(!browser.html.contains(forbidden), "{forbidden}");
    }
    Ok(())
}

#[tokio::test]
async fn the_vendors_colours_and_logo_are_on_the_pages() -> anyhow::Result<()> {
    let world = World::new().await?;
    let css = asked(&world, "GET", "/assets/brand.css", json!({}), "").await?;
    assert!(css.body().contains("--act:#00734c"), "{}", css.body());
    let logo = asked(&world, "GET", "/assets/logo.svg", json!({}), "").await?;
    assert_eq!(logo.headers()["content-type"], "image/svg+xml");
    assert!(logo.body().contains("#00734c"));
    let plain: String = EMQX.lines().filter(|line| !line.starts_with("accent")).collect::<Vec<_>>().join("\n");
    let world = World::with_policy(&plain).await?;
    let page = asked(&world, "GET", "/sign-in", json!({}), "").await?;
    assert!(!page.body().contains("brand.css"), "a stylesheet without rules costs a request");
    Ok(())
}

#[tokio::test]
async fn an_expired_session_says_how_to_go_on() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    world.pass(13 * HOUR).await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!(browser.status, 403);
    let text = browser.text();
    assert!(text.contains("no longer valid") && text.contains("Set up your account"), "{text}");
    assert!(world.link_of(&bought).await?.is_none());
    let again = world.fresh_landing(&bought, "clean").await?;
    assert!(again.text().contains("Link this purchase"), "{}", again.text());
    Ok(())
}

#[tokio::test]
async fn a_kept_place_survives_signing_in() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    world.aws("switches", json!({"throttle": 1})).await?;
    let mut browser = world.land(&bought.token).await?;
    assert!(browser.text().contains("Your place is kept"), "{}", browser.text());
    browser.open(&format!("{}/sign-in/demo", world.at.tradepost)).await?;
    world.sign_in(&mut browser, "clean").await?;
    assert!(browser.text().contains("Your place is kept"), "{}", browser.text());
    browser.press("Try again", &[]).await?;
    assert!(browser.text().contains("Link this purchase to this account"), "{}", browser.text());
    Ok(())
}

#[tokio::test]
async fn another_account_stays_asked_for_wherever_one_goes_first() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "card").await?;
    browser.press("Use another account", &[]).await?;
    // Not the button but the logo: nobody is signed in again without a word.
    browser.open(&format!("{}/", world.at.tradepost)).await?;
    assert_eq!(browser.url.path(), "/sign-in", "{}", browser.text());
    browser.click("or sign up").await?;
    assert_eq!(browser.url.host_str(), Some("vendor.localhost"));
    Ok(())
}

#[tokio::test]
async fn somebody_with_several_accounts_sees_the_linked_one_and_chooses_among_more() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut first = world.ready(&world.buy().await?.token, "owner").await?;
    first.press("Link", &[]).await?;
    world.pass(120).await?;
    let mut fresh = Browser::new()?;
    fresh.open(&format!("{}/sign-in/demo", world.at.tradepost)).await?;
    world.sign_in(&mut fresh, "owner").await?;
    assert!(fresh.text_of("#status[data-state=linked]").is_ok(), "{}", fresh.text());
    // A second one is linked: now there is something to choose.
    let mut second = world.ready(&world.buy().await?.token, "owner").await?;
    second.press("Link", &[]).await?;
    let mut fresh = Browser::new()?;
    fresh.open(&format!("{}/sign-in/demo", world.at.tradepost)).await?;
    world.sign_in(&mut fresh, "owner").await?;
    assert!(fresh.text().contains("Owner Starter Linked"), "{}", fresh.text());
    assert!(fresh.text().contains("Owner Paid Being confirmed"), "{}", fresh.text());
    assert!(!fresh.text().contains("Owner Card"), "{}", fresh.text());
    fresh.press("Show Owner Starter", &[]).await?;
    assert!(fresh.text_of("#status[data-state=linked]").is_ok(), "{}", fresh.text());
    Ok(())
}

#[tokio::test]
async fn the_status_says_whose_it_is() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, browser) = world.syncing("clean").await?;
    let told = browser.fetch("/status").await?;
    assert_eq!(told["organization"], "org-clean");
    assert!(browser.text_of("#status[data-organization=org-clean]").is_ok(), "{}", browser.text());
    Ok(())
}

#[tokio::test]
async fn a_purchase_that_failed_is_not_offered_again() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.aws("fail-payment", json!({})).await?;
    let (bought, _) = world.syncing("clean").await?;
    world.pass(26 * HOUR).await?;
    let again = world.fresh_landing(&bought, "clean").await?;
    assert!(again.text_of("#status[data-state=failed]").is_ok(), "{}", again.text());
    let other = world.fresh_landing(&bought, "second").await?;
    assert!(other.text_of("li[data-code=purchase_failed]").is_ok(), "{}", other.text());
    assert!(world.slot("org-second").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn nothing_is_announced_as_deleted_while_something_else_pays() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, mut browser) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    browser.open(&format!("{}/billing", world.at.tradepost)).await?;
    let text = browser.text();
    assert!(text.contains("Deleted after") && text.contains("then it is stopped, and deleted after 3 days"), "{text}");
    world.vendor("organization", json!({"organization": "org-clean", "card_on_file": true})).await?;
    browser.open(&format!("{}/billing", world.at.tradepost)).await?;
    let text = browser.text();
    assert!(text.contains("Kept, something else pays") && !text.contains("Deleted after"), "{text}");
    assert!(!text.contains("Subscribe again in"), "there is nothing to be saved by it: {text}");
    Ok(())
}

/// What an end had set going stands still while the next purchase waits for its confirmation.
#[tokio::test]
async fn nothing_is_announced_as_deleted_while_a_new_purchase_is_syncing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, mut browser) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.syncing("clean").await?;
    browser.open(&format!("{}/billing", world.at.tradepost)).await?;
    let text = browser.text();
    assert!(text.contains("orders-prod") && text.contains("trial-sandbox"), "{text}");
    for never in ["Deleted after", "then it is stopped", "Subscribe again in"] {
        assert!(!text.contains(never), "{never}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn the_vendors_servers_get_data_whatever_goes_wrong() -> anyhow::Result<()> {
    let world = World::new().await?;
    let huge = "x".repeat(70 * 1024);
    for (body, status) in [(huge.as_str(), StatusCode::PAYLOAD_TOO_LARGE), ("", StatusCode::UNAUTHORIZED)] {
        let answer = asked(&world, "POST", "/v1/billing", json!({"accept": "text/html"}), body).await?;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert!(!answer.headers().contains_key("set-cookie"));
        assert!(serde_json::from_str::<Value>(answer.body())?["code"].is_string());
    }
    Ok(())
}

#[tokio::test]
async fn the_modal_can_be_closed_and_left() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, mut browser) = world.linked("clean").await?;
    browser.open(&format!("{}/", world.at.tradepost)).await?;
    assert!(browser.text_of("[role=dialog] #status").is_ok(), "{}", browser.text());
    browser.press("Close", &[]).await?;
    assert!(browser.text_of("#status[data-state=linked]").is_ok() && browser.text_of("[role=dialog]").is_err());
    browser.press("Sign out", &[]).await?;
    assert!(browser.text().contains("You are signed out"), "{}", browser.text());
    Ok(())
}

#[tokio::test]
async fn a_marketplace_is_offered_with_its_own_listings() -> anyhow::Result<()> {
    for (policy, path, aws, azure) in [
        (EMQX, "/connect", false, false),
        (EMQX, "/connect?marketplace=aws", true, false),
        (EMQX, "/connect?marketplace=azure", false, true),
        (EMQX, "/connect?marketplace=another", false, false),
        // Where there is but one, whoever asks means it.
        (ATLAS, "/connect", false, false),
        (ATLAS, "/connect?marketplace=azure", true, false),
    ] {
        let world = World::with_policy(policy).await?;
        let mut browser = Browser::new()?;
        browser.open(&format!("{}{path}", world.at.tradepost)).await?;
        let listings = &world.stack.policy.listings;
        let shows = |market| listings.iter().any(|one| one.marketplace == market && browser.html.contains(&one.url));
        assert_eq!((shows(Provider::Aws), shows(Provider::Azure)), (aws, azure), "{path}");
    }
    Ok(())
}

/// What the policy allows, and only while there is a link in force.
#[tokio::test]
async fn a_link_is_moved_or_taken_off_from_billing_where_the_policy_allows_it() -> anyhow::Result<()> {
    for (policy, moves, unlinks) in [
        (ATLAS.to_owned(), true, false),
        (ATLAS.replace("may_move = true", "may_unlink = true"), false, true),
        (EMQX.to_owned(), false, false),
    ] {
        let world = World::with_policy(&policy).await?;
        let bought = world.buy().await?;
        let mut browser = world.ready(&bought.token, "clean").await?;
        browser.press("Link", &[]).await?;
        world.pass(120).await?;
        let billing = format!("{}/billing", world.at.tradepost);
        browser.open(&billing).await?;
        let offered = |browser: &Browser| (browser.text_of("#move").is_ok(), browser.text_of("#unlink").is_ok());
        assert_eq!(offered(&browser), (moves, unlinks), "{}", browser.text());
        if moves {
            browser.open(&format!("{}/move", world.at.tradepost)).await?;
            assert!(browser.text_of("form#move-form").is_ok(), "{}", browser.text());
            assert!(!browser.text().contains("is put on the plan"), "the end changes no plan: {}", browser.text());
        }
        world.cancel(&bought).await?;
        browser.open(&billing).await?;
        assert_eq!(offered(&browser), (false, false), "after the end: {}", browser.text());
        let keeps = browser.text().contains("Subscribe again in");
        assert_eq!(keeps, policy == EMQX, "{}", browser.text());
    }
    Ok(())
}
