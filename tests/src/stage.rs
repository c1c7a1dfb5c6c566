//! A world with a person at a real browser in it, and the moves that person makes.

use anyhow::ensure;
use tokio::sync::{Semaphore, SemaphorePermit};
use tradepost_local::demo::Browse;

use crate::chromium::{Chromium, Taste};
use crate::world::{Bought, EMQX, World};

/// Browsers take much of a small machine: more tests at once than this would only wait for each other.
static SEATS: Semaphore = Semaphore::const_new(2);

/// A world and a browser.
pub struct Stage {
    /// The stack.
    pub world: World,
    /// The person's browser.
    pub browser: Chromium,
    _seat: SemaphorePermit<'static>,
}

impl Stage {
    /// With the EMQX preset and Chromium as it comes.
    pub async fn new() -> anyhow::Result<Self> {
        Self::with(EMQX, Taste::default()).await
    }

    /// With other rules or another browser.
    pub async fn with(policy: &str, taste: Taste) -> anyhow::Result<Self> {
        let seat = SEATS.acquire().await?;
        Ok(Self { world: World::with_policy(policy).await?, browser: Chromium::with(taste).await?, _seat: seat })
    }

    /// Buys, and presses the newest "Set up your account".
    pub async fn land(&mut self) -> anyhow::Result<Bought> {
        let bought = self.world.buy().await?;
        land(&mut self.browser, &self.world).await?;
        Ok(bought)
    }

    /// Buys, lands and signs in: at the modal.
    pub async fn ready(&mut self, person: &str) -> anyhow::Result<Bought> {
        let bought = self.land().await?;
        sign_in(&mut self.browser, person).await?;
        Ok(bought)
    }

    /// Buys, lands, signs in and links, before any notice has come.
    pub async fn syncing(&mut self, person: &str) -> anyhow::Result<Bought> {
        let bought = self.ready(person).await?;
        self.browser.submit("form#link-form", &[]).await?;
        ensure!(self.browser.status().await? == 200, "Link: {}", self.browser.text().await?);
        Ok(bought)
    }

    /// The same, and the notices have come.
    pub async fn linked(&mut self, person: &str) -> anyhow::Result<Bought> {
        let bought = self.syncing(person).await?;
        self.world.pass(120).await?;
        self.browser.appears("#status[data-state=linked]").await?;
        Ok(bought)
    }

    /// Opens one of our own pages.
    pub async fn ours(&mut self, path: &str) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.world.at.tradepost);
        self.browser.open(&url).await
    }

    /// Opens one of our own pages where Azure Functions serves them.
    pub async fn ours_on_azure(&mut self, path: &str) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.world.at.tradepost_azure);
        self.browser.open(&url).await
    }

    /// Opens a page of the simulated Azure portal.
    pub async fn azure(&mut self, path: &str) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.world.at.azure);
        self.browser.open(&url).await
    }

    /// Opens a page of the simulated AWS Marketplace.
    pub async fn aws(&mut self, path: &str) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.world.at.aws);
        self.browser.open(&url).await
    }

    /// Opens a page of the demo vendor.
    pub async fn vendor(&mut self, path: &str) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.world.at.vendor);
        self.browser.open(&url).await
    }

    /// Exactly one link was ever made for the organization of this person, and it is this purchase's.
    pub async fn one_link(&self, bought: &Bought, person: &str) -> anyhow::Result<()> {
        let organization = format!("org-{person}");
        let links = self.world.home(bought).await?.links;
        ensure!(links.len() == 1, "{} links", links.len());
        let slot = self.world.slot(&organization).await?;
        let generation = slot.map(|slot| slot.generation);
        ensure!(generation == Some(1), "the slot is in generation {generation:?}");
        Ok(())
    }

    /// Nothing is linked.
    pub async fn no_link(&self, bought: &Bought) -> anyhow::Result<()> {
        let link = self.world.link_of(bought).await?;
        ensure!(link.is_none(), "there is a link: {link:?}");
        Ok(())
    }
}

/// Presses the newest "Set up your account".
pub async fn land(browser: &mut Chromium, world: &World) -> anyhow::Result<()> {
    browser.open(&format!("{}/subscriptions", world.at.aws)).await?;
    browser.press("Set up your account", &[]).await
}

/// From our own sign-in page, if that is shown, to the vendor's.
pub async fn to_the_vendors_sign_in(browser: &mut Chromium) -> anyhow::Result<()> {
    if browser.has("a#sign-in-demo").await? {
        browser.follow("a#sign-in-demo").await?;
    }
    Ok(())
}

/// Signs in where the browser was sent.
pub async fn sign_in(browser: &mut Chromium, person: &str) -> anyhow::Result<()> {
    to_the_vendors_sign_in(browser).await?;
    let email = format!("{person}@demo.example");
    browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await
}

/// The page is not one of those that say that something went wrong.
pub async fn no_error(browser: &Chromium) -> anyhow::Result<()> {
    let (status, url) = (browser.status().await?, browser.url().await?);
    ensure!(status < 400, "{url} was answered {status}: {}", browser.text().await?);
    Ok(())
}
