"""A database for this run only: SQLite, or in the PostgreSQL that TEST_DATABASE names (`postgres://…`)."""

import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from fastapi.testclient import TestClient

SERVER = os.environ.get("TEST_DATABASE", "")
NAME = f"fastapi_only_{secrets.token_hex(6)}"
FOLDER = tempfile.mkdtemp()
PASSWORD = "correct horse battery"
addresses = (f"198.51.100.{number}" for number in itertools.count(1))


def pytest_configure() -> None:
    # The application reads its settings when it is imported.
    if SERVER:
        execute(f'CREATE DATABASE "{NAME}"')
        os.environ["DATABASE_URL"] = urlsplit(SERVER)._replace(path=f"/{NAME}").geturl()
    else:
        os.environ["DATABASE_URL"] = f"sqlite://{FOLDER}/narthex.db"
    os.environ["BETTER_AUTH_SECRET"] = secrets.token_hex(32)
    os.environ["BETTER_AUTH_URL"] = "http://localhost:8000"
    os.environ["NARTHEX__METRICS__ENABLED"] = "false"


def pytest_unconfigure() -> None:
    from backend.auth.models import engine

    engine.dispose()
    if SERVER:
        execute(f'DROP DATABASE "{NAME}" WITH (FORCE)')
    shutil.rmtree(FOLDER)


def execute(statement: str) -> None:
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="session")
def app() -> Iterator[Any]:
    """The application, running."""
    from backend.auth.main import app

    with TestClient(app):
        yield app


Connect = Callable[[], TestClient]


@pytest.fixture
def connect(app: Any) -> Connect:
    """Makes clients, each with an address of its own, so that none is limited for what another did."""
    # Without `with`: the application runs already.
    return lambda: TestClient(app, base_url="http://localhost:8000", client=(next(addresses), 50000))


@pytest.fixture
def client(connect: Connect) -> TestClient:
    return connect()


class Somebody:
    """Signed up."""

    def __init__(self, client: TestClient, **fields: str) -> None:
        self.client = client
        self.email = f"{secrets.token_hex(6)}@example.com"
        answer = client.post("/auth/signup", json={"name": "Ada", "email": self.email, "password": PASSWORD, **fields})
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        self.id = self.tokens["user"]["id"]

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.bearer)

    def sign_in(self, password: str = PASSWORD, client: TestClient | None = None) -> Any:
        return (client or self.client).post("/auth/signin", json={"email": self.email, "password": password})


@pytest.fixture
def ada(connect: Connect) -> Somebody:
    return Somebody(connect(), software_background="Python", hardware_background="soldering")
