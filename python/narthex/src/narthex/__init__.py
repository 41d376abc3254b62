"""Verifies the tokens and sessions of Narthex and of Better Auth.

    from narthex import Auth, User

`Auth` is FastAPI's; `narthex.flask`, `narthex.django` and `narthex.starlette` have theirs, and `Authenticator`
needs no framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .authenticator import Authenticator
from .clock import Clock
from .credentials import Request
from .errors import (
    AmbiguousCredential,
    AuthError,
    ConfigurationError,
    Forbidden,
    InvalidCredential,
    NotAuthenticated,
    Unavailable,
)
from .jwks import JwksOptions
from .requirement import Requirement
from .revocations import RevocationOptions
from .sessions import SessionOptions
from .telemetry import Event
from .user import User

if TYPE_CHECKING:
    from .fastapi import Auth

__all__ = [
    "AmbiguousCredential",
    "Auth",
    "AuthError",
    "Authenticator",
    "Clock",
    "ConfigurationError",
    "Event",
    "Forbidden",
    "InvalidCredential",
    "JwksOptions",
    "NotAuthenticated",
    "Request",
    "Requirement",
    "RevocationOptions",
    "SessionOptions",
    "Unavailable",
    "User",
]


def __getattr__(name: str) -> Any:
    # FastAPI is loaded by those who use it.
    if name == "Auth":
        from .fastapi import Auth

        return Auth
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
