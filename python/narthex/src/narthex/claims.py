"""What a token's claims must say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InvalidCredential

# The end of the year 9999: a later time is a mistake or an attempt to have none.
LAST_SECOND = 253402300799
LONGEST_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class Expected:
    """What is compared with the claims."""

    issuer: str | None
    audience: frozenset[str] | None
    leeway: float
    longest_lifetime: float | None


def check(claims: Mapping[str, Any], expected: Expected, now: float) -> str:
    """Refuses claims that do not hold now; returns the subject."""
    expires = time(claims, "exp")
    if expires is None:
        raise InvalidCredential("no exp")
    if now >= expires:
        raise InvalidCredential("expired", reason="expired", detail="The token has expired")
    starts, issued = time(claims, "nbf"), time(claims, "iat")
    if any(moment is not None and moment > now + expected.leeway for moment in (starts, issued)):
        raise InvalidCredential("not valid yet", reason="not_yet_valid", detail="The token is not valid yet")
    if expected.longest_lifetime is not None and (issued is None or expires - issued > expected.longest_lifetime):
        raise InvalidCredential("valid for longer than accepted, or nobody knows since when")
    if expected.issuer is not None and claims.get("iss") != expected.issuer:
        raise InvalidCredential("another issuer", reason="issuer")
    if expected.audience is not None and expected.audience.isdisjoint(_audiences(claims)):
        raise InvalidCredential("another audience", reason="audience")
    return _subject(claims)


def time(claims: Mapping[str, Any], name: str) -> float | None:
    """A moment in seconds; absent is `None`, anything but a sensible number is refused."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # For Python True is the number 1.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidCredential(f"{name} is no number")
    if not (0 <= value <= LAST_SECOND) or not math.isfinite(value):
        raise InvalidCredential(f"{name} is no time")
    return value


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    audience = claims.get("aud")
    if isinstance(audience, str):
        return [audience]
    if isinstance(audience, list) and all(isinstance(one, str) for one in audience):
        return audience
    raise InvalidCredential("no audience", reason="audience")


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    # Printable, so that it can stand in a log line; this also excludes lone surrogates.
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise InvalidCredential("no subject")
    return subject
