"""Hands requests of an application to Narthex, and its answers back, unchanged.

What comes and what goes is read whole before it is passed on, so that a slow client holds no connection to Narthex.
The HTTP is `httpcore2`'s: a client that reuses connections has to cope with servers that close them, with answers
that nobody waits for any more and with bodies in pieces, and that one is kept by people who do nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import urllib.parse
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

try:
    import httpcore2
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
except ImportError as error:
    raise ImportError("this needs FastAPI and httpcore2: pip install 'narthex[server]'") from error

from .errors import ConfigurationError
from .fetch import unix_path

logger = logging.getLogger("narthex")

# As Narthex has it: more is refused there as well.
LARGEST_BODY = 1024 * 1024
LARGEST_ANSWER = 16 * 1024 * 1024
# Seconds for the body of a request, as Narthex has it.
BODY_TIMEOUT = 30
# Narthex gives up after 30 s, and its answer says so.
TIMEOUTS = {"connect": 2.0, "pool": 5.0, "write": 10.0, "read": 35.0}
CONNECTIONS = 100
# Seconds without use after which a connection is closed: before Narthex closes it, after 75.
IDLE = 30.0

# What is about one connection, not about the request (RFC 9110, 7.6.1), and what is written anew.
_OF_CONNECTIONS = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade content-length".split()
)
# Whoever asks could have written these. Who the client is says the application's server, in `X-Forwarded-For`.
_OF_PROXIES = frozenset(
    b"forwarded x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip cf-connecting-ipv6 "
    b"fastly-client-ip fly-client-ip x-envoy-external-address".split()
)
# The application's server says these itself.
_OF_SERVERS = frozenset([b"date", b"server"])

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """A running Narthex: where it listens, and the path below which its endpoints are."""

    origin: str
    socket: str | None
    base_path: str

    @classmethod
    def of_url(cls, url: str, base_path: str = "/api/auth") -> Target:
        """`http://…`, `https://…`, or `unix:/path/of/the/socket`."""
        path = unix_path(url)
        if path is not None:
            return cls("http://localhost", path, base_path)
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ConfigurationError(
                f"url = {url!r}: must be an origin such as http://127.0.0.1:3001, or unix:/run/narthex.sock; "
                "a path belongs into base_path"
            )
        return cls(f"{parts.scheme}://{parts.netloc}", None, base_path)


class Forwarder:
    """Keeps connections while its `lifespan` runs; without it each request has one of its own."""

    def __init__(self) -> None:
        # A connection belongs to the event loop that it was made in.
        self._pools: dict[tuple[asyncio.AbstractEventLoop, Target], httpcore2.AsyncConnectionPool] = {}
        self._running: Counter[asyncio.AbstractEventLoop] = Counter()

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Closes at its end what was opened meanwhile."""
        loop = asyncio.get_running_loop()
        self._running[loop] += 1
        try:
            yield
        finally:
            self._running[loop] -= 1
            if not self._running[loop]:
                del self._running[loop]
                for key in [key for key in self._pools if key[0] is loop]:
                    await self._pools.pop(key).aclose()

    async def forward(self, request: Request, target: Target, path: str) -> Response:
        """The answer of Narthex to this request at `path` below its base path."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await _read(request.stream(), LARGEST_BODY)
        except TimeoutError:
            return refusal(408, "REQUEST_TIMEOUT", "The request body did not arrive in time")
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return refusal(413, "PAYLOAD_TOO_LARGE", "The request body is too large")
        asked = urllib.parse.quote(f"{target.base_path}{path}", safe="/!$&'()*+,;=:@-._~").encode()
        if query := request.scope["query_string"]:
            asked += b"?" + query
        try:
            return await self._ask(target, request.method, asked, headers_for(request, body), body)
        except httpcore2.LocalProtocolError:
            # A server may be less strict about what it takes than we are about what we send.
            return refusal(400, "BAD_REQUEST", "A header of the request is not valid")
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, _TooLargeAnswer) as error:
            return self.away(f"{type(error).__name__}: {error}")

    @staticmethod
    def away(reason: str) -> Response:
        """What is answered while Narthex cannot be asked."""
        logger.warning("Narthex does not answer: %s", reason)
        message = "Authentication is not available at the moment"
        return refusal(503, "SERVICE_UNAVAILABLE", message, retry_after=1)

    async def _ask(self, target: Target, method: str, asked: bytes, headers: Headers, body: bytes) -> Response:
        async with self._pool(target) as pool:
            extensions = {"target": asked, "timeout": TIMEOUTS}
            stream = pool.stream(method, target.origin, headers=headers, content=body or None, extensions=extensions)
            async with stream as answer:
                content = await _read(answer.aiter_stream(), LARGEST_ANSWER)
        if content is None:
            raise _TooLargeAnswer(f"more than {LARGEST_ANSWER} bytes")
        response = Response(content, answer.status)
        response.raw_headers = _answered(answer.headers, len(content), method)
        return response

    @asynccontextmanager
    async def _pool(self, target: Target) -> AsyncIterator[httpcore2.AsyncConnectionPool]:
        loop = asyncio.get_running_loop()
        if loop not in self._running:
            async with _new_pool(target) as pool:
                yield pool
            return
        key = (loop, target)
        if key not in self._pools:
            self._pools[key] = _new_pool(target)
        yield self._pools[key]


class _TooLargeAnswer(Exception):
    pass


def _new_pool(target: Target) -> httpcore2.AsyncConnectionPool:
    return httpcore2.AsyncConnectionPool(max_connections=CONNECTIONS, keepalive_expiry=IDLE, uds=target.socket)


async def _read(chunks: AsyncIterator[bytes], largest: int) -> bytes | None:
    """The whole, or `None` where it is larger."""
    whole = bytearray()
    async for chunk in chunks:
        whole += chunk
        if len(whole) > largest:
            return None
    return bytes(whole)


def headers_for(request: Request, body: bytes) -> Headers:
    """What Narthex is told: all that the client said but what is about its connection, or about who it is."""
    raw: Headers = request.headers.raw
    dropped = _OF_CONNECTIONS | _OF_PROXIES | _named(raw) | {b"expect"}
    # Not every server has taken the blanks away that may stand around a value and are none of it.
    headers = [
        (name, value.strip(b" \t"))
        for name, value in raw
        if name.lower() not in dropped and not name.lower().startswith(b"x-forwarded-")
    ]
    if not any(name.lower() == b"host" for name, _ in headers):
        headers.append((b"host", b"localhost"))
    if body or request.method not in ("GET", "HEAD"):
        headers.append((b"content-length", str(len(body)).encode()))
    client = _address(request)
    if client is not None:
        headers.append((b"x-forwarded-for", client))
    return headers


def _address(request: Request) -> bytes | None:
    # Behind a proxy, uvicorn's --proxy-headers has put the client here.
    host = request.client.host if request.client is not None else ""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).compressed.encode()
    except ValueError:
        return None


def _answered(raw: Iterable[tuple[bytes, bytes]], length: int, method: str) -> Headers:
    """What the client is told; each `Set-Cookie` stays a header of its own."""
    all_headers = [(name.lower(), value) for name, value in raw]
    dropped = (_OF_CONNECTIONS - {b"content-length"}) | _OF_SERVERS | _named(all_headers)
    headers = [(name, value) for name, value in all_headers if name not in dropped]
    if method != "HEAD" and not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", str(length).encode()))
    return headers


def _named(headers: Headers) -> set[bytes]:
    """The headers that `Connection` says are its own."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    return {name.strip().lower() for value in values for name in value.split(b",")}


def refusal(status: int, code: str, message: str, *, retry_after: int | None = None) -> Response:
    """A refusal of our own, in the shape that Narthex's have."""
    body = json.dumps({"message": message, "code": code}, separators=(",", ":"))
    response = Response(body, status, media_type="application/json")
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response
