//! What can happen in a history. A step is an act and a roll of its own, so that leaving one out changes no other: a
//! history that fails can be made shorter.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tradepost::ledger::Provider;
use tradepost::registration::Registration;
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::Quantity;
use tradepost::usage::report::{Reported, UsageEvent};
use tradepost_aws::marketplace::licence_id;

use super::Play;
use super::handlers::{Handler, TIMERS};
use super::memory::{BUYERS, Buyer, Fate, Purchase, Wish};
use super::outside::Line;
use super::process::{Death, Process, side_by_side};
use super::seen::Snapshot;
use crate::dice::Dice;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Somebody buys.
    Buy(Provider),
    /// A browser lands with a fresh token, now and then a stranger's.
    Land,
    /// Somebody presses Link, now and then where they should not.
    Link,
    /// A purchase is cancelled.
    Cancel,
    /// An agreement is renewed or replaced.
    Renew,
    /// Microsoft suspends a subscription, or takes it back, or renews its term.
    Standing,
    /// A buyer asks for another plan.
    ChangePlan,
    /// The next purchase on AWS will not be paid.
    FailPayment,
    /// A user stops or starts a deployment.
    User,
    /// An organization gets another way to pay, or loses it.
    Pays,
    /// The product tells usage, new and old.
    Use,
    /// Handlers run, up to three side by side, and some are killed.
    Run,
    /// Time passes.
    Pass,
    /// A line gets worse or better.
    Weather,
    /// How notices travel changes: late, twice, out of order.
    Post,
}

/// How often a webhook is tried before much time passes. Whatever fails so often in a row fails for eight hours.
const TRIES_OF_WEBHOOKS: u32 = 30;

/// An act and its roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub act: Act,
    /// By which everything about it is chosen.
    pub roll: u64,
}

/// A history of so many steps.
pub fn history(seed: u64, steps: usize) -> Vec<Step> {
    let mut dice = Dice(seed);
    let beginning = [Act::Buy(Provider::Aws), Act::Buy(Provider::Azure), Act::Land, Act::Link];
    let weighted: [(Act, u32); 15] = [
        (Act::Buy(Provider::Aws), 3),
        (Act::Buy(Provider::Azure), 3),
        (Act::Land, 6),
        (Act::Link, 8),
        (Act::Cancel, 4),
        (Act::Renew, 3),
        (Act::Standing, 2),
        (Act::ChangePlan, 1),
        (Act::FailPayment, 1),
        (Act::User, 2),
        (Act::Pays, 1),
        (Act::Use, 4),
        (Act::Run, 22),
        (Act::Pass, 10),
        (Act::Weather, 3),
    ];
    let all: Vec<Act> = weighted
        .into_iter()
        .chain([(Act::Post, 1)])
        .flat_map(|(act, weight)| std::iter::repeat_n(act, usize::try_from(weight).unwrap_or(1)))
        .collect();
    let mut step = |act| Step { act, roll: dice.draw() };
    let first = beginning.map(&mut step);
    let mut chosen = Dice(seed ^ 0xac75);
    let rest = (0..steps).filter_map(|_| chosen.pick(&all).copied()).map(step);
    first.into_iter().chain(rest).collect()
}

impl Play {
    /// Does it; says what was done, in a line.
    pub(super) async fn act(&self, step: Step) -> anyhow::Result<String> {
        let mut dice = Dice(step.roll);
        Ok(match step.act {
            Act::Buy(Provider::Aws) => self.buy_on_aws(&mut dice).await?,
            Act::Buy(Provider::Azure) => self.buy_on_azure(&mut dice).await?,
            Act::Land => self.somebody_lands(&mut dice).await?,
            Act::Link => self.somebody_links(&mut dice).await?,
            Act::Cancel => self.cancel(&mut dice).await?,
            Act::Renew => self.renew(&mut dice).await?,
            Act::Standing => self.standing(&mut dice).await?,
            Act::ChangePlan => self.change_plan(&mut dice).await?,
            Act::FailPayment => {
                self.outside.bench("aws.localhost", "fail-payment", &json!({"times": 1})).await?;
                "the next payment on AWS will fail".to_owned()
            }
            Act::User => self.user(&mut dice).await?,
            Act::Pays => self.pays(&mut dice).await?,
            Act::Use => self.usage(&mut dice).await,
            Act::Run => self.run(&mut dice).await,
            Act::Pass => self.time_passes(&mut dice).await,
            Act::Weather => self.weather(&mut dice),
            Act::Post => self.post(&mut dice).await?,
        })
    }

