"""HTTP GET with limits that hold: total time, size, no redirects, no compression.

`urllib` limits neither the total time nor the size and follows redirects, so its parts are used by hand. Proxies
come from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, certificates from the system or `SSL_CERT_FILE`. A Unix socket
in place of a host needs neither.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from .errors import ConfigurationError

# Status line and headers, beyond the body's own limit.
LARGEST_HEAD = 64 * 1024


class FetchError(Exception):
    """No answer that may be used."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that kept to the limits; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Abort:
    """Ends requests from another thread: all that are under way, and all that come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._aborted = False

    def abort(self) -> None:
        """Cuts the connections."""
        with self._lock:
            self._aborted = True
            for connection in self._connections:
                _shut_down(connection)

    def watch(self, connection: socket.socket) -> None:
        """Tells of a connection that is to be cut."""
        with self._lock:
            self._connections.add(connection)
            if self._aborted:
                raise FetchError("aborted")

    def forget(self, connection: socket.socket) -> None:
        """Tells that it is closed."""
        with self._lock:
            self._connections.discard(connection)


class Fetch(Protocol):
    """What everything that asks the server asks through; tests put an issuer in memory here."""

    def __call__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        seconds: float,
        largest: int,
        abort: Abort | None = None,
    ) -> Response:
        """Answers or raises `FetchError` within `seconds`."""
        ...


def fetch(
    url: str,
    headers: Mapping[str, str],
    *,
    seconds: float,
    largest: int,
    abort: Abort | None = None,
    unix: str | None = None,
) -> Response:
    """One GET; whatever the other side does, it ends after `seconds` and holds `largest` bytes of body at most.

    `unix` is the path of a socket that is asked, whatever host the URL names.
    """
    deadline = time.monotonic() + seconds
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError("only http and https URLs are fetched")
    connection: socket.socket | None = None
    try:
        unix = unix or _socket_of_our_own(parts)
        connection, target, extra = _connect(parts, deadline, abort, unix)
        limited = _Limited(connection, deadline, largest + LARGEST_HEAD)
        client = http.client.HTTPConnection(parts.netloc)
        client.sock = cast(socket.socket, limited)
        client.request(
            "GET", target, headers={"Accept-Encoding": "identity", "Connection": "close", **extra, **headers}
        )
        return _read(client.getresponse(), largest)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= deadline:
            raise FetchError(f"no whole answer within {seconds:g} s") from error
        raise FetchError(f"{type(error).__name__}: {error}") from error
    finally:
        if connection is not None:
            connection.close()
            if abort is not None:
                abort.forget(connection)


def unix_path(url: str) -> str | None:
    """The path in `unix:/run/narthex.sock`; nothing in other URLs."""
    if not url.startswith("unix:"):
        return None
    path = url.removeprefix("unix:").removeprefix("//")
    if not path.startswith("/"):
        raise ConfigurationError(f"url = {url!r}: must have a whole path, such as unix:/run/narthex.sock")
    return path


def _read(response: http.client.HTTPResponse, largest: int) -> Response:
    if 300 <= response.status < 400 and response.status != 304:
        raise FetchError(f"redirected ({response.status}), which is not followed")
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise FetchError("compressed, which was not asked for")
    if response.length is not None and response.length > largest:
        raise FetchError(f"larger than {largest} bytes")
    body = response.read(largest + 1)
    if len(body) > largest:
        raise FetchError(f"larger than {largest} bytes")
    # A read with a size does not notice that the other side stopped in the middle.
    if response.length:
        raise FetchError("the answer was cut off")
    return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _connect(
    parts: urllib.parse.SplitResult, deadline: float, abort: Abort | None, unix: str | None
) -> tuple[socket.socket, str, dict[str, str]]:
    """A connection to the server or to its proxy, what to ask for there, and headers for the proxy."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    if unix is not None:
        return _opened(socket.AF_UNIX, socket.SOCK_STREAM, 0, unix, deadline, abort), target, {}
    proxy = _proxy(parts.scheme, host, port)
    if proxy is None:
        connection = _dial(host, port, deadline, abort)
        extra: dict[str, str] = {}
    else:
        if proxy.scheme != "http" or not proxy.hostname:
            raise FetchError("only proxies with http:// URLs are supported")
        connection = _dial(proxy.hostname, proxy.port or 80, deadline, abort)
        extra = _proxy_authorization(proxy)
        if parts.scheme == "http":
            target = urllib.parse.urlunsplit(("http", parts.netloc, parts.path or "/", parts.query, ""))
    try:
        if parts.scheme == "https":
            if proxy is not None:
                _tunnel(connection, host, port, extra, deadline)
                extra = {}
            connection.settimeout(_left(deadline))
            # The handshake's time limit is one for all of its reads.
            encrypted = _certificates().wrap_socket(connection, server_hostname=host)
            if abort is not None:
                abort.forget(connection)
                abort.watch(encrypted)
            connection = encrypted
    except BaseException:
        connection.close()
        if abort is not None:
            abort.forget(connection)
        raise
    return connection, target, extra


