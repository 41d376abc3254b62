"""Flask: decorators, and the user of the request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

try:
    from flask import Flask, Response, current_app, g, jsonify, request
except ImportError as error:
    raise ImportError("narthex.flask needs Flask: pip install 'narthex[flask]'") from error

from .authenticator import Authenticator
from .connection import header_values, origin_values
from .credentials import Request
from .errors import AuthError, NotAuthenticated
from .permissions import Permissions
from .requirement import Requirement
from .user import UserT

P = ParamSpec("P")
R = TypeVar("R")


class Auth(Authenticator[UserT]):
    """Verifies requests of Flask applications; views may be sync or async."""

    def init_app(self, app: Flask) -> None:
        """Lets the application answer 400, 401, 403 and 503 where a request is refused."""
        app.register_error_handler(AuthError, _answer)

    @property
    def current_user(self) -> UserT:
        """The user of this request; refuses it where there is none."""
        user = self.current_user_or_none
        if user is None:
            raise NotAuthenticated
        return user

    @property
    def current_user_or_none(self) -> UserT | None:
        """The user of this request, or `None` without a credential; a bad one is refused."""
        # Each `Auth` has its own place: two of them in one application must not see each other's users.
        name = f"_narthex_{id(self)}"
        if name not in g:
            setattr(g, name, self.optional(_request()))
        found: UserT | None = getattr(g, name)
        return found

    def login_required(self, view: Callable[P, R]) -> Callable[P, R]:
        """A view for signed-in users."""

        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            _ = self.current_user
            return _called(view, *args, **kwargs)

        return checked

    def require(
        self,
        *,
        role: str | Iterable[str] | None = None,
        scope: str | Iterable[str] | None = None,
        email_verified: bool = False,
        permission: Permissions | None = None,
        **fields: object,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A view for users who have all of this; others are told what is missing."""
        requirement = Requirement.of(role, scope, email_verified, permission, **fields)

        def decorate(view: Callable[P, R]) -> Callable[P, R]:
            @wraps(view)
            def checked(*args: P.args, **kwargs: P.kwargs) -> R:
                self.enforce(self.current_user, requirement, _request())
                return _called(view, *args, **kwargs)

            return checked

        return decorate


def _called(view: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    answer: R = current_app.ensure_sync(view)(*args, **kwargs)
    return answer


def _request() -> Request:
    return Request(
        method=request.method,
        authorization=header_values(request.headers.get("Authorization")),
        cookies=[value for value in [request.headers.get("Cookie")] if value],
        origins=origin_values(request.headers.get("Origin")),
        endpoint=request.url_rule.rule if request.url_rule is not None else "",
    )


def _answer(error: AuthError) -> tuple[Response, int, dict[str, str]]:
    return jsonify(detail=error.detail), error.status, error.headers
