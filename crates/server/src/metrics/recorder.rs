//! Keeps what is counted, and writes it as Prometheus reads it.
//!
//! A histogram is an atomic number for each of its buckets: recording allocates nothing, and nothing grows while nobody
//! asks. Why it is our own: `docs/decisions/0037-metrics.md`.

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Upper bounds of the buckets, in seconds: from a session check to what a client no longer waits for.
const BOUNDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Everything that is counted. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    described: RwLock<BTreeMap<String, (Kind, String)>>,
    series: RwLock<BTreeMap<Key, Series>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

#[derive(Clone)]
enum Series {
    Counter(Arc<AtomicU64>),
    /// The bits of a float.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

#[derive(Default)]
struct Buckets {
    /// One for each bound, and one for what is beyond them.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl HistogramFn for Buckets {
    fn record(&self, seconds: f64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(0), Relaxed);
    }
}

impl Registry {
    fn describe(&self, kind: Kind, name: &KeyName, help: &SharedString) {
        let mut described = self.0.described.write().unwrap_or_else(PoisonError::into_inner);
        described.insert(name.as_str().to_owned(), (kind, help.to_string()));
    }

    fn series(&self, key: &Key, new: impl FnOnce() -> Series) -> Series {
        let known = self.0.series.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        known.unwrap_or_else(|| {
            let mut series = self.0.series.write().unwrap_or_else(PoisonError::into_inner);
            series.entry(key.clone()).or_insert_with(new).clone()
        })
    }

    /// Everything, in the text format of Prometheus: each name that there may be, with what it means, and its values.
    pub(crate) fn render(&self) -> String {
        let series = self.0.series.read().unwrap_or_else(PoisonError::into_inner).clone();
        let described = self.0.described.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::with_capacity(64 << 10);
        for (name, (kind, help)) in &*described {
            let _ = writeln!(text, "# HELP {name} {}", escaped(help, false));
            let _ = writeln!(text, "# TYPE {name} {}", kind.name());
            for (key, value) in
                series.range(Key::from_name(name.clone())..).take_while(|(key, _)| key.name() == name)
            {
                write_series(&mut text, key, value);
            }
        }
        text
    }
}

fn write_series(text: &mut String, key: &Key, series: &Series) {
    let name = key.name();
    match series {
        Series::Counter(value) => {
            let _ = writeln!(text, "{name}{} {}", Labels(key.labels(), None), value.load(Relaxed));
        }
        Series::Gauge(bits) => {
            let _ =
                writeln!(text, "{name}{} {}", Labels(key.labels(), None), f64::from_bits(bits.load(Relaxed)));
        }
        Series::Histogram(buckets) => {
            let mut count = 0;
            for (position, bucket) in buckets.counts.iter().enumerate() {
                count += bucket.load(Relaxed);
                let bound = BOUNDS.get(position).map_or_else(|| "+Inf".to_owned(), f64::to_string);
                let labels = Labels(key.labels(), Some(&bound));
                let _ = writeln!(text, "{name}_bucket{labels} {count}");
            }
            let sum = Duration::from_nanos(buckets.nanoseconds.load(Relaxed)).as_secs_f64();
            let _ = writeln!(text, "{name}_sum{} {sum}", Labels(key.labels(), None));
            let _ = writeln!(text, "{name}_count{} {count}", Labels(key.labels(), None));
        }
    }
}

/// Labels as they stand behind a name, and the bound of a bucket.
struct Labels<'a, I>(I, Option<&'a str>);

impl<'a, I: Iterator<Item = &'a Label> + Clone> std::fmt::Display for Labels<'_, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let labels = self.0.clone().map(|label| (label.key(), label.value()));
        let mut separator = "{";
        for (name, value) in labels.chain(self.1.map(|bound| ("le", bound))) {
            write!(f, "{separator}{name}=\"{}\"", escaped(value, true))?;
            separator = ",";
        }
        if separator == "," { f.write_str("}") } else { Ok(()) }
    }
}

fn escaped(text: &str, is_quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_quoted { text.replace('"', "\\\"") } else { text }
}

impl Recorder for Registry {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(Kind::Counter, &name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(Kind::Gauge, &name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(Kind::Histogram, &name, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.series(key, || Series::Counter(Arc::default())) {
            Series::Counter(value) => Counter::from_arc(value),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.series(key, || Series::Gauge(Arc::default())) {
            Series::Gauge(bits) => Gauge::from_arc(bits),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.series(key, || Series::Histogram(Arc::default())) {
            Series::Histogram(buckets) => Histogram::from_arc(buckets),
            _ => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

    #[test]
    fn what_is_counted_is_written_as_prometheus_reads_it() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            describe_counter!("requests_total", "Requests,\nby \"path\" and \\");
            describe_gauge!("waiting", "Who waits");
            describe_gauge!("never", "Never set");
            counter!("requests_total", "path" => "/b").increment(2);
            counter!("requests_total", "path" => "/a\"\\\n", "status" => "200").increment(1);
            counter!("requests_total", "path" => "/b").increment(1);
            gauge!("waiting").set(3.0);
            gauge!("waiting").decrement(0.5);
            counter!("nobody_described").increment(1);
        });
        let expected = r#"# HELP never Never set
# TYPE never gauge
# HELP requests_total Requests,\nby "path" and \\
# TYPE requests_total counter
requests_total{path="/b"} 3
requests_total{path="/a\"\\\n",status="200"} 1
# HELP waiting Who waits
# TYPE waiting gauge
waiting 2.5
"#;
        assert_eq!(registry.render(), expected);
    }

    #[test]
    fn a_histogram_counts_what_is_at_most_its_bounds() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            describe_histogram!("seconds", "How long");
            let seconds = histogram!("seconds", "endpoint" => "/ok");
            for value in [0.0, 0.000_05, 0.000_051, 1.5, 10.0, 60.0] {
                seconds.record(value);
            }
        });
        let text = registry.render();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), 20, "{text}");
        for line in [
            r#"seconds_bucket{endpoint="/ok",le="0.00005"} 2"#,
            r#"seconds_bucket{endpoint="/ok",le="0.0001"} 3"#,
            r#"seconds_bucket{endpoint="/ok",le="1"} 3"#,
            r#"seconds_bucket{endpoint="/ok",le="2.5"} 4"#,
            r#"seconds_bucket{endpoint="/ok",le="10"} 5"#,
            r#"seconds_bucket{endpoint="/ok",le="+Inf"} 6"#,
            r#"seconds_sum{endpoint="/ok"} 71.500101"#,
            r#"seconds_count{endpoint="/ok"} 6"#,
        ] {
            assert!(lines.contains(&line), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_name_is_of_one_kind() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            describe_counter!("one", "One");
            counter!("one").increment(1);
            gauge!("one").set(7.0);
            histogram!("one").record(7.0);
        });
        assert_eq!(registry.render(), "# HELP one One\n# TYPE one counter\none 1\n");
    }
}
