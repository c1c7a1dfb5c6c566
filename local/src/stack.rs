//! Everything put together, in one process: the parties, the queues between them, the real functions, and what drives
//! them as time goes by. Every AWS client is the SDK's own; only its transport is in-process.

mod inside;
mod journal;
mod keeper;
mod kept;
mod metering;
mod microsoft;
mod notes;
mod parties;
mod seen;
mod sns;
mod waiting;

pub use inside::Inside;
pub use journal::{About, Happening, Journal, Kind};
use keeper::{Keeper, Keeping};
use kept::{Kept, kept, restore};
use metering::{ClockPace, next_metering};
pub use microsoft::Microsoft;
use microsoft::{Party, TIMERS, Timer, azure_config};
pub use parties::{Addresses, loopback_client};
use parties::{aws_config, issuers, on_this_machine, sdk_config, sign_in, sqs, vendor_config};
pub use sns::topic_arn;
pub use waiting::{Coming, Waiting};

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tradepost::ledger::{Ledger, Provider};
use tradepost::outbound::Outbound;
use tradepost::policy::Policy;
use tradepost::settings::{MailWay, Settings};
use tradepost::sweeper::{Rails, Report};
use tradepost_aws::config::random;
use tradepost_aws::landing::Landing;
use tradepost_aws::marketplace::AwsMarketplace as AwsClients;
use tradepost_aws::notifications::Notifications;
use tradepost_aws::queue::{MeteringQueue, WorkQueue};
use tradepost_aws::sns::{Authority, Sns};
use tradepost_aws::usage::Usage;
use tradepost_aws::worker::Work;

use crate::aws_marketplace::AwsMarketplace;
use crate::azure_marketplace::AzureMarketplace;
use crate::clock::Clock;
use crate::connector::Wire;
use crate::dynamo::{Dynamo, TABLE};
use crate::mailbox::Mailbox;
use crate::queue::{self, Queue};
use crate::vendor::Vendor;

/// How often the sweeper runs, in simulated time.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_mins(15);
/// How often a reconciliation begins. Not while the clock is pushed: there every notice arrives, or a test decides.
const RECONCILE_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How often it may run where the last usage of a subscription waits: as often as in the cloud.
const SWEEP_FOR_LAST_USAGE: SignedDuration = SignedDuration::from_mins(5);
/// How often it runs while much time passes at once, until the last hours.
const SWEEP_EVERY_ON_LONG_PUSHES: SignedDuration = SignedDuration::from_hours(2);
const LAST_HOURS: SignedDuration = SignedDuration::from_hours(6);

/// Where everything is, and where it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port all parties are served on, 127.0.0.1.
    pub port: u16,
    /// The folder the state is kept in; none for memory only.
    pub data: Option<PathBuf>,
    /// The vendor's rules.
    pub policy: String,
}

/// What the stack lives in.
pub struct Surroundings {
    /// The time everybody reads.
    pub clock: Clock,
    /// How Tradepost reaches the vendor and Microsoft.
    pub outbound: Outbound,
    /// What makes ids.
    pub random: fn() -> [u8; 32],
    /// Whether e-mails go out.
    pub mail: bool,
}

