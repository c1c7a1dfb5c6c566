//! The local stack is killed (SIGKILL) at random moments while buyers, the product and the clock are at work, and started
//! again on its folder. Whatever a party had answered must still be so, and once everything is quiet marketplace, ledger
//! and control plane must agree.
//!
//! One seed says what is done and when the process is killed; how far it had come by then is up to the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};
use tradepost::usage::Quantity;
use tradepost_local::demo::{Bench, Browse as _, Browser};
use tradepost_local::stack::{Addresses, Options, Stack, loopback_client};
use tradepost_local::vendor::signed_client::SignedClient;

use crate::agreement::{Compared, agree};
use crate::dice::Dice;
use crate::world::{ACCOUNT, DAY, EMQX, HOUR, landed, signed_in};

const PEOPLE: [&str; 2] = ["clean", "second"];
/// Whom Microsoft's portal takes the buyer for.
const MICROSOFT_BUYER: &str = "ana@aurora.example";
/// An unoptimized stack with a long history starts within this, whatever else the machine does.
const START: Duration = Duration::from_secs(60);
/// A day of simulated time takes seconds.
const PUSH: Duration = Duration::from_secs(180);
/// The longest time between a start and the next kill, in milliseconds.
const LONGEST: u64 = 2500;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The binary of the local stack.
    pub binary: PathBuf,
    /// How often it is killed in all.
    pub times: u64,
    /// How often on one folder, before it must be quiet and agree.
    pub each: u64,
    /// What is done, and when it is killed.
    pub seed: u64,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Kills.
    pub kills: u64,
    /// Folders that were compared.
    pub folders: u64,
    /// The longest time from a start to the first answer.
    pub slowest_start: Duration,
    /// Actions that came to their end.
    pub done: BTreeMap<&'static str, u64>,
    /// Actions that a kill cut short.
    pub cut_short: u64,
    /// What was compared, added up.
    pub purchases: usize,
    /// Of those, in force at the end.
    pub in_force: usize,
    /// Deployments compared.
    pub deployments: usize,
    /// Events of usage, each counted once.
    pub usage: usize,
}

/// The stack's binary beside the running program: `cargo build --workspace --bin tradepost-local` makes it.
///
/// # Errors
/// If it is not there.
pub fn binary() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folders = program.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("tradepost-local")).find(|path| path.is_file());
    found.context("tradepost-local is not there; run `cargo build --workspace --bin tradepost-local` first")
}

/// Kills it that often, and compares. `tell` is called after each kill and each comparison.
///
/// # Errors
/// If it does not start again, or something that was answered is gone, or something does not agree.
pub async fn killed(plan: &Plan, mut tell: impl FnMut(&str)) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut seeds = Dice(plan.seed);
    while figures.kills < plan.times {
        let seed = seeds.draw();
        let kills = plan.each.min(plan.times - figures.kills);
        let folder = std::env::temp_dir().join(format!("tradepost-kill9-{}-{seed:016x}", std::process::id()));
        let life = Life::new(plan, &folder, seed)?;
        life.lived(kills, &mut figures, &mut tell)
            .await
            .with_context(|| format!("seed {} (folder {}, kept to be looked at)", plan.seed, folder.display()))?;
        std::fs::remove_dir_all(&folder)?;
        figures.folders += 1;
    }
    Ok(figures)
}

/// One folder, and the stack on it.
struct Life {
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
    dice: Dice,
}

/// A stack that runs.
struct Running {
    child: Child,
    /// Held, for it would otherwise write into a closed pipe.
    _out: Lines<BufReader<ChildStdout>>,
}

impl Life {
    fn new(plan: &Plan, folder: &Path, seed: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        // Free now; addresses are part of what is kept, so it stays the same.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        Ok(Self { binary: plan.binary.clone(), folder: folder.to_owned(), port, dice: Dice(seed) })
    }

