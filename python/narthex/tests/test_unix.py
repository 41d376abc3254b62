"""A Narthex behind a Unix socket: asked for keys and sessions as any other is."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forwarding import origin, says
from narthex import Authenticator, ConfigurationError, InvalidCredential
from narthex.fetch import FetchError, fetch
from support import ISSUER, Signer, answer, serving


def test_a_unix_socket_is_asked_whatever_host_and_proxy_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with origin(tmp_path / "narthex.sock") as narthex:
        narthex.handler = says(200, b'{"keys":[]}')
        answer = fetch("http://app.test/api/auth/jwks", {}, seconds=5, largest=100, unix=str(tmp_path / "narthex.sock"))
        assert (answer.body, narthex.last.target, narthex.last.header("host")) == (
            b'{"keys":[]}',
            "/api/auth/jwks",
            ["app.test"],
        )
    with pytest.raises(FetchError, match="FileNotFoundError"):
        fetch("http://app.test/", {}, seconds=5, largest=100, unix=str(tmp_path / "nowhere.sock"))


def test_keys_and_sessions_may_be_behind_a_unix_socket(tmp_path: Path, eddsa: Signer) -> None:
    token = eddsa.token({"sub": "user-1", "exp": time.time() + 60, "iss": ISSUER, "aud": ISSUER})
    with origin(tmp_path / "narthex.sock") as narthex:
        narthex.handler = says(200, json.dumps({"keys": [eddsa.jwk]}).encode())
        assert Authenticator(issuer=ISSUER, url=f"unix:{tmp_path}/narthex.sock").verify(token).id == "user-1"
        assert narthex.last.target == "/api/auth/jwks"
        # An issuer that is no URL says nothing about a host.
        named = Authenticator(issuer="us", audience=ISSUER, url=f"unix://{tmp_path}/narthex.sock", base_path="/a")
        with pytest.raises(InvalidCredential):
            named.verify(token)
        assert (narthex.last.target, narthex.last.header("host")) == ("/a/jwks", ["localhost"])
    with pytest.raises(ConfigurationError, match=r"must have a whole path, such as unix:/run/narthex\.sock"):
        Authenticator(issuer=ISSUER, url="unix:narthex.sock")


def test_the_narthex_of_this_process_is_asked_at_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = SimpleNamespace(socket=tmp_path / "narthex.sock", base_url="https://app.test", base_path="/api/auth")
    module = SimpleNamespace(current=lambda: running)
    monkeypatch.setitem(sys.modules, "narthex.server", cast(Any, module))
    with origin(tmp_path / "narthex.sock") as narthex, serving() as elsewhere:
        narthex.handler = says(200, b"ours")
        elsewhere.handler = answer(200, b"theirs")
        assert fetch("https://app.test/api/auth/jwks", {}, seconds=5, largest=100).body == b"ours"
        assert fetch(f"{elsewhere.url}/api/auth/jwks", {}, seconds=5, largest=100).body == b"theirs"
        # Without a socket it is asked as any other is.
        running.socket, running.base_url = None, elsewhere.url
        assert fetch(f"{elsewhere.url}/api/auth/jwks", {}, seconds=5, largest=100).body == b"theirs"
