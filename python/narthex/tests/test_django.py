"""Django, sync and async views."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["narthex.django.NarthexMiddleware"],
    NARTHEX={"issuer": "https://auth.test", "trusted_origins": ["https://app.test"]},
    SECRET_KEY="x" * 50,
)
django.setup()

from django.core.handlers.asgi import ASGIRequest  # noqa: E402 - needs the settings
from django.test import AsyncClient, Client  # noqa: E402 - needs the settings

from narthex.django import (  # noqa: E402 - needs the settings
    authenticator,
    current_user,
    current_user_async,
    login_required,
    require,
)
from narthex.testing import FakeClock, Issuer  # noqa: E402 - beside the others


@login_required
def me(request: HttpRequest) -> HttpResponse:
    return HttpResponse(current_user(request).id)


@login_required
async def me_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await current_user_async(request)).id)


def inside(request: HttpRequest) -> HttpResponse:
    return HttpResponse(current_user(request).id)


async def inside_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await current_user_async(request)).id)


@require(role="admin")
def admin(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


@require(role="admin")
async def admin_async(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


def broken(_request: HttpRequest) -> HttpResponse:
    raise KeyError("a mistake of the view")


urlpatterns = [
    path("me/<int:note>", lambda request, note: me(request)),
    path("me", me),
    path("me_async", me_async),
    path("inside", inside),
    path("inside_async", inside_async),
    path("admin", admin),
    path("admin_async", admin_async),
    path("broken", broken),
]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer(clock=FakeClock())
    with issuer.serving(authenticator()):
        yield issuer


def get(where: str, headers: dict[str, str]) -> Any:
    if where.endswith("_async"):
        return asyncio.run(AsyncClient().get(where, headers=headers))
    return Client().get(where, headers=headers)


@pytest.mark.parametrize("where", ["/me", "/me_async", "/inside", "/inside_async"])
def test_views_know_the_user(issuer: Issuer, where: str) -> None:
    assert get(where, issuer.bearer("user-1")).content == b"user-1"
    assert get(where, issuer.cookie("user-2")).content == b"user-2"
    response = get(where, {})
    assert (response.status_code, response.json()) == (401, {"detail": "Not authenticated"})
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert get(where, issuer.bearer(expires_in=-1)).json() == {"detail": "The token has expired"}


@pytest.mark.parametrize("where", ["/admin", "/admin_async"])
def test_what_is_missing_is_said(issuer: Issuer, where: str) -> None:
    assert get(where, issuer.bearer(role="admin")).content == b"welcome"
    response = get(where, issuer.bearer(role="user"))
    assert (response.status_code, response.json()) == (403, {"detail": "Requires the role admin"})


def test_a_change_by_cookie_needs_a_trusted_origin_and_a_second_header_is_seen(issuer: Issuer) -> None:
    cookie = issuer.cookie()
    assert Client().post("/me", headers=cookie).status_code == 403
    assert Client().post("/me", headers={**cookie, "Origin": "https://app.test"}).status_code == 200
    header = issuer.bearer()["Authorization"]
    assert get("/me", {"Authorization": f"{header},{header}"}).status_code == 400


def test_repeated_headers_are_seen_one_by_one_over_asgi(issuer: Issuer) -> None:
    header, cookie = issuer.bearer()["Authorization"].encode(), issuer.cookie("user-2")["Cookie"].encode()

    async def status(*headers: tuple[bytes, bytes]) -> int:
        scope = {"type": "http", "method": "GET", "path": "/me_async", "headers": headers}
        request = ASGIRequest(scope, io.BytesIO())
        return int((await me_async(request)).status_code)

    assert asyncio.run(status((b"authorization", header), (b"authorization", header))) == 400
    # HTTP/2 splits cookies.
    assert asyncio.run(status((b"cookie", b"theme=dark"), (b"cookie", cookie))) == 200


def test_the_route_is_counted_and_not_the_path(issuer: Issuer) -> None:
    assert get("/me/17", issuer.bearer("user-1")).content == b"user-1"
    assert 'endpoint="me/<int:note>"' in authenticator().metrics.render()


def test_mistakes_of_views_stay_what_they_are(issuer: Issuer) -> None:
    with pytest.raises(KeyError):
        get("/broken", {})
