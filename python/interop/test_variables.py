"""A server and a backend that only their variables configure, with one secret and nothing else in common."""

import logging
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from conftest import Server, signed_up
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

SHARED = "a secret that both sides know, 32 characters"
PAGES = "http://localhost:3000"
FIELDS = """
[user.additional-fields.experienceLevel]
type = "string"
[user.additional-fields.professionalRole]
type = "string"
"""
log = logging.getLogger("auth")


@pytest.fixture
def service(start: Callable[..., Server]) -> Server:
    return start(
        FIELDS,
        by_variables=True,
        NODE_ENV="production",
        DATABASE_URL="sqlite://users.db",
        JWT_SECRET=SHARED,
        CORS_ORIGINS=f"{PAGES},https://www.example.com",
    )


@pytest.fixture
def backend(service: Server, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("BETTER_AUTH_JWT_SECRET", SHARED)
    monkeypatch.setenv("AUTH_SERVICE_URL", service.origin)
    from narthex import Auth

    app = FastAPI()

    @app.post("/ask")
    async def ask(user: Any = Depends(Auth.from_env().get_current_user)) -> dict[str, Any]:
        log.info("%s asked", user["id"], extra={"who": user["id"], "level": user.get("experienceLevel")})
        return {"id": user["id"], "role": user.get("professionalRole")}

    return TestClient(app)


def token(service: Server) -> str:
    return signed_up(service, experienceLevel="advanced", professionalRole="engineer").token()


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_the_variables_are_all_that_the_server_needs(service: Server) -> None:
    assert (service.folder / "users.db").exists()
    for origin in (PAGES, "https://www.example.com"):
        answer = httpx.get(f"{service.origin}/api/auth/get-session", headers={"origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-credentials"] == "true"
    answer = httpx.get(f"{service.origin}/api/auth/get-session", headers={"origin": "http://localhost:3001"})
    assert "access-control-allow-origin" not in answer.headers
    given = token(service)
    assert jwt.get_unverified_header(given)["alg"] == "HS256"
    assert jwt.decode(given, SHARED, algorithms=["HS256"])["iss"] == service.origin


def test_the_backend_lets_in_whom_the_server_has_signed_up_and_logs_who_it_was(
    service: Server, backend: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "auth")
    given = token(service)
    who = jwt.decode(given, SHARED, algorithms=["HS256"])["sub"]
    answer = backend.post("/ask", headers=bearer(given))
    assert (answer.status_code, answer.json()) == (200, {"id": who, "role": "engineer"})
    logged = [vars(record) for record in caplog.records if record.name == "auth"]
    assert [(entry["who"], entry["level"]) for entry in logged] == [(who, "advanced")]


def test_the_same_token_an_hour_after_its_end_is_refused(service: Server, backend: TestClient) -> None:
    claims = jwt.decode(token(service), SHARED, algorithms=["HS256"])
    for exp, status in [(claims["exp"], 200), (int(time.time()) - 3600, 401)]:
        again = jwt.encode({**claims, "exp": exp}, SHARED, algorithm="HS256")
        assert backend.post("/ask", headers=bearer(again)).status_code == status
