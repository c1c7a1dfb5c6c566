use std::time::Duration;

use serde_json::json;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost_azure::fulfillment::activation::Activation;
use tradepost_azure::fulfillment::error::{FulfillmentError, ResolveError};
use tradepost_azure::fulfillment::subscription::{CustomerOperation, SaasStatus};
use tradepost_azure::secret::Secret;

use crate::fulfillment::{BLOB, OPERATION, Party, SUBSCRIPTION, id, resolved, subscription};
use crate::stub::answer;

#[tokio::test]
async fn resolve() {
    let party = Party::always(answer(200, resolved("PendingFulfillmentStart"))).await;
    let read = party.client.resolve(&Secret::new(BLOB)).await.unwrap();
    assert_eq!((read.id, read.status), (id(), SaasStatus::PendingFulfillmentStart));
    assert_eq!((read.offer.as_deref(), read.plan.as_deref(), read.quantity), (Some("ledger"), Some("team"), Some(20)));
    assert_eq!(read.beneficiary.tenant.as_deref(), Some("b2c40c1a-8d6a-45a9-94a8-6a5a4e7f0b31"));
    assert_eq!(read.purchaser.email.as_deref(), Some("buy@reseller.example"));
    assert!(read.auto_renew && read.is_free_trial && !read.is_test);
    assert_eq!(
        read.allowed_operations,
        [CustomerOperation::Delete, CustomerOperation::Update, CustomerOperation::Read]
    );
    let asked = party.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", "/api/saas/subscriptions/resolve"));
    assert_eq!(asked[0].header("x-ms-marketplace-token"), BLOB);
    assert_eq!(asked[0].header("content-length"), "0");
}

#[tokio::test]
async fn a_resolved_token_without_its_subscription_reads_it() {
    let slim = json!({ "id": SUBSCRIPTION, "planId": "team" });
    let party = Party::with(move |asked, _| match asked.path.ends_with("/resolve") {
        true => answer(200, &slim),
        false => answer(200, subscription("Subscribed")),
    })
    .await;
    assert_eq!(party.client.resolve(&Secret::new(BLOB)).await.unwrap().status, SaasStatus::Subscribed);
    assert_eq!(party.asked().len(), 2);

    let mut two = resolved("Subscribed");
    two["id"] = json!(OPERATION);
    let error = Party::always(answer(200, two)).await.client.resolve(&Secret::new(BLOB)).await.unwrap_err();
    assert!(matches!(error, ResolveError::Failed(FulfillmentError::Unreadable(_))), "{error:?}");
}

#[tokio::test]
async fn landing_tokens_that_lead_nowhere() {
    let party = Party::always(answer(200, "{}")).await;
    for token in ["", "a\r\nx-ms-evil: 1", "schlüssel", "\u{0}"] {
        let error = party.client.resolve(&Secret::new(token)).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotAToken), "{error:?}");
        assert_eq!(error.disposition(), Disposition::Reject);
    }
    assert_eq!(party.stub.asked().len(), 0, "nothing was sent");
    for status in [400, 404] {
        let error = Party::always(answer(status, "")).await.client.resolve(&Secret::new(BLOB)).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotValid), "{error:?}");
        assert_eq!(error.disposition(), Disposition::Reject);
    }
    let error = Party::always(answer(503, "")).await.client.resolve(&Secret::new(BLOB)).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry);
}

#[tokio::test]
async fn an_activation_settles_on_what_is_true() {
    for (failure, status) in [(400, "Subscribed"), (404, "Unsubscribed"), (409, "Suspended"), (500, "Subscribed")] {
        let party = Party::with(move |asked, _| match asked.path.ends_with("/activate") {
            true => answer(failure, ""),
            false => answer(200, subscription(status)),
        })
        .await;
        let settled = party.client.settle_activation(id(), "team", Some(20)).await.unwrap();
        let as_expected = match status {
            "Subscribed" => matches!(settled, Activation::Subscribed),
            "Suspended" => matches!(settled, Activation::Suspended),
            _ => matches!(settled, Activation::Unsubscribed),
        };
        assert!(as_expected, "{failure} {status}: {settled:?}");
        assert_eq!(party.asked().len(), 2);
    }

    let party = Party::always(answer(200, "")).await;
    assert!(matches!(party.client.settle_activation(id(), "team", None).await, Ok(Activation::Subscribed)));
    assert_eq!(party.asked().len(), 1, "a plain success needs no second call");
}

#[tokio::test]
async fn a_pending_activation_says_why() {
    for (failure, disposition) in [(400, Disposition::Reject), (409, Disposition::Reject), (503, Disposition::Retry)] {
        let party = Party::with(move |asked, _| match asked.path.ends_with("/activate") {
            true => answer(failure, ""),
            false => answer(200, subscription("PendingFulfillmentStart")),
        })
        .await;
        let settled = party.client.settle_activation(id(), "other", None).await.unwrap();
        let Activation::Pending(why) = settled else { panic!("{settled:?}") };
        assert_eq!(why.disposition(), disposition);
    }
}

#[tokio::test]
async fn an_activation_that_cannot_be_known_is_an_error() {
    for failure in [401, 403, 429, 418] {
        let party = Party::always(answer(failure, "")).await;
        assert!(party.client.settle_activation(id(), "team", None).await.is_err());
        assert!(party.asked().iter().all(|asked| asked.path.ends_with("/activate")), "{failure} is not asked after");
    }
    for (read, disposition) in [
        (answer(503, ""), Disposition::Retry),
        (answer(404, ""), Disposition::Reject),
        (answer(200, subscription("Hibernating")), Disposition::Page),
    ] {
        let party = Party::with(move |asked, _| match asked.path.ends_with("/activate") {
            true => answer(400, ""),
            false => read.clone(),
        })
        .await;
        assert_eq!(party.client.settle_activation(id(), "team", None).await.unwrap_err().disposition(), disposition);
    }
}

#[tokio::test]
async fn an_activation_that_timed_out_is_asked_after() {
    let hasty = reqwest::Client::builder().timeout(Duration::from_millis(300)).no_proxy().build().unwrap();
    let party = Party::through(Outbound::with(hasty), |asked, _| match asked.path.ends_with("/activate") {
        true => answer(200, "").after(Duration::from_secs(5)),
        false => answer(200, subscription("Subscribed")),
    })
    .await;
    assert!(matches!(party.client.settle_activation(id(), "team", None).await, Ok(Activation::Subscribed)));
    let error = party.client.activate(id(), "team", None).await.unwrap_err();
    assert!(matches!(error, FulfillmentError::NoAnswer("timed out")), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
}
