//! What the kernel knows of this process, by the names that every Prometheus client has for it.

use std::fmt::Write as _;

/// Name, kind, meaning.
const KNOWN: [(&str, &str, &str); 4] = [
    ("process_cpu_seconds_total", "counter", "Seconds of processor time"),
    ("process_max_fds", "gauge", "Files and connections that may be open"),
    ("process_open_fds", "gauge", "Files and connections that are open"),
    ("process_resident_memory_bytes", "gauge", "Memory in use, in bytes"),
];

/// Adds it to `text`, as Prometheus reads it. What the system does not tell is left out.
pub(super) fn write(text: &mut String) {
    for ((name, kind, help), value) in KNOWN.into_iter().zip(values()) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        if let Some(value) = value {
            let _ = writeln!(text, "{name} {value}");
        }
    }
}

#[cfg(target_os = "linux")]
fn values() -> [Option<f64>; 4] {
    use rustix::{
        param::{clock_ticks_per_second, page_size},
        process::{Resource, getrlimit},
    };
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process comes before, and may have anything in it.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |position: usize| fields.get(position)?.parse::<u64>().ok().map(float);
    let ticks = float(clock_ticks_per_second());
    let cpu = field(11).zip(field(12)).map(|(user, system)| (user + system) / ticks);
    let memory = field(21).map(|pages| pages * float(page_size() as u64));
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|files| float(files.count() as u64));
    let most = getrlimit(Resource::Nofile).current.map(float);
    [cpu, most, open, memory]
}

#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "nothing here is as large as what a float does not hold")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(not(target_os = "linux"))]
fn values() -> [Option<f64>; 4] {
    [None; 4]
}
