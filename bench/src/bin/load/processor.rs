//! How much processor time a process has used, as Linux counts it.

use std::{fs, time::Duration};

use crate::Failure;

/// The kernel's unit in `/proc`: `USER_HZ`, which is 100 on every architecture that matters.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads of that process.
pub(crate) fn processor_time(process: u32) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    ticks(&stat).map(|ticks| TICK * ticks).ok_or_else(|| format!("unexpected: {stat}").into())
}

fn ticks(stat: &str) -> Option<u32> {
    // The program's name is in parentheses and may contain anything, so count from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_read_whatever_the_program_is_called() {
        let stat = "7 (a (odd) name) S 1 7 7 0 -1 4194560 900 0 1 0 120 34 0 0 20 0 1 0 99 1000 200";
        assert_eq!(ticks(stat), Some(154));
    }
}
