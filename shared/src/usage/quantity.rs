//! Quantities of usage: whole millionths of a unit, so that both clouds' decimals fit and nothing is ever rounded.
//!
//! AWS takes whole units (and, in its newer model, decimals of six places), Microsoft decimals. Arithmetic is checked;
//! what would overflow is refused where it comes in.

use std::fmt;
use std::iter::Sum;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Millionths of a unit.
const SCALE: u64 = 1_000_000;

/// An amount of usage, 0 or more, exact to six decimal places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u64);

/// A text or number that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quantity is 0 or more with at most 6 decimal places, below 10 billion, without an exponent")]
pub struct NotAQuantity;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many millionths.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// So many whole units; none if that is more than can be counted.
    pub const fn units(units: u64) -> Option<Self> {
        match units.checked_mul(SCALE) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// In millionths.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Its whole units.
    pub const fn whole(self) -> u64 {
        self.0 / SCALE
    }

    /// Without its fraction.
    pub const fn floor(self) -> Self {
        Self(self.0 - self.0 % SCALE)
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, unless it cannot be counted.
    pub const fn plus(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The sum; the greatest quantity where it cannot be counted.
    pub const fn saturating_plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away; nothing if that is more.
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads `12`, `0.5`, `12.345678`: digits, perhaps a point and up to six more, at most ten before it. No sign, no
    /// exponent.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        let (units, places) = match text.split_once('.') {
            Some((units, places)) if !places.is_empty() => (units, places),
            Some(_) => return Err(NotAQuantity),
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        // Zeros behind the sixth place say nothing.
        let places = places.get(..6).filter(|_| places.bytes().skip(6).all(|byte| byte == b'0')).unwrap_or(places);
        if !(1..=10).contains(&units.len()) || places.len() > 6 || !digits(units) || !digits(places) {
            return Err(NotAQuantity);
        }
        let units: u64 = units.parse().map_err(|_| NotAQuantity)?;
        let places: u64 = format!("{places:0<6}").parse().map_err(|_| NotAQuantity)?;
        let micros = units.checked_mul(SCALE).and_then(|micros| micros.checked_add(places));
        micros.map(Self).ok_or(NotAQuantity)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, places) = (self.0 / SCALE, self.0 % SCALE);
        if places == 0 {
            return f.pad(&units.to_string());
        }
        f.pad(format!("{units}.{places:06}").trim_end_matches('0'))
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Self::saturating_plus)
    }
}

/// As its millionths: exact, and a number that the ledger can add to.
impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows_what_it_read() {
        for (text, micros, shown) in [
            ("0", 0, "0"),
            ("17", 17_000_000, "17"),
            ("017", 17_000_000, "17"),
            ("17.50", 17_500_000, "17.5"),
            ("0.000001", 1, "0.000001"),
            ("1.0000010000", 1_000_001, "1.000001"),
            ("9999999999.999999", 9_999_999_999_999_999, "9999999999.999999"),
        ] {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!((quantity.micros(), quantity.to_string().as_str()), (micros, shown));
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "-1",
            "+1",
            "1.",
            ".5",
            "1e3",
            "NaN",
            "inf",
            "0.0000001",
            "10000000000",
            "1,5",
            " 1",
            "1 ",
            "1.2.3",
            "٣",
        ] {
            assert_eq!(Quantity::parse(text), Err(NotAQuantity), "{text}");
        }
    }

    #[test]
    fn sums_are_checked() {
        let most = Quantity::from_micros(u64::MAX);
        assert_eq!(most.plus(Quantity::from_micros(1)), None);
        assert_eq!(Quantity::units(u64::MAX), None);
        assert_eq!(Quantity::from_micros(3).less(Quantity::from_micros(5)), Quantity::ZERO);
    }
}
