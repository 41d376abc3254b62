"""With what pip has installed, and nothing else: sign up, sign in, be known, in the application of the README.

Run by `cargo xtask test` in an environment that has only the two wheels and what they need.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIGURATION = """
[plugins.jwt]
[plugins.token-api]
[password]
bcrypt-cost = 4
"""
ADA = {"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"}


def main() -> None:
    program = Path(sysconfig.get_path("scripts"), "narthex")
    version = subprocess.run([program, "--version"], capture_output=True, check=True, text=True).stdout
    print(version.strip(), "from", program)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "first.py").write_text(application())
        (folder / "narthex.toml").write_text(CONFIGURATION)
        for workers in (1, 2):
            first_picture(folder, workers)
            (folder / "narthex.db").unlink()


def application() -> str:
    """The lines that the README shows."""
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    return "# first.py" + readme.partition("```python\n# first.py")[2].partition("```")[0]


def first_picture(folder: Path, workers: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ask = asking(f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "uvicorn", "first:app", "--port", str(port), "--workers", str(workers)]
    command += ["--log-level", "warning"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NARTHEX", "BETTER_AUTH"))}
    before = servers()
    uvicorn = subprocess.Popen(command, cwd=folder, env=environment)

    def serves() -> bool:
        assert uvicorn.poll() is None, "it has ended"
        return ask("/auth/me")[0] == 401

    try:
        eventually(serves, "it does not serve")
        eventually(lambda: len(servers() - before) == workers, "each worker has a server")
        status, signed_up = ask("/auth/signup", ADA)
        assert status == 200, signed_up
        status, tokens = ask("/auth/signin", {"email": ADA["email"], "password": ADA["password"]})
        assert status == 200, tokens
        assert ask("/auth/signin", {"email": ADA["email"], "password": "another one"})[0] == 401
        for _ in range(8):
            status, me = ask("/auth/me", token=tokens["access_token"])
            assert (status, me["email"]) == (200, ADA["email"]), me
            assert ask("/hello", token=tokens["access_token"]) == (200, "Hello Ada")
        assert ask("/hello")[0] == 401
        assert "/auth/signup" in ask("/openapi.json")[1]["paths"]
    finally:
        uvicorn.send_signal(signal.SIGTERM)
        uvicorn.wait(timeout=60)
    eventually(lambda: servers() == before, "no server is left behind")
    print(f"signed up, signed in and known, with {workers} worker(s)")


def asking(origin: str) -> Callable[..., tuple[int, Any]]:
    def ask(path: str, body: object = None, token: str = "") -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        data = None
        if body is not None:
            headers["content-type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(origin + path, data, headers), timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)
        except OSError:
            return 0, None

    return ask


def servers() -> set[str]:
    """The processes of the server that was installed."""
    program = str(Path(sysconfig.get_path("scripts"), "narthex"))
    commands = {path.parent.name: path for path in Path("/proc").glob("[0-9]*/cmdline")}
    found = set()
    for process, path in commands.items():
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[:2] == [program, "serve"]:
            found.add(process)
    return found


def eventually(condition: Callable[[], bool], expectation: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, expectation
        time.sleep(0.05)


main()
