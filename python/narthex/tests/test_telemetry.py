"""Logs and counts."""

from __future__ import annotations

import contextlib
import logging

import pytest

from narthex import Authenticator, AuthError, Event, Request
from narthex.telemetry import MOST_SERIES, Metrics
from narthex.testing import FakeClock, Issuer

ISSUER = "https://auth.test"


def checked(auth: Authenticator, *requests: Request) -> None:
    for request in requests:
        with contextlib.suppress(AuthError):
            auth.authenticate(request)


def test_each_check_is_counted_by_outcome_endpoint_and_activity() -> None:
    clock = FakeClock()
    issuer = Issuer(ISSUER, clock=clock)
    auth = Authenticator(issuer=ISSUER, clock=clock)
    with issuer.serving(auth):
        good = issuer.bearer(experienceLevel="advanced", professionalRole="student")["Authorization"]
        late = issuer.bearer(expires_in=-1)["Authorization"]
        checked(
            auth,
            Request("POST", [good], [], endpoint="/api/query"),
            Request("POST", [good], [], endpoint="/api/query"),
            Request("GET", [late], [], endpoint="/me"),
            Request("GET", [], [], endpoint="/me"),
        )
    assert auth.metrics.render() == (
        "# HELP narthex_validations_total Checks of credentials.\n"
        "# TYPE narthex_validations_total counter\n"
        'narthex_validations_total{outcome="failure",reason="expired",kind="token"} 1\n'
        'narthex_validations_total{outcome="failure",reason="missing",kind=""} 1\n'
        'narthex_validations_total{outcome="success",reason="",kind="token"} 2\n'
        "# HELP narthex_requests_total Checked requests by endpoint.\n"
        "# TYPE narthex_requests_total counter\n"
        'narthex_requests_total{method="GET",endpoint="/me",outcome="failure"} 2\n'
        'narthex_requests_total{method="POST",endpoint="/api/query",outcome="success"} 2\n'
        "# HELP narthex_activity_total Accepted requests by fields of the user.\n"
        "# TYPE narthex_activity_total counter\n"
        'narthex_activity_total{experienceLevel="advanced",professionalRole="student",role=""} 2\n'
    )


def test_series_are_bounded_and_labels_escaped() -> None:
    metrics = Metrics(["level"])
    for number in range(MOST_SERIES + 50):
        metrics.record(Event("success", "", "token", "GET", "/", "u", {"level": f"{number}"}))
    assert 'narthex_activity_total{level="other"} 50' in metrics.render()
    metrics = Metrics(["level"])
    metrics.record(Event("success", "", "token", "GET", 'a"b\\c\nd', "u"))
    assert 'endpoint="a\\"b\\\\c\\nd"' in metrics.render()
    assert metrics.activity({"level": "x" * 1000}) == {"level": "x" * 64}
    assert metrics.activity({"level": ["x"]}) == {}


def test_refusals_are_logged_with_their_reason_and_without_the_credential(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "narthex")
    clock = FakeClock()
    issuer = Issuer(ISSUER, clock=clock)
    auth = Authenticator(issuer=ISSUER, clock=clock)
    with issuer.serving(auth):
        token, late, session = issuer.token("user-1", role="admin"), issuer.token(expires_in=-1), issuer.session()
        requests = [Request("GET", [f"Bearer {one}"], [], endpoint="/me\n[forged]") for one in (token, late, session)]
        checked(auth, *requests, Request("GET", [], [], endpoint="/me"))
    success, failure, _, missing = caplog.records
    assert (success.levelname, success.user_id, success.auth_activity) == (  # type: ignore[attr-defined]
        "DEBUG",
        "user-1",
        {"role": "admin"},
    )
    assert (failure.levelname, failure.auth_reason, failure.auth_kind) == (  # type: ignore[attr-defined]
        "INFO",
        "expired",
        "token",
    )
    assert failure.getMessage() == "refused GET '/me\\n[forged]': expired"
    # Most requests without a credential are nobody's attack.
    assert missing.levelname == "DEBUG"
    for secret in (token, late, session):
        assert secret not in caplog.text


def test_an_observer_that_fails_does_not_fail_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def observer(_event: Event) -> None:
        raise RuntimeError("the counter is broken")

    clock = FakeClock()
    issuer = Issuer(ISSUER, clock=clock)
    auth = Authenticator(issuer=ISSUER, clock=clock, observer=observer)
    with issuer.serving(auth):
        assert auth.authenticate(Request("GET", [issuer.bearer()["Authorization"]], [])).id == "user-1"
    assert "the observer failed" in caplog.text
