use serde_json::json;
use tradepost_azure::fulfillment::error::FulfillmentError;
use tradepost_azure::fulfillment::subscription::{CustomerOperation, SaasStatus};

use crate::fulfillment::{Party, SUBSCRIPTION, id, subscription};
use crate::stub::answer;

#[tokio::test]
async fn lists_page_and_follow_only_their_own_links() {
    let party = Party::with(|asked, _| match asked.parameter("continuationToken") {
        None => {
            let host = asked.header("host").to_owned();
            let odd = json!({ "name": "no id" });
            answer(200, json!({ "subscriptions": [subscription("Subscribed"), odd],
                "@nextLink": format!("http://{host}/api/saas/subscriptions/?continuationToken=%5B%7B%22a%22%3A1%7D%5D&api-version=2018-08-31") }))
        }
        Some(r#"[{"a":1}]"#) => answer(200, json!({ "subscriptions": [],
            "@nextLink": "/api/saas/subscriptions?continuationToken=3" })),
        Some(_) => answer(200, ""),
    })
    .await;
    let first = party.client.subscriptions(None).await.unwrap();
    assert_eq!((first.subscriptions.len(), first.unreadable), (1, 1));
    let second = party.client.subscriptions(first.next.as_ref()).await.unwrap();
    assert_eq!(second.subscriptions.len(), 0);
    let third = party.client.subscriptions(second.next.as_ref()).await.unwrap();
    assert_eq!((third.subscriptions.len(), third.next), (0, None));
    assert_eq!(party.asked().len(), 3);

    let elsewhere = [
        "https://evil.example/api/saas/subscriptions?continuationToken=1",
        "//evil.example/api/saas/subscriptions",
        "http://127.0.0.1:1/api/saas/subscriptions",
        "/api/saas/subscriptions/../../elsewhere",
        "/api/usageEvents?x=1",
        "https://",
    ];
    for link in elsewhere {
        let party = Party::always(answer(200, json!({ "subscriptions": [], "@nextLink": link }))).await;
        let error = party.client.subscriptions(None).await.unwrap_err();
        assert!(matches!(error, FulfillmentError::Unreadable(_)), "{link}: {error:?}");
    }
    for last in [json!({ "subscriptions": [], "@nextLink": "" }), json!({ "@nextLink": null }), json!({}), json!([])] {
        assert_eq!(Party::always(answer(200, last)).await.client.subscriptions(None).await.unwrap().next, None);
    }
}

#[tokio::test]
async fn empty_lists_have_many_shapes() {
    for body in ["", "  ", "{}", "null", r#"{"operations":[]}"#, r#"{"operations":null,"plans":null}"#] {
        let party = Party::always(answer(200, body)).await;
        assert_eq!(party.client.operations(id()).await.unwrap(), []);
        assert_eq!(party.client.plans(id()).await.unwrap(), []);
    }
}

#[tokio::test]
async fn subscriptions_read_leniently() {
    let odd = json!({ "id": SUBSCRIPTION.to_uppercase(), "saasSubscriptionStatus": " Suspended ", "quantity": "", "beneficiary": null,
        "purchaser": { "emailId": "" }, "term": { "startDate": "0001-01-01T00:00:00", "endDate": "2019-05-31", "termUnit": "P9Y" },
        "allowedCustomerOperations": ["Read", 7, "Dance"], "fulfillmentId": "x", "sessionId": {}, "storeFront": [1], "isTest": "true" });
    let read = Party::always(answer(200, odd)).await.client.subscription(id()).await.unwrap();
    assert_eq!(
        (read.status, read.quantity, read.is_test, read.is_free_trial),
        (SaasStatus::Suspended, None, true, false)
    );
    assert_eq!((read.term.start, read.term.unit.as_deref()), (None, Some("P9Y")));
    assert_eq!(read.term.end, Some(crate::t("2019-05-31T00:00:00Z")));
    assert_eq!(read.allowed_operations, [CustomerOperation::Read, CustomerOperation::Other("Dance".to_owned())]);
    assert_eq!(read.beneficiary.tenant, None);

    let mut new = subscription("Hibernating");
    new["quantity"] = json!("7");
    let read = Party::always(answer(200, new)).await.client.subscription(id()).await.unwrap();
    assert_eq!((read.status, read.quantity), (SaasStatus::Other("Hibernating".to_owned()), Some(7)));
}
