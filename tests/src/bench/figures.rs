//! Figures as they are shown. Megabytes are millions of bytes.

use std::time::Duration;

/// The middle one; the upper of the two of an even number.
pub fn median<T: Copy + Ord + Default>(values: &[T]) -> T {
    at(values, 50)
}

/// The one that so many of a hundred do not exceed.
pub fn at<T: Copy + Ord + Default>(values: &[T], percent: usize) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let index = values.len().saturating_mul(percent) / 100;
    sorted.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Milliseconds with two places.
pub fn ms(duration: Duration) -> String {
    hundredths(duration.as_micros() / 10)
}

/// Megabytes with two places.
pub fn mb(bytes: u64) -> String {
    hundredths(u128::from(bytes) / 10_000)
}

/// One over the other, with two places.
pub fn ratio(one: u128, other: u128) -> String {
    hundredths(one.saturating_mul(100) / other.max(1))
}

/// So many of something in a time, for a second.
pub fn per_second(number: u64, time: Duration) -> String {
    grouped(u128::from(number).saturating_mul(1_000_000) / time.as_micros().max(1))
}

/// A number with its thousands apart.
pub fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn hundredths(number: u128) -> String {
    format!("{}.{:02}", number / 100, number % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_cut_and_not_rounded() {
        assert_eq!(ms(Duration::from_micros(5_678)), "5.67");
        assert_eq!(mb(4_009_517), "4.00");
        assert_eq!(ratio(3, 2), "1.50");
        assert_eq!(per_second(3000, Duration::from_secs(2)), "1,500");
        assert_eq!((grouped(7), grouped(1_234_567)), ("7".to_owned(), "1,234,567".to_owned()));
    }

    #[test]
    fn a_median_is_one_of_the_values() {
        assert_eq!(median(&[3, 1, 2]), 2);
        assert_eq!((at(&[4, 1, 3, 2], 95), at(&[5], 0), median::<u8>(&[])), (4, 5, 0));
    }
}