    async fn start(&self, figures: &mut Figures) -> anyhow::Result<Running> {
        let began = Instant::now();
        let log = File::options().create(true).append(true).open(self.folder.join("log"))?;
        let mut command = Command::new(&self.binary);
        command.args(["--json", "--port", &self.port.to_string(), "--data"]).arg(self.folder.join("data"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = timeout(START, out.next_line()).await.context("it has not started in time")??;
        let said = first.context("it ended instead of starting; see the log in the folder")?;
        let ready: Value = serde_json::from_str(&said).unwrap_or_default();
        ensure!(ready.get("ready") == Some(&Value::Bool(true)), "it did not start: {said}");
        figures.slowest_start = figures.slowest_start.max(began.elapsed());
        Ok(Running { child, _out: out })
    }

    /// The whole life: kills, then quiet, then the comparison.
    async fn lived(mut self, kills: u64, figures: &mut Figures, tell: &mut impl FnMut(&str)) -> anyhow::Result<()> {
        let mut running = self.start(figures).await?;
        let mut busy = Busy::new(self.port, &self.folder, Dice(self.dice.draw()))?;
        let over = AtomicBool::new(false);
        let killing = async {
            for _ in 0..kills {
                let after = 20 + self.dice.below(LONGEST);
                sleep(Duration::from_millis(after)).await;
                // SIGKILL: nothing of it runs any more.
                running.child.kill().await?;
                figures.kills += 1;
                tell(&format!("killed {after} ms after it had started"));
                running = self.start(figures).await?;
            }
            over.store(true, Ordering::SeqCst);
            anyhow::Ok(running)
        };
        let (running, ()) = tokio::join!(killing, busy.until(&over));
        let mut running = running?;
        busy.quiet().await.context("until everything is quiet")?;
        running.child.kill().await?;
        let options = Options { port: self.port, data: Some(self.folder.join("data")), policy: EMQX.to_owned() };
        let stack = Stack::new(options).await.context("the folder cannot be read after the last kill")?;
        let compared = agree(&stack).await?;
        busy.remembers(&stack, &compared)?;
        for (what, number) in &busy.done {
            *figures.done.entry(what).or_default() += number;
        }
        figures.cut_short += busy.cut_short;
        figures.purchases += compared.purchases;
        figures.in_force += compared.in_force;
        figures.deployments += compared.deployments;
        figures.usage += busy.counted.len();
        tell(&format!("quiet: {compared:?}"));
        Ok(())
    }
}

/// Who is at work while the stack is killed, and what they were told.
struct Busy {
    at: Addresses,
    bench: Bench,
    clock: reqwest::Client,
    folder: PathBuf,
    dice: Dice,
    /// Purchases the marketplaces have answered with.
    bought: Vec<Bought>,
    cancelled: BTreeSet<String>,
    /// Usage that was answered with a yes.
    counted: BTreeMap<String, Quantity>,
    /// Usage that was sent and not answered: it is sent again until it is.
    unanswered: BTreeMap<String, Value>,
    keys: u64,
    done: BTreeMap<&'static str, u64>,
    cut_short: u64,
}

#[derive(Clone, Debug)]
enum Bought {
    Aws { agreement: String, token: String },
    Azure { subscription: String },
}

impl Bought {
    fn id(&self) -> &str {
        match self {
            Self::Aws { agreement, .. } => agreement,
            Self::Azure { subscription } => subscription,
        }
    }
}

impl Busy {
    fn new(port: u16, folder: &Path, dice: Dice) -> anyhow::Result<Self> {
        let at = Addresses::new(port);
        Ok(Self {
            bench: Bench::new(at.clone())?,
            at,
            clock: reqwest::Client::builder().no_proxy().timeout(PUSH).build()?,
            folder: folder.to_owned(),
            dice,
            bought: Vec::new(),
            cancelled: BTreeSet::new(),
            counted: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            keys: 0,
            done: BTreeMap::new(),
            cut_short: 0,
        })
    }

    /// One action after the other until it is over.
    async fn until(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            match self.act().await {
                Ok(what) => *self.done.entry(what).or_default() += 1,
                // Nobody answers: it is being started again.
                Err(_) => {
                    self.cut_short += 1;
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn act(&mut self) -> anyhow::Result<&'static str> {
        let person = *self.dice.pick(&PEOPLE).unwrap_or(&"clean");
        match self.dice.below(16) {
            0..=2 => self.buy_from_aws(person).await,
            3 | 4 => self.buy_from_microsoft(person).await,
            5 => self.come_back(person).await,
            6..=8 => self.cancel().await,
            9..=11 => self.use_something(person).await,
            12 => self.push(60).await,
            13 => self.push(HOUR).await,
            14 => self.push(6 * HOUR).await,
            _ => self.push(DAY).await,
        }
    }

    async fn buy_from_aws(&mut self, person: &str) -> anyhow::Result<&'static str> {
        let account = if person == "clean" { ACCOUNT } else { "310987654321" };
        let answer = self.bench.aws("accept", json!({"product": code("aws")?, "account": account})).await?;
        let (agreement, token) = (text(&answer, "agreement")?, text(&answer, "token")?);
        self.bought.push(Bought::Aws { agreement, token: token.clone() });
        let browser = landed(&self.at, &token).await?;
        self.link(browser, person).await.map(|()| "purchases from AWS")
    }

    async fn buy_from_microsoft(&mut self, person: &str) -> anyhow::Result<&'static str> {
        let answer = self.bench.azure("purchase", json!({"offer": code("azure")?, "plan": "payg"})).await?;
        self.bought.push(Bought::Azure { subscription: text(&answer, "subscription")? });
        self.land_from_microsoft(&text(&answer, "url")?, person).await.map(|()| "purchases from Microsoft")
    }

    async fn land_from_microsoft(&mut self, url: &str, person: &str) -> anyhow::Result<()> {
        let mut browser = Browser::new()?;
        browser.open(url).await?;
        if browser.has("a#sign-in-microsoft").await? {
            browser.follow("a#sign-in-microsoft").await?;
            browser.press(MICROSOFT_BUYER, &[]).await?;
        }
        self.link(browser, person).await
    }

    /// Signs in and links, where that is offered.
    async fn link(&mut self, mut browser: Browser, person: &str) -> anyhow::Result<()> {
        signed_in(&mut browser, person).await?;
        if browser.form("form#link-form", &[]).is_ok() {
            browser.submit("form#link-form", &[]).await?;
            *self.done.entry("links").or_default() += 1;
        }
        Ok(())
    }

    /// Returns to a purchase that was made before.
    async fn come_back(&mut self, person: &str) -> anyhow::Result<&'static str> {
        match self.dice.pick(&self.bought).cloned() {
            Some(Bought::Aws { token, .. }) => {
                let browser = landed(&self.at, &token).await?;
                self.link(browser, person).await?;
            }
            Some(Bought::Azure { subscription }) => {
                let answer = self.bench.azure("configure", json!({"subscription": subscription})).await?;
                self.land_from_microsoft(&text(&answer, "url")?, person).await?;
            }
            None => {}
        }
        Ok("returns")
    }

    async fn cancel(&mut self) -> anyhow::Result<&'static str> {
        let left: Vec<Bought> = self.bought.iter().filter(|one| !self.cancelled.contains(one.id())).cloned().collect();
        let Some(one) = self.dice.pick(&left) else { return Ok("nothing to cancel") };
        match one {
            Bought::Aws { agreement, .. } => self.bench.aws("cancel", json!({"agreement": agreement})).await?,
            Bought::Azure { subscription } => self.bench.azure("cancel", json!({"subscription": subscription})).await?,
        };
        self.cancelled.insert(one.id().to_owned());
        Ok("cancellations")
    }

