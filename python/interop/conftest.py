"""A server of a test's own, and somebody who has signed up there."""

from __future__ import annotations

import dataclasses
import http.cookiejar
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SECRET = "a-secret-for-tests-that-is-long-enough-0123456789"
PASSWORD = "correct horse battery"


@dataclasses.dataclass
class Server:
    origin: str
    folder: Path
    process: subprocess.Popen[bytes]

    def browser(self) -> Browser:
        return Browser(self.origin)


class Browser:
    """Keeps cookies and says where it comes from."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def ask(self, path: str, body: Any = None, *, under: str = "/api/auth") -> Any:
        headers = {"origin": self.origin}
        data = None
        if body is not None:
            headers["content-type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.origin}{under}{path}", data, headers)
        with self.opener.open(request, timeout=10) as answer:
            return json.load(answer)

    def token(self) -> str:
        return self.ask("/token")["token"]

    def session_token(self) -> str:
        return self.ask("/get-session")["session"]["token"]

    @property
    def cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start_one(
        plugins: str = "[plugins.jwt]\n[plugins.bearer]\n", *, by_variables: bool = False, **environment: str
    ) -> Server:
        port = free_port()
        origin = f"http://localhost:{port}"
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        quick = f"[rate-limit]\nenabled = false\n[metrics]\nenabled = false\n{plugins}"
        if by_variables:
            environment = {"PORT": str(port), "BETTER_AUTH_URL": origin, **environment}
        else:
            quick = f'base-url = "{origin}"\nlisten = "127.0.0.1:{port}"\nsecret = "{SECRET}"\n{quick}'
        (folder / "narthex.toml").write_text(quick)
        process = subprocess.Popen(
            [binary(), "serve"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], **environment},
            stdout=(log := (folder / "log").open("wb")),
            stderr=log,
        )
        server = Server(origin, folder, process)
        servers.append(server)
        wait_for(server, "/ready")
        return server

    yield start_one
    stop(servers)


@pytest.fixture
def start_better_auth(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Better Auth on Node, with upstream's options."""
    servers: list[Server] = []

    def start_one(plugins: dict[str, Any], **options: Any) -> Server:
        port = free_port()
        arguments = [str(port), SECRET, json.dumps({"plugins": plugins, **options})]
        process = subprocess.Popen(
            ["node", Path(__file__).with_name("better_auth.mjs"), *arguments],
            env={"PATH": os.environ["PATH"], "NODE_MODULES_OF": os.environ["NODE_MODULES_OF"]},
            stdout=(log := (tmp_path / "log").open("wb")),
            stderr=log,
        )
        server = Server(f"http://localhost:{port}", tmp_path, process)
        servers.append(server)
        wait_for(server, "/api/auth/ok")
        return server

    yield start_one
    stop(servers)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(server: Server, path: str) -> None:
    deadline = time.monotonic() + 30
    while not answers(f"{server.origin}{path}"):
        assert server.process.poll() is None and time.monotonic() < deadline, (server.folder / "log").read_text()
        time.sleep(0.02)


def stop(servers: list[Server]) -> None:
    for server in servers:
        server.process.terminate()
        server.process.wait(timeout=20)


def binary() -> str:
    named = os.environ.get("NARTHEX_BIN")
    found = named or shutil.which("narthex")
    assert found, "set NARTHEX_BIN to the binary"
    return str(Path(found).resolve())


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start()


@pytest.fixture
def ada(server: Server) -> Browser:
    return signed_up(server)


def signed_up(server: Server, email: str = "ada@example.com", **fields: str) -> Browser:
    browser = server.browser()
    browser.ask("/sign-up/email", {"name": "Ada", "email": email, "password": PASSWORD, **fields})
    return browser
