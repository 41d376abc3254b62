"""What a refused request is told.

`detail` goes to the client and never holds what the log needs; `reason` is one of a small set of words for logs
and metrics; what went wrong exactly is the exception's text.
"""

from __future__ import annotations

from typing import ClassVar


class ConfigurationError(ValueError):
    """The options do not fit together; raised where `Auth` is made, never while a request is served."""


class AuthError(Exception):
    """A request that is refused: the status, the text and the headers of the answer."""

    status: ClassVar[int] = 401

    def __init__(self, explanation: str, *, detail: str, reason: str, headers: dict[str, str] | None = None):
        super().__init__(explanation)
        self.detail = detail
        self.reason = reason
        self.headers = headers or {}


class NotAuthenticated(AuthError):
    """There is no credential (401)."""

    def __init__(self) -> None:
        super().__init__(
            "no credential",
            detail="Not authenticated",
            reason="missing",
            headers={"WWW-Authenticate": "Bearer"},
        )


class InvalidCredential(AuthError):
    """There is a credential, and it is not accepted (401)."""

    def __init__(self, explanation: str, *, reason: str = "invalid", detail: str = "The token is not valid"):
        super().__init__(
            explanation,
            detail=detail,
            reason=reason,
            headers={"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{detail}"'},
        )


class SessionEnded(InvalidCredential):
    """There is a cookie, and its session is none any more (401).

    Browsers keep such cookies, and pages cannot delete them: where a user is optional, it is as good as no cookie.
    """


class AmbiguousCredential(AuthError):
    """There is more than one credential, and choosing would be guessing (400)."""

    status = 400

    def __init__(self, detail: str):
        super().__init__(
            detail,
            detail=detail,
            reason="ambiguous",
            headers={"WWW-Authenticate": f'Bearer error="invalid_request", error_description="{detail}"'},
        )


class Forbidden(AuthError):
    """The user is known and may not do this; `detail` says what is missing (403)."""

    status = 403

    def __init__(self, detail: str, *, reason: str = "forbidden", scope: str | None = None):
        headers = {}
        if scope is not None:
            headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{scope}"'
        super().__init__(detail, detail=detail, reason=reason, headers=headers)


class Unavailable(AuthError):
    """Nobody can say now whether the credential is good, so it is refused (503)."""

    status = 503

    def __init__(self, explanation: str, *, retry_after: int = 5):
        super().__init__(
            explanation,
            detail="Authentication is not available at the moment",
            reason="unavailable",
            headers={"Retry-After": str(retry_after)},
        )
