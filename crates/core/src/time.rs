//! A point in time as the wire and the tables have it: milliseconds, written `2026-11-20T21:09:19.128Z`.
//!
//! Reading and writing that text is on the session path six times a request, so it is done by hand: a general
//! date library spends more time there than SQLite does on the query.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

const DAY: i64 = 86_400_000;
/// 0000-01-01T00:00:00.000Z.
const FIRST: i64 = -719_528 * DAY;
/// 9999-12-31T23:59:59.999Z.
const LAST: i64 = 2_932_897 * DAY - 1;
/// Days from -0400-03-01, where the calendar's cycle of 400 years begins, to 1970-01-01.
const BEFORE_1970: i64 = 719_468 + 146_097;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads what JavaScript's `toISOString` writes, and the variants SQLite and PostgreSQL write: a space for
    /// the `T`, no or more fraction digits, a numeric offset.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// [`Self::parse`], of what need not be text.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Some((front, rest)) = bytes.split_first_chunk::<19>() else {
            let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else { return None };
            return midnight([y1, y2, y3, y4], [m1, m2], [d1, d2]).map(Self);
        };
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b' ', h1, h2, b':', n1, n2, b':', s1, s2] =
            *front
        else {
            return None;
        };
        let midnight = midnight([y1, y2, y3, y4], [m1, m2], [d1, d2])?;
        let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (fraction, offset) = match rest {
            [b'.', digits @ .., b'Z'] if digits.len() == 3 => (number(digits)?, 0),
            rest => {
                let (fraction, zone) = fraction(rest)?;
                (fraction, offset(zone)?)
            }
        };
        Some(Self(midnight + ((hour * 60 + minute) * 60 + second) * 1000 + fraction - offset))
    }

    /// Appends `2026-11-20T21:09:19.128Z`.
    pub fn write_to(self, out: &mut String) {
        // `ISO` bytes are ASCII by construction; the fallback cannot be reached.
        out.push_str(std::str::from_utf8(&self.iso()).unwrap_or_default());
    }

    /// What no four digits can write is the first or the last that they can.
    fn iso(self) -> [u8; 24] {
        let millis = self.0.clamp(FIRST, LAST) + BEFORE_1970 * DAY;
        let days = u32::try_from(millis / DAY).unwrap_or(0);
        let rest = u32::try_from(millis % DAY).unwrap_or(0);
        let (year, month, day) = civil_from_days(days);
        let ([y1, y2], [y3, y4]) = (two_digits(year / 100), two_digits(year % 100));
        let ([m1, m2], [d1, d2]) = (two_digits(month), two_digits(day));
        let ([h1, h2], [n1, n2]) = (two_digits(rest / 3_600_000), two_digits(rest / 60_000 % 60));
        let ([s1, s2], [_, f1], [f2, f3]) =
            (two_digits(rest / 1000 % 60), two_digits(rest % 1000 / 100), two_digits(rest % 100));
        [
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', f1,
            f2, f3, b'Z',
        ]
    }
}

/// Of a number below 100.
fn two_digits(value: u32) -> [u8; 2] {
    let value = u8::try_from(value).unwrap_or(0);
    [b'0' + value / 10, b'0' + value % 10]
}

impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// The time from one instant to a later one; none where it is not later.
impl Sub for Time {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.iso()).unwrap_or_default())
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.iso()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not an ISO 8601 time"))
    }
}

/// The milliseconds at which a day begins.
fn midnight(year: [u8; 4], month: [u8; 2], day: [u8; 2]) -> Option<i64> {
    let (year, month, day) = (number(&year)?, number(&month)?, number(&day)?);
    let is_day = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    is_day.then(|| days_from_civil(year, month, day) * DAY)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// Milliseconds after the seconds, and what follows them.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let length = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
    let (digits, zone) = digits.split_at_checked(length)?;
    let millis = number(digits.get(..length.min(3))?)?;
    match length {
        0 => None,
        1 => Some((millis * 100, zone)),
        2 => Some((millis * 10, zone)),
        _ => Some((millis, zone)),
    }
}

/// `Z`, nothing, `+02`, `+0200` or `+02:00`, in milliseconds east.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [_, _] => (number(digits)?, 0),
        [_, _, b':', minutes @ ..] | [_, _, minutes @ ..] if minutes.len() == 2 => {
            (number(digits.get(..2)?)?, number(minutes)?)
        }
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; years are counted from March so that the leap day
/// comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day, [`BEFORE_1970`] days before 1970-01-01 being day 0.
fn civil_from_days(days: u32) -> (u32, u32, u32) {
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    // Counted from March of the year -400.
    (era * 400 + year_of_era + u32::from(month <= 2) - 400, month, day)
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn writes_what_javascript_writes() {
        // `new Date(n).toISOString()`
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_208_959_128, "2026-11-20T21:09:19.128Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_162_035_200_001, "0000-02-29T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Time::from_millis(millis).to_string(), text);
            assert_eq!(Time::parse(text), Some(Time::from_millis(millis)));
        }
    }

    #[test]
    fn what_four_digits_cannot_write_is_the_nearest_that_they_can() {
        assert_eq!(Time::from_millis(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Time::from_millis(-62_167_219_200_001).to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Time::from_millis(253_402_300_800_000).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Time::from_millis(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn every_day_of_four_centuries_survives_a_round_trip() {
        for day in 0..146_097 {
            let time = Time::from_millis(day * super::DAY + 12_345);
            assert_eq!(Time::parse(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn reads_the_forms_databases_write() {
        let expected = Time::parse("2026-11-20T21:09:19.120Z");
        for text in [
            "2026-11-20 21:09:19.12",
            "2026-11-20 21:09:19.120999Z",
            "2026-11-20 23:09:19.12+02",
            "2026-11-20T16:39:19.120-0430",
            "2026-11-20T16:39:19.120-04:30",
        ] {
            assert_eq!(Time::parse(text), expected, "{text}");
        }
        assert_eq!(Time::parse("2026-11-20"), Time::parse("2026-11-20T00:00:00Z"));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "now",
            "2026-13-01",
            "2026-02-30",
            "2026-11-20T24:00:00Z",
            "2026-11-20T21:09:19.Z",
            "2026-1-2",
            "2026-11-20T",
            "2026-11-20T21:09",
            "2026-11-20T21:09:1",
            "2026-11-2OT21:09:19.128Z",
            "2026-11-20T21:09:19.12:Z",
            "2026-11-20T21:09:19.128Z ",
            "2026-11-20T21:60:19.128Z",
            "2026-11-20T21:09:60.128Z",
            "2026-00-20T21:09:19.128Z",
            "2026-11-00T21:09:19.128Z",
            "2026/11/20T21:09:19.128Z",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }
}
