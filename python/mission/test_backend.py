"""The plans' code for FastAPI, with tokens of the running service."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from jose import ExpiredSignatureError, jwt
from pydantic import BaseModel
from surroundings import run, settings


class QueryRequest(BaseModel):
    query: str


@pytest.fixture
def middleware() -> TestClient:
    """Guarded by the dependency that the plan writes itself, without Narthex's package."""
    router = APIRouter()
    run("src/middleware/auth.py", router=router, QueryRequest=QueryRequest)
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


@pytest.fixture(params=["client", "middleware"])
def query(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    guarded: TestClient = request.getfixturevalue(request.param)
    return lambda token: guarded.post(
        "/api/query", headers={"authorization": f"Bearer {token}"}, json={"query": "test"}
    )


def test_a_token_of_the_service_is_let_in(query: Callable[[str], Any], token: str) -> None:
    assert query(token).status_code == 200


def test_one_of_a_day_ago_or_of_another_secret_is_not(query: Callable[[str], Any], token: str) -> None:
    claims = jwt.get_unverified_claims(token)
    for secret, exp in [
        (settings.BETTER_AUTH_JWT_SECRET, time.time() - 86_400),
        ("another secret of at least 32 characters", claims["exp"]),
    ]:
        assert query(jwt.encode({**claims, "exp": int(exp)}, secret)).status_code == 401
    assert query(jwt.encode(claims, settings.BETTER_AUTH_JWT_SECRET)).status_code == 200


def test_what_the_plan_logs_of_a_query_says_who_and_how_experienced(
    client: TestClient, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "auth")
    assert client.post("/api/query", headers={"authorization": f"Bearer {token}"}).status_code == 200
    subject = jwt.get_unverified_claims(token)["sub"]
    logged = [vars(record) for record in caplog.records if record.name == "auth"]
    assert [(entry["user_id"], entry["experience_level"]) for entry in logged] == [(subject, "advanced")]
    assert subject in caplog.text


def test_the_plans_own_validation_takes_tokens_of_the_service(token: str) -> None:
    payload = run("src/utils/jwt_validator.py", token=token, jwt=jwt)["payload"]
    assert payload["experienceLevel"] == "advanced"
    expired = jwt.encode({**payload, "exp": int(time.time()) - 60}, settings.BETTER_AUTH_JWT_SECRET)
    with pytest.raises(ExpiredSignatureError):
        run("src/utils/jwt_validator.py", token=expired, jwt=jwt)