    async fn buy_on_aws(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let (index, buyer) = somebody(dice);
        let listings: Vec<_> = self.listings(Provider::Aws);
        let product = dice.pick(&listings).cloned().unwrap_or_default();
        let order = json!({"product": product, "account": buyer.account});
        let Some(bought) = self.outside.bench("aws.localhost", "accept", &order).await? else {
            return Ok(format!("{} has bought that already", buyer.name));
        };
        let (agreement, licence) = (text(&bought, "agreement"), text(&bought, "licence"));
        let key =
            SubscriptionKey::AwsLicence { agreement: agreement.clone(), licence: licence_id(&licence).to_owned() };
        // Whether it is paid shows only by the notices that come, or do not.
        let shown = self.outside.shown("aws.localhost", "state").await?;
        let unpaid = shown.pointer(&format!("/agreements/{agreement}")).is_some_and(|one| is_unpaid(&shown, one));
        let fate = if unpaid { Fate::Unpaid } else { Fate::Going };
        self.remember(|memory| {
            memory.purchases.push(Purchase { key, name: agreement.clone(), buyer: index, fate });
        });
        Ok(format!("{} buys {agreement} ({fate:?})", buyer.name))
    }

    async fn buy_on_azure(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let (index, buyer) = somebody(dice);
        let offer = dice.pick(&self.listings(Provider::Azure)).cloned().unwrap_or_default();
        let plan = *dice.pick(&["payg", "payg", "professional", "starter"]).unwrap_or(&"payg");
        let order = json!({"offer": offer, "plan": plan});
        let Some(bought) = self.outside.bench("azure.localhost", "purchase", &order).await? else {
            return Ok("Microsoft refuses".to_owned());
        };
        let id = text(&bought, "subscription");
        let key = SubscriptionKey::Azure { id: id.clone() };
        self.remember(|memory| {
            memory.purchases.push(Purchase { key, name: id.clone(), buyer: index, fate: Fate::Going });
        });
        Ok(format!("{} buys {id}, plan {plan}", buyer.name))
    }

    fn listings(&self, marketplace: Provider) -> Vec<String> {
        let all = self.outside.stack.policy.listings.iter();
        all.filter(|listing| listing.marketplace == marketplace).map(|listing| listing.code.clone()).collect()
    }

    async fn somebody_lands(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let Some((at, purchase)) = self.any_purchase(dice) else { return Ok("nothing to land with".to_owned()) };
        let token = match purchase.marketplace() {
            Provider::Aws => self.outside.bench("aws.localhost", "token", &json!({"agreement": purchase.name})).await?,
            Provider::Azure => {
                self.outside.bench("azure.localhost", "configure", &json!({"subscription": purchase.name})).await?
            }
        };
        let Some(token) = token.map(|answer| text(&answer, "token")) else { return Ok("no token".to_owned()) };
        // A forced landing: the browser is somebody else's.
        let buyer = if dice.once_in(8) { somebody(dice).0 } else { purchase.buyer };
        self.remember(|memory| memory.landing = Some((at, buyer)));
        let death = self.death(dice, 6);
        let killed = side_by_side(dice, vec![Process::new(death, self.land(purchase.marketplace(), &token))]).await;
        let registrations = Snapshot::of(&self.outside.stack.dynamo)?.all::<Registration>()?;
        self.notice_landing(&registrations);
        self.remember(|memory| {
            memory.landing = None;
            memory.count("handlers killed", killed.into());
        });
        let name = BUYERS.get(buyer).map_or("", |buyer| buyer.name);
        Ok(format!("{name} lands with {}{}", purchase.name, if killed > 0 { ", killed" } else { "" }))
    }

    /// What somebody asks for: mostly what they may, now and then somebody else's landing, or an organization of which
    /// they are nobody, or only a member.
    fn wish(&self, dice: &mut Dice) -> Option<Wish> {
        let landings = self.look(|memory| memory.landings.clone());
        let any = usize::try_from(dice.below(landings.len().max(1) as u64)).ok()?;
        // The newest landings are the likely ones.
        let landing = if dice.once_in(2) { landings.len().checked_sub(1)? } else { any };
        let stranger = somebody(dice);
        let buyer = if dice.once_in(6) { stranger.0 } else { landings.get(landing)?.buyer };
        let person = BUYERS.get(buyer)?;
        let organization = match dice.below(8) {
            0 => *dice.pick(stranger.1.may_link).unwrap_or(&"org-clean"),
            1 | 2 if !person.sees.is_empty() => *dice.pick(person.sees)?,
            _ => *dice.pick(person.may_link).or_else(|| person.sees.first())?,
        };
        Some(Wish { landing, buyer, organization })
    }

