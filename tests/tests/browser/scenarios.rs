//! The vendors' pages, played in Chromium: every numbered step and every warning, by clicks.

#![expect(clippy::expect_used, reason = "a test says what it expects")]

use system_tests::chromium::Chromium;
use tradepost_local::demo::{SCENARIOS, play_in};
use tradepost_local::progress::Terminal;

async fn holds(name: &str) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario of that name");
    assert!(play_in::<Chromium>(&[*scenario], Terminal::new()).await.expect("the stack runs"), "{name} does not hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_cloud_aws() {
    holds("emqx-cloud-aws").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_platform_aws() {
    holds("emqx-platform-aws").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_cloud_azure() {
    holds("emqx-cloud-azure").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atlas_aws() {
    holds("atlas-aws").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinecone_azure() {
    holds("pinecone-azure").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinecone_azure_new_organization() {
    holds("pinecone-azure-new-organization").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metering_aws() {
    holds("metering-aws").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metering_azure() {
    holds("metering-azure").await;
}
