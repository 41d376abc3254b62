"""Options out of the environment."""

from __future__ import annotations

import logging
import time

import pytest

from narthex import Authenticator, ConfigurationError, InvalidCredential
from support import SECRET, Server, Signer, answer, hs256


def soon() -> int:
    return int(time.time()) + 60


def test_a_secret_in_the_environment_means_hs256(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_JWT_SECRET", SECRET)
    bare = hs256({"sub": "user-1", "exp": soon()})
    assert Authenticator.from_env().verify(bare).id == "user-1"
    # The place of the service is no issuer.
    monkeypatch.setenv("AUTH_SERVICE_URL", "http://localhost:3001")
    assert Authenticator.from_env().verify(bare).id == "user-1"
    # With the public URL the issuer is known, so it is checked.
    monkeypatch.setenv("BETTER_AUTH_URL", "https://auth.test/custom/")
    with pytest.raises(InvalidCredential, match="issuer"):
        Authenticator.from_env().verify(bare)
    named = hs256({"sub": "user-1", "exp": soon(), "iss": "https://auth.test"})
    assert Authenticator.from_env().verify(named).id == "user-1"


@pytest.mark.parametrize("public", [True, False])
def test_without_a_secret_keys_are_fetched(
    monkeypatch: pytest.MonkeyPatch, server: Server, eddsa: Signer, public: bool
) -> None:
    server.handler = answer(200, {"keys": [eddsa.jwk]})
    monkeypatch.setenv("AUTH_SERVICE_URL", server.url)
    issuer = "https://auth.test" if public else server.url
    if public:
        monkeypatch.setenv("BETTER_AUTH_URL", "https://auth.test/api")
    token = eddsa.token({"sub": "user-1", "exp": soon(), "iss": issuer, "aud": issuer})
    assert Authenticator.from_env().verify(token).id == "user-1"
    assert server.asked[0][0] == "/api/auth/jwks"


def test_arguments_go_before_the_environment(monkeypatch: pytest.MonkeyPatch, eddsa: Signer) -> None:
    monkeypatch.setenv("BETTER_AUTH_JWT_SECRET", SECRET)
    monkeypatch.setenv("BETTER_AUTH_URL", "https://auth.test")
    auth = Authenticator.from_env(jwks={"keys": [eddsa.jwk]}, audience="api")
    token = eddsa.token({"sub": "user-1", "exp": soon(), "iss": "https://auth.test", "aud": "api"})
    assert auth.verify(token).id == "user-1"
    with pytest.raises(InvalidCredential):
        auth.verify(hs256({"sub": "user-1", "exp": soon(), "iss": "https://auth.test", "aud": "api"}, kid="ed"))


def test_an_empty_environment_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="BETTER_AUTH_JWT_SECRET"):
        Authenticator.from_env()
    assert Authenticator.from_env(secret=SECRET).verify(hs256({"sub": "a", "exp": soon()})).id == "a"


def test_trusted_origins_are_read_and_wildcards_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTER_AUTH_JWT_SECRET", SECRET)
    monkeypatch.setenv(
        "BETTER_AUTH_TRUSTED_ORIGINS",
        "https://app.test, https://*.other.test,,http://localhost:3000/,https://b.test:443",
    )
    assert Authenticator.from_env()._trusted == {"https://app.test", "http://localhost:3000", "https://b.test"}


def test_a_server_far_away_without_tls_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    for near in ("http://localhost:3001", "http://127.0.0.1", "http://auth:3001", "https://auth.example.com"):
        Authenticator(issuer=near)
    assert caplog.text == ""
    caplog.set_level(logging.WARNING)
    Authenticator(issuer="http://auth.example.com")
    assert "without TLS" in caplog.text
