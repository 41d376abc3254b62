"""Narthex inside an application: uvicorn's workers, reloads and ends, with the real binary."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SECRET, binary
from narthex import Authenticator
from narthex.server import Server, ServerError

PASSWORD = "correct horse battery"
CONFIGURATION = f'secret = "{SECRET}"\n[plugins.jwt]\n[plugins.token-api]\n[password]\nbcrypt-cost = 4\n'
APPLICATION = """
from fastapi import FastAPI, Request
from narthex.fastapi import auth_router, lifespan

app = FastAPI(lifespan=lifespan())
app.include_router(auth_router(), prefix="/auth")

@app.get("/server")
async def server(request: Request):
    return {"pid": request.app.state.narthex.pid, "socket": str(request.app.state.narthex.socket)}
"""


class Application:
    def __init__(self, folder: Path, *flags: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", "application:app", "--port", str(port), *flags]
        environment = {"PATH": os.environ["PATH"], "NARTHEX_BIN": binary(), "PYTHONPATH": str(folder)}
        with (folder / "log").open("ab") as log:
            self.uvicorn = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        eventually(lambda: self.ask("/server")[0] == 200, lambda: (folder / "log").read_text())

    def ask(self, path: str, body: object = None, *, token: str = "", client: str = "") -> tuple[int, Any]:
        headers = {}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if client:
            # uvicorn believes proxies on this machine.
            headers["x-forwarded-for"] = client
        data = None
        if body is not None:
            headers["content-type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.origin + path, data, headers), timeout=30) as got:
                return got.status, json.load(got)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)
        except OSError:
            return 0, None

    def sign_up(self, email: str) -> str:
        status, answer = self.ask("/auth/signup", {"name": "Ada", "email": email, "password": PASSWORD})
        assert status == 200, answer
        return str(answer["access_token"])

    def servers(self) -> dict[int, str]:
        """Process and socket of the server of each worker that answers."""
        answers = [self.ask("/server")[1] for _ in range(20)]
        return {answer["pid"]: answer["socket"] for answer in answers if answer}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Application]]:
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "narthex.toml").write_text(CONFIGURATION)
    running: list[Application] = []

    def start(*flags: str, configuration: str = CONFIGURATION) -> Application:
        (tmp_path / "narthex.toml").write_text(configuration)
        running.append(Application(tmp_path, *flags))
        return running[-1]

    yield start
    for application in running:
        if application.uvicorn.poll() is None:
            application.uvicorn.terminate()
        application.uvicorn.wait(timeout=60)


def eventually(condition: Callable[[], object], otherwise: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_have_servers_of_their_own_and_count_together(run: Callable[..., Application]) -> None:
    limit = '[rate-limit]\nenabled = true\n[rate-limit.custom-rules]\n"/token-api/signin" = { window = 60, max = 5 }\n'
    application = run("--workers", "2", configuration=CONFIGURATION + limit)
    eventually(lambda: len(application.servers()) == 2)
    application.sign_up("ada@example.com")
    wrong = {"email": "ada@example.com", "password": "another password"}
    counts: dict[str, list[int]] = {}
    for client in ("203.0.113.7", "203.0.113.8"):
        counts[client] = [application.ask("/auth/signin", wrong, client=client)[0] for _ in range(12)]
    for client, statuses in counts.items():
        assert statuses == [401] * 5 + [429] * 7, client


def test_a_worker_that_is_killed_takes_its_server_along(run: Callable[..., Application]) -> None:
    application = run()
    (pid, path) = application.servers().popitem()
    assert is_alive(pid)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    application.uvicorn.send_signal(signal.SIGKILL)
    eventually(lambda: not is_alive(pid))
    assert not Path(path).exists()


def test_an_end_leaves_nothing(run: Callable[..., Application]) -> None:
    application = run("--workers", "2")
    eventually(lambda: len(application.servers()) == 2)
    servers = application.servers()
    application.uvicorn.terminate()
    assert application.uvicorn.wait(timeout=60) is not None
    eventually(lambda: not any(map(is_alive, servers)))
    assert not any(Path(path).parent.exists() for path in servers.values())


def test_ctrl_c_ends_the_application_first(run: Callable[..., Application], tmp_path: Path) -> None:
    application = run()
    (pid, _) = application.servers().popitem()
    # As a terminal does: to the whole group.
    os.killpg(application.uvicorn.pid, signal.SIGINT)
    application.uvicorn.wait(timeout=60)
    eventually(lambda: not is_alive(pid))
    log = (tmp_path / "log").read_text()
    assert "Application shutdown complete" in log
    assert "is started again" not in log, "the server was not interrupted behind the application's back"


def test_a_reload_replaces_the_server(run: Callable[..., Application], tmp_path: Path) -> None:
    application = run("--reload", "--reload-dir", str(tmp_path))
    token = application.sign_up("ada@example.com")
    (before, _) = application.servers().popitem()
    (tmp_path / "application.py").write_text(f"{APPLICATION}\n# Changed.\n")
    eventually(lambda: application.servers().keys() not in ({before}, set()))
    assert application.ask("/auth/me", token=token)[1]["email"] == "ada@example.com"
    eventually(lambda: not is_alive(before))


def test_a_server_that_ends_is_back_soon_and_requests_are_refused_until_then(run: Callable[..., Application]) -> None:
    application = run()
    token = application.sign_up("ada@example.com")
    (pid, path) = application.servers().popitem()
    os.kill(pid, signal.SIGKILL)
    statuses: list[int] = []

    def answered() -> bool:
        statuses.append(application.ask("/auth/me", token=token)[0])
        return statuses[-1] == 200 and application.servers() != {pid: path}

    eventually(answered)
    assert set(statuses) <= {200, 503}, statuses
    assert set(application.servers().values()) == {path}


def test_a_mistake_in_the_configuration_is_told_where_the_application_starts(tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION.replace("auth_router()", 'auth_router(url="unix:/nowhere")'))
    (tmp_path / "narthex.toml").write_text("[sesion]\n")
    command = [sys.executable, "-m", "uvicorn", "application:app", "--port", "0"]
    environment = {"PATH": os.environ["PATH"], "NARTHEX_BIN": binary(), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "narthex: narthex.toml:1: sesion: is no option; perhaps `session` is meant" in done.stderr


def test_scripts_and_wsgi_have_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(f'base-url = "https://app.example/accounts"\n{CONFIGURATION}')
    with Server("my.toml", binary=binary()) as server:
        assert (server.base_url, server.base_path) == ("https://app.example/accounts", "/accounts")
        assert server.is_ready()
        auth = Authenticator(issuer="https://app.example/accounts", url=server.url, base_path=server.base_path)
        auth.start()
        eventually(lambda: auth.status()["ready"])
        auth.close()
    with pytest.raises(ServerError, match="secret: none is set"):
        Server(environment={"NODE_ENV": "production"}, binary=binary()).start()
