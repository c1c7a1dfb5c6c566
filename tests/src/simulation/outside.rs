//! Everything around the product, in this process and on one thread: embedded DynamoDB, both simulated marketplaces, the
//! vendor with its control plane, the queues, and a clock that only the simulation moves. The product itself is the real
//! one, from the functions' handlers to the SDK's clients; what it is given is carried over wires that fail as the seed
//! decides.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tradepost::person::Person;
use tradepost_local::clock::Clock;
use tradepost_local::connector::{Call, Fault, Wire};
use tradepost_local::stack::{Inside, Stack, Surroundings};

use super::breakage::Breakage;
use super::process::killed_by_this_call;
use crate::dice::Dice;
use crate::world::EMQX;

/// When every history begins: not on the hour, and long enough before a month's end.
const BEGINNING: &str = "2026-11-03T09:17:00Z";

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// Ids of links and landings, by the seed. One thread plays one history at a time.
fn random() -> [u8; 32] {
    let mut dice = Dice(RANDOM.get());
    let mut bytes = [0; 32];
    for eight in bytes.chunks_mut(8) {
        eight.copy_from_slice(&dice.draw().to_le_bytes());
    }
    RANDOM.set(dice.0);
    bytes
}

/// How badly a wire is doing: one call in so many fails; none fails at 0.
#[derive(Debug, Default)]
pub struct Weather {
    ledger: AtomicU64,
    marketplace: AtomicU64,
    vendor: AtomicU64,
    injected: AtomicU64,
}

/// A wire whose weather can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// To DynamoDB.
    Ledger,
    /// To the services of both marketplaces.
    Marketplaces,
    /// To the vendor's control plane.
    Vendor,
}

impl Weather {
    fn of(&self, line: Line) -> &AtomicU64 {
        match line {
            Line::Ledger => &self.ledger,
            Line::Marketplaces => &self.marketplace,
            Line::Vendor => &self.vendor,
        }
    }

    /// From now on one call in `once_in` fails; with 0 none does.
    pub fn set(&self, line: Line, once_in: u64) {
        self.of(line).store(once_in, Ordering::Relaxed);
    }

    /// Faults that were injected so far.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    fn strikes(&self, line: Line, dice: &mut Dice) -> bool {
        let once_in = self.of(line).load(Ordering::Relaxed);
        let strikes = once_in > 0 && dice.once_in(once_in);
        if strikes {
            self.injected.fetch_add(1, Ordering::Relaxed);
        }
        strikes
    }
}

/// The product and everything around it.
pub struct Outside {
    /// The product, and the parties.
    pub stack: Stack,
    /// How the wires are doing.
    pub weather: Arc<Weather>,
    inside: Inside,
}

