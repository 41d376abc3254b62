"""For OpenTelemetry: who asked and how that ended, on the span of the request, and a counter.

    auth = Auth(issuer="https://auth.example.com", observer=narthex.opentelemetry.observer())

The span is whichever is current, of whatever instruments the framework; none is made here.
"""

from __future__ import annotations

try:
    from opentelemetry import metrics, trace
except ImportError as error:
    raise ImportError("narthex.opentelemetry needs its API: pip install 'narthex[opentelemetry]'") from error

from .telemetry import Event, Observer


def observer(*, user_ids: bool = True, meter_provider: metrics.MeterProvider | None = None) -> Observer:
    """An observer for `Auth`; without `user_ids` spans do not say who asked."""
    counter = metrics.get_meter("narthex", meter_provider=meter_provider).create_counter(
        "narthex.validations", unit="{validation}", description="Checks of credentials."
    )

    def observe(event: Event) -> None:
        # Paths and users are on the span: as labels of a counter they would be a series each.
        attributes = {
            "narthex.outcome": event.outcome,
            "narthex.reason": event.reason,
            "narthex.credential": event.kind,
        }
        counter.add(1, attributes)
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attributes(attributes)
            if user_ids and event.user_id is not None:
                span.set_attribute("enduser.id", event.user_id)

    return observe
