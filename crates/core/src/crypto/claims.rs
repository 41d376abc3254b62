//! When a token's claims hold: `exp` and `nbf`, in seconds.
//!
//! Upstream: jose's `jwt_claims_set.js`.

use crate::time::Time;

/// Whether claims with this end and this beginning hold at `now`, for clocks that are `tolerance` seconds apart.
///
/// A second has to have passed entirely before it counts, and at the second of its end a token has ended.
pub fn are_current(ends: Option<f64>, begins: Option<f64>, now: Time, tolerance: u32) -> bool {
    let (now, tolerance) = (seconds(now), f64::from(tolerance));
    begins.is_none_or(|begins| begins <= now + tolerance) && ends.is_none_or(|ends| ends > now - tolerance)
}

/// A time as claims have it: seconds that have passed entirely.
#[expect(clippy::cast_precision_loss, reason = "seconds are far below what a double counts exactly")]
fn seconds(time: Time) -> f64 {
    time.millis().div_euclid(1000) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1_700_000_000_999);

    #[test]
    fn a_token_holds_from_its_beginning_until_its_end() {
        for (ends, begins, tolerance, expected) in [
            (None, None, 0, true),
            (Some(1_700_000_001.0), None, 0, true),
            (Some(1_700_000_000.0), None, 0, false),
            (Some(1_700_000_000.5), None, 0, true),
            (Some(1_699_999_986.0), None, 15, true),
            (Some(1_699_999_985.0), None, 15, false),
            (None, Some(1_700_000_000.0), 0, true),
            (None, Some(1_700_000_001.0), 0, false),
            (None, Some(1_700_000_015.0), 15, true),
            (None, Some(1_700_000_016.0), 15, false),
            (Some(f64::NAN), None, 0, false),
            (Some(-1.0), None, 0, false),
        ] {
            assert_eq!(
                are_current(ends, begins, NOW, tolerance),
                expected,
                "{ends:?} {begins:?} {tolerance}"
            );
        }
    }
}
