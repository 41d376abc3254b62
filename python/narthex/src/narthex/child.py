"""One process of the server: started, listened to, and stopped."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO, Any

# How many lines of its log an exception shows.
LAST_LINES = 20
# Seconds for the threads that read what an ended process has still said.
_READERS = 2

_log = logging.getLogger("narthex.server")

_LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}
# What a service manager says to this process, and not to its children.
_NOT_FOR_CHILDREN = ("LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_")


class Child:
    """`narthex serve --for-parent`. It stops by itself when this process ends, however that happens: the system then
    closes our end of the pipe that is its standard input."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self.ready: dict[str, Any] | None = None
        # Set once it is ready, and once it has ended.
        self.decided = threading.Event()
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        # In a session of its own: Ctrl-C is for us, who stop it once we have finished with it.
        self._process = subprocess.Popen(  # noqa: S603 - the binary that was found or named
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._readers = [self._reader(self._process.stdout, self._says), self._reader(self._process.stderr, self._logs)]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self) -> int:
        """Waits for its end and gives back its exit code."""
        code = self._process.wait()
        for reader in self._readers:
            reader.join(_READERS)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self.decided.set()
        return code

    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The end of what it has logged."""
        return "\n".join(self._last)

    def stop(self, seconds: float) -> None:
        """Lets it finish the requests that it has, and kills it when that takes too long."""
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            _log.error("the server did not stop within %g s and is killed", seconds)
            self._process.kill()
        self.wait()

    def _reader(self, stream: IO[bytes] | None, line: Any) -> threading.Thread:
        def read() -> None:
            if stream is not None:
                with stream:
                    for text in stream:
                        line(text.decode(errors="replace").rstrip())

        thread = threading.Thread(target=read, name="narthex-server", daemon=True)
        thread.start()
        return thread

    def _says(self, line: str) -> None:
        if self.ready is None:
            with contextlib.suppress(ValueError):
                self.ready = json.loads(line)
            self.decided.set()

    def _logs(self, line: str) -> None:
        level, text = read_line(line)
        self._last.append(text)
        _log.log(level, "%s", text)


def environment_of_child(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment and `more`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_CHILDREN)}
    return {**own, **more}


def read_line(line: str) -> tuple[int, str]:
    """Level and text of a line of its log; what is no JSON is for the person who started it."""
    try:
        entry = json.loads(line)
        fields = dict(entry["fields"])
        level = _LEVELS.get(entry["level"], logging.INFO)
    except (ValueError, TypeError, KeyError):
        return logging.WARNING, line
    message = str(fields.pop("message", ""))
    return level, " ".join([message, *(f"{name}={value}" for name, value in fields.items())]).strip()
