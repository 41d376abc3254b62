"""A server as a child process. The binary is played by a small program here; `python/interop` has the real one."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from narthex import ConfigurationError
from narthex import server as server_module
from narthex.fastapi import lifespan
from narthex.server import Server, ServerError, current, find_binary

# Says what `narthex config show` and `narthex serve --for-parent` say. `BEHAVIOUR` decides how it goes on.
PROGRAM = """
import json, os, signal, socket, sys, threading, time

def arguments(name):
    return [sys.argv[at + 1] for at, word in enumerate(sys.argv[:-1]) if word == name]

behaviour = os.environ.get("BEHAVIOUR", "")
with open(os.environ["NOTES"], "a") as notes:
    told = {name: os.environ[name] for name in os.environ if "NARTHEX__" in name or "BETTER_AUTH" in name}
    told["notified"] = os.environ.get("NOTIFY_SOCKET", "")
    notes.write(json.dumps({"arguments": sys.argv[1:], "environment": told, "pid": os.getpid()}) + chr(10))

if sys.argv[1] == "config":
    if behaviour == "mistake":
        sys.exit("narthex: narthex.toml:1: sesion: is no option; perhaps `session` is meant")
    for name, key in {"BETTER_AUTH_URL": "base-url", "NARTHEX__BASE_URL": "base-url"}.items():
        if name in os.environ:
            print(f"# {name}: {key}")
    print(os.environ.get("SHOWN", '[database]\\nurl = "sqlite://narthex.db"\\nmigrate = "auto"'))
    print("[rate-limit]\\nmax = 100\\n[secondary-storage]")
    sys.exit()

if behaviour == "dies":
    print('{"level":"INFO","fields":{"message":"about to fail","attempt":1}}', file=sys.stderr)
    sys.exit("narthex: cannot open the database")
if behaviour == "silent":
    time.sleep(60)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

