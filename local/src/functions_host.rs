//! A stand-in for the Azure Functions host with a custom handler: it reads an app's folder, runs its executable, and
//! calls it for requests, timers and messages as the real host does. Nothing of it is kinder than the real one; where
//! we do not know, it is the less kind. Each module says what of it is recorded from the real host (4.1045.200.25556,
//! Linux) and what is only read from its source.
//!
//! [`host_json`] and [`function_json`] are the app's files, [`route`] and [`schedule`] what they hold, [`worker`] is the
//! process, [`front`] takes requests, [`timer`] the clock and [`message`] queues, [`invoke`] and [`call`] carry them to
//! the handler in an [`envelope`] and [`answer`] reads what comes back. [`identity`] is the platform's, not the host's.
//!
//! Left out: scale-out, the lease between instances, storage, retry policies, outputs' delivery, CORS.

pub mod answer;
mod call;
pub mod envelope;
mod front;
pub mod function_json;
pub mod host_json;
pub mod identity;
pub mod invoke;
pub mod log;
pub mod message;
pub mod route;
pub mod schedule;
mod timer;
pub mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use http::Request;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use answer::{Given, Outcome, Passed};
pub(crate) use front::as_proxied;
pub use identity::Identity;
pub use invoke::{HOST_VERSION, Invocation};
pub use log::{Line, Log};
pub use message::Delivery;
pub use worker::State;

use crate::clock::Clock;
use function_json::{Function, Level, Trigger};
use host_json::Settings;
use invoke::Shared;
use timer::Timer;
use worker::{Start, Worker};

/// What an app is run with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The app's settings, which are the handler's environment; nothing else is but a short PATH.
    pub environment: Vec<(String, String)>,
    /// The clock that fires the timers; without one only [`FunctionsHost::fire`] does.
    pub clock: Option<Clock>,
    /// How long the handler may take to answer at all.
    pub initialization_limit: Duration,
    /// Where requests are taken; a free port without.
    pub listen: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self { environment: Vec::new(), clock: None, initialization_limit: Duration::from_secs(30), listen: None }
    }
}

/// An app's keys, made anew for each host.
#[derive(Clone)]
pub struct Keys {
    /// For `function`.
    pub function: String,
    /// For everything.
    pub master: String,
}

impl Keys {
    /// Whether a request may: the key is in `x-functions-key`, else in `code`.
    fn allow<B>(&self, level: Level, request: &Request<B>) -> bool {
        let header = request.headers().get("x-functions-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let query = request.uri().query().unwrap_or_default().as_bytes();
        let code = || url::form_urlencoded::parse(query).find(|(name, _)| name == "code").map(|(_, v)| v.into_owned());
        let key = header.or_else(code);
        match level {
            Level::Anonymous => true,
            Level::Function => key.is_some_and(|key| key == self.function || key == self.master),
            Level::Admin => key.is_some_and(|key| key == self.master),
        }
    }
}

/// An app's files, read and found good.
#[derive(Clone, Debug)]
pub struct App {
    /// What `host.json` settles.
    pub settings: Settings,
    /// Its functions, by name.
    pub functions: Vec<Function>,
}

impl App {
    /// Reads the app at `root` with these settings.
    ///
    /// # Errors
    /// If anything in it is not understood; names the file and the member.
    pub fn read(root: &Path, settings: &[(String, String)]) -> anyhow::Result<Self> {
        let host = host_json::settings(root, settings)?;
        let functions = function_json::functions(root, &host.route_prefix, settings)?;
        Ok(Self { settings: host, functions })
    }
}

/// A running host; dropping it ends the handler.
pub struct FunctionsHost {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for FunctionsHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionsHost").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for FunctionsHost {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl FunctionsHost {
    /// Runs the app at `root` and waits until its handler answers.
    ///
    /// # Errors
    /// If a file is not understood, or the handler does not start; then with the log.
    pub async fn start(root: impl Into<PathBuf>, options: Options) -> anyhow::Result<Self> {
        let root = std::fs::canonicalize(root.into()).context("no such app")?;
        let App { settings, functions } = App::read(&root, &options.environment)?;
        let Options { environment, clock, initialization_limit: limit, listen } = options;
        let log = Log::default();
        let start = Start { settings: settings.clone(), environment, root, limit, log: log.clone() };
        let worker = Worker::start(start)?;
        let at = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = TcpListener::bind(at).await.with_context(|| format!("{at} cannot be taken"))?;
        let address = listener.local_addr()?;
        let ticking = clock.is_some();
        let clock = clock.unwrap_or_default();
        let now = clock.now();
        let timers = functions.iter().filter_map(|f| Some((f.name.clone(), Timer::of(f, now)?)));
        let timers: BTreeMap<_, _> = timers.collect();
        let keys = Keys { function: hex::<20>(), master: hex::<20>() };
        let (invocations, poisoned) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { settings, functions, timers, worker, log, clock, keys, invocations, poisoned });
        let mut host = Self { address, shared, tasks: Vec::new() };
        host.settled().await?;
        let router = Router::new().fallback(front::answer).with_state(Arc::clone(&host.shared));
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        host.tasks.push(tokio::spawn(async move { drop(axum::serve(listener, router).await) }));
        for function in &host.shared.functions {
            let Trigger::Timer { run_on_startup, .. } = &function.trigger else { continue };
            if *run_on_startup {
                host.shared.fire(&function.name, false).await;
            }
            if ticking {
                host.tasks.push(tokio::spawn(timer::run(Arc::downgrade(&host.shared), function.name.clone())));
            }
        }
        Ok(host)
    }

