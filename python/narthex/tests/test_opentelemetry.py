"""Spans and a counter, with OpenTelemetry's own SDK behind its API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from narthex import Authenticator, AuthError, Request, Requirement
from narthex.opentelemetry import observer
from narthex.testing import Issuer
from support import ISSUER


class Telemetry:
    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer("test")

    def spans(self) -> list[dict[str, Any]]:
        return [dict(span.attributes or {}) for span in self.exporter.get_finished_spans()]

    def counts(self) -> dict[tuple[Any, ...], int]:
        data = self.reader.get_metrics_data()
        assert data is not None
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        assert metric.name == "narthex.validations"
        found: Any = metric.data.data_points
        for point in found:
            assert point.attributes.keys() == {"narthex.outcome", "narthex.reason", "narthex.credential"}
        return {tuple(point.attributes.values()): point.value for point in found}


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    yield made
    made.meters.shutdown()
    made.tracers.shutdown()


def test_the_span_of_a_request_says_who_asked_and_how_that_ended(telemetry: Telemetry) -> None:
    issuer = Issuer(ISSUER)
    auth = Authenticator(issuer=ISSUER, observer=observer(meter_provider=telemetry.meters))
    with issuer.serving(auth):
        good = Request("GET", [issuer.bearer()["Authorization"]], [], endpoint="/me")
        with telemetry.tracer.start_as_current_span("accepted"):
            asyncio.run(auth.authenticate_async(good))
        with telemetry.tracer.start_as_current_span("forbidden"):
            user = auth.authenticate(good)
            with pytest.raises(AuthError):
                auth.enforce(user, Requirement.of(role="admin"), good)
        with telemetry.tracer.start_as_current_span("refused"), pytest.raises(AuthError):
            auth.authenticate(Request("GET", ["Bearer a.b.c"], [], endpoint="/me"))
        # Without a span there is nothing to say it on.
        with pytest.raises(AuthError):
            auth.authenticate(Request("GET", [], [], endpoint="/me"))
    accepted, forbidden, refused = telemetry.spans()
    assert accepted == {
        "narthex.outcome": "success",
        "narthex.reason": "",
        "narthex.credential": "token",
        "enduser.id": "user-1",
    }
    assert (forbidden["narthex.outcome"], forbidden["narthex.reason"]) == ("failure", "role")
    assert forbidden["enduser.id"] == "user-1"
    assert refused == {"narthex.outcome": "failure", "narthex.reason": "malformed", "narthex.credential": "token"}
    assert telemetry.counts() == {
        ("success", "", "token"): 2,
        ("failure", "role", "token"): 1,
        ("failure", "malformed", "token"): 1,
        ("failure", "missing", ""): 1,
    }


def test_users_can_be_left_out(telemetry: Telemetry) -> None:
    issuer = Issuer(ISSUER)
    auth = Authenticator(issuer=ISSUER, observer=observer(user_ids=False, meter_provider=telemetry.meters))
    with issuer.serving(auth), telemetry.tracer.start_as_current_span("accepted"):
        auth.authenticate(Request("GET", [issuer.bearer()["Authorization"]], [], endpoint="/me"))
    (span,) = telemetry.spans()
    assert span["narthex.outcome"] == "success"
    assert "user-1" not in str(span)
