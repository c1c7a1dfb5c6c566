//! A vendor's policy.

use jiff::SignedDuration;
use tradepost::ledger::Provider;
use tradepost::policy::{Policy, PolicyError, explained};

use super::{ASKED, play, recorded};

fn policy(document: &[u8]) {
    let Ok(text) = std::str::from_utf8(document) else { return };
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(PolicyError::Syntax(why)) => {
            assert!(!why.to_string().is_empty());
            return;
        }
        Err(PolicyError::Rules(faults)) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(!fault.path.is_empty() && !fault.what.is_empty(), "{fault:?}");
                assert!(fault.line.is_none_or(|line| (1..=text.lines().count()).contains(&line)), "{fault:?}");
            }
            return;
        }
    };
    for provider in [Provider::Aws, Provider::Azure] {
        assert!(policy.retention(provider) >= SignedDuration::from_hours(72), "nothing is deleted before three days");
        assert!(
            policy.listings.iter().all(|one| one.marketplace != provider)
                || policy.warning() < policy.retention(provider)
        );
        assert!(!policy.payment_method(provider).is_empty());
    }
    assert!(!policy.listings.is_empty() && !policy.link.roles.is_empty());
    for listing in &policy.listings {
        assert!(!listing.code.is_empty(), "a listing without a code");
        let found = policy.listing(listing.marketplace, &listing.code).unwrap();
        assert!(std::ptr::eq(found, listing), "one code, one listing");
    }
    assert!(policy.console.origins.iter().all(|origin| !origin.ends_with('/')));
    assert!(!explained(&policy).is_empty());
}

#[test]
fn policy_files() {
    play!(recorded("policies"), 3 * ASKED, policy);
}