/// The rules all histories are played by: EMQX' own, but that a member may not link, and that hours without usage are not
/// reported: a quiet marketplace would not be quiet.
fn policy() -> String {
    EMQX.replace("zeros = true", "")
        .replace(r#"roles = ["owner", "admin", "billing", "member"]"#, r#"roles = ["owner", "admin", "billing"]"#)
}

impl Outside {
    /// A beginning.
    ///
    /// # Errors
    /// If the stack cannot be put together.
    pub async fn new(seed: u64, breakage: Option<Breakage>) -> anyhow::Result<Self> {
        RANDOM.set(seed ^ 0x5eed);
        let inside = Inside::default();
        let surroundings =
            Surroundings { clock: Clock::still(BEGINNING.parse()?), outbound: inside.outbound(), random, mail: false };
        let stack = Stack::within(&policy(), surroundings).await?;
        inside.open(&stack);
        let weather = Arc::new(Weather::default());
        let lines =
            [(Line::Ledger, stack.dynamo.wire()), (Line::Marketplaces, &stack.aws_wire), (Line::Vendor, inside.wire())];
        for (number, (line, wire)) in (1..).zip(lines) {
            let dice = Dice(seed.wrapping_mul(31).wrapping_add(number));
            wire_up(wire, line, Arc::clone(&weather), dice, breakage);
        }
        if let Some(breakage) = breakage {
            breakage.into_the_ledger(stack.dynamo.wire());
            breakage.into_the_vendor(inside.wire());
        }
        Ok(Self { stack, weather, inside })
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.stack.clock.now()
    }

    /// Time passes, and nobody is at work.
    pub fn pass(&self, by: SignedDuration) {
        self.stack.clock.push(by);
    }

    /// All is well from now on.
    pub fn heal(&self) {
        for line in [Line::Ledger, Line::Marketplaces, Line::Vendor] {
            self.weather.set(line, 0);
        }
    }

    /// A call to a party's test bench, `POST /sim/…`; none if the party refuses.
    ///
    /// # Errors
    /// If the call itself is wrong.
    pub async fn bench(&self, host: &str, call: &str, body: &Value) -> anyhow::Result<Option<Value>> {
        let request = Request::post(format!("http://{host}/sim/{call}"))
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_string()))?;
        let answer = self.inside.ask(request).await;
        let text = String::from_utf8_lossy(answer.body());
        ensure!(answer.status() != StatusCode::BAD_REQUEST, "{host} {call} {body}: {text}");
        Ok(answer.status().is_success().then(|| serde_json::from_slice(answer.body()).unwrap_or_default()))
    }

    /// What a party's test bench shows.
    ///
    /// # Errors
    /// If there is nothing to show.
    pub async fn shown(&self, host: &str, path: &str) -> anyhow::Result<Value> {
        let answer = self.inside.ask(Request::get(format!("http://{host}/sim/{path}")).body(Bytes::new())?).await;
        ensure!(answer.status().is_success(), "{host} {path}: {}", answer.status());
        Ok(serde_json::from_slice(answer.body())?)
    }

    /// The landing as the browser makes it; its status.
    ///
    /// # Errors
    /// If the request cannot be written.
    pub async fn post_landing_form(&self, token: &str) -> anyhow::Result<StatusCode> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("x-amzn-marketplace-token", token)
            .finish();
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/aws/landing", "rawQueryString": "",
            "headers": {"content-type": "application/x-www-form-urlencoded", "host": "tradepost.localhost"},
            "requestContext": {"http": {"method": "POST", "path": "/aws/landing"}, "stage": "$default"},
            "body": form, "isBase64Encoded": false,
        });
        let request = lambda_http::request::from_str(&event.to_string())?;
        Ok(self.stack.landing.handle(request, self.now()).await.status())
    }

    /// The same at Microsoft's.
    ///
    /// # Errors
    /// If the request cannot be written.
    pub async fn open_landing_page(&self, token: &str) -> anyhow::Result<StatusCode> {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
        let request = Request::get(format!("/api/azure/landing?{query}"))
            .header("host", "tradepost-azure.localhost")
            .body(Bytes::new())?;
        Ok(self.stack.azure.handle(request).await.status())
    }

    /// A person of the vendor's.
    pub fn person(&self, name: &str) -> Person {
        Person {
            issuer: self.stack.addresses().vendor,
            subject: format!("person-{name}"),
            email: Some(format!("{name}@demo.example")),
            name: None,
        }
    }

    /// A page of one of the parties.
    ///
    /// # Errors
    /// If the address does not read.
    pub async fn page(&self, url: &str) -> anyhow::Result<Response<Bytes>> {
        Ok(self.inside.ask(Request::get(url).body(Bytes::new()).context("an address")?).await)
    }
}

/// Lets calls of a line fail by its weather, and handlers die at them.
fn wire_up(wire: &Wire, line: Line, weather: Arc<Weather>, dice: Dice, breakage: Option<Breakage>) {
    let mut turns = Dice(dice.0 ^ 7);
    wire.take_turns(move || u32::from(turns.once_in(2)));
    let mut dice = dice;
    wire.inject(move |call| {
        if let Some(done) = killed_by_this_call() {
            return Some(Fault::Silence { done });
        }
        if let Some(unkept) = breakage.and_then(|breakage| breakage.unkept(call)) {
            return Some(unkept);
        }
        // Microsoft's services are on the same wire as the vendor.
        let line = if call.operation.contains("entra.localhost") { Line::Marketplaces } else { line };
        if !weather.strikes(line, &mut dice) {
            return None;
        }
        Some(fault(line, call, &mut dice))
    });
}

fn fault(line: Line, call: &Call, dice: &mut Dice) -> Fault {
    match (line, dice.below(4)) {
        (_, 0) => Fault::LostAnswer,
        (_, 1) => Fault::Unreachable,
        (Line::Ledger, 2) if call.operation.ends_with("TransactWriteItems") => Fault::TransactionConflict,
        (Line::Ledger, _) => Fault::Answer(400, "ThrottlingException"),
        (Line::Marketplaces | Line::Vendor, 2) => Fault::Answer(503, "ServiceUnavailable"),
        (Line::Marketplaces | Line::Vendor, _) => Fault::Answer(429, "ThrottlingException"),
    }
}
