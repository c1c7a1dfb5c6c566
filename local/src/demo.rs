//! Plays a vendor's page as a person with a browser would: with cookies, forms and links, against a fresh stack in
//! memory. Each step of the page and each of its warnings is a step here; a scenario holds only if all do.
//!
//! Two scenarios play no page but usage, up to the bill, and end with both side by side.

mod account;
mod atlas;
mod aws_steps;
mod azure_moments;
mod azure_steps;
mod bench;
mod bill;
mod browse;
mod browser;
mod emqx;
mod metering;
mod metering_aws;
mod metering_azure;
mod moments;
mod pinecone;
mod play;
mod product;
mod steps;

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use tradepost::ledger::Provider;

use crate::progress::Terminal;

pub use bench::Bench;
pub use browse::Browse;
pub use browser::Browser;
pub use play::Play;

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name, as on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// The preset it plays.
    pub policy: &'static str,
    page: Page,
    /// Where it is bought.
    pub marketplace: Provider,
    /// The code of the listing that is bought.
    pub listing: &'static str,
}

/// One part of a scenario, on a stack of its own.
type Part = for<'a> fn(&'a mut Play) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// Whose page a scenario plays.
#[derive(Clone, Copy, Debug)]
enum Page {
    Emqx,
    Atlas,
    /// Upgrade and connect.
    Pinecone,
    /// Create a new organization.
    PineconeNew,
    /// None: usage and the bill.
    Metering,
}

impl Scenario {
    fn parts<B: Browse + 'static>(&self) -> Vec<(&'static str, Part)> {
        match self.page {
            Page::Emqx => emqx::parts::<B>(self.marketplace),
            Page::Atlas => atlas::parts::<B>(),
            Page::Pinecone => pinecone::parts::<B>(),
            Page::PineconeNew => pinecone::parts_from_the_listing::<B>(),
            Page::Metering => match self.marketplace {
                Provider::Aws => metering_aws::parts::<B>(),
                Provider::Azure => metering_azure::parts::<B>(),
            },
        }
    }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "emqx-cloud-aws",
        about: "EMQX Cloud on AWS: link, refuse, cancel, stop, delete after three days",
        policy: include_str!("../../policies/emqx.toml"),
        page: Page::Emqx,
        marketplace: Provider::Aws,
        listing: "emqxcloudpaygo0000000000a1",
    },
    Scenario {
        name: "emqx-platform-aws",
        about: "EMQX Platform on AWS: the same page under the product's newer name",
        policy: include_str!("../../policies/emqx.toml"),
        page: Page::Emqx,
        marketplace: Provider::Aws,
        listing: "emqxplatformpaygo00000000b2",
    },
    Scenario {
        name: "emqx-cloud-azure",
        about: "EMQX Cloud on Azure: link, refuse, renew, cancel, stop, delete after three days",
        policy: include_str!("../../policies/emqx.toml"),
        page: Page::Emqx,
        marketplace: Provider::Azure,
        listing: "emqx-cloud",
    },
    Scenario {
        name: "atlas-aws",
        about: "MongoDB Atlas on AWS: choose an organization, sync, unlink; nothing is deleted",
        policy: include_str!("../../policies/atlas.toml"),
        page: Page::Atlas,
        marketplace: Provider::Aws,
        listing: "atlaspaygo000000000000000c3",
    },
    Scenario {
        name: "pinecone-azure",
        about: "Pinecone on Azure: from the console, upgrade an organization and connect it",
        policy: include_str!("../../policies/pinecone.toml"),
        page: Page::Pinecone,
        marketplace: Provider::Azure,
        listing: "pineconesaas",
    },
    Scenario {
        name: "pinecone-azure-new-organization",
        about: "Pinecone on Azure: from the listing, create an organization on the way",
        policy: include_str!("../../policies/pinecone.toml"),
        page: Page::PineconeNew,
        marketplace: Provider::Azure,
        listing: "pineconesaas",
    },
    Scenario {
        name: "metering-aws",
        about: "Usage on AWS: what the product reports is billed once, to the unit, up to the end",
        policy: include_str!("../../policies/emqx.toml"),
        page: Page::Metering,
        marketplace: Provider::Aws,
        listing: "emqxcloudpaygo0000000000a1",
    },
    Scenario {
        name: "metering-azure",
        about: "Usage on Azure: what exceeds the plan is billed once, suspended and up to the end",
        policy: include_str!("../../policies/emqx.toml"),
        page: Page::Metering,
        marketplace: Provider::Azure,
        listing: "emqx-cloud",
    },
];

/// What was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Parts, each on a stack of its own.
    pub parts: u32,
    /// Steps.
    pub steps: u32,
    /// Steps that did not hold; a part ends with its first.
    pub failed: u32,
}

/// Plays a scenario with all its variants in the browser without a screen; true if every step held.
pub async fn play(scenario: &Scenario, terminal: Terminal) -> anyhow::Result<bool> {
    play_all(&[*scenario], terminal).await
}

/// Plays scenarios one after the other and sums up; true if every step held.
pub async fn play_all(scenarios: &[Scenario], terminal: Terminal) -> anyhow::Result<bool> {
    play_in::<Browser>(scenarios, terminal).await
}

/// The same in any browser.
pub async fn play_in<B: Browse + 'static>(scenarios: &[Scenario], terminal: Terminal) -> anyhow::Result<bool> {
    let (began, mut tally, mut accounts) = (Instant::now(), Tally::default(), Vec::new());
    for scenario in scenarios {
        for (title, part) in scenario.parts::<B>() {
            let title = format!("{}: {title}", scenario.name);
            terminal.waiting(&title);
            let mut play = Play::begin(scenario, &title, terminal).await?;
            terminal.head(&title);
            let went = part(&mut play).await;
            accounts.append(&mut play.accounts);
            play.end(went.is_ok(), &mut tally).await;
        }
    }
    accounts.iter().for_each(|account| account.show(terminal));
    let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
    terminal.summary(&names.join(", "), &tally, began.elapsed());
    Ok(tally.failed == 0)
}
