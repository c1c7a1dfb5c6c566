//! The time the services take, seen from the wire: every service stands behind a relay that notes when a request's
//! first byte comes and when its answer's last byte has gone. Calls may overlap; the time they cover counts once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Debug)]
struct Exchange {
    call: String,
    began: Instant,
    ended: Instant,
}

/// What passed through all relays. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Meter {
    fn exchanges(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time between `from` and `to` during which at least one service was being asked.
    pub fn busy(&self, from: Instant, to: Instant) -> Duration {
        let covered = self.covered(from, to);
        covered.iter().map(|(began, ended)| ended.duration_since(*began)).sum()
    }

    /// How often between `from` and `to` it was waited for services: calls at the same time count once.
    pub fn round_trips(&self, from: Instant, to: Instant) -> usize {
        self.covered(from, to).len()
    }

    /// The spans with a service being asked, in order; none touches another.
    fn covered(&self, from: Instant, to: Instant) -> Vec<(Instant, Instant)> {
        let mut spans: Vec<(Instant, Instant)> = self
            .exchanges()
            .iter()
            .map(|exchange| (exchange.began.max(from), exchange.ended.min(to)))
            .filter(|(began, ended)| began < ended)
            .collect();
        spans.sort_unstable();
        let mut covered: Vec<(Instant, Instant)> = Vec::new();
        for (began, ended) in spans {
            match covered.last_mut() {
                Some((_, last)) if began <= *last => *last = ended.max(*last),
                _ => covered.push((began, ended)),
            }
        }
        covered
    }

    /// What was asked between `from` and `to`, in order: the operation of an AWS service, or a path.
    pub fn asked(&self, from: Instant, to: Instant) -> Vec<String> {
        let within = |exchange: &&Exchange| (from..=to).contains(&exchange.began);
        self.exchanges().iter().filter(within).map(|exchange| exchange.call.clone()).collect()
    }

    /// How many exchanges began between `from` and `to`.
    pub fn calls(&self, from: Instant, to: Instant) -> usize {
        self.exchanges().iter().filter(|exchange| (from..=to).contains(&exchange.began)).count()
    }

    /// A relay to `service`; gives its address.
    ///
    /// # Errors
    /// If no loopback port can be taken.
    pub async fn relay(&self, service: SocketAddr) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no loopback port")?;
        let address = listener.local_addr()?;
        let meter = self.clone();
        tokio::spawn(async move {
            while let Ok((function, _)) = listener.accept().await {
                let meter = meter.clone();
                tokio::spawn(async move {
                    // An end of the connection is not an error; the function sees it as it is.
                    let _ = meter.join(function, service).await;
                });
            }
        });
        Ok(address)
    }

    async fn join(&self, function: TcpStream, service: SocketAddr) -> std::io::Result<()> {
        let service = TcpStream::connect(service).await?;
        function.set_nodelay(true)?;
        service.set_nodelay(true)?;
        let ((from_function, to_function), (from_service, to_service)) = (function.into_split(), service.into_split());
        let open = Connection { meter: self.clone(), current: Arc::default() };
        tokio::select! {
            done = open.requests(from_function, to_service) => done,
            done = open.answers(from_service, to_function) => done,
        }
    }
}

/// One connection: HTTP/1.1 asks again only when the answer is there.
#[derive(Debug)]
struct Connection {
    meter: Meter,
    /// The exchange under way, and whether its answer has begun.
    current: Arc<Mutex<Option<(usize, bool)>>>,
}

impl Connection {
    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            self.asked(buffer.get(..read).unwrap_or_default());
            to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        }
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            to.write_all(buffer.get(..read).unwrap_or_default()).await?;
            self.answered();
        }
    }

    fn asked(&self, bytes: &[u8]) {
        let now = Instant::now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*current, Some((_, false))) {
            let mut exchanges = self.meter.exchanges();
            *current = Some((exchanges.len(), false));
            exchanges.push(Exchange { call: call_of(bytes), began: now, ended: now });
        }
    }

    fn answered(&self) {
        let now = Instant::now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, answering)) = current.as_mut() {
            *answering = true;
            if let Some(exchange) = self.meter.exchanges().get_mut(*number) {
                exchange.ended = now;
            }
        }
    }
}

/// What a request asks for, by its first bytes.
fn call_of(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let target = text.lines().find_map(|line| line.strip_prefix("x-amz-target: "));
    let path = || text.split_whitespace().nth(1).unwrap_or_default();
    let named = target.and_then(|target| target.rsplit('.').next()).or_else(|| path().rsplit('/').next());
    named.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_calls_count_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let meter = Meter::default();
        for (began, ended) in [(0, 4), (2, 6), (8, 9), (20, 30)] {
            meter.exchanges().push(Exchange { call: String::new(), began: at(began), ended: at(ended) });
        }
        assert_eq!(meter.busy(at(1), at(25)), Duration::from_millis(5 + 1 + 5));
        assert_eq!(meter.busy(at(10), at(20)), Duration::ZERO);
        assert_eq!(meter.calls(at(1), at(25)), 3);
        assert_eq!((meter.round_trips(at(1), at(25)), meter.round_trips(at(6), at(8))), (3, 0));
    }

    #[test]
    fn a_call_is_named_by_its_operation_or_its_path() {
        for (request, name) in [
            ("POST / HTTP/1.1\r\nx-amz-target: DynamoDB_20120810.GetItem\r\n\r\n{}", "GetItem"),
            ("POST /control-plane/get-organization HTTP/1.1\r\n\r\n", "get-organization"),
            ("", ""),
        ] {
            assert_eq!(call_of(request.as_bytes()), name);
        }
    }
}
