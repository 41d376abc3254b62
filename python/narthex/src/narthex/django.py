"""Django: a middleware that answers refusals, decorators, and `current_user`.

    NARTHEX = {"issuer": "https://auth.example.com", "audience": "https://api.example.com"}
    MIDDLEWARE = [..., "narthex.django.NarthexMiddleware"]

`NARTHEX` holds the options of `Auth`; without it they come from the environment.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar, cast

try:
    from asgiref.sync import iscoroutinefunction
    from django.conf import settings
    from django.core.handlers.asgi import ASGIRequest
    from django.http import HttpRequest, HttpResponseBase, JsonResponse
    from django.utils.decorators import sync_and_async_middleware
except ImportError as error:
    raise ImportError("narthex.django needs Django: pip install 'narthex[django]'") from error

from .authenticator import Authenticator
from .connection import header_values, origin_values, request_of_scope
from .credentials import Request
from .errors import AuthError
from .permissions import Permissions
from .requirement import Requirement
from .user import User

View = TypeVar("View", bound=Callable[..., Any])
_USER = "_narthex_user"


@functools.cache
def authenticator() -> Authenticator[User]:
    """The project's verifier; made once, from the settings."""
    options = getattr(settings, "NARTHEX", None)
    return Authenticator.from_env() if options is None else Authenticator(**options)


def current_user(request: HttpRequest) -> User:
    """The user of a sync view's request; raises `AuthError`, which the middleware answers."""
    user: User | None = getattr(request, _USER, None)
    if user is None:
        user = authenticator().authenticate(_request(request))
        setattr(request, _USER, user)
    return user


async def current_user_async(request: HttpRequest) -> User:
    """The user of an async view's request; raises `AuthError`, which the middleware answers."""
    user: User | None = getattr(request, _USER, None)
    if user is None:
        user = await authenticator().authenticate_async(_request(request))
        setattr(request, _USER, user)
    return user


def login_required(view: View) -> View:
    """A view for signed-in users."""
    return cast(View, _decorated(view, None))


def require(
    *,
    role: str | Iterable[str] | None = None,
    scope: str | Iterable[str] | None = None,
    email_verified: bool = False,
    permission: Permissions | None = None,
    **fields: object,
) -> Callable[[View], View]:
    """A view for users who have all of this; others are told what is missing."""
    requirement = Requirement.of(role, scope, email_verified, permission, **fields)

    def decorate(view: View) -> View:
        return cast(View, _decorated(view, requirement))

    return decorate


def _decorated(view: Any, requirement: Requirement | None) -> Any:
    if iscoroutinefunction(view):

        @functools.wraps(view)
        async def checked_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                user = await current_user_async(request)
                if requirement is not None:
                    authenticator().enforce(user, requirement, _request(request))
            except AuthError as error:
                return refusal(error)
            return await view(request, *args, **kwargs)

        return checked_async

    @functools.wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            user = current_user(request)
            if requirement is not None:
                authenticator().enforce(user, requirement, _request(request))
        except AuthError as error:
            return refusal(error)
        return view(request, *args, **kwargs)

    return checked


def refusal(error: AuthError) -> JsonResponse:
    """The answer to a request that is refused."""
    return JsonResponse({"detail": error.detail}, status=error.status, headers=error.headers)


@sync_and_async_middleware
class NarthexMiddleware:
    """Answers what `current_user` raises inside views."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]):
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            from asgiref.sync import markcoroutinefunction

            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        answer: HttpResponseBase | Awaitable[HttpResponseBase] = self._get_response(request)
        return answer

    def process_exception(self, _request: HttpRequest, error: Exception) -> JsonResponse | None:
        """Django calls this with what a view raised."""
        return refusal(error) if isinstance(error, AuthError) else None


def _request(request: HttpRequest) -> Request:
    match = request.resolver_match
    endpoint = "" if match is None else match.route or ""
    if isinstance(request, ASGIRequest):
        # Its META joins headers of one name, cookies as well, with commas.
        return replace(request_of_scope(request.scope), endpoint=endpoint)
    cookie = request.META.get("HTTP_COOKIE")
    return Request(
        method=request.method or "GET",
        authorization=header_values(request.META.get("HTTP_AUTHORIZATION")),
        cookies=[cookie] if cookie else [],
        origins=origin_values(request.META.get("HTTP_ORIGIN")),
        endpoint=endpoint,
    )
