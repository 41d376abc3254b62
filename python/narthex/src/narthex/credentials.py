"""Finds the one credential of a request, and refuses to choose between two."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .errors import AmbiguousCredential, ConfigurationError, Forbidden, InvalidCredential

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Beyond this a session token or a cookie is no such thing.
LONGEST_SESSION_TOKEN = 1024
LONGEST_COOKIES = 64 * 1024

# What a cookie may be called (RFC 6265).
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OPAQUE = re.compile(r"[A-Za-z0-9._~+/=%-]+")
_COOKIE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")


@dataclass(frozen=True, slots=True)
class Request:
    """What every framework knows of a request."""

    method: str
    authorization: Sequence[str] = field(repr=False)
    cookies: Sequence[str] = field(repr=False)
    origins: Sequence[str] = ()
    endpoint: str = ""
    websocket: bool = False
    # `Sec-WebSocket-Protocol`, because pages cannot set `Authorization` on a WebSocket.
    protocols: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential and its kind; the value is a secret."""

    kind: Literal["token", "session", "cookie"]
    value: str = field(repr=False)

    def is_for(self, token: str) -> bool:
        """Whether it is of the session that has this token."""
        values = [pair.partition("=")[2] for pair in self.value.split("; ")] if self.kind == "cookie" else [self.value]
        plain = [urllib.parse.unquote(value) for value in values]
        return any(value == token or value.startswith(f"{token}.") for value in plain)


def bearer(request: Request) -> Credential | None:
    """The bearer credential: a JWT, or a session token that only the server understands."""
    if len(request.authorization) > 1:
        raise AmbiguousCredential("More than one Authorization header")
    values = [_after_scheme(header) for header in request.authorization]
    if request.websocket:
        values.append(_of_protocols(request.protocols))
    found = [value for value in values if value is not None]
    if not found:
        return None
    if len(found) > 1:
        raise AmbiguousCredential("A token in Authorization and another in Sec-WebSocket-Protocol")
    value = found[0]
    if value.count(".") >= 2:
        return Credential("token", value)
    if not 0 < len(value) <= LONGEST_SESSION_TOKEN or _OPAQUE.fullmatch(value) is None:
        raise InvalidCredential("the bearer credential is not written as one")
    return Credential("session", value)


def _after_scheme(header: str) -> str | None:
    scheme, _, value = header.strip().partition(" ")
    # Other schemes are not ours: a proxy's Basic, for example.
    return value.strip() if scheme.lower() == "bearer" else None


def _of_protocols(headers: Sequence[str]) -> str | None:
    offered = [one.strip() for header in headers for one in header.split(",")]
    if "bearer" not in offered:
        return None
    following = offered[offered.index("bearer") + 1 :]
    if len(following) != 1:
        raise InvalidCredential("Sec-WebSocket-Protocol is not `bearer, <token>`")
    return following[0]


@dataclass(frozen=True, slots=True)
class CookieNames:
    """The server's cookies, and no others: what else the application has is not the server's business."""

    prefix: str
    # Whether the server's copy of the session is handed on, which it keeps in the browser for some minutes.
    cache: bool = False
    # What the server calls the session's cookie instead; `__Secure-` goes before it all the same.
    named: str | None = None

    def __post_init__(self) -> None:
        if _COOKIE_NAME.fullmatch(self.session) is None or self.session.startswith("__Secure-"):
            raise ConfigurationError(f"cookie_name: {self.session!r} is no name of a cookie, or has __Secure- in front")

    @property
    def session(self) -> str:
        """The name of the session's cookie without HTTPS."""
        return self.named or f"{self.prefix}.session_token"

    def credential(self, headers: Sequence[str]) -> Credential | None:
        """The session's cookies as one `Cookie` header, in an order of their own."""
        if not headers:
            return None
        if sum(len(header) for header in headers) > LONGEST_COOKIES:
            raise InvalidCredential("the cookies are too long", detail="The session is not valid")
        found: dict[str, str] = {}
        for header in headers:
            for pair in header.split(";"):
                name, equals, value = pair.strip().partition("=")
                if not equals or not self._is_ours(name):
                    continue
                if name in found:
                    # Another host of the domain may have set one of them.
                    raise AmbiguousCredential("The same session cookie twice")
                if _COOKIE_VALUE.fullmatch(value) is None:
                    raise InvalidCredential("a cookie is not written as one", detail="The session is not valid")
                found[name] = value
        if f"__Secure-{self.session}" in found:
            # What can be set without HTTPS does not count beside what cannot.
            found = {name: value for name, value in found.items() if name.startswith("__Secure-")}
        if not any(self._is_session(name) for name in found):
            return None
        return Credential("cookie", "; ".join(f"{name}={value}" for name, value in sorted(found.items())))

    def token(self, cookie: Credential) -> str:
        """The session token that the cookies hold, as a bearer would write it."""
        pairs = (pair.partition("=") for pair in cookie.value.split("; "))
        return next(urllib.parse.unquote(value) for name, _, value in pairs if self._is_session(name))

    def _is_session(self, name: str) -> bool:
        return name.removeprefix("__Secure-") == self.session

    def _is_ours(self, name: str) -> bool:
        if self._is_session(name) or not self.cache:
            return self._is_session(name)
        plain = name.removeprefix("__Secure-")
        if not plain.startswith(f"{self.prefix}."):
            return False
        key = plain[len(self.prefix) + 1 :]
        # Large data is spread over session_data.0, session_data.1, ...
        return key == "session_data" or (key.startswith("session_data.") and key[13:].isdecimal() and len(key) <= 15)


def check_origin(request: Request, trusted: frozenset[str]) -> None:
    """Browsers add cookies to requests of any page, so what changes something must come from a page that is trusted."""
    if request.method.upper() in SAFE_METHODS and not request.websocket:
        return
    if len(request.origins) != 1 or request.origins[0] in ("", "null"):
        raise Forbidden("A request with a session cookie needs an Origin header", reason="origin")
    if request.origins[0] not in trusted:
        raise Forbidden("The page's origin is not in trusted_origins", reason="origin")
