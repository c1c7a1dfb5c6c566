//! Plays a vendor's page as a person with a browser would: with cookies, forms and links, against a fresh stack in
//! memory. Each step of the page and each of its warnings is a step here; a scenario holds only if all do.

mod bench;
mod browse;
mod browser;
mod emqx;
mod moments;
mod play;
mod steps;

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
    /// Which of the policy's listings is bought.
    pub listing: usize,
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "emqx-cloud-aws",
        about: "EMQX Cloud through AWS Marketplace: link, refuse, cancel, stop, delete after three days",
        policy: include_str!("../../policies/emqx.toml"),
        listing: 0,
    },
    Scenario {
        name: "emqx-platform-aws",
        about: "EMQX Platform through AWS Marketplace: the same page under the product's newer name",
        policy: include_str!("../../policies/emqx.toml"),
        listing: 1,
    },
];

/// Plays a scenario with all its variants in the browser without a screen; true if every step held.
pub async fn play(scenario: &Scenario, terminal: Terminal) -> anyhow::Result<bool> {
    play_in::<Browser>(scenario, terminal).await
}

/// The same in any browser.
pub async fn play_in<B: Browse + 'static>(scenario: &Scenario, terminal: Terminal) -> anyhow::Result<bool> {
    let mut held = true;
    for (title, part) in emqx::parts::<B>() {
        let mut play = Play::begin(scenario, terminal).await?;
        terminal.head(&format!("{}: {title}", scenario.name));
        let went = part(&mut play).await;
        held &= went.is_ok() && play.end().await;
    }
    terminal.line("");
    terminal.line(&format!("{}: {}", scenario.name, if held { "every step held" } else { "NOT every step held" }));
    Ok(held)
}
