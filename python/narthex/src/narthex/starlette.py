"""Starlette: a backend for its `AuthenticationMiddleware`, so that `request.user` and `@requires` work."""

from __future__ import annotations

try:
    from starlette.authentication import (
        AuthCredentials,
        AuthenticationBackend,
        AuthenticationError,
        BaseUser,
        UnauthenticatedUser,
    )
    from starlette.requests import HTTPConnection
    from starlette.responses import JSONResponse
except ImportError as error:
    raise ImportError("narthex.starlette needs Starlette: pip install 'narthex[starlette]'") from error

from .authenticator import Authenticator
from .connection import request_of_scope
from .errors import AuthError
from .user import User, UserT


class Refused(AuthenticationError):
    """A credential that is not accepted; `on_error` answers it."""

    def __init__(self, error: AuthError):
        super().__init__(error.detail)
        self.error = error


class SignedIn(BaseUser):
    """`request.user`: the user is in `request.user.user`."""

    def __init__(self, user: User):
        self.user = user

    @property
    def is_authenticated(self) -> bool:
        """Always."""
        return True

    @property
    def display_name(self) -> str:
        """The name, or the id where there is none."""
        return self.user.name or self.user.id

    @property
    def identity(self) -> str:
        """The id."""
        return self.user.id


class Auth(Authenticator[UserT], AuthenticationBackend):
    """`Middleware(AuthenticationMiddleware, backend=auth, on_error=auth.on_error)`.

    `@requires` knows `authenticated`, the token's scopes, and roles as `role:admin`.
    """

    async def authenticate(  # type: ignore[override]
        self, conn: HTTPConnection
    ) -> tuple[AuthCredentials, BaseUser]:
        """Called by Starlette for each request."""
        try:
            user = await self.optional_async(request_of_scope(conn.scope))
        except AuthError as error:
            raise Refused(error) from error
        if user is None:
            return AuthCredentials(), UnauthenticatedUser()
        # Clients choose scopes: one of them must not pass for a role.
        scopes = [scope for scope in user.scopes if not scope.startswith("role:")]
        return AuthCredentials(["authenticated", *scopes, *(f"role:{role}" for role in user.roles)]), SignedIn(user)

    @staticmethod
    def on_error(_connection: HTTPConnection, refused: AuthenticationError) -> JSONResponse:
        """The answer to a bad credential."""
        error = refused.error if isinstance(refused, Refused) else None
        if error is None:
            return JSONResponse({"detail": "Not authenticated"}, 401, {"WWW-Authenticate": "Bearer"})
        return JSONResponse({"detail": error.detail}, error.status, error.headers)