/// The whole system.
pub struct Stack {
    /// The time everybody reads.
    pub clock: Clock,
    /// The ledger's engine.
    pub dynamo: Dynamo,
    /// The ledger.
    pub ledger: Ledger,
    /// The vendor's rules.
    pub policy: Arc<Policy>,
    /// The simulated AWS Marketplace.
    pub aws: AwsMarketplace,
    /// The simulated Microsoft marketplace, and Tradepost behind the Functions host.
    pub azure: Microsoft,
    /// The calls to the services of AWS Marketplace.
    pub aws_wire: Arc<Wire>,
    /// The demo vendor.
    pub vendor: Vendor,
    /// Every e-mail that was sent.
    pub mailbox: Arc<Mailbox>,
    /// From EventBridge and SNS to `notifications`.
    pub notices: Queue,
    /// From all functions to `worker`.
    pub work_queue: Queue,
    /// From the vendor's product to `usage`.
    pub usage_queue: Queue,
    /// From `metering` to itself.
    metering_queue: Queue,
    metering_again: MeteringQueue,
    pace: ClockPace,
    /// The function `usage`.
    pub usage: Usage,
    /// The function `landing`.
    pub landing: Landing,
    /// The function `notifications`.
    pub notifications: Notifications<AwsClients>,
    /// The functions `worker`, `sweeper` and `metering`.
    pub work: Work<AwsClients>,
    /// What happened, for people; empty unless [`Stack::keep_journal`] was called.
    pub journal: Journal,
    options: Options,
    keeper: Arc<Keeper>,
    driving: tokio::sync::Mutex<Driven>,
    /// The ledger on a wire of its own, to look without being counted or disturbed.
    looking: Ledger,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct Driven {
    swept_at: Timestamp,
    metered_at: Timestamp,
    reconciled_at: Timestamp,
    timers: [Timer; TIMERS],
}

impl Stack {
    /// Puts everything together. Nothing is served yet.
    pub async fn new(options: Options) -> anyhow::Result<Self> {
        let kept = kept(options.data.as_deref())?.with_keys();
        let clock = Clock::new(SignedDuration::from_secs(kept.ahead_seconds));
        let outbound = Outbound::with(loopback_client()?);
        Self::of(options, kept, Surroundings { clock, outbound, random, mail: true }).await
    }

    /// The same in memory and in other surroundings.
    pub async fn within(policy: &str, surroundings: Surroundings) -> anyhow::Result<Self> {
        let options = Options { port: 80, data: None, policy: policy.to_owned() };
        Self::of(options, Kept::default().with_keys(), surroundings).await
    }