path = arguments("--listen")[0].removeprefix("unix:")
if os.path.exists(path):
    os.remove(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
status = b"503 Service Unavailable" if behaviour == "unready" else b"200 OK"

def serve():
    while True:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 " + status + b"\\r\\ncontent-length: 0\\r\\n\\r\\n")
        connection.close()

threading.Thread(target=serve, daemon=True).start()
url = os.environ.get("BETTER_AUTH_URL", "http://localhost")
print(json.dumps({"version": "0.1.0", "baseURL": url, "basePath": "/api/auth", "listen": path}), flush=True)
print('{"level":"WARN","fields":{"message":"look","peer":"unix"}}', file=sys.stderr, flush=True)
while sys.stdin.buffer.read(1):
    pass
if behaviour != "stubborn":
    os._exit(0)
time.sleep(60)
"""


class Program:
    def __init__(self, folder: Path):
        self.notes = folder / "notes"
        self.path = folder / "narthex"
        self.path.write_text(f"#!{sys.executable}\n{PROGRAM}")
        self.path.chmod(0o700)

    def server(self, behaviour: str = "", shown: str = "", **options: Any) -> Server:
        environment = {"BEHAVIOUR": behaviour, "NOTES": str(self.notes), **options.pop("environment", {})}
        if shown:
            environment["SHOWN"] = shown
        return Server(binary=self.path, environment=environment, **options)

    def runs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()]

    def serves(self) -> list[dict[str, Any]]:
        return [run for run in self.runs() if run["arguments"][0] == "serve"]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_runs_on_a_socket_that_only_this_user_reaches(program: Program) -> None:
    assert current() is None
    with program.server(config="a.toml", database="sqlite://a.db") as server:
        assert current() is server
        assert server.socket is not None
        assert server.url == f"unix:{server.socket}"
        folder = server.socket.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert (server.base_url, server.base_path) == ("http://localhost:8000", "/api/auth")
        assert server.is_ready()
        pid = server.pid
        assert pid is not None
        serve = program.serves()[0]
        flags = ["--listen", server.url, "--config", "a.toml", "--database", "sqlite://a.db"]
        assert serve["arguments"] == ["serve", *flags, "--for-parent"]
        assert program.runs()[0]["arguments"] == ["config", "show", *flags]
        with pytest.raises(ServerError, match="started already"):
            server.start()
        assert server.is_ready(), "the one that runs is left alone"
    assert not is_alive(pid)
    assert not folder.exists()
    assert not any([current(), server.socket, server.pid, server.is_ready()])
    with pytest.raises(ServerError, match="not running"):
        _ = server.url


@pytest.mark.parametrize(
    ("options", "shown", "expected"),
    [
        ({}, "", {"BETTER_AUTH_URL": "http://localhost:8000", "NARTHEX__RATE_LIMIT__STORAGE": "database"}),
        (
            {"base_url": "https://app.example"},
            "",
            {"BETTER_AUTH_URL": "https://app.example", "NARTHEX__RATE_LIMIT__STORAGE": "database"},
        ),
        (
            {"environment": {"NARTHEX__BASE_URL": "https://app.example"}},
            '[database]\nurl = "postgres://localhost/a"\nmigrate = "auto"',
            {"NARTHEX__BASE_URL": "https://app.example"},
        ),
        (
            {"base_url": "https://app.example"},
            '[database]\nurl = "sqlite://a.db"\nmigrate = "check"',
            {"BETTER_AUTH_URL": "https://app.example"},
        ),
    ],
)
def test_what_nobody_has_configured_is_what_an_application_needs(
    program: Program, options: dict[str, Any], shown: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    with program.server(shown=shown, **options):
        assert program.serves()[0]["environment"] == {**expected, "notified": ""}


def test_a_mistake_in_the_configuration_is_in_the_exception(program: Program) -> None:
    with pytest.raises(ServerError, match=r"exit code 1\):\nnarthex: narthex.toml:1: sesion: is no option"):
        program.server("mistake").start()


def test_what_it_said_last_is_in_the_exception(program: Program) -> None:
    server = program.server("dies")
    with pytest.raises(ServerError) as raised:
        server.start()
    said = "about to fail attempt=1\nnarthex: cannot open the database"
    assert str(raised.value) == f"the server did not start (exit code 1):\n{said}"
    assert current() is None
    # What was wrong may be mended meanwhile.
    with pytest.raises(ServerError, match="exit code 1"):
        server.start()


@pytest.mark.parametrize("behaviour", ["silent", "unready"])
def test_it_is_not_waited_for_for_ever(program: Program, behaviour: str) -> None:
    server = program.server(behaviour, start_timeout=0.5, stop_timeout=5)
    with pytest.raises(ServerError, match=r"was not ready within 0\.5 s"):
        server.start()
    eventually(lambda: not is_alive(program.serves()[0]["pid"]))


def test_one_that_does_not_stop_is_killed(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    with program.server("stubborn", stop_timeout=0.2) as server:
        pid = server.pid
    assert pid is not None
    assert not is_alive(pid)
    assert "did not stop within 0.2 s and is killed" in caplog.text


def test_one_that_ends_is_started_again(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    with program.server() as server:
        for _ in range(2):
            before = server.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            eventually(lambda before=before: server.pid not in (None, before) and server.is_ready())  # type: ignore[misc]
        assert len(program.serves()) == 3
        assert len({run["arguments"][2] for run in program.serves()}) == 1, "at the same socket"
        last = server.pid
    assert "has ended (exit code -9) and is started again in 0.1 s" in caplog.text
    assert "again in 0.2 s" in caplog.text
    assert last is not None
    assert not is_alive(last)


def test_what_cannot_be_started_again_is_tried_again(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    with program.server() as server:
        program.path.rename(program.path.with_name("gone"))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: "cannot be started" in caplog.text)
        program.path.with_name("gone").rename(program.path)
        eventually(server.is_ready)


def test_its_log_is_this_process_s(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    with program.server():
        eventually(lambda: "look peer=unix" in caplog.text)
    record = next(record for record in caplog.records if record.getMessage().startswith("look"))
    assert (record.name, record.levelno) == ("narthex.server", logging.WARNING)


def test_it_ends_with_the_process_that_has_started_it_however_that_ends(program: Program, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import sys, time
        from narthex.server import Server
        server = Server(binary={str(program.path)!r}, environment={{"NOTES": {str(program.notes)!r}}})
        server.start()
        print(server.pid, flush=True)
        time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    eventually(lambda: not is_alive(pid))


def test_a_process_that_was_forked_leaves_it_alone(program: Program) -> None:
    script = textwrap.dedent(f"""
        import os
        from narthex.server import Server, current
        server = Server(binary={str(program.path)!r}, environment={{"NOTES": {str(program.notes)!r}}})
        with server:
            child = os.fork()
            if child == 0:
                server.stop()
                os._exit(0 if current() is server and server.is_ready() else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert server.is_ready()
    """)
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)  # noqa: S603 - our own
    assert (done.returncode, done.stderr.replace("look peer=unix\n", "")) == (0, "")


def test_a_long_folder_for_temporary_files_is_not_used(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with program.server() as server:
        assert server.socket is not None
        assert str(server.socket).startswith("/tmp/narthex-")  # noqa: S108 - that is what is said
    assert not any(long.iterdir())


def test_where_there_are_no_unix_sockets_that_is_said(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigurationError, match="on Windows: run `narthex serve` beside it"):
        program.server().start()


def test_the_binary_is_found_where_pip_puts_it(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_binary(program.path) == str(program.path)
    monkeypatch.setenv("NARTHEX_BIN", str(program.path))
    assert find_binary() == str(program.path)
    with pytest.raises(ConfigurationError, match="'/nowhere/narthex' is no program"):
        find_binary("/nowhere/narthex")
    monkeypatch.delenv("NARTHEX_BIN")
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(program.path.parent))
    assert find_binary() == str(program.path)
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match=r"pip install 'narthex\[server\]'"):
        find_binary()


def test_an_application_has_one_for_its_life(program: Program) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        assert app.state.narthex.is_ready()
        seen.append("begins")
        yield {"greeting": "hello"}
        assert app.state.narthex.is_ready(), "it is stopped after everything that may need it"
        seen.append("ends")

    @asynccontextmanager
    async def other(_app: FastAPI) -> AsyncIterator[None]:
        yield

    environment = {"NOTES": str(program.notes)}
    app = FastAPI(
        lifespan=lifespan(own, other, binary=program.path, environment=environment, base_url="https://a.test")
    )

    @app.get("/")
    async def root(request: Request) -> dict[str, Any]:
        server = request.app.state.narthex
        return {"url": server.base_url, "greeting": request.state.greeting, "current": current() is server}

    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/").json() == {"url": "https://a.test", "greeting": "hello", "current": True}
        assert current() is None
        assert app.state.narthex is None
    assert seen == ["begins", "ends"] * 2
    assert not any(is_alive(run["pid"]) for run in program.serves())


def test_an_application_does_not_start_without_it(program: Program) -> None:
    environment = {"NOTES": str(program.notes), "BEHAVIOUR": "dies"}
    app = FastAPI(lifespan=lifespan(binary=program.path, environment=environment))
    with pytest.raises(ServerError, match="cannot open the database"), TestClient(app):
        pass


def test_one_that_is_still_starting_is_stopped_when_nobody_waits(program: Program) -> None:
    environment = {"NOTES": str(program.notes), "BEHAVIOUR": "silent"}

    async def cancelled() -> None:
        running = lifespan(binary=program.path, environment=environment)(FastAPI())
        starting = asyncio.ensure_future(running.__aenter__())
        while not program.notes.exists() or not program.serves():
            await asyncio.sleep(0.01)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(cancelled())
    eventually(lambda: not is_alive(program.serves()[0]["pid"]))


def test_the_module_has_no_server_left() -> None:
    assert server_module._running == []
