"""The guide for FastAPI does what it says: its files are written, its commands run, and what they print is compared."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SECRET, binary

GUIDE = Path(__file__).parents[2] / "docs/guides/fastapi.md"
# What a person does by looking: wait for a program, and tell one answer from the next.
LOOKING = """
started() { for _ in $(seq 600); do command curl -s -o /dev/null "$1" && return; sleep 0.1; done; exit 1; }
curl() { command curl -w '\\n' "$@"; }
"""


@pytest.mark.parametrize(("first", "last"), [("## Narthex beside", "## Narthex inside"), ("## Narthex inside", None)])
def test_the_guide_does_what_it_says(tmp_path: Path, first: str, last: str | None) -> None:
    part = GUIDE.read_text().split(first)[1].split(last or "\0")[0]
    ports = {"3001": free_port(), "8000": free_port()}
    for usual, port in ports.items():
        part = part.replace(usual, port)
    commands, printed = "", ""
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE):
        if kind == "sh":
            commands += text
        elif kind == "text":
            printed += text
        else:
            path = tmp_path / text.split("\n", 1)[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    said = run(commands, tmp_path, narthex=ports["3001"], uvicorn=ports["8000"])
    wanted = ".*".join(re.escape(words) for words in printed.split("..."))
    assert re.fullmatch(wanted, said, re.DOTALL), said


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def run(commands: str, folder: Path, *, narthex: str, uvicorn: str) -> str:
    """What the commands print, without blank lines."""
    beside = f"BETTER_AUTH_URL=http://localhost:{narthex} narthex serve --listen 127.0.0.1:{narthex}"
    for command, here, port in [
        ("narthex serve &", beside, narthex),
        ("uvicorn app:app &", f"uvicorn app:app --port {uvicorn}", uvicorn),
    ]:
        commands = commands.replace(command, f"{here} >>log 2>&1 &\nstarted localhost:{port}")
    tools = folder / "bin"
    tools.mkdir()
    (tools / "narthex").symlink_to(binary())
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    # In a group of their own, with which programs that go on are ended.
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", LOOKING + commands],
        cwd=folder,
        env={**os.environ, "PATH": path, "NARTHEX_BIN": binary(), "BETTER_AUTH_SECRET": SECRET},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    logs = "".join(log.read_text() for log in folder.glob("*/log"))
    assert process.returncode == 0, said.decode() + logs
    return "".join(line + "\n" for line in said.decode().splitlines() if line)
