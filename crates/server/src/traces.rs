//! Traces for OpenTelemetry collectors: what each request spent its time on.
//!
//! The core marks where time goes with spans; without a collector nobody listens, and a span costs one look at a number.
//! Spans that cannot be sent wait in a bounded queue and are dropped beyond it. What is sent names endpoints and tables,
//! never what was in a request or a row. Requests to the collector honour `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` and
//! `SSL_CERT_FILE`.

use crate::settings::TracesOptions;
use http::HeaderMap;
use narthex::{Secret, chain, store::without_password};
use opentelemetry::{
    Context, KeyValue, TraceId,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Link, SpanKind, TraceContextExt as _, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample},
};
use std::sync::OnceLock;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// The header by which a request names the trace it belongs to.
const TRACEPARENT: &str = "traceparent";

/// Whether anything is traced, so that requests know whether a trace that they belong to matters.
static IS_ON: OnceLock<()> = OnceLock::new();

/// What is traced is sent as long as this lives; what waits is sent when it ends.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts to send, where a collector is configured.
    pub(crate) fn open(options: &TracesOptions) -> Result<Option<Self>, String> {
        let Some(endpoint) = &options.endpoint else { return Ok(None) };
        let headers =
            options.headers.iter().map(|(name, value)| (name.clone(), Secret::expose(value).to_owned()));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_headers(headers.collect())
            .build()
            .map_err(|error| {
                format!("traces.endpoint = {:?}: {}", without_password(endpoint), chain(&error))
            })?;
        let resource = Resource::builder()
            .with_service_name(options.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Share(options.sample_ratio))
            .with_resource(resource)
            .build();
        let _ = IS_ON.set(());
        Ok(Some(Self(provider)))
    }

    /// Takes the spans out of what is logged and traced.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("narthex"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_traced))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "some traces could not be sent");
        }
    }
}

/// Whether this is one of the core's spans, which are for traces only.
pub(crate) fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.target() == narthex::SPANS
}

/// The trace that a request says it belongs to.
pub(crate) fn context(headers: &HeaderMap) -> Option<Context> {
    IS_ON.get()?;
    Some(TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers)))
}

/// Traces a part of the requests, and all of a request or nothing. Whoever asks does not decide which: a request names
/// the trace it belongs to, and may have chosen that name.
#[derive(Debug, Clone)]
struct Share(f64);

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|parent| parent.span().span_context().clone());
        let is_sampled = match parent.filter(|parent| parent.is_valid() && !parent.is_remote()) {
            Some(parent) => parent.is_sampled(),
            None => self.takes(chance()),
        };
        SamplingResult {
            decision: if is_sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
            attributes: Vec::new(),
            trace_state: TraceState::default(),
        }
    }
}

impl Share {
    fn takes(&self, chance: f64) -> bool {
        chance < self.0
    }
}

/// A number from 0 up to 1.
fn chance() -> f64 {
    // Where there is no chance nothing is traced.
    getrandom::u32().map_or(1.0, |number| f64::from(number) / 4_294_967_296.0)
}

/// What is read of a request: the trace it belongs to. The rest (`tracestate`) would be sent on as it came.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).filter(|_| key == TRACEPARENT).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    fn sampled(share: &Share, parent: Option<&Context>, trace: u128) -> bool {
        let result = share.should_sample(parent, TraceId::from(trace), "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn whoever_names_a_trace_decides_neither_that_it_is_traced_nor_that_it_is_not() {
        let remote = |trace: u128, flags| {
            let span =
                SpanContext::new(TraceId::from(trace), SpanId::from(7), flags, true, TraceState::default());
            Context::new().with_remote_span_context(span)
        };
        for trace in [1, u128::MAX] {
            for flags in [TraceFlags::SAMPLED, TraceFlags::NOT_SAMPLED] {
                let parent = remote(trace, flags);
                let taken = (0..2_000).filter(|_| sampled(&Share(0.5), Some(&parent), trace)).count();
                assert!((700..1_300).contains(&taken), "{trace} {flags:?}: {taken} of 2,000");
                assert!(sampled(&Share(1.0), Some(&parent), trace));
                assert!(!sampled(&Share(0.0), Some(&parent), trace));
            }
        }
    }

    #[test]
    fn what_belongs_to_a_request_is_traced_as_it_is() {
        for flags in [TraceFlags::SAMPLED, TraceFlags::NOT_SAMPLED] {
            let span =
                SpanContext::new(TraceId::from(1), SpanId::from(7), flags, false, TraceState::default());
            let parent = Context::new().with_remote_span_context(span);
            for share in [Share(0.0), Share(1.0)] {
                assert_eq!(sampled(&share, Some(&parent), 1), flags.is_sampled());
            }
        }
    }
}