    async fn of(options: Options, kept: Kept, surroundings: Surroundings) -> anyhow::Result<Self> {
        let Surroundings { clock, outbound, random, mail } = surroundings;
        let at = Addresses::new(options.port);
        let policy = Arc::new(on_this_machine(Policy::parse(&options.policy)?, &at));
        let dynamo = match &options.data {
            Some(folder) => Dynamo::file(&folder.join("ledger.db"))?,
            None => Dynamo::memory()?,
        };
        let ledger = dynamo.ledger().await?;
        let aws = AwsMarketplace::new(aws_config(&policy, &at), clock.clone());
        let secrets = kept.secrets(&policy);
        let vendor = Vendor::new(vendor_config(&policy, &at, &secrets), clock.clone());
        let queue = |name, limits| Queue::new(name, clock.clone(), limits);
        let (notices, work_queue) = (queue("notices", queue::NOTICES), queue("work", queue::WORK));
        let (usage_queue, metering_queue) = (queue("usage", queue::USAGE), queue("metering", queue::METERING));
        let market = AzureMarketplace::new(azure_config(&policy, &at, &kept), clock.clone());
        restore(&kept, &aws, &market, &vendor, [&notices, &work_queue, &usage_queue, &metering_queue])?;

        let keeping = Keeping::default();
        let mailbox = if mail {
            let keeping = keeping.clone();
            Mailbox::open(clock.clone(), &kept.mailbox, move || keeping.keep()).await?
        } else {
            Mailbox::shut(clock.clone())
        };
        let mailbox = Arc::new(mailbox);
        let aws_wire = Arc::new(Wire::default());
        let sdk = sdk_config(Arc::clone(&aws_wire), aws.clone(), keeping.clone());
        let queue = WorkQueue::new(sqs(&work_queue), "http://sqs.local/111122223333/work".to_owned());
        let settings = Settings {
            table: TABLE.to_owned(),
            policy: Arc::clone(&policy),
            public_url: at.tradepost.clone(),
            control_plane_url: format!("{}/control-plane", at.vendor),
            events_url: Some(format!("{}/events", at.vendor).parse()?),
            mail: mailbox.url().map(|url| url.parse().map(MailWay::Smtp)).transpose()?,
            sign_in: sign_in(&policy, &issuers(&policy, &at, &secrets)),
            deletions: true,
            deletion_cap: 100,
            limits: true,
        };
        let outbound = Arc::new(outbound);
        let party = Party { market, core: &settings, secrets: &secrets, kept: &kept, at: &at };
        let azure = Microsoft::new(party, ledger.clone(), Arc::clone(&outbound), clock.clone())?;
        let control_plane = Arc::new(settings.control_plane(&secrets, Arc::clone(&outbound), random)?);
        let outlets = settings.outlets(&secrets, Arc::clone(&outbound), || None)?;
        // Whatever a stack that was killed had left undone is looked for at once.
        let began =
            if kept.is_fresh() { clock.now() } else { clock.now().checked_sub(SignedDuration::from_hours(1))? };
        let keeper = Arc::new(Keeper {
            folder: options.data.clone(),
            keys: kept,
            clock: clock.clone(),
            aws: aws.clone(),
            azure: azure.market.clone(),
            vendor: vendor.clone(),
            mailbox: Arc::clone(&mailbox),
            queues: [notices.clone(), work_queue.clone(), usage_queue.clone(), metering_queue.clone()],
            written: Mutex::default(),
        });
        keeping.by(&keeper);
        keeper.keep()?;
        Ok(Self {
            landing: Landing {
                app: settings.app(Provider::Aws, &secrets, ledger.clone(), Arc::clone(&outbound), random)?,
                sns: Sns::trusting(Authority::below(&aws.sns_url()), sns::topics(&policy), outbound),
                metering: aws_sdk_marketplacemetering::Client::new(&sdk),
                marketplace: AwsClients::new(&sdk),
                queue: queue.clone(),
            },
            notifications: Notifications {
                ledger: ledger.clone(),
                policy: Arc::clone(&policy),
                marketplace: AwsClients::new(&sdk),
                queue: queue.clone(),
            },
            work: Work {
                ledger: ledger.clone(),
                policy: Arc::clone(&policy),
                control_plane,
                marketplace: AwsClients::new(&sdk),
                outlets,
                queue,
            },
            usage: Usage { ledger: ledger.clone(), policy: Arc::clone(&policy) },
            metering_again: MeteringQueue::new(
                sqs(&metering_queue),
                "http://sqs.local/111122223333/metering".to_owned(),
            ),
            pace: ClockPace::new(clock.clone()),
            driving: tokio::sync::Mutex::new(Driven {
                swept_at: began,
                metered_at: began,
                reconciled_at: began,
                timers: Timer::all(began),
            }),
            looking: Ledger::new(dynamo.quiet().client(), TABLE),
            stopping: AtomicBool::new(false),
            journal: Journal::default(),
            clock,
            dynamo,
            ledger,
            policy,
            aws,
            azure,
            aws_wire,
            vendor,
            mailbox,
            notices,
            work_queue,
            usage_queue,
            metering_queue,
            options,
            keeper,
        })
    }

    /// What signs the demo vendor's questions to Tradepost.
    pub fn vendor_api_secret(&self) -> &str {
        &self.keeper.keys.vendor_api
    }

    /// Everything that may never be in a log: every secret of this stack.
    pub fn unspeakable(&self) -> Vec<&str> {
        let Kept { cookie_key, control_plane, vendor_api, events, client_secret, .. } = &self.keeper.keys;
        let Kept { azure_client_secret, azure_sign_in_secret, .. } = &self.keeper.keys;
        vec![cookie_key, control_plane, vendor_api, events, client_secret, azure_client_secret, azure_sign_in_secret]
    }

    /// The addresses of the parties.
    pub fn addresses(&self) -> Addresses {
        Addresses::new(self.options.port)
    }

    /// Delivers and works on everything that is due now, until nothing moves.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let driven = self.driving.lock().await;
        self.deliver().await?;
        drop(driven);
        Ok(())
    }

