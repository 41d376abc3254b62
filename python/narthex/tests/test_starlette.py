"""Starlette's own authentication middleware."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthenticationError, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from narthex.starlette import Auth
from narthex.testing import FakeClock, Issuer

auth = Auth(issuer="https://auth.test")


async def me(request: Request) -> JSONResponse:
    return JSONResponse([request.user.is_authenticated, request.user.display_name])


@requires(["authenticated", "role:admin", "read"])
async def admin(request: Request) -> JSONResponse:
    return JSONResponse([request.user.identity, request.user.user["role"]])


app = Starlette(
    routes=[Route("/me", me), Route("/admin", admin)],
    middleware=[Middleware(AuthenticationMiddleware, backend=auth, on_error=auth.on_error)],
)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer(clock=FakeClock())
    with issuer.serving(auth):
        yield issuer


def test_the_user_is_the_requests(issuer: Issuer) -> None:
    client = TestClient(app)
    assert client.get("/me").json() == [False, ""]
    assert client.get("/me", headers=issuer.bearer("user-1", name="Ada")).json() == [True, "Ada"]
    assert client.get("/me", headers=issuer.bearer("user-1", name=None)).json() == [True, "user-1"]


def test_scopes_and_roles_are_required_with_starlettes_own_decorator(issuer: Issuer) -> None:
    client = TestClient(app)
    good = issuer.bearer("user-1", role="user,admin", scope="read write")
    assert client.get("/admin", headers=good).json() == ["user-1", "user,admin"]
    assert client.get("/admin", headers=issuer.bearer(role="admin")).status_code == 403
    assert client.get("/admin", headers=issuer.bearer(scope="read role:admin ", role="user")).status_code == 403
    assert client.get("/admin").status_code == 403


def test_a_bad_credential_is_refused_before_the_view(issuer: Issuer) -> None:
    response = TestClient(app).get("/me", headers=issuer.bearer(expires_in=-1))
    assert (response.status_code, response.json()) == (401, {"detail": "The token has expired"})
    assert response.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


def test_errors_of_other_backends_are_401(issuer: Issuer) -> None:
    response = auth.on_error(HTTPConnection({"type": "http", "headers": []}), AuthenticationError("other"))
    assert (response.status_code, response.body) == (401, b'{"detail":"Not authenticated"}')
