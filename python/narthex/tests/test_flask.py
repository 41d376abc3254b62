"""Flask, sync and async views."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from narthex.flask import Auth
from narthex.testing import FakeClock, Issuer

auth = Auth(issuer="https://auth.test", trusted_origins=["https://app.test"])
app = Flask(__name__)
auth.init_app(app)


@app.get("/me")
@auth.login_required
def me() -> str:
    return f"{auth.current_user.id} {auth.current_user.id}"


@app.post("/change/<note>")
@auth.login_required
def change(note: str) -> str:
    return note


@app.get("/maybe")
def maybe() -> str:
    user = auth.current_user_or_none
    return user.id if user is not None else "nobody"


@app.get("/inside")
def inside() -> str:
    return auth.current_user.id


@app.get("/admin")
@auth.require(role="admin")
def admin() -> str:
    return "welcome"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer(clock=FakeClock())
    with issuer.serving(auth):
        yield issuer


def test_views_know_the_user(issuer: Issuer) -> None:
    client = app.test_client(use_cookies=False)
    assert client.get("/me", headers=issuer.bearer("user-1")).text == "user-1 user-1"
    assert client.get("/inside", headers=issuer.bearer("user-2")).text == "user-2"
    assert client.get("/maybe", headers=issuer.cookie("user-3")).text == "user-3"
    assert client.get("/maybe").text == "nobody"
    assert client.get("/admin", headers=issuer.bearer(role="admin")).text == "welcome"


def test_refusals_say_what_is_wrong(issuer: Issuer) -> None:
    client = app.test_client(use_cookies=False)
    for path in ("/me", "/inside", "/admin"):
        response = client.get(path)
        assert (response.status_code, response.json) == (401, {"detail": "Not authenticated"})
        assert response.headers["WWW-Authenticate"] == "Bearer"
    response = client.get("/admin", headers=issuer.bearer())
    assert (response.status_code, response.json) == (403, {"detail": "Requires the role admin"})
    assert client.get("/maybe", headers=issuer.bearer(expires_in=-1)).status_code == 401
    issuer.away = True
    response = client.get("/me", headers=issuer.cookie())
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_a_second_authorization_header_is_seen_although_servers_join_them(issuer: Issuer) -> None:
    client = app.test_client(use_cookies=False)
    one, two = issuer.bearer("user-1")["Authorization"], issuer.bearer("user-2")["Authorization"]
    for joined in (f"{one},{two}", f"{one}, {two}", f"Basic eDp5,{one}"):
        assert client.get("/me", headers={"Authorization": joined}).status_code == 400
    # A comma inside another scheme's header is no second credential.
    other = {"Authorization": 'Digest username="a", realm="b"'}
    assert client.get("/maybe", headers=other).text == "nobody"


def test_a_change_by_cookie_needs_one_trusted_origin(issuer: Issuer) -> None:
    client = app.test_client(use_cookies=False)
    cookie = issuer.cookie()
    assert client.post("/change/1", headers=cookie).status_code == 403
    assert client.post("/change/1", headers={**cookie, "Origin": "https://evil.test"}).status_code == 403
    both = {**cookie, "Origin": "https://app.test, https://evil.test"}
    assert client.post("/change/1", headers=both).status_code == 403
    assert client.post("/change/1", headers={**cookie, "Origin": "https://app.test"}).text == "1"
    assert 'endpoint="/change/<note>"' in auth.metrics.render()