    /// Where requests from outside go, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The app's keys.
    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// The log so far. It goes on; see [`Log::lines`].
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// How the handler is.
    pub fn state(&self) -> State {
        self.shared.worker.state.borrow().clone()
    }

    /// Waits until the handler is in this state.
    ///
    /// # Errors
    /// If that takes longer than `limit`.
    pub async fn reaches(&self, state: State, limit: Duration) -> anyhow::Result<()> {
        let mut seen = self.shared.worker.state.clone();
        let reached = tokio::time::timeout(limit, seen.wait_for(|now| *now == state)).await;
        reached.with_context(|| format!("not {state:?} in {limit:?}"))?.map(drop).context("the handler is gone")
    }

    /// All invocations that are over, in order.
    pub fn invocations(&self) -> Vec<Invocation> {
        self.shared.invocations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a timer now.
    ///
    /// # Errors
    /// If there is no timer of that name.
    pub async fn fire(&self, name: &str) -> anyhow::Result<Invocation> {
        self.shared.fire(name, false).await.with_context(|| format!("no timer {name:?}"))
    }

    /// The same with `IsPastDue`, as after a time without a host.
    ///
    /// # Errors
    /// If there is no timer of that name.
    pub async fn fire_past_due(&self, name: &str) -> anyhow::Result<Invocation> {
        self.shared.fire(name, true).await.with_context(|| format!("no timer {name:?}"))
    }

    /// Hands a queue's function what lies in its queue, as often as the host would.
    ///
    /// # Errors
    /// If there is no such function.
    pub async fn deliver(&self, name: &str, raw: &str) -> anyhow::Result<Delivery> {
        self.shared.deliver(name, raw).await.with_context(|| format!("no queue triggers {name:?}"))
    }

    /// What lies in a poison queue.
    pub fn poisoned(&self, queue: &str) -> Vec<String> {
        let poisoned = self.shared.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        poisoned.get(queue).cloned().unwrap_or_default()
    }

    async fn settled(&self) -> anyhow::Result<()> {
        self.shared.started().await;
        if self.state() == State::ShutDown || self.state() == State::Ended {
            let lines: Vec<_> = self.log().lines().into_iter().map(|line| line.text).collect();
            bail!("the handler did not start:\n{}", lines.join("\n"));
        }
        Ok(())
    }
}

/// Random bytes as hexadecimal digits. Nothing depends on how random they are.
fn hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random GUID of version 4.
pub(crate) fn guid() -> String {
    let (version, variant) = (hex::<2>(), hex::<2>());
    let digits = |text: &str| text.get(1..).unwrap_or_default().to_owned();
    format!("{}-{}-4{}-a{}-{}", hex::<4>(), hex::<2>(), digits(&version), digits(&variant), hex::<6>())
}