def _certificates() -> ssl.SSLContext:
    global _context
    if _context is None:
        _context = ssl.create_default_context()
    return _context


_context: ssl.SSLContext | None = None


def _proxy(scheme: str, host: str, port: int) -> urllib.parse.SplitResult | None:
    url = urllib.request.getproxies().get(scheme)
    if not url or urllib.request.proxy_bypass(f"{host}:{port}") or urllib.request.proxy_bypass(host):
        return None
    return urllib.parse.urlsplit(url if "://" in url else f"http://{url}")


def _proxy_authorization(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    user, password = urllib.parse.unquote(proxy.username), urllib.parse.unquote(proxy.password or "")
    return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _tunnel(connection: socket.socket, host: str, port: int, extra: Mapping[str, str], deadline: float) -> None:
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [
        f"CONNECT {name} HTTP/1.1",
        f"Host: {name}",
        *(f"{key}: {value}" for key, value in extra.items()),
    ]
    connection.settimeout(_left(deadline))
    connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
    # Byte by byte, because what follows the head belongs to TLS.
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        connection.settimeout(_left(deadline))
        byte = connection.recv(1)
        if not byte or len(head) > LARGEST_HEAD:
            raise FetchError("the proxy did not answer")
        head += byte
    status = head.split(b" ", 2)
    if len(status) < 2 or status[1] != b"200":
        raise FetchError("the proxy refused")


def _dial(host: str, port: int, deadline: float, abort: Abort | None) -> socket.socket:
    problem: OSError | None = None
    for family, kind, protocol, _name, address in _resolve(host, port, deadline):
        try:
            return _opened(family, kind, protocol, address, deadline, abort)
        except OSError as error:
            problem = error
    raise problem or OSError("the name has no address")


def _opened(family: int, kind: int, protocol: int, address: Any, deadline: float, abort: Abort | None) -> socket.socket:
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(_left(deadline))
        connection.connect(address)
        if abort is not None:
            abort.watch(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _socket_of_our_own(parts: urllib.parse.SplitResult) -> str | None:
    """Where the Narthex listens that this process runs for this origin: the long way would lead to ourselves."""
    module = sys.modules.get("narthex.server")
    server = None if module is None else module.current()
    if server is None or server.socket is None:
        return None
    own = urllib.parse.urlsplit(server.base_url)
    return str(server.socket) if (own.scheme, own.netloc) == (parts.scheme, parts.netloc) else None


def _resolve(host: str, port: int, deadline: float) -> list[tuple[Any, ...]]:
    # The resolver takes no time limit, so it is left behind when it needs too long.
    found: list[tuple[Any, ...]] = []
    problems: list[OSError] = []

    def resolve() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            problems.append(error if isinstance(error, OSError) else OSError(str(error)))

    thread = threading.Thread(target=resolve, name="narthex-resolve", daemon=True)
    thread.start()
    thread.join(_left(deadline))
    if problems:
        raise problems[0]
    if thread.is_alive():
        raise TimeoutError("the name was not resolved in time")
    return found


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("out of time")
    return left


def _shut_down(connection: socket.socket) -> None:
    # Closed or replaced by its TLS side already: then `watch` refuses the next one.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Limited:
    """A socket for `http.client` whose reads and writes together keep to one deadline and one size."""

    def __init__(self, connection: socket.socket, deadline: float, largest: int):
        self._connection = connection
        self._deadline = deadline
        self._largest = largest

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(_left(self._deadline))
        self._connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_LimitedReader(self._connection, self._deadline, self._largest))

    def close(self) -> None:
        """`fetch` closes the connection itself."""


class _LimitedReader(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: float, largest: int):
        self._connection = connection
        self._deadline = deadline
        self._left = largest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(_left(self._deadline))
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise OSError("more bytes than are read")
        return count