    /// A wish beside another one of which only one can be granted: another purchase for the same organization, or another
    /// organization for the same purchase. Any other wish if there is no such.
    fn rival(&self, dice: &mut Dice, first: &Wish) -> Option<Wish> {
        let landings = self.look(|memory| memory.landings.clone());
        let purchase = landings.get(first.landing)?.purchase;
        let person = BUYERS.get(first.buyer)?;
        let same_organization = dice.once_in(2);
        let fits = |at: &usize| {
            let Some(landing) = landings.get(*at) else { return false };
            let may = BUYERS.get(landing.buyer).is_some_and(|buyer| buyer.may_link.contains(&first.organization));
            if same_organization { may && landing.purchase != purchase } else { landing.purchase == purchase }
        };
        let fitting: Vec<usize> = (0..landings.len()).filter(fits).collect();
        let Some(landing) = dice.pick(&fitting).copied() else { return self.wish(dice) };
        let buyer = landings.get(landing)?.buyer;
        let other = *dice.pick(person.may_link).unwrap_or(&first.organization);
        Some(Wish { landing, buyer, organization: if same_organization { first.organization } else { other } })
    }

    /// Remembers a wish by the id its link would get.
    fn wished(&self, dice: &mut Dice, wish: Wish) -> (String, String) {
        let link_id = format!("link-{:016x}", dice.draw());
        let name = BUYERS.get(wish.buyer).map_or("nobody", |buyer| buyer.name);
        let said = format!("{name} asks to link {}", wish.organization);
        self.remember(|memory| memory.wishes.insert(link_id.clone(), wish));
        (link_id, said)
    }

    async fn somebody_links(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let Some(wish) = self.wish(dice) else { return Ok("nothing to link".to_owned()) };
        // Two at once, in any order: exactly one may win where both want the same.
        let second = if dice.once_in(2) { self.rival(dice, &wish) } else { None };
        let (first, said) = self.wished(dice, wish);
        let second = second.map(|wish| self.wished(dice, wish));
        let (death, other_death) = (self.death(dice, 8), self.death(dice, 8));
        let mut processes = vec![Process::new(death, self.link(&first))];
        if let Some((link_id, _)) = &second {
            processes.push(Process::new(other_death, self.link(link_id)));
        }
        if dice.once_in(3) {
            let handler =
                *dice.pick(&[Handler::Notices, Handler::Webhook, Handler::Worker]).unwrap_or(&Handler::Notices);
            processes.push(Process::new(None, self.call(handler, true)));
        }
        let killed = side_by_side(dice, processes).await;
        self.hang_up();
        self.remember(|memory| memory.count("handlers killed", killed.into()));
        let second = second.map(|(_, said)| format!("; {said} at once")).unwrap_or_default();
        Ok(format!("{said}{second}{}", if killed > 0 { ", killed" } else { "" }))
    }

    async fn cancel(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let Some((at, purchase)) = self.any_purchase(dice) else { return Ok("nothing to cancel".to_owned()) };
        let (host, order) = match purchase.marketplace() {
            Provider::Aws => ("aws.localhost", json!({"agreement": purchase.name})),
            Provider::Azure => ("azure.localhost", json!({"subscription": purchase.name})),
        };
        if self.outside.bench(host, "cancel", &order).await?.is_none() {
            return Ok(format!("{} cannot be cancelled", purchase.name));
        }
        self.becomes(at, Fate::Ended(self.outside.now()));
        Ok(format!("{} is cancelled", purchase.name))
    }

    fn becomes(&self, at: usize, fate: Fate) {
        self.remember(|memory| {
            if let Some(purchase) = memory.purchases.get_mut(at)
                && matches!(purchase.fate, Fate::Going | Fate::Unpaid)
            {
                purchase.fate = fate;
            }
        });
    }

    async fn renew(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let Some((at, purchase)) = self.any_purchase(dice).filter(|(_, one)| one.marketplace() == Provider::Aws) else {
            return Ok("nothing to renew".to_owned());
        };
        let call = if dice.once_in(2) { "renew" } else { "replace" };
        let order = json!({"agreement": purchase.name, "deprovision_old": dice.once_in(2)});
        let Some(new) = self.outside.bench("aws.localhost", call, &order).await? else {
            return Ok(format!("{} cannot be renewed", purchase.name));
        };
        self.becomes(at, Fate::Superseded { by: self.look(|memory| memory.purchases.len()) });
        let (agreement, licence) = (text(&new, "agreement"), licence_id(&text(&new, "licence")).to_owned());
        let key = SubscriptionKey::AwsLicence { agreement: agreement.clone(), licence };
        let said = format!("{} is carried on by {agreement} ({call})", purchase.name);
        self.remember(|memory| {
            memory.purchases.push(Purchase { key, name: agreement, buyer: purchase.buyer, fate: Fate::Going });
        });
        Ok(said)
    }

