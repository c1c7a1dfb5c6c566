//! How often one source may try in vain: landing tokens that are none, sign-ins that prove nothing. Only such tries count,
//! so that a whole office behind one address can go on as long as its people come with real purchases; and what is refused
//! for having tried too often does not count, so that the wait never grows.
//!
//! Each process counts for itself, in memory and at no cost: a store shared by all would cost a write a try, which is what
//! such a flood would be after. The limit for everything together is the gateway's (`template.yaml`, throttling by route).
//!
//! Who the source is only the provider's own envelope says ([`Source`]); a header that a browser can write is no source.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::retry::later;

/// So many tries in vain may come at once.
pub const TRIES: i32 = 20;
/// After so long one more may come.
pub const ONE_MORE_AFTER: SignedDuration = SignedDuration::from_secs(6);
/// So many sources are remembered; those that have waited longest are forgotten first.
const SOURCES: usize = 4096;

/// Where a request comes from: an IPv4 address, or the network of an IPv6 one (a subscriber has a whole /64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Self(IpAddr::V6(Ipv6Addr::from(network)))
            }
        }
    }

    /// Of an address as text; none if it is none.
    pub fn read(text: &str) -> Option<Self> {
        text.trim().parse().ok().map(Self::of)
    }
}

/// What each source has tried in vain: the instant at which it will be forgotten.
#[derive(Debug)]
pub struct Limits {
    on: bool,
    forgotten_at: Mutex<HashMap<Source, Timestamp>>,
}

impl Limits {
    /// Counting, or not: behind a proxy of the vendor's own everybody seems to come from one address.
    pub fn new(on: bool) -> Self {
        Self { on, forgotten_at: Mutex::default() }
    }

    /// How long the source has to wait before its next try, if it has to. Of an unknown source nothing is known.
    pub fn wait(&self, source: Option<Source>, now: Timestamp) -> Option<SignedDuration> {
        let forgotten_at = *self.table().get(&source?)?;
        let full = ONE_MORE_AFTER.checked_mul(TRIES - 1).unwrap_or(SignedDuration::MAX);
        let over = forgotten_at.duration_since(now).saturating_sub(full);
        over.is_positive().then_some(over)
    }

    /// Counts a try that came to nothing.
    pub fn failed(&self, source: Option<Source>, now: Timestamp) {
        let Some(source) = source.filter(|_| self.on) else { return };
        let mut table = self.table();
        if table.len() >= SOURCES && !table.contains_key(&source) {
            table.retain(|_, forgotten_at| *forgotten_at > now);
            if table.len() >= SOURCES
                && let Some(first) = table.iter().min_by_key(|(_, at)| **at).map(|(source, _)| *source)
            {
                table.remove(&first);
            }
        }
        let until = table.entry(source).or_insert(now);
        *until = later((*until).max(now), ONE_MORE_AFTER);
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<Source, Timestamp>> {
        self.forgotten_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    fn source(text: &str) -> Option<Source> {
        Some(Source::read(text).unwrap())
    }

    #[test]
    fn twenty_in_vain_and_then_one_each_six_seconds() {
        let limits = Limits::new(true);
        let office = source("203.0.113.7");
        for _ in 0..TRIES {
            assert_eq!(limits.wait(office, at(0)), None);
            limits.failed(office, at(0));
        }
        assert_eq!(limits.wait(office, at(0)), Some(ONE_MORE_AFTER));
        assert_eq!(limits.wait(office, at(5)), Some(SignedDuration::from_secs(1)));
        assert_eq!(limits.wait(office, at(6)), None, "nobody is kept out for good");
        limits.failed(office, at(6));
        assert_eq!(limits.wait(office, at(6)), Some(ONE_MORE_AFTER));
        assert_eq!(limits.wait(source("203.0.113.8"), at(0)), None, "another address");
        assert_eq!(limits.wait(office, at(600)), None);
        for _ in 0..TRIES - 1 {
            limits.failed(office, at(600));
            assert_eq!(limits.wait(office, at(600)), None, "all is forgotten after two minutes");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:203.0.113.7"), source("203.0.113.7"));
        assert_eq!(Source::read("203.0.113.7, 198.51.100.1"), None);
        assert_eq!(Source::read(""), None);
    }

    #[test]
    fn a_source_nobody_knows_is_not_limited_and_nothing_is_counted_if_it_is_off() {
        let (on, off) = (Limits::new(true), Limits::new(false));
        for _ in 0..=TRIES {
            on.failed(None, at(0));
            off.failed(source("203.0.113.7"), at(0));
        }
        assert_eq!(on.wait(None, at(0)), None);
        assert_eq!(off.wait(source("203.0.113.7"), at(0)), None);
    }

    #[test]
    fn a_flood_of_sources_does_not_fill_the_memory() {
        let limits = Limits::new(true);
        let many = (0..u32::try_from(SOURCES).unwrap() + 100).map(|number| Some(Source::of(IpAddr::V4(number.into()))));
        for source in many {
            limits.failed(source, at(0));
        }
        assert_eq!(limits.table().len(), SOURCES);
    }

    #[test]
    fn of_a_full_table_the_first_to_be_forgotten_goes_and_only_for_a_new_one() {
        let number = |number: u32| Some(Source::of(IpAddr::V4(number.into())));
        let limits = Limits::new(true);
        for known in 0..u32::try_from(SOURCES).unwrap() {
            limits.failed(number(known), at(i64::from(known.min(1))));
        }
        limits.failed(number(7), at(2));
        assert_eq!(limits.table().len(), SOURCES, "a known one needs no place");
        limits.failed(number(u32::MAX), at(2));
        assert!(!limits.table().contains_key(&number(0).unwrap()) && limits.table().contains_key(&number(1).unwrap()));
        // Six seconds after their only try all but two are forgotten.
        limits.failed(number(u32::MAX - 1), at(7));
        assert_eq!(limits.table().len(), 3);
    }
}
