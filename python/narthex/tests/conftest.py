from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from support import Server, Signer, serving

pytest_plugins = ["pytester"]

# The same examples each time, and none kept.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BETTER_AUTH_JWT_SECRET", "BETTER_AUTH_URL", "AUTH_SERVICE_URL", "BETTER_AUTH_TRUSTED_ORIGINS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def eddsa() -> Signer:
    return Signer("EdDSA", "ed")


@pytest.fixture(scope="session")
def es256() -> Signer:
    return Signer("ES256", "ec")


@pytest.fixture(scope="session")
def rs256() -> Signer:
    return Signer("RS256", "rsa")


@pytest.fixture(scope="session")
def es512() -> Signer:
    return Signer("ES512", "ec-521")


@pytest.fixture(scope="session")
def ps256() -> Signer:
    return Signer("PS256", "rsa-pss")


@pytest.fixture(scope="session")
def signers(eddsa: Signer, es256: Signer, es512: Signer, rs256: Signer, ps256: Signer) -> list[Signer]:
    """One of each algorithm of the server."""
    return [eddsa, es256, es512, rs256, ps256]