    async fn standing(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let Some((_, purchase)) = self.any_purchase(dice).filter(|(_, one)| one.marketplace() == Provider::Azure)
        else {
            return Ok("nobody to suspend".to_owned());
        };
        let call = *dice.pick(&["suspend", "reinstate", "renew"]).unwrap_or(&"suspend");
        let done = self.outside.bench("azure.localhost", call, &json!({"subscription": purchase.name})).await?;
        Ok(format!("Microsoft: {call} {}{}", purchase.name, if done.is_some() { "" } else { ", not possible" }))
    }

    async fn change_plan(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let Some((_, purchase)) = self.any_purchase(dice).filter(|(_, one)| one.marketplace() == Provider::Azure)
        else {
            return Ok("nobody to change".to_owned());
        };
        let plan = *dice.pick(&["payg", "professional"]).unwrap_or(&"payg");
        let order = json!({"subscription": purchase.name, "plan": plan});
        let done = self.outside.bench("azure.localhost", "change-plan", &order).await?;
        Ok(format!("{} asks for {plan}{}", purchase.name, if done.is_some() { "" } else { ", not possible" }))
    }

    async fn user(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let deployments = self.outside.stack.vendor.deployments();
        let Some(one) = dice.pick(&deployments) else { return Ok("nothing runs".to_owned()) };
        let (id, call) = (text(one, "id"), if dice.once_in(2) { "stop" } else { "start" });
        // Whoever does not pay is not let start anything.
        let organization = text(one, "organization");
        if call == "start" && !self.is_linked(&organization)? {
            return Ok(format!("nobody may start {id}"));
        }
        self.outside.bench("vendor.localhost", &format!("deployment/{id}/{call}"), &json!({})).await?;
        Ok(format!("a user {call}s {id}"))
    }

    async fn pays(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let (_, buyer) = somebody(dice);
        let Some(organization) = dice.pick(buyer.may_link) else { return Ok("nobody to pay".to_owned()) };
        let pays = dice.once_in(2);
        let change = json!({"organization": organization, "pays_otherwise": pays});
        self.outside.bench("vendor.localhost", "organization", &change).await?;
        self.remember(|memory| memory.paid_otherwise.insert(organization, pays));
        Ok(format!("{organization} {} otherwise", if pays { "pays" } else { "does not pay" }))
    }

    async fn usage(&self, dice: &mut Dice) -> String {
        let organizations: Vec<&str> = BUYERS.iter().flat_map(|buyer| buyer.may_link).copied().collect();
        let now = self.outside.now();
        let fresh = 1 + dice.below(3);
        let mut which = Vec::new();
        for _ in 0..fresh {
            let ago = SignedDuration::from_secs(i64::try_from(dice.below(2 * 3600)).unwrap_or(0));
            let event = UsageEvent {
                key: format!("use-{:016x}", dice.draw()),
                organization: (*dice.pick(&organizations).unwrap_or(&"org-clean")).to_owned(),
                dimension: (*dice.pick(&["session_hours", "traffic_gb"]).unwrap_or(&"traffic_gb")).to_owned(),
                quantity: Quantity::from_micros(dice.below(5_000_000)),
                at: now.checked_sub(ago).unwrap_or(now),
                tags: std::collections::BTreeMap::new(),
            };
            which.push(self.remember(|memory| {
                memory.usage.push((event, None));
                memory.usage.len() - 1
            }));
        }
        // What was told before is told again.
        let told = self.look(|memory| memory.usage.len());
        which.extend((0..told).filter(|_| dice.once_in(4)));
        which.sort_unstable();
        which.dedup();
        let death = self.death(dice, 5);
        let mut processes = vec![Process::new(death, self.tell_usage(&which))];
        if dice.once_in(3) {
            processes.push(Process::new(None, self.tell_usage(&which)));
        }
        let killed = side_by_side(dice, processes).await;
        self.remember(|memory| memory.count("handlers killed", killed.into()));
        format!("usage is told: {} events{}", which.len(), if killed > 0 { ", killed" } else { "" })
    }

