"""FastAPI: `Auth`, whose methods make dependencies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cached_property
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, TypeVar

try:
    from fastapi import Depends, HTTPException, Security, WebSocketException
    from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer
    from fastapi.security.base import SecurityBase
    from starlette.requests import HTTPConnection
except ImportError as error:
    raise ImportError("narthex.Auth needs FastAPI: pip install 'narthex[fastapi]'") from error

from .authenticator import Authenticator
from .connection import request_of_scope
from .credentials import Request
from .errors import AuthError
from .lifespan import lifespan as lifespan
from .permissions import Permissions
from .requirement import Requirement
from .user import UserT

if TYPE_CHECKING:
    from .router import auth_router as auth_router
    from .router import better_auth_router as better_auth_router

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_POLICY_VIOLATION = 1008


class _CalledFirst:
    def __repr__(self) -> str:
        return "<this makes a dependency: write Depends(auth.user()), with the parentheses>"


def _makes_a_dependency(function: F) -> F:
    # FastAPI would take `Depends(auth.user)` for a dependency that lets everybody in. It asks for the signature
    # when the route is declared, and this is none.
    function.__signature__ = _CalledFirst()  # type: ignore[attr-defined]
    return function


class _Scheme(SecurityBase):
    """Tells OpenAPI how to sign in; the check itself is the dependency's."""

    def __init__(self, name: str, model: APIKey | HTTPBearer):
        self.scheme_name = name
        self.model = model

    async def __call__(self) -> None:
        """Nothing to do."""


class Auth(Authenticator[UserT]):
    """Verifies requests of FastAPI applications.

    auth = Auth(issuer="https://auth.example.com", audience="https://api.example.com")
    CurrentUser = Annotated[User, Depends(auth.user())]
    """

    @cached_property
    def _user_dependency(self) -> Callable[..., Awaitable[UserT]]:
        return self._dependency(self.authenticate_async)

    @cached_property
    def _optional_dependency(self) -> Callable[..., Awaitable[UserT | None]]:
        return self._dependency(self.optional_async)

    @_makes_a_dependency
    def user(self) -> Callable[..., Awaitable[UserT]]:
        """A dependency: the user, or 401. The same object each time, so that tests can override it."""
        return self._user_dependency

    @property
    def get_current_user(self) -> Callable[..., Awaitable[UserT]]:
        """The same dependency by the name it often has: `Depends(auth.get_current_user)`."""
        return self._user_dependency

    @_makes_a_dependency
    def optional_user(self) -> Callable[..., Awaitable[UserT | None]]:
        """A dependency: the user, or `None` without a credential; see `optional` for what is 401 all the same."""
        return self._optional_dependency

    @_makes_a_dependency
    def require(
        self,
        *,
        role: str | Iterable[str] | None = None,
        scope: str | Iterable[str] | None = None,
        email_verified: bool = False,
        permission: Permissions | None = None,
        **fields: object,
    ) -> Callable[..., Awaitable[UserT]]:
        """A dependency: the user, or 401, or 403 that says what is missing."""
        requirement = Requirement.of(role, scope, email_verified, permission, **fields)

        async def required(connection: HTTPConnection, user: Any = Depends(self._user_dependency)) -> Any:
            try:
                return self.enforce(user, requirement, request_of_scope(connection.scope))
            except AuthError as error:
                raise _refusal(connection, error) from error

        return required

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """For `FastAPI(lifespan=auth.lifespan)`: fetches keys before the first request, stops threads at the end."""
        self.start()
        try:
            yield
        finally:
            # It waits for a thread.
            await asyncio.to_thread(self.close)

    def _dependency(self, check: Callable[[Request], Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def authenticated(connection: HTTPConnection, **_schemes: None) -> T:
            try:
                return await check(request_of_scope(connection.scope))
            except AuthError as error:
                raise _refusal(connection, error) from error

        # Each scheme is an alternative in OpenAPI, and how many there are depends on the options.
        parameters = [Parameter("connection", Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)]
        for scheme in self._schemes():
            name = f"{scheme.scheme_name}_scheme"
            parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=Security(scheme)))
        authenticated.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return authenticated

    def _schemes(self) -> list[_Scheme]:
        bearer = HTTPBearer(bearerFormat="JWT", description="A token of GET /token, or a session token")
        schemes = [_Scheme("bearer", bearer)]
        if self._sessions is not None and self._cookies:
            place: Any = {"in": APIKeyIn.cookie}
            cookie = APIKey(**place, name=self._names.session, description="The session's cookie")
            schemes.append(_Scheme("session", cookie))
        return schemes


def _refusal(connection: HTTPConnection, error: AuthError) -> HTTPException | WebSocketException:
    if connection.scope["type"] == "websocket":
        # Before `accept` the server answers the handshake with 403.
        return WebSocketException(_POLICY_VIOLATION, error.detail)
    return HTTPException(error.status, error.detail, error.headers)


def __getattr__(name: str) -> Any:
    # They need an HTTP client, which is loaded by those who use it.
    if name in ("auth_router", "better_auth_router"):
        from . import router

        return getattr(router, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
