"""Narthex inside an application: the binary as a child process, on a Unix socket that only this user can reach.

    with Server(config="narthex.toml") as server:
        ...

`narthex.fastapi.lifespan` does the same for the life of an application.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from .child import Child, environment_of_child
from .errors import ConfigurationError
from .fetch import FetchError, fetch

PathLike = str | os.PathLike[str]

# Where an application is while it is developed, unless something else is said.
DEFAULT_BASE_URL = "http://localhost:8000"
# Seconds between attempts to start one that has ended; doubled each time.
FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0
# Seconds after which one that runs is taken for a healthy one.
HEALTHY = 60.0
# A socket's path can have 103 bytes where it is shortest.
LONGEST_PATH = 103

_log = logging.getLogger("narthex.server")
_running: list[Server] = []


class ServerError(RuntimeError):
    """The server did not start; the text has the end of its log."""


def current() -> Server | None:
    """The running server of this process, the newest if there are several."""
    return _running[-1] if _running else None


def find_binary(named: PathLike | None = None) -> str:
    """Where the binary is: named here or in `NARTHEX_BIN`, beside this Python as the wheel has it, or on the `PATH`."""
    name = named or os.environ.get("NARTHEX_BIN")
    if name:
        found = shutil.which(os.fspath(name))
        if found is None:
            raise ConfigurationError(f"{os.fspath(name)!r} is no program; name the binary narthex, or leave it out")
        return found
    beside = os.path.join(sysconfig.get_path("scripts"), "narthex")
    found = shutil.which(beside) or shutil.which("narthex")
    if found is None:
        raise ConfigurationError(
            "the binary narthex is not there: pip install 'narthex[server]', or name it in NARTHEX_BIN"
        )
    return found


class Server:
    """A Narthex that runs from `start()` to `stop()`, or within `with`.

    One that ends by itself is started again. Each process of an application has its own: they share the database.
    """

    def __init__(
        self,
        config: PathLike | None = None,
        *,
        base_url: str | None = None,
        database: str | None = None,
        environment: Mapping[str, str] | None = None,
        binary: PathLike | None = None,
        start_timeout: float = 30,
        stop_timeout: float = 25,
    ):
        self.base_url = base_url or DEFAULT_BASE_URL
        self.base_path = "/api/auth"
        self.socket: Path | None = None
        self._config = config
        self._asked_base_url = base_url
        self._database = database
        self._environment = dict(environment or {})
        self._binary = binary
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._folder: Path | None = None
        self._child: Child | None = None
        self._ends = threading.Event()
        self._keeper: threading.Thread | None = None
        self._owner: int | None = None

    @property
    def url(self) -> str:
        """Where it is asked: `unix:/…`."""
        if self.socket is None:
            raise ServerError("the server is not running")
        return f"unix:{self.socket}"

    @property
    def pid(self) -> int | None:
        """The process id of the binary, while it runs."""
        child = self._child
        return None if child is None or child.has_ended() else child.pid

    def start(self) -> None:
        """Starts it and waits until it answers; raises `ServerError` with what it said if it does not."""
        if sys.platform == "win32":
            raise ConfigurationError(
                "Narthex cannot run inside an application on Windows: run `narthex serve` beside it"
            )
        if self._owner is not None:
            raise ServerError("the server has been started already")
        self._owner = os.getpid()
        self._ends.clear()
        try:
            binary = find_binary(self._binary)
            self._folder = _private_folder()
            self.socket = self._folder / "s"
            environment = environment_of_child(self._options(binary))
            command = [binary, "serve", *self._flags(), "--for-parent"]
            child = self._spawn(command, environment)
            self._wait_until_ready(child)
        except BaseException:
            self._tear_down()
            raise
        _running.append(self)
        self._keeper = threading.Thread(
            target=self._keep, args=(child, command, environment), name="narthex-keeper", daemon=True
        )
        self._keeper.start()

    def stop(self) -> None:
        """Stops it, after the requests that it has. A process that was forked from ours leaves it alone."""
        if self._owner == os.getpid():
            self._tear_down()

    def _tear_down(self) -> None:
        self._ends.set()
        # Whoever stops it while it starts does this twice.
        with self._turn:
            with self._lock:
                child = self._child
            if child is not None:
                child.stop(self._stop_timeout)
            if self._keeper is not None:
                self._keeper.join()
            if self in _running:
                _running.remove(self)
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self.socket = self._folder = self._child = self._keeper = self._owner = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        self.stop()

    def is_ready(self, seconds: float = 2) -> bool:
        """Whether it and its database answer."""
        if self.socket is None:
            return False
        try:
            answer = fetch("http://localhost/ready", {}, seconds=seconds, largest=1024, unix=str(self.socket))
        except FetchError:
            return False
        return answer.status == 200

    def _flags(self) -> list[str]:
        flags = ["--listen", self.url]
        if self._config is not None:
            flags += ["--config", os.fspath(self._config)]
        if self._database is not None:
            flags += ["--database", self._database]
        return flags

    def _options(self, binary: str) -> dict[str, str]:
        """What is set besides the operator's configuration, where that says nothing."""
        own = dict(self._environment)
        if self._asked_base_url is not None:
            own["BETTER_AUTH_URL"] = self._asked_base_url
        options, written = _in_force([binary, "config", "show", *self._flags()], environment_of_child(own))
        if "base-url" not in written:
            own["BETTER_AUTH_URL"] = self.base_url
        # Another process of this application may serve too: what it lets through is to be counted with ours.
        is_sqlite = str(options["database"].get("url", "")).startswith("sqlite:")
        is_counted_elsewhere = "storage" in options["rate-limit"] or "url" in options["secondary-storage"]
        if is_sqlite and not is_counted_elsewhere and options["database"].get("migrate") == "auto":
            own["NARTHEX__RATE_LIMIT__STORAGE"] = "database"
        return own

    def _spawn(self, command: list[str], environment: Mapping[str, str]) -> Child:
        with self._lock:
            if self._ends.is_set():
                raise ServerError("the server was stopped")
            self._child = Child(command, environment)
            return self._child

    def _wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + self._start_timeout
        watcher = threading.Thread(target=child.wait, name="narthex-start", daemon=True)
        watcher.start()
        child.decided.wait(self._start_timeout)
        while child.ready is not None and not child.has_ended():
            if self.is_ready():
                self.base_url = child.ready["baseURL"]
                self.base_path = child.ready["basePath"]
                return
            if time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        if child.has_ended():
            raise ServerError(f"the server did not start (exit code {child.wait()}):\n{child.last_words()}")
        said = child.last_words() or "it has said nothing"
        raise ServerError(f"the server was not ready within {self._start_timeout:g} s:\n{said}")

    def _keep(self, child: Child, command: list[str], environment: Mapping[str, str]) -> None:
        """Starts it again whenever it ends, more and more slowly while that does not help."""
        delay = FIRST_DELAY
        while True:
            started = time.monotonic()
            code = child.wait()
            if time.monotonic() - started >= HEALTHY:
                delay = FIRST_DELAY
            if self._ends.is_set():
                return
            _log.error("the server has ended (exit code %d) and is started again in %g s", code, delay)
            if self._ends.wait(delay):
                return
            delay = min(2 * delay, LONGEST_DELAY)
            try:
                child = self._spawn(command, environment)
            except ServerError:
                return
            except OSError as error:
                _log.error("the server cannot be started: %s", error)


def _private_folder() -> Path:
    """A folder that only this user may enter, with a short name."""
    folder = Path(tempfile.mkdtemp(prefix="narthex-"))
    if len(os.fsencode(folder)) + 2 <= LONGEST_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="narthex-", dir="/tmp"))


def _in_force(command: list[str], environment: Mapping[str, str]) -> tuple[dict[str, Any], set[str]]:
    """The configuration, and which options somebody has set."""
    try:
        done = subprocess.run(  # noqa: S603 - the binary that was found or named
            command, capture_output=True, check=False, env=dict(environment), stdin=subprocess.DEVNULL, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise ServerError(f"the server did not start (exit code {done.returncode}):\n{said}")
    text = done.stdout.decode()
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    return tomllib.loads(text), {line.rpartition(": ")[2] for line in comments}