    async fn run(&self, dice: &mut Dice) -> String {
        let number = 1 + dice.below(3);
        let handlers: Vec<Handler> = (0..number).map(|_| handler(dice)).collect();
        let deaths: Vec<Option<Death>> = handlers.iter().map(|_| self.death(dice, 4)).collect();
        let acknowledged: Vec<bool> = handlers.iter().map(|_| !dice.once_in(8)).collect();
        let processes = handlers.iter().zip(&deaths).zip(&acknowledged);
        let processes = processes.map(|((handler, death), kept)| Process::new(*death, self.call(*handler, *kept)));
        let killed = side_by_side(dice, processes.collect()).await;
        self.hang_up();
        self.remember(|memory| {
            memory.count("handlers", number);
            memory.count("handlers killed", killed.into());
        });
        let called: Vec<String> = handlers.iter().map(|handler| format!("{handler:?}")).collect();
        format!("{}{}", called.join(" beside "), if killed > 0 { format!(", {killed} killed") } else { String::new() })
    }

    async fn time_passes(&self, dice: &mut Dice) -> String {
        let minutes = *dice.pick(&[1, 2, 5, 12, 61, 61, 6 * 60, 25 * 60, 73 * 60]).unwrap_or(&1);
        // Microsoft asks each minute, and gives up after eight hours; AWS' queue asks for two weeks.
        for _ in 0..if minutes >= 360 { TRIES_OF_WEBHOOKS } else { 0 } {
            self.call(Handler::Webhook, true).await;
            if !self.outside.stack.azure.market.has_webhooks() {
                break;
            }
            self.outside.pass(SignedDuration::from_mins(1));
        }
        self.outside.pass(SignedDuration::from_mins(minutes));
        format!("{minutes} minutes pass")
    }

    fn weather(&self, dice: &mut Dice) -> String {
        let line = *dice.pick(&[Line::Ledger, Line::Marketplaces, Line::Vendor]).unwrap_or(&Line::Ledger);
        let once_in = *dice.pick(&[0, 0, 2, 8, 20]).unwrap_or(&0);
        self.outside.weather.set(line, once_in);
        match once_in {
            0 => format!("{line:?} is well"),
            _ => format!("{line:?}: one call in {once_in} fails"),
        }
    }

    async fn post(&self, dice: &mut Dice) -> anyhow::Result<String> {
        let how =
            json!({"duplicate": dice.once_in(2), "reorder": dice.once_in(2), "delay_seconds": dice.below(3) * 700});
        self.outside.bench("aws.localhost", "switches", &how).await?;
        self.outside.bench("azure.localhost", "switches", &how).await?;
        Ok(format!("notices travel otherwise: {how}"))
    }

    /// Whether a handler is killed, and at which of its calls: once in so many times.
    fn death(&self, dice: &mut Dice, once_in: u64) -> Option<Death> {
        let call = u32::try_from(dice.below(24)).unwrap_or(0);
        let done = dice.once_in(2);
        dice.once_in(once_in).then_some(Death { call, done })
    }

    fn any_purchase(&self, dice: &mut Dice) -> Option<(usize, Purchase)> {
        self.look(|memory| {
            let newest = memory.purchases.len().checked_sub(1)?;
            let any = usize::try_from(dice.below(memory.purchases.len() as u64)).ok()?;
            let at = if dice.once_in(3) { newest } else { any };
            Some((at, memory.purchases.get(at)?.clone()))
        })
    }

    /// Usage that nobody has answered for, or that was refused for a reason that may pass.
    pub(super) fn open_usage(&self) -> Vec<usize> {
        self.look(|memory| {
            let open = memory.usage.iter().enumerate().filter(|(_, (_, answer))| {
                !matches!(answer, Some(Reported::Accepted { .. } | Reported::Duplicate { .. }))
            });
            open.map(|(at, _)| at).collect()
        })
    }
}

fn handler(dice: &mut Dice) -> Handler {
    match dice.below(12) {
        0..=3 => Handler::Notices,
        4 | 5 => Handler::Worker,
        6 => Handler::Sweeper,
        7 => Handler::Metering,
        8..=10 => Handler::Webhook,
        _ => Handler::Timer(dice.pick(&TIMERS).copied().unwrap_or("worker")),
    }
}

fn somebody(dice: &mut Dice) -> (usize, &'static Buyer) {
    let at = usize::try_from(dice.below(BUYERS.len() as u64)).unwrap_or(0);
    (at, BUYERS.get(at).unwrap_or(&BUYERS[0]))
}

/// Whether an agreement's payment failed, so that its licence never comes into force.
pub(super) fn is_unpaid(aws: &Value, agreement: &Value) -> bool {
    let licence = aws.get("licences").and_then(|all| all.get(agreement.get("licence")?.as_str()?));
    let failed = agreement.get("payment_failed") == Some(&Value::Bool(true));
    failed && licence.and_then(|licence| licence.get("active_from")).is_none_or(Value::is_null)
}

pub(super) fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
