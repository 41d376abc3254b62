//! Traces for OpenTelemetry collectors: what each request spent its time on.
//!
//! The core marks where time goes with spans; without a collector nobody listens, and a span costs one look at a number.
//! Spans that cannot be sent wait in a bounded queue and are dropped beyond it. What is sent names endpoints and tables,
//! never what was in a request or a row. Requests to the collector honour `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` and
//! `SSL_CERT_FILE`.

use crate::settings::TracesOptions;
use http::{HeaderMap, HeaderName};
use narthex::{Secret, chain};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use std::sync::OnceLock;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

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
            .map_err(|error| format!("traces.endpoint = {endpoint:?}: {}", chain(&error)))?;
        let resource = Resource::builder()
            .with_service_name(options.service_name.clone())
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // Whoever asks does not decide what is traced: a request may only name the trace it belongs to.
            .with_sampler(Sampler::TraceIdRatioBased(options.sample_ratio))
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

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
