"""A server in Narthex's place, which keeps connections, writes down what it is asked, and says what a test wants."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name]


class Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Threaded

    def setup(self) -> None:
        super().setup()
        self.server.origin.connections += 1

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        self.server.origin.asked.append(Asked(self.command, self.path, list(self.headers.items()), body))
        self.server.origin.handler(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - http.server's names

    def address_string(self) -> str:
        return "test"

    def log_message(self, *_args: object) -> None:
        pass


class Threaded(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    origin: Origin

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.origin.closed += 1


class ThreadedUnix(Threaded):
    address_family = socket.AF_UNIX


class Origin:
    """Narthex, as far as a forwarder sees it."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.asked: list[Asked] = []
        self.connections = self.closed = 0
        self.handler: Callable[[Connection], None] = says(200, b"{}")
        self.server = (ThreadedUnix if isinstance(address, str) else Threaded)(address, Connection)  # type: ignore[arg-type]
        self.server.origin = self
        self.url = (
            f"unix:{address}" if isinstance(address, str) else f"http://127.0.0.1:{self.server.server_address[1]}"
        )

    @property
    def last(self) -> Asked:
        return self.asked[-1]


@contextmanager
def origin(path: Path | None = None) -> Iterator[Origin]:
    running = Origin(("127.0.0.1", 0) if path is None else str(path))
    thread = threading.Thread(target=running.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.server.shutdown()
        running.server.server_close()
        thread.join()


def says(status: int, body: bytes, *headers: tuple[str, str]) -> Callable[[Connection], None]:
    def handle(connection: Connection) -> None:
        connection.send_response(status)
        for name, value in headers:
            connection.send_header(name, value)
        connection.send_header("Content-Length", str(len(body)))
        connection.end_headers()
        if connection.command != "HEAD":
            connection.wfile.write(body)

    return handle