    async fn use_something(&mut self, person: &str) -> anyhow::Result<&'static str> {
        let now = self.now().await?;
        for _ in 0..=self.dice.below(3) {
            self.keys += 1;
            let key = format!("key-{}", self.keys);
            let event = json!({
                "key": key, "organization": format!("org-{person}"), "dimension": "traffic_gb",
                "quantity": self.dice.below(5).to_string(), "at": now,
            });
            self.unanswered.insert(key, event);
        }
        self.report(now).await?;
        Ok("reports of usage")
    }

    /// Sends everything that was not answered yet.
    async fn report(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let events: Vec<&Value> = self.unanswered.values().collect();
        let body = json!({"operation": "report_usage", "events": events}).to_string();
        let kept: Value = serde_json::from_slice(&std::fs::read(self.folder.join("data/state.json"))?)?;
        let client = SignedClient::new(&self.at.tradepost, &text(&kept, "vendor_api")?, loopback_client()?);
        let client = client.context("no usable secret")?;
        let answer = client.call("/v1/usage", body, now).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        let answer: Value = serde_json::from_slice(&answer)?;
        for result in answer.get("results").and_then(Value::as_array).context("no results")? {
            let key = text(result, "key")?;
            let Some(event) = self.unanswered.get(&key) else { bail!("an answer about {key}, which was not asked") };
            match text(result, "outcome")?.as_str() {
                "accepted" | "duplicate" => {
                    let quantity = Quantity::parse(&text(event, "quantity")?)?;
                    self.counted.insert(key.clone(), quantity);
                    self.unanswered.remove(&key);
                }
                _ if result.pointer("/reason/code").and_then(Value::as_str) == Some("renewing") => {}
                _ => {
                    self.unanswered.remove(&key);
                }
            }
        }
        Ok(())
    }

    async fn now(&self) -> anyhow::Result<Timestamp> {
        Ok(text(&self.clock_page().await?, "now")?.parse()?)
    }

    async fn clock_page(&self) -> anyhow::Result<Value> {
        let request = self.clock.get(format!("{}/clock", self.at.start)).header("accept", "application/json");
        Ok(serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?)?)
    }

    async fn push(&mut self, seconds: i64) -> anyhow::Result<&'static str> {
        let request = self.clock.post(format!("{}/clock", self.at.start)).header("accept", "application/json");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(format!("seconds={seconds}")).send().await?.error_for_status()?;
        Ok("pushes of the clock")
    }

    /// Usage is sent until all of it is answered, and days pass.
    async fn quiet(&mut self) -> anyhow::Result<()> {
        for _ in 0..20 {
            if self.unanswered.is_empty() {
                break;
            }
            let now = self.now().await?;
            self.report(now).await?;
            self.push(HOUR).await?;
        }
        ensure!(self.unanswered.is_empty(), "usage was never answered: {:?}", self.unanswered.keys());
        for _ in 0..6 {
            self.push(DAY).await?;
        }
        Ok(())
    }

    /// What was answered once is so at the end.
    fn remembers(&self, stack: &Stack, compared: &Compared) -> anyhow::Result<()> {
        let (aws, azure) = (stack.aws.save(), stack.azure.market.save());
        for one in &self.bought {
            let status = match one {
                Bought::Aws { agreement, .. } => aws.pointer(&format!("/agreements/{agreement}/status")),
                Bought::Azure { subscription } => azure.pointer(&format!("/subscriptions/{subscription}/status")),
            };
            let status = status.with_context(|| format!("the marketplace has forgotten {one:?}"))?;
            let over = *status == json!("CANCELLED") || *status == json!("Unsubscribed");
            ensure!(over || !self.cancelled.contains(one.id()), "the marketplace has forgotten the end of {one:?}");
        }
        let counted = self.counted.values().fold(Quantity::ZERO, |sum, one| sum.saturating_plus(*one));
        ensure!(counted == compared.used, "{counted} of usage was taken, {} was counted", compared.used);
        Ok(())
    }
}

/// The code of the policy's first listing in that marketplace.
fn code(marketplace: &str) -> anyhow::Result<String> {
    let policy = tradepost::policy::Policy::parse(EMQX)?;
    let listing = policy.listings.iter().find(|listing| listing.marketplace.to_string() == marketplace);
    Ok(listing.context("no listing")?.code.clone())
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {name} in {value}"))
}