    async fn deliver(&self) -> anyhow::Result<()> {
        loop {
            let over_https = {
                let _still = self.keeper.still();
                let due = self.aws.take_due().into_iter().map(|notice| (self.aws.over_https(&notice), notice));
                let (posted, queued): (Vec<_>, Vec<_>) = due.partition(|(body, _)| body.is_some());
                for (_, notice) in queued {
                    self.notices.send(notice.body);
                }
                posted
            };
            for (body, notice) in over_https {
                self.post_notice(notice, &body.unwrap_or_default()).await?;
            }
            let now = self.clock.now();
            let notices = self.notices.receive();
            if !notices.is_empty() {
                let answer = self.notifications.handle(&self.notices.event(&notices), now).await?;
                delete_handled(&self.notices, &notices, &answer);
                self.note_notices(&notices, &answer, now).await;
            }
            let work = self.work_queue.receive();
            if !work.is_empty() {
                let answer = self.work.handle(&self.work_queue.event(&work), now).await?;
                delete_handled(&self.work_queue, &work, &answer);
                self.note_changes(now).await;
            }
            let usage = self.usage_queue.receive();
            if !usage.is_empty() {
                let answer = self.usage.handle(&self.usage_queue.event(&usage), now).await?;
                delete_handled(&self.usage_queue, &usage, &answer);
            }
            let again = self.metering_queue.receive();
            for call in &again {
                self.metering_queue.delete(&call.id);
                self.run_metering().await?;
            }
            let webhooks = self.azure.market.take_due();
            for call in &webhooks {
                let status = self.azure.call(call).await?;
                self.azure.market.answered(&call.id, Some(status.as_u16()));
                self.note_webhook(call, Some(status), now).await;
            }
            if notices.is_empty() && work.is_empty() && usage.is_empty() && again.is_empty() && webhooks.is_empty() {
                if self.journal.was_touched() {
                    self.note_changes(now).await;
                }
                return Ok(());
            }
        }
    }

    /// Runs the sweeper once, whatever its schedule says.
    pub async fn sweep(&self, event: &Value) -> anyhow::Result<Report> {
        let mut driven = self.driving.lock().await;
        self.deliver().await?;
        let report = self.run_sweeper(event).await?;
        driven.swept_at = self.clock.now();
        Ok(report)
    }

    async fn run_sweeper(&self, event: &Value) -> anyhow::Result<Report> {
        let rails = Rails::new(true, 100);
        let report = self.work.sweep(event, &rails, Timestamp::MAX, || self.clock.now()).await?;
        self.note_sweep(&report, self.clock.now()).await;
        Ok(report)
    }

    /// Begins a reconciliation of AWS Marketplace, as its schedule does every hour, and works on it.
    pub async fn reconcile(&self) -> anyhow::Result<Report> {
        self.sweep(&json!({"reconcile": true})).await?;
        self.sweep(&json!({})).await
    }

    /// What the schedules would do by now: deliver, and sweep if its time has come. Called again and again.
    pub async fn tick(&self) -> anyhow::Result<()> {
        let mut driven = self.driving.lock().await;
        self.deliver().await?;
        if self.clock.now() >= driven.reconciled_at.checked_add(RECONCILE_EVERY)? {
            self.run_sweeper(&json!({"reconcile": true})).await?;
            driven.reconciled_at = self.clock.now();
        }
        if self.clock.now() >= self.next_sweep(&driven, SWEEP_EVERY).await? {
            self.run_sweeper(&json!({})).await?;
            driven.swept_at = self.clock.now();
        }
        self.meter_if_due(&mut driven).await?;
        self.run_timers(&mut driven.timers, SignedDuration::ZERO).await?;
        self.keep()
    }

    /// When the sweeper runs next. The last usage of a subscription does not wait for it longer than in the cloud.
    async fn next_sweep(&self, driven: &Driven, every: SignedDuration) -> anyhow::Result<Timestamp> {
        let regular = driven.swept_at.checked_add(every)?;
        let earliest = driven.swept_at.checked_add(SWEEP_FOR_LAST_USAGE)?;
        let last_usage = self.final_usage_due().await?.map(|due| due.max(earliest));
        Ok(last_usage.map_or(regular, |due| due.min(regular)))
    }

    /// Runs the timers of the Functions app whose time has come, but none more often than `rarest`.
    async fn run_timers(&self, timers: &mut [Timer], rarest: SignedDuration) -> anyhow::Result<()> {
        let now = self.clock.now();
        for timer in timers {
            if let Some(line) = self.azure.run(timer, rarest, now).await? {
                self.journal.add(now, Kind::Sweep, line, About::default());
                self.note_changes(now).await;
            }
        }
        Ok(())
    }

