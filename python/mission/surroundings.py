"""What code taken out of plans expects to find around it; `cargo xtask mission` says where it is.

A plugin of pytest: the code's own tests ask for `client`, and use `settings` without importing it.
"""

from __future__ import annotations

import builtins
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from dotenv import dotenv_values, load_dotenv
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient

from narthex import Auth

MISSION = Path(os.environ["MISSION"])
BACKEND = MISSION / "backend"
SERVICE = {name: value or "" for name, value in dotenv_values(os.environ["SERVICE_ENV"]).items()}
# Where the service is from here. What users know it by is BETTER_AUTH_URL.
HERE = f"http://localhost:{SERVICE['PORT']}"
ORIGINS = SERVICE["CORS_ORIGINS"].split(",")
PASSWORD = "correct horse battery"

load_dotenv(BACKEND / ".env", override=True)
settings = SimpleNamespace(**{name: value for name, value in os.environ.items() if name.startswith("BETTER_AUTH_")})
builtins.settings = settings  # type: ignore[attr-defined]


def run(file: str, **names: Any) -> dict[str, Any]:
    """Runs one of the plans' files with these names around it; what it defines."""
    path = BACKEND / file
    namespace = {"settings": settings, **names}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    return namespace


def backend(get_current_user: Callable[..., Any]) -> TestClient:
    """The plans' endpoint, for whom this dependency lets in."""
    router = APIRouter()
    run("src/routers/query.py", router=router, Depends=Depends, get_current_user=get_current_user)
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


@pytest.fixture
def client() -> TestClient:
    return backend(Auth.from_env().get_current_user)


@dataclasses.dataclass
class Browser:
    """One person's, behind a proxy that ends TLS. Each has an address, so that nobody is limited for another."""

    http: httpx.Client

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        return self.http.request(method, path, json=body)

    def sign_up(self, **fields: str) -> httpx.Response:
        return self.ask("POST", "/api/auth/sign-up/email", {"password": PASSWORD, "name": "Ada", **fields})


_addresses = iter(range(1, 255))


@pytest.fixture
def browser() -> Browser:
    public = httpx.URL(SERVICE["BETTER_AUTH_URL"])
    headers = {
        "host": public.netloc.decode(),
        "origin": ORIGINS[0],
        "x-forwarded-for": f"192.0.2.{next(_addresses)}",
        "x-forwarded-proto": public.scheme,
    }
    return Browser(httpx.Client(base_url=HERE, headers=headers))


@pytest.fixture
def token(browser: Browser) -> str:
    """Of somebody who has just signed up."""
    email = f"{os.urandom(8).hex()}@example.com"
    answer = browser.sign_up(email=email, experienceLevel="advanced", professionalRole="engineer")
    assert answer.status_code == 200, answer.text
    return token_of(browser, answer)


def token_of(browser: Browser, signed_in: httpx.Response) -> str:
    # httpx returns no `Secure` cookie over http; the proxy's other side is https.
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in signed_in.cookies.jar)
    answer = browser.http.get("/api/auth/token", headers={"cookie": cookies})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])