    /// Pushes the clock, stopping wherever something is due on the way, as real time would. `step` is told the time
    /// now and then.
    pub async fn push(&self, by: SignedDuration, mut step: impl FnMut(Timestamp) + Send) -> anyhow::Result<()> {
        let target = self.clock.now().checked_add(by)?;
        let mut driven = self.driving.lock().await;
        loop {
            if self.stopping.load(Ordering::SeqCst) {
                self.keep()?;
            }
            ensure!(!self.stopping.load(Ordering::SeqCst), "the stack is being stopped; the clock stays where it is");
            self.deliver().await?;
            let now = self.clock.now();
            let rarest = rarest(target.duration_since(now));
            self.run_timers(&mut driven.timers, rarest).await?;
            if self.meter_if_due(&mut driven).await? {
                continue;
            }
            let sweep = self.next_sweep(&driven, SWEEP_EVERY.max(rarest)).await?;
            if now >= sweep {
                self.run_sweeper(&json!({})).await?;
                self.deliver().await?;
                driven.swept_at = now;
                step(now);
                continue;
            }
            if now >= target {
                return self.keep();
            }
            let queues = self.queues().map(Queue::next_visible).into_iter().flatten();
            let metering = Some(next_metering(driven.metered_at)).filter(|_| self.aws.has_agreements());
            let waiting = [self.aws.next_due(), metering, Some(sweep)];
            let timers = driven.timers.iter().map(|timer| timer.next(rarest)).filter(|_| self.azure.is_used());
            let waiting = waiting.into_iter().flatten().chain(queues).chain(self.azure.market.next_due()).chain(timers);
            let next = waiting.min().unwrap_or(target).min(target);
            self.clock.advance_to(next.max(now.checked_add(SignedDuration::from_millis(1))?));
            self.keep()?;
        }
    }

    /// Ends a push under way at its next stop; what it has done so far stays.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Writes the parties' state, if it has changed and is kept at all. The ledger is a file of its own.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn keep(&self) -> anyhow::Result<()> {
        self.keeper.keep()
    }

    /// The queues that can have dead letters.
    pub fn queues(&self) -> [&Queue; 4] {
        [&self.notices, &self.work_queue, &self.usage_queue, &self.metering_queue]
    }

    /// Sends the dead letters of every queue again; gives how many there were.
    pub fn send_dead_again(&self) -> usize {
        let number = self.queues().iter().map(|queue| queue.send_dead_again()).sum();
        let what = format!("{number} dead letters were sent again");
        self.journal.add(self.clock.now(), Kind::Clock, what, About::default());
        number
    }

    /// Rows of the ledger that wait for an operator: parked tasks, notices, deployments, events and mails.
    pub async fn parked(&self) -> anyhow::Result<usize> {
        let notices = self.ledger.all_listed::<tradepost::notice::RawNotice>("parked").await?.len();
        let tasks = self.ledger.all_listed::<tradepost::task::Task>("parked").await?.len();
        let deployments = self.ledger.all_listed::<tradepost::deployment::Deployment>("parked").await?.len();
        let events = self.ledger.all_listed::<tradepost::event::Event>("parked").await?.len();
        let messages = self.ledger.all_listed::<tradepost::message::Message>("parked").await?.len();
        Ok(notices + tasks + deployments + events + messages)
    }
}

/// How rarely timers run while so much time is left of a push: looking for due rows is most of what a push costs.
fn rarest(left: SignedDuration) -> SignedDuration {
    match left {
        left if left > LAST_HOURS => SWEEP_EVERY_ON_LONG_PUSHES,
        left if left > SWEEP_EVERY => SWEEP_EVERY,
        _ => SignedDuration::ZERO,
    }
}

fn delete_handled(
    queue: &Queue,
    batch: &[crate::queue::Message],
    answer: &tradepost_aws::notifications::BatchResponse,
) {
    for message in batch {
        if !answer.batch_item_failures.iter().any(|failure| failure.item_identifier == message.id) {
            queue.delete(&message.id);
        }
    }
}
